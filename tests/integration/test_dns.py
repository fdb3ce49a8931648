"""Names of servers: how long they hold, what becomes of connections to an address that a name has lost, and zones.

The daemon runs in a mount namespace with a resolv.conf and a name server of the test's own; that needs root."""

import os
import shutil
import socket
import struct
import subprocess
import threading

import pytest

from waiting import await_that, stays_that

A, SOA = 1, 6
SERVER = "127.0.83.7"
NAME = "db.weir.test"


def is_possible():
    if os.getuid() != 0 or not shutil.which("unshare"):
        return False
    if subprocess.run(["unshare", "-m", "mount", "--bind", "/etc/resolv.conf", "/etc/resolv.conf"], capture_output=True).returncode:
        return False
    try:
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM).bind((SERVER, 53))
    except OSError:
        return False
    return True


pytestmark = pytest.mark.skipif(not is_possible(), reason="needs root, mount namespaces and port 53 of an address of its own")


class NameServer:
    """Answers A for every name with `addresses`, SOA for weir.test with `serial`, and counts the questions for each."""

    def __init__(self):
        self.addresses, self.serial, self.asked = ["127.0.0.1"], 10, {A: 0, SOA: 0}
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((SERVER, 53))
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def records(self, kind, name):
        if kind == A:
            return [socket.inet_aton(address) for address in self.addresses]
        if kind == SOA and name == b"\4weir\4test\0":
            return [b"\xc0\x0c\xc0\x0c" + struct.pack(">5I", self.serial, 60, 60, 60, 60)]
        return []

    def serve(self):
        while True:
            packet, peer = self.socket.recvfrom(4096)
            if len(packet) < 17:
                return  # stop()
            end = packet.index(b"\0", 12) + 1
            kind = struct.unpack(">H", packet[end:end + 2])[0]
            if kind in self.asked:
                self.asked[kind] += 1
            records = self.records(kind, packet[12:end])
            answer = packet[:2] + struct.pack(">HHHHH", 0x8180, 1, len(records), 0, 0) + packet[12:end + 4]
            for data in records:
                answer += b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 0, len(data)) + data
            self.socket.sendto(answer, peer)

    def stop(self):
        self.socket.sendto(b"", (SERVER, 53))
        self.thread.join()
        self.socket.close()


@pytest.fixture
def names():
    server = NameServer()
    yield server
    server.stop()


@pytest.fixture
def named(pooler, cluster, names):
    """Starts a daemon whose database is at NAME."""
    def start(host=NAME, **options):
        under_test = pooler(databases={"app": f"host={host} port={cluster.port} dbname=app"}, **options)
        under_test.stop()
        resolv = os.path.join(under_test.directory, "resolv.conf")
        switch = os.path.join(under_test.directory, "nsswitch.conf")
        under_test.write_file(resolv, f"nameserver {SERVER}\noptions timeout:1 attempts:2\n")
        under_test.write_file(switch, "hosts: files dns\npasswd: files\ngroup: files\n")
        script = f'mount --bind {resolv} /etc/resolv.conf && mount --bind {switch} /etc/nsswitch.conf && exec "$@"'
        under_test.launcher = ["unshare", "-m", "sh", "-c", script, "sh"]
        under_test.start()
        return under_test
    return start


def addresses(under_test):
    return sorted(row["addr"] for row in under_test.show("SERVERS"))


def test_an_answer_holds_as_long_as_dns_max_ttl_says(named, names):
    under_test = named(dns_max_ttl=100, default_pool_size=3)
    peers = [under_test.peer() for _ in range(3)]
    for peer in peers:
        peer.ask(b"Q\0\0\0\x0abegin\0")
    assert names.asked[A] == 1
    row = under_test.show("DNS_HOSTS")[0]
    assert row["hostname"] == NAME and 0 < int(row["ttl"]) <= 100 and row["addrs"] == "127.0.0.1:0"
    assert next(row["items"] for row in under_test.show("LISTS") if row["list"] == "dns_names") == "1"


def test_servers_on_an_address_that_the_name_has_lost_are_recycled(named, names):
    """A failover by DNS: who is idle goes at once, who is in a transaction goes behind it."""
    under_test = named(dns_max_ttl=0, default_pool_size=3, worker_threads=4)
    idle, busy = under_test.peer(), under_test.peer()
    busy.ask(b"Q\0\0\0\x0abegin\0")
    pid = busy.value("select pg_backend_pid()")
    assert idle.value("select 1") == "1"
    assert addresses(under_test) == ["127.0.0.1", "127.0.0.1"]
    names.addresses = ["127.0.0.2"]
    other = under_test.peer()
    other.ask(b"Q\0\0\0\x0abegin\0")
    third = under_test.peer()
    third.ask(b"Q\0\0\0\x0abegin\0")  # a new server, and so a new look-up
    await_that(lambda: [row["addr"] for row in under_test.show("SERVERS") if row["close_needed"] == "0"] == ["127.0.0.2"], 10,
               "the others are on their way out")
    assert busy.value("select pg_backend_pid()") == pid
    for peer in (busy, other):
        peer.ask(b"Q\0\0\0\x0bcommit\0")
    await_that(lambda: set(addresses(under_test)) == {"127.0.0.2"}, 10, "all are on the new address")
    under_test.await_log("db.weir.test does not lead to this address any more")


def test_an_address_that_stays_keeps_its_servers(named, names):
    under_test = named(dns_max_ttl=0, default_pool_size=2)
    peers = [under_test.peer() for _ in range(2)]
    peers[0].ask(b"Q\0\0\0\x0abegin\0")
    pid = peers[0].value("select pg_backend_pid()")
    names.addresses = ["127.0.0.1", "127.0.0.2"]
    peers[1].ask(b"Q\0\0\0\x0abegin\0")
    peers[0].ask(b"Q\0\0\0\x0bcommit\0")
    stays_that(lambda: all(row["close_needed"] == "0" for row in under_test.show("SERVERS")) and len(addresses(under_test)) == 2, 2.5)
    assert peers[0].value("select pg_backend_pid()") == pid


def test_a_zone_with_a_new_serial_number_is_looked_up_again(named, names):
    under_test = named(dns_max_ttl=1000, dns_zone_check_period="0.3")
    with under_test.peer() as peer:
        assert peer.value("select 1") == "1"
        await_that(lambda: [dict(row) for row in under_test.show("DNS_ZONES")] == [{"zonename": "weir.test", "serial": "10", "count": "1"}],
                   10, "the zone is known")
        assert names.asked[A] == 1
        names.addresses = ["127.0.0.2"]
        seen = names.asked[SOA]
        await_that(lambda: names.asked[SOA] >= seen + 2, 10, "the same number again")
        assert names.asked[A] == 1
        names.serial = 11
        await_that(lambda: addresses(under_test) == [], 10, "the idle server on the old address is closed")
        assert names.asked[A] == 2 and peer.value("select 1") == "1" and addresses(under_test) == ["127.0.0.2"]
    under_test.await_log("zone weir.test has a new serial number 11")


def test_a_failed_lookup_holds_dns_nxdomain_ttl(named, names):
    names.addresses = []
    under_test = named(dns_nxdomain_ttl=1000, client_login_timeout=1, server_login_retry="0.2")
    refused = under_test.refusal()
    assert "client_login_timeout" in refused.text, refused.text
    asked = names.asked[A]
    assert asked >= 1
    names.addresses = ["127.0.0.1"]
    under_test.refusal()
    assert names.asked[A] == asked
