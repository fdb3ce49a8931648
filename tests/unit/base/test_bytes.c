#include <check.h>
#include <string.h>

#include "base/bytes.h"

Suite *suite_base_bytes(void);

START_TEST(integers_are_written_in_network_order)
{
    uint8_t memory[7];
    struct bytes bytes = bytes_over(memory, sizeof(memory));

    bytes_u8(&bytes, 0x01);
    bytes_u16(&bytes, 0x0203);
    bytes_u32(&bytes, 0x04050607);
    ck_assert(bytes_ok(&bytes));
    ck_assert_mem_eq(memory, "\1\2\3\4\5\6\7", 7);
}
END_TEST

START_TEST(what_does_not_fit_fails_and_writes_nothing_more)
{
    char memory[4] = "....";
    struct bytes bytes = bytes_over(memory, 3);

    bytes_text(&bytes, "ab");
    bytes_u16(&bytes, 0x4142);
    bytes_u8(&bytes, 'c');
    ck_assert(!bytes_ok(&bytes));
    ck_assert_uint_eq(bytes.size, 2);
    ck_assert_mem_eq(memory, "ab..", 4);
}
END_TEST

START_TEST(a_growing_writer_keeps_what_it_has)
{
    struct bytes bytes;

    bytes_init(&bytes, 100000);
    for (uint32_t i = 0; i < 25000; i++)
        bytes_u32(&bytes, i);
    struct cursor cursor = cursor_over(bytes.data, bytes.size);
    for (uint32_t i = 0; i < 25000; i++)
        ck_assert_uint_eq(cursor_u32(&cursor), i);
    ck_assert(bytes_ok(&bytes) && cursor_finished(&cursor));
    bytes_finish(&bytes);
    ck_assert_ptr_null(bytes.data);
}
END_TEST

START_TEST(a_growing_writer_stops_at_its_limit)
{
    struct bytes bytes;

    bytes_init(&bytes, 200);
    for (int i = 0; i < 200; i++)
        bytes_u8(&bytes, 'x');
    ck_assert(bytes_ok(&bytes));
    bytes_u8(&bytes, 'x');
    ck_assert(!bytes_ok(&bytes));
    ck_assert_uint_le(bytes.capacity, 200);
    bytes_finish_secret(&bytes);
}
END_TEST

START_TEST(a_huge_reservation_fails_without_overflow)
{
    struct bytes bytes;

    bytes_init(&bytes, 1000);
    bytes_u8(&bytes, 1);
    ck_assert_ptr_null(bytes_reserve(&bytes, SIZE_MAX));
    ck_assert(!bytes_ok(&bytes));
    bytes_finish(&bytes);
}
END_TEST

START_TEST(clearing_forgets_the_failure_and_keeps_the_memory)
{
    char memory[2];
    struct bytes bytes = bytes_over(memory, sizeof(memory));

    bytes_text(&bytes, "abc");
    bytes_clear(&bytes);
    bytes_text(&bytes, "ab");
    ck_assert(bytes_ok(&bytes));
    ck_assert_uint_eq(bytes.size, 2);
}
END_TEST

START_TEST(formatted_text_may_fill_the_memory_exactly)
{
    char memory[5];
    struct bytes bytes = bytes_over(memory, sizeof(memory));

    bytes_format(&bytes, "%d-%s", 12, "ab");
    ck_assert(bytes_ok(&bytes));
    ck_assert_mem_eq(memory, "12-ab", 5);
}
END_TEST

START_TEST(formatted_text_that_is_too_long_fails)
{
    char memory[4];
    struct bytes bytes = bytes_over(memory, sizeof(memory));

    bytes_format(&bytes, "%d", 12345);
    ck_assert(!bytes_ok(&bytes));
    ck_assert_uint_eq(bytes.size, 0);
}
END_TEST

START_TEST(formatted_text_lets_a_writer_grow)
{
    struct bytes bytes;

    bytes_init(&bytes, 1000);
    bytes_format(&bytes, "%0500d", 7);
    bytes_format(&bytes, "%s", "end");
    ck_assert(bytes_ok(&bytes));
    ck_assert_uint_eq(bytes.size, 503);
    ck_assert_mem_eq(bytes.data + 499, "7end", 4);
    bytes_finish(&bytes);
}
END_TEST

START_TEST(a_patch_overwrites_what_stands_there)
{
    uint8_t memory[8];
    struct bytes bytes = bytes_over(memory, sizeof(memory));

    bytes_u32(&bytes, 0);
    bytes_u32(&bytes, 0xffffffff);
    bytes_patch_u32(&bytes, 0, 0x01020304);
    ck_assert_mem_eq(memory, "\1\2\3\4\xff\xff\xff\xff", 8);
}
END_TEST

START_TEST(a_string_has_its_zero_byte_and_a_text_has_none)
{
    char memory[8];
    struct bytes bytes = bytes_over(memory, sizeof(memory));

    bytes_string(&bytes, "ab");
    bytes_text(&bytes, "cd");
    ck_assert_uint_eq(bytes_span(&bytes).size, 5);
    ck_assert_mem_eq(memory, "ab\0cd", 5);
}
END_TEST

Suite *suite_base_bytes(void)
{
    Suite *suite = suite_create("base/bytes");
    TCase *cases = tcase_create("bytes");

    tcase_add_test(cases, integers_are_written_in_network_order);
    tcase_add_test(cases, what_does_not_fit_fails_and_writes_nothing_more);
    tcase_add_test(cases, a_growing_writer_keeps_what_it_has);
    tcase_add_test(cases, a_growing_writer_stops_at_its_limit);
    tcase_add_test(cases, a_huge_reservation_fails_without_overflow);
    tcase_add_test(cases, clearing_forgets_the_failure_and_keeps_the_memory);
    tcase_add_test(cases, formatted_text_may_fill_the_memory_exactly);
    tcase_add_test(cases, formatted_text_that_is_too_long_fails);
    tcase_add_test(cases, formatted_text_lets_a_writer_grow);
    tcase_add_test(cases, a_patch_overwrites_what_stands_there);
    tcase_add_test(cases, a_string_has_its_zero_byte_and_a_text_has_none);
    suite_add_tcase(suite, cases);
    return suite;
}
