/* Input that is kept after it was consumed, and taken back; and whether output has arrived. */
#include "net/stream.h"
#include "stream_peer.h"

Suite *suite_net_stream_keep(void);

static struct loop *loop;
static struct side *side, *target;

static void set_up(void)
{
    loop = loop_create(NULL);
    ck_assert_ptr_nonnull(loop);
    side = tcp_side(loop);
    target = tcp_side(loop);
}

static void tear_down(void)
{
    side_destroy(side);
    side_destroy(target);
    turn(loop);
    ck_assert_int_eq(loop->buffers.lent_count, 0);
    loop_destroy(loop);
}

/* What a client's messages go through: kept, and forwarded in place. */
static void keep_and_forward(struct side *one)
{
    if (!stream_is_kept(&one->stream))
        stream_keep(&one->stream);
    ck_assert(stream_forward(&target->stream, &one->stream, stream_input(&one->stream).size));
}

static void hear(const char *text)
{
    int inputs = side->inputs;
    side->on_input = keep_and_forward;
    peer_says(side, text);
    turn_until(loop, side->inputs > inputs);
    turns(loop, 2);
    side->on_input = NULL;
}

START_TEST(kept_input_is_there_again)
{
    hear("one");
    hear("two");
    ck_assert_uint_eq(stream_input(&side->stream).size, 0);
    ck_assert(stream_is_kept(&side->stream));
    stream_rewind(&side->stream);
    side_take(side);
    assert_got(side, "onetwo");
}
END_TEST

/* Three bytes are kept and forwarded, and not sent yet. */
static void forward_one(void)
{
    side->leaves_input = true;
    peer_says(side, "one");
    turn_until(loop, side->inputs > 0);
    stream_keep(&side->stream);
    ck_assert(stream_forward(&target->stream, &side->stream, 3));
}

START_TEST(what_was_forwarded_in_the_same_turn_is_sent_though_it_is_taken_back)
{
    char text[8] = "";
    forward_one();
    stream_rewind(&side->stream);
    turns(loop, 2);
    ck_assert_int_eq(recv(target->peer, text, sizeof(text), 0), 3);
    ck_assert_str_eq(text, "one");
    side_take(side);
    assert_got(side, "one");
}
END_TEST

START_TEST(forgotten_input_gives_its_buffer_back)
{
    hear("one");
    ck_assert_int_eq(loop->buffers.lent_count, 1);
    stream_forget(&side->stream);
    ck_assert_ptr_null(side->stream.in);
    ck_assert_int_eq(loop->buffers.lent_count, 0);
    stream_forget(&side->stream);
}
END_TEST

START_TEST(what_is_forgotten_in_its_own_turn_is_sent_and_gives_its_buffer_back)
{
    char text[8] = "";
    forward_one();
    stream_forget(&side->stream);
    turns(loop, 2);
    ck_assert_int_eq(recv(target->peer, text, sizeof(text), 0), 3);
    ck_assert_ptr_null(side->stream.in);
}
END_TEST

START_TEST(only_what_comes_behind_the_mark_is_taken_back)
{
    side->leaves_input = true;
    peer_says(side, "onetwo");
    turn_until(loop, side->inputs > 0);
    stream_keep(&side->stream);
    stream_consume(&side->stream, 3);
    stream_keep(&side->stream);
    stream_consume(&side->stream, 3);
    stream_rewind(&side->stream);
    side_take(side);
    assert_got(side, "two");
}
END_TEST

START_TEST(what_does_not_fit_its_buffer_is_not_kept)
{
    static char bytes[BUFFER_SIZE + 1];
    side->on_input = keep_and_forward;
    peer_send(side, bytes, BUFFER_SIZE / 2 + 1);
    turn_until(loop, side->stream.received > BUFFER_SIZE / 2);
    turns(loop, 2);
    ck_assert(stream_is_kept(&side->stream));
    side->on_input = NULL;
    peer_send(side, bytes, BUFFER_SIZE / 2);
    turn_until(loop, side->got_size > 0);
    ck_assert(!stream_is_kept(&side->stream));
}
END_TEST

START_TEST(a_stream_may_close_with_kept_input)
{
    hear("one");
    stream_close(&side->stream);
    ck_assert_int_eq(loop->buffers.lent_count, 0);
    stream_forget(&side->stream);
}
END_TEST

/* --- What has arrived at the peer --- */

START_TEST(what_was_sent_behind_the_peers_end_has_not_arrived)
{
    uint64_t since = stream_sent(&side->stream);
    ck_assert(stream_nothing_arrived(&side->stream, since));
    peer_closes(side);
    ck_assert(stream_put(&side->stream, "late", 4));
    stream_flush(&side->stream);
    turn_until(loop, side->closed == 1);
    ck_assert_uint_eq(stream_sent(&side->stream) - since, 4);
    ck_assert(stream_nothing_arrived(&side->stream, since));
}
END_TEST

START_TEST(what_was_sent_before_the_peers_last_words_has_arrived)
{
    uint64_t since = stream_sent(&side->stream);
    ck_assert(stream_put(&side->stream, "early", 5));
    stream_flush(&side->stream);
    peer_says(side, "bye");
    turn_until(loop, side->got_size == 3);
    ck_assert(!stream_nothing_arrived(&side->stream, since));
}
END_TEST

START_TEST(over_a_unix_socket_only_what_was_not_sent_has_not_arrived)
{
    struct side *local = local_side(loop);
    uint64_t since = stream_sent(&local->stream);
    ck_assert(stream_nothing_arrived(&local->stream, since));
    ck_assert(stream_put(&local->stream, "some", 4));
    stream_flush(&local->stream);
    ck_assert(!stream_nothing_arrived(&local->stream, since));
    side_destroy(local);
}
END_TEST

Suite *suite_net_stream_keep(void)
{
    const TTest *const tests[] = {
        kept_input_is_there_again,
        what_was_forwarded_in_the_same_turn_is_sent_though_it_is_taken_back,
        forgotten_input_gives_its_buffer_back,
        what_is_forgotten_in_its_own_turn_is_sent_and_gives_its_buffer_back,
        only_what_comes_behind_the_mark_is_taken_back,
        what_does_not_fit_its_buffer_is_not_kept,
        a_stream_may_close_with_kept_input,
        what_was_sent_behind_the_peers_end_has_not_arrived,
        what_was_sent_before_the_peers_last_words_has_arrived,
        over_a_unix_socket_only_what_was_not_sent_has_not_arrived,
    };
    Suite *suite = suite_create("net/stream_keep");
    TCase *all = tcase_create("all");
    tcase_add_checked_fixture(all, set_up, tear_down);
    for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
        tcase_add_test(all, tests[i]);
    suite_add_tcase(suite, all);
    return suite;
}
