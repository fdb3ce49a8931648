"""SUSPEND: nothing is accepted or read until RESUME; answered when all that was to be sent is sent."""

import signal
import socket
import threading

import pytest

from peer import Peer, Refused, Silence, query, types
from pooler import ask_console
from waiting import SLOW, await_that, stays_that


@pytest.fixture
def console_of():
    """A console session that stays open: the pooler is suspended no longer than there is one."""
    opened = []

    def open_console(pooler):
        peer = Peer(pooler.socket_path, timeout=30)
        opened.append(peer)
        peer.login("admin", "admin-secret", "pgbouncer")
        return peer

    yield open_console
    for peer in opened:
        peer.close()


def state(console):
    return {row["key"]: row["value"] for row in ask_console(console, "SHOW STATE").rows}


def test_clients_are_not_read_and_newcomers_not_accepted_until_resume(pooler, console_of, worker_threads):
    under_test = pooler(worker_threads=worker_threads)
    console = console_of(under_test)
    peers = [under_test.peer() for _ in range(6)]
    for peer in peers[:2]:
        peer.ask(query("begin"))
    assert ask_console(console, "SUSPEND").tag == "SUSPEND"
    assert state(console) == {"active": "no", "paused": "no", "suspended": "yes"}
    for peer in peers:
        peer.send(query("select 1"))
    late = under_test.open()
    thread = threading.Thread(target=lambda: late.login("alice", "alice-secret", "app"))
    thread.start()
    stays_that(lambda: all(peer.is_quiet(0.01) for peer in peers) and thread.is_alive(), 0.4)
    assert ask_console(console, "RESUME").tag == "RESUME"
    for peer in peers:
        assert types(peer.read_until("Z")) == "TDCZ"
        peer.close()
    thread.join(10)
    assert late.value("select 1") == "1" and state(console)["active"] == "yes"
    late.close()


def test_what_runs_is_answered(pooler, console_of):
    under_test = pooler(worker_threads=4)
    console = console_of(under_test)
    with under_test.peer() as peer:
        peer.send(query("select pg_sleep(0.5)"))
        under_test.await_pool(sv_active=1)
        assert ask_console(console, "SUSPEND").tag == "SUSPEND"
        assert types(peer.read_until("Z")) == "TDCZ"
        ask_console(console, "RESUME")
        assert peer.value("select 1") == "1"


@pytest.mark.parametrize("timeout", [1, 0])
def test_who_does_not_take_its_answer_is_closed_after_suspend_timeout(pooler, console_of, worker_threads, timeout):
    under_test = pooler(worker_threads=worker_threads, suspend_timeout=timeout, tcp_socket_buffer=8192)
    console = console_of(under_test)
    with under_test.peer() as deaf, under_test.peer() as other:
        deaf.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.send(query("select repeat('x', 100000) from generate_series(1, 500)"))
        await_that(lambda: any(int(row["send_avail"]) > 0 for row in under_test.show("ACTIVE_SOCKETS")), 5)
        console.send(query("SUSPEND"))
        if timeout:
            answers = console.read_until("Z")
            assert types(answers) == "CZ"
            under_test.await_log("closing because: suspend_timeout")
            assert ask_console(console, "RESUME").tag == "RESUME"
        else:
            stays_that(lambda: console.is_quiet(0.05), 0.5)
            with pytest.raises(Silence):  # nobody is let in to see
                Peer(under_test.socket_path, timeout=0.5).login("admin", "admin-secret", "pgbouncer")
            under_test.signal(signal.SIGUSR2)
            under_test.await_log("got SIGUSR2, continuing from SUSPEND")
            assert types(console.read_until("Z")) == "CZ"
        assert other.value("select 1") == "1"


def test_the_end_of_the_last_console_resumes(pooler, console_of):
    under_test = pooler(worker_threads=4)
    console = console_of(under_test)
    with under_test.peer() as peer:
        ask_console(console, "SUSPEND")
        peer.send(query("select 1"))
        assert peer.is_quiet(0.2)
        console.close()
        under_test.await_log("admin disappeared when suspended, doing RESUME")
        assert types(peer.read_until("Z")) == "TDCZ"


@pytest.mark.parametrize("before, command, text", [
    ("SUSPEND", "SUSPEND", "already suspended/paused"), ("SUSPEND", "PAUSE", "already suspended/paused"),
    ("SUSPEND", "KILL", "already suspended/paused"), ("PAUSE", "SUSPEND", "already suspended/paused"),
    ("PAUSE app", "SUSPEND", "cannot suspend with paused databases"), (None, "SUSPEND now", "invalid command 'SUSPEND now', use SHOW HELP;")])
def test_orders_that_are_refused(pooler, console_of, before, command, text):
    under_test = pooler()
    console = console_of(under_test)
    if before:
        ask_console(console, before)
    with pytest.raises(Refused) as refused:
        ask_console(console, command)
    assert (refused.value.code, refused.value.text) == ("08P01", text)
    if before == "SUSPEND":
        ask_console(console, "RESUME")  # a signal to end it would not wait


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_end_ends_a_suspended_pooler_at_once(pooler, console_of, number):
    under_test = pooler()
    ask_console(console_of(under_test), "SUSPEND")
    under_test.signal(number)
    assert under_test.exit_status() == 1
    under_test.checked = True
    under_test.assert_clean()
    assert "FATAL suspend was in progress, going down immediately" in under_test.log()


def test_a_shutdown_lets_all_go_on_first(pooler, console_of):
    under_test = pooler(worker_threads=4)
    console = console_of(under_test)
    peer = under_test.peer()
    ask_console(console, "SUSPEND")
    peer.send(query("select 1"))
    ask_console(console, "SHUTDOWN WAIT_FOR_CLIENTS")
    assert types(peer.read_until("Z")) == "TDCZ"
    peer.close()
    console.close()
    assert under_test.exit_status() == 0


def test_suspend_and_resume_many_times_under_load(pooler, console_of, worker_threads):
    under_test = pooler(worker_threads=worker_threads, default_pool_size=3)
    console, stop = console_of(under_test), threading.Event()
    counts = [0] * 6

    def work(index):
        with under_test.peer() as peer:
            while not stop.is_set():
                assert peer.value(f"select {counts[index]}") == str(counts[index])
                counts[index] += 1

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(counts))]
    for thread in threads:
        thread.start()
    for _ in range(15):
        before = list(counts)
        assert ask_console(console, "SUSPEND").tag == "SUSPEND"
        assert ask_console(console, "RESUME").tag == "RESUME"
        await_that(lambda: all(now > then for now, then in zip(counts, before)), 5, "all go on")
    stop.set()
    for thread in threads:
        thread.join(10 * SLOW)
    assert not any(thread.is_alive() for thread in threads)
