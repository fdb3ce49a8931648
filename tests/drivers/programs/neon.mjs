// The unmodified driver @neondatabase/serverless over HTTP; what it gives is held against pg over a socket. One case a run; ends
// with status 1 and the reason when something differs.
import assert from 'node:assert/strict';
import { neon, neonConfig, NeonDbError } from '@neondatabase/serverless';
import pg from 'pg';

const { PGUSER, PGPASSWORD, PGDATABASE, PGPORT, HTTP_PORT } = process.env;
const url = (password = PGPASSWORD, parameters = '') =>
  `postgresql://${PGUSER}:${password}@localhost:${PGPORT}/${PGDATABASE}?sslmode=require&channel_binding=require${parameters}`;
neonConfig.fetchEndpoint = () => `https://localhost:${HTTP_PORT}/sql`;

async function withSocket(use) {
  const client = new pg.Client({ ssl: { rejectUnauthorized: false } });
  await client.connect();
  try {
    return await use(client);
  } finally {
    await client.end();
  }
}

// Each of the two has its own copy of the classes of intervals, dates and the like.
const plain = (rows) => JSON.parse(JSON.stringify(rows));

const cases = {
  async values() {
    const sql = neon(url());
    const text = `select 1 as i, 2::int8 as l, 1.5::float8 as f, 'NaN'::float8 as n, 3.25::numeric as d, true as b, null as z, 'ä"\\' as t,
      '{"a":[1,null]}'::jsonb as j, '{1,null}'::int[] as a, '{a,"b c"}'::text[] as s, '\\x00ff'::bytea as y, '2026-11-30 12:00:00+00'::timestamptz as w,
      '2026-11-30'::date as e, '1 day 02:00'::interval as v, '(1,2)'::point as p, '127.0.0.1/8'::inet as h, '{"{\\"x\\":1}"}'::json[] as k`;
    const expected = await withSocket((client) => client.query(text));
    assert.deepEqual(plain(await sql.query(text)), plain(expected.rows));
    const full = await sql.query(text, [], { fullResults: true });
    assert.deepEqual(full.fields.map(({ name, dataTypeID }) => [name, dataTypeID]), expected.fields.map(({ name, dataTypeID }) => [name, dataTypeID]));
    assert.deepEqual([full.command, full.rowCount], ['SELECT', 1]);
  },

  async parameters() {
    const sql = neon(url(), { arrayMode: true });
    const values = ['x', 7, 1.5, true, null, { a: [1, '"'] }, ['a', null, 'b "c"'], Buffer.from([0, 255]), new Date(0)];
    const text = 'select $1::text, $2::int, $3::float8, $4::bool, $5::int, $6::jsonb, $7::text[], $8::bytea, $9::timestamptz';
    const expected = await withSocket((client) => client.query({ text, values, rowMode: 'array' }));
    assert.deepEqual(plain(await sql.query(text, values)), plain(expected.rows));
    const one = 5;
    assert.deepEqual(await neon(url())`select ${one}::int + ${2} as sum`, [{ sum: 7 }]);
  },

  async transactions() {
    const sql = neon(url());
    await sql`create table if not exists neon_rows (a int unique)`;
    await sql`truncate neon_rows`;
    const [inserted, rows] = await sql.transaction([sql`insert into neon_rows values (1) returning a`, sql`select * from neon_rows`]);
    assert.deepEqual([inserted, rows], [[{ a: 1 }], [{ a: 1 }]]);
    await assert.rejects(sql.transaction([sql`insert into neon_rows values (2)`, sql`insert into neon_rows values (1)`]), { code: '23505' });
    assert.deepEqual(await sql`select count(*)::int as n from neon_rows`, [{ n: 1 }]);
    const shown = await sql.transaction((tx) => [tx`show transaction_isolation`, tx`show transaction_read_only`, tx`show transaction_deferrable`],
      { isolationLevel: 'Serializable', readOnly: true, deferrable: true });
    assert.deepEqual(shown.flat().flatMap(Object.values), ['serializable', 'on', 'on']);
  },

  async errors() {
    const sql = neon(url());
    const fields = ['severity', 'code', 'detail', 'hint', 'position', 'where', 'schema', 'table', 'column', 'dataType', 'constraint', 'file', 'routine'];
    for (const text of ['select 1 from nowhere', 'select 1/0', "select 'x'::int", 'selec', 'insert into pg_class (oid) values (null)']) {
      const [expected, got] = [await withSocket((client) => client.query(text).catch((error) => error)), await sql.query(text).catch((error) => error)];
      assert.ok(got instanceof NeonDbError);
      assert.equal(got.message, expected.message);
      for (const field of fields) assert.equal(got[field] ?? undefined, expected[field], `${text}: ${field}`);
    }
    await assert.rejects(neon(url('wrong'))`select 1`, { code: '28P01' });
    await assert.rejects(neon(url(), { authToken: 'a.b.c' })`select 1`, /required password/);
  },

  async aborts() {
    const controller = new AbortController();
    const sql = neon(url(PGPASSWORD, '&application_name=abandoned'));
    const running = () => withSocket(async (client) =>
      (await client.query("select count(*)::int as n from pg_stat_activity where query like '%pg_sleep(100)%' and query not like '%stat_activity%' and state = 'active'")).rows[0].n);
    const until = async (count) => { while ((await running()) !== count) await new Promise((resolve) => setTimeout(resolve, 50)); };
    const query = sql.query('select pg_sleep(100)', [], { fetchOptions: { signal: controller.signal } });
    query.catch(() => {});
    await until(1);
    controller.abort();
    await assert.rejects(query);
    await until(0);
  },

  async many() {
    const sql = neon(url());
    const rows = await Promise.all(Array.from({ length: 200 }, (_, n) => sql`select ${n}::int as n, pg_backend_pid() as pid`));
    assert.deepEqual(rows.map(([row]) => row.n), Array.from({ length: 200 }, (_, n) => n));
    assert.ok(new Set(rows.map(([row]) => row.pid)).size <= 2);
  },
};

await cases[process.argv[2]]();
console.log('as it should be');
