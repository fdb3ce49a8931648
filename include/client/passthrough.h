/* passthrough: passwords of clients that servers are asked about (auth_type=passthrough, THREATS
 * §2.3, §2.4, §2.8).
 *
 * Owns the questions under way, each found by identity and password: however many clients bring the
 * same, the server is asked once (single-flight), and what was right is put into the password
 * cache. At most auth_passthrough_max are being asked for one line of [databases], so that a server
 * that hangs holds up nobody else's; the others wait in a fair order, by identity, then by where
 * they come from, so that who guesses at a name does not stand in the way of its owner.
 * While no server can be asked (it is away, its database is paused) a question waits as long as
 * somebody waits for it. Bounded by auth_passthrough_queue. Shared by all workers: one mutex that
 * only logins take, never held over I/O.
 */
#pragma once
#include "server/probe.h"

struct client_set;
struct passthrough;
struct passthrough_wait;

/* Borrowed for the call. */
struct passthrough_subject {
    const char *database; /* as the client says it */
    const char *asked_at; /* whose server is asked: the same, but for a name that nobody has */
    const char *user, *server_name, *password;
    uint64_t origin; /* a number of the network that it comes from */
};

struct passthrough *passthrough_create(void); /* NULL: no memory */
/* When the loops have ended; nobody is called any more. NULL is fine. */
void passthrough_destroy(struct passthrough *passthrough);

/* What the password cache keeps of it. */
struct password_cache_subject passthrough_key(const struct passthrough_subject *subject);

/* `answer` is called once, on the set's loop, in a later turn, unless passthrough_forget() comes
 * first. NULL: too many are under way, or no memory. */
typedef void passthrough_answer(void *argument, enum probe_verdict verdict,
                                const struct error *error);
struct passthrough_wait *passthrough_ask(struct client_set *set,
                                         const struct passthrough_subject *subject,
                                         passthrough_answer *answer, void *argument);
/* Who waits is gone. On the loop that asked, before the answer. */
void passthrough_forget(struct passthrough_wait *wait);
/* The expired function of the set's passthrough_deadlines. */
void passthrough_expired(struct deadline *deadline, struct deadline_list *list);
