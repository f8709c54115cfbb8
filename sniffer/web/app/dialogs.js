// @ts-check
/** The dialogs: keys, and export. */
import { h } from './dom.js';
import { get } from './api.js';
import { save } from './export.js';
import { wire } from './format.js';
import { KEYS, areOn, switchKeys } from './keys.js';
import { save as savePage } from './save/file.js';
import { saved } from './save/saved.js';
import { parse } from './state.js';

/** What became of the last export. */
let outcome = '';

/** @param {'keys' | 'export'} name @param {import('./views.js').View} view @param {import('./state.js').State} state @param {import('./views.js').Data} data @param {any} actions */
export function dialog(name, view, state, data, actions) {
  const close = () => {
    actions.session.dialog = null;
    outcome = '';
    actions.draw();
  };
  const title = name === 'keys' ? 'Keys' : 'Export';
  return h('dialog', {
    key: name, 'aria-labelledby': 'dialog-title', onclose: close,
    onclick: (/** @type {any} */ event) => { if (event.target === event.currentTarget) event.target.close(); },
    onkeydown: (/** @type {any} */ event) => { if (event.key === '?' && name === 'keys') event.currentTarget.close(); },
  }, h('div', { class: 'dialog' },
    h('h2', { id: 'dialog-title' }, title),
    name === 'keys' ? keys(view, actions) : exports(state, actions),
    h('p', { class: 'actions' }, h('button', { type: 'button', class: 'button', onclick: (/** @type {any} */ event) => event.target.closest('dialog').close() }, 'Close'))));
}

/** @param {import('./views.js').View} view @param {any} actions */
function keys(view, actions) {
  return [
    h('dl', { class: 'keys' }, [...(view.keys ?? []), ...KEYS].map(([key, what]) => [h('dt', null, h('kbd', null, key)), h('dd', null, what)])),
    h('p', null, h('label', { class: 'check' }, h('input', { type: 'checkbox', checked: areOn(), onchange: (/** @type {any} */ event) => { switchKeys(event.target.checked); actions.draw(); } }), ' Letters are keys')),
  ];
}

/** @param {import('./state.js').State} state @param {any} actions */
function exports(state, actions) {
  // Redacted states have replacements for what the server knows by its name.
  const asked = parse(location.hash);
  const run = (/** @type {'ndjson' | 'csv'} */ format) => async () => {
    outcome = 'Asking…';
    actions.draw();
    outcome = await save(format, asked);
    actions.draw();
  };
  const whole = async () => {
    outcome = 'Asking…';
    actions.draw();
    try {
      outcome = `Saved as ${await savePage(get, asked)}`;
    } catch (error) {
      outcome = `Not saved: ${error instanceof Error ? error.message : error}`;
    }
    actions.draw();
  };
  if (saved) return h('p', null, 'This is a saved page. The program exports transactions and pages.');
  return [
    h('p', null, 'All kept transactions', state.operation ? [' of ', h('bdi', { class: 'mono' }, wire(state.operation))] : state.service ? ' of this service' : '', state.filter ? [' that ', h('bdi', { class: 'mono' }, wire(state.filter)), ' selects'] : '', ', as a file.'),
    state.redact && h('p', { class: 'muted' }, 'Addresses, names and queries are replaced, as on the page. Without P they are not, and CSV is possible.'),
    h('p', { class: 'actions' },
      h('button', { type: 'button', class: 'button', onclick: run('ndjson') }, 'ndjson', h('span', { class: 'muted' }, ' one object a line')),
      !state.redact && h('button', { type: 'button', class: 'button', onclick: run('csv') }, 'CSV', h('span', { class: 'muted' }, ' for a spreadsheet'))),
    h('p', null, 'All views as one HTML file, which opens in a browser without the program', state.redact ? '; addresses, names and queries are replaced.' : '. P replaces addresses, names and queries in it.'),
    h('p', { class: 'actions' }, h('button', { type: 'button', class: 'button', onclick: whole }, 'Save as one file')),
    h('p', { role: 'status', class: 'muted' }, outcome),
  ];
}
