/* torture: many clients with random pipelines, whose answers carry their sender's identity and
 * number.
 *
 * Each client is a thread with one connection. It makes a script of random pieces (simple queries,
 * extended batches, several Syncs, errors, big rows, COPY with messages behind its end, transaction
 * blocks, named statements, settings), writes down exactly which messages must answer it, sends it
 * cut anywhere, and compares. One in eight scripts is abandoned at a random point, in a random way,
 * and the client comes back as somebody else. A message that is crossed, lost, doubled or out of
 * order ends the program with a report and exit status 1. It runs against PostgreSQL itself as
 * well.
 *
 * A transaction is a ReadyForQuery that said 'I' and was due. */
#include "torture.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static const char *const kind_names[] = {
#define X(name) #name,
    KINDS(X)
#undef X
};

static struct {
    const char *host, *user, *password, *database;
    int port, clients;
    long transactions;
    uint64_t seed;
    int deadline; /* seconds: an answer that takes longer is lost */
    bool tls, named, setting;
    SSL_CTX *tls_context;
} options = {.host = "127.0.0.1",
             .user = "open",
             .password = "",
             .database = "app",
             .port = 5432,
             .clients = 32,
             .transactions = 10000,
             .deadline = 30,
             .named = true,
             .setting = true};

static atomic_long transactions_done, scripts_done, leavers_done, connections_done,
    kinds_done[KIND_COUNT];
static atomic_ulong next_client;
static atomic_bool is_over;

/* The report of the first failure; the others wait for the end of the program. */
static pthread_mutex_t report = PTHREAD_MUTEX_INITIALIZER;

static void print_escaped(const char *data, size_t size)
{
    for (size_t i = 0; i < size && i < 240; i++)
        fprintf(stderr, data[i] >= 32 && data[i] < 127 ? "%c" : "\\%02x", (unsigned char)data[i]);
    fputc('\n', stderr);
}

static void print_expectation(const char *title, const struct expectation *expectation)
{
    fprintf(stderr, "  %s %c \"%s\"", title, expectation->type, expectation->text);
    fprintf(stderr, expectation->filler ? " and %zu x\n" : "\n", expectation->filler);
}

__attribute__((noreturn, format(printf, 4, 5))) static void
fail(struct client *client, const char *data, size_t size, const char *format, ...)
{
    const struct script *script = &client->script;
    va_list arguments;
    pthread_mutex_lock(&report);
    fprintf(stderr, "TORTURE FAILED after %ld transactions: client c%lu, last identity %s: ",
            transactions_done, client->number, client->identity);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fprintf(stderr, "\n  script:");
    for (int kind = 0; kind < KIND_COUNT; kind++)
        if (script->kinds[kind])
            fprintf(stderr, " %s", kind_names[kind]);
    fprintf(stderr, "; %zu of %zu answers were right\n", script->met, script->count);
    for (size_t i = script->met > 4 ? script->met - 4 : 0; i < script->met; i++)
        print_expectation("came", &script->expectations[i]);
    for (size_t i = script->met; i < script->count && i < script->met + 3; i++)
        print_expectation("due", &script->expectations[i]);
    fprintf(stderr, "  got ");
    print_escaped(data, size);
    fprintf(stderr, "  seed %lu\n", options.seed);
    exit(1);
}

/* Bytes. Each returns the bytes moved, 0: would block, -1: closed. */

static ssize_t tls_outcome(SSL *tls, int moved)
{
    if (moved > 0)
        return moved;
    int error = SSL_get_error(tls, moved);
    ERR_clear_error();
    return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? 0 : -1;
}

static ssize_t write_some(struct client *client, const char *data, size_t size)
{
    if (client->tls)
        return tls_outcome(client->tls, SSL_write(client->tls, data, (int)size));
    ssize_t moved = send(client->socket, data, size, MSG_NOSIGNAL);
    return moved >= 0 ? moved : errno == EAGAIN || errno == EINTR ? 0 : -1;
}

static ssize_t read_some(struct client *client)
{
    buffer_reserve(&client->in, 65536);
    char *end = client->in.data + client->in.size;
    ssize_t moved;
    if (client->tls) {
        moved = tls_outcome(client->tls, SSL_read(client->tls, end, 65536));
    } else {
        moved = recv(client->socket, end, 65536, 0);
        moved = moved > 0 ? moved : moved < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
    }
    if (moved > 0)
        client->in.size += (size_t)moved;
    return moved;
}

static void hang_up(struct client *client, bool with_reset)
{
    if (with_reset)
        setsockopt(client->socket, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0},
                   sizeof(struct linger));
    SSL_free(client->tls);
    client->tls = NULL;
    close(client->socket);
    client->socket = -1;
    client->in.size = 0;
}

/* Leaves in one of the ways in which clients leave. */
static void leave(struct client *client)
{
    static const char terminate[] = {'X', 0, 0, 0, 4};
    atomic_fetch_add(&leavers_done, 1);
    switch (below(client, 4)) {
    case 0:
        write_some(client, terminate, sizeof terminate);
        break;
    case 1:
        if (client->tls)
            SSL_shutdown(client->tls);
        shutdown(client->socket, SHUT_WR);
        break;
    default:
        break;
    }
    hang_up(client, one_in(client, 3));
}

/* Checks. */

static bool contains(const char *data, size_t size, const char *text)
{
    return memmem(data, size, text, strlen(text)) != NULL;
}

static bool is_due(const struct expectation *expectation, char type, const char *body, size_t size)
{
    if (type != expectation->type)
        return false;
    switch (type) {
    case 'D':
        return size >= 6 && is_filled(body + 6, size - 6, expectation);
    case 'd':
    case 'Z':
        return is_filled(body, size, expectation);
    case 'C':
        return size > 0 && is_filled(body, size - 1, expectation);
    case 'E':
    case 'N':
    case 'S':
    case 'T':
        return contains(body, size, expectation->text);
    default:
        return true;
    }
}

static bool next_message(const struct buffer *in, size_t *offset, const char **message,
                         uint32_t *size)
{
    if (in->size - *offset < 5)
        return false;
    memcpy(size, in->data + *offset + 1, 4);
    *size = ntohl(*size);
    if (in->size - *offset < (size_t)*size + 1)
        return false;
    *message = in->data + *offset;
    *offset += (size_t)*size + 1;
    return true;
}

static void check_answers(struct client *client)
{
    struct script *script = &client->script;
    size_t offset = 0;
    const char *message;
    uint32_t size;
    while (next_message(&client->in, &offset, &message, &size)) {
        if (script->met == script->count)
            fail(client, message, size + 1, "an answer that was not due");
        if (!is_due(&script->expectations[script->met], message[0], message + 5, size - 4))
            fail(client, message, size + 1, "a wrong answer");
        if (message[0] == 'Z' && message[5] == 'I')
            atomic_fetch_add(&transactions_done, 1);
        script->met++;
        if (client->leaving == LEAVES_READING && script->met >= client->leave_at)
            break;
    }
    memmove(client->in.data, client->in.data + offset, client->in.size - offset);
    client->in.size -= offset;
}

static size_t sendable(const struct script *script)
{
    for (size_t i = 0; i < script->gate_count; i++)
        if (script->met < script->gates[i].expectations)
            return script->gates[i].offset;
    return script->out.size;
}

static time_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec;
}

static void await_socket(struct client *client, bool writing, time_t deadline)
{
    struct pollfd poll_for = {client->socket, (short)(POLLIN | (writing ? POLLOUT : 0)), 0};
    if (poll(&poll_for, 1, 1000) == 0 && now() > deadline)
        fail(client, client->in.data, client->in.size, "no answer within %d s", options.deadline);
}

/* Sends the script and compares its answers. False: the client has left. */
static bool run_script(struct client *client)
{
    struct script *script = &client->script;
    size_t sent = 0, piece = one_in(client, 3) ? 1 + below(client, 200) : script->out.size;
    time_t deadline = now() + options.deadline;
    while (sent < script->out.size || script->met < script->count) {
        if ((client->leaving == LEAVES_SENDING && sent >= client->leave_at) ||
            (client->leaving == LEAVES_READING && script->met >= client->leave_at)) {
            leave(client);
            return false;
        }
        size_t limit = sendable(script);
        if (client->leaving == LEAVES_SENDING && limit > client->leave_at)
            limit = client->leave_at;
        await_socket(client, sent < limit, deadline);
        if (sent < limit) {
            ssize_t moved = write_some(client, script->out.data + sent,
                                       limit - sent < piece ? limit - sent : piece);
            if (moved < 0)
                fail(client, client->in.data, client->in.size, "closed while sending");
            sent += (size_t)moved;
            piece = moved > 0 && sent > 2000 ? script->out.size : piece;
        }
        ssize_t moved;
        while ((moved = read_some(client)) > 0)
            check_answers(client);
        if (moved < 0)
            fail(client, client->in.data, client->in.size, "closed by the other side");
    }
    return true;
}

/* Login. */

static void dial(struct client *client)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)options.port)};
    inet_pton(AF_INET, options.host, &address.sin_addr);
    client->socket = socket(AF_INET, SOCK_STREAM, 0);
    if (client->socket < 0 ||
        connect(client->socket, (struct sockaddr *)&address, sizeof address) < 0)
        fail(client, "", 0, "cannot connect: %s", strerror(errno));
    setsockopt(client->socket, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    atomic_fetch_add(&connections_done, 1);
}

static void start_tls(struct client *client)
{
    static const unsigned char request[] = {0, 0, 0, 8, 4, 210, 22, 47};
    char answer = 0;
    if (send(client->socket, request, sizeof request, MSG_NOSIGNAL) != sizeof request ||
        recv(client->socket, &answer, 1, 0) != 1 || answer != 'S')
        fail(client, &answer, 1, "no TLS");
    client->tls = SSL_new(options.tls_context);
    SSL_set_fd(client->tls, client->socket);
    if (SSL_connect(client->tls) != 1)
        fail(client, "", 0, "TLS handshake failed");
}

/* Whole answers of the login, up to ReadyForQuery. */
static void login_dialogue(struct client *client)
{
    struct script *script = &client->script;
    time_t deadline = now() + options.deadline;
    bool is_ready = false;
    while (!is_ready) {
        size_t offset = 0;
        const char *message;
        uint32_t size, method;
        while (!is_ready && next_message(&client->in, &offset, &message, &size)) {
            if (message[0] == 'E')
                fail(client, message, size + 1, "login refused");
            if (message[0] == 'R' && (memcpy(&method, message + 5, 4), ntohl(method) == 3)) {
                script->out.size = 0;
                say(script, 'p', options.password);
                write_some(client, script->out.data, script->out.size);
            }
            is_ready = message[0] == 'Z';
        }
        memmove(client->in.data, client->in.data + offset, client->in.size - offset);
        client->in.size -= offset;
        if (!is_ready) {
            await_socket(client, false, deadline);
            if (read_some(client) < 0)
                fail(client, client->in.data, client->in.size, "closed during the login");
        }
    }
}

/* A new connection with a new number; one in ten is given up in the middle of the login. */
static void come(struct client *client)
{
    struct script *script = &client->script;
    bool gives_up;
    do {
        client->number = atomic_fetch_add(&next_client, 1) + 1;
        memset(client->named, 0, sizeof client->named);
        snprintf(client->application_name, IDENTITY, "c%lu", client->number);
        script->count = script->met = 0;
        dial(client);
        if (options.tls)
            start_tls(client);
        fcntl(client->socket, F_SETFL, O_NONBLOCK);
        script->out.size = 0;
        put_u32(&script->out, 0);
        put_u32(&script->out, 3 << 16);
        const char *pairs[] = {"user",           options.user,       "database",
                               options.database, "application_name", client->application_name};
        for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
            put_text(&script->out, pairs[i]);
        put(&script->out, "", 1);
        message_end(script, 0);
        gives_up = one_in(client, 10);
        write_some(client, script->out.data,
                   gives_up ? below(client, script->out.size) : script->out.size);
        if (gives_up)
            hang_up(client, one_in(client, 2));
    } while (gives_up);
    login_dialogue(client);
}

/* Terminate; nothing may come before the other side closes. */
static void say_goodbye(struct client *client)
{
    static const char terminate[] = {'X', 0, 0, 0, 4};
    time_t deadline = now() + options.deadline;
    client->leaving = STAYS;
    write_some(client, terminate, sizeof terminate);
    while (read_some(client) >= 0) {
        check_answers(client);
        await_socket(client, false, deadline);
    }
    hang_up(client, false);
}

static void *live(void *argument)
{
    struct client *client = argument;
    come(client);
    while (!atomic_load(&is_over)) {
        make_script(client, options.named, options.setting);
        bool stayed = run_script(client);
        atomic_fetch_add(&scripts_done, 1);
        for (int kind = 0; kind < KIND_COUNT; kind++)
            atomic_fetch_add(&kinds_done[kind], client->script.kinds[kind]);
        if (atomic_load(&transactions_done) >= options.transactions)
            atomic_store(&is_over, true);
        if (!stayed)
            come(client);
    }
    say_goodbye(client);
    free(client->in.data);
    free(client->script.out.data);
    free(client->script.expectations);
    return NULL;
}

/* Functions and tables, made through the door that is tested. */
static void set_up(struct client *client)
{
    static const char *const commands[] = {
        "drop table if exists torture_copied; create unlogged table torture_copied "
        "(client bigint, number bigint, line int, primary key (client, number, line))",
        "create or replace function torture_fail(t text) returns text language plpgsql volatile as "
        "$$ begin raise exception 'failed %', t; end $$",
        "create or replace function torture_remark() returns trigger language plpgsql as $$ begin "
        "if new.line = 1 then raise notice 'copied c%-n%', new.client, new.number; end if; return "
        "new; end $$",
        "create trigger remark before insert on torture_copied for each row execute function "
        "torture_remark()",
    };
    come(client);
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        bool is_ready = false;
        client->script.out.size = 0;
        say(&client->script, 'Q', commands[i]);
        write_some(client, client->script.out.data, client->script.out.size);
        while (!is_ready) {
            await_socket(client, false, now() + options.deadline);
            if (read_some(client) < 0 || memmem(client->in.data, client->in.size, "SERROR", 6))
                fail(client, client->in.data, client->in.size, "cannot set up");
            is_ready = client->in.size >= 6 &&
                       memcmp(client->in.data + client->in.size - 6, "Z\0\0\0\5I", 6) == 0;
        }
        client->in.size = 0;
    }
    say_goodbye(client);
    free(client->in.data);
    free(client->script.out.data);
}

/* The shares of what was done; false when a kind is rarer than the test promises. */
static bool print_shares(void)
{
    bool is_enough = true;
    double scripts = (double)scripts_done;
    printf("transactions %ld, scripts %ld, connections %ld, seed %lu\n", transactions_done,
           scripts_done, connections_done, options.seed);
    for (int kind = 0; kind < KIND_COUNT; kind++) {
        double share = 100 * (double)kinds_done[kind] / scripts;
        printf("%s %.1f %%\n", kind_names[kind], share);
        bool is_off =
            (kind == KIND_NAMED && !options.named) || (kind == KIND_SETTING && !options.setting);
        is_enough = is_enough && (share >= 5 || is_off);
    }
    printf("LEAVERS %.1f %%\n", 100 * (double)leavers_done / scripts);
    return is_enough && 100 * (double)leavers_done / scripts >= 10;
}

static void read_options(int count, char **arguments)
{
    static const struct option known[] = {{"host", 1, 0, 'h'},
                                          {"port", 1, 0, 'p'},
                                          {"user", 1, 0, 'U'},
                                          {"password", 1, 0, 'w'},
                                          {"database", 1, 0, 'd'},
                                          {"clients", 1, 0, 'c'},
                                          {"seed", 1, 0, 's'},
                                          {"transactions", 1, 0, 't'},
                                          {"deadline", 1, 0, 'D'},
                                          {"tls", 0, 0, 'T'},
                                          {"no-named", 0, 0, 'N'},
                                          {"no-setting", 0, 0, 'S'},
                                          {0, 0, 0, 0}};
    options.seed = (uint64_t)time(NULL) ^ ((uint64_t)getpid() << 32);
    for (int letter;
         (letter = getopt_long(count, arguments, "h:p:U:w:d:c:s:t:D:T", known, NULL)) != -1;) {
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
        case 'c':
            options.clients = atoi(optarg);
            break;
        case 's':
            options.seed = strtoull(optarg, NULL, 10);
            break;
        case 't':
            options.transactions = atol(optarg);
            break;
        case 'D':
            options.deadline = atoi(optarg);
            break;
        case 'T':
            options.tls = true;
            break;
        case 'N':
            options.named = false;
            break;
        case 'S':
            options.setting = false;
            break;
        default:
            fprintf(stderr,
                    "usage: %s [--host A] [--port N] [--user U] [--password W] [--database D] "
                    "[--clients N]\n"
                    "  [--transactions N] [--seed N] [--deadline SECONDS] [--tls] [--no-named] "
                    "[--no-setting]\n",
                    arguments[0]);
            exit(2);
        }
    }
}

int main(int count, char **arguments)
{
    read_options(count, arguments);
    signal(SIGPIPE, SIG_IGN);
    if (options.tls) {
        options.tls_context = SSL_CTX_new(TLS_client_method());
        SSL_CTX_set_mode(options.tls_context,
                         SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    }
    struct client *clients = calloc((size_t)options.clients + 1, sizeof *clients);
    if (!clients)
        abort();
    for (int i = 0; i <= options.clients; i++)
        clients[i].random = options.seed + (uint64_t)i * 1000003;
    set_up(&clients[options.clients]);
    for (int i = 0; i < options.clients; i++)
        if (pthread_create(&clients[i].thread, NULL, live, &clients[i]) != 0)
            abort();
    for (int i = 0; i < options.clients; i++)
        pthread_join(clients[i].thread, NULL);
    bool is_enough = print_shares();
    free(clients);
    SSL_CTX_free(options.tls_context);
    return is_enough ? 0 : 3;
}
