"""session_state=reset: what a client leaves in a session never reaches another one (PITFALLS rows 9 and 10), and a clean server
costs nothing."""

import pytest

from peer import SYNC, bind, execute, extended, parse, query
from waiting import await_that

SHOW = {
    "work_mem": "select current_setting('work_mem')",
    "search_path": "select current_setting('search_path')",
    "role": "select current_user::text",
    "read_only": "select current_setting('default_transaction_read_only')",
    "custom": "select coalesce(current_setting('app.tenant', true), '')",
    "statement_timeout": "select current_setting('statement_timeout')",
    "temporary_table": "select count(*)::text from pg_class where relname = 'leftover'",
    "advisory_lock": "select count(*)::text from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()",
    "prepared": "select count(*)::text from pg_prepared_statements where from_sql",
    "held_cursor": "select count(*)::text from pg_cursors where is_holdable",
    "listen": "select count(*)::text from pg_listening_channels()",
    "lastval": "select 'no lastval'",
}
TOUCH = {
    "work_mem": "set work_mem = '7MB'",
    "search_path": "select set_config('search_path', 'pg_catalog', false)",
    "role": "set role bob",
    "read_only": "set default_transaction_read_only = on",
    "custom": "set app.tenant = '42'",
    "statement_timeout": "set statement_timeout = '1ms'",
    "temporary_table": "create temp table leftover (n int)",
    "advisory_lock": "select pg_advisory_lock(4711)",
    "prepared": "prepare leftover as select 1",
    "held_cursor": "declare leftover cursor with hold for select 1",
    "listen": "listen leftover",
    "many": "do $$ begin perform set_config('work_mem', '8MB', false); end $$",
}


@pytest.fixture(scope="module")
def grants(cluster):
    cluster.run("grant bob to alice")
    yield
    cluster.run("revoke bob from alice")


def backend(peer):
    return peer.value("select pg_backend_pid()")


@pytest.mark.parametrize("way", ["simple", "extended", "named"])
@pytest.mark.parametrize("kind", TOUCH)
def test_what_one_client_leaves_the_next_does_not_see(pooler, grants, kind, way):
    under_test = pooler(session_state="reset", default_pool_size=1, max_prepared_statements=10)
    one, other = under_test.peer(), under_test.peer()
    shown = SHOW.get(kind, SHOW["work_mem"])
    before, process = other.value(shown), backend(one)
    if way == "simple":
        answers = one.ask(query(TOUCH[kind]))
    elif way == "extended":
        answers = one.ask(extended(TOUCH[kind]) + SYNC)
    else:
        one.ask(parse(TOUCH[kind], "touch") + SYNC)
        answers = one.ask(bind(statement="touch") + execute() + SYNC)
    assert not [answer.fields for answer in answers if answer.type == "E"]
    assert other.value(shown) == before
    assert backend(other) == process, "the server was cleaned, not thrown away"


@pytest.mark.parametrize("kind", ["work_mem", "role", "statement_timeout", "advisory_lock"])
def test_a_client_that_vanishes_leaves_nothing(pooler, cluster, grants, kind):
    under_test = pooler(session_state="reset", default_pool_size=1)
    one, other = under_test.peer(), under_test.peer()
    before = other.value(SHOW[kind])
    one.ask(query("begin"))
    one.ask(query(TOUCH[kind]))
    one.send(query("commit; select 1"))
    one.reset()
    assert other.value(SHOW[kind]) == before


def test_state_lives_as_long_as_the_transaction(pooler):
    under_test = pooler(session_state="reset", default_pool_size=1)
    peer = under_test.peer()
    peer.ask(query("begin"))
    peer.ask(query("set work_mem = '7MB'"))
    assert peer.value(SHOW["work_mem"]) == "7MB"
    peer.ask(query("create temp table mine as select 1 as n"))
    assert peer.value("select n from mine") == "1"
    peer.ask(query("commit"))
    assert peer.value(SHOW["work_mem"]) == "4MB"


def test_prepared_statements_outlive_a_cleaning(pooler):
    under_test = pooler(session_state="reset", default_pool_size=1, max_prepared_statements=10)
    one, other = under_test.peer(), under_test.peer()
    one.ask(parse("select 'kept'", "kept") + SYNC)
    other.ask(query("prepare leftover as select 1"))
    answers = one.ask(bind(statement="kept") + execute() + SYNC)
    assert [answer.row for answer in answers if answer.type == "D"] == [[b"kept"]]


@pytest.mark.parametrize("state", ["follow", "reset"])
def test_a_clean_server_is_not_cleaned(pooler, cluster, state):
    under_test = pooler(session_state=state, default_pool_size=1)
    peer = under_test.peer()
    for text in ("select 1", "begin", "insert into numbers select 1 where false", "commit", "set timezone = 'Europe/Berlin'",
                 "begin", "set local work_mem = '7MB'", "commit"):
        peer.ask(query(text))
    said = peer.value("select query from pg_stat_activity where pid = pg_backend_pid()")
    assert said.startswith("select query")
    assert cluster.run("select query from pg_stat_activity where usename = 'alice' and backend_type = 'client backend'") == [(said,)]


def test_a_client_is_told_once_a_kind_what_it_loses(pooler):
    under_test = pooler(session_state="reset", default_pool_size=1)
    peer = under_test.peer()
    answers = []
    for _ in range(3):
        answers += peer.ask(query("set work_mem = '7MB'"))
        answers += peer.ask(query("set role none"))
    notices = [answer.fields for answer in answers + peer.ask(query("select 1")) if answer.type == "N"]
    assert [notice["C"] for notice in notices] == ["00000", "00000"]
    assert "settings" in notices[0]["M"] and "session_state" in notices[0]["D"] and "role" in notices[1]["M"]


def test_discard_all_loses_nothing_to_tell_of(pooler):
    peer = pooler(session_state="reset", default_pool_size=1).peer()
    peer.ask(query("discard all"))
    assert not [answer for answer in peer.ask(query("select 1")) if answer.type == "N"]


def test_leak_leaves_it_there(pooler):
    under_test = pooler(default_pool_size=1, session_state="leak")
    one, other = under_test.peer(), under_test.peer()
    one.ask(query("set work_mem = '7MB'"))
    assert other.value(SHOW["work_mem"]) == "7MB"


def test_a_library_that_was_loaded_costs_the_server(pooler):
    under_test = pooler(session_state="reset", default_pool_size=1)
    one, other = under_test.peer(), under_test.peer()
    process = backend(one)
    one.ask(query("load 'plpgsql'"))
    assert backend(other) != process
    await_that(lambda: "a client has loaded a library" in under_test.log(), 10, "the log says why")
