"""allow_from: the addresses that a database and a user may be used from (THREATS 1, 2.7)."""

import subprocess

import pytest

from peer import Peer, Refused, tls_context
from test_tls import client_side
from waiting import BINARY

SASL = ("28P01", "SASL authentication failed")
CLEAR = ("28P01", "password authentication failed")
FAR = "203.0.113.0/24"


def outcome(under_test, user="alice", secret=None, database="app", path=None):
    """(SQLSTATE, text) with which a login fails; None: it does not."""
    with Peer(path or under_test.address) as peer:
        try:
            peer.login(user, secret or user + "-secret", database)
            return None
        except Refused as refused:
            return refused.fields["C"], refused.fields["M"]


@pytest.mark.parametrize("auth_type, failure", [("scram-sha-256", SASL), ("md5", CLEAR), ("plain", CLEAR)])
def test_who_is_outside_fails_like_a_wrong_password(pooler, auth_type, failure):
    under_test = pooler(auth_type=auth_type, entry=f"allow_from={FAR},!198.51.100.7")
    assert outcome(under_test) == failure
    assert outcome(under_test, secret="wrong") == failure
    assert outcome(under_test, "nobody_at_all", secret="x") == failure
    assert outcome(under_test, database="other") is None
    assert "allow_from leaves this address out: db=app user=alice" in under_test.log()


def test_database_and_user_must_both_let_it_in(pooler):
    under_test = pooler(entry="allow_from=127.0.0.0/8", users={"bob": f"allow_from={FAR}", "alice": "allow_from='127.0.0.1 local'"})
    assert outcome(under_test) is None
    assert outcome(under_test, "bob") == outcome(under_test, "bob", database="other") == SASL
    assert outcome(under_test, "alice", path=under_test.socket_path) == SASL  # the database says nothing of Unix sockets
    assert outcome(under_test, "alice", database="other", path=under_test.socket_path) is None


def test_some_are_kept_out(pooler):
    under_test = pooler(entry="allow_from='all,!127.0.0.0/8'")
    assert outcome(under_test) == SASL
    assert outcome(under_test, path=under_test.socket_path) is None


@pytest.mark.parametrize("auth_type", ["trust", "any"])
def test_where_nothing_is_asked_it_holds_too(pooler, cluster, auth_type):
    server = f"host=127.0.0.1 port={cluster.port} dbname=app user=alice password=alice-secret"
    under_test = pooler(auth_type=auth_type, databases={"app": f"{server} allow_from={FAR}", "other": server})
    assert outcome(under_test) == CLEAR
    assert outcome(under_test, database="other") is None


def test_no_server_is_asked_about_who_is_outside(pooler, certificates):
    under_test = pooler(auth_type="passthrough", auth_users=[("admin", "admin-secret")], entry=f"allow_from={FAR}", **client_side(certificates, "prefer"))
    with pytest.raises(Refused) as refused:
        under_test.peer("alice", tls=tls_context(certificates.ca))
    assert (refused.value.fields["C"], refused.value.fields["M"]) == CLEAR
    assert "new connection to server" not in under_test.log()
    under_test.peer("alice", "other", tls=tls_context(certificates.ca)).close()


def test_databases_made_from_the_line_for_all_have_its_list(pooler, cluster):
    server = f"host=127.0.0.1 port={cluster.port}"
    under_test = pooler(databases={"app": f"{server}", "*": f"{server} allow_from={FAR}"})
    assert outcome(under_test) is None
    assert outcome(under_test, database="other") == SASL


def test_users_of_the_console_are_looked_at_too(pooler):
    under_test = pooler(users={"admin": "allow_from=local"})
    assert outcome(under_test, "admin", database="pgbouncer") == SASL
    assert outcome(under_test, "admin", database="pgbouncer", path=under_test.socket_path) is None


def test_users_of_auth_query_have_the_list_of_their_line(pooler):
    under_test = pooler(auth_users=[("admin", "admin-secret")], auth_user="postgres", users={"bob": f"allow_from={FAR}"})
    assert outcome(under_test, "alice") is None
    assert outcome(under_test, "bob") == SASL


def test_a_reload_changes_it_for_who_comes_next(pooler):
    under_test = pooler()
    with under_test.peer() as stays:
        under_test.user_entries = {"alice": f"allow_from={FAR}"}
        under_test.write()
        under_test.console("RELOAD")
        assert outcome(under_test) == SASL
        assert stays.value("select 1") == "1"


def test_a_list_that_is_wrong_is_refused(tmp_path):
    path = tmp_path / "pgweir.ini"
    path.write_text("[databases]\na = host=127.0.0.1 allow_from=10.0.0.1/8\n[pgbouncer]\n[users]\nu = allow_from=here\n")
    done = subprocess.run([BINARY, "--check-config", path], capture_output=True, text=True)
    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert 'pgweir.ini:2: a: invalid allow_from: "10.0.0.1/8" has bits outside its network' in said
    assert 'pgweir.ini:5: u: invalid allow_from: "here" is no IPv4 or IPv6 address' in said
