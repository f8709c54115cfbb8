//! The thread that serves the endpoint, and the limits of its connections.

use super::{
    listener::{Listener, Socket},
    report::{Identity, Source},
    routes::Routes,
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

/// The running endpoint. When this value is dropped, the socket and all connections are closed.
pub struct Server {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("the HTTP endpoint ended unexpectedly");
        }
    }
}

impl Server {
    /// Starts the thread that answers requests with what `source` reports.
    ///
    /// # Errors
    /// When the thread or its runtime cannot be started.
    pub fn start(listener: Listener, who: Identity, source: Arc<dyn Source>) -> io::Result<Self> {
        Self::start_with(listener, who, source, HEAD_TIME, LIFE)
    }

    pub(super) fn start_with(
        listener: Listener,
        who: Identity,
        source: Arc<dyn Source>,
        head_time: Duration,
        life: Duration,
    ) -> io::Result<Self> {
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let serving = Serving { routes: Arc::new(Routes::new(who, source)), head_time, life };
        log::info!("HTTP endpoint: listening on {listener}");
        let thread = thread::Builder::new().name("endpoint".into()).spawn(move || {
            if let Err(error) = runtime.block_on(serve(&listener, serving, stopped)) {
                log::error!("the HTTP endpoint does not answer any more: {error}");
            }
            drop(listener);
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

#[derive(Clone)]
struct Serving {
    routes: Arc<Routes>,
    head_time: Duration,
    life: Duration,
}

/// Accepts connections until `stopped`.
async fn serve(listener: &Listener, serving: Serving, stopped: oneshot::Receiver<()>) -> io::Result<()> {
    let accepting = async {
        match &listener.socket {
            Socket::Tcp(socket) => {
                socket.set_nonblocking(true)?;
                let socket = TcpListener::from_std(socket.try_clone()?)?;
                accept(serving, async || Ok(socket.accept().await?.0)).await
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
        // A message means the end, and so does a dropped sender.
        _ = stopped => Ok(()),
    }
}

/// Accepts one connection after the other, and serves each in a task of its own.
async fn accept<S>(serving: Serving, next: impl AsyncFn() -> io::Result<S>) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let room = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let permit = room.clone().acquire_owned().await.map_err(io::Error::other)?;
        match next().await {
            Ok(stream) => {
                let serving = serving.clone();
                tokio::spawn(async move {
                    let _permit = permit;
                    serving.connection(stream).await;
                });
            }
            Err(error) => {
                log::debug!("HTTP endpoint: cannot accept a connection: {error}");
                sleep(AFTER_ERROR).await;
            }
        }
    }
}

impl Serving {
    /// Answers the requests of one connection.
    async fn connection(self, stream: impl AsyncRead + AsyncWrite + Unpin) {
        let routes = self.routes;
        let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
            let answer = routes.answer(request.uri());
            async move { Ok::<_, Infallible>(answer) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.head_time)
            .max_buf_size(MOST_HEAD)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = pin!(connection);
        let ended = timeout(self.life, connection.as_mut()).await;
        let ended = match ended {
            Ok(ended) => ended,
            Err(_) => {
                connection.as_mut().graceful_shutdown();
                timeout(LAST_REQUEST, connection).await.unwrap_or(Ok(()))
            }
        };
        if let Err(error) = ended {
            log::debug!("HTTP endpoint: a connection ended with an error: {error}");
        }
    }
}
