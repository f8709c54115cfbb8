// @ts-check
// Makes one HTML file of the page and the data that it shows: it opens without the agent, and asks nobody. Its policy allows only the script and the
// style that are in it, by their hashes; the data is escaped JSON. Not: which data (collect.js).

import { bundle } from './bundle.js';

/** JSON that can be within a `script` element: no `<` that could end it, no `&`, no separators of lines that old parsers refuse. @param {unknown} value */
export function escaped(value) {
  return JSON.stringify(value).replace(/[<>&\u2028\u2029]/g, (letter) => `\\u${letter.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/** Base64 of the SHA-256 of a text. @param {string} text */
async function hash(text) {
  const bytes = new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text)));
  return btoa(String.fromCharCode(...bytes));
}

/**
 * @param {unknown} data
 * @param {{read: (path: string) => Promise<string>, entry: string, styles: string[]}} files paths of the page's script and styles, and how to read one
 * @returns {Promise<string>} the file
 */
export async function page(data, { read, entry, styles }) {
  const script = await bundle(entry, read);
  const style = (await Promise.all(styles.map(read))).join('\n');
  if (/<\/script|<!-{2}/i.test(script)) throw new Error('the script of the page has a text that would end it');
  if (/<\/style/i.test(style)) throw new Error('the style of the page has a text that would end it');
  const index = await read('/');
  const policy = `default-src 'none'; script-src 'sha256-${await hash(script)}'; style-src 'sha256-${await hash(style)}'; img-src data:; base-uri 'none'; form-action 'none'; `
    + "require-trusted-types-for 'script'; trusted-types 'none'";
  // The page's own file, whose form is known: its links and its script are replaced by what they lead to.
  const bare = index.replace(/^[ \t]*<(?:link\b[^>]*|script\b[^>]*><\/script)>[ \t]*\r?\n?/gim, '');
  const head = `<meta http-equiv="Content-Security-Policy" content="${policy}">\n<style>${style}</style>\n`;
  const tail = `<script type="application/json" id="saved">${escaped(data)}</scr${''}ipt>\n<script>${script}</scr${''}ipt>\n`;
  const charset = /<meta\s+charset[^>]*>\s*/i;
  if (!charset.test(bare)) throw new Error('the page has another form than expected');
  // Functions, because `$` in a replacement text has a meaning. The script is at the end, where everything that it looks for is there.
  return `${bare.replace(charset, (found) => found + head).trimEnd()}\n${tail}`;
}
