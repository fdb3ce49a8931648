#include <check.h>

#include "ledger/ledger.h"

Suite *suite_ledger_ledger(void);

static struct ledger ledger;

static void begin(void)
{
    ledger_init(&ledger);
}

static void ask(enum ledger_kind kind)
{
    ledger_expect(&ledger, kind, LEDGER_FORWARD, 0, NULL);
}

static void ask_ours(enum ledger_kind kind)
{
    ledger_expect(&ledger, kind, LEDGER_SWALLOW, 0, NULL);
}

/* A whole batch as drivers send it. */
static void ask_batch(void)
{
    ask(LEDGER_PARSE);
    ask(LEDGER_BIND);
    ask(LEDGER_DESCRIBE);
    ask(LEDGER_EXECUTE);
    ask(LEDGER_SYNC);
}

static enum ledger_verdict answer(char type)
{
    return ledger_match(&ledger, (uint8_t)type, 0);
}

static enum ledger_verdict ready(char status)
{
    return ledger_match(&ledger, 'Z', (uint8_t)status);
}

static void answers_go_to_client(const char *types)
{
    for (; *types; types++)
        ck_assert_int_eq(answer(*types), LEDGER_TO_CLIENT);
}

START_TEST(a_new_ledger_is_free)
{
    ck_assert(ledger_is_free(&ledger));
}
END_TEST

START_TEST(a_query_is_owed_until_its_ready_for_query)
{
    ask(LEDGER_QUERY);
    ck_assert(!ledger_is_free(&ledger));
    answers_go_to_client("TDDC");
    ck_assert(!ledger_is_free(&ledger));
    ck_assert_int_eq(ready('I'), LEDGER_READY);
    ck_assert(ledger_is_free(&ledger));
}
END_TEST

START_TEST(a_query_of_several_statements_ends_once)
{
    ask(LEDGER_QUERY);
    answers_go_to_client("TDCTDCI");
    ck_assert_int_eq(ready('I'), LEDGER_READY);
    ck_assert(ledger_is_empty(&ledger));
}
END_TEST

START_TEST(an_open_transaction_is_not_free)
{
    ask(LEDGER_QUERY);
    answers_go_to_client("C");
    ready('T');
    ck_assert(ledger_is_empty(&ledger));
    ck_assert(!ledger_is_free(&ledger));
}
END_TEST

START_TEST(a_failed_transaction_is_not_free)
{
    ask(LEDGER_QUERY);
    answers_go_to_client("E");
    ready('E');
    ck_assert(!ledger_is_free(&ledger));
}
END_TEST

START_TEST(a_batch_is_answered_in_order)
{
    ask_batch();
    answers_go_to_client("12TDDC");
    ck_assert_int_eq(ready('I'), LEDGER_READY);
    ck_assert(ledger_is_free(&ledger));
}
END_TEST

START_TEST(describe_of_a_statement_has_two_answers)
{
    ask(LEDGER_PARSE);
    ask(LEDGER_DESCRIBE);
    ask(LEDGER_SYNC);
    answers_go_to_client("1tn");
    ck_assert_int_eq(ready('I'), LEDGER_READY);
}
END_TEST

START_TEST(a_suspended_portal_ends_its_execute)
{
    ask(LEDGER_EXECUTE);
    ask(LEDGER_EXECUTE);
    ask(LEDGER_SYNC);
    answers_go_to_client("DDsDC");
    ck_assert_int_eq(ready('I'), LEDGER_READY);
}
END_TEST

START_TEST(messages_without_a_sync_keep_the_server)
{
    ask(LEDGER_PARSE);
    ask(LEDGER_DESCRIBE);
    answers_go_to_client("1tn");
    ck_assert(ledger_is_empty(&ledger));
    ck_assert(!ledger_is_free(&ledger));
}
END_TEST

START_TEST(a_query_behind_messages_without_a_sync_frees_the_server)
{
    ask(LEDGER_PARSE);
    answers_go_to_client("1");
    ask(LEDGER_QUERY);
    answers_go_to_client("C");
    ready('I');
    ck_assert(ledger_is_free(&ledger));
}
END_TEST

START_TEST(an_error_in_a_batch_skips_to_its_sync)
{
    ask_batch();
    answers_go_to_client("1E");
    ck_assert(!ledger_is_free(&ledger));
    ck_assert_int_eq(ready('I'), LEDGER_READY);
    ck_assert(ledger_is_free(&ledger));
}
END_TEST

START_TEST(an_error_skips_only_its_own_unit)
{
    ask_batch();
    ask_batch();
    answers_go_to_client("E");
    ck_assert_int_eq(ready('I'), LEDGER_READY);
    answers_go_to_client("12TDC");
    ck_assert_int_eq(ready('I'), LEDGER_READY);
    ck_assert(ledger_is_free(&ledger));
}
END_TEST

START_TEST(an_error_before_the_sync_was_sent_waits_for_it)
{
    ask(LEDGER_PARSE);
    ask(LEDGER_BIND);
    answers_go_to_client("E");
    ck_assert(!ledger_is_free(&ledger));
    ask(LEDGER_EXECUTE);
    ck_assert(ledger_head_is_clients(&ledger) == false);
    ask(LEDGER_SYNC);
    ck_assert_int_eq(ready('I'), LEDGER_READY);
    ck_assert(ledger_is_free(&ledger));
}
END_TEST

START_TEST(a_query_between_an_error_and_its_sync_is_skipped)
{
    ask(LEDGER_PARSE);
    ask(LEDGER_QUERY);
    answers_go_to_client("E");
    ck_assert_int_eq(ready('I'), LEDGER_UNASKED);
    ask(LEDGER_SYNC);
    ck_assert_int_eq(ready('I'), LEDGER_READY);
}
END_TEST

START_TEST(an_error_of_a_query_does_not_skip)
{
    ask(LEDGER_QUERY);
    ask(LEDGER_QUERY);
    answers_go_to_client("E");
    ck_assert_int_eq(ready('I'), LEDGER_READY);
    answers_go_to_client("C");
    ck_assert_int_eq(ready('I'), LEDGER_READY);
    ck_assert(ledger_is_free(&ledger));
}
END_TEST

START_TEST(an_error_at_the_sync_itself_still_has_its_ready)
{
    ask(LEDGER_EXECUTE);
    ask(LEDGER_SYNC);
    answers_go_to_client("CE");
    ck_assert_int_eq(ready('I'), LEDGER_READY);
    ck_assert(ledger_is_free(&ledger));
}
END_TEST

START_TEST(a_function_call_has_an_answer_and_a_ready)
{
    ask(LEDGER_FUNCTION_CALL);
    answers_go_to_client("V");
    ck_assert_int_eq(ready('I'), LEDGER_READY);
}
END_TEST

START_TEST(answers_to_the_poolers_messages_are_nobodys)
{
    ask_ours(LEDGER_QUERY);
    ask(LEDGER_QUERY);
    ck_assert_int_eq(answer('C'), LEDGER_TO_NOBODY);
    ck_assert_int_eq(ready('I'), LEDGER_READY_OURS);
    answers_go_to_client("C");
    ck_assert_int_eq(ready('I'), LEDGER_READY);
}
END_TEST

START_TEST(an_error_of_the_poolers_query_is_noted_and_told_nobody)
{
    ask_ours(LEDGER_QUERY);
    ck_assert_int_eq(answer('E'), LEDGER_TO_NOBODY);
    ck_assert(ledger.error_in_swallowed);
}
END_TEST

START_TEST(the_error_of_a_parse_in_front_of_a_bind_is_the_clients)
{
    ask_ours(LEDGER_PARSE);
    ask(LEDGER_BIND);
    ask(LEDGER_SYNC);
    ck_assert_int_eq(answer('E'), LEDGER_TO_CLIENT);
    ck_assert_int_eq(ready('I'), LEDGER_READY);
}
END_TEST

START_TEST(a_made_up_answer_has_its_turn_behind_what_was_asked_before)
{
    struct ledger_entry entry;
    ask(LEDGER_BIND);
    ledger_expect(&ledger, LEDGER_CLOSE, LEDGER_SYNTHESIZE, '3', NULL);
    ck_assert(!ledger_take_settled(&ledger, &entry));
    answers_go_to_client("2");
    ck_assert(ledger_take_settled(&ledger, &entry));
    ck_assert_int_eq(entry.answer, '3');
    ck_assert_int_eq(entry.outcome, LEDGER_DONE);
}
END_TEST

START_TEST(a_made_up_answer_behind_an_error_is_skipped)
{
    struct ledger_entry entry;
    ask(LEDGER_BIND);
    ledger_expect(&ledger, LEDGER_CLOSE, LEDGER_SYNTHESIZE, '3', NULL);
    ask(LEDGER_SYNC);
    answers_go_to_client("E");
    ck_assert(ledger_take_settled(&ledger, &entry));
    ck_assert_int_eq(entry.outcome, LEDGER_SKIPPED);
}
END_TEST

START_TEST(tags_are_heard_of_in_order)
{
    int first, second;
    struct ledger_entry entry;
    ledger_expect(&ledger, LEDGER_PARSE, LEDGER_FORWARD, 0, &first);
    ledger_expect(&ledger, LEDGER_PARSE, LEDGER_FORWARD, 0, &second);
    answers_go_to_client("1E");
    ck_assert(ledger_take_settled(&ledger, &entry));
    ck_assert_ptr_eq(entry.tag, &first);
    ck_assert_int_eq(entry.outcome, LEDGER_DONE);
    ck_assert(ledger_take_settled(&ledger, &entry));
    ck_assert_ptr_eq(entry.tag, &second);
    ck_assert_int_eq(entry.outcome, LEDGER_FAILED);
    ck_assert(!ledger_take_settled(&ledger, &entry));
}
END_TEST

START_TEST(copy_out_of_a_query_streams_and_ends)
{
    ask(LEDGER_QUERY);
    answers_go_to_client("HddcC");
    ck_assert_int_eq(ready('I'), LEDGER_READY);
    ck_assert(ledger_is_free(&ledger));
}
END_TEST

START_TEST(copy_data_without_a_copy_is_unasked)
{
    ask(LEDGER_QUERY);
    ck_assert_int_eq(answer('d'), LEDGER_UNASKED);
}
END_TEST

START_TEST(a_copy_in_of_a_query_is_not_free_before_its_end)
{
    ask(LEDGER_QUERY);
    answers_go_to_client("G");
    ask(LEDGER_COPY_END);
    answers_go_to_client("C");
    ck_assert(!ledger_is_free(&ledger));
    ready('I');
    ck_assert(ledger_is_free(&ledger));
}
END_TEST

START_TEST(the_sync_sent_with_a_copy_in_brings_no_ready)
{
    ask(LEDGER_PARSE);
    ask(LEDGER_BIND);
    ask(LEDGER_EXECUTE);
    ask(LEDGER_SYNC);
    answers_go_to_client("12G");
    ask(LEDGER_COPY_END);
    ask(LEDGER_SYNC);
    answers_go_to_client("C");
    ck_assert_int_eq(ready('I'), LEDGER_READY);
    ck_assert(ledger_is_free(&ledger));
}
END_TEST

START_TEST(a_copy_in_sent_whole_in_one_write_has_one_ready)
{
    ask(LEDGER_EXECUTE);
    ask(LEDGER_SYNC);
    ask(LEDGER_COPY_END);
    ask(LEDGER_SYNC);
    answers_go_to_client("GC");
    ck_assert_int_eq(ready('I'), LEDGER_READY);
    ck_assert(ledger_is_free(&ledger));
}
END_TEST

START_TEST(a_copy_in_that_never_started_has_both_readies)
{
    ask(LEDGER_EXECUTE);
    ask(LEDGER_SYNC);
    ask(LEDGER_COPY_END);
    ask(LEDGER_SYNC);
    answers_go_to_client("E");
    ck_assert_int_eq(ready('I'), LEDGER_READY);
    ck_assert_int_eq(ready('I'), LEDGER_READY);
    ck_assert(ledger_is_free(&ledger));
}
END_TEST

START_TEST(a_copy_in_that_fails_in_the_middle_waits_for_the_sync)
{
    ask(LEDGER_EXECUTE);
    ask(LEDGER_SYNC);
    answers_go_to_client("GE");
    ck_assert(!ledger_is_free(&ledger));
    ask(LEDGER_COPY_END);
    ask(LEDGER_SYNC);
    ck_assert_int_eq(ready('I'), LEDGER_READY);
    /* Whether the first Sync was read before the failure or behind it, nobody knows. */
    ck_assert(ledger_is_empty(&ledger) && !ledger_is_free(&ledger));
}
END_TEST

START_TEST(a_copy_in_that_fails_before_its_sync_was_read_has_its_ready)
{
    ask(LEDGER_EXECUTE);
    ask(LEDGER_SYNC);
    answers_go_to_client("GE");
    ck_assert_int_eq(ready('x'), LEDGER_UNASKED);
    ck_assert_int_eq(ready('I'), LEDGER_READY);
    ck_assert(ledger_is_free(&ledger));
    ck_assert_int_eq(ready('I'), LEDGER_UNASKED);
}
END_TEST

START_TEST(a_copy_in_that_succeeds_has_read_its_syncs)
{
    ask(LEDGER_EXECUTE);
    ask(LEDGER_SYNC);
    answers_go_to_client("G");
    ask(LEDGER_COPY_END);
    ask(LEDGER_SYNC);
    answers_go_to_client("C");
    ck_assert_int_eq(ready('I'), LEDGER_READY);
    ck_assert(ledger_is_free(&ledger));
    ck_assert_int_eq(ready('I'), LEDGER_UNASKED);
}
END_TEST

START_TEST(what_nobody_asked_is_unasked)
{
    ck_assert_int_eq(answer('C'), LEDGER_UNASKED);
    ck_assert_int_eq(ready('I'), LEDGER_UNASKED);
    ck_assert_int_eq(answer('E'), LEDGER_UNASKED);
    ck_assert_int_eq(answer('N'), LEDGER_ASYNC);
}
END_TEST

START_TEST(an_answer_of_another_kind_is_unasked)
{
    ask(LEDGER_BIND);
    ck_assert_int_eq(answer('1'), LEDGER_UNASKED);
}
END_TEST

START_TEST(abandoning_settles_everything)
{
    int tag;
    struct ledger_entry entry;
    ask_batch();
    ledger_expect(&ledger, LEDGER_PARSE, LEDGER_FORWARD, 0, &tag);
    ledger_abandon(&ledger);
    ck_assert(ledger_take_settled(&ledger, &entry));
    ck_assert_int_eq(entry.outcome, LEDGER_SKIPPED);
    ck_assert(ledger_is_empty(&ledger));
}
END_TEST

START_TEST(the_ring_wraps_around)
{
    for (int i = 0; i < 3 * LEDGER_ENTRIES; i++) {
        ask_batch();
        answers_go_to_client("12nC");
        ck_assert_int_eq(ready('I'), LEDGER_READY);
    }
    ck_assert(ledger_is_free(&ledger));
}
END_TEST

START_TEST(a_full_ring_has_no_room)
{
    for (int i = 0; i < LEDGER_ENTRIES; i++)
        ask(LEDGER_BIND);
    ck_assert(!ledger_has_room(&ledger, 1));
    answers_go_to_client("2");
    ck_assert(ledger_has_room(&ledger, 1));
}
END_TEST

static void *disown_all(void *tag, void *argument)
{
    (void)tag;
    ++*(int *)argument;
    return NULL;
}

static void *disown_none(void *tag, void *argument)
{
    (void)argument;
    return tag;
}

START_TEST(what_a_client_left_is_answered_to_nobody)
{
    int disowned = 0;
    ask_batch();
    ask(LEDGER_QUERY);
    answers_go_to_client("1");
    ledger_disown(&ledger, disown_all, &disowned);
    ck_assert_int_eq(disowned, 0);
    ck_assert(ledger_head_is_clients(&ledger));
    for (const char *type = "2TDDC"; *type; type++)
        ck_assert_int_eq(answer(*type), LEDGER_TO_NOBODY);
    ck_assert_int_eq(ready('I'), LEDGER_READY_OURS);
    ck_assert_int_eq(answer('E'), LEDGER_TO_NOBODY);
    ck_assert(!ledger.error_in_swallowed);
    ck_assert_int_eq(ready('I'), LEDGER_READY_OURS);
    ck_assert(ledger_is_free(&ledger));
}
END_TEST

/* PostgreSQL keeps ParseComplete back while the statement runs. */
START_TEST(a_cancel_may_strike_behind_a_parse_of_ours)
{
    ck_assert(!ledger_may_cancel(&ledger));
    ask_ours(LEDGER_CLOSE);
    ask_ours(LEDGER_PARSE);
    ck_assert(!ledger_may_cancel(&ledger));
    ledger_expect(&ledger, LEDGER_PARSE, LEDGER_SYNTHESIZE, '1', NULL);
    ask_batch();
    ck_assert(ledger_may_cancel(&ledger));
    ck_assert(!ledger_head_is_clients(&ledger));
}
END_TEST

START_TEST(a_cancel_waits_for_what_is_only_ours)
{
    ledger_expect(&ledger, LEDGER_PARSE, LEDGER_SWALLOW, LEDGER_MAY_FAIL, NULL);
    ask(LEDGER_QUERY);
    ck_assert(!ledger_may_cancel(&ledger));
    ledger_init(&ledger);
    ask_ours(LEDGER_PARSE);
    ask_ours(LEDGER_BIND);
    ask_ours(LEDGER_EXECUTE);
    ask_ours(LEDGER_SYNC);
    ask(LEDGER_QUERY);
    ck_assert(!ledger_may_cancel(&ledger));
}
END_TEST

START_TEST(the_poolers_own_stays_its_own_when_the_client_leaves)
{
    ask_ours(LEDGER_QUERY);
    ask(LEDGER_QUERY);
    ledger_disown(&ledger, disown_none, NULL);
    ck_assert(!ledger_head_is_clients(&ledger));
    ck_assert_int_eq(answer('E'), LEDGER_TO_NOBODY);
    ck_assert(ledger.error_in_swallowed);
    ck_assert_int_eq(ready('I'), LEDGER_READY_OURS);
    ck_assert(ledger_head_is_clients(&ledger));
}
END_TEST

START_TEST(tags_that_nobody_waits_for_are_given_up)
{
    int one, two, disowned = 0;
    struct ledger_entry entry;
    ledger_expect(&ledger, LEDGER_PARSE, LEDGER_FORWARD, 0, &one);
    ledger_expect(&ledger, LEDGER_CLOSE, LEDGER_SYNTHESIZE, '3', &two);
    ask(LEDGER_SYNC);
    ledger_disown(&ledger, disown_all, &disowned);
    ck_assert_int_eq(disowned, 2);
    ck_assert_int_eq(answer('1'), LEDGER_TO_NOBODY);
    while (ledger_take_settled(&ledger, &entry))
        ck_assert_ptr_null(entry.tag);
    ck_assert_int_eq(ready('I'), LEDGER_READY_OURS);
    ck_assert(ledger_is_free(&ledger));
}
END_TEST

START_TEST(an_execute_without_its_sync_is_known)
{
    ask(LEDGER_PARSE);
    ck_assert(!ledger.executes_unsynced);
    ask(LEDGER_BIND);
    ask(LEDGER_EXECUTE);
    ck_assert(ledger.executes_unsynced);
    answers_go_to_client("12C");
    ck_assert(ledger.executes_unsynced);
    ask_ours(LEDGER_QUERY);
    ck_assert(!ledger.executes_unsynced && !ledger.is_unsynced);
}
END_TEST

/* The Sync that came with the COPY may have been read before the COPY failed, or behind it. */
START_TEST(the_answer_to_a_query_ends_the_doubt_about_syncs)
{
    for (int readies = 1; readies <= 2; readies++) {
        ledger_init(&ledger);
        ask(LEDGER_PARSE);
        ask(LEDGER_BIND);
        ask(LEDGER_EXECUTE);
        ask(LEDGER_SYNC);
        answers_go_to_client("12G");
        ask_ours(LEDGER_COPY_END);
        ask_ours(LEDGER_SYNC);
        answers_go_to_client("E");
        ck_assert_int_eq(ready('I'), LEDGER_READY_OURS);
        ck_assert(!ledger_is_free(&ledger));
        ask_ours(LEDGER_QUERY);
        if (readies == 2)
            ck_assert_int_eq(ready('I'), LEDGER_READY);
        ck_assert_int_eq(answer('I'), LEDGER_TO_NOBODY);
        ck_assert_int_eq(ready('I'), LEDGER_READY_OURS);
        ck_assert(ledger_is_free(&ledger));
    }
}
END_TEST

static void ask_unnamed_parse(uint32_t number)
{
    ask(LEDGER_PARSE);
    ledger_note_unnamed(&ledger, number);
}

START_TEST(an_unnamed_parse_counts_when_it_is_answered)
{
    ask_unnamed_parse(LEDGER_UNNAMED_FIRST);
    ask(LEDGER_SYNC);
    ck_assert(ledger_unnamed_is_open(&ledger));
    ck_assert_uint_eq(ledger.unnamed, 0);
    answers_go_to_client("1");
    ck_assert(!ledger_unnamed_is_open(&ledger));
    ck_assert_uint_eq(ledger.unnamed, LEDGER_UNNAMED_FIRST);
    ck_assert_uint_eq(ledger.unnamed_of_client, LEDGER_UNNAMED_FIRST);
}
END_TEST

START_TEST(a_skipped_unnamed_parse_changes_nothing)
{
    ledger.unnamed = LEDGER_UNNAMED_UNKNOWN;
    ledger.unnamed_of_client = LEDGER_UNNAMED_FIRST;
    ask(LEDGER_BIND);
    ask_unnamed_parse(LEDGER_UNNAMED_FIRST + 1);
    answers_go_to_client("E");
    ask_unnamed_parse(LEDGER_UNNAMED_FIRST + 2);
    ask(LEDGER_SYNC);
    ready('I');
    ck_assert_uint_eq(ledger.unnamed, LEDGER_UNNAMED_UNKNOWN);
    ck_assert_uint_eq(ledger.unnamed_of_client, LEDGER_UNNAMED_FIRST);
}
END_TEST

START_TEST(a_failed_unnamed_parse_leaves_none)
{
    ledger.unnamed = ledger.unnamed_of_client = LEDGER_UNNAMED_FIRST;
    ask_unnamed_parse(LEDGER_UNNAMED_FIRST + 1);
    answers_go_to_client("E");
    ck_assert_uint_eq(ledger.unnamed, LEDGER_UNNAMED_UNKNOWN);
    ck_assert_uint_eq(ledger.unnamed_of_client, LEDGER_UNNAMED_NONE);
}
END_TEST

START_TEST(a_query_of_ours_drops_only_what_the_server_holds)
{
    ledger.unnamed = ledger.unnamed_of_client = LEDGER_UNNAMED_FIRST;
    ask_ours(LEDGER_QUERY);
    ck_assert(ledger_unnamed_is_open(&ledger));
    ready('I');
    ck_assert_uint_eq(ledger.unnamed, LEDGER_UNNAMED_NONE);
    ck_assert_uint_eq(ledger.unnamed_of_client, LEDGER_UNNAMED_FIRST);
    ask(LEDGER_QUERY);
    ready('I');
    ck_assert_uint_eq(ledger.unnamed_of_client, LEDGER_UNNAMED_NONE);
}
END_TEST

START_TEST(a_swallowed_parse_may_fail_and_nobody_hears_of_it)
{
    ledger_expect(&ledger, LEDGER_PARSE, LEDGER_SWALLOW, LEDGER_MAY_FAIL, NULL);
    ask_ours(LEDGER_SYNC);
    ask(LEDGER_QUERY);
    ck_assert_int_eq(answer('E'), LEDGER_TO_NOBODY);
    ck_assert(!ledger.error_in_swallowed);
    ck_assert_int_eq(ready('I'), LEDGER_READY_OURS);
    answers_go_to_client("C");
    ck_assert_int_eq(ready('I'), LEDGER_READY);
    ck_assert(ledger_is_free(&ledger));
}
END_TEST

START_TEST(a_provoked_error_is_known_while_it_is_owed_to_the_client)
{
    ck_assert_int_eq(ledger_provoked(&ledger), 0);
    ask(LEDGER_BIND);
    ledger_expect(&ledger, LEDGER_PARSE, LEDGER_FORWARD, 7, NULL);
    ck_assert_int_eq(ledger_provoked(&ledger), 0);
    answers_go_to_client("2");
    ck_assert_int_eq(ledger_provoked(&ledger), 7);
    ledger_disown(&ledger, NULL, NULL);
    ck_assert_int_eq(ledger_provoked(&ledger), 0);
}
END_TEST

START_TEST(a_shared_unnamed_statement_is_the_clients_and_leaves_the_servers_alone)
{
    uint32_t shared = LEDGER_UNNAMED_FIRST | LEDGER_UNNAMED_SHARED;
    ledger.unnamed = ledger.unnamed_of_client = LEDGER_UNNAMED_FIRST + 7;
    ask(LEDGER_PARSE);
    ledger_note_unnamed(&ledger, shared);
    ck_assert(ledger_unnamed_is_open(&ledger));
    answer('1');
    ck_assert_uint_eq(ledger.unnamed, LEDGER_UNNAMED_FIRST + 7);
    ck_assert_uint_eq(ledger.unnamed_of_client, shared);
    ledger_expect(&ledger, LEDGER_PARSE, LEDGER_SYNTHESIZE, '1', NULL);
    ledger_note_unnamed(&ledger, shared + 1);
    ck_assert_uint_eq(ledger.unnamed, LEDGER_UNNAMED_FIRST + 7);
    ck_assert_uint_eq(ledger.unnamed_of_client, shared + 1);
}
END_TEST

START_TEST(a_made_up_unnamed_parse_counts_in_its_turn)
{
    uint32_t shared = LEDGER_UNNAMED_FIRST | LEDGER_UNNAMED_SHARED;
    ask(LEDGER_BIND);
    ledger_expect(&ledger, LEDGER_PARSE, LEDGER_SYNTHESIZE, '1', NULL);
    ledger_note_unnamed(&ledger, shared);
    ck_assert_uint_ne(ledger.unnamed_of_client, shared);
    answer('2');
    ck_assert_uint_eq(ledger.unnamed_of_client, shared);
    begin();
    ask(LEDGER_BIND);
    ledger_expect(&ledger, LEDGER_PARSE, LEDGER_SYNTHESIZE, '1', NULL);
    ledger_note_unnamed(&ledger, shared);
    answer('E');
    ck_assert_uint_ne(ledger.unnamed_of_client, shared);
}
END_TEST

START_TEST(a_unit_whose_first_message_fails_may_be_sent_again)
{
    ask_ours(LEDGER_QUERY);
    ask_ours(LEDGER_PARSE);
    ask(LEDGER_BIND);
    ask(LEDGER_EXECUTE);
    ck_assert(!ledger_may_repeat(&ledger));
    ready('I');
    answer('1');
    ck_assert(ledger_may_repeat(&ledger));
    ask(LEDGER_SYNC);
    ck_assert(ledger_may_repeat(&ledger));
    answer('E');
    ck_assert(ledger_swallow_sync(&ledger));
    ck_assert_int_eq(ready('I'), LEDGER_READY_OURS);
    ck_assert(ledger_is_free(&ledger));
}
END_TEST

START_TEST(a_unit_that_fails_before_its_sync_was_sent_may_be_sent_again)
{
    ask(LEDGER_DESCRIBE);
    answer('t');
    ck_assert(ledger_may_repeat(&ledger));
    answer('E');
    ck_assert(!ledger_swallow_sync(&ledger));
}
END_TEST

START_TEST(a_unit_in_a_transaction_is_not_sent_again)
{
    ask(LEDGER_QUERY);
    answer('C');
    ready('T');
    ask_batch();
    answer('1');
    ck_assert(!ledger_may_repeat(&ledger));
}
END_TEST

START_TEST(a_unit_with_more_behind_it_is_not_sent_again)
{
    ask(LEDGER_BIND);
    ask(LEDGER_SYNC);
    ask(LEDGER_PARSE);
    ck_assert(!ledger_may_repeat(&ledger));
    begin();
    ask(LEDGER_BIND);
    ask(LEDGER_QUERY);
    ck_assert(!ledger_may_repeat(&ledger));
}
END_TEST

START_TEST(what_is_no_bind_and_no_describe_is_not_sent_again)
{
    ck_assert(!ledger_may_repeat(&ledger));
    ask(LEDGER_EXECUTE);
    ask(LEDGER_SYNC);
    ck_assert(!ledger_may_repeat(&ledger));
}
END_TEST

Suite *suite_ledger_ledger(void)
{
    const TTest *const tests[] = {
        a_new_ledger_is_free,
        a_query_is_owed_until_its_ready_for_query,
        a_query_of_several_statements_ends_once,
        an_open_transaction_is_not_free,
        a_failed_transaction_is_not_free,
        a_batch_is_answered_in_order,
        describe_of_a_statement_has_two_answers,
        a_suspended_portal_ends_its_execute,
        messages_without_a_sync_keep_the_server,
        a_query_behind_messages_without_a_sync_frees_the_server,
        an_error_in_a_batch_skips_to_its_sync,
        an_error_skips_only_its_own_unit,
        an_error_before_the_sync_was_sent_waits_for_it,
        a_query_between_an_error_and_its_sync_is_skipped,
        an_error_of_a_query_does_not_skip,
        an_error_at_the_sync_itself_still_has_its_ready,
        a_function_call_has_an_answer_and_a_ready,
        answers_to_the_poolers_messages_are_nobodys,
        an_error_of_the_poolers_query_is_noted_and_told_nobody,
        the_error_of_a_parse_in_front_of_a_bind_is_the_clients,
        a_made_up_answer_has_its_turn_behind_what_was_asked_before,
        a_made_up_answer_behind_an_error_is_skipped,
        tags_are_heard_of_in_order,
        copy_out_of_a_query_streams_and_ends,
        copy_data_without_a_copy_is_unasked,
        a_copy_in_of_a_query_is_not_free_before_its_end,
        the_sync_sent_with_a_copy_in_brings_no_ready,
        a_copy_in_sent_whole_in_one_write_has_one_ready,
        a_copy_in_that_never_started_has_both_readies,
        a_copy_in_that_fails_in_the_middle_waits_for_the_sync,
        a_copy_in_that_fails_before_its_sync_was_read_has_its_ready,
        a_copy_in_that_succeeds_has_read_its_syncs,
        what_nobody_asked_is_unasked,
        an_answer_of_another_kind_is_unasked,
        abandoning_settles_everything,
        the_ring_wraps_around,
        a_full_ring_has_no_room,
        what_a_client_left_is_answered_to_nobody,
        a_cancel_may_strike_behind_a_parse_of_ours,
        a_cancel_waits_for_what_is_only_ours,
        the_poolers_own_stays_its_own_when_the_client_leaves,
        tags_that_nobody_waits_for_are_given_up,
        an_execute_without_its_sync_is_known,
        the_answer_to_a_query_ends_the_doubt_about_syncs,
        an_unnamed_parse_counts_when_it_is_answered,
        a_skipped_unnamed_parse_changes_nothing,
        a_failed_unnamed_parse_leaves_none,
        a_query_of_ours_drops_only_what_the_server_holds,
        a_swallowed_parse_may_fail_and_nobody_hears_of_it,
        a_provoked_error_is_known_while_it_is_owed_to_the_client,
        a_shared_unnamed_statement_is_the_clients_and_leaves_the_servers_alone,
        a_made_up_unnamed_parse_counts_in_its_turn,
        a_unit_whose_first_message_fails_may_be_sent_again,
        a_unit_that_fails_before_its_sync_was_sent_may_be_sent_again,
        a_unit_in_a_transaction_is_not_sent_again,
        a_unit_with_more_behind_it_is_not_sent_again,
        what_is_no_bind_and_no_describe_is_not_sent_again,
    };
    Suite *suite = suite_create("ledger/ledger");
    TCase *all = tcase_create("all");
    tcase_add_checked_fixture(all, begin, NULL);
    for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
        tcase_add_test(all, tests[i]);
    suite_add_tcase(suite, all);
    return suite;
}
