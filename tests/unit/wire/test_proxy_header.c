#include <check.h>
#include <string.h>

#include "wire/proxy_header.h"

Suite *suite_wire_proxy_header(void);

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"

static struct proxy_header header;
static const char *why;

static enum proxy_verdict parse(const void *data, size_t size)
{
    return proxy_header_parse(data, size, &header, &why);
}

#define PARSE(literal) parse(literal, sizeof(literal) - 1)

static void claim_source(enum proxy_family family, const char *bytes, size_t size, int port)
{
    ck_assert_int_eq(header.family, family);
    ck_assert_mem_eq(header.source, bytes, size);
    ck_assert_int_eq(header.source_port, port);
}

/* ---- v1 ---- */

START_TEST(a_line_with_ipv4)
{
    ck_assert_int_eq(PARSE("PROXY TCP4 192.0.2.1 198.51.100.2 5000 5432\r\nmore"), PROXY_TAKEN);
    claim_source(PROXY_IPV4, "\xc0\0\2\1", 4, 5000);
    ck_assert_uint_eq(header.size, sizeof("PROXY TCP4 192.0.2.1 198.51.100.2 5000 5432\r\n") - 1);
}
END_TEST

START_TEST(a_line_with_ipv6)
{
    ck_assert_int_eq(PARSE("PROXY TCP6 2001:db8::1 ::1 65535 0\r\n"), PROXY_TAKEN);
    claim_source(PROXY_IPV6, "\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1", 16, 65535);
}
END_TEST

START_TEST(the_longest_line_is_taken)
{
    const char line[] = "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
                        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n";

    ck_assert_uint_le(sizeof(line) - 1, PROXY_V1_MAX);
    ck_assert_int_eq(parse(line, sizeof(line) - 1), PROXY_TAKEN);
}
END_TEST

START_TEST(unknown_is_nobody)
{
    ck_assert_int_eq(PARSE("PROXY UNKNOWN\r\n"), PROXY_TAKEN);
    ck_assert_int_eq(header.family, PROXY_NOBODY);
    ck_assert_int_eq(PARSE("PROXY UNKNOWN ::1 whatever\r\n"), PROXY_TAKEN);
    ck_assert_int_eq(header.family, PROXY_NOBODY);
}
END_TEST

START_TEST(each_part_of_a_line_needs_more)
{
    const char line[] = "PROXY TCP4 192.0.2.1 198.51.100.2 5000 5432\r\n";

    for (size_t size = 0; size < sizeof(line) - 1; size++)
        ck_assert_int_eq(parse(line, size), PROXY_NEED_MORE);
}
END_TEST

static const char *const bad_lines[] = {
    "PROXY TCP4 192.0.2.1 198.51.100.2 5000 5432\n",    /* no CR */
    "PROXY TCP4 192.0.2.1 198.51.100.2 5000\r\n",       /* a port is missing */
    "PROXY TCP4 192.0.2.1 198.51.100.2 5000 \r\n",      /* and an empty one */
    "PROXY TCP4 192.0.2.1 198.51.100.2 5000 5432 \r\n", /* a space more */
    "PROXY TCP4 192.0.2.1 198.51.100.2 5000 5432 1\r\n",
    "PROXY  TCP4 192.0.2.1 198.51.100.2 5000 5432\r\n",
    "PROXY TCP4 192.0.2.1  198.51.100.2 5000 5432\r\n",
    "PROXY TCP4 192.0.2.01 198.51.100.2 5000 5432\r\n", /* which some read as octal */
    "PROXY TCP4 192.0.2 198.51.100.2 5000 5432\r\n",
    "PROXY TCP4 ::1 ::1 5000 5432\r\n",
    "PROXY TCP6 192.0.2.1 198.51.100.2 5000 5432\r\n",
    "PROXY TCP4 192.0.2.1 198.51.100.2 65536 5432\r\n",
    "PROXY TCP4 192.0.2.1 198.51.100.2 05000 5432\r\n",
    "PROXY TCP4 192.0.2.1 198.51.100.2 -1 5432\r\n",
    "PROXY TCP4 192.0.2.1 198.51.100.2 +1 5432\r\n",
    "PROXY UDP4 192.0.2.1 198.51.100.2 5000 5432\r\n",
    "PROXY\r\n",
    "PROXY \r\n",
    "proxy TCP4 192.0.2.1 198.51.100.2 5000 5432\r\n",
    "GET / HTTP/1.1\r\n",
};

START_TEST(what_is_no_line_is_refused)
{
    const char *line = bad_lines[_i];

    ck_assert_msg(parse(line, strlen(line)) == PROXY_BAD, "%s", line);
    ck_assert_str_ne(why, "");
}
END_TEST

START_TEST(a_line_without_end_is_refused_when_it_is_too_long)
{
    char line[PROXY_V1_MAX];

    memset(line, '1', sizeof(line));
    memcpy(line, "PROXY UNKNOWN ", 14);
    ck_assert_int_eq(parse(line, sizeof(line) - 1), PROXY_NEED_MORE);
    ck_assert_int_eq(parse(line, sizeof(line)), PROXY_BAD);
}
END_TEST

START_TEST(a_zero_byte_does_not_hide_the_rest)
{
    ck_assert_int_eq(PARSE("PROXY TCP4 192.0.2.1 198.51.100.2 5000 5432\0 1\r\n"), PROXY_BAD);
}
END_TEST

/* ---- v2 ---- */

START_TEST(a_binary_header_with_ipv4)
{
    ck_assert_int_eq(
        PARSE(SIGNATURE "\x21\x11\0\x0c\xc0\0\2\1\xc6\x33\x64\2\x13\x88\x15\x38 behind it"),
        PROXY_TAKEN);
    claim_source(PROXY_IPV4, "\xc0\0\2\1", 4, 5000);
    ck_assert_uint_eq(header.size, 28);
}
END_TEST

START_TEST(a_binary_header_with_ipv6_and_tlvs)
{
    ck_assert_int_eq(PARSE(SIGNATURE "\x21\x21\0\x29"
                                     "\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1"
                                     "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\x13\x88\x15\x38"
                                     "\x04\0\2ab"),
                     PROXY_TAKEN);
    claim_source(PROXY_IPV6, "\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1", 16, 5000);
    ck_assert_uint_eq(header.size, 16 + 41);
}
END_TEST

START_TEST(local_is_nobody_whatever_stands_in_it)
{
    ck_assert_int_eq(PARSE(SIGNATURE "\x20\0\0\0"), PROXY_TAKEN);
    ck_assert_int_eq(header.family, PROXY_NOBODY);
    ck_assert_int_eq(PARSE(SIGNATURE "\x20\x11\0\x0c\xc0\0\2\1\xc6\x33\x64\2\x13\x88\x15\x38"),
                     PROXY_TAKEN);
    ck_assert_int_eq(header.family, PROXY_NOBODY);
    ck_assert_uint_eq(header.size, 28);
}
END_TEST

START_TEST(families_without_an_address_are_nobody)
{
    uint8_t data[16 + 216] = SIGNATURE "\x21\x31\0\xd8/tmp/socket";

    ck_assert_int_eq(parse(data, sizeof(data)), PROXY_TAKEN);
    ck_assert_int_eq(header.family, PROXY_NOBODY);
    ck_assert_int_eq(PARSE(SIGNATURE "\x21\0\0\0"), PROXY_TAKEN);
    ck_assert_int_eq(header.family, PROXY_NOBODY);
    ck_assert_int_eq(PARSE(SIGNATURE "\x21\xf1\0\2ab"), PROXY_TAKEN);
    ck_assert_int_eq(header.family, PROXY_NOBODY);
}
END_TEST

START_TEST(each_part_of_a_binary_header_needs_more)
{
    const char data[] = SIGNATURE "\x21\x11\0\x0c\xc0\0\2\1\xc6\x33\x64\2\x13\x88\x15\x38";

    for (size_t size = 0; size < sizeof(data) - 1; size++)
        ck_assert_int_eq(parse(data, size), PROXY_NEED_MORE);
}
END_TEST

START_TEST(what_is_no_binary_header_is_refused)
{
    ck_assert_int_eq(PARSE(SIGNATURE "\x31\x11\0\x0c"), PROXY_BAD); /* version 3 */
    ck_assert_int_eq(PARSE(SIGNATURE "\x22\x11\0\x0c"), PROXY_BAD); /* an unknown command */
    ck_assert_int_eq(PARSE(SIGNATURE "\x21\x12\0\x0c\xc0\0\2\1\xc6\x33\x64\2\x13\x88\x15\x38"),
                     PROXY_BAD); /* datagrams */
    ck_assert_int_eq(PARSE(SIGNATURE "\x21\x11\0\x0b\xc0\0\2\1\xc6\x33\x64\2\x13\x88\x15"),
                     PROXY_BAD); /* half a port */
    ck_assert_int_eq(PARSE(SIGNATURE "\x21\x21\0\x0c\xc0\0\2\1\xc6\x33\x64\2\x13\x88\x15\x38"),
                     PROXY_BAD);
    ck_assert_int_eq(PARSE("\r\n\r\n\0\r\nQUIX\n\x21\x11\0\x0c"), PROXY_BAD);
}
END_TEST

START_TEST(a_long_header_is_refused_at_its_head)
{
    ck_assert_int_eq(PARSE(SIGNATURE "\x21\x11\2\x08"), PROXY_NEED_MORE); /* 520 */
    ck_assert_int_eq(PARSE(SIGNATURE "\x21\x11\2\x09"), PROXY_BAD);
    ck_assert_int_eq(PARSE(SIGNATURE "\x21\x11\xff\xff"), PROXY_BAD);
    ck_assert_int_eq(PARSE(SIGNATURE "\x20\0\xff\xff"), PROXY_BAD);
}
END_TEST

Suite *suite_wire_proxy_header(void)
{
    Suite *suite = suite_create("wire/proxy_header");
    TCase *tests = tcase_create("proxy_header");

    tcase_add_test(tests, a_line_with_ipv4);
    tcase_add_test(tests, a_line_with_ipv6);
    tcase_add_test(tests, the_longest_line_is_taken);
    tcase_add_test(tests, unknown_is_nobody);
    tcase_add_test(tests, each_part_of_a_line_needs_more);
    tcase_add_loop_test(tests, what_is_no_line_is_refused, 0,
                        sizeof(bad_lines) / sizeof(bad_lines[0]));
    tcase_add_test(tests, a_line_without_end_is_refused_when_it_is_too_long);
    tcase_add_test(tests, a_zero_byte_does_not_hide_the_rest);
    tcase_add_test(tests, a_binary_header_with_ipv4);
    tcase_add_test(tests, a_binary_header_with_ipv6_and_tlvs);
    tcase_add_test(tests, local_is_nobody_whatever_stands_in_it);
    tcase_add_test(tests, families_without_an_address_are_nobody);
    tcase_add_test(tests, each_part_of_a_binary_header_needs_more);
    tcase_add_test(tests, what_is_no_binary_header_is_refused);
    tcase_add_test(tests, a_long_header_is_refused_at_its_head);
    suite_add_tcase(suite, tests);
    return suite;
}
