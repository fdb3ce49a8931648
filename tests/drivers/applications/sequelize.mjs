// Sequelize over `pg`.

import sequelize from "sequelize";
import { attempt, run, say, ssl } from "./run.mjs";

const { DataTypes, Op, QueryTypes, Sequelize, Transaction } = sequelize;

async function withDatabase(work) {
  const { PGHOST, PGPORT, PGUSER, PGPASSWORD, PGDATABASE } = process.env;
  const db = new Sequelize(PGDATABASE, PGUSER, PGPASSWORD, {
    dialect: "postgres", host: PGHOST, port: Number(PGPORT), logging: false, dialectOptions: { ssl }, pool: { max: 5 },
    define: { timestamps: false },
  });
  const User = db.define("sequelize_user", {
    email: { type: DataTypes.STRING, unique: true, allowNull: false }, age: DataTypes.INTEGER, facts: DataTypes.JSONB,
    tags: DataTypes.ARRAY(DataTypes.TEXT), born: DataTypes.DATE, level: DataTypes.ENUM("low", "high"), price: DataTypes.DECIMAL(10, 2),
  });
  const Task = db.define("sequelize_task", { title: DataTypes.STRING });
  User.hasMany(Task, { as: "tasks", foreignKey: "userId" });
  Task.belongsTo(User, { as: "user", foreignKey: "userId" });
  try {
    await db.query('drop table if exists sequelize_tasks, sequelize_users; drop type if exists "enum_sequelize_users_level"');
    await db.sync();
    await User.bulkCreate([1, 2, 3].map((n) => ({ email: `u${n}@example.com`, age: 20 + n, facts: { n }, tags: ["a", `${n}`],
      born: new Date(Date.UTC(2001, n, 2)), level: n > 1 ? "high" : "low", price: `${n}.25` })));
    await work(db, User, Task);
  } finally {
    await db.close();
  }
}

const emails = async (User) => (await User.findAll({ order: ["email"], raw: true })).map((user) => user.email);

await run({
  models: () => withDatabase(async (db, User, Task) => {
    say(await User.findAll({ order: ["id"], raw: true }));
    const user = await User.findOne({ where: { age: { [Op.gt]: 21 } }, order: ["id"] });
    await user.createTask({ title: "one" });
    await user.update({ facts: { changed: true } });
    say(await User.findAll({ include: "tasks", order: ["id"], where: { "facts.changed": true } }));
    say(await Task.count(), await User.max("age"), await User.increment("age", { by: 5, where: { id: 1 } }));
    say(await User.upsert({ id: 2, email: "u2@example.com", age: 77 }, { returning: ["age"] }).then(([row]) => row.age));
    say(await User.destroy({ where: { id: 3 } }), await emails(User));
    say(await db.query("select $1::int + 1 as n", { bind: [41], type: QueryTypes.SELECT }));
  }),

  transactions: () => withDatabase(async (db, User) => {
    await attempt(db.transaction(async (transaction) => {
      await User.create({ email: "lost@example.com" }, { transaction });
      await User.create({ email: "u1@example.com" }, { transaction });
    }));
    await attempt(db.transaction({ isolationLevel: Transaction.ISOLATION_LEVELS.SERIALIZABLE }, async (transaction) => {
      const locked = await User.findOne({ where: { id: 1 }, lock: transaction.LOCK.UPDATE, transaction });
      await locked.update({ age: 99 }, { transaction });
      await attempt(db.transaction({ transaction }, async (inner) => {
        await User.create({ email: "inner@example.com" }, { transaction: inner });
        throw new Error("undone by the program");
      }));
      return (await User.findByPk(1, { transaction })).age;
    }));
    const open = await db.transaction();
    await User.create({ email: "rolled@example.com" }, { transaction: open });
    await open.rollback();
    say(await emails(User));
  }),

  many_at_once: () => withDatabase(async (db, User, Task) => {
    const work = (n) => db.transaction(async (transaction) => {
      const task = await Task.create({ title: `t${n}`, userId: 1 + (n % 3) }, { transaction });
      return (await Task.findByPk(task.id, { transaction })).title;
    });
    say(await Promise.all([...Array(50).keys()].map(work)));
    say(await Task.count());
  }),

  errors: () => withDatabase(async (db, User, Task) => {
    await attempt(User.create({ email: "u1@example.com" }));
    await attempt(User.create({ email: "new@example.com", level: "none" }));
    await attempt(Task.create({ title: "x", userId: 99 }));
    await attempt(db.query("select * from nowhere"));
    say(await emails(User));
  }),

  schema_changes: () => withDatabase(async (db, User) => {
    const schema = db.getQueryInterface();
    await schema.addColumn("sequelize_users", "nick", { type: DataTypes.STRING, defaultValue: "n" });
    say(Object.keys(await schema.describeTable("sequelize_users")));
    await schema.addIndex("sequelize_users", ["age"], { name: "sequelize_by_age", concurrently: true });
    say((await schema.showIndex("sequelize_users")).map((index) => index.name).sort());
    await schema.removeColumn("sequelize_users", "nick");
    await User.sync({ alter: true });
    say(await emails(User));
  }),
});
