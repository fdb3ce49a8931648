#include "ledger/notifications.h"

#include <string.h>

#include "base/memory.h"

#define HEAD 5 /* type and length */
/* Of two connections that hear the same, one is a moment behind the other. */
#define OVERLAP_MAX 64

/* -- one ----------------------------------------------------------------------------------------
 */

struct notification *notification_create(struct span body)
{
    struct cursor cursor = cursor_over(body.data, body.size);
    cursor_u32(&cursor);
    const char *channel = cursor_string(&cursor), *payload = cursor_string(&cursor);
    if (!channel || !payload || !cursor_finished(&cursor))
        return NULL;
    struct notification *notification = memory_zalloc(sizeof(*notification) + HEAD + body.size);
    if (!notification)
        return NULL;
    uint32_t length = (uint32_t)body.size + 4;
    notification->references = 1;
    notification->size = (uint32_t)(HEAD + body.size);
    notification->message[0] = 'A';
    for (int i = 0; i < 4; i++)
        notification->message[1 + i] = (uint8_t)(length >> (24 - 8 * i));
    memcpy(notification->message + HEAD, body.data, body.size);
    return notification;
}

struct notification *notification_acquire(struct notification *notification)
{
    notification->references++;
    return notification;
}

void notification_release(struct notification *notification)
{
    if (notification && --notification->references == 0)
        memory_free(notification);
}

uint32_t notification_process(const struct notification *notification)
{
    struct cursor cursor = cursor_over(notification->message + HEAD, 4);
    return cursor_u32(&cursor);
}

const char *notification_channel(const struct notification *notification)
{
    return (const char *)notification->message + HEAD + 4;
}

bool notification_is_same(const struct notification *a, const struct notification *b)
{
    return a->size == b->size && memcmp(a->message, b->message, a->size) == 0;
}

/* -- a queue ------------------------------------------------------------------------------------
 */

void notification_queue_init(struct notification_queue *queue)
{
    TAILQ_INIT(&queue->entries);
    queue->count = 0;
    queue->bytes = 0;
}

static size_t weight(const struct notification *notification)
{
    return sizeof(struct notification_entry) + (notification ? notification->size : 0);
}

bool notification_queue_push(struct notification_queue *queue, struct notification *notification)
{
    struct notification_entry *last = TAILQ_LAST(&queue->entries, notification_entries);
    if (!notification && last && !last->notification)
        return true;
    struct notification_entry *entry = memory_zalloc(sizeof(*entry));
    if (!entry)
        return false;
    entry->notification = notification ? notification_acquire(notification) : NULL;
    TAILQ_INSERT_TAIL(&queue->entries, entry, link);
    queue->count++;
    queue->bytes += weight(notification);
    return true;
}

bool notification_queue_shift(struct notification_queue *queue, struct notification **notification)
{
    struct notification_entry *entry = TAILQ_FIRST(&queue->entries);
    if (!entry)
        return false;
    *notification = entry->notification;
    TAILQ_REMOVE(&queue->entries, entry, link);
    queue->count--;
    queue->bytes -= weight(entry->notification);
    memory_free(entry);
    return true;
}

static void drop_first(struct notification_queue *queue)
{
    struct notification *notification;
    if (notification_queue_shift(queue, &notification))
        notification_release(notification);
}

void notification_queue_clear(struct notification_queue *queue)
{
    while (queue->count > 0)
        drop_first(queue);
}

bool notification_queue_take(struct notification_queue *queue,
                             const struct notification *notification)
{
    const struct notification_entry *entry;
    int in_front = 0;
    TAILQ_FOREACH (entry, &queue->entries, link) {
        if (entry->notification && notification_is_same(entry->notification, notification)) {
            for (; in_front >= 0; in_front--)
                drop_first(queue);
            return true;
        }
        in_front++;
    }
    return false;
}

static void drop(struct notification_queue *queue, struct notification_entry *entry)
{
    TAILQ_REMOVE(&queue->entries, entry, link);
    queue->count--;
    queue->bytes -= weight(entry->notification);
    notification_release(entry->notification);
    memory_free(entry);
}

void notification_queue_keep(struct notification_queue *queue,
                             bool (*has)(const void *argument, const char *channel),
                             const void *argument)
{
    struct notification_entry *entry, *next;
    for (entry = TAILQ_FIRST(&queue->entries); entry; entry = next) {
        next = TAILQ_NEXT(entry, link);
        if (entry->notification && !has(argument, notification_channel(entry->notification)))
            drop(queue, entry);
    }
}

/* -- what two queues have in common -------------------------------------------------------------
 */

/* The last ones of a queue, oldest first. */
struct tail {
    const struct notification *items[OVERLAP_MAX];
    int count;
};

static void read_tail(const struct notification_queue *queue, struct tail *tail)
{
    const struct notification_entry *entry;
    int skipped = queue->count > OVERLAP_MAX ? queue->count - OVERLAP_MAX : 0;
    tail->count = 0;
    TAILQ_FOREACH (entry, &queue->entries, link)
        if (skipped-- <= 0 && entry->notification)
            tail->items[tail->count++] = entry->notification;
}

static bool speaks_of(const struct tail *tail, const char *channel)
{
    for (int i = 0; i < tail->count; i++)
        if (strcmp(notification_channel(tail->items[i]), channel) == 0)
            return true;
    return false;
}

/* The first ones of the channels that `before` speaks of. */
static void read_front(const struct notification_queue *queue, const struct tail *before,
                       struct tail *front)
{
    const struct notification_entry *entry;
    front->count = 0;
    TAILQ_FOREACH (entry, &queue->entries, link)
        if (front->count < OVERLAP_MAX && entry->notification &&
            speaks_of(before, notification_channel(entry->notification)))
            front->items[front->count++] = entry->notification;
}

static bool ends_with(const struct tail *before, const struct tail *front, int count)
{
    for (int i = 0; i < count; i++)
        if (!notification_is_same(before->items[before->count - count + i], front->items[i]))
            return false;
    return true;
}

static int overlap_of(const struct tail *before, const struct tail *front)
{
    int count = before->count < front->count ? before->count : front->count;
    while (count > 0 && !ends_with(before, front, count))
        count--;
    return count;
}

void notification_queue_drop_overlap(struct notification_queue *queue,
                                     const struct notification_queue *before)
{
    struct tail tail, front;
    struct notification_entry *entry, *next;
    if (before->count == 0 || queue->count == 0)
        return;
    read_tail(before, &tail);
    read_front(queue, &tail, &front);
    int left = overlap_of(&tail, &front);
    for (entry = TAILQ_FIRST(&queue->entries); entry && left > 0; entry = next) {
        next = TAILQ_NEXT(entry, link);
        if (!entry->notification || !speaks_of(&tail, notification_channel(entry->notification)))
            continue;
        left--;
        drop(queue, entry);
    }
}
