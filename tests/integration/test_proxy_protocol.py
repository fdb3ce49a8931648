"""PROXY protocol on listeners that say so: the real address in everything that asks for one, and who is not believed. Headers as
raw bytes, and by HAProxy where that is installed."""

import contextlib
import os
import shutil
import socket
import struct
import subprocess
import threading

import pytest

from peer import SSL_REQUEST, Peer, Refused, cancel_request, query, startup, tls_context
from pooler import run_binary
from test_tls import client_side
from waiting import SLOW, accepts, await_that, free_port

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
HAPROXY = shutil.which("haproxy")


def v1(source="192.0.2.7", port=5001, family="TCP4", destination="192.0.2.1"):
    return f"PROXY {family} {source} {destination} {port} 5432\r\n".encode()


def v2(source="192.0.2.7", port=5001, tlvs=b"", command=0x21, family=socket.AF_INET):
    size = {socket.AF_INET: 4, socket.AF_INET6: 16}[family]
    body = socket.inet_pton(family, source) + bytes(size) + struct.pack(">HH", port, 5432) + tlvs
    return SIGNATURE + bytes([command, 0x11 if family == socket.AF_INET else 0x21]) + struct.pack(">H", len(body)) + body


def local(tlvs=b""):
    return SIGNATURE + b"\x20\0" + struct.pack(">H", len(tlvs)) + tlvs


@contextlib.contextmanager
def proxied(pooler, header, user="alice", database="app", login=True, tls=None, **parameters):
    """A connection by a proxy that says this header."""
    with Peer(("127.0.0.1", pooler.proxy_port)) as peer:
        peer.send(header)
        if tls:
            peer.start_tls(tls)
        if login:
            peer.login(user, user + "-secret", database, **parameters)
        yield peer


def refusal(pooler, header, **options):
    with pytest.raises(Refused) as refused:
        with proxied(pooler, header, **options):
            pass
    return refused.value


@pytest.fixture
def balanced(pooler):
    """A pooler with a listener on `proxy_port` that believes this machine."""

    def start(trusted="127.0.0.1", line="", **options):
        port = free_port()
        under_test = pooler(proxy_trusted=trusted, listeners={"balanced": f"port={port} proxy_protocol=yes {line}"}, **options)
        under_test.proxy_port = port
        return under_test

    return start


def addresses(pooler):
    return [(row["addr"], row["port"]) for row in pooler.show("CLIENTS", database="app")]


# Where it comes from.


@pytest.mark.parametrize("header, address", [
    (v1(), ("192.0.2.7", "5001")), (v2(), ("192.0.2.7", "5001")),
    (v1("2001:db8::7", family="TCP6", destination="::1"), ("2001:db8::7", "5001")),
    (v2("2001:db8::7", family=socket.AF_INET6), ("2001:db8::7", "5001")),
    (v2("::ffff:192.0.2.9", family=socket.AF_INET6), ("192.0.2.9", "5001")),
    (v2(tlvs=b"\x04\0\x03abc" + b"\x02\0\x09localhost" + b"\xee\0\0"), ("192.0.2.7", "5001")),
    (v2(tlvs=bytes(508)), ("192.0.2.7", "5001")),
])
def test_the_real_address_is_shown_and_logged(balanced, worker_threads, header, address):
    under_test = balanced(worker_threads=worker_threads, application_name_add_host=1)
    with proxied(under_test, header, application_name="mine") as peer:
        assert addresses(under_test) == [address]
        written = f"[{address[0]}]:{address[1]}" if ":" in address[0] else ":".join(address)
        assert peer.value("show application_name") == f"mine - {written}"
        under_test.await_log(r"C-0x\w+: \(nodb\)/alice@" + written.replace("[", r"\[").replace(".", r"\.") + " login attempt")


def test_a_header_that_comes_in_pieces(balanced):
    under_test = balanced()
    for header in (v1(), v2()):
        with Peer(("127.0.0.1", under_test.proxy_port)) as peer:
            for byte in header + startup(user="alice", database="app"):
                peer.send(bytes([byte]))
            assert peer.read().type == "R"


def test_a_header_and_the_login_in_one_write(balanced):
    under_test = balanced()
    with Peer(("127.0.0.1", under_test.proxy_port)) as peer:
        peer.send(v2() + startup(user="alice", database="app"))
        assert peer.read().type == "R"


def test_tls_comes_behind_the_header(balanced, certificates):
    under_test = balanced(**client_side(certificates, "require"))
    for direct in (False, True):
        with Peer(("127.0.0.1", under_test.proxy_port)) as peer:
            peer.send(v2())
            peer.start_tls(tls_context(certificates.ca, alpn=["postgresql"] if direct else None), direct)
            peer.login("alice", "alice-secret", "app")
            assert addresses(under_test) == [("192.0.2.7", "5001")]
    with Peer(("127.0.0.1", under_test.proxy_port)) as peer:  # and not before it
        peer.send(SSL_REQUEST)
        assert peer.read_to_end() == []


def test_rules_know_the_real_address(balanced, tmp_path):
    rules = os.path.join(tmp_path, "hba.conf")
    os.chmod(tmp_path, 0o755)
    with open(rules, "w") as file:
        file.write("local all all scram-sha-256\nhost all all 127.0.0.0/8 trust\nhost all all samehost trust\n"
                   "host all alice 192.0.2.7/32 scram-sha-256\nhost all bob 198.51.100.0/24 scram-sha-256\n")
    os.chmod(rules, 0o644)
    under_test = balanced(auth_type="hba", auth_hba_file=rules)
    with under_test.peer("alice", secret="wrong"):  # trusted, as the file says
        pass
    with proxied(under_test, v2()) as peer:
        assert peer.value("select 1") == "1" and 10 in peer.authentication
    with proxied(under_test, v2("198.51.100.3"), "bob") as peer:
        assert peer.value("select 1") == "1"
    for header, user in ((v2("198.51.100.3"), "alice"), (v2("127.0.0.1"), "alice"), (v1("127.0.0.1"), "alice"),
                         (v2("::1", family=socket.AF_INET6), "alice"), (v2("::ffff:127.0.0.1", family=socket.AF_INET6), "alice")):
        refused = refusal(under_test, header, user=user)
        assert (refused.code, refused.text) == ("28000", "no authentication method is found")


def test_limits_count_the_real_address(balanced):
    under_test = balanced(max_client_conn_per_ip=2)
    with contextlib.ExitStack() as stack:
        for number in range(8):  # all of them from the proxy's address
            stack.enter_context(proxied(under_test, v2(f"192.0.2.{number + 1}")))
        stack.enter_context(proxied(under_test, v2("192.0.2.1")))
        refused = refusal(under_test, v2("192.0.2.1"))
        assert (refused.code, refused.text) == ("53300", "too many connections from this address (max_client_conn_per_ip)")
        stack.enter_context(proxied(under_test, v2("192.0.2.2")))
    await_that(lambda: not addresses(under_test), 5)
    with proxied(under_test, v2("192.0.2.1")):
        pass


def test_the_rate_counts_the_real_address(balanced):
    under_test = balanced(login_rate_per_ip=2)
    seen = []
    for _ in range(6):
        try:
            with proxied(under_test, v2("192.0.2.1")):
                seen.append("in")
        except Refused as refused:
            assert refused.text == "too many new connections from this address (login_rate_per_ip)"
            seen.append("refused")
    assert "refused" in seen
    for number in range(10, 16):
        with proxied(under_test, v2(f"192.0.2.{number}")):
            pass


def test_a_cancel_by_the_proxy(balanced):
    under_test = balanced()
    with proxied(under_test, v2()) as peer:
        peer.send(query("select pg_sleep(60)"))
        under_test.await_pool(sv_active=1)
        with proxied(under_test, v2(), login=False) as canceller:
            canceller.send(cancel_request(peer.process, peer.key))
            assert canceller.read_to_end() == []
        assert [answer.fields["C"] for answer in peer.read_until() if answer.type == "E"] == ["57014"]


# Who is not believed.


@pytest.mark.parametrize("trusted", ["", "192.0.2.0/24", "127.0.0.2"])
def test_only_trusted_addresses_come_in(balanced, trusted):
    under_test = balanced(trusted)
    for first in (v2() + startup(user="alice", database="app"), startup(user="alice", database="app")):
        with Peer(("127.0.0.1", under_test.proxy_port)) as peer:
            peer.send(first)
            assert peer.read_to_end() == []
    under_test.await_log("from an address that is not in proxy_trusted: closed")
    if not trusted:
        assert "balanced: proxy_protocol lets nobody in: proxy_trusted is empty" in under_test.log()


@pytest.mark.parametrize("trusted", ["127.0.0.0/8", "10.0.0.0/8, 127.0.0.1"])
def test_trusted_networks(balanced, trusted):
    with proxied(balanced(trusted), v2()) as peer:
        assert peer.value("select 1") == "1"


@pytest.mark.parametrize("first", [
    startup(user="alice", database="app"), SSL_REQUEST, b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\0\x05hello",
    b"PROXY TCP4 192.0.2.7 192.0.2.1 5001\r\n", b"PROXY TCP4 1.2.3 1.2.3.4 1 2\r\n", b"PROXY " + b"1" * 200,
    SIGNATURE + b"\x21\x11\xff\xff" + bytes(100), v2(tlvs=bytes(509)), SIGNATURE + b"\x31\x11\0\0"])
def test_what_is_no_header_ends_the_connection(balanced, first):
    under_test = balanced()
    with Peer(("127.0.0.1", under_test.proxy_port)) as peer:
        peer.send(first)
        assert peer.read_to_end() == []
    under_test.await_log("PROXY header: .*: connection closed")


def test_silence_instead_of_a_header_ends_soon(balanced):
    under_test = balanced()
    for beginning in (b"", v2()[:-1], b"PROXY "):
        with Peer(("127.0.0.1", under_test.proxy_port)) as peer:
            peer.send(beginning)
            assert peer.read_to_end(timeout=4) == []


@pytest.mark.parametrize("header", [
    local(), local(bytes(16)), b"PROXY UNKNOWN\r\n", b"PROXY UNKNOWN ::1 ::1 1 2\r\n",
    SIGNATURE + b"\x21\x31\0\xd8" + bytes(216), SIGNATURE + b"\x21\0\0\0", SIGNATURE + b"\x21\xf1\0\0"])
def test_who_has_no_address_cannot_log_in(balanced, header):
    under_test = balanced(auth_type="trust")
    refused = refusal(under_test, header)
    assert (refused.code, refused.text) == ("28000", "the PROXY header says no address: nobody can log in")
    with under_test.peer() as peer:
        peer.send(query("select pg_sleep(60)"))
        under_test.await_pool(sv_active=1)
        with proxied(under_test, header, login=False) as canceller:
            canceller.send(cancel_request(peer.process, peer.key))
            assert canceller.read_to_end() == []
        assert under_test.pool()["sv_active"] == 1
        under_test.console("KILL USER alice")


def test_a_health_check_leaves_no_line(balanced):
    under_test = balanced()
    before = len(under_test.log())
    with proxied(under_test, local(), login=False):
        pass
    await_that(lambda: under_test.show("LISTENERS", name="balanced")[0]["open"] == "0", 5)
    assert "unexpected eof" not in "".join(line for line in under_test.log()[before:].splitlines() if "pgbouncer/admin" not in line)


def test_other_listeners_take_no_header(balanced):
    under_test = balanced()
    with Peer(under_test.address) as peer:
        peer.send(v1() + startup(user="alice", database="app"))
        answers = peer.read_to_end()
        assert not [answer for answer in answers if answer.type == "R"]


def test_the_console_asks_for_the_password_of_who_comes_by_a_proxy(balanced):
    under_test = balanced(line="admin=yes", admin_users="pgbouncer")
    assert refusal(under_test, v2("127.0.0.1"), user="pgbouncer", database="pgbouncer").code == "28P01"


def test_proxy_trusted_is_for_the_file(balanced):
    under_test = balanced()
    with pytest.raises(Refused):
        under_test.console("SET proxy_trusted = '0.0.0.0/0'")
    under_test.write(proxy_trusted="10.0.0.1/8")
    status, _, stderr = run_binary("--check-config", under_test.ini_path)
    assert status != 0 and 'proxy_trusted: "10.0.0.1/8" has bits outside its network' in stderr
    under_test.write(proxy_trusted="10.0.0.0/8")
    under_test.console("RELOAD")
    with Peer(("127.0.0.1", under_test.proxy_port)) as peer:
        peer.send(v2())
        assert peer.read_to_end() == []


# HAProxy.


@contextlib.contextmanager
def haproxy(directory, port, to, how):
    path = os.path.join(directory, f"haproxy-{port}.cfg")
    with open(path, "w") as file:
        file.write(f"""global
    maxconn 100
defaults
    mode tcp
    timeout connect 5s
    timeout client 1m
    timeout server 1m
frontend f
    bind 127.0.0.1:{port}
    default_backend b
backend b
    server one 127.0.0.1:{to} {how} check inter 100ms
""")
    process = subprocess.Popen([HAPROXY, "-db", "-f", path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        await_that(lambda: accepts(port), 10)
        yield
    finally:
        process.terminate()
        process.wait(10)


@pytest.mark.skipif(HAPROXY is None, reason="no haproxy here")
@pytest.mark.parametrize("how", ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options unique-id"])
def test_by_haproxy(balanced, certificates, directory, how):
    under_test = balanced(worker_threads=4, **client_side(certificates, "prefer"))
    port = free_port()
    with haproxy(directory, port, under_test.proxy_port, how):
        for mode in ("disable", "require"):
            done = subprocess.run(["psql", f"host=127.0.0.1 port={port} dbname=app user=alice password=alice-secret sslmode={mode}",
                                   "-Atc", "select 42"], capture_output=True, text=True, timeout=30 * SLOW)
            assert done.stdout == "42\n", done.stderr
        source = ("127.0.0.9", free_port())
        with Peer(("127.0.0.1", port), source=source) as peer:
            peer.login("alice", "alice-secret", "app")
            assert addresses(under_test) == [(source[0], str(source[1]))]
        # Its checks (LOCAL) come and go.
        await_that(lambda: int(under_test.show("LISTENERS", name="balanced")[0]["accepted"]) > 10, 10)
        assert "connection closed" not in under_test.log()


@pytest.mark.skipif(HAPROXY is None, reason="no haproxy here")
def test_logins_by_haproxy_never_mix(balanced, directory):
    under_test = balanced(worker_threads=4)
    port = free_port()
    right = []

    def one(number):
        source = f"127.0.1.{number + 1}"
        name = f"client-{number}"
        with Peer(("127.0.0.1", port), source=(source, 0)) as peer:
            peer.login("alice", "alice-secret", "app", application_name=name)
            shown = [row["addr"] for row in under_test.show("CLIENTS", application_name=name)]
            right.append(shown == [source])

    with haproxy(directory, port, under_test.proxy_port, "send-proxy-v2"):
        for start in range(0, 60, 10):
            threads = [threading.Thread(target=one, args=(number,)) for number in range(start, start + 10)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    assert right == [True] * 60
