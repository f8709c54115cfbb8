// @ts-check
/** TLS: versions, weak ciphers, and certificates by the days that they are still valid. */
import { h, patch } from '../dom.js';
import { count, counted, date, duration, peer, percent, rate, wire } from '../format.js';
import { nothing } from '../nothing.js';
import { table } from '../table.js';
import { bars, choice, figures } from './parts.js';

const DAY_US = 86_400_000_000;
/** Certificates that end within so many days are marked. */
const SOON = 14;
/** Versions with known weaknesses (RFC 8996, RFC 7568). */
const OLD = /^(SSL|TLS 1\.[01]$)/;

/** `TLS 1.3` for `1.3`; the versions before TLS 1.0 are 2.0 and 3.0. @param {string} version */
const named = (version) => (/^1\.\d$/.test(version) ? `TLS ${version}` : /^[23]\.0$/.test(version) ? `SSL ${version}` : version || 'not known');

/** Days until the certificate ends; negative if it has ended, null if it was not seen. @param {any} row @param {number} now */
const days = (row, now) => (row.certificate_end_us === null || row.certificate_end_us === undefined ? null : Math.floor((row.certificate_end_us - now) / DAY_US));
/** @param {any} row */
const weak = (row) => Boolean(row.weak) || OLD.test(named(row.version));

/** @type {import('../views.js').View} */
export default {
  id: 'tls', title: 'TLS', key: '6', parts: ['tls'],
  render(root, state, data, actions) {
    const { view } = data;
    if (!view?.tls) { patch(root, h('div', { class: 'empty' }, nothing(data, state, actions))); return; }
    if (view.tls.rows.length === 0) { patch(root, h('div', { class: 'empty' }, nothing(data, state, actions, 'TLS handshakes'))); return; }
    const { rows, total } = view.tls;
    const now = view.now_us;
    const ends = (/** @type {any} */ row) => { const left = days(row, now); return left !== null && left < SOON; };
    /** @type {[string, string, (row: any) => boolean][]} */
    const shown = [['all', 'All', () => true], ['weak', 'Weak', weak], ['ending', `Certificate under ${SOON} days`, ends]];
    const [id, , wanted] = shown.find(([name]) => name === state.own.show) ?? shown[0];
    const [weakOnes, ending] = [rows.filter(weak).length, rows.filter(ends).length];
    patch(root, h('div', null,
      figures([
        ['Handshakes per second', rate(rows.reduce((/** @type {number} */ sum, /** @type {any} */ row) => sum + row.numbers.rate, 0))],
        ['Weak version or cipher', `${weakOnes ? '!' : ''}${count(weakOnes)}`, weakOnes ? 'error' : ''],
        [`Certificates under ${SOON} days`, `${ending ? '!' : ''}${count(ending)}`, ending ? 'error' : ''],
      ]),
      h('div', { class: 'columns' }, bars('Versions, by handshakes', versions(rows)), bars('Certificates, by days left', certificates(rows, now))),
      choice('Which servers', shown.map(([value, label]) => [value, label]), id, (value) => actions.go({ own: value === 'all' ? {} : { ...state.own, show: value } })),
      h('div', { class: 'pane' }, table({
        id: 'tls', caption: 'Servers with TLS', rows: rows.filter(wanted), rowKey: (row) => `${row.name} ${row.address} ${row.port} ${row.version} ${row.cipher}`, sort: state.sort, sorted: 'rate',
        onSort: (sort) => actions.go({ sort }, { replace: true }),
        columns: [
          { id: 'name', title: 'Server', cell: (row) => h('bdi', null, row.name ? wire(row.name) : peer(row.address, row.port)), value: (row) => row.name },
          { id: 'address', title: 'Address', width: '12rem', drop: 3, cell: (row) => h('bdi', null, peer(row.address, row.port)), value: (row) => row.address },
          { id: 'version', title: 'Version', width: '5.5rem', drop: 6, cell: (row) => `${OLD.test(named(row.version)) ? '!' : ''}${wire(named(row.version))}`, value: (row) => row.version, class: (row) => (OLD.test(named(row.version)) ? 'error' : undefined) },
          { id: 'cipher', title: 'Cipher', width: '19rem', drop: 2, cell: (row) => h('span', { title: wire(row.cipher) }, row.weak ? '!weak ' : '', wire(row.cipher)), value: (row) => row.cipher, class: (row) => (row.weak ? 'error' : undefined) },
          { id: 'certificate', title: 'Days left', hint: 'Days until the certificate ends', width: '6.5rem', end: true, cell: (row) => left(row, now), value: (row) => { const n = days(row, now); return n === null ? null : -n; }, class: (row) => (ends(row) ? 'error' : undefined) },
          { id: 'until', title: 'Until', width: '7rem', drop: 4, cell: (row) => date(row.certificate_end_us, view.zone_seconds), value: (row) => row.certificate_end_us },
          { id: 'rate', title: 'Req/s', width: '4.5rem', end: true, drop: 5, cell: (row) => rate(row.numbers.rate), value: (row) => row.numbers.rate },
          { id: 'errors', title: 'Failed', width: '4.5rem', end: true, drop: 4, cell: (row) => `${row.numbers.errors ? '!' : ''}${percent(row.numbers.error_percent)}%`, value: (row) => row.numbers.error_percent, class: (row) => (row.numbers.errors ? 'error' : undefined) },
          { id: 'p95', title: 'P95', width: '5.5rem', end: true, drop: 1, cell: (row) => duration(row.numbers.p95_ns), value: (row) => row.numbers.p95_ns },
        ],
        href: (row) => actions.link(handshakes(row)), onOpen: (row) => actions.go(handshakes(row)),
        filterOf: (row) => (row.name ? `sni="${String(row.name).replace(/["\\]/g, '\\$&')}"` : `host ${row.address}`),
        footer: total > rows.length ? `The busiest ${count(rows.length)} of ${counted(total, 'server')}.` : null,
        empty: h('p', null, id === 'weak' ? 'No weak version or cipher was seen.' : 'No certificate that was seen ends soon. TLS 1.3 encrypts certificates, so that theirs are not seen.'),
      }))));
  },
};

/** The handshakes with a server, one by one. @param {any} row @returns {Partial<import('../state.js').State>} */
function handshakes(row) {
  return { view: 'live', filter: `tls host ${row.address}` };
}

/** @param {any} row @param {number} now */
function left(row, now) {
  const n = days(row, now);
  if (n === null) return h('span', { class: 'muted', title: 'The certificate was not seen: TLS 1.3 encrypts it' }, 'not seen');
  return n < 0 ? `!ended ${count(-n)}` : `${n < SOON ? '!' : ''}${count(n)}`;
}

/** @param {any[]} rows @returns {import('./parts.js').Bar[]} */
function versions(rows) {
  /** @type {Map<string, number>} */
  const sums = new Map();
  for (const row of rows) sums.set(named(row.version), (sums.get(named(row.version)) ?? 0) + row.numbers.count);
  return [...sums].sort(([a], [b]) => (a < b ? 1 : -1)).slice(0, 8).map(([label, value]) => ({ label: wire(label), value, text: count(value), bad: OLD.test(label) }));
}

/** @param {any[]} rows @param {number} now @returns {import('./parts.js').Bar[]} */
function certificates(rows, now) {
  const found = rows.map((row) => days(row, now));
  const among = (/** @type {number} */ from, /** @type {number} */ to) => found.filter((n) => n !== null && n >= from && n < to).length;
  /** @type {[string, number, boolean][]} */
  const list = [['ended', among(-Infinity, 0), true], [`0 to ${SOON - 1} days`, among(0, SOON), true], [`${SOON} to 59 days`, among(SOON, 60), false], ['60 days or more', among(60, Infinity), false],
    ['not seen', found.filter((n) => n === null).length, false]];
  return list.map(([label, value, bad]) => ({ label, value, text: count(value), bad: bad && value > 0 }));
}
