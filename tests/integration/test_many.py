"""Thousands of clients over TLS at one moment on a pool of eight, and PostgreSQL sees eight."""

import resource
import threading

import pytest

from peer import SYNC, extended, query, tls_context
from waiting import SLOW

CLIENTS, QUERIES, THREADS = 2000, 20, 8


def raise_descriptors(count):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert hard == resource.RLIM_INFINITY or hard >= count, f"needs {count} file descriptors, the limit is {hard}"
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count), hard))


def in_threads(work):
    """Runs work(number of the thread) in each of THREADS threads; raises the first failure."""
    failures = []

    def run(number):
        try:
            work(number)
        except BaseException as failure:  # noqa: BLE001
            failures.append(failure)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300 * SLOW)
    if failures:
        raise failures[0]
    assert not any(thread.is_alive() for thread in threads)


@pytest.mark.threads
def test_2000_clients_over_tls_on_8_servers(pooler, cluster, certificates):
    raise_descriptors(2 * CLIENTS + 500)
    mark = cluster.log_mark()
    under_test = pooler(
        worker_threads=4, default_pool_size=8, max_client_conn=CLIENTS + 10, max_login_clients=CLIENTS + 10, client_login_timeout=300,
        query_wait_notify=0, log_connections=0, log_disconnections=0, client_tls_sslmode="require",
        client_tls_cert_file=certificates.certificate("server"), client_tls_key_file=certificates.key("server"))
    context, peers = tls_context(certificates.ca), [None] * CLIENTS

    def log_in(thread):
        for number in range(thread, CLIENTS, THREADS):
            peers[number] = under_test.peer("limited", tls=context, timeout=60)

    def ask(thread):
        mine = range(thread, CLIENTS, THREADS)
        for round_ in range(QUERIES):
            for number in mine:
                identity = f"{number}-{round_}"
                peers[number].send(query(f"select '{identity}'") if round_ % 2 else extended("select $1::text", identity) + SYNC)
            for number in mine:
                rows = [answer.row for answer in peers[number].read_until("Z") if answer.type == "D"]
                assert rows == [[f"{number}-{round_}".encode()]]

    in_threads(log_in)
    clients = under_test.show("CLIENTS", user="limited")
    assert len(clients) == CLIENTS
    assert all(client["tls"].startswith("TLS") for client in clients)
    in_threads(ask)
    assert len(under_test.show("CLIENTS", user="limited")) == CLIENTS
    log = cluster.log_since(mark)
    assert " 53300 " not in log
    assert 1 <= cluster.logins_since(mark, "limited") <= 8
    for peer in peers:
        peer.close()
    under_test.await_pool(30, user="limited", cl_active=0, cl_waiting=0, sv_active=0)


test_2000_clients_over_tls_on_8_servers.seconds = 240


def test_thousands_of_short_connections(pooler, cluster):
    """Workers come, ask once, and go, without Terminate more often than not: the pool stays eight."""
    mark = cluster.log_mark()
    under_test = pooler(worker_threads=4, default_pool_size=8, log_connections=0, log_disconnections=0)

    def come_and_go(thread):
        for number in range(250):
            with under_test.peer("limited") as peer:
                assert peer.value(f"select '{thread}-{number}'") == f"{thread}-{number}"
                if number % 3 == 0:
                    peer.leave()

    in_threads(come_and_go)
    assert " 53300 " not in cluster.log_since(mark)
    assert 1 <= cluster.logins_since(mark, "limited") <= 8
    under_test.await_pool(user="limited", cl_active=0, cl_waiting=0, sv_active=0)


test_thousands_of_short_connections.seconds = 120
