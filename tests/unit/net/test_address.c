#include "net/address.h"
#include "stream_peer.h"

Suite *suite_net_address(void);

static const struct {
    const char *literal, *host, *text;
    int port;
    bool is_loopback;
} literals[] = {
    {"127.0.0.1", "127.0.0.1", "127.0.0.1:6432", 6432, true},
    {"127.8.9.10", "127.8.9.10", "127.8.9.10:1", 1, true},
    {"10.0.0.1", "10.0.0.1", "10.0.0.1:65535", 65535, false},
    {"0.0.0.0", "0.0.0.0", "0.0.0.0:0", 0, false},
    {"::1", "::1", "[::1]:6432", 6432, true},
    {"::", "::", "[::]:6432", 6432, false},
    {"2001:DB8::7", "2001:db8::7", "[2001:db8::7]:5432", 5432, false},
    {"::ffff:127.0.0.1", "::ffff:127.0.0.1", "[::ffff:127.0.0.1]:5432", 5432, true},
    {"::ffff:10.0.0.1", "::ffff:10.0.0.1", "[::ffff:10.0.0.1]:5432", 5432, false},
};

START_TEST(a_literal_is_read_and_written)
{
    struct address address;
    char text[ADDRESS_TEXT_MAX];

    ck_assert(address_from_literal(&address, literals[_i].literal, literals[_i].port));
    address_host_text(&address, text, sizeof(text));
    ck_assert_str_eq(text, literals[_i].host);
    address_text(&address, text, sizeof(text));
    ck_assert_str_eq(text, literals[_i].text);
    address_listen_text(&address, text, sizeof(text));
    ck_assert_str_eq(text, literals[_i].text);
    ck_assert_int_eq(address_port(&address), literals[_i].port);
    ck_assert_int_eq(address_is_loopback(&address), literals[_i].is_loopback);
    ck_assert(!address_is_local(&address));
}
END_TEST

static const char *const no_literals[] = {
    "",
    "localhost",
    "127.0.0.1.5",
    "1.2.3",
    "1.2.3.256",
    "127.1",
    ":::",
    "1::2::3",
    "[::1]",
    "::1%nowhere",
    " 127.0.0.1",
    "fe80::1%",
    "/tmp",
    "@name",
    "11111111111111111111111111111111111111111111111111111111111111111111111111111",
};

START_TEST(what_is_no_literal_is_refused)
{
    struct address address;

    ck_assert(!address_from_literal(&address, no_literals[_i], 1));
}
END_TEST

START_TEST(a_scope_is_an_interface)
{
    struct address address;

    ck_assert(address_from_literal(&address, "fe80::1%lo", 1));
    ck_assert_uint_ne(address.u.v6.sin6_scope_id, 0);
}
END_TEST

START_TEST(a_folder_gives_the_name_of_postgresql)
{
    struct address address;
    struct error error;
    char text[ADDRESS_TEXT_MAX];

    ck_assert(address_from_socket_dir(&address, "/run/pgweir", 6432, &error));
    ck_assert_str_eq(address.u.local.sun_path, "/run/pgweir/.s.PGSQL.6432");
    ck_assert(address_is_local(&address) && address_is_loopback(&address));
    ck_assert_int_eq(address_port(&address), 0);
    address_host_text(&address, text, sizeof(text));
    ck_assert_str_eq(text, "unix");
    address_text(&address, text, sizeof(text));
    ck_assert_str_eq(text, "unix:6432");
    address_listen_text(&address, text, sizeof(text));
    ck_assert_str_eq(text, "unix:/run/pgweir/.s.PGSQL.6432");
}
END_TEST

START_TEST(a_name_with_at_is_abstract)
{
    struct address address;
    struct error error;
    char text[ADDRESS_TEXT_MAX];

    ck_assert(address_from_socket_dir(&address, "@pgweir", 6432, &error));
    ck_assert_int_eq(address.u.local.sun_path[0], '\0');
    ck_assert_mem_eq(address.u.local.sun_path + 1, "pgweir/.s.PGSQL.6432", 20);
    ck_assert_uint_eq(address.size, sizeof(sa_family_t) + 21);
    address_text(&address, text, sizeof(text));
    ck_assert_str_eq(text, "unix:6432");
    address_listen_text(&address, text, sizeof(text));
    ck_assert_str_eq(text, "unix:@pgweir/.s.PGSQL.6432");
}
END_TEST

START_TEST(a_folder_whose_name_is_too_long_is_refused)
{
    struct address address;
    struct error error;
    char dir[200] = "";

    memset(dir, 'a', 107 - strlen("/.s.PGSQL.6432"));
    ck_assert(address_from_socket_dir(&address, dir, 6432, &error));
    strcat(dir, "a");
    ck_assert(!address_from_socket_dir(&address, dir, 6432, &error));
    ck_assert_ptr_nonnull(strstr(error.message, "longer than 107 bytes"));
}
END_TEST

START_TEST(a_nameless_peer_is_unix)
{
    int fds[2];
    struct address address;
    char text[ADDRESS_TEXT_MAX];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    ck_assert(address_of_peer(&address, fds[0]));
    address_text(&address, text, sizeof(text));
    ck_assert_str_eq(text, "unix");
    address_listen_text(&address, text, sizeof(text));
    ck_assert_str_eq(text, "unix:");
    close(fds[0]);
    close(fds[1]);
}
END_TEST

START_TEST(the_user_behind_a_unix_socket_is_known)
{
    int fds[2];
    int64_t pid, uid;

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    ck_assert(address_peer_credentials(fds[0], &pid, &uid));
    ck_assert_int_eq(pid, getpid());
    ck_assert_int_eq(uid, getuid());
    close(fds[0]);
    close(fds[1]);
    tcp_pair(fds);
    ck_assert(!address_peer_credentials(fds[0], &pid, &uid));
    close(fds[0]);
    close(fds[1]);
}
END_TEST

static int option(int fd, int level, int name)
{
    int value = -1;
    socklen_t size = sizeof(value);

    ck_assert_int_eq(getsockopt(fd, level, name, &value, &size), 0);
    return value;
}

START_TEST(options_are_set_or_have_our_own_defaults)
{
    int fds[2];
    struct address address;
    struct socket_options options = {.keepalive = 1, .keepidle = 17, .user_timeout_ms = 4000};

    tcp_pair(fds);
    ck_assert(address_of_peer(&address, fds[0]));
    socket_apply_options(fds[0], &address, &options);
    ck_assert_int_ne(fcntl(fds[0], F_GETFL) & O_NONBLOCK, 0);
    ck_assert_int_ne(fcntl(fds[0], F_GETFD) & FD_CLOEXEC, 0);
    ck_assert_int_eq(option(fds[0], IPPROTO_TCP, TCP_NODELAY), 1);
    ck_assert_int_eq(option(fds[0], SOL_SOCKET, SO_KEEPALIVE), 1);
    ck_assert_int_eq(option(fds[0], IPPROTO_TCP, TCP_KEEPIDLE), 17);
    ck_assert_int_eq(option(fds[0], IPPROTO_TCP, TCP_USER_TIMEOUT), 4000);
    ck_assert_int_le(option(fds[0], IPPROTO_TCP, TCP_KEEPINTVL), 30); /* the system's: 75 */
    options = (struct socket_options){0};
    socket_apply_options(fds[1], &address, &options);
    ck_assert_int_eq(option(fds[1], SOL_SOCKET, SO_KEEPALIVE), 0);
    close(fds[0]);
    close(fds[1]);
}
END_TEST

Suite *suite_net_address(void)
{
    Suite *suite = suite_create("net/address");
    TCase *tests = tcase_create("all");

    suite_add_tcase(suite, tests);
    tcase_add_loop_test(tests, a_literal_is_read_and_written, 0,
                        sizeof(literals) / sizeof(literals[0]));
    tcase_add_loop_test(tests, what_is_no_literal_is_refused, 0,
                        sizeof(no_literals) / sizeof(no_literals[0]));
    tcase_add_test(tests, a_scope_is_an_interface);
    tcase_add_test(tests, a_folder_gives_the_name_of_postgresql);
    tcase_add_test(tests, a_name_with_at_is_abstract);
    tcase_add_test(tests, a_folder_whose_name_is_too_long_is_refused);
    tcase_add_test(tests, a_nameless_peer_is_unix);
    tcase_add_test(tests, the_user_behind_a_unix_socket_is_known);
    tcase_add_test(tests, options_are_set_or_have_our_own_defaults);
    return suite;
}
