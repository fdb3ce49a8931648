#include "base/memory.h"
#include "gateway_private.h"

struct gateway *gateway_create(void)
{
    struct gateway *gateway = memory_zalloc(sizeof(*gateway));

    if (gateway != NULL)
        gateway->ops = (struct front_ops){.opened = connection_opened, .closed = connection_closed};
    return gateway;
}

void gateway_destroy(struct gateway *gateway)
{
    memory_free(gateway);
}

const struct front_ops *gateway_front_ops(struct gateway *gateway)
{
    return &gateway->ops;
}
