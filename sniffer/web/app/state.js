// @ts-check
/**
 * The state of the page, which is in the fragment of its address: every state is a link. The token is never in it.
 *
 * @typedef {Object} State
 * @property {string} view The id of a view.
 * @property {string | null} service The id of the service whose detail is open.
 * @property {string | null} operation The name of the operation whose detail is open.
 * @property {number | null} transaction The `seq` of the transaction whose detail is open.
 * @property {string} filter The last valid filter.
 * @property {string | null} range `5m`, `all` or null (what the server prefers).
 * @property {string | null} sort Column of the main table, with `-` in front for the reverse order.
 * @property {string | null} operations Likewise, of the operations in the detail.
 * @property {boolean} redact Addresses, names and queries are hidden.
 * @property {boolean} numbers Services are shown by address, not by name.
 * @property {Record<string, string>} own Parameters of the present view; a change of the view removes them.
 */

const TEXTS = /** @type {const} */ (['service', 'operation', 'range', 'sort', 'operations']);
const FLAGS = /** @type {const} */ (['redact', 'numbers']);

/** @returns {State} */
export function initial() {
  return {
    view: 'services', service: null, operation: null, transaction: null, filter: '', range: null, sort: null, operations: null,
    redact: false, numbers: false, own: {},
  };
}

/** Reads the fragment of an address. @param {string} fragment @returns {State} */
export function parse(fragment) {
  const state = initial();
  for (const [name, value] of new URLSearchParams(fragment.replace(/^#/, ''))) {
    if (name === 'view') state.view = value;
    else if (name === 'filter') state.filter = value;
    else if (name === 'transaction') state.transaction = /^\d{1,15}$/.test(value) ? Number(value) : null;
    else if (TEXTS.includes(/** @type {any} */ (name))) state[/** @type {typeof TEXTS[number]} */ (name)] = value;
    else if (FLAGS.includes(/** @type {any} */ (name))) state[/** @type {typeof FLAGS[number]} */ (name)] = value === '1';
    else if (name !== 'token') state.own[name] = value;
  }
  return state;
}

/** The fragment of a state, with `#`. @param {State} state */
export function format(state) {
  const params = new URLSearchParams({ view: state.view });
  for (const name of ['service', 'operation', 'transaction', 'filter', 'range', 'sort', 'operations']) {
    const value = state[/** @type {keyof State} */ (name)];
    if (value !== null && value !== '') params.set(name, String(value));
  }
  for (const name of FLAGS) if (state[name]) params.set(name, '1');
  for (const name in state.own) params.set(name, state.own[name]);
  return `#${params}`;
}

/**
 * A state after a change. A change of the view closes what belongs to the old one, and a change of the service closes its operation.
 * @param {State} state @param {Partial<State>} change @returns {State}
 */
export function changed(state, change) {
  const next = { ...state, ...change };
  if (change.view !== undefined && change.view !== state.view) {
    next.sort = change.sort ?? null;
    next.own = change.own ?? {};
    if (change.service === undefined) next.service = null;
    if (change.transaction === undefined) next.transaction = null;
  }
  if (next.service !== state.service && change.operation === undefined) next.operation = null;
  if ((next.service !== state.service || next.operation !== state.operation) && change.transaction === undefined) next.transaction = null;
  return next;
}

/**
 * Holds the state, and keeps the address equal to it.
 * @param {(state: State, before: State) => void} listener Called after each change, while the address may still have a token.
 */
export function store(listener) {
  let state = parse(location.hash);
  history.replaceState(null, '', format(state));
  const become = (/** @type {State} */ next) => {
    const before = state;
    state = next;
    listener(state, before);
  };
  addEventListener('popstate', () => {
    const next = parse(location.hash);
    // A link with a token was opened in this tab; `listener` takes the token.
    become(next);
    history.replaceState(null, '', format(next));
  });
  return {
    get: () => state,
    /** Where a link to the changed state leads. @param {Partial<State>} change */
    link: (change) => format(changed(state, change)),
    /** Changes the state. `replace`: the back button does not lead to the state before. @param {Partial<State>} change @param {{replace?: boolean}} [how] */
    go(change, { replace = false } = {}) {
      const next = changed(state, change);
      const address = format(next);
      if (address !== format(state)) history[replace ? 'replaceState' : 'pushState'](null, '', address);
      become(next);
    },
  };
}
