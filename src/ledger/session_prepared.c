#include "ledger/session_prepared.h"

#include <string.h>

#include "ledger/session_state.h"
#include "ledger/statements.h"
#include "wire/build.h"

_Static_assert(SESSION_SETTINGS_MAX <= 64, "a bit for each statement");

bool session_prepared_text(const char *shown, const char *name, char text[SESSION_VALUE_MAX + 1])
{
    struct session_piece piece;
    if (!session_find_prepare(shown, strlen(shown), name, &piece) || piece.size > SESSION_VALUE_MAX)
        return false;
    memcpy(text, shown + piece.at, piece.size);
    text[piece.size] = '\0';
    return !statement_keeps_time(text);
}

bool session_prepared_add(struct session_list *prepared, const char *name, const char *shown)
{
    char text[SESSION_VALUE_MAX + 1];
    return session_prepared_text(shown, name, text) && session_list_append(prepared, name, text);
}

static int count_of(const struct session_profile *profile)
{
    return profile ? profile->prepared_count : 0;
}

static const struct session_setting *item_of(const struct session_profile *profile, int i)
{
    return &profile->items[profile->count + i];
}

const struct session_setting *session_prepared_find(const struct session_profile *profile,
                                                    const char *name)
{
    for (int i = 0; i < count_of(profile); i++)
        if (strcmp(item_of(profile, i)->name, name) == 0)
            return item_of(profile, i);
    return NULL;
}

static bool has_same(const struct session_profile *profile, const struct session_setting *item)
{
    const struct session_setting *found = session_prepared_find(profile, item->name);
    return found && strcmp(found->value, item->value) == 0;
}

int session_prepared_close(const struct session_profile *from, const struct session_profile *to,
                           struct bytes *out)
{
    int closed = 0;
    for (int i = 0; i < count_of(from); i++) {
        if (has_same(to, item_of(from, i)))
            continue;
        build_target(out, 'C', 'S', item_of(from, i)->name);
        closed++;
    }
    return closed;
}

int session_prepared_make(const struct session_profile *from, const struct session_profile *to,
                          struct bytes *out)
{
    int made = 0;
    for (int i = 0; i < count_of(to); i++) {
        if (has_same(from, item_of(to, i)))
            continue;
        build_query(out, item_of(to, i)->value);
        made++;
    }
    return made;
}

static bool copy(struct session_list *list, const struct session_setting *item)
{
    return session_list_append(list, item->name, item->value);
}

bool session_prepared_without(const struct session_profile *from, struct session_profile *to,
                              uint64_t failed, struct session_profile **made)
{
    struct session_list settings = {0}, prepared = {0};
    bool ok = true;
    int query = 0;
    for (int i = 0; ok && to && i < to->count; i++)
        ok = copy(&settings, &to->items[i]);
    for (int i = 0; ok && i < count_of(to); i++) {
        bool is_there = has_same(from, item_of(to, i)) || !(failed & UINT64_C(1) << query++);
        ok = !is_there || copy(&prepared, item_of(to, i));
    }
    ok = ok && session_profile_create(&settings, &prepared, made);
    session_list_finish(&settings);
    session_list_finish(&prepared);
    return ok;
}

uint32_t session_prepared_touches(const struct session_profile *profile)
{
    uint32_t touches = 0;
    for (int i = 0; i < count_of(profile); i++)
        touches |= session_scan(item_of(profile, i)->value, strlen(item_of(profile, i)->value));
    return touches & ~(uint32_t)SESSION_PREPARE;
}
