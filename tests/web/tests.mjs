// Tests of the page in the browser.

import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { axe, open } from './browser.mjs';
import { HOSTILE } from './data.mjs';
import { VIEWS } from './views.mjs';

/** Waits for a condition in the page; the error says which, and what the page shows. */
async function until(page, what, condition, ...args) {
  try {
    return await page.waitForFunction(condition, { polling: 50 }, ...args);
  } catch (error) {
    const text = await page.evaluate(() => document.body.innerText.slice(0, 1500));
    throw new Error(`${what}: ${error.message}\nthe page at ${page.url()} shows:\n${text}`);
  }
}

/** Presses keys, one after the other, as a user without a mouse. */
async function press(page, ...keys) {
  for (const key of keys) await page.keyboard.press(key);
}

/** Opens a view and waits until it shows data. */
async function opened(chromium, server, { view, more = '', ...options }) {
  const found = await open(chromium, `${server.url}&view=${view.id}${more}`, { token: server.token, ...options });
  await until(found.page, `${view.id} shows data`, (shows) => document.querySelector(shows), view.shows);
  return found;
}

async function nothingWrong(wrong) {
  assert.deepEqual(await wrong(), []);
}

const named = (id) => VIEWS.find((view) => view.id === id);

export const tests = [
  ['opens, and the token leaves the address', async (chromium, servers) => {
    const server = await servers.of();
    const begin = performance.now();
    const { page, wrong } = await opened(chromium, server, { view: named('services') });
    const took = performance.now() - begin;
    assert.ok(!page.url().includes(server.token), page.url());
    assert.ok(!server.requests.some((path) => path.includes(server.token)));
    assert.ok(!(await page.evaluate(() => document.documentElement.outerHTML)).includes(server.token));
    // The tab still has it after a reload.
    await page.reload();
    await until(page, 'services after a reload', (shows) => document.querySelector(shows), named('services').shows);
    assert.ok(!page.url().includes(server.token), page.url());
    await nothingWrong(wrong);
    await page.close();
    return `first data after ${took.toFixed(0)} ms, with the start of the tab`;
  }],
  ['keys lead to every view, into a service, an operation, a transaction, and back', async (chromium, servers) => {
    const server = await servers.of();
    const { page, wrong } = await opened(chromium, server, { view: named('services') });
    for (const { id, key, shows } of VIEWS) {
      await press(page, key);
      await until(page, `${key} shows ${id}`, (selector, view) => document.querySelector(selector) && location.hash.includes(`view=${view}`), shows, id);
    }
    await press(page, '1');
    await until(page, 'services', (shows) => document.querySelector(shows), named('services').shows);
    await press(page, 'j', 'Enter');
    await until(page, 'a service is open', () => /[#&]service=/.test(location.hash));
    await until(page, 'operations of the service', () => document.querySelector('#table-operations a.row'));
    await press(page, 'Escape');
    await until(page, 'the service is closed', () => !/[#&]service=/.test(location.hash));
    await nothingWrong(wrong);
    await page.close();
  }],
  ['the filter works by keyboard, says what is wrong, and Esc removes it', async (chromium, servers) => {
    const server = await servers.of();
    const { page } = await opened(chromium, server, { view: named('services') });
    const rows = () => page.$$eval('#table-services a.row', (found) => found.length);
    const all = await rows();
    await press(page, '/');
    await page.keyboard.type('redis');
    await press(page, 'Enter');
    await until(page, 'only redis', () => document.querySelectorAll('#table-services a.row').length === 1);
    assert.ok(all > 30, String(all));
    await press(page, '/');
    await page.keyboard.down('Control');
    await press(page, 'a');
    await page.keyboard.up('Control');
    await page.keyboard.type('htpp');
    await press(page, 'Enter');
    await until(page, 'what is wrong with the filter', () => document.body.innerText.includes('did you mean http?'));
    await page.close();
  }],
  ['the map works by keyboard', async (chromium, servers) => {
    const server = await servers.of();
    const { page, wrong } = await opened(chromium, server, { view: named('map') });
    const count = () => page.$$eval('.map-node', (found) => found.length);
    const all = await count();
    await press(page, 'j', 'ArrowRight', 'ArrowDown');
    await until(page, 'a node has the focus', () => document.activeElement?.classList.contains('map-button'));
    const name = await page.evaluate(() => document.activeElement.getAttribute('aria-label'));
    await press(page, 'Enter');
    await until(page, 'the neighbours', (before) => document.querySelectorAll('.map-node').length < before && /focus=/.test(location.hash), all);
    await press(page, 'Escape');
    await until(page, 'all nodes again', (before) => document.querySelectorAll('.map-node').length === before, all);
    await press(page, 'j', 'x');
    await until(page, 'one node is hidden', (before) => document.querySelectorAll('.map-node').length === before - 1 && /hide=/.test(location.hash), all);
    await press(page, '+', '+');
    const zoomed = await page.$eval('.map > g', (view) => view.getAttribute('transform'));
    assert.match(zoomed, /scale\(1\.5/);
    await press(page, 't');
    await until(page, 'the table', () => document.querySelector('#table-map a.row'));
    await nothingWrong(wrong);
    await page.close();
    return `${all} nodes; went to: ${name}`;
  }],
  ['nodes of the map stay where they are while numbers change', async (chromium, servers) => {
    const server = await servers.of();
    const { page } = await opened(chromium, server, { view: named('map') });
    const state = () => page.$$eval('.map-node', (found) => found.map((node) => [node.querySelector('.map-button').getAttribute('aria-label').split(',')[0], node.getAttribute('transform')]));
    const texts = () => page.$$eval('.map-numbers', (found) => found.map((text) => text.textContent).join());
    const [before, numbers] = [await state(), await texts()];
    await until(page, 'other numbers', (old) => [...document.querySelectorAll('.map-numbers')].map((text) => text.textContent).join() !== old, numbers);
    assert.deepEqual(await state(), before);
    await page.close();
  }],
  ['no text of the map is below 12 px', async (chromium, servers) => {
    const server = await servers.of();
    const { page } = await opened(chromium, server, { view: named('map') });
    for (let n = 0; n < 6; n += 1) await page.click('[aria-label="Zoom out"]');
    const least = await page.$$eval('.map text', (texts) => Math.min(...texts.map((text) => parseFloat(getComputedStyle(text).fontSize) * text.getScreenCTM().a)));
    assert.ok(least >= 11.99, String(least));
    await page.close();
    return `${least.toFixed(2)} px`;
  }],
  ['no view scrolls sideways at 320, 390, 1280 and 1920 px', async (chromium, servers) => {
    for (const mode of ['shop', 'hostile']) {
      const server = await servers.of(mode);
      for (const view of VIEWS) {
        const { page } = await opened(chromium, server, { view, width: 320 });
        for (const width of [320, 390, 1280, 1920]) {
          await page.setViewport({ width, height: 800 });
          // Charts and map follow the new size in the frames after it.
          await page.evaluate(() => new Promise((done) => { requestAnimationFrame(() => requestAnimationFrame(done)); }));
          const [wide, inner] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
          assert.ok(wide <= inner, `${mode} ${view.id}: ${wide} of ${inner}`);
        }
        await page.close();
      }
    }
  }],
  ['no violation of accessibility in any view, light and dark, 1280 and 390 px', async (chromium, servers) => {
    const server = await servers.of();
    const found = [];
    for (const view of VIEWS) {
      for (const more of ['', ...({ map: ['&table=1'], health: ['&all=1'] }[view.id] ?? [])]) {
        const { page } = await open(chromium, `${server.url}&view=${view.id}${more}`, { bypass: true });
        await until(page, `${view.id} shows data`, (shows) => document.querySelector(shows), more === '&table=1' ? '#table-map a.row' : view.shows);
        for (const [width, scheme] of [[1280, 'light'], [1280, 'dark'], [390, 'light']]) {
          await page.setViewport({ width, height: 800 });
          await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: scheme }]);
          found.push(...(await axe(page)).map((text) => `${view.id} ${width} ${scheme}: ${text}`));
        }
        await page.close();
      }
    }
    assert.deepEqual([...new Set(found)], []);
  }],
  ['no violation of accessibility in details and dialogs', async (chromium, servers) => {
    const server = await servers.of();
    const service = encodeURIComponent(server.data.services[4].id);
    const found = [];
    for (const [state, shows, key] of [
      [`services&service=${service}`, '#table-operations a.row'], [`services&service=${service}&operation=${encodeURIComponent('POST /pay')}`, '.charts, h2'],
      [`live&transaction=${server.data.latest() - 50}`, '.facts'], [`map&focus=${service}`, '.map-node.in-focus'], ['services', 'dialog[open]', '?'], ['services', 'dialog[open]', 'e'],
    ]) {
      const { page } = await open(chromium, `${server.url}&view=${state}`, { bypass: true });
      await until(page, 'data', () => document.querySelector('#table-services a.row, .map-node, #table-live a.row'));
      if (key) await press(page, key);
      await until(page, state, (selector) => document.querySelector(selector), shows);
      found.push(...(await axe(page)).map((text) => `${state} ${key ?? ''}: ${text}`));
      await page.close();
    }
    assert.deepEqual(found, []);
  }],
  ['hostile text is text', async (chromium, servers) => {
    const server = await servers.of('hostile');
    for (const view of VIEWS) {
      const { page, wrong } = await opened(chromium, server, { view });
      await noHostile(page, view.id);
      await nothingWrong(wrong);
      await page.close();
    }
    const { page, wrong } = await open(chromium, `${server.url}&view=services&service=${encodeURIComponent(server.data.services[4].id)}`, { token: server.token });
    await until(page, 'operations', () => document.querySelector('#table-operations a.row'));
    await noHostile(page, 'operations');
    await page.evaluate((seq) => { location.hash += `&transaction=${seq}`; }, server.data.latest() - 20);
    await noHostile(page, 'transaction');
    await nothingWrong(wrong);
    await page.close();
  }],
  ['an empty view says why', async (chromium, servers) => {
    const server = await servers.of('empty');
    for (const view of VIEWS.filter(({ id }) => id !== 'health')) {
      const { page, wrong } = await open(chromium, `${server.url}&view=${view.id}`, { token: server.token });
      await until(page, `${view.id} says what was seen`, () => /8,114 packets/.test(document.body.innerText) && /41 ports/.test(document.body.innerText));
      await nothingWrong(wrong);
      await page.close();
    }
  }],
  ['2,000 services do not stop any view', async (chromium, servers) => {
    const server = await servers.of('many');
    for (const view of VIEWS) {
      const { page, wrong } = await opened(chromium, server, { view });
      await nothingWrong(wrong);
      await page.close();
    }
  }],
  ...[false, true].map((redact) => [`a saved page opens without the agent${redact ? ', redacted' : ''}`, async (chromium, servers) => {
    const server = await servers.of('hostile');
    const folder = mkdtempSync(join(tmpdir(), 'sniffer-page-'));
    try {
      const { page, wrong } = await opened(chromium, server, { view: named('services'), more: redact ? '&redact=1' : '' });
      const client = await page.createCDPSession();
      await client.send('Browser.setDownloadBehavior', { behavior: 'allow', downloadPath: folder, eventsEnabled: true });
      await press(page, 'e');
      await until(page, 'the dialog', () => document.querySelector('dialog[open]'));
      await page.evaluate(() => [...document.querySelectorAll('dialog button')].find((button) => button.textContent === 'Save as one file').click());
      const file = await within(() => readdirSync(folder).find((name) => name.endsWith('.html')), 'the saved page');
      await nothingWrong(wrong);
      await page.close();
      const text = readFileSync(join(folder, file), 'utf8');
      assert.ok(!text.includes(server.token), 'the token is in the saved page');
      assert.ok(text.split('</script>').length === 3, 'the data ends its element');
      assert.match(text, /script-src 'sha256-[\w+/=]{44}'; style-src 'sha256-[\w+/=]{44}'/);
      const data = text.slice(text.indexOf('id="saved"'), text.indexOf('</script>'));
      for (const word of ['10.0.0.', 'GET /', '203.0.113', 'onload=']) assert.equal(data.includes(word), !redact, word);
      const saved = await open(chromium, `file://${join(folder, file)}`, {});
      await until(saved.page, 'services of the saved page', (shows) => document.querySelector(shows), named('services').shows);
      for (const { key, id, shows } of VIEWS) {
        await press(saved.page, key);
        await until(saved.page, `${id} of the saved page`, (selector) => document.querySelector(selector), shows);
        await noHostile(saved.page, `saved ${id}`);
      }
      await nothingWrong(saved.wrong);
      await saved.page.close();
      return `${(text.length / 1024).toFixed(0)} KB`;
    } finally {
      rmSync(folder, { recursive: true });
    }
  }]),
];

/** Waits for something outside of the page. */
async function within(get, what) {
  for (let n = 0; n < 300; n += 1) {
    const found = get();
    if (found) return found;
    await new Promise((done) => { setTimeout(done, 50); });
  }
  throw new Error(`${what} did not come`);
}

/** No element was made of the texts, none ran, and characters that hide or turn text are escaped. */
async function noHostile(page, where) {
  const found = await page.evaluate(() => ({
    ran: window.__hostile ?? null,
    made: [...document.querySelectorAll('img, svg[onload], a[href^="javascript"], iframe, object, embed')].map((element) => element.outerHTML.slice(0, 200)),
    scripts: document.querySelectorAll('script').length,
    hidden: [...document.body.innerText.matchAll(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g)].map(([letter]) => letter.charCodeAt(0).toString(16)),
    attributes: [...document.querySelectorAll('*')].flatMap((element) => [...element.attributes].filter(({ name }) => name.startsWith('on')).map(({ name }) => name)),
  }));
  assert.deepEqual({ ...found, scripts: 0 }, { ran: null, made: [], scripts: 0, hidden: [], attributes: [] }, where);
  assert.ok(found.scripts <= 2, `${where}: ${found.scripts} scripts`);
  assert.ok(HOSTILE.length > 5);
}
