// @ts-check
/** Health: each step from the network card to the output, with what it drops and why. */
import { h, patch } from '../dom.js';
import { count, counted, percent, wire } from '../format.js';
import { steps } from '../health/steps.js';
import { nothing } from '../nothing.js';
import { table } from '../table.js';

/** @typedef {import('../health/steps.js').Item} Item */

const MARKS = { lost: '!', left: '–', note: '' };
const WORDS = { lost: 'lost', left: 'left out', note: 'note' };

/** @type {import('../views.js').View} */
export default {
  id: 'health', title: 'Health', key: '7', parts: ['health'],
  render(root, state, data, actions) {
    const { view } = data;
    if (!view?.health) { patch(root, h('div', { class: 'empty' }, nothing(data, state, actions))); return; }
    const { counters } = view.health;
    const list = steps(counters, { count: view.totals.count, skipped: view.skipped });
    const losses = list.flatMap(({ items }) => items.filter(({ weight }) => weight === 'lost'));
    patch(root, h('div', null,
      h('p', { class: `verdict${losses.length ? ' error' : ''}` }, losses.length
        ? `!${counted(losses.length, 'reason')} why data is missing; each is at its step.` : 'Nothing was lost between the network card and here.'),
      h('ol', { class: 'steps' }, list.map((step, n) => h('li', { key: step.title, class: `step${step.items.some(({ weight }) => weight === 'lost') ? ' losing' : ''}` },
        h('div', { class: 'step-head' }, h('h2', null, step.title),
          h('p', null, h('strong', { class: 'step-count' }, count(step.count)), ` ${step.unit}`, step.says && h('span', { class: 'muted' }, ` · ${step.says}`)),
          step.share && h('p', { class: 'step-share muted' }, h('span', { class: 'bar-room', 'aria-hidden': 'true' }, h('span', { class: 'bar', style: { width: `${Math.min(100, (100 * step.share.part) / step.share.of).toFixed(1)}%` } })),
            ` ${percent((100 * step.share.part) / step.share.of)}% ${step.share.text}`)),
        step.items.length === 0 ? h('p', { class: 'muted step-none' }, n === 0 && step.count === 0 ? 'No packet was seen yet.' : 'Nothing dropped.')
          : h('ul', { class: 'step-items' }, sorted(step.items).map(item))))),
      h('details', { class: 'all-counters', open: state.own.all === '1' },
        h('summary', { onclick: (/** @type {Event} */ event) => { event.preventDefault(); actions.go({ own: state.own.all ? {} : { all: '1' } }, { replace: true }); } },
          `All ${count(Object.keys(counters).length)} counters`),
        state.own.all === '1' && h('div', { class: 'pane' }, table({
          id: 'counters', caption: 'All counters', rows: Object.entries(counters).sort(([a], [b]) => (a < b ? -1 : 1)), rowKey: ([name]) => name, sort: state.sort, sorted: undefined,
          onSort: (sort) => actions.go({ sort }, { replace: true }),
          columns: [
            { id: 'name', title: 'Counter', cell: ([name]) => h('span', { class: 'mono' }, wire(name)), value: ([name]) => name },
            { id: 'value', title: 'Value', width: '10rem', end: true, cell: ([, value]) => count(value), value: ([, value]) => value },
          ],
        })))));
  },
};

/** Losses first, then what is left out on purpose. @param {Item[]} items */
function sorted(items) {
  const order = { lost: 0, left: 1, note: 2 };
  return items.slice().sort((a, b) => order[a.weight] - order[b.weight]);
}

/** @param {Item} item */
function item({ counter, count: times, weight, text }) {
  return h('li', { key: counter, class: `item-${weight}`, title: wire(counter) },
    h('span', { class: 'item-count' }, `${MARKS[weight] === '!' ? '!' : ''}${count(times)}`), h('span', { class: 'unseen' }, ` ${WORDS[weight]}: `), h('span', { class: 'wire' }, wire(text)));
}
