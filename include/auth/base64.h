/* base64: RFC 4648 §4, strict: no white space, padding where it belongs, unused bits zero; so one
 * text for each value.
 *
 * Pure. Its tables are read by value: not for what must not show in a cache's timing (SCRAM sends
 * proofs and salts in the open). Any thread.
 */
#pragma once
#include "base/cursor.h"

/* Digits for so many bytes, without a zero byte. */
#define BASE64_TEXT_SIZE(bytes) (((bytes) + 2) / 3 * 4)

/* Writes BASE64_TEXT_SIZE(size) digits and a zero byte; gives the number of digits. */
size_t base64_encode(const void *data, size_t size, char *text);

/* At most `capacity` bytes into `data`, their number into *size. False: not strict base64, or too
 * many. */
bool base64_decode(struct span text, uint8_t *data, size_t capacity, size_t *size);
