"""Where scripts are played: a PostgreSQL, a pooler, and a database for each way of getting there, all alike."""

import os
import subprocess
import tempfile
import time

from certificates import Certificates
from cluster import Cluster, Template
from compare import difference
from peer import Closed, Peer, Refused, Silence
from play import Pooled, Reference
from pooler import Pooler

TABLES = """
alter default privileges in schema public grant all on tables to public;
create table shared (a int, b text);
insert into shared values (1, 'one'), (2, 'two');
create schema "It's";
grant usage on schema "It's" to public;
alter table shared owner to open;
""" + "".join(f"create table written{n} (n int primary key, t text); create sequence counter{n}; grant all on written{n}, counter{n} to public;"
              for n in (1, 2, 3, 4))

CLEAN = "begin; delete from written1; delete from written2; delete from written3; delete from written4; commit"
RENEW = ("drop table if exists shared; create table shared (a int, b text); insert into shared values (1, 'one'), (2, 'two'); "
         "alter table shared owner to open; grant all on shared to public")
COUNTERS = "select " + ", ".join(f"setval('counter{n}', 1, false)" for n in (1, 2, 3, 4))


class Postgres:
    """The PostgreSQL of a fuzzing run, in a directory of its own."""

    def __init__(self):
        self.directory = tempfile.mkdtemp(prefix="pgweir-fuzz-")
        os.chmod(self.directory, 0o755)
        certificates = Certificates(os.path.join(self.directory, "tls"))
        self.cluster = Cluster(Template(os.path.join(self.directory, "template"), certificates),
                               os.path.join(self.directory, "cluster")).start()
        self.cluster.run("grant alice to open")
        self.cluster.run(TABLES)

    def destroy(self):
        self.cluster.destroy()
        subprocess.run(["rm", "-rf", self.directory], check=True)


class Stage:
    """One lane: plays scripts one after another. `sizes`: of the pools."""

    def __init__(self, cluster, directory, lane, sizes=(1, 2), options=None, binary=None):
        self.cluster, self.directory, self.lane, self.sizes = cluster, directory, lane, sizes
        self.options, self.binary = options or {}, binary
        self.parked, self.admins, self.pooler = [], {}, None
        self.ways = ["direct"] + [f"pool{size}" for size in sizes]
        for way in self.ways:
            cluster.run(f"create database {self.database(way)} template app", "postgres")
            self.admins[way] = self.superuser(way)
        self.restart()

    def database(self, way):
        return f"lane{self.lane}_{way}"

    def superuser(self, way):
        return self.direct(way, "postgres")

    def direct(self, way, user, **parameters):
        path = os.path.join(self.cluster.socket_directory, f".s.PGSQL.{self.cluster.port}")
        return Peer(path, 30).login(user, None, self.database(way), **parameters)

    def restart(self):
        """A pooler that knows nothing of what was before."""
        self.stop()
        server = f"host=127.0.0.1 port={self.cluster.port} user=open"
        databases = {f"pool{size}": f"{server} dbname={self.database(f'pool{size}')} pool_size={size}" for size in self.sizes}
        options = {"auth_type": "trust", "worker_threads": 2, "query_wait_notify": 0, "max_prepared_statements": 5,
                   "server_login_retry": 1, **self.options}
        if self.binary:
            options["binary"] = self.binary
        self.pooler = Pooler(os.path.join(self.directory, f"pooler{self.lane}"), self.cluster, databases=databases, **options)

    def stop(self):
        if self.pooler is not None:
            pooler, self.pooler = self.pooler, None
            pooler.destroy()

    def park(self, peer):
        """A direct connection at rest is made like new, and used again."""
        answers = peer.ask(b"Q\0\0\0\x10discard all\0")
        if len(self.parked) < 4 and answers[-1].body == b"I" and not any(answer.type == "E" for answer in answers):
            self.parked.append(peer)
        else:
            peer.close()

    def open_direct(self, number, parameters):
        if not parameters and self.parked:
            return self.parked.pop()
        return self.direct("direct", "open", **parameters)

    def prepare(self, way, script):
        text = repr(script.steps)
        commands = [CLEAN] + ([RENEW] if "alter table" in text or "drop table shared" in text else [])
        commands += [COUNTERS] if "counter" in text else []
        for command in commands:
            answers = self.admins[way].ask(b"Q" + (len(command) + 5).to_bytes(4, "big") + command.encode() + b"\0")
            assert not any(answer.type == "E" for answer in answers), answers

    def reference(self, script):
        self.prepare("direct", script)
        socket_path = os.path.join(self.cluster.socket_directory, f".s.PGSQL.{self.cluster.port}")
        run = Reference(script, self.park, self.open_direct, socket_path)
        try:
            return run.play()
        finally:
            run.close()
            self.renew("direct", script)

    def pooled(self, script, reference, size):
        way = f"pool{size}"
        self.prepare(way, script)

        def open_pooled(number, parameters):
            peer = Peer(self.pooler.address, 10)
            return peer.login("open", None, way, **parameters)

        run = Pooled(script, reference, size, open_pooled, self.pooler.address)
        try:
            return run.play()
        finally:
            run.close()
            self.renew(way, script)

    def renew(self, way, script):
        text = repr(script.steps)
        if "alter table" in text or "drop table shared" in text:
            self.prepare(way, script)

    def differs(self, script, sizes=None, strict=False):
        """None, or a text that says where the pools' answers are not PostgreSQL's."""
        reference = self.reference(script)
        for size in sizes or self.sizes:
            if size < script.width:
                continue
            found = difference(reference, self.pooled(script, reference, size), strict)
            if found:
                return f"pool of {size}: {found}"
            if self.pooler.process.poll() is not None:
                return f"pool of {size}: the pooler has ended\n" + self.pooler.log()[-2000:]
        return None

    def renew_after_crash(self):
        """True: PostgreSQL itself had crashed (some scripts make version 15 do so), and is there again."""
        try:
            for admin in self.admins.values():
                admin.ask(b"Q\0\0\0\x05\0")
            return False
        except (Closed, Silence, OSError):
            pass
        for peer in [*self.parked, *self.admins.values()]:
            peer.close()
        self.parked, deadline = [], time.monotonic() + 60
        while True:
            try:
                self.admins = {way: self.superuser(way) for way in self.ways}
                break
            except (Closed, Refused, OSError):
                assert time.monotonic() < deadline, "PostgreSQL does not come back"
                time.sleep(0.1)
        self.restart()
        return True

    def destroy(self):
        try:
            self.stop()
        finally:
            for peer in [*self.parked, *self.admins.values()]:
                peer.close()
