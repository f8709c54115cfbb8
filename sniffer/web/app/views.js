// @ts-check
/**
 * The views, in the order of their tabs. A view is a file in `views/`.
 *
 * @typedef {import('./state.js').State} State
 *
 * @typedef {Object} Actions What a view can do.
 * @property {(change: Partial<State>, how?: {replace?: boolean}) => void} go Changes the state: `go({ service: id })` opens the detail of a service
 *   beside any view, `go({ transaction: seq })` that of a transaction.
 * @property {(change: Partial<State>) => string} link The `href` of that state.
 * @property {(part: string, exclude?: boolean) => void} addFilter Adds to the filter with `and`.
 * @property {() => void} draw Draws again, without new data.
 *
 * @typedef {Object} Data What is drawn. While the page is paused it stays the same.
 * @property {any} view The last answer of `/api/view`, with the parts of the view; null before the first.
 * @property {Record<string, any>} answers The last answers to `asks`; undefined or null before the first.
 * @property {{rows: any[], skipped: number, seen: number}} tail The last transactions, if the view has a `tail`; the newest last.
 * @property {import('./series.js').Series} series What was in earlier answers, each second.
 *
 * @typedef {Object} View
 * @property {string} id
 * @property {string} title The tab.
 * @property {string} key A digit, the key of the tab.
 * @property {string[]} parts The parts of `/api/view` that it needs.
 * @property {(state: State) => Record<string, [string, Record<string, any>]>} [asks] Further requests of each second, by name: path below `/api/` and
 *   parameters. `filter` and `range` are added.
 * @property {(state: State) => Record<string, any> | null} [tail] Parameters of a held `/api/tail`.
 * @property {(root: HTMLElement, state: State, data: Data, actions: Actions) => void} render Draws into `root`, with `patch`. It is called with
 *   every answer and every change of the state.
 * @property {(key: string, event: KeyboardEvent, state: State, data: Data, actions: Actions) => boolean} [press] Serves keys of its own; true if it was one.
 * @property {[string, string][]} [keys] Those keys and what they do, for the overlay of `?`.
 */
import services from './views/services.js';
import map from './views/map.js';
import live from './views/live.js';
import flows from './views/flows.js';
import dns from './views/dns.js';
import tls from './views/tls.js';
import health from './views/health.js';

/** @type {View[]} */
export const VIEWS = [services, map, live, flows, dns, tls, health];
