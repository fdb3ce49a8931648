"""LISTEN and NOTIFY in transaction mode: notifications come to who listens, to nobody else, in order, and when PostgreSQL would say them."""

import collections
import threading

import pytest

from peer import SYNC, Closed, Peer, bind, execute, extended, parse, query
from waiting import await_that


@pytest.fixture(scope="module", params=[(1, 1), (1, 2), (4, 1), (4, 2)], ids=lambda value: f"{value[0]}-threads-{value[1]}-servers")
def under_test(request, shared_pooler):
    return shared_pooler(worker_threads=request.param[0], default_pool_size=request.param[1], session_state="follow",
                         max_prepared_statements=10)


@pytest.fixture(params=["follow", "reset"])
def either(request, pooler):
    return pooler(worker_threads=2, default_pool_size=1, session_state=request.param, max_prepared_statements=10)


class Heard(list):
    """What came: (channel, payload) of notifications, tags, errors and states of transactions, in order."""

    def __init__(self, answers):
        super().__init__()
        for answer in answers:
            if answer.type == "A":
                channel, payload, _ = answer.body[4:].split(b"\0")
                self.append((channel.decode(), payload.decode()))
            elif answer.type == "C":
                self.append(answer.tag)
            elif answer.type == "D":
                self.append([value.decode() for value in answer.row])
            elif answer.type == "E":
                self.append(answer.fields["C"])
            elif answer.type == "Z":
                self.append(answer.body.decode())


def ask(peer, text, way="simple"):
    if way == "simple":
        return Heard(peer.ask(query(text)))
    if way == "extended":
        return Heard(peer.ask(extended(text, describe=False) + SYNC))
    return Heard(peer.ask(parse(text, "listens") + bind(statement="listens") + execute() + SYNC))


def next_of(peer, count=1):
    """Notifications that come unasked."""
    return Heard(peer.read() for _ in range(count))


def says_nothing(peer):
    """Whatever was on its way has come before the answer to the next query."""
    return [said for said in ask(peer, "select 1") if isinstance(said, tuple)] == []


def direct(cluster, user="alice"):
    return Peer(("127.0.0.1", cluster.port)).login(user, user + "-secret", "app")


@pytest.mark.parametrize("way", ["simple", "extended", "named"])
def test_who_listens_is_notified_and_nobody_else(under_test, way):
    with under_test.peer() as one, under_test.peer() as two, under_test.peer() as other:
        assert ask(one, "listen a", way) == ["LISTEN", "I"]
        assert ask(other, "notify a, 'x'", way) == ["NOTIFY", "I"]
        assert next_of(one) == [("a", "x")]
        assert ask(two, "listen a", way) == ["LISTEN", "I"]
        ask(other, "select pg_notify('a', n::text) from generate_series(1, 3) n")
        assert next_of(one, 3) == next_of(two, 3) == [("a", "1"), ("a", "2"), ("a", "3")]
        assert says_nothing(other)


def test_clients_that_notify_and_listen_at_once_hear_all_in_one_order(under_test):
    listeners = [under_test.peer() for _ in range(5)]
    notifiers = [under_test.peer() for _ in range(4)]
    for peer in listeners:
        ask(peer, "listen many")
    for round in range(20):
        for number, peer in enumerate(notifiers):
            peer.send(query(f"notify many, '{number}.{round}'"))
    for peer in notifiers:
        peer.read_until("Z", 20)
    heard = [next_of(peer, 80) for peer in listeners]
    assert all(other == heard[0] for other in heard)
    for number in range(4):
        own = [payload for _, payload in heard[0] if payload.startswith(f"{number}.")]
        assert own == [f"{number}.{round}" for round in range(20)]
    for peer in listeners + notifiers:
        assert says_nothing(peer)
        peer.close()


SCRIPTS = {
    "commit": ["begin", "listen a", "notify a, '1'", "select 1", "commit", "select 2"],
    "rolled back": ["begin", "listen a", "rollback", "notify a", "select 1"],
    "failed": ["begin", "listen a", "select 1/0", "commit", "notify a", "select 1"],
    "savepoint": ["begin", "savepoint s", "listen a", "rollback to s", "listen b", "commit", "notify a", "notify b", "select 1"],
    "own": ["listen a", "notify a, 'x'", "begin", "notify a, 'y'", "select 1", "commit", "unlisten a", "notify a", "select 1"],
    "own by a function": ["listen a", "select pg_notify('a', 'x')", "begin; select pg_notify('a', 'y'); commit", "select 1"],
    "twice": ["listen a", "listen a", "notify a", "unlisten a", "notify a"],
    "star": ["listen a; listen b", "notify a", "unlisten *", "notify a; notify b", "select 1"],
    "discard": ["listen a", "discard all", "notify a", "select 1"],
    "unlisten rolled back": ["listen a", "begin", "unlisten a", "rollback", "notify a"],
    "unlisten in a transaction": ["listen a", "begin", "unlisten a", "notify a", "commit", "notify a"],
    "channels": ["select pg_listening_channels()", "listen a; listen b", "select * from pg_listening_channels() order by 1", "unlisten b",
                 "select pg_listening_channels()", "begin; listen c", "select pg_listening_channels()", "commit",
                 "select * from pg_listening_channels() order by 1"],
    "names": ['listen "A b"', 'notify "A b", \'x\'', 'listen "a""b"', 'notify "a""b"', "listen Mixed", "notify mixed", 'listen "é"',
              'notify "é", \'ü\'', "notify \"mixed\""],
    "errors": ["listen", "listen 1", "begin", "select 1/0", "listen a", "rollback", "notify a", "listen a b", "select 1"],
    "several in a text": ["listen a; notify a, '1'; notify a, '2'", "notify a, '3'; notify a, '3'"],
    "do": ["listen a", "do $$ begin execute 'unlisten a'; execute 'listen b'; end $$", "notify a", "notify b"],
    "prepared transaction refused": ["listen a", "begin", "listen b", "prepare transaction 'x'", "notify b", "notify a"],
}


def run(peer, script, way):
    said = []
    for number, text in enumerate(script):
        if way == "named" and ";" not in text:
            answers = Heard(peer.ask(parse(text, f"s{number}") + bind(statement=f"s{number}") + execute() + SYNC))
        else:
            answers = ask(peer, text, "simple" if ";" in text else way)
        said.append((text, answers))
    return said


@pytest.mark.parametrize("way", ["simple", "extended", "named"])
@pytest.mark.parametrize("name", list(SCRIPTS))
def test_a_script_is_answered_as_by_postgresql(under_test, cluster, name, way):
    """One client, which hears itself: its notifications come in front of ReadyForQuery, as PostgreSQL says them."""
    with direct(cluster) as oracle:
        expected = run(oracle, SCRIPTS[name], way)
    with under_test.peer() as peer:
        assert run(peer, SCRIPTS[name], way) == expected


def until_end(peer, pipeline):
    peer.send(pipeline + query("select 'end'"))
    said = []
    while said[-3:] != [["end"], "SELECT 1", "I"]:
        said += Heard([peer.read()])
    return said


def test_a_pipeline_is_answered_as_by_postgresql(under_test, cluster):
    pipelines = [
        query("listen a") + query("notify a, '1'") + query("begin") + query("notify a, '2'") + query("commit") + query("unlisten a"),
        extended("listen a") + SYNC + extended("notify a, '1'") + SYNC + extended("select 1/0") + extended("unlisten a") + SYNC +
        extended("notify a, '2'") + extended("select 7") + SYNC,
        extended("select 1") + extended("listen b") + extended("notify b, 'x'") + SYNC + extended("unlisten *") + SYNC +
        extended("notify b") + SYNC,
    ]
    for pipeline in pipelines:
        with direct(cluster) as oracle:
            expected = until_end(oracle, pipeline)
        with under_test.peer() as peer:
            assert until_end(peer, pipeline) == expected


def test_nothing_comes_inside_of_a_transaction(under_test):
    with under_test.peer() as one, under_test.peer() as other:
        ask(one, "listen a")
        ask(one, "listen b")
        if under_test.options["default_pool_size"] == 1:
            pytest.skip("the other has no server meanwhile")
        ask(one, "begin")
        for number in range(3):
            ask(other, f"notify a, '{number}'")
        ask(other, "notify b")
        assert ask(one, "select 1") == [["1"], "SELECT 1", "T"]
        assert one.is_quiet(0.1)
        assert ask(one, "commit") == ["COMMIT", ("a", "0"), ("a", "1"), ("a", "2"), ("b", ""), "I"]


def test_a_listen_takes_effect_at_its_commit(under_test):
    if under_test.options["default_pool_size"] == 1:
        pytest.skip("the other has no server meanwhile")
    with under_test.peer() as one, under_test.peer() as other:
        ask(one, "begin")
        ask(one, "listen a")
        ask(other, "notify a, 'before'")
        assert ask(one, "commit") == ["COMMIT", "I"]
        ask(other, "notify a, 'behind'")
        assert next_of(one) == [("a", "behind")]
        ask(one, "begin")
        ask(one, "unlisten a")
        ask(other, "notify a, 'still'")
        assert ("a", "still") not in ask(one, "commit")
        ask(other, "notify a, 'no more'")
        assert says_nothing(one)


def test_own_notifications_come_from_the_process_that_the_client_knows(under_test, cluster):
    with under_test.peer() as one, under_test.peer() as other:
        ask(one, "listen a")
        own = [answer for answer in one.ask(query("notify a")) if answer.type == "A"]
        assert int.from_bytes(own[0].body[:4], "big") == one.process
        process = int(other.value("select pg_backend_pid()"))
        ask(other, "notify a")
        assert int.from_bytes(one.read().body[:4], "big") in (process, *[pid for (pid,) in cluster.run("select pid from pg_stat_activity")])


def test_a_client_that_listens_is_not_pinned_and_leaves_nothing(either):
    with either.peer() as one, either.peer() as other:
        process = other.value("select pg_backend_pid()")
        ask(one, "listen a")
        for _ in range(3):
            assert other.value("select pg_backend_pid()") == process
            assert other.value("select count(*) from pg_listening_channels()") == "0"
            assert one.value("select pg_backend_pid()") == process
            assert one.value("select string_agg(c, ',') from pg_listening_channels() c") == "a"
    assert either.peer().value("select count(*) from pg_listening_channels()") == "0"


def test_listen_costs_no_notice(either):
    with either.peer() as one:
        assert not [answer for answer in one.ask(query("listen a")) if answer.type == "N"]


def listening_process(under_test):
    """A server that is cleaned behind its client has none either, for a moment."""
    def alone():
        found = [row["remote_pid"] for row in under_test.show("SERVERS") if row["state"] == "active" and row["link"] == ""]
        return found if len(found) == 1 else None

    return await_that(alone, 5, "the listening connection alone has no client")[0]


@pytest.mark.parametrize("workers", [1, 4])
def test_a_lost_connection_is_replaced_and_its_clients_are_told(pooler, own_cluster, workers):
    under_test = pooler(cluster=own_cluster, worker_threads=workers, default_pool_size=2, session_state="follow")
    peers, other = [under_test.peer() for _ in range(3)], under_test.peer()
    for peer in peers:
        ask(peer, "listen a")
    busy = under_test.peer()
    ask(busy, "listen b")
    ask(busy, "begin")
    process = listening_process(under_test)
    own_cluster.run(f"select pg_terminate_backend({process})")
    for peer in peers:
        notice = peer.read()
        assert notice.type == "N" and notice.fields["S"] == "NOTICE" and "may have been missed" in notice.fields["M"]
    ask(other, "notify a, 'again'")
    for peer in peers:
        assert next_of(peer) == [("a", "again")]
    ask(other, "notify b, 'again'")
    answers = busy.ask(query("commit"))
    assert [answer.type for answer in answers] == ["C", "N", "A", "Z"]


def test_a_client_that_does_not_read_is_closed(pooler):
    under_test = pooler(default_pool_size=2, session_state="follow", listen_queue_size=20000, tcp_socket_buffer=4096)
    one, other, third = under_test.peer(), under_test.peer(), under_test.peer()
    ask(one, "listen a")
    ask(third, "listen a")
    ask(one, "begin")
    for number in range(30):
        ask(other, f"notify a, '{number}{'x' * 1000}'")
        assert next_of(third) == [("a", f"{number}{'x' * 1000}")]
    with pytest.raises(Closed):
        while True:
            answer = one.read()
            assert answer.type == "E" and answer.fields["C"] == "53400" and "listen_queue_size" in answer.fields["M"]
    assert ask(other, "select 1") == [["1"], "SELECT 1", "I"]
    assert says_nothing(third)


def test_too_many_channels(pooler):
    under_test = pooler(default_pool_size=1, session_state="follow", max_client_channels=3)
    with under_test.peer() as one:
        ask(one, "listen a; listen b; listen c")
        one.send(query("listen d"))
        answers = one.read_until("E")
        assert answers[-1].fields["C"] == "53400" and "max_client_channels" in answers[-1].fields["M"]


def test_without_a_place_for_the_connection_a_listen_is_refused(pooler):
    under_test = pooler(default_pool_size=1, session_state="follow", max_db_connections=1, server_connect_timeout=30)
    with under_test.peer() as one, under_test.peer() as other:
        one.send(query("listen a"))
        error = one.read_until("E")[-1]
        assert error.fields["C"] == "53300" and "max_db_connections" in error.fields["M"]
        assert ask(other, "select 1") == [["1"], "SELECT 1", "I"]


def test_the_connection_counts_and_goes_when_nobody_listens(pooler):
    under_test = pooler(default_pool_size=1, session_state="follow", server_idle_timeout=1)
    with under_test.peer() as one:
        assert len(under_test.show("SERVERS")) == 1
        ask(one, "listen a")
        assert len(under_test.show("SERVERS")) == 2
        assert [row["current_connections"] for row in under_test.show("DATABASES") if row["name"] == "app"] == ["2"]
        ask(one, "unlisten a")
        await_that(lambda: len(under_test.show("SERVERS")) == 0, 10, "the servers have gone")


def test_a_pause_ends_the_connection_and_a_resume_brings_it_back(pooler):
    under_test = pooler(default_pool_size=1, session_state="follow")
    with under_test.peer() as one, under_test.peer() as other:
        ask(one, "listen a")
        under_test.console("pause app")
        assert len(under_test.show("SERVERS")) == 0
        under_test.console("resume app")
        assert one.read().type == "N"
        ask(other, "notify a")
        assert next_of(one) == [("a", "")]


def test_a_listener_whose_client_vanishes_leaves_nothing(pooler):
    under_test = pooler(worker_threads=2, default_pool_size=1, session_state="follow", server_idle_timeout=1)
    for how in ("close", "reset"):
        for text in ("listen a", "begin; listen a", "listen a; select pg_sleep(0.05)"):
            peer = under_test.peer()
            peer.send(query(text))
            getattr(peer, how)()
    with under_test.peer() as other:
        ask(other, "notify a")
        assert other.value("select count(*) from pg_listening_channels()") == "0"
    await_that(lambda: len(under_test.show("SERVERS")) == 0, 10, "nobody listens")


def test_a_pinned_client_listens(pooler):
    under_test = pooler(default_pool_size=2, session_state="follow", pin_limit=100)
    with under_test.peer() as one, under_test.peer() as other:
        ask(one, "create temp table mine (n int)")
        ask(one, "listen a")
        ask(other, "notify a, 'x'")
        assert next_of(one) == [("a", "x")]
        assert ask(one, "notify a, 'y'") == ["NOTIFY", ("a", "y"), "I"]
        ask(one, "unlisten a")
        ask(other, "notify a, 'z'")
        assert says_nothing(one)


def test_leak_passes_it_to_the_server(pooler):
    under_test = pooler(default_pool_size=1, session_state="leak")
    with under_test.peer() as one, under_test.peer() as other:
        assert ask(one, "listen a") == ["LISTEN", "I"]
        assert other.value("select count(*) from pg_listening_channels()") == "1"
        assert len(under_test.show("SERVERS")) == 1


def test_statement_mode(pooler):
    under_test = pooler(default_pool_size=1, session_state="follow", pool_mode="statement")
    with under_test.peer() as one, under_test.peer() as other:
        assert ask(one, "listen a") == ["LISTEN", "I"]
        ask(other, "notify a, 'x'")
        assert next_of(one) == [("a", "x")]
        assert ask(one, "notify a, 'y'") == ["NOTIFY", ("a", "y"), "I"]
        assert "0A000" in ask(one, "begin; listen b")
        assert ask(one, "select pg_listening_channels()") == [["a"], "SELECT 1", "I"]


@pytest.mark.threads
def test_many_listeners_and_notifiers(pooler):
    """Each listener hears exactly what was notified on its channels while it listened to them."""
    under_test = pooler(worker_threads=4, default_pool_size=2, session_state="follow")
    failures, rounds = [], 15

    def talk(number):
        try:
            with under_test.peer() as peer:
                channel = f"c{number % 3}"
                for round in range(rounds):
                    heard = ask(peer, f"listen {channel}")
                    heard += ask(peer, f"begin; select pg_notify('{channel}', '{number}.{round}'); commit")
                    heard += ask(peer, f"unlisten {channel}")
                    counts = collections.Counter(said for said in heard if isinstance(said, tuple))
                    assert counts[channel, f"{number}.{round}"] == 1 and set(counts.values()) == {1}
                    assert {name for name, _ in counts} == {channel}
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=talk, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures[0]
