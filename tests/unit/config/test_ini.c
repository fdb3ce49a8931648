#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "config/ini.h"

Suite *suite_config_ini(void);

/* What was called back, a line each. */
static char heard[16384];

static void hear(const char *line)
{
    size_t used = strlen(heard);

    (void)snprintf(heard + used, sizeof heard - used, "%s\n", line);
}

static void hear_section(void *argument, struct ini_place place, const char *name)
{
    char line[8192];

    (void)argument;
    (void)snprintf(line, sizeof line, "%s:%d [%s]", place.file, place.line, name);
    hear(line);
}

static void hear_key(void *argument, struct ini_place place, const char *key, const char *value)
{
    char line[8192];

    (void)argument;
    (void)snprintf(line, sizeof line, "%s:%d %s=%s", place.file, place.line, key, value);
    hear(line);
}

static void hear_problem(void *argument, struct ini_place place, const char *key,
                         const char *reason)
{
    char line[8192];

    (void)argument;
    (void)snprintf(line, sizeof line, "%s:%d !%s%s%s", place.file, place.line,
                   key != NULL ? key : "", key != NULL ? " " : "", reason);
    hear(line);
}

static const struct ini_events events = {hear_section, hear_key, hear_problem, NULL};

static void read_bytes(const char *data, size_t size)
{
    struct ini *ini = ini_create(&events);

    heard[0] = '\0';
    ini_load_text(ini, "f", data, size);
    ini_destroy(ini);
}

static void assert_heard(const char *source, const char *expected)
{
    read_bytes(source, strlen(source));
    ck_assert_str_eq(heard, expected);
}

START_TEST(sections_and_keys_come_with_their_lines)
{
    assert_heard("[a]\nx = 1\n\n[b]\ny=2", "f:1 [a]\nf:2 x=1\nf:4 [b]\nf:5 y=2\n");
}
END_TEST

START_TEST(an_empty_file_says_nothing)
{
    assert_heard("", "");
}
END_TEST

START_TEST(comments_start_with_semicolon_or_hash)
{
    assert_heard("; a=1\n  # b=2\n\tc=3\n", "f:3 c=3\n");
}
END_TEST

START_TEST(a_semicolon_in_a_value_is_no_comment)
{
    assert_heard("q = select 1; select 2 ; # x\n", "f:1 q=select 1; select 2 ; # x\n");
}
END_TEST

START_TEST(indented_keys_are_no_continuation)
{
    assert_heard("a=1\n   b=2\n", "f:1 a=1\nf:2 b=2\n");
}
END_TEST

START_TEST(a_carriage_return_at_the_end_is_no_part_of_the_value)
{
    assert_heard("a=1\r\nb= x y \t\r\n", "f:1 a=1\nf:2 b=x y\n");
}
END_TEST

START_TEST(a_value_may_be_empty)
{
    assert_heard("a=\nb =   \n", "f:1 a=\nf:2 b=\n");
}
END_TEST

START_TEST(a_value_may_hold_equals_signs_colons_and_quotes)
{
    assert_heard("a=b=c:d 'e' \"f\"\n", "f:1 a=b=c:d 'e' \"f\"\n");
}
END_TEST

START_TEST(a_bare_key_may_hold_dots_stars_and_hyphens)
{
    assert_heard("*=1\na.b-c_9=2\n", "f:1 *=1\nf:2 a.b-c_9=2\n");
}
END_TEST

START_TEST(a_single_quoted_key_may_hold_anything_else)
{
    assert_heard("'a =:;#[\"b' = 1\n", "f:1 a =:;#[\"b=1\n");
}
END_TEST

START_TEST(a_double_quoted_key_is_accepted_too)
{
    assert_heard("\"a 'b\"=1\n", "f:1 a 'b=1\n");
}
END_TEST

START_TEST(text_behind_a_section_is_read_on)
{
    assert_heard("[a] x=1\n[b][c] ; y\n", "f:1 [a]\nf:1 x=1\nf:2 [b]\nf:2 [c]\n");
}
END_TEST

START_TEST(a_section_name_is_taken_exactly)
{
    assert_heard("[ a ]\n[A]\n", "f:1 [ a ]\nf:2 [A]\n");
}
END_TEST

START_TEST(a_section_name_may_be_long)
{
    assert_heard("[aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffff]\n",
                 "f:1 [aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffff]\n");
}
END_TEST

START_TEST(a_section_must_close_on_its_line)
{
    assert_heard("[a\n]\n",
                 "f:1 !syntax error in configuration (f:1): no ] behind the name of a section\n"
                 "f:2 !syntax error in configuration (f:2): a key cannot start like this\n");
}
END_TEST

START_TEST(a_key_without_equals_sign_is_a_mistake_at_its_own_line)
{
    assert_heard("a=1\nb\n\n\nc=3\n",
                 "f:1 a=1\nf:2 !syntax error in configuration (f:2): no = behind the key b\n"
                 "f:5 c=3\n");
}
END_TEST

START_TEST(a_colon_does_not_stand_for_an_equals_sign)
{
    assert_heard("a: b=1\n", "f:1 !syntax error in configuration (f:1): no = behind the key a\n");
}
END_TEST

START_TEST(a_doubled_quote_in_a_key_is_a_mistake)
{
    assert_heard("'a''b'=1\n", "f:1 !syntax error in configuration (f:1): no = behind the key a\n");
}
END_TEST

START_TEST(an_open_quote_is_a_mistake)
{
    assert_heard("'a=1\nb=2\n", "f:1 !syntax error in configuration (f:1): the quote before a key "
                                "is not closed\nf:2 b=2\n");
}
END_TEST

START_TEST(an_empty_key_is_a_mistake)
{
    assert_heard("''=1\n=2\n", "f:1 !syntax error in configuration (f:1): an empty key\n"
                               "f:2 !syntax error in configuration (f:2): a key cannot start like "
                               "this\n");
}
END_TEST

START_TEST(a_zero_byte_is_a_mistake)
{
    static const char source[] = "a=1\0b\nc=2\n";

    read_bytes(source, sizeof source - 1);
    ck_assert_str_eq(heard, "f:1 !syntax error in configuration (f:1): a zero byte\nf:2 c=2\n");
}
END_TEST

START_TEST(a_byte_order_mark_is_a_mistake)
{
    assert_heard("\xef\xbb\xbf[a]\n",
                 "f:1 !syntax error in configuration (f:1): a key cannot start like this\n");
}
END_TEST

#define LONG_LINE (1 << 20)

static size_t long_value;

static void measure_key(void *argument, struct ini_place place, const char *key, const char *value)
{
    (void)argument;
    (void)place;
    (void)key;
    if (strlen(value) > long_value)
        long_value = strlen(value);
}

START_TEST(a_line_may_be_longer_than_any_buffer)
{
    static const struct ini_events measure = {hear_section, measure_key, hear_problem, NULL};
    char *source = memory_zalloc(LONG_LINE);
    struct ini *ini = ini_create(&measure);

    memset(source, 'x', LONG_LINE);
    memcpy(source, "key=", 4);
    source[LONG_LINE - 1] = '\n';
    ini_load_text(ini, "f", source, LONG_LINE);
    ini_destroy(ini);
    memory_free(source);
    ck_assert_uint_eq(long_value, LONG_LINE - 5);
}
END_TEST

/* ---- includes ---- */

static char folder[64];

static void enter_folder(void)
{
    (void)snprintf(folder, sizeof folder, "/tmp/pgweir-ini-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    ck_assert_int_eq(chdir(folder), 0);
}

static void leave_folder(void)
{
    static const char *const names[] = {"main.ini", "b.ini", "c.ini"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        (void)unlink(names[i]);
    ck_assert_int_eq(chdir("/"), 0);
    ck_assert_int_eq(rmdir(folder), 0);
}

static void put_file(const char *name, const char *text)
{
    FILE *file = fopen(name, "w");

    ck_assert_ptr_nonnull(file);
    ck_assert_int_ge(fputs(text, file), 0);
    ck_assert_int_eq(fclose(file), 0);
}

static void assert_file_heard(const char *file, const char *expected)
{
    struct ini *ini = ini_create(&events);

    heard[0] = '\0';
    ini_load(ini, file);
    ini_destroy(ini);
    ck_assert_str_eq(heard, expected);
}

START_TEST(an_included_file_stands_where_it_is_named)
{
    put_file("b.ini", "x=1\n[b]\n");
    put_file("main.ini", "[a]\n%include b.ini \ny=2\n");
    assert_file_heard("main.ini", "main.ini:1 [a]\nb.ini:1 x=1\nb.ini:2 [b]\nmain.ini:3 y=2\n");
}
END_TEST

START_TEST(an_included_file_needs_no_newline_at_its_end)
{
    put_file("b.ini", "x=1");
    put_file("main.ini", "%include b.ini\ny=2");
    assert_file_heard("main.ini", "b.ini:1 x=1\nmain.ini:2 y=2\n");
}
END_TEST

START_TEST(includes_may_nest)
{
    put_file("c.ini", "z=1\n");
    put_file("b.ini", "\n%include\tc.ini\n");
    put_file("main.ini", "%include b.ini\n");
    assert_file_heard("main.ini", "c.ini:1 z=1\n");
}
END_TEST

START_TEST(a_file_that_includes_itself_stops_at_ten)
{
    put_file("main.ini", "a=1\n%include main.ini\n");
    assert_file_heard("main.ini",
                      "main.ini:1 a=1\nmain.ini:1 a=1\nmain.ini:1 a=1\nmain.ini:1 a=1\n"
                      "main.ini:1 a=1\nmain.ini:1 a=1\nmain.ini:1 a=1\nmain.ini:1 a=1\n"
                      "main.ini:1 a=1\nmain.ini:1 a=1\nmain.ini:1 a=1\n"
                      "main.ini:2 !%include include nesting level too deep (main.ini:2)\n");
}
END_TEST

START_TEST(a_missing_included_file_is_told_where_it_is_named)
{
    put_file("main.ini", "a=1\n%include gone.ini\nb=2\n");
    assert_file_heard("main.ini", "main.ini:1 a=1\nmain.ini:2 !%include could not load file "
                                  "\"gone.ini\": No such file or directory\nmain.ini:3 b=2\n");
}
END_TEST

START_TEST(an_include_without_a_space_is_a_mistake)
{
    put_file("main.ini", "%includeb.ini\n");
    assert_file_heard("main.ini", "main.ini:1 !syntax error in configuration (main.ini:1): "
                                  "%include wants a space and the name of a file\n");
}
END_TEST

START_TEST(a_missing_file_is_a_mistake)
{
    assert_file_heard("gone.ini",
                      "gone.ini:0 !could not load file \"gone.ini\": No such file or directory\n");
}
END_TEST

START_TEST(a_folder_is_no_file)
{
    assert_file_heard("/tmp", "/tmp:0 !could not load file \"/tmp\": Is a directory\n");
}
END_TEST

static TCase *grammar_tests(void)
{
    TCase *tests = tcase_create("grammar");

    tcase_add_test(tests, sections_and_keys_come_with_their_lines);
    tcase_add_test(tests, an_empty_file_says_nothing);
    tcase_add_test(tests, comments_start_with_semicolon_or_hash);
    tcase_add_test(tests, a_semicolon_in_a_value_is_no_comment);
    tcase_add_test(tests, indented_keys_are_no_continuation);
    tcase_add_test(tests, a_carriage_return_at_the_end_is_no_part_of_the_value);
    tcase_add_test(tests, a_value_may_be_empty);
    tcase_add_test(tests, a_value_may_hold_equals_signs_colons_and_quotes);
    tcase_add_test(tests, a_bare_key_may_hold_dots_stars_and_hyphens);
    tcase_add_test(tests, a_single_quoted_key_may_hold_anything_else);
    tcase_add_test(tests, a_double_quoted_key_is_accepted_too);
    tcase_add_test(tests, text_behind_a_section_is_read_on);
    tcase_add_test(tests, a_section_name_is_taken_exactly);
    tcase_add_test(tests, a_section_name_may_be_long);
    tcase_add_test(tests, a_section_must_close_on_its_line);
    tcase_add_test(tests, a_key_without_equals_sign_is_a_mistake_at_its_own_line);
    tcase_add_test(tests, a_colon_does_not_stand_for_an_equals_sign);
    tcase_add_test(tests, a_doubled_quote_in_a_key_is_a_mistake);
    tcase_add_test(tests, an_open_quote_is_a_mistake);
    tcase_add_test(tests, an_empty_key_is_a_mistake);
    tcase_add_test(tests, a_zero_byte_is_a_mistake);
    tcase_add_test(tests, a_byte_order_mark_is_a_mistake);
    tcase_add_test(tests, a_line_may_be_longer_than_any_buffer);
    return tests;
}

Suite *suite_config_ini(void)
{
    Suite *suite = suite_create("config/ini");
    TCase *tests = tcase_create("includes");

    tcase_add_checked_fixture(tests, enter_folder, leave_folder);
    tcase_add_test(tests, an_included_file_stands_where_it_is_named);
    tcase_add_test(tests, an_included_file_needs_no_newline_at_its_end);
    tcase_add_test(tests, includes_may_nest);
    tcase_add_test(tests, a_file_that_includes_itself_stops_at_ten);
    tcase_add_test(tests, a_missing_included_file_is_told_where_it_is_named);
    tcase_add_test(tests, an_include_without_a_space_is_a_mistake);
    tcase_add_test(tests, a_missing_file_is_a_mistake);
    tcase_add_test(tests, a_folder_is_no_file);
    suite_add_tcase(suite, grammar_tests());
    suite_add_tcase(suite, tests);
    return suite;
}
