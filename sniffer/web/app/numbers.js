// @ts-check
/** Columns and tiles of `numbers` of the API. */
import { h } from './dom.js';
import { MARKED_PERCENT, count, duration, percent, rate, size } from './format.js';
import { spark } from './spark.js';

/** A share of errors; marked by a sign, not by colour alone. @param {number | null | undefined} value */
export function errorShare(value) {
  if (value === null || value === undefined || value < MARKED_PERCENT) return h('span', { class: value ? '' : 'muted' }, percent(value));
  return h('span', { class: 'error' }, h('span', { 'aria-hidden': 'true' }, '!'), percent(value));
}

/**
 * Columns for rows with `numbers`.
 * @param {{share?: boolean, bytes?: boolean, short?: boolean}} [which] `share`: with the share of the time.
 * @returns {import('./table.js').Column<any>[]}
 */
export function numberColumns({ share = false, bytes = true, short = false } = {}) {
  /** @type {import('./table.js').Column<any>[]} */
  const columns = [
    { id: 'rate', title: 'Rate/s', hint: 'Transactions per second', width: '4.75rem', end: true, cell: (row) => rate(row.numbers.rate), value: (row) => row.numbers.rate },
    { id: 'errors', title: 'Err %', hint: 'Share of transactions whose status is not OK', width: '4.25rem', end: true, cell: (row) => errorShare(row.numbers.error_percent), value: (row) => row.numbers.error_percent },
    { id: 'p50', title: 'p50', hint: 'Half of the transactions take at most this time', width: '4.5rem', end: true, drop: short ? 2 : 1, cell: (row) => duration(row.numbers.p50_ns), value: (row) => row.numbers.p50_ns },
    { id: 'p95', title: 'p95', hint: '95 % of the transactions take at most this time', width: '4.5rem', end: true, drop: 6, cell: (row) => duration(row.numbers.p95_ns), value: (row) => row.numbers.p95_ns },
    { id: 'p99', title: 'p99', hint: '99 % of the transactions take at most this time', width: '4.5rem', end: true, drop: short ? 1 : 3, cell: (row) => duration(row.numbers.p99_ns), value: (row) => row.numbers.p99_ns },
  ];
  if (bytes) columns.push({ id: 'bytes', title: 'Bytes/s', hint: 'Application bytes per second in both directions', width: '4.75rem', end: true, drop: 1, cell: (row) => size(row.numbers.bytes_per_second), value: (row) => row.numbers.bytes_per_second });
  if (share) columns.push({ id: 'time', title: 'Time %', hint: 'Share of the time that all operations of the service took', width: '4.75rem', end: true, drop: 4, cell: (row) => percent(row.time_percent), value: (row) => row.time_percent });
  columns.push({ id: 'seconds', title: '60 s', hint: 'Transactions in each of the last 60 seconds', width: '8.25rem', end: true, drop: short ? 3 : 4, cell: (row) => (row.numbers.seconds ? spark(row.numbers.seconds) : null) });
  return columns;
}

/** The most important numbers in large letters. @param {any} numbers */
export function tiles(numbers) {
  /** @param {string} title @param {import('./dom.js').Child} value @param {string} [unit] */
  const tile = (title, value, unit) => h('div', { key: title, class: 'tile' }, h('dt', null, title), h('dd', null, value, unit && h('span', { class: 'unit' }, unit)));
  return h('dl', { class: 'tiles' },
    tile('Rate', rate(numbers?.rate), '/s'), tile('Errors', errorShare(numbers?.error_percent), ' %'), tile('p50', duration(numbers?.p50_ns)),
    tile('p95', duration(numbers?.p95_ns)), tile('p99', duration(numbers?.p99_ns)), tile('Transactions', count(numbers?.count)));
}
