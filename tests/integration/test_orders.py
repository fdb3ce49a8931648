"""What an operator orders of databases, on one worker and on several: PAUSE, RESUME, DISABLE, ENABLE, RECONNECT, WAIT_CLOSE,
and the signals USR1 and USR2."""

import signal
import threading

import pytest

from peer import Peer, Refused, query
from pooler import ask_console
from waiting import await_that, stays_that


class Order(threading.Thread):
    """A command of the console that may take its time."""

    def __init__(self, pooler, command):
        super().__init__(daemon=True)
        self.pooler, self.command, self.tag = pooler, command, None
        self.start()

    def run(self):
        with Peer(self.pooler.socket_path, timeout=30) as peer:
            peer.login("admin", "admin-secret", "pgbouncer")
            self.tag = ask_console(peer, self.command).tag


def state(pooler):
    return {row["key"]: row["value"] for row in pooler.console("SHOW STATE").rows}


def test_pause_waits_for_every_worker_and_resume_goes_on(pooler, cluster, worker_threads):
    others = set(cluster.backends("usename = 'alice'"))  # that run a query to its end although their pooler is gone
    under_test = pooler(worker_threads=worker_threads, default_pool_size=30)
    peers = [under_test.peer() for _ in range(6)]
    for peer in peers[:3]:
        peer.ask(query("begin"))
    order = Order(under_test, "PAUSE")
    await_that(lambda: state(under_test)["paused"] == "yes", 5, "the pause has begun")
    stays_that(lambda: order.tag is None, 0.3)
    for peer in peers[:3]:
        assert order.tag is None and peer.ask(query("commit"))
    await_that(lambda: order.tag == "PAUSE", 5, "the answer")
    assert not set(cluster.backends("usename = 'alice'")) - others
    for peer in peers:
        peer.send(query("select 1"))
    under_test.await_pool(cl_waiting=6, sv_active=0)
    stays_that(lambda: all(peer.is_quiet(0.01) for peer in peers), 0.2)
    assert under_test.console("RESUME").tag == "RESUME"
    for peer in peers:
        assert peer.read_until("Z")
        peer.close()
    assert state(under_test)["active"] == "yes"


def test_pause_of_one_database_leaves_the_others(pooler):
    under_test = pooler(worker_threads=4)
    assert under_test.console("PAUSE app").tag == "PAUSE"
    assert under_test.show("DATABASES", name="app")[0]["paused"] == "1" and under_test.show("DATABASES", name="other")[0]["paused"] == "0"
    with under_test.peer(database="other") as peer:
        assert peer.value("select 1") == "1"
    under_test.assert_login_waits_for_resume()


@pytest.mark.parametrize("before, command, text", [
    ("PAUSE", "PAUSE", "already suspended/paused"), ("PAUSE", "PAUSE app", "already suspended/paused"),
    (None, "PAUSE nothing", "no such database: nothing"), (None, "PAUSE pgbouncer", "cannot pause admin db: pgbouncer"),
    (None, "RESUME", "pooler is not paused/suspended"), (None, "RESUME app", "database app is not paused"),
    (None, "RESUME nothing", "no such database: nothing"), (None, "DISABLE", "a database is required"),
    (None, "ENABLE", "a database is required"), (None, "DISABLE pgbouncer", "cannot disable admin db: pgbouncer"),
    (None, "RECONNECT nothing", "no such database: nothing"), (None, "WAIT_CLOSE pgbouncer", "cannot wait in admin db: pgbouncer")])
def test_orders_that_are_refused(pooler, before, command, text):
    under_test = pooler()
    if before:
        under_test.console(before)
    with pytest.raises(Refused) as refused:
        under_test.console(command)
    assert (refused.value.code, refused.value.text) == ("08P01", text)
    with pytest.raises(Refused) as refused:
        under_test.console(command, user="watcher")
    assert refused.value.text == "admin access needed"


def test_a_disabled_database_takes_no_new_clients_and_keeps_those_it_has(pooler):
    under_test = pooler(worker_threads=4)
    with under_test.peer() as peer:
        assert under_test.console("DISABLE app").tag == "DISABLE"
        assert under_test.refusal().text == 'database "app" is disabled'
        assert peer.value("select 1") == "1" and under_test.show("DATABASES", name="app")[0]["disabled"] == "1"
        assert under_test.console("ENABLE app").tag == "ENABLE"
        under_test.peer().close()


def test_reconnect_replaces_servers_and_wait_close_waits_for_the_last(pooler, cluster, worker_threads):
    under_test = pooler(worker_threads=worker_threads)
    with under_test.peer() as busy, under_test.peer() as other:
        busy.ask(query("begin"))
        pid = busy.value("select pg_backend_pid()")
        idle = other.value("select pg_backend_pid()")
        assert under_test.console("RECONNECT app").tag == "RECONNECT"
        await_that(lambda: not cluster.backends(f"pid = {idle}"), 5, "the idle server is closed")
        order = Order(under_test, "WAIT_CLOSE")
        stays_that(lambda: order.tag is None, 0.3)
        assert busy.value("select pg_backend_pid()") == pid
        busy.ask(query("commit"))
        await_that(lambda: order.tag == "WAIT_CLOSE", 5, "the answer")
        assert busy.value("select pg_backend_pid()") != pid


def test_usr1_and_usr2_pause_and_resume(pooler):
    under_test = pooler()
    with under_test.peer() as peer:
        under_test.signal(signal.SIGUSR1)
        under_test.await_log("got SIGUSR1, pausing all activity")
        peer.send(query("select 1"))
        under_test.await_pool(cl_waiting=1)
        under_test.signal(signal.SIGUSR2)
        under_test.await_log("got SIGUSR2, continuing from PAUSE")
        assert peer.read_until("Z")
        under_test.signal(signal.SIGUSR2)
        under_test.await_log("got SIGUSR2, but not paused/suspended")


def test_a_console_that_leaves_in_its_pause_leaves_nothing(pooler):
    under_test = pooler(worker_threads=4)
    with under_test.peer() as peer:
        peer.ask(query("begin"))
        with Peer(under_test.socket_path) as console:
            console.login("admin", "admin-secret", "pgbouncer")
            console.send(query("PAUSE"))
            await_that(lambda: state(under_test)["paused"] == "yes", 5, "the pause has begun")
        assert peer.ask(query("commit"))
    # Stopped in the middle of a pause: the fixture judges its end.
