#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "auth/key_cache.h"
#include "base/digest.h"

Suite *suite_auth_key_cache(void);

static struct key_cache *cache;

static void set_up(void)
{
    digest_init();
    cache = key_cache_create(KEY_CACHE_ENTRIES_MAX);
    ck_assert_ptr_nonnull(cache);
}

static void tear_down(void)
{
    key_cache_destroy(cache);
}

static struct span span_of(const char *text)
{
    return (struct span){(const uint8_t *)text, strlen(text)};
}

static struct key_cache_subject subject_of(const char *identity, const char *password)
{
    return (struct key_cache_subject){.identity = span_of(identity),
                                      .salt = span_of("0123456789abcdef"),
                                      .iterations = 4096,
                                      .password = password};
}

static void put(struct key_cache_subject subject, uint8_t mark)
{
    uint8_t client_key[SCRAM_KEY_SIZE], server_key[SCRAM_KEY_SIZE];
    memset(client_key, mark, sizeof(client_key));
    memset(server_key, mark + 1, sizeof(server_key));
    key_cache_put(cache, &subject, client_key, server_key);
}

/* The mark that was put, or -1. */
static int get(struct key_cache_subject subject)
{
    uint8_t client_key[SCRAM_KEY_SIZE], server_key[SCRAM_KEY_SIZE];
    if (!key_cache_get(cache, &subject, client_key, server_key))
        return -1;
    ck_assert_int_eq(client_key[SCRAM_KEY_SIZE - 1] + 1, server_key[0]);
    return client_key[0];
}

static struct key_cache_subject numbered(char text[32], unsigned number)
{
    snprintf(text, 32, "user %u", number);
    return subject_of(text, "pencil");
}

START_TEST(keys_come_back_to_the_same_subject)
{
    put(subject_of("a", "pencil"), 10);
    ck_assert_int_eq(get(subject_of("a", "pencil")), 10);
}
END_TEST

START_TEST(any_difference_is_another_subject)
{
    struct key_cache_subject subject = subject_of("a", "pencil");
    put(subject, 10);
    ck_assert_int_eq(get(subject_of("b", "pencil")), -1);
    ck_assert_int_eq(get(subject_of("a", "pencil2")), -1);
    subject.iterations = 4097;
    ck_assert_int_eq(get(subject), -1);
    subject = subject_of("a", "pencil");
    subject.salt.size--;
    ck_assert_int_eq(get(subject), -1);
}
END_TEST

START_TEST(bytes_do_not_slide_from_one_part_to_the_next)
{
    struct key_cache_subject subject = subject_of("ab", "pencil");
    subject.salt = span_of("cd");
    put(subject, 10);
    subject.identity = span_of("abc");
    subject.salt = span_of("d");
    ck_assert_int_eq(get(subject), -1);
}
END_TEST

START_TEST(a_second_put_replaces_the_first)
{
    put(subject_of("a", "pencil"), 10);
    put(subject_of("a", "pencil"), 20);
    ck_assert_int_eq(get(subject_of("a", "pencil")), 20);
    ck_assert_uint_eq(key_cache_count(cache), 1);
}
END_TEST

START_TEST(the_longest_unused_one_goes_when_it_is_full)
{
    char text[32];
    for (unsigned i = 0; i < KEY_CACHE_ENTRIES_MAX; i++)
        put(numbered(text, i), 10);
    ck_assert_int_eq(get(numbered(text, 0)), 10); /* used: now the youngest */
    put(numbered(text, KEY_CACHE_ENTRIES_MAX), 10);
    ck_assert_uint_eq(key_cache_count(cache), KEY_CACHE_ENTRIES_MAX);
    ck_assert_int_eq(get(numbered(text, 0)), 10);
    ck_assert_int_eq(get(numbered(text, 1)), -1);
    ck_assert_int_eq(get(numbered(text, 2)), 10);
}
END_TEST

START_TEST(clear_leaves_nothing)
{
    char text[32];
    for (unsigned i = 0; i < 100; i++)
        put(numbered(text, i), 10);
    key_cache_clear(cache);
    ck_assert_uint_eq(key_cache_count(cache), 0);
    ck_assert_int_eq(get(numbered(text, 7)), -1);
    put(numbered(text, 7), 30);
    ck_assert_int_eq(get(numbered(text, 7)), 30);
}
END_TEST

START_TEST(an_identity_over_the_limit_is_not_kept)
{
    char text[KEY_CACHE_IDENTITY_MAX + 2];
    memset(text, 'i', sizeof(text));
    text[KEY_CACHE_IDENTITY_MAX + 1] = '\0';
    put(subject_of(text, "pencil"), 10);
    ck_assert_int_eq(get(subject_of(text, "pencil")), -1);
    text[KEY_CACHE_IDENTITY_MAX] = '\0';
    put(subject_of(text, "pencil"), 10);
    ck_assert_int_eq(get(subject_of(text, "pencil")), 10);
}
END_TEST

START_TEST(destroying_none_is_fine)
{
    key_cache_destroy(NULL);
}
END_TEST

static void *use_it(void *argument)
{
    char text[32];
    (void)argument;
    for (unsigned i = 0; i < 3000; i++) {
        put(numbered(text, i % 1500), 10);
        int mark = get(numbered(text, (i * 7) % 1500));
        ck_assert(mark == 10 || mark == -1);
        if (i % 1000 == 999)
            key_cache_clear(cache);
    }
    return NULL;
}

START_TEST(threads_share_it)
{
    pthread_t threads[3];
    for (size_t i = 0; i < 3; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, use_it, NULL), 0);
    for (size_t i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    ck_assert_uint_le(key_cache_count(cache), KEY_CACHE_ENTRIES_MAX);
}
END_TEST

Suite *suite_auth_key_cache(void)
{
    Suite *suite = suite_create("auth/key_cache");
    TCase *tests = tcase_create("key_cache");

    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, keys_come_back_to_the_same_subject);
    tcase_add_test(tests, any_difference_is_another_subject);
    tcase_add_test(tests, bytes_do_not_slide_from_one_part_to_the_next);
    tcase_add_test(tests, a_second_put_replaces_the_first);
    tcase_add_test(tests, the_longest_unused_one_goes_when_it_is_full);
    tcase_add_test(tests, clear_leaves_nothing);
    tcase_add_test(tests, an_identity_over_the_limit_is_not_kept);
    tcase_add_test(tests, destroying_none_is_fine);
    tcase_add_test(tests, threads_share_it);
    suite_add_tcase(suite, tests);
    return suite;
}
