/* Bounds of what is kept of named statements: a client's names, and the texts of one thread.
 *
 * What goes over a bound is an ERROR at its place in the batch, so that PostgreSQL skips the rest
 * of it and no Sync commits what came before (MECHANISMS §3.1): a Parse that cannot succeed is sent
 * in place of the client's, and its error says what was wrong instead of PostgreSQL's. Its text is
 * what PostgreSQL's log shows.
 */
#include "requests.h"
#include "wire/build.h"

bool statement_cache_is_full(const struct client *client, const struct shared_statement *statement)
{
    long long size = client->set->config->settings.statement_cache_size;
    bool is_new = statement->references == 1; /* the one of who asks */
    return size > 0 && is_new && client->set->statements.bytes > (size_t)size;
}

enum statement_limit statement_limit_reached(const struct client *client, const char *name,
                                             const struct shared_statement *statement)
{
    long long names = client->set->config->settings.max_client_prepared_statements;
    if (names > 0 && client->statements.count >= names &&
        !client_statements_find(&client->statements, name))
        return STATEMENT_LIMIT_NAMES;
    return statement_cache_is_full(client, statement) ? STATEMENT_LIMIT_CACHE
                                                      : STATEMENT_LIMIT_NONE;
}

bool statement_limit_refuse(struct request_walk *walk, enum statement_limit limit)
{
    struct client *client = walk->client;
    static const char *const texts[] = {
        [STATEMENT_LIMIT_NAMES] = "pgweir: max_client_prepared_statements is reached",
        [STATEMENT_LIMIT_CACHE] = "pgweir: statement_cache_size is reached",
        [STATEMENT_IS_OUTDATED] = "pgweir: a statement's result has changed",
    };
    uint8_t memory[128];
    struct bytes out = bytes_over(memory, sizeof(memory));
    build_parse(&out, "pgweir", texts[limit], (struct span){0}, 0);
    if (!request_put(walk, out.data, out.size))
        return false;
    client->unit_has_begun = true;
    ledger_expect(&client->server->ledger, LEDGER_PARSE, LEDGER_FORWARD, (uint8_t)limit, NULL);
    return true;
}

/* PostgreSQL's own words, with the routine by which drivers know it. */
static void build_outdated(struct bytes *out)
{
    static const char *const fields[] = {"SERROR",       "VERROR",
                                         "C0A000",       "Mcached plan must not change result type",
                                         "Fplancache.c", "RRevalidateCachedQuery"};
    size_t mark = message_begin(out, 'E');
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
        bytes_string(out, fields[i]);
    bytes_u8(out, 0);
    message_end(out, mark);
}

static void build_limit(struct client *client, uint8_t limit, struct bytes *out)
{
    const struct settings *settings = &client->set->config->settings;
    struct error error;
    if (limit == STATEMENT_LIMIT_NAMES) {
        error_set(&error, SQLSTATE_LIMIT_EXCEEDED,
                  "too many prepared statements: this client has %d", client->statements.count);
        error_hint(&error,
                   "Close statements that are not needed any more, or raise "
                   "max_client_prepared_statements (now %lld).",
                   (long long)settings->max_client_prepared_statements);
    } else {
        error_set(&error, SQLSTATE_LIMIT_EXCEEDED,
                  "the texts of prepared statements take all the memory that they may");
        error_hint(&error,
                   "Close statements that are not needed any more, or raise "
                   "statement_cache_size (now %lld bytes).",
                   (long long)settings->statement_cache_size);
    }
    build_error(out, "ERROR", &error);
}

void statement_limit_tell(struct client *client, uint8_t limit)
{
    uint8_t memory[1024];
    struct bytes out = bytes_over(memory, sizeof(memory));
    if (limit == STATEMENT_IS_OUTDATED)
        build_outdated(&out);
    else
        build_limit(client, limit, &out);
    if (!bytes_ok(&out) || !stream_put(&client->stream, out.data, out.size))
        client_close(client, "out of memory");
}
