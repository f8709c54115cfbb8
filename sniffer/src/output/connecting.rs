//! A layer around the connector of the HTTP client, which calls [`Connected`] for each connection.

use crate::opening::Connected;
use std::{
    pin::Pin,
    task::{Context, Poll},
};
use tower_layer::Layer;
use tower_service::Service;

/// The layer.
#[derive(Clone)]
pub(super) struct Noting(pub Connected);

/// The connector with the layer.
#[derive(Clone)]
pub(super) struct Connector<S> {
    inner: S,
    connected: Connected,
}

/// A connection that is being opened.
pub(super) struct Connecting<F> {
    inner: Pin<Box<F>>,
    connected: Connected,
}

impl<S> Layer<S> for Noting {
    type Service = Connector<S>;

    fn layer(&self, inner: S) -> Connector<S> {
        Connector { inner, connected: self.0.clone() }
    }
}

impl<S: Service<R>, R> Service<R> for Connector<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = Connecting<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> Self::Future {
        Connecting { inner: Box::pin(self.inner.call(request)), connected: self.connected.clone() }
    }
}

impl<F: Future> Future for Connecting<F> {
    type Output = F::Output;

    /// Each step of the connector is followed by a call of [`Connected`]: a connection whose TLS handshake fails is closed when the last
    /// step returns.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let result = self.inner.as_mut().poll(cx);
        (self.connected)();
        result
    }
}
