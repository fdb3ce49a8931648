/* sqlstate: how a message sounds to a program. Any thread. */
#pragma once
#include <stdbool.h>

/* True when a server's error at login is about this one user or database (3D000, 28000, 28P01,
 * 42501, ...) and not a failure of the server: it starts no pause for others (PITFALLS row 29). */
bool sqlstate_is_about_the_login(const char *sqlstate);

/* True for what passes by itself: 57P03 (starting up, shutting down, in recovery). */
bool sqlstate_is_starting_up(const char *sqlstate);
