#include <check.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "wire/build.h"
#include "wire/startup.h"

Suite *suite_wire_startup(void);

static uint8_t memory[32768];
static struct bytes bytes;
static struct startup_packet packet;
static struct error error;

#define LAYOUT_TEXT "invalid startup packet layout: expected terminator as last byte"

static void begin(void)
{
    bytes = bytes_over(memory, sizeof(memory));
    error = (struct error){.sqlstate = ""};
}

static enum startup_verdict parse(void)
{
    return startup_parse(bytes.data, bytes.size, &packet, &error);
}

/* A packet of `code` whose length is right, with `body` as it is. */
static void make_packet(uint32_t code, const char *body, size_t size)
{
    bytes_u32(&bytes, (uint32_t)size + 8);
    bytes_u32(&bytes, code);
    bytes_put(&bytes, body, size);
}

START_TEST(a_startup_message_gives_its_parameters_in_order)
{
    make_packet(PROTOCOL_3_0, "user\0bob\0database\0shop\0", 24);
    ck_assert_int_eq(parse(), STARTUP_MESSAGE);
    ck_assert_uint_eq(packet.size, bytes.size);
    ck_assert_uint_eq(packet.message.protocol, PROTOCOL_3_0);
    ck_assert_uint_eq(packet.message.count, 2);
    ck_assert_str_eq(packet.message.parameters[1].name, "database");
    ck_assert_str_eq(startup_parameter(&packet.message, "user"), "bob");
    ck_assert_ptr_null(startup_parameter(&packet.message, "USER"));
}
END_TEST

START_TEST(the_last_of_two_equal_names_wins)
{
    make_packet(PROTOCOL_3_2, "user\0a\0user\0b\0", 15);
    ck_assert_int_eq(parse(), STARTUP_MESSAGE);
    ck_assert_str_eq(startup_parameter(&packet.message, "user"), "b");
}
END_TEST

START_TEST(a_message_without_parameters_is_left_to_the_caller)
{
    make_packet(PROTOCOL_3_0, "\0", 1);
    ck_assert_int_eq(parse(), STARTUP_MESSAGE);
    ck_assert_uint_eq(packet.message.count, 0);
}
END_TEST

START_TEST(a_split_packet_needs_more_at_every_byte)
{
    make_packet(PROTOCOL_3_0, "user\0bob\0", 10);
    for (size_t size = 0; size < bytes.size; size++)
        ck_assert_int_eq(startup_parse(memory, size, &packet, &error), STARTUP_NEED_MORE);
    ck_assert_int_eq(parse(), STARTUP_MESSAGE);
}
END_TEST

START_TEST(bytes_behind_the_packet_are_not_part_of_it)
{
    make_packet(PROTOCOL_3_0, "user\0bob\0", 10);
    size_t size = bytes.size;
    bytes_text(&bytes, "Q more");
    ck_assert_int_eq(parse(), STARTUP_MESSAGE);
    ck_assert_uint_eq(packet.size, size);
}
END_TEST

START_TEST(newer_minors_are_startup_messages)
{
    make_packet(UINT32_C(0x0003270f), "user\0bob\0", 10);
    ck_assert_int_eq(parse(), STARTUP_MESSAGE);
    ck_assert_uint_eq(packet.message.protocol, UINT32_C(0x0003270f));
}
END_TEST

START_TEST(version_2_is_refused_by_name)
{
    make_packet(UINT32_C(0x00020000), "", 0);
    ck_assert_int_eq(parse(), STARTUP_BAD);
    ck_assert_str_eq(error.message, "old V2 protocol not supported");
    ck_assert_str_eq(error.sqlstate, "08P01");
}
END_TEST

START_TEST(version_4_is_a_bad_header)
{
    make_packet(UINT32_C(0x00040000), "\0", 1);
    ck_assert_int_eq(parse(), STARTUP_BAD);
    ck_assert_str_eq(error.message, "bad packet header: '0000000900040000'");
}
END_TEST

START_TEST(bytes_of_another_protocol_are_a_bad_header)
{
    bytes_text(&bytes, "GET / HTTP/1.1\r\n");
    ck_assert_int_eq(parse(), STARTUP_BAD);
    ck_assert_str_eq(error.message, "bad packet header: '474554202f204854'");
}
END_TEST

START_TEST(a_packet_over_the_limit_is_refused_before_it_is_there)
{
    bytes_u32(&bytes, STARTUP_PACKET_MAX + 1);
    bytes_u32(&bytes, PROTOCOL_3_0);
    ck_assert_int_eq(parse(), STARTUP_BAD);
    bytes_patch_u32(&bytes, 0, UINT32_MAX);
    ck_assert_int_eq(parse(), STARTUP_BAD);
    bytes_patch_u32(&bytes, 0, STARTUP_PACKET_MAX);
    ck_assert_int_eq(parse(), STARTUP_NEED_MORE);
}
END_TEST

START_TEST(a_length_that_does_not_count_the_head_is_bad)
{
    for (uint32_t length = 0; length < 8; length++) {
        begin();
        bytes_u32(&bytes, length);
        bytes_u32(&bytes, PROTOCOL_3_0);
        ck_assert_int_eq(parse(), STARTUP_BAD);
    }
}
END_TEST

START_TEST(a_packet_without_terminator_is_refused)
{
    make_packet(PROTOCOL_3_0, "user\0bob", 9);
    ck_assert_int_eq(parse(), STARTUP_BAD);
    ck_assert_str_eq(error.message, LAYOUT_TEXT);
}
END_TEST

START_TEST(a_text_that_runs_over_the_end_is_refused)
{
    make_packet(PROTOCOL_3_0, "user\0bob", 8);
    bytes_u8(&bytes, 0); /* the terminator is the next packet's byte */
    ck_assert_int_eq(parse(), STARTUP_BAD);
    ck_assert_str_eq(error.message, LAYOUT_TEXT);
}
END_TEST

START_TEST(a_name_without_value_is_refused)
{
    make_packet(PROTOCOL_3_0, "user", 5);
    ck_assert_int_eq(parse(), STARTUP_BAD);
    ck_assert_str_eq(error.message, LAYOUT_TEXT);
}
END_TEST

START_TEST(garbage_behind_the_terminator_is_refused)
{
    make_packet(PROTOCOL_3_0, "user\0bob\0\0x", 11);
    ck_assert_int_eq(parse(), STARTUP_BAD);
    ck_assert_str_eq(error.message, LAYOUT_TEXT);
}
END_TEST

START_TEST(too_many_parameters_are_refused)
{
    char body[4 * (STARTUP_PARAMETERS_MAX + 1) + 1];

    for (size_t i = 0; i < sizeof(body) - 1; i++)
        body[i] = i % 2 == 0 ? 'a' : '\0';
    body[sizeof(body) - 1] = '\0';
    make_packet(PROTOCOL_3_0, body, 4 * STARTUP_PARAMETERS_MAX);
    bytes_u8(&bytes, 0);
    bytes_patch_u32(&bytes, 0, (uint32_t)bytes.size);
    ck_assert_int_eq(parse(), STARTUP_MESSAGE);
    ck_assert_uint_eq(packet.message.count, STARTUP_PARAMETERS_MAX);
    begin();
    make_packet(PROTOCOL_3_0, body, sizeof(body));
    ck_assert_int_eq(parse(), STARTUP_BAD);
    ck_assert_str_eq(error.message, "more than 128 startup parameters");
}
END_TEST

START_TEST(the_requests_for_encryption_are_eight_bytes)
{
    build_ssl_request(&bytes);
    ck_assert_int_eq(parse(), STARTUP_SSL_REQUEST);
    ck_assert_uint_eq(packet.size, 8);
    begin();
    make_packet(80877104, "", 0);
    ck_assert_int_eq(parse(), STARTUP_GSSENC_REQUEST);
    begin();
    make_packet(80877103, "x", 1);
    ck_assert_int_eq(parse(), STARTUP_BAD);
    begin();
    make_packet(80877104, "x", 1);
    ck_assert_int_eq(parse(), STARTUP_BAD);
}
END_TEST

START_TEST(a_cancel_request_gives_process_and_key)
{
    build_cancel_request(&bytes, 42, "\1\2\3\4", 4);
    ck_assert_int_eq(parse(), STARTUP_CANCEL_REQUEST);
    ck_assert_uint_eq(packet.size, 16);
    ck_assert_uint_eq(packet.cancel.process, 42);
    ck_assert_uint_eq(packet.cancel.key.size, 4);
    ck_assert_mem_eq(packet.cancel.key.data, "\1\2\3\4", 4);
}
END_TEST

START_TEST(a_cancel_key_has_4_to_256_bytes)
{
    char key[CANCEL_KEY_MAX + 1] = "";

    build_cancel_request(&bytes, 1, key, CANCEL_KEY_MAX);
    ck_assert_int_eq(parse(), STARTUP_CANCEL_REQUEST);
    ck_assert_uint_eq(packet.cancel.key.size, CANCEL_KEY_MAX);
    begin();
    build_cancel_request(&bytes, 1, key, CANCEL_KEY_MAX + 1);
    ck_assert_int_eq(parse(), STARTUP_BAD);
    begin();
    build_cancel_request(&bytes, 1, key, 3);
    ck_assert_int_eq(parse(), STARTUP_BAD);
}
END_TEST

/* All settings of `options` as "name=value;", "!" behind the last when the rest is refused. */
static const char *settings_of(const char *options)
{
    static char text[512];
    char setting[32];
    const char *name, *value;
    int verdict;

    text[0] = '\0';
    while ((verdict = startup_next_option(&options, setting, sizeof(setting), &name, &value,
                                          &error)) == 1)
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s=%s;", name, value);
    if (verdict < 0)
        strcat(text, "!");
    return text;
}

START_TEST(options_are_settings_of_three_forms)
{
    ck_assert_str_eq(settings_of("-c a=1 -cb=2\t--c=3"), "a=1;b=2;c=3;");
    ck_assert_str_eq(settings_of("  --statement-timeout=5s  "), "statement_timeout=5s;");
    ck_assert_str_eq(settings_of(""), "");
    ck_assert_str_eq(settings_of(" \n"), "");
    ck_assert_str_eq(settings_of("-c a="), "a=;");
    ck_assert_str_eq(settings_of("-c a=b=c-d"), "a=b=c-d;");
}
END_TEST

START_TEST(a_backslash_escapes_white_space_and_itself)
{
    ck_assert_str_eq(settings_of("-c a=b\\ c -c d=\\\\e"), "a=b c;d=\\e;");
    ck_assert_str_eq(settings_of("-c a=b\\"), "a=b;");
}
END_TEST

START_TEST(other_options_are_refused)
{
    ck_assert_str_eq(settings_of("-c a=1 -d 5"), "a=1;!");
    ck_assert_str_eq(error.message, "unsupported options startup parameter: only '-c config=val' "
                                    "and '--config=val' are allowed");
    ck_assert_str_eq(settings_of("a=1"), "!");
    ck_assert_str_eq(settings_of("-c"), "!");
    ck_assert_str_eq(settings_of("-c a"), "!");
    ck_assert_str_eq(settings_of("-c =1"), "!");
    ck_assert_str_eq(settings_of("--"), "!");
}
END_TEST

START_TEST(an_option_longer_than_the_memory_is_refused)
{
    ck_assert_str_eq(settings_of("--a=234567890123456789012345678"),
                     "a=234567890123456789012345678;");
    ck_assert_str_eq(settings_of("--a=2345678901234567890123456789"), "!");
    ck_assert_ptr_nonnull(strstr(error.message, "longer than 32 bytes"));
}
END_TEST

Suite *suite_wire_startup(void)
{
    Suite *suite = suite_create("wire/startup");
    TCase *cases = tcase_create("startup");

    tcase_add_checked_fixture(cases, begin, NULL);
    tcase_add_test(cases, a_startup_message_gives_its_parameters_in_order);
    tcase_add_test(cases, the_last_of_two_equal_names_wins);
    tcase_add_test(cases, a_message_without_parameters_is_left_to_the_caller);
    tcase_add_test(cases, a_split_packet_needs_more_at_every_byte);
    tcase_add_test(cases, bytes_behind_the_packet_are_not_part_of_it);
    tcase_add_test(cases, newer_minors_are_startup_messages);
    tcase_add_test(cases, version_2_is_refused_by_name);
    tcase_add_test(cases, version_4_is_a_bad_header);
    tcase_add_test(cases, bytes_of_another_protocol_are_a_bad_header);
    tcase_add_test(cases, a_packet_over_the_limit_is_refused_before_it_is_there);
    tcase_add_test(cases, a_length_that_does_not_count_the_head_is_bad);
    tcase_add_test(cases, a_packet_without_terminator_is_refused);
    tcase_add_test(cases, a_text_that_runs_over_the_end_is_refused);
    tcase_add_test(cases, a_name_without_value_is_refused);
    tcase_add_test(cases, garbage_behind_the_terminator_is_refused);
    tcase_add_test(cases, too_many_parameters_are_refused);
    tcase_add_test(cases, the_requests_for_encryption_are_eight_bytes);
    tcase_add_test(cases, a_cancel_request_gives_process_and_key);
    tcase_add_test(cases, a_cancel_key_has_4_to_256_bytes);
    tcase_add_test(cases, options_are_settings_of_three_forms);
    tcase_add_test(cases, a_backslash_escapes_white_space_and_itself);
    tcase_add_test(cases, other_options_are_refused);
    tcase_add_test(cases, an_option_longer_than_the_memory_is_refused);
    suite_add_tcase(suite, cases);
    return suite;
}
