#include <pthread.h>
#include <stddef.h>

#include "net/stream.h"
#include "stream_peer.h"

Suite *suite_net_stream_output(void);

static struct loop *loop;
static struct side *side; /* writes */
static struct side *source;

/* Plain, but counting what it is asked to do. */
static struct transport counting;
static int writes, spans_written;

static enum transport_verdict count_write(struct stream *stream, const struct iovec *spans,
                                          int count, size_t *moved)
{
    writes++;
    spans_written += count;
    return transport_plain.write(stream, spans, count, moved);
}

static void begin(struct side *writer, struct side *reader)
{
    side = writer;
    source = reader;
    writes = spans_written = 0;
    counting = transport_plain;
    counting.write = count_write;
    side->stream.transport = &counting;
}

static void set_up_tcp(void)
{
    loop = loop_create(NULL);
    begin(tcp_side(loop), tcp_side(loop));
}

static void set_up_local(void)
{
    loop = loop_create(NULL);
    begin(local_side(loop), local_side(loop));
}

static void tear_down(void)
{
    side_destroy(side);
    side_destroy(source);
    turn(loop);
    ck_assert_int_eq(loop->buffers.lent_count, 0);
    loop_destroy(loop);
}

START_TEST(the_output_of_a_turn_is_one_write)
{
    ck_assert(stream_put(&side->stream, "one ", 4));
    ck_assert(stream_lend(&side->stream, "two ", 4));
    ck_assert(stream_put(&side->stream, "three", 5));
    ck_assert(!stream_is_flushed(&side->stream));
    turn(loop);
    assert_peer_reads(side, "one two three");
    ck_assert_int_eq(writes, 1);
    ck_assert_int_eq(spans_written, 3);
    ck_assert(stream_is_flushed(&side->stream));
    ck_assert_uint_eq(side->stream.sent, 13);
}
END_TEST

START_TEST(neighbours_in_memory_become_one_span)
{
    ck_assert(stream_put(&side->stream, "a", 1));
    ck_assert(stream_put(&side->stream, "b", 1));
    ck_assert(stream_put(&side->stream, "", 0));
    ck_assert(stream_put(&side->stream, "c", 1));
    turn(loop);
    assert_peer_reads(side, "abc");
    ck_assert_int_eq(spans_written, 1);
}
END_TEST

static void forward_in_pieces(struct side *from)
{
    while (stream_input(&from->stream).size >= 2)
        ck_assert(stream_forward(&side->stream, &from->stream, 2));
}

START_TEST(successive_messages_of_one_buffer_are_forwarded_as_one_span)
{
    source->on_input = forward_in_pieces;
    peer_says(source, "112233");
    turn_until(loop, side->stream.sent == 6);
    assert_peer_reads(side, "112233");
    ck_assert_int_eq(writes, 1);
    ck_assert_int_eq(spans_written, 1);
    ck_assert_ptr_null(source->stream.in);
}
END_TEST

START_TEST(the_rest_behind_forwarded_bytes_stays_unread)
{
    source->on_input = forward_in_pieces;
    peer_says(source, "11223");
    turn_until(loop, side->stream.sent == 4);
    ck_assert_uint_eq(stream_input(&source->stream).size, 1);
    peer_says(source, "3");
    turn_until(loop, side->stream.sent == 6);
    assert_peer_reads(side, "112233");
}
END_TEST

static void forward_and_close(struct side *from)
{
    forward_in_pieces(from);
    stream_close(&from->stream);
}

START_TEST(bytes_of_a_source_that_closes_in_the_same_turn_are_still_sent)
{
    source->on_input = forward_and_close;
    peer_says(source, "last words");
    turn_until(loop, side->stream.sent == 10);
    assert_peer_reads(side, "last words");
}
END_TEST

START_TEST(more_spans_than_one_write_takes_arrive_in_order)
{
    static const char letters[] = "a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q.r.s.t.u.v.w.x.y.z.";
    char expected[1000] = "";

    for (int i = 0; i < 260; i++) {
        ck_assert(stream_lend(&side->stream, letters + i % 26 * 2, 1));
        expected[i] = letters[i % 26 * 2];
    }
    turn(loop);
    assert_peer_reads(side, expected);
    ck_assert_int_eq(spans_written, 260);
}
END_TEST

START_TEST(a_flush_writes_before_the_turn_ends)
{
    ck_assert(stream_put(&side->stream, "now", 3));
    stream_flush(&side->stream);
    assert_peer_reads(side, "now");
    ck_assert(stream_is_flushed(&side->stream));
    turn(loop);
    ck_assert_int_eq(writes, 1);
}
END_TEST

START_TEST(closing_writes_first_what_was_collected)
{
    ck_assert(stream_put(&side->stream, "goodbye", 7));
    stream_close(&side->stream);
    assert_peer_reads(side, "goodbye");
    ck_assert_int_eq(recv(side->peer, &(char){0}, 1, 0), 0); /* FIN */
}
END_TEST

START_TEST(last_words_are_followed_by_an_orderly_end)
{
    char words[16] = "";

    stream_pause(&side->stream);
    peer_says(side, "never read");
    turn_until(loop, side->stream.is_readable);
    ck_assert(stream_put(&side->stream, "goodbye", 7));
    stream_close(&side->stream);
    ck_assert_int_eq(recv(side->peer, words, sizeof(words), MSG_WAITALL), 7);
    ck_assert_str_eq(words, "goodbye");
    ck_assert_int_eq(recv(side->peer, words, sizeof(words), 0), 0);
}
END_TEST

START_TEST(output_of_a_closed_stream_is_dropped)
{
    stream_close(&side->stream);
    ck_assert(stream_put(&side->stream, "late", 4));
    turn(loop);
    ck_assert_int_eq(writes, 0);
}
END_TEST

/* --- More than the socket takes --- */

#define LARGE (1024 * 1024)
static uint8_t large[LARGE], answer[LARGE];

static void fill_socket(void)
{
    int smallest = 1, small = 32768;

    for (size_t i = 0; i < sizeof(large); i++)
        large[i] = (uint8_t)(i * 31 + i / 509);
    setsockopt(side->stream.fd, SOL_SOCKET, SO_SNDBUF, &smallest, sizeof(smallest));
    setsockopt(side->peer, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    ck_assert(stream_lend(&side->stream, large, sizeof(large) / 2));
    ck_assert(stream_put(&side->stream, large + sizeof(large) / 2, sizeof(large) / 2));
    turn(loop);
}

/* All that the peer can read now. */
static size_t peer_takes(size_t had)
{
    ssize_t got;

    while ((got = recv(side->peer, answer + had, sizeof(answer) - had, MSG_DONTWAIT)) > 0)
        had += (size_t)got;
    return had;
}

START_TEST(what_the_socket_does_not_take_is_sent_later_in_order)
{
    size_t had = 0;

    fill_socket();
    ck_assert(stream_is_blocked(&side->stream));
    ck_assert_int_eq(side->drained, 0);
    turn_until(loop, (had = peer_takes(had)) == sizeof(answer));
    ck_assert_mem_eq(answer, large, sizeof(large));
    turn_until(loop, side->drained == 1);
    ck_assert(!stream_is_blocked(&side->stream));
    ck_assert_uint_eq(side->stream.sent, LARGE);
    ck_assert_ptr_null(side->stream.pending_first);
}
END_TEST

START_TEST(a_blocked_stream_sleeps_until_the_socket_takes_more)
{
    fill_socket();
    turns(loop, 2);
    int before = writes;
    turns(loop, 10);
    ck_assert_int_eq(writes, before);
    ck_assert(STAILQ_EMPTY(&loop->again));
}
END_TEST

START_TEST(output_behind_a_blocked_one_waits_its_turn)
{
    size_t had = 0;

    fill_socket();
    size_t pending = side->stream.pending_bytes;
    ck_assert(stream_put(&side->stream, "!", 1));
    turn(loop);
    ck_assert_uint_le(side->stream.pending_bytes, pending + 1);
    turn_until(loop, (had = peer_takes(had)) == sizeof(answer));
    ck_assert_mem_eq(answer, large, sizeof(large));
    turn_until(loop, side->drained == 1);
    assert_peer_reads(side, "!");
}
END_TEST

START_TEST(a_stream_that_closes_when_drained_is_told_eof)
{
    size_t had = 0;

    fill_socket();
    side->stream.close_when_drained = true;
    stream_pause(&side->stream);
    turns(loop, 3);
    ck_assert_int_eq(side->closed, 0);
    turn_until(loop, (had = peer_takes(had)) == sizeof(answer));
    turn_until(loop, side->closed == 1);
    ck_assert_int_eq(side->end, STREAM_EOF);
}
END_TEST

START_TEST(closing_a_blocked_stream_gives_everything_back)
{
    fill_socket();
    ck_assert_int_gt(loop->buffers.lent_count, 0);
    stream_close(&side->stream);
    ck_assert_int_eq(loop->buffers.lent_count, 0);
    ck_assert_uint_eq(side->stream.pending_bytes, 0);
}
END_TEST

START_TEST(a_failed_write_is_told_after_what_the_peer_had_said)
{
    stream_pause(&side->stream);
    peer_says(side, "FATAL: going away");
    turn_until(loop, side->stream.is_readable);
    peer_closes(side);
    /* Written until the kernel says that nobody is there. */
    side->stream.pauses = 0;
    for (int i = 0; i < 100 && side->stream.failure == 0 && side->closed == 0; i++) {
        ck_assert(stream_put(&side->stream, "x", 1));
        stream_flush(&side->stream);
    }
    ck_assert_int_ne(side->stream.failure, 0);
    ck_assert_int_eq(side->closed, 0);
    turn_until(loop, side->closed == 1);
    assert_got(side, "FATAL: going away");
    ck_assert_int_eq(side->end, STREAM_RESET);
    ck_assert(stream_put(&side->stream, "dropped", 7));
}
END_TEST

/* --- A relay --- */

static void relay(struct side *from)
{
    ck_assert(
        stream_forward(&from->other->stream, &from->stream, stream_input(&from->stream).size));
    if (stream_is_blocked(&from->other->stream))
        stream_pause(&from->stream);
}

static void resume_source(struct stream *stream)
{
    stream_resume(&side_of(stream)->other->stream);
}

static void stop_relay(struct side *one)
{
    stream_close(&one->stream);
    loop_stop(one->stream.loop);
}

static const struct stream_events relay_events = {
    .input = side_input, .drained = resume_source, .closed = side_closed};

static void make_relay(void)
{
    side->other = source;
    source->other = side;
    side->on_input = source->on_input = relay;
    side->on_closed = source->on_closed = stop_relay;
    side->stream.events = source->stream.events = &relay_events;
}

/* Small messages, a window of them in flight; read back at the other end. */
#define MESSAGES       1000000
#define MESSAGE_SIZE   6
#define MESSAGE_WINDOW 500

static void *send_small_messages(void *argument)
{
    const struct side *ends = argument;
    static char out[MESSAGE_SIZE * MESSAGE_WINDOW], in[sizeof(out)];
    intptr_t wrong = 0;

    for (int round = 0; round < MESSAGES / MESSAGE_WINDOW; round++) {
        memset(out, 'a' + round % 26, sizeof(out));
        for (size_t at = 0; at < sizeof(out); at += MESSAGE_SIZE)
            if (send(ends->other->peer, out + at, MESSAGE_SIZE, MSG_NOSIGNAL) != MESSAGE_SIZE)
                wrong++;
        if (recv(ends->peer, in, sizeof(in), MSG_WAITALL) != (ssize_t)sizeof(in) ||
            memcmp(in, out, sizeof(in)) != 0)
            wrong++;
    }
    shutdown(ends->peer, SHUT_WR);
    return (void *)wrong;
}

START_TEST(a_million_small_messages_pass)
{
    pthread_t thread;
    void *wrong;

    make_relay();
    pthread_create(&thread, NULL, send_small_messages, side);
    loop_run(loop);
    pthread_join(thread, &wrong);
    ck_assert_ptr_null(wrong);
    ck_assert_uint_eq(side->stream.sent, (uint64_t)MESSAGES * MESSAGE_SIZE);
}
END_TEST

START_TEST(a_slow_reader_costs_one_buffer_and_not_the_whole_result)
{
    size_t had = 0, offered = 0;
    size_t most = 0;

    make_relay();
    for (size_t i = 0; i < sizeof(large); i++)
        large[i] = (uint8_t)(i * 13 + i / 101);
    while (had < sizeof(large)) {
        ssize_t count = send(source->peer, large + offered, sizeof(large) - offered, MSG_DONTWAIT);
        offered += count > 0 ? (size_t)count : 0;
        turn(loop);
        most = side->stream.pending_bytes > most ? side->stream.pending_bytes : most;
        size_t room = sizeof(large) - had < 3000 ? sizeof(large) - had : 3000;
        ssize_t got = recv(side->peer, answer + had, room, MSG_DONTWAIT);
        had += got > 0 ? (size_t)got : 0;
    }
    ck_assert_mem_eq(answer, large, sizeof(large));
    ck_assert_uint_le(most, 2 * BUFFER_SIZE_BULK);
}
END_TEST

static void add_tests(TCase *cases)
{
    tcase_add_test(cases, the_output_of_a_turn_is_one_write);
    tcase_add_test(cases, neighbours_in_memory_become_one_span);
    tcase_add_test(cases, successive_messages_of_one_buffer_are_forwarded_as_one_span);
    tcase_add_test(cases, the_rest_behind_forwarded_bytes_stays_unread);
    tcase_add_test(cases, bytes_of_a_source_that_closes_in_the_same_turn_are_still_sent);
    tcase_add_test(cases, more_spans_than_one_write_takes_arrive_in_order);
    tcase_add_test(cases, a_flush_writes_before_the_turn_ends);
    tcase_add_test(cases, closing_writes_first_what_was_collected);
    tcase_add_test(cases, output_of_a_closed_stream_is_dropped);
    tcase_add_test(cases, what_the_socket_does_not_take_is_sent_later_in_order);
    tcase_add_test(cases, a_blocked_stream_sleeps_until_the_socket_takes_more);
    tcase_add_test(cases, output_behind_a_blocked_one_waits_its_turn);
    tcase_add_test(cases, a_stream_that_closes_when_drained_is_told_eof);
    tcase_add_test(cases, closing_a_blocked_stream_gives_everything_back);
    tcase_add_test(cases, a_failed_write_is_told_after_what_the_peer_had_said);
    tcase_add_test(cases, a_million_small_messages_pass);
    tcase_add_test(cases, a_slow_reader_costs_one_buffer_and_not_the_whole_result);
}

Suite *suite_net_stream_output(void)
{
    Suite *suite = suite_create("net/stream_output");
    TCase *tcp = tcase_create("over TCP"), *local = tcase_create("over Unix sockets");

    tcase_set_timeout(tcp, 120);
    tcase_set_timeout(local, 120);
    tcase_add_checked_fixture(tcp, set_up_tcp, tear_down);
    tcase_add_checked_fixture(local, set_up_local, tear_down);
    add_tests(tcp);
    add_tests(local);
    tcase_add_test(tcp, last_words_are_followed_by_an_orderly_end);
    suite_add_tcase(suite, tcp);
    suite_add_tcase(suite, local);
    return suite;
}
