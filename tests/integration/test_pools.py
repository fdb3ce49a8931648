"""Pools: never more servers than allowed, first come first served, limits exact over all threads, timeouts as named."""

import threading
import time

import psycopg
import pytest

from peer import SYNC, TERMINATE, Refused, extended, parse, query
from waiting import SLOW, await_that, stays_that

HOLD = "begin"


def holder(pooler, **options):
    """A client that holds a server, in a transaction."""
    peer = pooler.peer(**options)
    peer.ask(query(HOLD))
    return peer


def waiters(pooler, count, **options):
    """Clients that ask and wait, in this order."""
    peers = []
    for number in range(count):
        peer = pooler.peer(**options)
        peer.send(query(f"select {number}"))
        pooler.await_pool(user=options.get("user", "alice"), database=options.get("database", "app"), cl_waiting=number + 1)
        peers.append(peer)
    return peers


def test_servers_are_bounded_by_the_pool_size(pooler, cluster, worker_threads):
    under_test = pooler(default_pool_size=3, worker_threads=worker_threads)
    mark = cluster.log_mark()
    peers = [under_test.peer() for _ in range(30)]
    for _ in range(5):
        for peer in peers:
            peer.send(query("select pg_sleep(0.001), pg_backend_pid()"))
        for peer in peers:
            assert peer.read_until("Z")
    assert 1 <= cluster.logins_since(mark, "alice") <= 3
    pool = under_test.pool()
    assert pool["sv_active"] + pool["sv_idle"] + pool["sv_used"] <= 3 and pool["cl_active"] == 30


def test_size_of_the_entry_and_of_the_user(pooler, cluster):
    server = f"host=127.0.0.1 port={cluster.port} dbname=app"
    under_test = pooler(default_pool_size=1, databases={"app": server, "wide": server + " pool_size=3"}, users={"bob": "pool_size=2"})
    for user, database, size in (("alice", "app", 1), ("alice", "wide", 3), ("bob", "wide", 2)):
        holders = [holder(under_test, user=user, database=database) for _ in range(size)]
        late = waiters(under_test, 1, user=user, database=database)
        under_test.await_pool(user=user, database=database, sv_active=size, cl_waiting=1)
        holders[0].ask(query("commit"))
        assert late[0].read_until("Z")
        for peer in holders + late:
            peer.close()


def test_limits_of_database_and_user_are_exact(pooler, cluster, worker_threads):
    server = f"host=127.0.0.1 port={cluster.port} dbname=app"
    under_test = pooler(default_pool_size=5, max_user_connections=3, worker_threads=worker_threads,
                        databases={"one": server + " max_db_connections=2", "two": server})
    peers = {name: [] for name in ("one", "two")}
    for name in peers:
        for _ in range(4):
            peer = under_test.peer(database=name)
            peer.send(query("begin"))
            peers[name].append(peer)
    await_that(lambda: under_test.pool("one")["sv_active"] + under_test.pool("two")["sv_active"] == 3, 5, "three servers in all")
    assert under_test.pool("one")["sv_active"] <= 2
    stays_that(lambda: len(cluster.backends("usename = 'alice'")) <= 3, 0.3)
    # Everybody gets his turn when those before him leave.
    finished = set()

    def finish_some():
        for name, list_ in peers.items():
            for peer in list_:
                if id(peer) not in finished and (peer.buffer or not peer.is_quiet(0.01)):
                    finished.add(id(peer))
                    peer.send(TERMINATE)
                    peer.close()
        return len(finished) == 8

    await_that(finish_some, 10, "all eight were served")


def test_an_idle_server_of_another_pool_makes_room(pooler, cluster):
    """max_db_connections is reached by idle servers of alice: one is closed for bob."""
    under_test = pooler(default_pool_size=2, max_db_connections=2, server_idle_timeout=0)
    one, two = holder(under_test), holder(under_test)
    for peer in (one, two):
        peer.ask(query("commit"))
    with under_test.peer("bob") as peer:
        assert peer.value("select current_user") == "bob"
    assert len(cluster.backends("usename in ('alice', 'bob')")) <= 2


def test_waiting_clients_are_served_in_order(pooler, worker_threads):
    under_test = pooler(default_pool_size=1, worker_threads=worker_threads, waiter_locality=0)
    first = holder(under_test)
    queue = []
    for number in range(12):
        peer = under_test.peer()
        peer.send(query("select clock_timestamp()::text, pg_sleep(0.002)"))
        under_test.await_pool(cl_waiting=number + 1)
        queue.append(peer)
    first.ask(query("commit"))
    times = [next(answer.row[0] for answer in peer.read_until("Z") if answer.type == "D") for peer in queue]
    assert times == sorted(times)


def test_query_wait_timeout(pooler):
    under_test = pooler(default_pool_size=1, query_wait_timeout=1)
    first = holder(under_test)
    late = under_test.peer()
    start = time.monotonic()
    late.send(query("select 1"))
    answers = late.read_to_end(10 * SLOW)
    assert 0.8 < time.monotonic() - start < 4 * SLOW
    assert [answer.fields["M"] for answer in answers if answer.type == "E"] == ["query_wait_timeout"]
    assert first.ask(query("commit"))[-1].body == b"I"
    with under_test.peer() as peer:
        assert peer.value("select 1") == "1"


def test_query_wait_notify(pooler):
    under_test = pooler(default_pool_size=1, query_wait_notify=1)
    first = holder(under_test)
    late = under_test.peer()
    late.send(query("select 'served'"))
    notice = late.read(10 * SLOW)
    assert notice.type == "N" and notice.fields["S"] == "NOTICE"
    first.ask(query("commit"))
    assert b"served" in late.read_until("Z")[1].body


def test_a_waiting_client_that_closes_is_gone_at_once(pooler, worker_threads):
    under_test = pooler(default_pool_size=1, worker_threads=worker_threads)
    first = holder(under_test)
    queue = waiters(under_test, 20)
    for number, peer in enumerate(queue):
        peer.reset() if number % 2 else peer.close()
    under_test.await_pool(1, cl_waiting=0)
    await_that(lambda: len(under_test.show("CLIENTS", database="app")) == 1, 1)
    first.ask(query("commit"))
    with under_test.peer() as peer:
        assert peer.value("select 1") == "1"


def test_waiters_behind_a_closed_one_are_served(pooler):
    under_test = pooler(default_pool_size=1, worker_threads=4)
    first = holder(under_test)
    queue = waiters(under_test, 10)
    for peer in queue[::2]:
        peer.reset()
    under_test.await_pool(cl_waiting=5)
    first.ask(query("commit"))
    for peer in queue[1::2]:
        assert peer.read_until("Z")


def test_session_mode_keeps_the_server_until_the_client_leaves(pooler, cluster):
    under_test = pooler(pool_mode="session", default_pool_size=2)
    one, two = under_test.peer(), under_test.peer()
    pid = one.value("select pg_backend_pid()")
    assert two.value("select pg_backend_pid()") != pid
    assert {one.value("select pg_backend_pid()") for _ in range(5)} == {pid}
    third = under_test.peer()
    third.send(query("select pg_backend_pid()"))
    under_test.await_pool(cl_waiting=1, sv_active=2)
    one.leave()
    assert third.read_until("Z")[1].row == [pid.encode()]


def test_session_mode_resets_the_server(pooler):
    under_test = pooler(pool_mode="session", default_pool_size=1)
    one = under_test.peer()
    pid = one.value("select pg_backend_pid()")
    one.ask(query("set work_mem = '7MB'; create temporary table mine (a int); listen news; prepare p as select 1; "
                  "select pg_advisory_lock(4711)"))
    one.ask(parse("select 2", "kept"), SYNC)
    one.leave()
    two = under_test.peer()
    assert two.value("select pg_backend_pid()") == pid
    assert two.value("show work_mem") != "7MB"
    assert two.value("select to_regclass('mine')") is None
    assert two.rows("select pg_listening_channels()") == []
    assert two.value("select count(*) from pg_prepared_statements") == "0"
    assert two.value("select count(*) from pg_locks where locktype = 'advisory'") == "0"


def test_modes_of_entry_and_user(pooler, cluster):
    server = f"host=127.0.0.1 port={cluster.port} dbname=app"
    under_test = pooler(pool_mode="transaction", users={"bob": "pool_mode=session"},
                        databases={"app": server, "keeps": server + " pool_mode=session"})
    for user, database, mode in (("alice", "app", "transaction"), ("alice", "keeps", "session"), ("bob", "app", "session")):
        with under_test.peer(user, database) as peer:
            peer.value("select 1")
            active = 1 if mode == "session" else 0
            under_test.await_pool(user=user, database=database, sv_active=active)
            assert under_test.show("POOLS", user=user, database=database)[0]["pool_mode"] == mode


def test_server_idle_timeout(pooler, cluster):
    under_test = pooler(server_idle_timeout=1, min_pool_size=0)
    with under_test.peer() as peer:
        pid = int(peer.value("select pg_backend_pid()"))
        await_that(lambda: pid not in cluster.backends(), 6, "the idle server is closed")
        assert int(peer.value("select pg_backend_pid()")) != pid
    under_test.await_log("server idle timeout")


def test_server_lifetime(pooler, cluster):
    under_test = pooler(server_lifetime=1, default_pool_size=1)
    with under_test.peer() as peer:
        first = peer.value("select pg_backend_pid()")
        await_that(lambda: peer.value("select pg_backend_pid()") != first, 8, "an old server is replaced")
    under_test.await_log("server lifetime over")


def test_server_lifetime_of_zero_means_one_use(pooler, cluster):
    under_test = pooler(server_lifetime=0, default_pool_size=1)
    with under_test.peer() as peer:
        assert len({peer.value("select pg_backend_pid()") for _ in range(4)}) == 4


def test_an_open_transaction_is_never_cut_by_the_lifetime(pooler):
    under_test = pooler(server_lifetime=1, default_pool_size=1)
    with under_test.peer() as peer:
        peer.ask(query("begin"))
        pid = peer.value("select pg_backend_pid()")
        peer.ask(query("select pg_sleep(1.6)"))
        assert peer.value("select pg_backend_pid()") == pid
        assert peer.ask(query("commit"))[-1].body == b"I"


def test_idle_servers_that_die_are_replaced_unnoticed(pooler, cluster):
    under_test = pooler(default_pool_size=3, worker_threads=4)
    holders = [holder(under_test) for _ in range(3)]
    for peer in holders:
        peer.ask(query("commit"))
    cluster.run("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'alice'")
    await_that(lambda: not cluster.backends("usename = 'alice'"), 5)
    under_test.await_pool(sv_free=0)
    for peer in holders:
        assert peer.value("select 1") == "1"


def test_a_server_that_dies_under_its_client_is_told(pooler, cluster):
    under_test = pooler(default_pool_size=1)
    peer = holder(under_test)
    pid = peer.value("select pg_backend_pid()")
    peer.send(query("select pg_sleep(30)"))
    await_that(lambda: cluster.run(f"select state = 'active' from pg_stat_activity where pid = {pid}")[0][0], 5)
    cluster.run(f"select pg_terminate_backend({pid})")
    answers = peer.read_to_end(5 * SLOW)
    errors = [answer.fields["C"] for answer in answers if answer.type == "E"]
    assert errors[:1] == ["57P01"]
    with under_test.peer() as other:
        assert other.value("select 1") == "1"


def test_connection_limit_of_the_role_is_told(pooler, cluster):
    """53300 of the server reaches the client that caused it, as it is."""
    cluster.run("alter role bob connection limit 1")
    try:
        with cluster.connect("bob"):
            under_test = pooler()
            with pytest.raises((Refused, AssertionError)) as caught:
                under_test.peer("bob").value("select 1")
            assert "53300" in str(caught.value) or "too many connections" in str(caught.value)
    finally:
        cluster.run("alter role bob connection limit -1")


def test_refused_connections_are_tried_again_soon(pooler, own_cluster):
    """No server there: clients wait; when it comes, they are served within a second, whatever server_login_retry says."""
    own_cluster.stop()
    under_test = pooler(cluster=own_cluster, server_login_retry=15, query_wait_timeout=60)
    peer = under_test.open(timeout=40)
    answer = []

    def ask():
        peer.login("alice", "alice-secret", "app")
        answer.append(peer.value("select 'late'"))

    thread = threading.Thread(target=ask)
    thread.start()
    under_test.await_log("connect", 5)
    own_cluster.start()
    start = time.monotonic()
    thread.join(20 * SLOW)
    assert answer == ["late"] and time.monotonic() - start < 2 * SLOW


def test_psycopg_pool_of_threads(pooler, worker_threads):
    """An ordinary driver, many threads, few servers."""
    under_test = pooler(default_pool_size=4, worker_threads=worker_threads)
    failures = []

    def work(number):
        try:
            with under_test.connect() as connection:
                for step in range(20):
                    row = connection.execute("select %s::int, %s::text", (number, f"{number}-{step}")).fetchone()
                    if row != (number, f"{number}-{step}"):
                        failures.append(row)
                with connection.transaction():
                    connection.execute("select 1")
        except psycopg.Error as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60 * SLOW)
    assert failures == []


@pytest.mark.parametrize("first", ["begin", "begin; insert into kept values (1)", "begin; select 1/0", "start transaction read only"])
def test_statement_mode_refuses_a_transaction_and_the_client_lives(pooler, cluster, first):
    under_test = pooler(pool_mode="statement", default_pool_size=1)
    cluster.run("drop table if exists kept; create table kept (i int); grant all on kept to public")
    mark = cluster.log_mark()
    with under_test.peer() as peer, under_test.peer() as other:
        answers = peer.ask(query(first))
        assert [answer.type for answer in answers][-2:] == ["E", "Z"] and answers[-1].body == b"I"
        assert sum(answer.type == "E" for answer in answers) == 1
        expected = "22012" if "1/0" in first else "0A000"
        assert next(answer for answer in answers if answer.type == "E").fields["C"] == expected
        assert other.value("select pg_current_xact_id_if_assigned() is null") == "t"
        assert peer.value("select count(*) from kept") == "0"
        # In one message, closed by its own COMMIT, it is a statement as any other.
        assert peer.ask(query("begin; insert into kept values (2); commit"))[-1].body == b"I"
        assert peer.value("select count(*) from kept") == "1"
    assert cluster.logins_since(mark, "alice") <= 1
    under_test.await_log("transaction blocks not allowed in statement pooling mode")


def test_statement_mode_refuses_each_unit_of_a_pipeline_for_itself(pooler, cluster):
    """What stands behind a BEGIN that was refused runs by itself, and is there."""
    under_test = pooler(pool_mode="statement", default_pool_size=1)
    cluster.run("drop table if exists kept; create table kept (i int); grant all on kept to public")
    with under_test.peer() as peer:
        peer.send(extended("begin"), SYNC, extended("insert into kept values (1)"), SYNC, extended("rollback"), SYNC)
        answers = peer.read_until("Z", 3)
        assert [answer.body for answer in answers if answer.type == "Z"] == [b"I"] * 3
        assert sum(answer.type == "E" for answer in answers) == 1
        assert peer.value("select count(*) from kept") == "1"


def test_min_pool_size_is_there_from_the_start_where_the_login_is_known(pooler, cluster, worker_threads):
    server = f"host=127.0.0.1 port={cluster.port} dbname=app"
    under_test = pooler(worker_threads=worker_threads, server_idle_timeout=1, default_pool_size=4, databases={
        "known": server + " user=alice password=alice-secret min_pool_size=3", "app": server + " min_pool_size=2"})
    under_test.await_pool(database="known", sv_idle=3, cl_active=0)
    assert not under_test.show("POOLS", database="app")
    with under_test.peer() as peer:
        under_test.await_pool(sv_idle=2, cl_active=1)
        assert peer.value("select 1") == "1"
    # The idle timeout spares them, and never more than that many are opened.
    stays_that(lambda: (under_test.pool("known")["sv_idle"], under_test.pool()["sv_idle"]) == (3, 2), 1.5)
    cluster.run("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'alice'")
    under_test.await_pool(database="known", sv_idle=3)


def test_min_pool_size_respects_the_limits_and_evicts_nobody(pooler, cluster):
    server = f"host=127.0.0.1 port={cluster.port} dbname=app user=alice password=alice-secret"
    under_test = pooler(max_user_connections=3, databases={"one": server + " min_pool_size=2", "two": server + " min_pool_size=2"})
    await_that(lambda: under_test.pool("one")["sv_idle"] + under_test.pool("two")["sv_idle"] == 3, 5, "three servers in all")
    stays_that(lambda: len(cluster.backends("usename = 'alice'")) == 3, 0.5)
    assert "evicted" not in under_test.log()


def test_the_reserve_is_for_those_who_have_waited_for_long(pooler, cluster, worker_threads):
    under_test = pooler(default_pool_size=2, reserve_pool_size=2, reserve_pool_timeout=1, worker_threads=worker_threads)
    holders = [holder(under_test) for _ in range(2)]
    start = time.monotonic()
    late = waiters(under_test, 4)
    stays_that(lambda: len(cluster.backends("usename = 'alice'")) == 2, 0.5)
    for peer in late[:2]:
        assert peer.read_until("Z")
    assert time.monotonic() - start > 0.9
    for peer in late[2:]:
        assert peer.read_until("Z")
    # Exactly two more, whoever waits and for how long.
    busy = [holder(under_test) for _ in range(2)]
    behind = waiters(under_test, 2)
    stays_that(lambda: len(cluster.backends("usename = 'alice'")) <= 4, 1.5)
    await_that(lambda: under_test.log().count("taking connection from reserve_pool") == 2, 5, "two lines")
    for peer in holders + late + busy + behind:
        peer.close()


def test_no_reserve_without_a_timeout(pooler, cluster):
    under_test = pooler(default_pool_size=1, reserve_pool_size=2, reserve_pool_timeout=0)
    with holder(under_test):
        waiters(under_test, 1)
        stays_that(lambda: len(cluster.backends("usename = 'alice'")) == 1, 1)


def test_clients_that_leave_behind_a_refused_transaction_cost_no_server(pooler, cluster):
    under_test = pooler(pool_mode="statement", default_pool_size=1)
    mark = cluster.log_mark()
    for _ in range(20):
        with under_test.peer() as peer:
            peer.send(query("begin"))
    with under_test.peer() as peer:
        assert peer.value("select pg_current_xact_id_if_assigned() is null") == "t"
    assert cluster.logins_since(mark, "alice") <= 1
