// @ts-check
// Makes one script of the page's modules, for a saved page, which has no server that could give it modules. It reads only the forms of `import` and
// `export` that these modules use, and refuses others. Not: a bundler for other code.

/** Modules of the page at most: what a wrong reference could make it fetch is bounded. */
const MOST_MODULES = 100;

const IMPORT = /^import\s*(?:\{([^}]*)\}\s*from\s*|\*\s*as\s+(\w+)\s+from\s*|(\w+)\s+from\s*)?'([^']+)';?[ \t]*$/gm;
const DYNAMIC = /((?:await|return|=>|[=(,:])\s*)import\('([^']+)'\)/g;
const EXPORT = /^export\s+((?:async\s+)?function\*?|class|const|let)\s+(\w+)/gm;
const EXPORT_LIST = /^export\s*\{([^}]*)\}(?:\s*from\s*'([^']+)')?;?[ \t]*$/gm;

/**
 * @typedef {object} Module
 * @property {string} code The body of a function that returns what the module exports.
 * @property {string[]} needs Absolute paths of the modules that must run before.
 * @property {string[]} later Those that it loads while it runs.
 */

/** `{a, b as c}` as the pattern of a destructuring. @param {string} names */
const pattern = (names) => names.split(',').map((name) => name.trim()).filter(Boolean).map((name) => name.replace(/\s+as\s+/, ': ')).join(', ');

/** @param {string} path @param {string} source @returns {Module} */
export function rewrite(path, source) {
  /** @type {string[]} */
  const needs = [];
  /** @type {string[]} */
  const later = [];
  /** @type {string[]} */
  const exported = [];
  const absolute = (/** @type {string} */ to) => new URL(to, `http://page${path}`).pathname;
  const found = (/** @type {string} */ to) => { needs.push(absolute(to)); return `$modules[${JSON.stringify(absolute(to))}]`; };
  let code = source.replace(IMPORT, (_, names, all, main, to) => {
    const module = found(to);
    if (names !== undefined) return `const { ${pattern(names)} } = ${module};`;
    if (main !== undefined) return `const { default: ${main} } = ${module};`;
    return all !== undefined ? `const ${all} = ${module};` : '';
  });
  code = code.replace(DYNAMIC, (_, before, to) => {
    later.push(absolute(to));
    return `${before}Promise.resolve($modules[${JSON.stringify(absolute(to))}])`;
  });
  code = code.replace(EXPORT_LIST, (_, names, from) => {
    const module = from === undefined ? null : found(from);
    for (const name of names.split(',').map((/** @type {string} */ each) => each.trim()).filter(Boolean)) {
      const [inner, outer = inner] = name.split(/\s+as\s+/);
      exported.push(`${outer}: ${module === null ? inner : `${module}.${inner}`}`);
    }
    return '';
  });
  code = code.replace(EXPORT, (_, kind, name) => {
    exported.push(name);
    return `${kind} ${name}`;
  });
  code = code.replace(/^export default /m, () => {
    exported.push('default: $default');
    return 'const $default = ';
  });
  if (/^(?:import|export)\b/m.test(code) || /import\.meta/.test(code)) throw new Error(`${path}: a form of import or export that a saved page cannot have`);
  return { code: `${code}\nreturn { ${exported.join(', ')} };`, needs, later };
}

/**
 * The script with all modules that `entry` needs.
 * @param {string} entry absolute path @param {(path: string) => Promise<string>} read
 */
export async function bundle(entry, read) {
  /** @type {Map<string, Module>} */
  const modules = new Map();
  /** @type {string[]} */
  const order = [];
  /** @param {string} path @param {string[]} way */
  async function add(path, way) {
    if (way.includes(path)) throw new Error(`modules that need each other: ${[...way, path].join(' > ')}`);
    if (modules.has(path)) return;
    if (modules.size >= MOST_MODULES) throw new Error('too many modules');
    const module = rewrite(path, await read(path));
    for (const each of module.needs) await add(each, [...way, path]);
    if (modules.has(path)) return;
    modules.set(path, module);
    order.push(path);
    for (const each of module.later) if (each !== entry && !way.includes(each)) await add(each, []);
  }
  await add(entry, []);
  // The entry starts the page, so that what it loads later must be there before it.
  const sorted = [...order.filter((path) => path !== entry), entry];
  const parts = sorted.map((path) => {
    const code = modules.get(path)?.code ?? '';
    const asynchronous = path === entry ? 'async ' : '';
    return `$modules[${JSON.stringify(path)}] = (${asynchronous}() => {\n${code}\n})();`;
  });
  return `'use strict';\nconst $modules = Object.create(null);\n${parts.join('\n')}\n`;
}
