//! Keeps a [`Store`] up to date: lists the objects of the cluster and follows their changes, on a thread of its own.

use super::{
    access::Way,
    client::{Change, Client, Ended},
    metadata::{self, Filter, Indexers, Pod},
    store::{Kind, Store},
};
use crate::{event::tree::Object, net::OwnConnections};
use hashbrown::HashSet;
use serde_json::{Value, json};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use tokio::{sync::oneshot, time::sleep};

/// The time after the first failure, which doubles with each further one.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest time between two attempts.
const MAX_WAIT: Duration = Duration::from_secs(60);
/// The longest time of a watch.
const WATCH: Duration = Duration::from_secs(300);
/// Maximum number of objects of one page of a list.
const PAGE: &str = "500";
/// Maximum number of pages of a list.
const MAX_PAGES: usize = 1000;
/// The time between two searches for pods that were deleted long ago.
const SWEEP: Duration = Duration::from_secs(5);

/// What is followed, and what becomes fields.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    /// How the API server is found.
    pub(super) way: Way,
    /// Whether only the pods of this host's node are followed.
    pub(super) node_only: bool,
    /// The name of this host's node; empty: it is discovered.
    pub(super) node: String,
    /// The only namespace; empty: all.
    pub(super) namespace: String,
    /// The labels and annotations of pods.
    pub(super) pods: Filter,
    /// Those of nodes; `None`: nodes are not followed.
    pub(super) nodes: Option<Filter>,
    /// Those of namespaces; `None`: namespaces are not followed.
    pub(super) namespaces: Option<Filter>,
    /// Whether the names of deployments are added.
    pub(super) deployments: bool,
    /// Whether the names of cron jobs are added.
    pub(super) cron_jobs: bool,
    /// Whether the name of the cluster is read from the ConfigMap of kubeadm.
    pub(super) use_kubeadm: bool,
    /// By what pods are found.
    pub(super) indexers: Indexers,
    /// The time after which everything is listed again; 0: only when the server asks for it.
    pub(super) sync_period: Duration,
    /// The time after which a deleted pod is forgotten.
    pub(super) cleanup_timeout: Duration,
}

/// What is known of a cluster. The thread that follows it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Following {
    pub(super) store: Arc<Store>,
    _stop: oneshot::Sender<()>,
}

impl Following {
    /// Starts the thread. If that fails, an error is logged and no event gets metadata.
    pub(super) fn start(settings: Settings, connections: Option<Arc<OwnConnections>>) -> Self {
        let (stop, stopped) = oneshot::channel();
        let store = Arc::new(Store::default());
        let shared = store.clone();
        let follow = move || {
            let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => return log::error!("add_kubernetes_metadata: its thread cannot run: {error}"),
            };
            runtime.block_on(async {
                tokio::select! {
                    _ = stopped => {}
                    () = run(&settings, &shared, connections) => {}
                }
            });
        };
        if let Err(error) = thread::Builder::new().name("kubernetes".to_owned()).spawn(follow) {
            log::error!("add_kubernetes_metadata: starting its thread failed: {error}");
        }
        Self { store, _stop: stop }
    }
}

/// Repeats failed attempts, with a time between them that grows, and warns of the first failure.
struct Attempts {
    wait: Duration,
    what: &'static str,
    has_warned: bool,
}

impl Attempts {
    fn new(what: &'static str) -> Self {
        Self { wait: FIRST_WAIT, what, has_warned: false }
    }

    async fn failed(&mut self, why: &str) {
        if self.has_warned {
            log::debug!("add_kubernetes_metadata: {}: {why}", self.what);
        } else {
            log::warn!("add_kubernetes_metadata: {}: {why}; tried again until it works", self.what);
        }
        self.has_warned = true;
        sleep(self.wait).await;
        self.wait = (self.wait * 2).min(MAX_WAIT);
    }

    fn worked(&mut self) {
        if self.has_warned {
            log::info!("add_kubernetes_metadata: {}: it works again", self.what);
        }
        *self = Self::new(self.what);
    }
}

async fn run(settings: &Settings, store: &Store, connections: Option<Arc<OwnConnections>>) {
    let mut attempts = Attempts::new("the API server");
    let (client, node) = loop {
        let opened = match settings.way.access().and_then(|access| Client::new(access, connections.clone())) {
            Ok(client) => discover(settings, &client).await.map(|node| (client, node)),
            Err(why) => Err(why),
        };
        match opened {
            Ok(opened) => break opened,
            Err(why) => attempts.failed(&why).await,
        }
    };
    attempts.worked();
    if let Some(cluster) = cluster(settings, &client).await {
        store.set_cluster(cluster);
    }
    let lists = lists(settings, node.as_deref());
    let follower = Follower { settings, store, client, unlisted: AtomicUsize::new(lists.len()) };
    let one = |kind: Kind| lists.iter().find(|list| list.kind == kind);
    tokio::join!(
        follower.follow(one(Kind::Pods)),
        follower.follow(one(Kind::Nodes)),
        follower.follow(one(Kind::Namespaces)),
        follower.follow(one(Kind::ReplicaSets)),
        follower.follow(one(Kind::Jobs)),
        follower.sweep(),
    );
}

/// The name of this host's node; `None` if all nodes are followed.
async fn discover(settings: &Settings, client: &Client) -> Result<Option<String>, String> {
    if !settings.node_only {
        return Ok(None);
    }
    if !settings.node.is_empty() {
        return Ok(Some(settings.node.clone()));
    }
    if let Some(name) = std::env::var("NODE_NAME").ok().filter(|name| !name.is_empty()) {
        return Ok(Some(name));
    }
    if let Some(namespace) = &client.access.own_namespace {
        // The host name of a pod is its name, unless it is in the network of its node.
        let name = std::env::var("POD_NAME").or_else(|_| std::env::var("HOSTNAME")).unwrap_or_default();
        if let Ok(pod) = client.get(&format!("/api/v1/namespaces/{namespace}/pods/{name}"), &[]).await
            && let Some(node) = pod.pointer("/spec/nodeName").and_then(Value::as_str)
        {
            return Ok(Some(node.to_owned()));
        }
    }
    let own = std::fs::read_to_string("/etc/machine-id").unwrap_or_default();
    let nodes = client.get("/api/v1/nodes", &[("limit", PAGE.to_owned())]).await?;
    let is_own = |node: &&Value| node.pointer("/status/nodeInfo/machineID").and_then(Value::as_str) == Some(own.trim());
    let node = nodes.get("items").and_then(Value::as_array).into_iter().flatten().find(is_own);
    match node.and_then(|node| node.pointer("/metadata/name")?.as_str()) {
        Some(name) if !own.trim().is_empty() => Ok(Some(name.to_owned())),
        _ => Err("the node of this host is not known; set the option `node` or the variable NODE_NAME, or `scope: cluster`".into()),
    }
}

/// The fields about the cluster.
async fn cluster(settings: &Settings, client: &Client) -> Option<Object> {
    let (name, url) = if let Some(name) = client.access.cluster.clone() {
        (Some(name), Some(client.access.server.as_str().trim_end_matches('/').to_owned()))
    } else if settings.use_kubeadm {
        let map = client.get("/api/v1/namespaces/kube-system/configmaps/kubeadm-config", &[]).await.ok()?;
        let text = map.pointer("/data/ClusterConfiguration")?.as_str()?;
        let cluster: Value = serde_yaml::from_str(text).ok()?;
        let text = |name: &str| cluster.get(name)?.as_str().map(str::to_owned);
        (text("clusterName"), text("controlPlaneEndpoint"))
    } else {
        return None;
    };
    let mut cluster = Object::new();
    cluster.extend(name.map(|name| ("name".to_owned(), name.into())));
    cluster.extend(url.map(|url| ("url".to_owned(), url.into())));
    Some(Object::from_iter([("orchestrator".to_owned(), json!({"cluster": cluster}))]))
}

/// A list of the API.
struct List {
    kind: Kind,
    what: &'static str,
    path: String,
    selector: Option<String>,
}

/// The lists that are followed.
fn lists(settings: &Settings, node: Option<&str>) -> Vec<List> {
    let below = |group: &str, name: &str| match settings.namespace.as_str() {
        "" => format!("{group}/{name}"),
        namespace => format!("{group}/namespaces/{namespace}/{name}"),
    };
    let of = |kind, what, path: String, selector: Option<String>| List { kind, what, path, selector };
    let mut lists = vec![of(Kind::Pods, "the list of pods", below("/api/v1", "pods"), node.map(|node| format!("spec.nodeName={node}")))];
    if settings.nodes.is_some() {
        lists.push(of(Kind::Nodes, "the list of nodes", "/api/v1/nodes".into(), node.map(|node| format!("metadata.name={node}"))));
    }
    if settings.namespaces.is_some() {
        let selector = (!settings.namespace.is_empty()).then(|| format!("metadata.name={}", settings.namespace));
        lists.push(of(Kind::Namespaces, "the list of namespaces", "/api/v1/namespaces".into(), selector));
    }
    if settings.deployments {
        lists.push(of(Kind::ReplicaSets, "the list of replica sets", below("/apis/apps/v1", "replicasets"), None));
    }
    if settings.cron_jobs {
        lists.push(of(Kind::Jobs, "the list of jobs", below("/apis/batch/v1", "jobs"), None));
    }
    lists
}

struct Follower<'a> {
    settings: &'a Settings,
    store: &'a Store,
    client: Client,
    /// The number of lists that were not read yet.
    unlisted: AtomicUsize,
}

impl Follower<'_> {
    async fn follow(&self, list: Option<&List>) {
        let Some(list) = list else { return };
        let (mut attempts, mut is_first) = (Attempts::new(list.what), true);
        loop {
            let result = self.list_and_watch(list, &mut attempts, &mut is_first).await;
            // A list that is refused delays no event of a capture file.
            self.was_tried(&mut is_first);
            match result {
                Ok(()) => sleep(FIRST_WAIT).await,
                Err(why) => attempts.failed(&why).await,
            }
        }
    }

    fn was_tried(&self, is_first: &mut bool) {
        if std::mem::take(is_first) && self.unlisted.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.store.set_listed();
        }
    }

    /// Lists the objects and follows their changes until they must be listed again.
    async fn list_and_watch(&self, list: &List, attempts: &mut Attempts, is_first: &mut bool) -> Result<(), String> {
        let query: Vec<(&str, String)> = list.selector.iter().map(|selector| ("fieldSelector", selector.clone())).collect();
        let mut version = self.list(list, &query).await?;
        attempts.worked();
        self.was_tried(is_first);
        let listed = Instant::now();
        loop {
            let period = self.settings.sync_period;
            let left = if period.is_zero() { WATCH } else { period.saturating_sub(listed.elapsed()) };
            if left.is_zero() {
                return Ok(());
            }
            let began = Instant::now();
            let mut each = |change: Change| match change {
                Change::Put(object) => _ = self.put(list.kind, &object),
                Change::Delete(object) => self.delete(list.kind, &object),
                Change::None => {}
            };
            if self.client.watch(&list.path, &query, &mut version, left.min(WATCH), &mut each).await? == Ended::TooOld {
                return Ok(());
            }
            // A server that ends each watch at once is not asked without a pause.
            sleep(FIRST_WAIT.saturating_sub(began.elapsed())).await;
        }
    }

    /// Lists the objects, page by page. Returns the version of the list.
    async fn list(&self, list: &List, query: &[(&str, String)]) -> Result<String, String> {
        let mut query = query.to_vec();
        query.push(("limit", PAGE.to_owned()));
        let (mut listed, mut next) = (HashSet::new(), String::new());
        for _ in 0..MAX_PAGES {
            let mut query = query.clone();
            if !next.is_empty() {
                query.push(("continue", next.clone()));
            }
            let page = self.client.get(&list.path, &query).await?;
            let items = page.get("items").and_then(Value::as_array).into_iter().flatten();
            listed.extend(items.filter_map(|object| self.put(list.kind, object)));
            let text = |pointer: &str| page.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
            next = text("/metadata/continue");
            if next.is_empty() {
                self.store.keep_only(list.kind, &listed, Instant::now());
                return Ok(text("/metadata/resourceVersion"));
            }
        }
        Err(format!("more than {MAX_PAGES} pages; use `scope: node` or `namespace`"))
    }

    /// Takes in an object. Returns its key.
    fn put(&self, kind: Kind, object: &Value) -> Option<String> {
        if kind == Kind::Pods {
            let (pod, keys) = Pod::read(object, &self.settings.pods, self.settings.indexers)?;
            let uid = pod.uid.to_string();
            self.store.put_pod(pod, keys);
            return Some(uid);
        }
        let (key, fields) = self.read(kind, object)?;
        self.store.put(kind, key.clone(), Some(fields));
        Some(key)
    }

    fn read(&self, kind: Kind, object: &Value) -> Option<(String, Object)> {
        match kind {
            Kind::Pods => None,
            Kind::Nodes => metadata::node(object, self.settings.nodes.as_ref()?),
            Kind::Namespaces => metadata::namespace(object, self.settings.namespaces.as_ref()?),
            Kind::ReplicaSets | Kind::Jobs => metadata::owned(object),
        }
    }

    fn delete(&self, kind: Kind, object: &Value) {
        if kind == Kind::Pods {
            if let Some(uid) = object.pointer("/metadata/uid").and_then(Value::as_str) {
                self.store.delete_pod(uid, Instant::now());
            }
        } else if let Some((key, _)) = self.read(kind, object) {
            self.store.put(kind, key, None);
        }
    }

    async fn sweep(&self) {
        loop {
            sleep(SWEEP.min(self.settings.cleanup_timeout.max(Duration::from_millis(100)))).await;
            self.store.sweep(Instant::now(), self.settings.cleanup_timeout);
        }
    }
}
