"""Reloads: all or nothing, off the loops, by HUP and by the console."""

import os
import signal
import threading
import time

import pytest

from peer import Refused, query
from waiting import SLOW, await_that

BROKEN = {
    "unknown key": ("[pgbouncer]\nno_such_key = 1\n", "no_such_key"),
    "bad value": ("[pgbouncer]\ndefault_pool_size = many\n", "default_pool_size"),
    "bad enum": ("[pgbouncer]\npool_mode = sometimes\n", "pool_mode"),
    "bad time": ("[pgbouncer]\nserver_idle_timeout = 1s\n", "server_idle_timeout"),
    "unknown section": ("[nonsense]\nx = 1\n", "nonsense"),
    "no value": ("[pgbouncer]\nlisten_port\n", ""),
    "unknown connection key": ("[databases]\nbad = hots=127.0.0.1\n", "hots"),
    "bad connection string": ("[databases]\nbad = host='127.0.0.1\n", "bad"),
    "reserved database": ("[databases]\npgbouncer = host=127.0.0.1\n", "pgbouncer"),
    "bad port": ("[databases]\nbad = host=127.0.0.1 port=none\n", "port"),
    "missing include": ("%include /nonexistent/file.ini\n", "/nonexistent/file.ini"),
    "missing certificate": ("[pgbouncer]\nclient_tls_sslmode = require\nclient_tls_cert_file = /nonexistent.crt\n"
                            "client_tls_key_file = /nonexistent.key\n", "/nonexistent"),
    "missing authority": ("[pgbouncer]\nserver_tls_sslmode = verify-full\nserver_tls_ca_file = /nonexistent.ca\n", "/nonexistent.ca"),
    "authority that is none": ("[pgbouncer]\nserver_tls_sslmode = verify-full\nserver_tls_ca_file = /etc/passwd\n", "/etc/passwd"),
}


def config(pooler):
    return {row["key"]: row["value"] for row in pooler.show("CONFIG")}


def append(pooler, text):
    pooler.write_file(pooler.ini_path, pooler.ini() + text)


def hang_up(pooler, pattern):
    """HUP; waits for a log line."""
    mark = len(pooler.log())
    pooler.signal(signal.SIGHUP)
    return pooler.await_log(pattern, start=mark)


@pytest.mark.parametrize("mistake", list(BROKEN))
def test_a_broken_file_changes_nothing(pooler, mistake):
    text, named = BROKEN[mistake]
    under_test = pooler(default_pool_size=3)
    before = config(under_test)
    with under_test.peer() as peer:
        pid = peer.value("select pg_backend_pid()")
        under_test.write(default_pool_size=17, admin_users="somebody", server_idle_timeout=99)
        append(under_test, text)
        mark = len(under_test.log())
        with pytest.raises(Refused) as refused:
            under_test.console("RELOAD")
        assert refused.value.code == "F0000" and refused.value.fields["S"] == "ERROR"
        assert refused.value.text.startswith("RELOAD failed, see logs for additional details")
        assert config(under_test) == before
        under_test.signal(signal.SIGHUP)
        under_test.await_log("got SIGHUP, re-reading config", start=mark)
        await_that(lambda: under_test.log()[mark:].count(named) >= 2, 5)
        assert config(under_test) == before
        assert peer.value("select pg_backend_pid()") == pid
    lines = [line for line in under_test.log()[mark:].splitlines() if os.path.basename(under_test.ini_path) in line]
    number = under_test.ini().count("\n") + 1
    if mistake not in ("missing certificate", "missing authority", "authority that is none"):
        assert any(f":{line}" in text for text in lines for line in (number, number + 1)), lines


def test_a_broken_auth_file_changes_nothing(pooler):
    under_test = pooler()
    under_test.write_file(under_test.users_path, '"alice" "other"\n"bob "broken\n')
    with pytest.raises(Refused) as refused:
        under_test.console("RELOAD")
    assert refused.value.code == "F0000"
    with under_test.peer() as peer:
        assert peer.value("select 1") == "1"


def test_hup_applies_the_file(pooler):
    under_test = pooler(default_pool_size=1)
    holders = [under_test.peer() for _ in range(3)]
    holders[0].ask(query("begin"))
    for peer in holders[1:]:
        peer.send(query("begin"))
    under_test.await_pool(cl_waiting=2)
    under_test.write(default_pool_size=3)
    hang_up(under_test, "got SIGHUP, re-reading config")
    for peer in holders[1:]:
        peer.read_until("Z")
    assert config(under_test)["default_pool_size"] == "3"


def test_reload_answers_its_tag(pooler):
    under_test = pooler()
    assert under_test.console("RELOAD").tag == "RELOAD"
    under_test.await_log("RELOAD command issued")


def test_users_come_and_go(pooler):
    under_test = pooler(entry="user=open")
    assert under_test.refusal("carol").code == "28P01"
    under_test.auth_users = [(name, secret) for name, secret in under_test.auth_users if name != "bob"] + [("carol", "carol-secret")]
    under_test.write()
    under_test.console("RELOAD")
    with under_test.peer("carol") as peer:
        assert peer.value("select 1") == "1"
    assert under_test.refusal("bob").code == "28P01"


def test_changed_password_counts_at_once(pooler):
    under_test = pooler(entry="user=open")
    with under_test.peer() as peer:
        peer.value("select 1")
    under_test.auth_users = [("alice", "new-secret"), ("admin", "admin-secret")]
    under_test.write()
    under_test.console("RELOAD")
    assert under_test.refusal().code == "28P01"
    with under_test.peer(secret="new-secret") as peer:
        assert peer.value("select 1") == "1"


def test_databases_come_and_go(pooler, cluster):
    under_test = pooler()
    assert under_test.refusal("alice", "fresh").code == "3D000"
    gone = under_test.peer("alice", "other")
    gone.value("select 1")
    under_test.databases["fresh"] = f"host=127.0.0.1 port={cluster.port} dbname=app"
    del under_test.databases["other"]
    under_test.write()
    under_test.console("RELOAD")
    with under_test.peer("alice", "fresh") as peer:
        assert peer.value("select 1") == "1"
    answers = gone.read_to_end(5 * SLOW)
    assert [answer.fields["M"] for answer in answers] == ["database removed"]
    await_that(lambda: under_test.show("DATABASES", name="other") == [], 5)
    assert under_test.refusal("alice", "other").code == "3D000"


def test_a_changed_host_renews_the_servers(pooler, cluster):
    """dbname of the entry changes: servers in use finish their transaction, the next one is in the other database."""
    under_test = pooler(default_pool_size=1)
    peer = under_test.peer()
    peer.ask(query("begin"))
    assert peer.value("select current_database()") == "app"
    under_test.databases["app"] = f"host=127.0.0.1 port={cluster.port} dbname=other"
    under_test.write()
    under_test.console("RELOAD")
    assert peer.value("select current_database()") == "app"
    peer.ask(query("commit"))
    await_that(lambda: peer.value("select current_database()") == "other", 5)


def test_a_removed_key_gets_its_default_back(pooler):
    under_test = pooler(server_idle_timeout=77, query_wait_timeout=33)
    assert config(under_test)["server_idle_timeout"] == "77"
    under_test.write(server_idle_timeout=None)
    under_test.console("RELOAD")
    assert config(under_test)["server_idle_timeout"] == "600"
    assert config(under_test)["query_wait_timeout"] == "33"


def test_keys_that_need_a_restart_are_kept_and_warned_about(pooler):
    under_test = pooler()
    mark = len(under_test.log())
    under_test.write(listen_backlog=77, unix_socket_mode="0700")
    assert under_test.console("RELOAD").tag == "RELOAD"
    assert config(under_test)["listen_backlog"] == "128"
    under_test.await_log("WARNING .*listen_backlog", start=mark)


def test_include_is_read_again(pooler):
    under_test = pooler()
    extra = os.path.join(under_test.directory, "more.ini")
    under_test.write_file(extra, "default_pool_size = 7\n")
    append(under_test, f"%include {extra}\n")
    under_test.console("RELOAD")
    assert config(under_test)["default_pool_size"] == "7"
    under_test.write_file(extra, "default_pool_size = 8\n[databases]\nincluded = host=127.0.0.1\n")
    under_test.console("RELOAD")
    assert config(under_test)["default_pool_size"] == "8"
    assert under_test.show("DATABASES", name="included")


@pytest.mark.threads
def test_reloads_under_load(pooler, certificates, worker_threads):
    """Fifty reloads while clients come, ask and go: nobody notices."""
    under_test = pooler(worker_threads=worker_threads, default_pool_size=4, client_tls_sslmode="allow",
                        client_tls_cert_file=certificates.certificate("server"), client_tls_key_file=certificates.key("server"))
    stop, failures, count = threading.Event(), [], [0]

    def work(number):
        try:
            while not stop.is_set():
                with under_test.peer(timeout=20) as peer:
                    for step in range(5):
                        assert peer.value(f"select '{number}-{step}'") == f"{number}-{step}"
                        count[0] += 1
        except BaseException as failure:  # noqa: BLE001
            failures.append(failure)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    with under_test.peer("admin", "pgbouncer") as console:
        for number in range(50):
            under_test.write(default_pool_size=4 + number % 3, stats_period=60 + number)
            if number % 2:
                under_test.signal(signal.SIGHUP)
            else:
                answers = console.ask(query("RELOAD"))
                assert [answer.type for answer in answers] == ["C", "Z"]
    stop.set()
    for thread in threads:
        thread.join(30 * SLOW)
    assert failures == [] and count[0] > 50


def test_a_reload_does_not_hold_up_queries(pooler, certificates):
    """While certificates and a user list of 20,000 are loaded, no query waits long."""
    users = [(f"user{number}", "s" * 50) for number in range(20000)]
    under_test = pooler(worker_threads=1, auth_users=[("alice", "alice-secret"), ("admin", "admin-secret"), *users],
                        client_tls_sslmode="allow", client_tls_cert_file=certificates.certificate("server"),
                        client_tls_key_file=certificates.key("server"))
    times = []
    with under_test.peer() as peer:
        peer.value("select 1")
        for _ in range(5):
            under_test.write()
            under_test.signal(signal.SIGHUP)
            end = time.monotonic() + 0.3
            while time.monotonic() < end:
                start = time.monotonic()
                peer.value("select 1")
                times.append(time.monotonic() - start)
    assert max(times) < 0.25 * SLOW


# Ends.


def test_term_waits_for_clients(pooler):
    under_test = pooler()
    peer = under_test.peer()
    peer.ask(query("begin"))
    under_test.signal(signal.SIGTERM)
    under_test.await_log("got SIGTERM, shutting down, waiting for all clients disconnect")
    with pytest.raises(OSError):
        under_test.open(timeout=2)
    assert peer.value("select 'goes on'") == "goes on"
    peer.ask(query("commit"))
    assert peer.value("select 'goes on'") == "goes on"
    peer.leave()
    assert under_test.exit_status() == 0


def test_int_waits_for_servers_in_use(pooler):
    under_test = pooler(default_pool_size=2)
    busy, idle = under_test.peer(), under_test.peer()
    busy.ask(query("begin"))
    under_test.signal(signal.SIGINT)
    under_test.await_log("got SIGINT, shutting down, waiting for all servers connections to be released")
    assert busy.value("select 'finishes'") == "finishes"
    idle.send(query("select 1"))
    answers = idle.read_to_end(5 * SLOW)
    assert [answer.fields["M"] for answer in answers] == ["server shutting down"]
    assert busy.ask(query("commit"))[-1].body == b"I"
    assert under_test.exit_status() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_at_once(pooler, number):
    under_test = pooler()
    peer = under_test.peer()
    peer.ask(query("begin"))
    under_test.signal(number)
    under_test.await_log("shutting down, waiting")
    under_test.signal(number)
    assert under_test.exit_status() == 0
    peer.read_to_end()


def test_quit_ends_at_once(pooler):
    under_test = pooler()
    peer = under_test.peer()
    peer.ask(query("begin"))
    under_test.signal(signal.SIGQUIT)
    assert under_test.exit_status() == 0
    assert peer.read_to_end() == []
    assert "got SIGQUIT, fast exit" in under_test.log()
