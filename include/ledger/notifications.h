/* notifications: what LISTEN brings, on its way to the clients (protocol chapter, Asynchronous
 * Operations).
 *
 * A notification is the whole NotificationResponse as a server said it, shared by the queues of one
 * thread; before anybody else has a reference it may be handed to another. A queue is in order.
 * Where the same was heard on two connections, each has it in the order of PostgreSQL's own queue:
 * what one ends with and the other begins with is the same once.
 *
 * Pure: no I/O. One loop's thread.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/cursor.h"

struct notification {
    unsigned references;
    uint32_t size; /* of the message */
    uint8_t message[];
};
/* From the body of a NotificationResponse, with a reference. NULL: it is malformed, or there is no
 * memory. */
struct notification *notification_create(struct span body);
struct notification *notification_acquire(struct notification *notification);
void notification_release(struct notification *notification); /* NULL is fine */
uint32_t notification_process(const struct notification *notification);
const char *notification_channel(const struct notification *notification);
bool notification_is_same(const struct notification *a, const struct notification *b);

struct notification_entry {
    TAILQ_ENTRY(notification_entry) link;
    struct notification *notification; /* a reference; NULL: here some may be missing */
};
struct notification_queue {
    TAILQ_HEAD(notification_entries, notification_entry) entries;
    int count;
    size_t bytes; /* of what is in it; shared ones count in full */
};
void notification_queue_init(struct notification_queue *queue);
/* Takes a reference of its own. Two marks in a row are one. False: no memory. */
bool notification_queue_push(struct notification_queue *queue, struct notification *notification);
/* The first of it, taken out with its reference in *notification. False: it is empty. */
bool notification_queue_shift(struct notification_queue *queue, struct notification **notification);
void notification_queue_clear(struct notification_queue *queue);
/* Is there one like this? Then it goes, and what is in front of it. */
bool notification_queue_take(struct notification_queue *queue,
                             const struct notification *notification);
/* Only those of channels that `has` says yes to stay, and the marks. */
void notification_queue_keep(struct notification_queue *queue,
                             bool (*has)(const void *argument, const char *channel),
                             const void *argument);
/* `before` was told already: what it ends with is dropped from the front of `queue`, as far as it
 * is the same (of the channels that `before` speaks of). */
void notification_queue_drop_overlap(struct notification_queue *queue,
                                     const struct notification_queue *before);
