// @ts-check
/** The frame around the views: what is captured, totals, tabs, filter, range, pause, dialogs, and what is wrong. */
import { detail, follow, hasDetail } from './detail.js';
import { dialog } from './dialogs.js';
import { h, patch } from './dom.js';
import { count, counted, duration, rate, time, wire, zone } from './format.js';
import { errorShare } from './numbers.js';
import { spark } from './spark.js';

/** Seconds of the small lines in the header. */
const SECONDS = 60;
/** Counts are announced at most this often. */
const ANNOUNCED_MS = 10_000;

/** The pane whose detail has the focus, to move it when another is opened. */
let shown = '';
let announced = 0;
let announcement = '';

/** @param {HTMLElement} root @param {import('./views.js').View} view @param {import('./state.js').State} state @param {import('./views.js').Data} data @param {any} actions */
export function draw(root, view, state, data, actions) {
  const { session } = actions;
  document.title = `${view.title} · ${data.view ? wire(data.view.host) : 'sniffer'}`;
  if (session.connection === 'refused') return patch(root, refused(actions));
  const open = hasDetail(state);
  const stale = session.connection === 'failing';
  patch(root,
    h('a', { key: 'skip', class: 'skip', href: '#list', onclick: (/** @type {Event} */ event) => { event.preventDefault(); document.getElementById('list')?.focus(); } }, 'Skip to the view'),
    header(view, state, data, actions),
    h('main', { key: 'main', class: `panes${open ? ' with-detail' : ''}${stale ? ' stale' : ''}` },
      h('div', { key: `view ${view.id}`, id: 'list', class: `pane list view-${view.id}`, tabindex: '-1', own: VIEW, value: { view, state, data, actions } }),
      open && h('aside', { key: 'detail', class: 'pane detail', 'aria-labelledby': 'detail' }, detail(state, data, actions))),
    h('p', { key: 'spoken', class: 'unseen', role: 'status' }, spoken(data)),
    session.dialog && dialog(session.dialog, view, state, data, actions));
  const element = root.querySelector('dialog');
  if (element && !element.open) element.showModal();
  const pane = `${state.service} ${state.operation} ${state.transaction}`;
  // Before the first answer there is nothing that the pane could be below of.
  if (pane !== shown && data.view) {
    shown = pane;
    if (open) {
      root.querySelector('.detail')?.scrollTo(0, 0);
      const heading = document.getElementById('detail');
      heading?.focus({ preventScroll: true });
      // On a narrow screen the pane is below.
      if (innerWidth < 1000) heading?.closest('.detail')?.scrollIntoView({ block: 'start' });
    }
  }
}

/** The view draws itself. */
const VIEW = { update: (/** @type {any} */ element, /** @type {any} */ { view, state, data, actions }) => view.render(element, state, data, actions) };

/** Counts for who does not see them. @param {import('./views.js').Data} data */
function spoken({ view }) {
  const now = Date.now();
  if (view && now - announced >= ANNOUNCED_MS) {
    announced = now;
    announcement = `${rate(view.totals.rate)} transactions per second, ${view.totals.errors ? `${counted(view.totals.errors, 'error')}` : 'no errors'}`;
  }
  return announcement;
}

/** @param {import('./views.js').View} view @param {import('./state.js').State} state @param {import('./views.js').Data} data @param {any} actions */
function header(view, state, data, actions) {
  const { session } = actions;
  const found = data.view;
  return h('header', { key: 'header', class: 'header' },
    h('div', { class: 'topbar' },
      h('h1', null, h('bdi', null, found ? wire(found.host) : 'sniffer')),
      condition(found, session),
      h('nav', { class: 'tabs', 'aria-label': 'Views' }, actions.views.map((/** @type {import('./views.js').View} */ each) => h('a', {
        key: each.id, href: actions.link({ view: each.id }), 'aria-current': each === view ? 'page' : undefined, title: `${each.title} (${each.key})`,
        onclick: follow(() => actions.go({ view: each.id })),
      }, each.title))),
      h('div', { class: 'tools' }, field(actions), ranges(state, data, actions), buttons(actions))),
    wrongFilter(state, actions),
    totals(data),
    notices(state, data, actions));
}

/** @param {any} found @param {any} session */
function condition(found, session) {
  if (session.connection === 'failing') return h('span', { key: 'condition', class: 'condition error' }, 'no connection');
  if (session.paused) return h('span', { key: 'condition', class: 'condition paused' }, 'paused', session.paused.since > 0 && h('span', { class: 'muted' }, ` +${count(session.paused.since)} since`));
  if (!found) return h('span', { key: 'condition', class: 'condition muted' }, '…');
  if (found.ended || !found.live) return h('span', { key: 'condition', class: 'condition muted' }, found.ended ? 'file' : 'reading', ` ${duration(found.covered_ns)}`);
  return h('span', { key: 'condition', class: 'condition' }, h('span', { class: 'dot', 'aria-hidden': 'true' }), `live ${duration(found.covered_ns)}`);
}

/** @param {any} actions */
function field({ filter }) {
  return h('form', { key: 'filter', class: 'filter', role: 'search', onsubmit: (/** @type {Event} */ event) => { event.preventDefault(); filter.apply(filter.text); } },
    h('label', { class: 'unseen', for: 'filter' }, 'Filter'),
    h('input', {
      id: 'filter', type: 'text', value: filter.text, placeholder: 'Filter: http status=error slow>100ms', autocomplete: 'off', autocapitalize: 'off', spellcheck: 'false',
      'aria-invalid': filter.wrong ? 'true' : undefined, 'aria-describedby': filter.wrong ? 'wrong' : undefined,
      oninput: (/** @type {any} */ event) => filter.type(event.target.value),
      onkeydown: (/** @type {any} */ event) => {
        const step = { ArrowUp: -1, ArrowDown: 1 }[/** @type {string} */ (event.key)];
        if (step) {
          event.preventDefault();
          filter.recall(step);
        } else if (event.key === 'Escape') {
          event.preventDefault();
          if (filter.text) filter.apply('');
          else event.target.blur();
        } else if (event.key === 'Enter') {
          event.target.blur();
        }
      },
    }),
    h('kbd', { 'aria-hidden': 'true' }, '/'));
}

/** The filter that is wrong, with a mark below its column. @param {import('./state.js').State} state @param {any} actions */
function wrongFilter(state, { filter }) {
  const { wrong } = filter;
  if (!wrong) return null;
  const column = wrong.column === null ? null : Math.min(Math.max(wrong.column, 1), wrong.text.length + 1);
  return h('div', { key: 'wrong', class: 'wrong', id: 'wrong', role: 'alert' },
    column !== null && h('pre', { class: 'mono' }, h('bdi', null, wire(wrong.text)), '\n', ' '.repeat(wire(wrong.text.slice(0, column - 1)).length), h('span', { class: 'error' }, '^')),
    h('p', null, h('span', { class: 'error' }, column === null ? '' : `Column ${column}: `), wire(wrong.error).replace(/[^.?!]$/, '$&.'), ' ',
      h('span', { class: 'muted' }, state.filter ? `Still shown: ${wire(state.filter)}` : 'Still shown: everything')));
}

/** @param {import('./state.js').State} state @param {import('./views.js').Data} data @param {import('./views.js').Actions} actions */
function ranges(state, data, actions) {
  return [h('label', { key: 'range label', class: 'unseen', for: 'range' }, 'Range'),
    h('select', { key: 'range', id: 'range', value: state.range ?? data.view?.range ?? '5m', onchange: (/** @type {any} */ event) => actions.go({ range: event.target.value }) },
      h('option', { value: '5m' }, 'last 5 min'), h('option', { value: 'all' }, 'all'))];
}

/** @param {any} actions */
function buttons(actions) {
  const { session } = actions;
  const open = (/** @type {string} */ name) => () => { session.dialog = name; actions.draw(); };
  return [
    h('button', { key: 'pause', type: 'button', class: 'button', 'aria-pressed': String(Boolean(session.paused)), title: 'Freeze what is shown (Space)', onclick: actions.pause },
      icon(session.paused ? 'M5 3l8 5-8 5z' : 'M4 3h3v10H4zM9 3h3v10H9z', true), session.paused ? 'Resume' : 'Pause'),
    h('button', { key: 'export', type: 'button', class: 'button square', title: 'Export (e)', 'aria-label': 'Export', onclick: open('export') }, icon('M8 2v8M5 7l3 3 3-3M3 13h10')),
    h('button', { key: 'keys', type: 'button', class: 'button square', title: 'Keys (?)', 'aria-label': 'Keys', onclick: open('keys') }, '?'),
  ];
}

/** @param {string} path @param {boolean} [filled] */
const icon = (path, filled) => h('svg', { width: 16, height: 16, viewBox: '0 0 16 16', 'aria-hidden': 'true', class: filled ? 'filled' : 'drawn' }, h('path', { d: path }));

/** @param {import('./views.js').Data} data */
function totals({ view, series }) {
  if (!view) return h('div', { key: 'totals', class: 'totals' }, h('span', { class: 'muted' }, 'Asking…'));
  const last = series.totals.slice(-SECONDS);
  const lines = view.live && !view.ended;
  // A line of a few points is no picture.
  const line = (/** @type {(number | null | undefined)[]} */ values, /** @type {any} */ look) => (values.filter((value) => typeof value === 'number').length < 8
    ? h('span', { class: 'no-spark' }) : spark(values, look));
  /** @param {string} title @param {import('./dom.js').Child} value @param {any} [picture] */
  const total = (title, value, picture) => h('div', { key: title, class: 'total' }, h('dt', null, title), h('dd', null, value, lines && picture));
  const small = { width: 64, height: 16 };
  return h('div', { key: 'totals', class: 'totals' }, h('dl', null,
    total('rate', [h('b', null, rate(view.totals.rate)), '/s'], line(last.map((sample) => sample?.rate), small)),
    total('errors', [h('b', { key: 'b' }, errorShare(view.totals.error_percent)), ' %'], line(last.map((sample) => sample?.errors), { ...small, tone: 'error' })),
    total('p95', h('b', null, duration(view.totals.p95_ns)), line(last.map((sample) => sample?.p95), small)),
    total('transactions', h('b', null, count(view.totals.count))),
    total('lost', view.packets.lost ? h('b', { class: 'error' }, `!${count(view.packets.lost)}`) : h('b', null, '0'))),
  h('p', { class: 'where muted' }, h('bdi', { title: wire(view.watched) }, wire(view.capture)), h('span', { class: 'clock' }, ` ${time(view.now_us, view.zone_seconds)} ${zone(view.zone_seconds)}`)));
}

/** What is wrong, one line each. @param {import('./state.js').State} state @param {import('./views.js').Data} data @param {any} actions */
function notices(state, data, actions) {
  const { session } = actions;
  const { view } = data;
  /** @type {import('./dom.js').Child[]} */
  const lines = [];
  if (session.failing) {
    const since = time(session.failing.sinceMs * 1000, view?.zone_seconds ?? 0);
    lines.push(['No answer from the program since ', since, '. What is shown is from then. The next try is in ', duration(session.failing.retryMs * 1e6), '. Does ', h('code', null, 'sniffer web'), ' still run?']);
  }
  if (session.problem) lines.push(['The program refused the request: ', wire(session.problem), '.']);
  if (view?.packets.lost > 0) lines.push([h('span', { class: 'error' }, `!${counted(view.packets.lost, 'packet')} lost`), ' of ', count(view.packets.seen), ', so transactions may be missing. ', h('a', { href: actions.link({ view: 'health' }), onclick: follow(() => actions.go({ view: 'health' })) }, 'Health'), ' says where.']);
  if (view?.skipped > 0) lines.push([`${counted(view.skipped, 'transaction')} had no room in the views and `, view.skipped === 1 ? 'is' : 'are', ' not counted here.']);
  if (view?.notice) lines.push([h('bdi', null, wire(view.notice))]);
  if (state.filter && view && !actions.filter.wrong) {
    lines.push([`The filter hides ${count(view.hidden)} of the last transactions; it looks at ${count(view.filter_sees)} at most. `,
      h('button', { type: 'button', class: 'plain', onclick: () => actions.filter.apply('') }, 'Remove'), ' ', h('kbd', null, 'Esc')]);
  }
  return lines.length > 0 && h('ul', { key: 'notices', class: 'notices' }, lines.map((line, index) => h('li', { key: index }, line)));
}

/** Instead of everything, when the token is missing or wrong. @param {any} actions */
function refused(actions) {
  return h('main', { key: 'refused', class: 'refused' },
    h('h1', null, 'This page needs its link'),
    h('p', null, 'The program gives data only to who has the token, which is made at every start. Open the link that ', h('code', null, 'sniffer web'), ' printed, or paste it here. For a service, ', h('code', null, 'sniffer web --url'), ' prints it.'),
    h('form', {
      onsubmit: (/** @type {any} */ event) => {
        event.preventDefault();
        const input = event.target.elements.token;
        const fits = actions.token(input.value);
        input.setCustomValidity(fits ? '' : 'A link with #token= and 32 hexadecimal digits');
        if (!fits) input.reportValidity();
      },
    }, h('label', { for: 'token' }, 'Link or token'), h('div', { class: 'line' },
      h('input', { id: 'token', name: 'token', type: 'text', autocomplete: 'off', spellcheck: 'false', placeholder: 'http://localhost:5067/#token=…', oninput: (/** @type {any} */ event) => event.target.setCustomValidity('') }),
      h('button', { type: 'submit', class: 'button' }, 'Open'))),
    h('p', { class: 'muted' }, 'The page was opened under another name than localhost? Then the name has to be in web.allowed_hosts.'));
}
