// @ts-check
/**
 * Tables with sorting, columns that are hidden when there is no room, and selection by keyboard. One column leads into the row: it is a
 * link, and only one of a table can be reached with Tab; the others with the keys of `moveIn`.
 *
 * @typedef {import('./dom.js').Child} Child
 */
import { h } from './dom.js';

/**
 * @template Row
 * @typedef {Object} Column
 * @property {string} id Stays the same; it is in links.
 * @property {string} title
 * @property {string} [hint] A longer title.
 * @property {string} [width] A CSS width; the first column takes what is left.
 * @property {boolean} [end] Numbers are aligned at the end.
 * @property {0 | 1 | 2 | 3 | 4 | 5 | 6} [drop] The order in which columns are hidden, 1 first; 0 (default): never.
 * @property {(row: Row) => Child} cell
 * @property {(row: Row) => number | string | null | undefined} [value] What is sorted by; without it the column cannot be sorted.
 * @property {(row: Row) => string | undefined} [class]
 * @property {boolean} [main] The column that names the row and leads into it; default: the first one.
 */

/**
 * @template Row
 * @typedef {Object} Table
 * @property {string} id
 * @property {string} caption For screen readers.
 * @property {Column<Row>[]} columns
 * @property {Row[]} rows One with a property `note`, a text, is a line about what is missing there.
 * @property {string} [fixed] Rows never change, and look the same while this text and `selected` do; they are not compared again.
 * @property {(row: Row) => string} rowKey Names a row; it stays the same while other numbers come.
 * @property {string | null} [sort] A column, with `-` in front for the reverse order; default: the order of `rows`.
 * @property {string} [sorted] The column by which `rows` are sorted, largest first.
 * @property {(sort: string) => void} [onSort]
 * @property {string | null} [selected] The key of the open row.
 * @property {(row: Row) => string} [href] Where the row leads.
 * @property {(row: Row) => void} [onOpen]
 * @property {boolean} [startsAtEnd] The row that Tab reaches first is the last one.
 * @property {() => void} [onReach] A row got the focus.
 * @property {(row: Row) => string | null} [filterOf] What the keys `f` and `F` add to the filter.
 * @property {Child} [footer] One line below the rows.
 * @property {Child} [empty] Shown instead of a table without rows.
 */

/** The row of each table that Tab reaches. @type {Map<string, string>} */
const reached = new Map();

/** Room at the end, whichever column is the last that is shown. */
const END = h('td', { key: 'end', class: 'pad' });

/** @template Row @param {Table<Row>} table @returns {import('./dom.js').Tree} */
export function table(table) {
  const { columns, rowKey } = table;
  const rows = ordered(table);
  if (rows.length === 0 && table.empty) return h('div', { key: table.id, class: 'empty' }, table.empty);
  const keys = rows.map(rowKey);
  const wanted = reached.get(table.id) ?? table.selected;
  const tabbed = wanted !== undefined && wanted !== null && keys.includes(wanted) ? wanted : keys[table.startsAtEnd ? keys.length - 1 : 0];
  const drawn = h('table', { key: table.id, id: `table-${table.id}`, class: 'table', $table: table },
    h('caption', { class: 'unseen' }, table.caption),
    h('thead', null, h('tr', null, columns.map((column) => head(table, column)), END)),
    h('tbody', null, rows.map((row, index) => line(table, row, keys[index], keys[index] === tabbed))));
  // Not a cell over all columns: it would also count the hidden ones.
  return h('div', { key: table.id, class: 'table-frame' }, drawn, table.footer && h('p', { class: 'table-foot' }, table.footer));
}

/** @template Row @param {Table<Row>} table @param {Column<Row>} column */
function head(table, column) {
  const { by, reversed } = sortOf(table);
  const isBy = by === column.id;
  // Numbers and times are sorted with the largest first, texts from a to z.
  const descending = isBy && (column.end ? !reversed : reversed);
  const press = () => table.onSort?.(isBy && !reversed ? `-${column.id}` : column.id);
  return h('th', {
    key: column.id, scope: 'col', class: classes(column, column.main ? 'main' : ''), style: column.width ? { width: column.width } : undefined,
    'aria-sort': isBy ? (descending ? 'descending' : 'ascending') : undefined, title: column.hint,
  }, column.value && table.onSort
    ? h('button', { type: 'button', class: 'sort', onclick: press }, column.title, isBy && h('span', { class: 'arrow', 'aria-hidden': 'true' }, descending ? '▾' : '▴'))
    : column.title);
}

/** Drawn rows that never change, with what else they were drawn from. @type {WeakMap<object, {from: string, tree: import('./dom.js').Tree}>} */
const fixed = new WeakMap();

/** @param {Table<any>} table @param {any} row @param {string} key @param {boolean} isTabbed */
function line(table, row, key, isTabbed) {
  if (table.fixed === undefined) return drawLine(table, row, key, isTabbed);
  const from = `${table.id} ${table.fixed} ${isTabbed} ${table.selected === key}`;
  const known = fixed.get(row);
  if (known?.from === from) return known.tree;
  const tree = drawLine(table, row, key, isTabbed);
  fixed.set(row, { from, tree });
  return tree;
}

/** @param {Table<any>} table @param {any} row @param {string} key @param {boolean} isTabbed */
function drawLine(table, row, key, isTabbed) {
  const main = Math.max(table.columns.findIndex((column) => column.main), 0);
  if (typeof row.note === 'string') {
    return h('tr', { key, class: 'note' }, table.columns.map((column, index) => h('td', { key: column.id, class: classes(column) }, index === main && row.note)), END);
  }
  const open = table.onOpen && (() => table.onOpen?.(row));
  return h('tr', {
    key, class: open ? 'opens' : undefined, 'aria-current': table.selected === key ? 'true' : undefined, $row: row,
    onclick: open && ((/** @type {MouseEvent} */ event) => {
      // Selecting text in a row does not open it; Ctrl and the middle button open a new tab.
      if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.shiftKey || !getSelection()?.isCollapsed) return;
      event.preventDefault();
      open();
    }),
  }, table.columns.map((column, index) => h(index === main ? 'th' : 'td', {
    key: column.id, scope: index === main ? 'row' : undefined, class: classes(column, [index === main && 'main', column.class?.(row)].filter(Boolean).join(' ')),
  }, index === main && open
    ? h('a', { class: 'row', href: table.href?.(row) ?? '#', tabindex: isTabbed ? '0' : '-1', onfocus: () => { reached.set(table.id, key); table.onReach?.(); } }, column.cell(row))
    : column.cell(row))), END);
}

/** @param {Column<any>} column @param {string} [more] */
function classes(column, more) {
  return [column.end && 'end', column.drop && `drop${column.drop}`, more].filter(Boolean).join(' ') || undefined;
}

/** @param {Table<any>} table */
function sortOf({ sort, sorted }) {
  const text = sort ?? sorted ?? '';
  return { by: text.replace(/^-/, ''), reversed: text.startsWith('-') };
}

/** @template Row @param {Table<Row>} table @returns {Row[]} */
function ordered(table) {
  const { by, reversed } = sortOf(table);
  const column = table.columns.find((column) => column.id === by);
  const value = column?.value;
  if (!value || !table.sort) return table.rows;
  const sign = (column.end ? -1 : 1) * (reversed ? -1 : 1);
  return table.rows.slice().sort((a, b) => compare(value(a), value(b), sign));
}

/** Values that are not known are the last ones in both orders. @param {any} a @param {any} b @param {number} sign */
function compare(a, b, sign) {
  const unknown = Number(a === null || a === undefined) - Number(b === null || b === undefined);
  if (unknown || a === b) return unknown;
  return (a < b ? -1 : 1) * sign;
}

/** The next sort of a table: by the next column that can be sorted, or the reverse order. @param {Table<any>} table @param {boolean} reverse */
export function nextSort(table, reverse) {
  const { by, reversed } = sortOf(table);
  const ids = table.columns.filter((column) => column.value).map((column) => column.id);
  if (reverse) return by ? `${reversed ? '' : '-'}${by}` : null;
  return ids[(ids.indexOf(by) + 1) % ids.length] ?? null;
}

/**
 * Serves a key that moves the selection in a table: `j k g G`, arrows, PgUp, PgDn, Home, End.
 * @param {Element} element The table.
 * @param {string} key
 * @returns {boolean} Whether it was one.
 */
export function moveIn(element, key) {
  const links = /** @type {HTMLElement[]} */ ([...element.querySelectorAll('a.row')]);
  if (links.length === 0) return false;
  const present = links.findIndex((link) => link === document.activeElement);
  const page = 12;
  /** @type {Record<string, number>} */
  const next = {
    j: present + 1, ArrowDown: present + 1, k: present - 1, ArrowUp: present - 1, PageDown: present + page, PageUp: present - page,
    g: 0, Home: 0, G: links.length - 1, End: links.length - 1,
  };
  if (!(key in next)) return false;
  // The first key selects the row that Tab would reach.
  const start = links.findIndex((link) => link.tabIndex === 0);
  const index = present < 0 && !['g', 'G', 'Home', 'End'].includes(key) ? start : Math.min(Math.max(next[key], 0), links.length - 1);
  const link = links[Math.max(index, 0)];
  links.forEach((other) => { other.tabIndex = other === link ? 0 : -1; });
  link.focus();
  return true;
}
