/* command: the grammar of the console (COMPAT 5.2). Pure; no allocation. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#define COMMAND_WORD_MAX     16
#define COMMAND_ARGUMENT_MAX 64
#define COMMAND_VALUE_MAX    256

enum command_verdict {
    COMMAND_OK,
    COMMAND_INVALID,       /* not of the grammar: "invalid command '%s', use SHOW HELP;" */
    COMMAND_BAD_ARGUMENTS, /* a word that is too long: "bad arguments" */
};

struct command {
    char word[COMMAND_WORD_MAX];         /* upper case: "SHOW", "RELOAD", ... */
    char argument[COMMAND_ARGUMENT_MAX]; /* case kept; "" when there is none; of SET: the key */
    char value[COMMAND_VALUE_MAX];  /* of SET; the third word of KILL USER, SHOW WHY, FLUSH AUTH */
    char fourth[COMMAND_VALUE_MAX]; /* of FLUSH AUTH */
    bool is_set, is_kill_user;
};

enum command_verdict command_parse(const char *text, struct command *command);
