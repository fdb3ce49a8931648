"""The console: columns, types and order of each SHOW, tags, errors, and numbers that agree with what happened."""

import os
import re

import pytest

from peer import Peer, Refused, query, types
from pooler import ask_console
from waiting import SLOW, await_that

TEXT, INT, BIG, NUMERIC, BYTES = (25, -1), (23, 4), (20, 8), (1700, -1), (17, -1)


def columns(text):
    """Column names with the letters of COMPAT §5.3: t text, i int4, q int8, n numeric, T time as text."""
    kinds = {"t": TEXT, "T": TEXT, "i": INT, "q": BIG, "n": NUMERIC, "b": BYTES}
    return [(name, *kinds[kind]) for name, kind in (word.rsplit(":", 1) for word in text.split())]


STATISTICS = ("server_assignment_count xact_count query_count received sent xact_time query_time wait_time client_parse_count "
              "server_parse_count bind_count client_login_count").split()
AVERAGES = [{"received": "recv"}.get(name, name) for name in STATISTICS]
PEERS = ("type:t user:t database:t replication:t state:t addr:t port:i local_addr:t local_port:i connect_time:T request_time:T wait:i "
         "wait_us:i close_needed:i ptr:t link:t remote_pid:i tls:t application_name:t prepared_statements:i id:i")
BUFFERS = " recv_pos:i pkt_pos:i pkt_remain:i send_pos:i send_remain:i pkt_avail:i send_avail:i"
PLAIN = {"received": "bytes_received", "sent": "bytes_sent"}
FAKED = {"client_encoding": "UTF-8", "default_transaction_isolation": "read committed", "standard_conforming_strings": "on", "datestyle": "ISO",
         "timezone": "GMT"}
SHOWN = {
    "VERSION": "version:t",
    "CONFIG": "key:t value:t default:t changeable:t",
    "POOLS": "database:t user:t cl_active:i cl_waiting:i cl_active_cancel_req:i cl_waiting_cancel_req:i sv_active:i sv_active_cancel:i "
             "sv_being_canceled:i sv_idle:i sv_used:i sv_tested:i sv_login:i maxwait:i maxwait_us:i pool_mode:t load_balance_hosts:t",
    "CLIENTS": PEERS,
    "SERVERS": PEERS,
    "DATABASES": "name:t host:t port:i database:t force_user:t pool_size:i min_pool_size:i reserve_pool_size:i server_lifetime:i "
                 "pool_mode:t load_balance_hosts:t max_connections:i current_connections:i max_client_connections:i "
                 "current_client_connections:i paused:i disabled:i",
    "STATS": "database:t " + " ".join(f"total_{name}:n" for name in STATISTICS) + " " + " ".join(f"avg_{name}:n" for name in AVERAGES),
    "LISTS": "list:t items:i",
    "STATE": "key:t value:t",
    "SOCKETS": PEERS + BUFFERS,
    "ACTIVE_SOCKETS": PEERS + BUFFERS,
    "USERS": "name:t pool_size:t reserve_pool_size:t pool_mode:t max_user_connections:i current_connections:i "
             "max_user_client_connections:i current_client_connections:i",
    "PEERS": "peer_id:i host:t port:i pool_size:i",
    "PEER_POOLS": "peer_id:i cl_active_cancel_req:i cl_waiting_cancel_req:i sv_active_cancel:i sv_login:i",
    "MEM": "name:t size:i used:i free:i memtotal:i",
    "DNS_HOSTS": "hostname:t ttl:q addrs:t",
    "DNS_ZONES": "zonename:t serial:q count:i",
    "STATS_TOTALS": "database:t " + " ".join(f"{PLAIN.get(name, name)}:n" for name in STATISTICS),
    "STATS_AVERAGES": "database:t " + " ".join(f"{'avg_' if name in STATISTICS[-4:] else ''}{PLAIN.get(name, name)}:n" for name in STATISTICS),
    "TOTALS": "name:t value:n",
    **{name: f"{name}:t" for name in FAKED},
}
FOR_ADMINS = {
    "FDS": "fd:i task:t user:t database:t addr:t port:i cancel:q link:i client_encoding:t std_strings:t datestyle:t timezone:t password:t "
           "scram_client_key:b scram_server_key:b",
}


@pytest.fixture(scope="module")
def console(shared_pooler):
    """A pooler with some traffic behind it, and a connection to its console."""
    pooler = shared_pooler(default_pool_size=3, worker_threads=4)
    with pooler.peer() as peer:
        for number in range(10):
            peer.value(f"select {number}")
    return pooler


@pytest.mark.parametrize("what", list(SHOWN | FOR_ADMINS))
def test_columns_types_and_tag(console, what):
    table = console.console(f"SHOW {what}")
    assert table.columns == columns((SHOWN | FOR_ADMINS)[what])
    assert table.tag == "SHOW"


def test_help_is_a_notice_that_names_what_there_is(console):
    table = console.console("SHOW HELP")
    assert table.tag == "SHOW" and not table.columns and not table.rows
    notice = table.notices[0]
    assert (notice["S"], notice["C"], notice["M"]) == ("NOTICE", "00000", "Console usage")
    named = set(word for line in notice["D"].splitlines() if "SHOW " in line for word in line.split("SHOW ")[1].split("|"))
    assert {name for name in SHOWN | FOR_ADMINS if name.isupper()} <= named


def test_faked_settings(console):
    for name, value in FAKED.items():
        assert console.console(f"SHOW {name}").rows == [{name: value}]


def test_totals_and_memory_have_pgbouncers_rows(console):
    names = [{"received": "client_bytes", "sent": "server_bytes", "client_parse_count": "ps_client_parse_count",
              "server_parse_count": "ps_server_parse_count", "bind_count": "ps_bind_count"}.get(name, name) for name in STATISTICS]
    assert [row["name"] for row in console.show("TOTALS")] == [f"{kind}_{name}" for kind in ("total", "avg") for name in names]
    rows = {row["name"]: row for row in console.show("MEM")}
    assert list(rows) == ("user_cache credentials_cache db_cache peer_cache peer_pool_cache pool_cache outstanding_request_cache server_cache "
                          "client_cache iobuf_cache var_list_cache server_prepared_statement_cache").split()
    assert int(rows["client_cache"]["used"]) >= 1 and int(rows["pool_cache"]["used"]) >= 1
    assert all(int(row["memtotal"]) == int(row["size"]) * (int(row["used"]) + int(row["free"])) for row in rows.values())


def test_console_sessions_are_counted(pooler):
    under_test = pooler(max_db_client_connections=1, max_user_client_connections=1)
    with under_test.peer("admin", "pgbouncer") as console, under_test.peer("admin", "pgbouncer"):
        pool = next(row for row in ask_console(console, "SHOW POOLS").rows if row["database"] == "pgbouncer")
        assert pool["cl_active"] == "2"
        database = next(row for row in ask_console(console, "SHOW DATABASES").rows if row["name"] == "pgbouncer")
        assert database["current_client_connections"] == "2"


def test_sockets_have_those_in_login_too(pooler, worker_threads):
    under_test = pooler(worker_threads=worker_threads)
    with under_test.peer() as idle, under_test.peer() as busy, under_test.open() as fresh:
        busy.send(query("begin"))
        fresh.send(b"\0")  # half a length
        wanted = ["cl_active", "cl_active", "cl_active", "cl_login", "sv_active"]
        await_that(lambda: sorted(row["state"] for row in under_test.show("SOCKETS")) == wanted, 5)
        rows = under_test.show("SOCKETS")
        assert {row["user"] for row in rows if row["state"] == "cl_login"} == {"(nouser)"}
        assert [row["pkt_avail"] for row in under_test.show("ACTIVE_SOCKETS") if row["state"] == "cl_login"] == ["1"]


def test_descriptors_are_shown_without_secrets(pooler):
    under_test = pooler(worker_threads=4)
    with under_test.peer() as peer:
        peer.value("select 1")
        peer.ask(query("begin"))
        rows = under_test.show("FDS")
        tasks = {task: [row for row in rows if row["task"] == task] for task in ("pooler", "client", "server")}
        assert len(tasks["pooler"]) == 2 and {row["addr"] for row in tasks["pooler"]} == {"127.0.0.1", "unix"}
        client, server = next(row for row in tasks["client"] if row["user"] == "alice"), tasks["server"][0]
        assert client["link"] == server["fd"] and server["link"] == client["fd"]
        for row in tasks["client"] + tasks["server"]:
            assert row["password"] == "****" and row["cancel"] == "0" and row["scram_client_key"] is None and row["scram_server_key"] is None
    with pytest.raises(Refused) as refused:
        under_test.console("SHOW FDS", user="watcher")
    assert refused.value.text == "admin access needed"


def test_names_that_were_looked_up(pooler, cluster):
    under_test = pooler(databases={"app": f"host=localhost port={cluster.port} dbname=app"})
    with under_test.peer() as peer:
        peer.value("select 1")
    row = under_test.show("DNS_HOSTS")[0]
    assert row["hostname"] == "localhost" and 0 <= int(row["ttl"]) <= 15 and "127.0.0.1:0" in row["addrs"].split(",")


@pytest.mark.parametrize("text", ["show pools", "SHOW pools;", "  Show\tPOOLS ;  ", 'SHOW "pools"', "SELECT pools"])
def test_spellings(console, text):
    assert console.console(text).names[0] == "database"


@pytest.mark.parametrize("text", ["", ";", "SHOW", "SHOW NOTHING", "SELECT 1", "DROP DATABASE app", "SHOW POOLS; SHOW POOLS", "SHOW a.b",
                                  "select * from pools"])
def test_errors_leave_the_connection(console, text):
    with Peer(console.socket_path) as peer:
        peer.login("admin", "admin-secret", "pgbouncer")
        answers = peer.ask(query(text))
        assert types(answers) == "EZ" and answers[-1].body == b"I"
        assert answers[0].fields["S"] == "ERROR" and answers[0].fields["C"] == "08P01"
        assert types(peer.ask(query("SHOW VERSION"))) == "TDCZ"


def test_the_text_of_a_wrong_command(console):
    with pytest.raises(Refused) as refused:
        console.console("SHOW NOTHING")
    assert refused.value.text == "invalid command 'SHOW NOTHING', use SHOW HELP;"


def test_pipelined_commands(console):
    with Peer(console.socket_path) as peer:
        peer.login("admin", "admin-secret", "pgbouncer")
        peer.send(query("SHOW VERSION") + query("SHOW nonsense") + query("SHOW VERSION"))
        assert types(peer.read_until("Z", 3)) == "TDCZEZTDCZ"


def test_version(console):
    version = console.show("VERSION")[0]["version"]
    assert re.match(r"PgBouncer \d+\.\d+\.\d+", version)


def test_stats_users_may_look_and_not_touch(console):
    for what in SHOWN:
        assert console.console(f"SHOW {what}", user="watcher").tag == "SHOW"
    for command in ("RELOAD", "SHUTDOWN"):
        with pytest.raises(Refused) as refused:
            console.console(command, user="watcher")
        assert refused.value.text == "admin access needed"


def test_drivers_can_read_it(console):
    with console.connect("admin", "pgbouncer") as connection:
        rows = connection.execute("SHOW POOLS").fetchall()
        assert any(row[0] == "app" for row in rows)


def test_lists(console):
    rows = {row["list"]: int(row["items"]) for row in console.show("LISTS")}
    assert list(rows) == ["databases", "users", "peers", "pools", "peer_pools", "free_clients", "used_clients", "login_clients", "free_servers",
                          "used_servers", "dns_names", "dns_zones", "dns_queries", "dns_pending"]
    assert rows["databases"] == 3 and rows["pools"] == 2 and rows["used_clients"] >= 1


def test_databases(console, cluster):
    rows = {row["name"]: row for row in console.show("DATABASES")}
    assert list(rows) == sorted(rows) and set(rows) == {"app", "other", "pgbouncer"}
    app = rows["app"]
    assert (app["host"], app["port"], app["database"], app["force_user"]) == ("127.0.0.1", str(cluster.port), "app", None)
    assert (app["pool_size"], app["pool_mode"], app["paused"], app["disabled"]) == ("3", None, "0", "0")
    admin = rows["pgbouncer"]
    assert (admin["host"], admin["force_user"], admin["pool_size"], admin["pool_mode"]) == (None, "pgbouncer", "2", "statement")


def test_config_has_every_key_with_its_default(console):
    rows = {row["key"]: row for row in console.show("CONFIG")}
    for key, default in {"listen_port": "6432", "pool_mode": "session", "default_pool_size": "20", "max_client_conn": "100",
                         "server_idle_timeout": "600", "server_login_retry": "15", "query_wait_timeout": "120", "auth_type": "md5",
                         "server_reset_query": "DISCARD ALL", "server_tls_sslmode": "prefer", "client_tls_sslmode": "disable"}.items():
        assert rows[key]["default"] == default, key
    assert rows["pool_mode"]["value"] == "transaction" and rows["listen_port"]["value"] == str(console.port)
    assert rows["listen_port"]["changeable"] == "no" and rows["pool_mode"]["changeable"] == "yes"
    assert len(rows) >= 101


def test_secrets_are_not_shown(console):
    for what in SHOWN:
        assert not any("-secret" in (value or "") for row in console.show(what) for value in row.values())


def test_pools_clients_and_servers_agree(pooler, worker_threads):
    under_test = pooler(default_pool_size=2, worker_threads=worker_threads)
    peers = [under_test.peer(application_name=f"app {number}") for number in range(5)]
    for peer in peers[:2]:
        peer.ask(query("begin"))
    for peer in peers[2:4]:
        peer.send(query("select 1"))
    under_test.await_pool(cl_active=3, cl_waiting=2, sv_active=2)
    clients, servers = under_test.show("CLIENTS", database="app"), under_test.show("SERVERS", database="app")
    assert sorted(client["state"] for client in clients) == ["active", "active", "idle", "waiting", "waiting"]
    assert [server["state"] for server in servers] == ["active", "active"]
    assert {client["type"] for client in clients} == {"C"} and {server["type"] for server in servers} == {"S"}
    links = {client["link"] for client in clients if client["link"]}
    assert links == {server["ptr"] for server in servers}
    assert {server["link"] for server in servers} == {client["ptr"] for client in clients if client["link"]}
    assert {client["application_name"] for client in clients} == {f"app {number}" for number in range(5)}
    assert len({row["id"] for row in clients + servers}) == 7
    assert all(re.fullmatch(r"0x[0-9a-f]+", row["ptr"]) for row in clients + servers)
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ", row["connect_time"]) for row in clients + servers)
    ports = {client["port"] for client in clients}
    assert ports == {str(peer.socket.getsockname()[1]) for peer in peers}
    own = under_test.show("CLIENTS", database="pgbouncer")
    assert len(own) == 1 and own[0]["addr"] == "unix"
    for peer in peers:
        peer.close()


def test_servers_tell_the_pid_of_postgresql(pooler, cluster):
    under_test = pooler()
    with under_test.peer() as peer:
        pid = peer.value("select pg_backend_pid()")
        assert [row["remote_pid"] for row in under_test.show("SERVERS", database="app")] == [pid]


def statistics(pooler, database="app"):
    rows = pooler.show("STATS", database=database)
    return {name: int(value) for name, value in rows[0].items() if name != "database"} if rows else {}


def test_statistics_count_without_loss(pooler, worker_threads):
    under_test = pooler(worker_threads=worker_threads, default_pool_size=4)
    peers = [under_test.peer() for _ in range(8)]
    peers[0].value("select 1")
    before = statistics(under_test)
    for peer in peers:
        for _ in range(25):
            peer.ask(query("select 1"))
        peer.ask(query("begin"))
        peer.ask(query("select 1"))
        peer.ask(query("commit"))
    after = await_that(lambda: (lambda now: now if now["total_query_count"] - before["total_query_count"] >= 8 * 28 else None)(
        statistics(under_test)), 2)
    assert after["total_query_count"] - before["total_query_count"] == 8 * 28
    assert after["total_xact_count"] - before["total_xact_count"] == 8 * 26
    sent = 8 * (26 * 14 + len(query("begin")) + len(query("commit")))
    assert after["total_received"] - before["total_received"] == sent
    assert after["total_sent"] > before["total_sent"]
    assert after["total_client_login_count"] >= 8
    assert after["total_query_time"] > before["total_query_time"]


def test_waiting_is_counted(pooler):
    under_test = pooler(default_pool_size=1)
    first, second = under_test.peer(), under_test.peer()
    first.ask(query("begin"))
    second.send(query("select 1"))
    await_that(lambda: int(under_test.show("POOLS", database="app")[0]["maxwait"]) * 1000000 +
               int(under_test.show("POOLS", database="app")[0]["maxwait_us"]) > 300000, 5)
    first.ask(query("commit"))
    second.read_until("Z")
    assert statistics(under_test)["total_wait_time"] > 250000


def test_many_consoles_at_once(pooler, worker_threads):
    """Answers are merged from all threads; each console gets its own."""
    under_test = pooler(worker_threads=worker_threads)
    peers = [under_test.peer() for _ in range(40)]
    consoles = [under_test.peer("admin", "pgbouncer") for _ in range(6)]
    for console in consoles:
        console.send(*(query("SHOW CLIENTS") for _ in range(5)))
    for console in consoles:
        for _ in range(5):
            answers = console.read_until("Z")
            assert types(answers).count("D") == 46
    for peer in peers + consoles:
        peer.close()


def test_shutdown_ends_at_once(pooler):
    under_test = pooler()
    peer = under_test.peer()
    peer.ask(query("begin"))
    with under_test.peer("admin", "pgbouncer") as console:
        console.send(query("SHUTDOWN"))
        assert console.read_to_end() == []
    assert under_test.exit_status() == 0
    assert "SHUTDOWN command issued" in under_test.log()


def test_no_shell_is_needed_for_the_own_user(pooler, is_pgweir):
    """The daemon's own user enters as `pgbouncer` over the Unix socket, without a password."""
    under_test = pooler()
    if os.getuid() == 0:
        import subprocess

        from waiting import unprivileged

        done = subprocess.run(["psql", "-h", under_test.directory, "-p", str(under_test.port), "-U", "pgbouncer", "-Atc", "show version",
                               "pgbouncer"], capture_output=True, text=True, timeout=20 * SLOW, **unprivileged())
        assert done.returncode == 0 and done.stdout.startswith("PgBouncer"), done.stderr
        with Peer(under_test.socket_path) as peer, pytest.raises(Refused):
            peer.login("pgbouncer", "", "pgbouncer")  # root is not that user
    else:
        with Peer(under_test.socket_path) as peer:
            peer.login("pgbouncer", None, "pgbouncer")
            assert ask_console(peer, "SHOW VERSION").tag == "SHOW"
