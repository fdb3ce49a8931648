#include <check.h>

#include "wire/message.h"

Suite *suite_wire_message(void);

static enum message_verdict peek(const char *data, size_t size, size_t limit,
                                 struct message *message)
{
    return message_peek((const uint8_t *)data, size, limit, message);
}

START_TEST(fewer_than_five_bytes_say_nothing)
{
    struct message message;

    ck_assert_int_eq(peek("Q\0\0\0", 4, 1000, &message), MESSAGE_NONE);
}
END_TEST

START_TEST(a_whole_message_has_its_body)
{
    struct message message;

    ck_assert_int_eq(peek("Q\0\0\0\6a\0Z", 8, 1000, &message), MESSAGE_WHOLE);
    ck_assert_uint_eq(message.type, 'Q');
    ck_assert_uint_eq(message.size, 7);
    ck_assert_uint_eq(message.body.size, 2);
    ck_assert_uint_eq(message.body.data[0], 'a');
}
END_TEST

START_TEST(a_partial_message_has_the_part_that_is_there)
{
    struct message message;

    ck_assert_int_eq(peek("Q\0\0\0\6a", 6, 1000, &message), MESSAGE_PARTIAL);
    ck_assert_uint_eq(message.size, 7);
    ck_assert_uint_eq(message.body.size, 1);
}
END_TEST

START_TEST(a_message_without_a_body_is_whole)
{
    struct message message;

    ck_assert_int_eq(peek("S\0\0\0\4", 5, 5, &message), MESSAGE_WHOLE);
    ck_assert_uint_eq(message.body.size, 0);
}
END_TEST

START_TEST(a_length_that_does_not_count_itself_is_bad)
{
    struct message message;

    ck_assert_int_eq(peek("Q\0\0\0\3", 5, 1000, &message), MESSAGE_BAD);
}
END_TEST

START_TEST(a_size_over_the_limit_is_bad)
{
    struct message message;

    ck_assert_int_eq(peek("Q\0\0\0\6", 5, 6, &message), MESSAGE_BAD);
    ck_assert_int_eq(peek("Q\xff\xff\xff\xff", 5, SIZE_MAX, &message), MESSAGE_BAD);
}
END_TEST

Suite *suite_wire_message(void)
{
    Suite *suite = suite_create("wire/message");
    TCase *cases = tcase_create("message");

    tcase_add_test(cases, fewer_than_five_bytes_say_nothing);
    tcase_add_test(cases, a_whole_message_has_its_body);
    tcase_add_test(cases, a_partial_message_has_the_part_that_is_there);
    tcase_add_test(cases, a_message_without_a_body_is_whole);
    tcase_add_test(cases, a_length_that_does_not_count_itself_is_bad);
    tcase_add_test(cases, a_size_over_the_limit_is_bad);
    suite_add_tcase(suite, cases);
    return suite;
}
