"""The scripts of test_differential: what a client says, step by step, to PostgreSQL and to the pooler.

A step is bytes (sent in one write) or an Await (what to read before the next step). Everything that a script creates lives in
one transaction, in tables that the test empties before, or in tracked settings: so it must give the same answers whether a
server is shared or not. A script that needs one session names modes=SESSION."""

import struct
from typing import NamedTuple

from peer import (COPY_DONE, FLUSH, GSSENC_REQUEST, SSL_REQUEST, SYNC, TERMINATE, bind, close_portal, close_statement,
                  copy_data, copy_fail, describe_portal, describe_statement, execute, extended, function_call, message, packet,
                  parse, password, query, startup, text)

BOTH = ("session", "transaction")
SESSION = ("session",)


class Await(NamedTuple):
    """Read up to the `count`-th message of this type; "end": until the connection is closed; "byte": one byte."""

    type: str
    count: int = 1


READY = Await("Z")
END = Await("end")
BYTE = Await("byte")


class Script(NamedTuple):
    name: str
    steps: tuple
    modes: tuple = BOTH
    login: bool = True  # the script begins after a login as alice
    compare: str = "all"  # "codes": of errors only severity and SQLSTATE; "types": only the messages' types; "names": all
    # but texts with the name of a statement in them; "ends": the connection ends, with at most a protocol error before;
    # "closes": the connection ends
    expected: list = None  # instead of PostgreSQL's own answers: where the pooler is meant to differ


SCRIPTS = []


def script(name, *steps, **options):
    SCRIPTS.append(Script(name, tuple(READY if step is None else step for step in steps), **options))


def ready(count):
    return Await("Z", count)


GOOD = extended("select n, t from numbers where n = $1", "7") + SYNC

# Simple queries.

script("one_row", query("select 1 as one, 'x' as two, null as three"), None)
script("several_rows", query("select n, t from numbers where n <= 20 order by n"), None)
script("no_rows", query("select n from numbers where n < 0"), None)
script("no_columns", query("select from numbers where n <= 3"), None)
script("empty_query_string", query(""), None)
script("only_blanks_comments_and_semicolons", query("  ;; -- nothing\n /* at all */ ; "), None)
script("several_statements_in_one_string", query("select 1; select 2 as b; values (3), (4)"), None)
script("error_in_the_middle_of_a_string", query("select 1; select 1/0; select 3"), None)
script("syntax_error_in_a_string_runs_nothing", query("insert into written values (1, 'a'); selec 2"), None,
       query("select count(*) from written"), None)
script("string_with_a_transaction_inside", query("begin; select 1; commit; select 2; begin; select 3; rollback"), None)
script("string_that_leaves_a_transaction_open", query("select 1; begin; select 2"), None, query("commit"), None)
script("error_undoes_the_string", query("insert into written values (1, 'a'); select 1/0"), None,
       query("select count(*) from written"), None)
script("syntax_error", query("selec 1"), None)
script("unknown_table_and_column", query("select * from nowhere"), None, query("select nothing from numbers"), None)
script("error_after_some_rows", query("select 100 / (5 - n) from numbers where n <= 9 order by n"), None, query("select 1"), None)
script("error_with_detail_hint_and_context", query("select fail('here')"), None,
       query("insert into written values (1, 'a'), (1, 'b')"), None)
script("notices_among_rows", query("select remark('a' || n) from numbers where n <= 3 order by n"), None)
script("warning_for_commit_outside", query("commit"), None, query("rollback"), None)
script("commands_and_their_tags", query("begin"), None, query("insert into written select n, t from numbers where n <= 5"), None,
       query("update written set t = 'new' where n > 2"), None, query("delete from written where n = 1"), None,
       query("create table fresh (a int)"), None, query("drop table fresh"), None, query("explain (costs off) select 1"), None,
       query("show server_version_num"), None, query("rollback"), None)
script("insert_returning", query("insert into written values (1, 'a'), (2, 'b') returning n, upper(t)"), None)
script("a_row_of_a_mebibyte", query("select repeat('0123456789abcdef', 65536) as big, 1 as small"), None)
script("rows_larger_than_any_buffer", query("select n, repeat(t, 3000) from numbers where n <= 40 order by n"), None)
script("twenty_thousand_small_rows", query("select g, 'row ' || g from generate_series(1, 20000) g"), None)
script("a_query_of_200_kb", query("select length('" + "q" * 200000 + "')"), None)
script("a_row_with_600_columns", query("select " + ", ".join(f"{i} as c{i}" for i in range(600))), None)
script("invalid_bytes_in_a_query", query(b"select '\xff\xfe'"), None, query("select 1"), None)
script("invalid_bytes_fail_an_open_transaction", query("begin"), None, query(b"select '\xc3\x28'"), None, query("select 1"), None,
       query("rollback"), None)

# Simple queries, pipelined.

script("ten_queries_in_one_write", b"".join(query(f"select {i}") for i in range(10)), ready(10))
script("queries_and_errors_in_one_write", query("select 1") + query("select 1/0") + query("select 2") + query("selec") + query("select 3"),
       ready(5))
script("transactions_in_one_write", query("begin") + query("select 1") + query("commit") + query("begin") + query("select 2") +
       query("rollback") + query("select 3"), ready(7))
script("failed_transaction_in_one_write", query("begin") + query("select 1/0") + query("select 1") + query("commit") + query("select 2"),
       ready(5))
script("a_query_cut_in_three", query("select 'cut in three'")[:3], query("select 'cut in three'")[3:15],
       query("select 'cut in three'")[15:], None)
script("big_rows_pipelined", query("select repeat('a', 300000)") + query("select repeat('b', 300000)") + query("select 1"), ready(3))
script("terminate_behind_queries", query("select 1") + query("select 2") + TERMINATE, END, compare="closes")
script("empty_queries_pipelined", query("") + query("select 1") + query(""), ready(3))

# Transaction states.

script("transaction_commits", query("begin"), None, query("insert into written values (1, 'a')"), None, query("commit"), None,
       query("select * from written"), None)
script("transaction_rolls_back", query("begin"), None, query("insert into written values (1, 'a')"), None, query("rollback"), None,
       query("select * from written"), None)
script("failed_transaction_refuses", query("begin"), None, query("select 1/0"), None, query("select 1"), None, query(""), None,
       query("commit"), None, query("select 1"), None)
script("savepoint_after_an_error", query("begin"), None, query("savepoint s"), None, query("selec"), None,
       query("rollback to savepoint s"), None, query("select 1"), None, query("release s"), None, query("commit"), None)
script("begin_twice", query("begin"), None, query("begin"), None, query("commit"), None)
script("commit_and_chain", query("begin"), None, query("commit and chain"), None, query("select 1"), None, query("rollback"), None)
script("read_only_transaction", query("begin read only"), None, query("insert into written values (1, 'a')"), None,
       query("rollback"), None)
script("isolation_level_stays_in_the_transaction", query("begin isolation level serializable; show transaction_isolation"), None,
       query("commit"), None, query("show transaction_isolation"), None)
script("deferred_error_at_commit",
       query("begin; create table d (a int, unique (a) deferrable initially deferred); insert into d values (1), (1)"), None,
       query("commit"), None, query("select 1"), None)
script("cursor_in_sql", query("begin; declare c cursor for select n from numbers order by n"), None, query("fetch 3 from c"), None,
       query("move 2 from c"), None, query("fetch 2 from c"), None, query("close c; commit"), None)
script("prepare_in_sql", query("begin; prepare p as select $1::int + 1"), None, query("execute p(41)"), None,
       query("deallocate p; commit"), None)
script("temporary_table", query("begin; create temporary table t (a int) on commit drop; insert into t values (1)"), None,
       query("select a + 0 from t"), None, query("commit"), None)
script("listen_and_notify_oneself", query("listen news"), None, query("notify news, 'hot'"), None,
       query("begin; notify news, 'a'; notify news, 'b'"), None, query("commit"), None, query("unlisten *"), None, modes=SESSION)
script("session_settings", query("set work_mem = '5MB'"), None, query("show work_mem"), None, query("reset work_mem"), None,
       modes=SESSION)
script("do_block", query("do $$ begin raise warning 'w'; raise notice 'n'; end $$"), None)

# Settings that the server reports.

script("set_datestyle", query("set datestyle = 'German'"), None, query("select date '2024-02-29'"), None,
       query("set datestyle = 'ISO, DMY'"), None, query("select '01/02/2024'::date"), None)
script("set_application_name", query("set application_name = 'differs'"), None, query("show application_name"), None)
script("set_timezone", query("set timezone = 'Asia/Tokyo'"), None, query("select '2024-01-01 00:00+00'::timestamptz"), None)
script("set_client_encoding", query("set client_encoding = 'LATIN1'"), None, query(b"select '\xe9', length('\xe9')"), None)
script("set_standard_conforming_strings", query("set standard_conforming_strings = off"), None, query(r"select 'a\\b'"), None)
script("set_intervalstyle", query("set intervalstyle = 'iso_8601'"), None, query("select interval '1 day 2 hours'"), None)
script("set_that_is_rolled_back", query("begin"), None, query("set datestyle = 'SQL'"), None, query("select date '2024-02-29'"), None,
       query("rollback"), None, query("select date '2024-02-29'"), None)
script("set_that_is_committed", query("begin"), None, query("set timezone = 'Europe/Rome'"), None, query("commit"), None,
       query("show timezone"), None)
script("set_local", query("begin; set local datestyle = 'SQL, DMY'; select date '2024-02-29'"), None, query("commit"), None,
       query("select date '2024-02-29'"), None)
script("set_twice_in_one_string", query("set datestyle = 'German'; set datestyle = 'ISO'; set application_name = 'x'"), None,
       query("show datestyle"), None)
script("set_config_and_reset", query("select set_config('application_name', 'from set_config', false)"), None,
       query("reset application_name"), None, query("show application_name"), None)
script("set_of_a_bad_value", query("set datestyle = 'no such style'"), None, query("set timezone = 'Nowhere/City'"), None,
       query("show datestyle"), None)
script("set_by_the_extended_protocol", parse("set application_name = 'extended'") + bind() + describe_portal() + execute() + SYNC,
       None, query("show application_name"), None)
script("set_and_query_in_one_write", query("set timezone = 'Asia/Tokyo'") + query("show timezone") + query("set timezone = 'UTC'") +
       query("show timezone"), ready(4))

# The extended protocol.

script("extended_query", GOOD, None)
script("extended_without_describe", parse("select $1::text") + bind("x") + execute() + SYNC, None)
script("binary_parameters_and_results",
       parse("select $1::int4 + 1, $2::text, $3::bool", types=(23, 25, 16)) +
       bind(struct.pack(">i", 41), b"text", b"\1", formats=(1, 0, 1), results=(1, 0, 1)) + describe_portal() + execute() + SYNC, None)
script("one_format_for_all", parse("select $1::int8, $2::int8", types=(20, 20)) +
       bind(struct.pack(">q", 1), struct.pack(">q", 2), formats=(1,), results=(1,)) + describe_portal() + execute() + SYNC, None)
script("null_parameters", parse("select $1::text is null, $2::int") + bind(None, None) + describe_portal() + execute() + SYNC, None)
script("describe_statement", parse("select $1::int, $2::text, n from numbers where t = $3") + describe_statement() + SYNC, None)
script("describe_portal", parse("select n, t from numbers") + bind(results=(1,)) + describe_portal() + SYNC, None)
script("describe_what_returns_nothing", parse("insert into written values ($1, $2)") + describe_statement() +
       bind("1", "a") + describe_portal() + execute() + SYNC, None)
script("empty_query_extended", parse("") + bind() + describe_portal() + execute() + SYNC, None)
script("types_are_inferred_and_given", parse("select $1 + 1, $2", types=(23,)) + describe_statement() + SYNC, None)
script("many_parameters", parse("select " + " || ".join(f"${i}::text" for i in range(1, 301))) + bind(*range(300)) + describe_portal() +
       execute() + SYNC, None)
script("parameter_of_300_kb", extended("select length($1::text), md5($1::text)", "p" * 300000) + SYNC, None)
script("parse_of_300_kb", extended("select length('" + "p" * 300000 + "')") + SYNC, None)
script("dml_and_returning", extended("insert into written values ($1::int, $2) returning n, t", "1", "a") +
       extended("update written set t = $1 where n = 1", "b") + extended("select * from written") + SYNC, None)
script("several_statements_in_a_parse", extended("select 1; select 2") + SYNC, None, query("select 1"), None)
script("only_sync", SYNC, None, SYNC + SYNC + SYNC, ready(3))
script("several_syncs_in_one_write", GOOD + GOOD + SYNC + GOOD, ready(4))
script("batch_in_one_sync", extended("select 1") + extended("select 2") + extended("select 3") + SYNC, None)
script("batch_is_one_transaction", extended("insert into written values (1, 'a')") + extended("select 1/0") + SYNC, None,
       query("select count(*) from written"), None)
script("begin_and_commit_extended", extended("begin") + SYNC, None, extended("select 1") + SYNC, None, extended("commit") + SYNC, None)
script("transaction_in_one_write", extended("begin") + SYNC + extended("insert into written values (1, 'a')") + SYNC +
       extended("commit") + SYNC + query("select * from written"), ready(4))
script("begin_within_a_batch", extended("begin") + extended("select 1") + SYNC, None, query("rollback"), None)
script("failed_transaction_extended", query("begin"), None, extended("select 1/0") + SYNC, None, extended("select 1") + SYNC, None,
       extended("rollback") + SYNC, None)
script("messages_one_by_one", parse("select $1::int"), bind("5"), describe_portal(), execute(), SYNC, None)
script("a_bind_cut_in_two", (parse("select $1::text") + bind("cut") + execute() + SYNC)[:40],
       (parse("select $1::text") + bind("cut") + execute() + SYNC)[40:], None)
script("notice_within_a_batch", extended("select remark('x')") + extended("select 1") + SYNC, None)
script("simple_and_extended_in_one_write", query("select 1") + GOOD + query("select 2") + GOOD + query("select 1/0") + GOOD, ready(6))
script("query_behind_a_batch_without_sync", extended("select 1") + query("select 2"), None, query("select 3"), None)
script("query_behind_an_error_is_skipped", extended("selec") + query("select 2") + SYNC, None, query("select 3"), None)
script("bytes_that_no_encoding_knows", parse(b"select $1::text") + bind(b"\xff") + describe_portal() + execute() + SYNC, None)
script("unnamed_statement_across_syncs", parse("select $1::int * 2") + SYNC, None, bind("4") + execute() + SYNC, None,
       bind("5") + describe_portal() + execute() + SYNC, None)
script("describe_first", parse("select $1::int + $2::int") + describe_statement() + SYNC, None,
       bind("1", "2") + describe_portal() + execute() + SYNC, None)
script("describe_first_with_flush", parse("select $1::int + $2::int") + describe_statement() + FLUSH, Await("T"),
       bind("1", "2") + execute() + SYNC, None)
script("unnamed_statement_is_replaced", parse("select 1") + parse("select 2") + bind() + execute() + SYNC, None)
script("unnamed_statement_survives_a_failed_bind", parse("select $1::int") + SYNC, None, bind("x") + execute() + SYNC, None,
       bind("6") + execute() + SYNC, None)

script("unnamed_statement_is_dropped_by_a_query", parse("select 1") + SYNC, None, query("select 2"), None, bind() + execute() + SYNC, None,
       describe_statement() + SYNC, None)
script("unnamed_statement_is_dropped_by_a_query_that_fails", parse("select 1") + SYNC, None, query("selec"), None, bind() + execute() + SYNC, None)
script("unnamed_statement_is_dropped_by_a_parse_that_fails", parse("select 1") + SYNC, None, parse("selec") + SYNC, None,
       bind() + execute() + SYNC, None)
script("unnamed_statement_survives_a_parse_that_is_skipped", parse("select 1") + SYNC, None, parse("selec", "bad") + parse("select 2") + SYNC,
       None, bind() + execute() + SYNC, None)
script("unnamed_statement_survives_a_query_that_is_skipped", parse("select 1") + SYNC, None, bind(statement="none") + query("select 2") + SYNC,
       None, bind() + execute() + SYNC, None)
script("unnamed_statement_is_closed", parse("select 1") + SYNC, None, close_statement() + SYNC, None, bind() + execute() + SYNC, None)
script("unnamed_statement_is_closed_in_its_own_batch", parse("select 1") + close_statement() + bind() + execute() + SYNC, None)
script("unnamed_statement_survives_a_close_that_is_skipped", parse("select 1") + SYNC, None, bind(statement="none") + close_statement() + SYNC,
       None, bind() + execute() + SYNC, None)
script("unnamed_statement_pipelined_over_syncs", parse("select 1") + SYNC + bind() + execute() + SYNC + parse("select 2", "two") +
       parse("selec") + SYNC + bind() + execute() + SYNC + query("select 3") + bind() + SYNC, ready(6))
script("unnamed_statement_behind_a_skipped_parse_pipelined", parse("select 1") + SYNC + bind(statement="none") + parse("select 2") + SYNC +
       bind() + execute() + SYNC, ready(3))
script("unnamed_statement_bound_twice", parse("select 1") + SYNC, None, bind() + execute() + bind() + execute() + SYNC, None)
script("unnamed_statement_in_a_transaction", parse("select $1::int") + SYNC, None, extended("begin") + SYNC, None, bind("1") + SYNC, None,
       parse("select $1::int + 1") + SYNC, None, bind("1") + execute() + SYNC, None, extended("rollback") + SYNC, None)
script("unnamed_statement_when_there_was_none", bind() + execute() + SYNC, None, describe_statement() + SYNC, None)

# Named statements.

script("named_statement", parse("select $1::int + 1", "s1") + describe_statement("s1") + SYNC, None,
       bind("1", statement="s1") + describe_portal() + execute() + SYNC, None, bind("2", statement="s1") + execute() + SYNC, None)
script("two_named_statements", parse("select 'first'", "a") + parse("select 'second'", "b") + SYNC, None,
       bind(statement="b") + execute() + bind(statement="a") + execute() + SYNC, None)
script("closed_and_parsed_again", parse("select 'old'", "s") + SYNC, None, close_statement("s") + SYNC, None,
       parse("select 'new'", "s") + SYNC, None, bind(statement="s") + execute() + SYNC, None)
script("parse_and_close_in_one_batch", parse("select 1", "s") + close_statement("s") + parse("select 2", "s") + bind(statement="s") +
       execute() + close_statement("s") + SYNC, None)
script("close_of_what_does_not_exist", close_statement("nothing") + close_portal("nothing") + SYNC, None)
script("parse_of_the_same_text_twice", parse("select 5", "x") + SYNC, None, parse("select 5", "y") + FLUSH, Await("1"),
       bind(statement="x") + execute() + bind(statement="y") + execute() + SYNC, None)
script("long_names", parse("select 'long'", "n" * 60) + SYNC, None, bind(statement="n" * 60, portal="p" * 60) +
       describe_portal("p" * 60) + execute("p" * 60) + SYNC, None)
script("named_statement_parsed_again_after_failure", parse("selec", "again") + SYNC, None, parse("select 'again'", "again") + SYNC, None,
       bind(statement="again") + execute() + SYNC, None)
script("named_statement_skipped_then_parsed", parse("selec") + parse("select 1", "skipped") + SYNC, None,
       parse("select 'now'", "skipped") + SYNC, None, bind(statement="skipped") + execute() + SYNC, None)
script("named_statement_in_a_transaction", query("begin"), None, parse("select $1::text", "t") + SYNC, None,
       bind("in", statement="t") + execute() + SYNC, None, query("commit"), None, bind("after", statement="t") + execute() + SYNC, None)
script("named_parse_in_a_failed_transaction", query("begin"), None, query("selec"), None, parse("select 1", "f") + SYNC, None,
       query("rollback"), None, parse("select 'good'", "f") + bind(statement="f") + execute() + SYNC, None)
script("named_statement_with_wrong_parameters", parse("select $1::int", "w") + SYNC, None, bind(statement="w") + execute() + SYNC, None,
       bind("x", statement="w") + execute() + SYNC, None, bind("3", statement="w") + execute() + SYNC, None)

# A client is told its own names, whole, whatever they are on the server.
LONG = "long_" + "n" * 70
script("name_in_use", parse("select 1", "used") + SYNC, None, parse("select 2", "used") + SYNC, None,
       bind(statement="used") + execute() + SYNC, None)
script("name_in_use_within_a_unit", parse("select 1", "used") + parse("select 1", "used") + SYNC, None, parse("select 1", "used") + SYNC, None)
script("long_name_in_use", parse("select 1", LONG) + parse("select 2", LONG) + SYNC, None)
script("names_in_use_in_two_units", parse("select 1", "one") + parse("select 2", "two") + SYNC, None,
       parse("select 2", "one") + SYNC + parse("select 1", "two") + SYNC, ready(2))
script("too_many_parameters", parse("select 1", "none") + bind("1", statement="none") + SYNC, None)
script("wrong_number_of_formats", parse("select $1::int, $2::int, $3::int", "three", types=()) +
       bind("1", "2", "3", statement="three", formats=(0, 0)) + SYNC, None)
script("named_statements_in_two_batches_of_one_write", parse("select 1", "p") + SYNC + bind(statement="p") + execute() + SYNC, ready(2))
script("error_then_named_statement_in_one_write", parse("selec", "q") + SYNC + parse("select 'q'", "q") + SYNC + bind(statement="q") +
       execute() + SYNC, ready(3))
script("many_named_statements", b"".join(parse(f"select {i}", f"m{i}") for i in range(60)) + SYNC, None,
       b"".join(bind(statement=f"m{i}") + execute() for i in range(59, -1, -1)) + SYNC, None)

# An error at each place of a pipeline: good batch, bad batch, good batch, in one write.

BAD = {
    "parse": parse("selec") + bind() + describe_portal() + execute(),
    "parse_of_unknown_table": parse("select * from nowhere") + bind() + describe_portal() + execute(),
    "bind_of_a_bad_value": parse("select $1::int", types=(23,)) + bind("x") + describe_portal() + execute(),
    "bind_with_too_few_parameters": parse("select $1::int") + bind() + describe_portal() + execute(),
    "bind_with_too_many_formats": parse("select $1::int") + bind("1", formats=(0, 0, 0)) + execute(),
    "bind_of_a_bad_binary_value": parse("select $1::int4", types=(23,)) + bind(b"\0\0", formats=(1,)) + execute(),
    "describe_of_an_unknown_portal": parse("select 1") + bind() + describe_portal("nothing") + execute(),
    "execute": parse("select fail('now')") + bind() + describe_portal() + execute(),
    "execute_after_some_rows": parse("select 10 / (3 - n) from numbers order by n") + bind() + describe_portal() + execute(),
    "execute_of_an_unknown_portal": parse("select 1") + bind() + execute("nothing") + execute(),
    "second_execute_of_a_batch": extended("select 1") + extended("select 1/0") + extended("select 3"),
    "in_transaction_control": extended("savepoint outside"),
}
for place, bad in BAD.items():
    script(f"error_at_{place}", GOOD + bad + SYNC + GOOD, ready(3))
    script(f"error_at_{place}_with_flushes", GOOD + bad + FLUSH + extended("select 'skipped'") + FLUSH + SYNC + GOOD, ready(3))
script("error_at_close_of_a_portal_in_use", query("begin"), None, parse("select n from numbers") + bind(portal="p") + execute("p", 1) +
       close_portal("p") + execute("p", 1) + SYNC, None, query("rollback"), None)
script("error_skips_close_and_describe", parse("selec") + close_statement("a") + describe_statement() + close_portal() + execute() + SYNC +
       GOOD, ready(2))
script("error_skips_to_the_next_sync_only", parse("selec") + SYNC + SYNC + GOOD + parse("selec") + bind() + SYNC + GOOD, ready(5))
script("error_awaited_before_sync", parse("selec") + FLUSH, Await("E"), bind() + execute() + SYNC, None, GOOD, None)
script("three_errors_in_one_write", (parse("selec") + SYNC) * 3 + GOOD, ready(4))
script("errors_in_a_failed_transaction", query("begin") + extended("select 1/0") + SYNC + extended("select 1") + SYNC + query("rollback") + GOOD,
       ready(5))
script("function_call_behind_an_error_is_skipped", parse("selec") + function_call(1598) + SYNC + GOOD, ready(2), compare="all")
script("describe_of_a_bad_kind", parse("select 1") + message("D", b"X" + text("")) + SYNC + GOOD, ready(2), compare="codes")
script("close_of_a_bad_kind", parse("select 1") + message("C", b"X" + text("")) + SYNC + GOOD, ready(2), compare="codes")
script("unknown_portal_after_its_transaction", parse("select 1") + bind(portal="gone") + SYNC, None, execute("gone") + SYNC, None)

# Flush, and portals with row limits.

LIMITED = parse("select n from numbers where n <= 10 order by n") + bind(portal="p")
script("flush_alone", FLUSH + FLUSH + query("select 1"), None)
script("flush_after_each", parse("select $1::int"), FLUSH, Await("1"), bind("1") + FLUSH, Await("2"), describe_portal() + FLUSH,
       Await("T"), execute() + FLUSH, Await("C"), SYNC, None)
script("flush_just_before_sync", extended("select 1") + FLUSH + SYNC, None)
script("rows_before_the_sync", extended("select 1") + FLUSH, Await("C"), extended("select 2") + FLUSH, Await("C"), SYNC, None)
script("portal_is_suspended", LIMITED + execute("p", 3) + execute("p", 3) + execute("p", 3) + execute("p", 3) + SYNC, None)
script("limit_equals_the_rows", LIMITED + execute("p", 10) + execute("p", 10) + SYNC, None)
script("limit_above_the_rows", LIMITED + execute("p", 11) + execute("p", 1) + SYNC, None)
script("cursor_with_flushes", LIMITED + describe_portal("p") + FLUSH, Await("T"), execute("p", 4) + FLUSH, Await("s"),
       execute("p", 4) + FLUSH, Await("s"), execute("p", 4) + FLUSH, Await("C"), close_portal("p") + SYNC, None)
script("cursor_closed_early", LIMITED + execute("p", 2) + FLUSH, Await("s"), close_portal("p") + SYNC, None, query("select 1"), None)
script("portal_within_a_transaction", query("begin"), None, LIMITED + execute("p", 2) + SYNC, None, execute("p", 2) + SYNC, None,
       execute("p", 0) + SYNC, None, query("commit"), None)
script("two_portals_side_by_side", query("begin"), None, LIMITED + bind(portal="q") + execute("p", 1) + execute("q", 2) + execute("p", 1) +
       execute("q", 1) + SYNC, None, query("commit"), None)
script("portal_name_in_use", query("begin"), None, LIMITED + bind(portal="p") + SYNC, None, query("rollback"), None)
script("portal_dies_at_an_error", query("begin"), None, LIMITED + execute("p", 1) + SYNC, None, query("selec"), None,
       execute("p", 1) + SYNC, None, query("rollback"), None)
script("suspended_unnamed_portal", parse("select n from numbers where n <= 5 order by n") + bind() + execute("", 2) + execute("", 2) +
       execute("", 2) + SYNC, None)

# FunctionCall. int4pl is 177, upper(text) 871, int4div 154, now() 1299.

script("function_call_text", function_call(177, "40", "2"), None)
script("function_call_binary", function_call(177, struct.pack(">i", 40), struct.pack(">i", 2), formats=(1,), result=1), None)
script("function_call_null", function_call(177, None, "2"), None)
script("function_call_error", function_call(154, "1", "0"), None, query("select 1"), None)
script("function_call_unknown", function_call(4000000000), None, query("select 1"), None)
script("function_call_bad_arguments", function_call(177, "1"), None, query("select 1"), None)
script("function_calls_pipelined", function_call(177, "1", "2") + function_call(871, "abc") + query("select 1") + function_call(154, "1", "0") +
       GOOD + function_call(177, "3", "4"), ready(6))
script("function_call_in_a_transaction", query("begin"), None, function_call(177, "1", "2"), None, function_call(154, "1", "0"), None,
       function_call(177, "1", "2"), None, query("rollback"), None)

# COPY, simple protocol.

IN = query("copy copied from stdin")
LINES = copy_data("1\tone\n") + copy_data("2\ttwo\n3\tthree\n")
BAD_LINE = copy_data("4\tfour\n") + copy_data("no number\tfive\n") + copy_data("6\tsix\n")
COUNT = query("select count(*), sum(n) from copied")
script("copy_out", query("copy (select n, t from numbers where n <= 5 order by n) to stdout"), None)
script("copy_out_binary_and_csv", query("copy (select 1, 'x') to stdout (format binary)"), None,
       query("copy (select n, t from numbers where n <= 3 order by n) to stdout (format csv, header)"), None)
script("copy_out_of_20000_rows", query("copy (select g, repeat('x', 100) from generate_series(1, 20000) g) to stdout"), None)
script("copy_out_fails_in_the_middle", query("copy (select 100 / (50 - n) from numbers order by n) to stdout"), None, query("select 1"), None)
script("copy_out_of_nothing", query("copy (select 1 where false) to stdout"), None)
script("copy_out_pipelined", query("copy (select 1) to stdout") + query("select 2") + query("copy (select 3) to stdout") + GOOD, ready(4))
script("copy_in", IN, Await("G"), LINES, COPY_DONE, None, COUNT, None)
script("copy_in_in_one_write", IN + LINES + COPY_DONE, None, COUNT, None)
script("copy_in_of_nothing", IN, Await("G"), COPY_DONE, None, COUNT, None)
script("copy_in_with_empty_and_split_data", IN, Await("G"), copy_data("") + copy_data("1\to") + copy_data("ne\n2\tt"), copy_data("wo\n") +
       COPY_DONE, None, COUNT, None)
script("copy_in_of_a_mebibyte", IN, Await("G"), copy_data("".join(f"{i}\t{'y' * 100}\n" for i in range(10000))), COPY_DONE, None, COUNT, None)
script("copy_in_of_10000_messages", IN, Await("G"), b"".join(copy_data(f"{i}\tz\n") for i in range(10000)) + COPY_DONE, None, COUNT, None)
script("copy_fail", IN, Await("G"), LINES + copy_fail("changed my mind"), None, COUNT, None)
script("copy_fail_in_one_write_with_more", IN + LINES + copy_fail("no") + query("select 1") + GOOD, ready(3))
script("copy_in_error_at_the_end", IN, Await("G"), copy_data("no number\tx\n") + COPY_DONE, None, COUNT, None)
script("copy_in_error_in_the_middle", IN, Await("G"), BAD_LINE, Await("E"), LINES + COPY_DONE + query("select 1"), ready(2), COUNT, None)
script("copy_in_error_in_one_write", IN + BAD_LINE + COPY_DONE + query("select 1"), ready(2), COUNT, None)
script("copy_in_error_then_fail", IN + BAD_LINE + copy_fail("too late") + query("select 1"), ready(2))
script("queries_behind_copy_done", IN, Await("G"), LINES + COPY_DONE + COUNT + query("select 2") + GOOD, ready(4))
script("two_copies_in_one_write", IN + LINES + COPY_DONE + IN + LINES + COPY_DONE + COUNT, ready(3))
script("two_copies_in_one_string", query("copy copied from stdin; copy copied from stdin; select 'end'"), Await("G"), LINES + COPY_DONE,
       Await("G"), LINES + COPY_DONE, None, COUNT, None)
script("copy_in_among_statements", query("select 1; copy copied from stdin; select 2"), Await("G"), LINES + COPY_DONE, None)
script("copy_in_and_out_in_one_string", query("copy copied from stdin; copy copied to stdout"), Await("G"), LINES + COPY_DONE, None)
script("copy_in_within_a_transaction", query("begin"), None, IN, Await("G"), LINES + COPY_DONE, None, COUNT, None, query("rollback"), None,
       COUNT, None)
script("copy_in_error_within_a_transaction", query("begin"), None, IN, Await("G"), BAD_LINE + COPY_DONE, None, query("select 1"), None,
       query("rollback"), None)
script("flush_and_sync_within_a_copy", IN, Await("G"), LINES + FLUSH + SYNC + LINES + COPY_DONE, None, COUNT, None)
script("copy_that_never_started", query("copy nowhere from stdin") + LINES + COPY_DONE + query("select 1"), ready(2), COUNT, None)
script("copy_that_never_started_and_fails", query("copy nowhere from stdin") + LINES + copy_fail("x") + query("select 1"), ready(2))
script("stray_copy_messages_are_ignored", LINES + COPY_DONE + copy_fail("stray") + query("select 1"), None, LINES + GOOD, None)
script("copy_in_csv_with_a_bad_column_count", query("copy copied from stdin (format csv)"), Await("G"), copy_data("1,2,3\n") + COPY_DONE, None)
script("copy_from_a_file_is_refused", query("copy copied from '/nowhere'"), None, query("select 1"), None)

# COPY, extended protocol.

XIN = parse("copy copied from stdin") + bind() + execute()
XOUT = parse("copy (select n from numbers where n <= 5 order by n) to stdout") + bind() + describe_portal() + execute()
script("copy_out_extended", XOUT + SYNC, None, XOUT + extended("select 1") + SYNC + GOOD, ready(2))
script("copy_in_extended", XIN + FLUSH, Await("G"), LINES + COPY_DONE + SYNC, None, COUNT, None)
script("copy_in_extended_in_one_write", XIN + LINES + COPY_DONE + SYNC + COUNT, ready(2))
script("copy_in_extended_with_sync_before_the_end", XIN + SYNC, Await("G"), LINES + COPY_DONE + SYNC, None, COUNT, None)
script("copy_in_extended_with_sync_before_the_end_in_one_write", XIN + SYNC + LINES + COPY_DONE + SYNC + COUNT, ready(2))
script("copy_in_extended_with_syncs_and_flushes_inside", XIN + SYNC + LINES + SYNC + FLUSH + LINES + SYNC + COPY_DONE + SYNC + COUNT, ready(2))
script("copy_fail_extended", XIN + FLUSH, Await("G"), LINES + copy_fail("no more") + SYNC, None, COUNT, None)
script("copy_fail_extended_in_one_write", XIN + LINES + copy_fail("no more") + SYNC + GOOD + COUNT, ready(3))
script("copy_error_extended", XIN + FLUSH, Await("G"), BAD_LINE + FLUSH, Await("E"), LINES + COPY_DONE + SYNC, None, COUNT, None)
script("copy_error_extended_in_one_write", XIN + BAD_LINE + COPY_DONE + SYNC + GOOD, ready(2))
script("copy_error_extended_with_sync_before_the_data", XIN + SYNC, Await("G"), BAD_LINE + COPY_DONE + SYNC, Await("Z", 1), query("select 1"), None)
script("copy_that_never_started_extended", parse("copy nowhere from stdin") + bind() + execute() + LINES + COPY_DONE + SYNC + GOOD, ready(2))
script("copy_that_never_started_extended_with_two_syncs", parse("copy nowhere from stdin") + bind() + execute() + SYNC + LINES + COPY_DONE +
       SYNC + GOOD, ready(3))
script("messages_behind_an_extended_copy", XIN + LINES + COPY_DONE + extended("select 'behind'") + SYNC + GOOD, ready(2))
script("copy_in_extended_within_a_transaction", query("begin"), None, XIN + LINES + COPY_DONE + SYNC, None, query("commit"), None, COUNT, None)
script("sync_of_an_execute_comes_into_its_copy_that_fails", XIN, Await("G"), SYNC + BAD_LINE + SYNC, None, query("select 1"), None)
script("sync_of_an_execute_comes_into_its_copy", XIN, Await("G"), SYNC + LINES + COPY_DONE + SYNC, None, COUNT, None)
script("copy_in_extended_then_execute", XIN + LINES + COPY_DONE + parse("select count(*) from copied") + bind() + execute() + SYNC, None)

# Startup. Each of these begins on a new connection.

LOGIN = startup(user="open", database="app")
script("terminate_during_the_login", startup(user="alice", database="app"), Await("R"), TERMINATE, END, login=False, compare="ends")
script("ssl_request", SSL_REQUEST, BYTE, login=False)
script("gssenc_request", GSSENC_REQUEST, BYTE, login=False, expected=[("byte", b"N")])
script("gssenc_then_ssl_request", GSSENC_REQUEST, BYTE, SSL_REQUEST, BYTE, login=False, expected=[("byte", b"N"), ("byte", b"S")])
script("gssenc_request_then_login", GSSENC_REQUEST, BYTE, startup(user="alice", database="app"), Await("R"), login=False,
       expected=[("byte", b"N"), ("R", "SCRAM-SHA-256")])
script("no_user", startup(database="app"), END, login=False, compare="ends")
script("empty_user", startup(user="", database="app"), END, login=False, compare="ends")
script("version_2", packet(struct.pack(">i", 2 << 16) + b"\0" * 288), END, login=False, compare="ends")
script("version_4", startup(4 << 16, user="alice", database="app"), END, login=False, compare="ends")
script("no_terminator", packet(struct.pack(">i", 3 << 16) + text("user") + text("alice")), END, login=False, compare="ends")
script("value_without_terminator", packet(struct.pack(">i", 3 << 16) + text("user") + b"alice"), END, login=False, compare="ends")
script("bytes_behind_the_terminator", packet(struct.pack(">i", 3 << 16) + text("user") + text("alice") + b"\0more\0"), END, login=False,
       compare="ends")
script("length_too_small", struct.pack(">i", 4) + b"\0" * 8, END, login=False, compare="ends")
script("length_negative", struct.pack(">i", -5) + b"\0" * 8, END, login=False, compare="ends")
script("length_above_10000", struct.pack(">ii", 10001 + 4, 3 << 16) + b"user\0" * 1000, END, login=False, compare="ends")
script("length_of_300_mebibytes", struct.pack(">ii", 300 << 20, 3 << 16) + b"user\0alice\0", END, login=False, compare="ends")
script("cancel_request_with_a_wrong_key", packet(struct.pack(">iII", 80877102, 4711, 4711)), END, login=False)
script("cancel_request_too_short", packet(struct.pack(">iI", 80877102, 4711)), END, login=False)
script("wrong_password_message", startup(user="alice", database="app"), Await("R"), password("no SASL message"), END, login=False,
       compare="ends")
script("query_instead_of_a_password", startup(user="alice", database="app"), Await("R"), query("select 1"), END, login=False, compare="ends")
script("startup_byte_by_byte", *(bytes((byte,)) for byte in startup(user="alice", database="app")), Await("R"), login=False)
script("unknown_minor_version", startup(0x0003270F, user="alice", database="app"), Await("R"), login=False, compare="types")
script("unknown_protocol_options", startup(user="alice", database="app", **{"_pq_.first": "1", "_pq_.second": "x"}), Await("R"), login=False,
       compare="types")
script("last_of_two_users_counts", packet(struct.pack(">i", 3 << 16) + text("user") + text("nobody") + text("user") + text("alice") +
                                          text("database") + text("app") + b"\0"), Await("R"), login=False)

# After the login: what no frontend may say.

script("unknown_message_type", message("?", b"what"), END, compare="ends")
script("password_message_after_login", password("secret"), END, compare="ends")
script("length_below_four", b"Q" + struct.pack(">i", 3), END, compare="ends")
script("length_negative_after_login", b"Q" + struct.pack(">i", -1) + b"\0\0\0\0", END, compare="ends")
script("unknown_message_behind_a_query", query("select 1") + message("?", b"what"), END, compare="closes")
script("terminate", TERMINATE, END)
script("terminate_within_a_transaction", query("begin"), None, TERMINATE, END)


# SQL that names statements of the protocol.

P1 = parse("select $1::int + 1 as p", "p1") + SYNC
RUN_P1 = bind("1", statement="p1") + execute() + SYNC
P1_AGAIN = parse("select 'again'", "p1") + SYNC

for number, sql in enumerate((
        "execute p1(41)", "EXECUTE P1 (41)", 'execute "p1"(41)', "/* a */ execute -- b\n p1(41)", "execute p1", "execute p1('x')",
        "execute p1(1); execute p1(2)", "explain (costs off) execute p1(1)", "execute p1(1); select 1/0", "execute \"P1\"(1)",
        "deallocate p1", "deallocate prepare p1", 'DEALLOCATE "p1"', "deallocate p1; deallocate p1", "deallocate p1; select 1/0",
        "select 1/0; deallocate p1", "deallocate p2", "deallocate all", "DEALLOCATE PREPARE ALL", "discard all", "discard plans",
        "discard temp", "prepare p1 as select 1", "prepare p1 as selec", "deallocate", "execute", "deallocate p1 p2")):
    script(f"sql_names_{number}", P1, None, query(sql), None, RUN_P1, None, P1_AGAIN, None)
    script(f"sql_names_pipelined_{number}", P1 + query(sql) + RUN_P1 + P1_AGAIN + close_statement("p1") + SYNC, ready(5))
    if ";" not in sql:
        script(f"sql_names_extended_{number}", P1, None, extended(sql) + SYNC, None, RUN_P1, None, P1_AGAIN, None)
        script(f"sql_names_extended_pipelined_{number}", P1 + extended(sql) + SYNC + RUN_P1 + P1_AGAIN, ready(4))
    if not sql.startswith("discard all"):
        script(f"sql_names_in_transaction_{number}", P1, None, query("begin"), None, query(sql), None, RUN_P1, None,
               query("rollback"), None, RUN_P1, None)
        script(f"sql_names_in_failed_transaction_{number}", P1, None, query("begin"), None, query("select 1/0"), None, query(sql), None,
               RUN_P1, None, query("rollback"), None, RUN_P1, None)
    script(f"sql_names_skipped_{number}", P1, None, parse("selec") + extended(sql) + SYNC + RUN_P1, ready(2), RUN_P1, None)

script("execute_that_changes_rows", parse("insert into written values ($1)", "p1") + SYNC, None, query("execute p1(7)"), None,
       query("select n from written"), None)
script("execute_in_a_transaction", parse("insert into written values ($1)", "p1") + SYNC, None, query("begin"), None,
       query("execute p1(7)"), None, query("execute p1(8)"), None, query("rollback"), None, query("select n from written"), None)
script("deallocate_of_many", *(parse(f"select {n}", f"many{n}") for n in range(30)), SYNC, None, query("begin"), None,
       *(step for n in range(30) for step in (query(f"deallocate many{n}"), None)), query("commit"), None,
       bind(statement="many29"), SYNC, None)

assert len({script.name for script in SCRIPTS}) == len(SCRIPTS)
