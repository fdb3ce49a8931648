"""Sockets of the service manager (LISTEN_FDS): they outlive a restart, so that nobody is refused. Its notifications."""

import os
import signal
import socket
import subprocess
import threading

import pytest

from peer import Peer
from pooler import sanitizer_environment
from waiting import await_that, give_away


class Manager:
    """Listens on a TCP and a Unix socket, and starts poolers on them, as systemd does."""

    def __init__(self, pooler):
        self.pooler = pooler
        self.tcp = socket.create_server(("127.0.0.1", pooler.port), backlog=100)
        self.path = os.path.join(pooler.directory, "activated.sock")
        self.local = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.local.bind(self.path)
        os.chmod(self.path, 0o777)
        self.local.listen(100)
        self.notified = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify_path = os.path.join(pooler.directory, "notify.sock")
        self.notified.bind(self.notify_path)
        give_away(self.path, self.notify_path)
        self.notified.settimeout(10)

    def start(self):
        sockets = [os.dup(self.tcp.fileno()), os.dup(self.local.fileno())]

        def pass_on():
            high = [os.dup2(fd, 100 + index) for index, fd in enumerate(sockets)]
            for index, fd in enumerate(high):
                os.dup2(fd, 3 + index)

        log = open(self.pooler.log_path, "ab")
        self.pooler.process = subprocess.Popen(
            ["sh", "-c", 'LISTEN_PID=$$ exec "$0" "$1"', self.pooler.binary, self.pooler.ini_path], stdout=log, stderr=log,
            close_fds=False, preexec_fn=pass_on,
            env={**os.environ, **sanitizer_environment(), "LISTEN_FDS": "2", "NOTIFY_SOCKET": self.notify_path}, cwd=self.pooler.directory)
        log.close()
        for fd in sockets:
            os.close(fd)

    def await_notice(self, text):
        heard = []

        def hear():
            heard.append(self.notified.recv(4096).decode())
            return text in heard[-1] and heard[-1]

        return await_that(hear, 10, f"{text} of {heard}")

    def close(self):
        for one in (self.tcp, self.local, self.notified):
            one.close()


@pytest.fixture
def activated(pooler):
    under_test = pooler(worker_threads=4)
    under_test.stop()
    under_test.checked = False
    manager = Manager(under_test)
    yield manager
    manager.close()


def test_clients_come_in_by_both_sockets(activated):
    under_test = activated.pooler
    activated.start()
    activated.await_notice("READY=1")
    with under_test.peer() as peer:
        assert peer.value("select 1") == "1"
    with Peer(activated.path) as peer:
        assert peer.login("alice", "alice-secret", "app").value("select 1") == "1"
    log = under_test.log()
    assert "LOG socket passed from service manager (fd 3)" in log and "LOG socket passed from service manager (fd 4)" in log
    assert "WARNING sockets passed from service manager, cf_listen_addr ignored" in log
    assert "WARNING sockets passed from service manager, cf_unix_socket_dir ignored" in log
    assert f"listening on 127.0.0.1:{under_test.port}" in log and not os.path.exists(under_test.socket_path)


def test_who_connects_during_a_restart_is_served_after_it(activated):
    under_test = activated.pooler
    activated.start()
    activated.await_notice("READY=1")
    with under_test.peer() as peer:
        assert peer.value("select 1") == "1"
    for _ in range(3):
        under_test.signal(signal.SIGINT)
        assert under_test.exit_status() == 0
        assert os.path.exists(activated.path)
        values = []

        def work(open_peer):
            with open_peer() as peer:
                values.append(peer.login("alice", "alice-secret", "app").value("select 1"))

        threads = [threading.Thread(target=work, args=(how,)) for how in [under_test.open, lambda: Peer(activated.path)] * 4]
        for thread in threads:
            thread.start()
        activated.start()
        activated.await_notice("READY=1")
        for thread in threads:
            thread.join(20)
        assert values == ["1"] * 8


def test_a_reload_is_notified(activated):
    activated.start()
    activated.await_notice("READY=1")
    activated.pooler.signal(signal.SIGHUP)
    said = activated.await_notice("RELOADING=1")
    assert "MONOTONIC_USEC=" in said
    activated.await_notice("READY=1")
    activated.pooler.signal(signal.SIGTERM)
    activated.await_notice("STOPPING=1")


def test_a_descriptor_that_does_not_listen_is_refused(activated):
    plain = socket.socket()
    activated.tcp.close()
    activated.tcp = plain
    activated.start()
    assert activated.pooler.exit_status() == 1
    activated.pooler.checked = True
    assert "FATAL descriptor 3 from the service manager is no listening socket" in activated.pooler.log()
