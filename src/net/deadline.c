#include "net/deadline.h"

#include <stddef.h>

#include "net/loop.h"

void deadline_list_init(struct deadline_list *list, struct loop *loop,
                        void (*expired)(struct deadline *, struct deadline_list *), void *owner)
{
    list->loop = loop;
    list->expired = expired;
    list->owner = owner;
    TAILQ_INIT(&list->entries);
    TAILQ_INSERT_TAIL(&loop->deadlines, list, link);
}

void deadline_list_finish(struct deadline_list *list)
{
    while (!TAILQ_EMPTY(&list->entries))
        deadline_clear(TAILQ_FIRST(&list->entries));
    TAILQ_REMOVE(&list->loop->deadlines, list, link);
}

void deadline_set(struct deadline_list *list, struct deadline *deadline, usec_t at)
{
    struct loop *loop = list->loop;
    usec_t now = loop_now(loop);

    deadline_clear(deadline);
    deadline->at = at > now ? at : now + 1;
    deadline->list = list;

    struct deadline *before = TAILQ_LAST(&list->entries, deadlines);
    while (before != NULL && before->at > deadline->at)
        before = TAILQ_PREV(before, deadlines, link);
    if (before != NULL)
        TAILQ_INSERT_AFTER(&list->entries, before, deadline, link);
    else
        TAILQ_INSERT_HEAD(&list->entries, deadline, link);

    if (loop->earliest == 0 || deadline->at < loop->earliest)
        loop->earliest = deadline->at;
}

void deadline_clear(struct deadline *deadline)
{
    if (deadline->list == NULL)
        return;
    /* loop->earliest stays: the timer may ring once for nothing, which is cheaper than to look for
     * the next one each time. */
    TAILQ_REMOVE(&deadline->list->entries, deadline, link);
    deadline->list = NULL;
}

void deadlines_run(struct loop *loop)
{
    struct deadline_list *list;
    usec_t now = loop_now(loop);
    usec_t earliest = 0;

    TAILQ_FOREACH (list, &loop->deadlines, link) {
        struct deadline *deadline;
        while ((deadline = TAILQ_FIRST(&list->entries)) != NULL && deadline->at <= now) {
            deadline_clear(deadline);
            list->expired(deadline, list);
        }
    }
    /* Only now: expired() may have set entries of lists that were visited before. */
    TAILQ_FOREACH (list, &loop->deadlines, link) {
        struct deadline *first = TAILQ_FIRST(&list->entries);
        if (first != NULL && (earliest == 0 || first->at < earliest))
            earliest = first->at;
    }
    loop->earliest = earliest;
}
