#include "ledger/parameters.h"

#include <string.h>
#include <strings.h>

#include "base/digest.h"
#include "base/memory.h"
#include "wire/build.h"

/* PostgreSQL's GUC_REPORT settings (versions 9.6 to 18); the first five are tracked (COMPAT 9.2),
 * in the order of the login answer. */
static const char *const reported[] = {
    "DateStyle",
    "client_encoding",
    "TimeZone",
    "standard_conforming_strings",
    "application_name",
    "IntervalStyle",
    "search_path",
    "server_version",
    "server_encoding",
    "is_superuser",
    "session_authorization",
    "integer_datetimes",
    "in_hot_standby",
    "default_transaction_read_only",
    "scram_iterations",
};
enum {
    TRACKED_COUNT = 5,
    REPORTED_COUNT = sizeof(reported) / sizeof(reported[0]),
    CLIENT_ENCODING_SLOT = 1,
    APPLICATION_NAME_SLOT = 4,
};

static bool track_word(struct parameter_names *names, const char *word, size_t size)
{
    if (size == 0)
        return true;
    if (size > PARAMETER_NAME_MAX)
        return false;
    char *name = memory_strndup(word, size);
    if (!name)
        return false;
    int slot = parameter_slot(names, name);
    if (slot < 0 && names->count < PARAMETER_SLOTS) {
        slot = names->count++;
        names->names[slot] = name;
    } else {
        memory_free(name);
    }
    if (slot >= 0)
        names->tracked[slot] = true;
    return slot >= 0;
}

bool parameter_names_init(struct parameter_names *names, const char *track_extra_parameters)
{
    memset(names, 0, sizeof(*names));
    for (int i = 0; i < REPORTED_COUNT; i++)
        names->names[i] = reported[i];
    for (int i = 0; i < TRACKED_COUNT; i++)
        names->tracked[i] = true;
    names->count = REPORTED_COUNT;
    for (const char *at = track_extra_parameters ? track_extra_parameters : ""; *at;) {
        at += strspn(at, ", \t");
        size_t size = strcspn(at, ", \t");
        if (!track_word(names, at, size))
            return false;
        at += size;
    }
    return true;
}

void parameter_names_finish(struct parameter_names *names)
{
    for (int i = REPORTED_COUNT; i < names->count; i++) {
        char *owned;
        memcpy(&owned, &names->names[i], sizeof(owned));
        memory_free(owned);
    }
    names->count = 0;
}

int parameter_slot(const struct parameter_names *names, const char *name)
{
    for (int i = 0; i < names->count; i++)
        if (parameter_name_is(names->names[i], name))
            return i;
    return -1;
}

/* Never 0, which stands for "no value". */
static uint64_t value_hash(const char *value)
{
    return digest64(value, strlen(value)) | 1;
}

/* Position counts: equal values in two slots must not cancel each other out. */
static uint64_t slot_hash(int slot, uint64_t hash)
{
    return hash * (2 * (uint64_t)slot + 0x9e3779b97f4a7c15u);
}

bool server_parameters_set(struct server_parameters *parameters, int slot, const char *value)
{
    uint64_t hash = value_hash(value);
    if (parameters->hashes[slot] == hash)
        return true;
    char *copy = memory_strdup(value);
    if (!copy)
        return false;
    memory_free(parameters->values[slot]);
    parameters->values[slot] = copy;
    parameters->digest += slot_hash(slot, hash) - slot_hash(slot, parameters->hashes[slot]);
    parameters->hashes[slot] = hash;
    return true;
}

void server_parameters_finish(struct server_parameters *parameters)
{
    for (int i = 0; i < PARAMETER_SLOTS; i++)
        memory_free(parameters->values[i]);
    memset(parameters, 0, sizeof(*parameters));
}

static void told_set_hash(struct told_parameters *told, int slot, uint64_t hash)
{
    told->digest += slot_hash(slot, hash) - slot_hash(slot, told->hashes[slot]);
    told->hashes[slot] = hash;
}

void told_parameters_set(struct told_parameters *told, int slot, const char *value)
{
    told_set_hash(told, slot, value_hash(value));
}

void told_parameters_update(struct told_parameters *told, const struct server_parameters *server,
                            const struct parameter_names *names, struct bytes *out)
{
    for (int i = 0; i < names->count; i++) {
        if (!server->values[i] || server->hashes[i] == told->hashes[i])
            continue;
        build_parameter_status(out, names->names[i], server->values[i]);
        told_set_hash(told, i, server->hashes[i]);
    }
}

static struct wanted_parameter *find_wanted(const struct wanted_parameters *wanted, int slot)
{
    for (int i = 0; i < wanted->count; i++)
        if (wanted->items[i].slot == slot)
            return &wanted->items[i];
    return NULL;
}

static struct wanted_parameter *add_wanted(struct wanted_parameters *wanted, int slot)
{
    if (wanted->count >= PARAMETER_WANTED_MAX)
        return NULL;
    struct wanted_parameter *items = memory_resize_array(wanted->items, (size_t)wanted->count + 1,
                                                         sizeof(struct wanted_parameter));
    if (!items)
        return NULL;
    wanted->items = items;
    struct wanted_parameter *added = &items[wanted->count++];
    *added = (struct wanted_parameter){.slot = slot};
    return added;
}

bool wanted_parameters_set(struct wanted_parameters *wanted, int slot, const char *value)
{
    if (strlen(value) > PARAMETER_VALUE_MAX)
        return false;
    struct wanted_parameter *item = find_wanted(wanted, slot);
    uint64_t hash = value_hash(value);
    if (item && item->hash == hash)
        return true;
    char *copy = memory_strdup(value);
    if (!copy)
        return false;
    if (!item && !(item = add_wanted(wanted, slot))) {
        memory_free(copy);
        return false;
    }
    memory_free(item->value);
    item->value = copy;
    item->hash = hash;
    return true;
}

const char *wanted_parameters_get(const struct wanted_parameters *wanted, int slot)
{
    const struct wanted_parameter *item = find_wanted(wanted, slot);
    return item ? item->value : NULL;
}

bool wanted_parameters_copy(struct wanted_parameters *to, const struct wanted_parameters *from)
{
    for (int i = 0; i < from->count; i++)
        if (!wanted_parameters_set(to, from->items[i].slot, from->items[i].value))
            return false;
    return true;
}

void wanted_parameters_finish(struct wanted_parameters *wanted)
{
    for (int i = 0; i < wanted->count; i++)
        memory_free(wanted->items[i].value);
    memory_free(wanted->items);
    *wanted = (struct wanted_parameters){0};
}

static int build_encoding_query(const struct wanted_parameters *wanted,
                                const struct server_parameters *server,
                                const struct parameter_names *names, struct bytes *out)
{
    const struct wanted_parameter *encoding = find_wanted(wanted, CLIENT_ENCODING_SLOT);
    if (!encoding || encoding->hash == server->hashes[CLIENT_ENCODING_SLOT])
        return 0;
    size_t mark = message_begin(out, 'Q');
    bytes_text(out, "SELECT ");
    session_put_set_config(out, names->names[CLIENT_ENCODING_SLOT], encoding->value, false);
    bytes_u8(out, 0);
    message_end(out, mark);
    return 1;
}

/* Our own statements are not struck by a time limit that the session has (it may be set anew
 * behind). */
static const char *put_timeout(struct session_change change, struct bytes *out)
{
    if (session_profile_get(change.from, "statement_timeout"))
        bytes_text(out, "SET LOCAL statement_timeout = 0; ");
    return "SELECT ";
}

int wanted_parameters_prefix(const struct wanted_parameters *wanted,
                             const struct server_parameters *server,
                             const struct parameter_names *names, struct session_change change,
                             struct bytes *out)
{
    build_query(out, SESSION_BEGIN);
    int queries = 1 + build_encoding_query(wanted, server, names, out);
    size_t mark = message_begin(out, 'Q');
    const char *separator = put_timeout(change, out);
    for (int i = 0; i < wanted->count; i++) {
        const struct wanted_parameter *item = &wanted->items[i];
        if (item->slot == CLIENT_ENCODING_SLOT || item->hash == server->hashes[item->slot])
            continue;
        bytes_text(out, separator);
        session_put_set_config(out, names->names[item->slot], item->value, false);
        separator = ", ";
    }
    if (session_profile_hash(change.from) != session_profile_hash(change.to))
        session_profile_change(change.from, change.to, &separator, out);
    bytes_text(out, *separator == ',' ? "; COMMIT" : "COMMIT");
    bytes_u8(out, 0);
    message_end(out, mark);
    return bytes_ok(out) ? queries + 1 : 0;
}

void wanted_parameters_adopt(struct wanted_parameters *wanted,
                             const struct server_parameters *server)
{
    for (int i = 0; i < wanted->count; i++) {
        int slot = wanted->items[i].slot;
        if (server->values[slot])
            wanted_parameters_set(wanted, slot, server->values[slot]);
    }
}

uint64_t wanted_parameters_statement_hash(const struct wanted_parameters *wanted,
                                          const struct parameter_names *names)
{
    (void)names;
    uint64_t hash = 0;
    for (int i = 0; i < wanted->count; i++)
        if (wanted->items[i].slot != APPLICATION_NAME_SLOT)
            hash += slot_hash(wanted->items[i].slot, wanted->items[i].hash);
    return hash;
}
