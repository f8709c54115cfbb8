// @ts-check
/** Parts that several views draw: large numbers, bars, a choice. */
import { h } from '../dom.js';

/** @typedef {{label: string, value: number, text: string, bad: boolean}} Bar */

/** Large numbers with their names. @param {[string, string, string?][]} list name, text and class */
export function figures(list) {
  return h('dl', { class: 'tiles figures' }, list.map(([name, text, more]) => h('div', { key: name, class: 'tile' }, h('dt', null, name), h('dd', { class: more || undefined }, text))));
}

/** Bars whose lengths are compared with their sum. @param {string} title @param {Bar[]} list */
export function bars(title, list) {
  const sum = list.reduce((all, { value }) => all + value, 0) || 1;
  return h('section', { class: 'bars' }, h('h2', null, title), h('ul', null, list.map(({ label, value, text, bad }) => h('li', { key: label, class: bad ? 'error' : undefined },
    h('span', { class: 'bar-label' }, `${bad ? '!' : ''}${label}`), h('span', { class: 'bar-room', 'aria-hidden': 'true' }, h('span', { class: 'bar', style: { width: `${((100 * value) / sum).toFixed(1)}%` } })),
    h('span', { class: 'bar-text' }, text)))));
}

/** Buttons of which one is chosen. @param {string} label @param {[string, string][]} list @param {string} chosen @param {(value: string) => void} choose */
export function choice(label, list, chosen, choose) {
  return h('div', { class: 'choice', role: 'group', 'aria-label': label }, list.map(([value, text]) => h('button', {
    key: value, type: 'button', class: 'button', 'aria-pressed': String(value === chosen), onclick: () => choose(value),
  }, text)));
}
