/* scram_message: the grammar of SCRAM messages (RFC 5802 §7), for both sides. Private to auth.
 *
 * A message is a list of attributes "x=value", parted by commas. Reads through a cursor only; every
 * refusal is an error 08P01 "malformed SCRAM message: ..." that names what is wrong and quotes no
 * more than an attribute's letter. Any thread.
 */
#pragma once
#include "auth/base64.h"
#include "auth/crypto.h"
#include "auth/scram.h"

#define SCRAM_NONCE_BYTES 18 /* random ones; 24 digits */
#define SCRAM_NONCE_TEXT  24

/* What every message must be: not empty, at most SCRAM_MESSAGE_MAX bytes, no zero byte. */
bool scram_message_check(struct span message, struct error *error);

/* What comes next is the letter; takes nothing. */
bool scram_begins_with(struct cursor message, char letter);

/* The attribute `name` and its value; _next: behind a comma. Mandatory extensions ("m=") are
 * refused with 0A000, here and below. */
bool scram_take(struct cursor *message, char name, struct span *value, struct error *error);
bool scram_take_next(struct cursor *message, char name, struct span *value, struct error *error);

/* Skips ",x=value" as often as it stands there: to the end, or up to ",LAST=" (0: to the end). */
bool scram_skip_extensions(struct cursor *message, char last, struct error *error);

/* Not empty, printable ASCII without comma, at most `limit` bytes. */
bool scram_check_nonce(struct span nonce, size_t limit, struct error *error);

/* Decimal digits, 1 to 2^31 - 1. */
bool scram_take_iterations(struct span text, uint32_t *iterations);

/* The gs2 header for a channel-binding flag, and base64 of it and of what it binds to: the
 * attribute c= of a client-final-message. */
#define SCRAM_GS2_PLUS         "p=tls-server-end-point,,"
#define SCRAM_BINDING_TEXT_MAX (BASE64_TEXT_SIZE(sizeof(SCRAM_GS2_PLUS) + SCRAM_BINDING_MAX) + 1)
const char *scram_gs2_header(char flag);
void scram_binding_text(char flag, const struct scram_binding *binding,
                        char text[SCRAM_BINDING_TEXT_MAX]);

/* 24 fresh digits and a zero byte. */
void scram_make_nonce(char nonce[SCRAM_NONCE_TEXT + 1]);

/* HMAC of AuthMessage under a key: client_first_bare "," server_first "," final_without_proof. */
void scram_sign(const uint8_t key[SCRAM_KEY_SIZE], const char *client_first_bare,
                const char *server_first, struct span final_without_proof,
                uint8_t signature[SCRAM_KEY_SIZE]);

/* `text` as a span. */
struct span scram_span(const char *text);
