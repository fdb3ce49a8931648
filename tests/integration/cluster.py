"""A throwaway PostgreSQL: made from a template once, copied for tests that break theirs, with TLS, every kind of login, a
Unix socket, and a log that tests can read.

Roles, each with the password NAME-secret: alice and bob (SCRAM), mdfive (md5), clear (cleartext), open (trust, no password),
certified (TLS client certificate), tlsonly and plainonly (SCRAM, one way of connecting), limited (SCRAM, CONNECTION LIMIT 8),
nologin. Databases: app (with the tables and functions below) and other."""

import os
import re
import shutil
import signal
import subprocess

import psycopg

from waiting import accepts, await_that, free_port, give_away, unprivileged

BIN = os.environ.get("PGWEIR_POSTGRES_BIN", "/usr/lib/postgresql/15/bin")

SETTINGS = """
fsync = off
synchronous_commit = off
full_page_writes = off
autovacuum = off
shared_buffers = 64MB
max_connections = 400
superuser_reserved_connections = 10
password_encryption = scram-sha-256
log_connections = on
log_disconnections = on
log_line_prefix = '%m [%p] %e %u@%d %x '
timezone = 'UTC'
log_timezone = 'UTC'
lc_messages = 'C'
logging_collector = off
"""

HBA = """
local     all postgres                trust
local     all open                    trust
local     all all                     scram-sha-256
host      all postgres   all          trust
host      all open       all          trust
host      all mdfive     all          md5
host      all clear      all          password
hostssl   all certified  all          cert
hostssl   all tlsonly    all          scram-sha-256
hostnossl all plainonly  all          scram-sha-256
host      all tlsonly    all          reject
host      all plainonly  all          reject
host      all all        all          scram-sha-256
"""

ROLES = """
create role alice login password 'alice-secret';
create role bob login password 'bob-secret';
create role clear login password 'clear-secret';
create role open login;
create role certified login;
create role tlsonly login password 'tlsonly-secret';
create role plainonly login password 'plainonly-secret';
create role limited login password 'limited-secret' connection limit 8;
create role nologin password 'nologin-secret';
set password_encryption to 'md5';
create role mdfive login password 'mdfive-secret';
create database app;
create database other;
"""

OBJECTS = """
grant all on schema public to public;
create table numbers (n int primary key, t text);
insert into numbers select g, 'number ' || g from generate_series(1, 1000) g;
create unlogged table copied (n int, t text);
create unlogged table written (n int primary key, t text);
create function fail(t text) returns text language plpgsql volatile as $$ begin raise exception 'failed %', t; end $$;
create function remark(t text) returns text language plpgsql volatile as $$ begin raise notice 'remark %', t; return t; end $$;
grant all on numbers, copied, written to public;
"""


class Cluster:
    """One PostgreSQL. `port`, `socket_directory`; start(), stop(), kill() may be called again and again."""

    def __init__(self, template, directory, port=None):
        self.template, self.directory = template, directory
        self.data = os.path.join(directory, "data")
        self.socket_directory = os.path.join(directory, "socket")
        self.log_path = os.path.join(directory, "postgresql.log")
        self.port = port or free_port()
        self.process = None
        os.makedirs(self.socket_directory, mode=0o755)
        give_away(directory, self.socket_directory)
        subprocess.run(["cp", "-a", template.data, self.data], check=True)

    def start(self, await_it=True):
        log = open(self.log_path, "ab")
        self.process = subprocess.Popen(
            [os.path.join(BIN, "postgres"), "-D", self.data, "-p", str(self.port), "-k", self.socket_directory],
            stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True, cwd=self.directory, **unprivileged())
        log.close()
        if await_it:
            self.await_ready()
        return self

    def await_ready(self):
        def ready():
            assert self.process.poll() is None, "PostgreSQL did not start:\n" + self.log()
            try:
                self.connect().close()
                return True
            except psycopg.OperationalError:
                return False

        await_that(ready, 30, "PostgreSQL accepts connections")

    def stop(self, how=signal.SIGINT):
        """SIGINT: fast shutdown; SIGQUIT: immediate; SIGTERM: smart."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(how)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise AssertionError("PostgreSQL did not stop:\n" + self.log()[-3000:])
        self.process = None

    def crash(self):
        """Immediate shutdown: every backend is told to quit without clean-up, as after a power cut."""
        self.stop(signal.SIGQUIT)

    def connect(self, user="postgres", dbname="app", **options):
        """A psycopg connection to PostgreSQL itself, without the pooler, in autocommit."""
        options.setdefault("host", "127.0.0.1")
        options.setdefault("sslmode", "disable")
        options.setdefault("password", user + "-secret")
        return psycopg.connect(port=self.port, user=user, dbname=dbname, autocommit=True, connect_timeout=10, **options)

    def run(self, sql, dbname="app"):
        """Runs SQL as the superuser; the rows of the last statement, if it has any."""
        with self.connect(dbname=dbname) as connection:
            cursor = connection.execute(sql)
            return cursor.fetchall() if cursor.description else None

    def backends(self, condition="backend_type = 'client backend' and usename <> 'postgres'"):
        """pids of the server processes of clients (the superuser's own are left out)."""
        return sorted(row[0] for row in self.run(f"select pid from pg_stat_activity where {condition}"))

    def log(self):
        with open(self.log_path, errors="replace") as file:
            return file.read()

    def log_mark(self):
        return os.path.getsize(self.log_path) if os.path.exists(self.log_path) else 0

    def log_since(self, mark):
        with open(self.log_path, "rb") as file:
            file.seek(mark)
            return file.read().decode(errors="replace")

    def logins_since(self, mark, user=None):
        return len(re.findall(r"connection authorized: user=" + (user or r"(?!postgres)\w+"), self.log_since(mark)))

    def destroy(self):
        try:
            self.stop(signal.SIGQUIT)
        finally:
            shutil.rmtree(self.directory, ignore_errors=True)


class Template:
    """A data directory with roles and tables, made once a session; clusters are copies of it."""

    def __init__(self, directory, certificates):
        self.directory, self.data = directory, os.path.join(directory, "data")
        os.makedirs(directory, exist_ok=True)
        give_away(directory)
        self.command([os.path.join(BIN, "initdb"), "-D", self.data, "-U", "postgres", "-A", "trust", "--no-sync",
                      "-E", "UTF8", "--locale=C.UTF-8"])
        with open(os.path.join(self.data, "postgresql.conf"), "a") as file:
            file.write(SETTINGS)
            file.write("listen_addresses = '127.0.0.1,127.0.0.2,::1'\nssl = on\n")
            file.write(f"ssl_cert_file = '{certificates.certificate('server')}'\n")
            file.write(f"ssl_key_file = '{certificates.key('server')}'\nssl_ca_file = '{certificates.ca}'\n")
        with open(os.path.join(self.data, "pg_hba.conf"), "w") as file:
            file.write(HBA)
        self.single(ROLES, "postgres")
        self.single(OBJECTS, "app")

    def command(self, arguments, text=None):
        done = subprocess.run(arguments, input=text, text=True, capture_output=True, cwd=self.directory, **unprivileged())
        assert done.returncode == 0, f"{arguments[0]}: {done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def single(self, sql, database):
        statements = "".join(line.replace("\n", " ") + "\n" for line in re.split(r"(?<=;)\n", sql) if line.strip())
        output = self.command([os.path.join(BIN, "postgres"), "--single", "-D", self.data, database], statements)
        assert "ERROR" not in output, output


def await_port(port, seconds=10):
    await_that(lambda: accepts(port), seconds, f"port {port} accepts")


