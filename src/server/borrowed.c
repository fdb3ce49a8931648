/* Names of prepared statements that a server holds for its client's SQL: closed when they part.
 *
 * Closes, not DEALLOCATEs: they cannot fail, whatever has become of the names.
 */
#include <string.h>

#include "server_private.h"
#include "wire/build.h"

/* A Close with a name of a client. */
#define BORROWED_SIZE 80
/* As for the reset query, where server_connect_timeout is off. */
#define RETURN_LIMIT (15 * USEC_PER_SEC)

void borrowed_init(struct server *server)
{
    bytes_init(&server->borrowed, (size_t)SERVER_BORROWED_MAX * BORROWED_SIZE);
}

void server_borrow_name(struct server *server, const char *name)
{
    uint8_t memory[BORROWED_SIZE];
    struct bytes out = bytes_over(memory, sizeof(memory));
    struct bytes *borrowed = &server->borrowed;
    build_target(&out, 'C', 'S', name);
    if (borrowed->size > 0 && memmem(borrowed->data, borrowed->size, out.data, out.size))
        return;
    bytes_put(borrowed, out.data, out.size);
    server->borrowed_count++;
}

bool borrowed_return(struct server *server)
{
    struct bytes *borrowed = &server->borrowed;
    int count = server->borrowed_count;
    if (count == 0)
        return true;
    bool ok = count <= SERVER_BORROWED_MAX && bytes_ok(borrowed) &&
              ledger_has_room(&server->ledger, (uint32_t)count) &&
              stream_put(&server->stream, borrowed->data, borrowed->size);
    for (int i = 0; ok && i < count; i++)
        ledger_expect(&server->ledger, LEDGER_CLOSE, LEDGER_SWALLOW, 0, NULL);
    server->borrowed_count = 0;
    bytes_clear(borrowed);
    return ok;
}

void borrowed_finish_return(struct server *server)
{
    static const uint8_t sync[] = {'S', 0, 0, 0, 4};
    if (!stream_put(&server->stream, sync, sizeof(sync))) {
        server_close(server, "out of memory", NULL);
        return;
    }
    ledger_expect(&server->ledger, LEDGER_SYNC, LEDGER_SWALLOW, 0, NULL);
    usec_t limit = server->set->config->settings.server_connect_timeout;
    deadline_set(&server->set->connect_deadlines, &server->deadline,
                 loop_now(server->set->loop) + (limit > 0 ? limit : RETURN_LIMIT));
    server_move_state(server, SERVER_TESTED);
}
