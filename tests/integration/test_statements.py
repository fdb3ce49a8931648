"""SQL that names statements of the protocol: what is left on servers, and with whom. (The answers: scripts.py.)"""

import pytest

from peer import SYNC, bind, execute, extended, parse, query, types


@pytest.fixture
def one_server(pooler):
    return pooler(default_pool_size=1)


def rows(messages):
    return [message.row[0].decode() for message in messages if message.type == "D"]


def codes(messages):
    return [message.fields["C"] for message in messages if message.type == "E"]


def left_on_server(peer):
    names = rows(peer.ask(query("select name from pg_prepared_statements")))
    return [name for name in names if not name.startswith("PGBOUNCER_")]


@pytest.mark.parametrize("sql", ["execute name", "deallocate name", "prepare name as select 1", "explain execute name"])
@pytest.mark.parametrize("extended_protocol", [False, True])
def test_no_name_of_a_client_stays_on_a_server(one_server, sql, extended_protocol):
    with one_server.peer() as peer, one_server.peer() as other:
        peer.ask(parse("select 'mine'", "name"), SYNC)
        peer.ask(*([extended(sql), SYNC] if extended_protocol else [query(sql)]))
        assert left_on_server(other) == []
        assert codes(other.ask(query("execute name"))) == ["26000"]
        assert codes(other.ask(query("prepare name as select 'of the other'; deallocate name"))) == []


def test_clients_execute_their_own(one_server):
    with one_server.peer() as one, one_server.peer() as two:
        one.ask(parse("select 'one'", "s"), SYNC)
        two.ask(parse("select 'two'", "s"), SYNC)
        for _ in range(3):
            assert rows(one.ask(query("execute s"))) == ["one"]
            assert rows(two.ask(query("execute s"))) == ["two"]
        assert types(one.ask(query("deallocate s"))) == "CZ"
        assert codes(one.ask(query("execute s"))) == ["26000"]
        assert rows(two.ask(query("execute s"))) == ["two"]
        assert rows(two.ask(bind(statement="s"), execute(), SYNC)) == ["two"]


def test_who_leaves_in_a_transaction_leaves_no_name(one_server):
    with one_server.peer() as other:
        peer = one_server.peer()
        pid = peer.value("select pg_backend_pid()")
        peer.ask(parse("select 'mine'", "name"), SYNC)
        peer.ask(query("begin"))
        peer.ask(query("execute name"))
        peer.close()
        assert left_on_server(other) == []
        assert other.value("select pg_backend_pid()") == pid


def test_many_names_in_one_transaction(one_server):
    """More than a server closes when it parts: it is closed itself, and nobody notices."""
    with one_server.peer() as peer, one_server.peer() as other:
        peer.ask(*(parse(f"select {number}", f"n{number}") for number in range(120)), SYNC)
        peer.ask(query("begin"))
        for number in range(120):
            assert rows(peer.ask(query(f"execute n{number}"))) == [str(number)]
        assert types(peer.ask(query("commit"))) == "CZ"
        assert left_on_server(other) == []
        assert rows(peer.ask(query("execute n119"))) == ["119"]


def test_deallocate_all_takes_the_names_of_its_client_only(one_server):
    with one_server.peer() as one, one_server.peer() as two:
        one.ask(parse("select 'one'", "s"), SYNC)
        two.ask(parse("select 'two'", "s"), SYNC)
        one.ask(query("deallocate all"))
        assert codes(one.ask(bind(statement="s"), SYNC)) == ["26000"]
        assert rows(two.ask(bind(statement="s"), execute(), SYNC)) == ["two"]
        assert types(one.ask(parse("select 'new'", "s"), SYNC)) == "1Z"
        assert rows(one.ask(query("execute s"))) == ["new"]


def test_the_reset_query_runs_behind_the_names(pooler):
    under_test = pooler(default_pool_size=1, server_reset_query="set application_name = 'was reset'", server_reset_query_always=1)
    with under_test.peer() as peer, under_test.peer() as other:
        peer.ask(parse("select 'mine'", "name"), SYNC)
        assert rows(peer.ask(query("execute name"))) == ["mine"]
        assert left_on_server(other) == []


@pytest.mark.parametrize("sql", ["execute name(1)", "deallocate name"])
def test_it_is_no_session_state_that_is_lost(one_server, sql):
    """No notice, and nothing that other clients' statements on the server would not outlive."""
    with one_server.peer() as peer:
        peer.ask(parse("select $1::int", "name"), parse("select 'other'", "other"), SYNC)
        assert "N" not in types(peer.ask(query(sql)))
        assert "N" not in types(peer.ask(query("select name from pg_prepared_statements")))
        names = rows(peer.ask(query("select name from pg_prepared_statements")))
        assert len(names) == 2 and all(name.startswith("PGBOUNCER_") for name in names)


def test_what_is_executed_may_touch_the_session(one_server):
    with one_server.peer() as peer, one_server.peer() as other:
        before = other.value("show work_mem")
        peer.ask(parse("select set_config('work_mem', $1, false)", "name"), SYNC)
        assert rows(peer.ask(query("execute name('77MB')"))) == ["77MB"]
        assert other.value("show work_mem") == before
        peer.ask(query("deallocate name; set work_mem = '78MB'"))
        assert other.value("show work_mem") == before


def test_statement_mode(pooler):
    under_test = pooler(default_pool_size=1, pool_mode="statement")
    with under_test.peer() as peer, under_test.peer() as other:
        peer.ask(parse("select 'mine'", "name"), SYNC)
        for _ in range(2):
            assert rows(peer.ask(query("execute name"))) == ["mine"]
        assert types(peer.ask(query("deallocate name"))) == "CZ"
        assert codes(peer.ask(query("execute name"))) == ["26000"]
        assert left_on_server(other) == []
