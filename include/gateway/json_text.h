/* json_text: JSON's strings and numbers (RFC 8259) out of bytes that nobody vouches for.
 *
 * Whatever the bytes are, what is written is valid JSON in UTF-8: control characters are escaped,
 * and what is no UTF-8 becomes U+FFFD, one for each byte that does not fit. One thread.
 */
#pragma once
#include "base/cursor.h"
#include "gateway/spool.h"

void json_string(struct spool *spool, struct span text); /* with its quotes */
void json_string_text(struct spool *spool, const char *text);
/* NULL: null. */
void json_string_or_null(struct spool *spool, const char *text);

/* The text is a number as JSON has it. */
bool json_is_number(struct span text);
/* The text is one JSON value in UTF-8. */
bool json_is_value(struct span text);
