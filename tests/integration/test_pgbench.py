"""pgbench -S, 64 clients on 8 servers, transaction mode: no error, and every client does transactions."""

import os
import re
import subprocess
import tempfile

import pytest

import waiting
from cluster import BIN
from waiting import SLOW

CLIENTS, SERVERS = 64, 8


@pytest.fixture(scope="module")
def bench_cluster(cluster):
    subprocess.run([os.path.join(BIN, "pgbench"), "-i", "-q", "-s", "1", "-h", "127.0.0.1", "-p", str(cluster.port), "-U", "postgres", "app"],
                   check=True, capture_output=True)
    cluster.run("grant select on all tables in schema public to public")
    yield cluster
    cluster.run("drop table pgbench_accounts, pgbench_branches, pgbench_tellers, pgbench_history")


def start(pooler, certificates, threads, tls):
    options = {}
    if tls:
        options = dict(client_tls_sslmode="require", client_tls_cert_file=certificates.certificate("server"),
                       client_tls_key_file=certificates.key("server"), server_tls_sslmode="verify-full", server_tls_ca_file=certificates.ca)
    return pooler(worker_threads=threads, default_pool_size=SERVERS, max_prepared_statements=50, query_wait_notify=0, log_connections=0,
                  log_disconnections=0, **options)


def pgbench(pooler, directory, tls, *more, seconds=None):
    """Runs it; the number of transactions of each client."""
    seconds = seconds or (10 if waiting.FULL else 2)
    log = tempfile.mkdtemp(dir=directory)
    environment = {**os.environ, "PGSSLMODE": "require" if tls else "disable", "PGPASSWORD": "alice-secret"}
    done = subprocess.run([os.path.join(BIN, "pgbench"), "-n", "-S", "-c", str(CLIENTS), "-j", "2", "-T", str(seconds), "-l", "-h", "127.0.0.1",
                           "-p", str(pooler.port), "-U", "alice", *more, "app"], capture_output=True, text=True, cwd=log, env=environment,
                          timeout=(seconds + 60) * SLOW)
    assert done.returncode == 0 and "ERROR" not in done.stderr and "FATAL" not in done.stderr, done.stderr[-2000:]
    assert re.search(r"number of failed transactions: 0 ", done.stdout), done.stdout
    counts = dict.fromkeys(range(CLIENTS), 0)
    for name in os.listdir(log):
        with open(os.path.join(log, name)) as file:
            for line in file:
                counts[int(line.split()[0])] += 1
    return counts


@pytest.mark.threads
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("mode", ["simple", "extended", "prepared"])
def test_pgbench(pooler, bench_cluster, certificates, directory, mode, threads, tls):
    mark = bench_cluster.log_mark()
    under_test = start(pooler, certificates, threads, tls)
    counts = pgbench(under_test, directory, tls, "-M", mode)
    assert min(counts.values()) > 0, counts
    assert bench_cluster.logins_since(mark, "alice") <= SERVERS
    stats = under_test.show("STATS", database="app")[0]
    assert int(stats["total_xact_count"]) >= sum(counts.values())


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("threads", [1, 4])
def test_pgbench_with_a_connection_for_each_transaction(pooler, bench_cluster, certificates, directory, threads, tls):
    mark = bench_cluster.log_mark()
    under_test = start(pooler, certificates, threads, tls)
    counts = pgbench(under_test, directory, tls, "-C")
    assert sum(counts.values()) > CLIENTS
    if waiting.FULL:
        assert min(counts.values()) > 0, counts
    assert bench_cluster.logins_since(mark, "alice") <= SERVERS


def test_clients_are_served_alike(pooler, bench_cluster, certificates, directory):
    """The slowest of 64 does at least a third of what the fastest does. One thread of pgbench: two of them do not get the
    processor alike on a loaded machine."""
    counts = pgbench(start(pooler, certificates, 4, False), directory, False, "-j", "1", seconds=3)
    assert min(counts.values()) * 3 > max(counts.values()), counts
