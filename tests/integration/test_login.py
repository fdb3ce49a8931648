"""Logins: every method with every kind of secret, plain and TLS; the errors and their SQLSTATEs; what comes before a login."""

import hashlib
import socket
import struct
import time

import pytest

from peer import (GSSENC_REQUEST, PROTOCOL_3_2, SSL_REQUEST, Closed, Peer, Refused, Scram, cancel_request, message, packet, password, query,
                  startup, tls_context, types)
from waiting import SLOW, await_that

PASSWORD = "pass word, with \"quotes\" and ümlauts"


@pytest.fixture(scope="module")
def secrets(cluster):
    """Stored forms of PASSWORD for users plain, hashed and verified; empty cannot log in with a password."""
    with cluster.connect() as connection:
        connection.execute("set password_encryption to 'scram-sha-256'")
        connection.execute("drop role if exists verified")
        quoted = PASSWORD.replace("'", "''")
        connection.execute(f"create role verified login password '{quoted}'")
        verifier = connection.execute("select rolpassword from pg_authid where rolname = 'verified'").fetchone()[0]
    return {"plain": PASSWORD, "hashed": "md5" + hashlib.md5((PASSWORD + "hashed").encode()).hexdigest(), "verified": verifier,
            "empty": ""}


@pytest.fixture(scope="module")
def doors(shared_pooler, secrets, certificates):
    """One pooler for each auth_type; its servers are of the role `open`, whoever logs in."""
    poolers = {}

    def get(auth_type):
        if auth_type not in poolers:
            poolers[auth_type] = shared_pooler(
                auth_type=auth_type, entry="user=open", auth_users=[*secrets.items(), ("admin", "admin-secret")],
                client_tls_sslmode="allow", client_tls_cert_file=certificates.certificate("server"),
                client_tls_key_file=certificates.key("server"))
        return poolers[auth_type]

    return get


# Which authentication requests come, None for a refusal in any case (COMPAT: "auth_type and secrets").
EXPECTED = {
    ("trust", "plain"): [0], ("trust", "hashed"): [0], ("trust", "verified"): [0], ("trust", "empty"): [0],
    ("plain", "plain"): [3, 0], ("plain", "hashed"): [3, 0], ("plain", "verified"): [3, 0], ("plain", "empty"): None,
    ("md5", "plain"): [5, 0], ("md5", "hashed"): [5, 0], ("md5", "verified"): [10, 11, 12, 0], ("md5", "empty"): None,
    ("scram-sha-256", "plain"): [10, 11, 12, 0], ("scram-sha-256", "hashed"): None, ("scram-sha-256", "verified"): [10, 11, 12, 0],
    ("scram-sha-256", "empty"): None,
}


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("auth_type, user", list(EXPECTED), ids=[f"{method}-{user}" for method, user in EXPECTED])
def test_each_method_with_each_secret(doors, auth_type, user, tls):
    pooler = doors(auth_type)
    context = tls_context() if tls else None
    expected = EXPECTED[auth_type, user]
    if expected is None:
        assert pooler.refusal(user, secret=PASSWORD, tls=context).code == "28P01"
        assert pooler.refusal(user, secret="", tls=context).code == "28P01"
        return
    with pooler.peer(user, secret=PASSWORD, tls=context) as peer:
        assert peer.authentication == expected
        assert peer.value("select 'in'") == "in"


@pytest.mark.parametrize("auth_type, user", [key for key, value in EXPECTED.items() if key[0] != "trust"],
                         ids=[f"{key[0]}-{key[1]}" for key in EXPECTED if key[0] != "trust"])
def test_wrong_password_is_28P01(doors, auth_type, user):
    refused = doors(auth_type).refusal(user, secret="wrong")
    assert (refused.fields["S"], refused.code) == ("FATAL", "28P01")


@pytest.mark.parametrize("auth_type", ["plain", "md5", "scram-sha-256"])
def test_unknown_user_looks_like_a_wrong_password(doors, auth_type):
    """The same requests, the same error; the same salt each time a name is tried."""

    def dialogue(user):
        with doors(auth_type).open() as peer:
            try:
                peer.login(user, "wrong", "app")
            except Refused as refused:
                return peer.authentication, refused.fields
        raise AssertionError("let in")

    known = {"plain": "plain", "md5": "hashed", "scram-sha-256": "verified"}[auth_type]
    requests, error = dialogue(known)
    other_requests, other_error = dialogue("nobody")
    assert requests == other_requests
    assert {name: text.replace("nobody", known) for name, text in other_error.items()} == error


def server_first(pooler, user):
    with pooler.open() as peer:
        peer.send(startup(user=user, database="app"))
        peer.read()
        peer.send(Scram("x").first())
        return dict(part.split("=", 1) for part in peer.read().body[4:].decode().split(","))


def test_unknown_user_has_a_salt_of_his_own_that_stays(doors):
    pooler = doors("scram-sha-256")
    first, second, other = (server_first(pooler, user) for user in ("nobody", "nobody", "somebody"))
    assert first["s"] == second["s"] != other["s"]
    assert first["i"] == server_first(pooler, "verified")["i"] == "4096"
    assert len(first["s"]) == len(server_first(pooler, "verified")["s"])


def test_trust_refuses_an_unknown_user(doors):
    assert doors("trust").refusal("nobody").code in ("28P01", "28000")


def test_unknown_database_is_3D000_and_only_after_the_password(doors):
    pooler = doors("scram-sha-256")
    assert pooler.refusal("verified", "nowhere", secret=PASSWORD).code == "3D000"
    assert pooler.refusal("verified", "nowhere", secret="wrong").code == "28P01"


def test_database_defaults_to_the_user(doors):
    assert doors("scram-sha-256").refusal("verified", None, secret=PASSWORD).code == "3D000"


def test_server_refusal_is_told_with_its_own_code_each_time_at_once(pooler, cluster):
    """3D000 and 28000 of the server are answers, not failures of the server: nobody waits for a retry."""
    server = f"host=127.0.0.1 port={cluster.port}"
    under_test = pooler(databases={"app": f"{server} dbname=app", "missing": f"{server} dbname=missing"})
    for user, database, code in (("alice", "missing", "3D000"), ("alice", "missing", "3D000"), ("nologin", "app", "28000"),
                                 ("nologin", "app", "28000")):
        start = time.monotonic()
        try:
            with under_test.peer(user, database) as peer:
                error = peer.error("select 1")
                assert error["C"] == code
        except Refused as refused:
            assert refused.code == code and refused.fields["S"] == "FATAL"
        assert time.monotonic() - start < 2 * SLOW
    with under_test.peer() as peer:
        assert peer.value("select 1") == "1"


def test_servers_log_in_with_each_method(pooler, cluster):
    """trust, cleartext, md5 and SCRAM towards PostgreSQL, each with the client's own plain secret."""
    under_test = pooler(auth_type="plain")
    for user in ("open", "clear", "mdfive", "alice"):
        with under_test.peer(user) as peer:
            assert peer.value("select current_user") == user


def test_server_password_of_the_entry(pooler, cluster):
    under_test = pooler(entry="user=bob password=bob-secret")
    with under_test.peer("alice") as peer:
        assert peer.value("select current_user") == "bob"
    wrong = pooler(entry="user=bob password=wrong")
    try:
        with wrong.peer("alice") as peer:
            assert peer.error("select 1")["C"] == "28P01"
    except Refused as refused:
        assert refused.code == "28P01"


def test_login_answer(doors):
    with doors("trust").open() as peer:
        peer.send(startup(user="plain", database="app", application_name="me"))
        answers = peer.read_until("Z")
    assert types(answers).replace("S", "") == "RKZ"
    assert answers[-1].body == b"I" and len(answers[-2].body) == 8
    parameters = dict(answer.body.rstrip(b"\0").split(b"\0", 1) for answer in answers if answer.type == "S")
    assert parameters[b"application_name"] == b"me" and parameters[b"server_version"].startswith(b"15")


def test_cancel_keys_differ(doors):
    peers = [doors("trust").peer("plain") for _ in range(20)]
    assert len({(peer.process, peer.key) for peer in peers}) == 20
    assert len({peer.key for peer in peers}) == 20
    for peer in peers:
        peer.leave()


def test_protocol_3_2_is_spoken(doors):
    """BackendKeyData longer than four bytes of key, no NegotiateProtocolVersion."""
    with doors("trust").open() as peer:
        peer.send(startup(PROTOCOL_3_2, user="plain", database="app"))
        answers = peer.read_until("Z")
        assert "v" not in types(answers)
        key = next(answer for answer in answers if answer.type == "K")
        assert len(key.body) > 8
        assert peer.value("select 1") == "1"


@pytest.mark.parametrize("version", [0x00030001, 0x00030003, 0x0003270F])
def test_other_minor_versions_are_negotiated_once(doors, version):
    with doors("trust").open() as peer:
        peer.send(startup(version, user="plain", database="app", **{"_pq_.unknown": "1"}))
        answers = peer.read_until("Z")
        negotiations = [answer for answer in answers if answer.type == "v"]
        assert len(negotiations) == 1 and types(answers).startswith("v")
        newest, count = struct.unpack_from(">ii", negotiations[0].body)
        assert newest & 0xFFFF <= 2 and newest >> 16 in (0, 3)
        assert count == 1 and negotiations[0].body[8:] == b"_pq_.unknown\0"
        assert peer.value("select 1") == "1"


def test_startup_password_and_query_in_one_flight(doors):
    """What the serverless drivers do to save round trips."""
    with doors("plain").open() as peer:
        peer.send(startup(user="plain", database="app"), password(PASSWORD), query("select 'quick'"))
        answers = peer.read_until("Z", 2)
        assert types(answers).replace("S", "") == "RRKZTDCZ"


def test_startup_and_query_in_one_flight_with_trust(doors):
    with doors("trust").open() as peer:
        peer.send(startup(user="plain", database="app"), query("select 'quick'"))
        assert types(peer.read_until("Z", 2)).replace("S", "") == "RKZTDCZ"


# Who comes to the console.


def test_console_users(pooler):
    under_test = pooler()
    assert under_test.console("SHOW VERSION", user="admin").tag == "SHOW"
    assert under_test.console("SHOW VERSION", user="watcher").tag == "SHOW"
    with pytest.raises(Refused) as refused:
        under_test.console("RELOAD", user="watcher")
    assert refused.value.text == "admin access needed"
    assert "not allowed" in under_test.refusal("alice", "pgbouncer").text
    assert under_test.refusal("admin", "pgbouncer", "wrong").code == "28P01"
    assert under_test.refusal("nobody", "pgbouncer").code == "28P01"


def test_console_tells_its_parameters(pooler):
    with pooler().peer("admin", "pgbouncer", application_name="ops") as peer:
        expected = {"client_encoding": "UTF8", "server_encoding": "UTF8", "DateStyle": "ISO", "TimeZone": "GMT",
                    "standard_conforming_strings": "on", "is_superuser": "on"}
        assert {name: peer.parameters[name] for name in expected} == expected
        assert "bouncer" in peer.parameters["server_version"] or "pgweir" in peer.parameters["server_version"]


# Limits and what comes before a login.


def test_max_client_conn_is_exact(pooler, worker_threads):
    under_test = pooler(max_client_conn=5, worker_threads=worker_threads, entry="user=open")
    peers = [under_test.peer() for _ in range(5)]
    refused = under_test.refusal()
    assert refused.code == "53300" and "max_client_conn" in refused.text
    assert under_test.console("SHOW VERSION").tag == "SHOW"  # the console is exempt
    peers.pop().leave()
    peers.append(await_that(lambda: let_in(under_test), 5, "the freed place is taken"))
    assert "max_client_conn" in under_test.refusal().text
    for peer in peers:
        assert peer.value("select 1") == "1"
        peer.leave()


def let_in(pooler):
    try:
        return pooler.peer()
    except Refused:
        return None


def test_sockets_that_have_not_logged_in_take_no_place_of_clients(pooler):
    under_test = pooler(max_client_conn=3, max_login_clients=50, entry="user=open")
    strangers = [under_test.open() for _ in range(40)]
    for stranger in strangers:
        stranger.send(b"\0")
    with under_test.peer() as peer:
        assert peer.value("select 1") == "1"
    for stranger in strangers:
        stranger.close()


def test_max_login_clients_bounds_those_who_are_not_in_yet(pooler):
    """Beyond the limit somebody who has not logged in is refused or dropped; who is logged in does not notice."""
    under_test = pooler(max_login_clients=10, entry="user=open")
    inside = under_test.peer()
    strangers = [under_test.open(timeout=1) for _ in range(40)]
    for stranger in strangers:
        stranger.send(b"\0")

    def open_ones():
        return sum(1 for stranger in strangers if not has_ended(stranger))

    await_that(lambda: open_ones() <= 10, 5, "no more than ten stay")
    assert inside.value("select 1") == "1"
    for stranger in strangers:
        stranger.close()
    assert await_that(lambda: let_in(under_test), 5).value("select 1") == "1"


def has_ended(peer):
    """True when the other side has closed, without waiting."""
    peer.socket.setblocking(False)
    try:
        return peer.socket.recv(4096) == b"" or has_ended(peer)
    except BlockingIOError:
        return False
    except OSError:
        return True


@pytest.mark.parametrize("said", [b"", b"\0", startup(user="alice", database="app")], ids=["nothing", "a byte", "startup"])
def test_client_login_timeout(pooler, said):
    under_test = pooler(client_login_timeout=1, tcp_defer_accept=0)
    with under_test.open() as peer:
        start = time.monotonic()
        peer.send(said)
        answers = peer.read_to_end(8 * SLOW)
        assert 0.5 < time.monotonic() - start < 5 * SLOW
        assert all(answer.type in "RE" for answer in answers)
    with under_test.peer() as peer:  # nothing is left behind, and who is in time gets in
        assert peer.value("select 1") == "1"


def test_no_more_than_64_kib_are_taken_before_a_login(pooler):
    """A stranger who announces 300 MiB, or sends without end, is closed; the daemon does not grow."""
    under_test = pooler(auth_type="plain")
    before = under_test.resident_kib()
    for head in (b"", struct.pack(">ii", 300 << 20, 3 << 16), startup(user="alice", database="app") + b"p" + struct.pack(">i", 200 << 20)):
        with under_test.open() as peer:
            peer.send(head)
            with pytest.raises(OSError):
                for _ in range(200):
                    peer.socket.sendall(b"x" * 65536)
                    time.sleep(0)
    assert under_test.resident_kib() - before < 20000 * SLOW
    with under_test.peer() as peer:
        assert peer.value("select 1") == "1"


def test_passwords_of_60_kb_work(pooler):
    secret = "s" * 60000
    under_test = pooler(auth_type="plain", entry="user=open", auth_users=[("alice", secret), ("admin", "x")])
    with under_test.peer(secret=secret) as peer:
        assert peer.value("select 1") == "1"
    assert under_test.refusal(secret=secret[:-1]).code == "28P01"


@pytest.mark.parametrize("bytes_", [
    b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    packet(struct.pack(">i", 2 << 16)),
    packet(struct.pack(">i", 9 << 16) + b"user\0alice\0\0"),
    packet(b"\0"),
    packet(b"\xff" * 64),
    SSL_REQUEST * 2,
    GSSENC_REQUEST * 2,
    message("Q", b"select 1\0"),
    startup(user="alice", database="app") + startup(user="alice", database="app"),
    startup(user="alice", database="app") + query("select 1"),
    startup(user="alice", database="app") + message("p", b"SCRAM-SHA-512\0\0\0\0\0"),
    startup(user="alice", database="app") + message("p", b"SCRAM-SHA-256\0\x7f\xff\xff\xffn,,n=,r=x"),
    startup(user="alice", database="app") + message("p", b"SCRAM-SHA-256\0\0\0\0\4n,,n"),
    startup(user="alice", database="app") + message("p", b""),
    startup(user="u" * 9000, database="app"),
    startup(user="alice", database="d" * 9000),
], ids=lambda value: value[:24].hex())
def test_nonsense_is_answered_by_the_end(pooler_for_nonsense, bytes_):
    """At most one ErrorResponse of the class of the protocol or of the login, then the end; a log line under 1 KiB."""
    under_test = pooler_for_nonsense
    start = len(under_test.log())
    with under_test.open() as peer:
        peer.send(bytes_)
        peer.finish()
        try:
            if bytes_.startswith((SSL_REQUEST[:8], GSSENC_REQUEST[:8])):
                peer.receive(5 * SLOW)
                peer.buffer.clear()
            answers = peer.read_to_end(5 * SLOW)
        except Closed:
            answers = []
    assert types(answers).lstrip("R") in ("", "E"), answers
    for answer in answers:
        if answer.type == "E":
            assert answer.fields["S"] == "FATAL" and answer.fields["C"] in ("08P01", "0A000", "28000", "28P01", "3D000")
    assert all(len(line) < 1024 for line in under_test.log()[start:].splitlines())


@pytest.fixture(scope="module")
def pooler_for_nonsense(shared_pooler):
    return shared_pooler(client_login_timeout=3, entry="user=open")


def test_a_login_in_single_bytes(doors):
    with doors("plain").open() as peer:
        for byte in startup(user="plain", database="app") + password(PASSWORD):
            peer.send(bytes((byte,)))
        assert types(peer.read_until("Z")).replace("S", "") == "RRKZ"


# TLS on the way in.


@pytest.fixture(scope="module")
def tls_pooler(shared_pooler, certificates):
    return shared_pooler(client_tls_sslmode="require", client_tls_cert_file=certificates.certificate("server"), entry="user=open",
                         client_tls_key_file=certificates.key("server"))


def test_plain_is_refused_where_tls_is_required(tls_pooler, certificates):
    refused = tls_pooler.refusal()
    assert refused.text == "SSL required" and refused.code in ("28000", "08P01")
    with tls_pooler.peer(tls=tls_context(certificates.ca)) as peer:
        assert peer.value("select 1") == "1"


def test_direct_tls_with_alpn_and_without(tls_pooler, certificates):
    for alpn in (["postgresql"], None, ["http/1.1", "postgresql"]):
        context = tls_context(certificates.ca, alpn=alpn)
        with tls_pooler.peer(tls=context, direct=True) as peer:
            assert peer.socket.selected_alpn_protocol() == ("postgresql" if alpn else None)
            assert peer.value("select 1") == "1"


def test_direct_tls_with_another_alpn_is_refused(tls_pooler, certificates):
    with pytest.raises((OSError, Closed)):
        tls_pooler.peer(tls=tls_context(certificates.ca, alpn=["h2"]), direct=True)


def test_ssl_request_is_answered_by_exactly_one_byte(tls_pooler):
    with tls_pooler.open() as peer:
        peer.send(SSL_REQUEST)
        assert peer.read_bytes(1) == b"S"
        assert peer.is_quiet(0.2) and not peer.buffer


def test_bytes_behind_ssl_request_are_never_taken(tls_pooler, certificates):
    with tls_pooler.open() as peer:
        peer.send(SSL_REQUEST + startup(user="alice", database="app"))
        with pytest.raises((OSError, Closed)):
            if peer.read_bytes(1) == b"E":
                peer.read_to_end()
                raise Closed()
            peer.socket = tls_context(certificates.ca).wrap_socket(peer.socket, server_hostname="localhost")
            peer.read()


def test_ssl_request_inside_tls_closes(tls_pooler, certificates):
    with tls_pooler.open() as peer:
        peer.start_tls(tls_context(certificates.ca))
        peer.send(SSL_REQUEST)
        assert types(peer.read_to_end()) in ("", "E")


def test_client_hello_after_no_is_closed(pooler):
    """Some drivers send a ClientHello though the answer to SSLRequest was N."""
    with pooler().open() as peer:
        peer.send(SSL_REQUEST)
        assert peer.read_bytes(1) == b"N"
        with pytest.raises((OSError, Closed)):
            peer.socket = tls_context().wrap_socket(peer.socket, server_hostname="localhost")


def test_cancel_request_in_plain_where_tls_is_required(tls_pooler, cluster, certificates):
    with tls_pooler.peer(tls=tls_context(certificates.ca)) as peer:
        peer.send(query("select pg_sleep(30), 'until cancelled'"))
        await_that(lambda: cluster.run("select count(*) from pg_stat_activity where state = 'active' and usename = 'open' and "
                                       "query like '%until cancelled%'")[0][0] == 1, 5, "PostgreSQL works on it")
        with tls_pooler.open() as other:
            other.send(cancel_request(peer.process, peer.key))
            assert other.read_to_end() == []
        answers = peer.read_until("Z", timeout=5 * SLOW)
        assert [answer.fields["C"] for answer in answers if answer.type == "E"] == ["57014"]
        assert peer.value("select 1") == "1"


def test_unix_socket(pooler):
    under_test = pooler(client_tls_sslmode="disable")
    with Peer(under_test.socket_path) as peer:
        peer.login("alice", "alice-secret", "app")
        assert peer.value("select 1") == "1"


def test_ipv6(pooler):
    under_test = pooler(listen_addr="127.0.0.1, ::1")
    with Peer(("::1", under_test.port)) as peer:
        peer.login("alice", "alice-secret", "app")
        assert peer.value("select 1") == "1"


def test_missing_close_notify_is_no_error(tls_pooler, certificates):
    start = len(tls_pooler.log())
    with tls_pooler.peer(tls=tls_context(certificates.ca)) as peer:
        assert peer.value("select 1") == "1"
        socket.socket.close(peer.socket)
    tls_pooler.await_pool(user="open", cl_active=0)
    assert "TLS" not in "".join(line for line in tls_pooler.log()[start:].splitlines() if "ERROR" in line or "WARNING" in line)
