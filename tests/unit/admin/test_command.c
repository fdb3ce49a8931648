#include <check.h>
#include <string.h>

#include "admin/command.h"

Suite *suite_admin_command(void);

static struct command command;

static enum command_verdict parse(const char *text)
{
    return command_parse(text, &command);
}

START_TEST(a_command_is_a_word_and_an_argument)
{
    ck_assert_int_eq(parse("show pools"), COMMAND_OK);
    ck_assert_str_eq(command.word, "SHOW");
    ck_assert_str_eq(command.argument, "pools");
}
END_TEST

START_TEST(white_space_and_a_semicolon_are_allowed)
{
    ck_assert_int_eq(parse(" \t\r\nSHOW\tPOOLS\n ; "), COMMAND_OK);
}
END_TEST

START_TEST(a_quoted_argument_may_hold_anything)
{
    ck_assert_int_eq(parse("PAUSE \"my-\"\"db\""), COMMAND_OK);
    ck_assert_str_eq(command.argument, "my-\"db");
}
END_TEST

START_TEST(an_unquoted_dash_is_not_of_the_grammar)
{
    ck_assert_int_eq(parse("PAUSE my-db"), COMMAND_INVALID);
}
END_TEST

START_TEST(an_empty_query_is_invalid)
{
    ck_assert_int_eq(parse(""), COMMAND_INVALID);
    ck_assert_int_eq(parse(" ; "), COMMAND_INVALID);
}
END_TEST

START_TEST(a_third_word_is_invalid)
{
    ck_assert_int_eq(parse("SHOW POOLS NOW"), COMMAND_INVALID);
}
END_TEST

START_TEST(a_word_of_16_bytes_is_too_long)
{
    ck_assert_int_eq(parse("abcdefghijklmnop"), COMMAND_BAD_ARGUMENTS);
    ck_assert_int_eq(parse("abcdefghijklmno"), COMMAND_OK);
}
END_TEST

START_TEST(an_argument_of_64_bytes_is_too_long)
{
    char text[80] = "SHOW ";
    memset(text + 5, 'x', 64);
    ck_assert_int_eq(parse(text), COMMAND_BAD_ARGUMENTS);
    text[5 + 63] = 0;
    ck_assert_int_eq(parse(text), COMMAND_OK);
}
END_TEST

START_TEST(set_takes_a_word_or_a_string)
{
    ck_assert_int_eq(parse("SET verbose=1"), COMMAND_OK);
    ck_assert_str_eq(command.value, "1");
    ck_assert_int_eq(parse("set x TO 'it''s 0.5';"), COMMAND_OK);
    ck_assert_str_eq(command.argument, "x");
    ck_assert_str_eq(command.value, "it's 0.5");
}
END_TEST

START_TEST(set_without_a_value_is_invalid)
{
    ck_assert_int_eq(parse("SET x"), COMMAND_INVALID);
    ck_assert_int_eq(parse("SET x ="), COMMAND_INVALID);
    ck_assert_int_eq(parse("SET x = 0.5"), COMMAND_INVALID);
}
END_TEST

START_TEST(kill_user_alone_takes_a_name)
{
    ck_assert_int_eq(parse("kill user \"Al ice\";"), COMMAND_OK);
    ck_assert(command.is_kill_user);
    ck_assert_str_eq(command.value, "Al ice");
    ck_assert_int_eq(parse("KILL user"), COMMAND_OK);
    ck_assert(!command.is_kill_user);
    ck_assert_int_eq(parse("KILL database x"), COMMAND_INVALID);
    ck_assert_int_eq(parse("KILL USER a b"), COMMAND_INVALID);
}
END_TEST

START_TEST(flush_auth_takes_a_database_and_a_user)
{
    ck_assert_int_eq(parse("flush auth"), COMMAND_OK);
    ck_assert_str_eq(command.argument, "auth");
    ck_assert_str_eq(command.value, "");
    ck_assert_int_eq(parse("FLUSH AUTH \"my db\" alice ;"), COMMAND_OK);
    ck_assert_str_eq(command.value, "my db");
    ck_assert_str_eq(command.fourth, "alice");
    ck_assert_int_eq(parse("FLUSH AUTH db;"), COMMAND_OK);
    ck_assert_str_eq(command.fourth, "");
    ck_assert_int_eq(parse("FLUSH AUTH a b c"), COMMAND_INVALID);
    ck_assert_int_eq(parse("FLUSH"), COMMAND_INVALID);
}
END_TEST

Suite *suite_admin_command(void)
{
    const TTest *const tests[] = {
        a_command_is_a_word_and_an_argument, white_space_and_a_semicolon_are_allowed,
        a_quoted_argument_may_hold_anything, an_unquoted_dash_is_not_of_the_grammar,
        an_empty_query_is_invalid,           a_third_word_is_invalid,
        a_word_of_16_bytes_is_too_long,      an_argument_of_64_bytes_is_too_long,
        set_takes_a_word_or_a_string,        set_without_a_value_is_invalid,
        kill_user_alone_takes_a_name,        flush_auth_takes_a_database_and_a_user,
    };
    Suite *suite = suite_create("admin/command");
    TCase *all = tcase_create("all");
    for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
        tcase_add_test(all, tests[i]);
    suite_add_tcase(suite, all);
    return suite;
}
