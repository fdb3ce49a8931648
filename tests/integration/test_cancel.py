"""Cancel requests reach exactly the query of the client that asked, or nobody."""

import re
import socket
import threading
import time
import urllib.request

import psycopg
import pytest

from peer import PROTOCOL_3_2, SSL_REQUEST, SYNC, Peer, bind, cancel_request, execute, parse, query, tls_context
from waiting import SLOW, await_that, free_port

SLEEP = query("select pg_sleep(30)")


def cancel(pooler, peer, process=None, key=None):
    """Sends the request and waits until the pooler has closed, without having said anything."""
    with pooler.open() as other:
        other.send(cancel_request(peer.process if process is None else process, peer.key if key is None else key))
        assert other.read_to_end() == []


def running(cluster, count, text="pg_sleep(30)"):
    """Waits until so many queries with this text run."""
    await_that(lambda: cluster.run(f"select count(*) from pg_stat_activity where state = 'active' and query like '%{text}%' "
                                   "and usename <> 'postgres'")[0][0] == count, 5, f"{count} queries run")


def codes(messages):
    return [message.fields["C"] for message in messages if message.type == "E"]


def stop_all(cluster):
    cluster.run("select pg_cancel_backend(pid) from pg_stat_activity where query like '%pg_sleep(30)%' and pid <> pg_backend_pid()")


@pytest.mark.parametrize("version", [0x00030000, PROTOCOL_3_2], ids=["3.0", "3.2"])
def test_only_the_query_of_who_asked_is_cancelled(pooler, cluster, worker_threads, version):
    under_test = pooler(default_pool_size=8, worker_threads=worker_threads)
    peers = [under_test.peer(version=version) for _ in range(8)]
    for peer in peers:
        peer.send(SLEEP)
    running(cluster, 8)
    cancel(under_test, peers[3])
    assert codes(peers[3].read_until("Z", timeout=5 * SLOW)) == ["57014"]
    running(cluster, 7)
    assert peers[3].value("select 'alive'") == "alive"
    stop_all(cluster)


def test_a_wrong_key_cancels_nothing(pooler, cluster):
    under_test = pooler()
    peer = under_test.peer()
    peer.send(SLEEP)
    running(cluster, 1)
    flipped = bytes((peer.key[0] ^ 1,)) + peer.key[1:]
    for process, key in ((peer.process, flipped), (peer.process, b"\0\0\0\0"), (peer.process ^ 1, peer.key), (0, peer.key),
                         (peer.process, peer.key[:-1]), (peer.process, peer.key + b"\0"), (peer.process, b"")):
        cancel(under_test, peer, process, key)
    running(cluster, 1)
    stop_all(cluster)
    assert codes(peer.read_until("Z")) == ["57014"]


def test_a_cancel_of_an_idle_client_does_nothing(pooler):
    under_test = pooler(default_pool_size=1)
    one, two = under_test.peer(), under_test.peer()
    assert one.value("select 1") == "1"
    two.send(query("select pg_sleep(0.3), 'undisturbed'"))
    under_test.await_pool(sv_active=1)
    cancel(under_test, one)
    assert codes(two.read_until("Z")) == []
    assert one.value("select 1") == "1"


def test_a_late_cancel_hits_nobody(pooler, worker_threads):
    """One server; a client's cancel races with the end of its query, and the server's next client is another."""
    under_test = pooler(default_pool_size=1, worker_threads=worker_threads)
    one, two = under_test.peer(), under_test.peer()
    stop, wrong = threading.Event(), []

    def innocent():
        while not stop.is_set():
            errors = codes(two.ask(query("select pg_sleep(0.002)")))
            wrong.extend(errors)

    thread = threading.Thread(target=innocent)
    thread.start()
    for number in range(60):
        one.send(query(f"select pg_sleep({number % 6 * 0.001})"))
        cancel(under_test, one)
        assert codes(one.read_until("Z")) in ([], ["57014"])
    stop.set()
    thread.join()
    assert wrong == []


def test_a_waiting_client_can_be_cancelled(pooler, worker_threads):
    under_test = pooler(default_pool_size=1, worker_threads=worker_threads)
    first, waiting = under_test.peer(), under_test.peer()
    first.ask(query("begin"))
    waiting.send(query("select 'never'"))
    under_test.await_pool(cl_waiting=1)
    start = time.monotonic()
    cancel(under_test, waiting)
    messages = waiting.read_until("Z")
    assert codes(messages) == ["57014"] and messages[-1].body == b"I"
    assert time.monotonic() - start < 1 * SLOW
    under_test.await_pool(1, cl_waiting=0)
    first.ask(query("commit"))
    assert waiting.value("select 'now'") == "now"


def sleeps_behind_our_parse(under_test, peer, cluster):
    """A statement that the client has prepared runs on a server that did not have it: PostgreSQL keeps the answer to the
    pooler's own Parse back until the statement has something to say."""
    peer.ask(parse("select pg_sleep(30)", "long") + SYNC)
    under_test.console("RECONNECT")
    assert peer.value("select 1") == "1"
    peer.send(bind(statement="long") + execute() + SYNC)
    running(cluster, 1)


def test_a_cancel_strikes_a_statement_behind_our_own_parse(pooler, cluster):
    under_test = pooler(default_pool_size=1)
    with under_test.peer() as peer:
        sleeps_behind_our_parse(under_test, peer, cluster)
        cancel(under_test, peer)
        assert codes(peer.read_until("Z", timeout=5 * SLOW)) == ["57014"]
        assert peer.value("select 'alive'") == "alive"


def test_who_leaves_a_statement_behind_our_own_parse_leaves_nothing_that_runs(pooler, cluster):
    under_test = pooler(default_pool_size=1)
    with under_test.peer() as peer:
        sleeps_behind_our_parse(under_test, peer, cluster)
        backend = cluster.run("select pid from pg_stat_activity where query like '%pg_sleep(30)%' and state = 'active' "
                              "and pid <> pg_backend_pid()")
    running(cluster, 0)
    assert [(int(under_test.peer().value("select pg_backend_pid()")),)] == [tuple(row) for row in backend]


def test_drivers_cancel(pooler, cluster):
    under_test = pooler()
    with under_test.connect() as connection:
        timer = threading.Timer(0.3, connection.cancel)
        timer.start()
        with pytest.raises(psycopg.errors.QueryCanceled):
            connection.execute("select pg_sleep(30)")
        assert connection.execute("select 1").fetchone() == (1,)


def test_cancel_inside_tls(pooler, cluster, certificates):
    under_test = pooler(client_tls_sslmode="require", client_tls_cert_file=certificates.certificate("server"),
                        client_tls_key_file=certificates.key("server"), server_tls_sslmode="require")
    peer = under_test.peer(tls=tls_context(certificates.ca))
    peer.send(SLEEP)
    running(cluster, 1)
    with under_test.open() as other:
        other.start_tls(tls_context(certificates.ca))
        other.send(cancel_request(peer.process, peer.key))
        assert other.read_to_end() == []
    assert codes(peer.read_until("Z", timeout=5 * SLOW)) == ["57014"]


class Relay:
    """Stands between the pooler and PostgreSQL and keeps the first bytes of each connection."""

    def __init__(self, port):
        self.target, self.port, self.first = port, free_port(), []
        self.listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self.target))
            record = bytearray()
            self.first.append(record)
            threading.Thread(target=self.pump, args=(client, server, record), daemon=True).start()
            threading.Thread(target=self.pump, args=(server, client, None), daemon=True).start()

    def pump(self, source, target, record):
        try:
            while data := source.recv(65536):
                if record is not None and len(record) < 64:
                    record += data
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def close(self):
        self.listener.close()


@pytest.mark.parametrize("mode, first", [("require", SSL_REQUEST), ("disable", b"\0\0\0\x10\x04\xd2\x16\x2e")])
def test_cancel_goes_to_the_server_as_the_query_went(pooler, cluster, mode, first):
    """Inside TLS when the server's connection is: the key is a secret."""
    relay = Relay(cluster.port)
    under_test = pooler(databases={"app": f"host=127.0.0.1 port={relay.port} dbname=app"}, server_tls_sslmode=mode)
    with under_test.peer() as peer:
        peer.send(SLEEP)
        running(cluster, 1)
        before = len(relay.first)
        cancel(under_test, peer)
        assert codes(peer.read_until("Z", timeout=5 * SLOW)) == ["57014"]
        await_that(lambda: len(relay.first) > before, 10, "the cancel's connection")
        assert [bytes(record[:8]) for record in relay.first[before:]] == [first]
    relay.close()


def test_cancel_over_a_unix_socket(pooler, cluster):
    under_test = pooler()
    with psycopg.connect(host=under_test.directory, port=under_test.port, user="alice", password="alice-secret", dbname="app",
                         autocommit=True) as connection:
        timer = threading.Timer(0.3, connection.cancel)
        timer.start()
        with pytest.raises(psycopg.errors.QueryCanceled):
            connection.execute("select pg_sleep(30)")


def test_hundreds_of_cancels_with_random_keys(pooler, cluster):
    """They cost nothing and hit nobody."""
    under_test = pooler(worker_threads=4)
    peer = under_test.peer()
    peer.send(query("select pg_sleep(1.5), 'whole'"))
    for number in range(300):
        with under_test.open() as other:
            other.send(cancel_request(number * 7919, (number * 104729).to_bytes(4, "big")))
    assert codes(peer.read_until("Z")) == []
    assert under_test.peer().value("select 1") == "1"


def test_who_guesses_keys_is_not_heard_any_more(pooler, cluster):
    under_test = pooler(http_port=free_port(), worker_threads=2)
    with under_test.peer() as peer:
        peer.send(SLEEP)
        running(cluster, 1)
        start = len(under_test.log())
        for number in range(40):
            cancel(under_test, peer, key=number.to_bytes(4, "big"))
        cancel(under_test, peer)  # the right key, from an address that has missed too often
        running(cluster, 1)
        assert "cancel" not in under_test.log()[start:]
        with Peer(under_test.socket_path) as local:
            local.send(cancel_request(peer.process, peer.key))
            assert local.read_to_end() == []
        assert codes(peer.read_until("Z")) == ["57014"]
        peer.send(SLEEP)

        def obeyed():
            cancel(under_test, peer)
            return not peer.is_quiet(0.2)

        await_that(obeyed, 5, "a second later it is heard again")
        assert codes(peer.read_until("Z")) == ["57014"]
    page = urllib.request.urlopen(f"http://127.0.0.1:{under_test.options['http_port']}/metrics", timeout=5).read().decode()
    counted = dict(re.findall(r'pgweir_cancels_refused_total\{cause="(\w+)"\} (\d+)', page))
    assert int(counted["missed"]) >= 20 and int(counted["dropped"]) >= 1


def test_keys_that_are_right_never_count(pooler, cluster):
    under_test = pooler()
    with under_test.peer() as peer:
        for _ in range(60):
            cancel(under_test, peer)  # nothing runs
        peer.send(SLEEP)
        running(cluster, 1)
        cancel(under_test, peer)
        assert codes(peer.read_until("Z")) == ["57014"]


def test_cancels_may_be_asked_to_come_over_tls(pooler, cluster, certificates):
    under_test = pooler(client_cancel_tls="require", client_tls_sslmode="allow",
                        client_tls_cert_file=certificates.certificate("server"), client_tls_key_file=certificates.key("server"))
    with under_test.peer() as peer:
        peer.send(SLEEP)
        running(cluster, 1)
        cancel(under_test, peer)
        assert peer.is_quiet(0.3)
        with under_test.open() as other:
            other.start_tls(tls_context(certificates.ca))
            other.send(cancel_request(peer.process, peer.key))
            assert other.read_to_end() == []
        assert codes(peer.read_until("Z")) == ["57014"]
