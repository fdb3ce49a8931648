"""The pooler under test: writes its files from keyword options, starts the binary in the foreground, talks to its console,
and when it stops looks at the exit status and for sanitizer reports.

PGWEIR_BINARY names the binary. PgBouncer may stand in for it: settings that it does not know are left out."""

import atexit
import functools
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading

import psycopg

from peer import Peer, Refused, query
from waiting import BINARY, SLOW, accepts, accepts_at, await_that, free_port, give_away, unprivileged

USERS = [(name, name + "-secret") for name in
         ("alice", "bob", "clear", "mdfive", "open", "limited", "certified", "tlsonly", "plainonly", "nologin", "admin", "watcher")]

NEW_SETTINGS = ("worker_threads", "max_prepared_statements", "max_login_clients", "waiter_locality", "query_wait_notify",
                "max_user_client_connections", "max_db_client_connections", "track_extra_parameters")

REPORTS = re.compile(r"ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|runtime error:|SUMMARY: \w+Sanitizer|Assertion .* failed|"
                     r"detected memory leaks")


def binary_is_pgweir(binary=BINARY):
    output = subprocess.run([binary, "-V"], capture_output=True, text=True).stdout
    return "pgweir" in output.lower()


def sanitizer_environment():
    return {
        "ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0:exitcode=99:detect_stack_use_after_return=0",
        "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1:exitcode=99",
        "TSAN_OPTIONS": "exitcode=99:halt_on_error=0:second_deadlock_stack=1",
    }


class Ended(Exception):
    """The pooler's process is gone though nobody ended it."""


class Table:
    """An answer of the console: columns (name, type OID, size), rows (dicts of text), tag, notices."""

    def __init__(self, answers):
        described = [answer for answer in answers if answer.type == "T"]
        self.columns = described[0].columns if described else []
        self.names = [name for name, _, _ in self.columns]
        self.rows = [dict(zip(self.names, (None if v is None else v.decode() for v in answer.row)))
                     for answer in answers if answer.type == "D"]
        self.tag = next((answer.tag for answer in answers if answer.type == "C"), None)
        self.notices = [answer.fields for answer in answers if answer.type == "N"]


class Pooler:
    """Options of [pgbouncer] by keyword; besides: databases, users, peers (dicts of connection strings), auth_users (pairs, or
    None for no file), listeners, routes (as databases), binary, wait (False: do not wait for the port), entry (more of the
    connection string of `app`)."""

    def __init__(self, directory, cluster, databases=None, users=None, auth_users=None, listeners=None, routes=None, peers=None,
                 binary=BINARY, entry="",
                 wait=True, **options):
        self.directory, self.cluster, self.binary = directory, cluster, binary
        os.makedirs(directory, exist_ok=True)
        give_away(directory)
        self.is_pgweir = binary_is_pgweir(binary)
        self.port = int(options.pop("listen_port", 0)) or free_port()
        self.host = "127.0.0.1"
        self.log_path = os.path.join(directory, "log")
        self.ini_path = os.path.join(directory, "pgweir.ini")
        self.users_path = os.path.join(directory, "userlist.txt")
        self.process, self.checked = None, False
        self.launcher = []  # what the daemon is started by
        server = f"host=127.0.0.1 port={cluster.port}"
        self.databases = databases if databases is not None else {
            "app": f"{server} dbname=app {entry}", "other": f"{server} dbname=other"}
        self.user_entries = users or {}
        self.listeners, self.routes = listeners or {}, routes or {}
        self.peers = peers or {}
        self.auth_users = USERS if auth_users is None else auth_users
        self.options = {
            "listen_addr": "127.0.0.1", "listen_port": self.port, "unix_socket_dir": directory,
            "auth_type": "scram-sha-256", "auth_file": self.users_path, "admin_users": "admin", "stats_users": "watcher",
            "pool_mode": "transaction", "max_client_conn": 1000, "server_tls_sslmode": "disable", "worker_threads": 2,
            "log_stats": 0,
        }
        if os.getuid() == 0:
            self.options["user"] = "postgres"
        self.options.update(options)
        self.write()
        self.start(wait)

    @property
    def address(self):
        return (self.host, self.port)

    @property
    def socket_path(self):
        return os.path.join(self.directory, f".s.PGSQL.{self.port}")

    # Files.

    def write_file(self, path, content):
        """Replaces a file in one step, readable by the unprivileged user alone."""
        with open(path + ".new", "w") as file:
            file.write(content)
        os.chmod(path + ".new", 0o600)
        give_away(path + ".new")
        os.replace(path + ".new", path)

    def ini(self):
        options = {name: value for name, value in self.options.items()
                   if value is not None and (self.is_pgweir or name not in NEW_SETTINGS)}
        sections = [("databases", self.databases), ("users", self.user_entries), ("listeners", self.listeners),
                    ("routes", self.routes), ("peers", self.peers),
                    ("pgbouncer", options)]
        return "".join(f"[{name}]\n" + "".join(f"{key} = {value}\n" for key, value in content.items()) + "\n"
                       for name, content in sections if content)

    def write(self, **options):
        """Writes ini and user list, with changed options."""
        self.options.update(options)
        quoted = lambda value: '"' + value.replace('"', '""') + '"'
        self.write_file(self.users_path, "".join(f"{quoted(name)} {quoted(secret)}\n" for name, secret in self.auth_users))
        self.write_file(self.ini_path, self.ini())

    # Life.

    def start(self, wait=True):
        log = open(self.log_path, "ab")
        self.checked = False
        self.log_start = os.path.getsize(self.log_path)
        self.process = subprocess.Popen([*self.launcher, self.binary, self.ini_path], stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                        cwd=self.directory, env={**os.environ, **sanitizer_environment()})
        log.close()
        if wait:
            self.await_port()
        return self

    def await_port(self):
        def listening():
            assert_running(self)
            return accepts(self.port, self.host) and (not self.options["unix_socket_dir"] or accepts_at(self.socket_path))

        await_that(listening, 10, "the pooler listens")
        if self.listeners:  # theirs come after the first one's
            self.await_log("process up", 10)

    def signal(self, number):
        self.process.send_signal(number)

    def exit_status(self, seconds=10):
        return await_that(lambda: (self.process.poll(),) if self.process.poll() is not None else None, seconds,
                          "the pooler has ended")[0]

    def stop(self):
        """Ends it: INT, which waits for servers in use; INT again, which does not. Then claims exit status 0 and a clean log."""
        if self.process is None or self.checked:
            return
        self.checked = True
        if self.process.poll() is None:
            self.signal(signal.SIGINT)
            try:
                self.process.wait(0.5 * SLOW)
            except subprocess.TimeoutExpired:
                self.signal(signal.SIGINT if self.is_pgweir else signal.SIGTERM)
        try:
            status = self.process.wait(20 * SLOW)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError("the pooler did not stop; its log ends:\n" + self.log()[-1500:]) from None
        self.assert_clean()
        assert status == 0, f"exit status {status}; its log ends:\n" + self.log()[-4000:]

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.checked = True

    def assert_clean(self):
        found = REPORTS.search(self.log())
        if found:
            raise AssertionError("sanitizer or assertion report:\n" + self.log()[max(0, found.start() - 200):][:8000])

    def log(self):
        """What this run of the binary wrote to stderr."""
        with open(self.log_path, "rb") as file:
            file.seek(self.log_start)
            return file.read().decode(errors="replace")

    def await_log(self, pattern, seconds=5, start=0):
        return await_that(lambda: re.search(pattern, self.log()[start:]), seconds, f"a log line {pattern!r}")

    # Talking to it.

    def connect(self, user="alice", dbname="app", **options):
        """A psycopg connection through the pooler, in autocommit."""
        options.setdefault("host", self.host)
        options.setdefault("password", user + "-secret")
        options.setdefault("sslmode", "disable")
        return psycopg.connect(port=self.port, user=user, dbname=dbname, autocommit=True, prepare_threshold=None,
                               connect_timeout=int(20 * SLOW), **options)

    def open(self, **options):
        """A raw connection that has said nothing yet."""
        return Peer(self.address, **options)

    def peer(self, user="alice", database="app", secret=None, tls=None, direct=False, version=0x00030000, timeout=10.0,
             port=None, **parameters):
        """A raw connection that has logged in. `port`: of another listener."""
        peer = Peer((self.host, port or self.port), timeout)
        try:
            if tls:
                peer.start_tls(tls, direct)
            return peer.login(user, secret if secret is not None else user + "-secret", database, version, **parameters)
        except BaseException:
            peer.close()
            raise

    def refusal(self, user="alice", database="app", secret=None, **options):
        """The Refused of a login that has to fail."""
        try:
            self.peer(user, database, secret, **options).close()
        except Refused as refused:
            return refused
        raise AssertionError(f"{user} was let in")

    def console(self, command, user="admin"):
        """One console command's Table, over the Unix socket (no TLS there); an ErrorResponse raises Refused."""
        with Peer(self.socket_path) as peer:
            peer.login(user, user + "-secret", "pgbouncer")
            return ask_console(peer, command)

    def show(self, what, **wanted):
        """Rows of SHOW what, those whose columns have the wanted texts."""
        return [row for row in self.console(f"SHOW {what}").rows
                if all(row[name] == str(value) for name, value in wanted.items())]

    def pool(self, database="app", user="alice"):
        """The row of SHOW POOLS as numbers; zeros when the pool does not exist."""
        rows = self.show("POOLS", database=database, user=user)
        row = rows[0] if rows else {}
        names = ("cl_active", "cl_waiting", "sv_active", "sv_idle", "sv_used", "sv_tested", "sv_login", "maxwait")
        return {name: int(row.get(name) or 0) for name in names}

    def await_pool(self, seconds=5, database="app", user="alice", **wanted):
        """Waits until SHOW POOLS has these numbers. sv_idle counts used and tested servers too: they are free."""

        def reached():
            pool = self.pool(database, user)
            pool["sv_free"] = pool["sv_idle"] + pool["sv_used"] + pool["sv_tested"]
            differing = {name: pool[name] for name, value in wanted.items() if pool[name] != value}
            assert not differing, f"{differing} of {pool}"
            return True

        return await_that(reached, seconds, f"SHOW POOLS has {wanted}")

    def assert_login_waits_for_resume(self):
        """Database app is paused: who logs in waits, and is let in by RESUME."""
        late = self.open()
        thread = threading.Thread(target=lambda: late.login("alice", "alice-secret", "app"))
        thread.start()
        self.await_pool(cl_waiting=1)
        assert self.console("RESUME app").tag == "RESUME"
        thread.join(10)
        assert late.value("select 1") == "1"
        late.close()

    def threads(self):
        return len(os.listdir(f"/proc/{self.process.pid}/task"))

    def resident_kib(self):
        with open(f"/proc/{self.process.pid}/status") as file:
            return int(re.search(r"VmRSS:\s+(\d+)", file.read()).group(1))

    def destroy(self):
        try:
            self.stop()
        finally:
            self.kill()
            shutil.rmtree(self.directory, ignore_errors=True)


def ask_console(peer, command):
    answers = peer.ask(query(command))
    for answer in answers:
        if answer.type == "E":
            raise Refused(answer)
    return Table(answers)


def assert_running(pooler):
    if pooler.process.poll() is not None:
        pooler.checked = True
        raise Ended(f"exit status {pooler.process.poll()}:\n" + pooler.log()[-4000:])


@functools.cache
def within_reach(binary):
    """The binary, or a copy of it where the unprivileged user can get at it: a checkout may lie in a folder of root's."""
    if not unprivileged():
        return binary
    folder = tempfile.mkdtemp(prefix="pgweir-binary-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.chmod(folder, 0o755)
    return shutil.copy(binary, folder)


def run_binary(*arguments, binary=BINARY, timeout=30, cwd=None):
    """Runs the binary to its end, without privileges: (exit status, stdout, stderr)."""
    done = subprocess.run([within_reach(binary), *arguments], capture_output=True, text=True, timeout=timeout * SLOW, cwd=cwd,
                          env={**os.environ, **sanitizer_environment()}, **unprivileged())
    assert not REPORTS.search(done.stderr), done.stderr
    return done.returncode, done.stdout, done.stderr
