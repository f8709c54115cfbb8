// @ts-check
/** The pane beside a view: a service, an operation or a transaction. */
import { chart } from './chart.js';
import { h } from './dom.js';
import { count, duration, percent, rate, wire } from './format.js';
import { numberColumns, tiles } from './numbers.js';
import { transactionColumns } from './rows.js';
import { table } from './table.js';
import { transaction } from './transaction.js';

/** @typedef {import('./state.js').State} State */

/** Whether there is something to show. @param {State} state */
export const hasDetail = (state) => state.service !== null || state.transaction !== null;

/** What the pane asks for. @param {State} state @returns {Record<string, [string, Record<string, any>]>} */
export function detailAsks(state) {
  if (state.transaction !== null) return { transaction: ['transaction', { seq: state.transaction }] };
  if (state.service === null) return {};
  const of = { service: state.service, operation: state.operation };
  return {
    operations: ['operations', { service: state.service, range: state.range, filter: state.filter, limit: 200 }],
    slow: ['tail', { ...of, order: 'slow', limit: 8, filter: state.filter }],
    failed: ['tail', { ...of, order: 'failed', limit: 8, filter: state.filter }],
  };
}

/**
 * @param {State} state @param {import('./views.js').Data} data @param {import('./views.js').Actions} actions
 * @returns {import('./dom.js').Child[]}
 */
export function detail(state, data, actions) {
  const row = data.view?.services?.rows.find((/** @type {any} */ row) => row.id === state.service);
  const name = row ? wire(row.name) : 'Service';
  const crumbs = [
    state.service !== null && { text: name, to: { service: state.service, operation: null, transaction: null } },
    state.operation !== null && { text: wire(state.operation), to: { operation: state.operation, transaction: null } },
    state.transaction !== null && { text: `Transaction ${state.transaction}`, to: {} },
  ].filter((crumb) => crumb !== false);
  return [
    h('div', { key: 'crumbs', class: 'crumbs' },
      h('nav', { 'aria-label': 'Path' }, h('ol', null, crumbs.map((crumb, index) => h('li', { key: index }, index < crumbs.length - 1
        ? h('a', { href: actions.link(crumb.to), onclick: follow(() => actions.go(crumb.to)) }, h('bdi', null, crumb.text))
        : h('h2', { id: 'detail', tabindex: '-1' }, h('bdi', { title: crumb.text }, crumb.text)))))),
      h('button', { type: 'button', class: 'icon', 'aria-label': 'Close', title: 'Close (Esc)', onclick: () => actions.go({ service: null, operation: null, transaction: null }) }, cross())),
    h('div', { key: `${state.service} ${state.operation} ${state.transaction}`, class: 'inside' },
      state.transaction !== null ? transaction(state, data, actions)
        : state.operation !== null ? operation(state, data, actions) : service(row, state, data, actions)),
  ];
}

const cross = () => h('svg', { width: 16, height: 16, viewBox: '0 0 16 16', 'aria-hidden': 'true' }, h('path', { d: 'M4 4l8 8M12 4l-8 8', stroke: 'currentColor', 'stroke-width': 1.5, 'stroke-linecap': 'round' }));

/** A click on a link changes the state without a new page; with Ctrl, Shift or Meta the browser opens it. @param {() => void} run */
export const follow = (run) => (/** @type {MouseEvent} */ event) => {
  if (event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  run();
};

/** @param {any} row @param {State} state @param {import('./views.js').Data} data @param {import('./views.js').Actions} actions */
function service(row, state, data, actions) {
  const { operations } = data.answers;
  if (operations === null) return h('p', { class: 'muted' }, 'This service is not known, or no longer kept. The filter may hide it.');
  return [
    row && h('p', { key: 'what', class: 'muted' }, h('bdi', null, `${wire(row.protocol)} · ${wire(row.address)}:${row.port}`), processText(row.process)),
    tiles(row?.numbers),
    charts(data.series.services.get(state.service ?? ''), data),
    operations && [
      h('h3', { key: 'operations' }, `${count(operations.total)} ${operations.total === 1 ? 'operation' : 'operations'}`),
      operationTable(operations, state, actions),
      calls('Called by', operations.called_by, actions),
      calls(row?.process ? 'The same process calls' : 'Calls', operations.calls, actions),
    ],
    lists(state, data, actions),
  ];
}

/** @param {any} process */
function processText(process) {
  if (!process) return null;
  const { name, pid, user, container, service } = process;
  return h('bdi', null, [name !== undefined && ` · ${wire(name)}${pid === undefined ? '' : `[${pid}]`}`, user && ` as ${wire(user)}`, service && ` in ${wire(service)}`, container && ` · container ${wire(container)}`].filter(Boolean).join(''));
}

/** @param {any} operations @param {State} state @param {import('./views.js').Actions} actions */
function operationTable(operations, state, actions) {
  return table({
    id: 'operations', caption: 'Operations', rows: operations.rows, rowKey: (row) => row.name, sort: state.operations, selected: state.operation,
    onSort: (sort) => actions.go({ operations: sort }, { replace: true }),
    onOpen: (row) => actions.go({ operation: row.name }),
    href: (row) => actions.link({ operation: row.name }),
    columns: [
      { id: 'name', title: 'Operation', cell: (row) => h('bdi', { class: 'mono', title: wire(row.name) }, wire(row.name)), value: (row) => row.name },
      ...numberColumns({ share: true, bytes: false, short: true }),
    ],
    footer: operations.rest ? `${count(operations.rest.count)} transactions of operations that exceeded the limits of the program` : undefined,
  });
}

/** @param {string} title @param {any[]} list @param {import('./views.js').Actions} actions */
function calls(title, list, actions) {
  if (!list?.length) return null;
  return h('div', { key: title, class: 'calls' }, h('h3', null, title), h('ul', null, list.map((call) => h('li', { key: `${call.service} ${call.name}` },
    call.service === null ? h('bdi', null, wire(call.name))
      : h('a', { href: actions.link({ service: call.service }), onclick: follow(() => actions.go({ service: call.service })) }, h('bdi', null, wire(call.name))),
    h('span', { class: 'muted' }, ` ${rate(call.rate)}/s`)))));
}

/** @param {State} state @param {import('./views.js').Data} data @param {import('./views.js').Actions} actions */
function operation(state, data, actions) {
  const { operations } = data.answers;
  const row = operations?.rows.find((/** @type {any} */ row) => row.name === state.operation);
  if (operations === null || (operations && !row)) return h('p', { class: 'muted' }, 'No such operation in this range, or the filter hides it.');
  return [
    tiles(row?.numbers),
    row && h('dl', { key: 'results', class: 'facts' },
      h('dt', null, 'Results'), h('dd', null, row.results.map((/** @type {[string, number]} */ [result, n]) => h('span', { key: result, class: 'result' }, h('bdi', null, wire(result)), h('span', { class: 'muted' }, ` ${count(n)}`)))),
      h('dt', null, 'Share of the time'), h('dd', null, `${percent(row.time_percent)} % of ${duration(operations.rows.reduce((/** @type {number} */ sum, /** @type {any} */ each) => sum + (each.numbers.time_ns ?? 0), 0))} in all operations`)),
    lists(state, data, actions),
  ];
}

/** The slowest and the failed transactions. @param {State} state @param {import('./views.js').Data} data @param {import('./views.js').Actions} actions */
function lists(state, data, actions) {
  const zone = data.view?.zone_seconds ?? 0;
  /** @param {string} id @param {string} title @param {string} none */
  const list = (id, title, none) => {
    const found = data.answers[id];
    if (!found) return null;
    return [h('h3', { key: `${id} title` }, title), table({
      id, caption: title, rows: found.rows, rowKey: (row) => String(row.seq), columns: transactionColumns(zone, { brief: true }),
      onOpen: (row) => actions.go({ transaction: row.seq }), href: (row) => actions.link({ transaction: row.seq }), empty: h('p', { class: 'muted' }, none),
    })];
  };
  return [list('slow', 'Slowest', 'None is kept.'), list('failed', 'Failed, the newest first', 'None failed.')];
}

/** @typedef {{times_us: number[], zone_seconds: number, series: any[]}} Lines */

/** A chart whose look is given when it is made. @param {Parameters<typeof chart>[0]} options */
function charted(options) {
  /** @type {WeakMap<Element, ReturnType<typeof chart>>} */
  const charts = new WeakMap();
  return {
    make(/** @type {Element} */ element) {
      const made = chart(options);
      charts.set(element, made);
      element.append(made.element);
    },
    update: (/** @type {Element} */ element, /** @type {any} */ lines) => charts.get(element)?.update(lines),
    drop: (/** @type {Element} */ element) => charts.get(element)?.close(),
  };
}

const RATE = charted({ title: 'Transactions per second', format: rate, height: 112 });
const ERRORS = charted({ title: 'Errors, %', format: percent, height: 112, most: 1 });
const LATENCY = charted({ title: 'Time', format: duration, height: 132 });

/** @param {import('./series.js').Sample[] | undefined} samples @param {import('./views.js').Data} data */
function charts(samples, data) {
  const zone_seconds = data.view?.zone_seconds ?? 0;
  const known = (samples ?? []).filter((sample) => sample !== null);
  if (!data.view?.live || data.view.ended) return null;
  const times_us = known.map(({ us }) => us);
  /** @param {any[]} series @returns {Lines} */
  const lines = (series) => ({ times_us, zone_seconds, series });
  return h('div', { key: 'charts', class: 'charts' },
    h('div', { key: 'rate', own: RATE, value: lines([{ label: '', values: known.map(({ rate }) => rate), look: 'a', area: true }]) }),
    h('div', { key: 'errors', own: ERRORS, value: lines([{ label: '', values: known.map(({ errors }) => errors), look: 'c', area: true }]) }),
    h('div', { key: 'latency', class: 'wide', own: LATENCY, value: lines([
      { label: 'p50', values: known.map(({ p50 }) => p50), look: 'a' }, { label: 'p95', values: known.map(({ p95 }) => p95), look: 'b' }]) }));
}
