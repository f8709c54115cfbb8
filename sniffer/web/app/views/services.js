// @ts-check
/** The services: who answers requests, how many, how fast. */
import { h, patch } from '../dom.js';
import { count, wire } from '../format.js';
import { nothing } from '../nothing.js';
import { numberColumns } from '../numbers.js';
import { table } from '../table.js';

/** The name of a service, or its address. @param {any} row @param {import('../state.js').State} state */
const nameOf = (row, state) => (state.numbers || !row.name ? `${wire(row.address)}:${row.port}` : wire(row.name));

/** @type {import('../views.js').View} */
export default {
  id: 'services', title: 'Services', key: '1', parts: ['services'],
  render(root, state, data, actions) {
    const found = data.view?.services;
    if (!found) return patch(root, h('p', { class: 'empty muted', 'aria-busy': 'true' }, 'Asking…'));
    const rest = found.total - found.rows.length;
    const footer = [
      rest > 0 && `+${count(rest)} more services; a filter makes the list shorter.`,
      found.rest && ` ${count(found.rest.count)} transactions of services that exceeded the limits of the program.`,
    ].filter(Boolean);
    return patch(root, table({
      id: 'services', caption: 'Services', rows: found.rows, rowKey: (row) => row.id, sort: state.sort, selected: state.service,
      onSort: (sort) => actions.go({ sort }, { replace: true }),
      onOpen: (row) => actions.go({ service: row.id }),
      href: (row) => actions.link({ service: row.id }),
      filterOf: (row) => (row.address ? `(${row.protocol} server=${row.address} server.port=${row.port})` : row.protocol),
      columns: [
        { id: 'name', title: 'Service', cell: (row) => h('bdi', { title: nameOf(row, state) }, nameOf(row, state)), value: (row) => nameOf(row, state) },
        { id: 'protocol', title: 'Protocol', width: '6.5rem', drop: 5, cell: (row) => wire(row.protocol), value: (row) => row.protocol },
        { id: 'process', title: 'Process', width: '8rem', drop: 2, cell: (row) => wire(row.process?.name ?? ''), value: (row) => row.process?.name },
        ...numberColumns(),
      ],
      footer: footer.length ? footer : undefined,
      empty: nothing(data, state, actions),
    }));
  },
};
