/* stats: averages between the last two ticks of stats_period (COMPAT 5.3 "Statistics"). Ticks are
 * taken by worker 0; read by any worker, under a mutex. */
#pragma once
#include "worker/report.h"

struct stats;

/* Adds one pool's counters to another's. */
void stats_add(struct pool_stats *sum, const struct pool_stats *part);

/* One row a database, in the report's order: totals of the report, averages against the tick before
 * last. Returns how many; at most report->count. */
size_t stats_rows(struct workers *workers, const struct report *report,
                  struct report_stats_row *rows);
