//! `script`: runs a JavaScript function on each event, in QuickJS. Each worker has a runtime of its own (`session`).

mod fields;
mod natives;
mod path;
mod session;
mod source;
#[cfg(test)]
mod tests;

use super::{
    Decision, Factory, Processor, ProcessorKind,
    kit::Span,
    options::options,
    reports::{self, Counting, Reported},
};
use crate::{
    config::Error,
    enrich::HostData,
    event::tree::Tree,
    opening::{Clock, Opening},
    time::Durations,
};
use serde_json::Value;
use session::Session;
use source::Source;
use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

pub(super) const KIND: ProcessorKind = ProcessorKind {
    name: "script",
    about: "Calls the JavaScript function `process(event)` for each event. The event has the functions `Get`, `Put`, `Rename`, `Delete`, \
            `Tag`, `AppendTo` and `Cancel`, and its fields are in `event.fields`. With `params`, a function `register(params)` is called \
            once. A function `test()` is called at start, and an exception in it is an error of the configuration. `require` loads the \
            modules `processor`, `net`, `path` and `console`. A session has 64 MiB of memory and 256 KiB of stack. Each worker thread has \
            a session of its own, so global variables are not shared by all events. An exception is reported in `error.message`, and the \
            event goes on. The time limit ends loops, calls and regular expressions. It does not end a single call of another built-in \
            function. So that such a call does not take long, functions of arrays take at most 4,194,304 elements, and a search for a text in a \
            text takes at most 2^31 comparisons. Not bounded are sorting without a function of many long texts that differ only at the end, \
            the matches of a regular expression with the flag `g` or in `split` that each take a little less than 10,000 steps, and an \
            object that returns another `length` each time it is asked.",
    example: "lang: javascript\nsource: 'function process(event) { event.Put(\"labels.script\", \"yes\"); }'",
    options: &[("", Options::OPTIONS)],
    open,
};

options! {
    #[derive(Debug)]
    #[allow(dead_code, reason = "options that have no effect here")]
    struct Options {
        /// The language: `javascript`. There is no other.
        lang: String,
        /// A name of the processor, for other programs that read the configuration. It has no effect.
        id: String = String::new(),
        /// A name of the script in the log. Scripts with a tag report exceptions and times in `processor.javascript.TAG`.
        tag: String = String::new(),
        /// The text of the script, instead of a file.
        source: String = String::new(),
        /// The file of the script, relative to `path.config`.
        file: String = String::new(),
        /// The files of the script, evaluated one after the other. Patterns with `*`, `?` and `[…]` are allowed.
        files: Vec<String> = Vec::new(),
        /// The parameters of `register`.
        params: Value = Value::Null,
        /// The tag that is added to `tags` when the script throws an exception. Empty for none.
        tag_on_exception: String = "_js_exception".to_owned(),
        /// The time limit for one event. A script that takes longer is ended as by an exception. 0 means the default.
        timeout: Span = Span(Duration::from_secs(1)),
        /// Accepted for compatibility. Each worker has one session.
        max_cached_sessions: u64 = 4,
        /// Accepted for compatibility. Each worker has one session.
        only_cached_sessions: bool = false,
    }
}

/// A script as it is configured.
struct Script {
    source: Arc<Source>,
    tag_on_exception: String,
    timeout: Duration,
    /// What the script reports about itself; `None` for scripts without a tag.
    runs: Option<(Arc<Runs>, &'static dyn Clock)>,
}

/// The exceptions of a script, and how long its runs took.
#[derive(Default)]
struct Runs(Mutex<(u64, Durations)>);

impl Runs {
    fn add(&self, nanos: u64, failed: bool) {
        let mut runs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        runs.0 += u64::from(failed);
        runs.1.add(nanos);
    }
}

impl Counting for Runs {
    fn each(&self, add: &mut dyn FnMut(&str, Reported)) {
        let (exceptions, times) = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        add("exceptions", Reported::Count(exceptions));
        add("histogram.process_time", Reported::Durations(times.into()));
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Script").field("name", &self.source.name()).finish_non_exhaustive()
    }
}

fn open(opening: &Opening<'_>) -> Result<Box<dyn Factory>, Error> {
    let node = opening.node;
    let options = Options::read(node)?;
    if !options.lang.eq_ignore_ascii_case("javascript") {
        return Err(node.get("lang").error("expected `javascript`, the only language of scripts"));
    }
    let folder = opening.paths.config.as_path();
    let texts = match (options.source.is_empty(), options.file.is_empty(), options.files.is_empty()) {
        (false, true, true) => vec![("inline.js".to_owned(), options.source)],
        (true, false, true) => source::read(&node.get("file"), folder, &[options.file])?,
        (true, true, false) => source::read(&node.get("files"), folder, &options.files)?,
        (true, true, true) => return Err(node.error("the script is missing: set one of `source`, `file` and `files`")),
        _ => return Err(node.error("only one of `source`, `file` and `files` can be set")),
    };
    let runs = (!options.tag.is_empty()).then(|| {
        let runs = Arc::default();
        reports::add(opening, "javascript", Some(options.tag.clone()), &runs);
        (runs, opening.clock)
    });
    let params = (!options.params.is_null()).then(|| options.params.to_string());
    let source = Arc::new(Source::new(opening, texts, params, options.tag));
    Session::load(&source).and_then(|session| session.test()).map_err(|error| node.error(format!("the script failed: {error}")))?;
    let timeout = if options.timeout.0.is_zero() { Duration::from_secs(1) } else { options.timeout.0 };
    Ok(Box::new(Arc::new(Script { source, tag_on_exception: options.tag_on_exception, timeout, runs })))
}

impl Factory for Arc<Script> {
    fn instance(&self) -> Box<dyn Processor> {
        let mut instance = Instance { script: self.clone(), session: None };
        instance.session = instance.load().inspect_err(|error| log::warn!("script {}: {error}", self.source.name())).ok();
        Box::new(instance)
    }
}

/// The script of one worker.
struct Instance {
    script: Arc<Script>,
    /// The session; `None` after it has used up its memory. The next event makes a new session.
    session: Option<Session>,
}

impl Instance {
    fn load(&self) -> Result<Session, String> {
        Session::load(&self.script.source)
    }

    fn try_run(&mut self, event: &mut Tree, host_data: &HostData) -> Result<bool, String> {
        let session = match self.session.take() {
            Some(session) => session,
            None => self.load()?,
        };
        let result = session.run(event, host_data, self.script.timeout);
        if !result.as_ref().is_err_and(|failure| failure.out_of_memory) {
            self.session = Some(session);
        }
        result.map_err(|failure| failure.message)
    }
}

impl Processor for Instance {
    fn run(&mut self, event: &mut Tree, host_data: &HostData) -> Decision {
        let start = self.script.runs.as_ref().map(|(_, clock)| clock.now());
        let result = self.try_run(event, host_data);
        if let (Some(start), Some((runs, clock))) = (start, &self.script.runs) {
            runs.add(clock.now().since(start), result.is_err());
        }
        match result {
            Ok(true) => Decision::Drop,
            Ok(false) => Decision::Keep,
            Err(message) => {
                let tag = &self.script.tag_on_exception;
                // If `tags` is not a list of texts, the exception is reported in `error.message` only.
                if !tag.is_empty() && natives::append(event, "tags", tag.clone()).is_err() {
                    log::debug!("script {}: `tags` is not a list", self.script.source.name());
                }
                super::kit::report(event, message);
                Decision::Keep
            }
        }
    }
}
