"""Replication connections: each has a server of its own, which nobody else ever gets, and which ends with its client."""

import os
import signal
import subprocess
import tempfile
import threading

import psycopg
import pytest

from cluster import BIN, Cluster
from peer import Closed, Refused, copy_data, message, query
from pooler import USERS
from waiting import await_that, give_away

NAMES = USERS + [("streamer", "streamer-secret")]


@pytest.fixture(scope="module")
def publisher(directory, template):
    """A PostgreSQL with logical decoding, whose role `streamer` may only replicate, and `alice` may too."""
    cluster = Cluster(template, tempfile.mkdtemp(prefix="publisher-", dir=directory))
    with open(os.path.join(cluster.data, "postgresql.conf"), "a") as file:
        file.write("wal_level = logical\nmax_wal_senders = 6\nmax_replication_slots = 6\nwal_sender_timeout = 5s\n")
    path = os.path.join(cluster.data, "pg_hba.conf")
    with open(path) as file:
        rules = file.read()
    with open(path, "w") as file:
        file.write("host replication streamer all scram-sha-256\nhost all streamer all reject\n" + rules)
    cluster.start()
    cluster.run("create role streamer login replication password 'streamer-secret'; alter role alice replication")
    yield cluster
    cluster.destroy()


def start(pooler, publisher, entry="", **options):
    server = f"host=127.0.0.1 port={publisher.port}"
    databases = {"app": f"{server} dbname=app {entry}", "replication": server, "limited": f"{server} dbname=app pool_size=2"}
    return pooler(publisher, databases=databases, auth_users=NAMES, **options)


def walsenders(publisher):
    return publisher.backends("backend_type = 'walsender'")


def await_senders(publisher, count):
    await_that(lambda: len(walsenders(publisher)) == count, 10, f"{count} WAL senders")


def run(under_test, program, *arguments, user="streamer", dbname=None, **more):
    """Starts a program of PostgreSQL against the pooler."""
    environment = {**os.environ, "PGPASSWORD": user + "-secret", "PGSSLMODE": "disable"}
    where = ["-h", under_test.host, "-p", str(under_test.port), "-U", user] + (["-d", dbname] if dbname else [])
    return subprocess.Popen([os.path.join(BIN, program), *where, *arguments], env=environment, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, **more)


def finish(process, seconds=20):
    output = process.communicate(timeout=seconds)[0]
    assert process.returncode == 0, output
    return output


def test_a_physical_connection_identifies_the_system(pooler, publisher):
    under_test = start(pooler, publisher)
    with under_test.peer("streamer", "replication", replication="true") as peer:
        direct = publisher.run("select system_identifier::text from pg_control_system()")[0][0]
        assert peer.value("IDENTIFY_SYSTEM") == direct
        assert peer.error("select 1")["M"].startswith("cannot execute SQL commands in WAL sender")
        assert peer.value("SHOW wal_level") == "logical"


@pytest.mark.parametrize("mode", ["session", "transaction", "statement"])
def test_a_logical_connection_keeps_its_session_in_every_mode(pooler, publisher, mode):
    under_test = start(pooler, publisher, pool_mode=mode)
    with under_test.peer(replication="database", application_name="follower", lock_timeout="7s",
                         options="-c work_mem=7MB") as peer:
        assert peer.rows("IDENTIFY_SYSTEM")[0][3] == "app"
        first = peer.value("select pg_backend_pid()")
        for text in ("set extra_float_digits = 0", "begin", "select 1"):
            peer.ask(query(text))
        assert peer.value("select pg_backend_pid()") == first
        peer.ask(query("commit"))
        assert peer.value("show extra_float_digits") == "0"
        assert (peer.value("show work_mem"), peer.value("show lock_timeout")) == ("7MB", "7s")
        assert peer.value("show application_name") == "follower"


def test_psql_speaks_replication_commands(pooler, publisher):
    under_test = start(pooler, publisher)
    for kind in ("database", "true", "on", "yes", "1"):
        user, last = ("alice", "|app") if kind == "database" else ("streamer", "|")
        process = run(under_test, "psql", "-XAtc", "IDENTIFY_SYSTEM", f"dbname=app replication={kind}", user=user)
        assert finish(process).rstrip().endswith(last)
    process = run(under_test, "psql", "-XAtc", "select 1", "dbname=app replication=off", user="alice")
    assert finish(process).strip() == "1"


def test_wal_is_received_through_the_pooler(pooler, publisher, directory):
    under_test = start(pooler, publisher)
    folder = tempfile.mkdtemp(prefix="wal-", dir=directory)
    process = run(under_test, "pg_receivewal", "-D", folder, "--no-loop", "--synchronous", "-n", "-s", "1", user="streamer")
    try:
        await_senders(publisher, 1)
        sent = "select count(*) from pg_stat_replication where flush_lsn >= %s"
        with publisher.connect() as connection:
            connection.execute("insert into copied select g, repeat('x', 500) from generate_series(1, 100) g")
            connection.execute("create table if not exists logged (t text)")
            connection.execute("insert into logged select repeat('y', 1000) from generate_series(1, 5000)")
            target = connection.execute("select pg_current_wal_flush_lsn()").fetchone()[0]
            # What it has written it says in the other direction of the same COPY.
            await_that(lambda: connection.execute(sent, (target,)).fetchone()[0] == 1, 15, "all is received and confirmed")
    finally:
        process.send_signal(signal.SIGINT)
        finish(process)
    assert os.listdir(folder)
    await_senders(publisher, 0)


def test_a_base_backup_is_taken_through_the_pooler(pooler, publisher, directory):
    under_test = start(pooler, publisher)
    folder = os.path.join(tempfile.mkdtemp(prefix="base-", dir=directory), "data")
    finish(run(under_test, "pg_basebackup", "-D", folder, "-X", "stream", "-c", "fast"), 60)
    assert os.path.exists(os.path.join(folder, "PG_VERSION"))
    finish(subprocess.Popen([os.path.join(BIN, "pg_verifybackup"), "-n", folder], stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True))


def test_logical_changes_are_received_through_the_pooler(pooler, publisher, directory):
    under_test = start(pooler, publisher)
    publisher.run("create table if not exists changed (n int)")
    folder = tempfile.mkdtemp(prefix="logical-", dir=directory)
    path = os.path.join(folder, "changes")
    publisher.run("select pg_create_logical_replication_slot('changes', 'test_decoding')")
    process = run(under_test, "pg_recvlogical", "--slot=changes", "--start", "-f", path, "--no-loop", "-F", "0", "-s", "1",
                  user="alice", dbname="app")
    try:
        await_senders(publisher, 1)
        publisher.run("insert into changed select generate_series(1, 3)")
        await_that(lambda: os.path.exists(path) and open(path).read().count("INSERT") == 3, 15, "three changes arrive")
        assert under_test.show("CLIENTS", database="app", user="alice")[0]["replication"] == "logical"
        server = under_test.show("SERVERS", database="app", user="alice")[0]
        assert (server["replication"], server["state"]) == ("logical", "active")
    finally:
        process.send_signal(signal.SIGINT)
        finish(process)
    await_senders(publisher, 0)
    publisher.run("select pg_drop_replication_slot('changes')")


def stream(peer, publisher):
    """START_REPLICATION: the peer is in COPY BOTH afterwards."""
    start_at = publisher.run("select pg_current_wal_lsn()")[0][0]
    peer.send(query(f"START_REPLICATION PHYSICAL {start_at}"))
    assert peer.read_until("W")[-1].type == "W"


def test_both_directions_of_a_stream_end_as_the_protocol_says(pooler, publisher):
    under_test = start(pooler, publisher)
    with under_test.peer("streamer", "replication", replication="true") as peer:
        stream(peer, publisher)
        publisher.run("select pg_switch_wal()")
        assert peer.read_until("d")[-1].body[:1] in (b"w", b"k")
        peer.send(copy_data(b"r" + bytes(33)), message("c"))
        kinds = [answer.type for answer in peer.read_until("Z")]
        assert [kind for kind in kinds if kind != "d"] == ["c", "C", "C", "Z"]
        assert peer.rows("IDENTIFY_SYSTEM")


def test_the_server_ends_with_its_client_and_is_nobody_elses(pooler, publisher):
    under_test = start(pooler, publisher)
    with under_test.connect() as ordinary:
        ordinary.execute("select 1")
        with under_test.peer("alice", replication="database") as peer:
            own = int(peer.value("select pg_backend_pid()"))
            assert ordinary.execute("select pg_backend_pid()").fetchone()[0] != own
            pool = under_test.pool()
            assert (pool["sv_active"], pool["sv_idle"]) == (1, 1)
        await_senders(publisher, 0)
        assert own not in publisher.backends()
        under_test.await_pool(sv_active=0, sv_idle=1)


@pytest.mark.parametrize("how", ["terminate", "reset", "finish"])
def test_a_stream_whose_client_vanishes_ends(pooler, publisher, how):
    under_test = start(pooler, publisher)
    peer = under_test.peer("streamer", "replication", replication="true")
    stream(peer, publisher)
    {"terminate": lambda: peer.send(message("X")), "reset": peer.reset, "finish": peer.finish}[how]()
    await_senders(publisher, 0)
    peer.close()


def test_what_a_vanished_client_ran_is_cancelled(pooler, publisher):
    under_test = start(pooler, publisher)
    peer = under_test.peer(replication="database")
    peer.send(query("select pg_sleep(60)"))
    await_that(lambda: publisher.backends("query like 'select pg_sleep(60)%' and state = 'active'"), 5, "it runs")
    peer.close()
    await_senders(publisher, 0)


def test_no_timeout_of_queries_ends_a_stream(pooler, publisher):
    under_test = start(pooler, publisher, query_timeout=1, transaction_timeout=3, idle_transaction_timeout=1)
    with under_test.peer("streamer", "replication", replication="true") as peer:
        stream(peer, publisher)
        with under_test.connect() as other:
            with pytest.raises(psycopg.errors.QueryCanceled):
                other.execute("select pg_sleep(4)")
        publisher.run("select pg_switch_wal()")
        assert peer.read_until("d")


def test_it_counts_in_its_pool_and_idle_servers_make_room(pooler, publisher, worker_threads):
    under_test = start(pooler, publisher, worker_threads=worker_threads, query_wait_timeout=2)
    ordinary = [under_test.connect(dbname="limited") for _ in range(2)]
    for connection in ordinary:
        connection.execute("begin")
    for connection in ordinary:
        connection.execute("commit")
    under_test.await_pool(database="limited", sv_idle=2)
    with under_test.peer(database="limited", replication="database") as first:
        under_test.await_pool(database="limited", sv_active=1, sv_idle=1)
        with under_test.peer(database="limited", replication="database"):
            under_test.await_pool(database="limited", sv_active=2, sv_idle=0)
            with pytest.raises(psycopg.Error, match="query_wait_timeout"):
                ordinary[0].execute("select 1")
        assert first.rows("IDENTIFY_SYSTEM")
        with under_test.connect(dbname="limited") as later:
            assert later.execute("select 1").fetchone() == (1,)
    for connection in ordinary:
        connection.close()


def test_it_gets_the_next_place_of_a_busy_pool(pooler, publisher, worker_threads):
    under_test = start(pooler, publisher, worker_threads=worker_threads)
    busy = [under_test.connect(dbname="limited") for _ in range(2)]
    for connection in busy:
        connection.execute("begin")
    done = []

    def log_in():
        with under_test.peer(database="limited", replication="database") as peer:
            done.append(peer.rows("IDENTIFY_SYSTEM"))

    thread = threading.Thread(target=log_in)
    thread.start()
    under_test.await_pool(database="limited", cl_waiting=1)
    assert not done
    busy[0].execute("commit")
    thread.join(10)
    assert done
    busy[0].execute("select 1")
    for connection in busy:
        connection.close()


def test_a_client_that_leaves_while_it_waits_takes_nothing_with_it(pooler, publisher):
    under_test = start(pooler, publisher)
    busy = [under_test.connect(dbname="limited") for _ in range(2)]
    for connection in busy:
        connection.execute("begin")
    errors = []

    def log_in():
        try:
            under_test.peer(database="limited", replication="database", timeout=1.0).close()
        except Exception as error:  # noqa: BLE001
            errors.append(error)

    thread = threading.Thread(target=log_in)
    thread.start()
    under_test.await_pool(database="limited", cl_waiting=1)
    thread.join(10)
    assert errors
    under_test.await_pool(database="limited", cl_waiting=0)
    for connection in busy:
        connection.execute("commit")
    under_test.await_pool(database="limited", sv_active=0, sv_idle=2)
    for connection in busy:
        connection.close()


def test_the_limits_above_the_pool_hold_for_it(pooler, publisher):
    under_test = start(pooler, publisher, entry="max_db_connections=2")
    with under_test.connect("alice") as alice, under_test.connect("bob") as bob:
        alice.execute("select 1")
        bob.execute("select 1")
        with under_test.peer("alice", replication="database") as peer:
            assert peer.rows("IDENTIFY_SYSTEM")
            assert len(publisher.backends("usename in ('alice', 'bob')")) == 2
            assert bob.execute("select 1").fetchone() == (1,)


def test_the_servers_refusal_is_told(pooler, publisher):
    under_test = start(pooler, publisher)
    refused = under_test.refusal(replication="database", no_such_setting="1")
    assert refused.fields["C"] == "42704"
    refused = under_test.refusal("bob", replication="database")
    assert refused.fields["C"] == "42501" and "walsender" in refused.fields["M"]
    assert under_test.peer("bob").value("select 1") == "1"
    peers = [under_test.peer("streamer", "replication", replication="true") for _ in range(6)]
    refused = under_test.refusal("streamer", "replication", replication="true")
    assert refused.fields["C"] == "53300"
    for peer in peers:
        peer.close()
    await_senders(publisher, 0)
    assert under_test.peer("streamer", "replication", replication="true").rows("IDENTIFY_SYSTEM")


def test_a_server_that_goes_ends_its_client(pooler, publisher):
    under_test = start(pooler, publisher)
    peer = under_test.peer(replication="database")
    publisher.run(f"select pg_terminate_backend({peer.value('select pg_backend_pid()')})")
    with pytest.raises(Closed):
        while True:
            peer.read()


def test_reconnect_ends_it_with_a_reason(pooler, publisher):
    under_test = start(pooler, publisher)
    peer = under_test.peer(replication="database")
    under_test.console("RECONNECT")
    answer = peer.read()
    assert (answer.type, answer.fields["M"]) == ("E", "database configuration changed")
    peer.close()
    await_senders(publisher, 0)


def test_a_server_that_is_away_is_waited_for(pooler, directory, template):
    cluster = Cluster(template, tempfile.mkdtemp(prefix="away-", dir=directory)).start()
    try:
        cluster.run("alter role alice replication")
        under_test = start(pooler, cluster, server_login_retry=1)
        cluster.stop()
        done = []

        def log_in():
            with under_test.peer(replication="database", timeout=20.0) as peer:
                done.append(peer.rows("IDENTIFY_SYSTEM"))

        thread = threading.Thread(target=log_in)
        thread.start()
        under_test.await_pool(cl_waiting=1)
        cluster.start()
        thread.join(15)
        assert done
    finally:
        cluster.destroy()


def test_physical_replication_needs_the_word_in_the_rules(pooler, publisher, directory):
    folder = tempfile.mkdtemp(prefix="rules-", dir=directory)
    give_away(folder)
    path = os.path.join(folder, "hba.conf")
    with open(path, "w") as file:
        file.write("local all all scram-sha-256\nhost replication streamer all scram-sha-256\nhost all alice all scram-sha-256\n")
    give_away(path)
    under_test = start(pooler, publisher, auth_type="hba", auth_hba_file=path)
    assert under_test.peer("streamer", "replication", replication="true").rows("IDENTIFY_SYSTEM")
    assert under_test.peer("alice", replication="database").rows("IDENTIFY_SYSTEM")
    for user, kind in (("alice", "true"), ("streamer", "database"), ("streamer", "off")):
        with pytest.raises(Refused) as failure:
            under_test.peer(user, "app", replication=kind)
        assert failure.value.fields["M"] == "no authentication method is found"


def test_shutting_down_at_once_leaves_no_sender(pooler, publisher):
    under_test = start(pooler, publisher)
    peer = under_test.peer("streamer", "replication", replication="true")
    stream(peer, publisher)
    under_test.stop()
    peer.close()
    await_senders(publisher, 0)
