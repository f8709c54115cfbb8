// Tests of modules that need no browser: graph and layout of the map, steps of health, making of one script, redaction.

import assert from 'node:assert/strict';
import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { Data, HOSTILE } from './data.mjs';
import { PAGE } from './fixture.mjs';

const module = (path) => import(join(PAGE, 'app', path));
const { graph, select, MOST_NODES } = await module('map/graph.js');
const { layout } = await module('map/layout.js');
const { steps } = await module('health/steps.js');
const { bundle, rewrite } = await module('save/bundle.js');
const { escaped } = await module('save/page.js');
const { redactor } = await module('save/redact.js');
const everything = (data) => data.view({ parts: ['services', 'edges', 'dns', 'tls', 'flows', 'health'], limit: 2000 });
const whole = (data) => { const view = everything(data); return graph(view.services.rows, view.edges.rows); };
const none = { hidden: new Set(), focus: null };

export const units = [
  ['map: a client is a service only if process or host proves it', () => {
    const service = (address, port, name) => ({ id: `${address}:${port}/http`, name: `${port}`, address, port, protocol: 'http', process: name && { name }, numbers: { rate: 1, count: 1, errors: 0, p95_ns: 1 } });
    const edge = (client, name) => ({ client, process: name && { name }, service: '10.0.0.9:1/http', rate: 1, count: 1, errors: 0 });
    const rows = [service('10.0.0.9', 1, null), service('10.0.0.1', 80, 'nginx'), service('10.0.0.1', 81, 'java'), service('10.0.0.2', 80, null), service('127.0.0.1', 80, null)];
    for (const [client, name, expected] of [['10.0.0.1', 'java', '10.0.0.1:81/http'], ['10.0.0.1', 'cron', '10.0.0.1 cron'], ['10.0.0.1', null, '10.0.0.1 '], ['10.0.0.2', 'java', '10.0.0.2:80/http'],
      ['127.0.0.1', null, '127.0.0.1 '], ['8.8.8.8', null, '8.8.8.8 ']]) {
      const [{ from }] = [...graph(rows, [edge(client, name)]).edges.values()];
      assert.equal(from, expected, `${client} ${name}`);
    }
  }],
  ['map: at most 60 nodes, and what is folded is counted', () => {
    const all = whole(new Data('many'));
    const shown = select(all, none);
    assert.ok(all.nodes.size > 1000 && shown.nodes.size <= MOST_NODES, `${all.nodes.size} ${shown.nodes.size}`);
    const folded = [...shown.nodes.values()].reduce((sum, node) => sum + (node.folded || 1), 0);
    assert.equal(folded, all.nodes.size);
    const count = (edges) => [...edges.values()].reduce((sum, edge) => sum + edge.count, 0);
    assert.equal(count(shown.edges), count(all.edges));
  }],
  ['map: a focus shows the neighbours, a hidden node is gone', () => {
    const all = whole(new Data('shop'));
    const id = [...all.nodes.values()].find(({ name }) => name === 'api:8080').id;
    const near = select(all, { hidden: new Set(), focus: id });
    assert.ok([...near.edges.values()].every(({ from, to }) => from === id || to === id));
    assert.ok(near.nodes.size > 5 && near.nodes.size < 20, String(near.nodes.size));
    assert.ok(!select(all, { hidden: new Set([id]), focus: null }).nodes.has(id));
  }],
  ['map: nodes keep their places while others come and go', () => {
    const all = whole(new Data('shop'));
    const shown = select(all, none);
    const before = layout(shown, new Map());
    const places = [...before.values()].map(({ column, row }) => `${column}/${row}`);
    assert.equal(new Set(places).size, places.length, 'two nodes at one place');
    const [gone] = shown.nodes.keys();
    const fewer = select(all, { hidden: new Set([gone]), focus: null });
    const middle = layout(fewer, before);
    for (const [id, place] of middle) assert.deepEqual(place, before.get(id), id);
    const after = layout(shown, middle);
    for (const [id, place] of middle) assert.deepEqual(after.get(id), place, id);
    assert.equal(after.size, shown.nodes.size);
    const now = [...after.values()].map(({ column, row }) => `${column}/${row}`);
    assert.equal(new Set(now).size, now.length, 'two nodes at one place');
  }],
  ['map: cycles and a thousand edges are laid out', () => {
    const nodes = new Map(Array.from({ length: 60 }, (_, n) => [`n${n}`, { id: `n${n}`, kind: n < 5 ? 'caller' : n > 50 ? 'store' : 'service', count: n, folded: 0 }]));
    const edges = new Map();
    for (const from of nodes.keys()) for (const to of nodes.keys()) if (from !== to) edges.set(`${from}\n${to}`, { id: `${from}\n${to}`, from, to, rate: 1, count: 1, errors: 0 });
    const begin = performance.now();
    assert.equal(layout({ nodes, edges }, new Map()).size, 60);
    const took = performance.now() - begin;
    return `60 nodes and ${edges.size} edges: ${took.toFixed(0)} ms`;
  }],
  ['health: every counter of a loss is at a step', () => {
    const { counters } = everything(new Data('shop')).health;
    const list = steps({ ...counters, 'http.new_kind': 4 }, { count: 5, skipped: 7 });
    const found = new Map(list.flatMap(({ items }) => items).map((item) => [item.counter, item]));
    assert.equal(found.get('capture.lost').weight, 'lost');
    assert.equal(found.get('skipped').count, 7);
    assert.equal(found.get('http.new_kind').text, 'http: new kind');
    assert.equal(found.get('http.unmatched_responses').text, 'http: responses without a request');
    assert.ok(!found.has('capture.own') || found.get('capture.own').weight === 'left');
    assert.deepEqual(steps({}, { count: 0, skipped: 0 }).flatMap(({ items }) => items), []);
  }],
  ['saving: one script is made of modules', async () => {
    const files = {
      '/a.js': "import { b, c as d } from './b.js';\nimport * as e from './b.js';\nimport l from './l.js';\nconst later = await import('./l.js');\nglobalThis.__made = [b, d, e.c, l, later.f()];\n",
      '/b.js': "export const b = 1;\nexport const c = '</scr' + 'ipt>';\n",
      '/l.js': "import { b } from './b.js';\nexport function f() { return b + 1; }\nexport default { $: b };\n",
    };
    const script = await bundle('/a.js', async (path) => files[path]);
    await new Function(`return (async () => {${script}; await $modules['/a.js'];})()`)();
    assert.deepEqual(globalThis.__made, [1, '</script>', '</script>', { $: 1 }, 2]);
    await assert.rejects(bundle('/x.js', async (path) => ({ '/x.js': "import { y } from './y.js';\n", '/y.js': "import { x } from './x.js';\nexport const y = 1;\n" })[path]), /need each other/);
    assert.throws(() => rewrite('/x.js', 'export * from "y";\n'), /form of import or export/);
  }],
  ['saving: data is escaped', () => {
    const value = { text: [...HOSTILE, '\u2028\u2029&<!--'] };
    const text = escaped(value);
    assert.ok(!/[<>&\u2028\u2029]/.test(text), text);
    assert.deepEqual(JSON.parse(text), value);
  }],
  ['saving: what is redacted is nowhere', () => {
    const data = new Data('shop');
    const answers = [everything(data), data.operations({ service: data.services[4].id }), data.tail({}), data.transaction(data.latest() - 5)];
    const text = JSON.stringify(redactor()(answers));
    // Words that are no names of fields; long ones, because short ones can be parts of others.
    const secret = ['10.0.0.', '203.0.113.', '2001:db8', 'gunicorn', 'shop.example', '/orders', 'SELECT', 'web-1', 'eth0', 'bank.example', 'backoffice'];
    for (const word of secret) assert.ok(!text.includes(word), `${word}: ${text.slice(Math.max(0, text.indexOf(word) - 100), text.indexOf(word) + 60)}`);
    const copy = redactor();
    assert.equal(copy({ service: 'a' }).service, copy({ id: 'a' }).id, 'the same service has two names');
  }],
  ['weight: at most 120 KB compressed', async () => {
    let total = 0;
    for (const file of await readdir(PAGE, { recursive: true, withFileTypes: true })) {
      if (file.isFile() && !file.name.endsWith('.md')) total += gzipSync(await readFile(join(file.parentPath ?? file.path, file.name)), { level: 9 }).length;
    }
    assert.ok(total <= 120 * 1024, `${total} bytes`);
    return `${total} bytes compressed`;
  }],
];
