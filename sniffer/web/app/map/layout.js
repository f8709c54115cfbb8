// @ts-check
// Places of the nodes on the map: a column, counted from the callers, and a row. A node keeps its place while it is on the map; only new nodes
// are placed. Not: what is drawn (draw.js).

/** @typedef {import('./graph.js').Graph} Graph */
/** @typedef {{column: number, row: number}} Place */

/** Columns between the callers and the stores: services that call services stand further right, up to here. */
const SERVICE_COLUMNS = 4;
/** Sweeps over all columns that reduce crossings. More than this changes little. */
const SWEEPS = 6;

/**
 * @param {Graph} graph @param {Map<string, Place>} before the places of the last call
 * @returns {Map<string, Place>}
 */
export function layout(graph, before) {
  const kept = [...graph.nodes.keys()].filter((id) => before.has(id));
  // With few of the nodes left it is another picture, for example the neighbours of one service.
  return kept.length * 2 > graph.nodes.size && kept.length * 2 > before.size ? extend(graph, before) : fresh(graph);
}

/** Column of each node, without gaps. @param {Graph} graph @returns {Map<string, number>} */
function columns(graph) {
  /** @type {Map<string, string[]>} */
  const calls = new Map();
  for (const { from, to } of [...graph.edges.values()].sort((a, b) => b.count - a.count)) calls.set(from, [...(calls.get(from) ?? []), to]);
  const depth = new Map();
  /** @type {Set<string>} */
  const path = new Set();
  // Longest path. The depth of recursion is at most the number of nodes on the map; an edge back into the path is a cycle and is ignored.
  const visit = (/** @type {string} */ id, /** @type {number} */ least) => {
    if (path.has(id) || (depth.get(id) ?? -1) >= least) return;
    depth.set(id, least);
    path.add(id);
    for (const to of calls.get(id) ?? []) visit(to, Math.min(least + 1, SERVICE_COLUMNS));
    path.delete(id);
  };
  const called = new Set([...graph.edges.values()].map(({ to }) => to));
  const sorted = [...graph.nodes.values()].sort((a, b) => b.count - a.count);
  for (const node of sorted) if (!called.has(node.id)) visit(node.id, node.kind === 'caller' ? 0 : 1);
  for (const node of sorted) if (!depth.has(node.id)) visit(node.id, node.kind === 'caller' ? 0 : 1);
  const wanted = new Map();
  for (const node of sorted) {
    const at = node.kind === 'caller' ? 0 : node.kind === 'store' ? SERVICE_COLUMNS + 1 : Math.max(1, depth.get(node.id) ?? 1);
    wanted.set(node.id, at);
  }
  const used = [...new Set(wanted.values())].sort((a, b) => a - b);
  return new Map([...wanted].map(([id, at]) => [id, used.indexOf(at)]));
}

/** @param {Graph} graph @returns {Map<string, Place>} */
function fresh(graph) {
  const column = columns(graph);
  /** @type {string[][]} */
  const order = [];
  for (const node of [...graph.nodes.values()].sort((a, b) => Math.sign(a.folded) - Math.sign(b.folded) || b.count - a.count || (a.id < b.id ? -1 : 1))) {
    (order[column.get(node.id) ?? 0] ??= []).push(node.id);
  }
  const next = neighbours(graph);
  const height = Math.max(1, ...order.map((ids) => ids.length));
  /** @type {Map<string, number>} */
  const y = new Map();
  const spread = (/** @type {string[]} */ ids) => ids.forEach((id, n) => y.set(id, n + (height - ids.length) / 2));
  order.forEach(spread);
  for (let sweep = 0; sweep < SWEEPS; sweep += 1) {
    for (const ids of sweep % 2 ? [...order].reverse() : order) {
      const center = new Map(ids.map((id) => [id, barycenter(next.get(id) ?? [], y, y.get(id) ?? 0)]));
      ids.sort((a, b) => fold(graph, a) - fold(graph, b) || (center.get(a) ?? 0) - (center.get(b) ?? 0));
      spread(ids);
    }
  }
  const places = new Map();
  order.forEach((ids) => {
    // Whole rows: columns are centred on each other by the half of the difference.
    ids.forEach((id, n) => places.set(id, { column: column.get(id) ?? 0, row: n + Math.floor((height - ids.length) / 2) }));
  });
  return places;
}

/** 1 for a node that stands for others: it is at the end of its column. @param {Graph} graph @param {string} id */
function fold(graph, id) {
  return graph.nodes.get(id)?.folded ? 1 : 0;
}

/** @param {Graph} graph */
function neighbours(graph) {
  /** @type {Map<string, string[]>} */
  const next = new Map([...graph.nodes.keys()].map((id) => [id, []]));
  for (const { from, to } of graph.edges.values()) {
    next.get(from)?.push(to);
    next.get(to)?.push(from);
  }
  return next;
}

/** @param {string[]} ids @param {Map<string, number>} y @param {number} otherwise */
function barycenter(ids, y, otherwise) {
  const known = ids.map((id) => y.get(id)).filter((at) => at !== undefined);
  return known.length ? known.reduce((sum, at) => sum + at, 0) / known.length : otherwise;
}

/** Keeps the places, and puts new nodes beside their neighbours. @param {Graph} graph @param {Map<string, Place>} before */
function extend(graph, before) {
  /** @type {Map<string, Place>} */
  const places = new Map();
  for (const id of graph.nodes.keys()) {
    const place = before.get(id);
    if (place) places.set(id, place);
  }
  const next = neighbours(graph);
  const taken = new Set([...places.values()].map(({ column, row }) => `${column}/${row}`));
  const most = Math.max(0, ...[...places.values()].map(({ column }) => column));
  for (const node of [...graph.nodes.values()].filter(({ id }) => !places.has(id)).sort((a, b) => b.count - a.count)) {
    const column = columnBeside(node, graph, places, most);
    const rows = new Map([...places].map(([id, place]) => [id, place.row]));
    const wanted = Math.round(barycenter(next.get(node.id) ?? [], rows, 0));
    // The nearest free row; there are at most as many taken ones as nodes.
    for (let step = 0; step <= 2 * graph.nodes.size + 1; step += 1) {
      const row = wanted + (step % 2 ? 1 : -1) * Math.ceil(step / 2);
      if (row < 0 || taken.has(`${column}/${row}`)) continue;
      taken.add(`${column}/${row}`);
      places.set(node.id, { column, row });
      break;
    }
  }
  return places;
}

/** @param {import('./graph.js').Node} node @param {Graph} graph @param {Map<string, Place>} places @param {number} most */
function columnBeside(node, graph, places, most) {
  for (const [id, place] of places) {
    const other = graph.nodes.get(id);
    if (other?.kind === node.kind && node.kind !== 'service') return place.column;
  }
  if (node.kind === 'caller') return 0;
  if (node.kind === 'store') return most;
  const callers = [...graph.edges.values()].filter(({ to }) => to === node.id).map(({ from }) => places.get(from)?.column ?? 0);
  return Math.max(1, Math.min(SERVICE_COLUMNS, callers.length ? Math.max(...callers) + 1 : 1, Math.max(1, most - 1)));
}
