#include "net/mailbox.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "net/loop.h"

bool mailbox_init(struct mailbox *mailbox)
{
    atomic_init(&mailbox->stack, NULL);
    atomic_init(&mailbox->is_closed, false);
    mailbox->eventfd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return mailbox->eventfd >= 0;
}

void mailbox_finish(struct mailbox *mailbox)
{
    if (mailbox->eventfd >= 0)
        close(mailbox->eventfd);
    mailbox->eventfd = -1;
}

void mailbox_wake(struct mailbox *mailbox)
{
    /* Each write wakes, whatever the count is; it is never read, and 2^64 of them do not happen. */
    const uint64_t one = 1;
    ssize_t written = write(mailbox->eventfd, &one, sizeof(one));
    (void)written;
}

void loop_post(struct loop *to, struct mail *mail)
{
    struct mailbox *mailbox = &to->mailbox;
    struct mail *head = atomic_load_explicit(&mailbox->stack, memory_order_relaxed);

    do
        mail->next = head;
    while (!atomic_compare_exchange_weak_explicit(&mailbox->stack, &head, mail,
                                                  memory_order_seq_cst, memory_order_relaxed));
    if (head == NULL && !atomic_load(&mailbox->is_closed))
        mailbox_wake(mailbox);
}

void mailbox_deliver(struct mailbox *mailbox, struct loop *loop)
{
    struct mail *mail;
    struct mail *ordered = NULL;

    /* Looking before taking: an exchange each turn would own the cache line for nothing. */
    if (atomic_load_explicit(&mailbox->stack, memory_order_relaxed) == NULL)
        return;
    mail = atomic_exchange_explicit(&mailbox->stack, NULL, memory_order_acquire);
    while (mail != NULL) {
        struct mail *next = mail->next;
        mail->next = ordered;
        ordered = mail;
        mail = next;
    }
    while (ordered != NULL) {
        struct mail *next = ordered->next;
        ordered->deliver(ordered, loop);
        ordered = next;
    }
}
