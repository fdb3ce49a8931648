#include "ledger/ledger.h"

#include <assert.h>
#include <string.h>

static struct ledger_entry *entry_at(struct ledger *ledger, uint32_t index)
{
    return &ledger->entries[index % LEDGER_ENTRIES];
}

static bool ends_in_ready(uint8_t kind)
{
    return kind == LEDGER_SYNC || kind == LEDGER_QUERY || kind == LEDGER_FUNCTION_CALL;
}

static bool is_extended(uint8_t kind)
{
    return kind >= LEDGER_PARSE && kind <= LEDGER_CLOSE;
}

void ledger_init(struct ledger *ledger)
{
    memset(ledger, 0, sizeof(*ledger));
    ledger->status = 'I';
}

/* Nobody needs to hear of it. */
static bool is_silent(const struct ledger_entry *entry)
{
    return !entry->tag && entry->action != LEDGER_SYNTHESIZE;
}

/* Settles the head. Silent entries that nobody waits behind are passed over at once. */
static void settle_head(struct ledger *ledger, uint8_t outcome)
{
    struct ledger_entry *entry = entry_at(ledger, ledger->head);
    entry->outcome = outcome;
    if (ends_in_ready(entry->kind))
        ledger->syncs--;
    bool passed = ledger->settled == ledger->head && is_silent(entry);
    ledger->head++;
    if (passed)
        ledger->settled = ledger->head;
}

static void set_unnamed(struct ledger *ledger, const struct ledger_entry *entry, uint32_t on_server,
                        uint32_t of_client)
{
    if (!(entry->unnamed & LEDGER_UNNAMED_SHARED))
        ledger->unnamed = on_server;
    if (entry->action == LEDGER_FORWARD || entry->action == LEDGER_SYNTHESIZE)
        ledger->unnamed_of_client = of_client;
}

void ledger_note_unnamed(struct ledger *ledger, uint32_t unnamed)
{
    struct ledger_entry *entry = entry_at(ledger, ledger->tail - 1);
    entry->unnamed = unnamed;
    if (ledger->head == ledger->tail && entry->outcome == LEDGER_DONE)
        set_unnamed(ledger, entry, unnamed, unnamed);
}

/* Marks and made-up answers at the head have their turn as soon as they get there. */
static void settle_what_waits_for_nothing(struct ledger *ledger)
{
    while (ledger->head != ledger->tail) {
        struct ledger_entry *entry = entry_at(ledger, ledger->head);
        if (entry->kind != LEDGER_COPY_END && entry->action != LEDGER_SYNTHESIZE)
            return;
        if (entry->unnamed != 0)
            set_unnamed(ledger, entry, entry->unnamed, entry->unnamed);
        settle_head(ledger, LEDGER_DONE);
    }
}

static void note_message(struct ledger *ledger, uint8_t kind)
{
    if (is_extended(kind))
        ledger->is_unsynced = true;
    else if (ends_in_ready(kind))
        ledger->is_unsynced = ledger->executes_unsynced = false;
    if (kind == LEDGER_EXECUTE)
        ledger->executes_unsynced = true;
}

static void append(struct ledger *ledger, uint8_t kind, uint8_t action, uint8_t answer, void *tag)
{
    *entry_at(ledger, ledger->tail) = (struct ledger_entry){
        .kind = kind, .action = action, .outcome = LEDGER_PENDING, .answer = answer, .tag = tag};
    ledger->tail++;
    if (ends_in_ready(kind))
        ledger->syncs++;
}

void ledger_expect(struct ledger *ledger, enum ledger_kind kind, enum ledger_action action,
                   uint8_t answer, void *tag)
{
    assert(ledger_has_room(ledger, 1));
    if (kind == LEDGER_COPY_END && ledger->copy_in)
        ledger->copy_ended = true;
    if (ledger->is_skipping) {
        if (kind != LEDGER_SYNC) {
            /* The server throws it away; so that its tag is heard of, it is settled in its turn.
             * Nothing is owed. */
            append(ledger, (uint8_t)kind, (uint8_t)action, answer, tag);
            settle_head(ledger, LEDGER_SKIPPED);
            return;
        }
        ledger->is_skipping = false;
    }
    if (kind == LEDGER_SYNC && ledger->copy_in && !ledger->copy_ended)
        return; /* PostgreSQL ignores a Sync in the middle of COPY IN */
    note_message(ledger, (uint8_t)kind);
    append(ledger, (uint8_t)kind, (uint8_t)action, answer, tag);
    settle_what_waits_for_nothing(ledger);
}

bool ledger_unnamed_is_open(const struct ledger *ledger)
{
    for (uint32_t i = ledger->head; i != ledger->tail; i++) {
        const struct ledger_entry *entry = &ledger->entries[i % LEDGER_ENTRIES];
        if (entry->unnamed != 0 || entry->kind == LEDGER_QUERY)
            return true;
    }
    return false;
}

static struct ledger_entry *head_of(struct ledger *ledger)
{
    return ledger->head == ledger->tail ? NULL : entry_at(ledger, ledger->head);
}

static enum ledger_verdict verdict_for(const struct ledger_entry *entry)
{
    return entry->action == LEDGER_FORWARD ? LEDGER_TO_CLIENT : LEDGER_TO_NOBODY;
}

/* An answer that ends the head if the head is of `kind`. */
static enum ledger_verdict answer_ends(struct ledger *ledger, uint8_t kind)
{
    struct ledger_entry *head = head_of(ledger);
    if (!head || head->kind != kind)
        return LEDGER_UNASKED;
    enum ledger_verdict verdict = verdict_for(head);
    if (head->unnamed != 0)
        set_unnamed(ledger, head, head->unnamed, head->unnamed);
    settle_head(ledger, LEDGER_DONE);
    settle_what_waits_for_nothing(ledger);
    return verdict;
}

/* An answer that belongs to the head, of one of two kinds, and does not end it. */
static enum ledger_verdict answer_continues(struct ledger *ledger, uint8_t kind, uint8_t other)
{
    struct ledger_entry *head = head_of(ledger);
    if (!head || (head->kind != kind && head->kind != other))
        return LEDGER_UNASKED;
    return verdict_for(head);
}

/* RowDescription: in a simple query there may be many; of a Describe it is the end. */
static enum ledger_verdict match_row_description(struct ledger *ledger)
{
    struct ledger_entry *head = head_of(ledger);
    if (head && head->kind == LEDGER_QUERY)
        return verdict_for(head);
    return answer_ends(ledger, LEDGER_DESCRIBE);
}

/* CommandComplete, EmptyQueryResponse, PortalSuspended. */
static enum ledger_verdict match_command_end(struct ledger *ledger, uint8_t type)
{
    ledger->copy_in = ledger->copy_out = ledger->copy_both = false;
    ledger->doubtful_syncs = 0;
    struct ledger_entry *head = head_of(ledger);
    if (head && head->kind == LEDGER_QUERY && type != 's')
        return verdict_for(head);
    return answer_ends(ledger, LEDGER_EXECUTE);
}

/* During COPY IN the server reads and ignores Sync: those sent with the Execute, up to the client's
 * CopyDone or CopyFail, bring no ReadyForQuery (MECHANISMS §5.2). Entries behind them move up. */
static void drop_syncs_up_to_copy_end(struct ledger *ledger)
{
    uint32_t to = ledger->head + 1;
    bool at_end = false;
    for (uint32_t from = ledger->head + 1; from != ledger->tail; from++) {
        struct ledger_entry *entry = entry_at(ledger, from);
        if (entry->kind == LEDGER_COPY_END)
            at_end = true;
        if (!at_end && entry->kind == LEDGER_SYNC) {
            ledger->syncs--;
            ledger->doubtful_syncs++;
            continue;
        }
        *entry_at(ledger, to++) = *entry;
    }
    if (to != ledger->tail)
        ledger->is_unsynced = is_extended(entry_at(ledger, ledger->head)->kind);
    ledger->tail = to;
    ledger->copy_ended = at_end;
    for (uint32_t i = ledger->head + 1; i != ledger->tail; i++)
        note_message(ledger, entry_at(ledger, i)->kind);
}

static enum ledger_verdict match_copy_start(struct ledger *ledger, uint8_t type)
{
    struct ledger_entry *head = head_of(ledger);
    if (!head || (head->kind != LEDGER_QUERY && head->kind != LEDGER_EXECUTE))
        return LEDGER_UNASKED;
    ledger->copy_in = type == 'G';
    ledger->copy_out = type == 'H';
    ledger->copy_both = type == 'W';
    if (type == 'G')
        drop_syncs_up_to_copy_end(ledger);
    return verdict_for(head);
}

/* ErrorResponse. In the extended protocol all that follows is skipped up to the next Sync. */
static enum ledger_verdict match_error(struct ledger *ledger)
{
    struct ledger_entry *head = head_of(ledger);
    if (!head)
        return LEDGER_UNASKED;
    ledger->copy_in = ledger->copy_out = ledger->copy_both = false;
    bool is_ours = head->action == LEDGER_SWALLOW && head->kind != LEDGER_PARSE;
    bool may_fail = head->action == LEDGER_SWALLOW && head->answer == LEDGER_MAY_FAIL;
    /* A Parse that the pooler put in front of a Bind failed: its error is the Bind's. */
    enum ledger_verdict verdict =
        is_ours || may_fail || head->action == LEDGER_LEFT ? LEDGER_TO_NOBODY : LEDGER_TO_CLIENT;
    if (is_ours && !may_fail)
        ledger->error_in_swallowed = true;
    if (head->kind == LEDGER_QUERY) {
        ledger->doubtful_syncs = 0;
        ledger->failed_quietly = ledger->failed_quietly || may_fail;
    }
    if (ends_in_ready(head->kind))
        return verdict;
    if (head->unnamed != 0) /* dropped, unless the message itself was not well-formed */
        set_unnamed(ledger, head, LEDGER_UNNAMED_UNKNOWN, LEDGER_UNNAMED_NONE);
    settle_head(ledger, LEDGER_FAILED);
    while ((head = head_of(ledger)) && head->kind != LEDGER_SYNC)
        settle_head(ledger, LEDGER_SKIPPED);
    if (!head) {
        ledger->is_skipping = true;
        ledger->is_unsynced = true;
    }
    return verdict;
}

static enum ledger_verdict match_ready(struct ledger *ledger, uint8_t status)
{
    struct ledger_entry *head = head_of(ledger);
    if (status != 'I' && status != 'T' && status != 'E')
        return LEDGER_UNASKED;
    /* A Query would have been answered before: its first answer ends the doubt. */
    if (ledger->doubtful_syncs > 0 && (!head || head->kind == LEDGER_QUERY)) {
        ledger->doubtful_syncs--;
        ledger->status = status;
        if (!head)
            ledger->is_skipping = ledger->is_unsynced = false;
        return LEDGER_READY;
    }
    if (!head || !ends_in_ready(head->kind))
        return LEDGER_UNASKED;
    bool is_ours = head->action != LEDGER_FORWARD;
    if (head->kind == LEDGER_QUERY)
        set_unnamed(ledger, head, LEDGER_UNNAMED_NONE, LEDGER_UNNAMED_NONE);
    ledger->status = status;
    ledger->copy_in = ledger->copy_out = ledger->copy_both = false;
    settle_head(ledger, LEDGER_DONE);
    settle_what_waits_for_nothing(ledger);
    return is_ours ? LEDGER_READY_OURS : LEDGER_READY;
}

enum ledger_verdict ledger_match(struct ledger *ledger, uint8_t type, uint8_t status)
{
    switch (type) {
    case 'D':
        return answer_continues(ledger, LEDGER_EXECUTE, LEDGER_QUERY);
    case 'C':
    case 'I':
    case 's':
        return match_command_end(ledger, type);
    case 'T':
        return match_row_description(ledger);
    case 'Z':
        return match_ready(ledger, status);
    case '1':
        return answer_ends(ledger, LEDGER_PARSE);
    case '2':
        return answer_ends(ledger, LEDGER_BIND);
    case '3':
        return answer_ends(ledger, LEDGER_CLOSE);
    case 'n':
        return answer_ends(ledger, LEDGER_DESCRIBE);
    case 't':
        return answer_continues(ledger, LEDGER_DESCRIBE, LEDGER_DESCRIBE);
    case 'E':
        return match_error(ledger);
    case 'd':
        return ledger->copy_out || ledger->copy_both
                   ? answer_continues(ledger, LEDGER_EXECUTE, LEDGER_QUERY)
                   : LEDGER_UNASKED;
    case 'c':
        return answer_continues(ledger, LEDGER_EXECUTE, LEDGER_QUERY);
    case 'G':
    case 'H':
    case 'W':
        return match_copy_start(ledger, type);
    case 'V':
        return answer_continues(ledger, LEDGER_FUNCTION_CALL, LEDGER_FUNCTION_CALL);
    case 'N':
    case 'S':
    case 'A':
        return LEDGER_ASYNC;
    default:
        return LEDGER_UNASKED;
    }
}

uint8_t ledger_provoked(const struct ledger *ledger)
{
    if (ledger->head == ledger->tail)
        return 0;
    const struct ledger_entry *head = &ledger->entries[ledger->head % LEDGER_ENTRIES];
    return head->action == LEDGER_FORWARD ? head->answer : 0;
}

bool ledger_take_settled(struct ledger *ledger, struct ledger_entry *entry)
{
    while (ledger->settled != ledger->head) {
        struct ledger_entry *oldest = entry_at(ledger, ledger->settled);
        ledger->settled++;
        if (is_silent(oldest))
            continue;
        *entry = *oldest;
        return true;
    }
    return false;
}

bool ledger_is_free(const struct ledger *ledger)
{
    return ledger_is_empty(ledger) && ledger->doubtful_syncs == 0 && ledger->status == 'I' &&
           !ledger->is_skipping && !ledger->is_unsynced && !ledger->copy_in && !ledger->copy_out &&
           !ledger->copy_both;
}

void *ledger_head_tag(const struct ledger *ledger)
{
    return ledger->head == ledger->tail ? NULL : ledger->entries[ledger->head % LEDGER_ENTRIES].tag;
}

bool ledger_head_is_clients(const struct ledger *ledger)
{
    if (ledger->head == ledger->tail)
        return false;
    uint8_t action = ledger->entries[ledger->head % LEDGER_ENTRIES].action;
    return action == LEDGER_FORWARD || action == LEDGER_LEFT;
}

bool ledger_may_cancel(const struct ledger *ledger)
{
    for (uint32_t i = ledger->head; i != ledger->tail; i++) {
        const struct ledger_entry *entry = &ledger->entries[i % LEDGER_ENTRIES];
        if (entry->action == LEDGER_FORWARD || entry->action == LEDGER_LEFT)
            return true;
        bool is_in_front = entry->action == LEDGER_SYNTHESIZE || entry->kind == LEDGER_PARSE ||
                           entry->kind == LEDGER_CLOSE;
        if (!is_in_front || (entry->action == LEDGER_SWALLOW && entry->answer == LEDGER_MAY_FAIL))
            return false;
    }
    return false;
}

bool ledger_may_repeat(const struct ledger *ledger)
{
    const struct ledger_entry *entry = &ledger->entries[ledger->head % LEDGER_ENTRIES];
    if (ledger->head == ledger->tail || ledger->status != 'I' || ledger->doubtful_syncs > 0 ||
        ledger->copy_in || entry->action != LEDGER_FORWARD ||
        (entry->kind != LEDGER_BIND && entry->kind != LEDGER_DESCRIBE))
        return false;
    for (uint32_t i = ledger->head + 1; i != ledger->tail; i++)
        if (ends_in_ready(ledger->entries[i % LEDGER_ENTRIES].kind))
            return ledger->entries[i % LEDGER_ENTRIES].kind == LEDGER_SYNC && i + 1 == ledger->tail;
    return true;
}

bool ledger_owes_one_bind(const struct ledger *ledger)
{
    const struct ledger_entry *head = &ledger->entries[ledger->head % LEDGER_ENTRIES];
    if (ledger->head == ledger->tail || head->kind != LEDGER_BIND || head->action != LEDGER_FORWARD)
        return false;
    for (uint32_t i = ledger->head + 1; i != ledger->tail; i++)
        if (ledger->entries[i % LEDGER_ENTRIES].kind == LEDGER_BIND)
            return false;
    return true;
}

bool ledger_swallow_sync(struct ledger *ledger)
{
    struct ledger_entry *head = head_of(ledger);
    if (head)
        head->action = LEDGER_SWALLOW;
    return head != NULL;
}

void ledger_disown(struct ledger *ledger, void *(*disown)(void *tag, void *argument),
                   void *argument)
{
    for (uint32_t index = ledger->head; index != ledger->tail; index++) {
        struct ledger_entry *entry = entry_at(ledger, index);
        if (entry->action == LEDGER_FORWARD)
            entry->action = LEDGER_LEFT;
        if (entry->tag)
            entry->tag = disown(entry->tag, argument);
    }
}

void ledger_abandon(struct ledger *ledger)
{
    while (ledger->head != ledger->tail)
        settle_head(ledger, LEDGER_SKIPPED);
}
