#include <check.h>
#include <string.h>

#include "auth/ident.h"

Suite *suite_auth_ident(void);

static bool is_same(const void *argument, const char *name)
{
    return strcmp(argument, name) == 0;
}

static bool matches(const char *maps, const char *system_user, const char *user)
{
    const struct ident_peer peer = {system_user, is_same, system_user};
    struct ident *ident = ident_create();
    struct error error;

    ck_assert_ptr_nonnull(ident);
    ck_assert_msg(ident_parse(ident, "ident.conf", maps, strlen(maps), &error), "%s",
                  error.message);
    bool is_match = ident_match(ident, "m", &peer, user);
    ident_destroy(ident);
    return is_match;
}

static void claim_refused(const char *maps, const char *message)
{
    struct ident *ident = ident_create();
    struct error error;

    ck_assert_ptr_nonnull(ident);
    ck_assert(!ident_parse(ident, "ident.conf", maps, strlen(maps), &error));
    ck_assert_msg(strstr(error.message, message) != NULL, "%s", error.message);
    ident_destroy(ident);
}

START_TEST(any_line_that_fits_is_enough)
{
    const char *maps = "# comment\nm root alice\nm root \"bo b\"\nother eve all\n";

    ck_assert(matches(maps, "root", "alice"));
    ck_assert(matches(maps, "root", "bo b"));
    ck_assert(!matches(maps, "root", "eve"));
    ck_assert(!matches(maps, "eve", "alice"));
}
END_TEST

START_TEST(all_is_everybody_unless_it_is_quoted)
{
    ck_assert(matches("m root all", "root", "x"));
    ck_assert(!matches("m root \"all\"", "root", "x"));
}
END_TEST

START_TEST(patterns_hand_over_their_group)
{
    const char *maps = "m /^(.*)@example\\.com$ \\1\n";

    ck_assert(matches(maps, "alice@example.com", "alice"));
    ck_assert(!matches(maps, "alice@example.com", "bob"));
    ck_assert(!matches(maps, "alice@example.org", "alice"));
    ck_assert(matches("m /^(b)?c x\\1y", "bc", "xby"));
    ck_assert(!matches("m /^(b)?c x\\1y", "c", "xy"));
}
END_TEST

START_TEST(what_is_not_understood_is_refused_with_its_line)
{
    claim_refused("m root\n", "ident.conf:1: could not parse ident config line 1");
    claim_refused("\nm root alice bob\n", "ident.conf:2: could not parse");
    claim_refused("m a,b alice\n", "could not parse");
    claim_refused("m root +admins\n", "groups");
    claim_refused("m root x\\1\n", "needs a group");
    claim_refused("m /( x\n", "regular expression");
    claim_refused("include x\n", "include directives");
}
END_TEST

Suite *suite_auth_ident(void)
{
    Suite *suite = suite_create("auth/ident");
    TCase *tests = tcase_create("ident");

    tcase_add_test(tests, any_line_that_fits_is_enough);
    tcase_add_test(tests, all_is_everybody_unless_it_is_quoted);
    tcase_add_test(tests, patterns_hand_over_their_group);
    tcase_add_test(tests, what_is_not_understood_is_refused_with_its_line);
    suite_add_tcase(suite, tests);
    return suite;
}
