"""Users who are asked for at the server (auth_query): who gets in, what is remembered, and what a stranger can find out."""

import concurrent.futures
import os
import re
import subprocess
import time

import psycopg
import pytest

from peer import Refused
from waiting import SLOW, await_that

METHODS = ["scram-sha-256", "md5", "plain"]


@pytest.fixture
def asking(pooler):
    """A pooler that knows nobody but its console's admin: all others are asked for by the superuser."""

    def start(**options):
        options.setdefault("auth_user", "postgres")
        return pooler(auth_users=[("admin", "admin-secret"), *options.pop("secrets", [])], **options)

    return start


@pytest.fixture
def temporary(cluster):
    """temporary(name, secret) makes a role; all of them go after the test."""
    names = []

    def make(name, secret, more="login"):
        cluster.run(f"create role {name} {more} password '{secret}'")
        names.append(name)
        return name

    yield make
    for name in names:
        cluster.run(f"drop role if exists {name}")


def refusal(under_test, user="alice", secret=None, database="app"):
    """(SQLSTATE, text) with which a login fails; None: it does not."""
    try:
        under_test.peer(user, database, secret=secret).close()
        return None
    except Refused as refused:
        return refused.fields["C"], refused.fields["M"]


WRONG = {"scram-sha-256": ("28P01", "SASL authentication failed"), "md5": ("28P01", "SASL authentication failed"),
         "plain": ("28P01", "password authentication failed")}


@pytest.fixture
def counted(cluster):
    """An auth_query that counts how often it was asked."""
    cluster.run("create sequence if not exists public.asked_count")
    cluster.run("""create or replace function public.lookup(name text) returns table (n name, s text)
                   language plpgsql security definer as $$ begin perform nextval('public.asked_count');
                   return query select rolname, rolpassword from pg_catalog.pg_authid where rolname = name and rolcanlogin;
                   end $$""")
    cluster.run("select setval('public.asked_count', 1)")
    yield lambda: int(cluster.run("select last_value from public.asked_count")[0][0]) - 1
    cluster.run("drop function public.lookup(text)")
    cluster.run("drop sequence public.asked_count")


# Who gets in.


@pytest.mark.parametrize("auth_type", METHODS)
def test_users_of_the_server_log_in_and_reach_it(asking, auth_type, worker_threads):
    under_test = asking(auth_type=auth_type, worker_threads=worker_threads)
    for user in ("alice", "bob"):
        assert refusal(under_test, user, "wrong") == WRONG[auth_type]
        with under_test.peer(user) as peer:
            assert peer.value("select session_user") == user
        assert refusal(under_test, user, "wrong") == WRONG[auth_type]


def test_md5_secrets_log_in_and_open_servers(asking):
    under_test = asking(auth_type="md5")
    with under_test.peer("mdfive") as peer:
        assert peer.value("select session_user") == "mdfive"
    assert refusal(under_test, "mdfive", "wrong")[0] == "28P01"


def psql(under_test, user, secret, sql):
    done = subprocess.run(["psql", "-h", under_test.host, "-p", str(under_test.port), "-U", user, "-Atc", sql, "app"],
                          env={**os.environ, "PGPASSWORD": secret}, capture_output=True, text=True, timeout=20 * SLOW)
    return done.stdout.strip() or done.stderr


def test_the_real_drivers(asking):
    under_test = asking()
    with psycopg.connect(host=under_test.host, port=under_test.port, user="alice", password="alice-secret", dbname="app") as connection:
        assert connection.execute("select session_user").fetchone() == ("alice",)
    assert psql(under_test, "alice", "alice-secret", "select session_user") == "alice"
    assert "SASL authentication failed" in psql(under_test, "alice", "wrong", "select session_user")
    with pytest.raises(psycopg.OperationalError, match="SASL authentication failed"):
        psycopg.connect(host=under_test.host, port=under_test.port, user="alice", password="wrong", dbname="app")


@pytest.mark.parametrize("auth_type", METHODS)
def test_who_has_no_login_or_does_not_exist_looks_like_a_wrong_password(asking, auth_type, cluster, temporary):
    under_test = asking(auth_type=auth_type)
    temporary("expired", "expired-secret", "login valid until '2001-01-01'")
    for user in ("expired", "nologin", "open", "nobody_at_all"):
        assert refusal(under_test, user, user + "-secret") == WRONG[auth_type], user


def test_trust_takes_only_whom_the_query_returns(asking):
    under_test = asking(auth_type="trust")
    assert refusal(under_test, "mdfive") is None and refusal(under_test, "open") is None
    assert refusal(under_test, "nobody_at_all")[1] == '"trust" authentication failed'


def test_auth_user_itself_stays_out_unless_it_is_in_auth_file(asking, temporary, cluster):
    temporary("asker", "asker-secret", "login superuser")
    under_test = asking(auth_user="asker", secrets=[])
    assert refusal(under_test, "asker", "asker-secret") is not None
    under_test = asking(auth_user="asker", secrets=[("asker", "asker-secret")])
    assert refusal(under_test, "asker") is None
    assert refusal(under_test, "alice") is None


def test_a_name_that_comes_back_different_is_refused(asking):
    under_test = asking(auth_query="select 'alice', rolpassword from pg_authid where rolname = 'alice' and $1 <> ''")
    assert refusal(under_test, "alice") is None
    assert refusal(under_test, "bob", "alice-secret") == WRONG["scram-sha-256"]
    assert refusal(under_test, "ALICE", "alice-secret") == WRONG["scram-sha-256"]


@pytest.mark.parametrize("query, why", [
    ("select rolname from pg_authid where rolname = $1", "expected 2 columns from auth_query, not 1"),
    ("select null::text, rolpassword from pg_authid where rolname = $1", "auth_query response contained null user name"),
    ("select nothing, such from pg_authid where rolname = $1", "error in auth_query: ERROR"),
    ("select 1/0, $1", "error in auth_query: ERROR"),
])
def test_a_broken_query_is_the_poolers_failure(asking, query, why):
    under_test = asking(auth_query=query)
    assert refusal(under_test) == ("08001", "bouncer config error")
    under_test.await_log(re.escape(why))


def test_entries_have_their_own_query_user_and_database(asking, cluster):
    server = f"host=127.0.0.1 port={cluster.port}"
    under_test = asking(auth_user=None, auth_dbname=None, databases={
        "app": f"{server} dbname=app auth_user=postgres auth_dbname=other",
        "other": f"{server} dbname=other",
        "mine": f"{server} dbname=app auth_user=postgres auth_query='select rolname, rolpassword from pg_authid where rolname = $1 and rolname = ''bob'''",
    })
    assert refusal(under_test, "alice", database="app") is None
    assert refusal(under_test, "alice", database="other") is not None
    assert refusal(under_test, "alice", database="mine") is not None
    assert refusal(under_test, "bob", database="mine") is None
    assert ": other/postgres@" in under_test.log() and ": app/postgres@" not in under_test.log().replace("mine", "")


def test_auto_databases(asking, cluster):
    under_test = asking(databases={"*": f"host=127.0.0.1 port={cluster.port}"})
    assert refusal(under_test, "alice", database="other") is None
    assert refusal(under_test, "alice", "wrong", database="other") == WRONG["scram-sha-256"]
    under_test = asking(databases={"*": f"host=127.0.0.1 port={cluster.port}"}, auth_dbname="app")
    assert refusal(under_test, "alice", database="other") is None


def test_an_unknown_database_looks_like_a_wrong_password(asking):
    assert refusal(asking(), "alice", database="nowhere") == WRONG["scram-sha-256"]


def test_console_users_need_the_global_auth_dbname(asking):
    under_test = asking(admin_users="admin, alice", stats_users="bob")
    assert refusal(under_test, "alice", database="pgbouncer") == WRONG["scram-sha-256"]
    under_test.await_log('cannot use the reserved "pgbouncer" database as an auth_dbname')
    under_test = asking(admin_users="admin, alice", stats_users="bob", auth_dbname="app")
    for user in ("alice", "bob"):
        assert refusal(under_test, user, database="pgbouncer") is None
        assert refusal(under_test, user, "wrong", database="pgbouncer") == WRONG["scram-sha-256"]
    assert refusal(under_test, "clear", database="pgbouncer") == WRONG["scram-sha-256"]


# Its connections.


def test_lookups_have_connections_of_their_own_that_no_client_state_reaches(asking, cluster):
    """auth_user logs in as a client, too, and leaves a search_path in which a trap lies."""
    under_test = asking(auth_user="asker_too", secrets=[("asker_too", "asker-secret")], session_state="leak",
                        auth_query="select rolname, rolpassword from pg_authid where rolname = $1", auth_cache_ttl=0)
    cluster.run("create role asker_too login superuser password 'asker-secret'")
    try:
        with under_test.peer("asker_too", secret="asker-secret") as peer:
            peer.rows("create schema trap")
            peer.rows("create view trap.pg_authid as select 'alice'::name as rolname, 'guessed'::text as rolpassword")
            peer.rows("set search_path to trap, pg_catalog")
            pid = peer.value("select pg_backend_pid()")
            assert refusal(under_test, "alice", "guessed") == WRONG["scram-sha-256"]
            assert refusal(under_test, "alice") is None
            assert peer.value("select pg_backend_pid()") == pid
        lookups = cluster.run("select pid from pg_stat_activity where usename = 'asker_too' and query like '%rolname = $1%'")
        assert lookups and all(str(row[0]) != pid for row in lookups)
    finally:
        cluster.run("drop schema if exists trap cascade")
        cluster.run("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'asker_too'")
        await_that(lambda: not cluster.run("select 1 from pg_stat_activity where usename = 'asker_too'"))
        cluster.run("drop role asker_too")


def test_search_path_is_fixed(asking, cluster):
    under_test = asking(auth_query="select $1::text, current_setting('search_path')", auth_type="plain", databases={
        "app": f"host=127.0.0.1 port={cluster.port} dbname=app user=alice password=alice-secret"})
    assert refusal(under_test, "anybody", "pg_catalog, public") is None


# What is remembered.


def test_many_logins_at_once_are_one_query(asking, counted, worker_threads):
    under_test = asking(auth_query="select n, s from public.lookup($1)", worker_threads=worker_threads, auth_cache_recheck=60,
                        auth_cache_ttl=60)
    with concurrent.futures.ThreadPoolExecutor(50) as many:
        assert not any(many.map(lambda _: refusal(under_test), range(200)))
    assert counted() == 1


def test_without_a_cache_each_login_asks(asking, counted):
    under_test = asking(auth_query="select n, s from public.lookup($1)", auth_cache_ttl=0)
    for _ in range(3):
        assert refusal(under_test) is None
    assert counted() == 3


def test_known_and_unknown_names_are_asked_about_alike(asking, counted):
    for user in ("alice", "nobody_at_all"):
        under_test = asking(auth_query="select n, s from public.lookup($1)", auth_cache_recheck=60, auth_cache_ttl=60,
                            auth_cache_negative_ttl=60)
        before = counted()
        for _ in range(5):
            refusal(under_test, user, "wrong")
        assert counted() - before == 1


@pytest.mark.parametrize("auth_type", METHODS)
def test_a_changed_password_works_at_the_first_try(asking, auth_type, temporary, cluster, worker_threads):
    under_test = asking(auth_type=auth_type, auth_cache_ttl=600, worker_threads=worker_threads)
    temporary("changing", "one")
    assert refusal(under_test, "changing", "one") is None
    cluster.run("alter role changing password 'two'")
    time.sleep(1.1)  # auth_cache_recheck: asked at most once a second about one name
    assert refusal(under_test, "changing", "two") is None
    assert refusal(under_test, "changing", "one") == WRONG[auth_type]


@pytest.mark.parametrize("auth_type", METHODS)
def test_a_new_user_gets_in_at_the_first_try(asking, auth_type, temporary):
    under_test = asking(auth_type=auth_type, auth_cache_negative_ttl=600)
    assert refusal(under_test, "newcomer", "one") == WRONG[auth_type]
    temporary("newcomer", "one")
    time.sleep(1.1)  # as above
    assert refusal(under_test, "newcomer", "one") is None


def test_made_up_names_are_bounded_by_the_rate_and_push_nobody_out(asking, counted):
    under_test = asking(auth_query="select n, s from public.lookup($1)", auth_query_max_rate=20, auth_cache_ttl=600)
    assert refusal(under_test) is None
    with concurrent.futures.ThreadPoolExecutor(20) as many:
        started = time.monotonic()
        list(many.map(lambda n: refusal(under_test, f"made_up_{n}", "x"), range(400)))
        took = time.monotonic() - started
    assert counted() <= 20 * (took + 2)
    assert refusal(under_test) is None


def test_a_lost_server_lets_in_whom_it_has_vouched_for_and_nobody_else(asking, own_cluster):
    under_test = asking(cluster=own_cluster, auth_cache_ttl=600, server_connect_timeout=2)
    with under_test.peer("alice"):
        own_cluster.stop()
        time.sleep(1.1)
        assert refusal(under_test, "bob") == ("08001", "bouncer config error")
        assert refusal(under_test, "alice", "wrong") == WRONG["scram-sha-256"]


def test_stale_answers_serve_only_while_the_server_cannot_be_reached(asking, own_cluster):
    under_test = asking(cluster=own_cluster, auth_cache_ttl=1, auth_cache_stale=600, server_connect_timeout=2,
                        admin_users="admin, bob", auth_dbname="app")
    for user, database in (("alice", "app"), ("bob", "pgbouncer")):
        assert refusal(under_test, user, database=database) is None
    own_cluster.stop()
    time.sleep(1.2)
    assert refusal(under_test, "alice", "wrong") == WRONG["scram-sha-256"]
    under_test.await_log("auth_cache_stale")
    assert refusal(under_test, "bob", database="pgbouncer") == ("08001", "bouncer config error")
