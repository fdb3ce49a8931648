#include <check.h>
#include <stdio.h>
#include <string.h>

#include "gateway/connection_string.h"

Suite *suite_gateway_connection_string(void);

static struct connection_string string;
static struct error error;

static bool read_text(const char *text)
{
    connection_string_finish(&string);
    return connection_string_read((struct span){(const uint8_t *)text, strlen(text)}, &string,
                                  &error);
}

static void end(void)
{
    connection_string_finish(&string);
}

START_TEST(user_password_and_database_have_their_places)
{
    ck_assert(read_text("postgres://al%69ce:p%40ss%2Fw%3Ard@ep-x.example.com:5432/my%20db"));
    ck_assert_str_eq(string.user, "alice");
    ck_assert_str_eq(string.password, "p@ss/w:rd");
    ck_assert_str_eq(string.host, "ep-x.example.com");
    ck_assert_str_eq(string.database, "my db");
    ck_assert_uint_eq(string.parameter_count, 0);

    ck_assert(read_text("PostgreSQL://u@[::1]/d?sslmode=require&channel_binding=require"
                        "&application_name=a%2520b&options=-c%20work_mem%3D1MB"));
    ck_assert_ptr_null(string.password);
    ck_assert_str_eq(string.host, "::1");
    ck_assert_uint_eq(string.parameter_count, 2);
    ck_assert_str_eq(string.names[0], "application_name");
    ck_assert_str_eq(string.values[0], "a%20b");
    ck_assert_str_eq(string.values[1], "-c work_mem=1MB");

    ck_assert(read_text("postgres://u:a@b@h/d")); /* as some programs send it */
    ck_assert_str_eq(string.password, "a@b");
}
END_TEST

static const char *const bad[] = {
    "",
    "u:p@h/d",
    "mysql://u:p@h/d",
    "http://u:p@h/d",
    "postgres://h/d",
    "postgres://:p@h/d",
    "postgres://u:p@h",
    "postgres://u:p@h/",
    "postgres://u:p@h:x/d",
    "postgres://u%:p@h/d",
    "postgres://u%4:p@h/d",
    "postgres://u%00:p@h/d",
    "postgres://u:%zz@h/d",
    "postgres://u:p@h/d%00e",
    "postgres://u:p@h/d?user=x",
    "postgres://u:p@h/d?USER=x",
    "postgres://u:p@h/d?us%65r=x",
    "postgres://u:p@h/d?host=x",
    "postgres://u:p@h/d?hostaddr=127.0.0.1",
    "postgres://u:p@h/d?passfile=/etc/passwd",
    "postgres://u:p@h/d?service=x",
    "postgres://u:p@h/d?replication=true",
    "postgres://u:p@h/d?sslkey=/x",
    "postgres://u:p@h/d?a=1&a=2",
    "postgres://u:p@h/d?a=1&A=2",
    "postgres://u:p@h/d?sslmode=a&sslmode=b",
    "postgres://u:p@h/d?=x",
};

START_TEST(what_is_not_as_it_should_be_is_refused_and_not_repeated)
{
    ck_assert_msg(!read_text(bad[_i]), "%s", bad[_i]);
    ck_assert_str_ne(error.message, "");
    ck_assert_ptr_null(strstr(error.message, "passwd"));
}
END_TEST

START_TEST(it_is_bounded)
{
    static char text[CONNECTION_STRING_MAX + 10];
    int size = sprintf(text, "postgres://u:p@h/d?");

    for (int i = 0; i < CONNECTION_STRING_PARAMETERS_MAX; i++)
        size += sprintf(text + size, "p%d=x&", i);
    ck_assert(read_text(text));
    sprintf(text + size, "more=x");
    ck_assert(!read_text(text));
    memset(text, 'a', sizeof(text) - 1);
    memcpy(text, "postgres://u:p@h/", 17);
    ck_assert(!read_text(text));
    text[CONNECTION_STRING_MAX] = '\0';
    ck_assert(read_text(text));
}
END_TEST

Suite *suite_gateway_connection_string(void)
{
    Suite *suite = suite_create("gateway/connection_string");
    TCase *cases = tcase_create("connection_string");
    tcase_add_checked_fixture(cases, NULL, end);
    tcase_add_test(cases, user_password_and_database_have_their_places);
    tcase_add_loop_test(cases, what_is_not_as_it_should_be_is_refused_and_not_repeated, 0,
                        sizeof(bad) / sizeof(bad[0]));
    tcase_add_test(cases, it_is_bounded);
    suite_add_tcase(suite, cases);
    return suite;
}
