/* torture_script: random pieces of protocol, each with exactly the answers that PostgreSQL gives to
 * it. */
#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "torture.h"

static uint64_t random_number(struct client *client)
{
    uint64_t z = client->random += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

size_t below(struct client *client, size_t limit)
{
    return random_number(client) % limit;
}
bool one_in(struct client *client, size_t n)
{
    return below(client, n) == 0;
}

void buffer_reserve(struct buffer *buffer, size_t more)
{
    if (buffer->size + more <= buffer->capacity)
        return;
    buffer->capacity = (buffer->size + more) * 2;
    buffer->data = realloc(buffer->data, buffer->capacity);
    if (!buffer->data)
        abort();
}

void put(struct buffer *buffer, const void *data, size_t size)
{
    buffer_reserve(buffer, size);
    memcpy(buffer->data + buffer->size, data, size);
    buffer->size += size;
}

void put_text(struct buffer *buffer, const char *text)
{
    put(buffer, text, strlen(text) + 1);
}

void put_u32(struct buffer *buffer, uint32_t value)
{
    value = htonl(value);
    put(buffer, &value, 4);
}

static void put_u16(struct buffer *buffer, unsigned value)
{
    uint16_t wire = htons((uint16_t)value);
    put(buffer, &wire, 2);
}

static void put_filler(struct buffer *buffer, size_t size)
{
    buffer_reserve(buffer, size);
    memset(buffer->data + buffer->size, 'x', size);
    buffer->size += size;
}

static bool is_filler(const char *data, size_t size)
{
    return size == 0 || (data[0] == 'x' && memcmp(data, data + 1, size - 1) == 0);
}

bool is_filled(const char *data, size_t size, const struct expectation *expectation)
{
    size_t text = strlen(expectation->text);
    return size == text + expectation->filler && memcmp(data, expectation->text, text) == 0 &&
           is_filler(data + text, expectation->filler);
}

/* Messages of a frontend. */

static size_t message_begin(struct script *script, char type)
{
    put(&script->out, &type, 1);
    put_u32(&script->out, 0);
    return script->out.size - 4;
}

void message_end(struct script *script, size_t start)
{
    uint32_t length = htonl((uint32_t)(script->out.size - start));
    memcpy(script->out.data + start, &length, 4);
}

void say(struct script *script, char type, const char *text)
{
    size_t start = message_begin(script, type);
    if (text)
        put_text(&script->out, text);
    message_end(script, start);
}

__attribute__((format(printf, 2, 3))) static void say_query(struct script *script,
                                                            const char *format, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    say(script, 'Q', text);
}

static void say_parse(struct script *script, const char *name, const char *text)
{
    size_t start = message_begin(script, 'P');
    put_text(&script->out, name);
    put_text(&script->out, text);
    put_u16(&script->out, 0);
    message_end(script, start);
}

/* One parameter, with `filler` x behind it; NULL: none. */
static void say_bind(struct script *script, const char *name, const char *parameter, size_t x)
{
    size_t start = message_begin(script, 'B');
    put_text(&script->out, "");
    put_text(&script->out, name);
    put_u16(&script->out, 0);
    put_u16(&script->out, parameter ? 1 : 0);
    if (parameter) {
        put_u32(&script->out, (uint32_t)(strlen(parameter) + x));
        put(&script->out, parameter, strlen(parameter));
        put_filler(&script->out, x);
    }
    put_u16(&script->out, 0);
    message_end(script, start);
}

static void say_describe(struct script *script)
{
    size_t start = message_begin(script, 'D');
    put(&script->out, "P", 2);
    message_end(script, start);
}

static void say_execute(struct script *script)
{
    size_t start = message_begin(script, 'E');
    put_text(&script->out, "");
    put_u32(&script->out, 0);
    message_end(script, start);
}

/* What must answer. */

static void expect_filled(struct script *script, char type, const char *text, size_t x)
{
    if (script->count == script->capacity) {
        script->capacity = script->capacity ? script->capacity * 2 : 64;
        script->expectations =
            realloc(script->expectations, script->capacity * sizeof *script->expectations);
        if (!script->expectations)
            abort();
    }
    struct expectation *expectation = &script->expectations[script->count++];
    expectation->type = type;
    expectation->filler = x;
    snprintf(expectation->text, sizeof expectation->text, "%s", text);
}

static void expect(struct script *script, char type, const char *text)
{
    expect_filled(script, type, text, 0);
}

static void expect_ready(struct script *script)
{
    expect(script, 'Z', (char[]){script->status, 0});
}

/* An error with this text in it; a transaction block fails. */
static void expect_error(struct script *script, const char *text)
{
    expect(script, 'E', text);
    if (script->status == 'T')
        script->status = 'E';
}

static void expect_rows(struct script *script, const char *text, size_t x, int rows)
{
    char tag[32];
    expect(script, 'T', "answer");
    for (int i = 0; i < rows; i++)
        expect_filled(script, 'D', text, x);
    snprintf(tag, sizeof tag, "SELECT %d", rows);
    expect(script, 'C', tag);
}

static void sync_unit(struct script *script)
{
    say(script, 'S', NULL);
    expect_ready(script);
}

/* From here on nothing is sent before all that is due until now has come. */
static void wait_here(struct script *script)
{
    if (script->gate_count < sizeof script->gates / sizeof *script->gates)
        script->gates[script->gate_count++] = (struct gate){script->out.size, script->count};
}

static const char *new_identity(struct client *client)
{
    snprintf(client->identity, IDENTITY, "c%lu-n%u", client->number, ++client->counter);
    return client->identity;
}

/* Pieces of a script. */

static void simple(struct client *client)
{
    struct script *script = &client->script;
    const char *identity = new_identity(client);
    int rows = one_in(client, 4) ? 40 : 1;
    if (one_in(client, 12)) {
        say_query(script, " ; ");
        expect(script, 'I', "");
    } else if (one_in(client, 4)) {
        say_query(script, "select '%s' as answer; select '%s' as answer", identity, identity);
        expect_rows(script, identity, 0, 1);
        expect_rows(script, identity, 0, 1);
    } else {
        say_query(script, "select '%s' as answer from generate_series(1, %d)", identity, rows);
        expect_rows(script, identity, 0, rows);
    }
    expect_ready(script);
}

/* Parse, Bind, Describe, Execute, without the Sync. */
static void batch(struct client *client)
{
    struct script *script = &client->script;
    const char *identity = new_identity(client);
    bool described = !one_in(client, 4);
    say_parse(script, "", "select $1::text as answer");
    say_bind(script, "", identity, 0);
    if (described)
        say_describe(script);
    say_execute(script);
    if (one_in(client, 6))
        say(script, 'H', NULL);
    expect(script, '1', "");
    expect(script, '2', "");
    if (described)
        expect(script, 'T', "answer");
    expect(script, 'D', identity);
    expect(script, 'C', "SELECT 1");
}

static void extended(struct client *client)
{
    for (size_t n = 1 + below(client, 3); n; n--)
        batch(client);
    sync_unit(&client->script);
}

static void several_syncs(struct client *client)
{
    for (size_t n = 2 + below(client, 4); n; n--) {
        batch(client);
        sync_unit(&client->script);
    }
    if (one_in(client, 3))
        sync_unit(&client->script);
}

static void probe(struct client *client)
{
    if (one_in(client, 2)) {
        simple(client);
    } else {
        extended(client);
    }
}

static void simple_error(struct client *client)
{
    struct script *script = &client->script;
    char first[IDENTITY + 8];
    const char *identity = new_identity(client);
    switch (below(client, 3)) {
    case 0:
        say_query(script, "select '%s'::int", identity);
        break;
    case 1:
        say_query(script, "select '%s' as answer; select torture_fail('%s'); select 'never'",
                  identity, identity);
        expect_rows(script, identity, 0, 1);
        expect(script, 'T', "torture_fail");
        break;
    default:
        say_query(script,
                  "select case when g = 3 then torture_fail('%s') else '%s-' || g end as answer "
                  "from generate_series(1, 5) g",
                  identity, identity);
        expect(script, 'T', "answer");
        for (int i = 1; i < 3; i++) {
            snprintf(first, sizeof first, "%s-%d", identity, i);
            expect(script, 'D', first);
        }
    }
    expect_error(script, identity);
    expect_ready(script);
}

/* An error at a random place of a batch, with messages behind it that are skipped. */
static void extended_error(struct client *client)
{
    struct script *script = &client->script;
    char text[128];
    if (one_in(client, 2))
        batch(client);
    const char *identity = new_identity(client);
    switch (below(client, 3)) {
    case 0:
        snprintf(text, sizeof text, "\"%s\" is no command", identity);
        say_parse(script, "", text);
        say_bind(script, "", NULL, 0);
        break;
    case 1:
        say_parse(script, "", "select $1::int4 as answer");
        say_bind(script, "", identity, 0);
        expect(script, '1', "");
        break;
    default:
        say_parse(script, "", "select torture_fail($1) as answer");
        say_bind(script, "", identity, 0);
        say_describe(script);
        expect(script, '1', "");
        expect(script, '2', "");
        expect(script, 'T', "answer");
    }
    say_execute(script);
    expect_error(script, identity);
    if (one_in(client, 2))
        say_query(script, "select 'skipped'");
    if (one_in(client, 2)) {
        say_parse(script, "", "select 'skipped'");
        say_execute(script);
    }
    sync_unit(script);
}

static void any_error(struct client *client)
{
    if (one_in(client, 2)) {
        simple_error(client);
    } else {
        extended_error(client);
    }
}

static void big(struct client *client)
{
    struct script *script = &client->script;
    const char *identity = new_identity(client);
    size_t x = 5000 + below(client, one_in(client, 4) ? FILLER_MAX - 5000 : 30000);
    if (one_in(client, 2)) {
        int rows = 1 + (int)below(client, 4);
        say_query(script, "select '%s' || repeat('x', %zu) as answer from generate_series(1, %d)",
                  identity, x, rows);
        expect_rows(script, identity, x, rows);
        expect_ready(script);
        return;
    }
    say_parse(script, "", "select $1::text as answer");
    say_bind(script, "", identity, x);
    say_describe(script);
    say_execute(script);
    expect(script, '1', "");
    expect(script, '2', "");
    expect_rows(script, identity, x, 1);
    sync_unit(script);
}

static void copy_line(struct client *client, unsigned number, int line, const char *instead)
{
    struct script *script = &client->script;
    char text[128];
    if (instead)
        snprintf(text, sizeof text, "%lu\t%s\t%d\n", client->number, instead, line);
    else
        snprintf(text, sizeof text, "%lu\t%u\t%d\n", client->number, number, line);
    size_t start = message_begin(script, 'd');
    put(&script->out, text, strlen(text));
    message_end(script, start);
}

/* CopyData of a COPY IN that has begun, its end, and what answers it. The trigger of the table says
 * the identity when it meets line 1. */
static void copy_body(struct client *client, const char *identity)
{
    struct script *script = &client->script;
    char tag[32];
    int lines = (int)below(client, 12), bad = one_in(client, 3) ? (int)below(client, 12) : -1;
    bool fails = bad < 0 && one_in(client, 4);
    for (int line = 1; line <= lines; line++)
        copy_line(client, client->counter, line, line == bad ? identity : NULL);
    if (bad > lines || bad == 0)
        bad = -1;
    if (bad < 0 ? lines >= 1 : bad > 1)
        expect(script, 'N', identity);
    if (fails) {
        say(script, 'f', identity);
    } else {
        say(script, 'c', NULL);
    }
    if (fails || bad > 0) {
        expect_error(script, identity);
        return;
    }
    snprintf(tag, sizeof tag, "COPY %d", lines);
    expect(script, 'C', tag);
}

static void copy_out(struct client *client)
{
    struct script *script = &client->script;
    const char *identity = new_identity(client);
    char text[IDENTITY + 16];
    int rows = (int)below(client, 100);
    say_query(script, "copy (select '%s-' || g from generate_series(1, %d) g) to stdout", identity,
              rows);
    expect(script, 'H', "");
    for (int row = 1; row <= rows; row++) {
        snprintf(text, sizeof text, "%s-%d\n", identity, row);
        expect(script, 'd', text);
    }
    expect(script, 'c', "");
    snprintf(text, sizeof text, "COPY %d", rows);
    expect(script, 'C', text);
    expect_ready(script);
}

static void copy_that_never_starts(struct client *client)
{
    struct script *script = &client->script;
    const char *identity = new_identity(client);
    char text[128];
    snprintf(text, sizeof text, "copy \"%s\" from stdin", identity);
    bool is_extended = one_in(client, 2);
    if (is_extended) {
        say_parse(script, "", text);
        say_bind(script, "", NULL, 0);
        say_execute(script);
        expect(script, '1', "");
        expect(script, '2', "");
        expect_error(script, identity);
        if (one_in(client, 2))
            sync_unit(script);
    } else {
        say_query(script, "%s", text);
        expect_error(script, identity);
        expect_ready(script);
    }
    copy_line(client, client->counter, 1, NULL);
    say(script, 'c', NULL);
    if (is_extended)
        sync_unit(script);
}

static void copy_in(struct client *client)
{
    struct script *script = &client->script;
    const char *identity = new_identity(client);
    bool is_extended = one_in(client, 2);
    if (is_extended) {
        say_parse(script, "", "copy torture_copied from stdin");
        say_bind(script, "", NULL, 0);
        say_execute(script);
        expect(script, '1', "");
        expect(script, '2', "");
    } else {
        say_query(script, "copy torture_copied from stdin");
    }
    expect(script, 'G', "");
    if (is_extended && one_in(client, 2))
        say(script, 'S', NULL); /* ignored: the COPY has begun when it is read */
    else if (is_extended)
        say(script, 'H', NULL);
    if (one_in(client, 2))
        wait_here(script);
    copy_body(client, identity);
    if (is_extended)
        say(script, 'S', NULL);
    expect_ready(script);
}

static void copy(struct client *client)
{
    switch (below(client, 5)) {
    case 0:
        copy_out(client);
        break;
    case 1:
        copy_that_never_starts(client);
        break;
    default:
        copy_in(client);
    }
    if (client->script.status != 'E' && !one_in(client, 4))
        probe(client);
}

static void named(struct client *client)
{
    struct script *script = &client->script;
    size_t which = below(client, NAMES);
    char name[2] = {(char)('a' + which), 0}, text[128];
    if (client->named[which][0] && one_in(client, 4)) {
        size_t start = message_begin(script, 'C');
        put(&script->out, "S", 1);
        put_text(&script->out, name);
        message_end(script, start);
        expect(script, '3', "");
        sync_unit(script);
        client->named[which][0] = 0;
    }
    if (!client->named[which][0]) {
        snprintf(client->named[which], IDENTITY, "%s", new_identity(client));
        snprintf(text, sizeof text, "select '%s.' || $1::text as answer", client->named[which]);
        say_parse(script, name, text);
        expect(script, '1', "");
        sync_unit(script);
    }
    const char *identity = new_identity(client);
    say_bind(script, name, identity, 0);
    say_describe(script);
    say_execute(script);
    snprintf(text, sizeof text, "%.40s.%.20s", client->named[which], identity);
    expect(script, '2', "");
    expect_rows(script, text, 0, 1);
    sync_unit(script);
}

static void setting(struct client *client)
{
    struct script *script = &client->script;
    if (one_in(client, 2)) {
        snprintf(client->application_name, IDENTITY, "%s", new_identity(client));
        say_query(script, "set application_name = '%s'", client->application_name);
        expect(script, 'C', "SET");
        expect(script, 'S', client->application_name);
        expect_ready(script);
    }
    say_query(script, "select current_setting('application_name') as answer");
    expect_rows(script, client->application_name, 0, 1);
    expect_ready(script);
}

static void command(struct client *client, const char *text, const char *tag, char status)
{
    struct script *script = &client->script;
    if (one_in(client, 2)) {
        say(script, 'Q', text);
    } else {
        say_parse(script, "", text);
        say_bind(script, "", NULL, 0);
        say_execute(script);
        say(script, 'S', NULL);
        expect(script, '1', "");
        expect(script, '2', "");
    }
    script->status = status;
    expect(script, 'C', tag);
    expect_ready(script);
}

static void block(struct client *client)
{
    struct script *script = &client->script;
    command(client, "begin", "BEGIN", 'T');
    for (size_t n = below(client, 4); n && script->status == 'T'; n--) {
        if (one_in(client, 4))
            wait_here(script);
        switch (below(client, 6)) {
        case 0:
            any_error(client);
            script->kinds[KIND_ERROR] = true;
            break;
        case 1:
            copy(client);
            script->kinds[KIND_COPY] = true;
            break;
        default:
            probe(client);
        }
    }
    if (script->status == 'E' && one_in(client, 2)) {
        say_query(script, "select 'refused'");
        expect(script, 'E', "current transaction is aborted");
        expect_ready(script);
    }
    if (script->status == 'E' && one_in(client, 2))
        command(client, "commit", "ROLLBACK", 'I');
    else if (script->status == 'T' && !one_in(client, 3))
        command(client, "commit", "COMMIT", 'I');
    else
        command(client, "rollback", "ROLLBACK", 'I');
}

static void (*const pieces[KIND_COUNT])(struct client *) = {
    simple, extended, several_syncs, any_error, big, copy, block, named, setting};

void make_script(struct client *client, bool with_named, bool with_setting)
{
    struct script *script = &client->script;
    script->out.size = script->count = script->met = script->gate_count = 0;
    script->status = 'I';
    memset(script->kinds, 0, sizeof script->kinds);
    for (size_t n = 1 + below(client, 4); n; n--) {
        enum kind kind = (enum kind)below(client, KIND_COUNT);
        if ((kind == KIND_NAMED && !with_named) || (kind == KIND_SETTING && !with_setting))
            kind = KIND_SIMPLE;
        script->kinds[kind] = true;
        pieces[kind](client);
        if (one_in(client, 3))
            wait_here(script);
    }
    client->leaving = STAYS;
    if (below(client, 100) >= 18) /* so that of a few hundred scripts, too, 10 in 100 leave */
        return;
    client->leaving = one_in(client, 2) ? LEAVES_SENDING : LEAVES_READING;
    client->leave_at =
        below(client, client->leaving == LEAVES_SENDING ? script->out.size : script->count + 1);
}
