// node-pg-migrate, which holds a session advisory lock while it migrates.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runner } from "node-pg-migrate";
import pg from "pg";
import { attempt, run, say, ssl } from "./run.mjs";

async function withSteps(work) {
  const dir = mkdtempSync(join(tmpdir(), "pgweir-migrate-"));
  const client = new pg.Client({ ssl });
  await client.connect();
  try {
    await client.query("drop table if exists migrate_first, migrate_second, migrate_steps");
    const step = (table) => `export const up = (pgm) => pgm.createTable("${table}", { id: "id" });\nexport const down = (pgm) => pgm.dropTable("${table}");\n`;
    writeFileSync(join(dir, "1700000000001_first.mjs"), step("migrate_first"));
    writeFileSync(join(dir, "1700000000002_second.mjs"), step("migrate_second"));
    const silent = { debug() {}, info() {}, warn() {}, error() {} };
    const migrate = async (options) => (await runner({ databaseUrl: { ssl }, dir, migrationsTable: "migrate_steps", logger: silent, direction: "up", count: Infinity, ...options })).map((done) => done.name);
    await work(migrate, client);
  } finally {
    await client.end();
    rmSync(dir, { recursive: true });
  }
}

await run({
  up_and_down: () => withSteps(async (migrate) => {
    say(await migrate({}), await migrate({}));
    say(await migrate({ direction: "down", count: 1 }), await migrate({}));
  }),

  its_lock_keeps_a_second_one_out: () => withSteps(async (migrate, client) => {
    await client.query("select pg_advisory_lock(7241865325823964)");
    await attempt(migrate({}));
    await client.query("select pg_advisory_unlock(7241865325823964)");
    await attempt(migrate({}));
    say((await client.query("select count(*) from pg_locks where locktype = 'advisory'")).rows);
  }),
});
