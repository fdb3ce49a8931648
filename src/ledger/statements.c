#include "ledger/statements.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/memory.h"
#include "ledger/session_state.h"
#include "wire/build.h"

/* The key (MECHANISMS §4.11): settings, types, text, one after another; the lengths are in front,
 * so that no two keys run together. */
static bool statement_digest(const char *query, struct span types, uint64_t settings,
                             struct digest128 *digest)
{
    struct bytes key;
    bytes_init(&key, SIZE_MAX / 2);
    bytes_put(&key, &settings, sizeof(settings));
    bytes_put(&key, &types.size, sizeof(types.size));
    bytes_put(&key, types.data, types.size);
    bytes_text(&key, query);
    bool ok = bytes_ok(&key);
    if (ok)
        *digest = digest128(key.data, key.size);
    bytes_finish(&key);
    return ok;
}

static void statement_name(char name[STATEMENT_NAME_SIZE], struct digest128 digest)
{
    snprintf(name, STATEMENT_NAME_SIZE, STATEMENT_NAME_PREFIX "%016llx%016llx",
             (unsigned long long)digest.high, (unsigned long long)digest.low);
}

static struct shared_statement *make_statement(const char *query, struct span types,
                                               uint16_t type_count, struct digest128 digest)
{
    size_t query_size = strlen(query);
    size_t parse_size = 5 + (STATEMENT_NAME_SIZE - 1) + 1 + query_size + 1 + 2 + types.size;
    struct shared_statement *statement = memory_zalloc(sizeof(*statement) + parse_size);
    if (!statement)
        return NULL;
    statement->digest = digest;
    statement->type_count = type_count;
    statement->touches = session_scan(query, query_size);
    statement->query_size = query_size;
    statement->parse_size = parse_size;
    statement_name(statement->name, digest);
    struct bytes out = bytes_over(statement->parse, parse_size);
    build_parse(&out, statement->name, query, types, type_count);
    if (!bytes_ok(&out) || out.size != parse_size) {
        memory_free(statement);
        return NULL;
    }
    return statement;
}

static bool is_of_word(char c)
{
    return c == '_' || isalnum((unsigned char)c);
}

/* Stands there as a word, and is no call of now(). */
static bool has_word(const char *query, const char *word)
{
    size_t size = strlen(word);
    for (const char *at = query; (at = strcasestr(at, word)); at++)
        if ((at == query || !is_of_word(at[-1])) && !is_of_word(at[size]) && at[size] != '(')
            return true;
    return false;
}

bool statement_keeps_time(const char *query)
{
    static const char *const words[] = {"now", "today", "tomorrow", "yesterday"};
    if (!strpbrk(query, "'$"))
        return false;
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (has_word(query, words[i]))
            return true;
    return false;
}

struct shared_statement *statement_acquire(struct statement_table *table, const char *query,
                                           struct span types, uint16_t type_count,
                                           uint64_t settings)
{
    struct digest128 digest;
    if (!statement_digest(query, types, settings, &digest))
        return NULL;
    struct shared_statement *statement;
    HASH_FIND(hh, table->by_digest, &digest, sizeof(digest), statement);
    if (!statement) {
        statement = make_statement(query, types, type_count, digest);
        if (!statement)
            return NULL;
        HASH_ADD(hh, table->by_digest, digest, sizeof(statement->digest), statement);
        if (!TABLE_ADDED(statement)) {
            memory_free(statement);
            return NULL;
        }
        table->bytes += statement->parse_size;
    }
    statement->references++;
    return statement;
}

struct shared_statement *statement_find(const struct statement_table *table,
                                        struct digest128 digest)
{
    struct shared_statement *statement;
    HASH_FIND(hh, table->by_digest, &digest, sizeof(digest), statement);
    return statement;
}

void statement_release(struct statement_table *table, struct shared_statement *statement)
{
    if (!statement || --statement->references > 0)
        return;
    HASH_DELETE(hh, table->by_digest, statement);
    table->bytes -= statement->parse_size;
    memory_free(statement);
}

void statement_table_finish(struct statement_table *table)
{
    struct shared_statement *statement, *next;
    HASH_ITER (hh, table->by_digest, statement, next) {
        HASH_DELETE(hh, table->by_digest, statement);
        memory_free(statement);
    }
    table->bytes = 0;
}

void server_statements_init(struct server_statements *statements)
{
    *statements = (struct server_statements){0};
    TAILQ_INIT(&statements->lru);
}

static void take_out(struct server_statements *statements, struct server_statement *held)
{
    HASH_DELETE(hh, statements->by_digest, held);
    TAILQ_REMOVE(&statements->lru, held, lru_link);
    statements->count--;
}

void server_statements_finish(struct server_statements *statements)
{
    struct server_statement *held;
    while ((held = TAILQ_FIRST(&statements->lru))) {
        take_out(statements, held);
        memory_free(held);
    }
}

void server_statements_forget(struct server_statements *statements)
{
    struct server_statement *held, *next;
    for (held = TAILQ_FIRST(&statements->lru); held; held = next) {
        next = TAILQ_NEXT(held, lru_link);
        if (!held->is_confirmed)
            continue;
        take_out(statements, held);
        memory_free(held);
    }
}

void server_statements_mark_stale(struct server_statements *statements)
{
    struct server_statement *held;
    TAILQ_FOREACH (held, &statements->lru, lru_link)
        held->is_stale = true;
}

static struct server_statement *find_held(struct server_statements *statements,
                                          struct digest128 digest)
{
    struct server_statement *held;
    HASH_FIND(hh, statements->by_digest, &digest, sizeof(digest), held);
    return held;
}

struct server_statement *server_statements_find(struct server_statements *statements,
                                                const struct shared_statement *statement)
{
    struct server_statement *held = find_held(statements, statement->digest);
    if (held && held != TAILQ_FIRST(&statements->lru)) {
        TAILQ_REMOVE(&statements->lru, held, lru_link);
        TAILQ_INSERT_HEAD(&statements->lru, held, lru_link);
    }
    return held;
}

void server_statements_note_change(struct server_statements *statements,
                                   struct shared_statement *statement)
{
    struct server_statement *held = find_held(statements, statement->digest);
    if (!held || held->generation != statement->generation)
        return;
    statement->generation++;
}

static bool put_in(struct server_statements *statements, struct server_statement *held)
{
    memset(&held->hh, 0, sizeof(held->hh));
    HASH_ADD(hh, statements->by_digest, digest, sizeof(held->digest), held);
    if (!TABLE_ADDED(held))
        return false;
    TAILQ_INSERT_HEAD(&statements->lru, held, lru_link);
    statements->count++;
    return true;
}

struct server_statement *server_statements_add(struct server_statements *statements,
                                               const struct shared_statement *statement)
{
    struct server_statement *held = memory_zalloc(sizeof(*held));
    if (!held)
        return NULL;
    held->digest = statement->digest;
    held->generation = statement->generation;
    memcpy(held->name, statement->name, sizeof(held->name));
    if (!put_in(statements, held)) {
        memory_free(held);
        return NULL;
    }
    return held;
}

struct server_statement *server_statements_take(struct server_statements *statements,
                                                const struct shared_statement *statement)
{
    struct server_statement *held = find_held(statements, statement->digest);
    if (held)
        take_out(statements, held);
    return held;
}

struct server_statement *server_statements_evict(struct server_statements *statements, int limit,
                                                 const struct server_statement *keep)
{
    if (statements->count <= limit)
        return NULL;
    struct server_statement *held;
    TAILQ_FOREACH_REVERSE(held, &statements->lru, server_statement_lru, lru_link)
    {
        if (held != keep && held->is_confirmed) {
            take_out(statements, held);
            return held;
        }
    }
    return NULL;
}

static size_t significant(const char *name)
{
    return strnlen(name, CLIENT_NAME_SIGNIFICANT);
}

static struct client_statement *find_name(const struct client_statements *statements,
                                          const char *name)
{
    struct client_statement *found;
    HASH_FIND(hh, statements->by_name, name, significant(name), found);
    return found;
}

const struct client_statement *client_statements_find(const struct client_statements *statements,
                                                      const char *name)
{
    return find_name(statements, name);
}

void client_statements_note_described(const struct client_statements *statements, const char *name)
{
    struct client_statement *named = find_name(statements, name);
    if (named)
        named->described = named->statement->generation + 1;
}

static void forget_name(struct client_statements *statements, struct statement_table *table,
                        struct client_statement *entry)
{
    HASH_DELETE(hh, statements->by_name, entry);
    statements->count--;
    statement_release(table, entry->statement);
    memory_free(entry->name);
    memory_free(entry);
}

void client_statements_clear(struct client_statements *statements, struct statement_table *table)
{
    struct client_statement *entry, *next;
    HASH_ITER (hh, statements->by_name, entry, next)
        forget_name(statements, table, entry);
}

void client_statements_forget(struct client_statements *statements, struct statement_table *table)
{
    struct client_statement *entry, *next;
    HASH_ITER (hh, statements->by_name, entry, next)
        if (!entry->defined_by)
            forget_name(statements, table, entry);
}

static bool add_name(struct client_statements *statements, const char *name,
                     struct shared_statement *statement)
{
    struct client_statement *entry = memory_zalloc(sizeof(*entry));
    char *copy = memory_strndup(name, CLIENT_NAME_SIGNIFICANT);
    if (entry && copy) {
        entry->name = copy;
        entry->statement = statement;
        HASH_ADD_KEYPTR(hh, statements->by_name, copy, strlen(copy), entry);
        if (TABLE_ADDED(entry)) {
            statement->references++;
            statements->count++;
            return true;
        }
    }
    memory_free(copy);
    memory_free(entry);
    return false;
}

static void free_delta(struct statement_delta *delta, struct statement_table *table)
{
    if (delta->removed_by)
        delta->removed_by->removes = NULL;
    if (delta->removes)
        delta->removes->removed_by = NULL;
    statement_release(table, delta->statement);
    memory_free(delta->evicted);
    memory_free(delta->name);
    memory_free(delta);
}

/* A delta about a client's name; takes its own reference to the statement. */
static struct statement_delta *make_delta(enum statement_delta_kind kind, const char *name,
                                          struct shared_statement *statement)
{
    struct statement_delta *delta = memory_zalloc(sizeof(*delta));
    if (!delta)
        return NULL;
    delta->kind = kind;
    if (name && !(delta->name = memory_strndup(name, CLIENT_NAME_SIGNIFICANT))) {
        memory_free(delta);
        return NULL;
    }
    if (statement) {
        delta->statement = statement;
        statement->references++;
    }
    return delta;
}

struct statement_delta *client_statements_define(struct client_statements *statements,
                                                 struct statement_table *table, const char *name,
                                                 struct shared_statement *statement)
{
    struct statement_delta *delta = make_delta(DELTA_DEFINE, name, statement);
    if (!delta)
        return NULL;
    struct client_statement *old = find_name(statements, name);
    if (old)
        forget_name(statements, table, old);
    if (!add_name(statements, name, statement)) {
        free_delta(delta, table);
        return NULL;
    }
    find_name(statements, name)->defined_by = delta;
    statements->unsettled++;
    return delta;
}

struct statement_delta *client_statements_remove(struct client_statements *statements,
                                                 struct statement_table *table, const char *name)
{
    struct client_statement *old = find_name(statements, name);
    struct statement_delta *delta = make_delta(DELTA_REMOVE, name, old ? old->statement : NULL);
    if (!delta)
        return NULL;
    if (old && old->defined_by) {
        delta->removes = old->defined_by;
        old->defined_by->removed_by = delta;
    }
    if (old)
        forget_name(statements, table, old);
    statements->unsettled++;
    return delta;
}

struct statement_delta *client_statements_deallocate(struct client_statements *statements,
                                                     struct statement_table *table,
                                                     const char *name)
{
    struct statement_delta *delta = client_statements_remove(statements, table, name);
    if (delta)
        delta->is_by_tag = true;
    return delta;
}

struct statement_delta *client_statements_deallocate_all(struct client_statements *statements)
{
    struct statement_delta *delta = make_delta(DELTA_REMOVE, NULL, NULL);
    if (!delta)
        return NULL;
    delta->counts_for_client = true;
    statements->unsettled++;
    return delta;
}

void statement_delta_told(struct statement_delta *delta)
{
    delta->was_told = true;
}

struct statement_delta *server_statements_define(struct server_statements *statements,
                                                 const struct shared_statement *statement)
{
    struct statement_delta *delta = make_delta(DELTA_DEFINE, NULL, NULL);
    if (!delta)
        return NULL;
    if (!server_statements_add(statements, statement)) {
        memory_free(delta);
        return NULL;
    }
    delta->digest = statement->digest;
    delta->concerns_server = true;
    return delta;
}

struct statement_delta *server_statements_closing(struct server_statement *evicted)
{
    struct statement_delta *delta = make_delta(DELTA_EVICT, NULL, NULL);
    if (!delta) {
        memory_free(evicted);
        return NULL;
    }
    delta->concerns_server = true;
    delta->evicted = evicted;
    return delta;
}

/* The server's side of it. */
static void settle_on_server(struct statement_delta *delta, bool done,
                             struct server_statements *server)
{
    struct server_statement *held;
    if (delta->kind == DELTA_EVICT) {
        if (done)
            return;
        held = find_held(server, delta->evicted->digest);
        if (held) { /* the Parse behind the Close was skipped, too: the server still has it */
            held->is_confirmed = true;
            held->is_stale = held->is_stale || delta->evicted->is_stale;
        } else if (put_in(server, delta->evicted)) {
            delta->evicted = NULL;
        }
        return;
    }
    held = find_held(server, delta->digest);
    if (held && done)
        held->is_confirmed = true;
    if (held && !done && !held->is_confirmed) {
        take_out(server, held);
        memory_free(held);
    }
}

/* What did not happen is undone: a name that was to be defined goes, one that was to be closed
 * comes back. */
static void undo_on_client(struct statement_delta *delta, struct client_statements *client,
                           struct statement_table *table)
{
    struct client_statement *entry = find_name(client, delta->name);
    if (delta->kind == DELTA_DEFINE && entry && entry->defined_by == delta)
        forget_name(client, table, entry);
    if (delta->kind == DELTA_DEFINE && delta->removed_by) {
        statement_release(table, delta->removed_by->statement);
        delta->removed_by->statement = NULL;
    }
    if (delta->kind == DELTA_REMOVE && delta->statement) {
        if (entry)
            forget_name(client, table, entry);
        add_name(client, delta->name, delta->statement);
    }
}

static void confirm_on_client(struct statement_delta *delta, struct client_statements *client)
{
    struct client_statement *entry = find_name(client, delta->name);
    if (entry && entry->defined_by == delta)
        entry->defined_by = NULL;
}

struct statement_delta *client_statements_called(const char *name)
{
    struct statement_delta *delta = memory_zalloc(sizeof(*delta));
    if (!delta)
        return NULL;
    delta->kind = DELTA_CALLED;
    delta->name = memory_strdup(name);
    if (delta->name)
        return delta;
    memory_free(delta);
    return NULL;
}

const char *client_statements_name_of(const struct client_statements *statements,
                                      const char *server_name)
{
    for (const struct client_statement *named = statements->by_name; named; named = named->hh.next)
        if (strcmp(named->statement->name, server_name) == 0)
            return named->name;
    return NULL;
}

void statement_delta_settle(struct statement_delta *delta, bool done,
                            struct client_statements *client, struct statement_table *table,
                            struct server_statements *server)
{
    if (delta->kind == DELTA_CALLED) {
        free_delta(delta, table);
        return;
    }
    if (delta->is_by_tag)
        done = delta->was_told;
    if (delta->concerns_server && server)
        settle_on_server(delta, done, server);
    if (client && (delta->name || delta->counts_for_client))
        client->unsettled--;
    if (client && delta->name && !done)
        undo_on_client(delta, client, table);
    if (client && delta->name && done)
        confirm_on_client(delta, client);
    free_delta(delta, table);
}

struct statement_delta *statement_delta_disown(struct statement_delta *delta,
                                               struct statement_table *table)
{
    if (!delta->concerns_server) {
        free_delta(delta, table);
        return NULL;
    }
    statement_release(table, delta->statement);
    memory_free(delta->name);
    delta->statement = NULL;
    delta->name = NULL;
    delta->counts_for_client = false;
    return delta;
}

struct statement_delta *statement_delta_part(struct statement_delta *delta,
                                             struct client_statements *client,
                                             struct statement_table *table)
{
    if (delta->name || delta->counts_for_client)
        client->unsettled -= delta->kind != DELTA_CALLED;
    if (delta->name && delta->kind != DELTA_CALLED)
        undo_on_client(delta, client, table);
    return statement_delta_disown(delta, table);
}
