// Prisma over its adapter for `pg`; the client is made by `prisma generate` (see test_applications.py).

import { PrismaPg } from "@prisma/adapter-pg";
import { attempt, run, say, ssl } from "./run.mjs";
import { PrismaClient } from "./generated/client.ts";

async function withClient(work) {
  const prisma = new PrismaClient({ adapter: new PrismaPg({ ssl, max: 5 }) });
  try {
    await prisma.post.deleteMany();
    await prisma.author.deleteMany();
    await prisma.$executeRawUnsafe(`alter sequence "Author_id_seq" restart`);
    await prisma.$executeRawUnsafe(`alter sequence "Post_id_seq" restart`);
    await prisma.author.createMany({ data: [1, 2, 3].map((n) => ({ email: `a${n}@example.com`, name: n > 1 ? `n${n}` : null,
      born: new Date(Date.UTC(2000, n, 3)), balance: `${n}.75`, tags: ["x", `${n}`], profile: { n, list: [null, "ü"] }, big: 9007199254740993n, photo: Buffer.from([0, n]) })) });
    await work(prisma);
  } finally {
    await prisma.$disconnect();
  }
}

const emails = async (prisma) => (await prisma.author.findMany({ orderBy: { email: "asc" }, select: { email: true } })).map((a) => a.email);

await run({
  models: () => withClient(async (prisma) => {
    say(await prisma.author.findMany({ orderBy: { id: "asc" } }));
    say(await prisma.author.create({ data: { email: "new@example.com", posts: { create: [{ title: "one" }, { title: "two", published: true }] } }, include: { posts: { orderBy: { id: "asc" } } } }));
    say(await prisma.author.findMany({ where: { posts: { some: { published: true } } }, select: { email: true, _count: { select: { posts: true } } } }));
    say(await prisma.author.findMany({ where: { tags: { has: "2" }, profile: { path: ["n"], equals: 2 } }, select: { id: true } }));
    say(await prisma.author.upsert({ where: { email: "a1@example.com" }, create: { email: "x" }, update: { balance: { increment: 1 } }, select: { balance: true } }));
    say(await prisma.author.aggregate({ _count: true, _sum: { balance: true }, _max: { id: true } }));
    say(await prisma.post.groupBy({ by: ["published"], _count: true, orderBy: { published: "asc" } }));
    say(await prisma.author.findMany({ cursor: { id: 2 }, take: 2, orderBy: { id: "asc" }, select: { id: true } }));
    say(await prisma.author.deleteMany({ where: { id: { in: [2, 3] } } }));
  }),

  transactions: () => withClient(async (prisma) => {
    await attempt(prisma.$transaction([prisma.author.create({ data: { email: "lost@example.com" } }), prisma.author.create({ data: { email: "a1@example.com" } })]));
    await attempt(prisma.$transaction(async (tx) => {
      await tx.author.create({ data: { email: "kept@example.com" } });
      return (await tx.author.findMany()).length;
    }, { isolationLevel: "Serializable" }));
    await attempt(prisma.$transaction(async (tx) => {
      await tx.author.create({ data: { email: "undone@example.com" } });
      throw new Error("undone by the program");
    }));
    say(await emails(prisma));
  }),

  raw: () => withClient(async (prisma) => {
    say(await prisma.$queryRaw`select ${1}::int as a, ${"x"}::text as b, ${[1, 2]}::int[] as c, ${null}::text as d`);
    say(await prisma.$executeRaw`update "Author" set name = ${"raw"} where id > ${1}`);
    await attempt(prisma.$queryRaw`select 1 / ${0}::int`);
    await attempt(prisma.$queryRawUnsafe("select * from nowhere"));
  }),

  many_at_once: () => withClient(async (prisma) => {
    const work = (n) => prisma.$transaction(async (tx) => {
      const post = await tx.post.create({ data: { title: `t${n}`, authorId: 1 + (n % 3) } });
      return (await tx.post.findUnique({ where: { id: post.id } })).title;
    }, { maxWait: 20000, timeout: 20000 });
    say(await Promise.all([...Array(50).keys()].map(work)));
    say(await prisma.post.count());
  }),

  errors: () => withClient(async (prisma) => {
    await attempt(prisma.author.create({ data: { email: "a1@example.com" } }).catch((error) => { throw { constructor: error.constructor, code: error.code, message: "" }; }));
    await attempt(prisma.post.create({ data: { title: "x", authorId: 99 } }).catch((error) => { throw { constructor: error.constructor, code: error.code, message: "" }; }));
    say(await prisma.author.findUnique({ where: { id: 99 } }), await emails(prisma));
  }),
});
