"""Before the login: strangers hold a bounded number of places, and whoever has something to say gets one of them."""

import multiprocessing
import os
import socket
import threading
import time

import pytest

from peer import SSL_REQUEST, Closed, Peer, Refused, startup, tls_context
from waiting import SLOW, await_that

FAST = dict(tcp_defer_accept=0, entry="user=open", max_client_conn=200)


def connect_from(host, address, timeout=10):
    connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    connection.settimeout(timeout)
    connection.bind((host, 0))
    connection.connect(address)
    return connection


def peer_from(host, address):
    peer = Peer(address)
    peer.socket.close()
    peer.socket = connect_from(host, address)
    return peer


def stranger_address(number, addresses):
    number %= addresses
    return f"127.{10 + number // 62500}.{number // 250 % 250}.{1 + number % 250}"


def open_silent(address, numbers, addresses, ready, end):
    """In a process of its own: sockets that say nothing; those that are closed stay so."""
    connections = []
    for number in numbers:
        try:
            connections.append(connect_from(stranger_address(number, addresses), address, 5))
        except OSError:
            pass
    ready.set()
    end.wait()
    os._exit(0)


def keep_nobody_out(under_test, count, processes, addresses):
    """`count` silent sockets from so many addresses: clients log in within a second, and memory does not grow. KiB more."""
    context = multiprocessing.get_context("fork")
    end, crowd = context.Event(), []
    all_log_in(under_test, 1)
    before = under_test.resident_kib()
    for number in range(processes):
        ready = context.Event()
        process = context.Process(target=open_silent, args=(under_test.address, range(number, count, processes), addresses, ready, end))
        process.start()
        crowd.append((process, ready))
    try:
        while not all(ready.is_set() for _, ready in crowd):
            if addresses < 100:  # else nobody can be told from them before he speaks
                all_log_in(under_test, 1, 5.0)
            else:
                crowd[0][1].wait(0.01)
        all_log_in(under_test, 50)
        return under_test.resident_kib() - before
    finally:
        end.set()
        for process, _ in crowd:
            process.join()


def all_log_in(under_test, times, seconds=1.0):
    for _ in range(times):
        start = time.monotonic()
        with under_test.peer() as peer:
            assert peer.value("select 1") == "1"
        assert time.monotonic() - start < seconds * SLOW


@pytest.mark.parametrize("addresses", [20, 100000], ids=["from 20 addresses", "each from its own address"])
def test_silent_sockets_keep_nobody_out(pooler, addresses):
    under_test = pooler(max_login_clients=100, **FAST)
    keep_nobody_out(under_test, 2000, 2, addresses)
    under_test.await_log("too many clients that have not logged in")
    assert under_test.log().count("max_login_clients") < 30  # counted, not one by one


@pytest.mark.full
@pytest.mark.parametrize("addresses", [20, 100000], ids=["from 20 addresses", "each from its own address"])
def test_50000_silent_sockets_keep_nobody_out(pooler, addresses):
    under_test = pooler(**FAST)
    assert keep_nobody_out(under_test, 50000, 5, addresses) < 20 * 1024 * SLOW


test_50000_silent_sockets_keep_nobody_out.seconds = 300


def relay(address, delay):
    """A listening socket behind which `address` is `delay` seconds away, each way."""
    listener = socket.create_server(("127.0.0.1", 0))

    def pump(source, target):
        try:
            while data := source.recv(65536):
                threading.Timer(delay, lambda data=data: target.sendall(data)).start()
            threading.Timer(delay, lambda: target.shutdown(socket.SHUT_WR)).start()
        except OSError:
            pass

    def serve():
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            far = connect_from("127.9.9.9", address)
            for pair in ((near, far), (far, near)):
                threading.Thread(target=pump, args=pair, daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    return listener


def test_a_slow_client_gets_in_among_many_new_sockets(pooler):
    """Test 61: the strangers come from one address, the client is 300 ms away (there and back)."""
    under_test = pooler(max_login_clients=50, **FAST)
    listener = relay(under_test.address, 0.15)
    stop = threading.Event()

    def flood():
        while not stop.is_set():
            try:
                connections = [connect_from("127.8.8.8", under_test.address, 2) for _ in range(100)]
            except OSError:
                continue
            for connection in connections:
                connection.close()

    strangers = [threading.Thread(target=flood) for _ in range(2)]
    for thread in strangers:
        thread.start()
    try:
        peers = [Peer(listener.getsockname(), 20) for _ in range(5)]
        for peer in peers:
            peer.login("alice", "alice-secret", "app")
            assert peer.value("select 1") == "1"
    finally:
        stop.set()
        for thread in strangers:
            thread.join()
        listener.close()


def test_the_oldest_of_the_address_with_most_sockets_makes_room(pooler):
    under_test = pooler(max_login_clients=12, worker_threads=2, **FAST)
    quiet = [connect_from(f"127.1.1.{number + 1}", under_test.address) for number in range(5)]
    many = [connect_from("127.2.2.2", under_test.address) for _ in range(7)]
    with under_test.peer() as peer:
        assert peer.value("select 1") == "1"
    assert await_that(lambda: ended(many[0]), 5)
    assert not any(ended(connection) for connection in quiet + many[5:])


def ended(connection):
    connection.setblocking(False)
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def test_first_byte_timeout(pooler):
    """Silence, or a beginning that leads nowhere, is closed without a line in the log; a login has its own time."""
    under_test = pooler(client_first_byte_timeout=1, client_login_timeout=60, **FAST)
    silent, slow, asks = under_test.open(), under_test.open(), under_test.open()
    slow.send(b"\0")
    asks.send(startup(user="alice", database="app"))
    start = time.monotonic()
    assert silent.read_to_end() == slow.read_to_end() == []
    assert time.monotonic() - start < 3 * SLOW
    assert asks.read().type == "R"
    assert "closing because" not in under_test.log()


def test_connections_of_one_address_are_bounded(pooler):
    under_test = pooler(max_client_conn_per_ip=3, **FAST)
    peers = [under_test.peer() for _ in range(3)]
    refused = under_test.refusal()
    assert (refused.code, "max_client_conn_per_ip" in refused.text) == ("53300", True)
    with peer_from("127.3.3.3", under_test.address) as other:
        other.login("alice", "alice-secret", "app")
        assert other.value("select 1") == "1"
    assert under_test.console("SHOW VERSION")  # the Unix socket is no address
    peers[0].leave()
    await_that(lambda: under_test.peer(), 5)


def test_logins_of_one_address_have_a_rate(pooler):
    under_test = pooler(login_rate_per_ip=5, **FAST)

    def attempts(host, count):
        got_in = 0
        for _ in range(count):
            try:
                with peer_from(host, under_test.address) as peer:
                    peer.login("alice", "alice-secret", "app")
                    got_in += 1
            except (Refused, Closed, OSError):
                pass
        return got_in

    start = time.monotonic()
    got_in = attempts("127.4.4.4", 40)
    assert 5 <= got_in <= 6 + 5 * (time.monotonic() - start)
    assert attempts("127.5.5.5", 1) == 1
    under_test.await_log("login_rate_per_ip")


def test_handshakes_wait_for_their_turn(pooler, certificates):
    under_test = pooler(tls_handshakes_max=1, client_tls_sslmode="require", client_tls_cert_file=certificates.certificate("server"),
                        client_tls_key_file=certificates.key("server"), **FAST)
    stalled = under_test.open()
    stalled.send(SSL_REQUEST)
    assert stalled.read_bytes(1) == b"S"
    start = time.monotonic()
    with under_test.peer(tls=tls_context(certificates.ca)) as peer:  # takes the place of the stalled one after a second
        assert peer.value("select 1") == "1"
        assert time.monotonic() - start > 0.5
    assert await_that(lambda: ended(stalled.socket), 5)
    with under_test.peer(tls=tls_context(certificates.ca), direct=True) as peer:
        assert peer.value("select 1") == "1"


def test_few_descriptors_are_shared_out(pooler, cluster):
    """Where the limit cannot be raised: strangers take an eighth, and servers and clients find theirs."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    under_test = pooler(max_client_conn=5000, max_login_clients=5000, wait=False, tcp_defer_accept=0, entry="user=open")
    under_test.kill()
    import subprocess

    log = open(under_test.log_path, "ab")
    under_test.process = subprocess.Popen(["prlimit", "--nofile=300:300", under_test.binary, under_test.ini_path], stdout=log,
                                          stderr=log, stdin=subprocess.DEVNULL, cwd=under_test.directory)
    log.close()
    under_test.checked = False
    under_test.await_port()
    under_test.await_log("is too low for max_client_conn")
    strangers = [connect_from(stranger_address(number, 1000), under_test.address) for number in range(400)]
    with under_test.peer() as peer:
        assert peer.value("select 1") == "1"
    for stranger in strangers:
        stranger.close()
