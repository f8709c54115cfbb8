// Made-up answers of the API: a shop with callers, services and stores. Everything is a function of the seed, the time and the sequence
// number, so that no transaction has to be kept. It is not a simulation: counts of different tables need not agree.

const SECOND_US = 1e6;
/** Transactions that the server would keep. */
const KEPT = 20000;
/** The age of the made-up history. */
const AGE_SECONDS = 751;

/** Texts of the wire as an attacker would send them. Each has an id of its own that tests look for. */
export const HOSTILE = [
  '<script>window.__hostile=1</script>',
  '<img src=//evil.example/x onerror="window.__hostile=2">',
  '\u001b[2J\u001b]0;owned\u0007\u009b31m',
  'abc\u202egnp.exe\u202c\u2066x\u2069',
  'n'.repeat(300),
  '</script><script>window.__hostile=3</script>',
  '漢字ｶﾅ ‏עברית \u0000\u0001\ufffe',
  'javascript:alert(1)',
  "\"'><svg onload=alert(1)>",
  '__proto__',
];

/** A generator of numbers in [0, 1) that gives the same ones for the same seed (mulberry32). */
function random(seed) {
  let a = seed >>> 0;
  return () => {
    a = (a + 0x6d2b79f5) >>> 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** name, protocol, port, process, requests per second, errors in percent, median in milliseconds, names of the services that it calls */
const SHOP = [
  ['shop.example', 'http', 8443, 'nginx', 1490, 0.4, 12, 'web api static'],
  ['admin.example', 'http', 8444, 'nginx', 22, 0.1, 20, 'backoffice'],
  ['web', 'http', 8080, 'node', 902, 0.3, 9, 'api cache session'],
  ['static', 'http', 8081, 'nginx', 511, 0, 0.6, ''],
  ['api', 'http', 8080, 'gunicorn', 1204, 2.1, 3.1, 'orders users search cart pay stock events cache'],
  ['backoffice', 'http', 8090, 'java', 19, 0, 41, 'orders users reports'],
  ['orders', 'http', 8101, 'gunicorn', 402, 0.2, 5.2, 'orders-db pay events mail'],
  ['users', 'http', 8102, 'gunicorn', 388, 0, 2.2, 'users-db session'],
  ['search', 'http', 8103, 'java', 260, 0.5, 18, 'elastic cache'],
  ['cart', 'http', 8104, 'node', 199, 0, 1.9, 'cache cart-db'],
  ['pay', 'http', 8105, 'payd', 12, 31, 210, 'ledger-db bank'],
  ['stock', 'grpc', 8106, 'stockd', 144, 0, 1.1, 'stock-db events'],
  ['mail', 'http', 8107, 'mailer', 6, 0, 80, 'mail-db smtp'],
  ['reports', 'http', 8108, 'python3', 2, 0, 900, 'warehouse'],
  ['images', 'http', 8109, 'imaged', 44, 0, 22, 'files'],
  ['auth', 'http', 8110, 'authd', 91, 1.2, 4, 'users-db session'],
  ['pricing', 'thrift', 8111, 'priced', 61, 0, 2, 'cache'],
  ['ship', 'http', 8112, 'node', 8, 3, 60, 'ship-db events'],
  ['audit', 'http', 8113, 'auditd', 14, 0, 3, 'audit-log'],
  ['metrics', 'http', 9090, 'prometheus', 31, 0, 2, ''],
  ['orders-db', 'pgsql', 5432, 'postgres', 902, 0, 0.4, ''],
  ['users-db', 'pgsql', 5432, 'postgres', 640, 0, 0.3, ''],
  ['stock-db', 'mysql', 3306, 'mysqld', 201, 0.1, 0.6, ''],
  ['ledger-db', 'pgsql', 5432, 'postgres', 24, 4.2, 140, ''],
  ['cart-db', 'mongodb', 27017, 'mongod', 122, 0, 0.8, ''],
  ['mail-db', 'mysql', 3306, 'mysqld', 9, 0, 0.5, ''],
  ['ship-db', 'pgsql', 5432, 'postgres', 11, 0, 0.7, ''],
  ['warehouse', 'cassandra', 9042, 'java', 5, 0, 40, ''],
  ['cache', 'redis', 6379, 'redis-server', 2210, 0, 0.1, ''],
  ['session', 'memcache', 11211, 'memcached', 1011, 0, 0.1, ''],
  ['elastic', 'http', 9200, 'java', 230, 0, 14, ''],
  ['events', 'amqp', 5672, 'beam.smp', 310, 0, 0.9, ''],
  ['audit-log', 'http', 9201, 'java', 14, 0, 6, ''],
  ['files', 'nfs', 2049, 'nfsd', 88, 0, 1.4, ''],
  ['bank', 'tls', 443, null, 12, 0, 190, ''],
  ['smtp', 'tls', 465, null, 6, 0, 120, ''],
  ['resolver', 'dns', 53, 'systemd-resolved', 311, 0.6, 0.2, 'dns-up'],
  ['dns-up', 'dns', 53, null, 60, 0.9, 9, ''],
  ['dhcp', 'dhcpv4', 67, 'dnsmasq', 0.1, 0, 1, ''],
  ['voip', 'sip', 5060, 'asterisk', 3, 0, 2, ''],
];

const ROUTES = ['GET /orders/{}', 'POST /pay', 'GET /health', 'GET /search', 'PUT /cart/{}', 'GET /users/{}/orders', 'DELETE /cart/{}', 'GET /items/{}',
  'POST /login', 'GET /img/{}', 'GET /reports/{}', 'PATCH /users/{}'];
const QUERIES = ['SELECT * FROM orders WHERE id = ?', 'INSERT INTO items VALUES (?, ?)', 'UPDATE stock SET n = n - ? WHERE sku = ?', 'SELECT name FROM users WHERE id = ?',
  'COMMIT', 'BEGIN'];
const COMMANDS = ['GET {}', 'SET {}', 'EXPIRE {}', 'HGETALL {}', 'MGET {} {}'];
const NAMES = ['api.shop.example', 'orders.shop.example', 'cdn.example.net', 'bank.example', 'smtp.example.org', 'ntp.example.net', 'api.shop.local', 'registry.example',
  'db-1.internal', 'db-2.internal', 'cache.internal', 'updates.example.com'];

/** The services of a mode with what their rows need. */
function servicesOf(mode) {
  if (mode === 'empty') return [];
  const rows = SHOP.map((row, n) => service(row, n, mode));
  if (mode !== 'many') return rows;
  for (let n = rows.length; n < 2000; n += 1) {
    const calls = n > 200 ? '' : `s${n + 200} s${n + 500}`;
    rows.push(service([`s${n}`, n % 3 ? 'http' : 'pgsql', 1024 + n, n % 5 ? 'java' : null, 1 + (n * 37) % 90, n % 19 ? 0 : 3, 1 + n % 40, calls], n, mode));
  }
  return rows;
}

function service([name, protocol, port, process, rate, errors, median, calls], n, mode) {
  const address = n % 9 === 8 ? `2001:db8::${(n + 16).toString(16)}` : `10.0.${n >> 8}.${(n & 255) + 5}`;
  const hostile = mode === 'hostile' ? HOSTILE[n % HOSTILE.length] : null;
  return {
    id: `${address.includes(':') ? `[${address}]` : address}:${port}/${protocol}`,
    short: name,
    name: `${hostile ?? name}:${port}`,
    address, port, protocol, rate, errors, median,
    process: process && { pid: 500 + n, name: hostile ?? process, user: 'www', service: `${name}.service` },
    calls: calls.split(' ').filter(Boolean),
  };
}

/** Operations of a service, without numbers. */
function operationsOf(service, mode) {
  const of = { http: ROUTES, grpc: ROUTES, thrift: ROUTES, redis: COMMANDS, memcache: COMMANDS, dns: NAMES.map((name) => `A ${name}`) }[service.protocol] ?? QUERIES;
  const names = mode === 'hostile' ? HOSTILE.map((text) => `GET /${text}`) : of;
  return names.map((name, n) => ({ name, share: 2 ** -(n + 1), errors: /pay/.test(name) ? 31 : service.errors, median: service.median * (1 + n / 3) }));
}

/** All answers in one mode (`shop`, `hostile`, `empty`, `many`) with `rate` transactions per second. */
export class Data {
  constructor(mode = 'shop', rate = 4102) {
    this.mode = mode;
    this.rate = mode === 'empty' ? 0 : rate;
    this.start = Date.now() - AGE_SECONDS * 1000;
    this.services = servicesOf(mode);
    this.byShort = new Map(this.services.map((service) => [service.short, service]));
    this.byId = new Map(this.services.map((service) => [service.id, service]));
    this.total = this.services.reduce((sum, { rate: each }) => sum + each, 0) || 1;
    // Sorted sums of the rates: a binary search finds the service of a transaction.
    let sum = 0;
    this.sums = this.services.map((service) => (sum += service.rate));
  }

  now() { return Date.now() * 1000; }
  latest() { return Math.floor(((Date.now() - this.start) / 1000) * this.rate); }

  /** A `numbers` object. */
  numbers(rate, errors, median, seed, seconds = true) {
    const second = Math.floor(Date.now() / 1000);
    const at = (s) => rate * (0.8 + 0.25 * Math.sin((s + seed * 7) / 9) + 0.3 * random(s * 31 + seed)());
    const scale = this.rate / 4102;
    const shown = at(second) * scale;
    const count = Math.round(rate * 300 * scale);
    const values = {
      count, errors: Math.round((count * errors) / 100), rate: shown, error_percent: errors, bytes_per_second: shown * 900,
      p50_ns: Math.round(median * 1e6), p95_ns: Math.round(median * 9e6 * (1 + 0.2 * Math.sin(second / 5))), p99_ns: Math.round(median * 30e6), time_ns: Math.round(count * median * 2e6),
    };
    if (seconds) values.seconds = Array.from({ length: 60 }, (_, n) => Math.round(at(second - 59 + n) * scale));
    return values;
  }

  matches(filter, { protocol, error, duration_ns: duration = 0, text = '' }) {
    const words = (filter ?? '').split(/\s+/).filter(Boolean);
    const protocols = words.filter((word) => /^[a-z0-9]+$/.test(word));
    if (protocols.length && !protocols.includes(protocol)) return false;
    return words.every((word) => {
      if (word === 'status=error') return error;
      const slow = /^slow>(\d+)ms$/.exec(word);
      if (slow) return duration > Number(slow[1]) * 1e6;
      return /^[a-z0-9]+$/.test(word) || text.includes(word.replace(/^\w+[=:]/, '').replaceAll('"', '').replaceAll('*', ''));
    });
  }

  /** The error of a filter, or null. */
  wrong(filter) {
    const known = new Set(SHOP.map(([, protocol]) => protocol));
    const word = (filter ?? '').split(/\s+/).find((each) => /^[a-z0-9]+$/.test(each) && !known.has(each));
    return word ? { error: `unknown word ${word}; did you mean http?`, parameter: 'filter', column: filter.indexOf(word) + 1 } : null;
  }

  table(rows, limit) {
    rows.sort((a, b) => (b.numbers?.count ?? b.count ?? b.packets) - (a.numbers?.count ?? a.count ?? a.packets));
    return { rows: rows.slice(0, limit), total: rows.length, rest: this.mode === 'many' ? this.numbers(80, 0.1, 2, 9, false) : null };
  }

  view({ parts = ['services'], filter = '', limit = 200, range = '5m' }) {
    const empty = this.mode === 'empty';
    const answer = {
      now_us: this.now(), live: true, ended: false, host: this.mode === 'hostile' ? HOSTILE[0] : 'web-1', capture: 'any (eBPF: eth0, lo)', watched: '16 protocols on 41 ports',
      covered_ns: Date.now() * 1e6 - this.start * 1e6, zone_seconds: 28800, range,
      totals: empty ? { count: 0, errors: 0, rate: 0, error_percent: 0, bytes_per_second: 0, p50_ns: null, p95_ns: null, p99_ns: null, time_ns: 0, seconds: Array(60).fill(0) } : this.numbers(4102, 0.8, 1.9, 1),
      packets: { seen: empty ? 8114 : 9100000 + this.latest(), matched: empty ? 0 : 1200000 + this.latest(), lost: 0 },
      skipped: 0, hidden: filter ? 812000 : 0, filter_sees: KEPT, notice: this.mode === 'hostile' ? `http: ${HOSTILE[1]}` : null,
    };
    // `services` is the list of all; `servicesTable` makes the table of this part.
    for (const part of parts) answer[part] = this[part === 'services' ? 'servicesTable' : part]({ filter, limit });
    return answer;
  }

  servicesTable({ filter, limit }) {
    const shown = this.services.filter((each) => this.matches(filter, { protocol: each.protocol, error: each.errors > 0, duration_ns: each.median * 3e7, text: each.name }));
    return this.table(shown.map((each) => ({
      id: each.id, name: each.name, address: each.address, port: each.port, protocol: each.protocol, process: each.process,
      numbers: this.numbers(each.rate, each.errors, each.median, each.port + each.rate), operations: operationsOf(each, this.mode).length,
    })), limit);
  }

  edges({ filter, limit }) {
    const rows = [];
    const add = (client, process, to, share) => {
      if (!to || !this.matches(filter, { protocol: to.protocol, error: to.errors > 0, text: to.name })) return;
      const numbers = this.numbers(to.rate * share, to.errors, to.median, to.port, false);
      rows.push({ client, process, service: to.id, rate: numbers.rate, count: numbers.count, errors: numbers.errors });
    };
    const callers = new Map();
    for (const from of this.services) for (const name of from.calls) callers.set(name, (callers.get(name) ?? 0) + 1);
    for (const from of this.services) for (const name of from.calls) add(from.address, from.process, this.byShort.get(name), 1 / callers.get(name));
    const outside = this.services.filter((each) => !callers.has(each.short));
    outside.forEach((each, n) => {
      if (this.mode === 'many' && n % 8) return;
      add(`203.0.113.${(n % 7) + 7}`, null, each, 0.7);
      if (n < 3) add(`198.51.100.${n + 20}`, null, each, 0.3);
    });
    if (this.services.length) for (const [n, name] of ['cron', 'backup'].entries()) {
      add('10.0.7.7', { pid: 71 + n, name, user: 'root' }, this.byShort.get('orders-db'), 0.01);
      add('10.0.7.7', { pid: 71 + n, name, user: 'root' }, this.byShort.get(n ? 'files' : 'reports'), 0.2);
    }
    return this.table(rows, limit);
  }

  dns({ limit, filter }) {
    const names = this.mode === 'empty' ? [] : this.mode === 'hostile' ? HOSTILE : NAMES;
    const rows = names.flatMap((name, n) => ['A', 'AAAA'].slice(0, 1 + (n % 2)).map((kind) => {
      const failing = name.endsWith('.local') || n === 9;
      const numbers = this.numbers(60 / (n + 1), failing ? 100 : n === 2 ? 0.4 : 0, failing ? 30 : 0.4 + n, n + 3, false);
      const codes = failing ? [[n === 9 ? 'SERVFAIL' : 'NXDOMAIN', numbers.count]] : [['NOERROR', numbers.count - numbers.errors], ...(numbers.errors ? [['NXDOMAIN', numbers.errors]] : [])];
      return { name, kind, numbers, codes, client: '10.0.0.7', process: n % 3 ? { pid: 511, name: 'node' } : null };
    })).filter((row) => this.matches(filter, { protocol: 'dns', error: row.numbers.errors > 0, text: row.name }));
    const wide = rows.length ? [{ domain: this.mode === 'hostile' ? HOSTILE[3] : 't.example', names: 1204, mean_length: 48.2 }] : [];
    return { ...this.table(rows, limit), wide };
  }

  tls({ limit, filter }) {
    if (this.mode === 'empty') return this.table([], limit);
    const day = 86400 * SECOND_US;
    const all = [['bank.example', '1.2', 'TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA', true, 6], ['smtp.example.org', '1.3', 'TLS_AES_256_GCM_SHA384', false, 61],
      ['old.example', '1.0', 'TLS_RSA_WITH_3DES_EDE_CBC_SHA', true, -3], ['cdn.example.net', '1.3', 'TLS_AES_128_GCM_SHA256', false, 200],
      ['registry.example', '1.3', 'TLS_CHACHA20_POLY1305_SHA256', false, null], ['api.example', '1.2', 'TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384', false, 28],
      ['updates.example.com', '1.3', 'TLS_AES_128_GCM_SHA256', false, 88]];
    const rows = all.map(([name, version, cipher, weak, days], n) => ({
      name: this.mode === 'hostile' ? HOSTILE[n % HOSTILE.length] : name, address: `192.0.2.${n + 9}`, port: 443, version, cipher, weak,
      certificate_end_us: days === null ? null : this.now() + days * day, numbers: this.numbers(12 / (n + 1), n === 2 ? 20 : 0, 60 + n, n, false),
    })).filter((row) => this.matches(filter, { protocol: 'tls', error: row.numbers.errors > 0, text: row.name }));
    return this.table(rows, limit);
  }

  flows({ limit, filter }) {
    const second = Date.now() / 1000;
    const rows = this.edges({ limit: 10000, filter }).rows.map((edge, n) => {
      const to = this.byId.get(edge.service);
      const rates = [edge.rate * 400 * (1.1 + Math.sin(second / 4 + n)), edge.rate * 3100 * (1.1 + Math.sin(second / 5 + n))];
      return { client: edge.client, client_process: edge.process, address: to.address, port: to.port, process: to.process, transport: to.protocol === 'dns' ? 'udp' : 'tcp',
        flows: 1 + Math.round(edge.count / 90), open: n % 15, bytes: [edge.count * 400, edge.count * 3100], rates, packets: edge.count * 6 };
    });
    return this.table(rows, limit);
  }

  health() {
    const s = Math.floor((Date.now() - this.start) / 1000);
    if (this.mode === 'empty') return { counters: { 'capture.seen': 8114, 'capture.unmatched': 8114, 'memory.max': 268435456 } };
    const copied = 1200000 + s * 4102;
    const events = Math.round(copied / 3);
    return { counters: {
      'capture.seen': 9100000 + s * 30000, 'capture.unmatched': 7900000 + s * 25898 - 3211, 'capture.matched': copied + 3211, 'capture.shunted': 0, 'capture.copied': copied, 'capture.copied_bytes': copied * 611,
      'capture.frames': copied - 812, 'capture.own': 812, 'capture.lost': this.mode === 'hostile' ? 3211 : 3211, 'capture.duplicates': 20411, 'decode.not_ip': 311, 'decode.ip_truncated': 4,
      'decode.fragments': 120, 'decode.fragments_reassembled': 58, 'decode.fragments_expired': 2, 'tcp.connections': 88123 + s * 9, 'tcp.open': 412, 'tcp.retransmitted': 4120, 'tcp.early': 3001, 'tcp.gaps': 12,
      'tcp.gap_bytes': 61000, 'tcp.dropped_because_of_gaps': 3, 'tcp.out_of_window': 21, 'tcp.given_up': 2, 'tcp.idle': 4001, 'http.unmatched_responses': 14, 'http.unmatched_requests': 3, 'pgsql.unmatched_responses': 2, 'dns.unmatched_requests': 41,
      'flows.active': 611, 'flows.created': 90000, 'tcp.held': 3100000, 'plugins.held': 1200000, 'flows.held': 210000, 'memory.max': 268435456,
      'libbeat.pipeline.events.published': events, 'libbeat.pipeline.events.filtered': 120, 'libbeat.pipeline.events.dropped': 0, 'libbeat.pipeline.events.active': 240, 'libbeat.pipeline.queue.filled.events': 240, 'libbeat.pipeline.queue.max_events': 3200,
      'libbeat.pipeline.events.retry': 50, 'libbeat.output.events.total': events - 190, 'libbeat.output.events.acked': events - 240, 'libbeat.output.events.active': 50, 'libbeat.output.events.failed': 0, 'libbeat.output.events.dropped': 7, 'libbeat.output.write.bytes': events * 700,
      ...(this.mode === 'hostile' ? { [`x.${HOSTILE[0]}`]: 1 } : {}),
    } };
  }

  operations({ service: id, filter, limit = 200 }) {
    const of = id ? [this.byId.get(id)] : this.services.slice(0, 40);
    if (id && !of[0]) return null;
    const list = of.flatMap((each) => operationsOf(each, this.mode).map((operation) => ({ each, operation })))
      .filter(({ each, operation }) => this.matches(filter, { protocol: each.protocol, error: operation.errors > 0, duration_ns: operation.median * 3e7, text: operation.name }));
    const rows = list.map(({ each, operation }, n) => {
      const numbers = this.numbers(each.rate * operation.share, operation.errors, operation.median, n + each.port);
      const ok = each.protocol === 'http' ? '200' : 'OK';
      return { service: each.id, name: operation.name, numbers, time_percent: 0, first_us: n === 3 ? this.now() - 40 * SECOND_US : this.start * 1000, results: [[ok, numbers.count - numbers.errors], ...(numbers.errors ? [[each.protocol === 'http' ? '503' : 'Error', numbers.errors]] : [])] };
    });
    const time = rows.reduce((sum, row) => sum + row.numbers.time_ns, 0) || 1;
    for (const row of rows) row.time_percent = (100 * row.numbers.time_ns) / time;
    const me = of[0];
    const called = id ? this.services.filter((each) => each.calls.includes(me.short)).map((each) => ({ name: each.name, service: each.id, rate: me.rate / 3 })) : [];
    if (id && !called.length) called.push({ name: '203.0.113.7', service: null, rate: me.rate });
    const calls = id ? me.calls.map((name) => this.byShort.get(name)).filter(Boolean).map((to) => ({ name: to.name, service: to.id, rate: to.rate / 2 })) : [];
    return { ...this.table(rows, limit), called_by: called, calls };
  }

  /** The transaction with a sequence number. */
  row(seq) {
    const next = random(seq * 2654435761);
    const at = next() * this.total;
    let [low, high] = [0, this.sums.length - 1];
    while (low < high) { const mid = (low + high) >> 1; if (this.sums[mid] < at) low = mid + 1; else high = mid; }
    const service = this.services[low];
    const operations = operationsOf(service, this.mode);
    const operation = operations[Math.min(operations.length - 1, Math.floor(-Math.log2(1 - next())))];
    const error = next() * 100 < operation.errors;
    const duration = Math.round(operation.median * 1e6 * Math.exp((next() + next() + next() - 1.5) * 2) * (error ? 4 : 1));
    const query = operation.name.replaceAll('{}', () => String(1000 + Math.floor(next() * 9000)));
    return { seq, time_us: this.start * 1000 + Math.floor((seq / this.rate) * SECOND_US), duration_ns: duration, protocol: service.protocol,
      client: `10.0.0.${5 + Math.floor(next() * 30)}`, client_port: 32768 + Math.floor(next() * 28000), client_process: seq % 3 ? { pid: 511, name: 'node' } : null,
      server: service.address, server_port: service.port, process: service.process, service: service.id, operation: operation.name, query: operation.name.startsWith('GET /') ? `${query}?full=1` : query,
      result: service.protocol === 'http' ? (error ? '503' : '200') : service.protocol === 'dns' ? (error ? 'NXDOMAIN' : 'NOERROR') : error ? 'Error' : 'OK', status: error ? 'Error' : 'OK', error, bytes: [80 + Math.floor(next() * 900), 100 + Math.floor(next() * 40000)] };
  }

  selected({ filter, service, operation }, count, from = this.latest()) {
    const rows = [];
    for (let seq = from; this.rate && seq > Math.max(0, from - KEPT) && rows.length < count; seq -= 1) {
      const row = this.row(seq);
      if ((!service || row.service === service) && (!operation || row.operation === operation) && this.matches(filter, { ...row, text: `${row.query} ${row.client}` })) rows.push(row);
    }
    return rows;
  }

  tail({ after, limit = 100, order = 'new', ...wanted }) {
    const latest = this.latest();
    if (order !== 'new') {
      const some = this.selected(wanted, 3000);
      const rows = order === 'slow' ? some.sort((a, b) => b.duration_ns - a.duration_ns) : some.filter((row) => row.error);
      return { rows: rows.slice(0, limit), next: latest, skipped: 0 };
    }
    const since = after ?? latest - limit;
    const rows = [];
    for (let seq = latest; this.rate && seq > Math.max(0, since) && rows.length < limit && latest - seq < KEPT; seq -= 1) {
      const row = this.row(seq);
      if ((!wanted.service || row.service === wanted.service) && (!wanted.operation || row.operation === wanted.operation) && this.matches(wanted.filter, { ...row, text: `${row.query} ${row.client}` })) rows.push(row);
    }
    rows.reverse();
    return { rows, next: latest, skipped: rows.length === limit ? Math.max(0, rows[0].seq - since - 1) : 0 };
  }

  transaction(seq) {
    if (!(seq > 0 && seq <= this.latest() && seq > this.latest() - KEPT)) return null;
    const row = this.row(seq);
    const [method, ...resource] = row.operation.split(' ');
    return { ...row, method, resource: resource.join(' '), transport: row.protocol === 'dns' ? 'udp' : 'tcp', start_us: row.time_us, end_us: row.time_us + row.duration_ns / 1000,
      notes: row.error ? [this.mode === 'hostile' ? HOSTILE[1] : 'response cut by the capture length'] : [], vlans: [], slower_than_percent: 99.4,
      details: row.protocol === 'http' ? { host: this.mode === 'hostile' ? HOSTILE[0] : 'api.shop.example', code: Number(row.result), phrase: row.error ? 'Service Unavailable' : 'OK' } : {},
      on_connection: [seq - 3, seq - 2, seq - 1].filter((each) => each > 0) };
  }
}
