#include <check.h>
#include <string.h>

/* Of the room alone. */
#include "../../../src/admin/binary.h"

Suite *suite_admin_binary(void);

static uint8_t memory[256];
static struct bytes out;

static void start(void)
{
    out = bytes_over(memory, sizeof(memory));
}

static void is(const char *expected, size_t size)
{
    ck_assert(bytes_ok(&out));
    ck_assert_uint_eq(out.size, size);
    ck_assert_mem_eq(out.data, expected, size);
}

START_TEST(null_has_no_bytes)
{
    binary_cell(&out, 23, NULL);
    is("\xff\xff\xff\xff", 4);
}
END_TEST

START_TEST(integers_are_big_endian)
{
    binary_cell(&out, 23, "-2");
    is("\0\0\0\4\xff\xff\xff\xfe", 8);
    bytes_clear(&out);
    binary_cell(&out, 20, "4294967298");
    is("\0\0\0\10\0\0\0\1\0\0\0\2", 12);
}
END_TEST

START_TEST(numeric_is_in_groups_of_four_digits)
{
    binary_cell(&out, 1700, "1000200030004");
    is("\0\0\0\20\0\4\0\3\0\0\0\0\0\1\0\2\0\3\0\4", 20);
    bytes_clear(&out);
    binary_cell(&out, 1700, "0");
    is("\0\0\0\10\0\0\0\0\0\0\0\0", 12);
    bytes_clear(&out);
    binary_cell(&out, 1700, "18446744073709551615");
    is("\0\0\0\22\0\5\0\4\0\0\0\0\x07\x34\x1a\x58\x02\xe1\x03\xbb\x06\x4f", 22);
}
END_TEST

START_TEST(bytea_is_its_bytes_and_text_is_itself)
{
    binary_cell(&out, 17, "\\x00ff");
    is("\0\0\0\2\0\xff", 6);
    bytes_clear(&out);
    binary_cell(&out, 25, "ab");
    is("\0\0\0\2ab", 6);
}
END_TEST

START_TEST(what_is_no_value_of_its_type_fails)
{
    static const struct {
        uint32_t type;
        const char *text;
    } wrong[] = {{23, "x"}, {23, "2147483648"}, {20, ""}, {1700, "1.5"}, {17, "ab"}, {17, "\\xzz"}};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        bytes_clear(&out);
        binary_cell(&out, wrong[i].type, wrong[i].text);
        ck_assert(!bytes_ok(&out));
    }
}
END_TEST

Suite *suite_admin_binary(void)
{
    const TTest *const tests[] = {
        null_has_no_bytes,
        integers_are_big_endian,
        numeric_is_in_groups_of_four_digits,
        bytea_is_its_bytes_and_text_is_itself,
        what_is_no_value_of_its_type_fails,
    };
    Suite *suite = suite_create("admin/binary");
    TCase *all = tcase_create("all");
    tcase_add_checked_fixture(all, start, NULL);
    for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
        tcase_add_test(all, tests[i]);
    suite_add_tcase(suite, all);
    return suite;
}
