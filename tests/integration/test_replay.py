"""A request is sent again, unseen, where its first run cannot have had an effect: stale statements heal (PITFALLS row 7), and
a server that was lost before it had read the request is replaced."""

import shutil
import subprocess

import pytest

from peer import (FLUSH, SYNC, Closed, bind, close_statement, describe_portal, describe_statement, execute, parse, query, types)
from waiting import await_that


def rows(messages):
    return [message.row[0].decode() for message in messages if message.type == "D"]


def errors(messages):
    return [message.fields["C"] for message in messages if message.type == "E"]


def run(name, *parameters):
    return bind(*parameters, statement=name) + execute() + SYNC


@pytest.fixture(params=[1, 2], ids=["one server", "two servers"])
def pool(request, pooler):
    return pooler(default_pool_size=request.param, max_prepared_statements=20, worker_threads=1)


@pytest.fixture
def table(cluster):
    cluster.run("drop table if exists changing; create table changing (a int); grant all on changing to public;"
                "insert into changing values (1)")

    class Table:
        columns = 1

        def change(self):
            """The plans of `select * from changing` are stale from now on."""
            self.columns += 1
            cluster.run(f"alter table changing add c{self.columns} int")

    return Table()


@pytest.fixture
def both(pool, table):
    """Two clients, whose statements every server holds: while the first is in a transaction the second has another server."""
    one, two = pool.peer(), pool.peer()
    for peer in (one, two):
        assert types(peer.ask(parse("select * from changing", "all_of_it"), SYNC)) == "1Z"
    yield one, two
    one.leave()
    two.leave()


def warm(pool, one, two):
    """Every server holds the statement and its plan."""
    if pool.options["default_pool_size"] == 2:
        one.ask(query("begin"))
    for peer in (one, two):
        assert rows(peer.ask(run("all_of_it"))) == ["1"]
    if pool.options["default_pool_size"] == 2:
        one.ask(query("commit"))


def test_a_table_changes_under_a_cached_statement_and_nobody_sees_it(pool, table, both):
    """PITFALLS row 7."""
    one, two = both
    for _ in range(3):
        warm(pool, one, two)
        table.change()
        for peer in (one, two, one):
            answers = peer.ask(bind(statement="all_of_it"), describe_portal(), execute(), SYNC)
            assert types(answers) == "2TDCZ" and len(answers[1].columns) == table.columns


def test_describe_of_a_stale_statement_shows_one_parameter_description(pool, table, both):
    """PostgreSQL sends it before it finds out."""
    warm(pool, *both)
    table.change()
    for peer in both:
        answers = peer.ask(describe_statement("all_of_it"), SYNC)
        assert types(answers) == "tTZ" and len(answers[1].columns) == table.columns
        assert types(peer.ask(describe_statement("all_of_it"), bind(statement="all_of_it"), execute(), SYNC)) == "tT2DCZ"


def test_a_stale_statement_heals_behind_a_parse_that_was_answered(pool, table, both):
    """As drivers do that prepare and run in one write: the text is known, its ParseComplete was made up."""
    warm(pool, *both)
    table.change()
    for number, peer in enumerate(both):
        name = f"new{number}"
        answers = peer.ask(parse("select * from changing", name), bind(statement=name), describe_portal(), execute(),
                           close_statement("none"), SYNC)
        assert types(answers) == "12TDC3Z" and len(answers[2].columns) == table.columns
        assert rows(peer.ask(run(name))) == ["1"]


def test_a_stale_statement_heals_at_a_flush(pool, table, both):
    """The Sync comes later, or never for this error."""
    warm(pool, *both)
    table.change()
    for peer in both:
        peer.send(bind(statement="all_of_it"), describe_portal(), execute(), FLUSH)
        assert types([peer.read() for _ in range(4)]) == "2TDC"
        assert types(peer.ask(SYNC)) == "Z"


def test_a_stale_statement_heals_with_settings_in_front(pool, table, both):
    one, two = both
    warm(pool, one, two)
    one.ask(query("set timezone = 'Asia/Tokyo'"))
    table.change()
    assert rows(two.ask(run("all_of_it"))) == ["1"]
    table.change()
    assert rows(one.ask(run("all_of_it"))) == ["1"]
    assert one.value("show timezone") == "Asia/Tokyo"


def test_a_stale_statement_in_a_transaction_is_an_error_there_and_heals_afterwards(pool, table, both):
    one, two = both
    warm(pool, one, two)
    one.ask(query("begin"))
    table.change()
    assert errors(one.ask(run("all_of_it"))) == ["0A000"]
    assert errors(one.ask(run("all_of_it"))) == ["25P02"]
    assert types(one.ask(query("rollback"))) == "CZ"
    for peer in (one, two, one):
        assert rows(peer.ask(run("all_of_it"))) == ["1"]


def test_what_has_run_before_a_stale_statement_is_not_run_again(pool, table, both, cluster):
    """Its answer was given: the error is the client's, and the batch was undone."""
    one, two = both
    warm(pool, one, two)
    one.ask(parse("insert into written values (881) returning n", "write"), SYNC)
    table.change()
    answers = one.ask(bind(statement="write"), execute(), run("all_of_it"))
    assert types(answers) == "2DCEZ" and errors(answers) == ["0A000"]
    assert one.rows("select count(*) from written where n = 881") == [("0",)]
    assert rows(one.ask(bind(statement="write"), execute(), run("all_of_it"))) == ["881", "1"]
    one.ask(query("delete from written where n = 881"))


def test_a_unit_with_more_behind_it_is_not_run_again(pool, table, both):
    """What was sent behind it runs, so its answers would come too early."""
    one, two = both
    warm(pool, one, two)
    table.change()
    one.send(run("all_of_it"), query("select 'behind'"))
    answers = one.read_until("Z", 2)
    assert rows(answers)[-1] == "behind" and errors(answers) in (["0A000"], [])
    assert rows(one.ask(run("all_of_it"))) == ["1"]


def test_a_statement_removed_behind_our_back_heals_unseen(pool, both, table):
    one, two = both
    for peer in both:
        warm(pool, one, two)
        peer.ask(query("do $$ begin execute 'deallocate all'; end $$"))
        for other in (one, two, one):
            assert rows(other.ask(run("all_of_it"))) == ["1"]


def test_a_stale_statement_of_a_table_that_is_gone_tells_postgresqls_error(pool, cluster, both, table):
    one, two = both
    warm(pool, one, two)
    cluster.run("drop table changing")
    for peer in both:
        assert errors(peer.ask(run("all_of_it"))) == ["42P01"]


def test_a_large_request_is_not_kept_and_its_error_is_told(pool, table, both):
    one, _ = both
    one.ask(parse("select *, $1::text from changing", "large"), SYNC)
    assert rows(one.ask(run("large", "x" * 100000))) == ["1"]
    table.change()
    assert errors(one.ask(run("large", "x" * 100000))) in (["0A000"], [])
    assert rows(one.ask(run("large", "x" * 100000))) == ["1"]


def test_psycopg_does_not_see_a_table_change(pool, table):
    with pool.connect() as one, pool.connect() as two:
        for connection in (one, two):
            connection.prepare_threshold = 0
        for _ in range(4):
            for connection in (one, two):
                cursor = connection.execute("select * from changing where a = %s", (1,))
                assert cursor.fetchone()[0] == 1 and len(cursor.description) == table.columns
            table.change()
            for connection in (two, one):
                cursor = connection.execute("select * from changing where a = %s", (1,))
                assert cursor.fetchone()[0] == 1 and len(cursor.description) == table.columns


# Servers that are lost.


def terminate(cluster, pids):
    """And they are gone."""
    cluster.run("select pg_terminate_backend(pid) from unnest(array[%s]) pid" % ",".join(map(str, pids)))
    await_that(lambda: not set(map(int, pids)) & set(cluster.backends()), 5, "the backends are gone")


def idle_servers(pool, one, two):
    """The backends of all servers, which are idle."""
    one.ask(query("begin"))
    pids = {one.value("select pg_backend_pid()")}
    if pool.options["default_pool_size"] == 2:
        pids.add(two.value("select pg_backend_pid()"))
    one.ask(query("commit"))
    return pids


def test_idle_servers_that_are_terminated_are_replaced_unseen(pool, cluster, both):
    one, two = both
    for _ in range(5):
        pids = idle_servers(pool, one, two)
        terminate(cluster, pids)
        assert rows(one.ask(run("all_of_it"))) == ["1"]
        assert two.value("select pg_backend_pid()") not in pids


def test_psycopg_does_not_see_idle_servers_end(pool, cluster, table):
    with pool.connect() as one, pool.connect() as two:
        for connection in (one, two):
            connection.prepare_threshold = 0
        for _ in range(5):
            for connection in (one, two):
                pid, = connection.execute("select pg_backend_pid() where %s", (True,)).fetchone()
                terminate(cluster, [pid])
                with connection.transaction():
                    assert connection.execute("select pg_backend_pid() where %s", (True,)).fetchone() != (pid,)


class Delayed:
    """Every write of the pooler is held up for a second, before it or behind it."""

    def __init__(self, pooler, where):
        self.process = subprocess.Popen(["strace", "-f", "-p", str(pooler.process.pid), "-o", "/dev/null", "-e", "trace=sendto,sendmsg",
                                         "-e", f"inject=sendto,sendmsg:delay_{where}=1000000"],
                                        stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        if "attached" not in self.process.stderr.readline():
            self.process.wait()
            pytest.skip("strace may not attach here")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()


@pytest.mark.skipif(not shutil.which("strace"), reason="no strace")
@pytest.mark.parametrize("tls", ["disable", "require"])
def test_a_server_that_ends_while_a_request_is_on_its_way_is_replaced_unseen(pooler, cluster, tls):
    """Its last words were said before the request was there: it cannot have read it."""
    under_test = pooler(default_pool_size=1, worker_threads=1, server_tls_sslmode=tls, query_wait_notify=0)
    with under_test.peer(timeout=30) as peer:
        pid = peer.value("select pg_backend_pid()")
        with Delayed(under_test, "enter"):
            peer.send(query("insert into written values (882); select pg_backend_pid()"))
            cluster.run(f"select pg_terminate_backend({pid})")
            answers = peer.read_until("Z")
        assert types(answers) == "CTDCZ" and rows(answers) != [pid]
        under_test.await_log("ended before it had read a request")
        peer.ask(query("delete from written where n = 882"))


@pytest.mark.skipif(not shutil.which("strace"), reason="no strace")
@pytest.mark.parametrize("tls", ["disable", "require"])
def test_a_request_that_a_server_has_read_is_not_sent_again(pooler, cluster, tls):
    under_test = pooler(default_pool_size=1, worker_threads=1, server_tls_sslmode=tls, query_wait_notify=0)
    with under_test.peer(timeout=30) as peer:
        pid = peer.value("select pg_backend_pid()")
        with Delayed(under_test, "exit"):
            peer.send(query("insert into written values (883); select pg_sleep(60)"))
            await_that(lambda: cluster.backends(f"pid = {pid} and wait_event = 'PgSleep'"), 5)
            cluster.run(f"select pg_terminate_backend({pid})")
            with pytest.raises(Closed):
                peer.read_until("Z")
        assert "ended before it had read a request" not in under_test.log()


DRIVER = [describe_statement("known"), SYNC]  # one that describes a statement once, and no portal


def outdated(answers):
    return [(answer.fields["C"], answer.fields["M"], answer.fields["R"]) for answer in answers if answer.type == "E"]


def test_who_knows_an_old_description_is_told_as_by_postgresql(pool, table, both):
    """Another client's request, which describes its portal, has found the change and healed it before."""
    told = [("0A000", "cached plan must not change result type", "RevalidateCachedQuery")]
    one, two = both
    for peer in both:
        peer.ask(parse("select * from changing", "known"), *DRIVER)
    warm(pool, one, two)
    for _ in range(2):
        assert rows(one.ask(run("known"))) == ["1"]
        table.change()
        answers = two.ask(bind(statement="known"), describe_portal(), execute(), SYNC)
        assert types(answers) == "2TDCZ" and len(answers[1].columns) == table.columns
        for _ in range(2):
            answers = one.ask(run("known"))
            assert types(answers) == "EZ" and outdated(answers) == told
        answers = one.ask(bind(statement="known"), describe_portal(), execute(), SYNC)
        assert types(answers) == "2TDCZ" and len(answers[1].columns) == table.columns
        one.ask(query("begin"))
        assert outdated(one.ask(run("known"))) == told and errors(one.ask(query("select 1"))) == ["25P02"]
        one.ask(query("rollback"))
        assert types(one.ask(close_statement("known"), parse("select * from changing", "known"), *DRIVER)) == "31tTZ"
        assert rows(one.ask(run("known"))) == ["1"]
        two.ask(describe_statement("known"), SYNC)


def test_a_change_is_told_once_however_many_servers_find_it(pool, table, both):
    one, two = both
    for peer in both:
        peer.ask(parse("select * from changing", "known"), *DRIVER)
    warm(pool, one, two)
    table.change()
    assert errors(one.ask(run("known"))) == ["0A000"]
    assert errors(two.ask(run("known"))) == ["0A000"]
    for peer in both:
        peer.ask(close_statement("known"), parse("select * from changing", "known"), *DRIVER)
    for _ in range(2):
        if pool.options["default_pool_size"] == 2:
            one.ask(query("begin"))  # the other one gets the other server
        assert errors(two.ask(run("known"))) == []
        one.ask(query("commit"))
        assert errors(one.ask(run("known"))) == []


def test_nothing_is_said_of_a_description_that_is_still_true(pool, table, both):
    one, two = both
    one.ask(parse("select a from changing", "known"), *DRIVER)
    warm(pool, one, two)
    table.change()
    assert types(two.ask(bind(statement="all_of_it"), describe_portal(), execute(), SYNC)) == "2TDCZ"
    assert rows(one.ask(run("known"))) == ["1"]


def test_a_change_that_was_found_in_a_transaction_is_told_to_others_too(pool, table, both):
    one, two = both
    for peer in both:
        peer.ask(parse("select * from changing", "known"), *DRIVER)
    warm(pool, one, two)
    one.ask(query("begin"))
    table.change()
    assert errors(one.ask(run("known"))) == ["0A000"]
    one.ask(query("rollback"))
    for _ in range(2):
        assert errors(two.ask(run("known"))) == ["0A000"]
    two.ask(close_statement("known"), parse("select * from changing", "known"), *DRIVER)
    assert rows(two.ask(run("known"))) == ["1"]
