// @ts-check
/** The last transactions, the newest below. Scrolled up, the list stands still. */
import { h, patch } from '../dom.js';
import { counted, wire } from '../format.js';
import { nothing } from '../nothing.js';
import { transactionColumns } from '../rows.js';
import { table } from '../table.js';

/** Rows that are drawn while the list stands still. */
const MOST = 300;
/** The least height of a row, and rows beyond those that fit, so that there is something to scroll to. */
const ROW_PX = 26;
const MORE = 8;

/** What was shown when the list was scrolled up. @type {{rows: any[], seen: number} | null} */
let held = null;

/** What the last drawing held. @type {{rows: any[], seen: number} | null} */
let drawnHeld = null;

/** @param {Element} scroller */
const isAtEnd = (scroller) => scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 24;

/** @type {import('../views.js').View} */
export default {
  id: 'live', title: 'Live', key: '3', parts: [],
  tail: (state) => ({ limit: 100, service: state.service, operation: state.operation }),
  keys: [['G', 'follow the newest transactions again']],
  render(root, state, data, actions) {
    const { rows, seen } = data.tail;
    // A change of the filter begins a new list.
    if (held && seen < held.seen) held = null;
    const before = root.firstElementChild;
    // Thousands of rows come in a second; only what can be seen is drawn.
    const fitting = Math.ceil((before?.clientHeight || innerHeight) / ROW_PX) + MORE;
    const shown = (held ?? data.tail).rows.slice(held ? -MOST : -Math.min(fitting, MOST));
    const belowTop = before ? before.scrollHeight - before.scrollTop : 0;
    const scrolled = (/** @type {Event} */ event) => {
      const atEnd = isAtEnd(/** @type {Element} */ (event.currentTarget));
      // A row that was selected stands still at the end, too.
      if (atEnd === !held || (atEnd && document.activeElement?.closest('#table-live'))) return;
      held = atEnd ? null : { rows, seen };
      actions.draw();
    };
    const zone = data.view?.zone_seconds ?? 0;
    const missed = held ? seen - held.seen : 0;
    patch(root,
      h('div', { key: 'list', class: 'scroller', tabindex: '-1', onscroll: scrolled }, table({
        id: 'live', caption: 'The last transactions, the newest below', rows: shown, fixed: String(zone), rowKey: (row) => String(row.seq), startsAtEnd: true,
        selected: state.transaction === null ? null : String(state.transaction), columns: transactionColumns(zone),
        // The selected row stays where it is.
        onReach: () => {
          held ??= { rows, seen };
          actions.draw();
        },
        onOpen: (row) => actions.go({ transaction: row.seq }), href: (row) => actions.link({ transaction: row.seq }),
        filterOf: (row) => `(${row.protocol} server=${wire(row.server)} server.port=${row.server_port})`,
        empty: nothing(data, state, actions),
      })),
      held && h('button', { key: 'follow', type: 'button', class: 'button follow', onclick: () => { held = null; actions.draw(); } },
        missed > 0 ? `+${counted(missed, 'transaction')} since` : 'Stands still', h('span', { class: 'muted' }, 'follow'), h('kbd', null, 'G')));
    const scroller = root.firstElementChild;
    if (!scroller) return;
    if (!held) scroller.scrollTop = scroller.scrollHeight;
    // Rows were added above: what is seen stays in its place.
    else if (drawnHeld !== held) scroller.scrollTop = scroller.scrollHeight - belowTop;
    drawnHeld = held;
  },
  press(key, _event, _state, _data, actions) {
    if (key !== 'G' || !held) return false;
    held = null;
    actions.draw();
    return true;
  },
};
