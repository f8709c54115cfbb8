// A server with the page and made-up data, which follows docs/web-api.md: same headers, same refusals. For tests and for work on the page:
// `node tests/web/fixture.mjs [shop|hostile|empty|many] [TRANSACTIONS PER SECOND]` prints the link.

import { createServer } from 'node:http';
import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Data } from './data.mjs';

export const PAGE = fileURLToPath(new URL('../../sniffer/web/', import.meta.url));
const PARTS = ['services', 'edges', 'dns', 'tls', 'flows', 'health'];
const TYPES = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript; charset=utf-8', '.css': 'text/css; charset=utf-8', '.svg': 'image/svg+xml', '.json': 'application/json' };
export const POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'; "
  + "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";
const HEADERS = {
  'Content-Security-Policy': POLICY, 'X-Content-Type-Options': 'nosniff', 'Referrer-Policy': 'no-referrer', 'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Resource-Policy': 'same-origin', 'Cache-Control': 'no-store',
};

/** A refused request: status and text, and which parameter is wrong. */
class Refused extends Error {
  constructor(status, error, more = {}) { super(error); this.status = status; this.body = { error, ...more }; }
}

/** Starts a server on a free port. `requests` are the paths that were asked for, with their queries. */
export async function start({ mode = 'shop', rate = 4102, port = 0 } = {}) {
  const data = new Data(mode, rate);
  const token = randomBytes(16).toString('hex');
  const requests = [];
  const server = createServer((request, response) => {
    answer(request, data, token, requests).then(
      ({ type, body, disposition }) => {
        response.writeHead(200, { ...HEADERS, 'Content-Type': type, ...(disposition ? { 'Content-Disposition': disposition } : {}) });
        response.end(body);
      },
      (error) => {
        if (!(error instanceof Refused)) console.error(error);
        response.writeHead(error.status ?? 500, { ...HEADERS, 'Content-Type': 'application/json', ...(error.status === 405 ? { Allow: 'GET, HEAD' } : {}) });
        response.end(JSON.stringify(error.body ?? { error: String(error) }));
      },
    );
  });
  await new Promise((done) => { server.listen(port, '127.0.0.1', done); });
  const origin = `http://localhost:${server.address().port}`;
  return { origin, token, url: `${origin}/#token=${token}`, data, requests, close: () => { server.close(); server.closeAllConnections(); } };
}

async function answer(request, data, token, requests) {
  const url = new URL(request.url, 'http://localhost');
  requests.push(request.url);
  if (!/^(localhost|127\.0\.0\.1|\[::1\])(:\d+)?$/.test(request.headers.host ?? '')) throw new Refused(403, 'this host name is not allowed');
  const { origin } = request.headers;
  if ((origin && origin !== `http://${request.headers.host}`) || ['cross-site', 'same-site'].includes(request.headers['sec-fetch-site'])) throw new Refused(403, 'another page asks');
  if (!['GET', 'HEAD'].includes(request.method)) throw new Refused(405, 'only GET and HEAD');
  if (!url.pathname.startsWith('/api/')) return file(url.pathname);
  if (request.headers.authorization !== `Bearer ${token}`) throw new Refused(403, 'the token is missing or wrong');
  const found = await api(url, data);
  return found.type ? found : { type: 'application/json', body: JSON.stringify(found) };
}

async function file(path) {
  const name = normalize(path === '/' ? '/index.html' : path);
  try {
    return { type: TYPES[extname(name)] ?? 'application/octet-stream', body: await readFile(join(PAGE, name)) };
  } catch {
    throw new Refused(404, 'no such file');
  }
}

/** The parameters of a request. Unknown and repeated ones are refused. */
function parameters(url, known) {
  const got = {};
  for (const [name, value] of url.searchParams) {
    if (!known.includes(name)) throw new Refused(400, `unknown parameter ${name}`, { parameter: name });
    got[name] = value;
  }
  return got;
}

async function api(url, data) {
  const number = (got, name, least, most) => {
    if (got[name] === undefined) return undefined;
    const value = Number(got[name]);
    if (!Number.isInteger(value) || value < least || value > most) throw new Refused(400, `${name} must be a number from ${least} to ${most}`, { parameter: name });
    return value;
  };
  const checked = (got) => {
    const wrong = data.wrong(got.filter);
    if (wrong) throw new Refused(400, wrong.error, wrong);
    return got;
  };
  switch (url.pathname) {
    case '/api/view': {
      const got = checked(parameters(url, ['parts', 'range', 'filter', 'limit']));
      const parts = (got.parts ?? 'services').split(',');
      const unknown = parts.find((part) => !PARTS.includes(part));
      if (unknown !== undefined) throw new Refused(400, `unknown part ${unknown}`, { parameter: 'parts' });
      if (got.range && !['5m', 'all'].includes(got.range)) throw new Refused(400, `unknown range ${got.range}`, { parameter: 'range' });
      return data.view({ parts, range: got.range, filter: got.filter, limit: number(got, 'limit', 1, 2000) });
    }
    case '/api/operations': {
      const got = checked(parameters(url, ['service', 'range', 'filter', 'limit']));
      const found = data.operations({ ...got, limit: number(got, 'limit', 1, 2000) });
      if (!found) throw new Refused(404, 'no such service');
      return found;
    }
    case '/api/tail': {
      const got = checked(parameters(url, ['after', 'limit', 'filter', 'service', 'operation', 'order', 'wait_ms']));
      if (got.order && !['new', 'slow', 'failed'].includes(got.order)) throw new Refused(400, `unknown order ${got.order}`, { parameter: 'order' });
      const after = number(got, 'after', 0, Number.MAX_SAFE_INTEGER);
      const wanted = { ...got, after, limit: number(got, 'limit', 1, 1000) };
      const until = Date.now() + (number(got, 'wait_ms', 0, 10000) ?? 0);
      for (;;) {
        const found = data.tail(wanted);
        if (found.rows.length || Date.now() >= until) return found;
        await new Promise((done) => { setTimeout(done, 20); });
      }
    }
    case '/api/transaction': {
      const found = data.transaction(number(parameters(url, ['seq']), 'seq', 0, Number.MAX_SAFE_INTEGER));
      if (!found) throw new Refused(404, 'this transaction is no longer kept');
      return found;
    }
    case '/api/export': {
      const got = checked(parameters(url, ['format', 'filter', 'service', 'operation']));
      if (!['ndjson', 'csv'].includes(got.format)) throw new Refused(400, 'format must be ndjson or csv', { parameter: 'format' });
      const rows = data.selected(got, 2000);
      const csv = (value) => `"${String(value ?? '').replaceAll('"', '""').replace(/^[=+\-@\t\r]/, "'$&")}"`;
      const body = got.format === 'ndjson' ? rows.map((row) => `${JSON.stringify(row)}\n`).join('') : ['seq,time_us,operation\n', ...rows.map((row) => `${[row.seq, row.time_us, row.operation].map(csv).join(',')}\n`)].join('');
      return { type: got.format === 'csv' ? 'text/csv; charset=utf-8' : 'application/x-ndjson', body, disposition: `attachment; filename="transactions.${got.format}"` };
    }
    default: throw new Refused(404, 'unknown path');
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [, , mode, rate, port] = process.argv;
  console.log((await start({ mode, rate: rate ? Number(rate) : undefined, port: Number(port ?? 0) })).url);
}
