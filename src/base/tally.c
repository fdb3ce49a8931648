#include "base/tally.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"

/* Up to what varies: names stand behind a colon or in quotes, numbers as they are. Also keeps what
 * strangers choose out of the table. */
static void cut_cause(char *to, const char *text)
{
    size_t size = strcspn(text, ":\"'0123456789");

    if (size >= TALLY_CAUSE_SIZE)
        size = TALLY_CAUSE_SIZE - 1;
    while (size > 0 && text[size - 1] == ' ')
        size--;
    memcpy(to, text, size);
    to[size] = '\0';
}

static struct tally_entry *place_of(struct tally *tally, const char *sqlstate, const char *cause)
{
    for (size_t i = 0; i < tally->count; i++)
        if (strcmp(tally->entries[i].sqlstate, sqlstate) == 0 &&
            strcmp(tally->entries[i].cause, cause) == 0)
            return &tally->entries[i];
    if (tally->count == TALLY_KINDS_MAX)
        return &tally->others;
    struct tally_entry *entry = &tally->entries[tally->count++];
    snprintf(entry->sqlstate, sizeof(entry->sqlstate), "%s", sqlstate);
    snprintf(entry->cause, sizeof(entry->cause), "%s", cause);
    return entry;
}

static void add(struct tally_entry *entry, uint64_t count, int64_t last)
{
    entry->count += count;
    if (entry->last < last)
        entry->last = last;
}

void tally_add(struct tally *tally, const char *sqlstate, const char *cause)
{
    char kind[TALLY_CAUSE_SIZE], code[sizeof(tally->others.sqlstate)];

    cut_cause(kind, cause);
    snprintf(code, sizeof(code), "%s", sqlstate);
    add(place_of(tally, code, kind), 1, clock_realtime() / USEC_PER_SEC);
}

void tally_merge(struct tally *sum, const struct tally *part)
{
    for (size_t i = 0; i < part->count; i++) {
        const struct tally_entry *entry = &part->entries[i];
        add(place_of(sum, entry->sqlstate, entry->cause), entry->count, entry->last);
    }
    add(&sum->others, part->others.count, part->others.last);
}
