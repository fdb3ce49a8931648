"""What the field's tools ask the console for, and what they read of it.

Statements and columns are those of the tools: prometheus-community's pgbouncer_exporter (lib/pq, simple protocol), telegraf's
input (pgx, extended protocol and binary results), pgmetrics (lib/pq, columns by position), check_postgres and zabbix
templates (psql)."""

import os
import subprocess

import pytest

from waiting import SLOW

POOLS = ("cl_active cl_active_cancel_req cl_waiting cl_waiting_cancel_req sv_active sv_active_cancel sv_being_canceled sv_idle sv_used "
         "sv_tested sv_login maxwait").split()
TOTALS = ("query_count query_time bytes_received bytes_sent wait_time xact_count xact_time client_parse_count server_parse_count "
          "bind_count").split()
STATS = ("total_xact_count total_query_count total_received total_sent total_xact_time total_query_time total_wait_time avg_xact_count "
         "avg_query_count avg_recv avg_sent avg_xact_time avg_query_time avg_wait_time").split()

# tool, statement, the column that names a row, columns it wants as numbers, columns it wants as texts
READ = [
    ("pgbouncer_exporter", "SHOW databases;", "name", "pool_size max_connections current_connections paused disabled".split(),
     ["database", "host", "force_user", "pool_mode"]),
    ("pgbouncer_exporter", "SHOW stats_totals;", "database", TOTALS, []),
    ("pgbouncer_exporter", "SHOW pools;", "database", POOLS, ["user"]),
    ("telegraf", "SHOW STATS", "database", STATS, []),
    ("telegraf", "SHOW POOLS", "database", POOLS, ["user", "pool_mode"]),
    ("check_postgres", "SHOW POOLS", "database", POOLS, ["user"]),
    ("check_postgres", "SHOW DATABASES", "name", ["pool_size", "current_connections"], ["database"]),
    ("zabbix", "show stats", "database", STATS, []),
]


@pytest.fixture(scope="module")
def shared(shared_pooler):
    pooler = shared_pooler(worker_threads=4, ignore_startup_parameters="extra_float_digits", admin_users="admin", stats_users="watcher")
    with pooler.peer() as peer:
        for _ in range(5):
            peer.value("select 1")
    return pooler


@pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])
@pytest.mark.parametrize("tool, statement, key, numbers, texts", READ, ids=[f"{row[0]}-{row[1]}" for row in READ])
def test_a_tool_finds_its_columns(shared, tool, statement, key, numbers, texts, binary):
    with shared.connect("watcher", "pgbouncer") as connection:
        cursor = connection.cursor(binary=binary).execute(statement)
        names = [column.name for column in cursor.description]
        rows = {row[names.index(key)]: dict(zip(names, row)) for row in cursor.fetchall()}
    assert "app" in rows
    for row in rows.values():
        for name in numbers:
            assert float(row[name]) >= 0
        for name in texts:
            assert row[name] is None or isinstance(row[name], str)


def test_the_exporters_other_statements(shared):
    with shared.connect("watcher", "pgbouncer") as connection:
        lists = connection.execute("SHOW LISTS;")
        assert len(lists.description) == 2
        found = {name: float(items) for name, items in lists.fetchall()}
        wanted = ("databases users pools free_clients used_clients login_clients free_servers used_servers dns_names dns_zones "
                  "dns_queries").split()
        assert set(wanted) <= set(found)
        config = connection.execute("SHOW CONFIG;")
        assert len(config.description) == 4
        values = {key: value for key, value, default, changeable in config.fetchall()}
        assert float(values["max_client_conn"]) == 1000 and float(values["max_user_connections"]) == 0
        version = connection.execute("SHOW VERSION;")
        assert [column.name for column in version.description] == ["version"]
        assert version.fetchone()[0].split()[0] == "PgBouncer"


def test_a_go_drivers_startup_is_accepted(shared):
    """lib/pq says this by itself; PgBouncer's manual tells users to ignore the setting."""
    with shared.peer("watcher", "pgbouncer", extra_float_digits="2", datestyle="ISO, MDY", client_encoding="UTF8") as peer:
        assert peer.value("SHOW VERSION").startswith("PgBouncer")


@pytest.mark.parametrize("statement, count", [("SHOW POOLS", 17), ("SHOW SERVERS", 21), ("SHOW CLIENTS", 21), ("SHOW DATABASES", 17)])
def test_pgmetrics_counts_columns(shared, statement, count):
    assert len(shared.console(statement, user="watcher").columns) == count


def test_a_shell_script_reads_it_with_psql(shared):
    done = subprocess.run(["psql", "-h", "127.0.0.1", "-p", str(shared.port), "-U", "watcher", "-d", "pgbouncer", "-q", "-t", "-A", "-F", ";",
                           "-c", "SHOW POOLS"], capture_output=True, text=True, timeout=20 * SLOW,
                          env={**os.environ, "PGPASSWORD": "watcher-secret", "PGSSLMODE": "disable"})
    assert done.returncode == 0 and any(line.startswith("app;alice;") for line in done.stdout.splitlines()), done.stderr
