#include <arpa/nameser.h>
#include <dlfcn.h>
#include <netdb.h>
#include <pthread.h>
#include <resolv.h>
#include <stdatomic.h>
#include <string.h>

#include "base/digest.h"
#include "net/resolver.h"
#include "stream_peer.h"

Suite *suite_net_resolver(void);

static struct loop *loop;
static struct offload *offload;
static struct resolver *resolver;

/* In these tests the system is not asked: what stands in its place in the program counts, and can
 * be held up. */
static bool is_replaced;
static _Atomic int questions;
static _Atomic int second_byte = 8;
static _Atomic unsigned serial = 7;
static _Atomic int zone_questions;
static _Atomic bool has_short_answer;
static pthread_mutex_t hold = PTHREAD_MUTEX_INITIALIZER;

int getaddrinfo(const char *restrict host, const char *restrict service,
                const struct addrinfo *restrict hints, struct addrinfo **restrict list)
{
    const uint8_t last_bytes[] = {7, (uint8_t)atomic_load(&second_byte), 7}; /* one twice */
    struct addrinfo **next = list;

    if (!is_replaced) {
        int (*own)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
        *(void **)&own = dlsym(RTLD_NEXT, "getaddrinfo");
        return own(host, service, hints, list);
    }
    ck_assert_int_eq(hints->ai_socktype, SOCK_STREAM);
    atomic_fetch_add(&questions, 1);
    pthread_mutex_lock(&hold);
    pthread_mutex_unlock(&hold);
    *list = NULL;
    if (strncmp(host, "good", 4) != 0)
        return EAI_NONAME;
    for (size_t i = 0; i < sizeof(last_bytes); i++) {
        struct addrinfo *entry = calloc(1, sizeof(*entry));
        struct sockaddr_in *address = calloc(1, sizeof(*address));
        address->sin_family = AF_INET;
        address->sin_addr.s_addr = htonl(0x0a000000u + last_bytes[i]);
        entry->ai_addr = (struct sockaddr *)address;
        entry->ai_addrlen = sizeof(*address);
        *next = entry;
        next = &entry->ai_next;
    }
    return 0;
}

void freeaddrinfo(struct addrinfo *list)
{
    if (!is_replaced) {
        void (*own)(struct addrinfo *);
        *(void **)&own = dlsym(RTLD_NEXT, "freeaddrinfo");
        own(list);
        return;
    }
    while (list != NULL) {
        struct addrinfo *next = list->ai_next;
        free(list->ai_addr);
        free(list);
        list = next;
    }
}

/* An answer with one SOA record, as RFC 1035 §4.1 writes it. */
int res_nquery(res_state state, const char *name, int class, int type, unsigned char *answer,
               int size)
{
    static const uint8_t start[] = {0,        1,  0x81, 0x80, 0,    1,   0,        1,   0,   0, 0,
                                    0,        7,  'e',  'x',  'a',  'm', 'p',      'l', 'e', 0, 0,
                                    ns_t_soa, 0,  1,    0xc0, 12,   0,   ns_t_soa, 0,   1,   0, 0,
                                    0,        60, 0,    24,   0xc0, 12,  0xc0,     12};
    uint32_t number = htonl(atomic_load(&serial));
    uint8_t *end = answer + sizeof(start);

    (void)state;
    ck_assert_int_eq(class, ns_c_in);
    ck_assert_int_eq(type, ns_t_soa);
    atomic_fetch_add(&zone_questions, 1);
    if (strcmp(name, "example") != 0)
        return -1;
    ck_assert_int_ge(size, 128);
    memcpy(answer, start, sizeof(start));
    memcpy(end, &number, sizeof(number));
    memset(end + sizeof(number), 0, 16);
    return (int)sizeof(start) + (atomic_load(&has_short_answer) ? 8 : 20);
}

struct asker {
    struct resolver_request request; /* first */
    int answers, count;
    struct address addresses[RESOLVER_ADDRESSES_MAX];
    char why[ERROR_MESSAGE_MAX];
};

static void note_answer(struct resolver_request *request, const struct address *addresses,
                        int count, const struct error *error)
{
    struct asker *asker = (struct asker *)request;

    asker->answers++;
    asker->count = count;
    for (int i = 0; i < count; i++)
        asker->addresses[i] = addresses[i];
    strcpy(asker->why, count == 0 ? error->message : "");
}

static void ask(struct asker *asker, const char *host)
{
    asker->request.answer = note_answer;
    resolver_lookup(resolver, loop, host, 5432, &asker->request);
}

static void set_up(void)
{
    digest_init();
    loop = loop_create(NULL);
    offload = offload_create();
    resolver = resolver_create(offload);
    ck_assert(loop != NULL && offload != NULL && resolver != NULL);
    questions = 0;
    is_replaced = true;
}

static void tear_down(void)
{
    offload_destroy(offload);
    resolver_destroy(resolver);
    loop_destroy(loop);
}

START_TEST(a_name_is_answered_with_its_addresses_and_the_port)
{
    struct asker asker = {0};
    char text[ADDRESS_TEXT_MAX];

    ask(&asker, "good.example");
    ck_assert_int_eq(asker.answers, 0);
    turn_until(loop, asker.answers == 1);
    ck_assert_int_eq(asker.count, 2);
    address_text(&asker.addresses[0], text, sizeof(text));
    ck_assert_str_eq(text, "10.0.0.7:5432");
    address_text(&asker.addresses[1], text, sizeof(text));
    ck_assert_str_eq(text, "10.0.0.8:5432");
}
END_TEST

START_TEST(an_unknown_name_is_answered_with_the_reason)
{
    struct asker asker = {0};

    ask(&asker, "bad.example");
    turn_until(loop, asker.answers == 1);
    ck_assert_int_eq(asker.count, 0);
    ck_assert_ptr_nonnull(strstr(asker.why, "DNS lookup failed: bad.example: result=-2"));
}
END_TEST

START_TEST(a_known_name_is_answered_at_once)
{
    struct asker first = {0}, second = {0};

    ask(&first, "good.example");
    turn_until(loop, first.answers == 1);
    ask(&second, "good.example");
    ck_assert_int_eq(second.answers, 1);
    ck_assert_int_eq(second.count, 2);
    ck_assert_int_eq(questions, 1);
}
END_TEST

START_TEST(a_failure_is_remembered_too)
{
    struct asker first = {0}, second = {0};

    ask(&first, "bad.example");
    turn_until(loop, first.answers == 1);
    ask(&second, "bad.example");
    ck_assert_int_eq(second.answers, 1);
    ck_assert_int_eq(second.count, 0);
    ck_assert_int_eq(questions, 1);
}
END_TEST

START_TEST(after_its_time_a_name_is_asked_again)
{
    struct asker first = {0}, second = {0}, third = {0};

    resolver_set_ttl(resolver, 0, USEC_PER_SEC * 100);
    ask(&first, "good.example");
    turn_until(loop, first.answers == 1);
    ask(&second, "good.example");
    turn_until(loop, second.answers == 1);
    ck_assert_int_eq(questions, 2);
    resolver_set_ttl(resolver, USEC_PER_SEC * 100, 0);
    ask(&third, "bad.example");
    turn_until(loop, third.answers == 1);
    ask(&third, "bad.example");
    turn_until(loop, third.answers == 2);
    ck_assert_int_eq(questions, 4);
}
END_TEST

START_TEST(who_asks_meanwhile_shares_the_question)
{
    struct asker askers[5] = {0};

    pthread_mutex_lock(&hold);
    for (int i = 0; i < 5; i++)
        ask(&askers[i], "good.example");
    pthread_mutex_unlock(&hold);
    for (int i = 0; i < 5; i++)
        turn_until(loop, askers[i].answers == 1 && askers[i].count == 2);
    ck_assert_int_eq(questions, 1);
}
END_TEST

START_TEST(who_cancels_while_waiting_is_not_answered)
{
    struct asker leaves = {0}, stays = {0};

    pthread_mutex_lock(&hold);
    ask(&leaves, "good.example");
    ask(&stays, "good.example");
    resolver_cancel(resolver, &leaves.request);
    pthread_mutex_unlock(&hold);
    turn_until(loop, stays.answers == 1);
    turns(loop, 3);
    ck_assert_int_eq(leaves.answers, 0);
    resolver_cancel(resolver, &leaves.request); /* nothing to cancel */
    resolver_cancel(resolver, &stays.request);
}
END_TEST

/* Cancels, in an answer, the request that is answered next: its answer is on the way already. */
static struct asker *victim;

static void cancel_victim(struct resolver_request *request, const struct address *addresses,
                          int count, const struct error *error)
{
    note_answer(request, addresses, count, error);
    resolver_cancel(resolver, &victim->request);
    free(victim);
}

START_TEST(who_cancels_while_the_answer_is_under_way_is_not_answered)
{
    struct asker first = {0};

    victim = calloc(1, sizeof(*victim));
    pthread_mutex_lock(&hold);
    first.request.answer = cancel_victim;
    resolver_lookup(resolver, loop, "good.example", 5432, &first.request);
    ask(victim, "good.example");
    pthread_mutex_unlock(&hold);
    turn_until(loop, first.answers == 1);
    turns(loop, 3);
}
END_TEST

START_TEST(an_address_that_a_name_has_lost_is_known)
{
    struct asker asker = {0};

    resolver_set_ttl(resolver, 0, 0);
    ask(&asker, "good.example");
    turn_until(loop, asker.answers == 1);
    struct address kept = asker.addresses[0], lost = asker.addresses[1];
    ck_assert_uint_eq(resolver_losses(resolver), 0);
    ck_assert(!resolver_has_lost(resolver, "good.example", &lost));

    second_byte = 9;
    ask(&asker, "good.example");
    turn_until(loop, asker.answers == 2);
    second_byte = 8;
    ck_assert_uint_eq(resolver_losses(resolver), 1);
    ck_assert(resolver_has_lost(resolver, "good.example", &lost));
    ck_assert(!resolver_has_lost(resolver, "good.example", &kept));
    ck_assert(!resolver_has_lost(resolver, "other.example", &lost));
}
END_TEST

static struct {
    int zones, names;
    unsigned serial;
} seen;

static void see_zone(void *argument, const char *zone, uint32_t number, int count)
{
    (void)argument;
    ck_assert(strcmp(zone, "example") == 0 || strcmp(zone, "no.example") == 0);
    seen.zones++;
    if (strcmp(zone, "example") != 0)
        return;
    seen.serial = number;
    seen.names = count;
}

static void watch_until_asked(int count)
{
    resolver_watch_zones(resolver, loop, 1);
    turn_until(loop, zone_questions >= count);
    turns(loop, 3);
    memset(&seen, 0, sizeof(seen));
    resolver_visit_zones(resolver, see_zone, NULL);
}

START_TEST(names_are_asked_again_when_the_serial_of_their_zone_grows)
{
    struct asker asker = {0};

    zone_questions = 0;
    serial = 0xffffffffu;
    ask(&asker, "good.example");
    ask(&asker, "good-two.example");
    ask(&asker, "good.no.example");
    ask(&asker, "good");
    turn_until(loop, asker.answers == 4);
    watch_until_asked(2);
    turn_until(loop, (resolver_visit_zones(resolver, see_zone, NULL), seen.serial == serial));
    ck_assert_int_eq(resolver_zone_count(resolver), 2);
    ck_assert_int_eq(seen.names, 2);
    watch_until_asked(4); /* the same again */
    ck_assert_int_eq(questions, 4);
    has_short_answer = true;
    serial = 3;
    watch_until_asked(6);
    ck_assert_int_eq(questions, 4);
    has_short_answer = false; /* behind the greatest number comes the smallest */
    watch_until_asked(8);
    turn_until(loop, questions == 6);
    resolver_watch_zones(resolver, loop, 0);
    turn_until(loop, (resolver_watch_zones(resolver, loop, 0), resolver_zone_count(resolver) == 0));
}
END_TEST

START_TEST(the_number_of_names_is_bounded)
{
    struct asker asker = {0};
    char host[64];

    for (int i = 0; i < 1100; i++) {
        snprintf(host, sizeof(host), "good-%d.example", i);
        ask(&asker, host);
        turn_until(loop, asker.answers == i + 1);
        ck_assert_int_eq(asker.count, 2);
    }
    ck_assert_int_eq(resolver_count(resolver), 1024);
    /* The oldest were forgotten, the newest are known. */
    ask(&asker, host);
    ck_assert_int_eq(asker.answers, 1101);
}
END_TEST

START_TEST(when_all_names_are_being_asked_for_one_more_is_refused)
{
    static struct asker askers[1025];
    char host[64];

    pthread_mutex_lock(&hold);
    for (int i = 0; i < 1025; i++) {
        snprintf(host, sizeof(host), "good-%d.example", i);
        ask(&askers[i], host);
    }
    ck_assert_int_eq(askers[1024].answers, 1);
    ck_assert_ptr_nonnull(strstr(askers[1024].why, "too many names are looked up"));
    pthread_mutex_unlock(&hold);
    for (int i = 0; i < 1024; i++)
        turn_until(loop, askers[i].answers == 1);
}
END_TEST

START_TEST(a_name_longer_than_dns_allows_is_refused)
{
    struct asker asker = {0};
    char host[300] = "";

    memset(host, 'a', sizeof(host) - 1);
    ask(&asker, host);
    ck_assert_int_eq(asker.answers, 1);
    ck_assert_ptr_nonnull(strstr(asker.why, "too long"));
}
END_TEST

static void note_visit(void *argument, const char *host, usec_t ttl,
                       const struct address *addresses, int count)
{
    (void)addresses;
    ck_assert_str_eq(host, "good.example");
    ck_assert(ttl > 0 && ttl <= 15 * USEC_PER_SEC);
    *(int *)argument = count;
}

START_TEST(known_names_can_be_looked_at)
{
    struct asker asker = {0};
    int count = 0;

    ask(&asker, "good.example");
    turn_until(loop, asker.answers == 1);
    resolver_visit(resolver, clock_monotonic(), note_visit, &count);
    ck_assert_int_eq(count, 2);
}
END_TEST

START_TEST(who_still_waits_at_the_end_is_forgotten)
{
    struct asker waits = {0}, answered = {0};

    ask(&answered, "good.example");
    turn_until(loop, answered.answers == 1);
    pthread_mutex_lock(&hold);
    ask(&waits, "good-2.example");
    pthread_mutex_unlock(&hold);
    ck_assert_int_eq(waits.answers, 0);
}
END_TEST

#define THREADS 4

static void *ask_in_thread(void *argument)
{
    struct loop *own = loop_create(NULL);
    char host[64];

    (void)argument;
    for (int i = 0; i < 200; i++) {
        struct asker asker = {.request = {.answer = note_answer}};
        snprintf(host, sizeof(host), "good-%d.example", i % 20);
        resolver_lookup(resolver, own, host, 1, &asker.request);
        if (i % 3 == 0) {
            int before = asker.answers;
            resolver_cancel(resolver, &asker.request);
            turn(own);
            ck_assert_int_eq(asker.answers, before);
        } else {
            turn_until(own, asker.answers == 1);
        }
    }
    resolver_set_ttl(resolver, 0, 0);
    /* Answers to cancelled ones may be under way to this loop until nobody posts any more. */
    return own;
}

START_TEST(all_threads_share_one_cache)
{
    pthread_t threads[THREADS];
    struct loop *loops[THREADS];
    void *result;

    for (int i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, ask_in_thread, NULL);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], &result);
        loops[i] = result;
    }
    offload_destroy(offload);
    offload = NULL;
    for (int i = 0; i < THREADS; i++) {
        turn(loops[i]);
        loop_destroy(loops[i]);
    }
}
END_TEST

Suite *suite_net_resolver(void)
{
    Suite *suite = suite_create("net/resolver");
    TCase *tests = tcase_create("all");

    suite_add_tcase(suite, tests);
    tcase_set_timeout(tests, 30);
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, a_name_is_answered_with_its_addresses_and_the_port);
    tcase_add_test(tests, an_unknown_name_is_answered_with_the_reason);
    tcase_add_test(tests, a_known_name_is_answered_at_once);
    tcase_add_test(tests, a_failure_is_remembered_too);
    tcase_add_test(tests, after_its_time_a_name_is_asked_again);
    tcase_add_test(tests, who_asks_meanwhile_shares_the_question);
    tcase_add_test(tests, who_cancels_while_waiting_is_not_answered);
    tcase_add_test(tests, who_cancels_while_the_answer_is_under_way_is_not_answered);
    tcase_add_test(tests, the_number_of_names_is_bounded);
    tcase_add_test(tests, an_address_that_a_name_has_lost_is_known);
    tcase_add_test(tests, names_are_asked_again_when_the_serial_of_their_zone_grows);
    tcase_add_test(tests, when_all_names_are_being_asked_for_one_more_is_refused);
    tcase_add_test(tests, a_name_longer_than_dns_allows_is_refused);
    tcase_add_test(tests, known_names_can_be_looked_at);
    tcase_add_test(tests, who_still_waits_at_the_end_is_forgotten);
    tcase_add_test(tests, all_threads_share_one_cache);
    return suite;
}
