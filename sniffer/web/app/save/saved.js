// @ts-check
/** Answers requests from the data of a saved page, in place of the agent. On the agent's own page `saved` is null. */

/** @typedef {import('./collect.js').Saved} Saved */

/** How long a request for new transactions is held: there are none. */
const HELD_MS = 10_000;

/** The data of this page, if it is a saved one. @type {Saved | null} */
export const saved = read();

/** @returns {Saved | null} */
function read() {
  const text = document.getElementById('saved')?.textContent;
  if (!text) return null;
  const data = JSON.parse(text);
  const at = new Date(data.view.now_us / 1000 + data.view.zone_seconds * 1000).toISOString().slice(0, 19).replace('T', ' ');
  const notice = `Saved page: ${at}${data.filter ? `, only ${data.filter}` : ''}${data.redacted ? ', redacted' : ''}`;
  Object.assign(data.view, { live: false, ended: true, notice: data.view.notice ? `${notice}. ${data.view.notice}` : notice });
  return data;
}

/** @param {Saved} data @param {string} path @param {Record<string, any>} params @param {AbortSignal} [signal] @returns {Promise<{status: number, body: any}>} */
export async function answer(data, path, params, signal) {
  const missing = { status: 404, body: { error: 'this is not in the saved page' } };
  if (params.filter && params.filter !== data.filter) {
    return { status: 400, body: { error: 'a saved page cannot be filtered', parameter: 'filter', column: 1 } };
  }
  if (path === 'view') return { status: 200, body: data.view };
  if (path === 'operations') {
    const id = params.service ?? '';
    return Object.hasOwn(data.operations, id) ? { status: 200, body: data.operations[id] } : missing;
  }
  if (path === 'transaction') {
    const row = Object.hasOwn(data.transactions, params.seq) ? data.transactions[params.seq] : Object.values(data.tail).flat().find(({ seq }) => seq === params.seq);
    return row ? { status: 200, body: row } : missing;
  }
  if (path !== 'tail') return missing;
  if (params.after !== undefined && params.after !== null) {
    await new Promise((done) => {
      setTimeout(done, HELD_MS);
      signal?.addEventListener('abort', done, { once: true });
    });
    return { status: 200, body: { rows: [], next: params.after, skipped: 0 } };
  }
  const order = params.order === 'slow' || params.order === 'failed' ? params.order : 'new';
  const rows = data.tail[/** @type {'new' | 'slow' | 'failed'} */ (order)].filter((row) => (!params.service || row.service === params.service) && (!params.operation || row.operation === params.operation));
  const limit = params.limit ?? 100;
  return { status: 200, body: { rows: order === 'new' ? rows.slice(-limit) : rows.slice(0, limit), next: rows.at(-1)?.seq ?? 0, skipped: 0 } };
}
