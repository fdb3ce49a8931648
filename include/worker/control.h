/* control: what an operator can order: reload and shutdown (pause, resume, kill and the rest come
 * later). Worker 0's thread, unless said otherwise.
 *
 * A reload builds the snapshot on a helper thread, publishes it by message, and is done when every
 * worker has swapped; reloads are one after another. A broken file changes nothing.
 */
#pragma once
#include "client/client_set.h"
#include "worker/workers.h"

struct control *control_create(struct workers *workers);
void control_destroy(struct control *control);

/* Called on the loop that asked when the reload is over. */
struct reload_request {
    void (*done)(struct reload_request *request, bool ok, const char *first_problem);
    struct loop *loop; /* of who asks */
    struct mail mail;  /* private */
    bool ok;
    char problem[512];
    struct reload_request *next;
};
/* Any worker's thread. `request` must stay until done. */
void control_reload(struct workers *workers, struct reload_request *request);
/* HUP: the same, nobody to tell. */
void control_reload_signal(struct workers *workers);

/* SHUTDOWN, TERM and INT: SHUTDOWN_NO means at once. A second order while one runs is obeyed as
 * COMPAT 5.4 and 6.4 say. Any worker's thread. */
void control_shutdown(struct workers *workers, enum shutdown_mode mode, bool at_once);
