#include <sys/stat.h>

#include "net/tls_context.h"
#include "tls_pair.h"

Suite *suite_net_tls_context(void);

static void write_file(const char *name, const char *text)
{
    FILE *file = fopen(certificates_path(name), "w");

    ck_assert_ptr_nonnull(file);
    fputs(text, file);
    fclose(file);
}

static struct error refused(const struct tls_settings *settings)
{
    struct error error = {.message = "not refused"};

    ck_assert_ptr_null(tls_context_create_client_side(settings, NULL, &error));
    return error;
}

START_TEST(certificate_and_key_must_be_set)
{
    struct tls_settings settings = accepting_settings(TLS_PREFER);

    settings.key_file = "";
    ck_assert_str_eq(refused(&settings).message,
                     "To allow TLS connections from clients, client_tls_key_file and "
                     "client_tls_cert_file must be set.");
}
END_TEST

START_TEST(verify_full_needs_a_ca_file)
{
    struct tls_settings settings = accepting_settings(TLS_VERIFY_FULL);

    ck_assert_str_eq(refused(&settings).message, "client_tls_sslmode requires client_tls_ca_file");
}
END_TEST

START_TEST(a_file_that_is_not_there_is_named_with_the_reason)
{
    struct tls_settings settings = accepting_settings(TLS_PREFER);

    settings.cert_file = "/nowhere/server.crt";
    ck_assert_str_eq(refused(&settings).message,
                     "TLS setup failed: certificate file \"/nowhere/server.crt\": "
                     "No such file or directory");
}
END_TEST

START_TEST(a_key_of_another_certificate_is_refused)
{
    struct tls_settings settings = accepting_settings(TLS_PREFER);
    settings.key_file = certificates_path("alice.key");
    struct error error = refused(&settings);

    ck_assert_ptr_nonnull(strstr(error.message, "alice.key\": key values mismatch"));
    ck_assert_str_eq(error.sqlstate, SQLSTATE_CONFIG_FILE_ERROR);
}
END_TEST

static const struct {
    const char *text, *reason;
} bad_files[] = {
    {"", "no start line"},
    {"not PEM\n", "no start line"},
    {"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", ""},
    {"-----BEGIN CERTIFICATE-----\nAA", "bad end line"},
};

START_TEST(a_certificate_that_is_none_is_refused)
{
    struct tls_settings settings = accepting_settings(TLS_PREFER);
    char wanted[256];

    write_file("bad.crt", bad_files[_i].text);
    settings.cert_file = certificates_path("bad.crt");
    snprintf(wanted, sizeof(wanted), "bad.crt\": %s", bad_files[_i].reason);
    ck_assert_ptr_nonnull(strstr(refused(&settings).message, wanted));
}
END_TEST

START_TEST(a_key_with_a_password_is_refused_without_asking)
{
    struct tls_settings settings = accepting_settings(TLS_PREFER);

    write_file("locked.key", "-----BEGIN EC PRIVATE KEY-----\n"
                             "Proc-Type: 4,ENCRYPTED\n"
                             "DEK-Info: AES-128-CBC,0123456789ABCDEF0123456789ABCDEF\n\n"
                             "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"
                             "-----END EC PRIVATE KEY-----\n");
    settings.key_file = certificates_path("locked.key");
    ck_assert_ptr_nonnull(strstr(refused(&settings).message, "locked.key\": "));
}
END_TEST

START_TEST(a_ca_file_without_certificates_is_refused)
{
    struct tls_settings settings = accepting_settings(TLS_VERIFY_CA);

    settings.ca_file = certificates_path("server.key");
    ck_assert_ptr_nonnull(strstr(refused(&settings).message, "CA file \""));
}
END_TEST

START_TEST(a_file_beyond_the_limit_is_refused)
{
    struct tls_settings settings = accepting_settings(TLS_PREFER);

    settings.cert_file = "/dev/zero";
    ck_assert_ptr_nonnull(strstr(refused(&settings).message, "is larger than 1 MiB"));
}
END_TEST

START_TEST(a_chain_of_certificates_is_read_whole)
{
    struct tls_settings settings = accepting_settings(TLS_PREFER);
    char command[256];

    snprintf(command, sizeof(command), "cat %s %s > %s", certificates_path("server.crt"),
             certificates_path("ca.crt"), certificates_path("chain.crt"));
    ck_assert_int_eq(system(command), 0);
    settings.cert_file = certificates_path("chain.crt");
    tls_context_release(accepting(&settings, NULL));
}
END_TEST

/* --- Words --- */

static const struct {
    struct tls_settings words;
    const char *message; /* NULL: fine */
} word_cases[] = {
    {{.protocols = "secure"}, NULL},
    {{.protocols = "TLSv1.2, TLSv1.3"}, NULL},
    {{.protocols = "tlsv1.3:tlsv1.2"}, NULL},
    {{.protocols = "all:!tlsv1.0:!tlsv1.1"}, NULL},
    {{.protocols = "!tlsv1.0"}, NULL},
    {{.protocols = "default"}, NULL},
    {{.protocols = "tlsv1"}, NULL},
    {{.protocols = "tlsv1.4"}, "invalid client_tls_protocols: tlsv1.4"},
    {{.protocols = "tlsv1.2,,tlsv1.3"}, "invalid client_tls_protocols: tlsv1.2,,tlsv1.3"},
    {{.protocols = "tlsv1.2,"}, "invalid client_tls_protocols: tlsv1.2,"},
    {{.protocols = "tlsv1.2:!tlsv1.2"}, "invalid client_tls_protocols: tlsv1.2:!tlsv1.2"},
    {{.ciphers = "default"}, NULL},
    {{.ciphers = "FAST"}, NULL},
    {{.ciphers = "HIGH:!aNULL"}, NULL},
    {{.ciphers = "nonsense"}, "invalid client_tls_ciphers: nonsense"},
    {{.tls13_ciphers = "TLS_AES_128_GCM_SHA256"}, NULL},
    {{.tls13_ciphers = "nonsense"},
     "TLS setup failed: failed to set the TLSv1.3 cipher suites (client_tls13_ciphers: nonsense)"},
    {{.ecdhcurve = "auto"}, NULL},
    {{.ecdhcurve = "none"}, NULL},
    {{.ecdhcurve = "prime256v1"}, NULL},
    {{.ecdhcurve = "X25519"}, NULL},
    {{.ecdhcurve = "nonsense"}, "invalid client_tls_ecdhcurve: nonsense"},
    {{.dheparams = "auto"}, NULL},
    {{.dheparams = "none"}, NULL},
    {{.dheparams = "legacy"}, "invalid client_tls_dheparams: legacy"},
};

START_TEST(words_are_understood_or_named)
{
    struct tls_settings settings = word_cases[_i].words;
    struct tls_settings files = accepting_settings(TLS_PREFER);

    settings.mode = files.mode;
    settings.cert_file = files.cert_file;
    settings.key_file = files.key_file;
    if (word_cases[_i].message != NULL)
        ck_assert_str_eq(refused(&settings).message, word_cases[_i].message);
    else
        tls_context_release(accepting(&settings, NULL));
}
END_TEST

START_TEST(errors_of_the_server_side_name_its_options)
{
    struct tls_settings settings = {.mode = TLS_REQUIRE, .protocols = "nonsense"};
    struct error error;

    ck_assert_ptr_null(tls_context_create_server_side(&settings, &error));
    ck_assert_str_eq(error.message, "invalid server_tls_protocols: nonsense");
}
END_TEST

START_TEST(a_certificate_for_servers_needs_its_key)
{
    struct tls_settings settings = {.mode = TLS_REQUIRE,
                                    .cert_file = certificates_path("alice.crt")};
    struct error error;

    ck_assert_ptr_null(tls_context_create_server_side(&settings, &error));
    ck_assert_str_eq(error.message,
                     "server_tls_cert_file and server_tls_key_file must be set together");
}
END_TEST

START_TEST(a_context_lives_as_long_as_somebody_has_it)
{
    struct tls_settings settings = accepting_settings(TLS_PREFER);
    struct tls_context *context = accepting(&settings, NULL);

    ck_assert_ptr_null(tls_context_acquire(NULL));
    ck_assert_ptr_eq(tls_context_acquire(context), context);
    tls_context_release(context);
    ck_assert_int_eq(tls_context_mode(context), TLS_PREFER);
    tls_context_release(context);
    tls_context_release(NULL);
}
END_TEST

Suite *suite_net_tls_context(void)
{
    Suite *suite = suite_create("net/tls_context");
    TCase *tests = tcase_create("all");

    make_certificates();
    suite_add_tcase(suite, tests);
    tcase_add_test(tests, certificate_and_key_must_be_set);
    tcase_add_test(tests, verify_full_needs_a_ca_file);
    tcase_add_test(tests, a_file_that_is_not_there_is_named_with_the_reason);
    tcase_add_test(tests, a_key_of_another_certificate_is_refused);
    tcase_add_loop_test(tests, a_certificate_that_is_none_is_refused, 0,
                        sizeof(bad_files) / sizeof(bad_files[0]));
    tcase_add_test(tests, a_key_with_a_password_is_refused_without_asking);
    tcase_add_test(tests, a_ca_file_without_certificates_is_refused);
    tcase_add_test(tests, a_file_beyond_the_limit_is_refused);
    tcase_add_test(tests, a_chain_of_certificates_is_read_whole);
    tcase_add_loop_test(tests, words_are_understood_or_named, 0,
                        sizeof(word_cases) / sizeof(word_cases[0]));
    tcase_add_test(tests, errors_of_the_server_side_name_its_options);
    tcase_add_test(tests, a_certificate_for_servers_needs_its_key);
    tcase_add_test(tests, a_context_lives_as_long_as_somebody_has_it);
    return suite;
}
