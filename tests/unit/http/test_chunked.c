#include <check.h>
#include <string.h>

#include "http/chunked.h"

Suite *suite_http_chunked(void);

static char body[256];
static size_t body_size, rest;

/* Reads `text` in pieces of `step` bytes; what it held is in `body`, what was behind it in `rest`.
 */
static enum chunked_verdict read_all(const char *text, size_t step)
{
    struct chunked chunked = {0};
    size_t size = strlen(text);
    enum chunked_verdict verdict = CHUNKED_MORE;

    body_size = rest = 0;
    for (size_t at = 0; at < size; at += step) {
        size_t part = size - at < step ? size - at : step;
        struct span input = {(const uint8_t *)text + at, part}, data;
        while ((verdict = chunked_read(&chunked, &input, &data)) == CHUNKED_DATA) {
            memcpy(body + body_size, data.data, data.size);
            body_size += data.size;
        }
        rest = size - at - part + input.size;
        if (verdict != CHUNKED_MORE)
            break;
    }
    body[body_size] = '\0';
    return verdict;
}

START_TEST(a_body_is_the_same_however_it_is_cut)
{
    const char *text = "4\r\nWiki\r\n6;a=b\r\npedia \r\n0B\r\nin\r\nchunks.\r\n0\r\n\r\nnext";
    for (size_t step = 1; step <= strlen(text); step++) {
        ck_assert_int_eq(read_all(text, step), CHUNKED_END);
        ck_assert_str_eq(body, "Wikipedia in\r\nchunks.");
        ck_assert_uint_eq(rest, 4);
    }
}
END_TEST

static const char *const refused[] = {
    "\r\n",
    ";\r\n",
    "4\nWiki\r\n0\r\n\r\n",
    "4\r\nWikiX\r\n",
    "4\r\nWiki\n0\r\n\r\n",
    "+4\r\nWiki\r\n0\r\n\r\n",
    "0x4\r\nWiki\r\n0\r\n\r\n",
    " 4\r\nWiki\r\n0\r\n\r\n",
    "4 \r\nWiki\r\n0\r\n\r\n",
    "00000000000000004\r\nWiki\r\n0\r\n\r\n",
    "ffffffffffffffff\r\n",
    "4;a\nb\r\nWiki\r\n0\r\n\r\n",
    "4;\x01\r\nWiki\r\n0\r\n\r\n",
    "0\r\nTrailer: x\r\n\r\n",
    "0\r\n\n",
    "4;aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\nWiki\r\n0\r\n\r\n",
};

START_TEST(what_two_readers_could_cut_in_two_ways_is_refused)
{
    ck_assert_msg(read_all(refused[_i], 1000) == CHUNKED_BAD, "%s", refused[_i]);
    ck_assert_msg(read_all(refused[_i], 1) == CHUNKED_BAD, "%s", refused[_i]);
}
END_TEST

Suite *suite_http_chunked(void)
{
    Suite *suite = suite_create("http/chunked");
    TCase *cases = tcase_create("chunked");
    tcase_add_test(cases, a_body_is_the_same_however_it_is_cut);
    tcase_add_loop_test(cases, what_two_readers_could_cut_in_two_ways_is_refused, 0,
                        sizeof(refused) / sizeof(refused[0]));
    suite_add_tcase(suite, cases);
    return suite;
}
