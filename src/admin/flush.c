/* FLUSH AUTH [database [user]]: what is remembered of who may come in is forgotten. */
#include "show.h"

void console_flush(struct console_session *session, const struct command *command,
                   const char *query)
{
    const char *database = command->value[0] ? command->value : NULL;
    const char *user = command->fourth[0] ? command->fourth : NULL;
    (void)query;
    log_info(NULL, "FLUSH AUTH%s%s%s%s command issued", database ? " " : "",
             database ? database : "", user ? " " : "", user ? user : "");
    control_flush_auth(session->workers, database, user);
    console_tag(session, "FLUSH AUTH");
}
