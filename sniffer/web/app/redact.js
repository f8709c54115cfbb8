// @ts-check
/** Hides addresses, names and queries of what is shown, with replacements that can be led back to what they stand for. */
import { redactor as replacer } from './save/redact.js';

/** Rows that never change are copied once. @type {WeakMap<object, any>} */
const copies = new WeakMap();

export function redactor() {
  const replace = replacer();
  /** @type {Map<string, string>} */
  const originals = new Map();
  /** @param {any} value @param {string} [key] @returns {any} */
  function copy(value, key) {
    if (value === null || value === undefined) return value;
    if (typeof value === 'object') {
      const known = copies.get(value);
      if (known) return known;
    }
    const replaced = replace(value, key);
    remember(value, replaced);
    if (typeof value === 'object') copies.set(value, replaced);
    return replaced;
  }
  /** @param {any} value @param {any} replaced */
  function remember(value, replaced) {
    if (typeof value === 'string') {
      if (value !== replaced) originals.set(replaced, value);
    } else if (value && typeof value === 'object' && replaced && typeof replaced === 'object') {
      for (const name in value) remember(value[name], replaced[name]);
    }
  }
  return {
    /** A copy with replacements. */
    copy,
    /** What a replacement stands for. @param {string} text */
    original: (text) => originals.get(text) ?? text,
  };
}
