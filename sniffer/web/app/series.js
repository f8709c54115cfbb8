// @ts-check
/**
 * Remembers the numbers of the answers of `/api/view`, one sample a second, for charts over the time that the page is open. More than ten seconds
 * without an answer (hidden tab, lost connection) are a gap.
 *
 * @typedef {{us: number, rate: number, errors: number | null, p50: number | null, p95: number | null, bytes: number | null} | null} Sample null is a gap.
 */

/** Seconds that are remembered. */
const SECONDS = 300;
/** Rates are those of the last 10 seconds, so that a slow browser, which asks less often, still knows them. */
const COVERED = 10;
/** Services that are remembered; those with most transactions. */
const SERVICES = 300;

export class Series {
  /** @type {Sample[]} */
  totals = [];
  /** By the id of the service. @type {Map<string, Sample[]>} */
  services = new Map();
  #last = 0;

  /** Adds an answer. @param {any} view */
  add(view) {
    const us = view.now_us;
    const seconds = this.#last ? Math.round((us - this.#last) / 1e6) : 1;
    // Two answers within a second, for example because the filter was changed.
    if (seconds === 0) return;
    if (seconds < 0) this.clear();
    const missing = Math.min(Math.max(seconds - 1, 0), SECONDS);
    this.#last = us;
    if (this.totals.length === 0) this.totals = before(us, view.totals);
    push(this.totals, us, view.totals, missing);
    if (!view.services) return;
    for (const row of view.services.rows.slice(0, SERVICES)) {
      let list = this.services.get(row.id);
      if (!list) this.services.set(row.id, (list = before(us, row.numbers)));
      push(list, us, row.numbers, missing);
    }
    for (const [id, list] of this.services) if (list[list.length - 1]?.us !== us) push(list, us, null, missing);
    for (const [id, list] of this.services) if (list.every((sample) => sample === null)) this.services.delete(id);
  }

  /** Forgets everything; after a change of the filter, old and new numbers are not comparable. */
  clear() {
    this.totals = [];
    this.services.clear();
    this.#last = 0;
  }
}

/** The rates of the seconds before the first answer. @param {number} us @param {any} numbers @returns {Sample[]} */
function before(us, numbers) {
  const rates = (numbers?.seconds ?? []).slice(0, -1);
  return rates.map((/** @type {number} */ rate, /** @type {number} */ index) => ({ us: us - (rates.length - index) * 1e6, rate, errors: null, p50: null, p95: null, bytes: null }));
}

/** @param {Sample[]} list @param {number} us @param {any} numbers @param {number} missing */
function push(list, us, numbers, missing) {
  const sample = numbers && { us, rate: numbers.rate, errors: numbers.error_percent, p50: numbers.p50_ns, p95: numbers.p95_ns, bytes: numbers.bytes_per_second };
  for (let n = missing; n > 0; n -= 1) list.push(sample && missing < COVERED ? { ...sample, us: us - n * 1e6 } : null);
  list.push(sample);
  if (list.length > SECONDS) list.splice(0, list.length - SECONDS);
}
