/* What the files of room worker share. */
#pragma once
#include "worker/acceptor.h"
#include "worker/control.h"
#include "worker/report.h"
#include "worker/stats.h"
#include "worker/workers.h"

/* upkeep: periodic work of worker 0 (and sweeps that it sends to the others). */
bool upkeep_start(struct workers *workers);

/* changes: a line for each setting that differs; secrets without their values. */
void changes_log(const struct config *from, const struct config *to);

/* stats: the two last ticks. */
struct stats *stats_create(struct workers *workers);
void stats_destroy(struct stats *stats);

/* descriptors: sets login_ceiling and client_ceiling for the current configuration; warns where
 * they are below the settings. */
void descriptors_share(struct workers *workers);

/* service_manager: sd_notify where it is built in. */
/* How many listening sockets it passed, from SERVICE_MANAGER_FIRST_SOCKET on; once. Their names
 * (FileDescriptorName= of the socket unit; "unknown" if there is none) into the first `max` of
 * `names`. */
#define SERVICE_MANAGER_FIRST_SOCKET 3
#define SERVICE_MANAGER_NAME_MAX     63
int service_manager_sockets(char names[][SERVICE_MANAGER_NAME_MAX + 1], int max);
void service_manager_ready(void);
void service_manager_stopping(void);
void service_manager_reloading(void);
void service_manager_status(const char *text);

/* control: ends worker 0's loop when what a shutdown waits for has come. */
void control_look(struct workers *workers);
/* control: the process ends: no reload begins or is published from here on. */
void control_end(struct control *control);
/* suspend: an operator's SUSPEND; suspend_look goes on with it from time to time. */
struct suspend *suspend_create(struct workers *workers);
void suspend_destroy(struct suspend *suspend);
void suspend_look(struct workers *workers);
/* waits: calls `done` on the loop of who waits. */
void control_wait_answer(struct control_wait *wait);
/* waits: answers those whose condition holds. `at_end`: all. */
void waits_look(struct workers *workers, bool at_end);
/* stats: takes a tick when stats_period is over. */
void stats_look(struct workers *workers);
