"""Named statements of the protocol in transaction mode: each client sees its own, whatever server it gets."""

import random

import psycopg
import pytest

from peer import (FLUSH, SYNC, bind, close_statement, describe_portal, describe_statement, execute, extended, parse, query, types)


@pytest.fixture(scope="module")
def one_server(shared_pooler):
    return shared_pooler(default_pool_size=1, max_prepared_statements=20, worker_threads=4)


def rows(messages):
    return [message.row[0].decode() for message in messages if message.type == "D"]


def run(name, *parameters):
    return bind(*parameters, statement=name) + execute() + SYNC


def test_the_same_name_with_other_texts(one_server):
    """As programs choose names, alike in every client."""
    peers = [one_server.peer() for _ in range(10)]
    for number, peer in enumerate(peers):
        assert types(peer.ask(parse(f"select 'text of {number}'", "get"), SYNC)) == "1Z"
    for _ in range(3):
        for number, peer in enumerate(peers):
            assert rows(peer.ask(run("get"))) == [f"text of {number}"]
    for peer in peers:
        peer.leave()


def test_other_names_with_the_same_text_share_one_statement(pooler, cluster):
    under_test = pooler(default_pool_size=1, max_prepared_statements=20)
    peers = [under_test.peer() for _ in range(10)]
    for number, peer in enumerate(peers):
        peer.ask(parse("select $1::text || '!'", f"name{number}"), SYNC)
    for number, peer in enumerate(peers):
        assert rows(peer.ask(run(f"name{number}", "x"))) == ["x!"]
    assert int(peers[0].value("select count(*) from pg_prepared_statements where statement like '%!%' and statement not like '%pg_prep%'")) == 1


def test_a_statement_follows_its_client_to_other_servers(pooler, worker_threads):
    under_test = pooler(default_pool_size=4, max_prepared_statements=20, worker_threads=worker_threads)
    peer, others = under_test.peer(), [under_test.peer() for _ in range(3)]
    peer.ask(parse("select pg_backend_pid()", "p"), SYNC)
    pids = set()
    for held in range(4):
        pids.update(rows(peer.ask(run("p"))))
        if held < 3:
            others[held].ask(query("begin"))
    for other in others:
        other.ask(query("commit"))
    peer.ask(query("begin"))
    held = peer.value("select pg_backend_pid()")
    assert rows(peer.ask(run("p"))) == [held]


def test_more_statements_than_a_server_may_hold(pooler, cluster):
    under_test = pooler(default_pool_size=1, max_prepared_statements=10)
    with under_test.peer() as peer:
        for number in range(50):
            assert types(peer.ask(parse(f"select 'statement {number}'", f"s{number}"), SYNC)) == "1Z"
        order = list(range(50)) * 3
        random.Random(1).shuffle(order)
        for number in order:
            assert rows(peer.ask(run(f"s{number}"))) == [f"statement {number}"]
        assert int(peer.value("select count(*) from pg_prepared_statements")) <= 11


def test_more_statements_in_one_batch_than_a_server_may_hold(pooler):
    under_test = pooler(default_pool_size=1, max_prepared_statements=5)
    with under_test.peer() as peer:
        peer.ask(*(parse(f"select 'b{n}'", f"b{n}") for n in range(30)), SYNC)
        answers = peer.ask(*(bind(statement=f"b{n}") + execute() for n in range(30)), SYNC)
        assert rows(answers) == [f"b{n}" for n in range(30)]


def test_describe(one_server):
    with one_server.peer() as peer, one_server.peer() as other:
        first = peer.ask(parse("select $1::int as a, $2::text as b", "d"), describe_statement("d"), SYNC)
        for number in range(25):  # more than the server may hold: it has forgotten the first
            other.ask(parse(f"select {number}", f"push{number}"), SYNC)
        again = peer.ask(describe_statement("d"), SYNC)
        assert [m for m in first if m.type in "tT"] == [m for m in again if m.type in "tT"]
        assert [name for name, _, _ in again[1].columns] == ["a", "b"]


def test_close_forgets_the_name(one_server):
    with one_server.peer() as peer:
        peer.ask(parse("select 'old'", "c"), SYNC)
        assert types(peer.ask(close_statement("c"), SYNC)) == "3Z"
        assert types(peer.ask(parse("select 'new'", "c"), SYNC)) == "1Z"
        assert rows(peer.ask(run("c"))) == ["new"]
        assert types(peer.ask(close_statement("never heard of"), SYNC)) == "3Z"


def test_parse_and_close_in_one_batch_are_answered_in_order(one_server):
    with one_server.peer() as peer:
        answers = peer.ask(parse("select 1", "x"), close_statement("x"), parse("select 2", "x"), bind(statement="x"), execute(), SYNC)
        assert types(answers) == "1312DCZ" and rows(answers) == ["2"]
        peer.ask(close_statement("x"), SYNC)


def test_parse_and_flush_of_a_known_text(one_server):
    """ParseComplete comes at the Flush, though the server may hold the statement already."""
    for number in range(3):
        with one_server.peer() as peer:
            peer.send(parse("select 'known'", f"k{number}"), FLUSH)
            assert peer.read().type == "1"
            peer.send(describe_statement(f"k{number}"), FLUSH)
            assert types([peer.read(), peer.read()]) == "tT"
            assert rows(peer.ask(run(f"k{number}"))) == ["known"]


def test_a_failed_parse_leaves_the_name_free(one_server):
    with one_server.peer() as peer:
        assert types(peer.ask(parse("selec", "f"), SYNC)) == "EZ"
        assert types(peer.ask(parse("select 'good'", "f"), SYNC)) == "1Z"
        assert rows(peer.ask(run("f"))) == ["good"]


def test_a_skipped_parse_leaves_the_name_free(one_server):
    with one_server.peer() as peer:
        assert types(peer.ask(parse("selec"), parse("select 'skipped'", "k"), SYNC)) == "EZ"
        assert types(peer.ask(parse("select 'good'", "k"), SYNC)) == "1Z"
        assert rows(peer.ask(run("k"))) == ["good"]


def test_parameter_types_are_part_of_a_statement(one_server):
    """The same text with other types is another statement."""
    with one_server.peer() as one, one_server.peer() as two:
        one.ask(parse("select pg_typeof($1)::text", "t", types=(23,)), SYNC)
        two.ask(parse("select pg_typeof($1)::text", "t", types=(25,)), SYNC)
        for _ in range(2):
            assert rows(one.ask(run("t", "1"))) == ["integer"]
            assert rows(two.ask(run("t", "1"))) == ["text"]


def test_settings_are_part_of_a_statement(one_server):
    """A constant is read at Parse with the client's own DateStyle."""
    with one_server.peer(DateStyle="ISO, MDY") as one, one_server.peer(DateStyle="ISO, DMY") as two:
        for peer in (one, two):
            peer.ask(parse("select '01/02/2024'::date::text", "date"), SYNC)
        for _ in range(2):
            assert rows(one.ask(run("date"))) == ["2024-01-02"]
            assert rows(two.ask(run("date"))) == ["2024-02-01"]


def test_names_and_texts_of_any_length(one_server):
    with one_server.peer() as peer, one_server.peer() as other:
        name = "n" * 63
        text = "select '" + "t" * 100000 + "'"
        assert types(peer.ask(parse(text, name), SYNC)) == "1Z"
        other.value("select 1")
        assert rows(peer.ask(run(name))) == ["t" * 100000]


def test_statements_in_a_transaction(one_server):
    with one_server.peer() as peer, one_server.peer() as other:
        peer.ask(query("begin"))
        peer.ask(parse("select 'in'", "tx"), SYNC)
        assert rows(peer.ask(run("tx"))) == ["in"]
        peer.ask(query("rollback"))
        other.value("select 1")
        assert rows(peer.ask(run("tx"))) == ["in"]


def test_pipelined_batches(one_server):
    with one_server.peer() as peer, one_server.peer() as other:
        peer.send(parse("select 'a'", "pa"), SYNC, run("pa"), parse("select 'b'", "pb"), run("pb"), run("pa"), query("select 'q'"), run("pb"))
        assert rows(peer.read_until("Z", 6)) == ["a", "b", "a", "q", "b"]
        other.value("select 1")
        peer.send(run("pb"), run("pa"), extended("select 'x'") + SYNC)
        assert rows(peer.read_until("Z", 3)) == ["b", "a", "x"]


def test_describe_portal_of_a_statement_that_the_server_lacks(pooler):
    under_test = pooler(default_pool_size=2, max_prepared_statements=20)
    one, two = under_test.peer(), under_test.peer()
    one.ask(parse("select $1::int as answer", "dp"), SYNC)
    two.ask(query("begin"))
    answers = one.ask(bind("5", statement="dp"), describe_portal(), execute(), SYNC)
    assert types(answers) == "2TDCZ" and answers[1].columns[0][0] == "answer"


def test_psycopg_prepares(pooler, worker_threads):
    under_test = pooler(default_pool_size=3, max_prepared_statements=30, worker_threads=worker_threads)
    connections = [under_test.connect() for _ in range(6)]
    for connection in connections:
        connection.prepare_threshold = 1
        connection.prepared_max = 50
    for round_ in range(6):
        for number, connection in enumerate(connections):
            for text in range(5):
                row = connection.execute(f"select %s::int + {text}", (number * 100 + round_,)).fetchone()
                assert row == (number * 100 + round_ + text,)
    with pytest.raises(psycopg.errors.DivisionByZero):
        connections[0].execute("select 1 / %s::int", (0,))
    assert connections[0].execute("select 1 / %s::int", (1,)).fetchone() == (1,)
    for connection in connections:
        connection.close()


def test_session_mode_passes_everything_through(pooler):
    under_test = pooler(pool_mode="session", default_pool_size=1)
    with under_test.peer() as peer:
        peer.ask(parse("select 1", "own_name"), SYNC)
        assert peer.value("select name from pg_prepared_statements") == "own_name"
        assert rows(peer.ask(run("own_name"))) == ["1"]


def test_counts_in_the_console(pooler):
    under_test = pooler(default_pool_size=1, max_prepared_statements=20)
    with under_test.peer() as peer:
        peer.ask(parse("select 1", "counted"), SYNC)
        peer.ask(run("counted"))
        client = under_test.show("CLIENTS", database="app")[0]
        server = under_test.show("SERVERS", database="app")[0]
        assert (client["prepared_statements"], server["prepared_statements"]) == ("1", "1")


def errors(messages):
    return [message.fields["C"] for message in messages if message.type == "E"]


def test_a_parse_that_fails_and_a_close_behind_it_leave_the_name_free(one_server):
    with one_server.peer() as peer:
        assert types(peer.ask(parse("selec", "pc"), close_statement("pc"), SYNC)) == "EZ"
        assert errors(peer.ask(run("pc"))) == ["26000"]
        assert types(peer.ask(parse("select 'good'", "pc"), SYNC)) == "1Z"
        assert rows(peer.ask(run("pc"))) == ["good"]


def test_a_close_that_is_skipped_behind_a_parse_leaves_the_name(one_server):
    with one_server.peer() as peer:
        assert types(peer.ask(parse("select 'stays'", "ps"), bind(statement="nowhere"), close_statement("ps"), SYNC)) == "1EZ"
        assert rows(peer.ask(run("ps"))) == ["stays"]


def test_a_stale_plan_heals(pooler, cluster):
    """After a change of the table's columns nobody is told; everybody's next use is right."""
    under_test = pooler(default_pool_size=1, max_prepared_statements=20)
    cluster.run("drop table if exists changing; create table changing (a int); grant all on changing to public; insert into changing values (1)")
    with under_test.peer() as one, under_test.peer() as other:
        for peer in (one, other):
            peer.ask(parse("select * from changing", "all_of_it"), SYNC)
            peer.ask(parse("select 'other', * from changing", "more_of_it"), SYNC)
            assert rows(peer.ask(run("all_of_it"))) == ["1"]
            peer.ask(run("more_of_it"))
        cluster.run("alter table changing add b int")
        assert rows(one.ask(run("all_of_it"))) == ["1"]
        for peer in (other, one):
            answers = peer.ask(bind(statement="all_of_it"), describe_portal(), execute(), SYNC)
            assert types(answers) == "2TDCZ" and len(answers[1].columns) == 2
            assert rows(peer.ask(run("more_of_it"))) == ["other"]
        assert int(one.value("select count(*) from pg_prepared_statements where statement like '%changing'")) == 2


def test_a_stale_plan_inside_a_transaction_heals_afterwards(pooler, cluster):
    under_test = pooler(default_pool_size=1, max_prepared_statements=20)
    cluster.run("drop table if exists changing; create table changing (a int); grant all on changing to public; insert into changing values (1)")
    with under_test.peer() as one:
        one.ask(parse("select * from changing", "all_of_it"), SYNC)
        cluster.run("alter table changing add b int")
        one.ask(query("begin"))
        assert errors(one.ask(run("all_of_it"))) == ["0A000"]
        assert errors(one.ask(run("all_of_it"))) == ["25P02"]
        one.ask(query("rollback"))
        for _ in range(2):
            assert rows(one.ask(run("all_of_it"))) == ["1"]


def test_a_statement_removed_behind_our_back_heals(pooler):
    """A DEALLOCATE that no answer tells of."""
    under_test = pooler(default_pool_size=1, max_prepared_statements=20)
    with under_test.peer() as one:
        one.ask(parse("select 'there'", "removed"), SYNC)
        one.ask(query("do $$ begin execute 'deallocate all'; end $$"))
        assert rows(one.ask(run("removed"))) == ["there"]


def limit_error(answers):
    (error,) = [message.fields for message in answers if message.type == "E"]
    return error["C"], error["H"]


@pytest.mark.parametrize("in_transaction", [False, True])
def test_a_client_with_too_many_names_gets_an_error_and_goes_on(pooler, in_transaction):
    under_test = pooler(default_pool_size=1, max_client_prepared_statements=3)
    with under_test.peer() as peer, under_test.peer() as other:
        for number in range(3):
            assert types(peer.ask(parse(f"select {number}", f"s{number}"), SYNC)) == "1Z"
        if in_transaction:
            peer.ask(query("begin"))
        answers = peer.ask(parse("select 'new'", "s3"), bind(statement="s3"), execute(), SYNC)
        assert types(answers) == "EZ" and answers[-1].body == (b"E" if in_transaction else b"I")
        code, hint = limit_error(answers)
        assert code == "53400" and "max_client_prepared_statements" in hint
        if in_transaction:
            assert [message.fields["C"] for message in peer.ask(parse("select 1", "s3"), SYNC) if message.type == "E"] == ["53400"]
            peer.ask(query("rollback"))
        assert types(other.ask(parse("select 3", "s3"), SYNC)) == "1Z"  # it is not this client that is at its bound
        assert rows(peer.ask(run("s2"))) == ["2"]
        assert types(peer.ask(close_statement("s0"), parse("select 'new'", "s3"), SYNC)) == "31Z"
        assert rows(peer.ask(run("s3"))) == ["new"]
        peer.leave()
        other.leave()


def test_what_stands_before_a_name_too_many_is_not_committed(pooler, cluster):
    """INSERT, one name too many, Sync: as after any error, nothing of the batch is kept."""
    under_test = pooler(default_pool_size=1, max_client_prepared_statements=1)
    with under_test.peer() as peer:
        peer.ask(query("drop table if exists too_many; create table too_many (n int)"))
        peer.ask(parse("select 1", "one"), SYNC)
        answers = peer.ask(extended("insert into too_many values (1)"), parse("select 2", "two"), extended("select 3"), SYNC)
        assert types(answers) == "12nCEZ"
        assert peer.value("select count(*) from too_many") == "0"
        peer.ask(query("drop table too_many"))


def test_the_texts_of_statements_are_bounded(pooler):
    under_test = pooler(default_pool_size=1, worker_threads=1, statement_cache_size=10000)
    with under_test.peer() as peer, under_test.peer() as other:
        assert types(peer.ask(parse("select 'short'", "short"), SYNC)) == "1Z"
        code, hint = limit_error(peer.ask(parse(f"select '{'x' * 10000}'", "long"), SYNC))
        assert code == "53400" and "statement_cache_size" in hint
        assert types(other.ask(parse("select 'short'", "same"), SYNC)) == "1Z"
        assert rows(peer.ask(run("short"))) == ["short"]
