/* Whatever is asked and whatever comes back: the ledger keeps its invariants. */
#include <assert.h>

#include "ledger/ledger.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t answers[] = "123nDCIsEZTtGHWdcVNSA";
    static struct ledger ledger;
    ledger_init(&ledger);
    for (size_t i = 0; i + 1 < size; i += 2) {
        struct ledger_entry entry;
        if (data[i] & 1) {
            if (ledger_has_room(&ledger, 1))
                ledger_expect(&ledger, data[i + 1] % (LEDGER_COPY_END + 1), data[i] >> 1 & 1, '1',
                              data[i] & 4 ? &ledger : NULL);
        } else {
            ledger_match(&ledger, answers[data[i + 1] % (sizeof(answers) - 1)],
                         (uint8_t) "ITE"[data[i] >> 1 & 1]);
        }
        while (data[i] & 8 && ledger_take_settled(&ledger, &entry))
            assert(entry.outcome != LEDGER_PENDING);
        assert(ledger.tail - ledger.settled <= LEDGER_ENTRIES);
        assert(ledger.tail - ledger.head <= ledger.tail - ledger.settled);
        assert(ledger.syncs <= ledger.tail - ledger.head);
        assert(!ledger_is_free(&ledger) || (ledger.status == 'I' && ledger_is_empty(&ledger)));
    }
    return 0;
}
