#include "config/peers.h"

#include <string.h>

#include "base/log.h"
#include "base/memory.h"
#include "load_private.h"

#define PEER_PORT 6432

struct peer_entry *peer_create(int id)
{
    struct peer_entry *peer = memory_zalloc(sizeof *peer);

    if (peer == NULL)
        return NULL;
    peer->id = id;
    peer->port = PEER_PORT;
    peer->pool_size = CONFIG_UNSET;
    atomic_init(&peer->references, 1);
    return peer;
}

struct peer_entry *peer_acquire(struct peer_entry *peer)
{
    if (peer != NULL)
        atomic_fetch_add_explicit(&peer->references, 1, memory_order_relaxed);
    return peer;
}

void peer_release(struct peer_entry *peer)
{
    if (peer == NULL || atomic_fetch_sub_explicit(&peer->references, 1, memory_order_acq_rel) > 1)
        return;
    entry_keys_finish(&peer_keys, peer);
    memory_free(peer);
}

/* Where it stands, or would. */
static int place_of_peer(const struct config_tables *tables, int id)
{
    int low = 0, high = tables->peer_count;

    while (low < high) {
        int middle = low + (high - low) / 2;
        if (tables->peers[middle]->id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct peer_entry *find(const struct config_tables *tables, int id)
{
    int place = place_of_peer(tables, id);

    return place < tables->peer_count && tables->peers[place]->id == id ? tables->peers[place]
                                                                        : NULL;
}

static bool is_same(const struct peer_entry *one, const struct peer_entry *other)
{
    if (one->port != other->port || one->pool_size != other->pool_size)
        return false;
    for (int i = 0; i < CONFIG_HOSTS_MAX; i++) {
        const char *host = one->hosts[i], *beside = other->hosts[i];
        if (host == NULL || beside == NULL)
            return host == beside;
        if (strcmp(host, beside) != 0)
            return false;
    }
    return true;
}

bool tables_put_peer(struct config_tables *tables, const struct config *previous,
                     struct peer_entry *peer)
{
    struct peer_entry *before = previous != NULL ? find(previous->tables, peer->id) : NULL;
    int place = place_of_peer(tables, peer->id);

    if (before != NULL && is_same(before, peer)) {
        peer_release(peer);
        peer = peer_acquire(before);
    }
    if (find(tables, peer->id) != NULL) {
        peer_release(tables->peers[place]);
        tables->peers[place] = peer;
        return true;
    }
    struct peer_entry **more =
        memory_resize_array(tables->peers, (size_t)tables->peer_count + 1, sizeof(void *));
    if (more == NULL) {
        peer_release(peer);
        return false;
    }
    memmove(more + place + 1, more + place, (size_t)(tables->peer_count - place) * sizeof(void *));
    more[place] = peer;
    tables->peers = more;
    tables->peer_count++;
    return true;
}

void tables_release_peers(struct config_tables *tables)
{
    for (int i = 0; i < tables->peer_count; i++)
        peer_release(tables->peers[i]);
    memory_free(tables->peers);
    tls_context_release(tables->peer_tls);
}

void build_peer_tls(struct loader *loader)
{
    struct config_tables *tables = loader->config->tables;
    const struct tls_settings tls = {.mode = TLS_REQUIRE};
    struct error error;

    if (tables->peer_count == 0 || loader->config->settings.client_tls_sslmode == TLS_DISABLE)
        return;
    tables->peer_tls = tls_context_create_server_side(&tls, &error);
    if (tables->peer_tls == NULL)
        problems_add(loader->problems, (struct ini_place){0}, NULL, "%s", error.message);
}

void peers_log_dropped(const struct config *from, const struct config *to)
{
    for (int i = 0; i < from->tables->peer_count; i++) {
        int id = from->tables->peers[i]->id;
        if (find(to->tables, id) == NULL)
            log_warning(NULL, "dropping peer %d as it does not exist anymore", id);
    }
}

struct peer_entry *config_find_peer(const struct config *config, int id)
{
    return peer_acquire(find(config->tables, id));
}

int config_peer_count(const struct config *config)
{
    return config->tables->peer_count;
}

void config_each_peer(const struct config *config, void (*call)(struct peer_entry *, void *),
                      void *argument)
{
    for (int i = 0; i < config->tables->peer_count; i++)
        call(config->tables->peers[i], argument);
}

int config_peer_pool_size(const struct config *config, const struct peer_entry *peer)
{
    return peer->pool_size != CONFIG_UNSET ? peer->pool_size : config->settings.default_pool_size;
}

struct tls_context *config_peer_tls(const struct config *config)
{
    return config->tables->peer_tls;
}
