// @ts-check
// Draws the map: nodes and edges as SVG, with pan and zoom by pointer and keyboard. Text is never below 12 px, so that what does not fit is reached by
// panning. Not: which nodes there are (graph.js) and where (layout.js).

import { svg } from '../chart.js';
import { route } from './route.js';

/** @typedef {import('./graph.js').Graph} Graph */
/** @typedef {import('./graph.js').Node} Node */
/** @typedef {import('./graph.js').Edge} Edge */
/** @typedef {import('./layout.js').Place} Place */
/** @typedef {{rate: (value: number) => string, latency: (value: number) => string, percent: (value: number) => string, text: (value: string) => string}} Formats */

/** Size of a node, and the least and most distance of columns and rows. */
export const BOX = { width: 164, height: 44, gap: 46, most: 120, row: 58 };
/** Space around the nodes. */
const PAD = 14;
/** The smallest text has 13 px, so that it has 12 px at the smallest zoom. */
const ZOOM = { least: 12 / 13, most: 2.5, step: 1.25 };
const PAN = 80;
/** A pointer that moves less than this clicks. */
const CLICK_PX = 4;
/** From this share of errors on, in percent, a node or edge is marked. */
const MARKED = 1;

const ICONS = {
  caller: 'M7 1.5a2.6 2.6 0 1 1 0 5.2a2.6 2.6 0 0 1 0-5.2M1.8 12.5c0-3 2.2-4.6 5.2-4.6s5.2 1.6 5.2 4.6',
  service: 'M7 1.2l5.2 2.9v5.8L7 12.8L1.8 9.9V4.1zM1.8 4.1L7 7l5.2-2.9M7 7v5.8',
  store: 'M2 3.2c0-2.4 10-2.4 10 0s-10 2.4-10 0v7.6c0 2.4 10 2.4 10 0V3.2M2 7c0 2.4 10 2.4 10 0',
};

/** The share of errors in percent. @param {{count: number, errors: number}} numbers */
const share = ({ count, errors }) => (count > 0 ? (100 * errors) / count : 0);

/**
 * @param {{formats: Formats, activate: (id: string) => void, hide: (id: string) => void}} options
 *   `activate`: a node was clicked, or Enter pressed; `hide`: `x`
 */
export function drawing({ formats, activate, hide }) {
  const root = svg('svg', { class: 'map', role: 'group', 'aria-roledescription': 'map' });
  const view = svg('g');
  const [edgeLayer, nodeLayer] = [svg('g', { 'aria-hidden': 'true' }), svg('g')];
  view.append(edgeLayer, nodeLayer);
  root.append(view);
  const pen = document.createElement('canvas').getContext('2d');
  /** @type {Map<string, ReturnType<typeof makeNode>>} */
  const nodes = new Map();
  /** @type {Map<string, ReturnType<typeof makeEdge>>} */
  const edges = new Map();
  /** @type {{graph: Graph, places: Map<string, Place>, focus: ?string}} */
  let shown = { graph: { nodes: new Map(), edges: new Map() }, places: new Map(), focus: null };
  const camera = { x: 0, y: 0, zoom: 1 };
  let [width, pitch, moved] = [0, BOX.width + BOX.gap, false];
  /** The node that Tab reaches. @type {?string} */
  let current = null;
  /** @type {Map<string, string>} */
  const cuts = new Map();

  const x = (/** @type {Place} */ place) => PAD + place.column * pitch;
  const y = (/** @type {Place} */ place) => PAD + place.row * BOX.row;

  /** Cuts a text to a width in pixels. @param {string} text @param {number} room @param {string} font */
  function cut(text, room, font) {
    const id = `${font}|${room}|${text}`;
    const known = cuts.get(id);
    if (known !== undefined) return known;
    let found = text;
    if (pen) {
      pen.font = `${font} ${getComputedStyle(root).fontFamily}`;
      const letters = [...text].slice(0, 60);
      found = letters.length < [...text].length || pen.measureText(text).width > room ? '' : text;
      while (!found && letters.length) {
        letters.pop();
        const shorter = `${letters.join('')}…`;
        if (pen.measureText(shorter).width <= room) found = shorter;
      }
    }
    if (cuts.size > 2000) cuts.clear();
    cuts.set(id, found);
    return found;
  }

  /** @param {Node} node */
  function makeNode(node) {
    const element = svg('g', { class: `map-node kind-${node.kind}` });
    // The texts are not within the button, whose name says the same in words.
    const button = svg('g', { class: 'map-button', role: 'button', tabindex: -1 });
    const texts = svg('g', { class: 'map-texts', 'aria-hidden': 'true' });
    const title = svg('title');
    const box = svg('rect', { class: 'map-box', width: BOX.width, height: BOX.height, rx: node.kind === 'caller' ? BOX.height / 2 : 6 });
    const icon = svg('path', { class: 'map-icon', d: ICONS[node.kind], transform: 'translate(11 7)' });
    const name = svg('text', { class: 'map-name', x: 31, y: 18 });
    const rate = svg('text', { class: 'map-numbers', x: 31, y: 35 });
    const errors = svg('text', { class: 'map-errors', x: BOX.width - 10, y: 35, 'text-anchor': 'end' });
    button.append(title, box);
    texts.append(icon, name, rate, errors);
    element.append(button, texts);
    button.addEventListener('click', () => { if (!moved) activate(node.id); });
    button.addEventListener('focus', () => { current = node.id; tabStops(); highlight(node.id); reveal(node.id); });
    button.addEventListener('blur', () => highlight(null));
    element.addEventListener('pointerenter', () => highlight(node.id));
    element.addEventListener('pointerleave', () => highlight(null));
    nodeLayer.append(element);
    return { element, button, title, name, rate, errors };
  }

  /** @param {Edge} edge */
  function makeEdge(edge) {
    const element = svg('g', { class: 'map-edge' });
    const line = svg('path', { class: 'map-line' });
    const arrow = svg('path', { class: 'map-arrow' });
    const label = svg('text', { class: 'map-edge-label', 'text-anchor': 'middle' });
    element.append(line, arrow, label);
    edgeLayer.append(element);
    return { element, line, arrow, label, from: edge.from, to: edge.to };
  }

  /** Removes the parts that are gone and makes those that are new. @template P, T @param {Map<string, P>} parts @param {Map<string, T>} wanted @param {(of: T) => P} make @param {(part: P) => Element} element */
  function match(parts, wanted, make, element) {
    for (const [id, part] of parts) if (!wanted.has(id)) { element(part).remove(); parts.delete(id); }
    for (const [id, of] of wanted) if (!parts.has(id)) parts.set(id, make(of));
  }

  function draw() {
    const { graph, places, focus } = shown;
    const all = [...places.values()];
    const columns = 1 + Math.max(0, ...all.map(({ column }) => column));
    const rows = 1 + Math.max(0, ...all.map(({ row }) => row));
    const room = columns > 1 ? (width - 2 * PAD - BOX.width) / (columns - 1) : 0;
    pitch = Math.max(BOX.width + BOX.gap, Math.min(BOX.width + BOX.most, room));
    const height = 2 * PAD + (rows - 1) * BOX.row + BOX.height;
    set(root, 'height', String(height));
    match(nodes, graph.nodes, makeNode, (part) => part.element);
    match(edges, graph.edges, makeEdge, (part) => part.element);
    for (const [id, part] of nodes) {
      const [node, place] = [graph.nodes.get(id), places.get(id)];
      if (!node || !place) continue;
      const bad = share(node);
      const [name, errors] = [formats.text(node.name), bad >= MARKED ? `!${formats.percent(bad)}` : bad >= 0.05 ? formats.percent(bad) : ''];
      set(part.element, 'transform', `translate(${x(place)} ${y(place)})`);
      part.element.classList.toggle('failing', bad >= MARKED);
      part.element.classList.toggle('in-focus', id === focus);
      part.element.classList.toggle('folded', node.folded > 0);
      write(part.name, cut(name, BOX.width - 40, '600 14px'));
      const latency = node.p95 === null || node.kind === 'caller' || node.folded ? '' : `  ${formats.latency(node.p95)}`;
      write(part.rate, `${formats.rate(node.rate)}/s${errors && latency.length + errors.length > 9 ? '' : latency}`);
      write(part.errors, errors);
      const words = [name, node.protocol, node.process && node.kind !== 'caller' ? `process ${formats.text(node.process)}` : '',
        `${formats.rate(node.rate)} per second`, node.errors ? `${formats.percent(bad)} errors` : 'no errors', node.p95 === null ? '' : `95 % within ${formats.latency(node.p95)}`];
      const label = words.filter(Boolean).join(', ');
      write(part.title, label);
      set(part.button, 'aria-label', label);
    }
    const taken = new Set(all.map(({ column, row }) => `${column}/${row}`));
    for (const [id, part] of edges) {
      const edge = graph.edges.get(id);
      const [from, to] = [places.get(part.from), places.get(part.to)];
      if (!edge || !from || !to) continue;
      const bad = share(edge);
      const thick = 1 + Math.log10(1 + Math.max(0, edge.rate)) * 1.1;
      const { path, middle, arrow } = route(from, to, { x, y, taken, box: BOX, thick });
      set(part.line, 'd', path);
      set(part.line, 'stroke-width', thick.toFixed(1));
      set(part.arrow, 'd', arrow);
      part.element.classList.toggle('failing', bad >= MARKED);
      write(part.label, bad >= MARKED ? '!' : '');
      set(part.label, 'x', middle.x.toFixed(0));
      set(part.label, 'y', (middle.y + 4).toFixed(0));
    }
    set(root, 'aria-label', `Map of ${graph.nodes.size} nodes and ${graph.edges.size} connections. Arrow keys move, Enter shows the neighbours, x hides.`);
    if (current === null || !nodes.has(current)) current = focus !== null && nodes.has(focus) ? focus : nodes.keys().next().value ?? null;
    tabStops();
    look();
  }

  /** Only one node is reached by Tab; arrow keys lead to the others. */
  function tabStops() {
    for (const [id, part] of nodes) set(part.button, 'tabindex', id === current ? '0' : '-1');
  }

  /** Moves the view, within the limits. */
  function look() {
    const all = [...shown.places.values()];
    const right = (PAD * 2 + Math.max(0, ...all.map(({ column }) => column)) * pitch + BOX.width) * camera.zoom;
    const bottom = (PAD * 2 + Math.max(0, ...all.map(({ row }) => row)) * BOX.row + BOX.height) * camera.zoom;
    const height = Number(root.getAttribute('height'));
    camera.x = right <= width ? (width - right) / 2 : Math.max(width - right, Math.min(0, camera.x));
    camera.y = Math.max(Math.min(0, height - bottom), Math.min(0, camera.y));
    set(view, 'transform', `translate(${camera.x.toFixed(1)} ${camera.y.toFixed(1)}) scale(${camera.zoom.toFixed(3)})`);
  }

  /** @param {number} factor @param {number} [atX] @param {number} [atY] */
  function zoom(factor, atX = width / 2, atY = Number(root.getAttribute('height')) / 2) {
    const next = Math.max(ZOOM.least, Math.min(ZOOM.most, camera.zoom * factor));
    camera.x = atX - ((atX - camera.x) * next) / camera.zoom;
    camera.y = atY - ((atY - camera.y) * next) / camera.zoom;
    camera.zoom = next;
    look();
  }

  /** Moves the view so that the node is in it. @param {string} id */
  function reveal(id) {
    const place = shown.places.get(id);
    if (!place) return;
    const [left, top] = [x(place) * camera.zoom, y(place) * camera.zoom];
    const [w, h] = [BOX.width * camera.zoom, BOX.height * camera.zoom];
    const height = Number(root.getAttribute('height'));
    camera.x = Math.max(PAD - left, Math.min(width - PAD - left - w, camera.x));
    camera.y = Math.max(PAD - top, Math.min(height - PAD - top - h, camera.y));
    look();
  }

  /** Shows what belongs to a node, and dims the rest. @param {?string} id */
  function highlight(id) {
    root.classList.toggle('has-active', id !== null);
    const near = new Set([id]);
    for (const { element, from, to } of edges.values()) {
      const mine = from === id || to === id;
      element.classList.toggle('near', mine);
      if (mine) near.add(from).add(to);
    }
    for (const [each, { element }] of nodes) element.classList.toggle('near', near.has(each));
  }

  /** The next node in a direction: in the same column, or the nearest one of the next column that has nodes. @param {number} dx @param {number} dy */
  function step(dx, dy) {
    const here = current === null ? undefined : shown.places.get(current);
    if (!here) return;
    let [best, distance] = [/** @type {?string} */ (null), Infinity];
    for (const [id, place] of shown.places) {
      const ahead = dx ? (place.column - here.column) * dx : (place.row - here.row) * dy;
      if (id === current || ahead <= 0 || (dy && place.column !== here.column)) continue;
      const far = ahead * 1000 + Math.abs(place.row - here.row);
      if (far < distance) [best, distance] = [id, far];
    }
    if (best !== null) focusOn(best);
  }

  /** @param {string} id */
  function focusOn(id) {
    /** @type {any} */ (nodes.get(id)?.button)?.focus({ preventScroll: false });
  }

  root.addEventListener('keydown', (event) => {
    const press = /** @type {KeyboardEvent} */ (event);
    const arrows = { ArrowLeft: [-1, 0], h: [-1, 0], ArrowRight: [1, 0], l: [1, 0], ArrowUp: [0, -1], k: [0, -1], ArrowDown: [0, 1], j: [0, 1] };
    const arrow = arrows[/** @type {keyof arrows} */ (press.key)];
    if (press.ctrlKey || press.metaKey || press.altKey) return;
    if (arrow && press.shiftKey) { camera.x -= arrow[0] * PAN; camera.y -= arrow[1] * PAN; look(); }
    else if (arrow) step(arrow[0], arrow[1]);
    else if ((press.key === 'Enter' || press.key === 'o') && current !== null) activate(current);
    else if (press.key === 'x' && current !== null) hide(current);
    else if (press.key === '+' || press.key === '=') zoom(ZOOM.step);
    else if (press.key === '-') zoom(1 / ZOOM.step);
    else if (press.key === '0') fit();
    else return;
    press.preventDefault();
    press.stopPropagation();
  });

  /** @type {?{x: number, y: number, id: number}} */
  let drag = null;
  root.addEventListener('pointerdown', (event) => {
    const press = /** @type {PointerEvent} */ (event);
    moved = false;
    if (press.button === 0) drag = { x: press.clientX - camera.x, y: press.clientY - camera.y, id: press.pointerId };
  });
  root.addEventListener('pointermove', (event) => {
    const press = /** @type {PointerEvent} */ (event);
    if (!drag || press.pointerId !== drag.id || !(press.buttons & 1)) return;
    const [nextX, nextY] = [press.clientX - drag.x, press.clientY - drag.y];
    if (!moved && Math.hypot(nextX - camera.x, nextY - camera.y) < CLICK_PX) return;
    // Captured only now: a captured pointer would click the map instead of the node.
    if (!moved) root.setPointerCapture(press.pointerId);
    moved = true;
    [camera.x, camera.y] = [nextX, nextY];
    look();
  });
  for (const end of ['pointerup', 'pointercancel']) root.addEventListener(end, () => { drag = null; });
  root.addEventListener('wheel', (event) => {
    // The page scrolls with the wheel; the map zooms with Ctrl, which is also what a pinch on a touch pad sends.
    const wheel = /** @type {WheelEvent} */ (event);
    if (!wheel.ctrlKey) return;
    wheel.preventDefault();
    const box = root.getBoundingClientRect();
    zoom(wheel.deltaY < 0 ? ZOOM.step : 1 / ZOOM.step, wheel.clientX - box.left, wheel.clientY - box.top);
  }, { passive: false });

  function fit() {
    Object.assign(camera, { x: 0, y: 0, zoom: 1 });
    look();
  }

  const observer = new ResizeObserver(() => {
    const now = Math.floor(root.getBoundingClientRect().width);
    if (now > 0 && now !== width) { width = now; draw(); }
  });
  observer.observe(root);

  return {
    element: root,
    /** @param {Graph} graph @param {Map<string, Place>} places @param {?string} focus */
    update(graph, places, focus) {
      const other = focus !== shown.focus;
      shown = { graph, places, focus };
      if (other) { current = focus; Object.assign(camera, { x: 0, y: 0 }); }
      if (width > 0) draw();
      if (other && root.contains(document.activeElement) && current !== null) focusOn(current);
    },
    zoom: (/** @type {boolean} */ closer) => zoom(closer ? ZOOM.step : 1 / ZOOM.step),
    fit,
    /** Puts the keyboard on the map. */
    take() { if (current !== null) focusOn(current); },
    close() { observer.disconnect(); },
  };
}

/** Writes a text only if it is another one: an unchanged map costs no layout. @param {Element} element @param {string} text */
function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Sets an attribute only if it is another one, for the same reason. @param {Element} element @param {string} name @param {string} value */
function set(element, name, value) {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}
