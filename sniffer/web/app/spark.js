// @ts-check
/** A small line without axes, drawn at a fixed size. */
import { h } from './dom.js';

/**
 * @param {(number | null | undefined)[]} values The oldest first; what is not known is a gap.
 * @param {{width?: number, height?: number, tone?: 'error', label?: string}} [look]
 */
export function spark(values, { width = 88, height = 20, tone, label } = {}) {
  const most = values.reduce((/** @type {number} */ most, value) => Math.max(most, value ?? 0), 0);
  const step = width / Math.max(values.length - 1, 1);
  const y = (/** @type {number} */ value) => (most ? height - 1.5 - (value / most) * (height - 3) : height - 1.5).toFixed(1);
  let line = '';
  let area = '';
  let from = -1;
  values.forEach((value, index) => {
    const known = value !== null && value !== undefined;
    const x = (index * step).toFixed(1);
    if (known) line += `${from < 0 ? 'M' : 'L'}${x} ${y(value)}`;
    if (known) area += `${from < 0 ? `M${x} ${height}L` : 'L'}${x} ${y(value)}`;
    if (known && from < 0) from = index;
    const isLast = index === values.length - 1;
    if (from >= 0 && (!known || isLast)) {
      area += `V${height}Z`;
      from = -1;
    }
  });
  return h('svg', {
    class: `spark${tone ? ` ${tone}` : ''}`, width, height, viewBox: `0 0 ${width} ${height}`, role: label ? 'img' : undefined,
    'aria-label': label, 'aria-hidden': label ? undefined : 'true', preserveAspectRatio: 'none',
  }, h('path', { class: 'spark-area', d: area }), h('path', { class: 'spark-line', d: line }));
}
