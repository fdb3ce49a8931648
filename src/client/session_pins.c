/* Clients that keep their server between transactions, for it has what no other server can be
 * brought to (session_state=follow): how many there may be, and what the others are told.
 */
#include <limits.h>
#include <string.h>

#include "client_private.h"
#include "requests.h"
#include "wire/build.h"

/* How many clients of a pool may be pinned; INT_MAX: any number. */
static int pins_allowed(const struct client *client)
{
    int share = client->set->config->settings.pin_limit;
    int size = atomic_load_explicit(&client->pool->published_limit, memory_order_relaxed);
    if (share == 0 || size == INT_MAX)
        return share == 0 ? 0 : INT_MAX;
    int allowed = (int)((int64_t)size * share / 100);
    return allowed > 1 ? allowed : 1;
}

void session_give_place_back(struct client *client)
{
    client->pins = 0;
    atomic_fetch_sub_explicit(&client->pool->pinned, 1, memory_order_relaxed);
}

bool session_pin(struct client *client, uint32_t pins)
{
    int pinned = 0;
    if (!client->pins) {
        pinned = atomic_fetch_add_explicit(&client->pool->pinned, 1, memory_order_relaxed);
        client->pinned_since = loop_now(client->set->loop);
    }
    if (pinned > 0 && pinned >= pins_allowed(client)) {
        atomic_fetch_sub_explicit(&client->pool->pinned, 1, memory_order_relaxed);
        return false;
    }
    client->pins = pins;
    return true;
}

/* What the message's text would leave. */
static uint32_t touches_of(const struct client *client, const struct message *message)
{
    const char *text = (const char *)message->body.data;
    size_t size = message->body.size;
    struct bind_message bind;
    bool need_more;
    if (message->type == 'Q')
        return session_scan_there(text, size);
    if (message->type == 'P') {
        size_t name = strnlen(text, size);
        return name < size ? session_scan_there(text + name + 1, size - name - 1) : 0;
    }
    if (message->type != 'B' || !bind_message_read(message->body, &bind, &need_more))
        return 0;
    const struct client_statement *named =
        client_statements_find(&client->statements, bind.statement);
    return named ? named->statement->touches : 0;
}

/* A text in doubt is let through: it is seen afterwards what it did. */
static bool would_pin(const struct client *client, const struct message *message)
{
    uint32_t touches = touches_of(client, message);
    return touches & SESSION_PINS && !(touches & SESSION_UNKNOWN) && !(touches & SESSION_FORGETS);
}

static void say_refusal(struct client *client, bool is_whole_unit)
{
    uint8_t memory[1024];
    struct bytes out = bytes_over(memory, sizeof(memory));
    struct error error;
    error_set(&error, SQLSTATE_LIMIT_EXCEEDED,
              "this statement needs a server of its own, and no more of the pool may be kept "
              "(pin_limit)");
    error_hint(&error, "Temporary tables, advisory locks of a session and the like keep "
                       "their server until they are gone. Use a pool in session mode, or a higher "
                       "pin_limit.");
    build_error(&out, "ERROR", &error);
    if (is_whole_unit)
        build_ready_for_query(&out, 'I');
    if (!bytes_ok(&out) || !stream_put(&client->stream, out.data, out.size))
        client_close(client, "out of memory");
}

bool session_refuse_pin_now(struct request_walk *walk, const struct message *message)
{
    struct client *client = walk->client;
    int pinned = atomic_load_explicit(&client->pool->pinned, memory_order_relaxed);
    if (client->virtual_failure ||
        client_effective(client)->session_state != SESSION_STATE_FOLLOW ||
        client->effective.pool_mode == POOL_MODE_SESSION || pinned < pins_allowed(client) ||
        !would_pin(client, message))
        return false;
    client->skips_unit = message->type != 'Q';
    client->pass = message->size; /* dropped */
    client->pass_to_server = false;
    say_refusal(client, message->type == 'Q');
    return true;
}
