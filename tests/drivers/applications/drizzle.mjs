// Drizzle over `pg` and over postgres.js.

import { mkdtempSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { and, asc, count, desc, eq, gt, relations, sql, sum } from "drizzle-orm";
import { drizzle as overPg } from "drizzle-orm/node-postgres";
import { migrate as migratePg } from "drizzle-orm/node-postgres/migrator";
import { drizzle as overPostgres } from "drizzle-orm/postgres-js";
import { migrate as migratePostgres } from "drizzle-orm/postgres-js/migrator";
import { bigint, boolean, integer, jsonb, numeric, pgTable, serial, text, timestamp } from "drizzle-orm/pg-core";
import pg from "pg";
import postgres from "postgres";
import { attempt, run, say, ssl } from "./run.mjs";

const authors = pgTable("drizzle_authors", {
  id: serial("id").primaryKey(),
  email: text("email").notNull().unique(),
  tags: text("tags").array(),
  profile: jsonb("profile"),
  balance: numeric("balance", { precision: 12, scale: 2 }),
  big: bigint("big", { mode: "bigint" }),
  born: timestamp("born", { withTimezone: true }),
});

const posts = pgTable("drizzle_posts", {
  id: serial("id").primaryKey(),
  title: text("title").notNull(),
  published: boolean("published").notNull().default(false),
  authorId: integer("author_id").notNull().references(() => authors.id, { onDelete: "cascade" }),
});

const schema = {
  authors, posts,
  authorsRelations: relations(authors, ({ many }) => ({ posts: many(posts) })),
  postsRelations: relations(posts, ({ one }) => ({ author: one(authors, { fields: [posts.authorId], references: [authors.id] }) })),
};

const TABLES = `
  drop table if exists drizzle_posts, drizzle_authors;
  create table drizzle_authors (id serial primary key, email text not null unique, tags text[], profile jsonb,
    balance numeric(12, 2), big bigint, born timestamptz);
  create table drizzle_posts (id serial primary key, title text not null, published boolean not null default false,
    author_id int not null references drizzle_authors on delete cascade);`;

async function withBoth(work) {
  const pool = new pg.Pool({ ssl, max: 5 });
  try {
    await pool.query(TABLES);
    say("pg");
    await work(overPg(pool, { schema }), migratePg);
  } finally {
    await pool.end();
  }
  const client = postgres({ ssl, max: 5, onnotice: () => {} });
  try {
    await client.unsafe(TABLES);
    say("postgres.js");
    await work(overPostgres(client, { schema }), migratePostgres);
  } finally {
    await client.end();
  }
}

const fill = (db) => db.insert(authors).values([1, 2, 3].map((n) => ({
  email: `a${n}@example.com`, tags: ["x", `t${n}`], profile: { n, deep: [null, { ü: "🐘" }] }, balance: `${n}.50`,
  big: 9007199254740993n + BigInt(n), born: new Date(Date.UTC(2000, n, 1)),
}))).returning();

await run({
  rows_of_many_types: () => withBoth(async (db) => {
    say(await fill(db));
    say(await db.select().from(authors).where(gt(authors.id, 1)).orderBy(desc(authors.id)));
    say(await db.update(authors).set({ balance: sql`${authors.balance} + 1` }).where(eq(authors.id, 2)).returning({ b: authors.balance }));
    say((await db.delete(authors).where(eq(authors.id, 3)).returning()).length);
    say(await db.select({ n: count(), s: sum(authors.balance) }).from(authors));
  }),

  relations: () => withBoth(async (db) => {
    await fill(db);
    await db.insert(posts).values([1, 1, 2].map((authorId, n) => ({ title: `p${n}`, authorId, published: n > 0 })));
    say(await db.query.authors.findMany({ with: { posts: { where: eq(posts.published, true) } }, orderBy: asc(authors.id), columns: { email: true } }));
    say(await db.query.posts.findFirst({ with: { author: true }, where: and(eq(posts.authorId, 2), eq(posts.published, true)) }));
    say(await db.select({ e: authors.email, t: posts.title }).from(posts).leftJoin(authors, eq(posts.authorId, authors.id)).orderBy(posts.id));
  }),

  prepared_statements: () => withBoth(async (db) => {
    await fill(db);
    const byId = db.select({ email: authors.email }).from(authors).where(eq(authors.id, sql.placeholder("id"))).prepare("by_id");
    for (let n = 0; n < 20; n++) say(await byId.execute({ id: 1 + (n % 3) }));
    const other = db.select({ id: authors.id }).from(authors).where(eq(authors.email, sql.placeholder("e"))).prepare("by_email");
    say(await Promise.all([...Array(20).keys()].map((n) => other.execute({ e: `a${1 + (n % 4)}@example.com` }))));
  }),

  transactions: () => withBoth(async (db) => {
    await fill(db);
    await attempt(db.transaction(async (tx) => {
      await tx.insert(authors).values({ email: "lost@example.com" });
      await tx.insert(authors).values({ email: "a1@example.com" });
    }));
    await attempt(db.transaction(async (tx) => {
      await tx.insert(authors).values({ email: "kept@example.com" });
      await attempt(tx.transaction(async (inner) => {
        await inner.insert(authors).values({ email: "inner@example.com" });
        inner.rollback();
      }));
      await tx.transaction((inner) => inner.insert(authors).values({ email: "inner2@example.com" }));
    }, { isolationLevel: "serializable" }));
    await attempt(db.transaction((tx) => tx.insert(authors).values({ email: "no@example.com" }), { accessMode: "read only" }));
    say(await db.select({ email: authors.email }).from(authors).orderBy(authors.email));
  }),

  many_at_once: () => withBoth(async (db) => {
    await fill(db);
    const add = (n) => db.transaction(async (tx) => {
      await tx.insert(posts).values({ title: `t${n}`, authorId: 1 + (n % 3) });
      return (await tx.select({ n: count() }).from(posts).where(eq(posts.title, `t${n}`)))[0].n;
    });
    say(await Promise.all([...Array(50).keys()].map(add)));
    say(await db.select({ n: count() }).from(posts));
  }),

  errors: () => withBoth(async (db) => {
    await fill(db);
    await attempt(db.insert(authors).values({ email: "a1@example.com" }));
    await attempt(db.execute(sql`select 1 / ${0}::int`));
    await attempt(db.execute(sql`select * from nowhere`));
    await attempt(db.insert(posts).values({ title: "x", authorId: 99 }));
    say((await db.select({ n: count() }).from(authors))[0]);
  }),

  migrations: () => withBoth(async (db, migrate) => {
    const folder = mkdtempSync(join(tmpdir(), "pgweir-drizzle-"));
    try {
      await db.execute(sql`drop schema if exists drizzle_steps cascade`);
      await db.execute(sql`drop table if exists drizzle_first, drizzle_second`);
      mkdirSync(join(folder, "meta"));
      const steps = ["create table drizzle_first (id int)", "create table drizzle_second (id int);--> statement-breakpoint\ninsert into drizzle_first values (1)"];
      steps.forEach((step, n) => writeFileSync(join(folder, `000${n}_step.sql`), step));
      const entries = steps.map((step, idx) => ({ idx, version: "7", when: 1700000000000 + idx, tag: `000${idx}_step`, breakpoints: true }));
      writeFileSync(join(folder, "meta", "_journal.json"), JSON.stringify({ version: "7", dialect: "postgresql", entries }));
      const where = { migrationsFolder: folder, migrationsSchema: "drizzle_steps", migrationsTable: "steps" };
      await migrate(db, where);
      await migrate(db, where);
      const done = await db.execute(sql`select (select count(*) from drizzle_first) as one, (select count(*) from drizzle_steps.steps) as two`);
      say(done.rows ?? [...done]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  }),
});
