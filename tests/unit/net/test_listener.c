#include <errno.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "net/listener.h"
#include "stream_peer.h"

Suite *suite_net_listener(void);

#define ACCEPTED_MAX 256

static struct loop *loop;
static struct error error;
static char dir[64];
static struct {
    int fds[ACCEPTED_MAX];
    int count;
    struct address peer;
    void (*then)(struct listener *listener);
} got;

static void accepted(void *argument, int fd, const struct address *peer, struct listener *listener)
{
    ck_assert_ptr_eq(argument, &got);
    ck_assert_int_ne(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
    ck_assert_int_ne(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
    got.fds[got.count++] = fd;
    got.peer = *peer;
    if (got.then != NULL)
        got.then(listener);
}

static void set_up(void)
{
    loop = loop_create(NULL);
    ck_assert_ptr_nonnull(loop);
    strcpy(dir, "/tmp/pgweir-listener-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
}

static void tear_down(void)
{
    char command[128];

    for (int i = 0; i < got.count; i++)
        close(got.fds[i]);
    turn(loop);
    loop_destroy(loop);
    snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    ck_assert_int_eq(system(command), 0);
}

static const struct listener_settings usual = {.backlog = 128, .unix_mode = -1};

static struct listener *open_at(const struct address *address,
                                const struct listener_settings *settings)
{
    return listener_open(loop, address, settings, accepted, &got, &error);
}

static struct listener *open_tcp(const char *host)
{
    struct address address;

    ck_assert(address_from_literal(&address, host, 0));
    struct listener *listener = open_at(&address, &usual);
    ck_assert_msg(listener != NULL, "%s", error.message);
    return listener;
}

static struct address local_address(const char *where)
{
    struct address address;

    ck_assert(address_from_socket_dir(&address, where, 6432, &error));
    return address;
}

static int call(const struct listener *listener)
{
    const struct address *address = listener_address(listener);
    int fd = socket(address->u.any.sa_family, SOCK_STREAM, 0);

    ck_assert_int_eq(connect(fd, &address->u.any, address->size), 0);
    return fd;
}

/* --- TCP --- */

START_TEST(a_connection_is_handed_on_with_its_peer)
{
    struct listener *listener = open_tcp("127.0.0.1");
    struct address own;
    int caller = call(listener);

    turn_until(loop, got.count == 1);
    ck_assert(address_of_socket(&own, caller));
    ck_assert_int_eq(address_port(&got.peer), address_port(&own));
    ck_assert(address_is_loopback(&got.peer));
    close(caller);
    listener_close(listener);
}
END_TEST

START_TEST(many_connections_are_accepted_in_bursts)
{
    struct listener *listener = open_tcp("127.0.0.1");
    int callers[100];

    for (int i = 0; i < 100; i++)
        callers[i] = call(listener);
    turn(loop);
    ck_assert_int_eq(got.count, 64);
    turn(loop);
    ck_assert_int_eq(got.count, 100);
    for (int i = 0; i < 100; i++)
        close(callers[i]);
    listener_close(listener);
}
END_TEST

START_TEST(a_paused_listener_accepts_nobody_until_it_is_resumed)
{
    struct listener *listener = open_tcp("127.0.0.1");

    listener_pause(listener);
    int caller = call(listener);
    turns(loop, 5);
    ck_assert_int_eq(got.count, 0);
    listener_resume(listener);
    turn_until(loop, got.count == 1);
    close(caller);
    listener_close(listener);
}
END_TEST

START_TEST(pausing_in_the_middle_of_a_burst_ends_it)
{
    struct listener *listener = open_tcp("127.0.0.1");
    int callers[2] = {call(listener), call(listener)};

    got.then = listener_pause;
    turns(loop, 3);
    ck_assert_int_eq(got.count, 1);
    close(callers[0]);
    close(callers[1]);
    listener_close(listener);
}
END_TEST

START_TEST(closing_in_the_middle_of_a_burst_ends_it)
{
    struct listener *listener = open_tcp("127.0.0.1");
    int callers[2] = {call(listener), call(listener)};

    got.then = listener_close;
    turns(loop, 3);
    ck_assert_int_eq(got.count, 1);
    close(callers[0]);
    close(callers[1]);
}
END_TEST

START_TEST(a_port_in_use_is_an_error)
{
    struct listener *listener = open_tcp("127.0.0.1");

    ck_assert_ptr_null(open_at(listener_address(listener), &usual));
    ck_assert_str_eq(error.message, "bind(): Address already in use");
    listener_close(listener);
}
END_TEST

START_TEST(a_port_can_be_shared_by_those_who_want_to)
{
    struct listener_settings settings = usual;
    struct address address;

    settings.reuse_port = true;
    ck_assert(address_from_literal(&address, "127.0.0.1", 0));
    struct listener *first = open_at(&address, &settings);
    ck_assert_ptr_nonnull(first);
    struct listener *second = open_at(listener_address(first), &settings);
    ck_assert_ptr_nonnull(second);
    listener_close(first);
    listener_close(second);
}
END_TEST

START_TEST(the_wildcard_of_ipv6_leaves_ipv4_alone)
{
    struct address address;
    struct listener *v6 = open_tcp("::");

    ck_assert(address_from_literal(&address, "0.0.0.0", address_port(listener_address(v6))));
    struct listener *v4 = open_at(&address, &usual);
    ck_assert_msg(v4 != NULL, "%s", error.message);
    listener_close(v4);
    listener_close(v6);
}
END_TEST

START_TEST(with_defer_accept_a_silent_connection_is_not_offered)
{
    struct listener_settings settings = usual;
    struct address address;

    settings.defer_accept = true;
    ck_assert(address_from_literal(&address, "127.0.0.1", 0));
    struct listener *listener = open_at(&address, &settings);
    int caller = call(listener);
    turns(loop, 5);
    ck_assert_int_eq(got.count, 0);
    ck_assert_int_eq(send(caller, "x", 1, 0), 1);
    turn_until(loop, got.count == 1);
    close(caller);
    listener_close(listener);
}
END_TEST

START_TEST(without_descriptors_it_rests_and_goes_on_within_a_second)
{
    struct listener *listener = open_tcp("127.0.0.1");
    struct rlimit before, few;
    int caller = call(listener);
    int lowest = dup(caller);

    close(lowest);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    few = (struct rlimit){(rlim_t)lowest, before.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
    turns(loop, 50);
    ck_assert_int_eq(got.count, 0);
    uint64_t turns_before = loop->turns;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    usec_t began = clock_monotonic();
    turn_until(loop, got.count == 1);
    ck_assert_int_lt(clock_monotonic() - began, USEC_PER_SEC);
    ck_assert_uint_gt(loop->turns, turns_before);
    close(caller);
    listener_close(listener);
}
END_TEST

START_TEST(a_socket_that_was_passed_in_is_adopted)
{
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    ck_assert_ptr_null(listener_adopt(loop, fd, accepted, &got, &error));
    ck_assert_ptr_nonnull(strstr(error.message, "is no listening socket"));
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&any, sizeof(any)), 0);
    ck_assert_int_eq(listen(fd, 5), 0);
    struct listener *listener = listener_adopt(loop, fd, accepted, &got, &error);
    ck_assert_ptr_nonnull(listener);
    ck_assert_int_eq(listener_fd(listener), fd);
    int caller = call(listener);
    turn_until(loop, got.count == 1);
    close(caller);
    listener_close(listener);
}
END_TEST

/* --- Unix sockets --- */

START_TEST(a_unix_socket_has_the_mode_that_was_set_whatever_the_umask)
{
    struct listener_settings settings = {.backlog = 5, .unix_mode = 0721};
    struct address address = local_address(dir);
    struct stat file;
    mode_t before = umask(0777);
    struct listener *listener = open_at(&address, &settings);

    umask(before);
    ck_assert_msg(listener != NULL, "%s", error.message);
    ck_assert_int_eq(stat(address.u.local.sun_path, &file), 0);
    ck_assert_uint_eq(file.st_mode & 07777, 0721);
    int caller = call(listener);
    turn_until(loop, got.count == 1);
    ck_assert(address_is_local(&got.peer));
    close(caller);
    listener_close(listener);
    ck_assert_int_ne(access(address.u.local.sun_path, F_OK), 0);
}
END_TEST

START_TEST(a_unix_socket_is_given_to_its_group)
{
    struct listener_settings settings = {.backlog = 5, .unix_mode = 0770};
    struct address address = local_address(dir);
    char group[16];
    struct stat file;

    snprintf(group, sizeof(group), "%d", (int)getgid());
    settings.unix_group = group;
    struct listener *listener = open_at(&address, &settings);
    ck_assert_msg(listener != NULL, "%s", error.message);
    ck_assert_int_eq(stat(address.u.local.sun_path, &file), 0);
    ck_assert_uint_eq(file.st_gid, getgid());
    listener_close(listener);
}
END_TEST

START_TEST(an_unknown_group_is_an_error_that_leaves_no_file)
{
    struct listener_settings settings = {
        .backlog = 5, .unix_mode = 0770, .unix_group = "no such group"};
    struct address address = local_address(dir);

    ck_assert_ptr_null(open_at(&address, &settings));
    ck_assert_str_eq(error.message, "group \"no such group\" does not exist");
    ck_assert_int_ne(access(address.u.local.sun_path, F_OK), 0);
}
END_TEST

START_TEST(a_living_unix_socket_is_left_alone)
{
    struct address address = local_address(dir);
    struct listener *listener = open_at(&address, &usual);

    ck_assert_ptr_null(open_at(&address, &usual));
    ck_assert_str_eq(error.message, "unix socket is in use, cannot continue");
    ck_assert_int_eq(access(address.u.local.sun_path, F_OK), 0);
    listener_close(listener);
}
END_TEST

START_TEST(a_dead_unix_socket_is_replaced)
{
    struct address address = local_address(dir);
    int dead = socket(AF_UNIX, SOCK_STREAM, 0);

    ck_assert_int_eq(bind(dead, &address.u.any, address.size), 0);
    close(dead);
    struct listener *listener = open_at(&address, &usual);
    ck_assert_msg(listener != NULL, "%s", error.message);
    listener_close(listener);
}
END_TEST

START_TEST(a_lock_file_keeps_us_away)
{
    struct address address = local_address(dir);
    char lock[128];

    snprintf(lock, sizeof(lock), "%s.lock", address.u.local.sun_path);
    close(open(lock, O_CREAT | O_WRONLY, 0600));
    ck_assert_ptr_null(open_at(&address, &usual));
    ck_assert_str_eq(error.message, "unix port 6432 is in use");
}
END_TEST

START_TEST(a_file_that_is_no_socket_is_not_removed)
{
    struct address address = local_address(dir);

    close(open(address.u.local.sun_path, O_CREAT | O_WRONLY, 0600));
    ck_assert_ptr_null(open_at(&address, &usual));
    ck_assert_int_eq(access(address.u.local.sun_path, F_OK), 0);
}
END_TEST

START_TEST(closing_leaves_the_file_of_a_successor)
{
    struct address address = local_address(dir);
    struct listener *first = open_at(&address, &usual);

    unlink(address.u.local.sun_path);
    struct listener *second = open_at(&address, &usual);
    ck_assert_ptr_nonnull(second);
    listener_close(first);
    ck_assert_int_eq(access(address.u.local.sun_path, F_OK), 0);
    listener_close(second);
}
END_TEST

START_TEST(an_abstract_name_is_bound_and_checked)
{
    char name[sizeof(dir) + 1];

    snprintf(name, sizeof(name), "@%s", dir);
    struct address address = local_address(name);
    struct listener *listener = open_at(&address, &usual);
    ck_assert_msg(listener != NULL, "%s", error.message);
    int caller = call(listener);
    turn_until(loop, got.count == 1);
    ck_assert_ptr_null(open_at(&address, &usual));
    ck_assert_str_eq(error.message, "unix socket is in use, cannot continue");
    close(caller);
    listener_close(listener);
}
END_TEST

/* --- Words --- */

START_TEST(a_star_is_both_wildcards)
{
    struct address addresses[8];
    char text[ADDRESS_TEXT_MAX];

    ck_assert_int_eq(listener_addresses("*", 6432, addresses, 8, &error), 2);
    address_text(&addresses[0], text, sizeof(text));
    ck_assert_str_eq(text, "0.0.0.0:6432");
    address_text(&addresses[1], text, sizeof(text));
    ck_assert_str_eq(text, "[::]:6432");
    ck_assert_int_eq(listener_addresses("*", 6432, addresses, 1, &error), 1);
}
END_TEST

START_TEST(a_name_is_resolved)
{
    struct address addresses[8];
    int count = listener_addresses("localhost", 6432, addresses, 8, &error);

    ck_assert_int_ge(count, 1);
    ck_assert(address_is_loopback(&addresses[0]));
    ck_assert_int_eq(address_port(&addresses[0]), 6432);
}
END_TEST

START_TEST(a_name_that_is_none_is_an_error)
{
    struct address addresses[8];

    ck_assert_int_eq(listener_addresses("no name", 6432, addresses, 8, &error), 0);
    ck_assert_ptr_nonnull(strstr(error.message, "getaddrinfo('no name', '6432') = "));
}
END_TEST

Suite *suite_net_listener(void)
{
    Suite *suite = suite_create("net/listener");
    TCase *tests = tcase_create("all");

    suite_add_tcase(suite, tests);
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, a_connection_is_handed_on_with_its_peer);
    tcase_add_test(tests, many_connections_are_accepted_in_bursts);
    tcase_add_test(tests, a_paused_listener_accepts_nobody_until_it_is_resumed);
    tcase_add_test(tests, pausing_in_the_middle_of_a_burst_ends_it);
    tcase_add_test(tests, closing_in_the_middle_of_a_burst_ends_it);
    tcase_add_test(tests, a_port_in_use_is_an_error);
    tcase_add_test(tests, a_port_can_be_shared_by_those_who_want_to);
    tcase_add_test(tests, the_wildcard_of_ipv6_leaves_ipv4_alone);
    tcase_add_test(tests, with_defer_accept_a_silent_connection_is_not_offered);
    tcase_add_test(tests, without_descriptors_it_rests_and_goes_on_within_a_second);
    tcase_add_test(tests, a_socket_that_was_passed_in_is_adopted);
    tcase_add_test(tests, a_unix_socket_has_the_mode_that_was_set_whatever_the_umask);
    tcase_add_test(tests, a_unix_socket_is_given_to_its_group);
    tcase_add_test(tests, an_unknown_group_is_an_error_that_leaves_no_file);
    tcase_add_test(tests, a_living_unix_socket_is_left_alone);
    tcase_add_test(tests, a_dead_unix_socket_is_replaced);
    tcase_add_test(tests, a_lock_file_keeps_us_away);
    tcase_add_test(tests, a_file_that_is_no_socket_is_not_removed);
    tcase_add_test(tests, closing_leaves_the_file_of_a_successor);
    tcase_add_test(tests, an_abstract_name_is_bound_and_checked);
    tcase_add_test(tests, a_star_is_both_wildcards);
    tcase_add_test(tests, a_name_is_resolved);
    tcase_add_test(tests, a_name_that_is_none_is_an_error);
    return suite;
}
