/* login: so many logins with SCRAM-SHA-256, each followed by one query and Terminate, some hundred
 * in flight at once.
 *
 * For scripts/bench/run, which measures what they cost the pooler. One thread, epoll; the salted
 * password is computed once for a salt, so that the client does not slow down what it measures.
 * Prints the number of logins done; any error ends it with exit status 1. RFC 5802, RFC 7677. */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define HASH  32
#define NONCE 24

enum step { CONNECTING, ASKS_TLS, SHAKES_HANDS, LOGS_IN, ASKS };

struct connection {
    enum step step;
    int socket;
    SSL *tls;
    char nonce[NONCE + 1];
    uint8_t in[16384];
    size_t size;
};

static struct {
    const char *host, *user, *password, *database;
    int port, in_flight;
    long logins;
    double seconds;
    bool tls;
} options = {"127.0.0.1", "bench", "bench-secret", "app", 6432, 200, 1000, 0, false};

/* The keys made of the password with the last salt seen. */
static struct {
    char salt[256];
    long rounds;
    uint8_t client_key[HASH], stored_key[HASH];
} derived;

static SSL_CTX *tls_context;
static int poller;
static long begun, done;
static double deadline;

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void fail(const char *what, const void *bytes, size_t size)
{
    fprintf(stderr, "login: %s: %.*s\n", what, (int)size, (const char *)bytes);
    exit(1);
}

/* Moves bytes; 0: would block. */
static ssize_t transfer(struct connection *connection, void *data, size_t size, bool writing)
{
    if (connection->tls) {
        int moved = writing ? SSL_write(connection->tls, data, (int)size)
                            : SSL_read(connection->tls, data, (int)size);
        if (moved > 0)
            return moved;
        int error = SSL_get_error(connection->tls, moved);
        if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE)
            fail("TLS", "closed", 6);
        return 0;
    }
    ssize_t moved = writing ? send(connection->socket, data, size, MSG_NOSIGNAL)
                            : recv(connection->socket, data, size, 0);
    if (moved == 0 || (moved < 0 && errno != EAGAIN))
        fail("connection", moved ? strerror(errno) : "closed", moved ? strlen(strerror(errno)) : 6);
    return moved < 0 ? 0 : moved;
}

/* Small messages on a fresh socket: they fit. */
static void say(struct connection *connection, char type, const void *body, size_t size)
{
    uint8_t message[1024];
    uint32_t length = htonl((uint32_t)size + 4);
    size_t head = type ? 1 : 0;
    message[0] = (uint8_t)type;
    memcpy(message + head, &length, 4);
    memcpy(message + head + 4, body, size);
    if (transfer(connection, message, head + 4 + size, true) != (ssize_t)(head + 4 + size))
        fail("send", "blocked", 7);
}

static void say_startup(struct connection *connection)
{
    char body[512] = {0, 3, 0, 0};
    int size = 4 + snprintf(body + 4, sizeof body - 4, "user%c%s%cdatabase%c%s%c", 0, options.user,
                            0, 0, options.database, 0);
    body[size++] = 0;
    connection->step = LOGS_IN;
    say(connection, 0, body, (size_t)size);
}

static void begin(struct connection *connection)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)options.port)};
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.ptr = connection};
    inet_pton(AF_INET, options.host, &address.sin_addr);
    begun++;
    connection->size = 0;
    connection->step = CONNECTING;
    connection->socket = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (connection->socket < 0 ||
        (connect(connection->socket, (struct sockaddr *)&address, sizeof address) < 0 &&
         errno != EINPROGRESS))
        fail("connect", strerror(errno), strlen(strerror(errno)));
    setsockopt(connection->socket, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    epoll_ctl(poller, EPOLL_CTL_ADD, connection->socket, &event);
}

static void end(struct connection *connection)
{
    say(connection, 'X', "", 0);
    SSL_free(connection->tls);
    connection->tls = NULL;
    close(connection->socket);
    done++;
}

static void say_first(struct connection *connection)
{
    uint8_t random[NONCE / 4 * 3];
    char body[128];
    uint32_t length;
    RAND_bytes(random, sizeof random);
    EVP_EncodeBlock((unsigned char *)connection->nonce, random, sizeof random);
    int size = snprintf(body + 18, sizeof body - 18, "n,,n=*,r=%s", connection->nonce);
    memcpy(body, "SCRAM-SHA-256", 14);
    length = htonl((uint32_t)size);
    memcpy(body + 14, &length, 4);
    say(connection, 'p', body, 18 + (size_t)size);
}

static void hmac(const uint8_t *key, const char *data, size_t size, uint8_t *out)
{
    HMAC(EVP_sha256(), key, HASH, (const unsigned char *)data, size, out, NULL);
}

static void derive(const char *salt, long rounds)
{
    uint8_t raw[256], salted[HASH];
    if (rounds == derived.rounds && strcmp(salt, derived.salt) == 0)
        return;
    snprintf(derived.salt, sizeof derived.salt, "%s", salt);
    derived.rounds = rounds;
    int size = EVP_DecodeBlock(raw, (const unsigned char *)salt, (int)strlen(salt));
    for (size_t i = strlen(salt); i && salt[i - 1] == '='; i--)
        size--;
    PKCS5_PBKDF2_HMAC(options.password, (int)strlen(options.password), raw, size, (int)rounds,
                      EVP_sha256(), HASH, salted);
    hmac(salted, "Client Key", 10, derived.client_key);
    EVP_Digest(derived.client_key, HASH, derived.stored_key, NULL, EVP_sha256(), NULL);
}

static void say_final(struct connection *connection, const char *body, size_t size)
{
    char first[512], nonce[256], salt[256], final[512], all[1200];
    uint8_t proof[HASH];
    long rounds;
    snprintf(first, sizeof first, "%.*s", (int)size, body);
    if (sscanf(first, "r=%255[^,],s=%255[^,],i=%ld", nonce, salt, &rounds) != 3 ||
        strncmp(nonce, connection->nonce, NONCE) != 0)
        fail("SCRAM", first, strlen(first));
    derive(salt, rounds);
    int written = snprintf(final, sizeof final, "c=biws,r=%s", nonce);
    int length = snprintf(all, sizeof all, "n=*,r=%s,%s,%s", connection->nonce, first, final);
    hmac(derived.stored_key, all, (size_t)length, proof);
    for (int i = 0; i < HASH; i++)
        proof[i] ^= derived.client_key[i];
    memcpy(final + written, ",p=", 3);
    EVP_EncodeBlock((unsigned char *) final + written + 3, proof, HASH);
    say(connection, 'p', final, strlen(final));
}

static void take_authentication(struct connection *connection, const uint8_t *body, size_t size)
{
    if (body[3] == 10)
        say_first(connection);
    else if (body[3] == 11)
        say_final(connection, (const char *)body + 4, size - 4);
}

/* One message; true when the connection has done all it came for. */
static bool take(struct connection *connection, char type, const uint8_t *body, size_t size)
{
    if (type == 'E')
        fail("refused", body, size);
    if (type == 'R')
        take_authentication(connection, body, size);
    if (type != 'Z')
        return false;
    if (connection->step == ASKS)
        return true;
    connection->step = ASKS;
    say(connection, 'Q', "select 1", 9);
    return false;
}

/* True when it is done. */
static bool take_all(struct connection *connection)
{
    ssize_t moved;
    while ((moved = transfer(connection, connection->in + connection->size,
                             sizeof connection->in - connection->size, false)) > 0) {
        size_t offset = 0;
        connection->size += (size_t)moved;
        while (connection->size - offset >= 5) {
            uint32_t length;
            memcpy(&length, connection->in + offset + 1, 4);
            length = ntohl(length);
            if (connection->size - offset < length + 1)
                break;
            if (take(connection, (char)connection->in[offset], connection->in + offset + 5,
                     length - 4))
                return true;
            offset += length + 1;
        }
        memmove(connection->in, connection->in + offset, connection->size - offset);
        connection->size -= offset;
    }
    return false;
}

static void shake_hands(struct connection *connection)
{
    int outcome = SSL_connect(connection->tls);
    if (outcome == 1)
        say_startup(connection);
    else if (SSL_get_error(connection->tls, outcome) == SSL_ERROR_SSL)
        fail("TLS", "handshake failed", 16);
}

static void start_tls(struct connection *connection)
{
    char answer;
    if (transfer(connection, &answer, 1, false) == 0)
        return;
    if (answer != 'S')
        fail("TLS", "refused", 7);
    connection->tls = SSL_new(tls_context);
    SSL_set_fd(connection->tls, connection->socket);
    connection->step = SHAKES_HANDS;
    shake_hands(connection);
}

static void step(struct connection *connection)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
    switch (connection->step) {
    case CONNECTING:
        epoll_ctl(poller, EPOLL_CTL_MOD, connection->socket, &event);
        if (options.tls) {
            connection->step = ASKS_TLS;
            say(connection, 0, "\x04\xd2\x16\x2f", 4);
        } else {
            say_startup(connection);
        }
        break;
    case ASKS_TLS:
        start_tls(connection);
        break;
    case SHAKES_HANDS:
        shake_hands(connection);
        break;
    default:
        if (!take_all(connection))
            return;
        end(connection);
        if (begun < options.logins || now() < deadline)
            begin(connection);
    }
}

static void read_options(int count, char **arguments)
{
    static const struct option known[] = {{"host", 1, 0, 'h'},     {"port", 1, 0, 'p'},
                                          {"user", 1, 0, 'U'},     {"password", 1, 0, 'w'},
                                          {"database", 1, 0, 'd'}, {"in-flight", 1, 0, 'f'},
                                          {"logins", 1, 0, 'n'},   {"seconds", 1, 0, 'T'},
                                          {"tls", 0, 0, 't'},      {0, 0, 0, 0}};
    for (int letter; (letter = getopt_long(count, arguments, "", known, NULL)) != -1;) {
        switch (letter) {
        case 'h':
            options.host = optarg;
            break;
        case 'p':
            options.port = atoi(optarg);
            break;
        case 'U':
            options.user = optarg;
            break;
        case 'w':
            options.password = optarg;
            break;
        case 'd':
            options.database = optarg;
            break;
        case 'f':
            options.in_flight = atoi(optarg);
            break;
        case 'n':
            options.logins = atol(optarg);
            break;
        case 'T':
            options.seconds = atof(optarg);
            break;
        case 't':
            options.tls = true;
            break;
        default:
            exit(2);
        }
    }
}

int main(int count, char **arguments)
{
    read_options(count, arguments);
    signal(SIGPIPE, SIG_IGN);
    if (options.seconds > 0)
        options.logins = 0;
    deadline = now() + options.seconds;
    poller = epoll_create1(0);
    tls_context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_session_cache_mode(tls_context, SSL_SESS_CACHE_OFF);
    struct connection *connections = calloc((size_t)options.in_flight, sizeof *connections);
    if (!connections)
        abort();
    for (int i = 0; i < options.in_flight && (options.seconds > 0 || i < options.logins); i++)
        begin(&connections[i]);
    while (done < begun) {
        struct epoll_event events[64];
        int ready = epoll_wait(poller, events, 64, 10000);
        if (ready == 0)
            fail("silence", "nothing for 10 s", 16);
        for (int i = 0; i < ready; i++)
            step(events[i].data.ptr);
    }
    printf("%ld\n", done);
    free(connections);
    SSL_CTX_free(tls_context);
    return 0;
}
