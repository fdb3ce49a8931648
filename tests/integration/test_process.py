"""The process: -d, -u, -R, pid file, its name, and how it ends."""

import os
import re
import shutil
import signal
import subprocess

import pytest

from pooler import assert_running, sanitizer_environment
from waiting import BINARY, SLOW, await_that


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture
def daemon(pooler):
    """Starts one with -d; ends it."""
    started = []

    def start(*arguments, **options):
        under_test = pooler(**options)
        under_test.stop()
        pidfile = os.path.join(under_test.directory, "pid")
        under_test.write(pidfile=pidfile, logfile=os.path.join(under_test.directory, "daemon.log"))
        done = subprocess.run([BINARY, "-d", *arguments, under_test.ini_path], capture_output=True, text=True, timeout=20 * SLOW,
                              cwd=under_test.directory, env={**os.environ, **sanitizer_environment()})
        assert done.returncode == 0 and done.stdout == "", done.stderr
        with open(await_that(lambda: os.path.exists(pidfile) and pidfile, 10)) as file:
            pid = int(file.read())
        started.append(pid)
        return under_test, pid, pidfile

    yield start
    for pid in started:
        if is_alive(pid):
            os.kill(pid, signal.SIGKILL)


def test_a_daemon_goes_to_the_background_and_removes_its_pid_file(daemon):
    under_test, pid, pidfile = daemon()
    assert os.stat(pidfile).st_mode & 0o777 == 0o644
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    assert fields[3] != str(os.getsid(0))  # a session of its own
    assert os.readlink(f"/proc/{pid}/fd/0") == os.readlink(f"/proc/{pid}/fd/2") == "/dev/null"
    with under_test.peer() as peer:
        assert peer.value("select 1") == "1"
    os.kill(pid, signal.SIGTERM)
    await_that(lambda: not is_alive(pid), 10, "the daemon ends")
    assert not os.path.exists(pidfile)
    with open(os.path.join(under_test.directory, "daemon.log")) as file:
        assert "process up: PgBouncer" in file.read()


def test_a_daemon_needs_a_pid_file(pooler):
    under_test = pooler()
    under_test.stop()
    done = subprocess.run([BINARY, "-d", under_test.ini_path], capture_output=True, text=True, timeout=20 * SLOW)
    assert done.returncode == 1 and "FATAL daemon needs pidfile configured" in done.stderr


def test_a_pid_file_of_a_living_process_stops_the_start_and_a_stale_one_does_not(pooler):
    under_test = pooler()
    under_test.stop()
    pidfile = os.path.join(under_test.directory, "pid")
    under_test.write(pidfile=pidfile)
    under_test.write_file(pidfile, f"{os.getpid()}\n")
    under_test.start(wait=False)
    assert under_test.exit_status() == 1
    under_test.checked = True
    assert f"FATAL pidfile '{pidfile}' exists, another instance running?" in under_test.log()
    gone = subprocess.Popen(["true"])
    gone.wait()
    under_test.write_file(pidfile, f"{gone.pid}\n")
    under_test.start()
    under_test.await_log("LOG stale pidfile, removing")
    with open(pidfile) as file:
        assert file.read() == f"{under_test.process.pid}\n"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another")
def test_the_user_of_the_command_line_goes_before_that_of_the_file(pooler):
    under_test = pooler()
    under_test.stop()
    done = subprocess.run([BINARY, "-u", "no-such-user", under_test.ini_path], capture_output=True, text=True, timeout=20 * SLOW)
    assert done.returncode == 1 and "could not find user 'no-such-user' to switch to" in done.stderr


def test_reboot_is_accepted_with_a_warning(daemon):
    under_test, pid, _ = daemon("-R")
    with under_test.peer() as peer:
        assert peer.value("select 1") == "1"
    os.kill(pid, signal.SIGINT)
    await_that(lambda: not is_alive(pid), 10, "the daemon ends")


def test_under_the_name_of_pgbouncer_it_answers_like_pgbouncer(pooler):
    under_test = pooler()
    under_test.stop()
    link = os.path.join(under_test.directory, "pgbouncer")
    shutil.copy(BINARY, link)
    out = subprocess.run([link, "--version"], capture_output=True, text=True, timeout=20 * SLOW).stdout
    first = out.splitlines()[0]
    assert re.fullmatch(r"PgBouncer \d+\.\d+\.\d+", first)
    assert [line.split()[0] for line in out.splitlines()[1:4]] == ["libevent", "adns:", "tls:"]
    under_test.binary = link
    under_test.start()
    assert_running(under_test)
    assert under_test.show("VERSION")[0]["version"] == first
    under_test.await_log(re.escape(f"process up: {first}, libevent"))


def test_version_of_the_console_is_that_of_the_command_line(pooler):
    out = subprocess.run([BINARY, "--version"], capture_output=True, text=True, timeout=20 * SLOW).stdout
    assert pooler().show("VERSION")[0]["version"] == out.splitlines()[0]


def test_a_fast_end_has_status_0(pooler):
    under_test = pooler()
    with under_test.peer() as peer:
        peer.send(b"")
        under_test.signal(signal.SIGQUIT)
        assert under_test.exit_status() == 0 and peer.read_to_end() == []
    assert "LOG got SIGQUIT, fast exit" in under_test.log()
