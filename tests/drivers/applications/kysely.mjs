// Kysely over `pg`, with its migrator.

import { CamelCasePlugin, Kysely, PostgresDialect, sql } from "kysely";
import { jsonArrayFrom, jsonObjectFrom } from "kysely/helpers/postgres";
import { Migrator } from "kysely/migration";
import pg from "pg";
import { attempt, run, say, ssl } from "./run.mjs";

async function withDatabase(work) {
  const db = new Kysely({ dialect: new PostgresDialect({ pool: new pg.Pool({ ssl, max: 5 }) }), plugins: [new CamelCasePlugin()] });
  try {
    await sql`drop table if exists kysely_pet, kysely_person`.execute(db);
    await db.schema.createTable("kysely_person").addColumn("id", "serial", (c) => c.primaryKey())
      .addColumn("first_name", "text", (c) => c.notNull().unique()).addColumn("age", "integer").addColumn("facts", "jsonb").execute();
    await db.schema.createTable("kysely_pet").addColumn("id", "serial", (c) => c.primaryKey()).addColumn("name", "text")
      .addColumn("owner_id", "integer", (c) => c.references("kysely_person.id").onDelete("cascade")).execute();
    await db.insertInto("kyselyPerson").values(["ann", "bob", "cleo"].map((firstName, n) => ({ firstName, age: 30 + n, facts: JSON.stringify({ n }) }))).execute();
    await work(db);
  } finally {
    await db.destroy();
  }
}

const names = (db) => db.selectFrom("kyselyPerson").select("firstName").orderBy("firstName").execute();

await run({
  queries: () => withDatabase(async (db) => {
    say(await db.selectFrom("kyselyPerson").selectAll().where("age", ">", 30).orderBy("id").execute());
    say(await db.insertInto("kyselyPet").values([{ name: "rex", ownerId: 1 }, { name: "tom", ownerId: 1 }]).returningAll().execute());
    say(await db.selectFrom("kyselyPerson as p").select((b) => ["p.firstName",
      jsonArrayFrom(b.selectFrom("kyselyPet as q").select("q.name").whereRef("q.ownerId", "=", "p.id").orderBy("q.id")).as("pets")]).orderBy("p.id").execute());
    say(await db.selectFrom("kyselyPet as q").select((b) => ["q.name",
      jsonObjectFrom(b.selectFrom("kyselyPerson as p").select("p.firstName").whereRef("q.ownerId", "=", "p.id")).as("owner")]).orderBy("q.id").execute());
    say(await db.updateTable("kyselyPerson").set((b) => ({ age: b("age", "+", 1) })).where("firstName", "=", "bob").returning("age").executeTakeFirstOrThrow());
    say(await db.with("old", (d) => d.selectFrom("kyselyPerson").select("id").where("age", ">", 31)).selectFrom("old").select((b) => b.fn.countAll().as("n")).execute());
    say(await db.deleteFrom("kyselyPerson").where("id", "in", [2, 3]).executeTakeFirst());
  }),

  transactions: () => withDatabase(async (db) => {
    await attempt(db.transaction().execute(async (tx) => {
      await tx.insertInto("kyselyPerson").values({ firstName: "lost" }).execute();
      await tx.insertInto("kyselyPerson").values({ firstName: "ann" }).execute();
    }));
    await attempt(db.transaction().setIsolationLevel("repeatable read").execute((tx) => tx.insertInto("kyselyPerson").values({ firstName: "kept" }).returning("id").execute()));
    const controlled = await db.startTransaction().execute();
    await controlled.insertInto("kyselyPerson").values({ firstName: "before" }).execute();
    const point = await controlled.savepoint("here").execute();
    await attempt(point.insertInto("kyselyPerson").values({ firstName: "ann" }).execute());
    const back = await point.rollbackToSavepoint("here").execute();
    await back.insertInto("kyselyPerson").values({ firstName: "after" }).execute();
    await controlled.commit().execute();
    say(await names(db));
  }),

  one_connection: () => withDatabase(async (db) => {
    await db.connection().execute(async (one) => {
      await sql`set application_name = 'kysely'`.execute(one);
      say((await sql`show application_name`.execute(one)).rows);
      await sql`set statement_timeout = '1234ms'`.execute(one);
      say((await sql`show statement_timeout`.execute(one)).rows);
    });
  }),

  many_at_once: () => withDatabase(async (db) => {
    const work = (n) => db.transaction().execute(async (tx) => {
      await tx.insertInto("kyselyPet").values({ name: `n${n}`, ownerId: 1 + (n % 3) }).execute();
      return (await tx.selectFrom("kyselyPet").select("name").where("name", "=", `n${n}`).executeTakeFirst()).name;
    });
    say(await Promise.all([...Array(50).keys()].map(work)));
  }),

  errors: () => withDatabase(async (db) => {
    await attempt(db.insertInto("kyselyPet").values({ name: "x", ownerId: 99 }).execute());
    await attempt(sql`select ${"x"}::int`.execute(db));
    await attempt(sql`selec 1`.execute(db));
    say(await names(db));
  }),

  migrations: () => withDatabase(async (db) => {
    await sql`drop table if exists kysely_migration, kysely_migration_lock, kysely_first, kysely_second`.execute(db);
    const create = (table) => ({ up: (d) => d.schema.createTable(table).addColumn("id", "integer").execute(), down: (d) => d.schema.dropTable(table).execute() });
    const provider = { getMigrations: async () => ({ one: create("kysely_first"), two: create("kysely_second") }) };
    const migrator = () => new Migrator({ db, provider });
    const both = await Promise.all([migrator().migrateToLatest(), migrator().migrateToLatest()]);
    say(both.map(({ error, results }) => [error?.message ?? null, results.length]).sort());
    say((await migrator().migrateDown()).results);
    say((await migrator().getMigrations()).map(({ name, executedAt }) => [name, Boolean(executedAt)]));
  }),
});
