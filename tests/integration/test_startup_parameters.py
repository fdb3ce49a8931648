"""Settings of the startup packet hold for their client, whatever server it gets, and for nobody else (PITFALLS row 8)."""

import pytest

from peer import SYNC, Peer, Refused, bind, execute, extended, parse, query
from waiting import await_that

FOLLOW = {"session_state": "follow"}
ASKED = {
    "search_path": "pg_catalog, public",
    "statement_timeout": "7s",
    "lock_timeout": "1500ms",
    "extra_float_digits": "2",
    "work_mem": "12345kB",
    "idle_session_timeout": "1h",
    "default_transaction_read_only": "on",
    "IntervalStyle": "iso_8601",
    "app.tenant": "it's \\ 42",
    "role": "bob",
    "client_min_messages": "error",
}


@pytest.fixture(scope="module")
def grants(cluster):
    cluster.run("grant bob to alice")
    yield
    cluster.run("revoke bob from alice")


@pytest.fixture(scope="module")
def one_server(shared_pooler, grants):
    return shared_pooler(default_pool_size=1, worker_threads=4, **FOLLOW)


def direct(cluster, **parameters):
    """A connection to PostgreSQL itself."""
    return Peer(("127.0.0.1", cluster.port)).login("alice", "alice-secret", "app", **parameters)


def shown(peer, name):
    return peer.value(f"select current_setting('{name}', true)")


@pytest.mark.parametrize("name", list(ASKED))
def test_a_setting_holds_for_its_client_only(one_server, cluster, name):
    with direct(cluster, **{name: ASKED[name]}) as asked, direct(cluster) as plain:
        expected, default = shown(asked, name), shown(plain, name)
    with one_server.peer(**{name: ASKED[name]}) as one, one_server.peer() as two:
        for _ in range(3):
            assert shown(one, name) == expected
            assert (shown(two, name) or None) == default


@pytest.mark.parametrize("name", ["default_transaction_read_only", "IntervalStyle", "DateStyle", "TimeZone"])
def test_the_login_answer_tells_it_as_postgresql_spells_it(one_server, cluster, name):
    value = {"default_transaction_read_only": "on", "IntervalStyle": "iso_8601", "DateStyle": "german", "TimeZone": "asia/tokyo"}[name]
    with direct(cluster, **{name: value}) as told, one_server.peer(**{name: value}) as peer:
        assert peer.parameters[name] == told.parameters[name]


def test_many_at_once_and_inside_options(one_server, cluster):
    options = "-c work_mem=8MB --statement-timeout=9s -c app.tenant=a\\ b"
    for _ in range(3):
        with one_server.peer(options=options, extra_float_digits="0", work_mem="9MB") as peer, one_server.peer() as other:
            assert [shown(peer, name) for name in ("work_mem", "statement_timeout", "app.tenant", "extra_float_digits")] == \
                ["9MB", "9s", "a b", "0"]
            assert shown(other, "work_mem") == "4MB"


BAD = {
    "work_mem": "much",
    "no_such_setting": "1",
    "statement_timeout": "-7",
    "shared_buffers": "1GB",
    "log_statement": "all",
    "TimeZone": "No/Where",
    "search_path": '"unclosed',
    "role": "nobody_of_that_name",
}


@pytest.mark.parametrize("name", list(BAD))
def test_a_bad_value_is_refused_in_postgresql_s_words(one_server, cluster, name):
    with pytest.raises(Refused) as by_postgresql:
        direct(cluster, **{name: BAD[name]})
    expected, refused = by_postgresql.value, one_server.refusal(**{name: BAD[name]})
    assert (refused.fields["S"], refused.code, refused.text) == (expected.fields["S"], expected.code, expected.text)
    with one_server.peer() as peer:
        assert peer.value("select 1") == "1"


def test_a_packet_is_tried_once(pooler, cluster):
    under_test = pooler(default_pool_size=1, worker_threads=1, **FOLLOW)
    with under_test.peer(work_mem="8MB") as holder:
        holder.ask(query("begin"))
        with under_test.peer(work_mem="8MB") as second:
            assert second.parameters["server_version"], "logged in while the only server was in use"
        holder.ask(query("rollback"))


def test_clients_with_the_same_packet_cost_nothing(pooler, cluster):
    under_test = pooler(default_pool_size=1, **FOLLOW)
    one, two = under_test.peer(extra_float_digits="2"), under_test.peer(extra_float_digits="2")
    process = one.value("select pg_backend_pid()")
    last = f"select query from pg_stat_activity where pid = {process}"
    for peer in (two, one, two):
        text = f"select 'of {peer.process}'"
        peer.value(text)
        assert cluster.run(last) == [(text,)], "nothing was undone behind it"


def test_it_holds_for_the_first_message_of_each_kind(one_server):
    other = one_server.peer(statement_timeout="8s")
    with one_server.peer(statement_timeout="7s") as peer:
        for first in (query("show statement_timeout"), extended("show statement_timeout") + SYNC,
                      parse("show statement_timeout", "named") + bind(statement="named") + execute() + SYNC):
            other.value("select 1")
            assert [answer.row for answer in peer.ask(first) if answer.type == "D"] == [[b"7s"]]


def test_time_limits_do_not_strike_what_is_not_theirs(one_server):
    with one_server.peer(statement_timeout="1ms") as short, one_server.peer() as other:
        for _ in range(20):
            assert short.error("select pg_sleep(1)")["C"] == "57014"
            assert other.value("select 1 from pg_sleep(0.01)") == "1"


def test_an_idle_server_outlives_its_client_s_idle_session_timeout(pooler, cluster):
    under_test = pooler(default_pool_size=1, **FOLLOW)
    with under_test.peer(idle_session_timeout="200ms") as peer:
        process = peer.value("select pg_backend_pid()")
        await_that(lambda: cluster.run(
            f"select 1 from pg_stat_activity where pid = {process} and state = 'idle' and state_change < now() - interval '400ms'"),
            10, "the server is idle for longer than that")
        assert peer.value("select pg_backend_pid()") == process


def test_a_client_that_leaves_takes_its_settings_along(pooler):
    under_test = pooler(default_pool_size=1, **FOLLOW)
    with under_test.peer(work_mem="8MB", role="none") as peer:
        peer.send(query("begin; select pg_sleep(0)"))
        peer.reset()
    with under_test.peer() as other:
        assert shown(other, "work_mem") == "4MB"


@pytest.mark.parametrize("mode", ["session", "statement"])
def test_other_pool_modes(pooler, mode):
    under_test = pooler(default_pool_size=1, pool_mode=mode, **FOLLOW)
    for value in ("8MB", "9MB"):
        with under_test.peer(work_mem=value) as peer:
            assert shown(peer, "work_mem") == value
            peer.leave()
    with under_test.peer() as other:
        assert shown(other, "work_mem") == "4MB"


@pytest.mark.parametrize("state", ["reset", "leak"])
def test_without_follow_they_are_refused_as_pgbouncer_does(pooler, state):
    under_test = pooler(default_pool_size=1, session_state=state)
    assert (under_test.refusal(work_mem="8MB").code, under_test.refusal(work_mem="8MB").text) == \
        ("08P01", "unsupported startup parameter: work_mem")
    assert under_test.refusal(options="-c work_mem=8MB").text == "unsupported startup parameter in options: work_mem"


def test_ignored_names_are_dropped(pooler):
    under_test = pooler(default_pool_size=1, ignore_startup_parameters="work_mem", **FOLLOW)
    with under_test.peer(work_mem="8MB") as peer:
        assert shown(peer, "work_mem") == "4MB"
