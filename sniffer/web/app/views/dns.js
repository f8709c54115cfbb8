// @ts-check
/** DNS: what was asked for, what failed, and domains with many different names. */
import { h, patch } from '../dom.js';
import { count, counted, duration, percent, process, rate, wire } from '../format.js';
import { nothing } from '../nothing.js';
import { table } from '../table.js';
import { choice, figures } from './parts.js';

/** Answers that are not failures. */
const FINE = new Set(['NOERROR', 'OK']);

/** @type {[string, string, (row: any) => boolean][]} */
const SHOWN = [['all', 'All', () => true], ['failing', 'Failing', (row) => row.numbers.errors > 0], ['slow', 'Over 100 ms', (row) => (row.numbers.p95_ns ?? 0) >= 1e8]];

/** @type {import('../views.js').View} */
export default {
  id: 'dns', title: 'DNS', key: '5', parts: ['dns'],
  render(root, state, data, actions) {
    const { view } = data;
    const dns = view?.dns;
    if (!dns) { patch(root, h('div', { class: 'empty' }, nothing(data, state, actions))); return; }
    if (dns.rows.length === 0) { patch(root, h('div', { class: 'empty' }, nothing(data, state, actions, 'DNS queries'))); return; }
    const [id, , wanted] = SHOWN.find(([name]) => name === state.own.show) ?? SHOWN[0];
    const rows = dns.rows.filter(wanted);
    const sums = total(dns.rows);
    patch(root, h('div', null,
      figures([
        ['Queries per second', rate(sums.rate)],
        ['Failed', `${sums.errors ? '!' : ''}${percent(sums.count ? (100 * sums.errors) / sums.count : 0)}%`, sums.errors ? 'error' : ''],
        ['Names', count(dns.total)],
        ['Failing names', count(dns.rows.filter(SHOWN[1][2]).length)],
      ]),
      dns.wide.length > 0 && h('section', { class: 'remark' }, h('h2', null, 'Many different names under one domain'),
        h('ul', null, dns.wide.map((/** @type {any} */ wide) => h('li', null, h('bdi', null, h('strong', null, `*.${wire(wide.domain)}`)),
          `: ${counted(wide.names, 'different name')}, mean length ${Math.round(wide.mean_length)} characters`))),
        h('p', { class: 'muted' }, 'This can be a tunnel, random names of malware, or a service that puts ids into names.')),
      choice('Which names', SHOWN.map(([value, label]) => [value, label]), id, (value) => actions.go({ own: value === 'all' ? {} : { ...state.own, show: value } })),
      h('div', { class: 'pane' }, table({
        id: 'dns', caption: 'Names that were asked for', rows, rowKey: (row) => `${row.name} ${row.kind}`, sort: state.sort, sorted: 'count',
        onSort: (sort) => actions.go({ sort }, { replace: true }),
        columns: [
          { id: 'name', title: 'Name', cell: (row) => h('bdi', null, wire(row.name)), value: (row) => row.name },
          { id: 'kind', title: 'Type', width: '4.5rem', drop: 6, cell: (row) => wire(row.kind), value: (row) => row.kind },
          { id: 'rate', title: 'Req/s', width: '4.5rem', end: true, drop: 4, cell: (row) => rate(row.numbers.rate), value: (row) => row.numbers.rate },
          { id: 'count', title: 'Queries', width: '6rem', end: true, cell: (row) => count(row.numbers.count), value: (row) => row.numbers.count },
          { id: 'errors', title: 'Failed', width: '5rem', end: true, cell: (row) => `${row.numbers.errors ? '!' : ''}${percent(row.numbers.error_percent)}%`, value: (row) => row.numbers.error_percent,
            class: (row) => (row.numbers.errors ? 'error' : undefined) },
          { id: 'codes', title: 'Answers', width: '15rem', drop: 3, cell: (row) => codes(row.codes) },
          { id: 'p50', title: 'P50', width: '4.5rem', end: true, drop: 2, cell: (row) => duration(row.numbers.p50_ns), value: (row) => row.numbers.p50_ns },
          { id: 'p95', title: 'P95', width: '5.5rem', end: true, drop: 5, cell: (row) => duration(row.numbers.p95_ns), value: (row) => row.numbers.p95_ns },
          { id: 'client', title: 'Asked by', width: '13rem', drop: 1, cell: (row) => h('bdi', { title: 'The last one that asked' }, row.process ? `${process(row.process)} ` : '', wire(row.client)), value: (row) => row.process?.name ?? row.client },
        ],
        href: (row) => actions.link(queries(row)), onOpen: (row) => actions.go(queries(row)),
        filterOf: (row) => `dns.question.name="${String(row.name).replace(/["\\]/g, '\\$&')}"`,
        footer: dns.total > dns.rows.length ? `The busiest ${count(dns.rows.length)} of ${counted(dns.total, 'name')}.` : null,
        empty: h('p', null, id === 'failing' ? 'No query has failed.' : 'No query took that long.'),
      }))));
  },
};

/** The queries for a name, one by one. @param {any} row @returns {Partial<import('../state.js').State>} */
function queries(row) {
  return { view: 'live', filter: `dns "${String(row.name).replace(/["\\]/g, '\\$&')}"` };
}

/** @param {[string, number][]} list */
function codes(list) {
  return list.map(([code, times], n) => [n > 0 ? ', ' : '', h('span', { key: String(n), class: FINE.has(code) ? undefined : 'error' }, FINE.has(code) ? `${wire(code)} ${count(times)}` : `!${wire(code)} ×${count(times)}`)]);
}

/** @param {any[]} rows */
function total(rows) {
  const sums = { rate: 0, count: 0, errors: 0 };
  for (const { numbers } of rows) { sums.rate += numbers.rate; sums.count += numbers.count; sums.errors += numbers.errors; }
  return sums;
}
