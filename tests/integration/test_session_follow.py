"""session_state=follow: what a client sets of its session follows it; what cannot pins it to its server. PostgreSQL is the oracle."""

import pytest

from peer import SYNC, Peer, bind, close_statement, execute, extended, message, parse, query


@pytest.fixture(scope="module", autouse=True)
def grants(cluster):
    cluster.run("grant bob to alice")
    cluster.run("create sequence if not exists counted; grant all on sequence counted to public")
    yield
    cluster.run("drop sequence counted; revoke bob from alice")


@pytest.fixture(scope="module", params=[1, 2])
def under_test(request, shared_pooler):
    pooler = shared_pooler(session_state="follow", default_pool_size=request.param, worker_threads=1, max_prepared_statements=10, pin_limit=100)
    pooler.size = request.param
    return pooler


def direct(cluster, **parameters):
    """A connection to PostgreSQL itself."""
    return Peer(("127.0.0.1", cluster.port)).login("alice", "alice-secret", "app", **parameters)


def backend(peer):
    return peer.value("select pg_backend_pid()")


def outcome(answers):
    """What an application sees: rows, tags, errors. Notices and what is told of settings come apart."""
    result = []
    for answer in answers:
        if answer.type == "D":
            result.append(answer.row)
        elif answer.type == "C":
            result.append(answer.tag)
        elif answer.type == "E":
            result.append((answer.fields["C"], answer.fields["M"]))
    return result


def shows(*names):
    return "select " + ", ".join(f"coalesce(current_setting('{name}', true), '-')" for name in names)


WORK = shows("work_mem")
SCRIPTS = {
    "set": ["set work_mem = '7MB'", WORK, "reset work_mem", WORK],
    "set in a transaction": ["begin", "set work_mem = '7MB'", WORK, "commit", WORK],
    "rolled back": ["begin", "set work_mem = '7MB'", "rollback", WORK],
    "savepoint": ["begin", "savepoint a", "set work_mem = '7MB'", "rollback to a", "set work_mem = '8MB'", "commit", WORK],
    "set local": ["begin", "set local work_mem = '7MB'", WORK, "commit", WORK],
    "set_config": ["select set_config('work_mem', '7MB', false)", WORK, "select set_config('work_mem', '8MB', true)", WORK],
    "search_path": ["set search_path = ''", shows("search_path"), "select count(*) from numbers", "set search_path to 'it''s', public",
                    shows("search_path"), "select 1 from numbers limit 1"],
    "floats": ["set random_page_cost = 1.25", shows("random_page_cost"), "set geqo_selection_bias = 1.75", shows("geqo_selection_bias")],
    "custom": ["set app.tenant = '42'", shows("app.tenant"), "set app.\"Tenant\" = 'x'", shows("app.tenant"), "reset app.tenant",
               shows("app.tenant")],
    "many custom": ["set app.a = '1'; set app.b = '2'; select set_config('app.c', '3', false)", shows("app.a", "app.b", "app.c")],
    "role": ["set role bob", "select current_user, session_user", "set work_mem = '7MB'", "select current_user", "reset role",
             "select current_user", WORK],
    "role none": ["set role bob", "set role none", "select current_user"],
    "timeouts": ["set statement_timeout = '5s'", shows("statement_timeout"), "set statement_timeout = 0", shows("statement_timeout"),
                 "set lock_timeout = '3s'", shows("lock_timeout"), "reset statement_timeout", shows("statement_timeout")],
    "short timeout": ["set statement_timeout = '50ms'", "select pg_sleep(1)", shows("statement_timeout"), "select 1"],
    "read only": ["set default_transaction_read_only = on", "create table refused (n int)", "set default_transaction_read_only = off"],
    "isolation": ["set session characteristics as transaction isolation level serializable", "show transaction_isolation",
                  "begin", "show transaction_isolation", "commit"],
    "discard all": ["set work_mem = '7MB'", "set role bob", "set app.tenant = '1'", "discard all", WORK, "select current_user"],
    "reset all": ["set work_mem = '7MB'", "set timezone = 'Asia/Tokyo'", "reset all", WORK, shows("timezone")],
    "several statements": ["set work_mem = '7MB'; set role bob; select 1; set work_mem = '8MB'", WORK, "select current_user"],
    "failed behind": ["set work_mem = '7MB'; select 1/0", WORK],
    "do": ["do $$ begin perform set_config('work_mem', '7MB', false); end $$", WORK],
    "reported and not": ["set timezone = 'Asia/Tokyo'; set work_mem = '7MB'", shows("timezone", "work_mem"), "set datestyle = german", WORK,
                         shows("datestyle")],
    "temporary table": ["create temp table mine (n int)", "insert into mine values (1)", "select n from mine", "drop table mine",
                        "select n from mine"],
    "temporary on commit": ["begin", "create temp table gone (n int) on commit drop", "commit", "select n from gone"],
    "temporary by select": ["select 7 as n into temp made", "select n from made", "discard temp", "select n from made"],
    "cursor": ["begin", "declare held cursor with hold for select generate_series(1, 3)", "commit", "fetch held", "fetch held", "close held",
               "fetch held"],
    "lock": ["select pg_advisory_lock(11)", "select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()",
             "select pg_advisory_unlock(11)", "select pg_advisory_unlock(11)"],
    "prepare": ["prepare mine (int) as select $1 + 1", "execute mine (1)", "deallocate mine", "execute mine (1)"],
    "prepare in a transaction": ["begin", "prepare mine as select 1", "rollback", "execute mine", "begin", "deallocate mine", "rollback",
                                 "execute mine"],
    "prepare several": ["prepare a as select 1; select 2; prepare b(text) as select $1 || ';' -- b", "execute a", "execute b('x')",
                        "deallocate a", "execute a", "execute b('y')", "deallocate all", "execute b('z')"],
    "prepare of one name": ["prepare \"Mine\" as select 1", "prepare mine as select 2", "prepare mine as select 3", "execute \"Mine\"",
                            "execute mine", "deallocate mine", "prepare mine as select 4", "execute mine", "discard all", "execute mine"],
    "prepare what touches": ["prepare mine(text) as select set_config('work_mem', $1, false)", "select 1", "execute mine('7MB')", WORK,
                             "explain (analyze, timing off, summary off, costs off) execute mine('8MB')", WORK, "prepare lock as select pg_advisory_lock(12)", "execute lock",
                             "select pg_advisory_unlock(12)", "select pg_advisory_unlock(12)"],
    "prepare shown": ["prepare mine (int) as select $1 + 1", "select name, statement, parameter_types, from_sql from pg_prepared_statements"
                      " where from_sql", "deallocate prepare mine", "select count(*) from pg_prepared_statements where from_sql"],
    "prepare with settings": ["set role bob", "prepare mine as select current_user", "set work_mem = '7MB'", "execute mine", "reset role",
                              "execute mine", WORK],
    "sequence": ["select currval('counted')", "select nextval('counted') - nextval('counted')", "select currval('counted') - lastval()",
                 "discard sequences", "select currval('counted')"],
    "load": ["load 'plpgsql'", "select 1"],
    "session authorization": ["set session authorization alice", "select session_user, current_user",
                              "set session authorization default", "select session_user"],
}
DISTURBANCE = ["prepare mine as select 'another'", "set work_mem = '99MB'; set app.tenant = 'other'; set statement_timeout = '9s'", "set timezone = 'Europe/Rome'", "select 1",
               "reset all"]


def run(peer, script, way, between=lambda: None):
    said = []
    for number, text in enumerate(script):
        between()
        if way == "simple" or ";" in text:
            answers = peer.ask(query(text))
        elif way == "extended":
            answers = peer.ask(extended(text) + SYNC)
        else:
            answers = peer.ask(parse(text, f"s{number}") + bind(statement=f"s{number}") + execute() + SYNC)
        said.append((text, outcome(answers)))
    return said


@pytest.mark.parametrize("way", ["simple", "extended", "named"])
@pytest.mark.parametrize("name", list(SCRIPTS))
def test_a_script_is_answered_as_by_postgresql(under_test, cluster, name, way):
    """Another client uses the same servers between any two messages, where it gets one."""
    with direct(cluster) as oracle:
        expected = run(oracle, SCRIPTS[name], way)
    turn = iter(DISTURBANCE * 100)
    with under_test.peer() as peer, under_test.peer() as other:

        def disturb():
            pool = under_test.pool()
            if pool["sv_active"] < under_test.size:
                other.ask(query(next(turn)))

        assert run(peer, SCRIPTS[name], way, disturb) == expected


def test_a_startup_parameter_is_what_a_reset_returns_to(under_test, cluster):
    script = [WORK, "set work_mem = '9MB'", WORK, "reset work_mem", WORK, "set work_mem = '9MB'", "reset all", WORK, "set work_mem to default",
              WORK, "discard all", WORK, "set statement_timeout = 0", shows("statement_timeout"), "reset statement_timeout",
              shows("statement_timeout"), "set timezone = 'Asia/Tokyo'", "reset timezone", shows("timezone"), "set role none",
              "select current_user", "reset role", "select current_user", "reset app.tenant", shows("app.tenant"),
              "set app.tenant = ''", shows("app.tenant"), "discard all", shows("app.tenant", "application_name")]
    asked = {"work_mem": "8MB", "statement_timeout": "7s", "timezone": "Europe/Rome", "role": "bob", "app.tenant": "1",
             "application_name": "me"}
    with direct(cluster, **asked) as oracle, under_test.peer(**asked) as peer, under_test.peer() as other:
        assert run(peer, script, "simple", lambda: other.ask(query("select 1"))) == run(oracle, script, "simple")


def test_a_pipeline_sees_what_it_has_set(under_test):
    with under_test.peer() as peer, under_test.peer() as other:
        other.send(query("select pg_sleep(0.05)") * 3)
        peer.send(query("set work_mem = '7MB'") + query(WORK) + extended("set work_mem = '8MB'") + SYNC + extended(WORK) + SYNC)
        assert [answer.row for answer in peer.read_until("Z", 4) if answer.type == "D"] == [[b"7MB"], [b"8MB"]]
        other.read_until("Z", 3)
        assert other.value(WORK) == "4MB"


def test_a_client_that_vanishes_while_it_is_asked_about(under_test):
    for _ in range(10):
        with under_test.peer() as peer:
            peer.send(query("set work_mem = '7MB'"))
            peer.reset()
    with under_test.peer() as other:
        assert other.value(WORK) == "4MB"


def test_statements_prepared_under_one_path_are_not_served_under_another(pooler, cluster):
    cluster.run("create schema a; create schema b; create table a.t as select 'a' as n; create table b.t as select 'b' as n;"
                "grant usage on schema a, b to public; grant select on a.t, b.t to public")
    try:
        under_test = pooler(session_state="follow", default_pool_size=1, max_prepared_statements=10)
        peers = {name: under_test.peer(search_path=name) for name in "ab"}
        for peer in peers.values():
            peer.ask(parse("select n from t", "s") + SYNC)
        for _ in range(3):
            for name, peer in peers.items():
                answers = peer.ask(bind(statement="s") + execute() + SYNC)
                assert [answer.row for answer in answers if answer.type == "D"] == [[name.encode()]]
    finally:
        cluster.run("drop schema a, b cascade")


PINS = {
    "temporary table": ("create temp table mine (n int)", "drop table mine"),
    "cursor": ("begin; declare held cursor with hold for select 1; commit", "close held"),
    "advisory lock": ("select pg_advisory_lock(4711)", "select pg_advisory_unlock(4711)"),
    "PREPARE that means what it meant then": ("prepare mine as select 'now'::timestamptz", "deallocate mine"),
    "all of it": ("create temp table mine (n int); prepare mine as select 1; select pg_advisory_lock(4711)", "discard all"),
    "currval": ("select nextval('counted'), currval('counted')", "discard sequences"),
}


@pytest.mark.parametrize("kind", list(PINS))
def test_a_pinned_client_keeps_its_server_until_the_state_is_gone(pooler, kind):
    under_test = pooler(session_state="follow", default_pool_size=1)
    begins, ends = PINS[kind]
    one, other = under_test.peer(), under_test.peer()
    one.ask(query(begins))
    process = backend(one)
    other.send(query("select pg_backend_pid()"))
    under_test.await_pool(cl_waiting=1)
    assert backend(one) == process
    assert not [answer for answer in one.ask(query(ends)) if answer.type == "E"]
    assert [answer.row for answer in other.read_until("Z") if answer.type == "D"] == [[process.encode()]]


def prepared(peer):
    return [answer.row for answer in peer.ask(query("select name, statement from pg_prepared_statements where from_sql order by 1"))
            if answer.type == "D"]


def test_what_sql_has_prepared_follows_its_client_and_nobody_else_sees_it(pooler):
    under_test = pooler(default_pool_size=2, worker_threads=1)
    one, other = under_test.peer(), under_test.peer()
    one.ask(query("prepare mine as select 1"))
    other.ask(query("prepare mine as select 2"))
    for _ in range(3):
        with under_test.peer() as third:
            third.ask(query("begin"))  # takes a server: the two others share one
            assert prepared(third) == []
            assert third.error("execute mine")["C"] == "26000"
            for peer, number in ((one, "1"), (other, "2"), (one, "1")):
                assert peer.value("execute mine") == number
                assert prepared(peer) == [[b"mine", f"prepare mine as select {number}".encode()]]
    under_test.await_pool(sv_free=2)


def test_a_prepared_statement_is_made_again_only_where_another_client_was(pooler):
    under_test = pooler(default_pool_size=1)
    one, other = under_test.peer(), under_test.peer()
    one.ask(query("prepare mine as select prepare_time from pg_prepared_statements where name = 'mine'"))
    made = one.value("execute mine")
    assert one.value("execute mine") == made
    other.ask(query("set work_mem = '7MB'"))
    assert one.value("execute mine") > made


def test_of_what_sql_has_prepared_protocol_messages_speak_too(pooler, cluster):
    under_test = pooler(default_pool_size=1, max_prepared_statements=10)
    script = [query("prepare mine (int) as select $1 + 1"), bind(b"4", statement="mine") + execute() + SYNC,
              parse("select 2", "mine") + SYNC, query("execute mine(6)"), close_statement("mine") + SYNC, query("execute mine(6)"),
              parse("select 3", "mine") + bind(statement="mine") + execute() + SYNC]

    def play(peer, between=lambda: None):
        said = []
        for message in script:
            between()
            said.append(outcome(peer.ask(message)))
        return said

    with direct(cluster) as oracle, under_test.peer() as peer, under_test.peer() as other:
        assert play(peer, lambda: other.ask(query("prepare mine as select 'another'"))) == play(oracle)


def test_a_statement_that_cannot_be_made_again_does_not_harm_its_client(pooler, cluster):
    cluster.run("drop table if exists passing; create table passing as select 1 as n; grant select on passing to public")
    under_test = pooler(default_pool_size=1)
    one, other = under_test.peer(), under_test.peer()
    one.ask(query("prepare fine as select 2"))
    one.ask(query("prepare mine as select n from passing"))
    other.ask(query("select 1"))
    cluster.run("drop table passing")
    assert one.value("select 3") == "3"
    assert one.value("execute fine") == "2"
    assert one.error("execute mine")["C"] == "26000"
    cluster.run("create table passing as select 4 as n; grant select on passing to public")
    assert one.value("execute mine") == "4"
    cluster.run("drop table passing")


def test_more_than_can_follow_pins(pooler):
    under_test = pooler(default_pool_size=1)
    one = under_test.peer()
    one.ask(query("; ".join(f"prepare mine{i} as select {i}" for i in range(65))))
    with under_test.peer() as other:
        other.send(query("select 1"))
        under_test.await_pool(cl_waiting=1)
        assert one.value("execute mine64") == "64"
        one.ask(query("deallocate mine0"))
        other.read_until("Z")
    assert one.value("execute mine64") == "64"


@pytest.mark.parametrize("kind", list(PINS))
def test_a_pinned_client_that_leaves_frees_its_server(pooler, cluster, kind):
    under_test = pooler(session_state="follow", default_pool_size=1)
    one = under_test.peer()
    process = backend(one)
    one.ask(query(PINS[kind][0]))
    one.reset()
    with under_test.peer() as other:
        assert backend(other) == process
        assert other.value("select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()") == "0"
        assert other.value("select count(*) from pg_prepared_statements where from_sql") == "0"
        assert other.error("select * from mine")["C"] == "42P01"


def test_over_the_limit_a_text_that_would_pin_is_refused(pooler):
    under_test = pooler(session_state="follow", default_pool_size=2, pin_limit=50)
    one, other = under_test.peer(), under_test.peer()
    one.ask(query("create temp table mine (n int)"))
    one.value("select 1")  # by now it is known what it has
    for message in (query("create temp table mine (n int)"), parse("select pg_advisory_lock(1)") + bind() + execute() + SYNC):
        answers = other.ask(message)
        assert [answer.type for answer in answers] == ["E", "Z"] and answers[0].fields["C"] == "53400"
    assert other.value("select 1") == "1"
    one.ask(query("drop table mine"))
    one.value("select 1")
    assert not [answer for answer in other.ask(query("create temp table mine (n int)")) if answer.type == "E"]


def test_over_the_limit_what_is_found_out_later_is_lost_with_a_notice(pooler):
    under_test = pooler(session_state="follow", default_pool_size=2, pin_limit=50)
    one, other = under_test.peer(), under_test.peer()
    one.ask(query("create temp table mine (n int)"))
    other.ask(query("begin"))
    other.ask(query("create temp table mine (n int)"))
    other.ask(query("commit"))
    answers = other.ask(query("select 1"))
    assert other.error("select * from mine")["C"] == "42P01"
    assert any(answer.type == "N" and "temporary" in answer.fields["M"] for answer in answers)


def test_a_function_that_sets_inside_is_seen_with_session_probe_always(pooler, cluster):
    cluster.run("create function sneaky() returns void language plpgsql as $$ begin perform set_config('work_mem', '7MB', false); end $$")
    try:
        under_test = pooler(session_state="follow", default_pool_size=1, session_probe="always")
        one, other = under_test.peer(), under_test.peer()
        one.ask(query("select sneaky()"))
        assert other.value(WORK) == "4MB"
        assert one.value(WORK) == "7MB"
    finally:
        cluster.run("drop function sneaky()")


def test_follow_unknown_pin(pooler):
    under_test = pooler(session_state="follow", default_pool_size=2, follow_unknown="pin")
    one = under_test.peer()
    one.ask(query("do $$ begin perform set_config('app.hidden', '7', false); end $$"))
    with under_test.peer() as other:
        other.ask(query("select 1"))
        assert one.value("select current_setting('app.hidden')") == "7"


def test_the_probe_survives_deallocate_all(pooler):
    under_test = pooler(session_state="follow", default_pool_size=1, max_prepared_statements=10)
    one, other = under_test.peer(), under_test.peer()
    for text in ("set work_mem = '7MB'", "deallocate all", "set work_mem = '8MB'", "do $$ begin execute 'deallocate all'; end $$",
                 "set work_mem = '9MB'"):
        assert not [answer.fields for answer in one.ask(query(text)) if answer.type == "E"]
        other.ask(query("select 1"))
    assert one.value(WORK) == "9MB"


def test_a_pinned_client_idles_no_longer_than_others(pooler):
    under_test = pooler(session_state="follow", default_pool_size=1, client_idle_timeout=1)
    one = under_test.peer()
    one.ask(query("create temp table mine (n int)"))
    assert one.read_to_end()[-1].fields["C"] == "57P01"
    under_test.await_pool(sv_free=1)


# -- what it has set can no longer be applied


@pytest.fixture
def broken(pooler, cluster):
    """A client whose role is gone, another one, and the process that both have used."""
    cluster.run("drop role if exists passing; create role passing; grant passing to alice; drop table if exists noted;"
                "create table noted (n int); grant all on noted to public")
    under_test = pooler(default_pool_size=1, max_prepared_statements=10)
    one, other = under_test.peer(application_name="one"), under_test.peer()
    one.ask(query("set work_mem = '7MB'"))
    one.ask(parse("select 1", "known") + SYNC)
    one.ask(query("set role passing"))
    process = backend(other)
    cluster.run("drop role passing")
    yield one, other, process
    cluster.run("drop table noted")


UNITS = {
    "a query": query("insert into noted values (1)"),
    "a batch": parse("insert into noted values (1)") + bind() + execute() + SYNC,
    "a batch with a Flush": parse("insert into noted values (1)") + message("H") + bind() + execute() + SYNC,
    "a named statement": bind(statement="known") + execute() + SYNC,
    "a new name": parse("insert into noted values (1)", "new") + bind(statement="new") + execute() + SYNC,
    "ROLLBACK in front": query("rollback; insert into noted values (1)"),
    "COMMIT in front": query("/* now */ commit; insert into noted values (1)"),
    "ROLLBACK in a batch": parse("rollback") + bind() + execute() + extended("insert into noted values (1)") + SYNC,
    "COPY": query("copy noted from stdin") + message("d", b"1\n") + message("c"),
    "a Sync": SYNC,
    "a Close": close_statement("known") + SYNC,
}


@pytest.mark.parametrize("unit", list(UNITS))
def test_settings_that_cannot_be_applied_are_the_answer_to_each_unit(broken, cluster, unit):
    one, other, process = broken
    for _ in range(2):
        answers = one.ask(UNITS[unit])
        if unit == "a Sync":
            answers = answers[:-1] + one.ask(query("select 1")) if answers[0].type == "Z" else answers
        assert [answer.type for answer in answers] == ["E", "Z"] and answers[-1].body == b"I"
        assert answers[0].fields["C"] == "22023" and 'role "passing" does not exist' in answers[0].fields["M"]
        assert backend(other) == process
    assert cluster.run("select count(*) from noted") in ("0", [("0",)], [(0,)])


def test_units_that_are_pipelined_behind_them_fail_each(broken):
    one, other, process = broken
    one.send(query("select 1") + extended("select 2") + SYNC + query("begin") + query("commit"))
    assert "".join(answer.type for answer in one.read_until("Z", 4)) == "EZ" * 4
    assert backend(other) == process


WAYS_OUT = {
    "reset role": ("7MB", "alice"),
    "set role none": ("7MB", "alice"),
    "set session role to bob": ("7MB", "bob"),
    "discard all": ("4MB", "alice"),
}


@pytest.mark.parametrize("text", list(WAYS_OUT))
@pytest.mark.parametrize("way", ["simple", "extended"])
def test_what_cannot_be_applied_is_reset_or_set_anew(broken, text, way):
    one, other, process = broken
    assert one.error("reset all")["C"] == "22023"  # leaves the role
    assert one.error("set work_mem = '7MB'")["C"] == "22023"
    assert one.error("select 1")["C"] == "22023"
    assert not [answer.fields for answer in one.ask(query(text) if way == "simple" else extended(text) + SYNC) if answer.type == "E"]
    other.ask(query("select 1"))
    memory, user = WAYS_OUT[text]
    assert one.value(WORK) == memory and one.value("select current_user") == user
    assert [answer.row for answer in one.ask(bind(statement="known") + execute() + SYNC) if answer.type == "D"] in ([[b"1"]], [])
    assert backend(other) == process


def test_the_role_that_was_dropped_may_come_back(broken, cluster):
    one, other, _ = broken
    assert one.error("select 1")["C"] == "22023"
    cluster.run("create role passing; grant passing to alice")
    assert one.value("select current_user") == "passing" and one.value(WORK) == "7MB"
    one.ask(query("reset role"))
    cluster.run("drop role passing")
