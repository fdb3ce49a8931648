/* mailbox: messages between loops.
 *
 * A stack pushed by compare-and-swap and an eventfd, signalled by who pushes onto an empty stack;
 * the owner takes all with one exchange and delivers in the order of arrival. The eventfd is
 * registered edge-triggered and never read (MECHANISMS §2.1). A message is embedded in what it
 * carries and belongs to the mailbox until `deliver` is called on the receiving loop's thread. It
 * holds a reference, or carries id and generation, never a bare pointer to what may be freed
 * meanwhile.
 */
#pragma once
#include <stdatomic.h>
#include <stdbool.h>

struct loop;

struct mail {
    struct mail *next;
    void (*deliver)(struct mail *mail, struct loop *loop);
};

struct mailbox {
    _Atomic(struct mail *) stack;
    int eventfd;
    _Atomic bool is_closed; /* the loop has ended: mail stays undelivered until loop_destroy */
};

/* Any thread. */
void loop_post(struct loop *to, struct mail *mail);

/* The rest is for net/loop alone. False: no descriptor (errno). */
bool mailbox_init(struct mailbox *mailbox);
void mailbox_finish(struct mailbox *mailbox);
/* Makes the owner's wait end. Any thread. */
void mailbox_wake(struct mailbox *mailbox);
/* Delivers what is there; mail that comes meanwhile waits for the next turn. On the loop's thread.
 */
void mailbox_deliver(struct mailbox *mailbox, struct loop *loop);
