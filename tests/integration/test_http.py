"""The HTTP endpoint: metrics that a scraper reads, health for a balancer, a status page, and nothing for anybody else."""

import base64
import hashlib
import http.client
import json
import re
import signal
import socket

import pytest

from peer import query, startup
from pooler import run_binary
from waiting import accepts, await_that, free_port

SAMPLE = re.compile(r'^(pgweir_[a-z_]+)(?:\{((?:[a-z_]+="(?:[^"\\]|\\.)*",?)+)\})? (\S+)$')


class Endpoint:
    def __init__(self, pooler, port):
        self.pooler, self.port = pooler, port
        await_that(lambda: accepts(port), 10, "the endpoint listens")

    def get(self, path, method="GET", headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, headers=headers or {})
            answer = connection.getresponse()
            return answer, answer.read()
        finally:
            connection.close()

    def raw(self, request):
        """All that is said until the connection is closed."""
        with socket.create_connection(("127.0.0.1", self.port), 20) as connection:
            connection.sendall(request)
            parts = []
            while part := connection.recv(65536):
                parts.append(part)
        return b"".join(parts)

    def samples(self, **options):
        answer, body = self.get("/metrics", **options)
        assert answer.status == 200, body
        return parse_metrics(body.decode())


def parse_metrics(text):
    """{(name, labels): value}, with the rules of OpenMetrics that matter to a parser held against the text."""
    samples, families, last = {}, {}, None
    lines = text.split("\n")
    assert lines[-2:] == ["# EOF", ""]
    for line in lines[:-2]:
        if line.startswith("# "):
            kind, name, rest = re.match(r"# (TYPE|UNIT|HELP) (\S+) (.+)", line).groups()
            if kind == "TYPE":
                assert name not in families, f"{name} comes in two pieces"
                families[name] = last = rest
                current = name
            else:
                assert name == current
                assert kind != "UNIT" or name.endswith("_" + rest)
            continue
        name, labels, value = SAMPLE.match(line).groups()
        if last == "histogram":
            assert name in {current + "_bucket", current + "_count", current + "_sum"}, line
        else:
            assert name == current + {"counter": "_total", "info": "_info"}.get(last, ""), line
        assert (name, labels) not in samples, line
        samples[name, labels] = float(value)
    return samples


@pytest.fixture
def endpoint(pooler):
    def make(**options):
        port = free_port()
        return Endpoint(pooler(http_port=port, **options), port)

    return make


def labels(**pairs):
    return ",".join(f'{name}="{value}"' for name, value in pairs.items())


def test_counters_and_gauges_follow_what_clients_do(endpoint, worker_threads):
    under_test = endpoint(worker_threads=worker_threads, default_pool_size=3)
    pool = labels(database="app", user="alice")
    assert ("pgweir_queries_total", pool) not in under_test.samples()
    peer = under_test.pooler.peer()
    for _ in range(5):
        peer.ask(query("select 1"))
    peer.ask(query("begin"))
    samples = under_test.samples()
    assert samples["pgweir_queries_total", pool] == 6 and samples["pgweir_transactions_total", pool] == 6
    assert samples["pgweir_pool_size_limit", pool] == 3 and samples["pgweir_pool_failing", pool] == 0
    assert samples["pgweir_pool_servers", pool + ',state="active"'] == 1
    assert samples["pgweir_pool_clients", pool + ',state="active"'] == 1
    assert samples["pgweir_clients", 'state="logged_in"'] == 1
    assert samples["pgweir_query_seconds_total", pool] > 0
    peer.ask(query("commit"))
    assert under_test.samples()["pgweir_pool_servers", pool + ',state="idle"'] == 1


def test_histograms_add_up(endpoint):
    under_test = endpoint()
    pool = labels(database="app", user="alice")
    peer = under_test.pooler.peer()
    for _ in range(7):
        peer.ask(query("select 1"))
    peer.ask(query("select pg_sleep(0.3)"))
    samples = under_test.samples()
    for name, count in (("query", 8), ("transaction", 8), ("login", 1)):
        name = f"pgweir_{name}_duration_seconds"
        buckets = [(float(each.split('le="')[1].rstrip('"')), value) for (of, each), value in samples.items() if of == name + "_bucket"]
        assert [value for _, value in buckets] == sorted(value for _, value in buckets)
        assert buckets[-1] == (float("inf"), count) == (float("inf"), samples[name + "_count", pool])
        assert samples[name + "_sum", pool] > 0
    assert next(value for bound, value in buckets if bound > 60) == 1
    slow = {float(each.split('le="')[1].rstrip('"')): value for (of, each), value in samples.items()
            if of == "pgweir_query_duration_seconds_bucket"}
    assert slow[0.262144] <= 7 and slow[67.108864] == 8
    assert not any(name.startswith("pgweir_wait_duration") for name, _ in samples)


def test_names_that_the_configuration_does_not_know_are_other(endpoint, cluster):
    server = f"host=127.0.0.1 port={cluster.port}"
    under_test = endpoint(databases={"*": server})
    for database in ("app", "other"):
        under_test.pooler.peer(database=database).ask(query("select 1"))
    samples = under_test.samples()
    assert samples["pgweir_queries_total", labels(database="other", user="alice")] == 2
    assert not any("app" in (each or "") for _, each in samples)


def test_labels_are_escaped(endpoint, cluster):
    server = f"host=127.0.0.1 port={cluster.port} dbname=app"
    under_test = endpoint(databases={'"a\\b<i>"': server})
    under_test.pooler.peer(database="a\\b<i>").ask(query("select 1"))
    assert under_test.samples()["pgweir_queries_total", labels(database="a\\\\b<i>", user="alice")] == 1
    _, body = under_test.get("/status.json")
    assert b"<i>" not in body and json.loads(body)["pools"][0]["database"] == "a\\b<i>"


def test_health_and_readiness(endpoint):
    under_test = endpoint()
    for path in ("/healthz", "/readyz"):
        answer, body = under_test.get(path)
        assert (answer.status, body) == (200, b"ok\n")


def test_a_database_that_cannot_be_reached_is_named(endpoint):
    closed = free_port()
    under_test = endpoint(databases={"app": f"host=127.0.0.1 port={closed} dbname=app"}, auth_type="trust")
    peer = under_test.pooler.open()
    peer.send(startup(user="alice", database="app"))
    await_that(lambda: under_test.get("/readyz")[0].status == 503, 10, "the database is missed")
    assert b"app (user alice): no server: " in under_test.get("/readyz")[1]
    assert under_test.get("/healthz")[0].status == 200
    peer.close()


def test_draining_is_told_before_the_end(endpoint):
    under_test = endpoint()
    peer = under_test.pooler.peer()
    peer.ask(query("begin"))
    under_test.pooler.signal(signal.SIGTERM)
    await_that(lambda: under_test.get("/readyz")[0].status == 503, 10, "readiness is denied")
    assert b"draining" in under_test.get("/readyz")[1]
    assert under_test.get("/healthz")[0].status == 200
    assert under_test.samples()["pgweir_draining", None] == 1
    peer.ask(query("commit"))
    peer.close()
    assert under_test.pooler.exit_status() == 0


def test_a_token_protects_what_says_more_than_yes_or_no(endpoint):
    under_test = endpoint(http_token="long-and-secret")
    basic = base64.b64encode(b"anybody:long-and-secret").decode()
    for path in ("/metrics", "/", "/status.json"):
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Bearer long-and-secre"},
                        {"Authorization": "Basic " + base64.b64encode(b"long-and-secret").decode()}, {"Authorization": "Basic !"}):
            answer, body = under_test.get(path, headers=headers)
            assert answer.status == 401 and answer.headers["WWW-Authenticate"].startswith("Basic"), (path, headers)
        for right in ("Bearer long-and-secret", "Basic " + basic):
            assert under_test.get(path, headers={"Authorization": right})[0].status == 200
    assert under_test.get("/healthz")[0].status == 200
    _, body = under_test.get("/status.json", headers={"Authorization": "Bearer long-and-secret"})
    assert b"long-and-secret" not in body
    assert "long-and-secret" not in under_test.pooler.log()


def test_a_name_that_somebody_else_points_here_is_not_answered(endpoint):
    under_test = endpoint()
    for host, status in (("localhost", 200), ("127.0.0.1:1", 200), ("[::1]:5", 200), ("evil.example", 421), ("1.2.3.4.evil", 421)):
        assert under_test.get("/metrics", headers={"Host": host})[0].status == status, host


@pytest.mark.parametrize("path, method, status", [
    ("/nothing", "GET", 404), ("/metrics", "POST", 405), ("/metrics", "DELETE", 405), ("/metrics", "HEAD", 200),
    ("/metrics?x=1", "GET", 200)])
def test_other_requests(endpoint, path, method, status):
    answer, body = endpoint().get(path, method)
    assert answer.status == status and (method != "HEAD" or (body == b"" and int(answer.headers["Content-Length"]) > 100))


@pytest.mark.parametrize("request_bytes, status", [
    (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400), (b"nonsense\r\n\r\n", 400), (b"\x16\x03\x01\x02", 400),
    (b"GET / HTTP/1.1\nHost: a\n\n", 400), (b"GET /" + b"a" * 20000, 431),
    (b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\n\r\nhello", 413)])
def test_what_is_not_to_be_trusted_is_refused_and_closed(endpoint, request_bytes, status):
    answer = endpoint().raw(request_bytes)
    assert answer.startswith(b"HTTP/1.1 %d " % status) and answer.count(b"HTTP/1.1") == 1
    assert b"Connection: close" in answer


def test_requests_on_one_connection_are_answered_in_order(endpoint):
    under_test = endpoint()
    one = b"GET %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n"
    answer = under_test.raw(one % (b"/healthz", b"") + one % (b"/metrics", b"") + one % (b"/nothing", b"Connection: close\r\n"))
    assert re.findall(rb"HTTP/1.1 (\d+) ", answer) == [b"200", b"200", b"404"]
    assert answer.index(b"# EOF") > answer.index(b"ok\n")


def test_only_so_many_connections_are_held(endpoint):
    under_test = endpoint()
    held = [socket.create_connection(("127.0.0.1", under_test.port), 20) for _ in range(32)]
    with socket.create_connection(("127.0.0.1", under_test.port), 20) as one_more:
        assert one_more.recv(1) == b""
    held.pop().close()
    await_that(lambda: under_test.raw(b"GET /healthz HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200"), 10, "a place is free again")
    for connection in held:
        connection.close()


test_only_so_many_connections_are_held.seconds = 90


def test_one_that_says_nothing_is_closed(endpoint):
    under_test = endpoint()
    with socket.create_connection(("127.0.0.1", under_test.port), 60) as silent:
        silent.sendall(b"GET / HT")
        assert silent.recv(100) == b""


def test_the_page_runs_nothing_but_its_own_script(endpoint):
    answer, body = endpoint().get("/")
    text, policy = body.decode(), answer.headers["Content-Security-Policy"]
    for tag in ("style", "script"):
        content = re.search(f"<{tag}>(.*?)</{tag}>", text, re.S).group(1)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'") and "unsafe" not in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff" and "http" not in re.sub(r"http://www.w3.org/2000/svg", "", text)


def test_the_status_says_what_the_page_shows(endpoint):
    under_test = endpoint(default_pool_size=2)
    under_test.pooler.peer().ask(query("select 1"))
    status = json.loads(under_test.get("/status.json")[1])
    (pool,) = status["pools"]
    assert (pool["database"], pool["user"], pool["mode"], pool["limit"], pool["idle"]) == ("app", "alice", "transaction", 2, 1)
    changed = {option["name"]: option["value"] for option in status["options"] if not option["is_default"]}
    assert changed["default_pool_size"] == "2" and "auth_query" not in changed


def test_addresses_of_others_are_refused(pooler, tmp_path):
    under_test = pooler()
    under_test.write(http_port=free_port(), http_listen_addr="127.0.0.1,0.0.0.0")
    status, _, err = run_binary("--check-config", under_test.ini_path)
    assert status == 1 and "http_listen_addr" in err and "loopback" in err


def test_off_by_default(pooler):
    assert "for HTTP" not in pooler().log()
