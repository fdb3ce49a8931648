#include <arpa/inet.h>
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "auth/hba.h"

Suite *suite_auth_hba(void);

static char warnings[512];

static void note_warning(void *argument, const char *file, int line, const char *text)
{
    (void)argument;
    (void)file;
    (void)snprintf(warnings, sizeof(warnings), "%d %s", line, text);
}

static struct hba *parse(const char *text, const char *maps, struct error *error)
{
    const struct hba_source source = {.file = "hba.conf", .warning = note_warning};
    struct ident *ident = NULL;

    warnings[0] = '\0';
    if (maps != NULL) {
        ident = ident_create();
        ck_assert_ptr_nonnull(ident);
        ck_assert(ident_parse(ident, "ident.conf", maps, strlen(maps), error));
    }
    return hba_parse(&source, ident, text, strlen(text), error);
}

/* The line of the rule that decides; 0: none. `from` is an address, or "local"; an s in front of it
 * stands for TLS, a p in front of that for a proxy's word. */
static int decides(const char *rules, const char *from, const char *database, const char *user)
{
    struct sockaddr_storage address = {.ss_family = AF_UNIX};
    struct hba_request request = {.database = database, .user = user, .address = &address};
    struct hba_verdict verdict = {.line = -1};
    struct error error;
    struct hba *hba = parse(rules, NULL, &error);

    ck_assert_msg(hba != NULL, "%s", error.message);
    request.is_physical_replication = database == NULL;
    request.is_proxied = from[0] == 'p';
    from += request.is_proxied;
    request.is_tls = from[0] == 's';
    from += request.is_tls;
    if (strchr(from, ':') != NULL) {
        address.ss_family = AF_INET6;
        ck_assert(inet_pton(AF_INET6, from, &((struct sockaddr_in6 *)&address)->sin6_addr) == 1);
    } else if (strcmp(from, "local") != 0) {
        address.ss_family = AF_INET;
        ck_assert(inet_pton(AF_INET, from, &((struct sockaddr_in *)&address)->sin_addr) == 1);
    }
    bool is_found = hba_match(hba, &request, &verdict);
    hba_release(hba);
    return is_found ? verdict.line : 0;
}

static void claim_refused(const char *rules, const char *message)
{
    struct error error;

    ck_assert_ptr_null(parse(rules, NULL, &error));
    ck_assert_msg(strstr(error.message, message) != NULL, "%s", error.message);
    ck_assert_ptr_nonnull(strstr(error.message, "hba.conf:"));
}

START_TEST(the_first_rule_that_fits_decides)
{
    const char *rules = "# a comment\n"
                        "local all all trust\n"
                        "hostssl app alice,bob 10.0.0.0/8 scram-sha-256\n"
                        "hostnossl all all 10.0.0.0/8 reject\n"
                        "host all all 10.0.0.0 255.0.0.0 md5\n"
                        "host all all ::1/128 password\n";

    ck_assert_int_eq(decides(rules, "local", "x", "y"), 2);
    ck_assert_int_eq(decides(rules, "s10.1.2.3", "app", "bob"), 3);
    ck_assert_int_eq(decides(rules, "10.1.2.3", "app", "bob"), 4);
    ck_assert_int_eq(decides(rules, "s10.1.2.3", "app", "carol"), 5);
    ck_assert_int_eq(decides(rules, "::ffff:10.1.2.3", "app", "carol"), 4);
    ck_assert_int_eq(decides(rules, "::1", "app", "carol"), 6);
    ck_assert_int_eq(decides(rules, "11.0.0.1", "app", "bob"), 0);
}
END_TEST

START_TEST(names_are_words_lists_or_patterns)
{
    ck_assert_int_eq(decides("local sameuser all trust", "local", "bob", "bob"), 1);
    ck_assert_int_eq(decides("local sameuser all trust", "local", "bob", "eve"), 0);
    ck_assert_int_eq(decides("local \"sameuser\" all trust", "local", "bob", "bob"), 0);
    ck_assert_int_eq(decides("local \"all\" all trust", "local", "all", "bob"), 1);
    ck_assert_int_eq(decides("local all \"a \"\"b\" trust", "local", "x", "a \"b"), 1);
    ck_assert_int_eq(decides("local a , b all trust", "local", "b", "x"), 1);
    ck_assert_int_eq(decides("local /^app[0-9]+$ all trust", "local", "app12", "x"), 1);
    ck_assert_int_eq(decides("local \"/^a{1,2}$\" all trust", "local", "aaa", "x"), 0);
    ck_assert_int_eq(decides("local all \\\n all trust", "local", "b", "x"), 1);
    ck_assert_int_eq(decides("local all All trust", "local", "b", "x"), 0);
}
END_TEST

START_TEST(replication_wants_its_own_word)
{
    ck_assert_int_eq(decides("local all all trust", "local", NULL, "x"), 0);
    ck_assert_int_eq(decides("local replication all trust", "local", NULL, "x"), 1);
    ck_assert_int_eq(decides("local replication all trust", "local", "replication", "x"), 0);
}
END_TEST

START_TEST(this_machine_is_samehost)
{
    ck_assert_int_eq(decides("host all all samehost trust", "127.0.0.1", "b", "x"), 1);
    ck_assert_int_eq(decides("host all all samehost trust", "127.0.0.2", "b", "x"), 0);
    ck_assert_int_eq(decides("host all all samenet trust", "127.0.0.2", "b", "x"), 1);
}
END_TEST

START_TEST(what_is_not_understood_is_refused_with_its_line)
{
    claim_refused("local all all trust\nlocl all all trust", "hba.conf:2: unknown type");
    claim_refused("local all", "did not find user");
    claim_refused("host all all", "did not find address");
    claim_refused("host all all example.com trust", "failed to parse address - example.com");
    claim_refused("host all all 10.0.0.0 trust", "failed to parse mask: trust");
    claim_refused("host all all 10.0.0.0 255.0.255.0 trust", "failed to parse mask");
    claim_refused("host all all 10.0.0.0/33 trust", "invalid mask");
    claim_refused("host all all 10.0.0.0/ trust", "invalid mask");
    claim_refused("host all all 300.0.0.0/8 trust", "failed to parse address");
    claim_refused("local samerole all trust", "samerole is not supported");
    claim_refused("local all +admins trust", "groups of roles are not supported");
    claim_refused("include other.conf", "include directives are not supported");
    claim_refused("local all all gss", "unsupported method: buf=gss");
    claim_refused("local all all ldap", "unsupported method: buf=ldap");
    claim_refused("local all all", "unsupported method");
    claim_refused("local all all md5 x=y", "unsupported parameters: x=y");
    claim_refused("local all all md5 map=m", "map is for cert only");
    claim_refused("hostssl all all all cert map=m", "Ident map m is not found");
    claim_refused("host all all all md5 clientcert=verify-ca", "hostssl only");
    claim_refused("hostnossl all all all cert", "cert works over TLS only");
    claim_refused("hostnossl all all all passthrough", "passthrough works over TLS only");
    claim_refused("local \"all all trust", "a quote is not closed");
    claim_refused("local a, all", "did not find user");
    claim_refused(", local all trust", "an item is missing beside a comma");
    claim_refused("local @names all trust", "@names");
    claim_refused("local /( all trust", "regular expression");
    claim_refused("local \"/((a{1,200}){9}){9}\" all trust", "repeats too much");
    claim_refused("local /(((((((((((a+)+)+)+)+)+)+)+)+)+)+)+ all trust", "repeats too much");
    claim_refused("local /(a)\\1 all trust", "back-references");
    claim_refused("local /a*+ all trust", "a quantifier behind a quantifier");
    claim_refused("local \"/a{1,2}{3}\" all trust", "a quantifier behind a quantifier");
}
END_TEST

START_TEST(certificates_are_noticed)
{
    struct error error;
    struct hba *hba = parse("local all all trust\nhostssl all all all md5 clientcert=verify-full\n",
                            NULL, &error);

    ck_assert_ptr_nonnull(hba);
    ck_assert_int_eq(hba_certificate_line(hba), 2);
    hba_release(hba);
}
END_TEST

START_TEST(databases_whose_servers_are_asked_are_noticed)
{
    struct error error;
    struct hba *hba = parse("local all all trust\nhostssl app,/^t_ all all passthrough\n"
                            "hostssl other all all scram-sha-256\n",
                            NULL, &error);

    ck_assert_ptr_nonnull(hba);
    ck_assert_int_eq(hba_passthrough_line(hba, "app"), 2);
    ck_assert_int_eq(hba_passthrough_line(hba, "t_1"), 2);
    ck_assert_int_eq(hba_passthrough_line(hba, "other"), 0);
    ck_assert_int_eq(hba_passthrough_line(hba, NULL), 2);
    hba_release(hba);
    hba = parse("hostssl app all all passthrough\n", NULL, &error);
    ck_assert_int_eq(hba_passthrough_line(hba, NULL), 0);
    hba_release(hba);
    hba = parse("hostssl sameuser all all passthrough\n", NULL, &error);
    ck_assert_int_eq(hba_passthrough_line(hba, "app"), 1);
    hba_release(hba);
}
END_TEST

START_TEST(an_open_door_is_warned_about)
{
    ck_assert_int_eq(decides("host all all 127.0.0.0/8 trust", "127.0.0.1", "b", "x"), 1);
    ck_assert_str_eq(warnings, "");
    ck_assert_int_eq(decides("host all all 10.0.0.0/8 trust", "10.0.0.1", "b", "x"), 1);
    ck_assert_ptr_nonnull(strstr(warnings, "without a password"));
    ck_assert_int_eq(decides("host all all 10.0.0.1/8 md5", "10.0.0.2", "b", "x"), 1);
    ck_assert_ptr_nonnull(strstr(warnings, "address does not match mask"));
}
END_TEST

START_TEST(who_comes_by_a_proxy_is_not_here)
{
    const char *rules = "local all all trust\nhost all all 127.0.0.0/8 trust\n"
                        "host all all ::1/128 trust\nhost all all samehost trust\n"
                        "host all all samenet trust\nhost all all 10.1.0.0/16 trust\n"
                        "host all all 0.0.0.0/0 trust\nhost all all all trust\n";

    ck_assert_int_eq(decides(rules, "127.0.0.1", "a", "b"), 2);
    ck_assert_int_eq(decides(rules, "p127.0.0.1", "a", "b"), 7);
    ck_assert_int_eq(decides(rules, "::1", "a", "b"), 3);
    ck_assert_int_eq(decides(rules, "p::1", "a", "b"), 8);
    ck_assert_int_eq(decides(rules, "p::ffff:127.0.0.1", "a", "b"), 7);
    ck_assert_int_eq(decides("host all all samehost trust\n", "127.0.0.1", "a", "b"), 1);
    ck_assert_int_eq(decides("host all all samehost trust\n", "p127.0.0.1", "a", "b"), 0);
}
END_TEST

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");

    ck_assert_ptr_nonnull(file);
    ck_assert(fputs(text, file) >= 0);
    ck_assert_int_eq(fclose(file), 0);
}

START_TEST(names_come_from_files_beside_the_file)
{
    char folder[] = "/tmp/pgweir-hba-XXXXXX", hba_path[64], names_path[64], more_path[64];
    const struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct hba_request request = {.database = "b", .user = "carol", .address = &address};
    struct hba_verdict verdict;
    struct error error;

    ck_assert_ptr_nonnull(mkdtemp(folder));
    (void)snprintf(hba_path, sizeof(hba_path), "%s/hba.conf", folder);
    (void)snprintf(names_path, sizeof(names_path), "%s/names", folder);
    (void)snprintf(more_path, sizeof(more_path), "%s/more", folder);
    write_file(hba_path, "local all x,@names trust\n");
    write_file(names_path, "alice, bob # two\n@more\n");
    write_file(more_path, "carol\n");
    struct hba *hba = hba_load(&(struct hba_source){.file = hba_path}, &error);
    ck_assert_msg(hba != NULL, "%s", error.message);
    ck_assert(hba_match(hba, &request, &verdict));
    request.user = "dave";
    ck_assert(!hba_match(hba, &request, &verdict));
    hba_release(hba);
    write_file(more_path, "@more\n");
    ck_assert_ptr_null(hba_load(&(struct hba_source){.file = hba_path}, &error));
    ck_assert_ptr_nonnull(strstr(error.message, "nested too deep"));
    unlink(more_path);
    ck_assert_ptr_null(hba_load(&(struct hba_source){.file = hba_path}, &error));
    ck_assert_ptr_nonnull(strstr(error.message, "No such file"));
    unlink(names_path);
    unlink(hba_path);
    rmdir(folder);
}
END_TEST

Suite *suite_auth_hba(void)
{
    Suite *suite = suite_create("auth/hba");
    TCase *tests = tcase_create("hba");

    tcase_add_test(tests, the_first_rule_that_fits_decides);
    tcase_add_test(tests, names_are_words_lists_or_patterns);
    tcase_add_test(tests, replication_wants_its_own_word);
    tcase_add_test(tests, this_machine_is_samehost);
    tcase_add_test(tests, what_is_not_understood_is_refused_with_its_line);
    tcase_add_test(tests, certificates_are_noticed);
    tcase_add_test(tests, databases_whose_servers_are_asked_are_noticed);
    tcase_add_test(tests, an_open_door_is_warned_about);
    tcase_add_test(tests, who_comes_by_a_proxy_is_not_here);
    tcase_add_test(tests, names_come_from_files_beside_the_file);
    suite_add_tcase(suite, tests);
    return suite;
}
