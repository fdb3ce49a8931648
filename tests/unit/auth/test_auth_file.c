#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "auth/auth_file.h"
#include "base/bytes.h"

Suite *suite_auth_auth_file(void);

/* What the callback saw: "line name=secret;" for each user. */
struct seen {
    char text[1024];
    struct bytes bytes;
    struct error error;
};

static bool note_user(void *argument, int line, const char *name, const char *secret,
                      struct error *error)
{
    struct seen *seen = argument;
    if (strcmp(name, "unwanted") == 0)
        return error_set(error, SQLSTATE_CONFIG_FILE_ERROR, "line %d is unwanted", line);
    bytes_format(&seen->bytes, "%d %s=%s;", line, name, secret);
    return true;
}

static bool parse_bytes(struct seen *seen, const char *text, size_t size)
{
    memset(seen, 0, sizeof(*seen));
    seen->bytes = bytes_over(seen->text, sizeof(seen->text) - 1);
    return auth_file_parse("users.txt", text, size, note_user, seen, &seen->error);
}

static void claim_users(const char *text, const char *users)
{
    struct seen seen;
    ck_assert_msg(parse_bytes(&seen, text, strlen(text)), "%s", seen.error.message);
    ck_assert_str_eq(seen.text, users);
}

static void claim_refused(const char *text, const char *message)
{
    struct seen seen;
    ck_assert(!parse_bytes(&seen, text, strlen(text)));
    ck_assert_str_eq(seen.error.message, message);
    ck_assert_str_eq(seen.error.sqlstate, SQLSTATE_CONFIG_FILE_ERROR);
}

static enum auth_secret_kind kind_of(const char *text)
{
    struct auth_secret secret;
    ck_assert(auth_secret_set(&secret, text));
    enum auth_secret_kind kind = secret.kind;
    auth_secret_finish(&secret);
    ck_assert_ptr_null(secret.text);
    return kind;
}

START_TEST(users_come_in_order_with_their_lines)
{
    claim_users("\"a\" \"one\"\n\"b\" \"two\"\n", "1 a=one;2 b=two;");
}
END_TEST

START_TEST(an_empty_file_has_no_users)
{
    claim_users("", "");
    claim_users("\n\n  \n", "");
}
END_TEST

START_TEST(the_last_line_needs_no_line_break)
{
    claim_users("\"a\" \"one\"", "1 a=one;");
}
END_TEST

START_TEST(comments_empty_lines_and_leading_space_are_skipped)
{
    claim_users("; \"no\" \"no\"\n\n \t \"a\" \"one\"\n  ; more\n\"b\" \"two\"\n",
                "3 a=one;5 b=two;");
}
END_TEST

START_TEST(carriage_returns_are_no_part_of_a_user)
{
    claim_users("\"a\" \"one\"\r\n\r\n\"b\" \"two\"\r\n", "1 a=one;3 b=two;");
}
END_TEST

START_TEST(two_quotes_inside_are_one)
{
    claim_users("\"a\"\"b\" \"\"\"\"\n\"c\" \"x\"\"\"\n", "1 a\"b=\";2 c=x\";");
}
END_TEST

START_TEST(anything_but_a_quote_parts_the_fields)
{
    claim_users("\"a\"\"b\" and ; = \"one\"\n", "1 a\"b=one;");
    claim_users("\"a\",\"one\"\n", "1 a=one;");
}
END_TEST

START_TEST(what_follows_the_secret_is_ignored)
{
    claim_users("\"a\" \"one\" \"more\" \"\n\"b\" \"two\" ; x\n", "1 a=one;2 b=two;");
}
END_TEST

START_TEST(empty_fields_are_fields)
{
    claim_users("\"a\" \"\"\n", "1 a=;");
}
END_TEST

START_TEST(a_line_that_begins_otherwise_is_broken)
{
    claim_refused("\"a\" \"one\"\nb \"two\"\n", "users.txt:2: broken auth file");
    claim_refused("# comment\n", "users.txt:1: broken auth file");
}
END_TEST

START_TEST(a_name_without_its_closing_quote_is_broken)
{
    claim_refused("\"a\n\"b\" \"two\"\n", "users.txt:1: broken auth file");
    claim_refused("\n\n\"a", "users.txt:3: broken auth file");
    claim_refused("\"a\"\"", "users.txt:1: broken auth file");
}
END_TEST

START_TEST(a_line_without_a_secret_is_broken)
{
    claim_refused("\"a\"\n\"b\" \"two\"\n", "users.txt:1: broken auth file");
    claim_refused("\"a\"", "users.txt:1: broken auth file");
}
END_TEST

START_TEST(a_secret_without_its_closing_quote_is_broken)
{
    claim_refused("\"a\" \"one\n\"b\" \"two\"\n", "users.txt:1: broken auth file");
    claim_refused("\"a\" \"", "users.txt:1: broken auth file");
}
END_TEST

START_TEST(a_zero_byte_in_a_field_is_broken)
{
    static const char text[] = "\"a\0b\" \"one\"\n";
    struct seen seen;
    ck_assert(!parse_bytes(&seen, text, sizeof(text) - 1));
    ck_assert_str_eq(seen.error.message, "users.txt:1: broken auth file");
}
END_TEST

START_TEST(a_broken_line_comes_with_a_hint)
{
    struct seen seen;
    ck_assert(!parse_bytes(&seen, "x", 1));
    ck_assert_ptr_nonnull(strstr(seen.error.hint, "\"name\" \"secret\""));
}
END_TEST

/* A file of one line, its name and secret of these lengths. */
static char *line_of(size_t name, size_t secret)
{
    char *text = malloc(name + secret + 8);
    char *to = text;
    ck_assert_ptr_nonnull(text);
    *to++ = '"';
    memset(to, 'n', name);
    to += name;
    memcpy(to, "\" \"", 3);
    to += 3;
    memset(to, 's', secret);
    to += secret;
    memcpy(to, "\"", 2);
    return text;
}

static bool claim_lengths(void *argument, int line, const char *name, const char *secret,
                          struct error *error)
{
    (void)argument, (void)line, (void)error;
    ck_assert_uint_eq(strlen(name), AUTH_NAME_MAX);
    ck_assert_uint_eq(strlen(secret), AUTH_SECRET_MAX);
    return true;
}

START_TEST(the_longest_name_and_secret_pass)
{
    char *text = line_of(AUTH_NAME_MAX, AUTH_SECRET_MAX);
    ck_assert(auth_file_parse("users.txt", text, strlen(text), claim_lengths, NULL, NULL));
    free(text);
}
END_TEST

START_TEST(a_longer_name_is_refused)
{
    char *text = line_of(AUTH_NAME_MAX + 1, 1);
    claim_refused(text, "users.txt:1: username too long in auth file");
    free(text);
}
END_TEST

START_TEST(a_longer_secret_is_refused)
{
    char *text = line_of(1, AUTH_SECRET_MAX + 1);
    claim_refused(text, "users.txt:1: password too long in auth file");
    free(text);
}
END_TEST

START_TEST(a_callback_that_says_no_stops_with_its_error)
{
    struct seen seen;
    const char *text = "\"a\" \"one\"\n\"unwanted\" \"x\"\n\"b\" \"two\"\n";
    ck_assert(!parse_bytes(&seen, text, strlen(text)));
    ck_assert_str_eq(seen.text, "1 a=one;");
    ck_assert_str_eq(seen.error.message, "line 2 is unwanted");
}
END_TEST

START_TEST(a_file_is_read)
{
    char path[] = "/tmp/pgweir_test_users_XXXXXX";
    int descriptor = mkstemp(path);
    struct seen seen = {.text = ""};

    ck_assert_int_ge(descriptor, 0);
    ck_assert_int_eq(write(descriptor, "\"a\" \"one\"\n", 10), 10);
    close(descriptor);
    seen.bytes = bytes_over(seen.text, sizeof(seen.text) - 1);
    bool is_read = auth_file_load(path, note_user, &seen, &seen.error);
    unlink(path);
    ck_assert(is_read);
    ck_assert_str_eq(seen.text, "1 a=one;");
}
END_TEST

START_TEST(a_missing_file_says_why)
{
    struct error error;
    ck_assert(!auth_file_load("/nonexistent/users.txt", note_user, NULL, &error));
    ck_assert_str_eq(error.message, "could not open auth_file /nonexistent/users.txt: No such file "
                                    "or directory");
}
END_TEST

START_TEST(a_folder_is_no_file)
{
    struct error error;
    ck_assert(!auth_file_load("/", note_user, NULL, &error));
    ck_assert_str_eq(error.message, "could not read auth_file /: Is a directory");
}
END_TEST

START_TEST(a_secret_tells_its_kind_by_its_form)
{
    ck_assert_int_eq(kind_of(""), AUTH_SECRET_NONE);
    ck_assert_int_eq(kind_of(NULL), AUTH_SECRET_NONE);
    ck_assert_int_eq(kind_of("pencil"), AUTH_SECRET_PLAIN);
    ck_assert_int_eq(kind_of("md5ae46ae764333cf0136d3c3b2fcfb4c62"), AUTH_SECRET_MD5);
    ck_assert_int_eq(kind_of("SCRAM-SHA-256$4096:2Vc50VCNi+/p93QVv4LUCw==$"
                             "FvFqPjl44y/VLrMCYN9SNBb8QNzLEs1a7HhyoKmGTUk=:"
                             "LwozlPENa/ma+R2+gJruKDb8z0MFLRtTk/gzDpfuUIM="),
                     AUTH_SECRET_SCRAM);
}
END_TEST

START_TEST(what_only_resembles_a_hash_is_plain)
{
    ck_assert_int_eq(kind_of("md5AE46AE764333CF0136D3C3B2FCFB4C62"), AUTH_SECRET_PLAIN);
    ck_assert_int_eq(kind_of("md5ae46ae764333cf0136d3c3b2fcfb4c6"), AUTH_SECRET_PLAIN);
    ck_assert_int_eq(kind_of("md5ae46ae764333cf0136d3c3b2fcfb4c62a"), AUTH_SECRET_PLAIN);
    ck_assert_int_eq(kind_of("SCRAM-SHA-256$4096:2Vc50VCNi+/p93QVv4LUCw==$x:y"), AUTH_SECRET_PLAIN);
}
END_TEST

START_TEST(a_secret_keeps_its_text)
{
    struct auth_secret secret;
    ck_assert(auth_secret_set(&secret, "pencil"));
    ck_assert_str_eq(secret.text, "pencil");
    auth_secret_finish(&secret);
    ck_assert_int_eq(secret.kind, AUTH_SECRET_NONE);
}
END_TEST

static void add_grammar(TCase *tests)
{
    tcase_add_test(tests, users_come_in_order_with_their_lines);
    tcase_add_test(tests, an_empty_file_has_no_users);
    tcase_add_test(tests, the_last_line_needs_no_line_break);
    tcase_add_test(tests, comments_empty_lines_and_leading_space_are_skipped);
    tcase_add_test(tests, carriage_returns_are_no_part_of_a_user);
    tcase_add_test(tests, two_quotes_inside_are_one);
    tcase_add_test(tests, anything_but_a_quote_parts_the_fields);
    tcase_add_test(tests, what_follows_the_secret_is_ignored);
    tcase_add_test(tests, empty_fields_are_fields);
    tcase_add_test(tests, the_longest_name_and_secret_pass);
    tcase_add_test(tests, a_callback_that_says_no_stops_with_its_error);
}

static void add_refusals(TCase *tests)
{
    tcase_add_test(tests, a_line_that_begins_otherwise_is_broken);
    tcase_add_test(tests, a_name_without_its_closing_quote_is_broken);
    tcase_add_test(tests, a_line_without_a_secret_is_broken);
    tcase_add_test(tests, a_secret_without_its_closing_quote_is_broken);
    tcase_add_test(tests, a_zero_byte_in_a_field_is_broken);
    tcase_add_test(tests, a_broken_line_comes_with_a_hint);
    tcase_add_test(tests, a_longer_name_is_refused);
    tcase_add_test(tests, a_longer_secret_is_refused);
}

static void add_files_and_secrets(TCase *tests)
{
    tcase_add_test(tests, a_file_is_read);
    tcase_add_test(tests, a_missing_file_says_why);
    tcase_add_test(tests, a_folder_is_no_file);
    tcase_add_test(tests, a_secret_tells_its_kind_by_its_form);
    tcase_add_test(tests, what_only_resembles_a_hash_is_plain);
    tcase_add_test(tests, a_secret_keeps_its_text);
}

Suite *suite_auth_auth_file(void)
{
    Suite *suite = suite_create("auth/auth_file");
    TCase *tests = tcase_create("auth_file");

    add_grammar(tests);
    add_refusals(tests);
    add_files_and_secrets(tests);
    suite_add_tcase(suite, tests);
    return suite;
}
