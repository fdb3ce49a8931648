"""In transaction mode the settings that a client makes follow it to whatever server it gets, and nobody else."""

import pytest

from peer import SYNC, Refused, bind, execute, extended, parse, query, types

TRACKED = {
    "application_name": ("first", "second"),
    "DateStyle": ("German, DMY", "SQL, MDY"),
    "TimeZone": ("Asia/Tokyo", "Europe/Rome"),
    "client_encoding": ("LATIN1", "UTF8"),
    "standard_conforming_strings": ("off", "on"),
    "IntervalStyle": ("iso_8601", "sql_standard"),
}


@pytest.fixture(scope="module")
def tracking(shared_pooler):
    """One server, so that clients meet each other's leftovers."""
    return shared_pooler(default_pool_size=1, worker_threads=4, track_extra_parameters="IntervalStyle")


@pytest.mark.parametrize("name", list(TRACKED))
def test_a_setting_follows_its_client(tracking, name):
    one, two, three = tracking.peer(), tracking.peer(), tracking.peer()
    untouched = three.value(f"show {name}")
    for peer, value in zip((one, two), TRACKED[name]):
        peer.ask(query(f"set {name} = '{value}'" if name != "DateStyle" else f"set datestyle = {value.lower()}"))
    for _ in range(3):
        assert one.value(f"show {name}") == TRACKED[name][0]
        assert two.value(f"show {name}") == TRACKED[name][1]
        assert three.value(f"show {name}") == untouched
    for peer in (one, two, three):
        peer.leave()


@pytest.mark.parametrize("name", list(TRACKED))
def test_a_setting_of_the_startup_packet(tracking, name):
    value = TRACKED[name][0]
    with tracking.peer(**{name: value}) as one, tracking.peer() as two:
        assert one.parameters[name] == value
        for _ in range(2):
            assert one.value(f"show {name}") == value
            assert two.value(f"show {name}") != value


def test_values_that_are_hard_to_quote(tracking):
    names = ["it's", "a\\b", "", "x" * 60, "semi; colon", "$1", "new\nline", "\"quoted\"", "--"]
    peers = [tracking.peer(application_name=name) for name in names]
    for _ in range(2):
        for name, peer in zip(names, peers):
            assert peer.value("select current_setting('application_name')") == name.replace("\n", "?")


def test_the_client_is_told_what_changed_once(tracking):
    one, two = tracking.peer(), tracking.peer()
    answers = one.ask(query("set datestyle = 'German'"))
    assert [answer.body for answer in answers if answer.type == "S"] == [b"DateStyle\0German, DMY\0"]
    assert types(two.ask(query("select 1"))) == "TDCZ"
    assert types(one.ask(query("select 1"))) == "TDCZ"
    assert types(two.ask(query("select 1"))) == "TDCZ"


def test_rolled_back_settings_are_gone(tracking):
    one, two = tracking.peer(), tracking.peer()
    before = one.value("show timezone")
    one.ask(query("begin"))
    one.ask(query("set timezone = 'Asia/Tokyo'"))
    answers = one.ask(query("rollback"))
    two.ask(query("select 1"))
    assert one.value("show timezone") == before
    assert all(answer.body.startswith(b"TimeZone\0" + before.encode()) for answer in answers if answer.type == "S")


def test_committed_settings_stay(tracking):
    one, two = tracking.peer(), tracking.peer()
    one.ask(query("begin; set timezone = 'Asia/Tokyo'"))
    one.ask(query("commit"))
    assert two.value("show timezone") != "Asia/Tokyo"
    assert one.value("show timezone") == "Asia/Tokyo"


def test_set_local_stays_in_the_transaction(tracking):
    one = tracking.peer()
    before = one.value("show datestyle")
    one.ask(query("begin; set local datestyle = 'German'"))
    assert one.value("show datestyle") == "German, DMY"
    one.ask(query("commit"))
    assert one.value("show datestyle") == before


def test_reset_returns_to_the_startup_value(tracking):
    one, two = tracking.peer(TimeZone="Asia/Tokyo"), tracking.peer()
    one.ask(query("set timezone = 'Europe/Rome'"))
    two.value("select 1")
    assert one.value("show timezone") == "Europe/Rome"


@pytest.mark.parametrize("way", ["simple", "extended"])
def test_the_first_query_sees_the_settings(tracking, way):
    """They are on the server before the query runs, also in a pipeline and in a transaction."""
    other = tracking.peer(TimeZone="Europe/Rome")
    with tracking.peer(TimeZone="Asia/Tokyo") as peer:
        for _ in range(3):
            other.value("select 1")
            if way == "simple":
                peer.send(query("show timezone") + query("begin") + query("show timezone") + query("commit"))
                count = 4
            else:
                peer.send(extended("show timezone") + SYNC + extended("begin") + SYNC + extended("show timezone") + SYNC + extended("commit") + SYNC)
                count = 4
            answers = peer.read_until("Z", count)
            assert [answer.row for answer in answers if answer.type == "D"] == [[b"Asia/Tokyo"]] * 2
            assert not any(answer.type in "ES" for answer in answers)


def test_commands_that_cannot_stand_in_a_transaction_still_work(tracking):
    """Settings are sent before VACUUM, SET TRANSACTION and the like without getting in their way."""
    other = tracking.peer(TimeZone="Europe/Rome")
    with tracking.peer(TimeZone="Asia/Tokyo") as peer:
        for sql in ("vacuum pg_class", "begin isolation level serializable; commit", "commit", "rollback"):
            other.value("select 1")
            assert not any(answer.type == "E" for answer in peer.ask(query(sql))), sql
        other.value("select 1")
        assert not any(answer.type == "E" for answer in peer.ask(parse("vacuum pg_class"), bind(), execute(), SYNC))


def test_a_failed_query_keeps_the_settings(tracking):
    other = tracking.peer(TimeZone="Europe/Rome")
    with tracking.peer(TimeZone="Asia/Tokyo") as peer:
        other.value("select 1")
        assert peer.error("select 1/0")["C"] == "22012"
        assert peer.value("show timezone") == "Asia/Tokyo"


def test_an_invalid_startup_value_is_told(pooler):
    under_test = pooler(default_pool_size=1)
    try:
        with under_test.peer(TimeZone="No/Where") as peer:
            peer.send(query("select 1"))
            answers = peer.read_to_end()
            assert any(answer.type == "E" for answer in answers)
    except Refused as refused:
        assert refused.fields["S"] == "FATAL"
    with under_test.peer() as peer:
        assert peer.value("select 1") == "1"


def test_unknown_startup_parameters(pooler):
    under_test = pooler(ignore_startup_parameters="extra_float_digits, channel_binding", entry="user=open")
    with under_test.peer(extra_float_digits="2", channel_binding="prefer") as peer:
        assert peer.value("select 1") == "1"
    refused = under_test.refusal(no_such_parameter="x")
    assert "no_such_parameter" in refused.text and refused.code in ("08P01", "42704")


def test_options_of_the_startup_packet(tracking):
    with tracking.peer(options="-c TimeZone=Asia/Tokyo -c DateStyle=German --IntervalStyle=iso_8601") as peer:
        assert peer.value("show timezone") == "Asia/Tokyo"
        assert peer.value("show datestyle").startswith("German")
        assert peer.value("show intervalstyle") == "iso_8601"


def test_encoding_of_queries_and_answers(tracking):
    other = tracking.peer()
    with tracking.peer(client_encoding="LATIN1") as peer:
        for _ in range(2):
            other.value("select 1")
            answers = peer.ask(query(b"select '\xe9', octet_length('\xe9')"))
            assert [answer.row for answer in answers if answer.type == "D"] == [[b"\xe9", b"2"]]


def test_tracking_over_many_servers_and_threads(pooler, worker_threads):
    under_test = pooler(default_pool_size=3, worker_threads=worker_threads)
    peers = [under_test.peer(application_name=f"client {number}") for number in range(12)]
    for round_ in range(10):
        for peer in peers:
            peer.send(query("select current_setting('application_name')"))
        for number, peer in enumerate(peers):
            row = next(answer.row for answer in peer.read_until("Z") if answer.type == "D")
            assert row == [f"client {number}".encode()]
    for peer in peers:
        peer.close()
