#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/memory.h"
#include "config/load.h"
#include "pool/registry.h"

#define WORKERS 4

static struct registry *registry;
static const struct config *config;
static char removed_names[100], seen_names[200];

/* A configuration from a file with these [databases] and other lines. */
static const struct config *load(const char *databases, const char *others)
{
    char path[] = "/tmp/pgweir-registry-XXXXXX";
    int file = mkstemp(path);
    struct config_problems problems = {0}, warnings = {0};
    struct config_load_request request = {.file = path};
    const struct config *loaded;

    ck_assert_int_ge(dprintf(file,
                             "[databases]\n%s\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
                             "auth_type = any\nserver_tls_sslmode = disable\n%s\n",
                             databases, others),
                     0);
    close(file);
    loaded = config_load(&request, &problems, &warnings);
    unlink(path);
    if (problems.count > 0)
        ck_abort_msg("%s", problems.lines[0]);
    config_problems_finish(&problems);
    config_problems_finish(&warnings);
    return loaded;
}

static void prepare(void)
{
    digest_init();
    registry = registry_create(WORKERS);
    config = load("shop = host=127.0.0.1 pool_size=5\nfarm = host=127.0.0.1", "");
    removed_names[0] = seen_names[0] = '\0';
}

static void clean_up(void)
{
    registry_destroy(registry);
    config_release(config);
}

static struct pool *pool_of(const char *database, const char *user)
{
    struct database_entry *entry = config_find_database(config, database);
    struct pool *pool = registry_pool(registry, config, entry, user);

    database_release(entry);
    ck_assert_ptr_nonnull(pool);
    return pool;
}

static void make(const char *database, const char *user)
{
    pool_release_reference(pool_of(database, user));
}

static void note_removed(struct pool *pool, void *argument)
{
    (void)argument;
    strcat(removed_names, pool->database->name);
    strcat(removed_names, " ");
}

static void reload(const char *databases, const char *others)
{
    const struct config *old = config;

    config = load(databases, others);
    registry_configure(registry, config, note_removed, NULL);
    config_release(old);
}

static void note_seen(struct pool *pool, void *argument)
{
    (void)argument;
    strcat(seen_names, pool->key);
    strcat(seen_names, "/");
    strcat(seen_names, pool->user_name);
    strcat(seen_names, " ");
}

START_TEST(a_pool_is_made_when_it_is_first_asked_for)
{
    ck_assert_int_eq(registry_count(registry), 0);
    make("shop", "anna");
    ck_assert_int_eq(registry_count(registry), 1);
}
END_TEST

START_TEST(the_same_names_have_the_same_pool)
{
    struct pool *first = pool_of("shop", "anna"), *second = pool_of("shop", "anna");

    ck_assert_ptr_eq(first, second);
    pool_release_reference(first);
    pool_release_reference(second);
}
END_TEST

START_TEST(another_user_has_another_pool)
{
    struct pool *first = pool_of("shop", "anna"), *second = pool_of("shop", "bert");

    ck_assert_ptr_ne(first, second);
    pool_release_reference(first);
    pool_release_reference(second);
}
END_TEST

START_TEST(names_are_not_run_together)
{
    struct pool *first, *second;

    reload("ab = host=127.0.0.1\na = host=127.0.0.1", "");
    first = pool_of("ab", "c");
    second = pool_of("a", "bc");
    ck_assert_ptr_ne(first, second);
    pool_release_reference(first);
    pool_release_reference(second);
}
END_TEST

START_TEST(a_pool_has_the_settings_of_its_database)
{
    struct pool *pool = pool_of("shop", "anna");

    ck_assert_int_eq(pool->effective.pool_size, 5);
    ck_assert_str_eq(pool->database->name, "shop");
    ck_assert_str_eq(pool->user_name, "anna");
    pool_release_reference(pool);
}
END_TEST

START_TEST(a_pool_has_the_settings_of_its_user)
{
    struct pool *pool;

    reload("shop = host=127.0.0.1 pool_size=5", "[users]\nanna = pool_size=7");
    pool = pool_of("shop", "anna");
    ck_assert_int_eq(pool->effective.pool_size, 7);
    ck_assert_ptr_nonnull(pool->user);
    pool_release_reference(pool);
}
END_TEST

START_TEST(a_pool_stays_without_references_while_its_database_is_there)
{
    make("shop", "anna");
    reload("shop = host=127.0.0.1", "");
    ck_assert_int_eq(registry_count(registry), 1);
}
END_TEST

START_TEST(pools_are_seen_in_order_of_database_and_user)
{
    make("shop", "bert");
    make("farm", "zoe");
    make("shop", "anna");
    registry_each(registry, note_seen, NULL);
    ck_assert_str_eq(seen_names, "farm/zoe shop/anna shop/bert ");
}
END_TEST

START_TEST(the_order_holds_after_another_pool_came)
{
    make("shop", "bert");
    registry_each(registry, note_seen, NULL);
    seen_names[0] = '\0';
    make("farm", "zoe");
    registry_each(registry, note_seen, NULL);
    ck_assert_str_eq(seen_names, "farm/zoe shop/bert ");
}
END_TEST

START_TEST(the_list_has_a_reference_to_each_pool)
{
    struct pool **list;
    size_t count;

    make("shop", "anna");
    make("farm", "anna");
    list = registry_list(registry, &count);
    ck_assert_uint_eq(count, 2);
    ck_assert_str_eq(list[0]->key, "farm");
    for (size_t i = 0; i < count; i++) {
        ck_assert_int_eq(atomic_load(&list[i]->references), 2);
        pool_release_reference(list[i]);
    }
    memory_free(list);
}
END_TEST

START_TEST(the_list_of_no_pools_is_empty)
{
    size_t count;
    struct pool **list = registry_list(registry, &count);

    ck_assert_ptr_nonnull(list);
    ck_assert_uint_eq(count, 0);
    memory_free(list);
}
END_TEST

START_TEST(a_reload_changes_sizes)
{
    struct pool *pool = pool_of("shop", "anna");

    reload("shop = host=127.0.0.1 pool_size=9", "");
    ck_assert_int_eq(pool->effective.pool_size, 9);
    ck_assert_int_eq(atomic_load(&pool->published_limit), 9);
    pool_release_reference(pool);
}
END_TEST

START_TEST(a_reload_changes_modes)
{
    struct pool *pool = pool_of("shop", "anna");

    reload("shop = host=127.0.0.1 pool_mode=transaction", "");
    ck_assert_int_eq(atomic_load(&pool->pool_mode), POOL_MODE_TRANSACTION);
    pool_release_reference(pool);
}
END_TEST

START_TEST(a_reload_of_sizes_alone_keeps_the_servers)
{
    struct pool *pool = pool_of("shop", "anna");

    reload("shop = host=127.0.0.1 pool_size=9", "");
    ck_assert_uint_eq(atomic_load(&pool->epoch), 1);
    pool_release_reference(pool);
}
END_TEST

START_TEST(a_reload_with_another_host_raises_the_epoch)
{
    struct pool *pool = pool_of("shop", "anna");

    reload("shop = host=127.0.0.2 pool_size=5", "");
    ck_assert_uint_eq(atomic_load(&pool->epoch), 2);
    pool_release_reference(pool);
}
END_TEST

START_TEST(a_database_that_is_gone_is_reported_once)
{
    struct pool *pool = pool_of("shop", "anna");

    reload("farm = host=127.0.0.1", "");
    reload("farm = host=127.0.0.1", "");
    ck_assert_str_eq(removed_names, "shop ");
    pool_release_reference(pool);
}
END_TEST

START_TEST(a_pool_whose_database_is_gone_raises_its_epoch)
{
    struct pool *pool = pool_of("shop", "anna");

    reload("farm = host=127.0.0.1", "");
    ck_assert_uint_eq(atomic_load(&pool->epoch), 2);
    pool_release_reference(pool);
}
END_TEST

START_TEST(a_pool_whose_database_is_gone_stays_while_somebody_refers_to_it)
{
    struct pool *pool = pool_of("shop", "anna");

    reload("farm = host=127.0.0.1", "");
    ck_assert_int_eq(registry_count(registry), 1);
    pool_release_reference(pool);
    ck_assert_int_eq(registry_count(registry), 0);
}
END_TEST

START_TEST(a_database_that_comes_back_has_its_pool_again)
{
    struct pool *pool = pool_of("shop", "anna"), *again;

    reload("farm = host=127.0.0.1", "");
    reload("shop = host=127.0.0.1", "");
    again = pool_of("shop", "anna");
    ck_assert_ptr_eq(again, pool);
    pool_release_reference(pool);
    pool_release_reference(again);
    ck_assert_int_eq(registry_count(registry), 1);
}
END_TEST

START_TEST(a_pool_of_the_fallback_stays_after_a_reload)
{
    reload("* = host=127.0.0.1 pool_size=4", "");
    make("anything", "anna");
    reload("* = host=127.0.0.1 pool_size=6", "");
    ck_assert_int_eq(registry_count(registry), 1);
    ck_assert_str_eq(removed_names, "");
}
END_TEST

START_TEST(draining_reaches_every_pool)
{
    struct pool *first = pool_of("shop", "anna"), *second = pool_of("farm", "anna");

    registry_drain(registry);
    ck_assert(atomic_load(&first->is_draining));
    ck_assert(atomic_load(&second->is_draining));
    pool_release_reference(first);
    pool_release_reference(second);
}
END_TEST

START_TEST(draining_reaches_pools_that_come_later)
{
    struct pool *pool;

    registry_drain(registry);
    pool = pool_of("shop", "anna");
    ck_assert(atomic_load(&pool->is_draining));
    pool_release_reference(pool);
}
END_TEST

START_TEST(pools_begin_on_different_workers)
{
    struct pool *first = pool_of("shop", "anna"), *second = pool_of("shop", "bert");

    ck_assert_int_ne(pool_choose_home(first), pool_choose_home(second));
    pool_release_reference(first);
    pool_release_reference(second);
}
END_TEST

START_TEST(all_pools_share_the_limits)
{
    struct pool *first = pool_of("shop", "anna"), *second = pool_of("shop", "bert");

    ck_assert_ptr_eq(first->limits, registry_limits(registry));
    ck_assert_ptr_eq(second->limits, registry_limits(registry));
    pool_release_reference(first);
    pool_release_reference(second);
}
END_TEST

Suite *suite_pool_registry(void);

Suite *suite_pool_registry(void)
{
    Suite *suite = suite_create("pool/registry");
    TCase *tests = tcase_create("registry");

    tcase_add_checked_fixture(tests, prepare, clean_up);
    tcase_add_test(tests, a_pool_is_made_when_it_is_first_asked_for);
    tcase_add_test(tests, the_same_names_have_the_same_pool);
    tcase_add_test(tests, another_user_has_another_pool);
    tcase_add_test(tests, names_are_not_run_together);
    tcase_add_test(tests, a_pool_has_the_settings_of_its_database);
    tcase_add_test(tests, a_pool_has_the_settings_of_its_user);
    tcase_add_test(tests, a_pool_stays_without_references_while_its_database_is_there);
    tcase_add_test(tests, pools_are_seen_in_order_of_database_and_user);
    tcase_add_test(tests, the_order_holds_after_another_pool_came);
    tcase_add_test(tests, the_list_has_a_reference_to_each_pool);
    tcase_add_test(tests, the_list_of_no_pools_is_empty);
    tcase_add_test(tests, a_reload_changes_sizes);
    tcase_add_test(tests, a_reload_changes_modes);
    tcase_add_test(tests, a_reload_of_sizes_alone_keeps_the_servers);
    tcase_add_test(tests, a_reload_with_another_host_raises_the_epoch);
    tcase_add_test(tests, a_database_that_is_gone_is_reported_once);
    tcase_add_test(tests, a_pool_whose_database_is_gone_raises_its_epoch);
    tcase_add_test(tests, a_pool_whose_database_is_gone_stays_while_somebody_refers_to_it);
    tcase_add_test(tests, a_database_that_comes_back_has_its_pool_again);
    tcase_add_test(tests, a_pool_of_the_fallback_stays_after_a_reload);
    tcase_add_test(tests, draining_reaches_every_pool);
    tcase_add_test(tests, draining_reaches_pools_that_come_later);
    tcase_add_test(tests, pools_begin_on_different_workers);
    tcase_add_test(tests, all_pools_share_the_limits);
    suite_add_tcase(suite, tests);
    return suite;
}
