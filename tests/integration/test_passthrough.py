"""auth_type=passthrough: nobody of pgweir's can read pg_authid, and the server decides about each password."""

import concurrent.futures
import os
import re
import socket
import statistics
import subprocess
import threading
import time

import psycopg
import pytest

from peer import Closed, Peer, Refused, tls_context
from test_tls import client_side
from waiting import SLOW, await_that, give_away

WRONG = ("28P01", "password authentication failed")


@pytest.fixture
def passing(pooler, certificates):
    """A pooler that knows the secret of its console's admin and of nobody else."""

    def start(**options):
        options.setdefault("auth_type", "passthrough")
        return pooler(auth_users=[("admin", "admin-secret"), *options.pop("secrets", [])], **client_side(certificates, "prefer"), **options)

    return start


@pytest.fixture
def changing(cluster):
    """Roles by name and password, with more of their clauses; they go after the test."""
    names = []

    def make(name, secret, more="login"):
        cluster.run(f"create role {name} {more} password '{secret}'")
        names.append(name)

    yield make
    for name in names:
        cluster.run(f"select pg_terminate_backend(pid) from pg_stat_activity where usename = '{name}'")
        await_that(lambda: not cluster.run(f"select 1 from pg_stat_activity where usename = '{name}'"))
        cluster.run(f"drop role {name}")


@pytest.fixture
def tls(certificates):
    return tls_context(certificates.ca)


def refusal(under_test, tls, user="alice", secret=None, database="app"):
    """(SQLSTATE, text) with which a login fails; None: it does not, and a query works."""
    try:
        with under_test.peer(user, database, secret=secret, tls=tls) as peer:
            assert peer.value("select session_user") == user
        return None
    except Refused as refused:
        return refused.fields["C"], refused.fields["M"]


# Who gets in.


@pytest.mark.parametrize("user", ["alice", "mdfive", "clear"])  # SCRAM, md5, cleartext
def test_the_server_decides_by_whatever_it_asks_for(passing, tls, user, worker_threads):
    under_test = passing(worker_threads=worker_threads)
    assert refusal(under_test, tls, user, "wrong") == WRONG
    assert refusal(under_test, tls, user) is None
    assert refusal(under_test, tls, user, "wrong") == WRONG
    assert refusal(under_test, tls, user, user + "-secre") == WRONG
    assert refusal(under_test, tls, user) is None


def test_the_password_is_asked_for_in_clear(passing, tls):
    with passing().peer("alice", tls=tls) as peer:
        assert peer.authentication[0] == 3


def test_the_real_drivers(passing, tls):
    under_test = passing()

    def psql(secret, sslmode):
        done = subprocess.run(["psql", "-h", "127.0.0.1", "-p", str(under_test.port), "-U", "alice", "-Atc", "select session_user", "app"],
                              env={**os.environ, "PGPASSWORD": secret, "PGSSLMODE": sslmode}, capture_output=True, text=True,
                              timeout=20 * SLOW)
        return done.stdout.strip() or done.stderr

    for mode in ("prefer", "require"):
        assert psql("alice-secret", mode) == "alice"
        assert "password authentication failed" in psql("wrong", mode)
    assert "over TLS only: connect with sslmode=require" in psql("alice-secret", "disable")
    with psycopg.connect(host="127.0.0.1", port=under_test.port, user="bob", password="bob-secret", dbname="app") as connection:
        assert connection.execute("select session_user").fetchone() == ("bob",)


def test_without_tls_nothing_is_asked(passing, tls):
    under_test = passing()
    with pytest.raises(Refused) as refused:
        under_test.peer("alice")
    assert refused.value.fields["C"] == "28000"
    assert "takes passwords over TLS only: connect with sslmode=require" in refused.value.fields["M"]


def test_a_unix_socket_will_do(passing):
    under_test = passing()
    for secret, may in (("alice-secret", True), ("wrong", False)):
        with Peer(under_test.socket_path) as peer:
            try:
                peer.login("alice", secret, "app")
                assert may
            except Refused as refused:
                assert not may and refused.fields["C"] == "28P01"


def test_a_rule_can_say_it(passing, tls, directory):
    rules = f"{directory}/passing-hba"
    with open(rules, "w") as file:
        file.write("hostssl app all all passthrough\nhostssl other alice all passthrough\nhostssl all all all reject\n"
                   "local all all passthrough\n")
    under_test = passing(auth_type="hba", auth_hba_file=rules)
    assert refusal(under_test, tls, "alice") is None
    assert refusal(under_test, tls, "alice", "wrong") == WRONG
    assert refusal(under_test, tls, "bob", database="other") == ("28000", "login rejected")
    assert under_test.show("VERSION")  # the console over "local": not by passthrough


def test_who_does_not_exist_or_may_not_log_in_looks_like_a_wrong_password(passing, tls, changing):
    under_test = passing()
    changing("expired", "expired-secret", "login valid until '2001-01-01'")
    for user in ("nobody_at_all", "expired"):
        assert refusal(under_test, tls, user) == WRONG
    assert refusal(under_test, tls, "nologin", "wrong") == WRONG
    assert refusal(under_test, tls, "alice", database="nowhere") == WRONG
    assert refusal(under_test, tls, "tlsonly") == WRONG  # pg_hba.conf has it rejected without TLS
    # Its proof was good: it may hear the rest.
    assert refusal(under_test, tls, "nologin") == ("28000", 'role "nologin" is not permitted to log in')


def test_a_database_that_the_server_does_not_have_is_told_after_a_good_proof(passing, tls, cluster):
    under_test = passing(databases={"*": f"host=127.0.0.1 port={cluster.port}"})
    assert refusal(under_test, tls, "alice", database="app") is None
    assert refusal(under_test, tls, "alice", database="nowhere") == ("3D000", 'database "nowhere" does not exist')
    assert refusal(under_test, tls, "alice", "wrong", database="nowhere") == WRONG
    assert "nowhere" not in [row["name"] for row in under_test.show("DATABASES")]


def test_names_that_nobody_has_leave_nothing_behind(passing, tls, cluster):
    under_test = passing(databases={"*": f"host=127.0.0.1 port={cluster.port}"})
    for number in range(5):
        assert refusal(under_test, tls, f"made_up_{number}", database=f"made_up_{number}") == WRONG
    assert not [row for row in under_test.show("POOLS") if "made_up" in row["database"] + row["user"]]
    assert not [row for row in under_test.show("DATABASES") if "made_up" in row["name"]]


def test_who_is_outside_of_allow_from_looks_like_a_wrong_password(passing, tls, cluster):
    entry = f"host=127.0.0.1 port={cluster.port} dbname=app"
    under_test = passing(databases={"app": f"{entry} allow_from=192.0.2.0/24", "open": f"{entry} allow_from=127.0.0.1"})
    mark = cluster.log_mark()
    assert refusal(under_test, tls, "alice", database="open") is None
    logins = cluster.logins_since(mark, "alice")
    for _ in range(2):
        assert refusal(under_test, tls, "alice") == WRONG
    assert cluster.logins_since(mark, "alice") == logins


def test_an_empty_password_is_refused(passing, tls):
    assert refusal(passing(), tls, "alice", "")[0] == "28P01"


@pytest.mark.parametrize("stored", ["mdfive", "alice"])
def test_what_pg_authid_holds_is_no_password(passing, tls, cluster, stored):
    """Who has seen the hash does not get in with it."""
    hashed = cluster.run(f"select rolpassword from pg_authid where rolname = '{stored}'")[0][0]
    under_test = passing()
    assert refusal(under_test, tls, stored, hashed) == WRONG
    assert refusal(under_test, tls, stored) is None


@pytest.mark.parametrize("secret", ["md5" + "0123456789abcdef" * 2, "x" * 900, "pässwörd", "SCRAM-SHA-256$4096:YWFhYQ==$YWFh:YWFh"])
def test_passwords_of_any_form(passing, tls, changing, secret, cluster):
    changing("peculiar", "later")
    cluster.run("set password_encryption to 'scram-sha-256'; alter role peculiar password 'later'")
    if not secret.startswith(("md5", "SCRAM")):  # PostgreSQL would take those for hashes
        cluster.run(f"alter role peculiar password '{secret}'")
        assert refusal(passing(), tls, "peculiar", secret) is None
    else:
        assert refusal(passing(), tls, "peculiar", secret) == WRONG


def test_console_users_prove_themselves_by_auth_file(passing, tls):
    under_test = passing(admin_users="admin, alice")
    assert under_test.show("VERSION")
    with pytest.raises(Refused):
        under_test.peer("alice", "pgbouncer", tls=tls)
    with under_test.peer("admin", "pgbouncer", tls=tls) as peer:
        assert peer.authentication[0] == 10


def test_a_server_that_does_not_ask_proves_nothing(passing, tls, cluster, own_cluster):
    under_test = passing()
    for secret in ("open-secret", "wrong"):
        assert refusal(under_test, tls, "open", secret)[0] == "28000"
    assert 'lets user "open" in without asking' in under_test.log()
    with open(own_cluster.data + "/pg_hba.conf", "w") as file:
        file.write("local all postgres trust\nhost all postgres all trust\nlocal all all peer\nhostssl all all all cert\n")
    own_cluster.run("select pg_reload_conf()")
    local = passing(databases={"app": f"host={own_cluster.socket_directory} port={own_cluster.port} dbname=app"})
    for _ in range(2):
        for secret in ("alice-secret", "wrong"):
            assert refusal(local, tls, "alice", secret)[0] in ("28000", "28P01")
    assert not re.search("alice-secret", local.log())


@pytest.mark.parametrize("changed", [dict(server_tls_sslmode="require"), dict(server_tls_sslmode="prefer"), {}])
def test_a_server_that_others_could_be_taken_for_stops_the_start(passing, certificates, changed):
    database = {"app": "host=db.example.com dbname=app"}
    with pytest.raises(Exception, match="exit status 1"):
        passing(databases=database, **changed)
    with pytest.raises(Exception, match="exit status 1"):
        passing(databases={"*": "host=192.0.2.1"}, **changed)
    passing(databases=database, server_tls_sslmode="verify-full", server_tls_ca_file=certificates.ca).stop()


def test_set_and_reload_check_it_too(passing, pooler):
    under_test = pooler(databases={"app": "host=192.0.2.1 dbname=app"})
    with pytest.raises(Refused):
        under_test.console("SET auth_type = 'passthrough'")
    under_test.await_log("where others can listen")
    under_test.write(auth_type="passthrough")
    with pytest.raises(Refused):
        under_test.console("RELOAD")


def test_verified_tls_to_the_server(passing, tls, cluster, certificates):
    under_test = passing(databases={"app": f"host=localhost port={cluster.port} dbname=app"},
                         server_tls_sslmode="verify-full", server_tls_ca_file=certificates.ca)
    assert refusal(under_test, tls, "tlsonly") is None
    assert refusal(under_test, tls, "tlsonly", "wrong") == WRONG


def test_a_forced_user_needs_a_proof_of_the_clients_own(passing, tls, cluster):
    entry = f"host=127.0.0.1 port={cluster.port} dbname=app user=bob password=bob-secret"
    under_test = passing(databases={"app": entry})
    with under_test.peer("alice", tls=tls) as peer:
        assert peer.value("select session_user") == "bob"
    assert refusal(under_test, tls, "alice", "bob-secret") == WRONG


def test_what_the_users_section_says_holds(passing, tls):
    under_test = passing(users={"alice": "max_user_client_connections=1"})
    with under_test.peer("alice", tls=tls):
        assert refusal(under_test, tls, "alice")[1] == "client connections exceeded (max_user_client_connections)"


# What is remembered.


def test_a_login_costs_no_server_login(passing, tls, cluster, worker_threads):
    under_test = passing(worker_threads=worker_threads)
    assert refusal(under_test, tls) is None
    mark = cluster.log_mark()
    for _ in range(5):
        assert refusal(under_test, tls) is None
    assert cluster.logins_since(mark, "alice") == 0


def test_without_a_time_each_login_is_asked_about(passing, tls, cluster):
    under_test = passing(auth_cache_ttl=0)
    assert refusal(under_test, tls) is None
    mark = cluster.log_mark()
    for _ in range(3):
        assert refusal(under_test, tls) is None
    assert cluster.logins_since(mark, "alice") == 3


def test_many_logins_at_once_are_one_question(passing, tls, cluster, worker_threads):
    under_test = passing(worker_threads=worker_threads, auth_cache_ttl=600, default_pool_size=1)
    mark = cluster.log_mark()
    with concurrent.futures.ThreadPoolExecutor(50) as many:
        assert not any(many.map(lambda _: refusal(under_test, tls), range(200)))
    assert cluster.logins_since(mark, "alice") == 2  # one that asked, and the pool's server


def test_wrong_passwords_lock_nobody_out(passing, tls):
    """While one guesses at alice from everywhere, alice herself comes in, remembered or not."""
    under_test = passing(auth_cache_ttl=1, max_client_conn=2000)
    stop = threading.Event()

    def guess(number):
        tries = 0
        while not stop.is_set():
            assert refusal(under_test, tls, "alice", f"guess {number} {tries}") == WRONG
            tries += 1
        return tries

    with concurrent.futures.ThreadPoolExecutor(30) as guessers:
        running = [guessers.submit(guess, number) for number in range(30)]
        try:
            for _ in range(20):
                started = time.monotonic()
                assert refusal(under_test, tls, "alice") is None
                assert time.monotonic() - started < 2 * SLOW
        finally:
            stop.set()
        assert sum(future.result() for future in running) > 0


def test_a_changed_password_works_at_the_first_try_and_the_old_one_not_for_long(passing, tls, changing, cluster):
    under_test = passing(auth_cache_ttl=2)
    changing("moving", "one")
    assert refusal(under_test, tls, "moving", "one") is None
    cluster.run("alter role moving password 'two'")
    started = time.monotonic()
    assert refusal(under_test, tls, "moving", "two") is None
    await_that(lambda: refusal(under_test, tls, "moving", "one") == WRONG, 5, "the old one is refused")
    assert time.monotonic() - started < 2 + 2 * SLOW
    assert refusal(under_test, tls, "moving", "two") is None


def test_servers_use_the_password_that_holds(passing, tls, changing, cluster):
    under_test = passing(auth_cache_ttl=600)
    changing("moving", "one")
    with under_test.peer("moving", secret="one", tls=tls) as early:
        cluster.run("alter role moving password 'two'")
        with under_test.peer("moving", secret="two", tls=tls):
            under_test.console("RECONNECT")
            assert early.value("select 1") == "1"
            # Remembered, the old one still lets in; it does not take the place of the new one.
            with under_test.peer("moving", secret="one", tls=tls) as late:
                under_test.console("RECONNECT")
                assert late.value("select 1") == "1"


def test_a_password_that_a_server_refuses_is_remembered_no_longer(passing, tls, changing, cluster):
    under_test = passing(auth_cache_ttl=600)
    changing("moving", "one")
    with under_test.peer("moving", secret="one", tls=tls) as early:
        cluster.run("alter role moving password 'two'")
        under_test.console("RECONNECT")
        with pytest.raises((Refused, Closed, AssertionError)):
            early.value("select 1")
    assert refusal(under_test, tls, "moving", "one") == WRONG
    assert refusal(under_test, tls, "moving", "two") is None


def test_flush_auth_forgets_it(passing, tls, cluster):
    under_test = passing(auth_cache_ttl=600)
    for command, logins in (("FLUSH AUTH other", 0), ("FLUSH AUTH app bob", 0), ("FLUSH AUTH app alice", 1), ("FLUSH AUTH app", 1),
                            ("FLUSH AUTH", 1)):
        assert refusal(under_test, tls) is None
        mark = cluster.log_mark()
        under_test.console(command)
        assert refusal(under_test, tls) is None
        assert cluster.logins_since(mark, "alice") == logins, command


def test_two_entries_with_the_same_user_and_other_passwords(passing, tls, cluster, own_cluster):
    own_cluster.run("alter role alice password 'elsewhere'")
    under_test = passing(databases={"here": f"host=127.0.0.1 port={cluster.port} dbname=app",
                                    "there": f"host=127.0.0.1 port={own_cluster.port} dbname=app"})
    for _ in range(2):
        came_in = {(database, secret) for database in ("here", "there") for secret in ("alice-secret", "elsewhere")
                   if refusal(under_test, tls, "alice", secret, database) is None}
        assert came_in == {("here", "alice-secret"), ("there", "elsewhere")}


# The questions.


def test_questions_take_no_place_of_a_pool(passing, tls):
    under_test = passing(default_pool_size=1, max_db_connections=1, query_wait_timeout=5)
    with under_test.peer("alice", tls=tls) as holder:
        holder.rows("begin")
        assert refusal(under_test, tls, "alice", "wrong") == WRONG
        assert refusal(under_test, tls, "bob", "wrong") == WRONG
        holder.rows("rollback")


class Hanging:
    """A server that takes connections, and says nothing."""

    def __enter__(self):
        self.socket = socket.socket()
        self.socket.bind(("127.0.0.1", 0))
        self.socket.listen(512)
        self.port = self.socket.getsockname()[1]
        return self

    def __exit__(self, *_):
        self.socket.close()


def test_a_server_that_hangs_holds_up_its_own_logins_alone(passing, tls, cluster):
    with Hanging() as hanging:
        under_test = passing(auth_passthrough_max=2, databases={
            "app": f"host=127.0.0.1 port={cluster.port} dbname=app", "hung": f"host=127.0.0.1 port={hanging.port}"})
        stuck = [threading.Thread(target=lambda n=n: attempt(under_test, tls, n)) for n in range(6)]
        for thread in stuck:
            thread.start()
        await_that(lambda: len(under_test.show("SERVERS", database="hung")) == 2, 10, "two questions are under way")
        assert refusal(under_test, tls, "alice") is None
        assert refusal(under_test, tls, "bob", "wrong") == WRONG
        assert len(under_test.show("SERVERS", database="hung")) == 2
        under_test.kill()
        for thread in stuck:
            thread.join(10)


def attempt(under_test, tls, number):
    try:
        under_test.peer("alice", "hung", secret=f"guess {number}", tls=tls).close()
    except (Refused, Closed, OSError):
        pass


def test_a_full_queue_refuses(passing, tls):
    with Hanging() as hanging:
        under_test = passing(auth_passthrough_max=1, auth_passthrough_queue=3, databases={
            "app": f"host=127.0.0.1 port={hanging.port}", "hung": f"host=127.0.0.1 port={hanging.port}"})
        stuck = [threading.Thread(target=lambda n=n: attempt(under_test, tls, n)) for n in range(3)]
        for thread in stuck:
            thread.start()
        await_that(lambda: [row for row in under_test.show("CLIENTS") if row["database"] == "hung"] or
                   len(under_test.show("SERVERS", database="hung")) == 1, 10)

        def refused():
            peer = under_test.open(timeout=1)
            try:
                peer.start_tls(tls).login("bob", "another", "app", 0x00030000)
            except Refused as answer:
                return answer.fields["C"] == "53300"
            except (Closed, OSError, TimeoutError):
                return False
            finally:
                peer.close()

        await_that(refused, 10, "the queue is full")
        under_test.kill()
        for thread in stuck:
            thread.join(10)


def test_who_leaves_is_not_asked_about(passing, tls, cluster):
    with Hanging() as hanging:
        under_test = passing(auth_passthrough_max=1, databases={"app": f"host=127.0.0.1 port={hanging.port}"},
                             server_connect_timeout=1)
        peers = []
        for number in range(5):
            peer = under_test.open()
            peer.start_tls(tls)
            peer.send(login_flight("alice", f"guess {number}"))
            peers.append(peer)
        await_that(lambda: len(under_test.show("SERVERS")) == 1)
        for peer in peers:
            peer.close()
        await_that(lambda: len(under_test.show("SERVERS")) == 0, 10)
        assert len(under_test.show("SERVERS")) == 0


def login_flight(user, secret):
    from peer import startup
    body = secret.encode() + b"\0"
    return startup(user=user, database="app") + b"p" + (len(body) + 4).to_bytes(4, "big") + body


def test_logins_wait_while_the_server_is_away_or_paused(passing, tls, own_cluster):
    under_test = passing(cluster=own_cluster)
    results = []
    log_in = lambda: results.append(refusal(under_test, tls))
    own_cluster.stop()
    thread = threading.Thread(target=log_in)
    thread.start()
    under_test.await_log("sbuf_connect failed")
    own_cluster.start()
    thread.join(30 * SLOW)
    assert results == [None]
    under_test.console("FLUSH AUTH")
    under_test.console("PAUSE app")
    mark = own_cluster.log_mark()
    thread = threading.Thread(target=log_in)
    thread.start()
    await_that(lambda: "login attempt" in under_test.log())
    assert own_cluster.logins_since(mark, "alice") == 0
    under_test.console("RESUME app")
    thread.join(30 * SLOW)
    assert results == [None, None]


# What others can find out.


def test_no_password_is_anywhere(passing, tls, changing):
    under_test = passing(verbose=2, http_port=0)
    changing("canary", "canary-in-the-mine")
    assert refusal(under_test, tls, "canary", "canary-in-the-mine") is None
    assert refusal(under_test, tls, "canary", "guess-of-the-canary") == WRONG
    for what in ("POOLS", "SERVERS", "CLIENTS", "USERS", "DATABASES", "CONFIG", "MEM", "ERRORS", "WORKERS", "LISTS", "STATS"):
        assert "mine" not in str(under_test.show(what)) and "guess" not in str(under_test.show(what))
    assert "in-the-mine" not in under_test.log() and "guess-of" not in under_test.log()
    assert 'password authentication failed for user "canary"' in under_test.log()  # the server's words, for the operator


def test_known_and_unknown_take_the_same_time(passing, tls):
    """Median over interleaved tries: an unknown user, a wrong password, a database that nobody has."""
    under_test = passing(log_connections=0, log_disconnections=0)
    cases = {"wrong": ("alice", "app"), "unknown": ("nobody_at_all", "app"), "nowhere": ("alice", "nowhere")}
    took = {name: [] for name in cases}
    for number in range(60):
        for name, (user, database) in cases.items():
            started = time.monotonic()
            assert refusal(under_test, tls, user, f"guess {number}", database) == WRONG
            took[name].append(time.monotonic() - started)
    medians = {name: statistics.median(times) for name, times in took.items()}
    assert max(medians.values()) < 1.5 * min(medians.values()), medians
