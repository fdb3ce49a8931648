"""Makes scripts from a seed. What each feature contributes stands in one table, so that --without leaves it out whole."""

import random
import re

from script import Script

CHANNELS = ("news", "Other Channel")
NAMES = ("", "", "s1", "s2", "s3", "n" * 63 + "a", "n" * 63 + "b", "PGBOUNCER_1")
PORTALS = ("", "", "", "p1", "p2")

# (text, number of parameters). {c}: the client's number; {n}: a small random number.
BASIC = [
    ("select 1", 0), ("select 'client {c}'", 0), ("select {n} as a, 'x' as b, null as c", 0), ("select $1::int + 1", 1),
    ("select $1::text || $2::text", 2), ("select n, t from numbers where n = $1", 1), ("select n from numbers where n <= {n}", 0),
    ("select remark('r{n}')", 0), ("insert into written{c} values ({n}, 'a')", 0), ("insert into written{c} values ($1, $2)", 2),
    ("update written{c} set t = 'b' where n = {n} returning n, t", 0), ("delete from written{c} where n < {n}", 0),
    ("select n, t from written{c} order by n", 0), ("", 0), (";; -- nothing", 0), ("select from numbers where n <= 2", 0),
    ("select repeat('x{c}', 9000)", 0), ("select g from generate_series(1, 700) g", 0), ("values (1), (2), (3)", 0),
    ("select a, b from shared order by a", 0), ("table shared", 0), ("select a from shared where a = $1", 1),
]
ERRORS = [
    ("select 1/0", 0), ("selec", 0), ("select * from nowhere", 0), ("select nothing from numbers", 0), ("select fail('f{n}')", 0),
    ("select 100 / (3 - n) from numbers where n <= 5 order by n", 0), ("select $1::int / 0", 1), ("select 1; selec", 0),
    ("select '\udcff\udcfe'", 0), ("insert into written{c} values (1, 'a'), (1, 'b')", 0),
]
STRINGS = [
    "select 1; select 2", "select {n}; select 1/0; select 3", "begin; select 1; commit", "begin; select {n}", "commit; select 1; begin",
    "insert into written{c} values ({n}, 'z'); select 1/0", "begin; select 1/0; rollback", "select 1; begin; select 2; rollback; select 3",
]
TRANSACTION = [
    "begin", "begin", "begin", "commit", "commit", "rollback", "savepoint a", "rollback to a", "release a", "savepoint \"B\"",
    "begin isolation level serializable", "begin read only", "commit and chain", "rollback and chain", "end", "abort", "start transaction",
    "set transaction isolation level repeatable read", "set transaction read only", "prepare transaction 'x'", "show transaction_isolation",
]
SETTINGS = [
    "set datestyle = 'German'", "set datestyle = 'SQL, DMY'", "set timezone = 'Asia/Tokyo'", "set timezone to 'Europe/Rome'", "reset datestyle",
    "reset timezone", "set application_name = 'client {c} {n}'", "show application_name", "show datestyle", "show timezone",
    "select date '2024-02-29'", "select '2024-02-03 04:05+00'::timestamptz", "select '01/02/2024'::date", "set datestyle = 'no such'",
    "set local datestyle = 'German'", "set local timezone = 'Asia/Tokyo'", "select set_config('application_name', 'by function', false)",
    "select set_config('TimeZone', 'Asia/Tokyo', true)", "set application_name to default", "set standard_conforming_strings = off",
    r"select 'a\\b'", "reset standard_conforming_strings", "set client_encoding = 'LATIN1'", "reset client_encoding", "select length('é')",
]
PRIVATE = [
    "set work_mem = '{n}MB'", "show work_mem", "reset work_mem", "set search_path = pg_catalog", "show search_path", "reset search_path",
    "set role open", "set role alice", "select current_user, session_user", "reset role", "set session authorization default",
    "set default_transaction_read_only = on", "reset default_transaction_read_only", "set extra_float_digits = -3", "select pi()",
    "set my.custom = 'c{c}'", "select nullif(current_setting('my.custom', true), '')", "set statement_timeout = '{n}min'", "show statement_timeout",
    "set lock_timeout = 1000", "reset all", "discard all", "set intervalstyle = 'iso_8601'", "select interval '1 day 2 hours'",
    "set local work_mem = '7MB'", "select set_config('search_path', '', false)", "set search_path to 'public', 'it''s'",
    "set enable_seqscan = off", "show enable_seqscan", "set bytea_output = 'escape'", r"select '\x00ff'::bytea", "set session characteristics as transaction read only",
    "show default_transaction_read_only", "set plan_cache_mode = force_generic_plan", "set default_transaction_isolation = 'serializable'",
]
SQL_PREPARE = [
    "prepare q1 as select $1::int + {n}", "execute q1(41)", "prepare q2 as select 'of {c}'", "execute q2", "deallocate q1", "deallocate q2",
    "deallocate all", "execute s1", "deallocate s1", "deallocate s2", "discard plans", "prepare s1 as select 'sql s1'", "deallocate prepare s3",
]
CURSORS = [
    "declare c cursor for select n from numbers order by n", "fetch {n} from c", "move 2 from c", "close c", "fetch backward 1 from c",
    "declare c cursor for selec", "close all", "fetch all from p1",
]
HELD = ["declare h cursor with hold for select n from numbers where n < 9 order by n", "fetch 2 from h", "close h", "fetch 1 from h"]
TEMPORARY = [
    "create temp table t{n} (a int)", "create temp table t1 as select 1 as a", "insert into t1 values ({n})", "select count(*) from t1",
    "drop table t1", "discard temp", "begin; create temp table t2 (a int) on commit drop; insert into t2 values (1); commit",
    "select to_regclass('pg_temp.t1') is null",
]
LOCKS = [
    "select pg_advisory_lock({c})", "select pg_advisory_unlock({c})", "select pg_advisory_xact_lock({c}0)", "select pg_try_advisory_lock({c})",
    "select pg_advisory_unlock_all()", "select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()",
]
SEQUENCES = ["select nextval('counter{c}')", "select currval('counter{c}')", "select lastval()", "discard sequences"]
LISTENING = ["listen news", "listen \"Other Channel\"", "unlisten news", "unlisten *"]
NOTIFYING = ["notify news, 'of {c} {n}'", "select pg_notify('Other Channel', '{c} {n}')", "notify news"]
ALTERING = [
    "alter table shared alter column b type int using 0", "alter table shared alter column b type text using 'x'",
    "alter table shared add column c int default {n}", "drop table shared; create table shared (a int, b text); insert into shared values ({n}, 'new')",
]
BLOCKS = ["do $$ begin perform set_config('work_mem', '9MB', false); end $$", "do $$ begin raise notice 'in a block'; end $$"]
LOOKING = [
    "select current_user", "show work_mem", "show search_path", "select to_regclass('pg_temp.t1') is null",
    "select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()", "select name from pg_prepared_statements where from_sql",
    "select name from pg_cursors", "show default_transaction_read_only", "select nullif(current_setting('my.custom', true), '')", "fetch 1 from h",
    "show lock_timeout", "show statement_timeout", "show extra_float_digits", "show timezone", "show application_name", "show enable_seqscan",
]
STARTUP = {
    "application_name": ("it", "client's"), "DateStyle": ("German, DMY", "SQL"), "TimeZone": ("Asia/Tokyo",),
    "client_encoding": ("LATIN1", "UTF8"), "search_path": ("pg_catalog", "public, \"It's\""), "statement_timeout": ("5min", "60000"),
    "extra_float_digits": ("2", "-3"), "work_mem": ("5MB", "nonsense"), "options": ("-c work_mem=6MB", "-c lock_timeout=9s --enable_seqscan=off"),
    "default_transaction_read_only": ("on",),
}

# Feature: (weight of one of its statements among all, its texts). Extended statements take theirs from the same texts.
STATEMENTS = {
    "basic": (30, BASIC), "errors": (7, ERRORS), "transactions": (18, TRANSACTION), "strings": (5, STRINGS), "settings": (8, SETTINGS),
    "private": (10, PRIVATE), "prepare": (7, SQL_PREPARE), "cursors": (4, CURSORS), "held": (1.5, HELD), "temporary": (2, TEMPORARY),
    "locks": (2, LOCKS), "sequences": (1, SEQUENCES), "listen": (3, LISTENING), "notify": (3, NOTIFYING), "alter": (1.5, ALTERING),
    "blocks": (0.5, BLOCKS), "looking": (3, LOOKING),
}
# Feature: weight of one of its steps among all.
STEPS = {"simple": 40, "extended": 45, "copy": 10, "function": 2, "cancel": 0.7, "leave": 2.5}
FEATURES = (*STATEMENTS, *STEPS, "startup", "flush", "late", "pipeline", "portals", "racing", "rebind", "isolation",
            "sync_in_copy", "parting", "named_sql")
# Where answers are known to differ (README.md says how); left out unless --with asks for them.
KNOWN = ("rebind", "isolation", "sync_in_copy", "named_sql", "parting")
SQL_NAMES = re.compile(r"^(execute|deallocate|prepare|discard (all|plans))")  # names of the protocol and of SQL are the same
# With "parting" a client does what leaves something in its session only as its last step, as suits session_state=reset: the
# others look for it.
TOUCHING = re.compile(r"^(set (?!local|transaction)|reset|discard|prepare|declare h|create temp|begin; create temp|listen|do )"
                      r"|set_config\(.*false|advisory_lock|try_advisory|nextval")



class Generator:
    """Scripts of a seed. `without`: features left out."""

    def __init__(self, seed, without=(), clients=(1, 2, 3, 4)):
        self.random = random.Random(seed)
        self.without, self.clients = set(without), clients
        self.statements = {name: entry for name, entry in STATEMENTS.items() if name not in self.without}
        self.steps = {name: weight for name, weight in STEPS.items() if name not in self.without}
        if "parting" not in self.without:
            self.steps["leave"] = 15

    def has(self, feature, chance):
        return feature not in self.without and self.random.random() < chance

    def pick(self, weights):
        return self.random.choices(list(weights), [w[0] if isinstance(w, tuple) else w for w in weights.values()])[0]

    def statement(self, client):
        """(text, number of parameters). A few features a script: their statements meet more often."""
        entry = self.random.choice(self.texts(self.pick(self.chosen)))
        text, parameters = entry if isinstance(entry, tuple) else (entry, 0)
        return text.replace("{c}", str(client)).replace("{n}", str(self.random.randint(1, 6))), parameters

    def texts(self, feature):
        texts = STATEMENTS[feature][1]
        if "parting" in self.without:
            return texts
        kept = [text for text in texts if isinstance(text, tuple) or not TOUCHING.search(text)]
        return kept if len(kept) == len(texts) else kept + LOOKING + ["select pg_listening_channels()"]

    def choose_features(self):
        """The features that this script is about."""
        always = {"basic", "errors", "transactions"}
        self.chosen = {name: entry for name, entry in self.statements.items() if name in always or self.random.random() < 0.3}
        self.chosen = self.chosen or self.statements

    def script(self):
        self.choose_features()
        number = self.random.choice(self.clients)
        width = 2 if number > 2 and self.random.random() < 0.3 and not {"alter", "notify", "listen"} & set(self.chosen) else 1
        startup = {client: self.startup() for client in range(1, number + 1) if self.has("startup", 0.1)}
        shares = {"alter", "notify", "listen"} & set(self.chosen)
        self.known = {client: {} for client in range(1, number + 1)}
        self.is_unnamed_parsed, self.unnamed = False, dict.fromkeys(self.known)  # true: the client may bind it in a later batch
        self.gone, self.unsynced, steps = set(), set(), []
        for _ in range(self.random.randint(2, 5 + 4 * number)):
            alive = [client for client in self.known if client not in self.gone]
            if not alive:
                break
            client = self.random.choice(alive)
            steps.extend((client, messages) for messages in self.step(client) if messages)
        steps = steps or [(1, [["Q", "select 1"]])]
        return Script(steps, width, not shares and not any(startup.values()) and width == 1 and self.has("racing", 0.6), startup)

    def startup(self):
        names = self.random.sample(sorted(STARTUP), self.random.randint(1, 2))
        return {name: self.random.choice(STARTUP[name]) for name in names}

    def step(self, client):
        kind = self.pick(self.steps)
        return getattr(self, "step_" + kind)(client)

    # Steps. Each gives the messages of one write, or of several.

    def step_simple(self, client):
        count = self.random.choice((1, 1, 1, 2, 3)) if "pipeline" not in self.without else 1
        return [[["Q", self.statement(client)[0]] for _ in range(count)]]

    def step_extended(self, client):
        if client not in self.unsynced and self.has("basic", 0.08):
            return [self.parse_for_later(client)]
        units = self.random.choice((1, 1, 1, 2, 3)) if "pipeline" not in self.without else 1
        messages = []
        for _ in range(units):
            self.is_unnamed_parsed = False
            for _ in range(self.random.randint(1, 3)):
                messages += self.unit(client)
            messages.append(["S"])
            if self.has("simple", 0.08):
                messages.append(["Q", self.statement(client)[0]])
        if self.has("flush", 0.08):
            messages[-1:] = [["H"]] if self.random.random() < 0.7 else []
            self.unsynced.add(client)
        else:
            self.unsynced.discard(client)
        if self.random.random() < 0.15:  # in two writes
            cut = self.random.randint(0, len(messages))
            return [messages[:cut], messages[cut:]]
        return [messages]

    def parse_for_later(self, client):
        """An unnamed statement by itself: pgweir keeps it for the batches to come."""
        text, parameters = self.statement(client)
        while not self.may_parse("by itself", text) or "\udcff" in text:  # found/unnamed-parse-with-invalid-bytes
            text, parameters = self.statement(client)
        self.known[client][""], self.unnamed[client] = parameters, True
        return [["P", "", text]] + ([["D", "S", ""]] if self.random.random() < 0.5 else []) + [["S"]]

    def may_parse(self, name, text):
        if "isolation level" in text and "isolation" in self.without:
            return False
        return not name or "named_sql" not in self.without or not SQL_NAMES.search(text)

    def must_parse(self, client, name):
        """The unnamed statement of an earlier batch that was bound in its own batch is not kept (feature "rebind")."""
        return name == "" and "rebind" in self.without and not self.is_unnamed_parsed and not self.unnamed[client]

    def unit(self, client):
        """A piece of an extended batch: a statement from Parse to Close, or only some of that."""
        known, messages = self.known[client], []
        name, portal = self.random.choice(NAMES), self.random.choice(PORTALS)
        shape = self.random.random()
        must = self.must_parse(client, name)
        if shape < 0.55 or name not in known or must:
            text, parameters = self.statement(client)
            while not self.may_parse(name, text):
                text, parameters = self.statement(client)
            if must or self.random.random() < 0.93:
                known[name] = parameters
                messages.append(["P", name, text])
                if not name:
                    self.is_unnamed_parsed, self.unnamed[client] = True, False
            if name and self.random.random() < 0.25:
                messages.insert(0, ["C", "S", name])
        if self.random.random() < 0.2:
            messages.append(["D", "S", name])
        if shape > 0.1:
            messages += self.run(portal, name, known.get(name, 0))
        if self.has("flush", 0.08):
            messages.append(["H"])
        if self.random.random() < 0.12:
            messages.append(["C", "S", name] if self.random.random() < 0.6 else ["C", "P", portal])
        return messages

    def run(self, portal, name, parameters):
        values = [self.random.choice(("1", "2", "7", "x", None)) if self.random.random() < 0.3 else "5" for _ in range(parameters)]
        if self.random.random() < 0.03:
            values.append("9")
        messages = [["B", portal, name, values]]
        if self.random.random() < 0.03:
            messages = []
        if self.random.random() < 0.4:
            messages.append(["D", "P", portal])
        if self.has("portals", 0.15):
            messages += [["E", portal, self.random.randint(1, 3)]] * self.random.randint(1, 3)
        messages.append(["E", portal, 0])
        return messages

    def step_copy(self, client):
        if self.random.random() < 0.35:
            sql = self.random.choice(("copy (select n from numbers where n < 4) to stdout", "copy numbers to stdout",
                                      "copy (select 1/(3-n) from numbers where n < 6 order by n) to stdout", "copy nowhere to stdout"))
            self.unnamed[client] = False
            return self.cut([["Q", sql]] if self.random.random() < 0.6 else [["P", "", sql], ["B", "", "", []], ["E", "", 0], ["S"]])
        return self.cut(self.copy_in(client))

    def copy_in(self, client):
        self.unnamed[client] = False
        sql = self.random.choice(("copy written{c} from stdin", "copy written{c} from stdin", "copy nowhere from stdin")).replace("{c}", str(client))
        is_simple = self.random.random() < 0.5
        messages = [["Q", sql]] if is_simple else [["P", "", sql], ["B", "", "", []], ["E", "", 0]]
        if not is_simple and self.random.random() < 0.5:
            messages.append(["S"])
        data = [["d", f"{self.random.randint(1, 99)}\ta\n"] for _ in range(self.random.randint(0, 3))]
        if self.random.random() < 0.15:
            data.append(["d", "no number\tx\n"])
        if not is_simple and self.has("late", 0.15) and (not data or "sync_in_copy" not in self.without):
            data.insert(self.random.randint(0, len(data)), ["S"])
        end = [["c"]] if self.random.random() < 0.75 else [["f", "changed my mind"]]
        messages += data + end
        if not is_simple:
            messages.append(["S"])
        if self.has("late", 0.1):
            messages.append(self.random.choice((["d", "1\tlate\n"], ["c"], ["f", "late"])))
        if self.has("pipeline", 0.4):
            messages.append(["Q", self.statement(client)[0]])
        return messages

    def cut(self, messages):
        """Messages in one write, or in several."""
        if self.random.random() < 0.5:
            return [messages]
        at = sorted(self.random.randint(0, len(messages)) for _ in range(2))
        return [messages[: at[0]], messages[at[0] : at[1]], messages[at[1] :]]

    def step_function(self, client):
        return [[["F", *self.random.choice(((871, ["abc"]), (871, [None]), (1, []), (870, ["ABC"])))]]]

    def step_cancel(self, client):
        sql = "select pg_sleep(20)"
        shape = self.random.choice(([["Q", sql]], [["P", "", sql], ["B", "", "", []], ["E", "", 0], ["S"]], [["Q", "select 1"], ["Q", sql]]))
        if client in self.unsynced:  # of a batch that failed everything is skipped: there would be nothing to cancel
            shape = [["S"]] + shape
            self.unsynced.discard(client)
        return [shape + [["cancel"]]]

    def step_leave(self, client):
        self.gone.add(client)
        if "parting" not in self.without:
            return self.part(client)
        before = self.step_extended(client)[0] if self.random.random() < 0.3 else []
        return [before + [["leave", self.random.choice(("terminate", "fin", "rst"))]]]

    def part(self, client):
        """Leaves something behind, for others to look for."""
        texts = [text for name in self.chosen for text in STATEMENTS[name][1] if isinstance(text, str) and TOUCHING.search(text)]
        text = self.random.choice(texts or PRIVATE).replace("{c}", str(client)).replace("{n}", str(self.random.randint(1, 6)))
        last = [["Q", text]] if self.random.random() < 0.6 else [["P", "", text], ["B", "", "", []], ["E", "", 0], ["S"]]
        return [last, [["leave", self.random.choice(("terminate", "fin"))]]]
