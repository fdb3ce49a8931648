#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/json_text.h"
#include "gateway/json_value.h"
#include "gateway/rows.h"
#include "wire/build.h"

Suite *suite_gateway_rows(void);

static struct budget budget;
static struct spool spool;

static void begin(void)
{
    budget = (struct budget){.limit = 1024 * 1024};
    spool_init(&spool, &budget, 0);
}

static void end(void)
{
    spool_clear(&spool);
    ck_assert_uint_eq(budget.used, 0);
}

/* All that is in the spool, which is emptied. */
static const char *text(void)
{
    static char memory[8192];
    size_t size = 0;
    struct span part;

    ck_assert_int_eq(spool.failure, SPOOL_FINE);
    while ((part = spool_front(&spool)).size > 0) {
        memcpy(memory + size, part.data, part.size);
        size += part.size;
        spool_consume(&spool, part.size);
    }
    memory[size] = '\0';
    return memory;
}

static struct span span_of(const char *bytes)
{
    return (struct span){(const uint8_t *)bytes, strlen(bytes)};
}

static const struct {
    uint32_t type;
    const char *value, *json;
} values[] = {
    {16, "t", "true"},
    {16, "f", "false"},
    {16, "x", "\"x\""},
    {21, "-7", "-7"},
    {23, "2147483647", "2147483647"},
    {20, "9007199254740993", "\"9007199254740993\""}, /* int8 */
    {1700, "1.50", "\"1.50\""},                       /* numeric */
    {700, "1.5", "1.5"},
    {701, "1e+300", "1e+300"},
    {701, "NaN", "\"NaN\""},
    {701, "-Infinity", "\"-Infinity\""},
    {25, "a\"b", "\"a\\\"b\""},
    {17, "\\x00ff", "\"\\\\x00ff\""},
    {114, "{\"a\": [1,2]}", "{\"a\": [1,2]}"},
    {3802, "null", "null"},
    {114, "{\"a\":", "\"{\\\"a\\\":\""}, /* a server that lies */
    {114, "\"\xff\"", "\"\\\"\xef\xbf\xbd\\\"\""},
    {1007, "{1,NULL,-3}", "[1,null,-3]"},
    {1007, "{}", "[]"},
    {1007, "{{1,2},{3,4}}", "[[1,2],[3,4]]"},
    {1007, "[0:1]={1,2}", "[1,2]"},
    {1000, "{t,f,NULL}", "[true,false,null]"},
    {1022, "{1.5,NaN,Infinity}", "[1.5,\"NaN\",\"Infinity\"]"},
    {3807, "{\"{\\\"a\\\": \\\"x\\\\\\\\y\\\"}\",NULL}", "[{\"a\": \"x\\\\y\"},null]"},
    {1007, "{1,", "\"{1,\""},
    {1007, "{1}}", "\"{1}}\""},
    {1007, "", "\"\""},
    {1007, "{1,}", "\"{1,}\""},
    {1007, "{{{{{{{1}}}}}}}", "\"{{{{{{{1}}}}}}}\""},
    {1009, "{a,b}", "\"{a,b}\""}, /* text[] */
};

START_TEST(a_value_is_json_by_its_type)
{
    json_value(&spool, values[_i].type, span_of(values[_i].value));
    ck_assert_str_eq(text(), values[_i].json);
}
END_TEST

START_TEST(whatever_bytes_there_are_a_string_is_json)
{
    static const char *const pairs[][2] = {
        {"", "\"\""},
        {"a\x01\x1f\n\t\r\b\f\\/", "\"a\\u0001\\u001f\\n\\t\\r\\b\\f\\\\/\""},
        {"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\""},
        {"\xc0\xaf", "\"\xef\xbf\xbd\xef\xbf\xbd\""},                 /* overlong */
        {"\xed\xa0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""}, /* a surrogate */
        {"\xf4\x90\x80\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
        {"\xe2\x82", "\"\xef\xbf\xbd\xef\xbf\xbd\""}, /* cut */
        {"x\x80y", "\"x\xef\xbf\xbdy\""},
    };
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        json_string(&spool, span_of(pairs[i][0]));
        ck_assert_str_eq(text(), pairs[i][1]);
    }
    for (int first = 0; first < 256; first++)
        for (int second = 0; second < 256; second++) {
            const uint8_t bytes[] = {(uint8_t)first, (uint8_t)second, 'z'};
            json_string(&spool, (struct span){bytes, sizeof(bytes)});
            const char *json = text();
            ck_assert_msg(json_is_value(span_of(json)), "%02x %02x: %s", first, second, json);
        }
}
END_TEST

START_TEST(numbers_are_those_of_json)
{
    static const char *const good[] = {"0", "-0", "10", "1.5", "1e5", "1E-5", "-1.25e+10"};
    static const char *const bad[] = {"",   "-",   "01",  "+1", ".5", "1.",
                                      "1e", "1e+", "0x1", "1 ", "NaN"};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        ck_assert_msg(json_is_number(span_of(good[i])), "%s", good[i]);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ck_assert_msg(!json_is_number(span_of(bad[i])), "%s", bad[i]);
}
END_TEST

/* The bodies of a RowDescription (an int4 and a text) and of a DataRow. */
static struct span body(const struct bytes *message)
{
    return (struct span){message->data + 5, message->size - 5};
}

static void put_row(struct bytes *out, const char *first, const char *second)
{
    size_t mark = data_row_begin(out, 2);
    data_row_text(out, first);
    data_row_text(out, second);
    data_row_end(out, mark);
}

static const char *result(struct rows_mode mode, const char *tag)
{
    static const struct column columns[] = {{"a\"", 23, 4}, {"b", 25, -1}};
    struct bytes description, row;
    struct rows rows;

    bytes_init(&description, 1000);
    bytes_init(&row, 1000);
    build_row_description(&description, columns, 2);
    put_row(&row, "1", NULL);
    rows_init(&rows);
    ck_assert(rows_begin(&rows, mode, body(&description), &spool));
    ck_assert(rows_add(&rows, body(&row), &spool));
    ck_assert(rows_add(&rows, body(&row), &spool));
    /* Cut anywhere it is none. */
    for (size_t size = 0; size < body(&row).size; size++)
        ck_assert(!rows_add(&rows, (struct span){body(&row).data, size},
                            &(struct spool){.budget = &budget, .failure = SPOOL_NO_MEMORY}));
    rows_end(&rows, tag, &spool);
    rows_finish(&rows);
    bytes_finish(&description);
    bytes_finish(&row);
    return text();
}

#define FIELDS                                                                                     \
    "{\"fields\":[{\"name\":\"a\\\"\",\"dataTypeID\":23,\"tableID\":0,\"columnID\":0,"             \
    "\"dataTypeSize\":4,\"dataTypeModifier\":-1,\"format\":\"text\"},{\"name\":\"b\","             \
    "\"dataTypeID\":25,\"tableID\":0,\"columnID\":0,\"dataTypeSize\":-1,\"dataTypeModifier\":-1,"  \
    "\"format\":\"text\"}],\"rows\":["

START_TEST(rows_are_arrays_or_objects_raw_or_typed)
{
    ck_assert_str_eq(result((struct rows_mode){true, true}, "SELECT 2"),
                     FIELDS "[\"1\",null],[\"1\",null]],\"command\":\"SELECT\",\"rowCount\":2,"
                            "\"rowAsArray\":true}");
    ck_assert_str_eq(result((struct rows_mode){false, false}, "INSERT 0 5"),
                     FIELDS "{\"a\\\"\":1,\"b\":null},{\"a\\\"\":1,\"b\":null}],"
                            "\"command\":\"INSERT\",\"rowCount\":5,\"rowAsArray\":false}");
}
END_TEST

START_TEST(a_command_without_rows_has_its_word_and_perhaps_a_count)
{
    static const char *const tags[][2] = {
        {"CREATE TABLE", "\"command\":\"CREATE\",\"rowCount\":null"},
        {"UPDATE 3", "\"command\":\"UPDATE\",\"rowCount\":3"},
        {"BEGIN", "\"command\":\"BEGIN\",\"rowCount\":null"},
        {NULL, "\"command\":\"\",\"rowCount\":null"},
    };
    struct rows rows;

    rows_init(&rows);
    for (size_t i = 0; i < sizeof(tags) / sizeof(tags[0]); i++) {
        ck_assert(rows_begin(&rows, (struct rows_mode){true, true}, (struct span){0}, &spool));
        rows_end(&rows, tags[i][0], &spool);
        ck_assert_ptr_nonnull(strstr(text(), tags[i][1]));
    }
    rows_finish(&rows);
}
END_TEST

START_TEST(an_error_has_all_members)
{
    static const char error[] = "SERROR\0VERROR\0C23505\0Mmes\"sage\0Ddetail\0tt\0nc\0P7\0";
    rows_error((struct span){(const uint8_t *)error, sizeof(error)}, &spool);
    const char *json = text();
    ck_assert(json_is_value(span_of(json)));
    ck_assert_str_eq(json, "{\"message\":\"mes\\\"sage\",\"code\":\"23505\",\"detail\":\"detail\","
                           "\"hint\":null,\"position\":\"7\",\"severity\":\"ERROR\","
                           "\"internalPosition\":null,\"internalQuery\":null,\"where\":null,"
                           "\"table\":\"t\",\"column\":null,\"schema\":null,\"dataType\":null,"
                           "\"file\":null,\"constraint\":\"c\",\"line\":null,\"routine\":null}");
    rows_own_error("m", NULL, NULL, &spool);
    ck_assert(json_is_value(span_of(text())));
}
END_TEST

START_TEST(a_spool_has_its_limit_and_shares_the_budget)
{
    static char bytes[100000];

    spool.limit = 100000;
    spool_put(&spool, bytes, sizeof(bytes));
    ck_assert_int_eq(spool.failure, SPOOL_FINE);
    spool_put(&spool, "x", 1);
    ck_assert_int_eq(spool.failure, SPOOL_TOO_LARGE);
    spool_clear(&spool);
    ck_assert_uint_eq(budget.used, 0);

    spool.limit = 0;
    for (int i = 0; i < 20; i++)
        spool_put(&spool, bytes, sizeof(bytes));
    ck_assert_int_eq(spool.failure, SPOOL_NO_MEMORY);
    ck_assert_uint_le(budget.used, budget.limit);
    spool_clear(&spool);

    /* What was taken off at one end makes room at the other. */
    for (int i = 0; i < 200; i++) {
        spool_put(&spool, bytes, sizeof(bytes));
        while (spool.bytes > 0)
            spool_consume(&spool, spool_front(&spool).size);
    }
    ck_assert_int_eq(spool.failure, SPOOL_FINE);
    ck_assert_uint_eq(spool.written, 200 * sizeof(bytes));
}
END_TEST

Suite *suite_gateway_rows(void)
{
    Suite *suite = suite_create("gateway/rows");
    TCase *cases = tcase_create("rows");
    tcase_add_checked_fixture(cases, begin, end);
    tcase_add_loop_test(cases, a_value_is_json_by_its_type, 0, sizeof(values) / sizeof(values[0]));
    tcase_add_test(cases, whatever_bytes_there_are_a_string_is_json);
    tcase_add_test(cases, numbers_are_those_of_json);
    tcase_add_test(cases, rows_are_arrays_or_objects_raw_or_typed);
    tcase_add_test(cases, a_command_without_rows_has_its_word_and_perhaps_a_count);
    tcase_add_test(cases, an_error_has_all_members);
    tcase_add_test(cases, a_spool_has_its_limit_and_shares_the_budget);
    suite_add_tcase(suite, cases);
    return suite;
}
