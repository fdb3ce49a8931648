#include "startup_parameters.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "config/snapshot.h"

#define PROTOCOL_OPTION_PREFIX "_pq_."
/* "--", name, "=", value and a zero byte. */
#define OPTION_MAX (2 + PARAMETER_NAME_MAX + 1 + PARAMETER_VALUE_MAX + 1)

struct reading {
    const struct startup_reading *of;
    struct startup_choice *choice;
    struct error *error;
};

const char *startup_replication_name(enum startup_replication replication)
{
    switch (replication) {
    case REPLICATION_NO:
        return "no";
    case REPLICATION_DATABASE:
        return "database";
    case REPLICATION_YES:
        return "yes";
    }
    return "no";
}

static bool is_prefix_of(const char *text, size_t least, const char *word)
{
    size_t size = strlen(text);
    return size >= least && size <= strlen(word) && strncasecmp(text, word, size) == 0;
}

/* PostgreSQL's rule for a boolean; what is not true there is none here. */
static enum startup_replication replication_of(const char *value)
{
    if (strcmp(value, "database") == 0)
        return REPLICATION_DATABASE;
    if (is_prefix_of(value, 1, "true") || is_prefix_of(value, 1, "yes") ||
        is_prefix_of(value, 2, "on") || strcmp(value, "1") == 0)
        return REPLICATION_YES;
    return REPLICATION_NO;
}

static bool refuse(struct reading *reading, const char *where, const char *name, const char *value)
{
    reading->choice->refused_name = name;
    reading->choice->refused_value = value;
    return error_set(reading->error, SQLSTATE_PROTOCOL_VIOLATION, "%s: %s", where, name);
}

/* *is_tracked: it is one of the settings that follow a client. False: refused. */
static bool take_tracked(struct reading *reading, const char *name, const char *value,
                         bool *is_tracked)
{
    int slot = parameter_slot(reading->of->names, name);

    *is_tracked = slot >= 0 && reading->of->names->tracked[slot];
    if (!*is_tracked)
        return true;
    if (strlen(value) > PARAMETER_VALUE_MAX)
        return error_set(reading->error, SQLSTATE_INVALID_PARAMETER,
                         "startup parameter %s is longer than %d bytes", name, PARAMETER_VALUE_MAX);
    return wanted_parameters_set(reading->of->wanted, slot, value) ||
           error_set(reading->error, SQLSTATE_OUT_OF_MEMORY, "out of memory");
}

/* One that servers do not report, or that nobody tracks: where settings follow their client,
 * PostgreSQL says whether it is one at all. */
static bool take_other(struct reading *reading, const char *where, const char *name,
                       const char *value)
{
    struct session_list *others = reading->of->others;

    if (others == NULL)
        return refuse(reading, where, name, value);
    if (strlen(name) > SESSION_NAME_MAX || strlen(value) > SESSION_VALUE_MAX)
        return error_set(reading->error, SQLSTATE_INVALID_PARAMETER,
                         "startup parameter %.63s is longer than %d bytes", name,
                         SESSION_VALUE_MAX);
    return session_list_set(others, name, value) ||
           error_set(reading->error, SQLSTATE_OUT_OF_MEMORY,
                     "out of memory, or more than %d startup parameters", SESSION_SETTINGS_MAX);
}

/* Neon's drivers say the host there, when they cannot say it by SNI. */
static void take_endpoint(struct startup_choice *choice, const char **options)
{
    static const char separators[] = " \t\n\v\f\r";

    for (;;) {
        const char *word = *options + strspn(*options, separators);
        size_t name = strncmp(word, "endpoint=", 9) == 0  ? 9
                      : strncmp(word, "project=", 8) == 0 ? 8
                                                          : 0;
        if (name == 0)
            return;
        size_t length = strcspn(word, separators);
        snprintf(choice->endpoint, sizeof(choice->endpoint), "%.*s", (int)(length - name),
                 word + name);
        *options = word + length;
    }
}

static bool take_options(struct reading *reading, const char *options)
{
    static const char where[] = "unsupported startup parameter in options";
    char memory[OPTION_MAX];
    const char *name, *value;
    bool is_tracked;
    int more;

    if (reading->of->takes_endpoint)
        take_endpoint(reading->choice, &options);
    while ((more = startup_next_option(&options, memory, sizeof(memory), &name, &value,
                                       reading->error)) > 0) {
        if (reading->of->takes_endpoint)
            take_endpoint(reading->choice, &options);
        if (!take_tracked(reading, name, value, &is_tracked))
            return false;
        if (is_tracked || name_list_has(reading->of->ignored, "options") ||
            name_list_has(reading->of->ignored, name))
            continue;
        if (take_other(reading, where, name, value)) {
            reading->choice->others_in_options = true;
            continue;
        }
        /* They lie in memory of this function. */
        reading->choice->refused_name = reading->choice->refused_value = NULL;
        return false;
    }
    return more == 0;
}

static bool take_parameter(struct reading *reading, const struct startup_parameter *parameter)
{
    struct startup_choice *choice = reading->choice;
    const char *name = parameter->name, *value = parameter->value;
    bool is_tracked;

    if (strcmp(name, "user") == 0 || strcmp(name, "database") == 0 ||
        strcmp(name, "replication") == 0 || strcmp(name, "options") == 0)
        return true;
    if (strncmp(name, PROTOCOL_OPTION_PREFIX, strlen(PROTOCOL_OPTION_PREFIX)) == 0) {
        choice->unknown[choice->unknown_count++] = name;
        return true;
    }
    if (!take_tracked(reading, name, value, &is_tracked))
        return false;
    return is_tracked || name_list_has(reading->of->ignored, name) ||
           take_other(reading, "unsupported startup parameter", name, value);
}

/* Minor 1 was never spoken by anybody; its client is told 3.0, and one from the future 3.2. */
static void choose_protocol(const struct startup_message *message, struct startup_choice *choice)
{
    uint32_t asked = message->protocol;

    choice->protocol = asked >= PROTOCOL_3_2 ? PROTOCOL_3_2 : PROTOCOL_3_0;
    choice->must_negotiate = asked != choice->protocol || choice->unknown_count > 0;
}

static const char *text_or(const char *text, const char *other)
{
    return text != NULL && text[0] != '\0' ? text : other;
}

bool startup_parameters_read(const struct startup_message *message,
                             const struct startup_reading *of, struct startup_choice *choice,
                             struct error *error)
{
    struct reading reading = {of, choice, error};
    const char *replication = startup_parameter(message, "replication");
    const char *options = startup_parameter(message, "options");

    memset(choice, 0, sizeof(*choice));
    choice->user = text_or(startup_parameter(message, "user"), NULL);
    choice->database = text_or(startup_parameter(message, "database"), choice->user);
    if (choice->user == NULL)
        return error_set(error, SQLSTATE_INVALID_AUTHORIZATION, "no username supplied");
    if (replication != NULL)
        choice->replication = replication_of(replication);
    if (choice->replication != REPLICATION_NO)
        choice->options = options; /* the server's matter */
    else if (options != NULL && !take_options(&reading, options))
        return false;
    for (size_t i = 0; i < message->count; i++)
        if (!take_parameter(&reading, &message->parameters[i]))
            return false;
    choose_protocol(message, choice);
    return true;
}
