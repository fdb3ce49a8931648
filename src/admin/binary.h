/* binary: cells of a console's tables in PostgreSQL's binary format, for drivers that ask for it.
 * Pure; no allocation but the writer's. */
#pragma once
#include "base/bytes.h"

/* One cell of a DataRow, its length in front: `text` (NULL: SQL NULL) as a value of type `type`
 * (OID): int4, int8, numeric, bytea ("\x..") or text. A text that is no value of the type makes the
 * writer fail. */
void binary_cell(struct bytes *out, uint32_t type, const char *text);
