// @ts-check
/** Rows of single transactions. */
import { h } from './dom.js';
import { duration, peer, process, size, time, wire } from './format.js';

/** From this duration on, a transaction is marked as slow. */
export const SLOW_NS = 1e9;

/** The result, with a sign for errors. @param {any} row */
export const resultOf = (row) => (row.error ? h('span', { class: 'error' }, h('span', { 'aria-hidden': 'true' }, '!'), wire(row.result || row.status)) : wire(row.result || row.status));

/** @param {any} row */
export const durationOf = (row) => (row.duration_ns >= SLOW_NS
  ? h('span', { class: 'slow' }, h('span', { 'aria-hidden': 'true' }, '^'), duration(row.duration_ns)) : duration(row.duration_ns));

/** @param {number} zoneSeconds @param {{brief?: boolean}} [how] `brief`: within a service, whose server is known. @returns {import('./table.js').Column<any>[]} */
export function transactionColumns(zoneSeconds, { brief = false } = {}) {
  /** @type {import('./table.js').Column<any>[]} */
  const columns = [
    { id: 'query', title: 'Request', main: true, cell: (row) => h('bdi', { class: 'mono', title: wire(row.query || row.operation) }, wire(row.query || row.operation)) },
    { id: 'result', title: 'Result', width: '7rem', cell: resultOf },
    { id: 'duration', title: 'Took', width: '5.25rem', end: true, cell: durationOf },
    { id: 'size', title: 'Bytes', width: '4rem', end: true, drop: brief ? 4 : 1, cell: (row) => size(row.bytes[0] + row.bytes[1]) },
    { id: 'client', title: 'Client', width: '10rem', drop: brief ? 3 : 1, cell: (row) => h('bdi', { title: peer(row.client, row.client_port) }, process(row.client_process) || wire(row.client)) },
    { id: 'at', title: 'Time', width: brief ? '6rem' : '9rem', end: brief, drop: 5, cell: (row) => time(row.time_us, zoneSeconds, !brief) },
  ];
  if (brief) return columns;
  columns.splice(4, 0, { id: 'server', title: 'Server', width: '12rem', drop: 3, cell: (row) => h('bdi', { title: peer(row.server, row.server_port) }, peer(row.server, row.server_port)) });
  return [...columns.slice(-1), columns[0], { id: 'protocol', title: 'Protocol', width: '6.75rem', drop: 2, cell: (row) => wire(row.protocol) }, ...columns.slice(1, -1)];
}
