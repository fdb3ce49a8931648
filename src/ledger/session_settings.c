#include "ledger/session_settings.h"

#include <string.h>
#include <strings.h>

#include "base/digest.h"
#include "base/memory.h"

/* -- lists
 * ----------------------------------------------------------------------------------------------
 */

static char *lower_copy(const char *name)
{
    char *copy = memory_strdup(name);
    for (char *at = copy; at && *at; at++)
        if (*at >= 'A' && *at <= 'Z')
            *at = (char)(*at + ('a' - 'A'));
    return copy;
}

static void free_text(const char *text)
{
    char *owned;
    memcpy(&owned, &text, sizeof(owned));
    memory_free(owned);
}

static struct session_setting *find(const struct session_list *list, const char *name)
{
    for (int i = 0; i < list->count; i++)
        if (strcasecmp(list->items[i].name, name) == 0)
            return &list->items[i];
    return NULL;
}

/* Takes the name over, which may be NULL: no memory. */
static struct session_setting *add(struct session_list *list, char *name)
{
    struct session_setting *items = NULL;
    if (name && list->count < SESSION_SETTINGS_MAX)
        items = memory_resize_array(list->items, (size_t)list->count + 1, sizeof(*items));
    if (!items) {
        memory_free(name);
        return NULL;
    }
    list->items = items;
    items[list->count] = (struct session_setting){.name = name};
    return &items[list->count++];
}

bool session_list_set(struct session_list *list, const char *name, const char *value)
{
    if (strlen(name) > SESSION_NAME_MAX || strlen(value) > SESSION_VALUE_MAX)
        return false;
    char *copy = memory_strdup(value);
    if (!copy)
        return false;
    struct session_setting *setting = find(list, name);
    if (!setting && !(setting = add(list, lower_copy(name)))) {
        memory_free(copy);
        return false;
    }
    free_text(setting->value);
    setting->value = copy;
    return true;
}

bool session_list_append(struct session_list *list, const char *name, const char *value)
{
    if (strlen(name) > SESSION_NAME_MAX || strlen(value) > SESSION_VALUE_MAX)
        return false;
    char *copy = memory_strdup(value);
    struct session_setting *setting = copy ? add(list, memory_strdup(name)) : NULL;
    if (!setting) {
        memory_free(copy);
        return false;
    }
    setting->value = copy;
    return true;
}

const char *session_list_get(const struct session_list *list, const char *name)
{
    const struct session_setting *setting = find(list, name);
    return setting ? setting->value : NULL;
}

void session_list_finish(struct session_list *list)
{
    for (int i = 0; i < list->count; i++) {
        free_text(list->items[i].name);
        free_text(list->items[i].value);
    }
    memory_free(list->items);
    *list = (struct session_list){0};
}

/* -- profiles
 * -------------------------------------------------------------------------------------------
 */

static bool is_one_of(const char *name, const char *const *names)
{
    for (; *names; names++)
        if (strcmp(name, *names) == 0)
            return true;
    return false;
}

static const char *const limits[] = {"statement_timeout",
                                     "lock_timeout",
                                     "transaction_timeout",
                                     "idle_session_timeout",
                                     "idle_in_transaction_session_timeout",
                                     NULL};

/* An idle server would be ended by a time limit of sessions, and our own statements by one that is
 * shown in milliseconds, for it is short or odd. */
static bool disturbs(const struct session_setting *setting)
{
    size_t size = strlen(setting->value);
    if (strcmp(setting->name, "idle_session_timeout") == 0)
        return strcmp(setting->value, "0") != 0;
    return is_one_of(setting->name, limits) && size > 2 &&
           strcmp(setting->value + size - 2, "ms") == 0;
}

static uint64_t hash_of(const struct session_setting *setting)
{
    uint64_t name = digest64(setting->name, strlen(setting->name));
    return name * (2 * digest64(setting->value, strlen(setting->value)) + 1);
}

static size_t text_size(const struct session_list *list)
{
    size_t size = 0;
    for (int i = 0; i < list->count; i++)
        size += strlen(list->items[i].name) + strlen(list->items[i].value) + 2;
    return size;
}

static const char *put_text(char **at, const char *text)
{
    char *copy = *at;
    size_t size = strlen(text) + 1;
    memcpy(copy, text, size);
    *at += size;
    return copy;
}

static void put_item(struct session_profile *made, int at, const struct session_setting *from,
                     char **text)
{
    made->items[at].name = put_text(text, from->name);
    made->items[at].value = put_text(text, from->value);
}

/* Hashes are sums, so that the order does not matter. */
static void note_setting(struct session_profile *made, const struct session_setting *from)
{
    uint64_t hash = hash_of(from);
    made->settings_hash += hash;
    made->statement_hash += is_one_of(from->name, limits) ? 0 : hash;
    made->disturbs = made->disturbs || disturbs(from);
}

/* A statement is no setting of the same name. */
#define PREPARED_FACTOR UINT64_C(0x9e3779b97f4a7c15)

bool session_profile_create(const struct session_list *list, const struct session_list *prepared,
                            struct session_profile **profile)
{
    int count = list->count + (prepared ? prepared->count : 0);
    *profile = NULL;
    if (count == 0)
        return true;
    size_t items = (size_t)count * sizeof(struct session_setting);
    size_t texts = text_size(list) + (prepared ? text_size(prepared) : 0);
    struct session_profile *made = memory_zalloc(sizeof(*made) + items + texts);
    if (!made)
        return false;
    char *at = (char *)made->items + items;
    atomic_init(&made->references, 1);
    for (; made->count < list->count; made->count++) {
        put_item(made, made->count, &list->items[made->count], &at);
        note_setting(made, &list->items[made->count]);
    }
    made->hash = made->settings_hash;
    for (; prepared && made->prepared_count < prepared->count; made->prepared_count++) {
        const struct session_setting *from = &prepared->items[made->prepared_count];
        put_item(made, made->count + made->prepared_count, from, &at);
        made->hash += PREPARED_FACTOR * hash_of(from);
    }
    made->hash |= 1;
    *profile = made;
    return true;
}

struct session_profile *session_profile_acquire(struct session_profile *profile)
{
    if (profile)
        atomic_fetch_add_explicit(&profile->references, 1, memory_order_relaxed);
    return profile;
}

void session_profile_release(struct session_profile *profile)
{
    if (profile && atomic_fetch_sub_explicit(&profile->references, 1, memory_order_acq_rel) == 1)
        memory_free(profile);
}

const char *session_profile_get(const struct session_profile *profile, const char *name)
{
    for (int i = 0; profile && i < profile->count; i++)
        if (strcasecmp(profile->items[i].name, name) == 0)
            return profile->items[i].value;
    return NULL;
}

/* -- what brings one to the other
 * -----------------------------------------------------------------------
 */

/* As an E'' literal, which means the same under both settings of standard_conforming_strings. */
static void put_literal(struct bytes *out, const char *text)
{
    bytes_text(out, "E'");
    for (; *text; text++) {
        if (*text == '\'' || *text == '\\')
            bytes_u8(out, (uint8_t)*text);
        bytes_u8(out, (uint8_t)*text);
    }
    bytes_u8(out, '\'');
}

void session_put_set_config(struct bytes *out, const char *name, const char *value, bool is_local)
{
    bytes_text(out, "pg_catalog.set_config(");
    put_literal(out, name);
    bytes_u8(out, ',');
    if (value)
        put_literal(out, value);
    else
        bytes_text(out, "NULL");
    bytes_text(out, is_local ? ",true)" : ",false)");
}

static void put_change(struct bytes *out, const char **separator, const char *name,
                       const char *value)
{
    bytes_text(out, *separator);
    *separator = ", ";
    session_put_set_config(out, name, value, false);
}

/* In the order in which they are set. */
static const char *const identities[] = {"session_authorization", "role", NULL};

void session_profile_change(const struct session_profile *from, const struct session_profile *to,
                            const char **separator, struct bytes *out)
{
    for (int i = 0; identities[i]; i++)
        if (session_profile_get(from, identities[i]))
            put_change(out, separator, identities[i], NULL);
    for (int i = 0; from && i < from->count; i++) {
        const char *name = from->items[i].name;
        if (!is_one_of(name, identities) && !session_profile_get(to, name))
            put_change(out, separator, name, NULL);
    }
    for (int i = 0; to && i < to->count; i++) {
        const char *name = to->items[i].name, *had = session_profile_get(from, name);
        bool differs = !had || strcmp(had, to->items[i].value) != 0;
        if (differs && !is_one_of(name, identities))
            put_change(out, separator, name, to->items[i].value);
    }
    for (int i = 0; identities[i]; i++) {
        const char *value = session_profile_get(to, identities[i]);
        if (value)
            put_change(out, separator, identities[i], value);
    }
}
