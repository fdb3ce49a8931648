"""The console over the extended query protocol, which most drivers of today use: psycopg 3, pgx, Npgsql, exporters in Go."""

import psycopg
import pytest

from peer import Peer, bind, close_portal, close_statement, describe_portal, describe_statement, execute, message, parse, query, types
from waiting import await_that

SYNC, FLUSH = message("S"), message("H")
TABLES = ("VERSION", "STATE", "CONFIG", "DATABASES", "POOLS", "CLIENTS", "SERVERS", "USERS", "LISTS", "STATS", "STATS_TOTALS", "FDS", "SOCKETS",
          "MEM", "DNS_HOSTS", "PEERS", "STATS_AVERAGES", "TOTALS", "timezone")


@pytest.fixture(scope="module")
def shared(shared_pooler):
    pooler = shared_pooler(worker_threads=4)
    with pooler.peer() as peer:
        peer.value("select 1")
    return pooler


@pytest.fixture
def console(shared):
    with Peer(shared.socket_path) as peer:
        peer.login("admin", "admin-secret", "pgbouncer")
        yield peer


def whole(sql, **how):
    return parse(sql) + bind(**how) + describe_portal() + execute() + SYNC


@pytest.mark.parametrize("what", TABLES)
def test_a_table_is_the_same_by_both_protocols(console, what):
    simple = console.ask(query(f"SHOW {what}"))
    extended = console.ask(whole(f"SHOW {what}"))
    assert types(extended).replace("D", "") == "12TCZ" and types(simple).replace("D", "") == "TCZ"
    assert [answer.body for answer in extended if answer.type == "T"] == [answer.body for answer in simple if answer.type == "T"]
    assert types(extended).count("D") == types(simple).count("D")


@pytest.mark.parametrize("what", TABLES)
def test_columns_are_described_before_anything_runs(console, what):
    simple = console.ask(query(f"SHOW {what}"))
    described = console.ask(parse(f"SHOW {what}", "s") + describe_statement("s") + close_statement("s") + SYNC)
    assert types(described) == "1tT3Z" and described[2].body == simple[0].body


@pytest.mark.parametrize("what", TABLES)
def test_a_driver_reads_the_same_in_text_and_in_binary(shared, what):
    with shared.connect("admin", "pgbouncer") as connection:
        in_text = connection.execute(f"SHOW {what}", prepare=True).fetchall()
        in_binary = connection.cursor(binary=True).execute(f"SHOW {what}").fetchall()
    if what in ("VERSION", "STATE", "CONFIG", "USERS"):
        assert in_binary == in_text
    assert len(in_binary) == len(in_text) and [list(map(type, row)) for row in in_binary] == [list(map(type, row)) for row in in_text]


def test_numbers_in_binary_are_right(shared, pooler):
    under_test = pooler()
    with under_test.peer() as peer:
        for number in range(30):
            peer.ask(query(f"select repeat('x', 20000), {number}"))
    with under_test.connect("admin", "pgbouncer") as connection:
        rows = [connection.cursor(binary=binary).execute("SHOW STATS_TOTALS").fetchall() for binary in (False, True)]
    named = [{row[0]: row[1:] for row in table}["app"] for table in rows]
    assert named[0] == named[1] and named[0][2] == 30 and named[0][4] > 600000


def test_orders(shared):
    with shared.connect("admin", "pgbouncer") as connection:
        cursor = connection.cursor(binary=True)
        for command in ("PAUSE app", "RESUME app", "RELOAD", "SET verbose = 0"):
            assert cursor.execute(command).statusmessage.startswith(command.split()[0])
        with pytest.raises(psycopg.Error) as refused:
            cursor.execute("PAUSE nothing")
        assert refused.value.sqlstate == "08P01" and "no such database: nothing" in str(refused.value)
        assert cursor.execute("SHOW VERSION").fetchone()[0].startswith("PgBouncer")


@pytest.mark.parametrize("sent, code, text", [
    (parse("SHOW $1"), "08P01", "invalid command 'SHOW $1', use SHOW HELP;"), (parse("SHOW NOTHING"), "08P01", "invalid command"),
    (parse(""), "08P01", "invalid command"), (parse("SHOW POOLS", types=(23,)), "0A000", "parameters are not supported"),
    (parse("SHOW POOLS") + bind("1"), "08P01", "parameters are not supported"), (bind(statement="s"), "26000", 'prepared statement "s" does not exist'),
    (execute("p"), "34000", 'portal "p" does not exist'), (describe_portal("p"), "34000", 'portal "p" does not exist'),
    (parse("SHOW POOLS", "a") + parse("SHOW POOLS", "a"), "42P05", 'prepared statement "a" already exists'),
    (parse("SHOW POOLS") + bind(portal="p") + bind(portal="p"), "42P03", 'portal "p" already exists'),
    (parse("SHOW POOLS") + bind(results=(2,)), "22023", "result formats"), (message("B", b"x"), "08P01", "broken Bind packet"),
    (message("P", b"x"), "08P01", "broken Parse packet"), (message("D", b"Sx"), "08P01", "broken Describe packet"),
    (message("E", b"x"), "08P01", "broken Execute packet"), (message("C", b""), "08P01", "broken Close packet")])
def test_errors_skip_to_the_sync_and_leave_the_connection(console, sent, code, text):
    answers = console.ask(sent + query("SHOW VERSION") + whole("SHOW VERSION"))
    errors = [answer for answer in answers if answer.type == "E"]
    assert len(errors) == 1 and errors[0].fields["S"] == "ERROR" and errors[0].fields["C"] == code and text in errors[0].fields["M"]
    assert types(answers)[-2:] == "EZ"
    assert types(console.ask(whole("SHOW VERSION"))) == "12TDCZ"


def test_a_limit_of_rows_suspends_the_portal(console):
    total = types(console.ask(whole("SHOW CONFIG"))).count("D")
    console.send(parse("SHOW CONFIG") + bind(portal="p") + execute("p", 40) + execute("p", 40) + execute("p") + close_portal("p") + SYNC)
    answers = types(console.read_until("Z"))
    assert answers == "12" + "D" * 40 + "s" + "D" * 40 + "s" + "D" * (total - 80) + "C3Z"


def test_portals_end_with_the_sync_and_statements_stay(console):
    assert types(console.ask(parse("SHOW VERSION", "s") + bind(statement="s", portal="p") + SYNC)) == "12Z"
    assert types(console.ask(execute("p") + SYNC)) == "EZ"
    for _ in range(3):
        assert types(console.ask(bind(statement="s") + execute() + SYNC)) == "2DCZ"
    assert types(console.ask(close_statement("s") + bind(statement="s") + SYNC)) == "3EZ"


def test_a_pipeline_is_answered_in_order(console):
    console.send(*(whole("SHOW POOLS") if number % 2 else whole("SHOW NOTHING") for number in range(10)))
    answers = types(console.read_until("Z", 10)).replace("D", "")
    assert answers == ("EZ" + "12TCZ") * 5


def test_what_one_session_may_prepare_is_bounded(console):
    for number in range(64):
        assert types(console.ask(parse("SHOW POOLS", f"s{number}") + SYNC)) == "1Z"
    answers = console.ask(parse("SHOW POOLS", "more") + SYNC)
    assert answers[0].fields["C"] == "54000"
    assert types(console.ask(query("SHOW VERSION"))) == "TDCZ"


def test_an_order_that_waits_holds_the_rest_of_the_batch(pooler):
    under_test = pooler(worker_threads=4)
    with under_test.peer() as peer, under_test.peer("admin", "pgbouncer") as console:
        peer.ask(query("begin"))
        console.send(whole("PAUSE") + whole("SHOW STATE"))
        assert types(console.read_until("n")) == "12n"
        await_that(lambda: console.is_quiet(0.2), 2)
        peer.ask(query("commit"))
        answers = console.read_until("Z", 2)
        assert types(answers) == "CZ12TDDDCZ"
        assert types(console.ask(query("RESUME"))) == "CZ"


def test_a_console_that_leaves_in_the_middle_leaves_nothing(pooler):
    under_test = pooler(worker_threads=4)
    for sent in (parse("SHOW CLIENTS", "s"), parse("SHOW CLIENTS") + bind() + execute(), whole("SHOW CLIENTS") * 20, parse("x") + parse("y")):
        with under_test.peer("admin", "pgbouncer") as console:
            console.send(sent)
    assert under_test.console("SHOW VERSION").tag == "SHOW"
