// @ts-check
/**
 * Asks the API again and again: the numbers once a second, the last transactions with a held request. A hidden tab asks nothing, and so does a
 * page whose token is wrong. After a failure it waits longer and longer.
 */
import { get } from './api.js';

const SECOND = 1000;
/** Waiting after the first, second, … failure. */
const WAITS = [1000, 2000, 4000, 8000, 15000];
/** A capture that has ended does not change; this is only to notice that the program has ended. */
const ENDED = 5000;
/** Between two requests for transactions. */
const TAIL = 250;
/** How long the server holds a request for transactions. */
const HELD = 10000;

/** @param {number} ms @param {AbortSignal} signal @returns {Promise<void>} */
const sleep = (ms, signal) => new Promise((done) => {
  const timer = setTimeout(done, ms);
  signal.addEventListener('abort', () => { clearTimeout(timer); done(); }, { once: true });
});

/** Waits until the tab can be seen. @returns {Promise<void>} */
function visible() {
  if (!document.hidden) return Promise.resolve();
  return new Promise((done) => {
    const look = () => {
      if (document.hidden) return;
      document.removeEventListener('visibilitychange', look);
      done();
    };
    document.addEventListener('visibilitychange', look);
  });
}

/**
 * @typedef {Object} Wanted
 * @property {Record<string, [string, Record<string, any>]>} requests By name: path and parameters.
 * @property {Record<string, any> | null} tail
 *
 * @param {() => Wanted} wanted What to ask for now.
 * @param {{
 *   answers: (answers: Record<string, import('./api.js').Answer>) => boolean | void,
 *   tail: (body: any) => void,
 *   failing: (retryMs: number) => void,
 *   hasEnded: () => boolean,
 * }} on What happens with answers; `answers` returns false if asking again makes no sense.
 */
export function poll(wanted, on) {
  let stop = new AbortController();

  async function numbers(/** @type {AbortSignal} */ signal) {
    let failures = 0;
    while (!signal.aborted) {
      await visible();
      const start = performance.now();
      const requests = Object.entries(wanted().requests);
      const answers = await Promise.all(requests.map(([, [path, params]]) => get(path, params, signal)));
      if (signal.aborted) return;
      if (answers.some(({ status }) => status === 0)) {
        const wait = WAITS[Math.min(failures, WAITS.length - 1)];
        failures += 1;
        on.failing(wait);
        await sleep(wait, signal);
        continue;
      }
      failures = 0;
      if (on.answers(Object.fromEntries(requests.map(([name], index) => [name, answers[index]]))) === false) return;
      const spent = performance.now() - start;
      // A slow server or browser is asked less often.
      await sleep(Math.max((on.hasEnded() ? ENDED : SECOND) - spent, TAIL, Math.min(spent, 5 * SECOND)), signal);
    }
  }

  async function transactions(/** @type {AbortSignal} */ signal) {
    const params = wanted().tail;
    /** @type {number | undefined} */
    let after = params?.after;
    while (params && !signal.aborted) {
      await visible();
      const { status, body } = await get('tail', { ...params, after, wait_ms: after === undefined ? 0 : HELD }, signal);
      if (signal.aborted) return;
      if (status === 200) {
        after = body.next;
        if (body.rows.length > 0 || body.skipped > 0) on.tail(body);
      }
      // The loop of numbers says what is wrong.
      await sleep(status === 200 ? TAIL : 2 * SECOND, signal);
    }
  }

  return {
    /** Asks anew, now. */
    restart() {
      stop.abort();
      stop = new AbortController();
      numbers(stop.signal);
      transactions(stop.signal);
    },
    stop: () => stop.abort(),
  };
}
