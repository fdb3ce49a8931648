#include <arpa/inet.h>
#include <check.h>
#include <stdio.h>

#include "base/digest.h"
#include "client/moat.h"

Suite *suite_client_moat(void);

#define START (1000 * USEC_PER_SEC)

static struct moat *moat;
static struct moat_limits limits;
static int names[20000];

static void set_up(void)
{
    digest_init();
    moat = moat_create();
    ck_assert_ptr_nonnull(moat);
    limits = (struct moat_limits){.login_clients = 4};
}

static void tear_down(void)
{
    moat_destroy(moat);
    moat = NULL;
}

static struct moat_answer enter(const char *text, usec_t now)
{
    struct address address;
    ck_assert(address_from_literal(&address, text, 1));
    return moat_enter(moat, &address, 0, &limits, now);
}

static struct moat_guest *let_in(const char *text, usec_t now, void *owner)
{
    struct moat_answer answer = enter(text, now);
    ck_assert_ptr_nonnull(answer.guest);
    ck_assert(moat_set_owner(moat, answer.guest, owner));
    return answer.guest;
}

static void leave_all(struct moat_guest **guests, int count)
{
    for (int i = 0; i < count; i++)
        moat_leave(moat, guests[i]);
}

START_TEST(the_oldest_of_the_prefix_with_most_makes_room)
{
    struct moat_guest *guests[5] = {
        let_in("192.0.2.1", START, &names[0]), let_in("192.0.2.2", START + 1, &names[1]),
        let_in("192.0.2.2", START + 2, &names[2]), let_in("192.0.2.3", START + 3, &names[3])};
    struct moat_answer answer = enter("192.0.2.4", START + 4);
    guests[4] = answer.guest;
    ck_assert_int_eq(answer.verdict, MOAT_REPLACES);
    ck_assert_uint_eq(answer.told_workers, 1);
    ck_assert_ptr_eq(moat_next_dropped(moat, 0), &names[1]);
    ck_assert_ptr_null(moat_next_dropped(moat, 0));
    leave_all(guests, 5);
}
END_TEST

START_TEST(who_said_something_valid_is_safe_for_a_second)
{
    struct moat_guest *guests[5];
    for (int i = 0; i < 4; i++) {
        guests[i] = let_in("192.0.2.1", START, &names[i]);
        moat_heard(moat, guests[i], START);
    }
    ck_assert_int_eq(enter("192.0.2.2", START + MOAT_GRACE - 1).verdict, MOAT_FULL);
    struct moat_answer answer = enter("192.0.2.2", START + MOAT_GRACE);
    ck_assert_int_eq(answer.verdict, MOAT_REPLACES);
    ck_assert_ptr_eq(moat_next_dropped(moat, 0), &names[0]);
    guests[4] = answer.guest;
    leave_all(guests, 5);
}
END_TEST

START_TEST(silent_ones_are_found_behind_many_that_are_safe)
{
    static char text[201][16];
    static struct moat_guest *guests[402];
    limits.login_clients = 401;
    for (int i = 0; i < 200; i++) {
        snprintf(text[i], sizeof(text[i]), "198.51.100.%d", i);
        for (int k = 0; k < 2; k++) {
            guests[2 * i + k] = let_in(text[i], START, &names[2 * i + k]);
            moat_heard(moat, guests[2 * i + k], START);
        }
    }
    guests[400] = let_in("192.0.2.1", START, &names[400]);
    guests[401] = enter("192.0.2.2", START + 1).guest;
    ck_assert_ptr_nonnull(guests[401]);
    ck_assert_ptr_eq(moat_next_dropped(moat, 0), &names[400]);
    leave_all(guests, 402);
}
END_TEST

START_TEST(who_logs_in_leaves_its_place)
{
    struct moat_guest *guests[5];
    for (int i = 0; i < 4; i++)
        guests[i] = let_in("192.0.2.1", START, &names[i]);
    moat_logged_in(moat, guests[0]);
    struct moat_answer answer = enter("192.0.2.1", START);
    ck_assert_int_eq(answer.verdict, MOAT_IN);
    guests[4] = answer.guest;
    leave_all(guests, 5);
}
END_TEST

START_TEST(who_logs_in_in_time_is_not_dropped)
{
    struct moat_guest *guests[5];
    for (int i = 0; i < 4; i++)
        guests[i] = let_in("192.0.2.1", START, &names[i]);
    guests[4] = enter("192.0.2.1", START).guest;
    moat_logged_in(moat, guests[0]);
    ck_assert_ptr_null(moat_next_dropped(moat, 0));
    leave_all(guests, 5);
}
END_TEST

START_TEST(who_spoke_before_it_was_read_gets_a_place_back)
{
    struct moat_guest *guests[6];
    for (int i = 0; i < 4; i++)
        guests[i] = let_in("192.0.2.1", START, &names[i]);
    guests[4] = enter("192.0.2.1", START).guest;
    ck_assert_ptr_eq(moat_next_dropped(moat, 0), &names[0]);
    ck_assert(moat_readmit(moat, guests[0], START));
    guests[5] = let_in("192.0.2.2", START, &names[5]);
    ck_assert_ptr_eq(moat_next_dropped(moat, 0), &names[1]);
    ck_assert_ptr_eq(moat_next_dropped(moat, 0), &names[2]);
    ck_assert_ptr_null(moat_next_dropped(moat, 0));
    leave_all(guests, 6);
}
END_TEST

START_TEST(one_dropped_in_the_mail_is_told_on_arrival)
{
    limits.login_clients = 1;
    struct moat_guest *guests[2] = {enter("192.0.2.1", START).guest,
                                    enter("192.0.2.1", START).guest};
    ck_assert_ptr_null(moat_next_dropped(moat, 0));
    ck_assert(!moat_set_owner(moat, guests[0], &names[0]));
    ck_assert(moat_set_owner(moat, guests[1], &names[1]));
    leave_all(guests, 2);
}
END_TEST

START_TEST(connections_of_one_address_are_bounded_logged_in_or_not)
{
    limits.connections_per_prefix = 2;
    struct moat_guest *guests[3] = {let_in("192.0.2.1", START, &names[0]),
                                    let_in("192.0.2.1", START, &names[1])};
    moat_logged_in(moat, guests[0]);
    ck_assert_int_eq(enter("192.0.2.1", START).verdict, MOAT_TOO_MANY);
    guests[2] = let_in("192.0.2.2", START, &names[2]);
    moat_leave(moat, guests[0]);
    guests[0] = let_in("192.0.2.1", START, &names[0]);
    leave_all(guests, 3);
}
END_TEST

START_TEST(one_ipv6_network_of_64_bits_is_one_prefix)
{
    limits.connections_per_prefix = 1;
    struct moat_guest *guests[2] = {let_in("2001:db8::1", START, &names[0])};
    ck_assert_int_eq(enter("2001:db8::ffff:1", START).verdict, MOAT_TOO_MANY);
    guests[1] = let_in("2001:db8:0:1::1", START, &names[1]);
    leave_all(guests, 2);
}
END_TEST

START_TEST(a_rate_lets_a_seconds_worth_in_at_once)
{
    limits = (struct moat_limits){.login_clients = 100, .logins_per_prefix = 10};
    struct moat_guest *guests[11];
    for (int i = 0; i < 10; i++)
        guests[i] = let_in("192.0.2.1", START, &names[i]);
    ck_assert_int_eq(enter("192.0.2.1", START).verdict, MOAT_TOO_OFTEN);
    guests[10] = let_in("192.0.2.1", START + USEC_PER_SEC / 10, &names[10]);
    ck_assert_int_eq(enter("192.0.2.1", START + USEC_PER_SEC / 10).verdict, MOAT_TOO_OFTEN);
    leave_all(guests, 11);
}
END_TEST

START_TEST(a_proxied_guest_counts_for_its_own_address)
{
    limits.connections_per_prefix = 1;
    struct address real;
    struct moat_guest *guests[3] = {let_in("192.0.2.1", START, &names[0])};
    ck_assert(address_from_literal(&real, "192.0.2.9", 1));
    ck_assert_int_eq(moat_move(moat, guests[0], &real, &limits, START), MOAT_IN);
    guests[1] = let_in("192.0.2.1", START, &names[1]);
    ck_assert_int_eq(moat_move(moat, guests[1], &real, &limits, START), MOAT_TOO_MANY);
    guests[2] = let_in("192.0.2.1", START, &names[2]);
    leave_all(guests, 3);
}
END_TEST

START_TEST(a_stalled_handshake_makes_room_for_another)
{
    int told;
    struct moat_guest *guests[3];
    for (int i = 0; i < 3; i++)
        guests[i] = let_in("192.0.2.1", START, &names[i]);
    ck_assert(moat_begin_handshake(moat, guests[0], 1, START, &told));
    ck_assert(!moat_begin_handshake(moat, guests[1], 1, START + MOAT_GRACE - 1, &told));
    ck_assert_int_eq(told, -1);
    ck_assert(moat_begin_handshake(moat, guests[1], 1, START + MOAT_GRACE, &told));
    ck_assert_int_eq(told, 0);
    ck_assert_ptr_eq(moat_next_dropped(moat, 0), &names[0]);
    moat_end_handshake(moat, guests[1]);
    ck_assert(moat_begin_handshake(moat, guests[2], 1, START + MOAT_GRACE, &told));
    leave_all(guests, 3);
}
END_TEST

START_TEST(many_addresses_need_no_memory_of_their_own)
{
    static struct moat_guest *guests[20000];
    uint64_t counts[MOAT_VERDICTS];
    limits = (struct moat_limits){.login_clients = 20000, .connections_per_prefix = 1};
    for (uint32_t i = 0; i < 20000; i++) {
        struct address address = {.u.v4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(i + 1)},
                                  .size = sizeof(address.u.v4)};
        guests[i] = moat_enter(moat, &address, 0, &limits, START).guest;
        ck_assert_ptr_nonnull(guests[i]);
    }
    moat_counts(moat, counts);
    ck_assert_uint_eq(counts[MOAT_IN], 20000);
    leave_all(guests, 20000);
}
END_TEST

static void miss_all(const struct moat_origin *origin, int count, usec_t now)
{
    for (int i = 0; i < count; i++)
        moat_cancel_missed(moat, origin, now);
}

START_TEST(who_misses_too_often_is_not_heard_for_a_while)
{
    struct moat_origin origin;
    struct moat_guest *guests[2] = {let_in("192.0.2.1", START, &names[0]),
                                    let_in("192.0.2.2", START, &names[1])};
    for (int i = 0; i < MOAT_MISSES_PER_PREFIX; i++) {
        ck_assert(moat_may_cancel(moat, guests[0], START, &origin));
        moat_cancel_missed(moat, &origin, START);
    }
    ck_assert(!moat_may_cancel(moat, guests[0], START, &origin));
    ck_assert(moat_may_cancel(moat, guests[0], START + USEC_PER_SEC, &origin));
    ck_assert(moat_may_cancel(moat, guests[1], START, &origin));
    uint64_t missed, dropped;
    moat_cancel_counts(moat, &missed, &dropped);
    ck_assert_uint_eq(missed, MOAT_MISSES_PER_PREFIX);
    ck_assert_uint_eq(dropped, 1);
    leave_all(guests, 2);
}
END_TEST

START_TEST(a_miss_counts_when_its_guest_has_gone)
{
    struct moat_origin origin;
    struct moat_guest *guest = let_in("192.0.2.1", START, &names[0]);
    ck_assert(moat_may_cancel(moat, guest, START, &origin));
    leave_all(&guest, 1);
    miss_all(&origin, MOAT_MISSES_PER_PREFIX, START);
    guest = let_in("192.0.2.1", START, &names[0]);
    ck_assert(!moat_may_cancel(moat, guest, START, &origin));
    leave_all(&guest, 1);
}
END_TEST

START_TEST(misses_of_many_addresses_have_a_bound_together)
{
    struct moat_origin origin = {.family = AF_INET};
    struct moat_guest *guest = let_in("192.0.2.1", START, &names[0]);
    for (uint64_t i = 0; i < MOAT_MISSES; i++) {
        origin.bits = 1 + i;
        moat_cancel_missed(moat, &origin, START);
    }
    ck_assert(!moat_may_cancel(moat, guest, START, &origin));
    ck_assert(moat_may_cancel(moat, guest, START + USEC_PER_SEC, &origin));
    leave_all(&guest, 1);
}
END_TEST

Suite *suite_client_moat(void)
{
    Suite *suite = suite_create("client/moat");
    TCase *tests = tcase_create("moat");

    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, the_oldest_of_the_prefix_with_most_makes_room);
    tcase_add_test(tests, who_said_something_valid_is_safe_for_a_second);
    tcase_add_test(tests, silent_ones_are_found_behind_many_that_are_safe);
    tcase_add_test(tests, who_logs_in_leaves_its_place);
    tcase_add_test(tests, who_logs_in_in_time_is_not_dropped);
    tcase_add_test(tests, who_spoke_before_it_was_read_gets_a_place_back);
    tcase_add_test(tests, one_dropped_in_the_mail_is_told_on_arrival);
    tcase_add_test(tests, connections_of_one_address_are_bounded_logged_in_or_not);
    tcase_add_test(tests, one_ipv6_network_of_64_bits_is_one_prefix);
    tcase_add_test(tests, a_rate_lets_a_seconds_worth_in_at_once);
    tcase_add_test(tests, a_proxied_guest_counts_for_its_own_address);
    tcase_add_test(tests, a_stalled_handshake_makes_room_for_another);
    tcase_add_test(tests, many_addresses_need_no_memory_of_their_own);
    tcase_add_test(tests, who_misses_too_often_is_not_heard_for_a_while);
    tcase_add_test(tests, a_miss_counts_when_its_guest_has_gone);
    tcase_add_test(tests, misses_of_many_addresses_have_a_bound_together);
    suite_add_tcase(suite, tests);
    return suite;
}
