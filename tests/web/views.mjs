// The views of the page as the tests know them.

/** `shows`: what is there as soon as the view has data. `key`: the digit that leads to it. */
export const VIEWS = [
  { id: 'services', key: '1', shows: '#table-services a.row' },
  { id: 'map', key: '2', shows: '.map-node' },
  { id: 'live', key: '3', shows: '#table-live tbody tr, .live tbody tr' },
  { id: 'flows', key: '4', shows: '#table-flows a.row' },
  { id: 'dns', key: '5', shows: '#table-dns a.row' },
  { id: 'tls', key: '6', shows: '#table-tls a.row' },
  { id: 'health', key: '7', shows: '.steps .step' },
];
