// @ts-check
/** What the keys do. Keys within fields, and with Ctrl, Alt or Meta, are those of the browser. */
import { moveIn, nextSort } from './table.js';

/** For the overlay of `?`. @type {[string, string][]} */
export const KEYS = [
  ['1 to 7', 'a view'],
  ['j k, arrows', 'the next row, the previous row'],
  ['PgDn PgUp, g G', 'a page on or back, the first or the last row'],
  ['Enter, l', 'open the selected row'],
  ['Esc, h', 'back; with nothing open, Esc removes the filter'],
  ['/', 'filter; Up recalls earlier ones'],
  ['f F', 'add the selected row to the filter, or exclude it'],
  ['s S', 'sort by the next column, reverse the order'],
  ['Space', 'freeze what is shown; counting goes on'],
  ['r', 'the last 5 minutes, or everything since the start'],
  ['n', 'names or addresses of services'],
  ['e', 'export'],
  ['P', 'hide addresses, names and queries, for screenshots'],
  ['?', 'these keys'],
];

const OFF = 'keys off';

/** Keys without Ctrl can be switched off, for who dictates text. */
export const areOn = () => localStorage.getItem(OFF) === null;
/** @param {boolean} on */
export const switchKeys = (on) => (on ? localStorage.removeItem(OFF) : localStorage.setItem(OFF, '1'));

/**
 * @param {any} actions @param {() => import('./state.js').State} get @param {() => import('./views.js').View} view
 * @param {() => import('./views.js').Data} data @param {(state: import('./state.js').State) => boolean} hasDetail
 */
export function serveKeys(actions, get, view, data, hasDetail) {
  document.addEventListener('keydown', (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.altKey || event.metaKey || event.isComposing) return;
    const target = /** @type {HTMLElement} */ (event.target);
    if (document.querySelector('dialog[open]') || target.matches?.('input, select, textarea')) return;
    if (!areOn() && !['Escape', 'ArrowDown', 'ArrowUp', 'PageDown', 'PageUp', 'Home', 'End'].includes(event.key)) return;
    const isPressed = target.matches?.('button, summary') && [' ', 'Enter'].includes(event.key);
    if (isPressed) return;
    if (view().press?.(event.key, event, get(), data(), actions) || serve(event.key, get())) event.preventDefault();
  });

  /** @param {string} key @param {import('./state.js').State} state @returns {boolean} Whether it has a meaning. */
  function serve(key, state) {
    const digit = actions.views.find((/** @type {any} */ each) => each.key === key);
    if (digit) return actions.go({ view: digit.id }), true;
    switch (key) {
      case '/': return focus('#filter');
      case '?': return dialog('keys');
      case 'e': return dialog('export');
      case ' ': return actions.pause(), true;
      case 'r': return actions.go({ range: (state.range ?? data().view?.range) === 'all' ? '5m' : 'all' }), true;
      case 'n': return actions.go({ numbers: !state.numbers }, { replace: true }), true;
      case 'P': return actions.go({ redact: !state.redact }, { replace: true }), true;
      case 'Escape': return back(state, true);
      case 'h': case 'ArrowLeft': return back(state, false);
      case 'l': case 'ArrowRight': return open();
      case 's': case 'S': return sort(key === 'S');
      case 'f': case 'F': return addRow(key === 'F');
      default: {
        const table = present();
        return table !== null && moveIn(table, key);
      }
    }
  }

  /** @param {'keys' | 'export'} name */
  function dialog(name) {
    actions.session.dialog = name;
    actions.draw();
    return true;
  }

  /** @param {import('./state.js').State} state @param {boolean} isEscape */
  function back(state, isEscape) {
    if (state.transaction !== null) actions.go({ transaction: null });
    else if (state.operation !== null) actions.go({ operation: null });
    else if (state.service !== null) actions.go({ service: null });
    else if (isEscape && (state.filter || actions.filter.wrong)) actions.filter.apply('');
    else return false;
    // What had the focus is gone.
    if (!hasDetail(get())) requestAnimationFrame(() => requestAnimationFrame(() => focus('.list a.row[tabindex="0"]')));
    return true;
  }

  function open() {
    const link = document.activeElement;
    if (!(link instanceof HTMLElement) || !link.matches('a.row')) return false;
    link.click();
    return true;
  }

  /** @param {boolean} reverse */
  function sort(reverse) {
    const table = /** @type {any} */ (present())?.$table;
    const next = table?.onSort && nextSort(table, reverse);
    if (!next) return false;
    table.onSort(next);
    return true;
  }

  /** @param {boolean} exclude */
  function addRow(exclude) {
    const row = /** @type {any} */ (document.activeElement?.closest('tr'))?.$row;
    const table = /** @type {any} */ (document.activeElement?.closest('table'))?.$table;
    const part = row && table?.filterOf?.(row);
    if (!part) return false;
    actions.addFilter(part, exclude);
    return true;
  }
}

/** The table that keys are for: that with the focus, the first of the pane with the focus, or the first one. @returns {Element | null} */
function present() {
  const focused = document.activeElement;
  return focused?.closest('table.table') ?? focused?.closest('.pane')?.querySelector('table.table') ?? document.querySelector('table.table');
}

/** @param {string} selector */
function focus(selector) {
  const element = document.querySelector(selector);
  if (!(element instanceof HTMLElement)) return false;
  element.focus();
  if (element instanceof HTMLInputElement) element.select();
  return true;
}
