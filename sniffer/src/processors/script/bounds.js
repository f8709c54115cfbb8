// Bounds of the built-in functions that the time limit cannot end: the engine looks at the time between two steps of a script and inside
// regular expressions, but not inside other built-in functions. This file is evaluated before the prelude.
(function () {
    "use strict";
    const { RangeError } = globalThis;
    const { apply } = Reflect;
    const { defineProperty } = Object;
    const { Object: toObject, String } = globalThis;
    const { isArray } = Array;

    // Maximum length of an array or of an object like one. The memory of a session has no room for more elements.
    const MAX_LENGTH = 1 << 22;
    // Maximum number of comparisons of a search for text in a text.
    const MAX_COMPARISONS = 2 ** 31;

    function replace(object, name, own) {
        const native = object[name];
        defineProperty(own, "name", { __proto__: null, value: native.name, configurable: true });
        defineProperty(own, "length", { __proto__: null, value: native.length, configurable: true });
        defineProperty(object, name, { __proto__: null, value: own, writable: true, configurable: true });
    }
    function checked(object, name, check) {
        const native = object[name];
        replace(object, name, { own(...values) { check(this, values); return apply(native, this, values); } }.own);
    }

    function length(value) {
        if (value !== null && value !== undefined && value.length > MAX_LENGTH) throw new RangeError("more than " + MAX_LENGTH + " elements");
    }
    for (const name of ["copyWithin", "every", "fill", "filter", "forEach", "includes", "indexOf", "join", "lastIndexOf", "map", "reduce",
        "reduceRight", "reverse", "shift", "slice", "some", "sort", "splice", "toLocaleString", "toReversed", "toSorted", "toSpliced",
        "unshift", "with"]) {
        checked(Array.prototype, name, length);
    }
    checked(Array.prototype, "concat", (self, values) => {
        length(self);
        for (let at = 0; at < values.length; at++) length(values[at]);
    });
    checked(JSON, "stringify", (self, values) => { if (isArray(values[1])) length(values[1]); });
    checked(globalThis.Iterator.prototype, "drop", (self, values) => {
        if (values[0] > MAX_LENGTH) throw new RangeError("more than " + MAX_LENGTH + " elements");
    });

    // These functions visit the elements of inner arrays as steps of a script, so that the time limit applies to them.
    function flatten(into, from, depth) {
        for (let at = 0, end = from.length; at < end; at++) {
            if (!(at in from)) continue;
            const value = from[at];
            if (depth > 0 && isArray(value)) flatten(into, value, depth - 1);
            else defineProperty(into, into.length, { __proto__: null, value, writable: true, enumerable: true, configurable: true });
        }
        return into;
    }
    const { map } = Array.prototype;
    replace(Array.prototype, "flat", { own(depth) { return flatten([], toObject(this), depth === undefined ? 1 : +depth || 0); } }.own);
    replace(Array.prototype, "flatMap", { own(...values) { return flatten([], apply(map, this, values), 1); } }.own);

    function comparisons(text, values) {
        const searched = values[0];
        if ((typeof text === "string" || text instanceof String) && typeof searched === "string"
            && (text.length - searched.length + 1) * searched.length > MAX_COMPARISONS) {
            throw new RangeError("a search that takes more than " + MAX_COMPARISONS + " comparisons");
        }
    }
    for (const name of ["includes", "indexOf", "lastIndexOf", "replace", "replaceAll", "split"]) {
        checked(String.prototype, name, comparisons);
    }
})
