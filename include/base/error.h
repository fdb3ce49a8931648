/* error: why something could not be done, in words for the one who can mend it.
 *
 * An error has a SQLSTATE (what a client shall see), a message in lower case (what, where, why)
 * and, where it helps, a hint (what to do). It is made where the cause is known; upper layers put
 * their "where" in front with error_prefix() and never replace it. Plain memory, no ownership: copy
 * it freely. Any thread.
 */
#pragma once
#include <stdbool.h>

#define ERROR_MESSAGE_MAX 512
#define ERROR_HINT_MAX    256

/* SQLSTATEs that pgweir says itself (PostgreSQL manual, appendix A). */
#define SQLSTATE_SUCCESS                "00000"
#define SQLSTATE_WARNING                "01000"
#define SQLSTATE_CONNECTION_EXCEPTION   "08000"
#define SQLSTATE_CONNECTION_FAILURE     "08006"
#define SQLSTATE_CANNOT_CONNECT         "08001"
#define SQLSTATE_PROTOCOL_VIOLATION     "08P01"
#define SQLSTATE_FEATURE_NOT_SUPPORTED  "0A000"
#define SQLSTATE_IDLE_IN_TRANSACTION    "25P03"
#define SQLSTATE_TRANSACTION_TIMEOUT    "25P04"
#define SQLSTATE_INVALID_AUTHORIZATION  "28000"
#define SQLSTATE_INVALID_PASSWORD       "28P01"
#define SQLSTATE_UNDEFINED_DATABASE     "3D000"
#define SQLSTATE_TOO_MANY_CONNECTIONS   "53300"
#define SQLSTATE_LIMIT_EXCEEDED         "53400"
#define SQLSTATE_OUT_OF_MEMORY          "53200"
#define SQLSTATE_PROGRAM_LIMIT_EXCEEDED "54000"
#define SQLSTATE_QUERY_CANCELED         "57014"
#define SQLSTATE_ADMIN_SHUTDOWN         "57P01"
#define SQLSTATE_CANNOT_CONNECT_NOW     "57P03"
#define SQLSTATE_INVALID_PARAMETER      "22023"
#define SQLSTATE_UNDEFINED_OBJECT       "42704"
#define SQLSTATE_CONFIG_FILE_ERROR      "F0000"
#define SQLSTATE_INTERNAL_ERROR         "XX000"

struct error {
    char sqlstate[6];
    char message[ERROR_MESSAGE_MAX];
    char hint[ERROR_HINT_MAX];
};

/* Sets code and text (cut at the size of the field; control bytes become '?'); clears the hint.
 * Returns false always, so that a failing function can end with `return error_set(...)`. `error`
 * may be NULL. */
bool error_set(struct error *error, const char *sqlstate, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Adds what to do about it. Returns false always. */
bool error_hint(struct error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Puts "where: " in front of the message. Returns false always. */
bool error_prefix(struct error *error, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
