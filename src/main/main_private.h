/* What the files of room main share. */
#pragma once
#include "config/load.h"
#include "worker/workers.h"

struct command_line {
    const char *file, *user;
    char *connection;                       /* in place of a file: a connection string */
    const char *listen, *certificate, *key; /* only with that */
    char *route;                            /* HOST/USER/DATABASE; NULL: not asked */
    int verbose;
    bool quiet, daemon, reboot, check_config, strict, print_config;
};

/* Parses argv, or prints what was asked (-h, -V, --describe-options) and exits; wrong usage exits
 * with 1. */
void command_line_parse(int argc, char **argv, struct command_line *line);
/* The first lines of --version. */
const char *command_line_version(const char *program);

/* --check-config (and --route): prints every problem and warning; the exit status. */
int check_config(const struct command_line *line);

/* A connection string in place of a file: writes the ini that it amounts to, unless --print-config
 * asks for nothing else, prints it, and sets line->file. With -u it becomes that user first. False:
 * said why. */
bool one_line_prepare(struct command_line *line);

/* Becomes another user (-u, `user`); refuses to run as root. False: said why. */
bool process_switch_user(const char *name);
/* COMPAT 6.3. False: said why. */
bool process_pidfile_check(const char *path);
bool process_pidfile_write(const char *path);
void process_pidfile_remove(const char *path);
bool process_daemonize(void);
/* From other processes of the same user, and from core files. */
void process_hide_memory(bool hide);
void process_limits(const struct config *config);

/* From here until signals_install they wait: one that comes while sockets are opened would end the
 * process with socket and pid file left behind. */
void signals_block(void);
/* COMPAT 6.4. False: no memory. */
bool signals_install(struct workers *workers);
