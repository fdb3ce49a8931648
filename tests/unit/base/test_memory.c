#include <check.h>
#include <stdint.h>
#include <stdio.h>
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

static size_t in_use;

static void count_secrets(void)
{
    in_use = memory_secrets_in_use();
}

START_TEST(secrets_of_all_sizes_are_kept_and_given_back)
{
    static const size_t sizes[] = {0, 1, 15, 16, 17, 240, 241, 256, 1000, 65531, 131056};
    uint8_t *pieces[sizeof(sizes) / sizeof(sizes[0])];

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        pieces[i] = memory_zalloc_secret(sizes[i]);
        ck_assert_ptr_nonnull(pieces[i]);
        ck_assert_uint_eq((uintptr_t)pieces[i] % 16, 0);
        memset(pieces[i], (int)i + 1, sizes[i]);
    }
    ck_assert_uint_eq(memory_secrets_in_use(), in_use + sizeof(sizes) / sizeof(sizes[0]));
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        for (size_t at = 0; at < sizes[i]; at++)
            ck_assert_uint_eq(pieces[i][at], i + 1);
        memory_wipe_and_free(pieces[i], sizes[i]);
    }
    ck_assert_uint_eq(memory_secrets_in_use(), in_use);
}
END_TEST

START_TEST(a_piece_is_used_again_and_holds_nothing)
{
    char *first = memory_strdup_secret("a secret of some length");
    memory_free_secret(first);
    char *second = memory_zalloc_secret(strlen("a secret of some length") + 1);

    ck_assert_ptr_eq(first, second);
    for (size_t i = 0; i <= strlen("a secret of some length"); i++)
        ck_assert_int_eq(second[i], 0);
    memory_free_secret(second);
}
END_TEST

START_TEST(what_is_too_large_for_a_piece_lies_on_the_heap)
{
    uint8_t *large = memory_zalloc_secret(1000000);

    ck_assert_ptr_nonnull(large);
    ck_assert_uint_eq(memory_secrets_in_use(), in_use);
    memory_wipe_and_free(large, 1000000);
}
END_TEST

START_TEST(copies_of_secrets_are_terminated)
{
    char *part = memory_strndup_secret("abc", 2);

    ck_assert_str_eq(part, "ab");
    ck_assert_ptr_null(memory_strdup_secret(NULL));
    memory_free_secret(part);
}
END_TEST

/* What the kernel says of the mapping that holds it: "dd", not in a core file. */
START_TEST(no_core_file_holds_secrets)
{
    char *secret = memory_strdup_secret("secret"), line[512];
    FILE *map = fopen("/proc/self/smaps", "re");
    unsigned long low, high;
    bool is_here = false, is_hidden = false;

    ck_assert_ptr_nonnull(map);
    while (fgets(line, sizeof(line), map) != NULL) {
        if (sscanf(line, "%lx-%lx ", &low, &high) == 2)
            is_here = (uintptr_t)secret >= low && (uintptr_t)secret < high;
        else if (is_here && strncmp(line, "VmFlags:", 8) == 0)
            is_hidden = strstr(line, " dd") != NULL;
    }
    fclose(map);
    memory_free_secret(secret);
    ck_assert(is_hidden);
}
END_TEST

Suite *suite_base_memory(void)
{
    TCase *secrets = tcase_create("secrets");

    Suite *suite = suite_create("base/memory");
    TCase *cases = tcase_create("memory");

    tcase_add_test(cases, an_array_whose_size_overflows_is_not_allocated);
    tcase_add_test(cases, nothing_is_allocated_as_something);
    tcase_add_test(cases, a_resized_array_keeps_its_elements);
    tcase_add_test(cases, copies_of_text_are_terminated);
    tcase_add_test(cases, wiping_leaves_zeros);
    tcase_add_test(cases, comparing_finds_a_difference_anywhere);
    suite_add_tcase(suite, cases);
    tcase_add_unchecked_fixture(secrets, count_secrets, NULL);
    tcase_add_test(secrets, secrets_of_all_sizes_are_kept_and_given_back);
    tcase_add_test(secrets, a_piece_is_used_again_and_holds_nothing);
    tcase_add_test(secrets, what_is_too_large_for_a_piece_lies_on_the_heap);
    tcase_add_test(secrets, copies_of_secrets_are_terminated);
    tcase_add_test(secrets, no_core_file_holds_secrets);
    suite_add_tcase(suite, secrets);
    return suite;
}
