// @ts-check
// The graph of the map, from the tables of services and edges: which nodes and edges there are, in which kind of layer, and what is folded.
// Not: where they are drawn (layout.js).

/** @typedef {'caller' | 'service' | 'store'} Kind */
/**
 * @typedef {object} Node
 * @property {string} id @property {Kind} kind
 * @property {string} name Text of the wire.
 * @property {string} protocol Empty for callers.
 * @property {string} process Empty if unknown.
 * @property {string[]} services Ids of its services; empty for callers.
 * @property {number} rate Requests per second that it gets; for callers those that it sends.
 * @property {number} count @property {number} errors
 * @property {?number} p95 Nanoseconds.
 * @property {number} folded How many nodes it stands for; 0 for an ordinary one.
 */
/** @typedef {{id: string, from: string, to: string, rate: number, count: number, errors: number}} Edge */
/** @typedef {{nodes: Map<string, Node>, edges: Map<string, Edge>}} Graph */

/** Nodes on the map, those that stand for folded ones included. */
export const MOST_NODES = 60;
/** Of these, callers and stores get at most so many, unless others leave room. */
const QUOTAS = { caller: 15, service: 27, store: 15 };
/** Protocols whose servers keep data. */
const STORES = new Set(['pgsql', 'mysql', 'redis', 'memcache', 'mongodb', 'cassandra', 'nfs', 'tds', 'oracle']);

/**
 * The whole graph, without limits.
 * @param {any[]} services rows of `services` @param {any[]} rows rows of `edges`
 * @returns {Graph}
 */
export function graph(services, rows) {
  /** @type {Map<string, Node>} */
  const nodes = new Map();
  /** @type {Map<string, any[]>} */
  const at = new Map();
  for (const row of services) {
    nodes.set(row.id, {
      id: row.id, kind: STORES.has(row.protocol) ? 'store' : 'service', name: row.name, protocol: row.protocol, process: row.process?.name ?? '', services: [row.id],
      rate: row.numbers.rate, count: row.numbers.count, errors: row.numbers.errors, p95: row.numbers.p95_ns, folded: 0,
    });
    at.set(row.address, [...(at.get(row.address) ?? []), row]);
  }
  /** @type {Map<string, Edge>} */
  const edges = new Map();
  for (const row of rows) {
    const from = caller(row, at.get(row.client) ?? [], nodes);
    if (!nodes.has(row.service)) {
      // The service is beyond the limit of the table of services.
      nodes.set(row.service, { ...blank(row.service, 'service', row.service), services: [row.service] });
    }
    const node = nodes.get(from);
    if (node?.kind === 'caller') { node.rate += row.rate; node.count += row.count; node.errors += row.errors; }
    add(edges, from, row.service, row);
  }
  return { nodes, edges };
}

/** @param {string} id @param {Kind} kind @param {string} name @returns {Node} */
function blank(id, kind, name) {
  return { id, kind, name, protocol: '', process: '', services: [], rate: 0, count: 0, errors: 0, p95: null, folded: 0 };
}

/**
 * The node that made the requests of an edge: a service, if process or host proves it; otherwise a node of its own.
 * @param {any} row @param {any[]} here the services at the address of the client @param {Map<string, Node>} nodes
 */
function caller(row, here, nodes) {
  const process = row.process?.name ?? '';
  const same = here.filter((service) => (process && service.process?.name ? service.process.name === process : here.length === 1 && !loopback(row.client)));
  if (same.length) return same[0].id;
  const id = `${row.client} ${process}`;
  if (!nodes.has(id)) nodes.set(id, { ...blank(id, 'caller', process ? `${process} (${row.client})` : row.client), process });
  return id;
}

/** @param {string} address */
function loopback(address) {
  return address === '::1' || address.startsWith('127.');
}

/** @param {Map<string, Edge>} edges @param {string} from @param {string} to @param {{rate: number, count: number, errors: number}} numbers */
function add(edges, from, to, { rate, count, errors }) {
  const id = `${from}\n${to}`;
  const edge = edges.get(id);
  if (edge) { edge.rate += rate; edge.count += count; edge.errors += errors; } else edges.set(id, { id, from, to, rate, count, errors });
}

/**
 * What is shown: without the hidden nodes, only the neighbours of `focus`, and folded to `MOST_NODES`.
 * @param {Graph} whole @param {{hidden: Set<string>, focus: ?string, shown?: Set<string>}} choice `shown`: nodes on the map already, which are kept if they are about as busy
 * @returns {Graph}
 */
export function select(whole, { hidden, focus, shown = new Set() }) {
  const { nodes, edges } = whole;
  let wanted = [...nodes.values()].filter((node) => !hidden.has(node.id));
  if (focus !== null && nodes.has(focus)) {
    const near = new Set([focus]);
    for (const { from, to } of edges.values()) {
      if (from === focus) near.add(to);
      if (to === focus) near.add(from);
    }
    wanted = wanted.filter((node) => near.has(node.id));
  }
  // What is on the map stays unless others are clearly busier: otherwise nodes of about the same rate would take turns.
  const weight = (/** @type {Node} */ node) => node.count * (shown.has(node.id) ? 1.5 : 1) + (node.id === focus ? Infinity : 0);
  wanted.sort((a, b) => weight(b) - weight(a) || (a.id < b.id ? -1 : 1));
  const kept = wanted.length <= MOST_NODES ? new Set(wanted.map((node) => node.id)) : within(wanted);
  /** @type {Graph} */
  const result = { nodes: new Map(), edges: new Map() };
  /** @type {Map<string, string>} */
  const place = new Map();
  for (const node of wanted) {
    if (kept.has(node.id)) {
      result.nodes.set(node.id, node);
      place.set(node.id, node.id);
      continue;
    }
    const id = `+${node.kind}`;
    const fold = result.nodes.get(id) ?? blank(id, node.kind, '');
    fold.folded += 1;
    fold.rate += node.rate; fold.count += node.count; fold.errors += node.errors;
    fold.name = `+${fold.folded} ${fold.folded === 1 ? node.kind : `${node.kind}s`}`;
    result.nodes.set(id, fold);
    place.set(node.id, id);
  }
  for (const edge of edges.values()) {
    const [from, to] = [place.get(edge.from), place.get(edge.to)];
    if (from === undefined || to === undefined) continue;
    // Edges among the neighbours of the node in focus would hide its own.
    if (focus !== null && nodes.has(focus) && edge.from !== focus && edge.to !== focus) continue;
    add(result.edges, from, to, edge);
  }
  return result;
}

/** The ids of the busiest nodes, at most the quota of each kind, and what the other kinds left over. @param {Node[]} sorted */
function within(sorted) {
  const left = { ...QUOTAS };
  const kept = new Set();
  for (const node of sorted) {
    if (left[node.kind] > 0) { left[node.kind] -= 1; kept.add(node.id); }
  }
  let spare = left.caller + left.service + left.store;
  for (const node of sorted) {
    if (spare > 0 && !kept.has(node.id)) { spare -= 1; kept.add(node.id); }
  }
  return kept;
}
