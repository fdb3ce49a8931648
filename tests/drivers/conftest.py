"""Fixtures of the driver tests: those of tests/integration, and the two places that each program runs at."""

import importlib.util
import os
import sys

sys.dont_write_bytecode = True
INTEGRATION = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration")
sys.path.insert(0, os.path.abspath(INTEGRATION))

import pytest  # noqa: E402


def integration_conftest():
    """tests/integration/conftest.py under a name of its own: two files cannot both be `conftest`."""
    specification = importlib.util.spec_from_file_location("integration_conftest", os.path.join(INTEGRATION, "conftest.py"))
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


globals().update({name: value for name, value in vars(integration_conftest()).items() if not name.startswith("__")})

from places import Place  # noqa: E402


@pytest.fixture(scope="module")
def direct(cluster, certificates):
    """PostgreSQL itself."""
    return Place("PostgreSQL", cluster.port, certificates.ca)


@pytest.fixture
def new_pooled(pooler, cluster, certificates):
    """new_pooled(option=value, ...): a fresh pgweir in transaction mode, two servers, two threads, TLS and SCRAM on both sides."""

    def start(**options):
        under_test = pooler(
            databases={"*": f"host=localhost port={cluster.port}"}, default_pool_size=2, worker_threads=2,
            client_tls_sslmode="require", client_tls_cert_file=certificates.certificate("server"),
            client_tls_key_file=certificates.key("server"), server_tls_sslmode="verify-full", server_tls_ca_file=certificates.ca,
            **options)
        return Place("pgweir", under_test.port, certificates.ca, under_test)

    return start


@pytest.fixture
def pooled(new_pooled):
    return new_pooled()
