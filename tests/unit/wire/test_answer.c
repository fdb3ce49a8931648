#include <check.h>

#include "wire/answer.h"

Suite *suite_wire_answer(void);

static struct span span(const char *data, size_t size)
{
    return (struct span){(const uint8_t *)data, size};
}

START_TEST(an_error_response_gives_the_known_fields)
{
    static const char body[] = "SFEHLER\0VERROR\0C42P01\0Mno table\0Dd\0Hh\0Fparse.c\0Rparser\0";
    struct error_response error;

    ck_assert(error_response_read(span(body, sizeof(body)), &error));
    ck_assert_str_eq(error.severity, "ERROR");
    ck_assert_str_eq(error.sqlstate, "42P01");
    ck_assert_str_eq(error.message, "no table");
    ck_assert_str_eq(error.detail, "d");
    ck_assert_str_eq(error.hint, "h");
    ck_assert_str_eq(error.routine, "parser");
}
END_TEST

START_TEST(the_untranslated_severity_wins_in_any_order)
{
    struct error_response error;

    ck_assert(error_response_read(span("VERROR\0SFEHLER\0", 16), &error));
    ck_assert_str_eq(error.severity, "ERROR");
    ck_assert(error_response_read(span("SFATAL\0", 8), &error));
    ck_assert_str_eq(error.severity, "FATAL");
}
END_TEST

START_TEST(absent_fields_are_empty_texts)
{
    struct error_response error;

    ck_assert(error_response_read(span("", 1), &error));
    ck_assert_str_eq(error.sqlstate, "");
    ck_assert_str_eq(error.message, "");
    ck_assert_str_eq(error.routine, "");
}
END_TEST

START_TEST(an_error_response_without_its_end_is_malformed)
{
    struct error_response error;

    ck_assert(!error_response_read(span("C42P01\0", 7), &error));
    ck_assert(!error_response_read(span("C42P01", 6), &error));
    ck_assert(!error_response_read(span("C42P01\0\0x", 9), &error));
    ck_assert(!error_response_read(span("", 0), &error));
}
END_TEST

START_TEST(a_parameter_status_is_two_texts)
{
    const char *name, *value;

    ck_assert(parameter_status_read(span("TimeZone\0UTC", 13), &name, &value));
    ck_assert_str_eq(name, "TimeZone");
    ck_assert_str_eq(value, "UTC");
    ck_assert(!parameter_status_read(span("TimeZone", 9), &name, &value));
    ck_assert(!parameter_status_read(span("a\0b\0c", 5), &name, &value));
}
END_TEST

START_TEST(a_cancel_key_of_a_server_has_4_to_256_bytes)
{
    char body[4 + 257] = "\0\0\0\7";
    uint32_t process;
    struct span key;

    ck_assert(backend_key_data_read(span(body, 8), &process, &key));
    ck_assert_uint_eq(process, 7);
    ck_assert_uint_eq(key.size, 4);
    ck_assert(backend_key_data_read(span(body, 4 + 256), &process, &key));
    ck_assert(!backend_key_data_read(span(body, 4 + 257), &process, &key));
    ck_assert(!backend_key_data_read(span(body, 7), &process, &key));
}
END_TEST

START_TEST(ready_for_query_has_one_of_three_states)
{
    uint8_t status;

    ck_assert(ready_for_query_read(span("I", 1), &status));
    ck_assert_uint_eq(status, 'I');
    ck_assert(ready_for_query_read(span("T", 1), &status));
    ck_assert(ready_for_query_read(span("E", 1), &status));
    ck_assert(!ready_for_query_read(span("X", 1), &status));
    ck_assert(!ready_for_query_read(span("", 0), &status));
    ck_assert(!ready_for_query_read(span("II", 2), &status));
}
END_TEST

START_TEST(an_authentication_request_gives_code_and_rest)
{
    uint32_t code;
    struct span rest;

    ck_assert(authentication_read(span("\0\0\0\5salt", 8), &code, &rest));
    ck_assert_uint_eq(code, AUTHENTICATION_MD5);
    ck_assert(span_is(rest, "salt"));
    ck_assert(!authentication_read(span("\0\0\0", 3), &code, &rest));
}
END_TEST

START_TEST(mechanisms_are_found_anywhere_in_their_list)
{
    struct span list = span("SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0", 34);

    ck_assert(sasl_mechanisms_have(list, "SCRAM-SHA-256"));
    ck_assert(sasl_mechanisms_have(list, "SCRAM-SHA-256-PLUS"));
    ck_assert(!sasl_mechanisms_have(list, "SCRAM-SHA-1"));
    ck_assert(!sasl_mechanisms_have(span("SCRAM-SHA-256", 13), "SCRAM-SHA-256"));
    ck_assert(!sasl_mechanisms_have(span("\0SCRAM-SHA-256", 15), "SCRAM-SHA-256"));
}
END_TEST

START_TEST(a_negotiated_version_comes_with_the_refused_options)
{
    uint32_t version, refused;

    ck_assert(negotiate_protocol_read(span("\0\3\0\0\0\0\0\1_pq_.x\0", 15), &version, &refused));
    ck_assert_uint_eq(version, 0x00030000);
    ck_assert_uint_eq(refused, 1);
    ck_assert(!negotiate_protocol_read(span("\0\3\0\0\xff\xff\xff\xff", 8), &version, &refused));
    ck_assert(!negotiate_protocol_read(span("\0\3\0\0\0\0\0\0x", 9), &version, &refused));
}
END_TEST

START_TEST(a_command_tag_is_one_text)
{
    const char *tag;

    ck_assert(command_tag_read(span("SELECT 5", 9), &tag));
    ck_assert_str_eq(tag, "SELECT 5");
    ck_assert(!command_tag_read(span("SELECT 5", 8), &tag));
}
END_TEST

START_TEST(columns_of_a_row_are_found_by_number)
{
    struct span row = span("\0\3\0\0\0\2ab\xff\xff\xff\xff\0\0\0\0", 16), value;
    unsigned columns;

    ck_assert(data_row_count(row, &columns));
    ck_assert_uint_eq(columns, 3);
    ck_assert(data_row_column(row, 0, &value));
    ck_assert(span_is(value, "ab"));
    ck_assert(data_row_column(row, 1, &value));
    ck_assert_ptr_null(value.data);
    ck_assert(data_row_column(row, 2, &value));
    ck_assert_ptr_nonnull(value.data);
    ck_assert_uint_eq(value.size, 0);
    ck_assert(!data_row_column(row, 3, &value));
}
END_TEST

START_TEST(a_column_that_runs_over_the_end_is_malformed)
{
    struct span value;

    ck_assert(!data_row_column(span("\0\1\0\0\0\3ab", 8), 0, &value));
    ck_assert(!data_row_column(span("\0\1\xff\xff\xff\xfe", 6), 0, &value));
    ck_assert(!data_row_column(span("\0\2\0\0\0\0", 6), 1, &value));
}
END_TEST

Suite *suite_wire_answer(void)
{
    Suite *suite = suite_create("wire/answer");
    TCase *cases = tcase_create("answer");

    tcase_add_test(cases, an_error_response_gives_the_known_fields);
    tcase_add_test(cases, the_untranslated_severity_wins_in_any_order);
    tcase_add_test(cases, absent_fields_are_empty_texts);
    tcase_add_test(cases, an_error_response_without_its_end_is_malformed);
    tcase_add_test(cases, a_parameter_status_is_two_texts);
    tcase_add_test(cases, a_cancel_key_of_a_server_has_4_to_256_bytes);
    tcase_add_test(cases, ready_for_query_has_one_of_three_states);
    tcase_add_test(cases, an_authentication_request_gives_code_and_rest);
    tcase_add_test(cases, mechanisms_are_found_anywhere_in_their_list);
    tcase_add_test(cases, a_negotiated_version_comes_with_the_refused_options);
    tcase_add_test(cases, a_command_tag_is_one_text);
    tcase_add_test(cases, columns_of_a_row_are_found_by_number);
    tcase_add_test(cases, a_column_that_runs_over_the_end_is_malformed);
    suite_add_tcase(suite, cases);
    return suite;
}
