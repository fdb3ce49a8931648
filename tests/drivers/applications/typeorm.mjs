// TypeORM over `pg`, with its migrations.

import typeorm from "typeorm";
import { attempt, run, say, ssl } from "./run.mjs";

const { DataSource, EntitySchema, MoreThan } = typeorm;

const User = new EntitySchema({
  name: "TypeormUser", tableName: "typeorm_user",
  columns: {
    id: { type: Number, primary: true, generated: true }, name: { type: String, unique: true }, facts: { type: "jsonb", nullable: true },
    price: { type: "numeric", precision: 10, scale: 2, default: 0 }, tags: { type: "text", array: true, default: "{}" },
  },
  relations: { photos: { type: "one-to-many", target: "TypeormPhoto", inverseSide: "user", cascade: true } },
});
const Photo = new EntitySchema({
  name: "TypeormPhoto", tableName: "typeorm_photo",
  columns: { id: { type: Number, primary: true, generated: true }, url: { type: String } },
  relations: { user: { type: "many-to-one", target: "TypeormUser", inverseSide: "photos", onDelete: "CASCADE" } },
});

class First1700000000001 {
  up = (runner) => runner.query("create table typeorm_first (id int)");
  down = (runner) => runner.query("drop table typeorm_first");
}
class Second1700000000002 {
  up = (runner) => runner.query("create table typeorm_second (id int)");
  down = (runner) => runner.query("drop table typeorm_second");
}

async function withSource(work, options = {}) {
  const { PGHOST, PGPORT, PGUSER, PGPASSWORD, PGDATABASE } = process.env;
  const source = new DataSource({ type: "postgres", host: PGHOST, port: Number(PGPORT), username: PGUSER, password: PGPASSWORD,
    database: PGDATABASE, ssl, entities: [User, Photo], extra: { max: 5 }, installExtensions: false, ...options });
  await source.initialize();
  try {
    await source.query("drop table if exists typeorm_photo, typeorm_user cascade");
    await source.synchronize();
    const users = source.getRepository("TypeormUser");
    await users.save(["ann", "bob", "cleo"].map((name, n) => ({ name, facts: { n }, price: `${n}.5`, tags: [name] })));
    await work(source, users);
  } finally {
    await source.destroy();
  }
}

await run({
  repositories: () => withSource(async (source, users) => {
    say(await users.find({ order: { id: "ASC" } }));
    await users.save({ name: "dora", photos: [{ url: "a" }, { url: "b" }] });
    say(await users.find({ where: { id: MoreThan(2) }, relations: { photos: true }, order: { id: "ASC", photos: { id: "ASC" } } }));
    say(await users.createQueryBuilder("u").leftJoin("u.photos", "p").select("u.name", "name").addSelect("count(p.id)", "n").groupBy("u.name").orderBy("u.name").getRawMany());
    say((await users.update({ name: "bob" }, { price: "9.99" })).affected, (await users.delete({ name: "ann" })).affected);
    say(await users.findAndCount({ take: 2, skip: 1, order: { id: "ASC" } }));
    say((await users.upsert({ name: "cleo", price: "7" }, ["name"])).identifiers);
  }),

  transactions: () => withSource(async (source, users) => {
    await attempt(source.transaction(async (manager) => {
      await manager.insert("TypeormUser", { name: "lost" });
      await manager.insert("TypeormUser", { name: "ann" });
    }));
    await attempt(source.transaction("SERIALIZABLE", async (manager) => {
      await manager.insert("TypeormUser", { name: "kept" });
      await attempt(manager.transaction(async (inner) => {
        await inner.insert("TypeormUser", { name: "inner" });
        throw new Error("undone by the program");
      }));
      return manager.count("TypeormUser");
    }));
    say((await users.find({ order: { name: "ASC" } })).map((user) => user.name));
  }),

  many_at_once: () => withSource(async (source) => {
    const work = (n) => source.transaction(async (manager) => {
      await manager.insert("TypeormUser", { name: `n${n}` });
      return (await manager.findOneBy("TypeormUser", { name: `n${n}` })).name;
    });
    say(await Promise.all([...Array(50).keys()].map(work)));
  }),

  migrations: () => withSource(async (source) => {
    await source.query("drop table if exists typeorm_first, typeorm_second, typeorm_migrations");
    say((await source.runMigrations()).map((step) => step.name), (await source.runMigrations()).length);
    await source.undoLastMigration();
    say(await source.query("select name from typeorm_migrations order by id"), await source.showMigrations());
  }, { migrations: [First1700000000001, Second1700000000002], migrationsTableName: "typeorm_migrations" }),
});
