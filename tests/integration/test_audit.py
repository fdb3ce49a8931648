"""audit_log: what happened to whom, as JSON lines (THREATS 5.3)."""

import json
import os
import subprocess
import urllib.request

import pytest

from peer import Peer, Refused, query, tls_context
from test_tls import client_side
from waiting import BINARY, await_that, free_port

FAR = "203.0.113.0/24"


class Audit:
    def __init__(self, under_test):
        self.path = os.path.join(under_test.directory, "audit.json")

    def lines(self, **wanted):
        with open(self.path) as file:
            lines = [json.loads(line) for line in file]
        return [line for line in lines if all(line.get(key) == value for key, value in wanted.items())]

    def one(self, **wanted):
        found = await_that(lambda: self.lines(**wanted), 10, f"a line with {wanted}")
        assert len(found) == 1, found
        return found[0]


@pytest.fixture
def audited(pooler):
    def start(**options):
        under_test = pooler(audit_log="file", audit_file="audit.json", **options)
        return under_test, Audit(under_test)

    return start


def fail(under_test, user="alice", secret="wrong", **options):
    with pytest.raises(Refused):
        under_test.peer(user, secret=secret, **options)


def test_logins_that_succeed(audited):
    under_test, audit = audited()
    under_test.peer("alice").close()
    line = audit.one(event="login")
    assert line.pop("address").startswith("127.0.0.1:")
    assert line.pop("time")[-1] == "Z" and line.pop("pid") > 0
    assert line == {"event": "login", "outcome": "accepted", "database": "app", "user": "alice", "listener": "default",
                    "method": "SCRAM-SHA-256", "secret": "auth_file"}


def test_logins_that_fail_say_why_though_their_clients_are_not_told(audited):
    under_test, audit = audited(users={"bob": f"allow_from={FAR}"})
    fail(under_test)
    fail(under_test, "nobody_at_all")
    fail(under_test, "bob", "bob-secret")
    fail(under_test, secret="alice-secret", database="no_such_database")
    for user, code, cause in (("alice", "28P01", "wrong password"), ("nobody_at_all", "28P01", "no such user"),
                              ("bob", "28P01", "allow_from"), ("alice", "3D000", "no such database: no_such_database")):
        line = audit.one(event="login", outcome="refused", user=user, sqlstate=code)
        assert line["cause"] == cause and line["method"] == "SCRAM-SHA-256"


def test_secrets_of_the_server_and_tls_and_certificates(audited, certificates):
    under_test, audit = audited(auth_users=[("admin", "admin-secret")], auth_user="postgres", **client_side(certificates, "verify-ca"))
    context = tls_context(certificates.ca, certificates.certificate("alice"), certificates.key("alice"))
    context.check_hostname = False
    under_test.peer("alice", tls=context).close()
    line = audit.one(event="login", outcome="accepted", user="alice")
    assert line["secret"] == "auth_query" and line["tls"].startswith("TLSv1.3")
    pem = subprocess.run(["openssl", "x509", "-in", certificates.certificate("alice"), "-noout", "-fingerprint", "-sha256"],
                         capture_output=True, text=True).stdout
    assert line["certificate"] == pem.split("=")[1].strip().replace(":", "").lower()


def test_orders_on_the_console_and_who_is_refused_them(audited):
    under_test, audit = audited()
    under_test.console("SET log_stats = 1")
    with Peer(under_test.socket_path) as peer:
        peer.login("watcher", "watcher-secret", "pgbouncer")
        peer.send(query("PAUSE app")).read_until("Z")
    under_test.console("SHOW POOLS")
    accepted = audit.one(event="console", outcome="accepted")
    assert (accepted["user"], accepted["order"], accepted["argument"], accepted["value"]) == ("admin", "SET", "log_stats", "1")
    refused = audit.one(event="console", outcome="refused")
    assert (refused["user"], refused["order"], refused["argument"]) == ("watcher", "PAUSE", "app")


def test_what_a_reload_changes_and_no_secret(audited):
    under_test, audit = audited(http_port=free_port(), http_token="old-token")
    server = under_test.databases["other"]
    under_test.databases = {"app": under_test.databases["app"] + " connect_query='select 1'", "new": server}
    under_test.auth_users = [("alice", "new-secret"), ("admin", "admin-secret"), ("newcomer", "x")]
    under_test.write(default_pool_size=7, http_token="new-token")
    under_test.console("RELOAD")
    line = audit.one(event="setting", key="default_pool_size")
    assert (line["old"], line["new"]) == ("20", "7")
    line = audit.one(event="setting", key="http_token")
    assert line["new"] == "changed" and "old" not in line
    changes = {(line["name"], line["change"]) for line in audit.lines(event="database")}
    assert changes == {("app", "connection changed"), ("other", "removed"), ("new", "added")}
    changes = {(line["name"], line["change"]) for line in audit.lines(event="user")}
    assert {("alice", "secret changed"), ("newcomer", "added"), ("bob", "removed")} <= changes
    with open(audit.path) as file:
        text = file.read()
    assert not [secret for secret in ("token", "secret") if f"old-{secret}" in text or f"new-{secret}" in text]


def test_the_breaker(audited):
    under_test, audit = audited(auth_breaker_failures=2, auth_breaker_delay=0.1)
    for _ in range(4):
        fail(under_test)
    line = audit.one(event="breaker")
    assert line["user"] == "alice" and line["database"] == "app"


def test_names_with_anything_in_them_stay_one_line_of_json(audited):
    under_test, audit = audited()
    for name in ("a\nb", 'quote"and\\slash', "esc\x1b[31m", "</script>", "n" * 120, "\u00e4\u00f6"):
        fail(under_test, name)
    await_that(lambda: len(audit.lines(event="login")) == 6, 10, "six lines")
    assert audit.lines(event="login")[0]["user"] == "a\\nb"


def test_it_is_opened_again_at_a_reload_and_is_private(audited):
    under_test, audit = audited()
    under_test.peer("alice").close()
    audit.one(event="login")
    assert os.stat(audit.path).st_mode & 0o777 == 0o600
    os.rename(audit.path, audit.path + ".1")
    under_test.console("RELOAD")
    under_test.peer("alice").close()
    await_that(lambda: os.path.exists(audit.path), 10, "the new file")
    audit.one(event="login", user="alice")


def test_losses_are_counted_and_said(audited):
    port = free_port()
    under_test, audit = audited(http_port=port)
    under_test.write(audit_file="/dev/full")
    under_test.console("RELOAD")
    for _ in range(3):
        fail(under_test)

    def lost():
        page = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10).read().decode()
        return int(next(line.split()[1] for line in page.splitlines() if line.startswith("pgweir_audit_lines_dropped_total")))

    await_that(lambda: lost() >= 3, 10, "three lines lost")
    under_test.write(audit_file="audit.json")
    under_test.console("RELOAD")
    under_test.peer("alice").close()
    assert await_that(lambda: audit.lines(event="lost"), 10, "a line about those")[0]["lines"] >= 3


def test_off_writes_nothing_and_the_console_cannot_switch_it(audited, pooler):
    under_test = pooler()
    fail(under_test)
    assert not os.path.exists(os.path.join(under_test.directory, "audit.json"))
    under_test, _ = audited()
    with pytest.raises(Refused):
        under_test.console("SET audit_log = off")


def test_a_file_needs_a_name(tmp_path):
    (tmp_path / "pgweir.ini").write_text("[pgbouncer]\naudit_log = file\n")
    done = subprocess.run([BINARY, "--check-config", tmp_path / "pgweir.ini"], capture_output=True, text=True)
    assert done.returncode != 0 and "pgweir.ini:2: audit_log: file needs audit_file" in done.stdout + done.stderr
