"""What a login rests on: SCRAM keys that pass through to the server."""

import base64
import hashlib
import hmac
import os

import pytest

from peer import Refused
from waiting import await_that


def verifier(secret, salt=None, iterations=4096):
    """What PostgreSQL would store for `secret`."""
    salt = salt or os.urandom(16)
    salted = hashlib.pbkdf2_hmac("sha256", secret.encode(), salt, iterations)
    stored_key = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    salt, stored_key, server_key = (base64.b64encode(value).decode() for value in (salt, stored_key, server_key))
    return f"SCRAM-SHA-256${iterations}:{salt}${stored_key}:{server_key}"


@pytest.fixture(scope="module")
def stored(cluster):
    """name -> what pg_authid holds, for roles with a SCRAM secret."""
    return dict(cluster.run("select rolname, rolpassword from pg_authid where rolpassword like 'SCRAM%'"))


@pytest.fixture
def passing(pooler, stored):
    """A pooler whose auth_file holds alice's and bob's verifiers alone."""

    def start(**options):
        users = {"alice": stored["alice"], "bob": stored["bob"], **options.pop("secrets", {})}
        return pooler(auth_users=[*users.items(), ("admin", "admin-secret")], **options)

    return start


WRONG_TYPE = "cannot do SCRAM authentication: password is SCRAM secret but client authentication did not provide SCRAM keys"


def first_error(under_test, user="alice", **options):
    """The fields of the error that a client meets at its login or its first query."""
    try:
        with under_test.peer(user, **options) as peer:
            return peer.error("select 1")
    except Refused as refused:
        return refused.fields


# SCRAM pass-through.


@pytest.mark.parametrize("auth_type", ["scram-sha-256", "md5"])
def test_a_clients_scram_login_opens_servers_where_only_a_verifier_is_stored(passing, auth_type):
    under_test = passing(auth_type=auth_type)
    for user in ("alice", "bob"):
        with under_test.peer(user) as peer:
            assert peer.value("select session_user") == user
    with under_test.peer("alice", "other") as peer:
        assert peer.value("select current_database()") == "other"


def test_keys_survive_their_client_and_the_servers(passing, cluster):
    """A server that is lost is opened again for clients that were logged in long before."""
    under_test = passing()
    with under_test.peer() as first, under_test.peer() as second:
        pid = first.value("select pg_backend_pid()")
        first.leave()
        cluster.run(f"select pg_terminate_backend({pid})")
        await_that(lambda: not cluster.run(f"select 1 from pg_stat_activity where pid = {pid}"))
        under_test.await_pool(sv_idle=0, sv_active=0)
        assert second.value("select pg_backend_pid()") != pid


def test_many_clients_at_once_share_the_keys(passing):
    under_test = passing(worker_threads=4, default_pool_size=8)
    peers = [under_test.peer() for _ in range(24)]
    for peer in peers[:8]:
        assert peer.value("begin; select session_user") == "alice"
    for peer in peers[:8]:
        peer.rows("commit")
    for peer in peers:
        assert peer.value("select session_user") == "alice"
        peer.close()


def test_without_a_scram_login_the_error_says_so(passing):
    under_test = passing(auth_type="trust")
    assert first_error(under_test)["M"] == "server login failed: wrong password type"
    under_test.await_log(WRONG_TYPE)


def test_a_wrong_password_leaves_no_keys(passing, cluster):
    under_test = passing()
    mark = cluster.log_mark()
    assert under_test.refusal(secret="wrong").code == "28P01"
    assert cluster.logins_since(mark, "alice") == 0
    with under_test.peer() as peer:
        assert peer.value("select session_user") == "alice"


def test_a_forced_user_gets_no_keys_of_clients(passing):
    """Not even of a client of the same name: others use those servers, too."""
    under_test = passing(entry="user=alice")
    assert first_error(under_test)["M"] == "server login failed: wrong password type"


@pytest.mark.parametrize("other", [{}, {"iterations": 5000}], ids=["salt", "iterations"])
def test_another_salt_or_other_iterations_are_a_clear_error(passing, stored, other):
    salt = base64.b64decode(stored["alice"].split("$")[1].split(":")[1]) if other else None
    under_test = passing(secrets={"alice": verifier("alice-secret", salt, **other)})
    error = first_error(under_test)
    assert error["C"] == "28000"
    assert "has not the salt and iterations of the server's" in error["M"] and '"alice"' in error["M"]
    with under_test.peer("bob") as peer:
        assert peer.value("select session_user") == "bob"


def test_keys_of_an_old_password_are_not_used_with_the_new_one(passing, own_cluster):
    """A changed password: who logs in anew is served at once, with the new keys."""
    own_cluster.run("create role changed login password 'changed-secret'")
    secret = lambda: own_cluster.run("select rolpassword from pg_authid where rolname = 'changed'")[0][0]
    under_test = passing(cluster=own_cluster, secrets={"changed": secret()})
    with under_test.peer("changed") as peer:
        assert peer.value("select 1") == "1"
    own_cluster.run("alter role changed password 'new-secret'")
    under_test.auth_users = [("changed", secret()), ("admin", "admin-secret")]
    under_test.write()
    under_test.console("reload")
    own_cluster.run("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'changed'")
    under_test.await_pool(user="changed", sv_idle=0)
    assert under_test.refusal("changed").code == "28P01"
    with under_test.peer("changed", secret="new-secret") as peer:
        assert peer.value("select session_user") == "changed"


def test_keys_and_secrets_are_in_no_log(passing, stored):
    under_test = passing(verbose=2)
    with under_test.peer() as peer:
        assert peer.value("select 1") == "1"
    salt = base64.b64decode(stored["alice"].split("$")[1].split(":")[1])
    client_key = hmac.digest(hashlib.pbkdf2_hmac("sha256", b"alice-secret", salt, 4096), b"Client Key", "sha256")
    log = under_test.log()
    for secret in (base64.b64encode(client_key).decode(), client_key.hex(), "alice-secret", *stored["alice"].split("$")[2].split(":")):
        assert secret not in log
