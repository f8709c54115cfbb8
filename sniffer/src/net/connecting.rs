//! A layer around the connector of the HTTP client, which lists the program's own connections again for each connection that is opened.

use super::OwnConnections;
use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tower_layer::Layer;
use tower_service::Service;

/// The `tower` layer that makes a [`Connector`].
#[derive(Clone)]
pub struct ConnectedLayer(pub Arc<OwnConnections>);

/// The connector with the layer.
#[derive(Clone)]
pub struct Connector<S> {
    inner: S,
    connections: Arc<OwnConnections>,
}

/// A connection that is being opened.
pub struct Connecting<F> {
    inner: Pin<Box<F>>,
    connections: Arc<OwnConnections>,
}

impl<S> Layer<S> for ConnectedLayer {
    type Service = Connector<S>;

    fn layer(&self, inner: S) -> Connector<S> {
        Connector { inner, connections: self.0.clone() }
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
        Connecting { inner: Box::pin(self.inner.call(request)), connections: self.connections.clone() }
    }
}

impl<F: Future> Future for Connecting<F> {
    type Output = F::Output;

    /// The connections are listed after each step of the connector, because a connection whose TLS handshake fails is already closed when the
    /// last step returns.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let result = self.inner.as_mut().poll(cx);
        self.connections.refresh();
        result
    }
}
