// @ts-check
import { h, patch } from '../dom.js';

/** @type {import('../views.js').View} */
export default {
  id: 'dns', title: 'DNS', key: '5', parts: ['dns'],
  render(root) {
    patch(root, h('p', { class: 'empty' }, 'Not there yet.'));
  },
};
