//! The page of a run (`web`, `web.enabled`): its state, its thread, and how the run feeds it.

mod link;

use super::{
    Error,
    notices::Notices,
    plan::Plan,
    shared::{self, Shared},
    view::View,
};
use crate::{
    endpoint::{Limits, Listener, Server},
    protocols::PROTOCOLS,
    view::{top::Source, web::State},
    web::{Options, Page, Token, Update},
};
pub use link::read as read_link;
use link::{File, Link};
use std::{
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::sync::{Notify, oneshot};

/// How long the last request of a connection may take: longer than a request for new transactions is held.
const LAST_REQUEST: Duration = Duration::from_secs(12);
/// Maximum number of connections at the same time. A browser opens six.
const CONNECTIONS: usize = 64;
/// How long a client may take to send the head of a request.
const HEAD_TIME: Duration = Duration::from_secs(5);

/// The page of a run, before and while it is served.
pub struct Serving {
    /// Takes the events of the workers.
    pub shared: Arc<Shared>,
    /// The addresses on which the page is served, whose connections are not captured.
    pub listens: Vec<SocketAddr>,
    /// The link to the page.
    pub link: Link,
    /// What the thread is started with.
    parts: Option<(Listener, Page)>,
    /// See [`Serving::view`].
    over: Arc<Mutex<Option<oneshot::Sender<()>>>>,
}

impl Serving {
    /// Makes the page. `host`: the name of this host, or of the file. `notices`: where the last warning is.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn prepare(listener: Listener, plan: &Plan, host: String, allowed: Vec<String>, notices: Option<Notices>) -> Result<Self, Error> {
        let source =
            Source { host, watched: plan.watched(false).replace(" (-v lists them)", ""), is_live: plan.is_live(), ..Source::default() };
        let (shared, token) = (Arc::new(Shared::default()), Token::random()?);
        let listens = listener.addresses();
        let link = Link::new(&listener, &token);
        let state = State::new(source, shared::ahead_of_utc(), PROTOCOLS.iter().map(|protocol| protocol.name).collect());
        let page = Page::new(state, update(shared.clone(), notices), token, allowed);
        Ok(Self { shared, listens, link, parts: Some((listener, page)), over: Arc::default() })
    }

    /// The page of the service. Its address may be in use by another program, which is no reason to capture nothing: the log then says so.
    pub fn of_service(options: Option<Options>, plan: &Plan) -> Option<Self> {
        let options = options?;
        let host = if plan.is_live() { shared::host_name() } else { "capture file".to_owned() };
        let prepared = options.listen().map_err(Error::from);
        let prepared = prepared.and_then(|listener| Self::prepare(listener, plan, host, options.allowed_hosts.clone(), None));
        prepared.inspect_err(|error| log::error!("{error}; the program runs without the page")).ok()
    }

    /// Starts the thread.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&mut self) -> Result<Option<Server>, Error> {
        let limits = Limits { connections: CONNECTIONS, head_time: HEAD_TIME, last_request: LAST_REQUEST, ..Limits::default() };
        let parts = self.parts.take();
        Ok(parts.map(|(listener, page)| Server::serve(listener, Arc::new(page), limits)).transpose()?)
    }

    /// The view of the run. `stays`: whether the run waits for a signal when its input has ended.
    pub fn view(&self, stays: bool) -> View {
        let (over, ended) = oneshot::channel();
        // The run waits for `ended`, which completes when the sender is dropped. For a file the caller keeps it until a signal ends the run.
        let kept = self.over.clone();
        let at_end = move || {
            if stays {
                *kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(over);
            }
        };
        self.shared.view(Arc::new(Notify::new()), ended, at_end)
    }

    /// As [`Serving::view`] for the service: the link is written to a file in the data path when the run has started.
    pub fn view_of_service(&self, data: &Path) -> (View, File) {
        let file = File::new(data);
        let view = self.view(false);
        let (started, writing, link) = (view.started, file.clone(), self.link.clone());
        let started = move |captures: &[String]| {
            started(captures);
            writing.write(&link);
        };
        (View { started: Box::new(started), ..view }, file)
    }
}

/// Brings the state of the page up to date.
fn update(shared: Arc<Shared>, notices: Option<Notices>) -> Update {
    let mut items = Vec::new();
    Box::new(move |state| {
        let (health, capture, has_ended) = shared.take(&mut items);
        state.take(&mut items, Shared::now(state.source.is_live));
        (state.health, state.source.capture) = (health, capture);
        state.notice = notices.as_ref().and_then(Notices::last);
        if has_ended {
            state.end();
        }
    })
}
