// @ts-check
/** Starts the page: joins the state, the requests, the views and the keys. */
import { get, keepToken, shareToken, takeToken, tokenIn } from './api.js';
import { detailAsks, hasDetail } from './detail.js';
import { Filter } from './filter.js';
import { serveKeys } from './keys.js';
import { poll } from './poll.js';
import { redactor } from './redact.js';
import { Series } from './series.js';
import { draw as drawShell } from './shell.js';
import { store } from './state.js';
import { VIEWS } from './views.js';

/** Transactions that are kept for the view Live. */
const KEPT = 1000;
/** Rows of a table. */
const ROWS = 300;

/** @typedef {{rows: any[], skipped: number, seen: number}} Tail */
/**
 * What is not part of an address.
 * @typedef {Object} Session
 * @property {'starting' | 'open' | 'refused' | 'failing'} connection
 * @property {{retryMs: number, sinceMs: number} | null} failing
 * @property {{next: number | null, since: number} | null} paused
 * @property {null | 'keys' | 'export'} dialog
 * @property {string | null} problem What another request than that of the filter was refused for.
 */

const root = /** @type {HTMLElement} */ (document.getElementById('page'));
takeToken();

/** @type {Session} */
const session = { connection: 'starting', failing: null, paused: null, dialog: null, problem: null };
const series = new Series();
const redaction = redactor();
/** @type {{view: any, answers: Record<string, any>, tail: Tail}} */
const known = { view: null, answers: {}, tail: { rows: [], skipped: 0, seen: 0 } };

const states = store((state, before) => {
  takeToken();
  if (state.filter !== before.filter) filter.follow(state.filter);
  if (state.filter !== before.filter || state.range !== before.range) series.clear();
  if (state.view !== before.view || state.filter !== before.filter) known.tail = { rows: [], skipped: 0, seen: 0 };
  if (['service', 'operation', 'transaction'].some((name) => state[/** @type {'service'} */ (name)] !== before[/** @type {'service'} */ (name)])) {
    for (const name in detailAsks(before)) delete known.answers[name];
  }
  if (state.view !== before.view) session.problem = null;
  draw();
  loop.restart();
});

/** @returns {import('./views.js').View} */
const view = () => VIEWS.find(({ id }) => id === states.get().view) ?? VIEWS[0];

/** @param {any} change */
const original = (change) => {
  const before = { ...change };
  if (states.get().redact) for (const name of ['service', 'operation']) if (typeof before[name] === 'string') before[name] = redaction.original(before[name]);
  return before;
};

/** @type {import('./views.js').Actions & {session: Session, filter: Filter, pause: () => void, token: (text: string) => boolean, views: typeof VIEWS}} */
const actions = {
  go: (change, how) => states.go(original(change), how),
  link: (change) => states.link(original(change)),
  addFilter(part, exclude = false) {
    const { filter: present } = states.get();
    // The server does not know the replacements.
    const known = states.get().redact ? part.replace(/\b[a-z]+-\d+\b/g, redaction.original) : part;
    const added = exclude ? `not ${known}` : known;
    filter.apply(present ? `${present} and ${added}` : added);
  },
  draw,
  session,
  get filter() { return filter; },
  pause() {
    session.paused = session.paused ? null : { next: null, since: 0 };
    draw();
    loop.restart();
  },
  token(text) {
    const token = tokenIn(text);
    if (!token) return false;
    keepToken(token);
    session.connection = 'starting';
    draw();
    loop.restart();
    return true;
  },
  views: VIEWS,
};

const filter = new Filter(states.get().filter, {
  check: (text) => get('view', { filter: text, limit: 1 }),
  accept: (text) => states.go({ filter: text }, { replace: true }),
  draw,
});

const loop = poll(() => {
  const state = states.get();
  if (session.paused) return { requests: { since: ['tail', { limit: 1 }] }, tail: null };
  const { parts, asks, tail } = view();
  const { filter: text, range } = state;
  const all = state.service !== null && !parts.includes('services') ? [...parts, 'services'] : parts;
  /** @type {Record<string, [string, Record<string, any>]>} */
  const requests = { view: ['view', { parts: (all.length ? all : ['health']).join(','), range, filter: text, limit: ROWS }] };
  for (const [name, [path, params]] of Object.entries(asks?.(state) ?? {})) {
    requests[name] = [path, path === 'view' || path === 'operations' ? { range, filter: text, ...params } : { filter: text, ...params }];
  }
  Object.assign(requests, detailAsks(state));
  // A transaction does not change.
  if (known.answers.transaction?.seq === state.transaction) delete requests.transaction;
  const params = tail?.(state);
  const last = known.tail.rows[known.tail.rows.length - 1];
  return { requests, tail: params ? { filter: text, after: last?.seq, ...params } : null };
}, {
  answers(answers) {
    const values = Object.values(answers);
    session.failing = null;
    if (values.some(({ status }) => status === 403)) {
      session.connection = 'refused';
      draw();
      return false;
    }
    session.connection = 'open';
    if (answers.since) {
      const { paused } = session;
      if (paused && answers.since.status === 200) {
        paused.next ??= answers.since.body.next;
        paused.since = Math.max(answers.since.body.next - (paused.next ?? 0), 0);
      }
      draw();
      return true;
    }
    const { status, body } = answers.view;
    if (status === 400 && body?.parameter === 'filter') {
      // The filter of a link is wrong; without it there is something to see.
      filter.refuse(states.get().filter, body);
      states.go({ filter: '' }, { replace: true });
      return false;
    }
    session.problem = status === 200 ? null : body?.error ?? `status ${status}`;
    if (status === 200) {
      known.view = body;
      series.add(body);
    }
    for (const name in answers) {
      if (name === 'view') continue;
      // 404: what the address names is not there; null.
      if (answers[name].status === 200) known.answers[name] = answers[name].body;
      else if (answers[name].status === 404) known.answers[name] = null;
    }
    draw();
    return true;
  },
  tail(body) {
    const { rows, seen } = known.tail;
    const gap = rows.length > 0 && body.skipped > 0 && body.rows.length > 0
      ? [{ note: `${body.skipped.toLocaleString('en-US')} transactions are not shown here`, seq: `gap ${body.rows[0].seq}` }] : [];
    known.tail = { rows: [...rows, ...gap, ...body.rows].slice(-KEPT), skipped: body.skipped, seen: seen + body.rows.length + body.skipped };
    draw();
  },
  failing(retryMs) {
    session.failing = { retryMs, sinceMs: session.failing?.sinceMs ?? Date.now() };
    session.connection = 'failing';
    draw();
  },
  hasEnded: () => known.view?.ended === true,
});

let isDue = false;

/** Draws with the next frame. */
function draw() {
  if (isDue) return;
  isDue = true;
  requestAnimationFrame(() => {
    isDue = false;
    const state = states.get();
    const data = { ...known, series };
    if (state.redact) {
      const { copy, original } = redaction;
      // An operation is called `name` in the table of operations, where it is searched for.
      const hidden = { ...state, service: state.service && copy(state.service, 'service'), operation: state.operation && copy(state.operation, 'name') };
      drawShell(root, view(), hidden, {
        view: copy(data.view), answers: copy({ ...data.answers }),
        tail: { ...data.tail, rows: data.tail.rows.map((row) => (row.note === undefined ? copy(row) : row)) },
        series: /** @type {any} */ ({ totals: series.totals, services: { get: (/** @type {string} */ id) => series.services.get(original(id)) } }),
      }, actions);
    } else {
      drawShell(root, view(), state, data, actions);
    }
  });
}

serveKeys(actions, states.get, view, () => ({ ...known, series }), hasDetail);
draw();
loop.restart();
shareToken(() => {
  session.connection = 'starting';
  draw();
  loop.restart();
});
