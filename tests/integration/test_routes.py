"""[routes]: which database, pool mode and server user a client gets by host name (SNI), endpoint, user suffix and listener; who
fits no line fails as by a wrong password."""

import subprocess

import pytest

from peer import Peer, Refused, query, tls_context
from pooler import run_binary
from test_tls import client_side
from waiting import SLOW, free_port

NEON = {"*-pooler.db.example.com": "database=$1 pool_mode=transaction", "*.db.example.com": "database=$1 pool_mode=session"}


@pytest.fixture
def routed(pooler, cluster, certificates):
    def start(routes, databases=None, **options):
        server = f"host=127.0.0.1 port={cluster.port}"
        return pooler(routes=routes, databases=databases or {
            "ep-one": f"{server} dbname=app", "ep-two": f"{server} dbname=other", "app": f"{server} dbname=app"},
            **client_side(certificates, "prefer"), **options)

    return start


def by_host(pooler, certificates, host, user="alice", database="app", secret=None, **parameters):
    """A login inside TLS with this host name in its ClientHello (None: none)."""
    peer = Peer(pooler.address)
    try:
        context = tls_context(certificates.ca)
        context.check_hostname = False
        peer.start_tls(context, host=host)
        return peer.login(user, secret or user + "-secret", database, **parameters)
    except BaseException:
        peer.close()
        raise


def refused_by_host(pooler, certificates, host, **options):
    with pytest.raises(Refused) as refused:
        by_host(pooler, certificates, host, **options).close()
    return refused.value


def test_the_suffix_pooler_as_neons(routed, certificates, worker_threads):
    under_test = routed(NEON, worker_threads=worker_threads)
    with by_host(under_test, certificates, "ep-one-pooler.db.example.com", database="neondb") as pooled:
        assert pooled.value("select current_database()") == "app"
        under_test.await_pool(database="ep-one", sv_active=0)
        with by_host(under_test, certificates, "EP-ONE.db.example.com", database="neondb") as direct:
            direct.value("select 1")
            under_test.await_pool(database="ep-one", sv_active=1)
            assert pooled.value("select 1") == "1"
    with by_host(under_test, certificates, "ep-two.db.example.com", database="whatever") as other:
        assert other.value("select current_database()") == "other"
    taken = {row["host"]: int(row["taken"]) for row in under_test.show("ROUTES")}
    assert taken == {"*-pooler.db.example.com": 1, "*.db.example.com": 2}


def test_endpoint_in_options(routed, certificates):
    under_test = routed(NEON)
    for options in ("endpoint=ep-one", "endpoint=ep-one -c statement_timeout=1234", "-c statement_timeout=1234 endpoint=ep-one",
                    "project=ep-one"):
        with under_test.peer(options=options) as peer:
            assert peer.value("select current_database()") == "app"
            if "timeout" in options:
                assert peer.value("show statement_timeout") == "1234ms"
    with by_host(under_test, certificates, "ep-one.db.example.com", options="endpoint=ep-one"):
        pass
    refused = refused_by_host(under_test, certificates, "ep-one.db.example.com", options="endpoint=ep-two")
    assert refused.text == "Inconsistent project name inferred from SNI ('ep-one') and project option ('ep-two')."


def test_a_tenant_in_the_user_as_supabases(routed, cluster, certificates):
    server = f"host=127.0.0.1 port={cluster.port}"
    under_test = routed({"*": "if_user=alice.* database=$1 user=alice"},
                        {"first": f"{server} dbname=app", "second": f"{server} dbname=other"},
                        auth_users=[("alice.first", "one"), ("alice.second", "two"), ("alice", "alice-secret"), ("admin", "admin-secret")])
    for tenant, secret, database in (("first", "one", "app"), ("second", "two", "other")):
        with under_test.peer(f"alice.{tenant}", "postgres", secret) as peer:
            assert peer.value("select current_database() || ' ' || current_user") == f"{database} alice"
    for tenant, secret in (("first", "two"), ("second", "alice-secret"), ("third", "one")):
        assert under_test.refusal(f"alice.{tenant}", "postgres", secret).code == "28P01"
    assert under_test.refusal("alice", "first").code == "28P01"  # no line fits
    assert {row["user"] for row in under_test.show("POOLS") if row["database"] != "pgbouncer"} == {"alice"}


def test_a_line_for_a_listener(routed):
    port = free_port()
    under_test = routed({"* ": "if_listener=tenants database=ep-two", "*": ""}, listeners={"tenants": f"port={port}"})
    with under_test.peer(port=port) as tenant, under_test.peer() as other:
        assert tenant.value("select current_database()") == "other"
        assert other.value("select current_database()") == "app"


def test_no_line_is_a_wrong_password(routed, certificates):
    under_test = routed(NEON)
    wrong = refused_by_host(under_test, certificates, "ep-one.db.example.com", secret="wrong")
    for host, options in (("nonesuch.db.example.com", {}), ("elsewhere.example.com", {}), ("pgbouncer.db.example.com", {}),
                          (None, {}), ("nonesuch.db.example.com", {"secret": "wrong"}), (None, {"user": "nobody"})):
        refused = refused_by_host(under_test, certificates, host, **options)
        assert refused.code == wrong.code == "28P01"
        assert {name: value for name, value in refused.fields.items()} == {name: value for name, value in wrong.fields.items()}
    under_test.await_log(r"no line of \[routes\] fits: host=nonesuch.db.example.com endpoint=\(none\) user=alice db=app listener=default")
    trusting = routed(NEON, auth_type="trust")
    with pytest.raises(Refused):
        trusting.peer()


def test_the_dialogue_is_the_same(routed):
    under_test = routed(NEON)

    def dialogue(endpoint):
        peer = under_test.open()
        with pytest.raises(Refused):
            peer.login("alice", "wrong", "app", options=f"endpoint={endpoint}")
        peer.close()
        return peer.authentication

    assert dialogue("ep-one") == dialogue("nonesuch")


def test_limits_of_a_tenant_are_its_targets(routed, cluster, certificates):
    server = f"host=127.0.0.1 port={cluster.port}"
    under_test = routed(NEON, {"ep-one": f"{server} dbname=app max_db_client_connections=2 max_db_connections=1",
                               "ep-two": f"{server} dbname=app"})
    with by_host(under_test, certificates, "ep-one.db.example.com") as one, \
            by_host(under_test, certificates, "ep-one-pooler.db.example.com", database="else"):
        one.value("select 1")
        refused = refused_by_host(under_test, certificates, "ep-one-pooler.db.example.com")
        assert refused.text == "client connections exceeded (max_db_client_connections)"
        with by_host(under_test, certificates, "ep-two.db.example.com") as other:
            assert other.value("select 1") == "1"


def test_the_console_needs_no_route(routed):
    under_test = routed(NEON)
    assert len(under_test.show("ROUTES")) == 2
    with under_test.peer("admin", "pgbouncer") as console:
        console.ask(query("SHOW VERSION"))


def test_a_reload_changes_routes(routed):
    under_test = routed({"*": "database=ep-one"})
    with under_test.peer() as before:
        under_test.routes = {"*": "database=ep-two"}
        under_test.write()
        under_test.console("RELOAD")
        with under_test.peer() as after:
            assert before.value("select current_database()") == "app"
            assert after.value("select current_database()") == "other"


def test_psql_says_its_host(routed, certificates):
    under_test = routed(NEON)
    done = subprocess.run(["psql", f"host=ep-two-pooler.db.example.com hostaddr=127.0.0.1 port={under_test.port} dbname=x user=alice "
                           "password=alice-secret sslmode=require", "-Atc", "select current_database()"],
                          capture_output=True, text=True, timeout=30 * SLOW)
    assert done.stdout == "other\n", done.stderr


@pytest.mark.parametrize("question, answer", [
    ("ep-one-pooler.db.example.com/alice/x", ["*-pooler.db.example.com: taken", "database=ep-one pool_mode=transaction"]),
    ("ep-one/alice/x", ["*-pooler.db.example.com: another host", "*.db.example.com: taken", "database=ep-one pool_mode=session"]),
    ("nonesuch.db.example.com/alice/x", ["*.db.example.com: the database it leads to has no line of its own", "no line fits"]),
    ("/alice/x", ["another host", "no line fits: the login fails as by a wrong password"]),
])
def test_which_line_would_be_taken(routed, question, answer):
    under_test = routed(NEON)
    status, stdout, _ = run_binary("--check-config", "--route", question, under_test.ini_path)
    assert status == 0 and all(text in stdout for text in answer), stdout


def test_a_question_that_is_none(routed):
    status, _, stderr = run_binary("--check-config", "--route", "host/user", routed(NEON).ini_path)
    assert status == 1 and "--route needs HOST/USER/DATABASE" in stderr
