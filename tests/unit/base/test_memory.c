#include <check.h>
#include <stdint.h>
#include <string.h>

#include "base/memory.h"

Suite *suite_base_memory(void);

START_TEST(an_array_whose_size_overflows_is_not_allocated)
{
    ck_assert_ptr_null(memory_zalloc_array(SIZE_MAX / 2, 3));
    ck_assert_ptr_null(memory_resize_array(NULL, SIZE_MAX / 2, 3));
}
END_TEST

START_TEST(nothing_is_allocated_as_something)
{
    void *empty[] = {memory_zalloc(0), memory_zalloc_array(0, 8), memory_dup(NULL, 0),
                     memory_resize_array(NULL, 0, 8)};

    for (size_t i = 0; i < sizeof(empty) / sizeof(empty[0]); i++) {
        ck_assert_ptr_nonnull(empty[i]);
        memory_free(empty[i]);
    }
}
END_TEST

START_TEST(a_resized_array_keeps_its_elements)
{
    int *numbers = memory_zalloc_array(2, sizeof(int));

    ck_assert_ptr_nonnull(numbers);
    numbers[1] = 42;
    numbers = memory_resize_array(numbers, 1000, sizeof(int));
    ck_assert_ptr_nonnull(numbers);
    ck_assert_int_eq(numbers[1], 42);
    memory_free(numbers);
}
END_TEST

START_TEST(copies_of_text_are_terminated)
{
    char *whole = memory_strdup("abc");
    char *part = memory_strndup("abc", 2);
    char *longer = memory_strndup("abc", 100);

    ck_assert_str_eq(whole, "abc");
    ck_assert_str_eq(part, "ab");
    ck_assert_str_eq(longer, "abc");
    ck_assert_ptr_null(memory_strdup(NULL));
    memory_free_secret(whole);
    memory_free(part);
    memory_free(longer);
}
END_TEST

START_TEST(wiping_leaves_zeros)
{
    char secret[] = "secret";

    memory_wipe(secret, sizeof(secret));
    ck_assert_mem_eq(secret, "\0\0\0\0\0\0\0", 7);
}
END_TEST

START_TEST(comparing_finds_a_difference_anywhere)
{
    ck_assert(memory_equal_constant_time("abcd", "abcd", 4));
    ck_assert(!memory_equal_constant_time("abcd", "xbcd", 4));
    ck_assert(!memory_equal_constant_time("abcd", "abcx", 4));
    ck_assert(memory_equal_constant_time("a", "b", 0));
}
END_TEST

Suite *suite_base_memory(void)
{
    Suite *suite = suite_create("base/memory");
    TCase *cases = tcase_create("memory");

    tcase_add_test(cases, an_array_whose_size_overflows_is_not_allocated);
    tcase_add_test(cases, nothing_is_allocated_as_something);
    tcase_add_test(cases, a_resized_array_keeps_its_elements);
    tcase_add_test(cases, copies_of_text_are_terminated);
    tcase_add_test(cases, wiping_leaves_zeros);
    tcase_add_test(cases, comparing_finds_a_difference_anywhere);
    suite_add_tcase(suite, cases);
    return suite;
}
