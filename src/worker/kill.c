/* KILL, KILL USER, KILL_CLIENT: every worker ends those of its own sessions that are meant. */
#include <string.h>

#include "base/memory.h"
#include "worker_private.h"

struct kill;

struct kill_part {
    struct mail mail;
    struct kill *kill;
    struct worker *worker;
};

struct kill {
    struct mail mail;
    struct kill_order order;
    char *name;
    struct loop *loop;
    void (*done)(void *argument, int ended);
    void *argument;
    _Atomic int left, ended;
    struct kill_part parts[];
};

static void complete(struct mail *mail, struct loop *loop)
{
    struct kill *kill = (struct kill *)((char *)mail - offsetof(struct kill, mail));
    (void)loop;
    kill->done(kill->argument, atomic_load(&kill->ended));
    memory_free(kill->name);
    memory_free(kill);
}

static void close_database(struct worker *worker, const char *name)
{
    struct error why;
    error_set(&why, SQLSTATE_ADMIN_SHUTDOWN, "database removed");
    if (name)
        client_set_close_database(&worker->clients, name, &why);
    else
        client_set_close_pools(&worker->clients, &why);
    server_set_kill_database(&worker->servers, name);
}

static int end_sessions(struct worker *worker, const struct kill *kill)
{
    struct error why;
    error_set(&why, SQLSTATE_ADMIN_SHUTDOWN, "admin forced disconnect");
    switch (kill->order.kind) {
    case KILL_DATABASE:
        close_database(worker, kill->name);
        return 0;
    case KILL_USER:
        return client_set_end_user(&worker->clients, kill->name, kill->order.id, &why);
    case KILL_CLIENT:
        return client_set_end_client(&worker->clients, kill->order.id, &why);
    }
    return 0;
}

static void end_part(struct mail *mail, struct loop *loop)
{
    struct kill_part *part = (struct kill_part *)((char *)mail - offsetof(struct kill_part, mail));
    struct kill *kill = part->kill;
    (void)loop;
    atomic_fetch_add(&kill->ended, end_sessions(part->worker, kill));
    if (atomic_fetch_sub(&kill->left, 1) == 1) {
        kill->mail.deliver = complete;
        loop_post(kill->loop, &kill->mail);
    }
}

bool control_kill(struct workers *workers, struct loop *loop, const struct kill_order *order,
                  void (*done)(void *argument, int ended), void *argument)
{
    size_t count = (size_t)workers->count;
    struct kill *kill = memory_zalloc(sizeof(*kill) + count * sizeof(kill->parts[0]));
    if (!kill)
        return false;
    kill->order = *order;
    kill->name = order->name ? memory_strdup(order->name) : NULL;
    if (order->name && !kill->name) {
        memory_free(kill);
        return false;
    }
    kill->loop = loop;
    kill->done = done;
    kill->argument = argument;
    atomic_store(&kill->left, workers->count);
    for (size_t i = 0; i < count; i++) {
        kill->parts[i] = (struct kill_part){
            .mail.deliver = end_part, .kill = kill, .worker = &workers->array[i]};
        loop_post(workers->array[i].loop, &kill->parts[i].mail);
    }
    return true;
}
