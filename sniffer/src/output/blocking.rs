//! Runs writes that may block (a pipe without an active reader, a stopped terminal) on another thread, so that the main thread still
//! receives signals and can end in time.

use super::Error;

/// Runs `work` on a thread for blocking calls and waits for it. If the future is dropped, `work` still runs to its end.
///
/// # Errors
/// When the thread could not run `work` to its end.
pub(super) async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Error::Unreachable(format!("the writing thread: {error}").into()))
}
