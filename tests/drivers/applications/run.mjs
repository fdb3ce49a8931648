// Shared by the programs: `node PROGRAM.mjs CASE` runs one case at the place that libpq's environment variables name and
// prints what it got, without anything that differs from run to run.

import { readFileSync } from "node:fs";

/** What `pg` needs besides the environment: the authority that signed the server's certificate. */
export const ssl = { ca: readFileSync(process.env.PGSSLROOTCERT) };

export const say = (...values) => console.log(...values.map((value) => (typeof value === "string" ? value : text(value))));

function text(value) {
  return JSON.stringify(value, (key, inner) => {
    if (typeof inner === "bigint") return `${inner}n`;
    if (inner?.type === "Buffer") return Buffer.from(inner.data).toString("hex");
    if (inner instanceof Uint8Array) return Buffer.from(inner).toString("hex");
    return inner;
  });
}

/** Says how a promise ended: what it gave, or the SQLSTATE or code and the message of its error. */
export async function attempt(promise) {
  try {
    say(await promise);
  } catch (error) {
    const cause = error.original ?? error.cause ?? error.driverError ?? error;
    say("error", error.constructor.name, cause.code ?? error.code ?? null, String(cause.message).replace(/\s+/g, " "));
  }
}

export async function run(cases) {
  const work = cases[process.argv[2]];
  if (!work) throw new Error(`no case ${process.argv[2]}`);
  await work();
}
