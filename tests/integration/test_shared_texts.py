"""cache_unnamed_statements: unnamed statements are served from the shared ones, and answers stay PostgreSQL's own."""

import pytest

from peer import FLUSH, SYNC, bind, close_statement, describe_statement, execute, extended, parse, query, types

RUN = bind() + execute() + SYNC


def rows(messages):
    return [message.row[0].decode() for message in messages if message.type == "D"]


def errors(messages):
    return [(message.fields["C"], message.fields["M"]) for message in messages if message.type == "E"]


@pytest.fixture
def under_test(pooler):
    return pooler(default_pool_size=1, worker_threads=1, cache_unnamed_statements=1)


def held(peer, like):
    """How many statements the server holds whose text is so. (A simple query leaves them alone.)"""
    return int(peer.value(f"select count(*) from pg_prepared_statements where statement like '{like}' and statement not like '%prepared%'"))


def test_a_text_is_parsed_once_for_all_clients(under_test):
    peers = [under_test.peer() for _ in range(5)]
    for _ in range(3):
        for number, peer in enumerate(peers):
            answers = peer.ask(extended("select $1::int + 40", number), SYNC)
            assert types(answers) == "12TDCZ" and rows(answers) == [str(number + 40)]
    assert held(peers[0], "select $1::int + 40") == 1
    assert int(peers[0].value("select generic_plans + custom_plans from pg_prepared_statements where statement like 'select $1::int + 40'")) == 15
    for peer in peers:
        peer.leave()


def test_off_by_default(pooler):
    under_test = pooler(default_pool_size=1)
    with under_test.peer() as peer:
        peer.ask(extended("select 41"), SYNC)
        assert held(peer, "select 41") == 0


@pytest.mark.parametrize("text", ["select 'now'::timestamptz", "select date 'today'", "select timestamptz ' Tomorrow 10:00'",
                                  "select $$yesterday$$::date"])
def test_texts_that_keep_the_time_of_their_parse_are_not_shared(under_test, text):
    with under_test.peer() as one, under_test.peer() as other:
        assert rows(one.ask(extended(text), SYNC)) and rows(other.ask(extended(text), SYNC))
        assert held(one, text.replace("'", "_")) == 0


def test_named_statements_that_keep_the_time_of_their_parse_are_not_shared(under_test):
    with under_test.peer() as one, under_test.peer() as other:
        one.ask(parse("select 'now'::timestamptz::text", "s"), SYNC)
        other.value("select pg_sleep(0.01)")
        other.ask(parse("select 'now'::timestamptz::text", "s"), SYNC)
        first = rows(one.ask(bind(statement="s"), execute(), SYNC))
        assert first != rows(other.ask(bind(statement="s"), execute(), SYNC))
        assert first == rows(one.ask(bind(statement="s"), execute(), SYNC))


def test_a_call_of_now_is_shared(under_test):
    with under_test.peer() as peer:
        peer.ask(extended("select now(), 'x'"), SYNC)
        assert held(peer, "select now(), _x_") == 1


def test_settings_of_a_transaction_that_change_what_a_text_means(under_test, cluster):
    cluster.run("create schema if not exists elsewhere; create table if not exists elsewhere.numbers (n text);"
                "grant all on schema elsewhere to public; grant all on elsewhere.numbers to public; truncate elsewhere.numbers;"
                "insert into elsewhere.numbers values ('elsewhere')")
    text = "select n::text from numbers limit 1"
    with under_test.peer() as one, under_test.peer() as other:
        here = rows(one.ask(extended(text), SYNC))
        assert here != ["elsewhere"]
        other.ask(query("begin; set local search_path = elsewhere"))
        assert rows(other.ask(extended(text), SYNC)) == ["elsewhere"]
        other.ask(query("rollback"))
        assert rows(other.ask(extended(text), SYNC)) == here
        for peer, style, day in ((one, "MDY", "2024-01-02"), (other, "DMY", "2024-02-01")):
            peer.ask(query(f"set datestyle = ISO, {style}"))
            assert rows(peer.ask(extended("select '01/02/2024'::date::text"), SYNC)) == [day]


def test_a_temporary_table_hides_anothers(under_test):
    text = "select count(*) from numbers"
    with under_test.peer() as peer:
        full = rows(peer.ask(extended(text), SYNC))
        peer.ask(query("begin; create temp table numbers (n int) on commit drop"))
        assert rows(peer.ask(extended(text), SYNC)) == ["0"] != full
        peer.ask(query("rollback"))
        assert rows(peer.ask(extended(text), SYNC)) == full


def test_errors_speak_of_the_unnamed_statement(under_test, cluster):
    with under_test.peer() as peer:
        peer.ask(parse("select $1::int", "named"), SYNC)
        for _ in range(2):
            assert errors(peer.ask(parse("select $1::int"), bind(), execute(), SYNC)) == [
                ("08P01", 'bind message supplies 0 parameters, but prepared statement "" requires 1')]
        assert errors(peer.ask(bind(statement="named"), SYNC)) == [
            ("08P01", 'bind message supplies 0 parameters, but prepared statement "named" requires 1')]
        assert errors(peer.ask(extended("selec"), SYNC))[0][0] == "42601"
        assert errors(peer.ask(RUN)) == [("26000", "unnamed prepared statement does not exist")]


def test_a_query_and_a_close_drop_it(under_test):
    with under_test.peer() as peer, under_test.peer() as other:
        for drop in (query("select 1"), close_statement() + SYNC):
            assert rows(peer.ask(parse("select 'own'"), SYNC, RUN) + peer.read_until("Z")) == ["own"]
            other.ask(extended("select 'not yours'"), SYNC)
            assert rows(peer.ask(RUN)) == ["own"]
            peer.ask(drop)
            assert errors(peer.ask(RUN)) == [("26000", "unnamed prepared statement does not exist")]
            assert errors(peer.ask(describe_statement(), SYNC))[0][0] == "26000"


def test_a_parse_that_is_skipped_leaves_the_one_before(under_test):
    with under_test.peer() as peer:
        peer.ask(parse("select 'before'"), SYNC)
        assert types(peer.ask(bind(statement="nowhere"), parse("select 'skipped'"), SYNC)) == "EZ"
        assert rows(peer.ask(RUN)) == ["before"]


def test_a_failed_transaction_answers_as_postgresql_does(under_test):
    with under_test.peer() as peer:
        peer.ask(extended("select 'known'"), SYNC)
        peer.ask(query("begin"))
        peer.ask(extended("select 1 / 0"), SYNC)
        assert errors(peer.ask(extended("select 'known'"), SYNC))[0][0] == "25P02"
        assert types(peer.ask(extended("rollback"), SYNC)) == "12nCZ"


def test_parse_and_flush_is_answered_at_once(under_test):
    with under_test.peer() as peer:
        for _ in range(2):
            peer.send(parse("select 'flushed'"), describe_statement(), FLUSH)
            assert types([peer.read() for _ in range(3)]) == "1tT"
            assert rows(peer.ask(RUN)) == ["flushed"]


def test_a_table_changes_under_a_shared_text_and_nobody_sees_it(under_test, cluster):
    cluster.run("drop table if exists changing; create table changing (a int); grant all on changing to public;"
                "insert into changing values (1)")
    with under_test.peer() as peer:
        for columns in (1, 2, 3):
            for _ in range(2):
                answers = peer.ask(extended("select * from changing"), SYNC)
                assert types(answers) == "12TDCZ" and len(answers[2].columns) == columns
            cluster.run(f"alter table changing add c{columns} int")


def test_psycopg_runs_as_ever(pooler):
    under_test = pooler(default_pool_size=2, worker_threads=4, cache_unnamed_statements=1, max_prepared_statements=5)
    connections = [under_test.connect() for _ in range(4)]
    for round_ in range(5):
        for number, connection in enumerate(connections):
            for text in range(8):
                assert connection.execute(f"select %s::int + {text}", (number,)).fetchone() == (number + text,)
            with connection.transaction():
                connection.execute("set local work_mem = '1MB'")
                assert connection.execute("select current_setting(%s)", ("work_mem",)).fetchone() == ("1MB",)
    for connection in connections:
        connection.close()
