#include <check.h>
#include <string.h>

#include "wire/query.h"

Suite *suite_wire_query(void);

static struct span span(const char *data, size_t size)
{
    return (struct span){(const uint8_t *)data, size};
}

START_TEST(a_parse_has_name_text_and_types)
{
    struct parse_message parse;

    ck_assert(parse_message_read(span("s1\0SELECT $1\0\0\1\0\0\0\x17", 19), &parse));
    ck_assert_str_eq(parse.name, "s1");
    ck_assert_str_eq(parse.query, "SELECT $1");
    ck_assert_uint_eq(parse.type_count, 1);
    ck_assert_uint_eq(parse.types.size, 4);
    ck_assert_uint_eq(parse.types.data[3], 0x17);
}
END_TEST

START_TEST(a_parse_with_fewer_types_than_it_says_is_malformed)
{
    struct parse_message parse;

    ck_assert(!parse_message_read(span("\0\0\xff\xff\0\0\0\x17", 8), &parse));
}
END_TEST

START_TEST(a_parse_with_bytes_behind_it_is_malformed)
{
    struct parse_message parse;

    ck_assert(!parse_message_read(span("\0\0\0\0x", 5), &parse));
}
END_TEST

START_TEST(a_bind_gives_its_names_and_the_rest)
{
    struct bind_message bind;
    bool need_more = true;

    ck_assert(bind_message_read(span("p\0s\0\0\0\0\0\0\0", 10), &bind, &need_more));
    ck_assert_str_eq(bind.portal, "p");
    ck_assert_str_eq(bind.statement, "s");
    ck_assert_uint_eq(bind.rest.size, 6);
    ck_assert(!need_more);
}
END_TEST

START_TEST(a_bind_whose_names_are_not_there_needs_more)
{
    struct bind_message bind;
    bool need_more = false;

    ck_assert(!bind_message_read(span("p\0st", 4), &bind, &need_more));
    ck_assert(need_more);
}
END_TEST

START_TEST(a_target_is_a_statement_or_a_portal)
{
    struct target_message target;

    ck_assert(target_message_read(span("Ss1", 4), &target));
    ck_assert_uint_eq(target.kind, 'S');
    ck_assert_str_eq(target.name, "s1");
    ck_assert(target_message_read(span("P", 2), &target));
    ck_assert(!target_message_read(span("X", 2), &target));
    ck_assert(!target_message_read(span("S", 1), &target));
    ck_assert(!target_message_read(span("", 0), &target));
}
END_TEST

START_TEST(an_execute_has_portal_and_row_limit)
{
    const char *portal;
    uint32_t max_rows;

    ck_assert(execute_message_read(span("p\0\0\0\1\0", 6), &portal, &max_rows));
    ck_assert_str_eq(portal, "p");
    ck_assert_uint_eq(max_rows, 256);
    ck_assert(!execute_message_read(span("p\0\0\0\1", 5), &portal, &max_rows));
}
END_TEST

static const char *first_word(const char *text)
{
    static char word[16];

    query_first_word(text, strlen(text), word, sizeof(word));
    return word;
}

START_TEST(the_first_word_is_upper_case)
{
    ck_assert_str_eq(first_word("select 1"), "SELECT");
    ck_assert_str_eq(first_word("Commit;"), "COMMIT");
    ck_assert_str_eq(first_word("end"), "END");
}
END_TEST

START_TEST(white_space_comments_and_empty_statements_are_skipped)
{
    ck_assert_str_eq(first_word(" \t\r\n\f\vbegin"), "BEGIN");
    ck_assert_str_eq(first_word(";; ;rollback"), "ROLLBACK");
    ck_assert_str_eq(first_word("-- select\nabort"), "ABORT");
    ck_assert_str_eq(first_word("-- select\rabort"), "ABORT");
    ck_assert_str_eq(first_word("/* a */ /* b */select"), "SELECT");
}
END_TEST

START_TEST(comments_nest)
{
    ck_assert_str_eq(first_word("/* a /* b */ commit */ select"), "SELECT");
    ck_assert_str_eq(first_word("/*/ commit */select"), "SELECT");
    ck_assert_str_eq(first_word("/* a /* b */ commit"), "");
}
END_TEST

START_TEST(a_text_that_starts_with_no_word_has_none)
{
    ck_assert_str_eq(first_word(""), "");
    ck_assert_str_eq(first_word("(select 1)"), "");
    ck_assert_str_eq(first_word("\"select\""), "");
    ck_assert_str_eq(first_word("- select"), "");
    ck_assert_str_eq(first_word("/ select"), "");
    ck_assert_str_eq(first_word("1"), "");
    ck_assert_str_eq(first_word("-- commit"), "");
}
END_TEST

START_TEST(a_word_is_taken_whole)
{
    ck_assert_str_eq(first_word("commit_all"), "COMMIT_ALL");
    ck_assert_str_eq(first_word("end1$2"), "END1$2");
    ck_assert_str_eq(first_word("end\xc3\xa9"), "END\xc3\xa9");
}
END_TEST

START_TEST(a_long_word_is_cut)
{
    char word[4] = "xxx";

    query_first_word("commit", 6, word, sizeof(word));
    ck_assert_str_eq(word, "COM");
}
END_TEST

START_TEST(no_byte_behind_the_size_is_read)
{
    char word[8];

    query_first_word("commit", 3, word, sizeof(word));
    ck_assert_str_eq(word, "COM");
    query_first_word(NULL, 0, word, sizeof(word));
    ck_assert_str_eq(word, "");
}
END_TEST

static void check_use(const char *text, enum query_name_use use, const char *name)
{
    struct query_name read;

    query_name_read(text, strlen(text), &read);
    ck_assert_msg(read.use == use, "%s", text);
    if (name)
        ck_assert_str_eq(read.name, name);
}

START_TEST(a_text_names_a_prepared_statement)
{
    check_use("execute p1(1)", QUERY_EXECUTES, "p1");
    check_use(" ;/* a */ EXECUTE/* b */P1", QUERY_EXECUTES, "p1");
    check_use("execute \"P\"\"1\"", QUERY_EXECUTES, "P\"1");
    check_use("explain (analyze, costs off) execute p1", QUERY_EXECUTES, "p1");
    check_use("create table t as execute p1(1)", QUERY_EXECUTES, "p1");
    check_use("prepare p1 as select 1", QUERY_PREPARES, "p1");
    check_use("deallocate p1", QUERY_DEALLOCATES, "p1");
    check_use("deallocate prepare p1", QUERY_DEALLOCATES, "p1");
    check_use("deallocate \"all\"", QUERY_DEALLOCATES, "all");
    check_use("deallocate all", QUERY_FORGETS_ALL, NULL);
    check_use("DEALLOCATE PREPARE ALL", QUERY_FORGETS_ALL, NULL);
    check_use("discard all", QUERY_FORGETS_ALL, NULL);
}
END_TEST

START_TEST(a_text_names_no_prepared_statement)
{
    check_use("", QUERY_NAMES_NOTHING, NULL);
    check_use("select execute p1", QUERY_NAMES_NOTHING, NULL);
    check_use("execute", QUERY_NAMES_NOTHING, NULL);
    check_use("execute 1", QUERY_NAMES_NOTHING, NULL);
    check_use("execute \"p1", QUERY_NAMES_NOTHING, NULL);
    check_use("\"execute\" p1", QUERY_NAMES_NOTHING, NULL);
    check_use("executes p1", QUERY_NAMES_NOTHING, NULL);
    check_use("discard plans", QUERY_NAMES_NOTHING, NULL);
    check_use("create table execute_p1 (n int)", QUERY_NAMES_NOTHING, NULL);
}
END_TEST

START_TEST(a_name_in_a_text_is_cut_as_postgresql_cuts_it)
{
    char text[128];
    struct query_name read;

    memcpy(text, "execute ", 8);
    memset(text + 8, 'x', sizeof(text) - 8);
    query_name_read(text, sizeof(text), &read);
    ck_assert_int_eq(read.use, QUERY_EXECUTES);
    ck_assert_uint_eq(strlen(read.name), 63);
}
END_TEST

START_TEST(what_stands_behind_the_name_is_left)
{
    struct query_name read;

    query_name_read("execute p1(1)", 13, &read);
    ck_assert_uint_eq(read.end, 10);
    query_name_read("deallocate p1", 13, &read);
    ck_assert_uint_eq(read.end, 13);
    query_name_read("explain execute p1", 18, &read);
    ck_assert_uint_eq(read.end, 0);
}
END_TEST

static enum query_ending ending(const char *text)
{
    return query_ending(text, strlen(text));
}

START_TEST(a_lone_word_ends_a_transaction)
{
    ck_assert_int_eq(ending("rollback"), QUERY_ROLLBACK);
    ck_assert_int_eq(ending(" ;ABORT Work ; -- so"), QUERY_ROLLBACK);
    ck_assert_int_eq(ending("rollback/* a /* b */ */transaction;;"), QUERY_ROLLBACK);
    ck_assert_int_eq(ending("commit"), QUERY_COMMIT);
    ck_assert_int_eq(ending("End\n;"), QUERY_COMMIT);
}
END_TEST

START_TEST(nothing_but_blanks_is_empty)
{
    ck_assert_int_eq(ending(""), QUERY_EMPTY);
    ck_assert_int_eq(ending(" ;; /* a */ -- b"), QUERY_EMPTY);
    ck_assert_int_eq(query_ending(NULL, 0), QUERY_EMPTY);
}
END_TEST

START_TEST(more_than_a_lone_word_ends_nothing_for_sure)
{
    static const char *const texts[] = {
        "commit; select 1",
        "select 1; commit",
        "commit and chain",
        "rollback to a",
        "commit prepared 1",
        "rollback work work",
        "rollback /* open",
        "/* open",
        "rollbacks",
        "commit$",
        "rollback transactions",
        "(commit)",
        "commit -",
        "prepare transaction",
        "1",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        ck_assert_msg(ending(texts[i]) == QUERY_OTHER, "%s", texts[i]);
    ck_assert_int_eq(query_ending("commit\0", 7), QUERY_OTHER);
}
END_TEST

Suite *suite_wire_query(void)
{
    Suite *suite = suite_create("wire/query");
    TCase *cases = tcase_create("query");

    tcase_add_test(cases, a_parse_has_name_text_and_types);
    tcase_add_test(cases, a_parse_with_fewer_types_than_it_says_is_malformed);
    tcase_add_test(cases, a_parse_with_bytes_behind_it_is_malformed);
    tcase_add_test(cases, a_bind_gives_its_names_and_the_rest);
    tcase_add_test(cases, a_bind_whose_names_are_not_there_needs_more);
    tcase_add_test(cases, a_target_is_a_statement_or_a_portal);
    tcase_add_test(cases, an_execute_has_portal_and_row_limit);
    tcase_add_test(cases, the_first_word_is_upper_case);
    tcase_add_test(cases, white_space_comments_and_empty_statements_are_skipped);
    tcase_add_test(cases, comments_nest);
    tcase_add_test(cases, a_text_that_starts_with_no_word_has_none);
    tcase_add_test(cases, a_word_is_taken_whole);
    tcase_add_test(cases, a_long_word_is_cut);
    tcase_add_test(cases, no_byte_behind_the_size_is_read);
    tcase_add_test(cases, a_text_names_a_prepared_statement);
    tcase_add_test(cases, a_text_names_no_prepared_statement);
    tcase_add_test(cases, a_name_in_a_text_is_cut_as_postgresql_cuts_it);
    tcase_add_test(cases, what_stands_behind_the_name_is_left);
    tcase_add_test(cases, a_lone_word_ends_a_transaction);
    tcase_add_test(cases, nothing_but_blanks_is_empty);
    tcase_add_test(cases, more_than_a_lone_word_ends_nothing_for_sure);
    suite_add_tcase(suite, cases);
    return suite;
}
