//! Warnings and errors while a view is shown: the view shows the last one. While screens have the terminal, all are printed when it is free
//! again; otherwise at once.

use log::{Level, LevelFilter, Log, Metadata, Record, SetLoggerError};
use std::{
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError},
};

/// Maximum number of notices that are kept. Further ones are counted.
const MOST_KEPT: usize = 100;

/// The notices. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Notices(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    texts: Vec<String>,
    more: usize,
    /// Whether notices are printed at once. Then only the last one is kept.
    at_once: bool,
}

impl Notices {
    /// Makes the log of the program go to notices, from level warning on. `at_once`: whether each is printed at once.
    ///
    /// # Errors
    /// When the program has a log.
    pub fn install(at_once: bool) -> Result<Self, SetLoggerError> {
        let notices = Self(Arc::new(Mutex::new(Kept { at_once, ..Kept::default() })));
        log::set_boxed_logger(Box::new(notices.clone()))?;
        log::set_max_level(LevelFilter::Warn);
        Ok(notices)
    }

    /// The last notice.
    pub fn last(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).texts.last().cloned()
    }

    /// Prints all notices to standard error.
    pub fn print(&self) {
        let kept = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let mut text: String = kept.texts.iter().map(|text| format!("{text}\n")).collect();
        if kept.more > 0 {
            text.push_str(&format!("and {} more warnings\n", kept.more));
        }
        // If this fails, standard error is closed, and there is no other place.
        let _ = io::stderr().write_all(text.as_bytes());
    }
}

impl Log for Notices {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= Level::Warn
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let level = if record.level() == Level::Error { "error" } else { "warning" };
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.at_once {
            kept.texts = vec![format!("{level}: {}", record.args())];
            // If this fails, standard error is closed, and there is no other place.
            let _ = writeln!(io::stderr(), "{level}: {}", record.args());
        } else if kept.texts.len() < MOST_KEPT {
            kept.texts.push(format!("{level}: {}", record.args()));
        } else {
            kept.more += 1;
        }
    }

    fn flush(&self) {}
}
