// @ts-check
/** The filter as it is typed. It is checked by the server; while it is wrong, the last valid one stays. */

/** Waiting after a key before the filter is tried. */
const WAIT_MS = 180;
/** Earlier filters that `Up` recalls. */
const MOST = 50;

export class Filter {
  /** What is in the field. */
  text;
  /** @type {{text: string, error: string, column: number | null} | null} */
  wrong = null;
  #on;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  /** @type {string[]} */
  #earlier = [];
  #place = 0;

  /** @param {string} text @param {{check: (text: string) => Promise<import('./api.js').Answer>, accept: (text: string) => void, draw: () => void}} on */
  constructor(text, on) {
    this.text = text;
    this.#on = on;
  }

  /** The field was changed. @param {string} text */
  type(text) {
    this.text = text;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#try(text), WAIT_MS);
  }

  /** Tries a filter now. @param {string} text */
  apply(text) {
    this.text = text;
    clearTimeout(this.#timer);
    this.remember(text);
    this.#on.draw();
    return this.#try(text);
  }

  /** @param {string} text */
  async #try(text) {
    const trimmed = text.trim();
    const { status, body } = trimmed === '' ? { status: 200, body: null } : await this.#on.check(trimmed);
    // Another key was pressed meanwhile.
    if (this.text !== text) return;
    if (status === 400) return this.refuse(trimmed, body);
    if (status !== 200) return;
    this.wrong = null;
    this.#on.accept(trimmed);
  }

  /** @param {string} text @param {any} body The answer of the server. */
  refuse(text, body) {
    this.text = text;
    this.wrong = { text, error: String(body?.error ?? 'This filter is not valid'), column: body?.column ?? null };
    this.#on.draw();
  }

  /** The state has another filter, by a link, the back button, or as this one was accepted. @param {string} text */
  follow(text) {
    if (this.wrong && text === '') return;
    if (this.text.trim() !== text) this.text = text;
    this.wrong = null;
  }

  /** @param {string} text */
  remember(text) {
    if (text !== '' && this.#earlier[this.#earlier.length - 1] !== text) this.#earlier = [...this.#earlier, text].slice(-MOST);
    this.#place = this.#earlier.length;
  }

  /** An earlier filter, or a later one. @param {number} step */
  recall(step) {
    const place = Math.min(Math.max(this.#place + step, 0), this.#earlier.length);
    if (place === this.#place) return;
    this.#place = place;
    this.type(this.#earlier[place] ?? '');
    this.#on.draw();
  }
}
