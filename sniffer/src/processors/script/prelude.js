// The JavaScript half of the API for scripts. It is evaluated before the user's script and uses only built-in functions that it has saved
// here, because a script may replace the global ones. `native` has the functions of `natives.rs`.
(function (native, names) {
    "use strict";
    const { Proxy, Date, WeakMap, String, Error, Object, JSON } = globalThis;
    const { defineProperty, freeze, create } = Object;
    const { stringify, parse } = JSON;
    const { isArray } = Array;
    const call = Function.prototype.call.bind(Function.prototype.call);
    const { get: mapGet, set: mapSet } = WeakMap.prototype;
    const { getTime } = Date.prototype;
    const { isWellFormed, toWellFormed } = String.prototype;
    const { slice } = Array.prototype;

    const MAIN = 0; // the number of the event that is processed; events that the script makes have others
    const views = new WeakMap(); // view → its handler
    const events = new WeakMap(); // event object → its number
    let serial = 0; // counts the processed events: a view of an earlier event is empty

    // Errors of this API. An empty name leaves the message alone when the error becomes a text.
    function fail(message, name) {
        const error = new Error(message);
        defineProperty(error, "name", { __proto__: null, value: name === undefined ? "" : name });
        return error;
    }
    // Native functions return an error as a list with its message.
    function checked(result, name) {
        if (result !== null && typeof result === "object") throw fail(result[0], name);
        return result;
    }

    // A list or map of the event, which is not copied: reading and writing go to the event.
    const traps = {
        __proto__: null,
        read(key) {
            if (typeof key === "symbol" || (this.event === MAIN && this.serial !== serial)) return undefined;
            return native.read(this.event, this.path, key);
        },
        value(key) {
            const found = this.read(key);
            return found !== null && typeof found === "object" ? view(this.event, found[0], found[1]) : found;
        },
        get(target, key, receiver) {
            const own = this.value(key);
            return own === undefined ? target[key] : own;
        },
        has(target, key) {
            return this.read(key) !== undefined || key in target;
        },
        set(target, key, value) {
            if (typeof key === "symbol" || (this.event === MAIN && this.serial !== serial)) return false;
            return native.write(this.event, this.path, key, stringified(value));
        },
        deleteProperty(target, key) {
            return typeof key !== "symbol" && native.erase(this.event, this.path, key);
        },
        ownKeys() {
            return this.event === MAIN && this.serial !== serial ? this.list ? ["length"] : [] : native.keys(this.event, this.path);
        },
        getOwnPropertyDescriptor(target, key) {
            const value = this.value(key);
            if (value === undefined) return undefined;
            const length = this.list && key === "length";
            return { __proto__: null, value, writable: true, enumerable: !length, configurable: !length };
        },
        defineProperty(target, key, descriptor) {
            return "value" in descriptor && this.set(target, key, descriptor.value);
        },
        setPrototypeOf() { return false; },
        preventExtensions() { return false; },
    };
    freeze(traps);

    function view(event, path, list) {
        const handler = { __proto__: traps, event, path, list, serial };
        const proxy = new Proxy(list ? [] : {}, handler);
        call(mapSet, views, proxy, handler);
        return proxy;
    }

    // The JSON of a value for the event.
    function stringified(value) {
        const json = stringify(value);
        return json === undefined ? "null" : json;
    }
    function scalar(value) {
        if (typeof value === "string") return call(isWellFormed, value) ? value : call(toWellFormed, value);
        return typeof value === "function" || typeof value === "symbol" || value === undefined ? null : value;
    }

    // The native result of reading a field, as the script sees it.
    function shown(event, found) {
        if (found === undefined) return null;
        return found !== null && typeof found === "object" ? view(event, found[0], found[1]) : found;
    }

    function read(event, name) {
        if (name === "@timestamp") return new Date(native.time(event));
        return shown(event, native.get(event, name));
    }

    function write(event, name, value) {
        const old = read(event, name);
        const before = old !== null && typeof old === "object" && name !== "@timestamp" ? parse(stringify(old)) : old;
        if (name === "@timestamp") {
            let time;
            try { time = call(getTime, value); } catch { throw fail("value is not a timestamp"); }
            checked(native.setTime(event, time));
        } else if (value !== null && typeof value === "object") {
            // A view is copied by the native side, so that its integers stay exact.
            const from = call(mapGet, views, value);
            if (from === undefined) checked(native.putJson(event, name, stringified(value)));
            else checked(native.copy(event, name, from.event, from.path));
        } else {
            checked(native.put(event, name, scalar(value)));
        }
        return before;
    }

    function makeEvent(object, number) {
        object.Get = function Get(name) {
            return arguments.length === 0 ? view(number, "", false) : read(number, String(name));
        };
        object.Put = function Put(name, value) {
            if (arguments.length !== 2) throw fail("Put requires two arguments (key and value)");
            return write(number, String(name), value);
        };
        object.Rename = function Rename(from, to) {
            if (arguments.length !== 2) throw fail("Rename requires two arguments (from and to)");
            return native.rename(number, String(from), String(to));
        };
        object.Delete = function Delete(name) {
            if (arguments.length !== 1) throw fail("Delete requires one argument");
            return native.remove(number, String(name));
        };
        object.Tag = function Tag(tag) {
            if (arguments.length !== 1) throw fail("Tag requires one argument");
            checked(native.append(number, "tags", String(tag)));
        };
        object.AppendTo = function AppendTo(name, value) {
            if (arguments.length !== 2) throw fail("AppendTo requires two arguments (field and value)");
            checked(native.append(number, String(name), String(value)));
        };
        object.Cancel = function Cancel() { native.cancel(number); };
        defineProperty(object, "fields", { __proto__: null, enumerable: true, configurable: true, get: () => view(number, "", false) });
        object._private = {};
        call(mapSet, events, object, number);
        return object;
    }
    const main = makeEvent({}, MAIN);

    function Event(fields) {
        if (new.target === undefined) throw fail("Event must be called with new");
        const number = native.makeEvent(stringified(fields === undefined ? {} : fields));
        if (number === undefined) throw fail("the fields of an event must be an object");
        return makeEvent(this, number);
    }

    // The modules of the API, by name.
    const processors = new WeakMap(); // processor object → function that runs it on an event
    function runs(object, run) {
        object.Run = function Run(event) {
            const number = typeof event === "object" && event !== null ? call(mapGet, events, event) : undefined;
            if (number === undefined) throw fail("Run requires an event", "GoError");
            run(event, number);
        };
        call(mapSet, processors, object, object.Run);
        return object;
    }
    function open(name, config) {
        const opened = native.open(name, config === undefined ? "{}" : stringified(config));
        if (typeof opened !== "number") throw fail(opened, "GoError");
        return (event, number) => { checked(native.run(number, opened), "GoError"); };
    }
    function Chain() {
        if (new.target === undefined) throw fail("Chain must be called with new", "GoError");
        const steps = [];
        const add = (step) => { steps[steps.length] = step; return this; };
        this.Add = (step) => {
            const run = step !== null && typeof step === "object" ? call(mapGet, processors, step) : undefined;
            if (typeof step !== "function" && run === undefined) throw fail("arg0 must be a processor object, but got " + typeof step, "GoError");
            return add(run === undefined ? step : run);
        };
        this.Build = () => {
            const built = call(slice, steps);
            return runs({}, (event) => { for (let at = 0; at < built.length; at++) call(built[at], undefined, event); });
        };
        for (let at = 0; at < names.length; at += 2) {
            const name = names[at + 1];
            this[names[at]] = (config) => {
                const run = open(name, config);
                return add((event) => run(event, call(mapGet, events, event)));
            };
        }
    }
    function processorModule() {
        const module = { Chain };
        for (let at = 0; at < names.length; at += 2) {
            const name = names[at + 1];
            module[names[at]] = function (config) {
                if (new.target === undefined) throw fail("a processor must be made with new", "GoError");
                return runs(this, open(name, config));
            };
        }
        return module;
    }
    function pathModule() {
        const flavour = (windows) => ({
            basename: (path) => native.path("basename", String(path), windows),
            dirname: (path) => native.path("dirname", String(path), windows),
            extname: (path) => native.path("extname", String(path), windows),
            isAbsolute: (path) => native.path("isAbsolute", String(path), windows) === "true",
            normalize: (path) => native.path("normalize", String(path), windows),
            sep: windows ? "\\" : "/",
        });
        const module = flavour(false);
        module.posix = flavour(false);
        module.win32 = flavour(true);
        return module;
    }
    // Text with %s, %d, %i, %f, %j and %%; further arguments follow after spaces.
    function format(values) {
        let text = "", next = 0;
        if (typeof values[0] === "string") {
            const pattern = values[next++];
            for (let at = 0; at < pattern.length; at++) {
                const letter = pattern[at] === "%" ? pattern[at + 1] : undefined;
                if (letter === "%") { text += "%"; at++; continue; }
                const known = letter === "s" || letter === "d" || letter === "i" || letter === "f" || letter === "j";
                if (!known || next >= values.length) { text += pattern[at]; continue; }
                const value = values[next++];
                text += letter === "j" ? stringify(value) : letter === "s" ? String(value) : String(+value);
                at++;
            }
        }
        for (; next < values.length; next++) text += (text === "" ? "" : " ") + String(values[next]);
        return text;
    }
    const logs = (level) => function () { native.log(level, call(toWellFormed, format(arguments))); };
    const modules = {
        __proto__: null,
        processor: processorModule,
        path: pathModule,
        net: () => ({
            isIP: (text) => native.isIP(String(text)),
            isIPv4: (text) => native.isIP(String(text)) === 4,
            isIPv6: (text) => native.isIP(String(text)) === 6,
        }),
        console: () => ({ debug: logs(4), log: logs(3), info: logs(3), warn: logs(2), error: logs(1) }),
    };
    const loaded = create(null);
    function require(name) {
        name = String(name);
        if (modules[name] === undefined) throw fail("Invalid module: there are console, net, path and processor", "GoError");
        if (loaded[name] === undefined) loaded[name] = modules[name]();
        return loaded[name];
    }

    const hidden = (name, value) => defineProperty(globalThis, name, { __proto__: null, value, writable: true, configurable: true });
    hidden("Event", Event);
    hidden("require", require);
    let process;
    // The functions that the host calls, as one property that no script can replace.
    defineProperty(globalThis, "#host", {
        __proto__: null,
        value: freeze({
            __proto__: null,
            // Called after the script was evaluated. Returns which functions it has.
            loaded() { process = globalThis.process; return [typeof process === "function", typeof globalThis.register === "function", typeof globalThis.test === "function"]; },
            register(params) { globalThis.register(parse(params)); },
            test() { globalThis.test(); },
            run() { serial++; process(main); },
        }),
    });
})
