//! The native functions of the API for scripts, which `prelude.js` calls. They work on the event that is processed.

use super::{fields, fields::Container, path, source::Source};
use crate::{
    enrich::HostData,
    event::tree::{FieldError, Object, Tree, kind},
    processors::{Decision, Processor},
    time::Timestamp,
};
use rquickjs::{Array, Ctx, Function, Object as JsObject, Result, Value as Js};
use serde_json::{Number, Value};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Maximum number of events that a script makes with `new Event` while it processes one event.
const MAX_EVENTS: usize = 1000;
/// Maximum number of processors that a script makes.
const MAX_PROCESSORS: usize = 1000;
/// Maximum number of bytes that a script writes into events while it processes one event.
const MAX_WRITTEN: usize = 10 << 20;
const TOO_MUCH: &str = "the script has written more than 10 MiB while it processed one event";
const NO_EVENT: &str = "this event is no longer processed";

/// The data of a session that the native functions work on.
pub(super) struct State {
    /// The event that is processed, number 0 for `prelude.js`.
    pub(super) event: Tree,
    /// Data about the host, for processors that the script runs.
    pub(super) host_data: HostData,
    /// Whether the script has cancelled the event.
    pub(super) cancelled: bool,
    source: Arc<Source>,
    /// Events that the script has made.
    made: Vec<Tree>,
    /// Processors that the script has made.
    processors: Vec<Box<dyn Processor>>,
    /// Bytes written since the event began.
    written: usize,
}

impl State {
    pub(super) fn new(source: Arc<Source>) -> Self {
        Self {
            event: Tree::default(),
            host_data: HostData::default(),
            cancelled: false,
            source,
            made: Vec::new(),
            processors: Vec::new(),
            written: 0,
        }
    }

    /// Takes over an event that the script is to process.
    pub(super) fn begin(&mut self, event: Tree, host_data: &HostData) {
        self.event = event;
        self.cancelled = false;
        self.made.clear();
        self.written = 0;
        if !self.processors.is_empty() && self.host_data != *host_data {
            self.host_data = host_data.clone();
        }
    }

    fn tree(&mut self, number: i32) -> Option<&mut Tree> {
        match usize::try_from(number).ok()?.checked_sub(1) {
            None => Some(&mut self.event),
            Some(at) => self.made.get_mut(at),
        }
    }

    /// Counts bytes that are written. Returns false if there are too many.
    fn may_write(&mut self, bytes: usize) -> bool {
        self.written = self.written.saturating_add(bytes);
        self.written <= MAX_WRITTEN
    }

    fn put(&mut self, number: i32, name: &str, value: Value, bytes: usize) -> std::result::Result<(), String> {
        if !self.may_write(bytes + name.len()) {
            return Err(TOO_MUCH.to_owned());
        }
        self.tree(number).ok_or(NO_EVENT)?.put(name, value).map_err(|error| error.to_string())
    }

    fn run(&mut self, number: i32, processor: usize) -> std::result::Result<(), String> {
        let Self { event, made, processors, host_data, cancelled, .. } = self;
        let tree = match usize::try_from(number).unwrap_or(usize::MAX).checked_sub(1) {
            None => event,
            Some(at) => made.get_mut(at).ok_or(NO_EVENT)?,
        };
        let processor = processors.get_mut(processor).ok_or("there is no such processor")?;
        let before = tree.get("error.message").cloned();
        if processor.run(tree, host_data) == Decision::Drop {
            *cancelled |= number == 0;
        }
        // A processor reports an error in the event. For the script the error becomes an exception.
        match tree.get("error.message") {
            Some(Value::String(message)) if before.as_ref().and_then(Value::as_str) != Some(message) => {
                Err(message.split_once(" processor: ").map_or(message.as_str(), |(_, reason)| reason).to_owned())
            }
            _ => Ok(()),
        }
    }
}

/// Appends a text to a list of texts, unless the list has this text already. A single text becomes a list.
pub(super) fn append(event: &mut Tree, name: &str, text: String) -> std::result::Result<(), String> {
    let unexpected = |found: &Value| format!("unexpected type {} found for {name} field", kind(found));
    let mut list = match event.fetch(name) {
        Ok(Value::Array(list)) if list.iter().all(Value::is_string) => list.clone(),
        Ok(found @ Value::String(_)) => vec![found.clone()],
        Ok(found) => return Err(unexpected(found)),
        Err(FieldError::Missing) => Vec::new(),
        Err(error) => return Err(error.to_string()),
    };
    if !list.iter().any(|item| item.as_str() == Some(text.as_str())) {
        list.push(text.into());
    }
    event.put(name, list.into()).map_err(|error| error.to_string())
}

/// A session's data, shared with the functions in its runtime. Only the thread of one worker uses it.
#[derive(Clone)]
pub(super) struct Shared(Arc<Mutex<State>>);

impl Shared {
    pub(super) fn new(state: State) -> Self {
        Self(Arc::new(Mutex::new(state)))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The result of a native function in the form that `checked` of `prelude.js` expects: undefined, or a list with an error message.
fn outcome<'js>(ctx: &Ctx<'js>, result: std::result::Result<(), String>) -> Result<Js<'js>> {
    match result {
        Ok(()) => Ok(Js::new_undefined(ctx.clone())),
        Err(message) => {
            let list = Array::new(ctx.clone())?;
            list.set(0, message)?;
            Ok(list.into_value())
        }
    }
}

/// A value of the event for the script. A list or map becomes its pointer and whether it is a list.
fn show<'js>(ctx: &Ctx<'js>, value: Option<&Value>, pointer: impl FnOnce() -> Option<String>) -> Result<Js<'js>> {
    Ok(match value {
        None => Js::new_undefined(ctx.clone()),
        Some(Value::Null) => Js::new_null(ctx.clone()),
        Some(Value::Bool(value)) => Js::new_bool(ctx.clone(), *value),
        Some(Value::Number(number)) => Js::new_number(ctx.clone(), number.as_f64().unwrap_or(f64::NAN)),
        Some(Value::String(text)) => rquickjs::String::from_str(ctx.clone(), text)?.into_value(),
        Some(value @ (Value::Array(_) | Value::Object(_))) => {
            let found = Array::new(ctx.clone())?;
            found.set(0, pointer().unwrap_or_default())?;
            found.set(1, value.is_array())?;
            found.into_value()
        }
    })
}

/// 2⁵³. JavaScript represents integers exactly up to this value.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// A number of the script: an integer if it has no fraction.
fn number(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() <= EXACT {
        return (value as i64).into();
    }
    Number::from_f64(value).map_or(Value::Null, Value::Number)
}

/// A value of the script that is no object.
fn scalar(value: &Js<'_>) -> Option<Value> {
    Some(if let Some(text) = value.as_string() {
        text.to_string().ok()?.into()
    } else if let Some(value) = value.as_bool() {
        value.into()
    } else if let Some(value) = value.as_number() {
        number(value)
    } else if let Some(big) = value.as_big_int() {
        big.clone().to_i64().ok()?.into()
    } else {
        Value::Null
    })
}

/// A value that the script wrote as JSON. Numbers without a fraction are integers.
fn from_json(json: &str) -> Option<Value> {
    serde_json::from_str(json).ok()
}

macro_rules! functions {
    ($ctx:ident, $native:ident, $state:ident; $($name:literal = |$($arg:ident: $type:ty),*| $body:expr;)*) => {
        $({
            let $state = $state.clone();
            $native.set($name, Function::new($ctx.clone(), move |ctx: Ctx<'js>, $($arg: $type),*| -> Result<Js<'js>> {
                let $ctx = &ctx;
                $body
            })?)?;
        })*
    };
}

/// Makes the object `native` of `prelude.js`.
pub(super) fn install<'js>(ctx: &Ctx<'js>, state: &Shared) -> Result<JsObject<'js>> {
    let native = JsObject::new(ctx.clone())?;
    events(ctx, &native, state)?;
    views(ctx, &native, state)?;
    modules(ctx, &native, state)?;
    Ok(native)
}

/// The functions of the event object.
fn events<'js>(ctx: &Ctx<'js>, native: &JsObject<'js>, state: &Shared) -> Result<()> {
    let truth = |ctx: &Ctx<'js>, value: bool| Ok(Js::new_bool(ctx.clone(), value));
    functions! { ctx, native, state;
        "get" = |event: i32, name: String| {
            let mut state = state.lock();
            let Some(tree) = state.tree(event) else { return Ok(Js::new_undefined(ctx.clone())) };
            show(ctx, tree.get(&name), || fields::pointer(&tree.fields, &name))
        };
        "put" = |event: i32, name: String, value: Js<'js>| {
            let Some(value) = scalar(&value) else { return outcome(ctx, Err("the value cannot be converted".to_owned())) };
            let bytes = value.as_str().map_or(8, str::len);
            outcome(ctx, state.lock().put(event, &name, value, bytes))
        };
        "putJson" = |event: i32, name: String, json: String| {
            let Some(value) = from_json(&json) else { return outcome(ctx, Err("the value cannot be converted".to_owned())) };
            outcome(ctx, state.lock().put(event, &name, value, json.len()))
        };
        "copy" = |event: i32, name: String, from: i32, pointer: String| {
            let mut state = state.lock();
            let value = state.tree(from).and_then(|tree| match pointer.as_str() {
                "" => Some(tree.fields.iter().filter(|(key, _)| !fields::is_hidden(key)).map(|(k, v)| (k.clone(), v.clone())).collect::<Object>().into()),
                pointer => fields::value(&tree.fields, pointer).cloned(),
            });
            let value = value.unwrap_or_default();
            let bytes = value.to_string().len();
            outcome(ctx, state.put(event, &name, value, bytes))
        };
        "rename" = |event: i32, from: String, to: String| {
            let mut state = state.lock();
            let Some(tree) = state.tree(event).filter(|tree| !tree.has(&to)) else { return truth(ctx, false) };
            let Some(value) = tree.remove(&from) else { return truth(ctx, false) };
            let renamed = tree.put(&to, value.clone()).is_ok();
            if !renamed {
                // The field existed a moment ago, so writing it again succeeds.
                let _ = tree.put(&from, value);
            }
            truth(ctx, renamed)
        };
        "remove" = |event: i32, name: String| {
            truth(ctx, state.lock().tree(event).and_then(|tree| tree.remove(&name)).is_some())
        };
        "append" = |event: i32, name: String, text: String| {
            let mut state = state.lock();
            if !state.may_write(text.len() + name.len()) {
                return outcome(ctx, Err(TOO_MUCH.to_owned()));
            }
            let appended = match state.tree(event) {
                Some(tree) => append(tree, &name, text),
                None => Err(NO_EVENT.to_owned()),
            };
            outcome(ctx, appended)
        };
        "cancel" = |event: i32| {
            state.lock().cancelled |= event == 0;
            outcome(ctx, Ok(()))
        };
        "time" = |event: i32| {
            let nanoseconds = state.lock().tree(event).map_or(0, |tree| tree.time.0);
            Ok(Js::new_number(ctx.clone(), (nanoseconds / 1_000_000) as f64))
        };
        "setTime" = |event: i32, milliseconds: f64| {
            let nanoseconds = (milliseconds >= 0.0).then_some(milliseconds as u64).and_then(|time| time.checked_mul(1_000_000));
            let Some(nanoseconds) = nanoseconds else { return outcome(ctx, Err("value is not a timestamp".to_owned())) };
            if let Some(tree) = state.lock().tree(event) {
                tree.set_time(Timestamp(nanoseconds));
            }
            outcome(ctx, Ok(()))
        };
        "makeEvent" = |json: String| {
            let mut state = state.lock();
            let (Some(Value::Object(made)), true) = (from_json(&json), state.made.len() < MAX_EVENTS && state.may_write(json.len())) else {
                return Ok(Js::new_undefined(ctx.clone()));
            };
            state.made.push(made.into());
            Ok(Js::new_number(ctx.clone(), state.made.len() as f64))
        };
    }
    Ok(())
}

/// The functions of the views of lists and maps.
fn views<'js>(ctx: &Ctx<'js>, native: &JsObject<'js>, state: &Shared) -> Result<()> {
    functions! { ctx, native, state;
        "read" = |event: i32, pointer: String, key: String| {
            let mut state = state.lock();
            let found = state.tree(event).and_then(|tree| fields::container(&tree.fields, &pointer));
            let value = match found {
                Some(Container::List(list)) if key == "length" => return Ok(Js::new_number(ctx.clone(), list.len() as f64)),
                Some(Container::List(list)) => key.parse::<usize>().ok().and_then(|at| list.get(at)),
                Some(Container::Map(_)) if pointer.is_empty() && fields::is_hidden(&key) => None,
                Some(Container::Map(map)) => map.get(&key),
                None => None,
            };
            show(ctx, value, || Some(fields::below(&pointer, &key)))
        };
        "write" = |event: i32, pointer: String, key: String, json: String| {
            let mut state = state.lock();
            let value = from_json(&json).filter(|_| state.may_write(json.len() + key.len()));
            let written = match (state.tree(event), value) {
                (Some(tree), Some(value)) => fields::write(&mut tree.fields, &pointer, &key, value),
                _ => false,
            };
            Ok(Js::new_bool(ctx.clone(), written))
        };
        "erase" = |event: i32, pointer: String, key: String| {
            let erased = state.lock().tree(event).is_some_and(|tree| fields::erase(&mut tree.fields, &pointer, &key));
            Ok(Js::new_bool(ctx.clone(), erased))
        };
        "keys" = |event: i32, pointer: String| {
            let keys = Array::new(ctx.clone())?;
            let mut state = state.lock();
            match state.tree(event).and_then(|tree| fields::container(&tree.fields, &pointer)) {
                Some(Container::Map(map)) => {
                    let shown = map.keys().filter(|key| !(pointer.is_empty() && fields::is_hidden(key)));
                    shown.enumerate().try_for_each(|(at, key)| keys.set(at, key.as_str()))?;
                }
                Some(Container::List(list)) => {
                    (0..list.len()).try_for_each(|at| keys.set(at, at.to_string()))?;
                    keys.set(list.len(), "length")?;
                }
                None => {}
            }
            Ok(keys.into_value())
        };
    }
    Ok(())
}

/// The functions of the modules.
fn modules<'js>(ctx: &Ctx<'js>, native: &JsObject<'js>, state: &Shared) -> Result<()> {
    functions! { ctx, native, state;
        "open" = |name: String, json: String| {
            let mut state = state.lock();
            let opened = match state.processors.len() {
                MAX_PROCESSORS.. => Err(format!("a script can make {MAX_PROCESSORS} processors at most")),
                _ => state.source.factory(&name, &json),
            };
            match opened {
                Ok(factory) => {
                    state.processors.push(factory.instance());
                    Ok(Js::new_number(ctx.clone(), (state.processors.len() - 1) as f64))
                }
                Err(message) => Ok(rquickjs::String::from_str(ctx.clone(), &message)?.into_value()),
            }
        };
        "run" = |event: i32, processor: usize| outcome(ctx, state.lock().run(event, processor));
        "path" = |function: String, text: String, windows: bool| {
            let _ = &state;
            let result = path::apply(&function, &text, windows).unwrap_or_default();
            Ok(rquickjs::String::from_str(ctx.clone(), &result)?.into_value())
        };
        "isIP" = |text: String| {
            let _ = &state;
            let version = match text.parse() {
                Ok(std::net::IpAddr::V6(ip)) if ip.to_ipv4_mapped().is_none() => 6,
                Ok(_) => 4,
                Err(_) => 0,
            };
            Ok(Js::new_int(ctx.clone(), version))
        };
        "log" = |level: i32, text: String| {
            let level = match level {
                1 => log::Level::Error,
                2 => log::Level::Warn,
                3 => log::Level::Info,
                _ => log::Level::Debug,
            };
            log::log!(level, "script {}: {text}", state.lock().source.name());
            Ok(Js::new_undefined(ctx.clone()))
        };
    }
    Ok(())
}
