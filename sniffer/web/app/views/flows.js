// @ts-check
import { h, patch } from '../dom.js';

/** @type {import('../views.js').View} */
export default {
  id: 'flows', title: 'Flows', key: '4', parts: ['flows'],
  render(root) {
    patch(root, h('p', { class: 'empty' }, 'Not there yet.'));
  },
};
