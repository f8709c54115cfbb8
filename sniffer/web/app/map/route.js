// @ts-check
// The way of an edge on the map: through free cells and between the rows, never behind another node.

/** @typedef {import('./layout.js').Place} Place */
/** @typedef {{x: number, y: number}} Point */
/**
 * @typedef {object} Grid
 * @property {(place: Place) => number} x @property {(place: Place) => number} y Left and upper edge of a place.
 * @property {Set<string>} taken The places with a node, as `column/row`.
 * @property {{width: number, height: number, row: number}} box @property {number} thick Width of the line.
 */

/** Length of the arrow. */
const ARROW = 7;
/** How far an edge within a column, or back, leaves the column. */
const BULGE = 34;

/**
 * @param {Place} from @param {Place} to @param {Grid} grid
 * @returns {{path: string, middle: Point, arrow: string}}
 */
export function route(from, to, grid) {
  const { x, y, box, thick } = grid;
  const center = box.height / 2;
  if (to.column <= from.column) {
    // Right side to right side for the same column; back from the left side to the right side of the other.
    const back = to.column < from.column;
    const start = { x: x(from) + (back ? 0 : box.width), y: y(from) + center + 6 };
    const end = { x: x(to) + box.width, y: y(to) + center - 6 };
    const path = `M${start.x} ${start.y}C${start.x + (back ? -BULGE : BULGE)} ${start.y} ${end.x + BULGE} ${end.y} ${end.x + ARROW} ${end.y}`;
    return { path, middle: { x: (start.x + end.x) / 2 + (back ? 0 : BULGE * 0.7), y: (start.y + end.y) / 2 }, arrow: head(end, -1, thick) };
  }
  const start = { x: x(from) + box.width, y: y(from) + center };
  const end = { x: x(to) - ARROW, y: y(to) + center };
  let path = `M${start.x} ${start.y.toFixed(1)}`;
  let at = start;
  /** @type {Point} */
  let middle = start;
  for (let column = from.column + 1; column <= to.column; column += 1) {
    const left = x({ column, row: 0 });
    const last = column === to.column;
    const part = (column - from.column) / (to.column - from.column);
    const next = last ? end : { x: left - 4, y: lane(column, start.y + (end.y - start.y) * part, from, to, grid) };
    const bend = (next.x - at.x) / 2;
    path += `C${(at.x + bend).toFixed(1)} ${at.y.toFixed(1)} ${(next.x - bend).toFixed(1)} ${next.y.toFixed(1)} ${next.x.toFixed(1)} ${next.y.toFixed(1)}`;
    if (column === from.column + 1) middle = { x: (at.x + next.x) / 2, y: (at.y + next.y) / 2 };
    at = next;
    if (!last) {
      at = { x: left + box.width + 4, y: next.y };
      path += `H${at.x.toFixed(1)}`;
    }
  }
  return { path, middle, arrow: head({ x: end.x + ARROW, y: end.y }, 1, thick) };
}

/** The height at which an edge passes a column: where it would be, if that cell is free, otherwise between two rows. @param {number} column @param {number} wanted @param {Place} from @param {Place} to @param {Grid} grid */
function lane(column, wanted, from, to, { y, taken, box }) {
  const top = y({ column, row: 0 });
  const row = Math.round((wanted - top - box.height / 2) / box.row);
  if (!taken.has(`${column}/${row}`)) return wanted;
  const gap = box.row - box.height;
  const above = top + row * box.row - gap / 2;
  const below = above + box.row;
  // Edges of different pairs are a little apart.
  const apart = (((from.row * 7 + to.row * 3) % 5) - 2) * (gap / 7);
  return (Math.abs(wanted - above) < Math.abs(wanted - below) ? above : below) + apart;
}

/** @param {Point} tip @param {1 | -1} direction @param {number} thick */
function head(tip, direction, thick) {
  const half = 3 + thick / 2;
  return `M${tip.x.toFixed(1)} ${tip.y.toFixed(1)}l${-direction * (ARROW + 1)} ${-half.toFixed(1)}v${(2 * half).toFixed(1)}z`;
}
