"""Time limits of queries, transactions and waits: who is told what, and who lives on."""

import pytest

from peer import (FLUSH, SYNC, Peer, bind, cancel_request, close_portal, close_statement, copy_data, describe_portal, describe_statement,
                  execute, extended, function_call, parse, query)
from waiting import SLOW, await_that


def errors(messages):
    return [(message.fields["C"], message.fields["M"]) for message in messages if message.type == "E"]


CANCELLED = ("57014", "canceling statement due to query timeout")


def test_a_query_over_its_time_is_cancelled_and_its_client_lives(pooler, cluster):
    """As with statement_timeout: PostgreSQL's own error but for its reason, on the same connections."""
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


def test_a_users_own_cancel_is_said_to_be_one(pooler, cluster):
    under_test = pooler(default_pool_size=1, query_timeout=30)
    with under_test.peer() as peer, under_test.open() as other:
        peer.send(query("select pg_sleep(30)"))
        await_that(lambda: cluster.run("select count(*) from pg_stat_activity where state = 'active' and query like '%pg_sleep(30)' "
                                       "and usename <> 'postgres'")[0][0] == 1, 5)
        other.send(cancel_request(peer.process, peer.key))
        assert errors(peer.read_until("Z")) == [("57014", "canceling statement due to user request")]


def test_the_databases_own_limits_hold(pooler, cluster):
    server = f"host=127.0.0.1 port={cluster.port} dbname=app"
    under_test = pooler(default_pool_size=1, databases={"short": f"{server} query_timeout=1", "long": server})
    with under_test.peer(database="short") as peer, under_test.peer(database="long") as other:
        assert errors(peer.ask(query("select pg_sleep(30)"))) == [CANCELLED]
        assert errors(other.ask(query("select pg_sleep(1.2)"))) == []


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


@pytest.mark.parametrize("option, code, text", [
    ("idle_transaction_timeout", "25P03", "idle transaction timeout"), ("transaction_timeout", "25P04", "transaction timeout")])
def test_a_session_over_its_time_is_rolled_back_and_its_server_lives(pooler, option, code, text):
    under_test = pooler(default_pool_size=1, pool_mode="session", **{option: 1})
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


# idle_transaction_timeout: the client lives.

IDLED = ("25P03", "terminating transaction due to idle-in-transaction timeout")
FAILED = ("25P02", "current transaction is aborted, commands ignored until end of transaction block")
ROW = 770


def answers(messages):
    """Types, with the code of an error, the tag of a command and the state of a ReadyForQuery."""
    shown = {"E": lambda message: message.fields["C"], "C": lambda message: message.tag, "Z": lambda message: message.body.decode()}
    return " ".join(message.type + (":" + shown[message.type](message) if message.type in shown else "") for message in messages)


def idle_out(under_test, peer, user="alice"):
    """A transaction that wrote a row idles until its server is back in the pool."""
    pid = peer.value("select pg_backend_pid()")
    assert peer.ask(query(f"begin; insert into written values ({ROW})"))[-1].body == b"T"
    under_test.await_pool(user=user, sv_active=1)
    under_test.await_pool(user=user, sv_active=0, sv_free=1)
    return pid


def assert_nothing_was_written(cluster_peer):
    assert cluster_peer.rows(f"select * from written where n = {ROW}") == []


@pytest.fixture(params=[1, 4], ids=["one thread", "four threads"])
def idling(request, pooler):
    under_test = pooler(default_pool_size=1, idle_transaction_timeout=1, worker_threads=request.param)
    with under_test.peer(timeout=20) as peer, under_test.peer(timeout=20) as other:
        pid = idle_out(under_test, peer)
        assert other.value("select pg_backend_pid()") == pid, "the server is another client's meanwhile"
        assert_nothing_was_written(other)
        assert peer.is_quiet(), "the client is told nothing unasked"
        yield under_test, peer, other
        assert_nothing_was_written(other)
        assert peer.value("select pg_backend_pid()") == pid, "its client and its server live on"


ROLLBACKS = ["rollback", " /* so */ Abort Work ; -- that is it", ";rollback transaction;;"]
COMMITS = ["commit", "END;", "/* /* a */ */ commit work"]
OTHERS = ["update written set t = 'x'", "select 1", "commit; select 1", "rollback; insert into written values (771)",
          "rollback to savepoint a", "commit and chain", "rollback and chain", "commit prepared 'x'", "no sql", "rollback /* open"]


@pytest.mark.parametrize("text", ROLLBACKS)
def test_idled_out_then_rollback_is_a_success(idling, text):
    _, peer, _ = idling
    assert answers(peer.ask(query(text))) == "C:ROLLBACK Z:I"


@pytest.mark.parametrize("text", COMMITS)
def test_idled_out_then_commit_is_an_error_and_the_end_of_the_transaction(idling, text):
    _, peer, _ = idling
    messages = peer.ask(query(text))
    assert errors(messages) == [IDLED] and answers(messages) == "E:25P03 Z:I"
    assert "idle_transaction_timeout" in messages[0].fields["H"]


@pytest.mark.parametrize("text", OTHERS)
def test_idled_out_then_anything_else_fails_and_the_transaction_stays_failed(idling, text):
    _, peer, other = idling
    messages = peer.ask(query(text))
    assert errors(messages) == [IDLED] and answers(messages) == "E:25P03 Z:E"
    messages = peer.ask(query(f"insert into written values ({ROW})"))
    assert errors(messages) == [FAILED] and messages[-1].body == b"E"
    assert_nothing_was_written(other)  # the server is free between the units of a failed transaction
    assert answers(peer.ask(query("commit"))) == "C:ROLLBACK Z:I"
    assert other.rows("select * from written where n = 771") == []


def test_idled_out_then_an_empty_query_or_a_sync_leaves_the_error_owed(idling):
    _, peer, _ = idling
    assert answers(peer.ask(query(" ; -- nothing"))) == "I Z:E"
    assert answers(peer.ask(SYNC)) == "Z:E"
    assert answers(peer.ask(FLUSH, SYNC)) == "Z:E"
    assert answers(peer.ask(close_portal(), close_statement(), close_statement("none"), SYNC)) == "3 3 3 Z:E"
    assert answers(peer.ask(parse("") + describe_statement() + SYNC)) == "1 t n Z:E"
    assert errors(peer.ask(query("commit"))) == [IDLED]


@pytest.mark.parametrize("text", ROLLBACKS)
def test_idled_out_then_an_extended_rollback_is_a_success(idling, text):
    _, peer, _ = idling
    unit = parse(text) + describe_statement() + bind() + describe_portal() + execute() + close_portal() + SYNC
    assert answers(peer.ask(unit)) == "1 t n 2 n C:ROLLBACK 3 Z:I"


def test_idled_out_then_an_extended_commit_is_an_error_and_the_end_of_the_transaction(idling):
    _, peer, _ = idling
    messages = peer.ask(extended("commit") + extended(f"insert into written values ({ROW})") + SYNC)
    assert answers(messages) == "1 2 n E:25P03 Z:I"


def test_idled_out_then_anything_else_extended_is_skipped_to_its_sync(idling):
    _, peer, other = idling
    insert = extended(f"insert into written values ({ROW})") + query("rollback") + execute() + SYNC
    assert answers(peer.ask(insert)) == "E:25P03 Z:E"
    assert answers(peer.ask(insert)) == "E:25P02 Z:E"
    assert answers(peer.ask(extended(f"insert into written values ({ROW})") + SYNC)) == "E:25P02 Z:E"
    assert_nothing_was_written(other)
    assert answers(peer.ask(extended("commit") + SYNC)) == "1 2 n C:ROLLBACK Z:I"


def test_idled_out_then_a_function_call_fails(idling):
    _, peer, _ = idling
    assert answers(peer.ask(function_call(1299))) == "E:25P03 Z:E"
    assert answers(peer.ask(function_call(1299))) == "E:25P02 Z:E"
    assert answers(peer.ask(query("rollback"))) == "C:ROLLBACK Z:I"


def test_idled_out_then_a_whole_pipeline_is_answered_as_in_a_failed_transaction(idling):
    """Nothing of it commits, up to the end of the transaction; what comes behind that counts again."""
    _, peer, other = idling
    peer.send(query(f"insert into written values ({ROW})"), query("select 1"), extended("select 2") + SYNC, query("commit"),
              query("select 3"))
    assert answers(peer.read_until("Z", 5)) == "E:25P03 Z:E E:25P02 Z:E E:25P02 Z:E C:ROLLBACK Z:I T D C:SELECT 1 Z:I"


def test_idled_out_then_rollback_and_more_in_one_unit_goes_on_in_a_new_transaction(idling):
    _, peer, _ = idling
    assert answers(peer.ask(extended("rollback"), extended("select 1"), SYNC)) == "1 2 n C:ROLLBACK 1 2 T D C:SELECT 1 Z:I"
    assert answers(peer.ask(query("select 1"))) == "T D C:SELECT 1 Z:I"


def test_idled_out_then_rollback_is_parsed_in_one_unit_and_run_in_another(idling):
    _, peer, _ = idling
    assert answers(peer.ask(parse("rollback"), describe_statement(), SYNC)) == "1 t n Z:E"
    assert answers(peer.ask(bind(), execute(), SYNC)) == "2 C:ROLLBACK Z:I"
    assert answers(peer.ask(bind(), execute(), SYNC)) in ("2 N C:ROLLBACK Z:I", "2 C:ROLLBACK Z:I")


def test_a_failed_transaction_that_idled_out_has_its_savepoints_no_more(idling):
    _, peer, _ = idling
    assert errors(peer.ask(query("select 1"))) == [IDLED]
    messages = peer.ask(query("rollback to savepoint a"))
    assert errors(messages) == [("3B001", 'savepoint "a" does not exist')] and messages[-1].body == b"E"
    assert answers(peer.ask(query("rollback; begin; select 1"))) == "C:ROLLBACK C:BEGIN T D C:SELECT 1 Z:T"
    assert answers(peer.ask(query("commit"))) == "C:COMMIT Z:I"


def test_named_statements_and_settings_outlive_a_transaction_that_idled_out(pooler):
    under_test = pooler(default_pool_size=1, idle_transaction_timeout=1)
    with under_test.peer(timeout=20) as peer, under_test.peer(timeout=20) as other:
        peer.ask(query("set timezone = 'Asia/Tokyo'"))
        assert answers(peer.ask(parse("rollback", "back"), parse("select 7", "seven"), SYNC)) == "1 1 Z:I"
        for _ in range(2):
            idle_out(under_test, peer)
            other.ask(query("set timezone = 'Europe/Paris'"))
            assert answers(peer.ask(bind(statement="back"), execute(), SYNC)) == "2 C:ROLLBACK Z:I"
            assert answers(peer.ask(bind(statement="seven"), execute(), SYNC)) == "2 D C:SELECT 1 Z:I"
            assert peer.value("show timezone") == "Asia/Tokyo"
        idle_out(under_test, peer)
        assert answers(peer.ask(close_statement("seven"), SYNC)) == "3 Z:E"
        assert answers(peer.ask(bind(statement="seven"), execute(), SYNC)) == "E:25P03 Z:E"
        assert answers(peer.ask(bind(statement="seven"), execute(), SYNC)) == "E:26000 Z:E"
        assert answers(peer.ask(bind(statement="back"), execute(), SYNC)) == "2 C:ROLLBACK Z:I"


def test_a_setting_made_in_a_transaction_that_idled_out_is_rolled_back_with_it(pooler):
    under_test = pooler(default_pool_size=1, idle_transaction_timeout=1)
    with under_test.peer(timeout=20) as peer:
        peer.ask(query("set timezone = 'Asia/Tokyo'"))
        peer.ask(query("begin; set timezone = 'Europe/Paris'"))
        under_test.await_pool(sv_active=0, sv_free=1)
        assert answers(peer.ask(query("rollback"))) == "C:ROLLBACK Z:I"
        assert peer.value("show timezone") == "Asia/Tokyo"


def test_the_users_own_idle_transaction_timeout_holds(pooler):
    under_test = pooler(default_pool_size=1, users={"bob": "idle_transaction_timeout=1"})
    with under_test.peer(user="bob", timeout=20) as peer, under_test.peer() as other:
        other.ask(query("begin"))
        idle_out(under_test, peer, "bob")
        assert errors(peer.ask(query("commit"))) == [IDLED]
        assert answers(other.ask(query("commit"))) == "C:COMMIT Z:I"


def test_who_idled_out_may_leave_or_wait_or_idle_out_again(pooler):
    under_test = pooler(default_pool_size=1, idle_transaction_timeout=1)
    leaver = under_test.peer(timeout=20)
    idle_out(under_test, leaver)
    leaver.close()
    with under_test.peer(timeout=20) as peer, under_test.peer(timeout=20) as other:
        idle_out(under_test, peer)
        assert errors(peer.ask(query("select 1"))) == [IDLED]
        other.ask(query("begin"))
        peer.send(query("select 1"))
        under_test.await_pool(cl_waiting=1)
        assert errors(peer.read_until("Z")) == [FAILED], "the other one idled out"
        assert errors(other.ask(query("commit"))) == [IDLED]
        assert answers(peer.ask(query("rollback"))) == "C:ROLLBACK Z:I"
        idle_out(under_test, peer)
        assert errors(peer.ask(query("commit"))) == [IDLED]


@pytest.mark.parametrize("unit", [
    SYNC, FLUSH + SYNC, query(""), query(";"), close_portal("none") + SYNC, close_statement("none") + close_statement() + SYNC,
    parse("") + describe_statement() + SYNC, parse("rollback") + SYNC, parse("commit") + describe_statement() + bind() + describe_portal() + SYNC,
    extended("rollback") + SYNC, extended("rollback") + extended("select 1") + SYNC,
    extended("rollback") + close_portal() + close_statement() + SYNC, query("rollback"), query("abort")])
def test_idled_out_then_what_owes_no_error_is_answered_as_in_a_failed_transaction(pooler, cluster, unit):
    """PostgreSQL itself is the oracle."""
    under_test = pooler(default_pool_size=1, idle_transaction_timeout=1)
    with under_test.peer(timeout=20) as peer, Peer(("127.0.0.1", cluster.port)).login("alice", "alice-secret", "app") as direct:
        assert direct.ask(query("begin; select 1 / 0"))[-1].body == b"E"
        idle_out(under_test, peer)
        assert peer.ask(unit) == direct.ask(unit)


# transaction_timeout: as above, and what runs is cancelled.

AGED = ("25P04", "terminating transaction due to transaction timeout")
CANCELLED_FOR_AGE = ("57014", "canceling statement due to transaction timeout")


@pytest.mark.parametrize("where", ["global", "database", "user"])
def test_a_transaction_over_its_time_is_rolled_back_and_both_live(pooler, cluster, where):
    limit = "transaction_timeout=1"
    server = f"host=127.0.0.1 port={cluster.port} dbname=app"
    under_test = pooler(default_pool_size=1, transaction_timeout=1 if where == "global" else 0,
                        databases={"app": f"{server} {limit if where == 'database' else ''}"},
                        users={"alice": limit} if where == "user" else {})
    with under_test.peer(timeout=20) as peer, under_test.peer(timeout=20) as other:
        for text, answer in (("rollback", "C:ROLLBACK Z:I"), ("commit", "E:25P04 Z:I"), ("select 1", "E:25P04 Z:E")):
            pid = idle_out(under_test, peer)
            assert peer.is_quiet()
            messages = peer.ask(query(text))
            assert answers(messages) == answer and set(errors(messages)) <= {AGED}
            peer.ask(query("rollback"))
            assert_nothing_was_written(other)
            assert peer.value("select pg_backend_pid()") == other.value("select pg_backend_pid()") == pid
    assert "pooler error: transaction timeout" in under_test.log()


def test_what_runs_when_its_transaction_is_over_its_time_is_cancelled_and_the_rest_is_rolled_back(pooler):
    under_test = pooler(default_pool_size=1, transaction_timeout=1)
    with under_test.peer(timeout=20) as peer, under_test.peer(timeout=20) as other:
        pid = peer.value("select pg_backend_pid()")
        peer.ask(query(f"begin; insert into written values ({ROW})"))
        messages = peer.ask(query("select pg_sleep(30)"))
        assert errors(messages) == [CANCELLED_FOR_AGE] and messages[-1].body == b"E"
        assert other.value("select pg_backend_pid()") == pid, "the server is free at once"
        assert errors(peer.ask(query(f"insert into written values ({ROW})"))) == [FAILED]
        assert answers(peer.ask(query("commit"))) == "C:ROLLBACK Z:I", "as PostgreSQL says it of a failed one"
        assert_nothing_was_written(other)


def test_a_statement_alone_is_a_transaction_too(pooler):
    under_test = pooler(default_pool_size=1, transaction_timeout=1)
    with under_test.peer(timeout=20) as peer:
        messages = peer.ask(query(f"insert into written values ({ROW}); select pg_sleep(30)"))
        assert errors(messages) == [CANCELLED_FOR_AGE] and messages[-1].body == b"I"
        peer.send(extended(f"insert into written values ({ROW})") + extended("select pg_sleep(30)") + SYNC)
        messages = peer.read_until("Z")
        assert errors(messages) == [CANCELLED_FOR_AGE] and messages[-1].body == b"I"
        assert_nothing_was_written(peer)


def test_a_transaction_of_many_short_statements_is_over_its_time_too(pooler):
    under_test = pooler(default_pool_size=1, transaction_timeout=1, query_timeout=30, idle_transaction_timeout=30)
    with under_test.peer(timeout=20) as peer, under_test.peer() as other:
        peer.ask(query("begin"))
        told = set()
        while not told:
            told = set(errors(peer.ask(query(f"insert into written values ({ROW}) on conflict do nothing; select pg_sleep(0.1)"))))
        assert told <= {AGED, CANCELLED_FOR_AGE}
        assert answers(peer.ask(query("commit"))) == "C:ROLLBACK Z:I"
        assert_nothing_was_written(other)


def test_client_idle_timeout_of_the_database(pooler, cluster):
    server = f"host=127.0.0.1 port={cluster.port} dbname=app"
    under_test = pooler(databases={"short": f"{server} client_idle_timeout=1", "long": server})
    with under_test.peer(database="long") as other:
        peer = under_test.peer(database="short", timeout=20 * SLOW)
        other.value("select 1")
        peer.value("select 1")
        assert errors(peer.read_to_end()) == [("57P01", "client_idle_timeout")]
        assert other.value("select 1") == "1"
