// @ts-check
/** Requests to the API, with the token, which is kept in the session of the tab. */
import { answer, saved } from './save/saved.js';

const KEPT = 'token';
const TOKEN = /^[0-9a-f]{32}$/;

/**
 * The answer to a request. `status` 0: there was no answer; -1: the page no longer wants it.
 * @typedef {{status: number, body: any}} Answer
 */

/** Takes the token from the address, or from an earlier visit of this tab. The caller then removes it from the address. @returns {string | null} */
export function takeToken() {
  const token = tokenIn(location.hash);
  if (token) {
    sessionStorage.setItem(KEPT, token);
    return token;
  }
  return sessionStorage.getItem(KEPT);
}

/** The token of a link, or a token alone. @param {string} text @returns {string | null} */
export function tokenIn(text) {
  const trimmed = text.trim();
  const token = TOKEN.test(trimmed) ? trimmed : new URLSearchParams(trimmed.replace(/^[^#]*#/, '')).get('token');
  return token && TOKEN.test(token) ? token : null;
}

/** @param {string} token */
export function keepToken(token) {
  sessionStorage.setItem(KEPT, token);
}

/**
 * A link that is opened in a new tab has no token; other tabs of this page give theirs. Only pages of the same origin hear this.
 * @param {() => void} got A token came that this tab did not have.
 */
export function shareToken(got) {
  const channel = new BroadcastChannel('sniffer');
  channel.addEventListener('message', ({ data }) => {
    const own = sessionStorage.getItem(KEPT);
    if (data?.wants) {
      if (own) channel.postMessage({ token: own });
    } else if (!own && TOKEN.test(data?.token)) {
      keepToken(data.token);
      got();
    }
  });
  if (!sessionStorage.getItem(KEPT)) channel.postMessage({ wants: true });
}

/**
 * Asks the API.
 * @param {string} path below `/api/`
 * @param {Record<string, any>} params Those that are null, undefined or empty are left out.
 * @param {AbortSignal} [signal]
 * @returns {Promise<Response>}
 */
export function ask(path, params, signal) {
  const query = new URLSearchParams();
  for (const name in params) {
    const value = params[name];
    if (value !== null && value !== undefined && value !== '') query.set(name, String(value));
  }
  const token = sessionStorage.getItem(KEPT);
  return fetch(`/api/${path}?${query}`, { signal, credentials: 'omit', headers: token ? { Authorization: `Bearer ${token}` } : {} });
}

/** Asks for JSON. A saved page answers from its data. It never throws. @param {string} path @param {Record<string, any>} params @param {AbortSignal} [signal] @returns {Promise<Answer>} */
export async function get(path, params, signal) {
  if (saved) return answer(saved, path, params, signal);
  try {
    const response = await ask(path, params, signal);
    return { status: response.status, body: await response.json() };
  } catch {
    return { status: signal?.aborted ? -1 : 0, body: null };
  }
}
