#include <check.h>
#include <string.h>

#include "auth/base64.h"

Suite *suite_auth_base64(void);

static bool decode(const char *text, uint8_t *data, size_t capacity, size_t *size)
{
    return base64_decode((struct span){(const uint8_t *)text, strlen(text)}, data, capacity, size);
}

static bool refuses(const char *text)
{
    uint8_t data[64];
    size_t size;
    return !decode(text, data, sizeof(data), &size);
}

START_TEST(each_length_comes_back_from_its_text)
{
    uint8_t data[70], back[70];
    char text[BASE64_TEXT_SIZE(sizeof(data)) + 1];
    size_t size;

    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)(i * 37 + 200);
    for (size_t length = 0; length <= sizeof(data); length++) {
        ck_assert_uint_eq(base64_encode(data, length, text), BASE64_TEXT_SIZE(length));
        ck_assert(decode(text, back, sizeof(back), &size));
        ck_assert_uint_eq(size, length);
        ck_assert_mem_eq(back, data, length);
    }
}
END_TEST

START_TEST(texts_are_those_of_rfc_4648)
{
    char text[16];
    base64_encode("fooba", 5, text);
    ck_assert_str_eq(text, "Zm9vYmE=");
    base64_encode("\xfb\xff", 2, text);
    ck_assert_str_eq(text, "+/8=");
}
END_TEST

START_TEST(no_data_has_no_text)
{
    uint8_t data[1];
    size_t size = 7;
    ck_assert(base64_decode((struct span){NULL, 0}, data, 0, &size));
    ck_assert_uint_eq(size, 0);
}
END_TEST

START_TEST(white_space_is_refused)
{
    ck_assert(refuses("Zm9v\nYmE"));
    ck_assert(refuses("Zm9v Zm9"));
}
END_TEST

START_TEST(padding_is_refused_where_it_does_not_belong)
{
    ck_assert(refuses("===="));
    ck_assert(refuses("Z==="));
    ck_assert(refuses("Zg=="
                      "Zg=="));
    ck_assert(refuses("Z=g="));
    ck_assert(refuses("Zm9vYmE"));
    ck_assert(refuses("Zm9vYmE=="));
}
END_TEST

START_TEST(unused_bits_must_be_zero)
{
    ck_assert(refuses("Zh=="));
    ck_assert(refuses("Zm9vYmF="));
}
END_TEST

START_TEST(the_other_alphabet_is_refused)
{
    ck_assert(refuses("-_8="));
}
END_TEST

START_TEST(more_than_the_capacity_is_refused)
{
    uint8_t data[5] = {0, 0, 0, 0, 0xee};
    size_t size;
    ck_assert(!decode("Zm9vYmE=", data, 4, &size));
    ck_assert_uint_eq(data[4], 0xee);
}
END_TEST

Suite *suite_auth_base64(void)
{
    Suite *suite = suite_create("auth/base64");
    TCase *tests = tcase_create("base64");

    tcase_add_test(tests, each_length_comes_back_from_its_text);
    tcase_add_test(tests, texts_are_those_of_rfc_4648);
    tcase_add_test(tests, no_data_has_no_text);
    tcase_add_test(tests, white_space_is_refused);
    tcase_add_test(tests, padding_is_refused_where_it_does_not_belong);
    tcase_add_test(tests, unused_bits_must_be_zero);
    tcase_add_test(tests, the_other_alphabet_is_refused);
    tcase_add_test(tests, more_than_the_capacity_is_refused);
    suite_add_tcase(suite, tests);
    return suite;
}
