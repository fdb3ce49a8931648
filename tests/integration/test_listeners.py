"""Several listeners on one daemon: what holds for each, one set of pools behind them, what a reload changes, and what each says
to who speaks another protocol."""

import os
import signal
import socket
import ssl
import subprocess
import tempfile
import urllib.request

import pytest

from peer import (GSSENC_REQUEST, SSL_REQUEST, Closed, Peer, Refused, bind, cancel_request, execute, parse, query, startup,
                  tls_context)
from pooler import run_binary
from test_tls import client_side
from waiting import accepts, await_that, free_port


def told(pooler, name):
    """The row of SHOW LISTENERS."""
    return pooler.show("LISTENERS", name=name)[0]


def pid_of(peer):
    return peer.value("select pg_backend_pid()")


def raw(port, data, context=None):
    """All that is answered to these bytes before the connection is closed."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as plain:
        connection = context.wrap_socket(plain, server_hostname="localhost") if context else plain
        connection.sendall(data)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
        return answer


# What holds for each.


def test_one_pool_serves_a_session_port_and_a_transaction_port(pooler, worker_threads):
    session_port = free_port()
    under_test = pooler(worker_threads=worker_threads, default_pool_size=1,
                        listeners={"sessions": f"port={session_port} pool_mode=session"})
    with under_test.peer() as one, under_test.peer() as two, under_test.peer(port=session_port) as session:
        pid = pid_of(one)
        assert pid_of(two) == pid == pid_of(session)
        under_test.await_pool(sv_active=1)  # it stays with the session
        one.send(query("select pg_backend_pid()"))
        under_test.await_pool(cl_waiting=1)
        session.ask(query("set work_mem = '1234kB'"))
        session.ask(query("create temp table mine (a int)"))
        session.ask(query("prepare q as select 1"))
        assert session.value("select count(*) from pg_prepared_statements where name = 'q'") == "1"
        session.leave()
        assert [row.decode() for answer in one.read_until() if answer.type == "D" for row in answer.row] == [pid]
        assert one.value("show work_mem") != "1234kB"
        assert one.value("select count(*) from pg_class where relname = 'mine'") == "0"
        assert one.value("select count(*) from pg_prepared_statements where name = 'q'") == "0"
        one.ask(query("set search_path = 'nowhere'"))
    under_test.await_pool(sv_free=1, sv_active=0)


@pytest.mark.parametrize("reset_query", ["", "DISCARD ALL"])
def test_what_sessions_leave_is_not_seen_by_transactions(pooler, reset_query):
    session_port = free_port()
    under_test = pooler(default_pool_size=1, server_reset_query=reset_query,
                        listeners={"sessions": f"port={session_port} pool_mode=session"})
    with under_test.peer(port=session_port) as session:
        pid = pid_of(session)
        session.ask(query("set work_mem = '1234kB'"))
        session.ask(query("create temp table mine (a int)"))
        session.ask(query("select pg_advisory_lock(7)"))
        session.leave()
    with under_test.peer() as other:
        assert pid_of(other) == pid
        assert other.value("show work_mem") != "1234kB"
        assert other.value("select count(*) from pg_class where relname = 'mine'") == "0"
        assert other.value("select count(*) from pg_locks where locktype = 'advisory'") == "0"


def test_prepared_statements_in_both_modes_on_one_server(pooler):
    session_port = free_port()
    under_test = pooler(default_pool_size=1, listeners={"sessions": f"port={session_port} pool_mode=session"})
    sync = b"S\0\0\0\4"
    with under_test.peer() as transaction:
        for round_number in range(3):
            answers = transaction.ask(parse("select 'shared'", f"s{round_number}"), bind(statement=f"s{round_number}"), execute(), sync)
            assert [answer.row for answer in answers if answer.type == "D"] == [[b"shared"]]
            with under_test.peer(port=session_port) as session:
                answers = session.ask(parse("select 'own'", "s0"), bind(statement="s0"), execute(), sync)
                assert [answer.row for answer in answers if answer.type == "D"] == [[b"own"]]
                session.leave()
            answers = transaction.ask(bind(statement="s0"), execute(), sync)
            assert [answer.row for answer in answers if answer.type == "D"] == [[b"shared"]]


def test_a_listener_is_over_database_and_user(pooler):
    port = free_port()
    under_test = pooler(entry="pool_mode=session", users={"alice": "pool_mode=session"},
                        listeners={"transactions": f"port={port} pool_mode=transaction"})
    with under_test.peer() as session, under_test.peer(port=port) as transaction:
        assert session.value("select 1") == transaction.value("select 1") == "1"
        under_test.await_pool(sv_active=1)


def test_limits_hold_over_all_listeners(pooler):
    port = free_port()
    under_test = pooler(max_user_client_connections=2, listeners={"second": f"port={port}"})
    with under_test.peer(), under_test.peer(port=port):
        with pytest.raises(Refused) as refused:
            under_test.peer(port=port)
        assert refused.value.code == "53300"


def test_a_listener_has_its_own_auth_and_tls(pooler, certificates):
    port = free_port()
    under_test = pooler(**client_side(certificates, "prefer"), listeners={"door": f"port={port} tls=require auth=plain"})
    with pytest.raises(Refused) as refused:
        under_test.peer(port=port)
    assert refused.value.text == "SSL required"
    context = tls_context(certificates.ca)
    with Peer(("127.0.0.1", port)) as peer:
        peer.start_tls(context)
        peer.send(startup(user="alice", database="app"))
        assert peer.read().body == b"\0\0\0\3"  # asks for the password in clear
    with under_test.peer(port=port, tls=context) as peer:
        assert peer.value("select 1") == "1"
    with under_test.peer() as peer:
        assert peer.value("select 1") == "1"


def test_a_cancel_in_plain_text_is_served_where_tls_is_required(pooler, certificates):
    port = free_port()
    under_test = pooler(**client_side(certificates, "prefer"), listeners={"door": f"port={port} tls=require"})
    with under_test.peer(port=port, tls=tls_context(certificates.ca)) as peer:
        peer.send(query("select pg_sleep(60)"))
        under_test.await_pool(sv_active=1)
        with Peer(("127.0.0.1", port)) as canceller:
            canceller.send(cancel_request(peer.process, peer.key))
            assert canceller.read_to_end() == []
        assert [answer.fields["C"] for answer in peer.read_until() if answer.type == "E"] == ["57014"]


def test_databases_of_a_listener(pooler):
    port = free_port()
    under_test = pooler(listeners={"door": f"port={port} databases=app"})
    with under_test.peer(port=port) as peer:
        assert peer.value("select 1") == "1"
    for database in ("other", "nonesuch"):
        with pytest.raises(Refused) as refused:
            under_test.peer(port=port, database=database)
        assert (refused.value.code, refused.value.text) == ("3D000", f"no such database: {database}")
    with under_test.peer(database="other") as peer:
        assert peer.value("select 1") == "1"


def test_the_console_is_behind_the_first_door_only(pooler):
    plain, open_port = free_port(), free_port()
    under_test = pooler(listeners={"plain": f"port={plain}", "office": f"port={open_port} admin=yes"})
    for port in (None, open_port):
        with under_test.peer("admin", "pgbouncer", port=port) as console:
            assert console.ask(query("SHOW VERSION"))
    with pytest.raises(Refused) as refused:
        under_test.peer("admin", "pgbouncer", port=plain)
    assert refused.value.text == "not allowed"
    assert [told(under_test, name)["admin"] for name in ("default", "plain", "office")] == ["yes", "no", "yes"]


def test_the_console_can_be_taken_off_the_first_door(pooler):
    under_test = pooler(listeners={"default": "admin=no", "office": f"port={free_port()} admin=yes"})
    with pytest.raises(Refused):
        under_test.peer("admin", "pgbouncer")


def test_a_listener_on_a_unix_socket(pooler, directory):
    folder = tempfile.mkdtemp(prefix="sockets-", dir=directory)
    os.chmod(folder, 0o777)
    port = free_port()
    under_test = pooler(unix_socket_dir="", listeners={"local": f"port={port} addr={folder} pool_mode=session"})
    with Peer(os.path.join(folder, f".s.PGSQL.{port}")) as peer:
        peer.login("alice", "alice-secret", "app")
        assert peer.value("select 1") == "1"


# SHOW LISTENERS and metrics.


def test_listeners_are_shown_and_counted(pooler):
    port, http_port = free_port(), free_port()
    under_test = pooler(http_port=http_port, listeners={
        "six": f"port={port} addr=127.0.0.1,::1 pool_mode=session protocols=http,postgres databases='app, other'"})
    with under_test.peer(port=port):
        raw(under_test.port, b"GET / HTTP/1.1\r\n\r\n")
        row = told(under_test, "six")
        assert {name: row[name] for name in ("addr", "port", "protocols", "pool_mode", "tls", "auth", "databases", "open", "accepted", "strangers")} == {
            "addr": "127.0.0.1,::1", "port": str(port), "protocols": "postgres,http", "pool_mode": "session", "tls": "disable",
            "auth": "scram-sha-256", "databases": "app, other", "open": "1", "accepted": "1", "strangers": "0"}
        first = told(under_test, "default")
        assert first["port"] == str(under_test.port) and first["pool_mode"] is None and first["strangers"] == "1"
        with urllib.request.urlopen(f"http://127.0.0.1:{http_port}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        for line in ('pgweir_listener_connections{listener="six"} 1', 'pgweir_listener_accepted_total{listener="six"} 1',
                     'pgweir_listener_strangers_total{listener="default"} 1'):
            assert line in lines
    await_that(lambda: told(under_test, "six")["open"] == "0", 5)


# Reload.


def test_a_reload_adds_and_removes_listeners_and_leaves_clients_alone(pooler, worker_threads):
    first, second = free_port(), free_port()
    under_test = pooler(worker_threads=worker_threads, listeners={"one": f"port={first} pool_mode=session"})
    with under_test.peer(port=first) as peer, under_test.peer() as other:
        pid = pid_of(peer)
        under_test.listeners = {"two": f"port={second}"}
        under_test.write()
        under_test.console("RELOAD")
        await_that(lambda: not accepts(first) and accepts(second), 5)
        assert pid_of(peer) == pid and other.value("select 1") == "1"
        with under_test.peer(port=second) as late:
            assert late.value("select 1") == "1"
        assert [row["name"] for row in under_test.show("LISTENERS")] == ["default", "two"]
        under_test.listeners = {"renamed": f"port={second} pool_mode=session"}
        under_test.write()
        under_test.console("RELOAD")
        with under_test.peer(port=second):
            assert told(under_test, "renamed")["open"] == "1"


def test_a_changed_pool_mode_holds_for_clients_that_are_there(pooler):
    port = free_port()
    under_test = pooler(listeners={"door": f"port={port}"})
    with under_test.peer(port=port) as peer:
        peer.value("select 1")
        under_test.await_pool(sv_active=0)
        under_test.listeners = {"door": f"port={port} pool_mode=session"}
        under_test.write()
        under_test.console("RELOAD")
        peer.value("select 1")
        under_test.await_pool(sv_active=1)


def test_a_port_that_is_taken_is_said_and_the_rest_goes_on(pooler):
    taken = socket.create_server(("127.0.0.1", 0))
    port = taken.getsockname()[1]
    under_test = pooler()
    under_test.listeners = {"taken": f"port={port}"}
    under_test.write()
    under_test.console("RELOAD")
    under_test.await_log(f"listener taken: cannot listen on 127.0.0.1:{port}: bind\\(\\): Address already in use")
    assert told(under_test, "taken")["addr"] is None
    taken.close()
    under_test.console("RELOAD")
    with under_test.peer(port=port) as peer:
        assert peer.value("select 1") == "1"


def test_suspend_holds_all_listeners_also_new_ones(pooler):
    first, second = free_port(), free_port()
    under_test = pooler(listeners={"one": f"port={first}"})
    with Peer(under_test.socket_path) as console:
        console.login("admin", "admin-secret", "pgbouncer")
        console.ask(query("SUSPEND"))
        under_test.listeners["two"] = f"port={second}"
        under_test.write()
        console.ask(query("RELOAD"))
        late = [Peer(("127.0.0.1", port)) for port in (first, second)]
        for peer in late:
            peer.send(startup(user="alice", database="app"))
            assert peer.is_quiet()
        console.ask(query("RESUME"))
        for peer in late:
            assert peer.read().type == "R"
            peer.close()


def test_shutdown_closes_all_listeners(pooler):
    port = free_port()
    under_test = pooler(listeners={"one": f"port={port}"})
    with under_test.peer(port=port) as peer:
        under_test.signal(signal.SIGTERM)
        await_that(lambda: not accepts(port), 5)
        assert peer.value("select 1") == "1"
    assert under_test.exit_status() == 0


# The file.


@pytest.mark.parametrize("line, reason", [
    ("port=0", "door: invalid port: 0"),
    ("pool_mode=session", "door: port is missing"),
    ("port=6543 colour=red", "door: unrecognized listener parameter: colour"),
    ("port=6543 tls=perhaps", "door: invalid tls: perhaps"),
    ("port=6543 protocols=smtp", r"door: invalid protocols (a list of postgres, http, websocket): smtp"),
    ("port=6543 admin=perhaps", "door: neither yes nor no: perhaps"),
    ("port=6543 addr=256.1.1.1", "door: getaddrinfo('256.1.1.1', '6543') = "),
    ("port=6543 tls=require", "TLS wants client_tls_cert_file and client_tls_key_file"),
    ("port=6543 auth=cert", "door: auth=cert needs tls=verify-full and client_tls_ca_file"),
    ("port=6543 addr=0.0.0.0 auth=trust", "door: auth_type trust and any are for loopback addresses only: say auth="),
])
def test_lines_that_make_no_listener(pooler, line, reason):
    under_test = pooler()
    under_test.listeners = {"door": line}
    under_test.write()
    status, _, stderr = run_binary("--check-config", under_test.ini_path)
    assert status != 0 and reason in stderr, stderr


@pytest.mark.parametrize("listeners, reason", [
    ({"default": "port=6543"}, "default: port and addr of the first listener are listen_port and listen_addr"),
    ({"a": "port=6543", "b": "port=6543"}, "b: listener a has the address 127.0.0.1:6543 already"),
    ({"a.b": "port=6543"}, "a.b: the name of a listener is made of at most 63 letters, digits, - and _"),
])
def test_lines_that_do_not_go_together(pooler, listeners, reason):
    under_test = pooler()
    under_test.listeners = listeners
    under_test.write()
    status, _, stderr = run_binary("--check-config", under_test.ini_path)
    assert status != 0 and reason in stderr, stderr


# Who speaks something else.


@pytest.mark.parametrize("context", [False, True], ids=["plain", "tls"])
def test_http_where_postgresql_lives(pooler, certificates, context):
    under_test = pooler(**client_side(certificates, "prefer"))
    answer = raw(under_test.port, b"GET /secret HTTP/1.1\r\nHost: x\r\n\r\n", tls_context(certificates.ca) if context else None)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ") and b"Connection: close" in head
    assert body == b"PostgreSQL lives here, and no HTTP is spoken: use a PostgreSQL client, such as psql.\n"
    assert f"Content-Length: {len(body)}".encode() in head


@pytest.mark.parametrize("packet", [startup(user="alice", database="app"), SSL_REQUEST, GSSENC_REQUEST])
def test_postgresql_where_http_lives(pooler, packet):
    port = free_port()
    under_test = pooler(listeners={"web": f"port={port} protocols=http"})
    with Peer(("127.0.0.1", port)) as peer:
        peer.send(packet)
        answer = peer.read()
        assert answer.type == "E" and answer.fields["C"] == "08P01" and "HTTP lives here" in answer.fields["M"]
        with pytest.raises(Closed):
            peer.read()
    with Peer(("127.0.0.1", port)) as peer:
        peer.send(cancel_request(1, b"1234"))
        assert peer.read_to_end() == []
    assert told(under_test, "web")["strangers"] == "2"


def test_tls_where_there_is_none(pooler):
    under_test = pooler()
    context = ssl.create_default_context()
    with socket.create_connection(under_test.address, timeout=10) as plain:
        with pytest.raises(ssl.SSLError) as refused:
            context.wrap_socket(plain, server_hostname="localhost")
    assert "ALERT" in refused.value.reason.upper()


@pytest.mark.parametrize("protocols, offered, chosen", [
    ("postgres", ["postgresql"], "postgresql"), ("postgres", ["http/1.1"], None), ("postgres", None, ""),
    ("http", ["http/1.1"], "http/1.1"), ("http", ["postgresql"], None), ("http", ["h2", "http/1.1"], "http/1.1"),
    ("postgres,http", ["h2", "http/1.1"], "http/1.1"), ("postgres,websocket", ["postgresql"], "postgresql"),
    ("postgres,http", ["h2"], None), ("postgres,http", None, ""),
])
def test_alpn_of_what_is_spoken(pooler, certificates, protocols, offered, chosen):
    port = free_port()
    under_test = pooler(**client_side(certificates, "prefer"), listeners={"door": f"port={port} protocols={protocols}"})
    context = tls_context(certificates.ca)
    if offered:
        context.set_alpn_protocols(offered)
    with socket.create_connection((under_test.host, port), timeout=10) as plain:
        if chosen is None:
            with pytest.raises(ssl.SSLError):
                context.wrap_socket(plain, server_hostname="localhost")
        else:
            with context.wrap_socket(plain, server_hostname="localhost") as connection:
                assert (connection.selected_alpn_protocol() or "") == chosen


def test_who_chose_http_by_alpn_is_held_to_it(pooler, certificates):
    port = free_port()
    under_test = pooler(**client_side(certificates, "prefer"), listeners={"door": f"port={port} protocols=postgres,http"})
    context = tls_context(certificates.ca)
    context.set_alpn_protocols(["http/1.1"])
    assert b"HTTP lives here" in raw(port, startup(user="alice", database="app"), context)
    context = tls_context(certificates.ca)
    context.set_alpn_protocols(["postgresql"])
    assert raw(port, b"GET / HTTP/1.1\r\n\r\n", context).startswith(b"HTTP/1.1 400 ")
    assert told(under_test, "door")["strangers"] == "2"


def test_psql_by_another_port(pooler):
    port = free_port()
    under_test = pooler(listeners={"door": f"port={port} pool_mode=session"})
    done = subprocess.run(["psql", f"host=127.0.0.1 port={port} dbname=app user=alice password=alice-secret", "-Atc", "select 42"],
                          capture_output=True, text=True, timeout=30)
    assert done.stdout == "42\n" and under_test.show("LISTENERS", name="door")
