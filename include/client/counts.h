/* counts: how many clients there are, in all, by database and by user: exact over all threads.
 *
 * Atomics raised by compare-and-swap against their limit (DESIGN §2). The counters by name live in
 * a table with a mutex that only logins take, and stay as long as somebody is counted. Any thread.
 */
#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct client_count; /* of one database or one user */

struct client_counts;

/* What came in by one listener. They stay for the life of the process, under their names. */
struct listener_count {
    _Atomic uint64_t accepted;
    _Atomic uint64_t strangers; /* spoke what is not spoken there */
    _Atomic int open;           /* connections now, those in login too */
    struct listener_count *next;
    char name[];
};

struct client_counts *client_counts_create(void);
void client_counts_destroy(struct client_counts *counts);

/* Raises unless `limit` (0: none) is reached; false: it is. */
bool client_counts_begin_login(struct client_counts *counts, int limit);
void client_counts_end_login(struct client_counts *counts);
bool client_counts_logged_in(struct client_counts *counts, int limit);
void client_counts_left(struct client_counts *counts);
int client_counts_logging_in_now(const struct client_counts *counts);
int client_counts_logged_in_now(const struct client_counts *counts);

/* Counts one more for this database (user) unless `limit` (0: none) is reached: then, or without
 * memory, NULL and *reached tells which. */
struct client_count *client_count_database(struct client_counts *counts, const char *name,
                                           int limit, bool *reached);
struct client_count *client_count_user(struct client_counts *counts, const char *name, int limit,
                                       bool *reached);
void client_count_release(struct client_counts *counts,
                          struct client_count *count); /* NULL is fine */
int client_count_of_database(struct client_counts *counts, const char *name);
int client_count_of_user(struct client_counts *counts, const char *name);

/* The counter of the listener with this name, made where there is none. NULL: no memory. */
struct listener_count *client_count_listener(struct client_counts *counts, const char *name);
