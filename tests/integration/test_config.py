"""The command line and --check-config: every kind of mistake with file, line, key and reason; exit statuses."""

import os
import re
import subprocess
import tempfile

import pytest

from pooler import Pooler, run_binary
from waiting import BINARY, SLOW, await_that, free_port, give_away


@pytest.fixture
def folder(directory):
    path = tempfile.mkdtemp(prefix="config-", dir=directory)
    give_away(path)
    return path


GOOD = """[databases]
app = host=127.0.0.1 port=5432 dbname=app
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir = {folder}
auth_type = scram-sha-256
auth_file = {folder}/userlist.txt
"""


def write(folder, text, name="pgweir.ini", users='"alice" "secret"\n'):
    for file_name, content in ((name, text), ("userlist.txt", users)):
        path = os.path.join(folder, file_name)
        with open(path, "w") as file:
            file.write(content)
        give_away(path)
    return os.path.join(folder, name)


def good(folder):
    return GOOD.format(folder=folder, port=free_port())


def check(folder, text, **options):
    status, out, err = run_binary("--check-config", write(folder, text, **options))
    return status, out + err


def test_a_good_file(folder):
    status, output = check(folder, good(folder))
    assert status == 0, output


MISTAKES = {
    "unknown key": ("no_such_key = 1", "no_such_key"),
    "bad number": ("default_pool_size = many", "default_pool_size"),
    "boolean word": ("log_connections = yes", "log_connections"),
    "bad time": ("server_idle_timeout = 1s", "server_idle_timeout"),
    "negative time": ("server_idle_timeout = -1", "server_idle_timeout"),
    "bad enum": ("pool_mode = sometimes", "pool_mode"),
    "comment behind a value": ("pool_mode = session ; really", "pool_mode"),
    "bad auth_type": ("auth_type = magic", "auth_type"),
    "bad sslmode": ("server_tls_sslmode = perhaps", "server_tls_sslmode"),
    "port out of range": ("listen_port = 70000", "listen_port"),
    "worker_threads out of range": ("worker_threads = 1000", "worker_threads"),
    "missing equals sign": ("listen_port", "listen_port"),
    "missing bracket": ("[databases", ""),
    "unknown section": ("[nonsense]\nx = 1", "nonsense"),
    "unknown connection key": ("[databases]\nbad = hots=127.0.0.1", "hots"),
    "empty connection value": ("[databases]\nbad = port=1 host=", "bad"),
    "open quote": ("[databases]\nbad = host='127.0.0.1", "bad"),
    "bad port in an entry": ("[databases]\nbad = host=127.0.0.1 port=none", "none"),
    "reserved name": ("[databases]\npgbouncer = host=127.0.0.1", "pgbouncer"),
    "bad mode in an entry": ("[databases]\nbad = host=127.0.0.1 pool_mode=sometimes", "sometimes"),
    "unknown user key": ("[users]\nalice = no_such=1", "no_such"),
    "bad peer": ("[peers]\n0 = host=127.0.0.1", ""),
    "peer without a host": ("[peers]\n1 = port=6432", "host"),
    "missing include": ("%include /nonexistent/other.ini", "/nonexistent/other.ini"),
    "auth_dbname": ("auth_dbname = pgbouncer", "auth_dbname"),
    "tls without a key": ("client_tls_sslmode = require", "client_tls_"),
    "missing key file": ("client_tls_sslmode = require\nclient_tls_key_file = /nonexistent.key\nclient_tls_cert_file = /nonexistent.crt", "/nonexistent"),
    "verify-full without an authority": ("server_tls_sslmode = verify-full\nserver_tls_ca_file = /nonexistent.ca", "/nonexistent.ca"),
    "authority that is none": ("server_tls_sslmode = verify-full\nserver_tls_ca_file = /etc/passwd", "/etc/passwd"),
    "missing auth_file": ("auth_file = /nonexistent/users", "/nonexistent/users"),
}
WITHOUT_LINE = ("tls without a key", "missing key file", "verify-full without an authority", "authority that is none", "missing auth_file")


@pytest.mark.parametrize("mistake", list(MISTAKES))
def test_each_mistake_is_named_with_file_and_line(folder, mistake):
    text, named = MISTAKES[mistake]
    status, output = check(folder, good(folder) + text + "\n")
    assert status == 1
    assert named in output
    if mistake not in WITHOUT_LINE:
        first = good(folder).count("\n") + 1
        assert re.search(r"pgweir\.ini:(%s)\b" % "|".join(str(first + n) for n in range(text.count("\n") + 1)), output), output


@pytest.mark.parametrize("mistake", ["unknown key", "bad enum", "missing key file", "authority that is none", "unknown section"])
def test_the_daemon_does_not_start_with_a_mistake(folder, mistake):
    status, out, err = run_binary(write(folder, good(folder) + MISTAKES[mistake][0] + "\n"))
    assert status == 1 and MISTAKES[mistake][1] in err
    assert "listening on" not in err


def test_every_problem_is_told_not_only_the_first(folder):
    status, output = check(folder, good(folder) + "no_such_key = 1\npool_mode = sometimes\n[users]\nalice = no_such=1\n")
    assert status == 1
    assert all(word in output for word in ("no_such_key", "pool_mode", "no_such"))


def test_a_mistake_in_an_included_file_is_told_with_that_file(folder):
    write(folder, "; a comment\n\nno_such_key = 1\n", name="included.ini")
    status, output = check(folder, good(folder) + f"%include {folder}/included.ini\n")
    assert status == 1 and re.search(r"included\.ini:3\b", output), output


def test_includes_have_a_depth(folder):
    write(folder, f"%include {folder}/loop.ini\n", name="loop.ini")
    status, output = check(folder, good(folder) + f"%include {folder}/loop.ini\n")
    assert status == 1 and "include" in output


@pytest.mark.parametrize("users", ['"alice "secret"\n', 'alice secret\n', '"alice" "secret\n', '"' + "a" * 200 + '" "x"\n'],
                         ids=["first quote", "no quotes", "second quote", "long name"])
def test_a_broken_auth_file_is_told_with_its_line(folder, users):
    status, output = check(folder, good(folder), users='"bob" "x"\n; a comment\n' + users)
    assert status == 1 and re.search(r"userlist\.txt:3\b", output), output


@pytest.mark.parametrize("line", [
    "max_client_conn = 0x10", "max_client_conn = 010", "server_idle_timeout = 0.5", "server_idle_timeout = 1e3", "POOL = x",
    "pool_mode = TRANSACTION", "   pool_mode=session   ", "admin_users = a, b  c", "server_reset_query =", "; comment", "# comment", ""],
    ids=lambda line: line or "empty")
def test_what_pgbouncer_accepts(folder, line):
    status, output = check(folder, good(folder) + line + "\n")
    assert (status == 1) == (line == "POOL = x"), output


def test_sections_in_any_order_and_twice(folder):
    text = good(folder)
    status, output = check(folder, text + "[databases]\nmore = host=/tmp\n'odd name' = host=127.0.0.1\n\"other\" = port=1\n* = host=127.0.0.1\n[users]\n"
                                          "alice = pool_mode=session max_user_connections = 3\n[peers]\n1 = host=127.0.0.1\n")
    assert status == 0, output


def test_not_honoured_keys_are_named_at_start(pooler):
    under_test = pooler(auth_ldap_options="ldapserver=127.0.0.1", resolv_conf=os.devnull)
    under_test.await_log("auth_ldap_options")
    under_test.await_log("process up")
    assert under_test.log().count("auth_ldap_options") == 1


def test_version():
    status, out, _ = run_binary("-V")
    lines = out.splitlines()
    assert status == 0 and re.match(r"PgBouncer \d+\.\d+\.\d+", lines[0])
    assert "pgweir" in out.lower() and any(line.startswith("libevent") for line in lines) and any(line.startswith("tls: OpenSSL") for line in lines)
    assert run_binary("--version")[:2] == (0, out)


def test_help():
    status, out, _ = run_binary("-h")
    assert status == 0
    for option in ("--check-config", "--version", "--help", "--verbose", "--quiet", "--user"):
        assert option in out
    assert run_binary("--help")[:2] == (0, out)


def test_wrong_command_lines():
    for arguments in ((), ("one.ini", "two.ini")):
        status, _, err = run_binary(*arguments)
        assert status == 1 and "no configuration file specified" in err and "--help" in err
    status, _, err = run_binary("--nonsense", "x.ini")
    assert status == 1 and "--help" in err


def test_an_unreadable_file():
    status, _, err = run_binary("/nonexistent/pgweir.ini")
    assert status == 1 and "/nonexistent/pgweir.ini" in err and "No such file" in err


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be refused for being root")
def test_root_needs_a_user(folder):
    done = subprocess.run([BINARY, write(folder, good(folder))], capture_output=True, text=True, timeout=20 * SLOW)
    assert done.returncode == 1 and "should not run as root" in done.stderr


def test_a_port_in_use(pooler, folder):
    running = pooler()
    text = good(folder).replace("listen_addr = 127.0.0.1", "listen_addr = 127.0.0.1\n")
    text = re.sub(r"listen_port = \d+", f"listen_port = {running.port}", text)
    status, _, err = run_binary(write(folder, text))
    assert status == 1 and "cannot listen on" in err


def test_a_unix_socket_in_use(pooler, cluster, directory):
    running = pooler()
    status, _, err = run_binary(write(running.directory, re.sub(r"listen_port = \d+", f"listen_port = {running.port}", GOOD.format(
        folder=running.directory, port=0)).replace("127.0.0.1\n", "127.0.0.2\n"), name="second.ini", users='"alice" "secret"\n'))
    assert status == 1 and "unix socket is in use" in err


def test_a_dead_unix_socket_is_replaced(pooler):
    first = pooler()
    first.kill()
    assert os.path.exists(first.socket_path)
    first.start()
    with first.peer() as peer:
        assert peer.value("select 1") == "1"


def test_quiet(folder):
    """-q: no log on stderr, whatever happens."""
    status, out, err = run_binary("-q", write(folder, good(folder) + "no_such_key = 1\n"))
    assert status == 1 and out == "" and " LOG " not in err


@pytest.mark.parametrize("threads", [1, 2, 4, 8])
def test_worker_threads(pooler, threads):
    under_test = pooler(worker_threads=threads)
    await_that(lambda: under_test.threads() >= threads, 10, "the threads run")
    peers = [under_test.peer() for _ in range(16)]
    for number, peer in enumerate(peers):
        assert peer.value(f"select {number}") == str(number)
        peer.leave()


def test_a_stalled_stderr_stops_nobody(cluster, directory):
    """The log goes through a ring: nobody reads the pipe, everybody is served."""
    pooler = Pooler.__new__(Pooler)
    popen = subprocess.Popen
    reader, writer = os.pipe()
    try:
        subprocess.Popen = lambda *arguments, **options: popen(*arguments, **{**options, "stderr": writer})
        pooler.__init__(tempfile.mkdtemp(prefix="pooler-", dir=directory), cluster, verbose=2)
    finally:
        subprocess.Popen = popen
    try:
        for number in range(400):
            with pooler.peer("open") as peer:
                assert peer.value(f"select {number}") == str(number)
    finally:
        os.close(reader)
        os.close(writer)
        pooler.kill()
