/* Session state that a client sets in transaction mode: what its texts may touch (MECHANISMS §4.6).
 */
#include <string.h>

#include "requests.h"

/* A text that does not end inside of what is there was not read whole. */
static uint32_t scan(const char *text, size_t there)
{
    const char *end = there > 0 ? memchr(text, 0, there) : NULL;
    return end ? session_scan(text, (size_t)(end - text)) : SESSION_DOUBT;
}

void session_note_query(struct client *client, const struct message *message)
{
    uint32_t touches = scan((const char *)message->body.data, message->body.size);
    if (touches)
        session_touch(client, touches);
}

/* The name is empty and there. */
void session_note_parse(struct client *client, const struct message *message)
{
    client->unnamed_touches = scan((const char *)message->body.data + 1, message->body.size - 1);
}
