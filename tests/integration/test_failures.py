"""Failed logins: answered late when that is asked for, never a right one; and what a stranger sees of users, over restarts."""

import base64
import os
import time
import urllib.request

import pytest

from peer import Peer, Refused, Scram, password, startup
from pooler import free_port
from waiting import SLOW

REFUSED = ("28P01", "SASL authentication failed")


def login(under_test, user="alice", secret=None, database="app"):
    """(what came of it, how long it took)"""
    start = time.monotonic()
    with Peer(under_test.address) as peer:
        try:
            peer.login(user, secret or user + "-secret", database)
            outcome = None
        except Refused as refused:
            outcome = refused.fields["C"], refused.fields["M"]
    return outcome, time.monotonic() - start


def metric(under_test, name):
    page = urllib.request.urlopen(f"http://127.0.0.1:{under_test.options['http_port']}/metrics", timeout=10).read().decode()
    return next(int(line.split()[1]) for line in page.splitlines() if line.startswith(name + " "))


def test_failures_wait_and_right_passwords_do_not(pooler):
    under_test = pooler(auth_failure_delay=1)
    for user in ("alice", "nobody_at_all"):
        outcome, took = login(under_test, user, "wrong")
        assert outcome == REFUSED and 1 <= took < 1 + 2 * SLOW
    outcome, took = login(under_test)
    assert outcome is None and took < 1


@pytest.mark.parametrize("auth_type, text", [("plain", "password authentication failed"), ("md5", "password authentication failed")])
def test_passwords_by_other_methods_wait_too(pooler, auth_type, text):
    outcome, took = login(pooler(auth_type=auth_type, auth_failure_delay=1), secret="wrong")
    assert outcome == ("28P01", text) and took >= 1


def test_who_waits_for_its_refusal_may_leave_or_talk_and_nothing_comes_of_it(pooler):
    under_test = pooler(auth_type="plain", auth_failure_delay=1)
    with Peer(under_test.address) as gone, Peer(under_test.address) as talks:
        for peer in (gone, talks):
            peer.send(startup(user="alice", database="app"))
            peer.read()
            peer.send(password("wrong"))
        gone.close()
        talks.send(password("alice-secret"))
        last = talks.read_to_end()[-1]
        assert last.fields["C"] == "28P01"
    assert login(under_test)[0] is None


def test_the_login_timeout_ends_the_wait(pooler):
    outcome, took = login(pooler(auth_failure_delay=30, client_login_timeout=2), secret="wrong")
    assert outcome == REFUSED and took < 2 + 5 * SLOW


def test_many_failures_make_further_ones_wait_and_nothing_else(pooler):
    under_test = pooler(auth_breaker_failures=5, auth_breaker_delay=1, http_port=free_port())
    took = [login(under_test, secret="wrong")[1] for _ in range(7)]
    assert max(took[:5]) < 1 <= min(took[5:]), took
    outcome, took = login(under_test)  # the victim, from the attacker's own address
    assert outcome is None and took < 1
    assert under_test.log().count("more than auth_breaker_failures logins a minute fail") == 1
    assert metric(under_test, "pgweir_logins_failed_total") == 7
    assert metric(under_test, "pgweir_logins_delayed_total") == 2


# What the salt of a dialogue shows.


def salt_of(under_test, user):
    """Salt and rounds that a login of this user is asked with."""
    with Peer(under_test.address) as peer:
        peer.send(startup(user=user, database="app")).read()
        scram = Scram("x")
        first = peer.send(scram.first()).read()
        attributes = dict(part.split("=", 1) for part in first.body[4:].decode().split(","))
        return base64.b64decode(attributes["s"]), int(attributes["i"])


def key_file(under_test, content):
    path = os.path.join(under_test.directory, "mock.key")
    under_test.write_file(path, content)
    return path


def restart(under_test, **options):
    under_test.stop()
    under_test.write(**options)
    return under_test.start()


@pytest.mark.parametrize("user", ["nobody_at_all", "alice"])
def test_salts_outlive_the_process_and_are_those_of_a_fleet(pooler, user):
    one, other = pooler(), pooler()
    for under_test in (one, other):
        restart(under_test, auth_mock_key_file=key_file(under_test, "k" * 32))
    before = salt_of(one, user)
    assert before == salt_of(one, user) == salt_of(other, user)
    assert len(before[0]) == 16
    restart(one)
    assert salt_of(one, user) == before
    one.console("RELOAD")
    assert salt_of(one, user) == before
    key_file(one, "l" * 32)
    one.console("RELOAD")
    assert salt_of(one, user)[0] != before[0]
    assert login(one)[0] is None


def test_without_the_file_salts_stay_as_long_as_the_process(pooler):
    under_test = pooler()
    before = salt_of(under_test, "nobody_at_all")
    assert salt_of(under_test, "nobody_at_all") == before
    restart(under_test)
    assert salt_of(under_test, "nobody_at_all") != before


@pytest.mark.parametrize("content, text", [("short", "holds fewer than 32 bytes: head -c 32 /dev/urandom makes a key"), (None, "could not read")])
def test_a_key_file_that_is_no_good_is_refused(pooler, content, text):
    under_test = pooler()
    path = key_file(under_test, content) if content else os.path.join(under_test.directory, "none")
    under_test.write(auth_mock_key_file=path)
    with pytest.raises(Refused):
        under_test.console("RELOAD")
    under_test.await_log(rf"auth_mock_key_file: .*{text}")


# Files of secrets.


def test_files_of_secrets_that_others_can_read_are_warned_about(pooler, certificates):
    under_test = pooler(auth_mock_key_file="mock.key", http_token="token", wait=False)
    under_test.kill()
    key_file(under_test, "k" * 32)
    for name in ("mock.key", "userlist.txt", "pgweir.ini"):
        os.chmod(os.path.join(under_test.directory, name), 0o644)
    under_test.start()
    log = under_test.log()
    for name in ("mock.key", "userlist.txt", "pgweir.ini"):
        assert f"{name} holds secrets and can be read by everybody: make it 0600, or 0640 owned by root" in log, name
    at = len(log)
    os.chmod(os.path.join(under_test.directory, "userlist.txt"), 0o640)
    under_test.console("RELOAD")
    under_test.await_log("userlist.txt holds secrets and can be read by its group, and is not root's", start=at)


def test_files_that_are_private_are_not_warned_about(pooler):
    under_test = pooler(http_token="token", entry="password=alice-secret user=alice")
    assert "holds secrets" not in under_test.log()


def test_an_ini_without_secrets_may_be_read(pooler):
    under_test = pooler(wait=False)
    under_test.kill()
    os.chmod(under_test.ini_path, 0o644)
    under_test.start()
    assert "holds secrets" not in under_test.log()
