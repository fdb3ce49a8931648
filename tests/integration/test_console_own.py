"""pgweir's own tables on the console: SHOW WHY, SESSIONS, ERRORS, WORKERS, HISTOGRAMS."""

import contextlib
import threading

import pytest

from peer import Closed, Refused, query
from waiting import await_that


def why(pooler, number, user="admin"):
    return pooler.console(f"SHOW WHY {number}", user=user).rows


def number_of(pooler, name):
    return int(await_that(lambda: pooler.show("CLIENTS", application_name=name), 5)[0]["id"])


def test_why_names_the_limit_and_who_holds_the_servers(pooler, cluster, worker_threads):
    under_test = pooler(default_pool_size=2, worker_threads=worker_threads)
    holders = [under_test.peer(application_name=f"holder {number}") for number in range(2)]
    holders[0].ask(query("begin"))
    holders[1].send(query("select pg_sleep(30)"))
    under_test.await_pool(sv_active=2)
    waiters = []
    for number in range(3):
        waiters.append(under_test.peer(application_name=f"waiter {number}"))
        waiters[-1].send(query("select 1"))
        under_test.await_pool(cl_waiting=number + 1)
    rows = why(under_test, number_of(under_test, "waiter 2"), user="watcher")
    assert {(row["state"], row["database"], row["user"]) for row in rows} == {("waiting", "app", "alice")}
    assert {row["reason"] for row in rows} == {"all servers of the pool are in use: pool_size=2"}
    assert {row["waiting_before"] for row in rows} == {"2"} and all(int(row["wait_us"]) > 0 for row in rows)
    by_name = {row["holder_application_name"]: row for row in rows}
    assert {name: row["holder_state"] for name, row in by_name.items()} == {"holder 0": "idle in transaction", "holder 1": "query"}
    assert int(by_name["holder 0"]["holder_id"]) == number_of(under_test, "holder 0")
    assert int(by_name["holder 1"]["holder_query_us"]) > 0 and int(by_name["holder 0"]["holder_xact_us"]) > 0
    pids = {int(row["server_pid"]) for row in rows}
    assert pids <= set(cluster.backends("usename = 'alice'"))
    under_test.console(f"KILL_CLIENT {by_name['holder 1']['holder_id']}")
    for peer in holders + waiters:
        peer.close()


@pytest.mark.parametrize("options, reason", [
    ({"max_db_connections": 1}, "the database has as many servers as it may: max_db_connections=1"),
    ({"max_user_connections": 1}, "the user has as many servers as it may: max_user_connections=1")])
def test_why_names_limits_above_the_pool(pooler, options, reason):
    under_test = pooler(worker_threads=4, **options)
    with under_test.peer() as holder, under_test.peer(application_name="waiter") as waiter:
        holder.ask(query("begin"))
        waiter.send(query("select 1"))
        under_test.await_pool(cl_waiting=1)
        assert {row["reason"] for row in why(under_test, number_of(under_test, "waiter"))} == {reason}


def test_why_of_a_pause_and_of_clients_that_do_not_wait(pooler):
    under_test = pooler(worker_threads=4)
    with under_test.peer(application_name="idle") as idle, under_test.peer(application_name="busy") as busy:
        rows = why(under_test, number_of(under_test, "idle"))
        assert len(rows) == 1 and rows[0]["reason"] == "it does not wait: it has asked nothing" and rows[0]["server_id"] is None
        busy.ask(query("begin"))
        rows = why(under_test, number_of(under_test, "busy"))
        assert len(rows) == 1 and rows[0]["reason"].startswith("it does not wait for the pooler") and rows[0]["holder_application_name"] == "busy"
        busy.ask(query("commit"))
        under_test.console("PAUSE")
        idle.send(query("select 1"))
        under_test.await_pool(cl_waiting=1)
        assert why(under_test, number_of(under_test, "idle"))[0]["reason"] == "the database is paused: RESUME lets it go on"
        under_test.console("RESUME")
        idle.read_until("Z")


def test_why_of_a_server_that_refuses_logins(pooler, cluster):
    under_test = pooler(databases={"app": f"host=127.0.0.1 port={cluster.port + 1} dbname=app"}, server_login_retry=1)
    peer = under_test.open()

    def log_in():
        with contextlib.suppress(Closed, Refused, OSError):  # never to its end
            peer.login("alice", "alice-secret", "app")

    threading.Thread(target=log_in, daemon=True).start()
    under_test.await_pool(cl_waiting=1)
    number = int(under_test.show("CLIENTS", database="app")[0]["id"])
    await_that(lambda: why(under_test, number)[0]["reason"].startswith("no server can be opened: "), 5)


@pytest.mark.parametrize("command, text", [
    ("SHOW WHY", "SHOW WHY needs the id of a client, as SHOW CLIENTS has it"), ("SHOW WHY me", "SHOW WHY needs the id of a client, as SHOW CLIENTS has it"),
    ("SHOW WHY 999999", "client not found"), ("SHOW WHY 1 2", "invalid command 'SHOW WHY 1 2', use SHOW HELP;")])
def test_why_of_nobody(pooler, command, text):
    with pytest.raises(Refused) as refused:
        pooler().console(command)
    assert refused.value.text == text


def test_errors_are_counted_by_code_and_cause(pooler, worker_threads):
    under_test = pooler(worker_threads=worker_threads)
    for name in ("one", "two", "three"):
        under_test.refusal(database=name)
    with under_test.peer() as peer:
        for _ in range(4):
            peer.ask(query("select 1/0"))
    rows = {(row["source"], row["sqlstate"], row["cause"]): row for row in under_test.show("ERRORS")}
    assert rows["pooler", "3D000", "no such database"]["count"] == "3"
    assert rows["server", "22012", ""]["count"] == "4" and rows["server", "22012", ""]["last_time"]
    assert not any("secret" in (value or "") or "division" in (value or "") for row in rows.values() for value in row.values())


def test_workers(pooler, worker_threads):
    under_test = pooler(worker_threads=worker_threads)
    peers = [under_test.peer() for _ in range(8)]
    for peer in peers:
        peer.value("select 1")
    rows = under_test.show("WORKERS")
    assert [row["worker"] for row in rows] == [str(number) for number in range(worker_threads)]
    assert sum(int(row["clients"]) for row in rows) >= 8 and sum(int(row["servers"]) for row in rows) >= 1
    assert all(int(row["turns"]) > 0 and 0 <= int(row["lag_us"]) < 5000000 for row in rows)
    for peer in peers:
        peer.close()


def test_histograms(pooler, worker_threads):
    under_test = pooler(worker_threads=worker_threads)
    with under_test.peer() as peer:
        for _ in range(9):
            peer.value("select 1")
        peer.value("select pg_sleep(0.3)")
    rows = {row["time"]: row for row in under_test.show("HISTOGRAMS", database="app")}
    assert list(rows) == ["wait", "query", "transaction", "login"]
    took = rows["query"]
    assert took["count"] == "10" and int(took["p50_us"]) <= int(took["p90_us"]) <= int(took["p99_us"]) and int(took["p99_us"]) >= 300000
    buckets = dict(pair.split(":") for pair in took["buckets"].split(","))
    assert sum(map(int, buckets.values())) == 10 and buckets[took["p99_us"]] == "1"
    assert rows["login"]["count"] == "1"


def test_they_go_over_the_extended_protocol_too(pooler):
    under_test = pooler()
    with under_test.peer() as peer, under_test.connect("admin", "pgbouncer") as connection:
        peer.value("select 1")
        for command in ("SHOW SESSIONS", "SHOW ERRORS", "SHOW WORKERS", "SHOW HISTOGRAMS", f"SHOW WHY {under_test.show('CLIENTS', database='app')[0]['id']}"):
            cursor = connection.cursor(binary=True).execute(command)
            assert cursor.description and (cursor.fetchall() or command == "SHOW ERRORS")


def session_of(under_test, name):
    """Found by its id: DISCARD ALL takes an application_name away for a moment."""
    numbers = vars(under_test).setdefault("numbers", {})
    if name not in numbers:
        numbers[name] = str(number_of(under_test, name))
    return next(row for row in under_test.show("SESSIONS") if row["client_id"] == numbers[name])


def test_sessions(pooler, worker_threads):
    under_test = pooler(worker_threads=worker_threads)
    with under_test.peer(application_name="idle"), under_test.peer(application_name="busy", work_mem="8MB") as busy:
        idle = session_of(under_test, "idle")
        assert list(idle) == ["client_id", "database", "user", "application_name", "state", "session_state", "replayable", "settings", "statements",
                              "pinned", "reason", "pinned_since", "server_id", "server_pid"]
        clients = {row["application_name"]: row["id"] for row in under_test.show("CLIENTS")}
        assert idle["client_id"] == clients["idle"] and session_of(under_test, "busy")["client_id"] == clients["busy"]
        assert (idle["database"], idle["user"], idle["state"], idle["session_state"]) == ("app", "alice", "idle", "follow")
        told = int(idle["settings"])  # those that servers report
        assert (int(idle["replayable"]), idle["statements"]) == (told, "0")
        assert int(session_of(under_test, "busy")["settings"]) == told + 1
        assert idle["pinned"] == "no" and not any(idle[column] for column in ("reason", "pinned_since", "server_id", "server_pid"))
        busy.ask(query("set app.tenant = '7'"))
        busy.ask(query("prepare mine as select 1"))
        process = busy.value("begin; select pg_backend_pid()")
        row = session_of(under_test, "busy")
        assert (row["state"], int(row["settings"]), row["statements"], int(row["replayable"])) == ("active", told + 2, "1", told + 3)
        assert (row["pinned"], row["reason"], row["server_pid"]) == ("no", None, process)
        busy.ask(query("commit; create temp table mine (n int); select pg_advisory_lock(77)"))
        await_that(lambda: session_of(under_test, "busy")["pinned"] == "yes")
        row = session_of(under_test, "busy")
        assert row["reason"] == "temporary objects, session-level advisory locks" and row["state"] == "active"
        assert row["pinned_since"].startswith("20") and row["server_pid"] == process
        assert row["server_id"] in [server["id"] for server in under_test.show("SERVERS")]
        busy.ask(query("discard all"))
        await_that(lambda: session_of(under_test, "busy")["pinned"] == "no")
        row = session_of(under_test, "busy")
        assert (row["server_id"], row["statements"], int(row["settings"])) == (None, "0", told + 2)  # app.tenant is empty now, for ever


@pytest.mark.parametrize("mode, state, shown", [("transaction", "reset", "reset"), ("transaction", "leak", "leak"), ("session", "follow", "session")])
def test_sessions_tell_which_session_state_holds(pooler, mode, state, shown):
    under_test = pooler(pool_mode=mode, session_state=state)
    with under_test.peer(application_name="me") as peer:
        peer.value("select 1")
        assert session_of(under_test, "me")["session_state"] == shown
