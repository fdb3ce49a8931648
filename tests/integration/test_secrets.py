"""No secret is seen: canaries in every place, looked for in the log, on the console, in metrics and where a core file would
hold them (THREATS 6, test 64)."""

import base64
import os
import re
import subprocess
import signal
import urllib.request

import psycopg
import pytest

from peer import Refused, tls_context
from test_tls import client_side
from waiting import await_that, free_port

AUTH_FILE, DATABASE, TYPED, WRONG, TOKEN, MOCK = (f"canary-{name}-{base64.b32encode(os.urandom(10)).decode()}" for name in
                                                 ("auth-file", "database", "typed", "wrong", "token", "mock-key-of-32-bytes-and"))
SHOWS = ("CONFIG DATABASES POOLS CLIENTS SERVERS USERS VERSION PEERS PEER_POOLS FDS SOCKETS ACTIVE_SOCKETS LISTS MEM STATE DNS_HOSTS "
         "DNS_ZONES STATS STATS_TOTALS STATS_AVERAGES TOTALS ERRORS WORKERS HISTOGRAMS HELP").split()


@pytest.fixture
def roles(cluster):
    """Roles whose passwords are canaries."""
    roles = {"canary_file": AUTH_FILE, "canary_database": DATABASE, "canary_typed": TYPED}
    for name, secret in roles.items():
        cluster.run(f"create role {name} login password '{secret}'")
    yield roles
    for name in roles:
        cluster.run(f"drop role {name}")


def mappings(process):
    """(start, end) of what a core file would hold of a process."""
    start = end = None
    for line in open(f"/proc/{process}/smaps"):
        if found := re.match(r"([0-9a-f]+)-([0-9a-f]+) (r\S+) ", line):
            start, end = int(found[1], 16), int(found[2], 16)
        elif re.match(r"[0-9a-f]+-", line):
            start = None
        elif line.startswith("VmFlags:") and start is not None and " dd" not in line and " wr" in line:
            yield start, end


def found_in_core(process, canaries):
    """The canaries that a core file would hold. Memory is read from outside, without stopping the process."""
    found = set()
    with open(f"/proc/{process}/mem", "rb", buffering=0) as memory:
        for start, end in mappings(process):
            for at in range(start, end, 1 << 20):
                try:
                    memory.seek(at)
                    data = memory.read(min(end - at, (1 << 20) + 4096))
                except (OSError, ValueError, OverflowError):
                    break
                found |= {name for name, canary in canaries.items() if canary in data}
    return found


def key_parts(path):
    """Of a private key, what its file says and what its numbers are."""
    text = subprocess.run(["openssl", "pkey", "-in", path, "-noout", "-text"], capture_output=True, text=True).stdout
    private = bytes.fromhex(re.sub(r"[:\s]", "", text.split("priv:")[1].split("pub:")[0]))[-32:]
    body = open(path).read().splitlines()[1]
    return {"the key's text": body[20:].encode(), "the key": private, "the key backwards": private[::-1]}


def use(under_test, roles):
    """Logins of all kinds, right and wrong, and reloads."""
    for tls in (None, tls_context()):
        for user in ("canary_file", "canary_typed"):
            with under_test.peer(user, secret=roles[user], tls=tls) as peer:
                assert peer.value("select session_user") == user
            with pytest.raises(Refused):
                under_test.peer(user, secret=WRONG, tls=tls)
    with under_test.peer("canary_file", "other", secret=AUTH_FILE) as peer:
        assert peer.value("select session_user") == "canary_database"
    with pytest.raises(Refused):
        under_test.peer("nobody_at_all", secret=WRONG)
    under_test.console("RELOAD")


def said(under_test):
    """All that it says to people, by its place."""
    places = {f"SHOW {what}": repr(under_test.console(f"SHOW {what}").rows) for what in SHOWS}
    for page in ("metrics", "", "status.json"):
        request = urllib.request.Request(f"http://127.0.0.1:{under_test.options['http_port']}/{page}", headers={"Authorization": f"Bearer {TOKEN}"})
        try:
            places[page] = urllib.request.urlopen(request, timeout=10).read().decode()
        except urllib.error.HTTPError as error:
            places[page] = error.read().decode()
    places["log"] = under_test.log()
    for name in ("cmdline", "environ"):
        places[name] = open(f"/proc/{under_test.process.pid}/{name}", "rb").read().decode(errors="replace")
    return places


@pytest.fixture
def start(pooler, cluster, certificates, roles):
    def start(auth_type, **options):
        server = f"host=127.0.0.1 port={cluster.port}"
        under_test = pooler(
            auth_type=auth_type, auth_users=[("admin", "admin-secret"), ("canary_file", AUTH_FILE)], auth_user="postgres", verbose=3,
            databases={"app": f"{server} dbname=app", "other": f"{server} dbname=other user=canary_database password={DATABASE}"},
            http_port=free_port(), http_token=TOKEN, auth_mock_key_file="mock.key", wait=False, **options, **client_side(certificates, "allow"))
        under_test.kill()
        under_test.write_file(os.path.join(under_test.directory, "mock.key"), MOCK)
        return under_test.start()

    return start


@pytest.mark.parametrize("auth_type", ["scram-sha-256", "md5", "plain"])
def test_canaries_are_seen_nowhere(start, roles, auth_type):
    under_test = start(auth_type)
    use(under_test, roles)
    for place, text in said(under_test).items():
        for canary in (AUTH_FILE, DATABASE, TYPED, WRONG, MOCK, TOKEN):
            assert canary not in text, (place, canary)


@pytest.mark.parametrize("auth_type", ["scram-sha-256", "plain"])
def test_a_core_file_would_hold_no_secret(start, roles, certificates, auth_type):
    under_test = start(auth_type, core_dumps=1)
    use(under_test, roles)
    said(under_test)
    canaries = {name: name.encode() for name in (AUTH_FILE, DATABASE, TYPED, WRONG, TOKEN, MOCK)}
    canaries |= key_parts(under_test.options["client_tls_key_file"])
    assert found_in_core(under_test.process.pid, {"control": b"canary_database"}) == {"control"}  # the search finds what is there
    assert found_in_core(under_test.process.pid, canaries) == set()


def process_status(under_test, name):
    return next(line.split()[1] for line in open(f"/proc/{under_test.process.pid}/status") if line.startswith(name))


def core_limit(under_test):
    return next(line.split()[4] for line in open(f"/proc/{under_test.process.pid}/limits") if line.startswith("Max core file"))


def owner_of(under_test):
    return os.stat(f"/proc/{under_test.process.pid}/environ").st_uid


def test_the_process_is_hidden_from_others_of_its_user(pooler):
    """What is not dumpable belongs to root in /proc, so that its own user can neither read its memory nor trace it."""
    under_test = pooler()
    assert owner_of(under_test) == 0 and core_limit(under_test) == "0"


def test_core_dumps_can_be_wanted(pooler):
    under_test = pooler(core_dumps=1)
    assert owner_of(under_test) == int(process_status(under_test, "Uid:"))
