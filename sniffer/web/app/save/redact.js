// @ts-check
// Replaces addresses, names and queries in answers of the API, for a saved page that is shown to others. The same value gets the same replacement, so that
// the page still shows what belongs together. Not: a filter of fields; unknown texts are replaced, too.

/** Texts that say nothing about whose traffic it is. Values below these names stay, if they are plain words. */
const PLAIN = new Set(['protocol', 'transport', 'status', 'result', 'version', 'cipher', 'kind', 'range', 'method', 'error', 'parameter']);
const WORD = /^[\w.\- ]{0,64}$/;
/** What replaced values are called, by the names that they have in the API. @type {Record<string, string>} */
const CALLED = {
  client: 'address', server: 'address', address: 'address', name: 'name', domain: 'name', host: 'host', process: 'process', operation: 'operation', query: 'query', resource: 'resource',
  container: 'container', user: 'user', service: 'service', id: 'service', capture: 'capture', notice: 'notice', notes: 'note',
};

/** @returns {(value: unknown, key?: string) => any} A function that copies a value with replacements; it remembers them. */
export function redactor() {
  /** @type {Map<string, string>} */
  const known = new Map();
  /** @type {Map<string, number>} */
  const counts = new Map();
  /** @param {string} text @param {string} kind */
  const replaced = (text, kind) => {
    const id = `${kind} ${text}`;
    const before = known.get(id);
    if (before !== undefined) return before;
    const number = (counts.get(kind) ?? 0) + 1;
    counts.set(kind, number);
    const now = `${kind}-${number}`;
    known.set(id, now);
    return now;
  };
  /** @param {unknown} value @param {string} key @returns {any} */
  const copy = (value, key = 'text') => {
    if (typeof value === 'string') {
      if (value === '' || (PLAIN.has(key) && WORD.test(value))) return value;
      return replaced(value, CALLED[key] ?? 'text');
    }
    if (Array.isArray(value)) {
      // [["NXDOMAIN", 311]]: codes and results are of a protocol.
      if (key === 'codes' || key === 'results') return value.map(([code, count]) => [WORD.test(String(code)) ? code : replaced(String(code), 'result'), count]);
      return value.map((each) => copy(each, key));
    }
    if (value === null || typeof value !== 'object') return value;
    return Object.fromEntries(Object.entries(value).map(([name, each]) => {
      // Names of counters are the program's own.
      if (name === 'counters') return [name, each];
      if (name === 'watched') return [name, each];
      if (key === 'details') return [name, typeof each === 'string' ? replaced(each, 'text') : copy(each, 'text')];
      if (name === 'pid') return [name, 0];
      if (['port', 'client_port', 'server_port'].includes(name)) return [name, each];
      // Processes and services are called by their names everywhere.
      if (name === 'name' && /process/.test(key)) return [name, copy(each, 'process')];
      return [name, copy(each, name)];
    }));
  };
  return (value, key) => copy(value, key);
}
