//! The thread that serves HTTP, and the limits of its connections.

use super::{
    listener::{Listener, Socket},
    report::{Identity, Source},
    routes::Routes,
    service::Service,
};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{convert::Infallible, io, pin::pin, sync::Arc, thread, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener},
    sync::{Semaphore, oneshot},
    time::{sleep, timeout},
};

/// Maximum number of open connections. Further connections wait in the backlog of the kernel until one ends.
pub(super) const MOST_CONNECTIONS: usize = 32;
/// Maximum size of the head of a request, in bytes.
const MOST_HEAD: usize = 16 << 10;
/// How long a client may take to send the head of a request. A connection on which no request arrives is closed after the same time.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// How long a connection may last. It is then closed after the current request.
const LIFE: Duration = Duration::from_secs(60);
/// How long the last request of a connection may take after [`LIFE`].
const LAST_REQUEST: Duration = Duration::from_secs(5);
/// How long the thread waits after an error of `accept`, for example when no descriptors are free.
const AFTER_ERROR: Duration = Duration::from_secs(1);

/// The limits of connections.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Maximum number of open connections. Further connections wait in the backlog of the kernel until one ends.
    pub connections: usize,
    /// How long a client may take to send the head of a request. A connection on which no request arrives is closed after the same time.
    pub head_time: Duration,
    /// How long a connection may last. It is then closed after the current request.
    pub life: Duration,
    /// How long the last request of a connection may take after `life`.
    pub last_request: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: MOST_CONNECTIONS, head_time: HEAD_TIME, life: LIFE, last_request: LAST_REQUEST }
    }
}

/// A running server. When this value is dropped, the socket and all connections are closed.
pub struct Server {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
    name: &'static str,
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("{}: the thread ended unexpectedly", self.name);
        }
    }
}

impl Server {
    /// Starts the thread of the HTTP endpoint, which answers requests with what `source` reports.
    ///
    /// # Errors
    /// When the thread or its runtime cannot be started.
    pub fn start(listener: Listener, who: Identity, source: Arc<dyn Source>) -> io::Result<Self> {
        Self::serve(listener, Arc::new(Routes::new(who, source)), Limits::default())
    }

    #[cfg(test)]
    pub(super) fn start_with(
        listener: Listener,
        who: Identity,
        source: Arc<dyn Source>,
        head_time: Duration,
        life: Duration,
    ) -> io::Result<Self> {
        Self::serve(listener, Arc::new(Routes::new(who, source)), Limits { head_time, life, ..Limits::default() })
    }

    /// Starts a thread that answers requests.
    ///
    /// # Errors
    /// When the thread or its runtime cannot be started.
    pub fn serve<S: Service>(listener: Listener, service: Arc<S>, limits: Limits) -> io::Result<Self> {
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        log::info!("{}: listening on {listener}", S::NAME);
        let thread = thread::Builder::new().name("endpoint".into()).spawn(move || {
            if let Err(error) = runtime.block_on(serve(&listener, &Serving { service, limits }, stopped)) {
                log::error!("{}: requests are not answered any more: {error}", S::NAME);
            }
            drop(listener);
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread), name: S::NAME })
    }
}

struct Serving<S> {
    service: Arc<S>,
    limits: Limits,
}

/// Accepts connections until `stopped`.
async fn serve<S: Service>(listener: &Listener, serving: &Serving<S>, stopped: oneshot::Receiver<()>) -> io::Result<()> {
    let accepting = async {
        match &listener.socket {
            Socket::Tcp(first, second) => {
                let first = listen(first)?;
                let second = second.as_ref().map(listen).transpose()?;
                let next = async || match &second {
                    None => Ok(first.accept().await?.0),
                    Some(second) => tokio::select! {
                        accepted = first.accept() => Ok(accepted?.0),
                        accepted = second.accept() => Ok(accepted?.0),
                    },
                };
                accept(serving, next).await
            }
            Socket::Unix(socket) => {
                socket.set_nonblocking(true)?;
                let socket = UnixListener::from_std(socket.try_clone()?)?;
                accept(serving, async || Ok(socket.accept().await?.0)).await
            }
        }
    };
    tokio::select! {
        result = accepting => result,
        () = serving.service.work() => Ok(()),
        // A message means the end, and so does a dropped sender.
        _ = stopped => Ok(()),
    }
}

fn listen(socket: &std::net::TcpListener) -> io::Result<TcpListener> {
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.try_clone()?)
}

/// Accepts one connection after the other, and serves each in a task of its own.
async fn accept<S, C>(serving: &Serving<S>, next: impl AsyncFn() -> io::Result<C>) -> io::Result<()>
where
    S: Service,
    C: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let room = Arc::new(Semaphore::new(serving.limits.connections));
    loop {
        let permit = room.clone().acquire_owned().await.map_err(io::Error::other)?;
        match next().await {
            Ok(stream) => {
                let serving = Serving { service: serving.service.clone(), limits: serving.limits };
                tokio::spawn(async move {
                    let _permit = permit;
                    serving.connection(stream).await;
                });
            }
            Err(error) => {
                log::debug!("{}: cannot accept a connection: {error}", S::NAME);
                sleep(AFTER_ERROR).await;
            }
        }
    }
}

impl<S: Service> Serving<S> {
    /// Answers the requests of one connection.
    async fn connection(self, stream: impl AsyncRead + AsyncWrite + Unpin) {
        let Self { service, limits } = self;
        let answering = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
            let service = service.clone();
            async move { Ok::<_, Infallible>(service.answer(&request.into_parts().0).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.head_time)
            .max_buf_size(MOST_HEAD)
            .serve_connection(TokioIo::new(stream), answering);
        let mut connection = pin!(connection);
        let ended = timeout(limits.life, connection.as_mut()).await;
        let ended = match ended {
            Ok(ended) => ended,
            Err(_) => {
                connection.as_mut().graceful_shutdown();
                timeout(limits.last_request, connection).await.unwrap_or(Ok(()))
            }
        };
        if let Err(error) = ended {
            log::debug!("{}: a connection ended with an error: {error}", S::NAME);
        }
    }
}
