#include <check.h>
#include <string.h>

#include "wire/answer.h"
#include "wire/build.h"
#include "wire/message.h"
#include "wire/query.h"

Suite *suite_wire_build(void);

static uint8_t memory[4096];
static struct bytes bytes;

static void begin(void)
{
    bytes = bytes_over(memory, sizeof(memory));
}

/* The only message that was built: its body. */
static struct span body_of(uint8_t type)
{
    struct message message = {0};

    ck_assert(bytes_ok(&bytes));
    ck_assert_int_eq(message_peek(bytes.data, bytes.size, sizeof(memory), &message), MESSAGE_WHOLE);
    ck_assert_uint_eq(message.type, type);
    ck_assert_uint_eq(message.size, bytes.size);
    return message.body;
}

#define ck_assert_built(text)                                                                      \
    do {                                                                                           \
        ck_assert_uint_eq(bytes.size, sizeof(text) - 1);                                           \
        ck_assert_mem_eq(bytes.data, text, sizeof(text) - 1);                                      \
    } while (0)

START_TEST(an_error_has_severity_code_and_message_only)
{
    struct error error = {.sqlstate = "28P01", .message = "no"};

    build_error(&bytes, "FATAL", &error);
    ck_assert_built("E\0\0\0\x17SFATAL\0C28P01\0Mno\0\0");
}
END_TEST

START_TEST(an_error_with_a_hint_has_it_too)
{
    struct error error = {.sqlstate = "28P01", .message = "no", .hint = "try"};
    struct error_response response;

    build_error(&bytes, "ERROR", &error);
    ck_assert(error_response_read(body_of('E'), &response));
    ck_assert_str_eq(response.hint, "try");
}
END_TEST

START_TEST(a_notice_has_a_detail_where_one_is_given)
{
    struct error_response response;

    build_notice(&bytes, "00000", "Console usage", "SHOW");
    ck_assert(error_response_read(body_of('N'), &response));
    ck_assert_str_eq(response.severity, "NOTICE");
    ck_assert_str_eq(response.detail, "SHOW");
    begin();
    build_notice(&bytes, "00000", "m", NULL);
    ck_assert_built("N\0\0\0\x17SNOTICE\0C00000\0Mm\0\0");
}
END_TEST

START_TEST(a_ready_for_query_is_six_bytes)
{
    build_ready_for_query(&bytes, 'I');
    ck_assert_built("Z\0\0\0\5I");
}
END_TEST

START_TEST(authentication_has_code_and_rest)
{
    build_authentication(&bytes, AUTHENTICATION_MD5, "salt", 4);
    ck_assert_built("R\0\0\0\x0c\0\0\0\5salt");
}
END_TEST

START_TEST(mechanisms_end_with_an_empty_text)
{
    static const char *const mechanisms[] = {"SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"};
    struct span rest;
    uint32_t code;

    build_sasl_mechanisms(&bytes, mechanisms, 2);
    ck_assert(authentication_read(body_of('R'), &code, &rest));
    ck_assert_uint_eq(code, AUTHENTICATION_SASL);
    ck_assert(sasl_mechanisms_have(rest, "SCRAM-SHA-256"));
    ck_assert_uint_eq(rest.data[rest.size - 1], 0);
}
END_TEST

START_TEST(parameter_status_and_key_are_read_back)
{
    const char *name, *value;
    uint32_t process;
    struct span key;

    build_parameter_status(&bytes, "TimeZone", "UTC");
    ck_assert(parameter_status_read(body_of('S'), &name, &value));
    ck_assert_str_eq(value, "UTC");
    begin();
    build_backend_key_data(&bytes, 7, "abcd", 4);
    ck_assert(backend_key_data_read(body_of('K'), &process, &key));
    ck_assert(span_is(key, "abcd"));
}
END_TEST

START_TEST(a_negotiation_is_read_back)
{
    static const char *const names[] = {"_pq_.a", "_pq_.b"};
    uint32_t version, refused;

    build_negotiate_protocol(&bytes, PROTOCOL_3_0, names, 2);
    ck_assert(negotiate_protocol_read(body_of('v'), &version, &refused));
    ck_assert_uint_eq(version, PROTOCOL_3_0);
    ck_assert_uint_eq(refused, 2);
}
END_TEST

START_TEST(a_row_description_has_text_columns_of_no_table)
{
    static const struct column columns[] = {{"key", 25, -1}, {"n", 23, 4}};

    build_row_description(&bytes, columns, 2);
    ck_assert_built("T\0\0\0\x30\0\2"
                    "key\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0"
                    "n\0\0\0\0\0\0\0\0\0\0\x17\0\4\xff\xff\xff\xff\0\0");
}
END_TEST

START_TEST(a_row_has_texts_and_nulls)
{
    struct span value;

    size_t mark = data_row_begin(&bytes, 2);
    data_row_text(&bytes, "abc");
    data_row_text(&bytes, NULL);
    data_row_end(&bytes, mark);
    ck_assert(data_row_column(body_of('D'), 0, &value));
    ck_assert(span_is(value, "abc"));
    ck_assert(data_row_column(body_of('D'), 1, &value));
    ck_assert_ptr_null(value.data);
}
END_TEST

START_TEST(a_startup_message_is_read_back)
{
    static const struct startup_parameter parameters[] = {{"database", "shop"}, {"user", "bob"}};
    struct startup_packet packet;

    build_startup(&bytes, PROTOCOL_3_2, parameters, 2);
    ck_assert_int_eq(startup_parse(bytes.data, bytes.size, &packet, NULL), STARTUP_MESSAGE);
    ck_assert_uint_eq(packet.message.protocol, PROTOCOL_3_2);
    ck_assert_str_eq(startup_parameter(&packet.message, "database"), "shop");
}
END_TEST

START_TEST(password_messages_are_framed_as_their_kind_asks)
{
    build_password(&bytes, "pw", 2);
    ck_assert_built("p\0\0\0\7pw\0");
    begin();
    build_sasl_response(&bytes, "c=x", 3);
    ck_assert_built("p\0\0\0\7c=x");
    begin();
    build_sasl_initial(&bytes, "M", "n,,", 3);
    ck_assert_built("p\0\0\0\x0dM\0\0\0\0\3n,,");
    begin();
    build_sasl_initial(&bytes, "M", NULL, 0);
    ck_assert_built("p\0\0\0\x0aM\0\xff\xff\xff\xff");
}
END_TEST

START_TEST(a_parse_is_read_back)
{
    struct span types = {(const uint8_t *)"\0\0\0\x17", 4};
    struct parse_message parse;

    build_parse(&bytes, "s", "SELECT $1", types, 1);
    ck_assert(parse_message_read(body_of('P'), &parse));
    ck_assert_str_eq(parse.query, "SELECT $1");
    ck_assert(span_equal(parse.types, types));
}
END_TEST

START_TEST(a_bind_has_text_values_and_text_results)
{
    static const char *const values[] = {"a", NULL};

    build_bind(&bytes, "", "s", values, 2);
    ck_assert_built("B\0\0\0\x16\0s\0\0\0\0\2\0\0\0\1a\xff\xff\xff\xff\0\0");
}
END_TEST

START_TEST(the_small_messages)
{
    struct target_message target;
    const char *text;
    uint32_t max_rows;

    build_target(&bytes, 'C', 'S', "s1");
    ck_assert(target_message_read(body_of('C'), &target));
    begin();
    build_execute(&bytes, "p", 9);
    ck_assert(execute_message_read(body_of('E'), &text, &max_rows));
    ck_assert_uint_eq(max_rows, 9);
    begin();
    build_command_complete(&bytes, "SHOW");
    ck_assert(command_tag_read(body_of('C'), &text));
    begin();
    build_query(&bytes, "X");
    ck_assert_built("Q\0\0\0\6X\0");
    begin();
    build_simple(&bytes, 'S');
    build_empty(&bytes, '1');
    ck_assert_built("S\0\0\0\4"
                    "1\0\0\0\4");
}
END_TEST

START_TEST(a_message_that_does_not_fit_fails_and_breaks_nothing)
{
    for (size_t capacity = 0; capacity < 12; capacity++) {
        bytes = bytes_over(memory, capacity);
        build_parameter_status(&bytes, "name", "v");
        ck_assert(!bytes_ok(&bytes));
        ck_assert_uint_le(bytes.size, capacity);
    }
}
END_TEST

START_TEST(an_error_is_told_with_another_name_in_its_text_alone)
{
    static const char body[] = "SERROR\0Mstatement \"ours\" of ours\0Dours\0";
    struct span of = {(const uint8_t *)body, sizeof(body)};
    uint8_t said[200];
    struct bytes out = bytes_over(said, sizeof(said));
    static const char wanted[] = "SERROR\0Mstatement \"theirs\" of ours\0Dours\0";

    build_error_renamed(&out, of, "ours", "theirs");
    ck_assert(bytes_ok(&out));
    ck_assert_uint_eq(out.size, sizeof(wanted) + 5);
    ck_assert_mem_eq(out.data + 5, wanted, sizeof(wanted));
}
END_TEST

Suite *suite_wire_build(void)
{
    Suite *suite = suite_create("wire/build");
    TCase *cases = tcase_create("build");

    tcase_add_checked_fixture(cases, begin, NULL);
    tcase_add_test(cases, an_error_has_severity_code_and_message_only);
    tcase_add_test(cases, an_error_with_a_hint_has_it_too);
    tcase_add_test(cases, a_notice_has_a_detail_where_one_is_given);
    tcase_add_test(cases, a_ready_for_query_is_six_bytes);
    tcase_add_test(cases, authentication_has_code_and_rest);
    tcase_add_test(cases, mechanisms_end_with_an_empty_text);
    tcase_add_test(cases, parameter_status_and_key_are_read_back);
    tcase_add_test(cases, a_negotiation_is_read_back);
    tcase_add_test(cases, a_row_description_has_text_columns_of_no_table);
    tcase_add_test(cases, a_row_has_texts_and_nulls);
    tcase_add_test(cases, a_startup_message_is_read_back);
    tcase_add_test(cases, password_messages_are_framed_as_their_kind_asks);
    tcase_add_test(cases, a_parse_is_read_back);
    tcase_add_test(cases, a_bind_has_text_values_and_text_results);
    tcase_add_test(cases, the_small_messages);
    tcase_add_test(cases, an_error_is_told_with_another_name_in_its_text_alone);
    tcase_add_test(cases, a_message_that_does_not_fit_fails_and_breaks_nothing);
    suite_add_tcase(suite, cases);
    return suite;
}
