"""Cancel requests find their process in a fleet: [peers], peer_id, so_reuseport."""

import contextlib
import socket
import threading

import pytest

from peer import PROTOCOL_3_2, cancel_request, query, tls_context
from waiting import await_that, free_port

SLEEP = query("select pg_sleep(30)")


def codes(messages):
    return [message.fields["C"] for message in messages if message.type == "E"]


def ask_to_cancel(under_test, process, key, tls=None):
    """Through this process; waits until it has closed, without having said anything."""
    with under_test.open() as other:
        if tls:
            other.start_tls(tls)
        other.send(cancel_request(process, key))
        assert other.read_to_end() == []


@contextlib.contextmanager
def running(under_test, cluster, version=0x00030000, tls=None):
    """A client whose query runs."""
    with under_test.peer(version=version, tls=tls, timeout=40) as peer:
        pid = peer.value("select pg_backend_pid()")
        peer.send(SLEEP)
        await_that(lambda: cluster.run(f"select state from pg_stat_activity where pid = {pid} and query like '%pg_sleep%'") ==
                   [("active",)], 5)
        yield peer
        cluster.run(f"select pg_cancel_backend({pid})")


class Fleet:
    """Three processes; `one_port`: they share a port and know each other by their Unix sockets."""

    def __init__(self, pooler, one_port=False, **options):
        ports = [free_port()] * 3 if one_port else [free_port() for _ in range(3)]
        self.members = []
        for number, port in enumerate(ports, 1):
            self.members.append(pooler(listen_port=port, peer_id=number, so_reuseport=int(one_port), **options))
        for member in self.members:
            member.peers = {number: f"host={other.directory if one_port else '127.0.0.1'} port={other.port}"
                            for number, other in enumerate(self.members, 1)}
            reload(member)

    def __getitem__(self, number):
        return self.members[number - 1]


def reload(member):
    member.write()
    member.console("RELOAD")


def node_of(peer):
    key = peer.process.to_bytes(4, "big") + peer.key
    return key[1] | key[2] << 8


@pytest.mark.parametrize("version", [0x00030000, PROTOCOL_3_2], ids=["3.0", "3.2"])
def test_a_cancel_finds_its_process_whoever_gets_it(pooler, cluster, version):
    fleet = Fleet(pooler)
    for through in (1, 2, 3):
        with running(fleet[2], cluster, version) as peer, running(fleet[1], cluster) as other:
            assert (node_of(peer), node_of(other)) == (2, 1) and peer.key[3] & 3 == 3
            ask_to_cancel(fleet[through], peer.process, peer.key)
            assert codes(peer.read_until("Z")) == ["57014"]
            assert other.is_quiet()
            assert peer.value("select 'alive'") == "alive"


def test_a_client_of_a_fleet_on_one_port_can_cancel(pooler, cluster):
    """The kernel chooses who gets the cancel request."""
    fleet = Fleet(pooler, one_port=True)
    nodes = set()
    for _ in range(40):
        with fleet[1].peer() as probe:
            nodes.add(node_of(probe))
    assert nodes == {1, 2, 3}
    for _ in range(6):
        with running(fleet[1], cluster) as peer:
            ask_to_cancel(fleet[1], peer.process, peer.key)
            assert codes(peer.read_until("Z")) == ["57014"]


class Listening:
    """A peer of our own, which notes what it is sent."""

    def __init__(self, answers=b""):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.answers, self.got, self.connections = answers, [], []
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                connection = self.socket.accept()[0]
            except OSError:
                return
            self.connections.append(connection)
            threading.Thread(target=self.take, args=(connection,), daemon=True).start()

    def take(self, connection):
        if self.answers:
            self.got.append(connection.recv(8))
            connection.sendall(self.answers)
        self.got.append(connection.recv(100))

    def end(self, number=0):
        self.connections[number].close()

    def close(self):
        self.socket.close()
        for connection in self.connections:
            connection.close()


@pytest.fixture
def listening():
    with contextlib.closing(Listening()) as it:
        yield it


def key_for(node, ttl, worker=0):
    """Process id and secret."""
    return int.from_bytes(bytes((worker, node & 255, node >> 8, 7)), "big"), bytes((1, 2, 3, 0x50 | ttl))


@pytest.mark.parametrize("ttl", [1, 2, 3])
def test_each_that_passes_it_on_takes_one_from_its_count(pooler, listening, ttl):
    under_test = pooler(peer_id=1, peers={300: f"host=127.0.0.1 port={listening.port}"})
    with under_test.open() as other:
        process, key = key_for(300, ttl)
        other.send(cancel_request(process, key))
        await_that(lambda: listening.got, 5)
        assert listening.got == [cancel_request(*key_for(300, ttl - 1))]
        assert other.is_quiet(), "it is held until the peer has ended it"
        rows = under_test.show("PEER_POOLS")
        assert rows == [{"peer_id": "300", "cl_active_cancel_req": "1", "cl_waiting_cancel_req": "0", "sv_active_cancel": "1",
                         "sv_login": "0"}]
        listening.end()
        assert other.read_to_end() == []
    await_that(lambda: under_test.show("PEER_POOLS")[0]["sv_active_cancel"] == "0", 5)
    assert "successfully sent cancel request" in under_test.log()


def test_it_is_dropped_where_it_was_passed_on_too_often_or_nobody_is_known(pooler, listening):
    under_test = pooler(peer_id=1, peers={2: f"host=127.0.0.1 port={listening.port}"})
    for node, ttl in ((2, 0), (3, 3), (0, 3), (65535, 3)):
        ask_to_cancel(under_test, *key_for(node, ttl))
    assert listening.got == []


def test_without_a_number_of_its_own_nothing_is_passed_on(pooler, listening):
    under_test = pooler(peers={2: f"host=127.0.0.1 port={listening.port}"})
    ask_to_cancel(under_test, *key_for(2, 3))
    assert listening.got == []


def test_a_peer_that_is_down_or_silent_holds_nobody_for_long(pooler, listening):
    dead = free_port()
    under_test = pooler(peer_id=1, cancel_wait_timeout=1,
                        peers={2: f"host=127.0.0.1 port={dead}", 3: f"host=127.0.0.1 port={listening.port}", 4: "host=/nowhere"})
    for node in (2, 3, 4):
        ask_to_cancel(under_test, *key_for(node, 3))
    await_that(lambda: all(row["sv_active_cancel"] == row["sv_login"] == row["cl_waiting_cancel_req"] == "0"
                           for row in under_test.show("PEER_POOLS")), 5)


def test_connections_to_a_peer_are_bounded_by_its_pool_size(pooler, listening):
    under_test = pooler(peer_id=1, worker_threads=1, peers={2: f"host=localhost port={listening.port} pool_size=2"})
    peers = [under_test.open() for _ in range(4)]
    for peer in peers:
        peer.send(cancel_request(*key_for(2, 3)))
    await_that(lambda: under_test.show("PEER_POOLS")[0] == {
        "peer_id": "2", "cl_active_cancel_req": "2", "cl_waiting_cancel_req": "2", "sv_active_cancel": "2", "sv_login": "0"}, 5)
    await_that(lambda: len(listening.got) == 2, 5)
    for number in range(4):
        await_that(lambda: len(listening.got) > number, 5)
        listening.end(number)
    for peer in peers:
        assert peer.read_to_end() == []
        peer.close()


def test_peers_that_have_tls_are_asked_by_tls(pooler, cluster, certificates):
    fleet = Fleet(pooler, client_tls_sslmode="require", client_tls_cert_file=certificates.certificate("server"),
                  client_tls_key_file=certificates.key("server"), client_cancel_tls="require")
    with running(fleet[3], cluster, tls=tls_context(certificates.ca)) as peer:
        ask_to_cancel(fleet[1], peer.process, peer.key, tls_context(certificates.ca))
        assert codes(peer.read_until("Z")) == ["57014"]


def test_peers_are_shown_and_change_with_a_reload(pooler):
    under_test = pooler(peer_id=1, peers={1: "host=127.0.0.1", 20: "host=/run/other port=1234 pool_size=7", 3: "host=a,b"},
                        default_pool_size=5)
    assert under_test.show("PEERS") == [
        {"peer_id": "1", "host": "127.0.0.1", "port": "6432", "pool_size": "5"},
        {"peer_id": "3", "host": "a,b", "port": "6432", "pool_size": "5"},
        {"peer_id": "20", "host": "/run/other", "port": "1234", "pool_size": "7"}]
    assert [row["peer_id"] for row in under_test.show("PEER_POOLS")] == ["3", "20"]
    assert under_test.show("LISTS", list="peers")[0]["items"] == "3"
    under_test.peers = {3: "host=c"}
    reload(under_test)
    assert under_test.show("PEERS") == [{"peer_id": "3", "host": "c", "port": "6432", "pool_size": "5"}]
    under_test.await_log("dropping peer 20 as it does not exist anymore")
