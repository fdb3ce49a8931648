// Knex over `pg`, with its migrations.

import knex from "knex";
import { attempt, run, say, ssl } from "./run.mjs";

async function withDatabase(work) {
  const { PGHOST, PGPORT, PGUSER, PGPASSWORD, PGDATABASE } = process.env;
  const db = knex({ client: "pg", pool: { min: 0, max: 5 }, connection: { host: PGHOST, port: Number(PGPORT), user: PGUSER, password: PGPASSWORD, database: PGDATABASE, ssl } });
  try {
    await db.raw("drop table if exists knex_orders, knex_users");
    await db.schema.createTable("knex_users", (table) => {
      table.increments("id");
      table.string("name").notNullable().unique();
      table.jsonb("facts");
    });
    await db.schema.createTable("knex_orders", (table) => {
      table.increments("id");
      table.integer("user_id").references("knex_users.id").onDelete("CASCADE");
      table.decimal("total", 10, 2);
    });
    await db("knex_users").insert(["ann", "bob", "cleo"].map((name, n) => ({ name, facts: { n } })));
    await work(db);
  } finally {
    await db.destroy();
  }
}

await run({
  queries: () => withDatabase(async (db) => {
    say(await db("knex_orders").insert([{ user_id: 1, total: "1.50" }, { user_id: 1, total: 2 }, { user_id: 2, total: 3 }]).returning("*"));
    say(await db("knex_users as u").leftJoin("knex_orders as o", "o.user_id", "u.id").groupBy("u.name").select("u.name").sum("o.total as sum").orderBy("u.name"));
    say(await db("knex_users").insert({ name: "ann", facts: { again: true } }).onConflict("name").merge().returning("facts"));
    say(await db("knex_users").where("name", "bob").update({ name: "rob" }, ["id", "name"]));
    say(await db("knex_users").whereIn("id", db("knex_orders").select("user_id")).del());
    say((await db.raw("select ?::int + 1 as n", [41])).rows);
  }),

  transactions: () => withDatabase(async (db) => {
    await attempt(db.transaction(async (tx) => {
      await tx("knex_users").insert({ name: "lost" });
      await tx("knex_users").insert({ name: "ann" });
    }));
    await attempt(db.transaction(async (tx) => {
      await tx("knex_users").insert({ name: "kept" });
      await attempt(tx.transaction(async (inner) => {
        await inner("knex_users").insert({ name: "inner" });
        throw new Error("undone by the program");
      }));
      return tx("knex_users").forUpdate().where("id", 1).first();
    }, { isolationLevel: "serializable" }));
    await attempt(db.transaction((tx) => tx("knex_users").insert({ name: "no" }), { readOnly: true }));
    say(await db("knex_users").orderBy("name").pluck("name"));
  }),

  many_at_once: () => withDatabase(async (db) => {
    const work = (n) => db.transaction(async (tx) => {
      await tx("knex_orders").insert({ user_id: 1 + (n % 3), total: n });
      return (await tx("knex_orders").where("total", n).first()).total;
    });
    say(await Promise.all([...Array(50).keys()].map(work)));
  }),

  migrations: () => withDatabase(async (db) => {
    await db.raw("drop table if exists knex_migrations, knex_migrations_lock, knex_first, knex_second");
    const create = (name) => ({ up: (d) => d.schema.createTable(name, (t) => t.increments("id")), down: (d) => d.schema.dropTable(name) });
    const steps = { one: create("knex_first"), two: create("knex_second") };
    const migrationSource = { getMigrations: async () => Object.keys(steps), getMigrationName: (name) => name, getMigration: async (name) => steps[name] };
    say((await db.migrate.latest({ migrationSource }))[1], (await db.migrate.latest({ migrationSource }))[1]);
    say(await db.migrate.currentVersion({ migrationSource }), (await db.migrate.rollback({ migrationSource }))[1]);
    say(await db.schema.hasTable("knex_first"));
  }),
});
