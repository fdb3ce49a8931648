#include "extended.h"

#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "binary.h"
#include "show.h"
#include "wire/message.h"
#include "wire/query.h"

#define COLUMNS_MAX 64

/* -- statements and portals
 * --------------------------------------------------------------------------------------------------------
 */

static struct extended_entry *find(struct extended_entry *first, const char *name)
{
    while (first && strcmp(first->name, name) != 0)
        first = first->next;
    return first;
}

static void free_entry(struct extended_entry *entry)
{
    if (!entry)
        return;
    memory_free(entry->name);
    memory_free(entry->query);
    memory_free(entry->formats);
    memory_free(entry);
}

static void drop(struct extended_entry **first, size_t *count, const char *name)
{
    for (struct extended_entry **at = first; *at; at = &(*at)->next) {
        struct extended_entry *entry = *at;
        if (strcmp(entry->name, name) != 0)
            continue;
        *at = entry->next;
        --*count;
        free_entry(entry);
        return;
    }
}

static void drop_all(struct extended_entry **first, size_t *count)
{
    while (*first) {
        struct extended_entry *entry = *first;
        *first = entry->next;
        free_entry(entry);
    }
    *count = 0;
}

void extended_finish(struct extended *extended)
{
    drop_all(&extended->statements, &extended->statement_count);
    drop_all(&extended->portals, &extended->portal_count);
}

static struct extended_entry *make_entry(const char *name, const char *query)
{
    struct extended_entry *entry = memory_zalloc(sizeof(*entry));
    if (!entry)
        return NULL;
    entry->name = memory_strdup(name);
    entry->query = memory_strdup(query);
    if (entry->name && entry->query)
        return entry;
    free_entry(entry);
    return NULL;
}

/* -- answers
 * ----------------------------------------------------------------------------------------------------------------
 */

/* Everything up to the Sync is skipped after it. */
static void refuse(struct console_session *session, const char *sqlstate, const char *text)
{
    session->extended.is_executing = true;
    console_error(session, sqlstate, text);
}

/* "KIND "NAME" VERB": as PostgreSQL says it. */
static void refuse_named(struct console_session *session, const char *sqlstate, const char *kind,
                         const char *name, const char *verb)
{
    char text[ERROR_MESSAGE_MAX];
    snprintf(text, sizeof(text), "%s \"%.128s\" %s", kind, name, verb);
    refuse(session, sqlstate, text);
}

static void say_empty(struct console_session *session, uint8_t type)
{
    uint8_t memory[8];
    struct bytes out = bytes_over(memory, sizeof(memory));
    build_empty(&out, type);
    console_say(session, &out);
}

/* False: refused. */
static bool has_room(struct console_session *session, size_t count)
{
    if (count < EXTENDED_STATEMENTS_MAX)
        return true;
    refuse(session, SQLSTATE_PROGRAM_LIMIT_EXCEEDED,
           "too many prepared statements or portals on the console");
    return false;
}

static void take_parse(struct console_session *session, struct span body)
{
    struct extended *extended = &session->extended;
    struct parse_message parse;
    if (!parse_message_read(body, &parse)) {
        refuse(session, SQLSTATE_PROTOCOL_VIOLATION, "broken Parse packet");
        return;
    }
    if (parse.type_count > 0) {
        refuse(session, SQLSTATE_FEATURE_NOT_SUPPORTED,
               "parameters are not supported by the admin console");
        return;
    }
    if (parse.name[0] && find(extended->statements, parse.name)) {
        refuse_named(session, "42P05", "prepared statement", parse.name, "already exists");
        return;
    }
    drop(&extended->statements, &extended->statement_count, parse.name);
    if (!console_check(session, parse.query) || !has_room(session, extended->statement_count))
        return;
    struct extended_entry *entry = make_entry(parse.name, parse.query);
    if (!entry) {
        refuse(session, SQLSTATE_OUT_OF_MEMORY, "out of memory");
        return;
    }
    entry->next = extended->statements;
    extended->statements = entry;
    extended->statement_count++;
    say_empty(session, '1');
}

/* False: refused. */
static bool take_formats(struct console_session *session, struct extended_entry *portal,
                         const struct bind_values *values)
{
    struct cursor cursor = cursor_over(values->formats.data, values->formats.size);
    portal->formats = memory_zalloc_array((size_t)values->format_count + 1, sizeof(int16_t));
    if (!portal->formats) {
        refuse(session, SQLSTATE_OUT_OF_MEMORY, "out of memory");
        return false;
    }
    portal->format_count = values->format_count;
    for (size_t i = 0; i < portal->format_count; i++) {
        portal->formats[i] = cursor_i16(&cursor);
        if (portal->formats[i] == 0 || portal->formats[i] == 1)
            continue;
        refuse(session, SQLSTATE_INVALID_PARAMETER, "result formats are 0 (text) or 1 (binary)");
        return false;
    }
    return true;
}

static void make_portal(struct console_session *session, const struct bind_message *bind,
                        const struct bind_values *values, const struct extended_entry *statement)
{
    struct extended *extended = &session->extended;
    drop(&extended->portals, &extended->portal_count, bind->portal);
    if (!has_room(session, extended->portal_count))
        return;
    struct extended_entry *portal = make_entry(bind->portal, statement->query);
    if (!portal) {
        refuse(session, SQLSTATE_OUT_OF_MEMORY, "out of memory");
        return;
    }
    if (!take_formats(session, portal, values)) {
        free_entry(portal);
        return;
    }
    portal->next = extended->portals;
    extended->portals = portal;
    extended->portal_count++;
    say_empty(session, '2');
}

static void take_bind(struct console_session *session, struct span body)
{
    struct extended *extended = &session->extended;
    struct bind_message bind;
    struct bind_values values;
    bool need_more;
    if (!bind_message_read(body, &bind, &need_more) || !bind_values_read(bind.rest, &values)) {
        refuse(session, SQLSTATE_PROTOCOL_VIOLATION, "broken Bind packet");
        return;
    }
    const struct extended_entry *statement = find(extended->statements, bind.statement);
    if (!statement)
        refuse_named(session, "26000", "prepared statement", bind.statement, "does not exist");
    else if (values.parameter_count > 0)
        refuse(session, SQLSTATE_PROTOCOL_VIOLATION,
               "parameters are not supported by the admin console");
    else if (bind.portal[0] && find(extended->portals, bind.portal))
        refuse_named(session, "42P03", "portal", bind.portal, "already exists");
    else
        make_portal(session, &bind, &values, statement);
}

/* -- rows
 * -------------------------------------------------------------------------------------------------------------------
 */

static bool wants_binary(const struct extended_entry *portal, size_t column)
{
    if (!portal || portal->format_count == 0)
        return false;
    if (portal->format_count == 1)
        return portal->formats[0] == 1;
    return column < portal->format_count && portal->formats[column] == 1;
}

struct row_columns {
    size_t count;
    uint32_t types[COLUMNS_MAX];
};

/* Reads a RowDescription of our own; writes it with the formats of the portal unless `out` is NULL.
 */
static void take_columns(struct span body, const struct extended_entry *portal,
                         struct row_columns *columns, struct bytes *out)
{
    struct cursor cursor = cursor_over(body.data, body.size);
    size_t mark = out ? message_begin(out, 'T') : 0;
    columns->count = cursor_u16(&cursor);
    if (columns->count > COLUMNS_MAX)
        columns->count = COLUMNS_MAX;
    if (out)
        bytes_u16(out, (uint16_t)columns->count);
    for (size_t i = 0; i < columns->count; i++) {
        const char *name = cursor_string(&cursor);
        struct cursor type = cursor;
        cursor_bytes(&type, 6); /* no table, no column of one */
        columns->types[i] = cursor_u32(&type);
        struct span rest = cursor_bytes(&cursor, 16);
        cursor_bytes(&cursor, 2);
        if (!out || !name)
            continue;
        bytes_string(out, name);
        bytes_put(out, rest.data, rest.size);
        bytes_u16(out, wants_binary(portal, i));
    }
    if (out)
        message_end(out, mark);
}

/* A DataRow of our own, its cells as the portal wants them. */
static void put_row(struct span body, const struct extended_entry *portal,
                    const struct row_columns *columns, struct bytes *out)
{
    struct cursor cursor = cursor_over(body.data, body.size);
    size_t mark = message_begin(out, 'D');
    size_t count = cursor_u16(&cursor);
    bytes_u16(out, (uint16_t)count);
    for (size_t i = 0; i < count; i++) {
        int32_t size = cursor_i32(&cursor);
        struct span cell = cursor_bytes(&cursor, size > 0 ? (size_t)size : 0);
        if (i < columns->count && size >= 0 && wants_binary(portal, i)) {
            char *text = memory_strndup((const char *)cell.data, cell.size);
            if (text)
                binary_cell(out, columns->types[i], text);
            else
                out->failed = true;
            memory_free(text);
            continue;
        }
        bytes_u32(out, (uint32_t)size);
        bytes_put(out, cell.data, cell.size);
    }
    message_end(out, mark);
}

bool extended_rows(struct console_session *session, struct span table, struct bytes *out)
{
    struct extended *extended = &session->extended;
    struct extended_entry *portal = extended->portal;
    struct row_columns columns = {0};
    struct message message;
    uint32_t row = 0, first = portal->taken;
    while (message_peek(table.data, table.size, SHOW_BYTES_MAX, &message) == MESSAGE_WHOLE) {
        if (message.type == 'T')
            take_columns(message.body, portal, &columns, NULL);
        else if (message.type != 'D')
            bytes_put(out, table.data, message.size);
        else if (row++ >= first) {
            if (extended->max_rows > 0 && row - first > extended->max_rows) {
                build_empty(out, 's');
                portal->taken = row - 1;
                return false;
            }
            put_row(message.body, portal, &columns, out);
        }
        table.data += message.size;
        table.size -= message.size;
    }
    return true;
}

/* -- Describe, Execute, Close
 * ---------------------------------------------------------------------------------------------------
 */

/* A table's head does not depend on what is in it: it is written with nothing in it. */
static void describe(struct console_session *session, const struct extended_entry *entry,
                     bool is_portal)
{
    static const struct report nothing;
    const struct show *show = console_show_of(entry->query);
    struct row_columns columns;
    struct message message;
    struct bytes table, out;
    bytes_init(&table, SHOW_BYTES_MAX);
    bytes_init(&out, SHOW_BYTES_MAX);
    if (!is_portal) {
        size_t mark = message_begin(&out, 't');
        bytes_u16(&out, 0);
        message_end(&out, mark);
    }
    if (show)
        show->write(session, &nothing, &table);
    if (message_peek(table.data, table.size, SHOW_BYTES_MAX, &message) == MESSAGE_WHOLE &&
        message.type == 'T')
        take_columns(message.body, is_portal ? entry : NULL, &columns, &out);
    else
        build_empty(&out, 'n');
    console_say(session, &out);
    bytes_finish(&table);
    bytes_finish(&out);
}

static void take_describe(struct console_session *session, struct span body)
{
    struct extended *extended = &session->extended;
    struct target_message target;
    if (!target_message_read(body, &target)) {
        refuse(session, SQLSTATE_PROTOCOL_VIOLATION, "broken Describe packet");
        return;
    }
    bool is_portal = target.kind == 'P';
    const struct extended_entry *entry =
        find(is_portal ? extended->portals : extended->statements, target.name);
    if (entry)
        describe(session, entry, is_portal);
    else if (is_portal)
        refuse_named(session, "34000", "portal", target.name, "does not exist");
    else
        refuse_named(session, "26000", "prepared statement", target.name, "does not exist");
}

static void take_execute(struct console_session *session, struct span body)
{
    struct extended *extended = &session->extended;
    const char *name;
    uint32_t max_rows;
    if (!execute_message_read(body, &name, &max_rows)) {
        refuse(session, SQLSTATE_PROTOCOL_VIOLATION, "broken Execute packet");
        return;
    }
    struct extended_entry *portal = find(extended->portals, name);
    if (!portal) {
        refuse_named(session, "34000", "portal", name, "does not exist");
        return;
    }
    extended->portal = portal;
    extended->max_rows = max_rows;
    extended->is_executing = true;
    console_run(session, portal->query);
}

static void take_close(struct console_session *session, struct span body)
{
    struct extended *extended = &session->extended;
    struct target_message target;
    if (!target_message_read(body, &target)) {
        refuse(session, SQLSTATE_PROTOCOL_VIOLATION, "broken Close packet");
        return;
    }
    if (target.kind == 'P')
        drop(&extended->portals, &extended->portal_count, target.name);
    else
        drop(&extended->statements, &extended->statement_count, target.name);
    say_empty(session, '3');
}

static void take_sync(struct console_session *session)
{
    struct extended *extended = &session->extended;
    uint8_t memory[8];
    struct bytes out = bytes_over(memory, sizeof(memory));
    extended->skips_to_sync = false;
    drop_all(&extended->portals, &extended->portal_count);
    build_ready_for_query(&out, 'I');
    console_say(session, &out);
}

bool extended_has(uint8_t type)
{
    return type != 0 && strchr("PBDECSH", type) != NULL;
}

void extended_take(struct console_session *session, uint8_t type, struct span body)
{
    if (session->extended.skips_to_sync && type != 'S')
        return;
    switch (type) {
    case 'P':
        take_parse(session, body);
        break;
    case 'B':
        take_bind(session, body);
        break;
    case 'D':
        take_describe(session, body);
        break;
    case 'E':
        take_execute(session, body);
        break;
    case 'C':
        take_close(session, body);
        break;
    case 'S':
        take_sync(session);
        break;
    default: /* Flush: what there is to say goes out at the end of the turn */
        break;
    }
}
