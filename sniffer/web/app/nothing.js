// @ts-check
/** Says why a view is empty, and what to do. */
import { h } from './dom.js';
import { count, counted, duration, wire } from './format.js';

/**
 * @param {import('./views.js').Data} data @param {import('./state.js').State} state @param {import('./views.js').Actions} actions
 * @param {string} [what] What is missing.
 */
export function nothing(data, state, actions, what = 'transactions') {
  const { view } = data;
  if (!view) return h('p', { class: 'muted' }, 'Asking…');
  if (state.filter && view.hidden > 0) {
    return [
      h('p', null, `The filter hides ${count(view.hidden)} of the last transactions.`),
      h('p', null, h('button', { type: 'button', class: 'button', onclick: () => actions.go({ filter: '' }) }, 'Remove the filter'), h('kbd', null, 'Esc')),
    ];
  }
  if (view.ended) {
    return [
      h('p', null, `No ${what} in this file.`),
      h('p', { class: 'muted' }, `${counted(view.packets.seen, 'packet')}, ${count(view.packets.matched)} on a watched port: ${wire(view.watched)}.`),
    ];
  }
  return [
    h('p', null, `No ${what} yet.`),
    h('p', { class: 'muted' }, `${wire(view.capture)} for ${duration(view.covered_ns)}: ${counted(view.packets.seen, 'packet')}, ${count(view.packets.matched)} on a watched port. Watched: ${wire(view.watched)}.`),
    h('p', { class: 'muted' }, 'To watch another port: sniffer web -p 8123=http'),
  ];
}
