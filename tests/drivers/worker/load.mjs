// Invokes a Worker many times: load.mjs URL INVOCATIONS CONCURRENCY
// Prints one line of JSON: { rows, failures, seconds, errors }, rows being those of the first answer.
// Exit status 0 only if every invocation answered 200 with the same rows.
import http from 'node:http';

const [url, invocations, concurrency] = [process.argv[2], Number(process.argv[3]), Number(process.argv[4])];
const deadlineMs = 30000;
const agent = new http.Agent({ keepAlive: true, maxSockets: concurrency });

function invoke() {
  return new Promise((resolve, reject) => {
    const request = http.get(url, { agent, timeout: deadlineMs }, (response) => {
      let body = '';
      response.setEncoding('utf8');
      response.on('data', (chunk) => (body += chunk));
      response.on('error', reject);
      response.on('end', () =>
        response.statusCode === 200
          ? resolve(body)
          : reject(new Error(`status ${response.statusCode}: ${body.slice(0, 200)}`)),
      );
    });
    request.on('timeout', () => request.destroy(new Error(`no answer within ${deadlineMs} ms`)));
    request.on('error', reject);
  });
}

const answers = [];
const errors = [];
let begun = 0;

async function invokeUntilDone() {
  while (begun < invocations) {
    begun += 1;
    await invoke().then((body) => answers.push(body), (error) => errors.push(error.message));
  }
}

const start = process.hrtime.bigint();
await Promise.all(Array.from({ length: concurrency }, invokeUntilDone));
const seconds = Number(process.hrtime.bigint() - start) / 1e9;
agent.destroy();

const different = answers.filter((body) => body !== answers[0]).length;
if (different > 0) errors.push(`${different} answers differ from the first`);
const failures = invocations - answers.length + different;
const rows = answers.length > 0 ? JSON.parse(answers[0]) : [];
console.log(JSON.stringify({ rows, failures, seconds, errors: [...new Set(errors)].slice(0, 5) }));
process.exit(failures === 0 && rows.length > 0 ? 0 : 1);
