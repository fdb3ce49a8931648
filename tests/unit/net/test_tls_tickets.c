#include <openssl/ssl.h>
#include <pthread.h>

#include "net/tls_context.h"
#include "tls_pair.h"

Suite *suite_net_tls_tickets(void);

/* Our connecting side never resumes, so here the client is OpenSSL's, on a plain socket. */
struct client {
    SSL_CTX *ssl_ctx;
    SSL *ssl;
    struct loop *loop;
    struct side *acceptor;
};

static struct tls_ticket_keys *keys;
static struct loop *loop;

static void set_up(void)
{
    keys = tls_ticket_keys_create();
    loop = loop_create(NULL);
    ck_assert(keys != NULL && loop != NULL);
}

static void tear_down(void)
{
    turn(loop);
    loop_destroy(loop);
    tls_ticket_keys_destroy(keys);
}

static struct client begin(struct loop *on, struct tls_context *context, SSL_SESSION *session)
{
    struct client client = {.ssl_ctx = SSL_CTX_new(TLS_client_method()), .loop = on};

    client.acceptor = tcp_side(on);
    fcntl(client.acceptor->peer, F_SETFL, O_NONBLOCK);
    client.ssl = SSL_new(client.ssl_ctx);
    SSL_set_fd(client.ssl, client.acceptor->peer);
    if (session != NULL)
        ck_assert_int_eq(SSL_set_session(client.ssl, session), 1);
    ck_assert(stream_start_tls_accept(&client.acceptor->stream, context, NULL));
    return client;
}

static void use_certificate(struct client *client, const char *certificate, const char *key)
{
    ck_assert_int_eq(
        SSL_use_certificate_file(client->ssl, certificates_path(certificate), SSL_FILETYPE_PEM), 1);
    ck_assert_int_eq(SSL_use_PrivateKey_file(client->ssl, certificates_path(key), SSL_FILETYPE_PEM),
                     1);
}

/* Shakes hands and hears "hello", behind which tickets have come. */
static void hear_hello(struct client *client)
{
    char heard[16];

    turn_until(client->loop, SSL_connect(client->ssl) == 1);
    turn_until(client->loop, client->acceptor->ready == 1);
    ck_assert(stream_put(&client->acceptor->stream, "hello", 5));
    turn_until(client->loop, SSL_read(client->ssl, heard, sizeof(heard)) == 5);
}

/* NULL: no ticket. */
static SSL_SESSION *end(struct client *client)
{
    SSL_SESSION *session = SSL_get1_session(client->ssl);

    if (!SSL_SESSION_is_resumable(session)) {
        SSL_SESSION_free(session);
        session = NULL;
    }
    side_destroy(client->acceptor);
    turn(client->loop);
    /* OpenSSL takes a connection that ends without goodbye as a sign that its session is bad. */
    SSL_set_shutdown(client->ssl, SSL_SENT_SHUTDOWN);
    SSL_free(client->ssl);
    SSL_CTX_free(client->ssl_ctx);
    return session;
}

static SSL_SESSION *first_session(struct tls_context *context)
{
    struct client client = begin(loop, context, NULL);

    hear_hello(&client);
    ck_assert(!stream_tls_resumed(&client.acceptor->stream));
    SSL_SESSION *session = end(&client);
    ck_assert_ptr_nonnull(session);
    return session;
}

/* Whether a connection to `context` resumes the session, which is used up. */
static bool resumes(struct tls_context *context, SSL_SESSION *session)
{
    struct client client = begin(loop, context, session);

    hear_hello(&client);
    bool is_resumed = stream_tls_resumed(&client.acceptor->stream);
    ck_assert_int_eq(is_resumed, SSL_session_reused(client.ssl));
    SSL_SESSION_free(end(&client));
    SSL_SESSION_free(session);
    return is_resumed;
}

START_TEST(a_second_connection_resumes)
{
    struct tls_settings settings = accepting_settings(TLS_REQUIRE);
    struct tls_context *context = accepting(&settings, keys);

    ck_assert(resumes(context, first_session(context)));
    tls_context_release(context);
}
END_TEST

START_TEST(a_resumed_connection_gets_another_ticket)
{
    struct tls_settings settings = accepting_settings(TLS_REQUIRE);
    struct tls_context *context = accepting(&settings, keys);
    SSL_SESSION *first = first_session(context);
    struct client client = begin(loop, context, first);

    hear_hello(&client);
    SSL_SESSION *second = end(&client);
    ck_assert_ptr_nonnull(second);
    ck_assert_ptr_ne(second, first);
    ck_assert(resumes(context, second));
    SSL_SESSION_free(first);
    tls_context_release(context);
}
END_TEST

START_TEST(tickets_outlive_a_reload)
{
    struct tls_settings settings = accepting_settings(TLS_REQUIRE);
    struct tls_context *before = accepting(&settings, keys);
    struct tls_context *after = accepting(&settings, keys);
    SSL_SESSION *session = first_session(before);

    tls_context_release(before);
    ck_assert(resumes(after, session));
    tls_context_release(after);
}
END_TEST

START_TEST(tickets_die_with_the_process)
{
    struct tls_settings settings = accepting_settings(TLS_REQUIRE);
    struct tls_ticket_keys *other_keys = tls_ticket_keys_create();
    struct tls_context *before = accepting(&settings, keys);
    struct tls_context *after = accepting(&settings, other_keys);

    ck_assert(!resumes(after, first_session(before)));
    tls_context_release(before);
    tls_context_release(after);
    tls_ticket_keys_destroy(other_keys);
}
END_TEST

/* What must not be crossed by a ticket (THREATS §3.1). */
static void change_listener(struct tls_settings *settings)
{
    settings->listener_name = "other";
}
static void change_authority(struct tls_settings *settings)
{
    settings->ca_file = certificates_path("other-ca.crt");
}
static void drop_authority(struct tls_settings *settings)
{
    settings->ca_file = NULL;
}
static void change_mode(struct tls_settings *settings)
{
    settings->mode = TLS_PREFER;
}
static void change_certificate(struct tls_settings *settings)
{
    settings->cert_file = certificates_path("alice.crt");
    settings->key_file = certificates_path("alice.key");
}
static void change_ciphers(struct tls_settings *settings)
{
    settings->ciphers = "HIGH";
}
static void (*const changes[])(struct tls_settings *) = {
    change_listener, change_authority,   drop_authority,
    change_mode,     change_certificate, change_ciphers,
};

START_TEST(a_ticket_opens_no_context_that_differs)
{
    struct tls_settings settings = accepting_settings(TLS_REQUIRE);
    struct tls_context *other, *context;

    settings.ca_file = certificates_path("ca.crt");
    context = accepting(&settings, keys);
    changes[_i](&settings);
    other = accepting(&settings, keys);
    ck_assert(!resumes(other, first_session(context)));
    tls_context_release(context);
    tls_context_release(other);
}
END_TEST

START_TEST(a_client_with_a_certificate_gets_no_ticket)
{
    struct tls_settings settings = accepting_settings(TLS_REQUIRE);
    settings.ca_file = certificates_path("ca.crt");
    struct tls_context *context = accepting(&settings, keys);
    struct client client = begin(loop, context, NULL);

    use_certificate(&client, "alice.crt", "alice.key");
    hear_hello(&client);
    ck_assert_ptr_null(end(&client));
    tls_context_release(context);
}
END_TEST

START_TEST(where_certificates_are_a_must_there_are_no_tickets)
{
    struct tls_settings settings = accepting_settings(TLS_VERIFY_CA);
    settings.ca_file = certificates_path("ca.crt");
    struct tls_context *context = accepting(&settings, keys);
    struct client client = begin(loop, context, NULL);

    use_certificate(&client, "alice.crt", "alice.key");
    hear_hello(&client);
    ck_assert_ptr_null(end(&client));
    tls_context_release(context);
}
END_TEST

START_TEST(tls_1_2_has_no_tickets)
{
    struct tls_settings settings = accepting_settings(TLS_REQUIRE);
    struct tls_context *context = accepting(&settings, keys);
    struct client client = begin(loop, context, NULL);

    SSL_set_max_proto_version(client.ssl, TLS1_2_VERSION);
    hear_hello(&client);
    ck_assert_str_eq(SSL_get_version(client.ssl), "TLSv1.2");
    ck_assert(!SSL_SESSION_has_ticket(SSL_get0_session(client.ssl)));
    SSL_SESSION *session = end(&client);
    ck_assert(session == NULL || !resumes(context, session));
    tls_context_release(context);
}
END_TEST

#define THREADS      4
#define PER_THREAD   8
#define SESSION_SIZE 4096

struct resumer {
    pthread_t thread;
    struct tls_context *context;
    const unsigned char *session;
    long session_size;
    int resumed;
};

static void *resume_many(void *argument)
{
    struct resumer *resumer = argument;
    struct loop *own = loop_create(NULL);

    for (int i = 0; i < PER_THREAD; i++) {
        const unsigned char *at = resumer->session;
        SSL_SESSION *session = d2i_SSL_SESSION(NULL, &at, resumer->session_size);
        struct client client = begin(own, resumer->context, session);
        hear_hello(&client);
        resumer->resumed += stream_tls_resumed(&client.acceptor->stream);
        SSL_SESSION_free(end(&client));
        SSL_SESSION_free(session);
    }
    loop_destroy(own);
    return NULL;
}

START_TEST(every_thread_takes_the_tickets_of_every_other)
{
    struct tls_settings settings = accepting_settings(TLS_REQUIRE);
    struct tls_context *context = accepting(&settings, keys);
    SSL_SESSION *session = first_session(context);
    unsigned char bytes[SESSION_SIZE], *at = bytes;
    struct resumer resumers[THREADS];

    ck_assert_int_lt(i2d_SSL_SESSION(session, NULL), SESSION_SIZE);
    long size = i2d_SSL_SESSION(session, &at);
    for (int i = 0; i < THREADS; i++) {
        resumers[i] = (struct resumer){
            .context = tls_context_acquire(context), .session = bytes, .session_size = size};
        ck_assert_int_eq(pthread_create(&resumers[i].thread, NULL, resume_many, &resumers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(resumers[i].thread, NULL);
        ck_assert_int_eq(resumers[i].resumed, PER_THREAD);
        tls_context_release(resumers[i].context);
    }
    SSL_SESSION_free(session);
    tls_context_release(context);
}
END_TEST

Suite *suite_net_tls_tickets(void)
{
    Suite *suite = suite_create("net/tls_tickets");
    TCase *tests = tcase_create("all");

    make_certificates();
    suite_add_tcase(suite, tests);
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, a_second_connection_resumes);
    tcase_add_test(tests, a_resumed_connection_gets_another_ticket);
    tcase_add_test(tests, tickets_outlive_a_reload);
    tcase_add_test(tests, tickets_die_with_the_process);
    tcase_add_loop_test(tests, a_ticket_opens_no_context_that_differs, 0,
                        sizeof(changes) / sizeof(changes[0]));
    tcase_add_test(tests, a_client_with_a_certificate_gets_no_ticket);
    tcase_add_test(tests, where_certificates_are_a_must_there_are_no_tickets);
    tcase_add_test(tests, tls_1_2_has_no_tickets);
    tcase_add_test(tests, every_thread_takes_the_tickets_of_every_other);
    return suite;
}
