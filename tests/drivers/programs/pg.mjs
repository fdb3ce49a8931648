// pg (node-postgres): `node pg.mjs CASE` runs one case at the place that the environment names, and prints what it got.
// Nothing that differs from run to run is printed. A case makes its tables anew.

import { readFileSync } from "node:fs";
import net from "node:net";
import tls from "node:tls";
import pg from "pg";

const settings = { ssl: { ca: readFileSync(process.env.PGSSLROOTCERT) } };

async function connect(options = {}) {
  const client = new pg.Client({ ...settings, ...options });
  client.on("error", (error) => console.log("lost:", error.message));
  await client.connect();
  return client;
}

async function withClients(count, work, options) {
  const clients = [];
  try {
    for (let n = 0; n < count; n++) clients.push(await connect(options));
    await work(...clients);
  } finally {
    await Promise.all(clients.map((client) => client.end()));
  }
}

const FIELDS = ["severity", "code", "message", "detail", "hint", "position", "where", "schema", "table", "column", "dataType",
  "constraint", "routine"];

const complain = (error) => console.log(JSON.stringify(FIELDS.map((field) => error[field] ?? null)));

async function attempt(client, ...query) {
  try {
    const result = await client.query(...query);
    console.log(result.command, result.rowCount, JSON.stringify(result.rows));
  } catch (error) {
    complain(error);
  }
}

async function table(client, name, columns) {
  await client.query(`drop table if exists ${name} cascade; create table ${name} (${columns})`);
}

async function case_types_in_text_and_binary() {
  const text = `select 1::int2 a, 2::int4 b, 3::int8 c, 4.5::float4 d, 5.5::float8 e, 6.70::numeric f, true g, 'x'::text h,
    '\\x00ff'::bytea i, '2020-01-02T03:04:05Z'::timestamptz j, '{"a":[1,null]}'::jsonb k, '{1,2,NULL}'::int[] l, null m,
    '1 day 02:00'::interval n, '{{a,b},{c,d}}'::text[] o, '(1,2)'::point p`;
  await withClients(1, async (client) => {
    for (const binary of [false, true]) {
      try {
        const result = await client.query({ text, binary });
        console.log(JSON.stringify(result.rows), JSON.stringify(result.fields.map((f) => [f.name, f.dataTypeID, f.format])));
      } catch (error) {
        complain(error);
      }
    }
    await attempt(client, { text: "select 1 as a, 'x' as b, 2 as a", rowMode: "array" });
  });
}

async function case_parameters_of_many_types() {
  await withClients(1, async (client) => {
    const values = [1, "text", null, true, 1.5, new Date(0), Buffer.from([0, 255]), [1, 2], { a: 1 }, "ünï 🐘", ""];
    const types = ["int", "text", "text", "bool", "float8", "timestamptz", "bytea", "int[]", "jsonb", "text", "text"];
    await attempt(client, `select ${types.map((type, n) => `$${n + 1}::${type} as c${n}`).join(", ")}`, values);
    await attempt(client, "select $1::int", ["x"]);
    await attempt(client, "select $1", [undefined]);
  });
}

async function case_named_statements() {
  await withClients(2, async (one, two) => {
    for (let n = 0; n < 10; n++) {
      for (const client of [one, two]) {
        await attempt(client, { name: "double", text: "select $1::int * 2 as d", values: [n] });
        await attempt(client, { name: client === one ? "mine" : "yours", text: `select '${client === one}' as w` });
      }
    }
    await attempt(one, { name: "wrong", text: "select nothing" });
    await attempt(one, { name: "wrong", text: "select 1 as right" });
    await attempt(one, { name: "fails", text: "select 10 / $1::int as q", values: [0] });
    await attempt(one, { name: "fails", text: "select 10 / $1::int as q", values: [5] });
  });
}

async function case_a_table_altered_under_named_statements() {
  await withClients(2, async (one, two) => {
    await table(one, "pg_altered", "n int");
    await one.query("insert into pg_altered values (1)");
    const query = { name: "all", text: "select n from pg_altered" };
    for (const type of ["bigint", "text", "int using n::int"]) {
      await attempt(one, query);
      await attempt(two, query);
      await one.query(`alter table pg_altered add filler text; alter table pg_altered drop filler`);
      await attempt(two, { text: `alter table pg_altered alter n set default 7 /* ${type} */` });
    }
    await attempt(one, query);
  });
}

async function case_queries_queued_without_waiting() {
  await withClients(2, async (one, two) => {
    const answers = await Promise.all(Array.from({ length: 60 }, (_, n) => (n % 2 ? one : two).query("select $1::int as n", [n])));
    console.log(answers.map((result) => result.rows[0].n).join());
    const settled = await Promise.allSettled([1, 0, 2].map((n) => one.query("select 10 / $1::int as q", [n])));
    console.log(settled.map((s) => s.reason?.code ?? s.value.rows[0].q).join());
  });
}

async function case_transactions_with_savepoints() {
  await withClients(1, async (client) => {
    await table(client, "pg_saved", "n int primary key");
    for (const statement of ["begin", "insert into pg_saved values (1)", "savepoint a", "insert into pg_saved values (1)", "select 1",
      "rollback to a", "insert into pg_saved values (2)", "release a", "commit", "begin isolation level serializable read only",
      "show transaction_isolation", "insert into pg_saved values (3)", "commit", "select n from pg_saved order by n"])
      await attempt(client, statement);
  });
}

async function case_several_statements_in_one_string() {
  await withClients(1, async (client) => {
    const results = await client.query("select 1 as a; select 2 as b; values (3), (4)");
    console.log(results.map((result) => JSON.stringify(result.rows)).join());
    await attempt(client, "select 1; select 1/0; select 2");
    await attempt(client, "");
    await attempt(client, "select 1; select $1", [1]);
  });
}

async function case_errors_with_all_their_fields() {
  await withClients(1, async (client) => {
    await table(client, "pg_errors", "n int primary key check (n > 0), t varchar(3) not null");
    for (const [text, values] of [["selec 1"], ["select nothing"], ["select * from nowhere"], ["select 1/0"], ["select fail('here')"],
      ["insert into pg_errors values (1, 'a'), (1, 'b')"], ["insert into pg_errors values ($1, $2)", [0, "a"]],
      ["insert into pg_errors values ($1, $2)", [1, null]], ["insert into pg_errors values ($1, $2)", [1, "long"]],
      ["select $1::int", ["x"]], ["select $1, $2", [1]], ["savepoint s"], ["set nonsense = 1"], ["vacuum numbers"]])
      await attempt(client, text, values);
    await attempt(client, "select 'alive' as a");
  });
}

async function case_a_pool_with_many_short_clients() {
  const pool = new pg.Pool({ ...settings, max: 20, idleTimeoutMillis: 1 });
  const sums = await Promise.all(Array.from({ length: 200 }, async (_, n) => (await pool.query("select $1::int as n", [n])).rows[0].n));
  console.log(sums.join());
  await pool.end();
  const numbers = await Promise.all(Array.from({ length: 60 }, async (_, n) => {
    const client = await connect();
    const { rows } = await client.query("select $1::int as n", [n]);
    await client.end();
    return rows[0].n;
  }));
  console.log(numbers.join());
}

async function case_transactions_at_the_same_time() {
  const pool = new pg.Pool({ ...settings, max: 10 });
  await pool.query("drop table if exists pg_account; create table pg_account (n int, amount int); insert into pg_account select n, 0 from generate_series(0, 4) n");
  await Promise.all(Array.from({ length: 40 }, async (_, n) => {
    const client = await pool.connect();
    try {
      await client.query("begin");
      await client.query("update pg_account set amount = amount + $1 where n = $2", [n, n % 5]);
      await client.query(n % 4 ? "commit" : "rollback");
    } finally {
      client.release();
    }
  }));
  console.log(JSON.stringify((await pool.query("select n, amount from pg_account order by n")).rows));
  await pool.end();
}

async function case_large_rows_and_parameters() {
  await withClients(1, async (client) => {
    for (const size of [1000, 16384, 70000, 3 << 20, 16 << 20]) {
      const { rows } = await client.query("select $1::text as t, $2::bytea as b, md5($1) as m", ["é".repeat(size / 2), Buffer.alloc(size, 7)]);
      console.log(rows[0].t === "é".repeat(size / 2), rows[0].b.length, rows[0].b.every((byte) => byte === 7), rows[0].m);
    }
    const many = await client.query("select n, repeat('x', n % 1000) as t from generate_series(1, 30000) n");
    console.log(many.rows.length, many.rows.reduce((sum, row) => sum + row.t.length, 0));
  });
}

// pg has no cancel of its own over TLS: SSLRequest, then CancelRequest inside.
async function cancel(client) {
  const socket = net.connect(Number(process.env.PGPORT), process.env.PGHOST);
  socket.write(Buffer.from([0, 0, 0, 8, 4, 210, 22, 47]));
  await new Promise((done) => socket.once("data", done));
  const secure = tls.connect({ socket, servername: process.env.PGHOST, ...settings.ssl });
  const request = Buffer.from([0, 0, 0, 16, 4, 210, 22, 46, 0, 0, 0, 0, 0, 0, 0, 0]);
  request.writeInt32BE(client.processID, 8);
  request.writeInt32BE(client.secretKey, 12);
  secure.on("error", () => {});
  secure.write(request);
  await new Promise((done) => secure.once("close", done).resume());
}

async function case_cancel() {
  await withClients(2, async (client, other) => {
    for (let turn = 0; turn < 3; turn++) {
      const running = attempt(client, "select pg_sleep(20)");
      await new Promise((done) => setTimeout(done, 200));
      await cancel(client);
      await running;
      await attempt(client, "select 1 as a");
      await attempt(other, "select 2 as b");
    }
  });
}

async function case_statement_timeout_of_the_driver() {
  await withClients(1, async (client) => {
    await attempt(client, "select pg_sleep(10)");
    await attempt(client, "select 1 as alive");
  }, { statement_timeout: 150 });
}

async function case_settings_in_the_startup_packet() {
  await withClients(2, async (one, two) => {
    for (const client of [one, two])
      await attempt(client, "select current_setting('lock_timeout') l, current_setting('search_path') s, current_setting('application_name') a");
  }, { lock_timeout: 4321, options: "-c search_path=pg_catalog", application_name: "pg program" });
}

async function case_settings_of_a_session() {
  await withClients(2, async (one, two) => {
    await one.query("set search_path to pg_catalog; set work_mem = '6MB'; set time zone 'Asia/Tokyo'");
    for (let turn = 0; turn < 3; turn++)
      for (const client of [one, two])
        await attempt(client, "select current_setting('work_mem') w, current_setting('search_path') s, current_setting('timezone') t");
  });
}

async function case_listen_and_notify() {
  await withClients(2, async (listener, sender) => {
    const got = [];
    listener.on("notification", ({ channel, payload }) => got.push(`${channel}:${payload}`));
    await listener.query("listen pg_channel");
    for (let n = 0; n < 3; n++) await sender.query("select pg_notify('pg_channel', $1)", [`number ${n}`]);
    for (const deadline = Date.now() + 5000; got.length < 3 && Date.now() < deadline; ) await new Promise((done) => setTimeout(done, 10));
    console.log(got.join());
    await listener.query("unlisten *");
  });
}

async function case_session_advisory_locks() {
  await withClients(2, async (one, two) => {
    await attempt(one, "select pg_advisory_lock(815)");
    for (let turn = 0; turn < 3; turn++) await attempt(two, "select pg_try_advisory_lock(815) as got");
    await attempt(one, "select pg_advisory_unlock(815) as unlocked");
    await attempt(two, "select pg_try_advisory_lock(815) as got");
    await attempt(two, "select pg_advisory_unlock(815) as unlocked");
  });
}

async function case_notices() {
  await withClients(1, async (client) => {
    client.on("notice", ({ severity, code, message }) => console.log(severity, code, message));
    await attempt(client, "select remark('a' || n) as r from generate_series(1, 3) n");
    await attempt(client, "do $$ begin raise warning 'careful'; end $$");
  });
}

async function case_refused_logins() {
  for (const options of [{ password: "wrong" }, { user: "nobody", password: "x" }, { database: "absent" }])
    try {
      const client = await connect(options);
      await client.query("select 1");
    } catch (error) {
      console.log(error.code);
    }
}

for (const name of process.argv.slice(2)) await eval(`case_${name}`)();
