"""The log: lines or JSON, slow queries, and what a reload says of itself."""

import json
import re

from peer import query
from waiting import await_that


def objects(pooler):
    return [json.loads(line) for line in pooler.log().splitlines() if line.startswith("{")]


def test_json_lines_have_stable_keys(pooler):
    under_test = pooler(log_format="json", worker_threads=4)
    under_test.refusal(secret="wrong", user='al"ice\\')
    with under_test.peer() as peer:
        peer.value("select 1")
    lines = await_that(lambda: [line for line in objects(under_test) if line["message"].startswith("closing because: client unexpected eof")], 5)
    for line in objects(under_test):
        assert set(line) in ({"time", "level", "pid", "message"}, {"time", "level", "pid", "connection", "subject", "message"})
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"]) and line["level"] in ("LOG", "WARNING", "ERROR")
        assert line["pid"] == under_test.process.pid or under_test.is_pgweir
    assert re.fullmatch("C-0x[0-9a-f]+", lines[0]["connection"]) and lines[0]["subject"].startswith("app/alice@127.0.0.1:")
    assert any('al"ice\\' in line["message"] for line in objects(under_test))


def test_the_format_changes_with_a_reload_and_by_set(pooler):
    under_test = pooler()
    assert "{" not in under_test.log()
    under_test.console("SET log_format = json")
    await_that(lambda: objects(under_test), 5)
    under_test.console("RELOAD")
    with under_test.peer() as peer:
        peer.value("select 1")
    under_test.await_log(r"\] LOG C-0x\S+ app/alice\S+ closing because")


def test_slow_queries_are_logged_without_their_text(pooler, worker_threads):
    under_test = pooler(log_min_duration=0.2, default_pool_size=1, worker_threads=worker_threads)
    with under_test.peer() as first, under_test.peer() as second:
        first.value("select 1")
        first.send(query("select pg_sleep(0.6), 'canary'"))
        under_test.await_pool(sv_active=1)
        second.send(query("select 2"))
        first.read_until("Z")
        second.read_until("Z")
        second.value("select 3")
    await_that(lambda: len(re.findall("duration: ", under_test.log())) >= 2, 5)
    found = [tuple(map(float, line)) for line in
             re.findall(r"app/alice@\S+ duration: ([\d.]+) ms, waited: ([\d.]+) ms, server: ([\d.]+) ms", under_test.log())]
    assert len(found) == 2 and "canary" not in under_test.log()
    running = next(line for line in found if line[2] >= 600)
    waiting = next(line for line in found if line is not running)
    assert running[0] >= 600 and running[1] < 200 and waiting[1] >= 200 and waiting[2] < 200
    for took, waited, server in found:
        assert abs(took - waited - server) < 0.01


def test_a_reload_says_what_changed(pooler):
    under_test = pooler(http_token="one-canary")
    under_test.write(default_pool_size=7, query_wait_timeout="1.5", http_token="two-canary", listen_backlog=77)
    start = len(under_test.log())
    under_test.console("RELOAD")
    under_test.await_log("setting changed: query_wait_timeout: '120' -> '1.5'", start=start)
    said = under_test.log()[start:]
    assert "setting changed: default_pool_size: '20' -> '7'" in said and "setting changed: http_token\n" in said
    assert "listen_backlog: is read at start only: the new value waits for a restart" in said and "canary" not in said
    start = len(under_test.log())
    under_test.console("RELOAD")
    assert "setting changed" not in under_test.log()[start:]


def test_the_file_of_the_next_reload_may_be_another(pooler):
    under_test = pooler()
    other = under_test.ini_path + ".other"
    under_test.write(default_pool_size=9)
    under_test.write_file(other, under_test.ini())
    under_test.write(default_pool_size=8, conffile=other)
    read = lambda: next(row["value"] for row in under_test.console("SHOW CONFIG").rows if row["key"] == "default_pool_size")
    under_test.console("RELOAD")
    assert read() == "8"
    under_test.console("RELOAD")
    assert read() == "9"


def test_keys_without_use_are_reported_once(pooler):
    under_test = pooler(pkt_buf=8192, sbuf_loopcnt=10, resolv_conf="/etc/resolv.conf")
    for key in ("pkt_buf", "sbuf_loopcnt", "resolv_conf"):
        assert len(re.findall(f"WARNING {key} is known and has no effect: ", under_test.log())) == 1
