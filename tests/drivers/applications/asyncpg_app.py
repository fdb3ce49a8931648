"""asyncpg: `asyncpg_app.py CASE` runs one case and prints what it got."""

import asyncio
import datetime
import os
import ssl
import sys

import asyncpg

CONTEXT = ssl.create_default_context(cafile=os.environ["PGSSLROOTCERT"])


async def connect(**options):
    return await asyncpg.connect(ssl=CONTEXT, **options)


async def attempt(work):
    try:
        print(await work)
    except asyncpg.PostgresError as error:
        print(type(error).__name__, error.sqlstate, error.message)


async def case_types_and_statements():
    connection = await connect()
    print(dict(await connection.fetchrow(
        "select $1::int a, $2::text b, $3::timestamptz c, $4::numeric d, $5::int[] e, $6::jsonb f, $7::bytea g", 1, "ü",
        datetime.datetime(2020, 1, 2, tzinfo=datetime.timezone.utc), 5, [1, None], '{"a": 1}', b"\0\xff")))
    statement = await connection.prepare("select $1::int * 2")
    print([await statement.fetchval(n) for n in range(10)], statement.get_parameters(), statement.get_attributes())
    await attempt(connection.fetchval("select 1 / $1::int", 0))
    await attempt(connection.fetch("select * from nowhere"))
    print([await connection.fetchval(f"select {n} + $1::int", 1) for n in range(150)][-1])  # more than its cache holds
    await connection.close()


async def case_transactions_and_cursors():
    connection = await connect()
    await connection.execute("drop table if exists asyncpg_t; create table asyncpg_t (id int primary key)")
    async with connection.transaction():
        await connection.execute("insert into asyncpg_t select generate_series(1, 1000)")
        async with connection.transaction():
            print(sum([row["id"] async for row in connection.cursor("select id from asyncpg_t")]))
        try:
            async with connection.transaction():
                await connection.execute("insert into asyncpg_t values (1)")
        except asyncpg.UniqueViolationError as error:
            print(error.constraint_name)
    async with connection.transaction(isolation="serializable", readonly=True, deferrable=True):
        await attempt(connection.execute("delete from asyncpg_t"))
    print(await connection.fetchval("select count(*) from asyncpg_t"))
    await connection.close()


async def case_copy_and_executemany():
    connection = await connect()
    await connection.execute("drop table if exists asyncpg_c; create table asyncpg_c (a int, b text)")
    print(await connection.copy_records_to_table("asyncpg_c", records=[(n, f"t{n}") for n in range(5000)]))
    await connection.executemany("insert into asyncpg_c values ($1, $2)", [(n, None) for n in range(2000)])
    print(await connection.fetchrow("select count(*), count(b), sum(a) from asyncpg_c"))
    await connection.close()


async def case_a_table_altered_under_statements():
    one, two = await connect(), await connect()
    await one.execute("drop table if exists asyncpg_a; create table asyncpg_a (a int); insert into asyncpg_a values (1)")
    for connection in (one, two):
        print([tuple(row) for row in await connection.fetch("select * from asyncpg_a")])
    await one.execute("alter table asyncpg_a add b text default 'new'")
    for connection in (one, two):
        print([tuple(row) for row in await connection.fetch("select * from asyncpg_a")])
    await one.close()
    await two.close()


async def case_pool_with_reset():
    async with asyncpg.create_pool(ssl=CONTEXT, min_size=1, max_size=6) as pool:
        async def work(n):
            async with pool.acquire() as connection, connection.transaction():
                return await connection.fetchval("select $1::int + 1", n)
        print(await asyncio.gather(*(work(n) for n in range(200))))


async def case_server_settings():
    connection = await connect(server_settings={"search_path": "pg_catalog", "statement_timeout": "4321", "jit": "off"})
    for _ in range(2):
        print([await connection.fetchval(f"show {name}") for name in ("search_path", "statement_timeout", "jit")])
    await connection.close()


async def case_listen_and_notify():
    listener, sender, heard = await connect(), await connect(), asyncio.Queue()
    await listener.add_listener("asyncpg_channel", lambda _, pid, channel, payload: heard.put_nowait((channel, payload)))
    for n in range(5):
        await sender.execute(f"notify asyncpg_channel, 'n{n}'")
    print([await asyncio.wait_for(heard.get(), 10) for _ in range(5)])
    await listener.close()
    await sender.close()


async def case_cancel_by_timeout():
    connection = await connect()
    for _ in range(3):
        try:
            await connection.execute("select pg_sleep(60)", timeout=0.2)
        except asyncio.TimeoutError:
            print("timeout", await connection.fetchval("select 1"))
    await connection.close()


if __name__ == "__main__":
    asyncio.run(globals()["case_" + sys.argv[1]]())
