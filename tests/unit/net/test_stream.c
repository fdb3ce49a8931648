#include <pthread.h>
#include <stddef.h>

#include "net/stream.h"
#include "stream_peer.h"

Suite *suite_net_stream(void);

static struct loop *loop;
static struct side *side;

static void set_up(void)
{
    loop = loop_create(NULL);
    ck_assert_ptr_nonnull(loop);
    side = NULL;
}

static void set_up_tcp(void)
{
    set_up();
    side = tcp_side(loop);
}

static void set_up_local(void)
{
    set_up();
    side = local_side(loop);
}

static void tear_down(void)
{
    if (side != NULL)
        side_destroy(side);
    turn(loop);
    ck_assert_int_eq(loop->buffers.lent_count, 0);
    loop_destroy(loop);
}

/* --- Input, over TCP and Unix sockets --- */

START_TEST(bytes_that_arrive_are_offered_once)
{
    peer_says(side, "hello");
    turn_until(loop, side->got_size == 5);
    turns(loop, 3);
    assert_got(side, "hello");
    ck_assert_int_eq(side->inputs, 1);
    ck_assert_uint_eq(side->stream.received, 5);
}
END_TEST

START_TEST(an_idle_stream_holds_no_buffer)
{
    peer_says(side, "hello");
    turn_until(loop, side->got_size == 5);
    ck_assert_ptr_null(side->stream.in);
    ck_assert_int_eq(loop->buffers.lent_count, 0);
    ck_assert_int_eq(loop->buffers.free_count, 1);
}
END_TEST

START_TEST(bytes_and_fin_in_one_event_are_offered_before_closed)
{
    peer_says(side, "bye");
    peer_closes(side);
    turn_until(loop, side->closed == 1);
    turns(loop, 3);
    assert_got(side, "bye");
    ck_assert_int_eq(side->closed, 1);
    ck_assert_int_eq(side->end, STREAM_EOF);
}
END_TEST

START_TEST(many_bytes_before_a_fin_are_all_offered)
{
    static char bytes[100000];

    peer_send(side, bytes, sizeof(bytes));
    peer_closes(side);
    turn_until(loop, side->closed == 1);
    ck_assert_uint_eq(side->got_size, sizeof(bytes));
    ck_assert_int_gt(side->inputs, 1);
}
END_TEST

START_TEST(a_fin_alone_closes)
{
    peer_closes(side);
    turn_until(loop, side->closed == 1);
    ck_assert_int_eq(side->inputs, 0);
    ck_assert_int_eq(side->end, STREAM_EOF);
}
END_TEST

START_TEST(a_paused_stream_hears_of_a_fin_and_keeps_its_bytes)
{
    stream_pause(&side->stream);
    peer_says(side, "bye");
    turns(loop, 3);
    ck_assert_int_eq(side->inputs, 0);
    peer_closes(side);
    turn_until(loop, side->closed == 1);
    ck_assert_int_eq(side->inputs, 0);
    ck_assert(stream_read_rest(&side->stream));
    side_take(side);
    assert_got(side, "bye");
    ck_assert(!stream_read_rest(&side->stream));
}
END_TEST

START_TEST(resuming_offers_in_the_next_turn_what_was_left_unread)
{
    side->leaves_input = true;
    peer_says(side, "one");
    turn_until(loop, side->inputs == 1);
    stream_pause(&side->stream);
    turns(loop, 3);
    ck_assert_int_eq(side->inputs, 1);
    side->leaves_input = false;
    stream_resume(&side->stream);
    ck_assert_int_eq(side->inputs, 1);
    turn(loop);
    assert_got(side, "one");
}
END_TEST

START_TEST(resuming_reads_what_came_meanwhile)
{
    stream_pause(&side->stream);
    peer_says(side, "late");
    turn_until(loop, side->stream.is_readable);
    stream_resume(&side->stream);
    turn(loop);
    assert_got(side, "late");
}
END_TEST

static void pause_in_input(struct side *one)
{
    stream_pause(&one->stream);
}

START_TEST(pausing_in_input_tells_a_fin_that_came_with_the_bytes_at_once)
{
    side->on_input = pause_in_input;
    peer_says(side, "query");
    peer_closes(side);
    turn_until(loop, side->inputs == 1);
    turn_until(loop, side->closed == 1);
    ck_assert_uint_eq(stream_input(&side->stream).size, 5);
}
END_TEST

START_TEST(a_full_buffer_that_nobody_takes_does_not_spin)
{
    static char bytes[3 * BUFFER_SIZE];

    side->leaves_input = true;
    peer_send(side, bytes, sizeof(bytes));
    turn_until(loop, stream_input(&side->stream).size >= BUFFER_SIZE);
    turns(loop, 3);
    int inputs = side->inputs;
    ck_assert(STAILQ_EMPTY(&loop->again));
    turns(loop, 5);
    ck_assert_int_eq(side->inputs, inputs);
    side->leaves_input = false;
    side_take(side);
    turn_until(loop, side->got_size == sizeof(bytes));
}
END_TEST

START_TEST(a_full_buffer_does_not_hide_a_fin)
{
    static char bytes[3 * BUFFER_SIZE];

    side->leaves_input = true;
    peer_send(side, bytes, sizeof(bytes));
    turn_until(loop, stream_input(&side->stream).size >= BUFFER_SIZE);
    peer_closes(side);
    turn_until(loop, side->closed == 1);
}
END_TEST

START_TEST(input_comes_once_a_turn)
{
    static char bytes[4 * BUFFER_SIZE];
    int before;

    peer_send(side, bytes, sizeof(bytes));
    while (side->got_size < sizeof(bytes)) {
        before = side->inputs;
        turn(loop);
        ck_assert_int_le(side->inputs, before + 1);
    }
}
END_TEST

static size_t wanted;

static void want_whole(struct side *one)
{
    if (stream_input(&one->stream).size < wanted)
        stream_want(&one->stream, wanted);
    else
        side_take(one);
}

START_TEST(a_message_that_is_wanted_whole_lies_contiguous)
{
    static char bytes[150000];

    side->on_input = want_whole;
    wanted = sizeof(bytes);
    memset(bytes, 'x', sizeof(bytes));
    peer_send(side, bytes, 10);
    turn_until(loop, side->inputs == 1);
    peer_send(side, bytes, sizeof(bytes) - 10);
    turn_until(loop, side->got_size == sizeof(bytes));
    ck_assert_mem_eq(side->got, bytes, sizeof(bytes));
    ck_assert_ptr_null(side->stream.in);
}
END_TEST

static void take_all_but_one(struct side *one)
{
    size_t size = stream_input(&one->stream).size;

    memcpy(one->got + one->got_size, stream_input(&one->stream).data, size - 1);
    one->got_size += size - 1;
    stream_consume(&one->stream, size - 1);
}

START_TEST(a_rest_is_moved_to_the_front_and_kept_in_order)
{
    static uint8_t bytes[200000];

    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i * 7 + i / 251);
    side->on_input = take_all_but_one;
    for (size_t at = 0; at < sizeof(bytes); at += 20000) {
        peer_send(side, bytes + at, 20000);
        turn_until(loop, side->got_size == at + 20000 - 1);
    }
    ck_assert_mem_eq(side->got, bytes, sizeof(bytes) - 1);
}
END_TEST

START_TEST(a_full_read_is_followed_by_larger_buffers)
{
    static char bytes[BUFFER_SIZE + BUFFER_SIZE_BULK];

    peer_send(side, bytes, sizeof(bytes));
    turn_until(loop, side->got_size == BUFFER_SIZE);
    turn_until(loop, side->got_size == sizeof(bytes));
    ck_assert_int_le(side->inputs, 3);
    ck_assert_int_eq(loop->buffers.free_bulk_count, 1);
}
END_TEST

/* --- Ends that are not orderly --- */

START_TEST(a_reset_is_told_with_its_reason)
{
    peer_resets(side);
    turn_until(loop, side->closed == 1);
    ck_assert_int_eq(side->end, STREAM_RESET);
    ck_assert_str_eq(side->why, "Connection reset by peer");
}
END_TEST

START_TEST(a_paused_stream_hears_of_a_reset)
{
    stream_pause(&side->stream);
    peer_says(side, "bytes");
    turn(loop);
    peer_resets(side);
    turn_until(loop, side->closed == 1);
    ck_assert_int_eq(side->end, STREAM_RESET);
}
END_TEST

START_TEST(a_reset_in_one_event_with_bytes_is_found_by_reading_again)
{
    peer_says(side, "bytes");
    peer_resets(side);
    turn_until(loop, side->got_size == 5);
    if (side->closed == 0) {
        ck_assert(deadline_is_set(&side->stream.doubt));
        deadline_set(loop->doubts, &side->stream.doubt, 1);
        turn_until(loop, side->closed == 1);
    }
    ck_assert_int_eq(side->end, STREAM_RESET);
}
END_TEST

/* --- Closing --- */

static void close_itself(struct side *one)
{
    stream_close(&one->stream);
}

START_TEST(a_stream_may_close_in_its_own_input)
{
    side->on_input = close_itself;
    peer_says(side, "bytes");
    peer_closes(side);
    turn_until(loop, side->inputs == 1);
    turns(loop, 3);
    ck_assert_int_eq(side->closed, 0);
    ck_assert_int_eq(side->stream.fd, -1);
}
END_TEST

START_TEST(a_stream_may_close_in_its_own_closed)
{
    side->on_closed = close_itself;
    peer_closes(side);
    turn_until(loop, side->closed == 1);
    turns(loop, 3);
    ck_assert(side->stream.is_closed);
}
END_TEST

static void close_other(struct side *one)
{
    side_take(one);
    stream_close(&one->other->stream);
}

START_TEST(a_stream_closed_by_another_in_the_same_turn_is_told_nothing)
{
    struct side *second = tcp_side(loop);

    side->other = second;
    second->other = side;
    side->on_input = second->on_input = close_other;
    peer_says(side, "a");
    peer_says(second, "b");
    turn_until(loop, side->inputs + second->inputs == 1);
    turns(loop, 3);
    ck_assert_int_eq(side->inputs + second->inputs, 1);
    ck_assert_int_eq(side->closed + second->closed, 0);
    side_destroy(second);
}
END_TEST

START_TEST(closing_twice_is_fine)
{
    stream_close(&side->stream);
    stream_close(&side->stream);
    ck_assert(side->stream.is_closed);
}
END_TEST

/* --- Connecting --- */

static struct side *connecting_side(const struct address *address)
{
    struct socket_options options = {0};
    struct side *one = calloc(1, sizeof(*one));
    struct error error;

    one->peer = -1;
    one->got = malloc(SIDE_GOT_MAX);
    ck_assert(stream_connect(&one->stream, loop, address, &options, &side_events, &error));
    return one;
}

static int listen_somewhere(struct address *address)
{
    int listening = socket(AF_INET, SOCK_STREAM, 0);

    *address = (struct address){.size = sizeof(address->u.v4)};
    address->u.v4.sin_family = AF_INET;
    address->u.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ck_assert_int_eq(bind(listening, &address->u.any, address->size), 0);
    ck_assert_int_eq(getsockname(listening, &address->u.any, &address->size), 0);
    ck_assert_int_eq(listen(listening, 5), 0);
    return listening;
}

START_TEST(a_connection_becomes_ready_and_sends_what_was_put_before)
{
    struct address address;
    int listening = listen_somewhere(&address);

    side = connecting_side(&address);
    ck_assert(stream_put(&side->stream, "startup", 7));
    turn_until(loop, side->ready == 1 && stream_is_flushed(&side->stream));
    side->peer = accept(listening, NULL, NULL);
    assert_peer_reads(side, "startup");
    peer_says(side, "answer");
    turn_until(loop, side->got_size == 6);
    ck_assert_int_eq(side->ready, 1);
    close(listening);
}
END_TEST

START_TEST(a_refused_connection_is_told_as_closed)
{
    struct address address;

    close(listen_somewhere(&address));
    side = connecting_side(&address);
    turn_until(loop, side->closed == 1);
    ck_assert_int_eq(side->ready, 0);
    ck_assert_str_eq(side->why, "Connection refused");
}
END_TEST

START_TEST(a_missing_unix_socket_is_an_error_at_once)
{
    struct address address = {.size = sizeof(address.u.local)};
    struct socket_options options = {0};
    struct stream stream;
    struct error error;

    address.u.local.sun_family = AF_UNIX;
    strcpy(address.u.local.sun_path, "/nonexistent/.s.PGSQL.5432");
    ck_assert(!stream_connect(&stream, loop, &address, &options, &side_events, &error));
    ck_assert_str_eq(error.message, "No such file or directory");
    ck_assert(stream.is_closed);
}
END_TEST

START_TEST(a_unix_connection_becomes_ready_in_a_later_turn)
{
    struct address address = {.size = sizeof(sa_family_t) + 1 + 20};
    int listening = socket(AF_UNIX, SOCK_STREAM, 0);

    address.u.local.sun_family = AF_UNIX;
    snprintf(address.u.local.sun_path + 1, 21, "pgweir-test-%08d", (int)getpid());
    ck_assert_int_eq(bind(listening, &address.u.any, address.size), 0);
    ck_assert_int_eq(listen(listening, 1), 0);
    side = connecting_side(&address);
    ck_assert_int_eq(side->ready, 0);
    turn_until(loop, side->ready == 1);
    close(listening);
}
END_TEST

/* --- Handshakes --- */

static struct {
    enum transport_verdict verdicts[8];
    int steps;
} handshake;

static enum transport_verdict play_handshake(struct stream *stream, struct error *error)
{
    enum transport_verdict verdict = handshake.verdicts[handshake.steps];

    (void)stream;
    if (verdict == TRANSPORT_FAILED)
        error_set(error, SQLSTATE_CONNECTION_FAILURE, "no such cipher");
    handshake.steps++;
    return verdict;
}

static void start_handshake(struct transport *transport, struct side *one)
{
    *transport = transport_plain;
    transport->handshake = play_handshake;
    one->stream.transport = transport;
    one->stream.is_handshaking = true;
    loop_again(loop, &one->stream.again_task);
}

START_TEST(a_handshake_goes_on_with_each_event_and_ends_ready)
{
    static struct transport transport;

    memset(&handshake, 0, sizeof(handshake));
    handshake.verdicts[0] = TRANSPORT_DRY;
    handshake.verdicts[1] = TRANSPORT_MOVED;
    start_handshake(&transport, side);
    turn_until(loop, handshake.steps == 1);
    ck_assert_int_eq(side->ready, 0);
    peer_says(side, "after");
    turn_until(loop, side->got_size == 5);
    ck_assert_int_eq(side->ready, 1);
    ck_assert_int_eq(handshake.steps, 2);
}
END_TEST

START_TEST(a_failed_handshake_says_why)
{
    static struct transport transport;

    memset(&handshake, 0, sizeof(handshake));
    handshake.verdicts[0] = TRANSPORT_FAILED;
    start_handshake(&transport, side);
    turn_until(loop, side->closed == 1);
    ck_assert_int_eq(side->end, STREAM_FAILED);
    ck_assert_str_eq(side->why, "no such cipher");
}
END_TEST

START_TEST(a_fin_in_a_handshake_ends_it)
{
    static struct transport transport;

    memset(&handshake, 0, sizeof(handshake));
    for (int i = 0; i < 8; i++)
        handshake.verdicts[i] = TRANSPORT_DRY;
    start_handshake(&transport, side);
    turn_until(loop, handshake.steps == 1);
    peer_closes(side);
    turn_until(loop, side->closed == 1);
    ck_assert_int_eq(side->end, STREAM_EOF);
}
END_TEST

START_TEST(output_put_during_a_handshake_waits_for_its_end)
{
    static struct transport transport;

    memset(&handshake, 0, sizeof(handshake));
    handshake.verdicts[0] = TRANSPORT_DRY;
    handshake.verdicts[1] = TRANSPORT_MOVED;
    start_handshake(&transport, side);
    ck_assert(stream_put(&side->stream, "secret", 6));
    turn_until(loop, handshake.steps == 1);
    turn(loop);
    ck_assert_uint_eq(side->stream.sent, 0);
    peer_says(side, "x");
    turn_until(loop, side->stream.sent == 6);
}
END_TEST

/* --- Moving between loops --- */

START_TEST(a_moved_stream_offers_its_unread_input_again)
{
    struct loop *second = loop_create(NULL);

    side->leaves_input = true;
    peer_says(side, "kept");
    turn_until(loop, side->inputs == 1);
    stream_detach(&side->stream);
    ck_assert_int_eq(loop->buffers.lent_count, 0);
    side->leaves_input = false;
    ck_assert(stream_attach(&side->stream, second));
    turn_until(second, side->got_size == 4);
    peer_says(side, " and more");
    turn_until(second, side->got_size == 13);
    assert_got(side, "kept and more");
    side_destroy(side);
    side = NULL;
    loop_destroy(second);
}
END_TEST

START_TEST(a_stream_moved_after_its_input_was_lent_keeps_the_rest)
{
    struct loop *second = loop_create(NULL);
    struct side *to = tcp_side(loop);

    side->leaves_input = true;
    peer_says(side, "forwardedkept");
    turn_until(loop, side->inputs == 1);
    ck_assert(stream_forward(&to->stream, &side->stream, 9));
    stream_detach(&side->stream);
    side->leaves_input = false;
    ck_assert(stream_attach(&side->stream, second));
    turn_until(second, side->got_size == 4);
    turn(loop);
    assert_got(side, "kept");
    assert_peer_reads(to, "forwarded");
    side_destroy(to);
    side_destroy(side);
    side = NULL;
    loop_destroy(second);
}
END_TEST

START_TEST(what_happened_on_the_way_is_noticed_on_the_other_loop)
{
    struct loop *second = loop_create(NULL);

    turns(loop, 2);
    stream_detach(&side->stream);
    peer_says(side, "meanwhile");
    peer_closes(side);
    ck_assert(stream_attach(&side->stream, second));
    turn_until(second, side->closed == 1);
    assert_got(side, "meanwhile");
    side_destroy(side);
    side = NULL;
    loop_destroy(second);
}
END_TEST

START_TEST(unasked_input_is_seen_without_waiting)
{
    turns(loop, 2);
    ck_assert(!stream_has_unasked_input(&side->stream));
    ck_assert_ptr_null(side->stream.in);
    peer_says(side, "x");
    ck_assert(stream_has_unasked_input(&side->stream));
    turn_until(loop, side->got_size == 1);
    peer_closes(side);
    ck_assert(stream_has_unasked_input(&side->stream));
    turn_until(loop, side->closed == 1);
}
END_TEST

/* A stream that goes to and fro between two threads, echoing one line on each. */
#define MOVES 500

struct traveller {
    struct side *side;
    struct loop *loops[2];
    struct mail mail;
    int moves;
};
static struct traveller traveller;

static void depart(struct loop_task *task)
{
    struct loop *from = traveller.side->stream.loop;

    (void)task;
    stream_detach(&traveller.side->stream);
    loop_post(traveller.loops[from == traveller.loops[0] ? 1 : 0], &traveller.mail);
}
static struct loop_task departure = {.run = depart};

static void arrive(struct mail *mail, struct loop *at)
{
    (void)mail;
    traveller.moves++;
    ck_assert(stream_attach(&traveller.side->stream, at));
}

static void echo_and_move(struct side *one)
{
    ck_assert(stream_forward(&one->stream, &one->stream, stream_input(&one->stream).size));
    stream_flush(&one->stream);
    loop_defer(one->stream.loop, LOOP_GRANT, &departure);
}

static void stop_both(struct side *one)
{
    stream_close(&one->stream);
    loop_stop(traveller.loops[0]);
    loop_stop(traveller.loops[1]);
}

static void *run_loop(void *argument)
{
    loop_run(argument);
    return NULL;
}

START_TEST(a_stream_travels_between_two_threads)
{
    pthread_t threads[2];
    char answer[8];

    traveller = (struct traveller){.side = side, .loops = {loop, loop_create(NULL)}};
    traveller.mail.deliver = arrive;
    side->on_input = echo_and_move;
    side->on_closed = stop_both;
    for (int i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, run_loop, traveller.loops[i]);
    for (int i = 0; i < MOVES; i++) {
        peer_says(side, "line");
        ck_assert_int_eq(recv(side->peer, answer, 4, MSG_WAITALL), 4);
    }
    shutdown(side->peer, SHUT_WR);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    ck_assert_int_eq(traveller.moves, MOVES);
    side_destroy(side);
    side = NULL;
    loop_destroy(traveller.loops[1]);
}
END_TEST

static void add_input_tests(TCase *cases)
{
    tcase_add_test(cases, bytes_that_arrive_are_offered_once);
    tcase_add_test(cases, an_idle_stream_holds_no_buffer);
    tcase_add_test(cases, bytes_and_fin_in_one_event_are_offered_before_closed);
    tcase_add_test(cases, many_bytes_before_a_fin_are_all_offered);
    tcase_add_test(cases, a_fin_alone_closes);
    tcase_add_test(cases, a_paused_stream_hears_of_a_fin_and_keeps_its_bytes);
    tcase_add_test(cases, resuming_offers_in_the_next_turn_what_was_left_unread);
    tcase_add_test(cases, resuming_reads_what_came_meanwhile);
    tcase_add_test(cases, pausing_in_input_tells_a_fin_that_came_with_the_bytes_at_once);
    tcase_add_test(cases, a_full_buffer_that_nobody_takes_does_not_spin);
    tcase_add_test(cases, a_full_buffer_does_not_hide_a_fin);
    tcase_add_test(cases, input_comes_once_a_turn);
    tcase_add_test(cases, a_message_that_is_wanted_whole_lies_contiguous);
    tcase_add_test(cases, a_rest_is_moved_to_the_front_and_kept_in_order);
    tcase_add_test(cases, a_full_read_is_followed_by_larger_buffers);
    tcase_add_test(cases, a_stream_may_close_in_its_own_input);
    tcase_add_test(cases, a_stream_may_close_in_its_own_closed);
    tcase_add_test(cases, a_stream_closed_by_another_in_the_same_turn_is_told_nothing);
    tcase_add_test(cases, closing_twice_is_fine);
    tcase_add_test(cases, a_handshake_goes_on_with_each_event_and_ends_ready);
    tcase_add_test(cases, a_failed_handshake_says_why);
    tcase_add_test(cases, a_fin_in_a_handshake_ends_it);
    tcase_add_test(cases, output_put_during_a_handshake_waits_for_its_end);
    tcase_add_test(cases, a_moved_stream_offers_its_unread_input_again);
    tcase_add_test(cases, a_stream_moved_after_its_input_was_lent_keeps_the_rest);
    tcase_add_test(cases, what_happened_on_the_way_is_noticed_on_the_other_loop);
    tcase_add_test(cases, unasked_input_is_seen_without_waiting);
    tcase_add_test(cases, a_stream_travels_between_two_threads);
}

Suite *suite_net_stream(void)
{
    Suite *suite = suite_create("net/stream");
    TCase *tcp = tcase_create("over TCP"), *local = tcase_create("over Unix sockets"),
          *connecting = tcase_create("connecting");

    tcase_set_timeout(tcp, 60);
    tcase_set_timeout(local, 60);
    tcase_add_checked_fixture(tcp, set_up_tcp, tear_down);
    tcase_add_checked_fixture(local, set_up_local, tear_down);
    tcase_add_checked_fixture(connecting, set_up, tear_down);
    add_input_tests(tcp);
    add_input_tests(local);
    tcase_add_test(tcp, a_reset_is_told_with_its_reason);
    tcase_add_test(tcp, a_paused_stream_hears_of_a_reset);
    tcase_add_test(tcp, a_reset_in_one_event_with_bytes_is_found_by_reading_again);
    tcase_add_test(connecting, a_connection_becomes_ready_and_sends_what_was_put_before);
    tcase_add_test(connecting, a_refused_connection_is_told_as_closed);
    tcase_add_test(connecting, a_missing_unix_socket_is_an_error_at_once);
    tcase_add_test(connecting, a_unix_connection_becomes_ready_in_a_later_turn);
    suite_add_tcase(suite, tcp);
    suite_add_tcase(suite, local);
    suite_add_tcase(suite, connecting);
    return suite;
}
