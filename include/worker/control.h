/* control: what an operator can order of all workers: reload, SET, pause and resume, kill,
 * shutdown. Worker 0's thread, unless said otherwise.
 *
 * A reload builds the snapshot on a helper thread, publishes it by message, and is done when every
 * worker has swapped; reloads are one after another, and SET is one of them. A broken file changes
 * nothing.
 */
#pragma once
#include "client/client_set.h"
#include "worker/workers.h"

struct control *control_create(struct workers *workers);
void control_destroy(struct control *control);

#define SET_KEY_MAX   64
#define SET_VALUE_MAX 256

/* Called on the loop that asked when the reload is over. */
struct reload_request {
    void (*done)(struct reload_request *request, bool ok, const char *first_problem);
    struct loop *loop; /* of who asks */
    /* SET: this alone is changed. key "": the file is read again. */
    char key[SET_KEY_MAX], value[SET_VALUE_MAX];
    struct mail mail; /* private */
    bool ok;
    char problem[512];
    struct reload_request *next;
};
/* Any worker's thread. `request` must stay until done. */
void control_reload(struct workers *workers, struct reload_request *request);
/* HUP: the same, nobody to tell. */
void control_reload_signal(struct workers *workers);

/* Somebody waits until no server is left (`outdated`: none that a RECONNECT closes) of `database`
 * ("": all), or until a pause that it belongs to is over. `done` is called on `loop`, or at the end
 * of the process on worker 0. The wait must stay until then. Any worker's thread. */
struct control_wait {
    void (*done)(struct control_wait *wait);
    struct loop *loop;
    char database[64];
    bool outdated;
    struct mail mail; /* private, as what follows */
    struct workers *workers;
    TAILQ_ENTRY(control_wait) link;
};
void control_wait(struct workers *workers, struct control_wait *wait);
/* SUSPEND: `wait` is answered when nothing is left to be sent, or at RESUME. Any worker's thread.
 */
enum suspend_verdict { SUSPEND_BEGUN, SUSPEND_ALREADY, SUSPEND_NO_MEMORY };
enum suspend_verdict control_suspend(struct workers *workers, struct control_wait *wait);
/* False: nothing is suspended. */
bool control_end_suspend(struct workers *workers);
/* Every worker closes at once what is idle and no longer right. Any worker's thread. */
void control_sweep(struct workers *workers);
/* USR1 and USR2. Worker 0's thread. */
void control_pause_signal(struct workers *workers);
void control_resume_signal(struct workers *workers);

/* Sessions that an operator ends (COMPAT 5.4). For KILL_DATABASE the registry has been told. */
enum kill_kind { KILL_DATABASE, KILL_USER, KILL_CLIENT };
struct kill_order {
    enum kill_kind kind;
    const char *name; /* of the database (NULL: all) or the user; copied */
    uint64_t id;      /* of the client; for KILL_USER: who is left out */
};
/* Every worker ends its own; when the last has, `done` is called on `loop` with the number of
 * clients that were ended (not counted for databases). False: no memory, nothing was ended. Any
 * worker's thread. */
bool control_kill(struct workers *workers, struct loop *loop, const struct kill_order *order,
                  void (*done)(void *argument, int ended), void *argument);

/* SHUTDOWN, TERM and INT: SHUTDOWN_NO means at once. A second order while one runs is obeyed as
 * COMPAT 5.4 and 6.4 say. Any worker's thread. */
void control_shutdown(struct workers *workers, enum shutdown_mode mode, bool at_once);

/* FLUSH AUTH: answers of auth_query, passwords that were right, and, without a database, SCRAM keys
 * are forgotten. `database`, `user` NULL: whichever. Any thread. */
void control_flush_auth(struct workers *workers, const char *database, const char *user);
