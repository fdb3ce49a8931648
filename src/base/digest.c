#include "base/digest.h"

#include <endian.h>
#include <string.h>

#include "base/random.h"

/* Written once, by digest_init(), before any thread starts. */
static struct digest_key seed;

/* The four words of SipHash's state. */
struct state {
    uint64_t v0, v1, v2, v3;
};

static inline uint64_t rotate_left(uint64_t word, unsigned bits)
{
    return word << bits | word >> (64 - bits);
}

static inline void round_once(struct state *state)
{
    state->v0 += state->v1;
    state->v2 += state->v3;
    state->v1 = rotate_left(state->v1, 13) ^ state->v0;
    state->v3 = rotate_left(state->v3, 16) ^ state->v2;
    state->v0 = rotate_left(state->v0, 32);
    state->v2 += state->v1;
    state->v0 += state->v3;
    state->v1 = rotate_left(state->v1, 17) ^ state->v2;
    state->v3 = rotate_left(state->v3, 21) ^ state->v0;
    state->v2 = rotate_left(state->v2, 32);
}

static inline void compress(struct state *state, uint64_t word)
{
    state->v3 ^= word;
    round_once(state);
    round_once(state);
    state->v0 ^= word;
}

static inline uint64_t finalize(struct state *state)
{
    for (int i = 0; i < 4; i++)
        round_once(state);
    return state->v0 ^ state->v1 ^ state->v2 ^ state->v3;
}

static inline uint64_t load_word(const uint8_t *at)
{
    uint64_t word;

    memcpy(&word, at, sizeof(word));
    return le64toh(word);
}

/* The last 0 to 7 bytes, and the low byte of the size on top. */
static inline uint64_t load_tail(const uint8_t *at, size_t size)
{
    uint64_t word = (uint64_t)size << 56;

    switch (size & 7) {
    case 7:
        word |= (uint64_t)at[6] << 48;
        __attribute__((fallthrough));
    case 6:
        word |= (uint64_t)at[5] << 40;
        __attribute__((fallthrough));
    case 5:
        word |= (uint64_t)at[4] << 32;
        __attribute__((fallthrough));
    case 4:
        word |= (uint64_t)at[3] << 24;
        __attribute__((fallthrough));
    case 3:
        word |= (uint64_t)at[2] << 16;
        __attribute__((fallthrough));
    case 2:
        word |= (uint64_t)at[1] << 8;
        __attribute__((fallthrough));
    case 1:
        word |= at[0];
        break;
    case 0:
        break;
    }
    return word;
}

/* `variant` is 0 for 64 bits of result, 0xee for 128. */
static inline struct state absorb(struct digest_key key, uint64_t variant, const uint8_t *at,
                                  size_t size)
{
    struct state state = {
        .v0 = key.low ^ UINT64_C(0x736f6d6570736575),
        .v1 = key.high ^ UINT64_C(0x646f72616e646f6d) ^ variant,
        .v2 = key.low ^ UINT64_C(0x6c7967656e657261),
        .v3 = key.high ^ UINT64_C(0x7465646279746573),
    };

    for (size_t words = size / 8; words > 0; words--, at += 8)
        compress(&state, load_word(at));
    compress(&state, load_tail(at, size));
    return state;
}

uint64_t digest64_keyed(struct digest_key key, const void *data, size_t size)
{
    struct state state = absorb(key, 0, data, size);

    state.v2 ^= 0xff;
    return finalize(&state);
}

struct digest128 digest128_keyed(struct digest_key key, const void *data, size_t size)
{
    struct state state = absorb(key, 0xee, data, size);
    struct digest128 digest;

    state.v2 ^= 0xee;
    digest.low = finalize(&state);
    state.v1 ^= 0xdd;
    digest.high = finalize(&state);
    return digest;
}

void digest_init(void)
{
    random_bytes(&seed, sizeof(seed));
}

uint64_t digest64(const void *data, size_t size)
{
    return digest64_keyed(seed, data, size);
}

struct digest128 digest128(const void *data, size_t size)
{
    return digest128_keyed(seed, data, size);
}
