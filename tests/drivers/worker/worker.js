// The Worker of Cloudflare's guide to PostgreSQL: one client for each invocation, left to close by itself.
import { Client } from 'pg';

export default {
  async fetch(request, env, ctx) {
    const client = new Client({ connectionString: env.DB_URL });
    await client.connect();
    const result = await client.query('SELECT * FROM pg_tables LIMIT 10');
    ctx.waitUntil(client.end());
    return Response.json(result.rows);
  },
};
