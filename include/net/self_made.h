/* self_made: a certificate for who has none (P-256, signed by itself, ten years). */
#pragma once
#include <stdbool.h>

#include "base/error.h"

#define SELF_MADE_FINGERPRINT 65 /* SHA-256 of the certificate as text */

/* Where one of the two files is missing both are made anew, readable by their owner alone; else
 * they stay. False: error says which file, and why. Blocks. */
bool self_made_certificate(const char *certificate_file, const char *key_file,
                           char fingerprint[SELF_MADE_FINGERPRINT], struct error *error);
