// postgres.js: `node postgres_js.mjs CASE` runs one case at the place that the environment names, and prints what it got.
// Nothing that differs from run to run is printed. A case makes its tables anew.

import { readFileSync } from "node:fs";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import postgres from "postgres";

function connect(options = {}) {
  return postgres({
    host: process.env.PGHOST, ssl: { ca: readFileSync(process.env.PGSSLROOTCERT) }, max: 1, fetch_types: false,
    onnotice: () => {}, ...options,
  });
}

async function withClients(count, work, options) {
  const clients = Array.from({ length: count }, () => connect(options));
  try {
    await work(...clients);
  } finally {
    await Promise.all(clients.map((sql) => sql.end({ timeout: 5 })));
  }
}

const FIELDS = ["severity", "code", "message", "detail", "hint", "position", "where", "schema_name", "table_name", "column_name",
  "type_name", "constraint_name", "routine"];

const complain = (error) => console.log(JSON.stringify(FIELDS.map((field) => error[field] ?? null)));

async function attempt(query) {
  try {
    const result = await query;
    console.log(result.command, result.count, JSON.stringify(result));
  } catch (error) {
    complain(error);
  }
}

async function table(sql, name, columns) {
  await sql.unsafe(`drop table if exists ${name} cascade; create table ${name} (${columns})`);
}

async function case_types() {
  await withClients(1, async (sql) => {
    await attempt(sql`select 1::int2 a, 2::int4 b, 3::int8 c, 4.5::float4 d, 5.5::float8 e, 6.70::numeric f, true g, 'x'::text h,
      '\\x00ff'::bytea i, '2020-01-02T03:04:05Z'::timestamptz j, '{"a":[1,null]}'::jsonb k, '{1,2,NULL}'::int[] l, null m`);
    await attempt(sql`select ${1}::int a, ${"ünï 🐘"}::text b, ${null}::text c, ${true}::bool d, ${new Date(0)}::timestamptz e,
      ${Buffer.from([0, 255])}::bytea f, ${sql.json({ a: 1 })}::jsonb g`);
    await attempt(sql`select * from ${sql("numbers")} where n in ${sql([1, 2, 3])} order by n`);
  });
}

async function case_types_that_are_fetched() {
  await withClients(1, async (sql) => {
    await attempt(sql`select '{1,2}'::int[] as a, '{a,b}'::text[] as b, '{2020-01-02}'::date[] as c`);
  }, { fetch_types: true });
}

async function case_statements_prepared_by_themselves() {
  await withClients(2, async (one, two) => {
    for (let n = 0; n < 12; n++) for (const sql of [one, two]) await attempt(sql`select ${n}::int * 2 as d`);
    for (const n of [0, 1, 0, 2]) await attempt(one`select 10 / ${n}::int as q`);
    await attempt(one`select nothing`);
    await attempt(one`select nothing`);
  });
}

async function case_unprepared_and_simple() {
  await withClients(1, async (sql) => {
    for (let n = 0; n < 5; n++) await attempt(sql`select ${n}::int as n`);
    await attempt(sql.unsafe("select $1::int as n", [7]));
    await attempt(sql.unsafe("select $1::int as n", [8], { prepare: true }));
    await attempt(sql`select 1 as a; select 2 as b`.simple());
    await attempt(sql`select 1; select 1/0`.simple());
  }, { prepare: false });
}

async function case_describe_first() {
  await withClients(1, async (sql) => {
    const description = await sql`select ${1}::int as a, 'x'::text as b`.describe();
    console.log(JSON.stringify([description.types, description.columns.map((column) => [column.name, column.type])]));
    await attempt(sql`select ${5}::int as a, 'x'::text as b`);
  });
}

async function case_pipelined_queries() {
  await withClients(2, async (one, two) => {
    const results = await Promise.all(Array.from({ length: 100 }, (_, n) => (n % 2 ? one : two)`select ${n}::int as n`));
    console.log(results.map((rows) => rows[0].n).join());
    const settled = await Promise.allSettled([1, 0, 2, 0, 5].map((n) => one`select 10 / ${n}::int as q`));
    console.log(settled.map((s) => s.reason?.code ?? s.value[0].q).join());
  });
}

async function case_transactions_with_savepoints() {
  await withClients(1, async (sql) => {
    await table(sql, "js_saved", "n int primary key");
    const result = await sql.begin(async (sql) => {
      await sql`insert into js_saved values (1)`;
      await sql.savepoint(async (sql) => {
        await sql`insert into js_saved values (2)`;
        await sql`insert into js_saved values (1)`;
      }).catch(complain);
      await sql.savepoint((sql) => sql`insert into js_saved values (3)`);
      return sql`select n from js_saved order by n`;
    });
    console.log(JSON.stringify(result));
    await sql.begin("isolation level serializable read only", (sql) => sql`insert into js_saved values (9)`).catch(complain);
    await sql.begin(async (sql) => {
      await sql`insert into js_saved values (5)`;
      throw new Error("changed my mind");
    }).catch((error) => console.log(error.message));
    console.log(JSON.stringify(await sql.begin((sql) => [sql`insert into js_saved values (6)`, sql`select max(n) from js_saved`])));
    await attempt(sql`select n from js_saved order by n`);
  });
}

async function case_cursors() {
  await withClients(1, async (sql) => {
    let batches = [];
    await sql`select n from generate_series(1, 100) n`.cursor(30, (rows) => void batches.push(rows.length));
    console.log(batches.join());
    for await (const rows of sql`select n from generate_series(1, 1000) n`.cursor(10)) if (rows[0].n > 50) break;
    await attempt(sql`select 'after' as a`);
    try {
      for await (const rows of sql`select 10 / (25 - n) as q from generate_series(1, 100) n`.cursor(10)) console.log(rows.length);
    } catch (error) {
      complain(error);
    }
  });
}

async function case_each_row_by_itself() {
  await withClients(1, async (sql) => {
    let sum = 0;
    await sql`select n from generate_series(1, 20000) n`.forEach((row) => void (sum += row.n));
    console.log(sum);
  });
}

async function case_copy_in_and_out() {
  await withClients(1, async (sql) => {
    await table(sql, "js_copied", "n int primary key, t text");
    const lines = Array.from({ length: 20000 }, (_, n) => `${n}\trow ${n}\n`);
    await pipeline(Readable.from(lines), await sql`copy js_copied from stdin`.writable());
    await attempt(sql`select count(*)::int, sum(length(t))::int from js_copied`);
    let bytes = 0;
    for await (const chunk of await sql`copy js_copied to stdout`.readable()) bytes += chunk.length;
    console.log(bytes);
    await attempt(sql`select count(*)::int from js_copied`);
  });
}

async function case_cancel() {
  await withClients(2, async (one, two) => {
    for (let turn = 0; turn < 3; turn++) {
      const query = one`select pg_sleep(20)`;
      setTimeout(() => query.cancel(), 200);
      await attempt(query);
      await attempt(one`select 1 as a`);
      await attempt(two`select 2 as b`);
    }
  });
}

async function case_errors_with_all_their_fields() {
  await withClients(1, async (sql) => {
    await table(sql, "js_errors", "n int primary key check (n > 0), t varchar(3) not null");
    await attempt(sql`selec 1`);
    await attempt(sql`select * from nowhere`);
    await attempt(sql`select fail('here')`);
    await attempt(sql`insert into js_errors values (1, 'a'), (1, 'b')`);
    await attempt(sql`insert into js_errors ${sql([{ n: 0, t: "a" }])}`);
    await attempt(sql`insert into js_errors ${sql([{ n: 1, t: null }])}`);
    await attempt(sql`insert into js_errors ${sql([{ n: 1, t: "long" }])}`);
    await attempt(sql`select ${"x"}::int`);
    await attempt(sql`select 'alive' as a`);
  });
}

async function case_many_short_clients() {
  const numbers = await Promise.all(Array.from({ length: 50 }, async (_, n) => {
    const sql = connect();
    const [row] = await sql`select ${n}::int as n`;
    await sql.end();
    return row.n;
  }));
  console.log(numbers.join());
}

async function case_a_pool_with_many_queries() {
  await withClients(1, async (sql) => {
    const rows = await Promise.all(Array.from({ length: 300 }, (_, n) => (n % 3 ? sql`select ${n}::int as n` : sql.begin((sql) => sql`select ${n}::int as n`))));
    console.log(rows.map(([row]) => row.n).join());
  }, { max: 10 });
}

async function case_large_rows_and_parameters() {
  await withClients(1, async (sql) => {
    for (const size of [1000, 16384, 70000, 3 << 20, 16 << 20]) {
      const [row] = await sql`select ${"é".repeat(size / 2)}::text as t, ${Buffer.alloc(size, 7)}::bytea as b`;
      console.log(row.t.length, row.b.length, row.b.every((byte) => byte === 7));
    }
  });
}

async function case_settings_in_the_startup_packet() {
  await withClients(2, async (one, two) => {
    for (const sql of [one, two])
      await attempt(sql`select current_setting('statement_timeout') t, current_setting('search_path') s, current_setting('application_name') a`);
  }, { connection: { statement_timeout: 4321, search_path: "pg_catalog", application_name: "js program" } });
}

async function case_listen_and_notify() {
  await withClients(2, async (listener, sender) => {
    const got = [];
    const { unlisten } = await listener.listen("js_channel", (payload) => got.push(payload));
    for (let n = 0; n < 3; n++) await sender.notify("js_channel", `number ${n}`);
    for (const deadline = Date.now() + 5000; got.length < 3 && Date.now() < deadline; ) await new Promise((done) => setTimeout(done, 10));
    console.log(got.join());
    await unlisten();
  });
}

async function case_temporary_tables() {
  await withClients(2, async (one, two) => {
    await one`create temporary table js_temporary (n int)`;
    for (let n = 0; n < 3; n++) {
      await one`insert into js_temporary values (${n})`;
      await attempt(two`select n from js_temporary`);
    }
    await attempt(one`select n from js_temporary order by n`);
  });
}

for (const name of process.argv.slice(2)) await eval(`case_${name}`)();
