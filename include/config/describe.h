/* describe: the option table in words: SHOW CONFIG, --help, the man page. Any thread; no state. */
#pragma once
#include <stdio.h>

#include "config/snapshot.h"

struct option_row {
    const char *key;
    char value[1024]; /* as SHOW CONFIG prints it (COMPAT 2); "****" for secrets */
    bool value_is_null, default_is_null;
    char default_value[256];
    bool changeable;
};
/* Row `index` (COMPAT's order; pgweir's own options behind them), false past the last. */
bool describe_option(const struct config *config, int index, struct option_row *row);

/* Writes the option reference in man(7) macros (used by the Makefile through `pgweir
 * --describe-options`). */
void describe_manual(FILE *out);
