// @ts-check
import { h, patch } from '../dom.js';

/** @type {import('../views.js').View} */
export default {
  id: 'health', title: 'Health', key: '7', parts: ['health'],
  render(root) {
    patch(root, h('p', { class: 'empty' }, 'Not there yet.'));
  },
};
