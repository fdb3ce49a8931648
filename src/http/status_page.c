/* / : the status page. One document with its style and its script, which asks /status.json every
 * other second. What it shows is set as text, never as markup (THREATS §4.6); nothing else is
 * loaded from anywhere. */
#include <string.h>

#include "auth/base64.h"
#include "auth/crypto.h"
#include "page.h"

/* clang-format off */
static const char style[] =
    ":root { color-scheme: light dark; --ground: #f6f7f9; --card: #fff; --ink: #17202a; --soft: #5d6b7a; --line: #dde2e8;\n"
    "        --busy: #2563eb; --idle: #93c5fd; --other: #c4b5fd; --wait: #d97706; --bad: #c62828; --good: #2e7d32; }\n"
    "@media (prefers-color-scheme: dark) {\n"
    "  :root { --ground: #0f141a; --card: #18202a; --ink: #e6ebf1; --soft: #93a1b0; --line: #2a3542;\n"
    "          --busy: #60a5fa; --idle: #1e4e8c; --other: #6d5bb0; --wait: #f0a540; --bad: #ef6b6b; --good: #6cc070; }\n"
    "}\n"
    "* { box-sizing: border-box; }\n"
    "body { margin: 0; padding: 1rem; background: var(--ground); color: var(--ink); font: 15px/1.45 system-ui, sans-serif; }\n"
    "main { max-width: 70rem; margin: auto; }\n"
    "header { display: flex; flex-wrap: wrap; gap: .3rem 1rem; align-items: baseline; }\n"
    "h1 { font-size: 1.4rem; margin: 0; }\n"
    "h2 { font-size: 1rem; margin: 1.6rem 0 .5rem; }\n"
    ".soft { color: var(--soft); }\n"
    ".bad { color: var(--bad); }\n"
    ".wait { color: var(--wait); }\n"
    ".good { color: var(--good); }\n"
    ".cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(10rem, 1fr)); gap: .7rem; margin-top: 1rem; }\n"
    ".card, .pool { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: .7rem .9rem; }\n"
    ".card b { display: block; font-size: 1.5rem; font-variant-numeric: tabular-nums; }\n"
    ".card svg { width: 100%; height: 2.2rem; display: block; }\n"
    "polyline { fill: none; stroke: var(--busy); stroke-width: 1.5; vector-effect: non-scaling-stroke; }\n"
    ".pool { margin-bottom: .6rem; }\n"
    ".pool .name { display: flex; flex-wrap: wrap; gap: .2rem .8rem; justify-content: space-between; overflow-wrap: anywhere; }\n"
    ".bar { display: flex; height: .8rem; margin: .45rem 0 .3rem; background: var(--line); border-radius: .4rem; overflow: hidden; }\n"
    ".bar i { display: block; }\n"
    ".bar .busy { background: var(--busy); }\n"
    ".bar .idle { background: var(--idle); }\n"
    ".bar .other { background: var(--other); }\n"
    ".numbers { display: flex; flex-wrap: wrap; gap: .1rem 1.1rem; font-variant-numeric: tabular-nums; font-size: .9rem; }\n"
    "table { border-collapse: collapse; width: 100%; font-size: .9rem; }\n"
    "td, th { text-align: left; padding: .25rem .6rem .25rem 0; border-bottom: 1px solid var(--line); overflow-wrap: anywhere;\n"
    "         vertical-align: top; }\n"
    "button { font: inherit; color: inherit; background: var(--card); border: 1px solid var(--line); border-radius: .4rem;\n"
    "         padding: .2rem .7rem; }\n";

static const char script[] =
    "'use strict';\n"
    "const KEPT = 90, EVERY = 2000;\n"
    "const history = {};\n"
    "let before = null, showAll = false;\n"
    "\n"
    "const $ = id => document.getElementById(id);\n"
    "function make(tag, name, text) {\n"
    "  const element = document.createElement(tag);\n"
    "  if (name) element.className = name;\n"
    "  if (text !== undefined) element.textContent = text;\n"
    "  return element;\n"
    "}\n"
    "function number(value) {\n"
    "  if (!isFinite(value)) return '0';\n"
    "  if (value >= 100) return Math.round(value).toLocaleString('en');\n"
    "  return String(Math.round(value * 10) / 10);\n"
    "}\n"
    "function time(us) {\n"
    "  if (!isFinite(us) || us <= 0) return '0';\n"
    "  if (us < 1000) return Math.round(us) + ' µs';\n"
    "  if (us < 1e6) return number(us / 1000) + ' ms';\n"
    "  return number(us / 1e6) + ' s';\n"
    "}\n"
    "function age(us) {\n"
    "  const s = Math.floor(us / 1e6), d = Math.floor(s / 86400), h = Math.floor(s / 3600) % 24, m = Math.floor(s / 60) % 60;\n"
    "  return d ? d + ' d ' + h + ' h' : h ? h + ' h ' + m + ' min' : m ? m + ' min' : s + ' s';\n"
    "}\n"
    "function spark(values) {\n"
    "  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');\n"
    "  const line = document.createElementNS('http://www.w3.org/2000/svg', 'polyline');\n"
    "  const most = Math.max(...values, 1e-9);\n"
    "  svg.setAttribute('viewBox', '0 0 ' + (KEPT - 1) + ' 30');\n"
    "  svg.setAttribute('preserveAspectRatio', 'none');\n"
    "  line.setAttribute('points', values.map((v, i) => (KEPT - values.length + i) + ',' + (29 - 28 * v / most)).join(' '));\n"
    "  svg.append(line);\n"
    "  return svg;\n"
    "}\n"
    "function card(title, value, show) {\n"
    "  const kept = history[title] = (history[title] || []).concat(value).slice(-KEPT);\n"
    "  const element = make('div', 'card');\n"
    "  element.append(make('span', 'soft', title), make('b', '', show(value)), spark(kept));\n"
    "  return element;\n"
    "}\n"
    "function rates(now) {\n"
    "  const span = before ? (now.uptime_us - before.uptime_us) / 1e6 : 0;\n"
    "  const old = {};\n"
    "  if (before) for (const pool of before.pools) old[pool.database + '\\n' + pool.user] = pool;\n"
    "  const sum = { xacts: 0, queries: 0, query_us: 0, wait_us: 0, assignments: 0 };\n"
    "  for (const pool of now.pools) {\n"
    "    const was = old[pool.database + '\\n' + pool.user] || pool;\n"
    "    const grown = key => Math.max(0, pool[key] - was[key]);\n"
    "    pool.rate = span > 0 ? grown('xacts') / span : 0;\n"
    "    pool.mean = grown('query_us') / grown('queries');\n"
    "    pool.wait = grown('wait_us') / grown('assignments');\n"
    "    for (const key in sum) sum[key] += grown(key);\n"
    "  }\n"
    "  return { span, sum };\n"
    "}\n"
    "function why(pool) {\n"
    "  if (pool.failure) return 'No server of it is there: ' + pool.failure;\n"
    "  if (!pool.waiting) return '';\n"
    "  const all = pool.active + pool.idle + pool.other;\n"
    "  if (pool.limit > 0 && all >= pool.limit)\n"
    "    return pool.waiting + ' wait: all ' + pool.limit + ' servers of this pool (pool_size) are in use';\n"
    "  return pool.waiting + ' wait: a server is being opened, or a limit above this pool holds (max_db_connections, max_user_connections)';\n"
    "}\n"
    "function part(name, count, of) {\n"
    "  const element = make('i', name);\n"
    "  element.style.width = 100 * count / of + '%';\n"
    "  return element;\n"
    "}\n"
    "function poolCard(pool) {\n"
    "  const element = make('div', 'pool'), name = make('div', 'name'), bar = make('div', 'bar'), numbers = make('div', 'numbers');\n"
    "  const of = Math.max(pool.limit, pool.active + pool.idle + pool.other, 1), reason = why(pool);\n"
    "  const title = make('b', '', pool.database);\n"
    "  title.append(make('span', 'soft', '  ' + pool.user + ' · ' + pool.mode));\n"
    "  name.append(title, make('span', '', (pool.active + pool.idle + pool.other) + ' of ' + (pool.limit || 'any number of') + ' servers'));\n"
    "  bar.append(part('busy', pool.active, of), part('other', pool.other, of), part('idle', pool.idle, of));\n"
    "  numbers.append(make('span', '', pool.active + ' used'), make('span', '', pool.idle + ' idle'),\n"
    "    make('span', '', pool.clients + ' clients'), make('span', pool.waiting ? 'wait' : '', pool.waiting + ' waiting'),\n"
    "    make('span', '', number(pool.rate) + ' transactions/s'), make('span', '', 'query ' + time(pool.mean)),\n"
    "    make('span', '', 'wait ' + time(pool.wait)));\n"
    "  element.append(name, bar, numbers);\n"
    "  if (reason) element.append(make('div', pool.failure ? 'bad' : 'wait', reason));\n"
    "  return element;\n"
    "}\n"
    "function options(now) {\n"
    "  const table = make('table');\n"
    "  for (const option of now.options) {\n"
    "    if (!showAll && option.is_default) continue;\n"
    "    const row = make('tr');\n"
    "    row.append(make('th', '', option.name), make('td', '', option.value),\n"
    "      make('td', 'soft', option.is_default ? 'default' : 'default: ' + option.default));\n"
    "    table.append(row);\n"
    "  }\n"
    "  return table;\n"
    "}\n"
    "function show(now) {\n"
    "  const { span, sum } = rates(now);\n"
    "  $('state').textContent = now.draining ? 'draining' : 'up ' + age(now.uptime_us);\n"
    "  $('state').className = now.draining ? 'bad' : 'good';\n"
    "  $('about').textContent = 'pgweir ' + now.version + ' · ' + now.workers + (now.workers > 1 ? ' threads' : ' thread');\n"
    "  const waiting = now.pools.reduce((all, pool) => all + pool.waiting, 0);\n"
    "  if (span > 0 || !before)\n"
    "    $('cards').replaceChildren(\n"
    "      card('clients of ' + now.client_limit, now.clients, number),\n"
    "      card('waiting clients', waiting, number),\n"
    "      card('transactions/s', span > 0 ? sum.xacts / span : 0, number),\n"
    "      card('queries/s', span > 0 ? sum.queries / span : 0, number),\n"
    "      card('mean query', sum.query_us / Math.max(sum.queries, 1), time),\n"
    "      card('mean wait', sum.wait_us / Math.max(sum.assignments, 1), time));\n"
    "  $('pools').replaceChildren(...now.pools.map(poolCard));\n"
    "  if (!now.pools.length) $('pools').append(make('p', 'soft', 'No client has come yet: a pool is made when the first one logs in.'));\n"
    "  $('options').replaceChildren(options(now));\n"
    "  before = now;\n"
    "}\n"
    "async function turn() {\n"
    "  try {\n"
    "    const answer = await fetch('/status.json', { cache: 'no-store' });\n"
    "    if (!answer.ok) throw new Error('status ' + answer.status);\n"
    "    show(await answer.json());\n"
    "  } catch (error) {\n"
    "    $('state').textContent = 'no answer: ' + error.message;\n"
    "    $('state').className = 'bad';\n"
    "  }\n"
    "  setTimeout(turn, EVERY);\n"
    "}\n"
    "$('all').addEventListener('click', () => { showAll = !showAll; if (before) $('options').replaceChildren(options(before)); });\n"
    "turn();\n";
/* clang-format on */

void status_page_render(struct page *page)
{
    struct bytes *out = &page->out;
    bytes_text(out, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
                    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">"
                    "<title>pgweir</title>\n<style>");
    bytes_text(out, style);
    bytes_text(out, "</style></head>\n<body><main>\n<header><h1>pgweir</h1><b id=\"state\"></b>"
                    "<span id=\"about\" class=\"soft\"></span></header>\n"
                    "<div id=\"cards\" class=\"cards\"></div>\n<h2>Pools</h2>\n"
                    "<div id=\"pools\"></div>\n<h2>Configuration that differs from the defaults "
                    "<button id=\"all\">all</button></h2>\n<div id=\"options\"></div>\n"
                    "</main><script>");
    bytes_text(out, script);
    bytes_text(out, "</script></body></html>\n");
}

/* "sha256-" and the digest in base64 (CSP 3 §2.3.1). */
static void put_hash(struct bytes *out, const char *directive, const char *text)
{
    uint8_t digest[AUTH_SHA256_SIZE];
    char encoded[AUTH_SHA256_SIZE * 2];
    auth_crypto_sha256(text, strlen(text), digest);
    base64_encode(digest, sizeof(digest), encoded);
    bytes_format(out, "; %s 'sha256-%s'", directive, encoded);
}

void status_page_policy(char *policy, size_t size)
{
    struct bytes out = bytes_over(policy, size - 1);
    bytes_text(&out, "default-src 'none'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
                     "frame-ancestors 'none'");
    put_hash(&out, "style-src", style);
    put_hash(&out, "script-src", script);
    policy[out.size] = '\0';
}
