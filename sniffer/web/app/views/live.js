// @ts-check
import { h, patch } from '../dom.js';

/** @type {import('../views.js').View} */
export default {
  id: 'live', title: 'Live', key: '3', parts: ['services'],
  render(root) {
    patch(root, h('p', { class: 'empty' }, 'Not there yet.'));
  },
};
