// @ts-check
/**
 * Line charts over time as SVG, drawn at the size that they have, so that texts never scale. Gaps are hatched, never drawn as zero. Where the values
 * come from is not here: `series.js` remembers them.
 */
import { time as clock } from './format.js';

const SVG = 'http://www.w3.org/2000/svg';
/** Room for the labels of the value axis, below for those of the time axis, and above for the title's unit. */
const LEFT = 52;
const RIGHT = 10;
const TOP = 8;
const BOTTOM = 20;
/** Times further apart than this were not asked for: the page was hidden, paused, or the agent was off. */
const GAP_US = 2_600_000;

/**
 * @typedef {object} Series
 * @property {string} label @property {(number | null)[]} values
 * @property {'a' | 'b' | 'c'} look Colour and dash: `a` blue and solid, `b` blue and dashed, `c` orange and dotted.
 * @property {boolean} [area] Whether the surface below is filled.
 */
/** @typedef {{times_us: number[], series: Series[], zone_seconds: number}} Lines */

/** @param {string} tag @param {Record<string, string | number>} [attributes] @param {string} [text] */
export function svg(tag, attributes = {}, text) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  if (text !== undefined) element.textContent = text;
  return element;
}

/** The smallest of 1, 2, 2.5, 5 times a power of ten that is not below the value. @param {number} value */
export function nice(value) {
  if (!(value > 0) || !Number.isFinite(value)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 2.5, 5, 10].map((step) => step * power).find((step) => step >= value * 0.999999) ?? value;
}

/** The pieces of a line between the gaps: lists of indices. @param {number[]} times @param {(number | null)[]} values */
function pieces(times, values) {
  /** @type {number[][]} */
  const found = [];
  values.forEach((value, n) => {
    if (value === null || !Number.isFinite(value)) return;
    const piece = found.at(-1);
    const before = piece?.at(-1);
    if (piece && before === n - 1 && times[n] - times[before] <= GAP_US) piece.push(n); else found.push([n]);
  });
  return found;
}

/**
 * A chart. `update` draws; `element` is a `figure`. With the keyboard (left, right, Home, End) or the pointer, a time is chosen, whose values are written above.
 * @param {{title: string, format: (value: number) => string, height?: number, most?: number}} options
 *   `most`: the largest value of the axis at least
 */
export function chart({ title, format, height = 132, most = 0 }) {
  const element = document.createElement('figure');
  element.className = 'chart';
  const caption = document.createElement('figcaption');
  const heading = document.createElement('span');
  heading.className = 'chart-title';
  heading.textContent = title;
  const legend = document.createElement('span');
  legend.className = 'chart-legend';
  caption.append(heading, legend);
  const drawing = svg('svg', { height, tabindex: 0, role: 'img', class: 'chart-lines' });
  element.append(caption, drawing);
  let width = 0;
  /** @type {Lines} */
  let lines = { times_us: [], series: [], zone_seconds: 0 };
  /** Index of the chosen time; null for the newest. @type {?number} */
  let at = null;

  function draw() {
    const { times_us: times, series, zone_seconds: zone } = lines;
    const last = times.length - 1;
    drawing.setAttribute('viewBox', `0 0 ${width} ${height}`);
    const top = nice(Math.max(most, ...series.flatMap(({ values }) => values.map((value) => (value !== null && Number.isFinite(value) ? value : 0)))));
    const begin = times[0] ?? 0;
    // At least half a minute, so that the first values are not a picture of noise.
    const span = Math.max(30e6, (times[last] ?? 0) - begin);
    const first = (times[last] ?? 0) - span;
    const x = (/** @type {number} */ us) => LEFT + ((us - first) / span) * (width - LEFT - RIGHT);
    const y = (/** @type {number} */ value) => height - BOTTOM - (Math.min(value, top) / top) * (height - TOP - BOTTOM);
    const parts = [];
    for (const part of [0, 0.5, 1]) {
      parts.push(svg('line', { class: 'chart-grid', x1: LEFT, x2: width - RIGHT, y1: Math.round(y(top * part)) + 0.5, y2: Math.round(y(top * part)) + 0.5 }));
      parts.push(svg('text', { class: 'chart-text', x: LEFT - 6, y: y(top * part) + 4, 'text-anchor': 'end' }, format(top * part)));
    }
    if (times.length) {
      for (const [us, anchor] of width < 260 ? [[first, 'start'], [times[last], 'end']] : [[first, 'start'], [first + span / 2, 'middle'], [times[last], 'end']]) {
        parts.push(svg('text', { class: 'chart-text', x: x(Number(us)), y: height - 5, 'text-anchor': String(anchor) }, clock(Number(us), zone)));
      }
    }
    const missing = [];
    if (begin > first && times.length) missing.push([first, begin]);
    for (let n = 1; n <= last; n += 1) if (times[n] - times[n - 1] > GAP_US) missing.push([times[n - 1], times[n]]);
    for (const [from, to] of missing) hatch(parts, x(from), x(to), height);
    for (const { values, look, area } of series) {
      const found = pieces(times, values);
      const path = found.map((piece) => piece.map((n, k) => `${k ? 'L' : 'M'}${x(times[n]).toFixed(1)} ${y(values[n] ?? 0).toFixed(1)}`).join('') + (piece.length === 1 ? 'h1' : '')).join('');
      if (area) {
        const surface = found.filter((piece) => piece.length > 1)
          .map((piece) => `M${x(times[piece[0]]).toFixed(1)} ${y(0)}${piece.map((n) => `L${x(times[n]).toFixed(1)} ${y(values[n] ?? 0).toFixed(1)}`).join('')}V${y(0)}Z`).join('');
        parts.push(svg('path', { class: `chart-area look-${look}`, d: surface }));
      }
      parts.push(svg('path', { class: `chart-line look-${look}`, d: path }));
    }
    if (at !== null && times[at] !== undefined) parts.push(svg('line', { class: 'chart-cursor', x1: x(times[at]), x2: x(times[at]), y1: TOP, y2: height - BOTTOM }));
    drawing.replaceChildren(...parts);
    write();
  }

  /** The values of the chosen time, as the legend, and a description for who does not see the lines. */
  function write() {
    const { times_us: times, series, zone_seconds: zone } = lines;
    const n = at !== null && times[at] !== undefined ? at : times.length - 1;
    const texts = series.map(({ label, values }) => `${label}${label ? ' ' : ''}${n >= 0 && values[n] !== null && values[n] !== undefined ? format(values[n] ?? 0) : 'no data'}`);
    const keys = series.map(({ look }, k) => {
      const item = document.createElement('span');
      item.className = 'chart-key';
      const mark = svg('svg', { width: 22, height: 10, 'aria-hidden': 'true' });
      mark.append(svg('line', { class: `chart-line look-${look}`, x1: 0, x2: 22, y1: 5, y2: 5 }));
      item.append(mark, texts[k]);
      return item;
    });
    const time = document.createElement('span');
    time.className = 'chart-time';
    time.textContent = at !== null && n >= 0 ? clock(times[n], zone) : '';
    legend.replaceChildren(...(at === null ? [] : [time]), ...keys);
    drawing.setAttribute('aria-label', `${title}${times.length ? ` at ${clock(times[n], zone)}: ${texts.join(', ')}` : ': no data yet'}`);
  }

  function choose(/** @type {?number} */ index) {
    const last = lines.times_us.length - 1;
    at = index === null || last < 0 ? null : Math.max(0, Math.min(last, index));
    draw();
  }
  drawing.addEventListener('keydown', (event) => {
    const last = lines.times_us.length - 1;
    const step = { ArrowLeft: -1, ArrowRight: 1, Home: -last, End: last }[/** @type {KeyboardEvent} */ (event).key];
    if (step === undefined) {
      if (/** @type {KeyboardEvent} */ (event).key === 'Escape' && at !== null) { choose(null); event.stopPropagation(); }
      return;
    }
    event.preventDefault();
    event.stopPropagation();
    choose((at ?? last) + step);
  });
  drawing.addEventListener('pointermove', (event) => {
    const { times_us: times } = lines;
    if (times.length < 2) return;
    const last = times[times.length - 1];
    const span = Math.max(30e6, last - times[0]);
    const box = drawing.getBoundingClientRect();
    const us = last - span + (((/** @type {PointerEvent} */ (event).clientX - box.left - LEFT) / (box.width - LEFT - RIGHT)) * span);
    let nearest = 0;
    times.forEach((time, n) => { if (Math.abs(time - us) < Math.abs(times[nearest] - us)) nearest = n; });
    choose(nearest);
  });
  drawing.addEventListener('pointerleave', () => choose(null));
  drawing.addEventListener('blur', () => choose(null));
  const observer = new ResizeObserver(() => {
    const now = Math.floor(drawing.getBoundingClientRect().width);
    if (now > 0 && now !== width) { width = now; draw(); }
  });
  observer.observe(drawing);

  return {
    element,
    /** @param {Lines} next */
    update(next) {
      // The chosen time stays where it is while the axis moves.
      if (at !== null) {
        const chosen = lines.times_us[at];
        const now = next.times_us.indexOf(chosen);
        at = now < 0 ? null : now;
      }
      lines = next;
      if (width > 0) draw();
    },
    /** Ends what the chart observes. */
    close() { observer.disconnect(); },
  };
}

/** Hatches a span without data. @param {Element[]} parts @param {number} from @param {number} to @param {number} height */
function hatch(parts, from, to, height) {
  let path = '';
  const [top, bottom] = [TOP, height - BOTTOM];
  const tall = bottom - top;
  // Lines of 45 degrees, each cut where it leaves the span.
  for (let x = from - tall; x < to; x += 8) {
    const [x1, x2] = [Math.max(x, from), Math.min(x + tall, to)];
    if (x2 > x1) path += `M${x1.toFixed(1)} ${(bottom - (x1 - x)).toFixed(1)}L${x2.toFixed(1)} ${(bottom - (x2 - x)).toFixed(1)}`;
  }
  parts.push(svg('path', { class: 'chart-gap', d: path }));
  if (to - from > 60) parts.push(svg('text', { class: 'chart-text chart-gap-text', x: (from + to) / 2, y: (top + bottom) / 2 + 4, 'text-anchor': 'middle' }, 'no data'));
}
