"""Awaiting conditions with deadlines, and the few facts about the machine that tests need.

No test sleeps for a fixed time: it names the condition that it waits for, and how long that may take. Sanitizers make the
daemon slower; SLOW stretches every deadline for them, never the time a test takes when things are right."""

import os
import random
import socket
import time

BINARY = os.environ.get("PGWEIR_BINARY") or os.path.abspath(
    os.path.join(os.path.dirname(__file__), "..", "..", "build", "release", "pgweir")
)


def slowness():
    if os.environ.get("PGWEIR_SLOW"):
        return float(os.environ["PGWEIR_SLOW"])
    variant = os.path.basename(os.path.dirname(os.path.realpath(BINARY)))
    return {"asan": 3.0, "break": 3.0, "tsan": 6.0}.get(variant, 1.0)


SLOW = slowness()
FULL = os.environ.get("PGWEIR_FULL") == "1"
INTERVAL = 0.01


def await_that(condition, seconds=5.0, what=None):
    """The first true value of `condition()`; fails with `what` when none came in time. An AssertionError or a lost
    connection inside the condition counts as "not yet"."""
    deadline = time.monotonic() + seconds * SLOW
    reason = None
    while True:
        try:
            value = condition()
            if value:
                return value
        except (AssertionError, OSError) as error:
            reason = error
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds * SLOW:g} s: {what or condition}" + (f" ({reason})" if reason else ""))
        time.sleep(INTERVAL)


def stays_that(condition, seconds):
    """Claims that `condition()` holds all the time for `seconds`: for things that must not happen."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert condition()
        time.sleep(INTERVAL)


def free_port():
    """A TCP port that nobody listens on, below the range of source ports (else somebody's source port may take it)."""
    for _ in range(1000):
        port = random.SystemRandom().randrange(10000, 32000)
        try:
            for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
                with socket.socket(family, socket.SOCK_STREAM) as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind((address, port))
            return port
        except OSError:
            continue
    raise AssertionError("no free port")


def accepts(port, host="127.0.0.1"):
    try:
        socket.create_connection((host, port), timeout=1).close()
        return True
    except OSError:
        return False


def accepts_at(path):
    """Somebody listens on this Unix socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
            return True
        except OSError:
            return False


def unprivileged():
    """How subprocess.Popen runs something as an unprivileged user: PostgreSQL refuses to run as root."""
    if os.getuid() != 0:
        return {}
    return {"user": "postgres", "group": "postgres", "extra_groups": []}


def give_away(*paths):
    """Makes the unprivileged user the owner of the paths."""
    if os.getuid() == 0:
        import pwd

        entry = pwd.getpwnam("postgres")
        for path in paths:
            os.chown(path, entry.pw_uid, entry.pw_gid)
