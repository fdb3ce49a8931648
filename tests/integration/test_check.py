"""server_check_query: a server that was idle for long is asked whether it is there, before its next use."""

import pytest

from peer import bind, describe_portal, execute, message, parse, query
from waiting import await_that


@pytest.fixture(scope="module")
def talkative(cluster):
    """The session's PostgreSQL, which logs alice's statements."""
    cluster.run("alter role alice set log_statement = 'all'")
    yield cluster
    cluster.run("alter role alice reset log_statement")


def checked(cluster, mark, text):
    return cluster.log_since(mark).count(f"statement: {text}\n")


def test_a_server_is_checked_before_each_use_with_a_delay_of_zero(pooler, talkative, worker_threads):
    under_test = pooler(server_check_delay=0, server_check_query="select 'check'", worker_threads=worker_threads)
    mark = talkative.log_mark()
    with under_test.connect() as connection:
        pids = {connection.execute("select pg_backend_pid()").fetchone()[0] for _ in range(5)}
    assert len(pids) == 1
    await_that(lambda: checked(talkative, mark, "select 'check'") == 5, 5, "each but the first, and the login's, was checked")


def test_one_that_was_used_just_now_is_not_checked(pooler, talkative):
    under_test = pooler(server_check_delay=30, server_check_query="select 'check'")
    mark = talkative.log_mark()
    with under_test.connect() as connection:
        for _ in range(3):
            connection.execute("select 1")
    assert checked(talkative, mark, "select 'check'") == 0


def test_the_empty_query_and_no_check(pooler, talkative):
    under_test = pooler(server_check_delay=0)
    with under_test.connect() as connection:
        assert [connection.execute("select %s", (i,)).fetchone()[0] for i in range(3)] == [0, 1, 2]
    under_test = pooler(server_check_delay=0, server_check_query="")
    with under_test.connect() as connection:
        connection.execute("select 1")
        under_test.await_pool(sv_idle=1, sv_used=0)


def test_long_idle_servers_are_shown_as_used(pooler):
    under_test = pooler(server_check_delay=1)
    with under_test.connect() as connection:
        connection.execute("select 1")
        await_that(lambda: under_test.pool()["sv_used"] == 1, 5, "the server counts as used")
        connection.execute("select 1")
        assert under_test.pool()["sv_used"] == 0


def test_a_check_that_fails_replaces_the_server_unseen(pooler, cluster):
    cluster.run("create table if not exists checks (fails bool)")
    cluster.run("truncate checks; insert into checks values (false); grant select on checks to public")
    query = "select 1 / (case when fails then 0 else 1 end) from checks"
    under_test = pooler(server_check_delay=0, server_check_query=query)
    with under_test.connect() as connection:
        first = connection.execute("select pg_backend_pid()").fetchone()[0]
        cluster.run("update checks set fails = true")
        second = connection.execute("select pg_backend_pid()").fetchone()[0]
        assert second != first
        cluster.run("update checks set fails = false")
        assert connection.execute("select pg_backend_pid()").fetchone()[0] == second
    under_test.await_log("closing because: test query failed")


def test_a_check_that_hangs_replaces_the_server_unseen(pooler, cluster):
    cluster.run("create table if not exists hangs (seconds float)")
    cluster.run("truncate hangs; insert into hangs values (0); grant select on hangs to public")
    under_test = pooler(server_check_delay=0, server_check_query="select pg_sleep(seconds) from hangs", server_connect_timeout=1)
    with under_test.connect() as connection:
        first = connection.execute("select pg_backend_pid()").fetchone()[0]
        cluster.run("update hangs set seconds = 3")
        second = connection.execute("select pg_backend_pid()").fetchone()[0]
        assert second != first
        cluster.run("update hangs set seconds = 0")


def test_many_clients_share_few_servers_that_are_all_checked(pooler, worker_threads):
    under_test = pooler(server_check_delay=0, default_pool_size=3, worker_threads=worker_threads)
    clients = [under_test.peer() for _ in range(12)]
    for _ in range(20):
        for number, client in enumerate(clients):
            client.send(query(f"select {number}"))
        for number, client in enumerate(clients):
            assert client.read_until("Z")[1].row == [str(number).encode()]
    assert len(under_test.show("SERVERS", database="app")) <= 3
    for client in clients:
        client.close()


def test_a_client_that_leaves_during_the_check_loses_nothing(pooler, cluster):
    under_test = pooler(server_check_delay=0, server_check_query="select pg_sleep(0.3)", default_pool_size=1)
    with under_test.connect() as connection:
        first = connection.execute("select pg_backend_pid()").fetchone()[0]
        leaver = under_test.peer()
        leaver.send(query("select 1"))
        await_that(lambda: under_test.pool()["sv_tested"] == 1, 5, "the check runs")
        leaver.close()
        assert connection.execute("select pg_backend_pid()").fetchone()[0] == first


def test_the_unnamed_statement_survives_the_check(pooler):
    under_test = pooler(server_check_delay=0, default_pool_size=1)
    with under_test.peer() as peer:
        peer.ask(parse("select 'mine'"), message("S"))
        answers = peer.ask(bind(), describe_portal(), execute(), message("S"))
        assert [answer.row for answer in answers if answer.type == "D"] == [[b"mine"]]
