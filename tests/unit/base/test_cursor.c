#include <check.h>

#include "base/cursor.h"

Suite *suite_base_cursor(void);

START_TEST(integers_are_read_in_network_order)
{
    const uint8_t data[] = {0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07};
    struct cursor cursor = cursor_over(data, sizeof(data));

    ck_assert_uint_eq(cursor_u8(&cursor), 0x01);
    ck_assert_uint_eq(cursor_u16(&cursor), 0x0203);
    ck_assert_uint_eq(cursor_u32(&cursor), 0x04050607);
    ck_assert(cursor_finished(&cursor));
}
END_TEST

START_TEST(signed_integers_keep_their_sign)
{
    const uint8_t data[] = {0xff, 0xfe, 0xff, 0xff, 0xff, 0xff};
    struct cursor cursor = cursor_over(data, sizeof(data));

    ck_assert_int_eq(cursor_i16(&cursor), -2);
    ck_assert_int_eq(cursor_i32(&cursor), -1);
}
END_TEST

START_TEST(a_read_past_the_end_gives_zero_and_fails)
{
    const uint8_t data[] = {0xff, 0xff, 0xff};
    struct cursor cursor = cursor_over(data, sizeof(data));

    ck_assert_uint_eq(cursor_u32(&cursor), 0);
    ck_assert(!cursor_ok(&cursor));
}
END_TEST

START_TEST(a_failed_cursor_stays_failed_and_has_nothing_left)
{
    const uint8_t data[] = {0xff, 0xff, 0xff};
    struct cursor cursor = cursor_over(data, sizeof(data));

    cursor_u32(&cursor);
    ck_assert_uint_eq(cursor_u8(&cursor), 0);
    ck_assert_uint_eq(cursor_left(&cursor), 0);
    ck_assert(!cursor_finished(&cursor));
}
END_TEST

START_TEST(an_unread_byte_is_not_finished)
{
    struct cursor cursor = cursor_over("ab", 2);

    cursor_u8(&cursor);
    ck_assert(cursor_ok(&cursor));
    ck_assert(!cursor_finished(&cursor));
}
END_TEST

START_TEST(an_empty_span_may_be_null)
{
    struct cursor cursor = cursor_over(NULL, 0);

    ck_assert(cursor_finished(&cursor));
    ck_assert_uint_eq(cursor_bytes(&cursor, 0).size, 0);
    ck_assert_uint_eq(cursor_rest(&cursor, 10).size, 0);
    ck_assert(cursor_finished(&cursor));
    ck_assert_ptr_null(cursor_string(&cursor));
}
END_TEST

START_TEST(a_string_is_taken_with_its_zero_byte)
{
    struct cursor cursor = cursor_over("ab\0c", 5);

    ck_assert_str_eq(cursor_string(&cursor), "ab");
    ck_assert_str_eq(cursor_string(&cursor), "c");
    ck_assert(cursor_finished(&cursor));
}
END_TEST

START_TEST(a_string_without_a_zero_byte_fails)
{
    struct cursor cursor = cursor_over("abc", 3);

    ck_assert_ptr_null(cursor_string(&cursor));
    ck_assert(!cursor_ok(&cursor));
}
END_TEST

START_TEST(bytes_longer_than_what_is_left_are_an_empty_span)
{
    struct cursor cursor = cursor_over("abc", 3);
    struct span span = cursor_bytes(&cursor, SIZE_MAX);

    ck_assert_ptr_null(span.data);
    ck_assert_uint_eq(span.size, 0);
    ck_assert(!cursor_ok(&cursor));
}
END_TEST

START_TEST(a_rest_over_its_limit_fails)
{
    struct cursor cursor = cursor_over("abc", 3);

    ck_assert_uint_eq(cursor_rest(&cursor, 2).size, 0);
    ck_assert(!cursor_ok(&cursor));
}
END_TEST

START_TEST(spans_are_equal_by_their_bytes)
{
    struct span span = {(const uint8_t *)"abc", 3};

    ck_assert(span_is(span, "abc"));
    ck_assert(!span_is(span, "abcd"));
    ck_assert(!span_is(span, "abd"));
    ck_assert(span_equal((struct span){NULL, 0}, (struct span){(const uint8_t *)"", 0}));
}
END_TEST

Suite *suite_base_cursor(void)
{
    Suite *suite = suite_create("base/cursor");
    TCase *cases = tcase_create("cursor");

    tcase_add_test(cases, integers_are_read_in_network_order);
    tcase_add_test(cases, signed_integers_keep_their_sign);
    tcase_add_test(cases, a_read_past_the_end_gives_zero_and_fails);
    tcase_add_test(cases, a_failed_cursor_stays_failed_and_has_nothing_left);
    tcase_add_test(cases, an_unread_byte_is_not_finished);
    tcase_add_test(cases, an_empty_span_may_be_null);
    tcase_add_test(cases, a_string_is_taken_with_its_zero_byte);
    tcase_add_test(cases, a_string_without_a_zero_byte_fails);
    tcase_add_test(cases, bytes_longer_than_what_is_left_are_an_empty_span);
    tcase_add_test(cases, a_rest_over_its_limit_fails);
    tcase_add_test(cases, spans_are_equal_by_their_bytes);
    suite_add_tcase(suite, cases);
    return suite;
}
