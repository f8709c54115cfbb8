// @ts-check
/** Flows: who exchanges how many bytes with whom, connections and datagrams of all protocols. */
import { h, patch } from '../dom.js';
import { count, counted, peer, process, size, wire } from '../format.js';
import { nothing } from '../nothing.js';
import { table } from '../table.js';
import { figures } from './parts.js';

/** @type {import('../views.js').View} */
export default {
  id: 'flows', title: 'Flows', key: '4', parts: ['flows'],
  render(root, state, data, actions) {
    const { view } = data;
    if (!view?.flows) { patch(root, h('div', { class: 'empty' }, nothing(data, state, actions))); return; }
    const { rows, total } = view.flows;
    if (rows.length === 0) { patch(root, h('div', { class: 'empty' }, nothing(data, state, actions, 'flows'))); return; }
    const sum = (/** @type {(row: any) => number | null} */ of) => rows.reduce((/** @type {number} */ all, /** @type {any} */ row) => all + (of(row) ?? 0), 0);
    const most = Math.max(1, ...rows.map((/** @type {any} */ row) => (row.rates[0] ?? 0) + (row.rates[1] ?? 0)));
    patch(root, h('div', null,
      figures([
        ['Open now', count(sum((row) => row.open))],
        ['Sent by clients', `${size(sum((row) => row.rates[0]))}/s`],
        ['Sent by servers', `${size(sum((row) => row.rates[1]))}/s`],
        ['In all', size(sum((row) => row.bytes[0] + row.bytes[1]))],
      ]),
      h('div', { class: 'pane' }, table({
        id: 'flows', caption: 'Flows between client and server', rows, rowKey: (row) => `${row.client} ${row.client_process?.pid ?? ''} ${row.address} ${row.port} ${row.transport}`, sort: state.sort, sorted: 'packets',
        onSort: (sort) => actions.go({ sort }, { replace: true }),
        columns: [
          { id: 'client', title: 'Client', cell: (row) => h('bdi', null, row.client_process ? `${process(row.client_process)} ` : '', wire(row.client)), value: (row) => row.client_process?.name ?? row.client },
          { id: 'server', title: 'Server', width: '30%', cell: (row) => h('bdi', null, row.process ? `${process(row.process)} ` : '', peer(row.address, row.port)), value: (row) => row.process?.name ?? row.address },
          { id: 'transport', title: 'Over', width: '3.5rem', drop: 4, cell: (row) => wire(row.transport), value: (row) => row.transport },
          { id: 'open', title: 'Open', width: '4.5rem', end: true, drop: 5, cell: (row) => count(row.open), value: (row) => row.open },
          { id: 'flows', title: 'Flows', width: '5.5rem', end: true, drop: 1, cell: (row) => count(row.flows), value: (row) => row.flows },
          { id: 'out', title: 'Out/s', hint: 'Bytes per second that the client sends', width: '4.5rem', end: true, drop: 3, cell: (row) => size(row.rates[0]), value: (row) => row.rates[0] },
          { id: 'in', title: 'In/s', hint: 'Bytes per second that the server sends', width: '4.5rem', end: true, drop: 3, cell: (row) => size(row.rates[1]), value: (row) => row.rates[1] },
          { id: 'share', title: 'Bytes/s', hint: 'Both directions; the darker part is sent by the client', width: '8rem', drop: 2, cell: (row) => both(row.rates, most), value: (row) => (row.rates[0] ?? 0) + (row.rates[1] ?? 0) },
          { id: 'bytes', title: 'Total', width: '5rem', end: true, cell: (row) => size(row.bytes[0] + row.bytes[1]), value: (row) => row.bytes[0] + row.bytes[1] },
          { id: 'packets', title: 'Packets', width: '6.5rem', end: true, drop: 2, cell: (row) => count(row.packets), value: (row) => row.packets },
        ],
        href: (row) => actions.link(transactions(row)), onOpen: (row) => actions.go(transactions(row)),
        filterOf: (row) => `host ${row.client} and host ${row.address} and port ${row.port}`,
        footer: total > rows.length ? `The busiest ${count(rows.length)} of ${counted(total, 'pair')}.` : null,
      }))));
  },
};

/** The transactions of a pair, one by one. @param {any} row @returns {Partial<import('../state.js').State>} */
function transactions(row) {
  return { view: 'live', filter: `host ${row.client} and host ${row.address} and port ${row.port}` };
}

/** Both rates as one bar, compared with the largest. @param {[number | null, number | null]} rates @param {number} most */
function both([out, back], most) {
  const [a, b] = [(60 * (out ?? 0)) / most, (60 * (back ?? 0)) / most];
  return h('svg', { class: 'share', width: 104, height: 10, viewBox: '0 0 60 10', preserveAspectRatio: 'none', 'aria-hidden': 'true' },
    h('rect', { class: 'share-a', width: a.toFixed(1), height: 10 }), h('rect', { class: 'share-b', x: a.toFixed(1), width: b.toFixed(1), height: 10 }));
}
