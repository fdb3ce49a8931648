// Prisma without its engines, which npm does not carry: the WebAssembly build of its schema engine, over the driver `pg`.

import { PrismaPg } from "@prisma/adapter-pg";
import pg from "pg";
import { ssl } from "./run.mjs";

const NAME = 19, TEXT = 25;

// The adapter does not know the type `name`, in which the schema engine asks for names of schemas: they are told as text.
class Client extends pg.Client {
  query(...query) {
    const told = (result) => {
      for (const field of result?.fields ?? []) if (field.dataTypeID === NAME) field.dataTypeID = TEXT;
      return result;
    };
    const callback = query.at(-1);
    if (typeof callback !== "function") return super.query(...query).then(told);
    return super.query(...query.slice(0, -1), (error, result) => callback(error, told(result)));
  }
}

export default {
  schema: "prisma/schema.prisma",
  migrations: { path: "prisma/migrations" },
  experimental: { adapter: true },
  engine: "js",
  adapter: async () => new PrismaPg(new pg.Pool({ ssl, Client, max: 1 })),
};
