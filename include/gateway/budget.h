/* budget: the memory that all requests over HTTP may hold together (http_memory).
 *
 * A number that is raised before memory is taken and lowered when it is given back. Any thread.
 */
#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct budget {
    _Atomic size_t used, limit; /* limit 0: none */
};

/* False: it would be more than the limit, and nothing was taken. */
bool budget_take(struct budget *budget, size_t size);
void budget_give(struct budget *budget, size_t size);

/* Memory of one owner, who says from time to time how much it is now. */
struct budget_share {
    struct budget *budget;
    size_t held;
};
/* False: the limit; what is held is counted all the same, for it is there: the owner lets go. */
bool budget_share_set(struct budget_share *share, size_t size);
