"""Cleartext passwords that were right: remembered as keyed hashes, so that a login costs no PBKDF2, until FLUSH AUTH."""

import glob
import re

import pytest

from peer import Refused
from test_auth import verifier
from waiting import await_that


@pytest.fixture(scope="module")
def stored(cluster):
    return dict(cluster.run("select rolname, rolpassword from pg_authid where rolpassword like 'SCRAM%'"))


def start(pooler, stored, **options):
    options.setdefault("auth_type", "plain")
    users = {"alice": stored["alice"], "bob": stored["bob"], **options.pop("secrets", {})}
    return pooler(auth_users=[*users.items(), ("admin", "admin-secret")], **options)


def helper_time(under_test):
    """Nanoseconds that the helper threads for PBKDF2 have run; they have nothing to do any more."""

    def read():
        total = 0
        for task in glob.glob(f"/proc/{under_test.process.pid}/task/*"):
            with open(task + "/stat") as stat, open(task + "/schedstat") as times:
                name, state = re.search(r"\((.*)\) (\w)", stat.read()).groups()
                if name == "pgweir-pbkdf2":
                    assert state == "S"
                    total += int(times.read().split()[0])
        return (total,)

    return await_that(lambda: read() if read() == read() else None, 10, "the helpers rest")[0]


def cost(under_test, *arguments, **options):
    """What a login that succeeds (True) or fails costs on the helper threads."""
    before = helper_time(under_test)
    try:
        with under_test.peer(*arguments, **options) as peer:
            if options.get("database", "app") != "pgbouncer":
                assert peer.value("select 1") == "1"
        came_in = True
    except Refused as refused:
        assert refused.fields["C"] == "28P01", refused.fields
        came_in = False
    return came_in, helper_time(under_test) - before


def test_the_second_login_costs_no_pbkdf2_and_wrong_ones_always_do(pooler, stored, worker_threads):
    under_test = start(pooler, stored, worker_threads=worker_threads)
    came_in, first = cost(under_test, "alice")
    assert came_in and first > 0
    for _ in range(3):
        assert cost(under_test, "alice") == (True, 0)
    for _ in range(3):
        came_in, wrong = cost(under_test, "alice", secret="wrong")
        assert not came_in and wrong > 0
    assert cost(under_test, "alice") == (True, 0)


def test_rules_that_ask_for_a_password_remember_it_too(pooler, stored, directory):
    rules = f"{directory}/remembering-hba"
    with open(rules, "w") as file:
        file.write("host all all 127.0.0.1/32 password\nlocal all all scram-sha-256\n")
    under_test = start(pooler, stored, auth_type="hba", auth_hba_file=rules)
    assert cost(under_test, "bob")[1] > 0
    assert cost(under_test, "bob") == (True, 0)


def test_it_is_forgotten_after_its_time(pooler, stored):
    under_test = start(pooler, stored, auth_cache_ttl=1)
    cost(under_test, "alice")
    await_that(lambda: cost(under_test, "alice")[1] > 0, 5, "PBKDF2 is run again")


def test_without_a_time_nothing_is_remembered(pooler, stored):
    under_test = start(pooler, stored, auth_cache_ttl=0)
    for _ in range(3):
        assert cost(under_test, "alice")[1] > 0


def test_a_changed_verifier_unmakes_it(pooler, stored, cluster):
    """The server accepts its own password in both cases: only what stands in auth_file changes."""
    entry = f"host=127.0.0.1 port={cluster.port} dbname=app user=alice password=alice-secret"
    under_test = start(pooler, stored, databases={"app": entry}, secrets={"carol": verifier("one")})
    assert cost(under_test, "carol", secret="one")[0]
    assert cost(under_test, "carol", secret="one") == (True, 0)
    under_test.auth_users = [("admin", "admin-secret"), ("carol", verifier("two"))]
    under_test.write()
    under_test.console("RELOAD")
    assert not cost(under_test, "carol", secret="one")[0]
    assert cost(under_test, "carol", secret="two")[0]


def test_two_entries_with_the_same_user_and_other_passwords(pooler, stored, cluster, own_cluster):
    """A password that was right for one entry is nothing to another, whose users are asked for elsewhere."""
    own_cluster.run("alter role alice password 'elsewhere'")
    entry = lambda which: f"host=127.0.0.1 port={which.port} dbname=app"
    under_test = pooler(auth_type="plain", auth_users=[("admin", "admin-secret")], auth_user="postgres",
                        databases={"here": entry(cluster), "there": entry(own_cluster)})
    for _ in range(2):
        came_in = {(database, secret) for database in ("here", "there") for secret in ("alice-secret", "elsewhere")
                   if cost(under_test, "alice", secret=secret, database=database)[0]}
        assert came_in == {("here", "alice-secret"), ("there", "elsewhere")}


def test_console_users_prove_themselves_each_time(pooler, stored):
    under_test = start(pooler, stored, stats_users="alice")
    for _ in range(2):
        assert cost(under_test, "alice", database="pgbouncer")[1] > 0


def test_servers_get_the_key_of_a_remembered_login(pooler, stored, own_cluster):
    """The key for server logins is lost with the rest of what is remembered: the next login brings it again."""
    under_test = start(pooler, stored, cluster=own_cluster)
    assert cost(under_test, "alice")[0]
    own_cluster.run("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'alice'")
    assert cost(under_test, "alice")[0]
    under_test.console("RECONNECT")
    assert cost(under_test, "alice") == (True, 0)


@pytest.mark.parametrize("command, forgotten", [
    ("FLUSH AUTH", {"alice", "bob"}),
    ("flush auth;", {"alice", "bob"}),
    ("FLUSH AUTH app", {"alice", "bob"}),
    ("FLUSH AUTH app alice", {"alice"}),
    ('FLUSH AUTH "app" "bob"', {"bob"}),
    ("FLUSH AUTH other", set()),
    ("FLUSH AUTH app carol", set()),
])
def test_flush_auth_forgets(pooler, stored, command, forgotten):
    under_test = start(pooler, stored)
    for user in ("alice", "bob"):
        cost(under_test, user)
    assert under_test.console(command).tag == "FLUSH AUTH"
    for user in ("alice", "bob"):
        came_in, took = cost(under_test, user)
        assert came_in and (took > 0) == (user in forgotten), user


def test_flush_auth_forgets_what_auth_query_said(pooler, own_cluster):
    under_test = pooler(cluster=own_cluster, auth_users=[("admin", "admin-secret")], auth_user="postgres",
                        auth_cache_ttl=600, auth_cache_recheck=600)
    assert cost(under_test, "alice")[0]
    own_cluster.run("alter role alice nologin")
    assert cost(under_test, "alice")[0]
    under_test.console("FLUSH AUTH")
    assert not cost(under_test, "alice")[0]


def test_flush_auth_is_for_admins_and_has_a_grammar(pooler, stored):
    under_test = start(pooler, stored, stats_users="watcher", secrets={"watcher": "watcher-secret"})
    with pytest.raises(Refused) as refused:
        under_test.console("FLUSH AUTH", user="watcher")
    assert refused.value.fields["M"] == "admin access needed"
    for wrong in ("FLUSH", "FLUSH POOLS", "FLUSH AUTH a b c", "FLUSH AUTH a-b"):
        with pytest.raises(Refused) as refused:
            under_test.console(wrong)
        assert refused.value.fields["M"] == f"invalid command '{wrong}', use SHOW HELP;"
