#include "gateway/budget.h"

bool budget_take(struct budget *budget, size_t size)
{
    size_t limit = atomic_load_explicit(&budget->limit, memory_order_relaxed);
    size_t used = atomic_fetch_add_explicit(&budget->used, size, memory_order_relaxed);

    if (limit == 0 || (used <= limit && size <= limit - used))
        return true;
    atomic_fetch_sub_explicit(&budget->used, size, memory_order_relaxed);
    return false;
}

void budget_give(struct budget *budget, size_t size)
{
    atomic_fetch_sub_explicit(&budget->used, size, memory_order_relaxed);
}

bool budget_share_set(struct budget_share *share, size_t size)
{
    struct budget *budget = share->budget;
    size_t held = share->held;

    share->held = size;
    if (size <= held) {
        budget_give(budget, held - size);
        return true;
    }
    if (budget_take(budget, size - held))
        return true;
    atomic_fetch_add_explicit(&budget->used, size - held, memory_order_relaxed);
    return false;
}
