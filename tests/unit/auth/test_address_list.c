#include <arpa/inet.h>
#include <check.h>
#include <string.h>
#include <sys/un.h>

#include "auth/address_list.h"

Suite *suite_auth_address_list(void);

static struct error error;

static bool is_let_in(const char *text, const char *address)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr_un local;
    } peer = {.any.sa_family = AF_UNIX};
    struct address_list *list = address_list_parse(text, &error);

    ck_assert_msg(list != NULL, "%s: %s", text, error.message);
    if (strchr(address, ':') != NULL) {
        peer.v6 = (struct sockaddr_in6){.sin6_family = AF_INET6};
        ck_assert_int_eq(inet_pton(AF_INET6, address, &peer.v6.sin6_addr), 1);
    } else if (strcmp(address, "unix") != 0) {
        peer.v4 = (struct sockaddr_in){.sin_family = AF_INET};
        ck_assert_int_eq(inet_pton(AF_INET, address, &peer.v4.sin_addr), 1);
    }
    bool is_in = address_list_allows(list, &peer);
    address_list_release(list);
    return is_in;
}

static void claim_refused(const char *text, const char *why)
{
    ck_assert_msg(address_list_parse(text, &error) == NULL, "%s", text);
    ck_assert_msg(strstr(error.message, why) != NULL, "%s: %s", text, error.message);
}

START_TEST(who_is_named_is_in_and_nobody_else)
{
    const char *list = "10.0.0.0/8, 192.0.2.7\t2001:db8::/32";

    ck_assert(is_let_in(list, "10.255.0.1"));
    ck_assert(is_let_in(list, "192.0.2.7"));
    ck_assert(is_let_in(list, "2001:db8:1::2"));
    ck_assert(!is_let_in(list, "11.0.0.1"));
    ck_assert(!is_let_in(list, "192.0.2.8"));
    ck_assert(!is_let_in(list, "2001:db9::1"));
    ck_assert(!is_let_in(list, "127.0.0.1"));
    ck_assert(!is_let_in(list, "unix"));
}
END_TEST

START_TEST(who_is_kept_out_is_out_wherever_it_is_said)
{
    ck_assert(!is_let_in("!10.1.0.0/16,10.0.0.0/8", "10.1.2.3"));
    ck_assert(!is_let_in("10.0.0.0/8,!10.1.0.0/16", "10.1.2.3"));
    ck_assert(is_let_in("10.0.0.0/8,!10.1.0.0/16", "10.2.2.3"));
    ck_assert(!is_let_in("all,!local", "unix"));
}
END_TEST

START_TEST(a_list_of_those_kept_out_lets_all_others_in)
{
    ck_assert(is_let_in("!10.0.0.0/8", "11.0.0.1"));
    ck_assert(is_let_in("!10.0.0.0/8", "unix"));
    ck_assert(is_let_in("!10.0.0.0/8", "::1"));
    ck_assert(!is_let_in("!10.0.0.0/8", "10.0.0.1"));
}
END_TEST

START_TEST(words_for_unix_sockets_and_for_all)
{
    ck_assert(is_let_in("local", "unix"));
    ck_assert(!is_let_in("local", "127.0.0.1"));
    ck_assert(is_let_in("all", "127.0.0.1"));
    ck_assert(is_let_in("all", "unix"));
    ck_assert(is_let_in("0.0.0.0/0", "203.0.113.9"));
    ck_assert(!is_let_in("0.0.0.0/0", "::1"));
}
END_TEST

START_TEST(an_ipv4_address_inside_an_ipv6_one_is_ipv4)
{
    ck_assert(is_let_in("192.0.2.0/24", "::ffff:192.0.2.9"));
    ck_assert(!is_let_in("!192.0.2.0/24", "::ffff:192.0.2.9"));
}
END_TEST

START_TEST(mistakes_are_told)
{
    claim_refused("", "no address");
    claim_refused(" , ", "no address");
    claim_refused("10.0.0.0/33", "\"10.0.0.0/33\" is no IPv4 or IPv6 address");
    claim_refused("10.0.0.0/8,example.com", "\"example.com\" is no");
    claim_refused("!", "\"!\" is no");
    claim_refused("!!10.0.0.1", "is no");
    claim_refused("10.0.0.0/", "is no");
    claim_refused("10.0.0.1/8", "has bits outside its network");
    claim_refused("1111111111111111111111111111111111111111111111111111111111111111111",
                  "is too long");
}
END_TEST

START_TEST(no_list_lets_all_in)
{
    const struct sockaddr_in peer = {.sin_family = AF_INET};

    ck_assert(address_list_allows(NULL, &peer));
}
END_TEST

START_TEST(a_list_is_bounded)
{
    static char text[8 * (ADDRESS_LIST_MAX + 1) + 1];

    for (int i = 0; i < ADDRESS_LIST_MAX; i++)
        strcat(text, "1.1.1.1,");
    ck_assert(is_let_in(text, "1.1.1.1"));
    strcat(text, "1.1.1.1");
    claim_refused(text, "more than 1024");
}
END_TEST

Suite *suite_auth_address_list(void)
{
    Suite *suite = suite_create("auth/address_list");
    TCase *tests = tcase_create("address_list");

    tcase_add_test(tests, who_is_named_is_in_and_nobody_else);
    tcase_add_test(tests, who_is_kept_out_is_out_wherever_it_is_said);
    tcase_add_test(tests, a_list_of_those_kept_out_lets_all_others_in);
    tcase_add_test(tests, words_for_unix_sockets_and_for_all);
    tcase_add_test(tests, an_ipv4_address_inside_an_ipv6_one_is_ipv4);
    tcase_add_test(tests, mistakes_are_told);
    tcase_add_test(tests, no_list_lets_all_in);
    tcase_add_test(tests, a_list_is_bounded);
    suite_add_tcase(suite, tests);
    return suite;
}
