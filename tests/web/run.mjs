// Runs the tests of the page: `node tests/web/run.mjs [NAME…]`, or writes pictures of all views: `--screenshots FOLDER`. See README.md.

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { browser, open, Servers } from './browser.mjs';
import { tests } from './tests.mjs';
import { units } from './units.mjs';
import { frames } from './frames.mjs';
import { VIEWS } from './views.mjs';

const args = process.argv.slice(2);
const servers = new Servers();
const chromium = await browser();
let failed = 0;

/** Runs one test and says what it printed. @param {string} name @param {() => Promise<string | void> | string | void} run */
async function run(name, run) {
  if (args.length && !args.some((arg) => name.includes(arg))) return;
  const begin = performance.now();
  try {
    const says = await run();
    console.log(`ok    ${name} (${((performance.now() - begin) / 1000).toFixed(1)} s)${says ? `\n      ${says}` : ''}`);
  } catch (error) {
    failed += 1;
    console.log(`FAIL  ${name}\n${String(error?.stack ?? error).replace(/^/gm, '      ')}`);
  }
}

async function screenshots(folder) {
  mkdirSync(folder, { recursive: true });
  for (const { id } of VIEWS) {
    for (const [width, dark] of [[1280, false], [1280, true], [390, false]]) {
      const server = await servers.of('shop', 4102);
      const { page } = await open(chromium, `${server.url}&view=${id}`, { width, height: width < 500 ? 844 : 800, dark });
      await page.waitForSelector(`[data-view="${id}"], main`);
      // Charts and sparklines need some seconds to have a form.
      await new Promise((done) => { setTimeout(done, 3000); });
      await page.screenshot({ path: join(folder, `${id}-${width}${dark ? '-dark' : ''}.png`) });
      await page.close();
    }
  }
}

try {
  if (args[0] === '--screenshots') await screenshots(args[1] ?? 'target/page');
  else {
    for (const [name, test] of units) await run(name, test);
    for (const [name, test] of tests) await run(name, () => test(chromium, servers));
    for (const [name, test] of frames) await run(name, () => test(chromium, servers));
  }
} finally {
  await chromium.close();
  servers.close();
}
if (failed) console.log(`${failed} failed`);
process.exit(failed ? 1 : 0);
