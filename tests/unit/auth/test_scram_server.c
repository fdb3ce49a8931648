#include <check.h>
#include <stdio.h>
#include <string.h>

#include "auth/scram.h"
#include "base/memory.h"

Suite *suite_auth_scram_server(void);

#define RFC_BARE  "n=user,r=rOprNGfwEbeRWgbNEkqO"
#define RFC_NONCE "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
#define RFC_FIRST "r=" RFC_NONCE ",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
#define RFC_PROOF "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
/* 32 bytes, and wrong. */
#define SOME_PROOF "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

/* Salt of RFC 7677 §3, keys of the password "pencil" under it. */
static struct scram_verifier verifier;
static struct scram_server server;
static char memory[SCRAM_MESSAGE_MAX];
static struct bytes out;
static struct error error;

static void set_up(void)
{
    uint8_t salted[SCRAM_KEY_SIZE], client_key[SCRAM_KEY_SIZE];
    static const uint8_t salt[16] = {0x5b, 0x6d, 0x99, 0x68, 0x9d, 0x12, 0x35, 0x8e,
                                     0xec, 0xa0, 0x4b, 0x14, 0x12, 0x36, 0xfa, 0x81};

    memset(&verifier, 0, sizeof(verifier));
    memset(&server, 0, sizeof(server));
    memset(&error, 0, sizeof(error));
    memset(memory, 0, sizeof(memory));
    out = bytes_over(memory, sizeof(memory) - 1);
    verifier.iterations = 4096;
    verifier.salt_size = sizeof(salt);
    memcpy(verifier.salt, salt, sizeof(salt));
    ck_assert(scram_salt_password("pencil", salt, sizeof(salt), 4096, salted));
    scram_keys(salted, client_key, verifier.stored_key, verifier.server_key);
}

static void tear_down(void)
{
    scram_server_finish(&server);
}

static struct span span_of(const char *text)
{
    return (struct span){(const uint8_t *)text, strlen(text)};
}

static bool first(const char *text)
{
    return scram_server_first(&server, &verifier, span_of(text), &out, &error);
}

static bool final(const char *text, bool *is_right)
{
    memset(memory, 0, sizeof(memory));
    bytes_clear(&out);
    return scram_server_final(&server, span_of(text), is_right, &out, &error);
}

/* The dialogue of RFC 7677 §3 up to server-first, whose nonce is not ours to choose. */
static void stand_in_the_rfc_dialogue(void)
{
    server.verifier = verifier;
    server.gs2 = 'n';
    server.client_first_bare = memory_strdup(RFC_BARE);
    server.server_first = memory_strdup(RFC_FIRST);
    strcpy(server.nonce, RFC_NONCE);
}

static void claim_first_refused(const char *text, const char *sqlstate, const char *message)
{
    ck_assert_msg(!first(text), "%s", text);
    ck_assert_str_eq(error.message, message);
    ck_assert_str_eq(error.sqlstate, sqlstate);
    ck_assert_uint_eq(out.size, 0);
}

/* client-final, with the nonce of this dialogue for each '@'. */
static bool final_with(const char *format, bool *is_right)
{
    char text[1024];
    struct bytes made = bytes_over(text, sizeof(text));

    for (const char *from = format; *from != '\0'; from++)
        if (*from == '@')
            bytes_text(&made, server.nonce);
        else
            bytes_put(&made, from, 1);
    bytes_u8(&made, 0);
    return final(text, is_right);
}

static void claim_final_refused(const char *format, const char *sqlstate, const char *message)
{
    bool is_right = true;

    ck_assert(first("n,,n=,r=abc"));
    ck_assert_msg(!final_with(format, &is_right), "%s", format);
    ck_assert(!is_right);
    ck_assert_str_eq(error.message, message);
    ck_assert_str_eq(error.sqlstate, sqlstate);
    ck_assert_uint_eq(out.size, 0);
}

START_TEST(the_dialogue_of_rfc_7677_succeeds)
{
    bool is_right;
    stand_in_the_rfc_dialogue();
    ck_assert(final("c=biws,r=" RFC_NONCE ",p=" RFC_PROOF, &is_right));
    ck_assert(is_right);
    ck_assert_str_eq(memory, "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
}
END_TEST

START_TEST(a_right_proof_gives_the_client_key)
{
    uint8_t salted[SCRAM_KEY_SIZE], client_key[SCRAM_KEY_SIZE], stored_key[SCRAM_KEY_SIZE],
        server_key[SCRAM_KEY_SIZE];
    bool is_right;

    ck_assert(scram_salt_password("pencil", verifier.salt, 16, 4096, salted));
    scram_keys(salted, client_key, stored_key, server_key);
    stand_in_the_rfc_dialogue();
    ck_assert(final("c=biws,r=" RFC_NONCE ",p=" RFC_PROOF, &is_right));
    ck_assert_mem_eq(server.client_key, client_key, SCRAM_KEY_SIZE);
}
END_TEST

START_TEST(a_wrong_proof_is_well_formed_and_wrong)
{
    static const uint8_t zero[SCRAM_KEY_SIZE];
    bool is_right = true;

    stand_in_the_rfc_dialogue();
    ck_assert(final("c=biws,r=" RFC_NONCE ",p=" SOME_PROOF, &is_right));
    ck_assert(!is_right);
    ck_assert_uint_eq(out.size, 0);
    ck_assert_mem_eq(server.client_key, zero, SCRAM_KEY_SIZE);
}
END_TEST

START_TEST(a_dialogue_takes_one_proof)
{
    bool is_right;
    stand_in_the_rfc_dialogue();
    ck_assert(final("c=biws,r=" RFC_NONCE ",p=" SOME_PROOF, &is_right));
    ck_assert(!final("c=biws,r=" RFC_NONCE ",p=" RFC_PROOF, &is_right));
    ck_assert_str_eq(error.message, "malformed SCRAM message: client-final-message out of turn");
}
END_TEST

START_TEST(a_final_message_without_a_first_is_refused)
{
    bool is_right;
    ck_assert(!final("c=biws,r=,p=" SOME_PROOF, &is_right));
    ck_assert_str_eq(error.sqlstate, SQLSTATE_PROTOCOL_VIOLATION);
}
END_TEST

START_TEST(keys_may_come_after_the_first_message)
{
    struct scram_verifier keys = verifier;
    bool is_right;

    memset(verifier.stored_key, 0, sizeof(verifier.stored_key));
    memset(verifier.server_key, 0, sizeof(verifier.server_key));
    stand_in_the_rfc_dialogue();
    scram_server_keys(&server, keys.stored_key, keys.server_key);
    ck_assert(final("c=biws,r=" RFC_NONCE ",p=" RFC_PROOF, &is_right));
    ck_assert(is_right);
}
END_TEST

START_TEST(server_first_continues_the_clients_nonce)
{
    ck_assert(first("n,,n=,r=abc"));
    ck_assert_int_eq(strncmp(memory, "r=abc", 5), 0);
    ck_assert_uint_eq(strlen(server.nonce), 3 + 24);
    ck_assert_str_eq(memory + 2 + 27, ",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096");
    ck_assert_int_eq(server.gs2, 'n');
    ck_assert_str_eq(server.client_first_bare, "n=,r=abc");
}
END_TEST

START_TEST(no_two_dialogues_have_one_nonce)
{
    char nonce[SCRAM_NONCE_MAX];
    ck_assert(first("n,,n=,r=abc"));
    strcpy(nonce, server.nonce);
    ck_assert(first("n,,n=,r=abc"));
    ck_assert_str_ne(nonce, server.nonce);
}
END_TEST

START_TEST(a_salt_of_32_bytes_is_sent_whole)
{
    verifier.salt_size = 32;
    ck_assert(first("n,,n=,r=abc"));
    ck_assert_ptr_nonnull(strstr(memory, ",s=W22ZaJ0SNY7soEsUEjb6gQAAAAAAAAAAAAAAAAAAAAA=,i="));
}
END_TEST

START_TEST(the_largest_nonce_and_salt_fit)
{
    char text[SCRAM_NONCE_MAX + 16] = "n,,n=,r=";
    memset(text + 8, 'x', SCRAM_NONCE_MAX - 25);
    verifier.salt_size = SCRAM_SALT_MAX;
    ck_assert(first(text));
    ck_assert_uint_eq(strlen(server.nonce), SCRAM_NONCE_MAX - 1);
}
END_TEST

START_TEST(a_name_and_optional_extensions_are_ignored)
{
    ck_assert(first("n,,n=some=2Cbody,r=abc,x=1,Y="));
    ck_assert_str_eq(server.client_first_bare, "n=some=2Cbody,r=abc,x=1,Y=");
}
END_TEST

START_TEST(extensions_before_the_proof_are_ignored)
{
    bool is_right = true;
    ck_assert(first("n,,n=,r=abc"));
    ck_assert(final_with("c=biws,r=@,x=1,y=,p=" SOME_PROOF, &is_right));
    ck_assert(!is_right);
}
END_TEST

START_TEST(flag_y_has_its_own_channel_binding_value)
{
    bool is_right;

    ck_assert(first("y,,n=,r=abc"));
    ck_assert_int_eq(server.gs2, 'y');
    ck_assert(final_with("c=eSws,r=@,p=" SOME_PROOF, &is_right));
    ck_assert(first("y,,n=,r=abc"));
    ck_assert(!final_with("c=biws,r=@,p=" SOME_PROOF, &is_right));
    ck_assert_str_eq(error.message,
                     "unexpected SCRAM channel-binding attribute in client-final-message");
}
END_TEST

START_TEST(channel_binding_is_refused)
{
    claim_first_refused("p=tls-server-end-point,,n=,r=abc", SQLSTATE_PROTOCOL_VIOLATION,
                        "client requires SCRAM channel binding, but it is not supported");
}
END_TEST

START_TEST(an_authorization_identity_is_refused)
{
    claim_first_refused("n,a=admin,n=,r=abc", SQLSTATE_FEATURE_NOT_SUPPORTED,
                        "client uses authorization identity, but it is not supported");
}
END_TEST

START_TEST(mandatory_extensions_are_refused)
{
    static const char *const texts[] = {"n,,m=x,n=,r=abc", "n,,n=,r=abc,m=x",
                                        "n,,n=,r=abc,x=1,m=x"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        claim_first_refused(texts[i], SQLSTATE_FEATURE_NOT_SUPPORTED,
                            "a mandatory SCRAM extension is required, but none is supported");
}
END_TEST

static const struct {
    const char *text, *message;
} malformed_first[] = {
    {"", "it is empty"},
    {"x,,n=,r=abc", "it begins with no channel-binding flag"},
    {"n", "comma expected behind the channel-binding flag"},
    {"nn,n=,r=abc", "comma expected behind the channel-binding flag"},
    {"n,", "authorization identity or comma expected"},
    {"n,n=,r=abc", "authorization identity or comma expected"},
    {"n,,", "attribute \"n\" expected"},
    {"n,,n", "attribute \"n\" expected"},
    {"n,,r=abc", "attribute \"n\" expected"},
    {"n,,n=", "attribute \"r\" is missing"},
    {"n,,n=,", "attribute \"r\" expected"},
    {"n,,n=,r", "attribute \"r\" expected"},
    {"n,,n=,s=abc", "attribute \"r\" expected"},
    {"n,,n=,r=", "the nonce is empty"},
    {"n,,n=,r=a b", "the nonce holds other than printable ASCII"},
    {"n,,n=,r=a\x7f", "the nonce holds other than printable ASCII"},
    {"n,,n=,r=\u00fc", "the nonce holds other than printable ASCII"},
    {"n,,n=,r=abc,", "an attribute expected behind a comma"},
    {"n,,n=,r=abc,x", "an attribute expected behind a comma"},
    {"n,,n=,r=abc,1=x", "an attribute expected behind a comma"},
    {"n,,n=,r=abc,,x=1", "an attribute expected behind a comma"},
};

START_TEST(a_malformed_first_message_is_refused)
{
    char message[128];
    snprintf(message, sizeof(message), "malformed SCRAM message: %s", malformed_first[_i].message);
    claim_first_refused(malformed_first[_i].text, SQLSTATE_PROTOCOL_VIOLATION, message);
}
END_TEST

START_TEST(a_zero_byte_is_refused)
{
    static const uint8_t text[] = "n,,n=,r=abc\0def";
    ck_assert(!scram_server_first(&server, &verifier, (struct span){text, sizeof(text) - 1}, &out,
                                  &error));
    ck_assert_str_eq(error.message, "malformed SCRAM message: it holds a zero byte");
}
END_TEST

START_TEST(a_longer_nonce_is_refused)
{
    char text[SCRAM_NONCE_MAX + 16] = "n,,n=,r=";
    memset(text + 8, 'x', SCRAM_NONCE_MAX - 24);
    claim_first_refused(text, SQLSTATE_PROTOCOL_VIOLATION,
                        "malformed SCRAM message: the nonce is longer than 487 bytes");
}
END_TEST

START_TEST(a_longer_message_is_refused)
{
    char text[SCRAM_MESSAGE_MAX + 2] = "n,,n=,r=abc,x=";
    memset(text + 14, 'x', sizeof(text) - 15);
    claim_first_refused(text, SQLSTATE_PROTOCOL_VIOLATION,
                        "malformed SCRAM message: longer than 4096 bytes");
}
END_TEST

static const struct {
    const char *text, *message;
} malformed_final[] = {
    {"", "it is empty"},
    {"r=@,p=" SOME_PROOF, "attribute \"c\" expected"},
    {"c=biws", "attribute \"r\" is missing"},
    {"c=biws,p=" SOME_PROOF, "attribute \"r\" expected"},
    {"c=biws,r=,p=" SOME_PROOF, "the nonce is not the one of this login"},
    {"c=biws,r=abc,p=" SOME_PROOF, "the nonce is not the one of this login"},
    {"c=biws,r=@x,p=" SOME_PROOF, "the nonce is not the one of this login"},
    {"c=biws,r=@", "attribute \"p\" is missing"},
    {"c=biws,r=@,", "an attribute expected behind a comma"},
    {"c=biws,r=@,x=1", "attribute \"p\" is missing"},
    {"c=biws,r=@,p=", "the proof is not base64 of 32 bytes"},
    {"c=biws,r=@,p=AAAA", "the proof is not base64 of 32 bytes"},
    {"c=biws,r=@,p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
     "the proof is not base64 of 32 bytes"},
    {"c=biws,r=@,p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB=",
     "the proof is not base64 of 32 bytes"},
    {"c=biws,r=@,p=" SOME_PROOF "=", "the proof is not base64 of 32 bytes"},
    {"c=biws,r=@,p=" SOME_PROOF ",x=1", "something stands behind the proof"},
    {"c=biws,r=@,p=" SOME_PROOF ",p=" SOME_PROOF, "something stands behind the proof"},
};

START_TEST(a_malformed_final_message_is_refused)
{
    char message[128];
    snprintf(message, sizeof(message), "malformed SCRAM message: %s", malformed_final[_i].message);
    claim_final_refused(malformed_final[_i].text, SQLSTATE_PROTOCOL_VIOLATION, message);
}
END_TEST

START_TEST(another_channel_binding_value_is_refused)
{
    static const char *const values[] = {"eSws", "", "biwss", "cD10bHMtc2VydmVyLWVuZC1wb2ludCws"};
    char text[256];
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        snprintf(text, sizeof(text), "c=%s,r=@,p=" SOME_PROOF, values[i]);
        claim_final_refused(text, SQLSTATE_PROTOCOL_VIOLATION,
                            "unexpected SCRAM channel-binding attribute in client-final-message");
    }
}
END_TEST

START_TEST(a_mandatory_extension_before_the_proof_is_refused)
{
    claim_final_refused("c=biws,r=@,m=x,p=" SOME_PROOF, SQLSTATE_FEATURE_NOT_SUPPORTED,
                        "a mandatory SCRAM extension is required, but none is supported");
}
END_TEST

START_TEST(an_output_without_room_is_an_error)
{
    out = bytes_over(memory, 10);
    ck_assert(!first("n,,n=,r=abc"));
    ck_assert_str_eq(error.sqlstate, SQLSTATE_OUT_OF_MEMORY);
}
END_TEST

START_TEST(the_verifier_may_stand_in_the_dialogue_itself)
{
    server.verifier = verifier;
    ck_assert(scram_server_first(&server, &server.verifier, span_of("n,,n=,r=abc"), &out, &error));
    ck_assert_mem_eq(server.verifier.stored_key, verifier.stored_key, SCRAM_KEY_SIZE);
}
END_TEST

START_TEST(finish_wipes_it)
{
    static const struct scram_server empty;
    ck_assert(first("n,,n=,r=abc"));
    scram_server_finish(&server);
    ck_assert_mem_eq(&server, &empty, sizeof(server));
}
END_TEST

static void add_dialogues(TCase *tests)
{
    tcase_add_test(tests, the_dialogue_of_rfc_7677_succeeds);
    tcase_add_test(tests, a_right_proof_gives_the_client_key);
    tcase_add_test(tests, a_wrong_proof_is_well_formed_and_wrong);
    tcase_add_test(tests, a_dialogue_takes_one_proof);
    tcase_add_test(tests, a_final_message_without_a_first_is_refused);
    tcase_add_test(tests, keys_may_come_after_the_first_message);
    tcase_add_test(tests, server_first_continues_the_clients_nonce);
    tcase_add_test(tests, no_two_dialogues_have_one_nonce);
    tcase_add_test(tests, a_salt_of_32_bytes_is_sent_whole);
    tcase_add_test(tests, the_largest_nonce_and_salt_fit);
    tcase_add_test(tests, a_name_and_optional_extensions_are_ignored);
    tcase_add_test(tests, extensions_before_the_proof_are_ignored);
    tcase_add_test(tests, flag_y_has_its_own_channel_binding_value);
    tcase_add_test(tests, the_verifier_may_stand_in_the_dialogue_itself);
    tcase_add_test(tests, finish_wipes_it);
}

static void add_refusals(TCase *tests)
{
    tcase_add_test(tests, channel_binding_is_refused);
    tcase_add_test(tests, an_authorization_identity_is_refused);
    tcase_add_test(tests, mandatory_extensions_are_refused);
    tcase_add_loop_test(tests, a_malformed_first_message_is_refused, 0,
                        (int)(sizeof(malformed_first) / sizeof(malformed_first[0])));
    tcase_add_test(tests, a_zero_byte_is_refused);
    tcase_add_test(tests, a_longer_nonce_is_refused);
    tcase_add_test(tests, a_longer_message_is_refused);
    tcase_add_loop_test(tests, a_malformed_final_message_is_refused, 0,
                        (int)(sizeof(malformed_final) / sizeof(malformed_final[0])));
    tcase_add_test(tests, another_channel_binding_value_is_refused);
    tcase_add_test(tests, a_mandatory_extension_before_the_proof_is_refused);
    tcase_add_test(tests, an_output_without_room_is_an_error);
}

static void offer_binding(bool is_plus)
{
    server.binding = (struct scram_binding){.hash = {1, 2, 3}, .size = 32};
    server.is_plus = is_plus;
}

START_TEST(who_could_bind_and_believes_we_cannot_was_lied_to)
{
    offer_binding(false);
    claim_first_refused("y,,n=,r=abc", "28000",
                        "SCRAM channel binding negotiation error: the client believes that "
                        "channel binding is not offered, and it is");
    ck_assert(first("n,,n=,r=abc"));
}
END_TEST

START_TEST(flag_and_mechanism_must_agree)
{
    offer_binding(true);
    claim_first_refused("n,,n=,r=abc", "08P01",
                        "malformed SCRAM message: no channel binding in SCRAM-SHA-256-PLUS");
    claim_first_refused("p=tls-unique,,n=,r=abc", "08P01",
                        "unsupported SCRAM channel-binding type");
    offer_binding(false);
    claim_first_refused("p=tls-server-end-point,,n=,r=abc", "08P01",
                        "malformed SCRAM message: channel binding in SCRAM-SHA-256");
}
END_TEST

START_TEST(another_channel_is_refused)
{
    bool is_right;
    /* base64 of the header and 32 bytes that begin with 1, 2, 3; and of the header alone. */
    offer_binding(true);
    ck_assert(first("p=tls-server-end-point,,n=,r=abc"));
    ck_assert(
        final_with("c=cD10bHMtc2VydmVyLWVuZC1wb2ludCwsAQIDAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
                   ",r=@,p=" SOME_PROOF,
                   &is_right));
    ck_assert(!is_right);
    ck_assert(first("p=tls-server-end-point,,n=,r=abc"));
    ck_assert(!final_with("c=cD10bHMtc2VydmVyLWVuZC1wb2ludCws,r=@,p=" SOME_PROOF, &is_right));
    ck_assert_str_eq(error.message, "SCRAM channel binding check failed");
    ck_assert(first("p=tls-server-end-point,,n=,r=abc"));
    ck_assert(!final_with("c=biws,r=@,p=" SOME_PROOF, &is_right));
}
END_TEST

Suite *suite_auth_scram_server(void)
{
    Suite *suite = suite_create("auth/scram_server");
    TCase *tests = tcase_create("scram_server");

    tcase_add_checked_fixture(tests, set_up, tear_down);
    add_dialogues(tests);
    add_refusals(tests);
    tcase_add_test(tests, who_could_bind_and_believes_we_cannot_was_lied_to);
    tcase_add_test(tests, flag_and_mechanism_must_agree);
    tcase_add_test(tests, another_channel_is_refused);
    suite_add_tcase(suite, tests);
    return suite;
}
