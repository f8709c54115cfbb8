//! What a server of HTTP answers. The server itself, with the limits of its connections, is `server.rs`.

use http_body_util::Full;
use hyper::{Response, body::Bytes, http::request::Parts};

/// An answer with its whole body.
pub type Answer = Response<Full<Bytes>>;

/// What a server answers.
pub trait Service: Send + Sync + 'static {
    /// The name of the server in the log.
    const NAME: &'static str;

    /// Answers a request. Its body is not read.
    fn answer(&self, request: &Parts) -> impl Future<Output = Answer> + Send;

    /// What the thread does besides answering. It must not end.
    fn work(&self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }
}
