"""Options of PgBouncer's that each take effect by themselves."""

import re

import pytest

from peer import SYNC, extended, query, startup
from waiting import await_that, stays_that


def test_disable_pqexec_closes_who_sends_a_query(pooler):
    under_test = pooler(disable_pqexec=1)
    peer = under_test.peer()
    assert [row.row for row in peer.ask(extended("select 1") + SYNC) if row.type == "D"] == [[b"1"]]
    error = peer.send(query("select 2")).read_to_end()[-1].fields
    assert (error["S"], error["C"], error["M"]) == ("FATAL", "08P01", "PQexec disallowed")


def test_disable_pqexec_holds_for_the_console_too(pooler):
    peer = pooler(disable_pqexec=1).peer(user="admin", database="pgbouncer")
    assert peer.send(query("SHOW VERSION")).read_to_end()[-1].fields["M"] == "PQexec disallowed"


def test_login_notify_message_comes_with_the_login(pooler):
    under_test = pooler(login_notify_message="maintenance at noon", auth_type="trust")
    peer = under_test.open().send(startup(user="alice", database="app"))
    messages = peer.read_until("Z")
    assert [message.type for message in messages[-3:]] == ["K", "N", "Z"]
    assert messages[-2].fields["M"] == "maintenance at noon" and messages[-2].fields["S"] == "NOTICE"


@pytest.mark.parametrize("sent, shown", [(None, "app"), ("worker", "worker")])
def test_application_name_add_host_shows_who_it_is(pooler, sent, shown):
    under_test = pooler(application_name_add_host=1)
    peer = under_test.peer(**({"application_name": sent} if sent else {}))
    name = peer.value("select application_name from pg_stat_activity where pid = pg_backend_pid()")
    assert re.fullmatch(shown + r" - 127\.0\.0\.1:\d+", name)


def test_log_stats_says_each_period_what_was_done(pooler):
    under_test = pooler(log_stats=1, stats_period=1)
    peer = under_test.peer()
    for _ in range(50):
        peer.ask(query("select 1"))
    line = re.compile(r" LOG stats: (\d+) xacts/s, (\d+) queries/s, \d+ client parses/s, \d+ server parses/s, \d+ binds/s, "
                      r"\d+ client logins/s, in \d+ B/s, out \d+ B/s, xact \d+ us, query \d+ us, wait \d+ us$", re.M)
    await_that(lambda: any(int(queries) >= 5 for _, queries in line.findall(under_test.log())), 20, "a line with the queries")


def test_log_stats_off_says_nothing(pooler):
    under_test = pooler(log_stats=0, stats_period=1)
    peer = under_test.peer()
    peer.ask(query("select 1"))
    stays_that(lambda: " stats: " not in under_test.log(), 2.5)
