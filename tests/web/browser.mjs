// A headless Chromium, pages in it, and what went wrong in them.

import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import puppeteer from 'puppeteer-core';
import { start } from './fixture.mjs';

const CHROMIUM = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync);
const AXE = createRequire(import.meta.url).resolve('axe-core/axe.min.js');
/** The longest that a test waits for the page. */
const PATIENCE_MS = 15000;

/** @returns {Promise<import('puppeteer-core').Browser>} */
export function browser() {
  if (!CHROMIUM) throw new Error('no Chromium: `cargo xtask test-web` installs it');
  // Tests run as root in containers, where the sandbox of Chromium is not available. The page comes from loopback.
  return puppeteer.launch({ executablePath: CHROMIUM, args: ['--no-sandbox', '--disable-gpu', '--hide-scrollbars', '--force-color-profile=srgb', '--disable-dev-shm-usage'] });
}

/**
 * Opens a page. `wrong` collects what must never happen: script errors, messages of the console, dialogs, violations of the policy, requests to another host, refused requests.
 * @param {import('puppeteer-core').Browser} chromium
 */
export async function open(chromium, url, { width = 1280, height = 800, dark = false, token, bypass = false, reduced = false } = {}) {
  const page = await chromium.newPage();
  const wrong = [];
  page.setDefaultTimeout(PATIENCE_MS);
  await page.setViewport({ width, height });
  await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: dark ? 'dark' : 'light' }, ...(reduced ? [{ name: 'prefers-reduced-motion', value: 'reduce' }] : [])]);
  // Only for axe, which adds a script to the page.
  if (bypass) await page.setBypassCSP(true);
  page.on('pageerror', (error) => wrong.push(`script: ${error}`));
  page.on('console', (message) => { if (['error', 'warn'].includes(message.type())) wrong.push(`console: ${message.text()}`); });
  page.on('dialog', (dialog) => { wrong.push(`dialog: ${dialog.message()}`); dialog.dismiss(); });
  page.on('request', (request) => {
    const to = new URL(request.url());
    if (!['data:', 'blob:'].includes(to.protocol) && to.origin !== new URL(url).origin) wrong.push(`request: ${request.url()}`);
    if (token && request.url().includes(token) && !request.isNavigationRequest()) wrong.push(`token in ${request.url()}`);
  });
  page.on('response', (response) => { if (response.status() >= 400) wrong.push(`${response.status()}: ${response.url()}`); });
  await page.evaluateOnNewDocument(() => {
    window.__violations = [];
    addEventListener('securitypolicyviolation', (event) => window.__violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sourceFile ?? ''}:${event.lineNumber} ${event.sample}`));
  });
  await page.goto(url, { waitUntil: 'load' });
  return { page, wrong: async () => [...wrong, ...(await page.evaluate(() => window.__violations ?? [])).map((text) => `policy: ${text}`)] };
}

/** Violations of accessibility as short texts. */
export async function axe(page) {
  if (!(await page.evaluate(() => 'axe' in window))) await page.addScriptTag({ path: AXE });
  return page.evaluate(async () => {
    const { violations } = await window.axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] });
    return violations.flatMap(({ id, help, nodes }) => nodes.slice(0, 3).map(({ html, any }) => `${id} (${help}): ${html.slice(0, 200)} ${any[0]?.message ?? ''}`));
  });
}

/** Servers by mode and rate, each started once. */
export class Servers {
  constructor() { this.started = new Map(); }

  async of(mode = 'shop', rate = 800) {
    const id = `${mode} ${rate}`;
    if (!this.started.has(id)) this.started.set(id, await start({ mode, rate }));
    return this.started.get(id);
  }

  close() { for (const server of this.started.values()) server.close(); }
}
