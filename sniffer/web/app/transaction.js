// @ts-check
/** One transaction: what was asked and answered, by whom, how long it took compared with others. */
import { h } from './dom.js';
import { count, duration, peer, percent, process, size, time, date, wire } from './format.js';
import { durationOf, resultOf } from './rows.js';

/** @param {import('./state.js').State} state @param {import('./views.js').Data} data @param {import('./views.js').Actions} actions @returns {import('./dom.js').Child} */
export function transaction(state, data, actions) {
  const row = data.answers.transaction;
  if (row === null) return h('p', { class: 'muted' }, 'This transaction is no longer kept. The newest ones are in ', h('a', { href: actions.link({ view: 'live' }) }, 'Live'), '.');
  if (!row || row.seq !== state.transaction) return h('p', { class: 'muted', 'aria-busy': 'true' }, 'Asking…');
  const zone = data.view?.zone_seconds ?? 0;
  const filter = (/** @type {string} */ part) => h('button', { type: 'button', class: 'add', title: `Add ${part} to the filter`, 'aria-label': `Add ${part} to the filter`, onclick: () => actions.addFilter(part) }, '+ filter');
  return [
    h('p', { class: 'request mono' }, h('bdi', null, wire(row.query || row.operation))),
    h('p', { class: 'outcome' }, resultOf(row), h('span', { class: 'muted' }, row.result && row.result !== row.status ? ` ${wire(row.status)} after ` : ' after '), durationOf(row), h('span', { class: 'muted' }, `, ${date(row.time_us, zone)} ${time(row.time_us, zone, true)}`)),
    comparison(row),
    h('dl', { class: 'facts' },
      fact('Client', [h('bdi', null, peer(row.client, row.client_port)), processOf(row.client_process)], filter(`client=${row.client}`)),
      fact('Server', [h('bdi', null, peer(row.server, row.server_port)), processOf(row.process)], filter(`server=${row.server} server.port=${row.server_port}`)),
      fact('Protocol', `${wire(row.protocol)} over ${wire(row.transport)}`, filter(wire(row.protocol))),
      fact('Operation', [row.service ? h('a', { href: actions.link({ service: row.service, operation: row.operation, transaction: null }) }, h('bdi', { class: 'mono' }, wire(row.operation))) : wire(row.operation)]),
      fact('Request', `${size(row.bytes?.[0])} bytes`), fact('Response', `${size(row.bytes?.[1])} bytes`),
      row.vlans?.length ? fact('VLAN', row.vlans.join(', ')) : null,
      (row.notes ?? []).map((/** @type {string} */ note, /** @type {number} */ index) => fact(index ? '' : 'Notes', h('bdi', null, wire(note)))),
      Object.entries(row.details ?? {}).flatMap(([name, value]) => leaves(name, value)).map(([name, value]) => fact(name, h('bdi', { class: 'mono' }, wire(value))))),
    connection(row, actions),
    h('p', { class: 'actions' },
      copy('Copy JSON', () => JSON.stringify(row, null, 1)), copy('Copy link', () => location.href), copy('Copy pcap filter', () => pcapFilter(row))),
  ];
}

/** @param {any} process_ */
const processOf = (process_) => (process_ ? h('bdi', { class: 'muted' }, ` ${process(process_)}`) : null);

/** @param {string} name @param {import('./dom.js').Child} value @param {import('./dom.js').Child} [action] */
const fact = (name, value, action) => [h('dt', null, wire(name)), h('dd', null, value, action)];

/** Nested values with their paths, at most 100. @param {string} path @param {any} value @param {number} [depth] @returns {[string, string][]} */
function leaves(path, value, depth = 0) {
  if (value === null || value === undefined) return [];
  if (typeof value !== 'object') return [[path, String(value)]];
  if (depth > 3) return [[path, JSON.stringify(value)]];
  if (Array.isArray(value) && value.every((each) => typeof each !== 'object')) return [[path, value.slice(0, 100).join(', ')]];
  return Object.entries(value).slice(0, 100).flatMap(([name, each]) => leaves(`${path}.${name}`, each, depth + 1)).slice(0, 100);
}

/** @param {any} row */
function comparison(row) {
  if (row.slower_than_percent === null || row.slower_than_percent === undefined) return null;
  const share = Math.min(Math.max(row.slower_than_percent, 0), 100);
  return h('div', { class: 'comparison' },
    h('svg', { class: 'meter', width: '100%', height: 8, 'aria-hidden': 'true' },
      h('rect', { class: 'meter-all', width: '100%', height: 8, rx: 4 }), h('rect', { class: 'meter-part', width: `${share}%`, height: 8, rx: 4 })),
    h('p', { class: 'muted' }, `Slower than ${percent(share)} % of `, h('bdi', { class: 'mono' }, wire(row.operation)), ' since the start.'));
}

/** Maximum number of transactions of a connection in an answer. */
const MOST_NAMED = 100;

/** @param {any} row @param {import('./views.js').Actions} actions */
function connection(row, actions) {
  const seqs = row.on_connection ?? [];
  if (seqs.length < 2 && (seqs.length === 0 || seqs[0] === row.seq)) return null;
  const earlier = seqs.filter((/** @type {number} */ seq) => seq < row.seq);
  const later = seqs.filter((/** @type {number} */ seq) => seq > row.seq);
  /** @param {string} text @param {number | undefined} seq */
  const to = (text, seq) => (seq === undefined ? null : h('a', { key: text, href: actions.link({ transaction: seq }), onclick: (/** @type {Event} */ event) => { event.preventDefault(); actions.go({ transaction: seq }); } }, text));
  // The program names the nearest ones.
  const more = seqs.length < MOST_NAMED ? '' : ' or more';
  return h('p', { class: 'connection' }, `On this connection: ${count(earlier.length)} earlier, ${count(later.length)} later${more}. `,
    to('Previous', earlier.length ? Math.max(...earlier) : undefined), ' ', to('Next', later.length ? Math.min(...later) : undefined));
}

/** A filter of tcpdump for the connection. @param {any} row */
function pcapFilter(row) {
  const transport = ['tcp', 'udp'].includes(row.transport) ? `${row.transport} and ` : '';
  return `${transport}host ${row.client} and port ${row.client_port} and host ${row.server} and port ${row.server_port}`;
}

/** @param {string} title @param {() => string} text */
function copy(title, text) {
  return h('button', {
    type: 'button', class: 'button', onclick: async (/** @type {Event} */ event) => {
      const button = /** @type {any} */ (event.currentTarget);
      try {
        await navigator.clipboard.writeText(text());
        button.dataset.done = 'copied';
      } catch {
        button.dataset.done = 'the browser does not allow it';
      }
      setTimeout(() => { delete button.dataset.done; }, 2000);
    },
  }, title);
}
