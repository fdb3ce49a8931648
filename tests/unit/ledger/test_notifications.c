#include <check.h>
#include <stdio.h>
#include <string.h>

#include "ledger/notifications.h"

Suite *suite_ledger_notifications(void);

static struct notification_queue queue, before;

static void begin(void)
{
    notification_queue_init(&queue);
    notification_queue_init(&before);
}

static void end(void)
{
    notification_queue_clear(&queue);
    notification_queue_clear(&before);
}

/* "channel payload" of process 7. */
static struct notification *make(const char *text)
{
    uint8_t body[128] = {0, 0, 0, 7};
    const char *space = strchr(text, ' ');
    size_t channel = (size_t)(space - text), payload = strlen(space + 1);
    memcpy(body + 4, text, channel);
    body[4 + channel] = 0;
    memcpy(body + 4 + channel + 1, space + 1, payload + 1);
    return notification_create((struct span){body, 4 + channel + 1 + payload + 1});
}

static void push(struct notification_queue *to, const char *text)
{
    struct notification *notification = text ? make(text) : NULL;
    ck_assert(notification_queue_push(to, notification));
    notification_release(notification);
}

static void push_all(struct notification_queue *to, const char *const *texts)
{
    for (; *texts; texts++)
        push(to, *texts);
}

/* What is in the queue: "channel payload, ..."; "-" for a mark. */
static const char *content(struct notification_queue *of)
{
    static char text[512];
    struct notification *notification;
    text[0] = 0;
    while (notification_queue_shift(of, &notification)) {
        const char *channel = notification ? notification_channel(notification) : "-";
        const char *payload = notification ? channel + strlen(channel) + 1 : "";
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s%s%s", *text ? ", " : "",
                 channel, *payload ? " " : "", payload);
        notification_release(notification);
    }
    return text;
}

START_TEST(a_notification_is_the_whole_message)
{
    struct notification *notification = make("news hello");
    const uint8_t expected[] = "A\0\0\0\x13\0\0\0\7news\0hello";
    ck_assert_uint_eq(notification->size, sizeof(expected));
    ck_assert_mem_eq(notification->message, expected, sizeof(expected));
    ck_assert_uint_eq(notification_process(notification), 7);
    ck_assert_str_eq(notification_channel(notification), "news");
    notification_release(notification);
}
END_TEST

START_TEST(malformed_ones_are_refused)
{
    static const struct span bodies[] = {
        {(const uint8_t *)"\0\0\0", 3},
        {(const uint8_t *)"\0\0\0\7news", 8},
        {(const uint8_t *)"\0\0\0\7news\0hello", 14},
        {(const uint8_t *)"\0\0\0\7news\0hello\0x", 16},
    };
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++)
        ck_assert_ptr_null(notification_create(bodies[i]));
}
END_TEST

START_TEST(a_queue_is_in_order_and_knows_its_size)
{
    push_all(&queue, (const char *const[]){"a 1", "b 2", NULL});
    push(&queue, NULL);
    push(&queue, NULL);
    ck_assert_int_eq(queue.count, 3);
    ck_assert_uint_ge(queue.bytes, 2 * 11);
    ck_assert_str_eq(content(&queue), "a 1, b 2, -");
    ck_assert_int_eq(queue.count, 0);
    ck_assert_uint_eq(queue.bytes, 0);
}
END_TEST

START_TEST(one_that_is_taken_takes_what_is_in_front_of_it)
{
    struct notification *wanted = make("a 2"), *other = make("a 9");
    push_all(&queue, (const char *const[]){"a 1", "a 2", "a 3", NULL});
    ck_assert(!notification_queue_take(&queue, other));
    ck_assert(notification_queue_take(&queue, wanted));
    ck_assert_str_eq(content(&queue), "a 3");
    notification_release(wanted);
    notification_release(other);
}
END_TEST

static bool is_b(const void *argument, const char *channel)
{
    (void)argument;
    return strcmp(channel, "b") == 0;
}

START_TEST(channels_that_nobody_has_go)
{
    push_all(&queue, (const char *const[]){"a 1", "b 2", "a 3", NULL});
    push(&queue, NULL);
    notification_queue_keep(&queue, is_b, NULL);
    ck_assert_str_eq(content(&queue), "b 2, -");
}
END_TEST

static const struct {
    const char *before[6], *queue[6], *left;
} overlaps[] = {
    {{"a 1", "a 2", NULL}, {"a 2", "a 3", NULL}, "a 3"},
    {{"a 1", "a 2", NULL}, {"a 1", "a 2", "a 3", NULL}, "a 3"},
    {{"a 1", NULL}, {"a 2", NULL}, "a 2"},
    {{"a 1", "a 1", NULL}, {"a 1", "a 1", "a 1", NULL}, "a 1"},
    {{"a 1", "a 2", NULL}, {"x 0", "a 2", "x 1", NULL}, "x 0, x 1"},
    {{"a 1", "b 1", "a 2", NULL}, {"b 1", "a 2", "b 2", NULL}, "b 2"},
    {{"a 1", "a 2", NULL}, {"a 1", "a 3", NULL}, "a 1, a 3"},
    {{NULL}, {"a 1", NULL}, "a 1"},
    {{"a 1", NULL}, {NULL}, ""},
};

START_TEST(what_was_told_is_not_told_again)
{
    push_all(&before, overlaps[_i].before);
    push_all(&queue, overlaps[_i].queue);
    notification_queue_drop_overlap(&queue, &before);
    ck_assert_str_eq(content(&queue), overlaps[_i].left);
}
END_TEST

START_TEST(long_queues_overlap_too)
{
    char text[32];
    for (int i = 0; i < 200; i++) {
        snprintf(text, sizeof(text), "a %d", i);
        push(&before, text);
        if (i >= 190)
            push(&queue, text);
    }
    push(&queue, "a next");
    notification_queue_drop_overlap(&queue, &before);
    ck_assert_str_eq(content(&queue), "a next");
}
END_TEST

Suite *suite_ledger_notifications(void)
{
    Suite *suite = suite_create("ledger/notifications");
    TCase *tests = tcase_create("notifications");
    tcase_add_checked_fixture(tests, begin, end);
    tcase_add_test(tests, a_notification_is_the_whole_message);
    tcase_add_test(tests, malformed_ones_are_refused);
    tcase_add_test(tests, a_queue_is_in_order_and_knows_its_size);
    tcase_add_test(tests, one_that_is_taken_takes_what_is_in_front_of_it);
    tcase_add_test(tests, channels_that_nobody_has_go);
    tcase_add_loop_test(tests, what_was_told_is_not_told_again, 0,
                        sizeof(overlaps) / sizeof(overlaps[0]));
    tcase_add_test(tests, long_queues_overlap_too);
    suite_add_tcase(suite, tests);
    return suite;
}
