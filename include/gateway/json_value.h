/* json_value: one value of a row, in PostgreSQL's text form, as JSON (SERVERLESS §4).
 *
 * By its type: bool, int2, int4, float4, float8 as what they are in JSON (but NaN and the
 * infinities as strings), json and jsonb as they are, arrays of all these as JSON arrays;
 * everything else as a string. A text that is not what its type promises is a string, too. One
 * thread.
 */
#pragma once
#include "base/cursor.h"
#include "gateway/spool.h"

void json_value(struct spool *spool, uint32_t type, struct span text);
