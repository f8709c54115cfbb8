// @ts-check
/**
 * Draws trees of elements. A tree is described with `h`, and `patch` changes the document to it: elements that stay keep their focus, selection
 * and scroll position. Strings become text nodes and attribute values, and never markup, so that text of the wire cannot do anything.
 *
 * @typedef {Object} Own An element whose inside is drawn by its owner (a canvas, a chart).
 * @property {(element: Element, value: any) => void} [make] Called after the element was made.
 * @property {(element: Element, value: any) => void} [update] Called after `make` and at each later `patch`.
 * @property {(element: Element) => void} [drop] Called before the element is removed.
 *
 * @typedef {Object} Tree
 * @property {string} tag
 * @property {Record<string, any>} props
 * @property {string | number | undefined} key
 * @property {(Tree | string)[]} children
 *
 * @typedef {{tree: Tree | string, node: Node}} Drawn
 * @typedef {Tree | string | number | null | undefined | false | ReadonlyArray<any>} Child
 */

const SVG = 'http://www.w3.org/2000/svg';

/** What was drawn into each element. @type {WeakMap<Node, Drawn[]>} */
const drawn = new WeakMap();

/**
 * Describes an element.
 *
 * Props: `key` (finds the element again among its siblings), `class`, `style` (an object), `onclick` and other handlers (functions), `$name` (a
 * property of the element for JavaScript only), `own` with `value` (see `Own`), `value` and `checked` of fields, everything else is an attribute.
 * `true` is an attribute without a value; `false`, `null` and `undefined` are no attribute. `href` is only accepted for addresses of this page.
 *
 * @param {string} tag
 * @param {Record<string, any> | null} [props]
 * @param {...Child} children
 * @returns {Tree}
 */
export function h(tag, props, ...children) {
  /** @type {(Tree | string)[]} */
  const flat = [];
  flatten(children, flat);
  return { tag, props: props ?? {}, key: props?.key, children: flat };
}

/** @param {ReadonlyArray<Child>} children @param {(Tree | string)[]} flat */
function flatten(children, flat) {
  for (const child of children) {
    if (child === null || child === undefined || child === false || child === '') continue;
    if (Array.isArray(child)) flatten(child, flat);
    else flat.push(typeof child === 'object' ? /** @type {Tree} */ (child) : String(child));
  }
}

/**
 * Makes `children` the only children of `root`. The tree of a child that is the same object as the last time is not looked at again.
 * @param {Element} root
 * @param {...Child} children
 */
export function patch(root, ...children) {
  /** @type {(Tree | string)[]} */
  const flat = [];
  flatten(children, flat);
  const focused = document.activeElement;
  change(root, flat);
  // An element that was moved has lost the focus.
  if (focused instanceof HTMLElement && focused !== document.activeElement && root.contains(focused)) {
    focused.focus({ preventScroll: true });
  }
}

/** @param {Element} parent @param {(Tree | string)[]} next */
function change(parent, next) {
  const before = drawn.get(parent) ?? [];
  /** @type {Map<string, Drawn[]>} */
  const free = new Map();
  for (const old of before) {
    const kind = kindOf(old.tree);
    const list = free.get(kind);
    if (list) list.push(old);
    else free.set(kind, [old]);
  }
  for (const list of free.values()) list.reverse();
  const after = next.map((tree) => {
    const old = free.get(kindOf(tree))?.pop();
    if (!old) return { tree, node: make(tree, parent) };
    if (old.tree !== tree) update(old, tree);
    return { tree, node: old.node };
  });
  for (const list of free.values()) list.forEach(remove);
  let anchor = null;
  for (let index = after.length - 1; index >= 0; index -= 1) {
    const { node } = after[index];
    if (node.parentNode !== parent) parent.insertBefore(node, anchor);
    else if (node.nextSibling !== anchor) move(parent, node, anchor);
    anchor = node;
  }
  drawn.set(parent, after);
}

/** Moves a child. `moveBefore` keeps the focus; older browsers lack it. @param {any} parent @param {Node} node @param {Node | null} anchor */
function move(parent, node, anchor) {
  if (parent.moveBefore && parent.isConnected) parent.moveBefore(node, anchor);
  else parent.insertBefore(node, anchor);
}

/** Only trees of the same kind share an element. @param {Tree | string} tree */
function kindOf(tree) {
  if (typeof tree === 'string') return '';
  return tree.key === undefined ? tree.tag : `${tree.tag} ${tree.key}`;
}

/** @param {Tree | string} tree @param {Element} parent @returns {Node} */
function make(tree, parent) {
  if (typeof tree === 'string') return document.createTextNode(tree);
  const isSvg = tree.tag === 'svg' || parent.namespaceURI === SVG;
  const element = isSvg ? document.createElementNS(SVG, tree.tag) : document.createElement(tree.tag);
  for (const name in tree.props) set(element, name, undefined, tree.props[name]);
  if (tree.props.own) {
    tree.props.own.make?.(element, tree.props.value);
    tree.props.own.update?.(element, tree.props.value);
  } else {
    change(element, tree.children);
  }
  return element;
}

/** @param {Drawn} old @param {Tree | string} tree */
function update(old, tree) {
  if (typeof tree === 'string') {
    if (old.tree !== tree) old.node.nodeValue = tree;
    return;
  }
  const element = /** @type {Element} */ (old.node);
  const before = /** @type {Tree} */ (old.tree).props;
  for (const name in before) if (!(name in tree.props)) set(element, name, before[name], undefined);
  for (const name in tree.props) set(element, name, before[name], tree.props[name]);
  if (tree.props.own) tree.props.own.update?.(element, tree.props.value);
  else change(element, tree.children);
}

/** @param {Drawn} old */
function remove({ tree, node }) {
  if (typeof tree !== 'string') {
    tree.props.own?.drop?.(/** @type {Element} */ (node));
    drawn.get(node)?.forEach((child) => typeof child.tree !== 'string' && dropInside(child));
  }
  node.parentNode?.removeChild(node);
}

/** Tells the owners within a removed element. @param {Drawn} inside */
function dropInside({ tree, node }) {
  if (typeof tree === 'string') return;
  tree.props.own?.drop?.(/** @type {Element} */ (node));
  drawn.get(node)?.forEach(dropInside);
}

/** @param {any} element @param {string} name @param {any} before @param {any} value */
function set(element, name, before, value) {
  if (name === 'key' || name === 'own' || (name === 'value' && !('value' in element))) return;
  if (name === 'value' || name === 'checked') {
    // The user may have changed the field since.
    if (element[name] !== value) element[name] = value ?? '';
    return;
  }
  if (before === value) return;
  if (name.startsWith('$') || name.startsWith('on')) {
    if (name.startsWith('on') && value && typeof value !== 'function') throw new TypeError(`${name} must be a function`);
    element[name] = value ?? null;
    return;
  }
  if (name === 'style') {
    for (const key in before ?? {}) if (!(key in (value ?? {}))) element.style.removeProperty(key);
    for (const key in value ?? {}) if (before?.[key] !== value[key]) element.style.setProperty(key, value[key]);
    return;
  }
  if (name === 'href' && value && !/^[#?/]/.test(value)) throw new TypeError('only addresses of this page');
  if (name === 'srcdoc') throw new TypeError('no markup');
  if (value === undefined || value === null || value === false) element.removeAttribute(name);
  else element.setAttribute(name, value === true ? '' : String(value));
}
