// @ts-check
/** Formats durations, sizes, counts and times as `watch` and `top` do (`sniffer/src/view/units.rs`), and makes text of the wire displayable. */

/** Shown for a value that is not known. */
export const UNKNOWN = '–';

/** @param {number | string} n @param {number} digits */
const pad = (n, digits = 2) => String(n).padStart(digits, '0');

/**
 * A duration in at most six characters: `40us`, `0.4ms`, `41ms`, `0.92s`, `1m03s`, `2h05m`.
 * @param {number | null | undefined} nanos
 */
export function duration(nanos) {
  if (nanos === null || nanos === undefined) return UNKNOWN;
  // Each range ends where rounding would give one digit more.
  if (nanos < 99_500) return `${Math.round(nanos / 1e3)}us`;
  if (nanos < 9_950_000) return `${(Math.round(nanos / 1e5) / 10).toFixed(1)}ms`;
  if (nanos < 999_500_000) return `${Math.round(nanos / 1e6)}ms`;
  if (nanos < 9_995_000_000) return `${(Math.round(nanos / 1e7) / 100).toFixed(2)}s`;
  if (nanos < 59_950_000_000) return `${(Math.round(nanos / 1e8) / 10).toFixed(1)}s`;
  const seconds = Math.round(nanos / 1e9);
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m${pad(seconds % 60)}s`;
  const minutes = Math.round(nanos / 6e10);
  if (minutes < 6000) return `${Math.floor(minutes / 60)}h${pad(minutes % 60)}m`;
  return `${Math.floor(minutes / 1440)}d`;
}

/**
 * A number of bytes: `612`, `2.1K`, `41K`, `9.1M`. The units are powers of 1024, as in the filter language.
 * @param {number | null | undefined} bytes
 */
export function size(bytes) {
  if (bytes === null || bytes === undefined) return UNKNOWN;
  if (bytes < 1000) return String(Math.round(bytes));
  let tenths = bytes * 10;
  for (const unit of ['K', 'M', 'G', 'T', 'P', 'E']) {
    tenths /= 1024;
    const rounded = Math.round(tenths);
    if (rounded < 100) return `${(rounded / 10).toFixed(1)}${unit}`;
    if (rounded < 9995) return `${Math.round(tenths / 10)}${unit}`;
  }
  return `${Math.round(tenths / 10)}E`;
}

/** A count with commas between groups of three digits: `12,306`. @param {number | null | undefined} n */
export function count(n) {
  return n === null || n === undefined ? UNKNOWN : String(Math.round(n)).replace(/\B(?=(\d{3})+$)/g, ',');
}

/** A count with its noun: `1 transaction`, `4 transactions`. @param {number} n @param {string} noun */
export const counted = (n, noun) => `${count(n)} ${noun}${n === 1 ? '' : 's'}`;

/** A rate per second: `1,204`, `12.5`, `0.03`. @param {number | null | undefined} perSecond */
export function rate(perSecond) {
  if (perSecond === null || perSecond === undefined) return UNKNOWN;
  if (perSecond === 0) return '0';
  if (perSecond >= 99.95) return count(perSecond);
  if (perSecond >= 9.995) return perSecond.toFixed(1).replace(/\.0$/, '');
  if (perSecond < 0.005) return '<0.01';
  return perSecond.toFixed(2).replace(/\.?0+$/, '');
}

/** A share: `0`, `0.8`, `31`, without the sign. @param {number | null | undefined} value */
export function percent(value) {
  if (value === null || value === undefined) return UNKNOWN;
  if (value === 0) return '0';
  if (value < 0.05) return '<0.1';
  return value < 99.95 && value < 10 ? value.toFixed(1).replace(/\.0$/, '') : String(Math.round(value));
}

/** From this share on, errors are marked. */
export const MARKED_PERCENT = 1;

/**
 * A time of day in the zone of the captured machine: `23:38:46`, `23:38:46.412`.
 * @param {number | null | undefined} us @param {number} zoneSeconds @param {boolean} [millis]
 */
export function time(us, zoneSeconds, millis = false) {
  if (us === null || us === undefined) return UNKNOWN;
  const text = local(us, zoneSeconds).slice(11, 23);
  return millis ? text : text.slice(0, 8);
}

/** A date: `2026-01-02`. @param {number | null | undefined} us @param {number} zoneSeconds */
export const date = (us, zoneSeconds) => (us === null || us === undefined ? UNKNOWN : local(us, zoneSeconds).slice(0, 10));

/** @param {number} us @param {number} zoneSeconds */
function local(us, zoneSeconds) {
  const millis = Math.floor(us / 1000) + zoneSeconds * 1000;
  // Dates outside of this range cannot be formatted; a damaged capture file can have any time.
  return Math.abs(millis) < 8.64e15 ? new Date(millis).toISOString() : '0000-00-00T00:00:00.000';
}

/** A zone: `UTC+8`, `UTC-3:30`, `UTC`. @param {number} seconds */
export function zone(seconds) {
  if (!seconds) return 'UTC';
  const minutes = Math.round(Math.abs(seconds) / 60);
  return `UTC${seconds < 0 ? '-' : '+'}${Math.floor(minutes / 60)}${minutes % 60 ? `:${pad(minutes % 60)}` : ''}`;
}

// Control characters, characters that change the direction of text, and invisible ones.
const HIDDEN = /[\0-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ud800-\udfff\ue000-\uf8ff\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\u{1d173}-\u{1d17a}\u{e0000}-\u{10ffff}]/gu;

/** The longest text of the wire that is drawn. */
const MOST = 2000;

/**
 * Text of the wire, with escapes (`\x1b`, `\u{202e}`) for characters that are not displayed in their place.
 * @param {string | number | null | undefined} text
 */
export function wire(text) {
  if (text === null || text === undefined) return UNKNOWN;
  const whole = String(text);
  const shown = whole.length > MOST ? `${whole.slice(0, MOST)}~` : whole;
  return shown.replace(HIDDEN, escape);
}

/** @param {string} c */
function escape(c) {
  const named = { '\n': '\\n', '\r': '\\r', '\t': '\\t' }[c];
  if (named) return named;
  const code = c.codePointAt(0) ?? 0;
  return code < 256 ? `\\x${pad(code.toString(16), 2)}` : `\\u{${code.toString(16)}}`;
}

/** An address with a port: `10.0.0.5:8080`, `[::1]:53`. @param {string | null} address @param {number | null} port */
export function peer(address, port) {
  const text = wire(address);
  if (port === null || port === undefined) return text;
  return text.includes(':') ? `[${text}]:${port}` : `${text}:${port}`;
}

/** `gunicorn[812]`, or an empty text. @param {{pid?: number, name?: string} | null | undefined} process */
export function process(process) {
  if (!process) return '';
  const name = process.name === undefined ? '' : wire(process.name);
  return process.pid === undefined ? name : `${name}[${process.pid}]`;
}
