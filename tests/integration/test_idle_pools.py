"""What nobody uses is forgotten: pools, and databases that were made from *. Outdated sessions end early where that is asked for."""

from peer import query
from waiting import await_that


def start(pooler, cluster, **options):
    server = f"host=127.0.0.1 port={cluster.port}"
    databases = {"app": f"{server} dbname=app", "kept": f"{server} dbname=app user=alice password=alice-secret min_pool_size=1",
                 "*": server}
    return pooler(databases=databases, server_idle_timeout=1, **options)


def pools(under_test, database):
    return under_test.show("POOLS", database=database)


def names(under_test):
    return [row["name"] for row in under_test.show("DATABASES")]


def test_a_pool_that_nobody_uses_is_forgotten(pooler, cluster, worker_threads):
    under_test = start(pooler, cluster, pool_idle_timeout=1, worker_threads=worker_threads)
    with under_test.connect() as connection:
        connection.execute("select 1")
        await_that(lambda: under_test.pool()["sv_idle"] == 0, 6, "its server is closed")
        under_test.await_log("server idle timeout")
        assert pools(under_test, "app")
    await_that(lambda: not pools(under_test, "app"), 8, "the pool is gone")
    under_test.await_log(r"cleaning up idle pool for user alice on db app because: pool idle timeout \(age= \ds\)")
    assert pools(under_test, "kept"), "min_pool_size keeps it"
    with under_test.connect() as connection:
        assert connection.execute("select 1").fetchone() == (1,)


def test_pools_stay_where_no_time_is_set(pooler, cluster):
    under_test = start(pooler, cluster)
    under_test.connect().close()
    await_that(lambda: under_test.pool()["sv_idle"] == 0, 6, "its server is closed")
    assert pools(under_test, "app")


def test_an_automatic_database_that_nobody_uses_is_forgotten(pooler, cluster):
    under_test = start(pooler, cluster, autodb_idle_timeout=1)
    with under_test.connect(dbname="other") as connection:
        connection.execute("select 1")
        assert "other" in names(under_test)
    await_that(lambda: "other" not in names(under_test), 10, "the database is forgotten")
    assert not pools(under_test, "other")
    with under_test.connect(dbname="other") as connection:
        assert connection.execute("select 1").fetchone() == (1,)


def test_a_paused_automatic_database_is_not_forgotten(pooler, cluster):
    under_test = start(pooler, cluster, autodb_idle_timeout=1)
    with under_test.connect(dbname="other") as connection:
        connection.execute("select 1")
    under_test.console("PAUSE other")
    await_that(lambda: under_test.pool("other")["sv_idle"] == 0, 6, "its server is closed")
    with under_test.connect("bob", dbname="app") as connection:
        connection.execute("select pg_sleep(2.5)")
    assert pools(under_test, "other")


def test_an_outdated_session_ends_between_two_transactions(pooler, cluster):
    under_test = pooler(pool_mode="session", server_fast_close=1)
    with under_test.peer() as idle, under_test.peer() as busy:
        idle.value("select 1")
        busy.ask(query("begin"))
        under_test.console("RECONNECT")
        answer = idle.read()
        assert (answer.type, answer.fields["M"]) == ("E", "database configuration changed")
        assert busy.value("select 1") == "1"
        busy.ask(query("commit"))
        assert busy.read().fields["M"] == "database configuration changed"


def test_without_fast_close_it_lives_on(pooler, cluster):
    under_test = pooler(pool_mode="session")
    with under_test.peer() as peer:
        peer.value("select 1")
        under_test.console("RECONNECT")
        assert peer.is_quiet(1.5)
        assert peer.value("select 1") == "1"
