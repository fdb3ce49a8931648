/* Chunked bodies: cut anywhere they are the same, and never more than what came. */
#include <assert.h>
#include <string.h>

#include "http/chunked.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct outcome {
    enum chunked_verdict verdict;
    size_t taken, held;
    uint64_t sum;
};

static struct outcome read_in_steps(const uint8_t *data, size_t size, size_t step)
{
    struct chunked chunked = {0};
    struct outcome outcome = {.verdict = CHUNKED_MORE};

    for (size_t at = 0; at < size && outcome.verdict == CHUNKED_MORE; at += step) {
        struct span input = {data + at, size - at < step ? size - at : step}, part;
        size_t given = input.size;
        while ((outcome.verdict = chunked_read(&chunked, &input, &part)) == CHUNKED_DATA) {
            assert(part.size > 0 && part.data >= data && part.data + part.size <= data + size);
            for (size_t i = 0; i < part.size; i++)
                outcome.sum = outcome.sum * 31 + part.data[i];
            outcome.held += part.size;
        }
        outcome.taken += given - input.size;
    }
    return outcome;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct outcome whole = read_in_steps(data, size, size > 0 ? size : 1);
    struct outcome cut = read_in_steps(data, size, 1);

    assert(whole.verdict == cut.verdict && whole.held == cut.held && whole.sum == cut.sum);
    assert(whole.taken == cut.taken && whole.held <= whole.taken && whole.taken <= size);
    return 0;
}
