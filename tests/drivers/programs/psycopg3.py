"""psycopg 3: `psycopg3.py CASE` runs one case at the place that the environment names, and prints what it got.

Nothing that differs from run to run is printed: no pid, no OID, no time. A case makes its tables anew."""

import datetime
import decimal
import hashlib
import logging
import signal
import sys
import threading
import time
import uuid

import psycopg
from psycopg import sql
from psycopg.rows import dict_row, namedtuple_row
from psycopg.types.json import Jsonb
from psycopg.types.range import Range


def connect(**options):
    return psycopg.connect(**options)


def table(connection, name, columns):
    connection.execute(f"drop table if exists {name} cascade")
    connection.execute(f"create table {name} ({columns})")
    if not connection.autocommit:
        connection.commit()


def complain(error):
    """Every field of an error that has to be the same."""
    d = error.diag
    print(type(error).__name__, error.sqlstate, [d.severity, d.message_primary, d.message_detail, d.message_hint, d.context,
          d.statement_position, d.internal_query, d.schema_name, d.table_name, d.column_name, d.datatype_name, d.constraint_name,
          d.source_function])


def attempt(connection, *arguments):
    """Runs a statement that may fail; prints rows or error."""
    try:
        cursor = connection.execute(*arguments)
        print(cursor.statusmessage, cursor.fetchall() if cursor.description else None)
    except psycopg.Error as error:
        complain(error)


VALUES = [
    True, False, 0, 32767, -2147483648, 9223372036854775807, 1.5, float("inf"), decimal.Decimal("123456789.000000001"), "", "text",
    "ünïcödé \U0001F418 'quoted' \"\\", b"\x00\xff\x00bytes", datetime.date(2024, 2, 29), datetime.time(23, 59, 59, 999999),
    datetime.datetime(1999, 12, 31, 23, 59, 59), datetime.datetime(2038, 1, 19, tzinfo=datetime.timezone.utc),
    datetime.timedelta(days=-3, seconds=7), uuid.UUID(int=2**127 + 5), [1, 2, None, 4], [["a", "b"], ["c", None]],
    Jsonb({"a": [1, None, {"b": "ü"}]}), Range(1, 10, "[)"), None,
]


def case_values_of_all_types_as_text_and_binary():
    with connect(autocommit=True) as connection:
        for binary in (False, True):
            for value in VALUES:
                parameter = "%b" if binary and not isinstance(value, (datetime.timedelta, Jsonb)) else "%t"
                try:
                    row = connection.execute(f"select {parameter}, pg_typeof({parameter})::text", (value, value), binary=binary).fetchone()
                    print(binary, repr(row))
                except psycopg.Error as error:
                    complain(error)


def case_columns_of_all_types():
    with connect() as connection:
        for binary in (False, True):
            cursor = connection.cursor(binary=binary)
            cursor.execute("""select 1::int2, 2::int4, 3::int8, 4.5::float4, 5.5::float8, 6.70::numeric, true, 'c'::"char", 'n'::name,
                'b'::bpchar, 'v'::varchar(9), '\\x00ff'::bytea, '2020-01-02'::date, '03:04:05.6'::time, '03:04+02'::timetz,
                '2020-01-02 03:04:05'::timestamp, '2020-01-02 03:04:05+00'::timestamptz, '1 mon 2 days'::interval::text,
                '10.0.0.0/8'::cidr, '::1'::inet, '{"a":1}'::json, '[1,2]'::jsonb, '{1,NULL,3}'::int[], '{{a,b},{c,d}}'::text[],
                '[1,5)'::int4range, '{[1,2),[5,6)}'::int4multirange, 'a=>b'::text, row(1,'x'), null::text, '<a/>'::xml::text,
                '101'::bit(3), '1 2'::text, 'a'::regtype::text, to_tsvector('english', 'fat cats')::text""".replace("'a'::regtype", "'int'::regtype"))
            print([(c.name, c.type_code) for c in cursor.description])
            print(cursor.fetchall())


def case_prepared_statements_by_hand_and_by_threshold():
    with connect(autocommit=True) as connection:
        table(connection, "psycopg_prepared", "n int primary key, t text")
        for n in range(20):
            connection.execute("insert into psycopg_prepared values (%s, %s)", (n, f"row {n}"), prepare=True)
        connection.prepare_threshold = 2
        for n in range(20):
            print(connection.execute("select t from psycopg_prepared where n = %s", (n,)).fetchone())
        print(connection.execute("select count(*) from pg_prepared_statements where false").fetchone())
        attempt(connection, "select 10 / %s", (0,))
        for n in (0, 1, 0, 2):
            try:
                print(connection.execute("select 10 / %s::int", (n,), prepare=True).fetchone())
            except psycopg.Error as error:
                complain(error)


def case_more_prepared_statements_than_the_driver_keeps():
    with connect(autocommit=True) as connection:
        connection.prepared_max = 5
        for round_ in range(3):
            print([connection.execute(f"select %s::int + {n}", (round_,), prepare=True).fetchone()[0] for n in range(12)])


def case_a_table_altered_under_prepared_statements():
    with connect(autocommit=True) as connection, connect(autocommit=True) as other:
        table(connection, "psycopg_altered", "n int")
        connection.execute("insert into psycopg_altered values (1)")
        for column in ("a", "b", "c"):
            for client in (connection, other):
                print(client.execute(f"select * from psycopg_altered -- {column}", prepare=True).fetchall())
            other.execute(f"alter table psycopg_altered add {column} text default '{column}'")
        print(connection.execute("select * from psycopg_altered").fetchall())


def case_pipeline():
    with connect(autocommit=True) as connection:
        table(connection, "psycopg_piped", "n int primary key")
        with connection.pipeline() as pipeline:
            cursors = [connection.execute("insert into psycopg_piped values (%s) returning n", (n,)) for n in range(50)]
            pipeline.sync()
            counted = connection.execute("select count(*), sum(n) from psycopg_piped")
        print([cursor.fetchone()[0] for cursor in cursors], counted.fetchone())


def case_pipeline_with_an_error_in_the_middle():
    with connect(autocommit=True) as connection:
        table(connection, "psycopg_piped", "n int primary key")
        first = None
        try:
            with connection.pipeline() as pipeline:
                first = connection.execute("insert into psycopg_piped values (1) returning n")
                pipeline.sync()
                for n in (2, 1, 3):
                    connection.execute("insert into psycopg_piped values (%s)", (n,))
        except psycopg.Error as error:
            complain(error)
        print(first.fetchone(), connection.execute("select n from psycopg_piped order by n").fetchall())


def case_pipeline_in_a_transaction_with_prepared_statements():
    with connect() as connection:
        table(connection, "psycopg_piped", "n int primary key")
        with connection.pipeline():
            with connection.transaction():
                connection.cursor().executemany("insert into psycopg_piped values (%s)", [(n,) for n in range(30)])
                rows = connection.execute("select n from psycopg_piped where n %% %s = 0 order by n", (7,), prepare=True)
            print(rows.fetchall())
            try:
                with connection.transaction():
                    connection.execute("insert into psycopg_piped values (100)")
                    connection.execute("insert into psycopg_piped values (0)").fetchone()
            except psycopg.Error as error:
                complain(error)
            print(connection.execute("select max(n) from psycopg_piped").fetchone())


def case_executemany_with_returning():
    with connect(autocommit=True) as connection:
        table(connection, "psycopg_many", "n serial, t text")
        cursor = connection.cursor()
        cursor.executemany("insert into psycopg_many (t) values (%s) returning n, t", [("a",), ("b",), (None,)], returning=True)
        while True:
            print(cursor.fetchall())
            if not cursor.nextset():
                break
        try:
            cursor.executemany("select 1 / %s::int", [(1,), (0,), (2,)])
        except psycopg.Error as error:
            complain(error)


def case_copy_in_and_out():
    with connect() as connection:
        table(connection, "psycopg_copied", "n int, t text, b bytea")
        cursor = connection.cursor()
        with cursor.copy("copy psycopg_copied from stdin") as copy:
            for n in range(5000):
                copy.write_row((n, f"row {n}\t\n\\", bytes([n % 256]) * 100))
        print(cursor.rowcount, cursor.statusmessage)
        with cursor.copy("copy psycopg_copied (n, t) from stdin (format binary)") as copy:
            copy.set_types(["int4", "text"])
            for n in range(100):
                copy.write_row((n, None if n % 3 else "binary"))
        print(cursor.rowcount)
        for form in ("text", "binary", "csv"):
            with cursor.copy(f"copy (select * from psycopg_copied order by n, t) to stdout (format {form})") as copy:
                data = b"".join(bytes(part) for part in copy)
            print(form, len(data), hashlib.sha256(data).hexdigest())
        with cursor.copy("copy (select n, t from psycopg_copied order by n, t limit 3) to stdout") as copy:
            print(list(copy.rows()))
        connection.commit()
        print(connection.execute("select count(*), sum(length(b)) from psycopg_copied").fetchone())


def case_copy_that_fails():
    with connect(autocommit=True) as connection:
        table(connection, "psycopg_copied", "n int primary key")

        def copy(text, raise_=False):
            try:
                with connection.cursor().copy("copy psycopg_copied from stdin") as target:
                    target.write(text)
                    if raise_:
                        raise RuntimeError("changed my mind")
            except (psycopg.Error, RuntimeError) as error:
                complain(error) if isinstance(error, psycopg.Error) else print(error)
            print(connection.info.transaction_status.name)

        copy("1\n2\n")
        copy("3\nnot a number\n")
        copy("4\n1\n")
        copy("5\n", raise_=True)
        copy("9\n" * 200000)
        attempt(connection, "copy psycopg_copied from stdin where")
        try:
            with connection.cursor().copy("copy (select 10 / (3 - n) from generate_series(1, 5) n) to stdout") as source:
                print([bytes(part) for part in source])
        except psycopg.Error as error:
            complain(error)
        print(connection.execute("select n from psycopg_copied order by n").fetchall())


def case_server_side_cursors():
    with connect() as connection:
        with connection.cursor("scrolling", scrollable=True) as cursor:
            cursor.execute("select n from generate_series(1, 1000) n")
            cursor.itersize = 33
            print(cursor.fetchone(), cursor.fetchmany(5), sum(n for (n,) in cursor))
            cursor.scroll(10, "absolute")
            print(cursor.fetchone())
            cursor.scroll(-5)
            print(cursor.fetchmany(2))
            try:
                cursor.scroll(-500)
                print(cursor.fetchone())
            except (psycopg.Error, IndexError) as error:
                print(type(error).__name__)
        connection.commit()
        with connection.cursor("forward") as one, connection.cursor("second") as two:
            one.execute("select n from generate_series(1, 10) n where n > %s", (3,))
            two.execute("select n * 2 from generate_series(1, 10) n", binary=True)
            print([(one.fetchone(), two.fetchone()) for _ in range(5)])
            connection.commit()
            try:
                one.fetchone()
            except psycopg.Error as error:
                complain(error)
            connection.rollback()


def case_a_cursor_with_hold():
    with connect() as connection:
        with connection.cursor("held", withhold=True) as cursor:
            cursor.execute("select n from generate_series(1, 100) n")
            print(cursor.fetchmany(3))
            connection.commit()
            print(cursor.fetchmany(3))
            connection.commit()
            print(len(cursor.fetchall()))
        connection.commit()


def case_streamed_rows():
    with connect() as connection:
        total = count = 0
        for n, filler in connection.cursor().stream("select n, repeat('x', %s) from generate_series(1, 20000) n", (200,)):
            total, count = total + n, count + len(filler)
        print(total, count)
        try:
            for row in connection.cursor().stream("select 10 / (3 - n) from generate_series(1, 5) n"):
                print(row)
        except psycopg.Error as error:
            complain(error)


def case_cancel_ends_the_query_and_no_other():
    with connect(autocommit=True) as connection, connect(autocommit=True) as other:
        for _ in range(3):
            timer = threading.Timer(0.2, connection.cancel)
            timer.start()
            attempt(connection, "select pg_sleep(20)")
            timer.join()
            print(connection.execute("select 1").fetchone(), other.execute("select 2").fetchone())
        connection.cancel()
        print(connection.execute("select 3").fetchone())


def case_errors_with_all_their_fields():
    with connect(autocommit=True) as connection:
        table(connection, "psycopg_errors", "n int primary key check (n > 0), t varchar(3) not null")
        connection.execute("create or replace function psycopg_raise() returns int language plpgsql as $$ begin raise exception "
                           "using errcode = 'ZZ999', message = 'made', detail = 'the detail', hint = 'the hint', column = 'c', "
                           "constraint = 'k', datatype = 'd', table = 't', schema = 's'; end $$")
        for statement in ("selec 1", "select nothing", "select * from nowhere", "select 1/0", "select 'x'::int", "select fail('here')",
                          "insert into psycopg_errors values (1, 'a'), (1, 'b')", "insert into psycopg_errors values (0, 'a')",
                          "insert into psycopg_errors values (2, null)", "insert into psycopg_errors values (2, 'long')",
                          "select psycopg_raise()", "select psycopg_errors(1)", "savepoint s", "select $1", "drop table nowhere",
                          "create table numbers (a int)", "set nonsense = 1", "set work_mem = 'x'", "vacuum numbers"):
            attempt(connection, statement)
            print(connection.info.transaction_status.name)
        for statement, parameters in (("select %s::int", ("x",)), ("insert into psycopg_errors values (%s, %s)", (5, None)),
                                      ("select %s / %s", (1, 0)), ("select * from psycopg_errors where n = %s", ("a",))):
            attempt(connection, statement, parameters)


def case_notices():
    with connect(autocommit=True) as connection:
        connection.add_notice_handler(lambda d: print("notice", d.severity, d.sqlstate, d.message_primary, d.context))
        print(connection.execute("select remark('a' || n) from generate_series(1, 3) n").fetchall())
        connection.execute("drop table if exists psycopg_absent")
        connection.execute("commit")
        connection.execute("do $$ begin raise warning 'careful'; raise info 'told'; end $$")


def case_transactions_and_savepoints():
    with connect() as connection:
        table(connection, "psycopg_saved", "n int primary key")
        with connection.transaction():
            connection.execute("insert into psycopg_saved values (1)")
            for n in (2, 1, 3):
                try:
                    with connection.transaction(f"point {n}"):
                        connection.execute("insert into psycopg_saved values (%s)", (n,))
                        connection.execute("insert into psycopg_saved values (%s)", (n + 10,))
                except psycopg.Error as error:
                    complain(error)
            try:
                with connection.transaction():
                    connection.execute("insert into psycopg_saved values (99)")
                    raise psycopg.Rollback()
            finally:
                print(connection.info.transaction_status.name)
        print(connection.execute("select n from psycopg_saved order by n").fetchall())
        attempt(connection, "select 1/0")
        attempt(connection, "select 2")
        connection.rollback()
        attempt(connection, "select 3")
        connection.rollback()


def case_isolation_read_only_and_deferrable():
    with connect() as connection:
        connection.isolation_level = psycopg.IsolationLevel.SERIALIZABLE
        connection.read_only = True
        connection.deferrable = True
        print(connection.execute("select current_setting('transaction_isolation'), current_setting('transaction_read_only'), "
                                 "current_setting('transaction_deferrable')").fetchone())
        attempt(connection, "create table psycopg_never (n int)")
        connection.rollback()
        connection.isolation_level = connection.read_only = connection.deferrable = None
        print(connection.execute("select current_setting('transaction_isolation'), current_setting('transaction_read_only')").fetchone())


def case_two_phase_commit_that_is_off():
    with connect(autocommit=True) as connection:
        connection.execute("begin")
        attempt(connection, "prepare transaction 'psycopg'")
        attempt(connection, "select 1")


def case_many_short_clients():
    answers, failures = [], []

    def client(number):
        try:
            for turn in range(5):
                with connect() as connection:
                    answers.append(connection.execute("select %s::int * 10 + %s", (number, turn)).fetchone()[0])
        except psycopg.Error as error:
            failures.append(error)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(25)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    print(failures, sorted(answers))


def case_many_clients_with_transactions():
    with connect(autocommit=True) as connection:
        table(connection, "psycopg_account", "n int primary key, amount int")
        connection.execute("insert into psycopg_account select n, 100 from generate_series(0, 9) n")
    failures = []

    def client(number):
        with connect() as connection:
            for turn in range(10):
                try:
                    with connection.transaction():
                        low, high = sorted({(number + turn) % 10, (number + turn + 3) % 10})
                        connection.execute("update psycopg_account set amount = amount - 1 where n = %s", (low,))
                        connection.execute("update psycopg_account set amount = amount + 1 where n = %s", (high,))
                        if turn == 5:
                            raise psycopg.Rollback()
                except psycopg.Error as error:
                    failures.append(str(error))

    threads = [threading.Thread(target=client, args=(number,)) for number in range(12)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    with connect() as connection:
        print(failures, connection.execute("select sum(amount), count(*) from psycopg_account").fetchone())


def case_large_rows_and_parameters():
    with connect(autocommit=True) as connection:
        table(connection, "psycopg_large", "n int, b bytea, t text")
        for size in (1000, 16383, 65536, 1 << 20, 20 << 20):
            for binary in (False, True):
                row = connection.execute("insert into psycopg_large values (%s, %b, %s) returning length(b), length(t), md5(t)",
                                         (size, b"\x00\xff" * (size // 2), "é" * size), binary=binary).fetchone()
                print(row)
        for n, b, t in connection.execute("select n, b, t from psycopg_large order by n", binary=True):
            print(n, len(b), b == b"\x00\xff" * (n // 2), t == "é" * n)
        connection.execute("drop table psycopg_large")


def case_many_columns_and_many_parameters():
    with connect() as connection:
        print(len(connection.execute(sql.SQL("select ") + sql.SQL(", ").join(sql.Literal(n) for n in range(1600))).fetchone()))
        numbers = list(range(30000))
        print(sum(connection.execute("select " + " + ".join(["%s::int8"] * 2000), numbers[:2000]).fetchone()))
        print(connection.execute("select sum(n) from unnest(%s::int8[]) n", (numbers,)).fetchone())
        attempt(connection, "select " + ", ".join(["%s"] * 1700), numbers[:1700])


def case_several_statements_in_one_string():
    with connect(autocommit=True) as connection:
        cursor = connection.execute("select 1; select 2 as two, 3; create table if not exists psycopg_multi (n int); values ('x'), ('y')")
        while True:
            print(cursor.statusmessage, cursor.fetchall() if cursor.description else None)
            if not cursor.nextset():
                break
        attempt(connection, "select 1; select 1/0; select 2")


def case_rows_as_dicts_and_tuples():
    with connect(row_factory=dict_row) as connection:
        print(connection.execute("select n, t from numbers where n < 4 order by n").fetchall())
        print(connection.cursor(row_factory=namedtuple_row).execute("select 1 as a, 2 as b").fetchall())


def case_composite_enum_and_registered_types():
    with connect(autocommit=True) as connection:
        connection.execute("drop type if exists psycopg_mood, psycopg_pair cascade")
        connection.execute("create type psycopg_mood as enum ('sad', 'happy')")
        connection.execute("create type psycopg_pair as (n int, mood psycopg_mood)")
        from psycopg.types.composite import CompositeInfo, register_composite
        from psycopg.types.enum import EnumInfo, register_enum

        register_enum(EnumInfo.fetch(connection, "psycopg_mood"), connection)
        register_composite(CompositeInfo.fetch(connection, "psycopg_pair"), connection)
        for binary in (False, True):
            print(connection.execute("select 'happy'::psycopg_mood, row(1, 'sad')::psycopg_pair, array['sad']::psycopg_mood[]", binary=binary).fetchone())


def case_client_encoding_and_tracked_settings():
    with connect(autocommit=True, client_encoding="latin1", application_name="first") as connection, connect() as other:
        print(connection.info.encoding, connection.execute("select 'é', length('é')").fetchone(), other.info.encoding)
        connection.execute("set time zone 'Asia/Tokyo'")
        connection.execute("set datestyle = 'German'")
        connection.execute("set application_name = 'second'")
        print(connection.info.timezone, connection.info.parameter_status("DateStyle"), connection.info.parameter_status("application_name"))
        for _ in range(4):
            print(connection.execute("select '2020-01-02 00:00+00'::timestamptz::text, current_setting('application_name')").fetchone(),
                  other.execute("select '2020-01-02 00:00+00'::timestamptz::text, current_setting('application_name')").fetchone())
            other.commit()
        connection.execute("set client_encoding = 'utf8'")
        print(connection.info.encoding, connection.execute("select '日本'").fetchone())


def case_settings_that_no_server_reports():
    with connect(autocommit=True) as connection, connect(autocommit=True) as other:
        connection.execute("set work_mem = '7MB'")
        connection.execute("set search_path = pg_catalog")
        connection.execute("set statement_timeout = '100ms'")
        for _ in range(4):
            print(connection.execute("select current_setting('work_mem'), current_setting('search_path')").fetchone(),
                  other.execute("select current_setting('work_mem'), current_setting('search_path')").fetchone())
        attempt(connection, "select pg_sleep(5)")
        print(other.execute("select pg_sleep(0.3)").fetchone())
        connection.execute("reset all")
        print(connection.execute("select current_setting('work_mem'), current_setting('search_path')").fetchone())


def case_settings_in_the_startup_packet():
    with connect(options="-c search_path=pg_catalog -c statement_timeout=12345 -c work_mem=9MB", autocommit=True) as connection, \
            connect(autocommit=True) as other:
        for _ in range(3):
            for client in (connection, other):
                print(client.execute("select current_setting('work_mem'), current_setting('search_path'), "
                                     "current_setting('statement_timeout')").fetchone())
    for options in ("-c work_mem=nonsense", "-c nonsense=1"):
        try:
            connect(options=options)
        except psycopg.Error as error:
            print(str(error).splitlines()[-1].split("FATAL")[-1])


def case_a_local_setting_ends_with_its_transaction():
    with connect() as connection:
        connection.execute("set local work_mem = '5MB'")
        print(connection.execute("select current_setting('work_mem')").fetchone())
        connection.commit()
        print(connection.execute("select current_setting('work_mem')").fetchone())
        connection.execute("select set_config('work_mem', '6MB', true)")
        connection.rollback()
        print(connection.execute("select current_setting('work_mem')").fetchone())


def case_temporary_tables():
    with connect(autocommit=True) as connection, connect(autocommit=True) as other:
        connection.execute("create temporary table psycopg_temporary (n int)")
        for n in range(4):
            connection.execute("insert into psycopg_temporary values (%s)", (n,))
            attempt(other, "select n from psycopg_temporary")
            print(connection.execute("select n from psycopg_temporary order by n").fetchall())
        connection.execute("drop table psycopg_temporary")


def case_temporary_table_of_a_transaction():
    with connect() as connection:
        connection.execute("create temporary table psycopg_temporary (n int) on commit drop")
        connection.execute("insert into psycopg_temporary values (1), (2)")
        print(connection.execute("select n from psycopg_temporary order by n").fetchall())
        connection.commit()
        attempt(connection, "select n from psycopg_temporary")


def case_session_advisory_locks():
    with connect(autocommit=True) as connection, connect(autocommit=True) as other:
        print(connection.execute("select pg_advisory_lock(4711)").fetchone())
        for _ in range(3):
            print(other.execute("select pg_try_advisory_lock(4711)").fetchone())
        print(connection.execute("select pg_advisory_unlock(4711)").fetchone())
        print(other.execute("select pg_try_advisory_lock(4711)").fetchone(), other.execute("select pg_advisory_unlock(4711)").fetchone())


def case_sql_prepare_and_execute():
    with connect(autocommit=True) as connection, connect(autocommit=True) as other:
        connection.execute("prepare psycopg_plan (int) as select $1 * 2")
        for n in range(4):
            print(connection.execute(f"execute psycopg_plan ({n})").fetchone())
            attempt(other, "execute psycopg_plan (1)")
        connection.execute("deallocate psycopg_plan")
        attempt(connection, "execute psycopg_plan (1)")


def case_deallocate_all_and_discard_all():
    with connect(autocommit=True) as connection:
        for statement in ("deallocate all", "discard plans", "discard all"):
            attempt(connection, "select 1")
            try:
                print(connection.execute("select %s::int", (1,), prepare=True).fetchone())
                connection.execute(statement)
                print(connection.execute("select %s::int", (2,), prepare=True).fetchone())
            except psycopg.Error as error:  # the driver does not know that its statement is gone
                complain(error)
            attempt(connection, "select 3")


def case_listen_and_notify():
    signal.alarm(10)  # waiting for notifications has no deadline of its own
    with connect(autocommit=True) as listener, connect(autocommit=True) as sender:
        listener.execute("listen psycopg_channel")
        for n in range(3):
            sender.execute("select pg_notify('psycopg_channel', %s)", (f"number {n}",))
        notifications = listener.notifies()
        print([(n.channel, n.payload) for n in (next(notifications), next(notifications), next(notifications))])
        notifications.close()
        listener.execute("notify psycopg_channel, 'own'")
        notifications = listener.notifies()
        print(next(notifications).payload)
        notifications.close()
        listener.execute("unlisten *")


def case_large_objects():
    with connect() as connection:
        (oid,) = connection.execute("select lo_from_bytea(0, %s)", (b"large" * 1000,)).fetchone()
        print(connection.execute("select length(lo_get(%s)), lo_get(%s, 5, 5)", (oid, oid)).fetchone())
        (descriptor,) = connection.execute("select lo_open(%s, 131072)", (oid,)).fetchone()
        print(connection.execute("select loread(%s, 10)", (descriptor,)).fetchone())
        connection.execute("select lo_unlink(%s)", (oid,))


def case_asynchronous_connections():
    import asyncio

    async def work(number):
        async with await psycopg.AsyncConnection.connect(autocommit=True) as connection:
            rows = []
            for n in range(5):
                cursor = await connection.execute("select %s::int + %s", (number, n), prepare=True)
                rows.append((await cursor.fetchone())[0])
            async with connection.transaction():
                await connection.execute("select pg_sleep(0.01)")
            return rows

    async def main():
        for rows in await asyncio.gather(*(work(number) for number in range(12))):
            print(rows)

    asyncio.run(main())


def case_a_client_that_leaves_in_a_transaction():
    with connect(autocommit=True) as connection:
        table(connection, "psycopg_left", "n int primary key")
        for n in range(6):
            leaver = connect()
            leaver.execute("insert into psycopg_left values (1)")
            leaver.pgconn.finish()
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and connection.execute("select count(*) from pg_locks where relation = 'psycopg_left'::regclass and mode = 'RowExclusiveLock'").fetchone()[0]:
            time.sleep(0.02)
        print(connection.execute("select count(*) from psycopg_left").fetchone())


def case_refused_logins():
    for options in ({"password": "wrong"}, {"user": "nobody", "password": "x"}, {"dbname": "absent"}):
        try:
            connect(**options).execute("select 1")
        except psycopg.OperationalError as error:
            print("authentication failed" in str(error) or str(error).split("FATAL:")[-1].strip())


if __name__ == "__main__":
    logging.disable()  # what psycopg warns of depends on how much it has read by then
    for name in sys.argv[1:]:
        globals()["case_" + name]()
