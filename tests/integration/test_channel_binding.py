"""SCRAM-SHA-256-PLUS (tls-server-end-point) on both sides, and what servers may ask for."""

import base64
import hashlib
import hmac
import os
import shutil
import ssl
import struct
import subprocess

import psycopg
import pytest

from peer import Closed, Refused, startup, tls_context
from waiting import await_that, give_away

HEADER = b"p=tls-server-end-point,,"
NAMES = "subjectAltName=DNS:localhost,IP:127.0.0.1"
KINDS = {"p-256": ("EC", "-pkeyopt", "ec_paramgen_curve:P-256"), "p-384": ("EC", "-pkeyopt", "ec_paramgen_curve:P-384"),
         "rsa": ("RSA", "-pkeyopt", "rsa_keygen_bits:2048"), "rsa-pss": ("RSA-PSS", "-pkeyopt", "rsa_keygen_bits:2048"),
         "ed25519": ("ED25519",)}


@pytest.fixture(scope="module")
def issue(certificates):
    """kind -> (certificate, key), signed by itself, so that the signature is of that kind."""

    def make(kind, name=None):
        name = name or "binding-" + kind
        if not os.path.exists(certificates.certificate(name)):
            certificates.new_key(name, KINDS[kind])
            subprocess.run(["openssl", "req", "-x509", "-new", "-key", certificates.key(name), "-subj", "/CN=localhost", "-days", "3",
                            "-addext", NAMES, "-out", certificates.certificate(name)], check=True, capture_output=True)
            give_away(certificates.certificate(name), certificates.key(name))
        return certificates.certificate(name), certificates.key(name)

    return make


def with_certificate(pair, **options):
    return dict(client_tls_sslmode="require", client_tls_cert_file=pair[0], client_tls_key_file=pair[1], **options)


def mechanisms(peer, user="alice"):
    peer.send(startup(user=user, database="app"))
    answer = peer.read()
    assert struct.unpack_from(">i", answer.body) == (10,)
    return [name.decode() for name in answer.body[4:].split(b"\0") if name]


def end_point(peer, hash_name="sha256"):
    return hashlib.new(hash_name, peer.socket.getpeercert(binary_form=True)).digest()


def log_in_bound(peer, binding, header=HEADER, mechanism=b"SCRAM-SHA-256-PLUS", secret=b"alice-secret"):
    """The dialogue by hand; ends with the answer to the proof."""

    def sasl(body):
        peer.send(b"p" + struct.pack(">i", len(body) + 4) + body)

    bare = b"n=,r=" + base64.b64encode(os.urandom(18))
    sasl(mechanism + b"\0" + struct.pack(">i", len(header + bare)) + header + bare)
    answer = peer.read()
    if answer.type == "E":
        raise Refused(answer)
    first = answer.body[4:]
    fields = dict(part.split(b"=", 1) for part in first.split(b","))
    final = b"c=" + base64.b64encode(header + binding) + b",r=" + fields[b"r"]
    salted = hashlib.pbkdf2_hmac("sha256", secret, base64.b64decode(fields[b"s"]), int(fields[b"i"]))
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    signature = hmac.digest(hashlib.sha256(client_key).digest(), b",".join((bare, first, final)), "sha256")
    sasl(final + b",p=" + base64.b64encode(bytes(a ^ b for a, b in zip(client_key, signature))))
    answer = peer.read()
    if answer.type == "E":
        raise Refused(answer)
    return struct.unpack_from(">i", answer.body)[0]


@pytest.mark.parametrize("kind", ["p-256", "p-384", "rsa"])
def test_psycopg_may_require_channel_binding(pooler, issue, kind):
    under_test = pooler(**with_certificate(issue(kind)))
    with under_test.connect(sslmode="require", channel_binding="require") as connection:
        assert connection.execute("select 1").fetchone() == (1,)


@pytest.mark.parametrize("kind, hash_name", [("p-256", "sha256"), ("rsa", "sha256"), ("rsa-pss", "sha256")])
def test_the_hash_is_that_of_the_signature(pooler, issue, kind, hash_name):
    under_test = pooler(**with_certificate(issue(kind)))
    with under_test.open().start_tls(tls_context()) as peer:
        assert mechanisms(peer) == ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"]
        assert log_in_bound(peer, end_point(peer, hash_name)) == 12


def test_a_signature_without_a_hash_offers_no_binding(pooler, issue):
    under_test = pooler(**with_certificate(issue("ed25519")))
    with under_test.open().start_tls(tls_context()) as peer:
        assert mechanisms(peer) == ["SCRAM-SHA-256"]
        assert log_in_bound(peer, b"", b"y,,", b"SCRAM-SHA-256") == 12
    with pytest.raises(psycopg.OperationalError, match="channel binding"):
        under_test.connect(sslmode="require", channel_binding="require")


def test_without_tls_there_is_none(pooler):
    under_test = pooler()
    with under_test.open() as peer:
        assert mechanisms(peer) == ["SCRAM-SHA-256"]
        with pytest.raises(Refused):
            log_in_bound(peer, b"")


@pytest.mark.parametrize("binding, header, mechanism, code", [
    (b"x" * 32, HEADER, b"SCRAM-SHA-256-PLUS", "28000"), (b"", HEADER, b"SCRAM-SHA-256-PLUS", "28000"),
    (b"", b"y,,", b"SCRAM-SHA-256", "28000"), (b"", b"n,,", b"SCRAM-SHA-256-PLUS", "08P01"),
    (b"x" * 32, HEADER, b"SCRAM-SHA-256", "08P01"), (b"x" * 32, b"p=tls-unique,,", b"SCRAM-SHA-256-PLUS", "08P01")],
    ids=["another certificate", "nothing", "y where it was offered", "n", "other mechanism", "other binding"])
def test_what_is_bound_wrongly_is_refused(pooler, issue, binding, header, mechanism, code):
    under_test = pooler(**with_certificate(issue("p-256")))
    with under_test.open().start_tls(tls_context()) as peer:
        mechanisms(peer)
        with pytest.raises(Refused) as refused:
            log_in_bound(peer, binding, header, mechanism)
        assert refused.value.code == code


def test_unknown_users_are_offered_the_same(pooler, issue):
    under_test = pooler(**with_certificate(issue("p-256")))
    with under_test.open().start_tls(tls_context()) as peer:
        assert mechanisms(peer, "nobody") == ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"]
        with pytest.raises(Refused) as refused:
            log_in_bound(peer, end_point(peer))
        assert refused.value.code == "28P01"


def test_a_renewed_certificate_is_what_new_logins_are_bound_to(pooler, issue, directory):
    folder = os.path.join(directory, "binding-renewed")
    os.makedirs(folder, exist_ok=True)
    pair = os.path.join(folder, "server.crt"), os.path.join(folder, "server.key")

    def install(kind, name):
        for source, target in zip(issue(kind, name), pair):
            shutil.copy(source, target)
            os.chmod(target, 0o600)
        give_away(folder, *pair)

    install("p-256", "binding-old")
    under_test = pooler(**with_certificate(pair))
    with under_test.open().start_tls(tls_context()) as early:
        old = end_point(early)
        install("rsa", "binding-new")
        under_test.signal(1)

        def renewed():
            with under_test.open().start_tls(tls_context()) as peer:
                return end_point(peer) != old

        await_that(renewed)
        mechanisms(early)
        assert log_in_bound(early, old) == 12  # its own handshake had the old one
    with under_test.connect(sslmode="require", channel_binding="require") as connection:
        assert connection.execute("select 1").fetchone() == (1,)


def test_a_resumed_session_is_bound_to_its_certificate(pooler, issue):
    under_test = pooler(**with_certificate(issue("p-256")))
    context = tls_context(version=ssl.TLSVersion.TLSv1_3)

    def connect(session):
        peer = under_test.open()
        peer.send(b"\0\0\0\x08\x04\xd2\x16\x2f")
        assert peer.read_bytes(1) == b"S"
        peer.socket = context.wrap_socket(peer.socket, server_hostname="localhost", session=session)
        mechanisms(peer)
        assert log_in_bound(peer, end_point(peer)) == 12
        return peer

    with connect(None) as first, connect(first.socket.session) as second:
        assert second.socket.session_reused


# Towards servers.


def answer_of(under_test):
    """What a client gets for its first query: a value, or the text of an error."""
    try:
        with under_test.peer() as peer:
            return peer.value("select 1")
    except Refused as refused:
        return refused.text
    except (AssertionError, Closed):
        return "no"


def test_servers_logins_are_bound_where_they_can_be(pooler, certificates):
    bound = pooler(server_tls_sslmode="require", server_channel_binding="require")
    assert answer_of(bound) == "1"
    assert answer_of(pooler(server_tls_sslmode="require", server_channel_binding="disable")) == "1"
    plain = pooler(server_tls_sslmode="disable", server_channel_binding="require", client_login_timeout=2, query_wait_timeout=2)
    answer_of(plain)
    plain.await_log("server_channel_binding=require")


@pytest.mark.parametrize("words, good", [("scram-sha-256", True), ("!md5,!password", True), ("md5", False), ("!scram-sha-256", False),
                                         ("none", False)])
def test_server_require_auth(pooler, words, good):
    under_test = pooler(server_require_auth=words, client_login_timeout=2, query_wait_timeout=2)
    assert (answer_of(under_test) == "1") == good
    if not good:
        under_test.await_log("server_require_auth=" + words)


def test_a_server_that_asks_for_nothing_may_be_refused(pooler):
    under_test = pooler(server_require_auth="!none", entry="user=open", client_login_timeout=2, query_wait_timeout=2)
    assert answer_of(under_test) != "1"
    under_test.await_log("does not allow")


def test_words_of_server_require_auth_are_checked(pooler):
    under_test = pooler(server_require_auth="scram", wait=False)
    assert under_test.exit_status() == 1
    under_test.await_log("none of password, md5")
    under_test.kill()
