#include <check.h>
#include <string.h>

#include "net/buffer.h"

Suite *suite_net_buffer(void);

START_TEST(a_returned_buffer_is_lent_again)
{
    struct buffer_list list = {0};
    struct buffer *first = buffer_borrow(&list, 1);

    ck_assert_ptr_nonnull(first);
    ck_assert_uint_eq(first->capacity, BUFFER_SIZE);
    ck_assert_int_eq(list.lent_count, 1);
    buffer_return(&list, first);
    ck_assert_int_eq(list.lent_count, 0);
    ck_assert_ptr_eq(buffer_borrow_standard(&list), first);
    buffer_return(&list, first);
    buffer_list_finish(&list);
    ck_assert_int_eq(list.free_count, 0);
}
END_TEST

START_TEST(a_bulk_buffer_is_kept_apart)
{
    struct buffer_list list = {0};
    struct buffer *bulk = buffer_borrow(&list, BUFFER_SIZE_BULK);

    ck_assert_uint_eq(bulk->capacity, BUFFER_SIZE_BULK);
    buffer_return(&list, bulk);
    ck_assert_int_eq(list.free_bulk_count, 1);
    ck_assert_int_eq(list.free_count, 0);
    ck_assert_ptr_eq(buffer_borrow(&list, BUFFER_SIZE_BULK), bulk);
    buffer_return(&list, bulk);
    buffer_list_finish(&list);
}
END_TEST

START_TEST(an_odd_size_is_not_kept)
{
    struct buffer_list list = {0};
    struct buffer *large = buffer_borrow(&list, BUFFER_SIZE_BULK + 1);

    ck_assert_uint_eq(large->capacity, BUFFER_SIZE_BULK + 1);
    buffer_return(&list, large);
    ck_assert_int_eq(list.free_count + list.free_bulk_count, 0);
    ck_assert_int_eq(list.lent_count, 0);
    buffer_list_finish(&list);
}
END_TEST

START_TEST(no_more_than_the_limit_is_kept)
{
    struct buffer_list list = {0};
    struct buffer *buffers[BUFFERS_KEPT + 10];

    for (int i = 0; i < BUFFERS_KEPT + 10; i++)
        buffers[i] = buffer_borrow(&list, BUFFER_SIZE);
    for (int i = 0; i < BUFFERS_KEPT + 10; i++)
        buffer_return(&list, buffers[i]);
    ck_assert_int_eq(list.free_count, BUFFERS_KEPT);
    ck_assert_int_eq(list.lent_count, 0);
    buffer_list_finish(&list);
}
END_TEST

START_TEST(a_size_beyond_the_address_space_is_refused)
{
    struct buffer_list list = {0};
    struct arena arena = {0};

    ck_assert_ptr_null(buffer_borrow(&list, SIZE_MAX));
    ck_assert_int_eq(list.lent_count, 0);
    ck_assert_ptr_null(arena_take(&arena, SIZE_MAX));
    arena_finish(&arena);
}
END_TEST

START_TEST(consecutive_takes_are_neighbours)
{
    struct arena arena = {0};
    uint8_t *first = arena_take(&arena, 5);
    uint8_t *second = arena_take(&arena, 3);

    ck_assert_ptr_eq(second, first + 5);
    ck_assert_ptr_eq(arena_take(&arena, 1), second + 3);
    arena_finish(&arena);
}
END_TEST

START_TEST(a_reset_arena_begins_at_its_first_chunk)
{
    struct arena arena = {0};
    uint8_t *first = arena_take(&arena, 10);

    for (int i = 0; i < 100; i++)
        memset(arena_take(&arena, 10000), i, 10000);
    arena_reset(&arena);
    ck_assert_uint_eq(arena.used, 0);
    ck_assert_ptr_eq(arena_take(&arena, 10), first);
    arena_finish(&arena);
}
END_TEST

START_TEST(a_large_take_gets_a_chunk_of_its_own_and_is_not_kept)
{
    struct arena arena = {0};
    uint8_t *large = arena_take(&arena, 1000000);

    memset(large, 1, 1000000);
    arena_reset(&arena);
    ck_assert_ptr_null(arena.first);
    ck_assert_ptr_nonnull(arena_take(&arena, 10));
    arena_finish(&arena);
}
END_TEST

Suite *suite_net_buffer(void)
{
    Suite *suite = suite_create("net/buffer");
    TCase *cases = tcase_create("buffer");

    tcase_add_test(cases, a_returned_buffer_is_lent_again);
    tcase_add_test(cases, a_bulk_buffer_is_kept_apart);
    tcase_add_test(cases, an_odd_size_is_not_kept);
    tcase_add_test(cases, no_more_than_the_limit_is_kept);
    tcase_add_test(cases, a_size_beyond_the_address_space_is_refused);
    tcase_add_test(cases, consecutive_takes_are_neighbours);
    tcase_add_test(cases, a_reset_arena_begins_at_its_first_chunk);
    tcase_add_test(cases, a_large_take_gets_a_chunk_of_its_own_and_is_not_kept);
    suite_add_tcase(suite, cases);
    return suite;
}
