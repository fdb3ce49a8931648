"""The torture test: random pipelines of many clients, not one answer crossed, lost or doubled.

torture.c does the work. Here it runs against PostgreSQL itself (so that its own expectations are right), through the pooler
with 1 and 4 threads, plain and TLS, and against a pooler that was built to release a server one message early, which it has to
find."""

import os
import subprocess

import pytest

from waiting import SLOW

BROKEN = os.environ.get("PGWEIR_BROKEN_BINARY") or os.path.abspath(
    os.path.join(os.path.dirname(__file__), "..", "..", "build", "break", "pgweir"))


def run_torture(program, port, transactions, *more, seconds=300, clients=32):
    """(exit status, output)."""
    command = [program, "--port", str(port), "--transactions", str(transactions), "--clients", str(clients),
               "--deadline", str(int(20 * SLOW)), *more]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds * SLOW)
    print(done.stdout)
    return done.returncode, done.stdout + done.stderr


def settings(certificates):
    return dict(auth_type="trust", default_pool_size=8, max_prepared_statements=50, query_wait_notify=0, client_tls_sslmode="allow",
                client_tls_cert_file=certificates.certificate("server"), client_tls_key_file=certificates.key("server"))


def torture_pooler(torture, pooler, certificates, worker_threads, transactions, *more):
    under_test = pooler(worker_threads=worker_threads, **settings(certificates))
    status, output = run_torture(torture, under_test.port, transactions, *more, seconds=1000)
    assert status == 0, output + "\n" + under_test.log()[-2000:]
    under_test.await_pool(user="open", seconds=10, cl_active=0, cl_waiting=0, sv_active=0)
    assert under_test.pool(user="open")["sv_idle"] <= 8


def test_expectations_are_those_of_postgresql(torture, cluster):
    status, output = run_torture(torture, cluster.port, 10000)
    assert status == 0, output


@pytest.mark.threads
def test_no_answer_is_crossed(torture, pooler, certificates, worker_threads):
    torture_pooler(torture, pooler, certificates, worker_threads, 10000)


test_no_answer_is_crossed.seconds = 300


@pytest.mark.threads
def test_no_answer_is_crossed_over_tls(torture, pooler, certificates):
    torture_pooler(torture, pooler, certificates, 4, 4000, "--tls")


test_no_answer_is_crossed_over_tls.seconds = 300


def test_no_answer_is_crossed_in_a_pool_of_one(torture, pooler, certificates):
    options = {**settings(certificates), "default_pool_size": 1}
    under_test = pooler(worker_threads=2, **options)
    status, output = run_torture(torture, under_test.port, 2000, clients=8)
    assert status == 0, output


def test_no_answer_is_crossed_in_session_mode(torture, pooler, certificates):
    options = {**settings(certificates), "default_pool_size": 12}
    under_test = pooler(worker_threads=2, pool_mode="session", **options)
    status, output = run_torture(torture, under_test.port, 3000, clients=12)
    assert status == 0, output


test_no_answer_is_crossed_in_session_mode.seconds = 200


@pytest.mark.full
def test_no_answer_is_crossed_in_100000_transactions(torture, pooler, certificates, worker_threads):
    torture_pooler(torture, pooler, certificates, worker_threads, 100000)


test_no_answer_is_crossed_in_100000_transactions.seconds = 1200


def test_a_server_released_early_is_found_within_1000_transactions(torture, pooler, certificates):
    if not os.access(BROKEN, os.X_OK):
        pytest.fail(f"no broken binary {BROKEN}: build it with make BREAK=early-release, or set PGWEIR_BROKEN_BINARY")
    under_test = pooler(binary=BROKEN, worker_threads=4, **settings(certificates))
    status, output = run_torture(torture, under_test.port, 1000)
    under_test.kill()
    assert status == 1 and "TORTURE FAILED" in output, output


