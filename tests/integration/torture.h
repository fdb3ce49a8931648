/* torture: what the two halves of the torture test share: a client, its script, and the answers
 * that are due.
 *
 * torture_script.c makes scripts: random messages, and exactly what must answer them. torture.c
 * sends them and compares. */
#pragma once
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KINDS(X) X(SIMPLE) X(EXTENDED) X(SYNCS) X(ERROR) X(BIG) X(COPY) X(BLOCK) X(NAMED) X(SETTING)
enum kind {
#define X(name) KIND_##name,
    KINDS(X)
#undef X
        KIND_COUNT
};

#define NAMES      3  /* named statements of a client */
#define IDENTITY   48 /* bytes of "c<client>-n<number>" and what is put behind it */
#define FILLER_MAX 300000

/* Memory that grows; the program ends when there is none. */
struct buffer {
    char *data;
    size_t size, capacity;
};

/* What must come: a type, and what is in it. */
struct expectation {
    char type;
    char text[IDENTITY +
              16]; /* D, d, C: the whole value; E, N, S, T: part of the body; Z: the status */
    size_t filler; /* D: so many x behind the text */
};

/* Bytes beyond `offset` may be sent when so many expectations were met. */
struct gate {
    size_t offset, expectations;
};

struct script {
    struct buffer out;
    struct expectation *expectations;
    size_t count, capacity, met;
    struct gate gates[64];
    size_t gate_count;
    char status; /* of the next ReadyForQuery */
    bool kinds[KIND_COUNT];
};

enum leaving { STAYS, LEAVES_SENDING, LEAVES_READING };

struct client {
    pthread_t thread;
    uint64_t random, number;
    unsigned counter; /* of the identities used */
    int socket;
    SSL *tls;
    struct buffer in;
    struct script script;
    char identity[IDENTITY];
    char application_name[IDENTITY];
    char named[NAMES][IDENTITY]; /* the text that each of its named statements returns; empty: does
                                    not exist */
    enum leaving leaving;
    size_t leave_at;
};

/* Random numbers of one client, the same for the same seed. */
size_t below(struct client *client, size_t limit);
bool one_in(struct client *client, size_t n);

/* Memory that grows; the program ends when there is none. */
void buffer_reserve(struct buffer *buffer, size_t more);
void put(struct buffer *buffer, const void *data, size_t size);
void put_text(struct buffer *buffer, const char *text);
void put_u32(struct buffer *buffer, uint32_t value);

/* A message with a text (or none) as its body. */
void say(struct script *script, char type, const char *text);

/* Puts the length into a message that began at `start`: the place of its length. */
void message_end(struct script *script, size_t start);

/* True for a body of exactly the text and so many x behind it. */
bool is_filled(const char *data, size_t size, const struct expectation *expectation);

/* Fills client->script with one to four random pieces, and decides whether and where the client
 * leaves. `with_named`, `with_setting`: named statements and SET may be among them. */
void make_script(struct client *client, bool with_named, bool with_setting);
