/* md5: PostgreSQL's old password hash. Any thread. PostgreSQL manual, "Message Flow":
 * AuthenticationMD5Password. */
#pragma once
#include <stdint.h>

#include "auth/auth_file.h"

#define MD5_TEXT_SIZE 36 /* "md5" and 32 hex digits and a zero byte */

/* "md5" + md5(password + name). False: no MD5 in this OpenSSL. */
bool md5_stored(const char *password, const char *name, char text[MD5_TEXT_SIZE]);
/* "md5" + md5(the 32 digits of a stored hash + salt): what a client answers. */
bool md5_answer(const char *stored, const uint8_t salt[4], char text[MD5_TEXT_SIZE]);
