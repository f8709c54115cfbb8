// @ts-check
import { h, patch } from '../dom.js';

/** @type {import('../views.js').View} */
export default {
  id: 'services', title: 'Services', key: '1', parts: ['services'],
  render(root) {
    patch(root, h('p', { class: 'empty' }, 'Not there yet.'));
  },
};
