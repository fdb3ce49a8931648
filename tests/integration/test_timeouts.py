"""Time limits of queries, transactions and waits: who is told what, and who lives on."""

import pytest

from peer import SYNC, copy_data, extended, query
from waiting import SLOW


def errors(messages):
    return [(message.fields["C"], message.fields["M"]) for message in messages if message.type == "E"]


CANCELLED = ("57014", "canceling statement due to user request")


def test_a_query_over_its_time_is_cancelled_and_its_client_lives(pooler, cluster):
    """As with statement_timeout: the error is PostgreSQL's own, on the same connections."""
    under_test = pooler(default_pool_size=1, query_timeout=1)
    with under_test.peer() as peer:
        pid = peer.value("select pg_backend_pid()")
        assert errors(peer.ask(query("select pg_sleep(30)"))) == [CANCELLED]
        assert peer.value("select pg_backend_pid()") == pid
        peer.send(extended("select pg_sleep(30)") + SYNC)
        assert errors(peer.read_until("Z")) == [CANCELLED]
        assert peer.value("select pg_backend_pid()") == pid


def test_a_cancelled_query_leaves_its_transaction_failed(pooler):
    under_test = pooler(default_pool_size=1, query_timeout=1)
    with under_test.peer() as peer:
        peer.ask(query("begin"))
        messages = peer.ask(query("select pg_sleep(30)"))
        assert errors(messages) == [CANCELLED] and messages[-1].body == b"E"
        assert peer.ask(query("rollback"))[-1].body == b"I"


def test_each_query_has_its_own_time(pooler):
    under_test = pooler(default_pool_size=1, query_timeout=1.5)
    with under_test.peer() as peer:
        for _ in range(3):
            assert errors(peer.ask(query("select pg_sleep(0.8)"))) == []


def test_the_users_own_limit_holds(pooler):
    under_test = pooler(default_pool_size=1, users={"bob": "query_timeout=1"})
    with under_test.peer(user="bob") as peer, under_test.peer() as other:
        assert errors(peer.ask(query("select pg_sleep(30)"))) == [CANCELLED]
        assert errors(other.ask(query("select pg_sleep(1.2)"))) == []


def test_what_cannot_be_cancelled_ends_with_its_client(pooler):
    """A COPY that waits for its data: the server lives on."""
    under_test = pooler(default_pool_size=1, query_timeout=1)
    with under_test.peer() as peer:
        pid = peer.value("select pg_backend_pid()")
    peer = under_test.peer(timeout=20 * SLOW)
    peer.send(query("copy written from stdin"), copy_data("1\ta\n"))
    assert ("57014", "query timeout") in errors(peer.read_to_end())
    with under_test.peer() as peer:
        assert peer.value("select pg_backend_pid()") == pid


@pytest.mark.parametrize("option, code, text", [("idle_transaction_timeout", "25P03", "idle transaction timeout"),
                                               ("transaction_timeout", "25P04", "transaction timeout")])
def test_an_open_transaction_over_its_time_is_rolled_back_and_its_server_lives(pooler, option, code, text):
    under_test = pooler(default_pool_size=1, **{option: 1})
    peer = under_test.peer(timeout=20 * SLOW)
    pid = peer.value("select pg_backend_pid()")
    peer.ask(query("begin; lock table written"))
    assert errors(peer.read_to_end()) == [(code, text)]
    with under_test.peer() as peer:
        assert peer.value("select pg_backend_pid()") == pid
        assert errors(peer.ask(query("begin; lock table written nowait; commit"))) == []


def test_who_waits_learns_why_and_not_for_whom(pooler):
    under_test = pooler(default_pool_size=1, query_wait_notify=1, query_wait_timeout=2)
    with under_test.peer() as first:
        first.ask(query("begin"))
        waiting = under_test.peer(timeout=20 * SLOW)
        waiting.send(query("select 1"))
        messages = waiting.read_to_end()
        notices = [message.fields for message in messages if message.type == "N"]
        assert [notice["M"] for notice in notices] == ["No server connection available in postgres backend, client being queued"]
        assert notices[0]["D"] == "Pool app/alice: servers: 1, clients that wait: 1; the limit is pool_size=1."
        final = [message.fields for message in messages if message.type == "E"][0]
        assert (final["C"], final["M"], final["H"]) == ("08P01", "query_wait_timeout", notices[0]["D"])


def test_twenty_waiters_that_close_are_counted_no_longer(pooler):
    """PITFALLS row 17."""
    under_test = pooler(default_pool_size=1, worker_threads=4)
    with under_test.peer() as first:
        first.ask(query("begin"))
        waiters = [under_test.peer() for _ in range(20)]
        for waiter in waiters:
            waiter.send(query("select 1"))
        under_test.await_pool(cl_waiting=20)
        for number, waiter in enumerate(waiters):
            waiter.reset() if number % 2 else waiter.close()
        under_test.await_pool(0.4, cl_waiting=0)
