// @ts-check
/** Saves the page as one file. */
import { collect } from './collect.js';
import { page } from './page.js';

/**
 * Asks for everything, makes the file and hands it to the browser. Returns the name of the file.
 * @param {import('./collect.js').Get} get
 * @param {{filter: string, range: string | null, redact: boolean}} state
 */
export async function save(get, state) {
  const data = await collect(get, state);
  const at = (/** @type {string | null | undefined} */ address) => new URL(address ?? '', document.baseURI).pathname;
  const script = document.querySelector('script[type="module"][src]')?.getAttribute('src');
  const styles = [...document.querySelectorAll('link[rel="stylesheet"]')].map((link) => at(link.getAttribute('href')));
  const text = await page(data, {
    entry: at(script), styles,
    read: async (path) => {
      const response = await fetch(path, { credentials: 'omit' });
      if (!response.ok) throw new Error(`${path}: ${response.status}`);
      return response.text();
    },
  });
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([text], { type: 'text/html' }));
  const time = new Date(data.view.now_us / 1000).toISOString().slice(0, 19).replace(/[:T]/g, '-');
  link.download = `sniffer-${time}.html`;
  link.click();
  // The browser has begun to read it.
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  return link.download;
}
