#include <check.h>
#include <stdio.h>
#include <string.h>

#include "http/head.h"

Suite *suite_http_head(void);

static struct http_head head;

static enum http_verdict read_text(const char *text)
{
    return http_head_read((struct span){(const uint8_t *)text, strlen(text)}, &head);
}

START_TEST(a_get_is_read_whole)
{
    const char *text =
        "GET /metrics?a=b HTTP/1.1\r\nHost: localhost:8080\r\nX-Some:\t word \r\n\r\nrest";
    ck_assert_int_eq(read_text(text), HTTP_WHOLE);
    ck_assert_int_eq(head.method, HTTP_GET);
    ck_assert(span_is(head.path, "/metrics"));
    ck_assert(span_is(head.query, "a=b"));
    ck_assert(span_is(head.host, "localhost:8080"));
    ck_assert(span_is(http_head_field(&head, "x-some"), "word"));
    ck_assert_ptr_null(http_head_field(&head, "absent").data);
    ck_assert_uint_eq(head.size, strlen(text) - 4);
    ck_assert(head.keep_alive);
}
END_TEST

START_TEST(every_beginning_of_a_good_head_needs_more)
{
    const char *text = "POST /sql HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n\r\n";
    for (size_t size = 0; size < strlen(text); size++)
        ck_assert_int_eq(http_head_read((struct span){(const uint8_t *)text, size}, &head),
                         HTTP_MORE);
    ck_assert_int_eq(read_text(text), HTTP_WHOLE);
    ck_assert(head.has_length);
    ck_assert_uint_eq(head.length, 12);
}
END_TEST

static const struct {
    const char *text;
    int keep_alive;
} lives[] = {
    {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 1},
    {"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 0},
    {"GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n", 0},
    {"GET / HTTP/1.0\r\n\r\n", 0},
    {"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", 1},
    {"OPTIONS * HTTP/1.1\r\nHost:\r\n\r\n", 1},
};

START_TEST(the_connection_lives_as_version_and_field_say)
{
    ck_assert_int_eq(read_text(lives[_i].text), HTTP_WHOLE);
    ck_assert_int_eq(head.keep_alive, lives[_i].keep_alive);
}
END_TEST

#define LINE "GET / HTTP/1.1\r\n"
#define GOOD LINE "Host: a\r\n"
static const char *const refused[] = {
    GOOD "X: a\r\n folded\r\n\r\n",
    GOOD "X : a\r\n\r\n",
    GOOD "X: a\n\r\n",
    GOOD "X: a\rb\r\n\r\n",
    GOOD "X: a\x01\r\n\r\n",
    GOOD "X: a\x7f\r\n\r\n",
    GOOD "no colon\r\n\r\n",
    GOOD ": no name\r\n\r\n",
    GOOD "Host: a\r\n\r\n",
    GOOD "Content-Length: 1\r\nContent-Length: 1\r\n\r\n",
    GOOD "Content-Length: 1\r\ncontent-length: 2\r\n\r\n",
    GOOD "Content-Length: +4\r\n\r\n",
    GOOD "Content-Length: 1, 1\r\n\r\n",
    GOOD "Content-Length:\r\n\r\n",
    GOOD "Content-Length: 9999999999999999999\r\n\r\n",
    GOOD "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    GOOD "Transfer-Encoding: gzip, chunked\r\n\r\n",
    GOOD "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
    GOOD "Transfer-Encoding: identity\r\n\r\n",
    GOOD "Upgrade: websocket\r\nContent-Length: 1\r\n\r\n",
    LINE "\r\n",
    "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
    "GET /\r\n\r\n",
    "GET / HTTP/0.9\r\n\r\n",
    "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
    "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET * HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /\x80 HTTP/1.1\r\nHost: a\r\n\r\n",
    "G(T / HTTP/1.1\r\nHost: a\r\n\r\n",
    "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "\x16\x03\x01",
};
#undef LINE
#undef GOOD

START_TEST(what_could_be_understood_in_two_ways_is_refused)
{
    ck_assert_msg(read_text(refused[_i]) == HTTP_BAD, "taken: %s", refused[_i]);
    ck_assert_int_eq(head.status, 400);
    ck_assert_ptr_nonnull(head.why);
}
END_TEST

START_TEST(a_head_has_bounds)
{
    static char text[HTTP_HEAD_MAX + 100];
    memset(text, 'a', sizeof(text) - 1);
    memcpy(text, "GET /", 5);
    ck_assert_int_eq(read_text(text), HTTP_BAD);
    ck_assert_int_eq(head.status, 431);

    int size = snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: a\r\n");
    for (int i = 0; i < HTTP_FIELDS_MAX; i++)
        size += snprintf(text + size, sizeof(text) - (size_t)size, "X: %d\r\n", i);
    ck_assert_int_eq(read_text(text), HTTP_BAD);
    ck_assert_int_eq(head.status, 431);
}
END_TEST

Suite *suite_http_head(void)
{
    Suite *suite = suite_create("http/head");
    TCase *cases = tcase_create("head");
    int lives_count = sizeof(lives) / sizeof(lives[0]);
    int refused_count = sizeof(refused) / sizeof(refused[0]);
    tcase_add_test(cases, a_get_is_read_whole);
    tcase_add_test(cases, every_beginning_of_a_good_head_needs_more);
    tcase_add_loop_test(cases, the_connection_lives_as_version_and_field_say, 0, lives_count);
    tcase_add_loop_test(cases, what_could_be_understood_in_two_ways_is_refused, 0, refused_count);
    tcase_add_test(cases, a_head_has_bounds);
    suite_add_tcase(suite, cases);
    return suite;
}
