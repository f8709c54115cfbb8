// Frame intervals and long tasks while transactions come in. The numbers are printed, not asserted: they depend on the machine.

import { open } from './browser.mjs';
import { VIEWS } from './views.mjs';

const MEASURED_MS = 3000;
const CASES = [['live', 1000, 1], ['live', 6000, 1], ['live', 1000, 4], ['live', 6000, 4], ['map', 6000, 4], ['services', 6000, 4]];

export const frames = CASES.map(([id, rate, slower]) => [`frames: ${id} at ${rate.toLocaleString('en')}/s${slower > 1 ? `, ${slower} times slower` : ''}`, async (chromium, servers) => {
  const server = await servers.of('shop', rate);
  const { page } = await open(chromium, `${server.url}&view=${id}`, {});
  await page.waitForSelector(VIEWS.find((view) => view.id === id).shows);
  if (slower > 1) await page.emulateCPUThrottling(slower);
  const { intervals, tasks, heap } = await page.evaluate(async (time) => {
    const tasks = [];
    new PerformanceObserver((list) => tasks.push(...list.getEntries().map(({ duration }) => duration))).observe({ type: 'longtask' });
    const intervals = [];
    let last = performance.now();
    const end = last + time;
    while (last < end) {
      const now = await new Promise((done) => { requestAnimationFrame(done); });
      intervals.push(now - last);
      last = now;
    }
    return { intervals: intervals.slice(1), tasks, heap: performance.memory?.usedJSHeapSize ?? 0 };
  }, MEASURED_MS);
  await page.close();
  intervals.sort((a, b) => a - b);
  const at = (part) => (intervals[Math.floor((intervals.length - 1) * part)] ?? 0).toFixed(0);
  return `frame intervals p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, longest ${at(1)} ms; ${tasks.length} tasks over 50 ms, longest ${Math.max(0, ...tasks).toFixed(0)} ms; heap ${(heap / 1048576).toFixed(0)} MB`;
}]);
