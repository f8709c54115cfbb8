// @ts-check
/** Collects the data of a saved page: one answer of each kind, and the transactions that are worth a look. The file itself is made by page.js. */
import { redactor } from './redact.js';

/** @typedef {(path: string, params: Record<string, any>) => Promise<{status: number, body: any}>} Get */
/**
 * @typedef {object} Saved
 * @property {1} version @property {boolean} redacted @property {string} filter @property {string | null} range
 * @property {any} view The answer of `/api/view` with all parts.
 * @property {Record<string, any>} operations By the id of the service; '' for all.
 * @property {{new: any[], slow: any[], failed: any[]}} tail
 * @property {Record<string, any>} transactions By `seq`.
 */

const PARTS = 'services,edges,dns,tls,flows,health';
/** What a saved page holds at most. */
const MOST = { rows: 1000, services: 100, newest: 1000, worst: 200, opened: 60 };
/** Requests at a time: the agent has other work. */
const TOGETHER = 4;

/** @template T @param {T[]} list @param {(each: T) => Promise<void>} run */
async function each(list, run) {
  const rest = list.slice();
  await Promise.all(Array.from({ length: TOGETHER }, async () => {
    for (let next = rest.shift(); next !== undefined; next = rest.shift()) await run(next);
  }));
}

/** @param {Get} get @param {{filter: string, range: string | null, redact: boolean}} state @returns {Promise<Saved>} */
export async function collect(get, { filter, range, redact }) {
  const body = async (/** @type {string} */ path, /** @type {Record<string, any>} */ params) => {
    const { status, body } = await get(path, params);
    if (status !== 200) throw new Error(body?.error ?? 'the agent does not answer');
    return body;
  };
  const view = await body('view', { parts: PARTS, filter, range, limit: MOST.rows });
  /** @type {Record<string, any>} */
  const operations = { '': await body('operations', { filter, range, limit: MOST.rows }) };
  await each(view.services.rows.slice(0, MOST.services), async ({ id }) => {
    // A service can be forgotten between two requests.
    const { status, body } = await get('operations', { service: id, filter, range, limit: MOST.rows });
    if (status === 200) operations[id] = body;
  });
  const newest = (await body('tail', { filter, limit: MOST.newest })).rows;
  const slow = (await body('tail', { filter, order: 'slow', limit: MOST.worst })).rows;
  const failed = (await body('tail', { filter, order: 'failed', limit: MOST.worst })).rows;
  /** @type {Record<string, any>} */
  const transactions = {};
  const opened = new Set([slow, failed, newest.slice(-MOST.opened)].flatMap((rows) => rows.slice(0, MOST.opened).map((/** @type {any} */ row) => row.seq)));
  await each([...opened], async (seq) => {
    const { status, body } = await get('transaction', { seq });
    if (status === 200) transactions[seq] = body;
  });
  const copy = redact ? redactor() : (/** @type {any} */ value) => value;
  return {
    version: 1, redacted: redact, filter: redact && filter ? 'redacted' : filter, range, view: copy(view), operations: byService(operations, copy),
    tail: { new: copy(newest), slow: copy(slow), failed: copy(failed) }, transactions: Object.fromEntries(Object.entries(transactions).map(([seq, row]) => [seq, copy(row)])),
  };
}

/** The ids of services are names of fields here, and are replaced like their values. @param {Record<string, any>} operations @param {(value: any) => any} copy */
function byService(operations, copy) {
  return Object.fromEntries(Object.entries(operations).map(([id, table]) => [id === '' ? '' : copy({ service: id }).service, copy(table)]));
}
