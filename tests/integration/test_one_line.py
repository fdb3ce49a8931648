"""pgweir postgres://...: one line without an ini."""

import os
import re
import shutil
import signal
import stat
import subprocess
import tempfile

import psycopg
import pytest

from pooler import REPORTS, run_binary, sanitizer_environment, within_reach
from waiting import BINARY, SLOW, accepts, await_that, free_port, give_away, unprivileged


@pytest.fixture
def home(directory):
    path = tempfile.mkdtemp(prefix="one-line-", dir=directory)
    give_away(path)
    yield path
    shutil.rmtree(path)


def environment(home, **more):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return {**clean, **sanitizer_environment(), "XDG_STATE_HOME": home, **more}


@pytest.fixture
def run(home):
    """run(arguments...) starts a pooler; (process, what it has printed) once its port answers."""
    running = []

    def start(*arguments, port, **more):
        log = os.path.join(home, f"log-{len(running)}")
        with open(log, "wb") as out:
            process = subprocess.Popen([within_reach(BINARY), *arguments], stdout=out, stderr=out, stdin=subprocess.DEVNULL,
                                       env=environment(home, **more), cwd=home, **unprivileged())
        running.append((process, log))
        read = lambda: open(log, errors="replace").read()
        await_that(lambda: accepts(port) or (process.poll() is not None and pytest.fail(read())), 15, "it listens")
        return process, read

    yield start
    for process, log in running:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(20 * SLOW)
        text = open(log, errors="replace").read()
        assert process.returncode == 0 and not REPORTS.search(text), text


def printed(home, *arguments, **more):
    done = subprocess.run([within_reach(BINARY), "--print-config", *arguments], capture_output=True, text=True, timeout=30 * SLOW,
                          env=environment(home, **more), **unprivileged())
    return done.returncode, done.stdout, done.stderr


def value(ini, key):
    found = re.search(rf"^{key} = (.*)$", ini, re.M)
    return found and found[1]


def session_user(port, user="alice", secret="alice-secret", dbname="app", **options):
    options.setdefault("sslmode", "require")
    with psycopg.connect(host="127.0.0.1", port=port, user=user, password=secret, dbname=dbname, connect_timeout=20, **options) as connection:
        return connection.execute("select session_user").fetchone()[0]


def test_it_serves_whom_the_server_lets_in(run, cluster, home):
    port = free_port()
    process, log = run(f"--listen=:{port}", f"postgres://alice@127.0.0.1:{cluster.port}/app", port=port)
    assert session_user(port) == "alice" and session_user(port, "bob", "bob-secret") == "bob"
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        session_user(port, secret="wrong")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        session_user(port, dbname="other")
    with pytest.raises(psycopg.OperationalError, match="SSL|TLS"):
        session_user(port, sslmode="disable")
    assert value(log(), "pool_mode") == "transaction" and value(log(), "auth_type") == "passthrough"
    process.send_signal(signal.SIGHUP)
    await_that(lambda: "got SIGHUP, re-reading config" in log())
    assert session_user(port) == "alice"


def test_psql_and_node(run, cluster, home):
    port = free_port()
    run(f"--listen=127.0.0.1:{port}", f"host=127.0.0.1 port={cluster.port} dbname=app", port=port)
    done = subprocess.run(["psql", "-h", "127.0.0.1", "-p", str(port), "-U", "alice", "-Atc", "select session_user", "app"],
                          env={**os.environ, "PGPASSWORD": "alice-secret"}, capture_output=True, text=True, timeout=20 * SLOW)
    assert done.stdout.strip() == "alice", done.stderr
    drivers = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "drivers")
    nodes = [os.path.join(drivers, "node_modules", name, "bin", "node") for name in os.listdir(os.path.join(drivers, "node_modules"))
             if name.startswith("node-linux-")]
    script = f"""const {{ Client }} = require("pg"); const client = new Client({{ host: "127.0.0.1", port: {port}, user: "alice",
        password: "alice-secret", database: "app", ssl: {{ rejectUnauthorized: false }} }});
        client.connect().then(() => client.query("select session_user as name")).then(result => {{ console.log(result.rows[0].name);
        return client.end(); }}).catch(error => {{ console.error(error); process.exit(1); }});"""
    done = subprocess.run([nodes[0], "-e", script], cwd=drivers, capture_output=True, text=True, timeout=30 * SLOW)
    assert done.stdout.strip() == "alice", done.stderr


def test_the_printed_ini_starts_the_same(run, cluster, home):
    port = free_port()
    status, ini, errors = printed(home, f"--listen=:{port}", f"postgresql://127.0.0.1:{cluster.port}/app?application_name=me")
    assert status == 0, errors
    path = os.path.join(home, "copied.ini")
    with open(path, "w") as file:
        file.write(ini)
    os.chmod(path, 0o644)
    assert run_binary("--check-config", path)[0] == 0
    run(path, port=port)
    assert session_user(port) == "alice"


def test_the_certificate_is_kept_for_its_owner_alone(home):
    first, second = (printed(home, "postgres://db.example.com/app")[1] for _ in range(2))
    assert first == second and re.search(r"SHA-256 of the certificate.*: [0-9a-f]{64}", first)
    for name in ("client_tls_key_file", "client_tls_cert_file"):
        assert stat.S_IMODE(os.stat(value(first, name)).st_mode) == 0o600
    text = subprocess.run(["openssl", "x509", "-in", value(first, "client_tls_cert_file"), "-noout", "-text"], capture_output=True, text=True)
    assert "prime256v1" in text.stdout and "DNS:localhost, IP Address:127.0.0.1" in text.stdout


@pytest.mark.parametrize("argument, variables, wanted", [
    ("postgres://app@db.example.com/app?sslmode=verify-full", {}, ['"app" = host=\'db.example.com\' port=5432 dbname=\'app\'',
                                                                  "server_tls_sslmode = verify-full", "server_tls_ca_file = system"]),
    ("postgres://db.example.com/app", {}, ["server_tls_sslmode = verify-full", "listen_port = 6432", "listen_addr = 127.0.0.1"]),
    ("postgres://app@db.example.com", {}, ["dbname='app'"]),
    ("postgres://a%40b:x@[2001:db8::1]:5433/my%2Fdb", {}, ["host='2001:db8::1' port=5433 dbname='my/db'"]),
    ("postgres://one:5433,two:5433/app", {}, ["host='one,two' port=5433"]),
    ("postgres://%2Fvar%2Flib/app", {}, ["host='/var/lib'", "server_tls_sslmode = prefer"]),
    ("host=db.example.com dbname = 'my db' connect_timeout=3", {}, ["\"my db\" = host='db.example.com'", "server_connect_timeout = 3"]),
    ("postgres:///app", {"PGHOST": "db.example.com", "PGPORT": "6000", "PGSSLROOTCERT": "/etc/ca.crt"},
     ["host='db.example.com' port=6000", "server_tls_ca_file = /etc/ca.crt"]),
    ("postgres://db.example.com", {"PGDATABASE": "shop", "PGUSER": "x"}, ["dbname='shop'"]),
    ("postgres://db.example.com/app?channel_binding=require", {}, ["server_channel_binding = require"]),
])
def test_what_a_connection_string_amounts_to(home, argument, variables, wanted):
    status, ini, errors = printed(home, argument, **variables)
    assert status == 0, errors
    for line in wanted:
        assert line in ini, ini


@pytest.mark.parametrize("argument", [
    "postgres://db.example.com/app?surprise=1", "host=db.example.com surprise=1", "postgres://one:1,two:2/app", "postgres://x/a%00b",
    "postgres://x/a%2", "host='open", "host", "postgres://[::1/app", "postgres://x/pgbouncer", "postgres://x/a'b", "postgres://x/a%0Ab",
])
def test_what_is_not_understood_is_refused(home, argument):
    status, ini, errors = printed(home, argument)
    assert status == 1 and ini == "" and errors


def test_a_server_that_is_not_verified_is_refused(home):
    done = subprocess.run([within_reach(BINARY), "postgres://db.example.com/app?sslmode=require"], capture_output=True, text=True,
                          timeout=30 * SLOW, env=environment(home), **unprivileged())
    assert done.returncode == 1 and "where others can listen" in done.stderr


def test_a_password_is_wiped_from_the_list_of_processes_and_warned_about(run, cluster, home):
    port = free_port()
    process, log = run(f"--listen=:{port}", f"postgres://alice:in-the-open@127.0.0.1:{cluster.port}/app", port=port)
    with open(f"/proc/{process.pid}/cmdline") as file:
        assert "in-the-open" not in file.read()
    assert "warning: the password in the connection string is not used" in log() and "in-the-open" not in log()
