#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/json_request.h"
#include "wire/message.h"
#include "wire/query.h"

Suite *suite_gateway_json_request(void);

static struct json_request *request;

static void begin(void)
{
    const struct json_request_settings settings = {.as_arrays = false,
                                                   .begin = "START TRANSACTION"};
    request = json_request_create(&settings);
}

static void end(void)
{
    json_request_destroy(request);
}

/* In pieces of `step` bytes. */
static bool read_text(const char *text, size_t step)
{
    size_t size = strlen(text);

    json_request_destroy(request);
    begin();
    for (size_t at = 0; at < size; at += step) {
        size_t part = size - at < step ? size - at : step;
        if (!json_request_feed(request, (struct span){(const uint8_t *)text + at, part}))
            return false;
    }
    return json_request_end(request);
}

/* The messages as one text: type, and for Parse the query, for Bind its values. */
static const char *told(void)
{
    static char text[4096];
    struct span left = bytes_span(json_request_messages(request));
    struct message message;
    size_t size = 0;

    while (message_peek(left.data, left.size, SIZE_MAX, &message) == MESSAGE_WHOLE) {
        struct parse_message parse;
        text[size++] = (char)message.type;
        if (message.type == 'P') {
            ck_assert(parse_message_read(message.body, &parse));
            size += (size_t)sprintf(text + size, "(%s)", parse.query);
        }
        if (message.type == 'B') {
            struct cursor body = cursor_over(message.body.data, message.body.size);
            cursor_string(&body);
            cursor_string(&body);
            cursor_u16(&body);
            unsigned count = cursor_u16(&body);
            text[size++] = '(';
            for (unsigned i = 0; i < count; i++) {
                int32_t length = cursor_i32(&body);
                struct span value = {0};
                if (length >= 0)
                    value = cursor_bytes(&body, (size_t)length);
                size += (size_t)sprintf(text + size, "%s%.*s", i > 0 ? "|" : "",
                                        length < 0 ? 4 : (int)value.size,
                                        length < 0 ? "null" : (const char *)value.data);
            }
            text[size++] = ')';
            ck_assert_uint_eq(cursor_u16(&body), 0);
            ck_assert(cursor_finished(&body));
        }
        left = (struct span){left.data + message.size, left.size - message.size};
    }
    ck_assert_uint_eq(left.size, 0);
    text[size] = '\0';
    return text;
}

static const struct {
    const char *text, *messages;
} good[] = {
    {"{\"query\":\"select 1\"}", "P(select 1)B()DES"},
    {" {\"params\":[1,-2.50,1e5],\"query\":\"q\"} ", "P(q)B(1|-2.50|1e5)DES"},
    {"{\"query\":\"q\",\"params\":[null,\"a\",true,false]}", "P(q)B(null|a|true|false)DES"},
    {"{\"query\":\"q\",\"params\":[{\"a\":[1,{\"b\":null}],\"c\\\"\":\"\\n\"}]}",
     "P(q)B({\"a\":[1,{\"b\":null}],\"c\\\"\":\"\\u000a\"})DES"},
    {"{\"query\":\"q\",\"params\":[[],[1,null,\"a\\\"b\\\\\",[2,[]]]]}",
     "P(q)B({}|{1,NULL,\"a\\\"b\\\\\",{2,{}}})DES"},
    {"{\"query\":\"q\",\"params\":[[{\"a\":\"x\\\"\"}]]}",
     "P(q)B({\"{\\\"a\\\":\\\"x\\\\\\\"\\\"}\"})DES"},
    {"{\"other\":{\"query\":[1,{}]},\"query\":\"q\",\"arrayMode\":null}", "P(q)B()DES"},
    {"{\"queries\":[]}", "P(START TRANSACTION)B()EP(COMMIT)B()ES"},
    {"{\"queries\":[{\"query\":\"a\"},{\"params\":[\"1\"],\"query\":\"b\",\"arrayMode\":true}]}",
     "P(START TRANSACTION)B()EP(a)B()DEP(b)B(1)DEP(COMMIT)B()ES"},
};

START_TEST(a_body_becomes_what_a_driver_sends)
{
    for (size_t step = 1; step <= strlen(good[_i].text); step++) {
        ck_assert_msg(read_text(good[_i].text, step), "%s: %s", good[_i].text,
                      json_request_problem(request));
        ck_assert_str_eq(told(), good[_i].messages);
    }
}
END_TEST

static const char *const bad[] = {
    "",
    "null",
    "[]",
    "\"query\"",
    "{",
    "{}",
    "{\"query\":\"a\"} {}",
    "{\"query\":\"a\"}x",
    "{\"query\":1}",
    "{\"query\":null}",
    "{\"query\":[\"a\"]}",
    "{\"query\":\"a\\u0000b\"}",
    "{\"query\":\"a\",\"query\":\"b\"}",
    "{\"query\":\"a\",\"params\":[],\"params\":[]}",
    "{\"query\":\"a\",\"params\":{}}",
    "{\"query\":\"a\",\"params\":\"a\"}",
    "{\"query\":\"a\",\"arrayMode\":1}",
    "{\"query\":\"a\",\"queries\":[]}",
    "{\"queries\":[],\"query\":\"a\"}",
    "{\"queries\":[],\"queries\":[]}",
    "{\"queries\":{}}",
    "{\"queries\":[1]}",
    "{\"queries\":[[]]}",
    "{\"queries\":[{}]}",
    "{\"queries\":[{\"query\":\"a\",\"query\":\"b\"}]}",
    "{\"query\":\"\xff\"}",
    "{'query':'a'}",
    "{\"query\":\"a\",}",
    "{\"query\":\"a\" /* b */}",
};

START_TEST(what_is_no_request_is_refused_with_a_reason)
{
    ck_assert_msg(!read_text(bad[_i], 1000), "%s", bad[_i]);
    ck_assert_ptr_nonnull(json_request_problem(request));
    ck_assert(!read_text(bad[_i], 1));
}
END_TEST

START_TEST(a_query_may_say_how_it_wants_its_rows)
{
    ck_assert(read_text("{\"queries\":[{\"query\":\"a\"},{\"arrayMode\":true,\"query\":\"b\"},"
                        "{\"query\":\"c\"}]}",
                        7));
    ck_assert(json_request_is_batch(request));
    ck_assert_uint_eq(json_request_queries(request), 3);
    ck_assert(!json_request_as_arrays(request, 0));
    ck_assert(json_request_as_arrays(request, 1));
    ck_assert(!json_request_as_arrays(request, 2));
    ck_assert(!json_request_as_arrays(request, 3));
}
END_TEST

/* `count` times `item`, with commas, between `before` and `after`. */
static bool read_many(const char *before, const char *item, int count, const char *after)
{
    size_t size = strlen(before) + (strlen(item) + 1) * (size_t)count + strlen(after) + 1;
    char *text = malloc(size), *at = text + sprintf(text, "%s", before);

    for (int i = 0; i < count; i++)
        at += sprintf(at, "%s%s", i > 0 ? "," : "", item);
    strcpy(at, after);
    bool ok = read_text(text, 5000);
    free(text);
    return ok;
}

START_TEST(parameters_queries_and_depth_are_bounded)
{
    ck_assert(read_many("{\"query\":\"q\",\"params\":[", "[]", 65535, "]}"));
    ck_assert(!read_many("{\"query\":\"q\",\"params\":[", "[]", 65536, "]}"));
    ck_assert(read_many("{\"queries\":[", "{\"query\":\"\"}", 1000, "]}"));
    ck_assert(!read_many("{\"queries\":[", "{\"query\":\"\"}", 1001, "]}"));

    char text[400] = "{\"query\":\"q\",\"params\":";
    size_t size = strlen(text);
    memset(text + size, '[', 63);
    memset(text + size + 63, ']', 63);
    strcpy(text + size + 126, "}");
    ck_assert(read_text(text, 1000));
    memset(text + size, '[', 64);
    memset(text + size + 64, ']', 64);
    strcpy(text + size + 128, "}");
    ck_assert(!read_text(text, 1000));
}
END_TEST

START_TEST(memory_is_told_and_little_of_it_stays)
{
    static char text[200100];
    size_t size = (size_t)sprintf(text, "{\"query\":\"q\",\"params\":[\"");
    memset(text + size, 'a', 200000);
    strcpy(text + size + 200000, "\"]}");
    ck_assert(read_text(text, 1000));
    ck_assert_uint_gt(json_request_memory(request), 200000);
    ck_assert_uint_lt(json_request_memory(request), 700000);
}
END_TEST

Suite *suite_gateway_json_request(void)
{
    Suite *suite = suite_create("gateway/json_request");
    TCase *cases = tcase_create("json_request");
    tcase_add_checked_fixture(cases, begin, end);
    tcase_add_loop_test(cases, a_body_becomes_what_a_driver_sends, 0,
                        sizeof(good) / sizeof(good[0]));
    tcase_add_loop_test(cases, what_is_no_request_is_refused_with_a_reason, 0,
                        sizeof(bad) / sizeof(bad[0]));
    tcase_add_test(cases, a_query_may_say_how_it_wants_its_rows);
    tcase_add_test(cases, parameters_queries_and_depth_are_bounded);
    tcase_add_test(cases, memory_is_told_and_little_of_it_stays);
    suite_add_tcase(suite, cases);
    return suite;
}
