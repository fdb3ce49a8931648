#include <check.h>
#include <stdio.h>
#include <string.h>

#include "auth/scram.h"
#include "base/memory.h"

Suite *suite_auth_scram_client(void);

#define RFC_NONCE      "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
#define RFC_FIRST      "r=" RFC_NONCE ",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
#define RFC_FINAL      "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
#define ITERATIONS_MAX 100000

static struct scram_client client;
static char memory[SCRAM_MESSAGE_MAX];
static struct bytes out;
static struct error error;
static uint8_t client_key[SCRAM_KEY_SIZE], server_key[SCRAM_KEY_SIZE];

static void set_up(void)
{
    memset(&client, 0, sizeof(client));
    memset(&error, 0, sizeof(error));
    memset(memory, 0, sizeof(memory));
    out = bytes_over(memory, sizeof(memory) - 1);
}

static void tear_down(void)
{
    scram_client_finish(&client);
}

static struct span span_of(const char *text)
{
    return (struct span){(const uint8_t *)text, strlen(text)};
}

/* The dialogue of RFC 7677 §3 behind client-first, whose nonce is not ours to choose. */
static void stand_in_the_rfc_dialogue(void)
{
    client.client_first_bare = memory_strdup("n=user,r=rOprNGfwEbeRWgbNEkqO");
    strcpy(client.nonce, "rOprNGfwEbeRWgbNEkqO");
}

static void make_keys(const char *password)
{
    uint8_t salted[SCRAM_KEY_SIZE], stored_key[SCRAM_KEY_SIZE];
    ck_assert(
        scram_salt_password(password, client.salt, client.salt_size, client.iterations, salted));
    scram_keys(salted, client_key, stored_key, server_key);
}

static bool server_first(const char *text)
{
    return scram_client_server_first(&client, span_of(text), ITERATIONS_MAX, &error);
}

static void send_the_rfc_proof(void)
{
    stand_in_the_rfc_dialogue();
    ck_assert(server_first(RFC_FIRST));
    make_keys("pencil");
    ck_assert(scram_client_final(&client, client_key, server_key, &out, &error));
}

static bool check_server(const char *text)
{
    return scram_client_check_server(&client, span_of(text), &error);
}

START_TEST(the_proof_is_that_of_rfc_7677)
{
    send_the_rfc_proof();
    ck_assert_str_eq(memory,
                     "c=biws,r=" RFC_NONCE ",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
}
END_TEST

START_TEST(the_servers_proof_of_rfc_7677_is_right)
{
    send_the_rfc_proof();
    ck_assert(check_server(RFC_FINAL));
}
END_TEST

START_TEST(extensions_behind_the_servers_proof_are_ignored)
{
    send_the_rfc_proof();
    ck_assert(check_server(RFC_FINAL ",x=1"));
}
END_TEST

START_TEST(the_first_message_has_a_nonce_and_no_name)
{
    ck_assert(scram_client_first(&client, &out));
    ck_assert_uint_eq(strlen(client.nonce), 24);
    ck_assert_int_eq(strncmp(memory, "n,,n=,r=", 8), 0);
    ck_assert_str_eq(memory + 8, client.nonce);
    ck_assert_str_eq(client.client_first_bare, memory + 3);
}
END_TEST

START_TEST(no_two_dialogues_have_one_nonce)
{
    char nonce[sizeof(client.nonce)];
    ck_assert(scram_client_first(&client, &out));
    strcpy(nonce, client.nonce);
    ck_assert(scram_client_first(&client, &out));
    ck_assert_str_ne(nonce, client.nonce);
}
END_TEST

START_TEST(a_salt_of_32_bytes_is_taken)
{
    stand_in_the_rfc_dialogue();
    ck_assert(
        server_first("r=" RFC_NONCE ",s=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=,i=4096"));
    ck_assert_uint_eq(client.salt_size, 32);
    ck_assert_uint_eq(client.salt[31], 31);
}
END_TEST

START_TEST(too_many_iterations_are_refused)
{
    stand_in_the_rfc_dialogue();
    ck_assert(!server_first("r=" RFC_NONCE ",s=AAAA,i=10000000"));
    ck_assert_str_eq(error.message,
                     "server asks for 10000000 SCRAM iterations, allowed are 100000");
}
END_TEST

START_TEST(the_most_allowed_iterations_and_one_are_taken)
{
    stand_in_the_rfc_dialogue();
    ck_assert(server_first("r=" RFC_NONCE ",s=AAAA,i=100000"));
    scram_client_finish(&client);
    stand_in_the_rfc_dialogue();
    ck_assert(server_first("r=" RFC_NONCE ",s=AAAA,i=1"));
    ck_assert_uint_eq(client.iterations, 1);
}
END_TEST

static const struct {
    const char *text, *message;
} malformed_first[] = {
    {"", "it is empty"},
    {"s=AAAA,i=1", "attribute \"r\" expected"},
    {"r=,s=AAAA,i=1", "the nonce is empty"},
    {"r=rOprNGfwEbeRWgbNEkqO,s=AAAA,i=1", "the server's nonce does not continue ours"},
    {"r=rOprNGfwEbeRWgbNEkq,s=AAAA,i=1", "the server's nonce does not continue ours"},
    {"r=xOprNGfwEbeRWgbNEkqOxx,s=AAAA,i=1", "the server's nonce does not continue ours"},
    {"r=" RFC_NONCE " ,s=AAAA,i=1", "the nonce holds other than printable ASCII"},
    {"r=" RFC_NONCE, "attribute \"s\" is missing"},
    {"r=" RFC_NONCE ",i=1", "attribute \"s\" expected"},
    {"r=" RFC_NONCE ",s=,i=1", "the salt is not base64 of 1 to 1024 bytes"},
    {"r=" RFC_NONCE ",s=AAA,i=1", "the salt is not base64 of 1 to 1024 bytes"},
    {"r=" RFC_NONCE ",s=AAAA", "attribute \"i\" is missing"},
    {"r=" RFC_NONCE ",s=AAAA,i=", "the iteration count is not a positive number"},
    {"r=" RFC_NONCE ",s=AAAA,i=0", "the iteration count is not a positive number"},
    {"r=" RFC_NONCE ",s=AAAA,i=-5", "the iteration count is not a positive number"},
    {"r=" RFC_NONCE ",s=AAAA,i=4096x", "the iteration count is not a positive number"},
    {"r=" RFC_NONCE ",s=AAAA,i=4294967297", "the iteration count is not a positive number"},
    {"r=" RFC_NONCE ",s=AAAA,i=4096,", "an attribute expected behind a comma"},
};

START_TEST(a_malformed_server_first_is_refused)
{
    char message[128];
    snprintf(message, sizeof(message), "malformed SCRAM message: %s", malformed_first[_i].message);
    stand_in_the_rfc_dialogue();
    ck_assert_msg(!server_first(malformed_first[_i].text), "%s", malformed_first[_i].text);
    ck_assert_str_eq(error.message, message);
    ck_assert_str_eq(error.sqlstate, SQLSTATE_PROTOCOL_VIOLATION);
}
END_TEST

START_TEST(mandatory_extensions_are_refused)
{
    static const char *const texts[] = {"m=x," RFC_FIRST, RFC_FIRST ",m=x"};
    stand_in_the_rfc_dialogue();
    for (size_t i = 0; i < 2; i++) {
        ck_assert(!server_first(texts[i]));
        ck_assert_str_eq(error.sqlstate, SQLSTATE_FEATURE_NOT_SUPPORTED);
    }
}
END_TEST

START_TEST(a_nonce_longer_than_the_limit_is_refused)
{
    char text[SCRAM_NONCE_MAX + 64];
    struct bytes made = bytes_over(text, sizeof(text));

    bytes_text(&made, "r=rOprNGfwEbeRWgbNEkqO");
    while (made.size < SCRAM_NONCE_MAX + 2)
        bytes_u8(&made, 'x');
    bytes_string(&made, ",s=AAAA,i=1");
    stand_in_the_rfc_dialogue();
    ck_assert(!server_first(text));
    ck_assert_str_eq(error.message, "malformed SCRAM message: the nonce is longer than 511 bytes");
}
END_TEST

START_TEST(a_second_server_first_is_refused)
{
    stand_in_the_rfc_dialogue();
    ck_assert(server_first(RFC_FIRST));
    ck_assert(!server_first(RFC_FIRST));
    ck_assert_str_eq(error.message, "malformed SCRAM message: server-first-message out of turn");
}
END_TEST

START_TEST(a_server_first_without_a_client_first_is_refused)
{
    ck_assert(!server_first(RFC_FIRST));
}
END_TEST

START_TEST(a_proof_before_server_first_is_refused)
{
    stand_in_the_rfc_dialogue();
    ck_assert(!scram_client_final(&client, client_key, server_key, &out, &error));
    ck_assert_uint_eq(out.size, 0);
}
END_TEST

START_TEST(another_signature_is_refused)
{
    send_the_rfc_proof();
    ck_assert(!check_server("v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="));
    ck_assert_str_eq(error.message, "invalid server signature");
}
END_TEST

START_TEST(a_zero_signature_before_any_proof_is_refused)
{
    stand_in_the_rfc_dialogue();
    ck_assert(server_first(RFC_FIRST));
    ck_assert(!check_server("v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="));
    ck_assert_str_eq(error.message, "malformed SCRAM message: server-final-message out of turn");
}
END_TEST

START_TEST(the_servers_reason_is_told_without_its_control_bytes)
{
    send_the_rfc_proof();
    ck_assert(!check_server("e=invalid-proof\n"));
    ck_assert_str_eq(error.message, "server refused the SCRAM login: invalid-proof?");
}
END_TEST

START_TEST(a_malformed_server_final_is_refused)
{
    static const char *const texts[] = {
        "", "v", "x=1", "v=", "v=AAAA", "v=6rriTRBi23WpRR", RFC_FINAL ","};
    send_the_rfc_proof();
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        ck_assert_msg(!check_server(texts[i]), "%s", texts[i]);
        ck_assert_int_eq(strncmp(error.message, "malformed SCRAM message: ", 25), 0);
    }
}
END_TEST

/* Both sides of ours, with a password and what came of it. */
static bool log_in(const char *stored, const char *typed)
{
    struct scram_server server = {.gs2 = 0};
    struct scram_verifier verifier = {.iterations = 2, .salt_size = 32, .salt = {9}};
    uint8_t salted[SCRAM_KEY_SIZE], unused[SCRAM_KEY_SIZE];
    char answer_memory[SCRAM_MESSAGE_MAX];
    struct bytes answer = bytes_over(answer_memory, sizeof(answer_memory));
    bool is_right;

    ck_assert(scram_salt_password(stored, verifier.salt, 32, 2, salted));
    scram_keys(salted, unused, verifier.stored_key, verifier.server_key);
    ck_assert(scram_client_first(&client, &out));
    ck_assert(scram_server_first(&server, &verifier, bytes_span(&out), &answer, &error));
    ck_assert(scram_client_server_first(&client, bytes_span(&answer), 10, &error));
    make_keys(typed);
    bytes_clear(&out);
    bytes_clear(&answer);
    ck_assert(scram_client_final(&client, client_key, server_key, &out, &error));
    ck_assert(scram_server_final(&server, bytes_span(&out), &is_right, &answer, &error));
    if (is_right)
        ck_assert(scram_client_check_server(&client, bytes_span(&answer), &error));
    scram_server_finish(&server);
    return is_right;
}

START_TEST(both_sides_agree_on_a_right_password)
{
    ck_assert(log_in("pencil", "pencil"));
}
END_TEST

START_TEST(a_binding_to_the_channel_is_proved)
{
    struct scram_server server = {.binding = {.hash = {7}, .size = 32}, .is_plus = true};
    struct scram_verifier verifier = {.iterations = 1, .salt_size = 16};
    char answer_memory[SCRAM_MESSAGE_MAX];
    struct bytes answer = bytes_over(answer_memory, sizeof(answer_memory));
    bool is_right;

    client.gs2 = 'p';
    client.binding = (struct scram_binding){.hash = {7}, .size = 32};
    ck_assert(scram_client_first(&client, &out));
    ck_assert(scram_server_first(&server, &verifier, bytes_span(&out), &answer, &error));
    ck_assert(scram_client_server_first(&client, bytes_span(&answer), 10, &error));
    client.binding.hash[0] = 8; /* somebody stands between */
    bytes_clear(&out);
    ck_assert(scram_client_final(&client, client_key, server_key, &out, &error));
    ck_assert(!scram_server_final(&server, bytes_span(&out), &is_right, &answer, &error));
    ck_assert_str_eq(error.message, "SCRAM channel binding check failed");
    client.binding.hash[0] = 7;
    bytes_clear(&out);
    ck_assert(scram_client_final(&client, client_key, server_key, &out, &error));
    ck_assert(scram_server_final(&server, bytes_span(&out), &is_right, &answer, &error));
    scram_server_finish(&server);
}
END_TEST

START_TEST(both_sides_agree_on_a_password_before_and_after_saslprep)
{
    ck_assert(log_in("I\u00adX\u00fc", "IX\u00fc"));
}
END_TEST

START_TEST(a_wrong_password_is_wrong)
{
    ck_assert(!log_in("pencil", "pencils"));
}
END_TEST

static void add_dialogues(TCase *tests)
{
    tcase_add_test(tests, the_proof_is_that_of_rfc_7677);
    tcase_add_test(tests, the_servers_proof_of_rfc_7677_is_right);
    tcase_add_test(tests, extensions_behind_the_servers_proof_are_ignored);
    tcase_add_test(tests, the_first_message_has_a_nonce_and_no_name);
    tcase_add_test(tests, no_two_dialogues_have_one_nonce);
    tcase_add_test(tests, a_salt_of_32_bytes_is_taken);
    tcase_add_test(tests, the_most_allowed_iterations_and_one_are_taken);
    tcase_add_test(tests, both_sides_agree_on_a_right_password);
    tcase_add_test(tests, a_binding_to_the_channel_is_proved);
    tcase_add_test(tests, both_sides_agree_on_a_password_before_and_after_saslprep);
    tcase_add_test(tests, a_wrong_password_is_wrong);
}

static void add_refusals(TCase *tests)
{
    tcase_add_test(tests, too_many_iterations_are_refused);
    tcase_add_loop_test(tests, a_malformed_server_first_is_refused, 0,
                        (int)(sizeof(malformed_first) / sizeof(malformed_first[0])));
    tcase_add_test(tests, mandatory_extensions_are_refused);
    tcase_add_test(tests, a_nonce_longer_than_the_limit_is_refused);
    tcase_add_test(tests, a_second_server_first_is_refused);
    tcase_add_test(tests, a_server_first_without_a_client_first_is_refused);
    tcase_add_test(tests, a_proof_before_server_first_is_refused);
    tcase_add_test(tests, another_signature_is_refused);
    tcase_add_test(tests, a_zero_signature_before_any_proof_is_refused);
    tcase_add_test(tests, the_servers_reason_is_told_without_its_control_bytes);
    tcase_add_test(tests, a_malformed_server_final_is_refused);
}

Suite *suite_auth_scram_client(void)
{
    Suite *suite = suite_create("auth/scram_client");
    TCase *tests = tcase_create("scram_client");

    tcase_add_checked_fixture(tests, set_up, tear_down);
    add_dialogues(tests);
    add_refusals(tests);
    suite_add_tcase(suite, tests);
    return suite;
}
