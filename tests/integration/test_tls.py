"""TLS on both sides: every sslmode of the client's side with every one of the server's, client certificates on both sides,
certificates renewed in place, tickets that any thread accepts."""

import os
import shutil
import ssl
import threading

import pytest

from peer import SSL_REQUEST, Closed, Peer, Refused, startup, tls_context
from waiting import SLOW, await_that, give_away

MODES = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]


def client_side(certificates, mode, **more):
    options = {"client_tls_sslmode": mode}
    if mode != "disable":
        options.update(client_tls_cert_file=certificates.certificate("server"), client_tls_key_file=certificates.key("server"))
    if mode.startswith("verify"):
        options.update(client_tls_ca_file=certificates.ca)
    options.update(more)
    return options


def server_side(certificates, mode, **more):
    options = {"server_tls_sslmode": mode}
    if mode.startswith("verify"):
        options.update(server_tls_ca_file=certificates.ca)
    options.update(more)
    return options


def server_uses_tls(peer):
    """Whether the server connection of this client is encrypted, as PostgreSQL says."""
    return peer.value("select ssl from pg_stat_ssl where pid = pg_backend_pid()") == "t"


@pytest.mark.parametrize("server_mode", MODES)
@pytest.mark.parametrize("client_mode", MODES)
def test_each_mode_with_each(pooler, cluster, certificates, client_mode, server_mode):
    under_test = pooler(databases={"app": f"host=localhost port={cluster.port} dbname=app"},
                        **client_side(certificates, client_mode), **server_side(certificates, server_mode))
    plain, anonymous = None, tls_context(certificates.ca)
    certified = tls_context(certificates.ca, certificates.certificate("alice"), certificates.key("alice"))
    wanted_tls = server_mode not in ("disable", "allow")
    expected = {"disable": (True, False, False), "allow": (True, True, True), "prefer": (True, True, True), "require": (False, True, True),
                "verify-ca": (False, False, True), "verify-full": (False, False, True)}[client_mode]
    for context, gets_in in zip((plain, anonymous, certified), expected):
        try:
            with under_test.peer(tls=context) as peer:
                assert server_uses_tls(peer) == wanted_tls
                assert gets_in, f"let in with {context}"
        except (Refused, Closed, OSError) as refused:
            assert not gets_in, f"{refused} with {context}"


def test_allow_towards_the_server_is_plain_first(pooler, cluster, certificates):
    for user, tls in (("plainonly", False), ("tlsonly", True), ("alice", False)):
        under_test = pooler(**server_side(certificates, "allow"))
        with under_test.peer(user) as peer:
            assert server_uses_tls(peer) == tls


def test_prefer_towards_a_server_without_tls_goes_on_in_plain(pooler, own_cluster, certificates):
    own_cluster.run("alter system set ssl = off")
    own_cluster.run("select pg_reload_conf()")
    await_that(lambda: own_cluster.run("show ssl")[0][0] == "off", 5)
    with pooler(cluster=own_cluster, **server_side(certificates, "prefer")).peer() as peer:
        assert not server_uses_tls(peer)
    for mode in ("require", "verify-ca", "verify-full"):
        under_test = pooler(cluster=own_cluster, query_wait_timeout=1, client_login_timeout=1, **server_side(certificates, mode))
        with pytest.raises((Refused, Closed, AssertionError)):
            under_test.peer().value("select 1")
        under_test.await_log("SSL")


@pytest.mark.parametrize("host, mode, ca, good", [
    ("localhost", "verify-full", "ca", True), ("127.0.0.1", "verify-full", "ca", True), ("localhost", "verify-ca", "ca", True),
    ("localhost", "verify-ca", "foreign_ca", False), ("localhost", "verify-full", "foreign_ca", False),
    ("localhost", "require", "foreign_ca", True)])
def test_the_servers_certificate_is_verified(pooler, cluster, certificates, host, mode, ca, good):
    under_test = pooler(databases={"app": f"host={host} port={cluster.port} dbname=app"}, query_wait_timeout=2, client_login_timeout=2,
                        server_tls_sslmode=mode, server_tls_ca_file=getattr(certificates, ca))
    asked = []
    try:
        with under_test.peer() as peer:
            asked.append(peer.value("select 1"))
    except (Refused, Closed, AssertionError):
        pass
    assert asked == (["1"] if good else []), under_test.log()[-1500:]


def test_verify_full_wants_the_name(pooler, own_cluster, certificates):
    own_cluster.run(f"alter system set ssl_cert_file = '{certificates.certificate('server-other-name')}'")
    own_cluster.run(f"alter system set ssl_key_file = '{certificates.key('server-other-name')}'")
    own_cluster.run("select pg_reload_conf()")
    database = {"app": f"host=localhost port={own_cluster.port} dbname=app"}
    settings = dict(cluster=own_cluster, databases=database, query_wait_timeout=2, client_login_timeout=2)
    with pooler(**settings, **server_side(certificates, "verify-ca")).peer() as peer:
        await_that(lambda: server_uses_tls(peer), 5)
    under_test = pooler(**settings, **server_side(certificates, "verify-full"))
    with pytest.raises((Refused, Closed, AssertionError)):
        under_test.peer().value("select 1")


def test_client_certificate_towards_the_server(pooler, cluster, certificates):
    under_test = pooler(**server_side(
        certificates, "verify-full", server_tls_cert_file=certificates.certificate("certified"),
        server_tls_key_file=certificates.key("certified")), databases={
            "app": f"host=localhost port={cluster.port} dbname=app user=certified"})
    with under_test.peer() as peer:
        assert peer.value("select current_user") == "certified"
        assert "certified" in peer.value("select client_dn from pg_stat_ssl where pid = pg_backend_pid()")


@pytest.mark.parametrize("mode", ["verify-ca", "verify-full"])
def test_client_certificates_of_another_authority_are_refused(pooler, certificates, mode):
    under_test = pooler(**client_side(certificates, mode))
    foreign = tls_context(certificates.ca, certificates.certificate("foreign-alice"), certificates.key("foreign-alice"))
    with pytest.raises((OSError, Closed, Refused)):
        under_test.peer(tls=foreign)
    good = tls_context(certificates.ca, certificates.certificate("alice"), certificates.key("alice"))
    with under_test.peer(tls=good) as peer:
        assert peer.value("select 1") == "1"


def test_without_an_authority_no_client_certificate_is_asked_for(pooler, certificates):
    under_test = pooler(**client_side(certificates, "require"))
    foreign = tls_context(certificates.ca, certificates.certificate("foreign-alice"), certificates.key("foreign-alice"))
    with under_test.peer(tls=foreign) as peer:
        assert peer.value("select 1") == "1"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def test_versions(pooler, certificates, version):
    under_test = pooler(**client_side(certificates, "require"))
    with under_test.peer(tls=tls_context(certificates.ca, version=version)) as peer:
        assert peer.socket.version() == {ssl.TLSVersion.TLSv1_2: "TLSv1.2", ssl.TLSVersion.TLSv1_3: "TLSv1.3"}[version]
        assert peer.value("select 1") == "1"


def test_protocols_setting(pooler, certificates):
    under_test = pooler(**client_side(certificates, "require", client_tls_protocols="tlsv1.3"))
    with pytest.raises((OSError, Closed)):
        under_test.peer(tls=tls_context(certificates.ca, version=ssl.TLSVersion.TLSv1_2))
    with under_test.peer(tls=tls_context(certificates.ca)) as peer:
        assert peer.value("select 1") == "1"


def test_console_names_the_protocol(pooler, certificates):
    under_test = pooler(**client_side(certificates, "require"), **server_side(certificates, "require"))
    with under_test.peer(tls=tls_context(certificates.ca)) as peer:
        peer.value("select 1")
        assert under_test.show("CLIENTS", database="app")[0]["tls"].startswith("TLSv1.3/TLS_")
        assert under_test.show("SERVERS", database="app")[0]["tls"].startswith("TLSv1.3/TLS_")


def test_big_answers_and_questions_over_tls(pooler, certificates, worker_threads):
    under_test = pooler(worker_threads=worker_threads, **client_side(certificates, "require"), **server_side(certificates, "require"))
    with under_test.peer(tls=tls_context(certificates.ca)) as peer:
        assert len(peer.value("select repeat('0123456789abcdef', 500000)")) == 8000000
        assert peer.value("select length('" + "x" * 3000000 + "')") == "3000000"
        assert len(peer.rows("select g, repeat('y', 1000) from generate_series(1, 5000) g")) == 5000


@pytest.mark.threads
def test_tickets_are_accepted_by_any_thread(pooler, certificates):
    under_test = pooler(worker_threads=4, **client_side(certificates, "require"))
    context = tls_context(certificates.ca, version=ssl.TLSVersion.TLSv1_3)

    def connect(session):
        peer = under_test.open()
        peer.send(SSL_REQUEST)
        assert peer.read_bytes(1) == b"S"
        peer.socket = context.wrap_socket(peer.socket, server_hostname="localhost", session=session)
        peer.login("alice", "alice-secret", "app")
        assert peer.value("select 1") == "1"
        return peer

    first = connect(None)
    assert first.socket.session.has_ticket
    peers = [connect(first.socket.session) for _ in range(8)]
    assert [peer.socket.session_reused for peer in peers] == [True] * 8
    session = peers[-1].socket.session
    for peer in [first, *peers]:
        peer.close()
    under_test.console("RELOAD")
    assert connect(session).socket.session_reused  # the keys outlive a reload that changed nothing


def serial(peer):
    return peer.socket.getpeercert()["serialNumber"]


def test_certificates_are_renewed_in_place(pooler, certificates, directory):
    """The files are replaced; HUP; new connections get the new one, old connections go on, a broken pair changes nothing."""
    folder = os.path.join(directory, "renewed")
    os.makedirs(folder, exist_ok=True)
    certificate, key = os.path.join(folder, "server.crt"), os.path.join(folder, "server.key")

    def install(name, key_name=None):
        shutil.copy(certificates.certificate(name), certificate)
        shutil.copy(certificates.key(key_name or name), key)
        os.chmod(key, 0o600)
        give_away(folder, certificate, key)

    install("server")
    under_test = pooler(**client_side(certificates, "require", client_tls_cert_file=certificate, client_tls_key_file=key))
    context = tls_context(certificates.ca)
    old = under_test.peer(tls=context)
    install("server-renewed")
    under_test.signal(1)

    def renewed():
        with under_test.peer(tls=tls_context(certificates.ca)) as peer:
            return serial(peer) != serial(old)

    await_that(renewed, 5, "the new certificate is served")
    assert old.value("select 'still here'") == "still here"
    install("server", "alice")  # a key that does not belong to the certificate
    mark = len(under_test.log())
    under_test.signal(1)
    under_test.await_log("(?i)error.*(key|certificate|TLS)", start=mark)
    assert renewed()


def test_handshakes_of_many_threads(pooler, certificates, worker_threads):
    under_test = pooler(worker_threads=worker_threads, **client_side(certificates, "require"), **server_side(certificates, "require"))
    failures = []

    def work():
        try:
            for _ in range(10):
                with under_test.peer(tls=tls_context()) as peer:
                    assert peer.value("select 'x'") == "x"
                    peer.leave()
        except Exception as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60 * SLOW)
    assert failures == []


@pytest.mark.parametrize("stage", range(8))
def test_clients_that_vanish_during_the_login(pooler, certificates, stage):
    """Sixty connections that end at one stage of the login leave nothing behind."""
    under_test = pooler(worker_threads=4, tcp_defer_accept=0, **client_side(certificates, "require"))
    for number in range(60):
        peer = Peer(under_test.address)
        if stage == 1:
            peer.send(SSL_REQUEST[:4])
        elif stage == 2:
            peer.send(SSL_REQUEST)
        elif stage == 3:
            peer.send(SSL_REQUEST)
            peer.read_bytes(1)
        elif stage == 4:
            peer.send(b"\x16\x03\x01\x02\0\x01\0\x01\xfc")
        elif stage >= 5:
            peer.start_tls(tls_context())
            if stage == 6:
                peer.send(b"\0\0\0\x29\0\3\0\0user\0")
            elif stage == 7:
                peer.send(startup(user="alice", database="app"))
                peer.read()
        peer.reset() if number % 2 else peer.close()
    await_that(lambda: int(under_test.show("LISTS", list="login_clients")[0]["items"]) == 0, 5)
    with under_test.peer(tls=tls_context()) as peer:
        assert peer.value("select 1") == "1"
