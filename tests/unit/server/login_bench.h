/* login_bench: a server set on a loop of its own, one pool, and a scripted server at the other end
 * of a socket on loopback. Included by the tests of this room. */
#pragma once
#include <arpa/inet.h>
#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../config/config_files.h"
#include "auth/client_keys.h"
#include "auth/crypto.h"
#include "pool/registry.h"
#include "server/server_set.h"

#define PATIENCE (5 * USEC_PER_SEC)

/* One connection of the scripted server: after each packet that the pooler sends, the next answer.
 */
struct script {
    const void *answers[8];
    size_t sizes[8];
    int count;
    bool answers_ssl; /* the first packet is an SSLRequest */
    bool has_quit;    /* it closes behind its last answer */
};

struct bench {
    struct loaded loaded;
    struct loop *loop;
    struct offload *offload;
    struct registry *registry;
    struct server_set set, *siblings[1];
    struct parameter_names names;
    _Atomic uint64_t ids;
    struct pool *pool;
    struct database_entry *database;
    struct pool_waiter waiter;
    struct server *granted;
    bool is_refused;
    struct error why;
    usec_t until;
    bool (*awaited)(struct bench *bench);
    bool is_late;

    int listener, port;
    pthread_t thread;
    bool has_thread;
    const struct script *scripts;
    int script_count;
    _Atomic int connections;
    char said[4096]; /* by the pooler, of the last connection */
    _Atomic size_t said_size;
};

static struct bench *bench_of(struct pool_waiter *waiter)
{
    return (struct bench *)((char *)waiter - offsetof(struct bench, waiter));
}

static void bench_granted(struct pool_waiter *waiter, struct pool_member *member)
{
    pool_waiter_done(waiter);
    bench_of(waiter)->granted = server_of_member(member);
}

static void bench_refused(struct pool_waiter *waiter, const struct error *why)
{
    pool_waiter_done(waiter);
    bench_of(waiter)->is_refused = true;
    bench_of(waiter)->why = *why;
}

/* ---- the scripted server ---- */

static bool read_packet(struct bench *bench, int fd, bool has_type)
{
    uint8_t packet[8192];
    size_t head = has_type ? 5 : 4;
    if (recv(fd, packet, head, MSG_WAITALL) != (ssize_t)head)
        return false;
    uint32_t length;
    memcpy(&length, packet + head - 4, 4);
    size_t left = ntohl(length) - 4;
    if (left > sizeof(packet) - head ||
        (left > 0 && recv(fd, packet + head, left, MSG_WAITALL) != (ssize_t)left))
        return false;
    size_t size = head + left, at = atomic_load(&bench->said_size);
    if (at + size <= sizeof(bench->said)) {
        memcpy(bench->said + at, packet, size);
        atomic_store(&bench->said_size, at + size);
    }
    return true;
}

static void play(struct bench *bench, int fd, const struct script *script)
{
    atomic_store(&bench->said_size, 0);
    for (int i = 0; i < script->count; i++) {
        bool has_type = i > (script->answers_ssl ? 1 : 0);
        if (!read_packet(bench, fd, has_type) || send(fd, script->answers[i], script->sizes[i],
                                                      MSG_NOSIGNAL) != (ssize_t)script->sizes[i])
            return;
    }
    char rest[64];
    if (!script->has_quit)
        while (recv(fd, rest, sizeof(rest), 0) > 0 && rest[0] != 'X')
            ;
}

static void *serve(void *argument)
{
    struct bench *bench = argument;
    for (int i = 0;; i++) {
        int fd = accept(bench->listener, NULL, NULL);
        if (fd < 0)
            return NULL;
        atomic_fetch_add(&bench->connections, 1);
        play(bench, fd, &bench->scripts[i < bench->script_count ? i : bench->script_count - 1]);
        close(fd);
    }
}

static void bench_listen(struct bench *bench)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    bench->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(bench->listener, (struct sockaddr *)&address, size), 0);
    ck_assert_int_eq(listen(bench->listener, 16), 0);
    ck_assert_int_eq(getsockname(bench->listener, (struct sockaddr *)&address, &size), 0);
    bench->port = ntohs(address.sin_port);
}

/* ---- the pooler's side ---- */

static void look(void *argument)
{
    struct bench *bench = argument;
    bench->is_late = loop_now(bench->loop) > bench->until;
    if (bench->is_late || bench->awaited(bench))
        loop_stop(bench->loop);
}

/* `entry`: what stands in [databases] behind the port; `options`: lines of [pgbouncer]. */
static void bench_start(struct bench *bench, const char *entry, const char *options,
                        const struct script *scripts, int count)
{
    char text[2048];
    struct error error;
    enter_folder();
    ck_assert(auth_crypto_init(&error));
    bench_listen(bench);
    bench->scripts = scripts;
    bench->script_count = count;
    (void)snprintf(text, sizeof(text),
                   "[databases]\nshop = port=%d %s\n[pgbouncer]\nauth_type=trust\nauth_file=users\n"
                   "listen_addr=127.0.0.1\nserver_tls_sslmode=disable\n%s",
                   bench->port, entry, options);
    write_file("users", "\"anna\" \"secret\"\n\"md\" \"md5900150983cd24fb0d6963f7d28e17f72\"\n");
    bench->loaded = load(text);
    if (!bench->loaded.config)
        ck_abort_msg("%s", bench->loaded.problems.lines[0]);
    bench->loop = loop_create(&error);
    bench->offload = offload_create();
    bench->registry = registry_create(1);
    ck_assert(parameter_names_init(&bench->names, "IntervalStyle"));
    bench->siblings[0] = &bench->set;
    bench->set = (struct server_set){.loop = bench->loop,
                                     .worker_count = 1,
                                     .siblings = bench->siblings,
                                     .config = bench->loaded.config,
                                     .resolver = resolver_create(bench->offload),
                                     .offload = bench->offload,
                                     .key_cache = key_cache_create(KEY_CACHE_ENTRIES_MAX),
                                     .client_keys = key_cache_create(CLIENT_KEYS_MAX),
                                     .parameter_names = &bench->names,
                                     .ids = &bench->ids};
    ck_assert(server_set_init(&bench->set));
    bench->database = config_find_database(bench->loaded.config, "shop");
    bench->pool = registry_pool(bench->registry, bench->loaded.config, bench->database, "anna");
    bench->waiter.granted = bench_granted;
    bench->waiter.refused = bench_refused;
    ck_assert_int_eq(pthread_create(&bench->thread, NULL, serve, bench), 0);
    loop_add_periodic(bench->loop, 2 * USEC_PER_MSEC, look, bench);
}

static void bench_ask(struct bench *bench)
{
    struct pool_advice advice;
    struct pool_member *member = NULL;
    bench->granted = NULL;
    bench->is_refused = false;
    bench->waiter.since = 0;
    switch (pool_acquire(bench->pool, 0, &bench->waiter, clock_monotonic(), &member, &advice,
                         &bench->why)) {
    case POOL_GOT:
        bench->granted = server_of_member(member);
        break;
    case POOL_WAIT:
        server_follow(&bench->set, &advice);
        break;
    case POOL_REFUSED:
        bench->is_refused = true;
        break;
    }
}

static bool is_answered(struct bench *bench)
{
    return bench->granted != NULL || bench->is_refused;
}

static void bench_await(struct bench *bench, bool (*awaited)(struct bench *bench))
{
    bench->awaited = awaited;
    bench->until = clock_monotonic() + PATIENCE;
    atomic_store(&bench->loop->must_stop, false);
    loop_run(bench->loop);
    ck_assert_msg(!bench->is_late, "what was awaited did not come");
}

static bool has_turned(struct bench *bench)
{
    (void)bench;
    return true;
}

static void bench_finish(struct bench *bench)
{
    if (waiter_is_waiting(&bench->waiter))
        pool_waiter_leave(&bench->waiter);
    if (atomic_load(&bench->waiter.state) != WAITER_NONE)
        pool_waiter_done(&bench->waiter);
    server_set_finish(&bench->set);
    bench_await(bench, has_turned); /* frees what closed */
    shutdown(bench->listener, SHUT_RDWR);
    (void)pthread_join(bench->thread, NULL);
    close(bench->listener);
    offload_destroy(bench->offload);
    resolver_destroy(bench->set.resolver);
    key_cache_destroy(bench->set.key_cache);
    key_cache_destroy(bench->set.client_keys);
    pool_release_reference(bench->pool);
    database_release(bench->database);
    registry_destroy(bench->registry);
    loop_destroy(bench->loop);
    parameter_names_finish(&bench->names);
    unload(&bench->loaded);
    auth_crypto_finish();
    leave_folder();
}
