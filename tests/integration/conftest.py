"""Fixtures: certificates and a PostgreSQL for the session, poolers for each test.

PGWEIR_BINARY says which binary is tested; --full (or PGWEIR_FULL=1) adds the long runs."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading

sys.dont_write_bytecode = True

import pytest  # noqa: E402

import waiting  # noqa: E402
from certificates import Certificates  # noqa: E402
from cluster import Cluster, Template  # noqa: E402
from pooler import Pooler, binary_is_pgweir  # noqa: E402
from waiting import SLOW  # noqa: E402

SECONDS = 60  # the longest that one test may take, before SLOW; a test may name its own with the attribute `seconds`


def pytest_addoption(parser):
    parser.addoption("--full", action="store_true", help="the long runs too")


def pytest_configure(config):
    waiting.FULL = waiting.FULL or config.getoption("--full")
    assert os.access(waiting.BINARY, os.X_OK), f"PGWEIR_BINARY: no program {waiting.BINARY}"


def pytest_collection_modifyitems(items):
    for item in items:
        if "full" in item.keywords and not waiting.FULL:
            item.add_marker(pytest.mark.skip(reason="a long run: --full"))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item):
    """No test hangs: after its time an exception is raised in the middle of it."""
    seconds = getattr(getattr(item, "function", None), "seconds", SECONDS) * SLOW

    def late(*_):
        raise TimeoutError(f"the test took more than {seconds:g} s")

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGALRM, late)
        signal.setitimer(signal.ITIMER_REAL, seconds)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failed test shows the end of its poolers' logs."""
    report = (yield).get_result()
    if report.when == "call" and report.failed:
        for pooler in list(item.funcargs.get("pooler_list", []))[-2:]:
            report.sections.append((f"log of the pooler on port {pooler.port}", pooler.log()[-3000:]))


@pytest.fixture(scope="session")
def directory():
    path = tempfile.mkdtemp(prefix="pgweir-test-")
    os.chmod(path, 0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def certificates(directory):
    return Certificates(os.path.join(directory, "tls"))


@pytest.fixture(scope="session")
def template(directory, certificates):
    return Template(os.path.join(directory, "template"), certificates)


@pytest.fixture(scope="session")
def cluster(directory, template):
    """The session's PostgreSQL: nobody stops it, nobody leaves anything in it."""
    cluster = Cluster(template, os.path.join(directory, "cluster")).start()
    yield cluster
    cluster.destroy()


@pytest.fixture
def own_cluster(directory, template):
    """A PostgreSQL that the test may stop, kill and change."""
    cluster = Cluster(template, tempfile.mkdtemp(prefix="own-", dir=directory)).start()
    yield cluster
    cluster.destroy()


class Poolers:
    """Makes poolers and ends them all; the first failure at the end is raised after all have ended."""

    def __init__(self, directory, cluster):
        self.directory, self.cluster, self.all = directory, cluster, []

    def __call__(self, cluster=None, **options):
        directory = tempfile.mkdtemp(prefix="pooler-", dir=self.directory)
        pooler = Pooler.__new__(Pooler)
        self.all.append(pooler)
        try:
            pooler.__init__(directory, cluster or self.cluster, **options)
        except BaseException:
            if getattr(pooler, "process", None) is None:
                self.all.remove(pooler)
            raise
        return pooler

    def end(self):
        failures = []
        for pooler in self.all:
            try:
                pooler.destroy()
            except AssertionError as failure:
                failures.append(failure)
        if failures:
            raise failures[0]


@pytest.fixture
def pooler_list():
    return []


@pytest.fixture
def pooler(directory, cluster, pooler_list):
    """pooler(option=value, ...) starts one; all are stopped, and their ends judged, after the test."""
    poolers = Poolers(directory, cluster)
    poolers.all = pooler_list
    yield poolers
    poolers.end()


@pytest.fixture(scope="module")
def shared_pooler(directory, cluster):
    """As `pooler`, for poolers that all tests of a module share."""
    poolers = Poolers(directory, cluster)
    yield poolers
    poolers.end()


@pytest.fixture(params=[1, 4], ids=["1-thread", "4-threads"])
def worker_threads(request):
    return request.param


@pytest.fixture(scope="session")
def is_pgweir():
    return binary_is_pgweir()


@pytest.fixture(scope="session")
def torture(directory):
    """The compiled torture test: path of the program."""
    here = os.path.dirname(os.path.abspath(__file__))
    program = os.path.join(directory, "torture")
    sources = [os.path.join(here, name) for name in ("torture.c", "torture_script.c")]
    subprocess.run(["cc", "-std=gnu17", "-D_GNU_SOURCE", "-O2", "-g", "-Wall", "-Wextra", "-pthread", "-o", program, *sources,
                    "-lssl", "-lcrypto"], check=True)
    return program
