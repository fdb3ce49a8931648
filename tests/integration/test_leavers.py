"""Clients that vanish, in any state and in any way, cost nobody else anything."""

import pytest

from peer import COPY_DONE, SYNC, bind, copy_data, execute, extended, parse, query, startup, tls_context
from waiting import SLOW, await_that

# What the client has said and read before it leaves. Each holds or half-holds a server.
STATES = {
    "after the login": lambda peer: None,
    "in a transaction": lambda peer: peer.ask(query("begin; lock table written")),
    "in a failed transaction": lambda peer: (peer.ask(query("begin; lock table written")), peer.ask(query("selec"))),
    "in mid query": lambda peer: peer.send(query("begin; lock table written; select pg_sleep(1.5)")),
    "in mid pipeline": lambda peer: peer.send(*(extended(f"select {n}") + SYNC for n in range(50)), query("select pg_sleep(30)")),
    "in copy in": lambda peer: peer.send(query("copy written from stdin")).read_until("G"),
    "in copy in with data": lambda peer: peer.send(query("copy written from stdin"), copy_data("1\ta\n")).read_until("G"),
    "in extended copy in": lambda peer: peer.send(parse("copy written from stdin"), bind(), execute(), SYNC).read_until("G"),
    "in copy out": lambda peer: peer.send(query("copy (select repeat('x', 10000) from generate_series(1, 100000)) to stdout")).read_until("d"),
    "in a big answer": lambda peer: peer.send(query("select repeat('x', 10000) from generate_series(1, 100000)")).read_until("D"),
    "after a Parse": lambda peer: peer.send(parse("select 1")),
    "after Parse, Bind, Execute": lambda peer: peer.send(parse("select 1"), bind(), execute()),
    "with half a message": lambda peer: peer.send(query("select 'half a message'")[:9]),
    "with half a big message": lambda peer: peer.send(query("select '" + "x" * 500000 + "'")[:300000]),
    "with half a message in a transaction": lambda peer: (peer.ask(query("begin; lock table written")), peer.send(query("select 1")[:6])),
    "behind an error without a Sync": lambda peer: peer.send(parse("selec"), bind(), execute()),
    "with unread answers": lambda peer: peer.send(*(query("select 1") for _ in range(200))),
}
WAYS = {
    "FIN": lambda peer: peer.close(),
    "RST": lambda peer: peer.reset(),
    "Terminate": lambda peer: (peer.send(b"X\0\0\0\4"), peer.close()),
    "half FIN": lambda peer: peer.finish(),
}


@pytest.fixture(scope="module")
def small_pool(shared_pooler):
    return shared_pooler(default_pool_size=2, worker_threads=4, max_prepared_statements=20)


@pytest.mark.parametrize("way", list(WAYS))
@pytest.mark.parametrize("state", list(STATES))
def test_the_next_client_gets_its_own_answer_and_finds_no_lock(small_pool, state, way):
    """Two leave, of a pool of two; the locks they held are free within a second or two, and answers are the next one's own."""
    leavers = [small_pool.peer(timeout=20) for _ in range(2 if "lock" not in state and "transaction" not in state and "mid query" not in state else 1)]
    for leaver in leavers:
        STATES[state](leaver)
        WAYS[way](leaver)
    with small_pool.peer(timeout=20) as peer:
        assert peer.value(f"select '{state} {way}'") == f"{state} {way}"
        await_that(lambda: not peer_error(peer, "begin; lock table written nowait; commit"), 5, "the lock is free")
        assert peer.value("select 'own'") == "own"
    small_pool.await_pool(user="alice", cl_active=0, cl_waiting=0, sv_active=0)


def peer_error(peer, sql):
    messages = peer.ask(query(sql))
    failed = any(message.type == "E" for message in messages)
    if messages[-1].body != b"I":
        peer.ask(query("rollback"))
    return failed


# States that cost the server: half a message was sent to it, or nothing of it is known to be whole.
COSTLY = {"with half a big message"}


@pytest.fixture(scope="module", params=["1 thread", "4 threads", "TLS"])
def lone_server(request, shared_pooler, certificates):
    """Makes peers of a pool of one server."""
    tls, options = None, {}
    if request.param == "TLS":
        tls = tls_context(certificates.ca)
        options = dict(client_tls_sslmode="require", client_tls_cert_file=certificates.certificate("server"),
                       client_tls_key_file=certificates.key("server"), server_tls_sslmode="require")
    under_test = shared_pooler(default_pool_size=1, worker_threads=1 if request.param == "1 thread" else 4, **options)
    under_test.visitor = lambda: under_test.peer(timeout=20, tls=tls)
    return under_test


@pytest.mark.parametrize("way", list(WAYS))
@pytest.mark.parametrize("state", [state for state in STATES if state not in COSTLY])
def test_a_leaver_leaves_the_server_as_it_found_it(lone_server, cluster, state, way):
    """PITFALLS rows 12, 13, 15: five leave one after the other, and the backend is the same one."""
    with lone_server.visitor() as peer:
        pid = peer.value("select pg_backend_pid()")
    for _ in range(5):
        leaver = lone_server.visitor()
        if "pipeline" in state and way in ("Terminate",):
            leaver.send(query("begin; select pg_sleep(0.1)"))
        else:
            STATES[state](leaver)
        WAYS[way](leaver)
    with lone_server.visitor() as peer:
        assert peer.value("select pg_backend_pid()") == pid
        assert peer.value("select now() = statement_timestamp()") == "t", "no transaction is open"
        assert peer.value("select count(*) from pg_locks where locktype = 'relation' and relation = 'written'::regclass") == "0"
    lone_server.await_pool(user="alice", cl_active=0, cl_waiting=0, sv_active=0, sv_idle=1)


def sleepers(cluster, text):
    return cluster.run(f"select count(*) from pg_stat_activity where state = 'active' and query like '%{text}%' "
                       "and pid <> pg_backend_pid()")[0][0]


def test_what_a_vanished_client_left_running_is_cancelled(pooler, cluster, worker_threads):
    """PITFALLS row 14."""
    under_test = pooler(default_pool_size=1, worker_threads=worker_threads)
    for way in ("RST", "FIN", "half FIN"):
        leaver = under_test.peer()
        leaver.send(query("select pg_sleep(60), 'row 14'"))
        await_that(lambda: sleepers(cluster, "row 14") == 1)
        WAYS[way](leaver)
        await_that(lambda: sleepers(cluster, "row 14") == 0, 0.7, "cancelled")
        with under_test.peer() as peer:
            assert peer.value("select 1") == "1"


def test_a_query_behind_which_its_client_said_goodbye_runs_to_its_end(pooler, cluster):
    under_test = pooler(default_pool_size=1, client_gone_timeout=1)
    cluster.run("create table if not exists farewell (n int)", dbname="app")
    cluster.run("truncate farewell; grant all on farewell to public", dbname="app")
    leaver = under_test.peer()
    leaver.send(query("insert into farewell select 1 from pg_sleep(1.5)"))
    await_that(lambda: sleepers(cluster, "farewell") == 1)
    WAYS["Terminate"](leaver)
    with under_test.peer(timeout=20) as peer:
        assert peer.value("select count(*) from farewell") == "1"


def test_statements_that_commit_by_themselves_may_end(pooler, cluster):
    under_test = pooler(default_pool_size=1, cancel_on_disconnect="never")
    cluster.run("create table if not exists farewell (n int)", dbname="app")
    cluster.run("truncate farewell; grant all on farewell to public", dbname="app")
    leaver = under_test.peer()
    leaver.send(query("insert into farewell select 1 from pg_sleep(0.5)"))
    await_that(lambda: sleepers(cluster, "farewell") == 1)
    leaver.reset()
    with under_test.peer(timeout=20) as peer:
        assert peer.value("select count(*) from farewell") == "1"
        peer.ask(query("begin"))
        peer.send(query("insert into farewell select 2 from pg_sleep(60)"))
        await_that(lambda: sleepers(cluster, "select 2 from") == 1)
        peer.reset()
    await_that(lambda: sleepers(cluster, "select 2 from") == 0, 2, "a block is cancelled")


def test_a_batch_without_its_sync_is_not_committed(pooler, cluster):
    """PostgreSQL rolls it back when its client vanishes; a Sync of the pooler's would commit it."""
    under_test = pooler(default_pool_size=1)
    cluster.run("create table if not exists farewell (n int)", dbname="app")
    cluster.run("truncate farewell; grant all on farewell to public", dbname="app")
    with under_test.peer() as peer:
        pid = peer.value("select pg_backend_pid()")
    for way in WAYS.values():
        leaver = under_test.peer()
        leaver.send(parse("insert into farewell values (1)"), bind(), execute(), b"H\0\0\0\4")
        leaver.read_until("C")
        way(leaver)
        leaver = under_test.peer()
        leaver.send(parse("insert into farewell values (1)"), bind(), execute())
        way(leaver)
    with under_test.peer() as peer:
        assert peer.value("select count(*) from farewell") == "0"
        assert peer.value("select pg_backend_pid()") == pid


def test_a_server_that_cannot_be_cleared_up_in_time_is_closed_and_cancelled(pooler, cluster):
    """Its statement catches every cancel."""
    under_test = pooler(default_pool_size=1, client_gone_timeout=1)
    leaver = under_test.peer()
    pid = leaver.value("select pg_backend_pid()")
    leaver.send(query("""do $$ begin for n in 1..20 loop
        begin perform pg_sleep(30), 'stubborn'; exception when query_canceled then null; end;
        end loop; end $$"""))
    await_that(lambda: sleepers(cluster, "stubborn") == 1)
    leaver.reset()
    with under_test.peer(timeout=20 * SLOW) as peer:
        assert peer.value("select pg_backend_pid()") != pid
    cluster.run(f"select pg_terminate_backend({pid})")


@pytest.mark.threads
@pytest.mark.parametrize("size", [1, 4])
def test_a_thousand_leavers_cause_no_login(pooler, cluster, worker_threads, size):
    under_test = pooler(default_pool_size=size, worker_threads=worker_threads, cancel_max_inflight=4)
    states = [lambda peer: peer.send(query("begin; select pg_sleep(1)")),
              lambda peer: peer.send(query("copy written from stdin")),
              lambda peer: peer.send(parse("select 1"), bind(), execute()),
              lambda peer: peer.send(query("begin")),
              lambda peer: peer.send(*(query("select pg_sleep(0.01)") for _ in range(5))),
              lambda peer: peer.send(query("select repeat('x', 1000) from generate_series(1, 1000)"))]
    ways = list(WAYS.values())
    crowd = []
    for number in range(1000):
        leaver = under_test.peer(timeout=30 * SLOW)
        states[number % len(states)](leaver)
        crowd.append(leaver)
        if len(crowd) == 20:
            for place, one in enumerate(crowd):
                ways[(number // 20 + place) % len(ways)](one)
            crowd.clear()
    with under_test.peer(timeout=30 * SLOW) as peer:
        assert peer.value("select 'mine'") == "mine"
    under_test.await_pool(10, user="alice", cl_active=0, cl_waiting=0, sv_active=0)
    assert under_test.log().count("new connection to server") <= size


def test_clean_leavers_change_no_server(pooler, cluster):
    """After the login, after a finished query, after a finished transaction: the server's process stays the same."""
    under_test = pooler(default_pool_size=1)
    with under_test.peer() as peer:
        pid = peer.value("select pg_backend_pid()")
    for state in (lambda peer: None, lambda peer: peer.value("select 1"), lambda peer: peer.ask(query("begin")) and peer.ask(query("commit"))):
        for way in WAYS.values():
            leaver = under_test.peer()
            state(leaver)
            way(leaver)
    with under_test.peer() as peer:
        assert peer.value("select pg_backend_pid()") == pid


@pytest.mark.threads
def test_crowds_that_leave_at_once(pooler, cluster, worker_threads):
    under_test = pooler(default_pool_size=4, worker_threads=worker_threads)
    for state, say in STATES.items():
        if "lock" in state or "transaction" in state or "mid query" in state:
            continue
        leavers = [under_test.peer(timeout=30) for _ in range(12)]
        for leaver in leavers:
            if "copy" in state or "big" in state:
                leaver.send(query("copy written from stdin") if "copy in" in state else
                            query("select repeat('x', 10000) from generate_series(1, 10000)"))
            else:
                say(leaver)
        for number, leaver in enumerate(leavers):
            list(WAYS.values())[number % len(WAYS)](leaver)
        with under_test.peer(timeout=30) as peer:
            assert peer.value("select 'mine'") == "mine"
    under_test.await_pool(10, cl_active=0, cl_waiting=0, sv_active=0)


def test_waiting_clients_that_leave_take_no_server(pooler):
    under_test = pooler(default_pool_size=1)
    first = under_test.peer()
    first.ask(query("begin"))
    for way in WAYS.values():
        leaver = under_test.peer()
        leaver.send(query("select 'nobody reads this'"))
        under_test.await_pool(cl_waiting=1)
        way(leaver)
        if way is not WAYS["half FIN"]:
            under_test.await_pool(2, cl_waiting=0)
    first.ask(query("commit"))
    with under_test.peer() as peer:
        assert peer.value("select 'served'") == "served"


def test_parse_and_fin_in_one_event(pooler):
    """What a Worker does that is torn down in mid-send."""
    under_test = pooler(default_pool_size=1)
    for _ in range(20):
        leaver = under_test.peer()
        leaver.send(parse("select 1"))
        leaver.close()
    with under_test.peer() as peer:
        assert peer.value("select 'mine'") == "mine"


def test_messages_that_come_one_by_one(pooler):
    """Parse, Bind, Describe, Execute and Sync each in a segment of its own, as workerd writes them."""
    under_test = pooler(default_pool_size=1)
    with under_test.peer() as peer:
        for number in range(30):
            for part in (parse("select $1::text"), bind(str(number)), execute(), SYNC):
                peer.send(part)
            assert [message.row for message in peer.read_until("Z") if message.type == "D"] == [[str(number).encode()]]


def test_terminate_is_answered_by_the_end_at_once(pooler):
    under_test = pooler()
    peer = under_test.peer()
    peer.value("select 1")
    peer.leave()


def test_a_slow_reader_holds_up_nobody(pooler, worker_threads):
    """Somebody who does not read his answer of a gigabyte costs a server, not memory, and no other client's time."""
    under_test = pooler(default_pool_size=2, worker_threads=worker_threads)
    before = under_test.resident_kib()
    slow = under_test.peer()
    slow.send(query("select repeat('x', 1000000) from generate_series(1, 1000)"))
    slow.read_until("T")
    with under_test.peer() as peer:
        for number in range(50):
            assert peer.value(f"select {number}") == str(number)
    assert under_test.resident_kib() - before < 30000 * SLOW
    slow.reset()
    under_test.await_pool(10, cl_active=0, sv_active=0)


def test_leavers_of_the_startup(pooler):
    under_test = pooler(worker_threads=4)
    packet = startup(user="alice", database="app")
    for length in range(0, len(packet) + 1, 3):
        stranger = under_test.open()
        stranger.send(packet[:length])
        stranger.reset() if length % 2 else stranger.close()
    with under_test.peer() as peer:
        assert peer.value("select 1") == "1"


def test_the_rest_of_a_copy_is_thrown_away(pooler):
    """A COPY that failed: what its client still sends reaches no other."""
    under_test = pooler(default_pool_size=1)
    one, two = under_test.peer(), under_test.peer()
    one.send(query("copy written from stdin"), copy_data("no number\tx\n"))
    one.send(*(copy_data(f"{n}\ty\n") for n in range(2000)))
    two.send(query("select 'two'"))
    one.send(*(copy_data(f"{n}\ty\n") for n in range(2000)), COPY_DONE, query("select 'one'"))
    answers = one.read_until("Z", 2)
    assert [message.row for message in answers if message.type == "D"] == [[b"one"]]
    assert [message.row for message in two.read_until("Z") if message.type == "D"] == [[b"two"]]
