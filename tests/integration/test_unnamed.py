"""The unnamed statement in transaction mode: each client finds its own, whatever others did on the server between."""

import pytest

from peer import FLUSH, SYNC, bind, close_statement, describe_statement, execute, extended, parse, query, types

RUN = bind() + execute() + SYNC


def rows(messages):
    return [message.row[0].decode() for message in messages if message.type == "D"]


def code(messages):
    return next(message.fields["C"] for message in messages if message.type == "E")


@pytest.fixture(scope="module", params=((1, 0), (2, 0), (1, 1), (2, 1)),
                ids=("one server", "two servers", "one server, shared texts", "two servers, shared texts"))
def under_test(request, shared_pooler):
    size, cache = request.param
    return shared_pooler(default_pool_size=size, worker_threads=1, cache_unnamed_statements=cache)


@pytest.fixture
def two(under_test):
    with under_test.peer() as one, under_test.peer() as other:
        yield one, other


def test_a_client_runs_its_own_when_another_parsed_between(two):
    one, other = two
    one.ask(parse("select 'of one'"), SYNC)
    other.ask(parse("select 'of other'"), SYNC)
    for _ in range(3):
        assert rows(one.ask(RUN)) == ["of one"]
        assert rows(other.ask(RUN)) == ["of other"]


def test_it_follows_to_another_server(pooler):
    under_test = pooler(default_pool_size=2, worker_threads=1)
    with under_test.peer() as one, under_test.peer() as other:
        one.ask(parse("select pg_backend_pid()"), SYNC)
        first = rows(one.ask(RUN))
        other.ask(query("begin"))
        second = rows(one.ask(RUN))
        assert first != second == rows(one.ask(RUN))


def test_anothers_simple_query_drops_only_what_the_server_holds(two):
    one, other = two
    one.ask(parse("select 'kept'"), describe_statement(), SYNC)
    for _ in range(4):
        other.value("select 1")
        assert types(one.ask(describe_statement(), SYNC)) == "tTZ"
        other.value("select 1")
        assert rows(one.ask(RUN)) == ["kept"]


def test_a_client_that_has_none_is_told_so(two):
    one, other = two
    other.ask(parse("select 'not yours'"), SYNC)
    assert code(one.ask(RUN)) == "26000"
    assert code(one.ask(describe_statement(), SYNC)) == "26000"
    assert rows(other.ask(RUN)) == ["not yours"]


def test_its_own_query_drops_it(two):
    one, other = two
    one.ask(parse("select 'gone'"), SYNC)
    one.value("select 1")
    other.ask(parse("select 'not yours'"), SYNC)
    assert code(one.ask(RUN)) == "26000"


def test_a_skipped_parse_leaves_the_server_with_the_former_owners(two):
    """The Parse was sent, but never looked at: what the server holds is still the other client's."""
    one, other = two
    other.ask(parse("select 'of other'"), SYNC)
    assert types(one.ask(bind(statement="none"), parse("select 'skipped'"), SYNC)) == "EZ"
    assert code(one.ask(RUN)) == "26000"
    assert rows(other.ask(RUN)) == ["of other"]


def test_a_skipped_parse_leaves_the_client_with_its_own(two):
    one, other = two
    one.ask(parse("select 'first'"), SYNC)
    assert types(one.ask(bind(statement="none"), parse("select 'skipped'"), SYNC)) == "EZ"
    other.ask(parse("select 'of other'"), SYNC)
    assert rows(one.ask(RUN)) == ["first"]


def test_pipelined_units(two):
    one, other = two
    other.ask(parse("select 'of other'"), SYNC)
    one.send(parse("select 'a'"), SYNC, RUN, RUN, bind(statement="none"), parse("select 'b'"), SYNC, RUN, parse("select 'c'"), SYNC, RUN)
    assert rows(one.read_until("Z", 7)) == ["a", "a", "a", "c"]


def test_parse_flush_then_bind(two):
    one, other = two
    for number in range(3):
        one.send(parse(f"select {number}"), describe_statement(), FLUSH)
        assert types([one.read() for _ in range(3)]) == "1tT"
        assert rows(one.ask(RUN)) == [str(number)]
        other.ask(parse("select 'of other'"), SYNC)
        assert rows(one.ask(RUN)) == [str(number)]


def test_settings_in_front_drop_it(pooler):
    """The prefix that brings the server to a client's settings is a simple query of ours."""
    under_test = pooler(default_pool_size=1, worker_threads=1)
    with under_test.peer(TimeZone="Asia/Tokyo") as one, under_test.peer(TimeZone="Europe/Paris") as other:
        one.ask(parse("select current_setting('timezone')"), SYNC)
        for _ in range(3):
            assert rows(other.ask(extended("select current_setting('timezone')"), SYNC)) == ["Europe/Paris"]
            assert rows(one.ask(RUN)) == ["Asia/Tokyo"]


def test_a_closed_one_is_gone(two):
    one, other = two
    one.ask(parse("select 'closed'"), SYNC)
    other.ask(parse("select 'of other'"), SYNC)
    assert types(one.ask(close_statement(), SYNC)) == "3Z"
    assert code(one.ask(RUN)) == "26000"
    assert rows(other.ask(RUN)) == ["of other"]


def test_one_too_long_to_be_kept_is_told_missing(pooler):
    under_test = pooler(default_pool_size=1, worker_threads=1, max_unnamed_statement_size=1000)
    with under_test.peer() as one, under_test.peer() as other:
        one.ask(parse("select '" + "x" * 5000 + "'"), SYNC)
        assert rows(one.ask(RUN)) == ["x" * 5000]
        other.ask(parse("select 'of other'"), SYNC)
        assert code(one.ask(RUN)) == "26000"
        one.ask(parse("select '" + "x" * 900 + "'"), SYNC)
        other.ask(parse("select 'of other'"), SYNC)
        assert rows(one.ask(RUN)) == ["x" * 900]
