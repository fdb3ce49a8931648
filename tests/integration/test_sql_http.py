"""SQL over HTTP: POST /sql as Neon's drivers send it. What is answered, what is refused and how, what a request leaves behind,
and that it is a client like any other."""

import json
import signal
import threading
import time

import psycopg
import pytest

from peer import Peer, query, tls_context
from sql_http import Ended, Http, connection_string, request
from test_tls import client_side
from waiting import await_that, free_port


@pytest.fixture
def served(pooler, certificates):
    """served(option=value, ...): a pooler whose listener `web` speaks http, over TLS."""

    def start(**options):
        port = free_port()
        options = {**client_side(certificates, "prefer"), "listeners": {"web": f"port={port} protocols=http tls=require"}, **options}
        under_test = pooler(**options)
        under_test.web = port
        under_test.web_context = tls_context(certificates.ca)
        under_test.http = lambda **more: Http(port, under_test.web_context, **more)
        return under_test

    return start


# What is answered.


def test_a_query(served):
    with served().http() as http:
        answer = http.query("select $1::int as a, $2 as b, null as c", 7, "x")
        assert answer.status == 200 and answer.headers["content-type"] == "application/json"
        assert answer.headers["x-content-type-options"] == "nosniff" and answer.headers["cache-control"] == "no-store"
        assert answer.json == {
            "fields": [
                {"name": "a", "dataTypeID": 23, "tableID": 0, "columnID": 0, "dataTypeSize": 4, "dataTypeModifier": -1, "format": "text"},
                {"name": "b", "dataTypeID": 25, "tableID": 0, "columnID": 0, "dataTypeSize": -1, "dataTypeModifier": -1, "format": "text"},
                {"name": "c", "dataTypeID": 25, "tableID": 0, "columnID": 0, "dataTypeSize": -1, "dataTypeModifier": -1, "format": "text"},
            ],
            "rows": [["7", "x", None]], "command": "SELECT", "rowCount": 1, "rowAsArray": True}
        assert "access-control-allow-origin" not in answer.headers


def test_parameters_of_all_kinds(served):
    values = ["text", None, 7, -2.5, True, {"a": [1, None], "b": "\""}, [1, None, [2]], ["a\"b\\", "c\nd"], [{"k": "v\""}], "ä€😀"]
    with served().http() as http:
        one = lambda cast, value: http.query(f"select ${1}::{cast}", value).rows[0][0]
        assert one("text", "ä€😀\t") == "ä€😀\t"
        assert one("int", 7) == "7" and one("numeric", -2.5) == "-2.5" and one("bool", True) == "t"
        assert json.loads(one("json", {"a": [1, None], "b": "\""})) == {"a": [1, None], "b": "\""}
        assert one("int[]", [1, None, 3]) == "{1,NULL,3}" and one("int[]", [[1], [2]]) == "{{1},{2}}"
        assert http.query("select ($1::text[])[1], ($1::text[])[2]", ["a\"b\\", "c\nd"]).rows == [["a\"b\\", "c\nd"]]
        assert json.loads(http.query("select ($1::json[])[1]", [{"k": "v\""}]).rows[0][0]) == {"k": "v\""}
        assert len(http.query("select " + ", ".join(f"${n + 1}::text" for n in range(len(values))), *values).rows[0]) == len(values)


def test_four_output_modes(served):
    body = {"query": "select true as b, 1::int4 as i, 2::int8 as l, 'NaN'::float8 as f, '{\"x\": 1}'::jsonb as j, '{1,2}'::int4[] as a"}
    with served().http() as http:
        ask = lambda raw, arrays: http.ask(body, {"Neon-Raw-Text-Output": raw, "Neon-Array-Mode": arrays}).json
        assert ask("true", "true")["rows"] == [["t", "1", "2", "NaN", "{\"x\": 1}", "{1,2}"]]
        assert ask("true", "false")["rows"] == [{"b": "t", "i": "1", "l": "2", "f": "NaN", "j": "{\"x\": 1}", "a": "{1,2}"}]
        assert ask("false", "true")["rows"] == [[True, 1, "2", "NaN", {"x": 1}, [1, 2]]]
        typed = ask(None, "TRUE")  # not exactly `true`
        assert typed["rows"] == [{"b": True, "i": 1, "l": "2", "f": "NaN", "j": {"x": 1}, "a": [1, 2]}] and typed["rowAsArray"] is False
        assert http.ask({**body, "arrayMode": True}, {"Neon-Array-Mode": None}).json["rowAsArray"] is True


def test_commands_without_rows(served):
    with served().http() as http:
        assert http.query("create table over_http (a int unique)").json["command"] == "CREATE"
        answer = http.query("insert into over_http values (1), (2)").json
        assert (answer["command"], answer["rowCount"], answer["rows"], answer["fields"]) == ("INSERT", 2, [], [])
        assert http.query("").json["command"] == "" and http.query("").json["rowCount"] is None
        assert http.query("drop table over_http").json["rowCount"] is None


def test_an_error_has_every_field(served):
    with served().http() as http:
        http.query("create table constrained (a int constraint positive check (a > 0))")
        answer = http.query("insert into constrained values ($1)", -1)
        assert answer.status == 400
        error = answer.json
        assert (error["code"], error["table"], error["constraint"], error["schema"]) == ("23514", "constrained", "positive", "public")
        assert error["severity"] == "ERROR" and error["routine"] == "ExecConstraints" and error["line"].isdigit() and "violates" in error["message"]
        assert set(error) == {"message", "code", "detail", "hint", "position", "internalPosition", "internalQuery", "severity", "where",
                              "table", "column", "schema", "dataType", "constraint", "file", "line", "routine"}
        assert http.query("select 1 from nowhere").json["position"] == "15"
        assert http.query("select 1; select 2").json["code"] == "42601"
        assert http.query("select 1").rows == [["1"]]  # the connection lives on


# Batches.


def test_a_batch_is_a_transaction(served):
    with served().http() as http:
        http.query("create table batched (a int unique)")
        answer = http.ask({"queries": [{"query": "insert into batched values ($1)", "params": [1]},
                                       {"query": "select a from batched", "arrayMode": False}, {"query": ""}]})
        assert [result["command"] for result in answer.json["results"]] == ["INSERT", "SELECT", ""]
        assert answer.json["results"][1]["rows"] == [{"a": "1"}]
        failed = http.ask({"queries": [{"query": "insert into batched values (2)"}, {"query": "insert into batched values (1)"},
                                       {"query": "insert into batched values (3)"}]})
        assert failed.status == 400 and failed.json["code"] == "23505"
        assert http.query("select a from batched").rows == [["1"]]
        assert http.ask({"queries": []}).json == {"results": []}
        assert len(http.ask({"queries": [{"query": "select 1"}] * 1000}).json["results"]) == 1000
        assert http.ask({"queries": [{"query": "select 1"}] * 1001}).status == 400


@pytest.mark.parametrize("header, sql", [("ReadUncommitted", "read uncommitted"), ("ReadCommitted", "read committed"),
                                         ("RepeatableRead", "repeatable read"), ("Serializable", "serializable")])
def test_a_batch_has_its_isolation(served, header, sql):
    shows = [{"query": f"show transaction_{what}"} for what in ("isolation", "read_only", "deferrable")]
    with served().http() as http:
        answer = http.ask({"queries": shows}, {"Neon-Batch-Isolation-Level": header, "Neon-Batch-Read-Only": "true",
                                               "Neon-Batch-Deferrable": "true"})
        assert [result["rows"][0][0] for result in answer.json["results"]] == [sql, "on", "on"]
        assert answer.headers["neon-batch-isolation-level"] == header
        assert answer.headers["neon-batch-read-only"] == answer.headers["neon-batch-deferrable"] == "true"
        plain = http.ask({"queries": shows})
        assert [result["rows"][0][0] for result in plain.json["results"]] == ["read committed", "off", "off"]
        assert "neon-batch-read-only" not in plain.headers
        wrong = http.ask({"queries": []}, {"Neon-Batch-Isolation-Level": "serializable"})
        assert wrong.status == 400 and "invalid isolation level" in wrong.json["message"]


# The connection.


def test_pipelined_requests_are_answered_in_order(served):
    with served(default_pool_size=1).http() as http:
        http.send(b"".join(request({"query": f"select {n}, pg_sleep({0.2 if n == 0 else 0})"}) for n in range(20)))
        assert [http.answer().rows[0][0] for _ in range(20)] == [str(n) for n in range(20)]


def test_chunked_bodies_and_bodies_that_come_slowly(served):
    with served().http() as http:
        body = {"query": "select length($1)", "params": ["x" * 5000]}
        http.send(request(body, chunks=[1, 1, 100, 3000]) + request(body))
        assert http.answer().rows == http.answer().rows == [["5000"]]
        for byte in request({"query": "select 5"}, chunks=[3, 4]):
            http.send(bytes([byte]))
        assert http.answer().rows == [["5"]]


def test_a_refused_body_is_skipped(served):
    """The login fails before the body was read: the next request is found behind it."""
    with served().http() as http:
        for chunks in (None, [10, 50000]):
            wrong = request({"query": "select 1", "params": ["x" * 100000]}, string=connection_string(password="wrong"), chunks=chunks)
            http.send(wrong + request({"query": "select 6"}))
            answer = http.answer()
            assert answer.status == 400 and answer.json["code"] == "28P01"
            assert http.answer().rows == [["6"]]


def test_expect_100_continue(served):
    with served().http() as http:
        whole = request({"query": "select 1"}, {"Expect": "100-continue"})
        head, body = whole.split(b"\r\n\r\n", 1)
        http.send(head + b"\r\n\r\n")
        assert http.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue"
        http.send(body)
        assert http.answer().rows == [["1"]]
        refused = request({"query": "select 1"}, {"Expect": "100-continue"}, string=connection_string(password="wrong"))
        http.send(refused.split(b"\r\n\r\n", 1)[0] + b"\r\n\r\n")
        answer = http.answer()
        assert answer.status == 400 and answer.headers["connection"] == "close"


@pytest.mark.parametrize("head", [
    b"POST /sql HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"POST /sql HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n",
    b"POST /sql HTTP/1.1\r\nHost: localhost\r\nContent-Length: +3\r\n\r\n",
    b"POST /sql HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
    b"POST /sql HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
    b"POST /sql HTTP/1.1\r\nHost : localhost\r\n\r\n", b"POST /sql HTTP/1.1\nHost: localhost\n\n",
    b"POST /sql HTTP/1.1\r\nHost: localhost\r\nX: a\r\n b\r\n\r\n", b"POST /sql HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"POST /sql\r\n\r\n", b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: x\r\nContent-Length: 1\r\n\r\n",
    b"POST /sql HTTP/1.1\r\nHost: localhost\r\nX: \0\r\n\r\n"])
def test_a_malformed_head_ends_the_connection(served, head):
    under_test = served()
    with under_test.http() as http:
        http.send(head + request({"query": "create table smuggled ()"}))
        answer = http.answer()
        assert answer.status == 400 and answer.headers["connection"] == "close"
        http.socket.settimeout(10)
        assert http.is_closed()
    with under_test.peer() as peer:
        assert peer.value("select to_regclass('smuggled') is null") == "t"


def test_a_malformed_chunk_ends_the_connection(served):
    with served().http() as http:
        head = request(b"", chunks=[1]).split(b"\r\n\r\n")[0]
        http.send(head + b"\r\n\r\n3\nabc\r\n0\r\n\r\n" + request({"query": "select 1"}))
        answer = http.answer()
        assert answer.status == 400 and answer.headers["connection"] == "close" and http.is_closed()


# Limits.


def test_requests_and_answers_have_limits(served):
    under_test = served(http_max_request=100000, http_max_response=100000)
    with under_test.http() as http:
        answer = http.query("select $1", "x" * 100001)
        assert answer.status == 413 and "request is too large (max is 100000 bytes)" == answer.json["message"]
    with under_test.http() as http:
        http.send(request({"query": "select $1", "params": ["x" * 150000]}, chunks=[50000, 50000]))
        assert http.answer().status == 413
    with under_test.http() as http:
        for query_text in ("select repeat('x', 100001)", "select generate_series(1, 100000000)", "select repeat('x', 300000000)"):
            answer = http.query(query_text)
            assert answer.status == 507 and "response is too large (max is 100000 bytes)" == answer.json["message"]
        assert http.query("select length(repeat('x', 100001))").rows == [["100001"]]
    under_test.await_pool(sv_active=0)


def test_large_answers_stream_where_there_is_no_limit(served):
    under_test = served(http_max_response=0, http_memory=20000000)
    with under_test.http() as http:
        answer = http.query("select n, repeat('x', 1000) from generate_series(1, 20000) n")
        assert answer.headers["transfer-encoding"] == "chunked" and answer.json["rowCount"] == 20000
        assert [int(row[0]) for row in answer.rows] == list(range(1, 20001))
        assert http.query("select 1").headers["content-length"]
        http.send(request({"query": "select n, 1 / (15000 - n) from generate_series(1, 20000) n"}))
        with pytest.raises(Ended):  # the status is out: the answer breaks off
            http.answer()


def test_all_requests_together_have_a_limit(served):
    under_test = served(http_memory=1000000)
    with under_test.http() as http:
        assert http.query("select length($1)", "x" * 3000000).status == 503
    with under_test.http() as http:
        answer = http.query("select repeat('x', 2000000)")
        assert answer.status == 503 and answer.headers["retry-after"] == "1"
        assert http.query("select 1").rows == [["1"]]


# Who may ask.


def test_a_login_is_that_of_any_client(served, cluster):
    with served().http() as http:
        for user in ("alice", "clear", "mdfive"):
            assert http.query("select current_user", string=connection_string(user=user, password=f"{user}-secret")).rows == [[user]]
        refusals = {
            connection_string(password="wrong"): "28P01", connection_string(user="nobody"): "28P01",
            connection_string(database="nowhere"): "3D000", connection_string(database="nowhere", password="wrong"): "28P01",
            connection_string(database="pgbouncer", user="admin", password="admin-secret"): "28000",
        }
        for string, code in refusals.items():
            answer = http.ask({"query": "select 1"}, string=string)
            assert (answer.status, answer.json["code"]) == (400, code), string
        for string in ("mysql://a:b@c/d", "postgres://alice:alice-secret@h/", "postgres://h/app", connection_string(parameters="?host=/tmp"),
                       connection_string(parameters="?user=bob"), "x"):
            answer = http.ask({"query": "select 1"}, string=string)
            assert answer.status == 400 and answer.json["code"] is None, string
        assert "required password" in http.ask({"query": "select 1"}, string="postgres://alice@h/app").json["message"]
        bearer = http.ask({"query": "select 1"}, {"Authorization": "Bearer x.y.z"})
        assert bearer.status == 400 and bearer.json["message"] == "missing authentication credentials: required password"
        assert http.ask({"query": "select 1"}, {"Neon-Connection-String": None}).status == 400


def test_a_string_may_have_parameters(served):
    parameters = "?sslmode=require&channel_binding=require&application_name=over%2520http"
    with served().http() as http:
        assert http.query("show application_name", string=connection_string(parameters=parameters)).rows == [["over%20http"]]
        assert http.query("show client_encoding").rows == [["UTF8"]]


@pytest.mark.parametrize("auth_type", ["trust", "any"])
def test_nobody_comes_in_without_a_password(served, cluster, auth_type):
    databases = {"app": f"host=127.0.0.1 port={cluster.port} dbname=app user=alice password=alice-secret"}
    with served(auth_type=auth_type, databases=databases, listeners={}).peer(password=None) as peer:
        assert peer.value("select 1") == "1"
    port = free_port()
    under_test = served(auth_type=auth_type, databases=databases, listeners={"default": "protocols=postgres,http"})
    with Http(under_test.port, under_test.web_context) as http:
        answer = http.query("select 1")
        assert answer.status == 400 and answer.json["code"] == "28000"


def test_hba_sees_the_address_and_tls(served, directory):
    with served().http() as http:
        assert http.query("select 1").rows == [["1"]]


def test_plain_connections_need_a_named_proxy(served):
    for named, status in (("", 403), ("127.0.0.1", 200), ("10.0.0.1", 403)):
        port = free_port()
        under_test = served(listeners={"web": f"port={port} protocols=http tls=disable"}, http_plain_from=named, http_hosts="localhost")
        with Http(port) as http:
            assert http.query("select 1").status == status


def test_hosts_are_ours(served):
    under_test = served(http_hosts="db.example.com, other.example")
    with under_test.http() as http:
        for host, status in (("localhost", 200), ("LOCALHOST:8443", 200), ("127.0.0.1:1", 200), ("[::1]:5", 200), ("db.example.com", 200),
                             ("other.example:443", 200), ("example.com", 421), ("evil.example", 421), (".example.com", 421)):
            assert http.query("select 1", host=host).status == status, host


def test_browsers_come_from_allowed_origins_only(served):
    under_test = served(http_allowed_origins="https://app.example.com https://other.example")
    with under_test.http() as http:
        preflight = {"Origin": "https://app.example.com", "Access-Control-Request-Method": "POST"}
        http.send(request(b"", preflight, method="OPTIONS"))
        answer = http.answer(has_body=False)
        assert answer.status == 204 and answer.headers["allow"] == "OPTIONS, POST"
        assert answer.headers["access-control-allow-origin"] == "https://app.example.com"
        assert "neon-batch-deferrable" in answer.headers["access-control-allow-headers"].lower()
        assert http.query("select 1", headers={"Origin": "https://other.example"}).headers["access-control-allow-origin"] == "https://other.example"
        for origin in ("https://evil.example", "null", "https://app.example.com.evil.example", "http://app.example.com"):
            answer = http.query("create table by_a_browser ()", headers={"Origin": origin})
            assert answer.status == 403 and "access-control-allow-origin" not in answer.headers
        assert http.query("select to_regclass('by_a_browser') is null").rows == [["t"]]


def test_encoded_bodies_are_not_taken(served):
    with served().http() as http:
        assert http.query("select 1", headers={"Content-Encoding": "gzip"}).status == 415


def test_other_paths(served):
    with served(http_health=1).http() as http:
        for path, status, body in (("/", 200, b"pgweir"), ("/healthz", 200, b"ok\n"), ("/readyz", 200, b"ok\n"), ("/other", 400, b"")):
            http.send(request(b"", method="GET", path=path))
            answer = http.answer()
            assert answer.status == status and body in answer.body
    with served().http() as http:
        http.send(request(b"", method="GET", path="/healthz"))
        assert http.answer().status == 400


# What a request is, and what it leaves.


def test_a_request_is_a_client_like_any_other(served):
    under_test = served(max_user_client_connections=1)
    with under_test.http() as http, under_test.http() as other:
        http.send(request({"query": "select pg_sleep(2)"}, string=connection_string(parameters="?application_name=sleeper")))
        row = await_that(lambda: [row for row in under_test.show("CLIENTS") if row["user"] == "alice" and row["state"] == "active"], 10, "it is shown")[0]
        assert row["database"] == "app" and row["addr"] == "127.0.0.1" and row["application_name"] == "sleeper"
        assert int(row["port"]) == http.socket.getsockname()[1] and row["tls"].startswith("TLSv1.3")
        refused = other.query("select 1")
        assert refused.status == 429 and refused.json["code"] == "53300" and refused.headers["retry-after"] == "1"
        assert http.answer().status == 200
        assert other.query("select 1").status == 200
    stats = [row for row in under_test.show("STATS_TOTALS") if row["database"] == "app"][0]
    assert int(stats["query_count"]) >= 2
    assert "login attempt: db=app user=alice tls=TLSv1.3" in under_test.log()


def test_nothing_of_a_session_outlives_its_request(served):
    with served(default_pool_size=1).http() as http:
        for state in ("begin", "set work_mem = '1234kB'", "create temp table left_over (a int)", "select pg_advisory_lock(7)",
                      "listen something", "prepare p as select 1", "set role bob", "declare c cursor with hold for select 1"):
            http.query(state)
        assert http.query("show work_mem").rows != [["1234kB"]]
        assert http.query("select current_user, to_regclass('pg_temp.left_over') is null, pg_try_advisory_lock(7)").rows[0][:2] == ["alice", "t"]
        assert http.query("select count(*) from pg_prepared_statements where name = 'p'").rows == [["0"]]
        assert http.query("select count(*) from pg_locks where locktype = 'advisory'").rows == [["0"]]
        assert http.query("select count(*) from pg_stat_activity where state like 'idle in transaction%'").rows == [["0"]]


@pytest.mark.parametrize("during", ["select pg_sleep(30)", "select pg_sleep(0.001), repeat('x', 1000) from generate_series(1, 30000)"])
def test_a_request_that_goes_away_takes_its_query_with_it(served, during):
    under_test = served(default_pool_size=1)
    with under_test.http() as http:
        pid = http.query("select pg_backend_pid()").rows
        http.send(request({"query": during}))
        under_test.await_pool(sv_active=1)
    with under_test.http() as other:
        start = time.monotonic()
        assert other.query("select pg_backend_pid()").rows == pid
        assert time.monotonic() - start < 5


def test_idle_connections_hold_no_shutdown_up(served):
    under_test = served(http_health=1)
    with under_test.http() as idle, under_test.http() as busy:
        assert idle.query("select 1").rows == [["1"]]
        busy.send(request({"query": "select pg_sleep(2)"}) + request(b"", method="GET", path="/readyz"))
        under_test.await_pool(sv_active=1)
        under_test.signal(signal.SIGTERM)
        assert idle.is_closed()
        answer = busy.answer()
        assert answer.status == 200
    assert under_test.exit_status(20) == 0


def test_copy_is_refused(served):
    with served(default_pool_size=1).http() as http:
        http.query("create table if not exists copied (a int)")
        for copy in ("copy copied from stdin", "copy (select 1) to stdout"):
            answer = http.query(copy)
            assert answer.status == 400 and answer.json["code"] == "0A000"
            assert http.query("select 1").rows == [["1"]]


def test_a_server_that_cannot_be_reached_is_500(served):
    under_test = served(databases={"app": f"host=127.0.0.1 port={free_port()} dbname=app"}, query_wait_timeout=2, client_login_timeout=3)
    with under_test.http() as http:
        answer = http.query("select 1")
        assert answer.status in (500, 503), answer


def test_slow_heads_and_bodies_are_ended(served):
    under_test = served(http_request_timeout=1, http_idle_timeout=1)
    with under_test.http() as idle, under_test.http() as head, under_test.http() as body:
        assert idle.query("select 1").rows == [["1"]]
        head.send(b"POST /sql HTTP/1.1\r\n")
        body.send(request({"query": "select 1"})[:-2])
        for http in (idle, head, body):
            assert http.is_closed()


def test_a_slow_reader_holds_nobody_up(served):
    under_test = served(http_max_response=0, default_pool_size=2)
    with under_test.http() as slow, under_test.http() as other:
        slow.send(request({"query": "select repeat('x', 1000) from generate_series(1, 300000)"}))
        slow.until(b"\r\n\r\n")
        for _ in range(20):
            assert other.query("select 1").rows == [["1"]]


def test_many_requests_of_two_tenants_never_cross(served):
    under_test = served(default_pool_size=2)
    wrong = []

    def work(number):
        user = ("alice", "bob")[number % 2]
        with under_test.http() as http:
            for turn in range(40):
                answer = http.query("select current_user, $1", f"{number}-{turn}", string=connection_string(user=user, password=f"{user}-secret"))
                if answer.rows != [[user, f"{number}-{turn}"]]:
                    wrong.append(answer)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


# The same over a socket.


SAMPLES = {
    "bool": ["t", "f"], "int2": ["-32768"], "int4": ["7"], "int8": ["9223372036854775807"], "float4": ["1.5", "NaN"], "float8": ["1e300", "-Infinity"],
    "numeric": ["1.50", "NaN", "-123456789012345678901234567890.5"], "money": ["12.5"], "text": ["ä€😀\"\\\n\t\x01", ""], "varchar": ["x"], "bpchar": ["x "],
    "char": ["x"], "name": ["a name"], "bytea": ["\\x00ff"], "json": ['{"a": [1, null]}'], "jsonb": ['{"a": "\\u00e4"}'], "jsonpath": ["$.a"],
    "xml": ["<a>b</a>"], "uuid": ["12345678-1234-1234-1234-123456789012"], "date": ["2026-11-30", "infinity"], "time": ["12:34:56.789"],
    "timetz": ["12:34:56+02"], "timestamp": ["2026-11-30 12:00"], "timestamptz": ["2026-11-30 12:00+01"], "interval": ["1 year 2 days 3:04"],
    "inet": ["10.0.0.1/8", "::1"], "cidr": ["10.0.0.0/8"], "macaddr": ["08:00:2b:01:02:03"], "macaddr8": ["08:00:2b:01:02:03:04:05"],
    "point": ["(1,2)"], "line": ["{1,2,3}"], "lseg": ["[(1,2),(3,4)]"], "box": ["(3,4),(1,2)"], "path": ["((1,2),(3,4))"], "polygon": ["((1,2),(3,4))"],
    "circle": ["<(1,2),3>"], "bit": ["1"], "varbit": ["1011"], "tsvector": ["'a':1 'b':2"], "tsquery": ["'a' & 'b'"], "oid": ["1"], "xid": ["5"],
    "xid8": ["5"], "cid": ["5"], "tid": ["(1,2)"], "pg_lsn": ["16/B374D848"], "int4range": ["[1,5)"], "numrange": ["(1.5,)"], "tsrange": ["empty"],
    "daterange": ["[2026-01-01,2026-02-01)"], "int8range": ["[1,2)"], "tstzrange": ["(,)"], "int4multirange": ["{[1,3),[5,7)}"], "regclass": ["pg_class"],
    "regtype": ["integer"], "regproc": ["now"], "regnamespace": ["public"], "regrole": ["alice"], "oidvector": ["1 2"], "int2vector": ["1 2"],
    "refcursor": ["c"], "pg_snapshot": ["10:20:10,14,15"], "txid_snapshot": ["10:20:10,14,15"], "aclitem": ["alice=r/alice"],
}


def test_values_are_those_of_a_socket(served, cluster):
    """Every type of pg_type that can be written, null, with samples and as an array, and other queries: names, types and texts."""
    under_test = served()
    quote = lambda text: "'" + text.replace("'", "''") + "'"
    with psycopg.connect(host="127.0.0.1", port=cluster.port, dbname="app", user="alice", password="alice-secret", autocommit=True) as direct:
        types = [row[0] for row in direct.execute(
            "select format_type(oid, null) from pg_type where typtype in ('b', 'd', 'r', 'm', 'e') and typoutput <> 0 and typname not like 'pg\\_toast%' order by oid")]
        queries = [f"select null::{name} as v" for name in types]
        for name, samples in SAMPLES.items():
            name = '"char"' if name == "char" else name
            queries += [f"select {quote(sample)}::{name} as v" for sample in samples] + [f"select array[{quote(samples[0])}::{name}, null] as v"]
        queries += ["select row(1, 'a b', null)::text", "select 1 as a, 2 as a", "select ''", "select n, n * 2 from generate_series(1, 1000) n",
                    "select oid, relname, relacl from pg_class where oid < 5000 order by oid", "select", "values (1, 'a'), (2, null)", "show server_version"]
        assert len(queries) >= 300
        with under_test.http() as http:
            for text in queries:
                cursor = direct.pgconn.exec_(text.encode())
                value = lambda row, column: None if (got := cursor.get_value(row, column)) is None else got.decode()
                expected = [[value(row, column) for column in range(cursor.nfields)] for row in range(cursor.ntuples)]
                got = http.query(text).json
                assert "rows" in got, (text, got)
                assert got["rows"] == expected, text
                assert [(field["name"], field["dataTypeID"], field["dataTypeSize"], field["dataTypeModifier"]) for field in got["fields"]] == [
                    (cursor.fname(n).decode(), cursor.ftype(n), cursor.fsize(n), cursor.fmod(n)) for n in range(cursor.nfields)], text
