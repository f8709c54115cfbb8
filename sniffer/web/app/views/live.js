// @ts-check
/** The last transactions, the newest below. Scrolled up, the list stands still. */
import { h, patch } from '../dom.js';
import { counted, wire } from '../format.js';
import { nothing } from '../nothing.js';
import { transactionColumns } from '../rows.js';
import { table } from '../table.js';

/** Rows that are drawn. */
const MOST = 300;

/** What was shown when the list was scrolled up. @type {{rows: any[], seen: number} | null} */
let held = null;

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
    const shown = (held ?? data.tail).rows.slice(-MOST);
    const scrolled = (/** @type {Event} */ event) => {
      const atEnd = isAtEnd(/** @type {Element} */ (event.currentTarget));
      if (atEnd === !held) return;
      held = atEnd ? null : { rows, seen };
      actions.draw();
    };
    const zone = data.view?.zone_seconds ?? 0;
    const missed = held ? seen - held.seen : 0;
    patch(root,
      h('div', { key: 'list', class: 'scroller', tabindex: '-1', onscroll: scrolled }, table({
        id: 'live', caption: 'The last transactions, the newest below', rows: shown, fixed: String(zone), rowKey: (row) => String(row.seq),
        selected: state.transaction === null ? null : String(state.transaction), columns: transactionColumns(zone),
        onOpen: (row) => actions.go({ transaction: row.seq }), href: (row) => actions.link({ transaction: row.seq }),
        filterOf: (row) => `(${row.protocol} server=${wire(row.server)} server.port=${row.server_port})`,
        empty: nothing(data, state, actions),
      })),
      held && h('button', { key: 'follow', type: 'button', class: 'button follow', onclick: () => { held = null; actions.draw(); } },
        missed > 0 ? `+${counted(missed, 'transaction')} since` : 'Stands still', h('span', { class: 'muted' }, 'follow'), h('kbd', null, 'G')));
    const scroller = root.firstElementChild;
    if (scroller && !held) scroller.scrollTop = scroller.scrollHeight;
  },
  press(key, _event, _state, _data, actions) {
    if (key !== 'G' || !held) return false;
    held = null;
    actions.draw();
    return true;
  },
};
