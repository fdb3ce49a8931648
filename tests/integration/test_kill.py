"""What an operator ends: KILL, KILL USER, KILL_CLIENT; and what he sets while it runs: SET."""

import pytest

from peer import Peer, Refused, query, types
from pooler import ask_console
from waiting import await_that


def end_of(peer):
    """The ErrorResponse behind which the pooler closed, as (severity, code, text)."""
    answers = peer.read_to_end()
    fields = [answer.fields for answer in answers if answer.type == "E"][-1]
    return fields["S"], fields["C"], fields["M"]


def test_kill_of_a_database_ends_its_sessions_and_holds_it_until_resume(pooler, cluster, worker_threads):
    under_test = pooler(worker_threads=worker_threads, default_pool_size=10)
    peers = [under_test.peer() for _ in range(4)]
    other = under_test.peer(database="other")
    peers[0].ask(query("begin"))
    peers[1].send(query("select pg_sleep(30)"))
    under_test.await_pool(sv_active=2)
    pids = set(cluster.backends("usename = 'alice' and datname = 'app' and state <> 'idle'"))
    assert under_test.console("KILL app").tag == "KILL"
    for peer in peers:
        assert end_of(peer) == ("FATAL", "57P01", "database removed")
        peer.close()
    await_that(lambda: not pids & set(cluster.backends("state <> 'idle'")), 5, "what ran is cancelled")
    assert other.value("select 1") == "1"
    assert under_test.show("DATABASES", name="app")[0]["paused"] == "1"
    await_that(lambda: not under_test.show("POOLS", database="app"), 5, "the pool is gone")
    under_test.assert_login_waits_for_resume()
    other.close()


def test_kill_of_all_leaves_the_console_and_pauses_each_database(pooler, worker_threads):
    under_test = pooler(worker_threads=worker_threads)
    peers = [under_test.peer(), under_test.peer(database="other")]
    with under_test.peer("admin", "pgbouncer") as console:
        assert ask_console(console, "KILL").tag == "KILL"
        assert ask_console(console, "SHOW VERSION").tag == "SHOW"
        for peer in peers:
            assert end_of(peer)[2] == "database removed"
        for name in ("app", "other"):
            assert ask_console(console, f"RESUME {name}").tag == "RESUME"
    with under_test.peer() as peer:
        assert peer.value("select 1") == "1"


def test_a_killed_database_counts_anew(pooler):
    under_test = pooler()
    with under_test.peer() as peer:
        for _ in range(5):
            peer.ask(query("select 1"))
        under_test.console("KILL app")
    under_test.console("RESUME app")
    await_that(lambda: not under_test.show("POOLS", database="app"), 5)
    with under_test.peer() as peer:
        peer.ask(query("select 1"))
        row = under_test.show("STATS", database="app")[0]
        assert row["total_query_count"] == "1"


@pytest.mark.parametrize("state", ["idle", "active", "waiting", "transaction"])
def test_kill_client_ends_one_and_its_server_is_used_again(pooler, cluster, worker_threads, state):
    under_test = pooler(worker_threads=worker_threads, default_pool_size=2)
    victim, other, holder = (under_test.peer(application_name=name) for name in ("victim", "other", "holder"))
    if state == "waiting":
        other.ask(query("begin")), holder.ask(query("begin"))
    if state != "idle":
        victim.send(query({"active": "select pg_sleep(30)", "waiting": "select 1", "transaction": "begin"}[state]))
    wanted = {"transaction": "active"}.get(state, state)
    number = await_that(lambda: [row["id"] for row in under_test.show("CLIENTS", application_name="victim", state=wanted)], 5)[0]
    assert under_test.console(f"KILL_CLIENT {number}").tag == "KILL_CLIENT"
    assert end_of(victim) == ("FATAL", "57P01", "admin forced disconnect")
    if state == "waiting":
        other.ask(query("commit")), holder.ask(query("commit"))
    await_that(lambda: other.value("select 1") == "1", 5)
    with pytest.raises(Refused) as refused:
        under_test.console(f"KILL_CLIENT {number}")
    assert (refused.value.code, refused.value.text) == ("08P01", "client not found")


def test_kill_client_of_the_own_console(pooler):
    under_test = pooler(worker_threads=4)
    with under_test.peer("admin", "pgbouncer") as console:
        number = next(row["id"] for row in ask_console(console, "SHOW CLIENTS").rows if row["database"] == "pgbouncer")
        console.send(query(f"KILL_CLIENT {number}") + query("SHOW VERSION"))
        assert end_of(console)[2] == "admin forced disconnect"
    assert under_test.console("SHOW VERSION").tag == "SHOW"


def test_kill_user_ends_his_sessions_in_every_database(pooler, worker_threads):
    under_test = pooler(worker_threads=worker_threads)
    alices = [under_test.peer(), under_test.peer(), under_test.peer(database="other")]
    with under_test.peer("bob") as bob:
        table = under_test.console("KILL USER alice")
        assert table.tag == "KILL" and table.notices[0]["M"] == "sessions ended: 3"
        for peer in alices:
            assert end_of(peer) == ("FATAL", "57P01", "admin forced disconnect")
        assert bob.value("select 1") == "1"
    assert under_test.console("KILL USER alice").notices[0]["M"] == "sessions ended: 0"


@pytest.mark.parametrize("command, text", [
    ("KILL nothing", "no such database: nothing"), ("KILL pgbouncer", "cannot kill admin db: pgbouncer"),
    ("KILL_CLIENT", "invalid client pointer supplied"), ("KILL_CLIENT abc", "invalid client pointer supplied"),
    ("KILL_CLIENT 0", "invalid client pointer supplied"), ("KILL_CLIENT 999999", "client not found"),
    ("KILL app now", "invalid command 'KILL app now', use SHOW HELP;"), ("SET nothing = 1", "SET failed"),
    ("SET pool_mode = none", "SET failed"), ("SET default_pool_size = x", "SET failed")])
def test_orders_that_are_refused(shared, command, text):
    with pytest.raises(Refused) as refused:
        shared.console(command)
    assert (refused.value.code, refused.value.text) == ("08P01", text)
    if "invalid command" not in text:
        with pytest.raises(Refused) as refused:
            shared.console(command, user="watcher")
        assert refused.value.text == "admin access needed"


def test_kill_in_a_pause_is_refused(pooler):
    under_test = pooler()
    under_test.console("PAUSE")
    with pytest.raises(Refused) as refused:
        under_test.console("KILL")
    assert refused.value.text == "already suspended/paused"


@pytest.fixture(scope="module")
def shared(shared_pooler):
    return shared_pooler(worker_threads=4)


def setting(pooler, key):
    return next(row["value"] for row in pooler.console("SHOW CONFIG").rows if row["key"] == key)


def test_set_takes_effect_on_every_worker_until_the_next_reload(pooler, worker_threads):
    under_test = pooler(worker_threads=worker_threads, default_pool_size=1)
    peers = [under_test.peer() for _ in range(3)]
    for peer in peers:
        peer.send(query("begin"))
    under_test.await_pool(sv_active=1, cl_waiting=2)
    assert under_test.console("SET default_pool_size = 3").tag == "SET default_pool_size=3"
    under_test.await_pool(sv_active=3, cl_waiting=0)
    assert setting(under_test, "default_pool_size") == "3"
    under_test.console("RELOAD")
    assert setting(under_test, "default_pool_size") == "1"
    assert under_test.console("set query_wait_timeout to '0.5'").tag == "SET query_wait_timeout=0.5"
    assert setting(under_test, "query_wait_timeout") == "0.5"
    for peer in peers:
        peer.close()


def test_set_of_what_is_read_at_start_says_so_and_changes_nothing(shared):
    table = shared.console("SET listen_backlog = 7")
    assert table.tag == "SET listen_backlog=7" and "at start only" in table.notices[0]["M"]
    assert setting(shared, "listen_backlog") == "128"
    shared.await_log("listen_backlog is read at start only")


REFUSED = ("audit_file proxy_trusted auth_file auth_hba_file auth_ident_file auth_mock_key_file auth_ldap_options client_tls_ca_file client_tls_cert_file "
           "client_tls_key_file conffile http_listen_addr http_port http_token logfile server_tls_ca_file server_tls_cert_file "
           "server_tls_key_file").split()


@pytest.mark.parametrize("key", REFUSED)
def test_secrets_files_and_addresses_cannot_be_set(shared, key):
    before = setting(shared, key)
    with Peer(shared.socket_path) as peer:
        peer.login("admin", "admin-secret", "pgbouncer")
        answers = peer.ask(query(f"SET {key} = '/dev/null'"))
    assert types(answers) == "EZ" and answers[0].fields["M"] == "SET failed"
    assert "configuration file" in answers[0].fields["H"]
    assert setting(shared, key) == before and "/dev/null" not in shared.log()


def test_no_key_with_the_looks_of_a_file_is_forgotten(shared):
    keys = {row["key"] for row in shared.console("SHOW CONFIG").rows}
    suspicious = {key for key in keys if key.endswith(("_file", "_command", "_token")) or key.startswith(("http_", "proxy_"))}
    limits = set("http_max_request http_max_response http_memory http_request_timeout http_idle_timeout http_hosts http_plain_from http_allowed_origins http_health ".split())  # an administrator may change them
    assert suspicious - limits <= set(REFUSED)


def test_drivers_settings_are_ignored_for_everybody(shared):
    for name in ("client_encoding", "default_transaction_isolation", "standard_conforming_strings", "datestyle", "timezone"):
        table = shared.console(f"SET {name} TO 'x'", user="watcher")
        assert table.tag == "SET" and table.notices[0]["M"] == "SET ignored"


def test_tls_that_cannot_be_built_keeps_the_old_one(pooler, certificates):
    under_test = pooler(client_tls_sslmode="allow", client_tls_cert_file=certificates.certificate("server"), client_tls_key_file=certificates.key("server"))
    table = under_test.console("SET client_tls_ciphers = nonsense")
    assert table.tag == "SET client_tls_ciphers=nonsense"
    assert table.notices[0]["M"] == "TLS settings could not be applied, still using old configuration"
    assert setting(under_test, "client_tls_ciphers") == "default"
    assert under_test.console("SET client_tls_sslmode = require").tag == "SET client_tls_sslmode=require"
    assert under_test.refusal().text == "SSL required"
