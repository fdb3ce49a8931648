/* What is remembered of who may come in is forgotten, for all workers (THREATS §2.13). */
#include "client/scram_cache.h"
#include "worker_private.h"

/* Keys are kept under hashes of their owners: all of them go, or none. */
static void flush_keys(struct workers *workers)
{
    key_cache_clear(workers->key_cache);
    key_cache_clear(workers->client_keys);
    scram_cache_clear(workers->shared.scram_cache);
}

void control_flush_auth(struct workers *workers, const char *database, const char *user)
{
    user_cache_flush(workers->shared.user_cache, database, user);
    password_cache_flush(workers->password_cache, database, user);
    if (!database)
        flush_keys(workers);
}
