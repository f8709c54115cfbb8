// @ts-check
/** The map: callers, services and stores from left to right, and the same content as a table. */
import { h, patch } from '../dom.js';
import { counted, duration, percent, rate, wire } from '../format.js';
import { drawing } from '../map/draw.js';
import { graph, select } from '../map/graph.js';
import { layout } from '../map/layout.js';
import { nothing } from '../nothing.js';
import { table } from '../table.js';

/**
 * @typedef {import('../map/graph.js').Graph} Graph
 * @typedef {import('../views.js').State} State
 * @typedef {import('../views.js').Actions} Actions
 * @typedef {{graph: Graph, focus: string | null, activate: (id: string) => void, hide: (id: string) => void, fresh: number}} Value
 * @typedef {{drawing: ReturnType<typeof drawing>, value: Value, places: Map<string, import('../map/layout.js').Place>}} Shown
 */

const formats = { rate, latency: duration, percent: (/** @type {number} */ value) => `${percent(value)}%`, text: wire };

/** The maps in the document. @type {WeakMap<Element, Shown>} */
const maps = new WeakMap();
/** The map that is shown, for keys and buttons. @type {Shown | null} */
let present = null;
/** Counts how often the nodes were to be placed again. */
let fresh = 0;

/** @type {import('../dom.js').Own} */
const MAP = {
  make(element, /** @type {Value} */ value) {
    const shown = { drawing: drawing({ formats, activate: (id) => shown.value.activate(id), hide: (id) => shown.value.hide(id) }), value, places: new Map() };
    maps.set(element, shown);
    present = shown;
    element.append(shown.drawing.element);
  },
  update(element, /** @type {Value} */ value) {
    const shown = maps.get(element);
    if (!shown) return;
    shown.places = layout(value.graph, value.fresh === shown.value.fresh ? shown.places : new Map());
    shown.value = value;
    shown.drawing.update(value.graph, shown.places, value.focus);
  },
  drop(element) {
    const shown = maps.get(element);
    shown?.drawing.close();
    if (shown === present) present = null;
  },
};

/** Ids of hidden nodes, which are in the link. @param {State} state */
const hiddenOf = (state) => (state.own.hide ? state.own.hide.split('\n') : []);

/** The state without empty parameters of the map. @param {State} state @param {Record<string, string | null>} change */
function own(state, change) {
  const next = { ...state.own };
  for (const [name, value] of Object.entries(change)) {
    if (value === null || value === '') delete next[name];
    else next[name] = value;
  }
  return { own: next };
}

/** @param {string} label @param {() => void} onclick @param {Record<string, any>} [more] */
const button = (label, onclick, more = {}) => h('button', { type: 'button', class: 'button', key: label, onclick, ...more }, label);

/** @type {import('../views.js').View} */
export default {
  id: 'map', title: 'Map', key: '2', parts: ['edges', 'services'],
  keys: [
    ['arrows, h j k l', 'go from node to node'], ['Enter', 'show a node and its neighbours, or all again'], ['x', 'hide the node'], ['+ - 0', 'zoom in, zoom out, as it was'],
    ['Shift + arrows', 'move the map'], ['t', 'table with the same content'],
  ],
  press(key, event, state, data, actions) {
    if (key === 't') actions.go(own(state, { table: state.own.table ? null : '1' }));
    else if (key === 'Escape' && state.own.focus) actions.go(own(state, { focus: null }));
    else if (present && (key === '+' || key === '-')) present.drawing.zoom(key === '+');
    else if (present && key === '0') present.drawing.fit();
    else if (present && ['j', 'k', 'ArrowDown', 'ArrowUp', 'ArrowLeft', 'ArrowRight', 'h', 'l'].includes(key)) present.drawing.take();
    else return false;
    return true;
  },
  render(root, state, data, actions) {
    const { view } = data;
    if (!view?.edges || !view.services) { patch(root, h('div', { class: 'empty' }, nothing(data, state, actions))); return; }
    const whole = named(graph(view.services.rows, view.edges.rows), view.services.rows, state);
    const hidden = hiddenOf(state);
    const focus = state.own.focus && whole.nodes.has(state.own.focus) ? state.own.focus : null;
    const isTable = state.own.table === '1';
    const shown = select(whole, { hidden: new Set(hidden), focus, shown: new Set(present?.value.graph.nodes.keys()) });
    const focused = focus === null ? null : whole.nodes.get(focus);
    const activate = (/** @type {string} */ id) => {
      if (shown.nodes.get(id)?.folded) actions.go(own(state, { table: '1' }));
      else actions.go(own(state, { focus: focus === id ? null : id }));
    };
    const hide = (/** @type {string} */ id) => {
      if (!shown.nodes.get(id)?.folded) actions.go(own(state, { hide: [...hidden, id].join('\n'), focus: focus === id ? null : focus }));
    };
    const bar = h('div', { class: 'map-bar' },
      h('p', { class: 'map-says' }, focused
        ? [h('strong', { class: 'wire' }, wire(focused.name)), ` and its ${counted(shown.nodes.size - 1, 'neighbour')}`]
        : `${counted(whole.nodes.size, 'node')}, ${counted(whole.edges.size, 'connection')}${whole.nodes.size > shown.nodes.size + hidden.length ? `; the busiest ${shown.nodes.size} are shown` : ''}`),
      focused?.services.length ? h('a', { class: 'button', key: 'open', href: actions.link({ view: 'services', service: focused.services[0] }) }, 'Open service') : null,
      focus !== null && button('Show all', () => actions.go(own(state, { focus: null }))),
      hidden.length > 0 && button(`Show ${hidden.length} hidden`, () => actions.go(own(state, { hide: null }))),
      !isTable && [
        button('−', () => present?.drawing.zoom(false), { 'aria-label': 'Zoom out' }), button('+', () => present?.drawing.zoom(true), { 'aria-label': 'Zoom in' }),
        button('Arrange again', () => { fresh += 1; actions.draw(); }),
      ],
      button('Table', () => actions.go(own(state, { table: isTable ? null : '1' })), { 'aria-pressed': String(isTable) }));
    if (whole.nodes.size === 0) {
      patch(root, h('div', { class: 'empty' }, nothing(data, state, actions, 'connections')));
      return;
    }
    patch(root, h('div', { class: 'map-pane' }, bar,
      isTable ? connections(whole, hidden, focus, state, data, actions)
        : [h('div', { key: 'map', own: MAP, value: { graph: shown, focus, activate, hide, fresh } }), legend()]));
  },
};

/** Names by address, if they are wanted. @param {Graph} whole @param {any[]} rows @param {State} state */
function named(whole, rows, state) {
  if (!state.numbers) return whole;
  for (const row of rows) {
    const node = whole.nodes.get(row.id);
    if (node) node.name = `${row.address.includes(':') ? `[${row.address}]` : row.address}:${row.port}`;
  }
  return whole;
}

function legend() {
  return h('ul', { class: 'map-legend', key: 'legend' },
    h('li', null, 'Left to right: callers, services, stores'),
    h('li', null, 'Width: requests per second (logarithm)'),
    h('li', null, h('svg', { width: 34, height: 10, 'aria-hidden': 'true' }, h('path', { class: 'legend-failing', d: 'M0 5H34' })), '! 1% errors or more'),
    h('li', null, 'Enter or click: neighbours'), h('li', null, 'x: hide'), h('li', null, 't: table'));
}

/** @param {Graph} whole @param {string[]} hidden @param {string | null} focus @param {State} state @param {import('../views.js').Data} data @param {Actions} actions */
function connections(whole, hidden, focus, state, data, actions) {
  const rows = [...whole.edges.values()].filter(({ from, to }) => !hidden.includes(from) && !hidden.includes(to) && (focus === null || from === focus || to === focus)).sort((a, b) => b.count - a.count);
  const name = (/** @type {string} */ id) => whole.nodes.get(id)?.name ?? id;
  const share = (/** @type {any} */ row) => (row.count ? (100 * row.errors) / row.count : 0);
  return h('div', { class: 'pane', key: 'table' }, table({
    id: 'map', caption: 'Connections: who calls which service', rows, rowKey: (row) => row.id, sort: state.sort, sorted: 'count', onSort: (sort) => actions.go({ sort }, { replace: true }),
    columns: [
      { id: 'caller', title: 'Caller', cell: (row) => h('bdi', null, wire(name(row.from))), value: (row) => name(row.from) },
      { id: 'service', title: 'Service', width: '38%', cell: (row) => h('bdi', null, wire(name(row.to))), value: (row) => name(row.to) },
      { id: 'rate', title: 'Req/s', width: '5rem', end: true, cell: (row) => rate(row.rate), value: (row) => row.rate },
      { id: 'count', title: 'Requests', width: '7rem', end: true, drop: 5, cell: (row) => Math.round(row.count).toLocaleString('en'), value: (row) => row.count },
      { id: 'errors', title: 'Errors', width: '5rem', end: true, cell: (row) => (share(row) >= 1 ? `!${percent(share(row))}%` : `${percent(share(row))}%`), value: share, class: (row) => (share(row) >= 1 ? 'error' : undefined) },
    ],
    selected: null, href: (row) => actions.link({ view: 'services', service: row.to }), onOpen: (row) => actions.go({ view: 'services', service: row.to }),
    filterOf: (row) => (/^[0-9a-f.:]+$/i.test(name(row.from)) ? `host ${name(row.from)}` : null),
  }));
}
