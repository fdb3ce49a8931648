/* deadline: coarse time limits from ordered lists (DESIGN §8).
 *
 * One list per kind of limit and loop, ordered by time; the loop looks at the heads at the end of
 * each turn and keeps one timer for the earliest. A deadline is embedded in its owner,
 * zero-initialised, in at most one list. Insertion walks from the tail, so a list whose entries all
 * have the same length costs O(1). One loop's thread.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <sys/queue.h>

#include "base/clock.h"

struct loop;

struct deadline {
    usec_t at;
    struct deadline_list *list; /* NULL: not set */
    TAILQ_ENTRY(deadline) link;
};
TAILQ_HEAD(deadlines, deadline);

struct deadline_list {
    struct loop *loop;
    struct deadlines entries;
    /* Called when the oldest entry's time is up, after it was taken off. May set or clear
     * deadlines, this one too. */
    void (*expired)(struct deadline *deadline, struct deadline_list *list);
    void *owner;
    TAILQ_ENTRY(deadline_list) link;
};

void deadline_list_init(struct deadline_list *list, struct loop *loop,
                        void (*expired)(struct deadline *, struct deadline_list *), void *owner);
void deadline_list_finish(
    struct deadline_list *list); /* clears its entries; not from inside an expired() */
/* Sets or moves. `at` is of loop_now()'s clock; a time that has passed counts as the next
 * microsecond, so that an entry which is set again and again from expired() comes once a turn. */
void deadline_set(struct deadline_list *list, struct deadline *deadline, usec_t at);
void deadline_clear(struct deadline *deadline); /* not set is fine */
static inline bool deadline_is_set(const struct deadline *deadline)
{
    return deadline->list != NULL;
}
/* Runs what is due and finds the next time, loop->earliest; called by the loop when that has come.
 */
void deadlines_run(struct loop *loop);
