//! A session: a QuickJS runtime with the user's script, with limits of time, memory and stack.

use super::{
    natives::{self, Shared, State},
    source::Source,
};
use crate::{enrich::HostData, event::tree::Tree, processors::PROCESSORS};
use rquickjs::{CatchResultExt, CaughtError, Coerced, Context, Ctx, Function, Object, Runtime, context::EvalOptions};
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// Maximum size of the memory of one session, in bytes.
const MAX_MEMORY: usize = 64 << 20;
/// Maximum size of the stack of a script, in bytes. The threads of workers have 2 MiB.
const MAX_STACK: usize = 256 << 10;
/// Time limit for evaluating the script and for `register` and `test`.
const LOAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum length of the message of an exception, in characters.
const MAX_MESSAGE: usize = 2000;
/// The name of `prelude.js` and `bounds.js` in the stack of an exception.
const PRELUDE: &str = "(builtin).js";
const TIMEOUT: &str = "javascript processor execution timeout";

/// Why a script has failed.
#[derive(Debug)]
pub(super) struct Failure {
    /// The exception as text, with its place in the script.
    pub(super) message: String,
    /// Whether the memory limit was reached. The session cannot be used any more.
    pub(super) out_of_memory: bool,
}

/// When the running script has to end. The time is that of the steady clock, because the time of day may be set while a script runs.
#[derive(Default)]
struct Limit {
    end: Mutex<Option<Instant>>,
    exceeded: AtomicBool,
}

impl Limit {
    fn set(&self, end: Option<Instant>) {
        *self.end.lock().unwrap_or_else(PoisonError::into_inner) = end;
    }

    fn is_exceeded(&self) -> bool {
        let exceeded = self.end.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|end| Instant::now() >= end);
        self.exceeded.fetch_or(exceeded, Relaxed);
        exceeded
    }
}

/// The runtime of one worker, with its global variables.
pub(super) struct Session {
    context: Context,
    state: Shared,
    limit: Arc<Limit>,
}

impl Session {
    /// Evaluates the script and calls its function `register`.
    ///
    /// # Errors
    /// When the script is not valid, throws an exception, or has no function `process`.
    pub(super) fn load(source: &Arc<Source>) -> Result<Self, String> {
        let limit = Arc::new(Limit::default());
        let handler = limit.clone();
        let runtime = Runtime::new().map_err(|error| error.to_string())?;
        runtime.set_memory_limit(MAX_MEMORY);
        runtime.set_max_stack_size(MAX_STACK);
        runtime.set_interrupt_handler(Some(Box::new(move || handler.is_exceeded())));
        let context = Context::full(&runtime).map_err(|error| error.to_string())?;
        let session = Self { context, state: Shared::new(State::new(source.clone())), limit };
        session.limited(LOAD_TIMEOUT, |ctx| session.evaluate(ctx, source)).map_err(|failure| failure.message)??;
        Ok(session)
    }

    fn evaluate(&self, ctx: &Ctx<'_>, source: &Source) -> rquickjs::Result<Result<(), String>> {
        let names: Vec<String> = PROCESSORS
            .iter()
            .filter(|kind| kind.name != "script")
            .flat_map(|kind| [constructor(kind.name), kind.name.to_owned()])
            .collect();
        ctx.eval_with_options::<Function<'_>, _>(include_str!("bounds.js"), file(PRELUDE))?.call::<_, ()>(())?;
        let prelude: Function<'_> = ctx.eval_with_options(include_str!("prelude.js"), file(PRELUDE))?;
        let native = natives::install(ctx, &self.state)?;
        prelude.call::<_, ()>((native, names))?;
        for (name, text) in &source.texts {
            ctx.eval_with_options::<(), _>(text.as_str(), file(name))?;
        }
        let host = host(ctx)?;
        let functions: Vec<bool> = host.get::<_, Function<'_>>("loaded")?.call(())?;
        if functions.first() != Some(&true) {
            return Ok(Err("process function not found".to_owned()));
        }
        if let Some(params) = &source.params {
            if functions.get(1) != Some(&true) {
                return Ok(Err("params were provided but no register function was found".to_owned()));
            }
            host.get::<_, Function<'_>>("register")?.call::<_, ()>((params.as_str(),))?;
        }
        Ok(Ok(()))
    }

    /// Calls the script's function `test`, if it has one.
    ///
    /// # Errors
    /// The exception that it throws.
    pub(super) fn test(&self) -> Result<(), String> {
        let test = |ctx: &Ctx<'_>| {
            let host = host(ctx)?;
            let functions: Vec<bool> = host.get::<_, Function<'_>>("loaded")?.call(())?;
            if functions.get(2) == Some(&true) { host.get::<_, Function<'_>>("test")?.call(()) } else { Ok(()) }
        };
        self.limited(LOAD_TIMEOUT, test).map_err(|failure| failure.message)
    }

    /// Runs the script on an event. Returns whether the script has cancelled the event.
    ///
    /// # Errors
    /// The exception that the script throws. The event keeps the changes that were made before.
    pub(super) fn run(&self, event: &mut Tree, host_data: &HostData, timeout: Duration) -> Result<bool, Failure> {
        self.state.lock().begin(std::mem::take(event), host_data);
        let result = self.limited(timeout, |ctx| host(ctx)?.get::<_, Function<'_>>("run")?.call::<_, ()>(()));
        let mut state = self.state.lock();
        *event = std::mem::take(&mut state.event);
        result.map(|()| state.cancelled)
    }

    /// Runs code of the script for a limited time.
    fn limited<T>(&self, timeout: Duration, run: impl FnOnce(&Ctx<'_>) -> rquickjs::Result<T>) -> Result<T, Failure> {
        self.limit.exceeded.store(false, Relaxed);
        self.limit.set(Instant::now().checked_add(timeout));
        // The message of an exception is read within the time limit, because a script may compute the message.
        let result = self.context.with(|ctx| {
            let result = run(&ctx).catch(&ctx).map_err(|error| self.failure(&ctx, &error));
            // Reactions of promises run here, because nothing else waits for promises. Otherwise the reactions would accumulate.
            let mut pending = true;
            while pending && !self.limit.is_exceeded() {
                pending = ctx.execute_pending_job();
            }
            result
        });
        self.limit.set(None);
        result
    }

    fn failure(&self, ctx: &Ctx<'_>, error: &CaughtError<'_>) -> Failure {
        let message = match error {
            _ if self.limit.exceeded.load(Relaxed) => TIMEOUT.to_owned(),
            CaughtError::Error(error) => error.to_string(),
            CaughtError::Exception(exception) => {
                let text = text(exception.as_object().clone().into_value());
                // Making the text runs code of the script, which may throw another exception.
                let _ = ctx.catch();
                let stack = exception.stack().unwrap_or_default();
                match stack.lines().map(str::trim).find(|line| line.contains(".js:") && !line.contains(PRELUDE)) {
                    Some(place) => format!("{text} {place}"),
                    None => text,
                }
            }
            CaughtError::Value(value) => {
                let text = text(value.clone());
                let _ = ctx.catch();
                text
            }
        };
        let message = if self.limit.exceeded.load(Relaxed) { TIMEOUT.to_owned() } else { message };
        let out_of_memory = message.contains("out of memory") || message.contains("llocation");
        let message = message.char_indices().nth(MAX_MESSAGE).and_then(|(at, _)| message.get(..at)).unwrap_or(&message).to_owned();
        Failure { message, out_of_memory }
    }
}

/// A value of the script as text.
fn text(value: rquickjs::Value<'_>) -> String {
    value.get::<Coerced<String>>().map_or_else(|_| "an exception that has no text".to_owned(), |text| text.0)
}

fn host<'js>(ctx: &Ctx<'js>) -> rquickjs::Result<Object<'js>> {
    ctx.globals().get("#host")
}

fn file(name: &str) -> EvalOptions {
    let mut options = EvalOptions::default();
    options.filename = Some(name.to_owned());
    options
}

/// The name of a processor in the module `processor`: `add_fields` is `AddFields`, `community_id` is `CommunityID`.
fn constructor(name: &str) -> String {
    let word = |word: &str| match word {
        "csv" | "dns" | "id" | "json" | "ldap" | "xml" => word.to_uppercase(),
        "urldecode" => "URLDecode".to_owned(),
        _ => {
            let (first, rest) = word.split_at_checked(1).unwrap_or((word, ""));
            first.to_uppercase() + rest
        }
    };
    name.split('_').map(word).collect()
}
