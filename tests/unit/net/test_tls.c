#include "net/tls_context.h"
#include "tls_pair.h"

Suite *suite_net_tls(void);

static struct loop *loop;
static struct tls_pair pair;

static void set_up(void)
{
    loop = loop_create(NULL);
    ck_assert_ptr_nonnull(loop);
    pair = pair_create(loop);
}

static void tear_down(void)
{
    pair_destroy(&pair);
    turn(loop);
    ck_assert_int_eq(loop->buffers.lent_count, 0);
    loop_destroy(loop);
}

/* Starts a handshake between contexts of these settings. */
static void start(const struct tls_settings *client_side, const struct tls_settings *server_side,
                  const char *name, const char *alpn)
{
    struct tls_context *accept_context = accepting(client_side, NULL);
    struct tls_context *connect_context = connecting(server_side);

    pair_start(&pair, accept_context, connect_context, name, alpn);
    /* The streams keep what they need. */
    tls_context_release(accept_context);
    tls_context_release(connect_context);
}

static void start_modes(enum tls_mode client_side, enum tls_mode server_side)
{
    struct tls_settings accept_settings = accepting_settings(client_side);
    struct tls_settings connect_settings = {.mode = server_side};

    start(&accept_settings, &connect_settings, "localhost", NULL);
}

static void say(struct side *side, const char *text)
{
    ck_assert(stream_put(&side->stream, text, strlen(text)));
}

/* A handshake is good when both have heard from one another: with TLS 1.3 a client is ready before
 * it was believed. */
static void assert_both_talk(void)
{
    turn_until(loop, both_are_ready(&pair));
    say(pair.connector, "ping");
    say(pair.acceptor, "pong");
    turn_until(loop, pair.acceptor->got_size == 4 && pair.connector->got_size == 4);
    assert_got(pair.acceptor, "ping");
    assert_got(pair.connector, "pong");
}

/* --- Handshakes --- */

START_TEST(bytes_travel_in_both_directions)
{
    start_modes(TLS_REQUIRE, TLS_REQUIRE);
    assert_both_talk();
}
END_TEST

START_TEST(the_text_names_version_and_cipher)
{
    char text[128];

    stream_tls_text(&pair.acceptor->stream, text, sizeof(text));
    ck_assert_str_eq(text, "");
    start_modes(TLS_REQUIRE, TLS_REQUIRE);
    turn_until(loop, both_are_ready(&pair));
    ck_assert(stream_is_tls(&pair.acceptor->stream));
    stream_tls_text(&pair.acceptor->stream, text, sizeof(text));
    ck_assert_str_eq(text, "TLSv1.3/TLS_AES_256_GCM_SHA384");
}
END_TEST

START_TEST(tls_1_2_is_spoken_where_it_is_asked_for)
{
    struct tls_settings accept_settings = accepting_settings(TLS_PREFER);
    struct tls_settings connect_settings = {.mode = TLS_PREFER, .protocols = "tlsv1.2"};
    char text[128];

    start(&accept_settings, &connect_settings, "localhost", NULL);
    assert_both_talk();
    stream_tls_text(&pair.acceptor->stream, text, sizeof(text));
    ck_assert_str_eq(text, "TLSv1.2/ECDHE-ECDSA-AES256-GCM-SHA384");
}
END_TEST

START_TEST(versions_without_one_in_common_fail)
{
    struct tls_settings accept_settings = accepting_settings(TLS_PREFER);
    struct tls_settings connect_settings = {.mode = TLS_PREFER, .protocols = "tlsv1.2"};

    accept_settings.protocols = "tlsv1.3";
    start(&accept_settings, &connect_settings, "localhost", NULL);
    turn_until(loop, pair.acceptor->closed == 1 && pair.connector->closed == 1);
    ck_assert_int_eq(pair.acceptor->end, STREAM_FAILED);
    ck_assert_ptr_nonnull(strstr(pair.acceptor->why, "TLS handshake error: "));
    ck_assert_ptr_nonnull(strstr(pair.acceptor->why, "unsupported protocol"));
    /* The alert came before the end. */
    ck_assert_ptr_nonnull(strstr(pair.connector->why, "alert protocol version"));
}
END_TEST

START_TEST(bytes_that_are_no_tls_fail)
{
    struct tls_settings settings = accepting_settings(TLS_PREFER);
    struct tls_context *context = accepting(&settings, NULL);

    ck_assert(stream_start_tls_accept(&pair.acceptor->stream, context, NULL));
    tls_context_release(context);
    say(pair.connector, "GET / HTTP/1.1\r\n\r\n");
    turn_until(loop, pair.acceptor->closed == 1);
    ck_assert_int_eq(pair.acceptor->end, STREAM_FAILED);
    ck_assert_ptr_nonnull(strstr(pair.acceptor->why, "http request"));
}
END_TEST

START_TEST(a_client_hello_without_end_is_not_kept)
{
    struct tls_settings settings = accepting_settings(TLS_PREFER);
    struct tls_context *context = accepting(&settings, NULL);
    static uint8_t record[5 + 16000];

    ck_assert(stream_start_tls_accept(&pair.acceptor->stream, context, NULL));
    tls_context_release(context);
    /* Handshake records; the first begins a ClientHello of 128,000 bytes. */
    memcpy(record, "\x16\x03\x01\x3e\x80\x01\x01\xf4\x00\x03\x03", 11);
    ck_assert(stream_put(&pair.connector->stream, record, sizeof(record)));
    memset(record + 5, 0, sizeof(record) - 5);
    for (int i = 0; i < 3; i++)
        ck_assert(stream_put(&pair.connector->stream, record, sizeof(record)));
    turn_until(loop, pair.acceptor->closed == 1);
    ck_assert_int_eq(pair.acceptor->end, STREAM_FAILED);
    ck_assert_ptr_nonnull(strstr(pair.acceptor->why, "more bytes than a handshake can have"));
}
END_TEST

START_TEST(a_peer_that_leaves_during_the_handshake_is_eof)
{
    struct tls_settings settings = accepting_settings(TLS_PREFER);
    struct tls_context *context = accepting(&settings, NULL);

    ck_assert(stream_start_tls_accept(&pair.acceptor->stream, context, NULL));
    tls_context_release(context);
    shutdown(pair.connector->stream.fd, SHUT_WR);
    turn_until(loop, pair.acceptor->closed == 1);
    ck_assert_int_eq(pair.acceptor->end, STREAM_EOF);
}
END_TEST

static void reset(struct side *side)
{
    struct linger linger = {.l_onoff = 1};

    setsockopt(side->stream.fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    close(side->stream.fd);
    side->stream.fd = open("/dev/null", O_RDONLY); /* for its stream_close */
}

static void end_of_doubt(void)
{
    if (pair.acceptor->closed > 0)
        return;
    ck_assert(deadline_is_set(&pair.acceptor->stream.doubt));
    deadline_set(loop->doubts, &pair.acceptor->stream.doubt, 1);
}

START_TEST(a_reset_in_one_event_with_the_end_of_the_handshake_is_found)
{
    start_modes(TLS_REQUIRE, TLS_REQUIRE);
    turn_until(loop, pair.connector->ready == 1);
    ck_assert_int_eq(pair.acceptor->ready, 0);
    reset(pair.connector);
    turn_until(loop, pair.acceptor->ready == 1 || pair.acceptor->closed == 1);
    end_of_doubt();
    turn_until(loop, pair.acceptor->closed == 1);
    ck_assert_int_eq(pair.acceptor->end, STREAM_RESET);
}
END_TEST

START_TEST(a_reset_in_one_event_with_a_part_of_the_handshake_is_found)
{
    struct tls_settings settings = accepting_settings(TLS_PREFER);
    struct tls_context *context = accepting(&settings, NULL);

    ck_assert(stream_start_tls_accept(&pair.acceptor->stream, context, NULL));
    tls_context_release(context);
    ck_assert_int_eq(send(pair.connector->stream.fd, "\x16\x03\x01\x02\0\x01", 6, 0), 6);
    reset(pair.connector);
    turn_until(loop, pair.acceptor->closed == 1 || pair.acceptor->stream.is_in_doubt);
    end_of_doubt();
    turn_until(loop, pair.acceptor->closed == 1);
    ck_assert_int_eq(pair.acceptor->end, STREAM_RESET);
}
END_TEST

START_TEST(a_handshake_that_stands_still_is_looked_at_once)
{
    struct tls_settings settings = accepting_settings(TLS_PREFER);
    struct tls_context *context = accepting(&settings, NULL);

    ck_assert(stream_start_tls_accept(&pair.acceptor->stream, context, NULL));
    tls_context_release(context);
    ck_assert_int_eq(send(pair.connector->stream.fd, "\x16\x03\x01\x02\0\x01", 6, 0), 6);
    turn_until(loop, pair.acceptor->stream.is_in_doubt);
    end_of_doubt();
    turn_until(loop, !pair.acceptor->stream.is_in_doubt);
    turns(loop, 3);
    ck_assert(!pair.acceptor->stream.is_in_doubt);
    ck_assert_int_eq(pair.acceptor->closed, 0);
}
END_TEST

START_TEST(many_handshakes_at_once_all_come_to_their_end)
{
    struct tls_settings accept_settings = accepting_settings(TLS_REQUIRE);
    struct tls_settings connect_settings = {.mode = TLS_REQUIRE};
    struct tls_context *accept_context = accepting(&accept_settings, NULL);
    struct tls_context *connect_context = connecting(&connect_settings);
    struct tls_pair pairs[20];

    for (int i = 0; i < 20; i++) {
        pairs[i] = pair_create(loop);
        pair_start(&pairs[i], accept_context, connect_context, "localhost", NULL);
    }
    for (int i = 0; i < 20; i++)
        turn_until(loop, both_are_ready(&pairs[i]));
    for (int i = 0; i < 20; i++)
        pair_destroy(&pairs[i]);
    tls_context_release(accept_context);
    tls_context_release(connect_context);
}
END_TEST

START_TEST(a_context_that_disables_tls_starts_none)
{
    struct tls_settings settings = {.mode = TLS_DISABLE};
    struct tls_context *context = accepting(&settings, NULL);
    struct error error;

    ck_assert_int_eq(tls_context_mode(context), TLS_DISABLE);
    ck_assert(!stream_start_tls_accept(&pair.acceptor->stream, context, &error));
    ck_assert_str_eq(error.message, "TLS is disabled");
    ck_assert(!stream_is_tls(&pair.acceptor->stream));
    tls_context_release(context);
}
END_TEST

/* --- The two ways to begin --- */

static struct tls_context *context_of_input;

static void accept_on_ssl_request(struct side *side)
{
    side_take(side);
    ck_assert(stream_put(&side->stream, "S", 1));
    ck_assert(stream_start_tls_accept(&side->stream, context_of_input, NULL));
    side->on_input = NULL;
}

static void accept_at_once(struct side *side)
{
    ck_assert(stream_start_tls_accept(&side->stream, context_of_input, NULL));
    side->on_input = NULL;
}

static void connect_on_s(struct side *side)
{
    static const struct tls_settings settings = {.mode = TLS_REQUIRE};
    struct tls_context *context = connecting(&settings);

    side_take(side);
    assert_got(side, "S");
    side->got_size = 0;
    ck_assert(stream_start_tls_connect(&side->stream, context, "localhost", NULL, NULL));
    tls_context_release(context);
    side->on_input = NULL;
}

START_TEST(an_ssl_request_is_answered_in_plain_before_the_handshake)
{
    struct tls_settings settings = accepting_settings(TLS_PREFER);

    context_of_input = accepting(&settings, NULL);
    pair.acceptor->on_input = accept_on_ssl_request;
    pair.connector->on_input = connect_on_s;
    say(pair.connector, "SSLReque");
    turn_until(loop, both_are_ready(&pair));
    tls_context_release(context_of_input);
    assert_got(pair.acceptor, "SSLReque");
    pair.acceptor->got_size = 0;
    assert_both_talk();
}
END_TEST

START_TEST(direct_tls_takes_the_bytes_that_were_read)
{
    struct tls_settings settings = accepting_settings(TLS_PREFER);
    struct tls_settings connect_settings = {.mode = TLS_REQUIRE};
    struct tls_context *context = connecting(&connect_settings);

    context_of_input = accepting(&settings, NULL);
    pair.acceptor->on_input = accept_at_once;
    ck_assert(stream_start_tls_connect(&pair.connector->stream, context, "localhost", "postgresql",
                                       NULL));
    assert_both_talk();
    tls_context_release(context_of_input);
    tls_context_release(context);
}
END_TEST

START_TEST(direct_tls_that_comes_byte_by_byte_is_understood)
{
    struct tls_settings settings = accepting_settings(TLS_PREFER);
    struct tls_settings connect_settings = {.mode = TLS_REQUIRE};
    struct tls_context *context = connecting(&connect_settings);
    int fds[2];
    char bytes[4096];

    /* The connector's ClientHello is caught, and handed to the acceptor in small parts. */
    tcp_pair(fds);
    struct side *caught = side_create(loop, fds[0], fds[1]);
    ck_assert(stream_start_tls_connect(&caught->stream, context, "localhost", NULL, NULL));
    turns(loop, 3);
    ssize_t size = recv(caught->peer, bytes, sizeof(bytes), 0);
    ck_assert_int_gt(size, 100);
    context_of_input = accepting(&settings, NULL);
    pair.acceptor->on_input = accept_at_once;
    for (ssize_t i = 0; i < size; i++) {
        ck_assert_int_eq(send(pair.connector->stream.fd, bytes + i, 1, 0), 1);
        turn(loop);
    }
    turn_until(loop, pair.connector->got_size > 500); /* ServerHello, certificate, ... */
    ck_assert_int_eq(pair.acceptor->closed, 0);
    tls_context_release(context_of_input);
    tls_context_release(context);
    side_destroy(caught);
}
END_TEST

/* --- ALPN --- */

START_TEST(a_client_that_offers_postgresql_gets_it)
{
    struct tls_settings accept_settings = accepting_settings(TLS_PREFER);
    struct tls_settings connect_settings = {.mode = TLS_PREFER};

    start(&accept_settings, &connect_settings, "localhost", "postgresql");
    assert_both_talk();
}
END_TEST

START_TEST(a_client_that_offers_only_others_is_refused)
{
    struct tls_settings accept_settings = accepting_settings(TLS_PREFER);
    struct tls_settings connect_settings = {.mode = TLS_PREFER};

    start(&accept_settings, &connect_settings, "localhost", "http/1.1");
    turn_until(loop, pair.acceptor->closed == 1 && pair.connector->closed == 1);
    ck_assert_ptr_nonnull(strstr(pair.acceptor->why, "no application protocol"));
    ck_assert_ptr_nonnull(strstr(pair.connector->why, "alert no application protocol"));
}
END_TEST

/* --- Certificates of clients --- */

static const struct {
    enum tls_mode mode;
    const char *ca, *certificate;
    bool is_let_in;
} client_cases[] = {
    {TLS_ALLOW, NULL, NULL, true},
    {TLS_ALLOW, NULL, "mallory", true}, /* not asked for */
    {TLS_PREFER, NULL, "mallory", true},
    {TLS_REQUIRE, NULL, "mallory", true},
    {TLS_ALLOW, "ca.crt", NULL, true},
    {TLS_PREFER, "ca.crt", "alice", true},
    {TLS_PREFER, "ca.crt", "mallory", false},
    {TLS_REQUIRE, "ca.crt", NULL, true},
    {TLS_REQUIRE, "ca.crt", "mallory", false},
    {TLS_VERIFY_CA, "ca.crt", "alice", true},
    {TLS_VERIFY_CA, "ca.crt", NULL, false},
    {TLS_VERIFY_CA, "ca.crt", "mallory", false},
    {TLS_VERIFY_CA, NULL, "alice", false}, /* nobody is trusted */
    {TLS_VERIFY_FULL, "ca.crt", "alice", true},
    {TLS_VERIFY_FULL, "ca.crt", NULL, false},
    {TLS_VERIFY_FULL, "ca.crt", "mallory", false},
};

START_TEST(clients_are_let_in_by_mode_and_certificate)
{
    struct tls_settings accept_settings = accepting_settings(client_cases[_i].mode);
    struct tls_settings connect_settings = {.mode = TLS_REQUIRE};
    char certificate[64], key[64];

    if (client_cases[_i].ca != NULL)
        accept_settings.ca_file = certificates_path(client_cases[_i].ca);
    if (client_cases[_i].certificate != NULL) {
        snprintf(certificate, sizeof(certificate), "%s.crt", client_cases[_i].certificate);
        snprintf(key, sizeof(key), "%s.key", client_cases[_i].certificate);
        connect_settings.cert_file = certificates_path(certificate);
        connect_settings.key_file = certificates_path(key);
    }
    start(&accept_settings, &connect_settings, "localhost", NULL);
    if (client_cases[_i].is_let_in) {
        assert_both_talk();
        return;
    }
    turn_until(loop, pair.acceptor->closed == 1 && pair.connector->closed == 1);
    ck_assert_int_eq(pair.acceptor->ready, 0);
    ck_assert_int_eq(pair.acceptor->end, STREAM_FAILED);
    ck_assert_ptr_nonnull(strstr(pair.acceptor->why, "TLS handshake error: handshake failed: "));
}
END_TEST

START_TEST(a_bad_certificate_is_named_with_its_fault)
{
    struct tls_settings accept_settings = accepting_settings(TLS_VERIFY_CA);
    struct tls_settings connect_settings = {.mode = TLS_REQUIRE,
                                            .cert_file = certificates_path("mallory.crt"),
                                            .key_file = certificates_path("mallory.key")};

    accept_settings.ca_file = certificates_path("ca.crt");
    start(&accept_settings, &connect_settings, "localhost", NULL);
    turn_until(loop, pair.acceptor->closed == 1);
    ck_assert_str_eq(pair.acceptor->why,
                     "TLS handshake error: handshake failed: error:0A000086:SSL routines::"
                     "certificate verify failed: unable to get local issuer certificate");
}
END_TEST

/* --- Certificates of servers --- */

static const struct {
    enum tls_mode mode;
    const char *ca, *name;
    bool is_believed;
} server_cases[] = {
    {TLS_ALLOW, NULL, "wrong.example", true},
    {TLS_PREFER, NULL, "wrong.example", true},
    {TLS_REQUIRE, NULL, "wrong.example", true},
    {TLS_REQUIRE, "other-ca.crt", "wrong.example", true},
    {TLS_VERIFY_CA, "ca.crt", "wrong.example", true},
    {TLS_VERIFY_CA, "other-ca.crt", "localhost", false},
    {TLS_VERIFY_CA, NULL, "localhost", false},
    {TLS_VERIFY_FULL, "ca.crt", "localhost", true},
    {TLS_VERIFY_FULL, "ca.crt", "LOCALHOST", true},
    {TLS_VERIFY_FULL, "ca.crt", "127.0.0.1", true},
    {TLS_VERIFY_FULL, "ca.crt", "wrong.example", false},
    {TLS_VERIFY_FULL, "ca.crt", "127.0.0.2", false},
    {TLS_VERIFY_FULL, "ca.crt", "::1", false},
    {TLS_VERIFY_FULL, "other-ca.crt", "localhost", false},
};

START_TEST(servers_are_believed_by_mode_authority_and_name)
{
    struct tls_settings accept_settings = accepting_settings(TLS_REQUIRE);
    struct tls_settings connect_settings = {.mode = server_cases[_i].mode};

    if (server_cases[_i].ca != NULL)
        connect_settings.ca_file = certificates_path(server_cases[_i].ca);
    start(&accept_settings, &connect_settings, server_cases[_i].name, NULL);
    if (server_cases[_i].is_believed) {
        assert_both_talk();
        return;
    }
    turn_until(loop, pair.connector->closed == 1 && pair.acceptor->closed == 1);
    ck_assert_int_eq(pair.connector->ready, 0);
    ck_assert_ptr_nonnull(strstr(pair.connector->why, "certificate verify failed"));
}
END_TEST

START_TEST(verify_full_needs_a_name)
{
    struct tls_settings settings = {.mode = TLS_VERIFY_FULL,
                                    .ca_file = certificates_path("ca.crt")};
    struct tls_context *context = connecting(&settings);

    ck_assert(!stream_start_tls_connect(&pair.connector->stream, context, "", NULL, NULL));
    ck_assert(!stream_start_tls_connect(&pair.connector->stream, context, NULL, NULL, NULL));
    tls_context_release(context);
}
END_TEST

START_TEST(system_means_the_roots_of_the_system)
{
    struct tls_settings accept_settings = accepting_settings(TLS_REQUIRE);
    struct tls_settings connect_settings = {.mode = TLS_VERIFY_CA, .ca_file = "system"};

    setenv("SSL_CERT_FILE", certificates_path("ca.crt"), 1);
    start(&accept_settings, &connect_settings, "localhost", NULL);
    assert_both_talk();
}
END_TEST

/* --- Bytes --- */

#define MUCH (4 * 1024 * 1024)

START_TEST(many_bytes_arrive_whole_at_a_slow_reader)
{
    uint8_t *bytes = malloc(MUCH);

    for (size_t i = 0; i < MUCH; i++)
        bytes[i] = (uint8_t)(i * 7 + (i >> 8));
    start_modes(TLS_REQUIRE, TLS_REQUIRE);
    turn_until(loop, both_are_ready(&pair));
    stream_pause(&pair.connector->stream);
    /* Spans of odd sizes, some smaller than a record and some larger. */
    for (size_t at = 0, size = 1; at < MUCH; at += size, size = size * 3 % 40009 + 1) {
        if (size > MUCH - at)
            size = MUCH - at;
        ck_assert(stream_lend(&pair.acceptor->stream, bytes + at, size));
        if (at % 3 == 0)
            turn(loop);
    }
    turns(loop, 10);
    ck_assert(stream_is_blocked(&pair.acceptor->stream));
    stream_resume(&pair.connector->stream);
    turn_until(loop, pair.connector->got_size == MUCH);
    ck_assert_mem_eq(pair.connector->got, bytes, MUCH);
    ck_assert_int_eq(pair.acceptor->drained, 1);
    free(bytes);
}
END_TEST

START_TEST(small_writes_of_a_turn_are_taken_in_one_go)
{
    start_modes(TLS_REQUIRE, TLS_REQUIRE);
    turn_until(loop, both_are_ready(&pair));
    turns(loop, 3);
    int before = pair.acceptor->inputs;
    /* Five records that lie in the socket when it is read. */
    for (int i = 0; i < 5; i++) {
        say(pair.connector, "message ");
        stream_flush(&pair.connector->stream);
    }
    turn_until(loop, pair.acceptor->got_size == 40);
    ck_assert_int_eq(pair.acceptor->inputs, before + 1);
}
END_TEST

START_TEST(close_notify_is_eof_behind_the_last_bytes)
{
    start_modes(TLS_REQUIRE, TLS_REQUIRE);
    turn_until(loop, both_are_ready(&pair));
    say(pair.connector, "bye");
    stream_close(&pair.connector->stream);
    turn_until(loop, pair.acceptor->closed == 1);
    assert_got(pair.acceptor, "bye");
    ck_assert_int_eq(pair.acceptor->end, STREAM_EOF);
}
END_TEST

START_TEST(a_fin_without_close_notify_is_eof_too)
{
    start_modes(TLS_REQUIRE, TLS_REQUIRE);
    turn_until(loop, both_are_ready(&pair));
    say(pair.connector, "bye");
    stream_flush(&pair.connector->stream);
    shutdown(pair.connector->stream.fd, SHUT_WR);
    turn_until(loop, pair.acceptor->closed == 1);
    assert_got(pair.acceptor, "bye");
    ck_assert_int_eq(pair.acceptor->end, STREAM_EOF);
}
END_TEST

START_TEST(bytes_forged_in_the_session_end_it)
{
    start_modes(TLS_REQUIRE, TLS_REQUIRE);
    turn_until(loop, both_are_ready(&pair));
    ck_assert_int_eq(send(pair.connector->stream.fd,
                          "\x17\x03\x03\x00\x20"
                          "0123456789abcdef0123456789abcdef",
                          37, 0),
                     37);
    turn_until(loop, pair.acceptor->closed == 1);
    ck_assert_int_eq(pair.acceptor->end, STREAM_FAILED);
    ck_assert_uint_eq(pair.acceptor->got_size, 0);
}
END_TEST

START_TEST(a_stream_that_moves_keeps_its_session)
{
    struct loop *other = loop_create(NULL);

    start_modes(TLS_REQUIRE, TLS_REQUIRE);
    turn_until(loop, both_are_ready(&pair));
    stream_detach(&pair.acceptor->stream);
    say(pair.connector, "ping");
    turn(loop);
    ck_assert(stream_attach(&pair.acceptor->stream, other));
    turn_until(other, pair.acceptor->got_size == 4);
    say(pair.acceptor, "pong");
    turn(other);
    turn_until(loop, pair.connector->got_size == 4);
    stream_close(&pair.acceptor->stream);
    turn(other);
    loop_destroy(other);
}
END_TEST

START_TEST(keys_are_never_written_down)
{
    setenv("SSLKEYLOGFILE", certificates_path("keys.log"), 1);
    start_modes(TLS_REQUIRE, TLS_REQUIRE);
    assert_both_talk();
    ck_assert_int_ne(access(certificates_path("keys.log"), F_OK), 0);
}
END_TEST

Suite *suite_net_tls(void)
{
    Suite *suite = suite_create("net/tls");
    TCase *tests = tcase_create("all");

    /* Here, not in a fixture: each test is a process of its own, and they shall have the same
     * files. */
    make_certificates();
    suite_add_tcase(suite, tests);
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, bytes_travel_in_both_directions);
    tcase_add_test(tests, the_text_names_version_and_cipher);
    tcase_add_test(tests, tls_1_2_is_spoken_where_it_is_asked_for);
    tcase_add_test(tests, versions_without_one_in_common_fail);
    tcase_add_test(tests, bytes_that_are_no_tls_fail);
    tcase_add_test(tests, a_client_hello_without_end_is_not_kept);
    tcase_add_test(tests, a_peer_that_leaves_during_the_handshake_is_eof);
    tcase_add_test(tests, a_reset_in_one_event_with_the_end_of_the_handshake_is_found);
    tcase_add_test(tests, a_reset_in_one_event_with_a_part_of_the_handshake_is_found);
    tcase_add_test(tests, a_handshake_that_stands_still_is_looked_at_once);
    tcase_add_test(tests, many_handshakes_at_once_all_come_to_their_end);
    tcase_add_test(tests, a_context_that_disables_tls_starts_none);
    tcase_add_test(tests, an_ssl_request_is_answered_in_plain_before_the_handshake);
    tcase_add_test(tests, direct_tls_takes_the_bytes_that_were_read);
    tcase_add_test(tests, direct_tls_that_comes_byte_by_byte_is_understood);
    tcase_add_test(tests, a_client_that_offers_postgresql_gets_it);
    tcase_add_test(tests, a_client_that_offers_only_others_is_refused);
    tcase_add_loop_test(tests, clients_are_let_in_by_mode_and_certificate, 0,
                        sizeof(client_cases) / sizeof(client_cases[0]));
    tcase_add_test(tests, a_bad_certificate_is_named_with_its_fault);
    tcase_add_loop_test(tests, servers_are_believed_by_mode_authority_and_name, 0,
                        sizeof(server_cases) / sizeof(server_cases[0]));
    tcase_add_test(tests, verify_full_needs_a_name);
    tcase_add_test(tests, system_means_the_roots_of_the_system);
    tcase_add_test(tests, many_bytes_arrive_whole_at_a_slow_reader);
    tcase_add_test(tests, small_writes_of_a_turn_are_taken_in_one_go);
    tcase_add_test(tests, close_notify_is_eof_behind_the_last_bytes);
    tcase_add_test(tests, a_fin_without_close_notify_is_eof_too);
    tcase_add_test(tests, bytes_forged_in_the_session_end_it);
    tcase_add_test(tests, a_stream_that_moves_keeps_its_session);
    tcase_add_test(tests, keys_are_never_written_down);
    return suite;
}
