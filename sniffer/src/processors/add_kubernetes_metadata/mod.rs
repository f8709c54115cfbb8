//! `add_kubernetes_metadata`: adds data about the Kubernetes pod that an event belongs to, from the API server of the cluster.
//!
//! A thread follows the pods ([`follow`]); an event is only looked up in what is known ([`store`]).

mod access;
mod client;
mod follow;
mod matchers;
mod metadata;
mod store;
#[cfg(test)]
mod tests;

use super::{AtStart, Decision, Factory, Facts, ProcessorKind, Shared, kit::Span, options::options, shared};
use crate::{
    config::Error,
    enrich::HostData,
    event::{constants::Constants, tree::Tree},
    opening::Opening,
};
use access::Way;
use follow::{Following, Settings};
use matchers::{Entries, Matcher};
use metadata::{Filter, Indexers};
use serde::{Deserialize, Deserializer, de};
use std::{sync::Arc, time::Duration};

pub(super) const KIND: ProcessorKind = ProcessorKind {
    name: "add_kubernetes_metadata",
    about: "Adds data about the Kubernetes pod that an event belongs to: its name, labels, controller, node and namespace in `kubernetes`, and \
            its container in `container`. Indexers say by which keys pods are found, matchers make such a key from an event; the first matcher \
            whose key is that of a pod is used. A thread follows the pods, and events never wait for the API server: until the pods are known, \
            they go on without the data. Only while a capture file is read, the first event waits up to 5 s for the pods. The account needs a \
            role that may get, list and watch pods, nodes and namespaces, and replicasets and jobs for `add_resource_metadata`. Outside of \
            Kubernetes nothing is added.",
    example: "scope: node\nindexers:\n- ip_port:\nmatchers:\n- field_format:\n    format: '%{[destination.ip]}:%{[destination.port]}'",
    options: &[
        ("", AddKubernetesMetadata::OPTIONS),
        ("labels.", Dedot::OPTIONS),
        ("default_indexers.", Defaults::OPTIONS),
        ("add_resource_metadata.", ResourceMetadata::OPTIONS),
        ("add_resource_metadata.node.", Resource::OPTIONS),
    ],
    open,
};

options! {
    #[derive(Debug)]
    struct AddKubernetesMetadata {
        /// The name of the node that this program runs on. Without it, it is the variable `NODE_NAME`, the node of the pod that this program
        /// runs in, or the node with the machine id of this host.
        node: String = String::new(),
        /// The same as `node`.
        host: String = String::new(),
        /// `node`: the pods of this node. `cluster`: all pods.
        scope: Scope = Scope::Node,
        /// Only pods of this namespace.
        namespace: String = String::new(),
        /// A kubeconfig file. Without it, it is the variable `KUBECONFIG`, or the service account of the pod.
        kube_config: String = String::new(),
        /// Accepted without effect: the program makes few requests.
        kube_client_options: Entries = Entries,
        /// Accepted without effect: without `kube_config`, the service account of the pod is used.
        in_cluster: bool = true,
        /// The time after which all pods are listed again. 0: only when the API server asks for it.
        sync_period: Span = Span(Duration::from_secs(600)),
        /// The time for which a pod that was deleted is still found.
        cleanup_timeout: Span = Span(Duration::from_secs(60)),
        /// Whether the name of the cluster is read from the ConfigMap `kubeadm-config`, if there is no kubeconfig.
        use_kubeadm: bool = true,
        /// Indexers besides the default one, `ip_port`: `container` (the ids of its containers), `ip_port` (its addresses, and
        /// `ADDRESS:PORT` of the ports of its containers), `pod_name` (`NAMESPACE/NAME`), `pod_uid`.
        indexers: Entries = Entries,
        /// Matchers, which are tried before the default ones: `field_format` with a `format`, `fields` with `lookup_fields` (the first field
        /// that the event has is used) and `regex_pattern` (the group `key` is used).
        matchers: Entries = Entries,
        /// Whether the default indexer is used.
        default_indexers: Defaults = Defaults { enabled: true },
        /// Whether the default matchers are used: `server.ip:server.port`, `destination.ip:destination.port`, and the fields `server.ip`,
        /// `destination.ip`, `client.ip` and `source.ip`.
        default_matchers: Defaults = Defaults { enabled: true },
        /// The labels of pods that are added. Without it, all of them.
        include_labels: Vec<String> = Vec::new(),
        /// The labels of pods that are not added.
        exclude_labels: Vec<String> = Vec::new(),
        /// The annotations of pods that are added.
        include_annotations: Vec<String> = Vec::new(),
        /// How labels are written.
        labels: Dedot = Dedot { dedot: true },
        /// How annotations are written, as `labels`.
        annotations: Dedot = Dedot { dedot: true },
        /// The data that are added besides those of the pod.
        add_resource_metadata: ResourceMetadata = ResourceMetadata { node: Resource::default(), namespace: Resource::default(), deployment: false, cronjob: false },
    }
}

options! {
    #[derive(Debug)]
    struct Dedot {
        /// Replaces dots in names by underscores. Without it, each dot begins an object.
        dedot: bool = true,
    }
}

options! {
    #[derive(Debug)]
    struct Defaults {
        /// Whether the defaults are used.
        enabled: bool = true,
    }
}

options! {
    #[derive(Debug)]
    struct ResourceMetadata {
        /// Data of the pod's node.
        node: Resource = Resource::default(),
        /// Data of the pod's namespace. The options are those of `node`.
        namespace: Resource = Resource::default(),
        /// The name of the deployment that the pod belongs to.
        deployment: bool = false,
        /// The name of the cron job that the pod belongs to.
        cronjob: bool = false,
    }
}

options! {
    #[derive(Debug)]
    struct Resource {
        /// Whether the data are added.
        enabled: bool = true,
        /// The labels that are added. Without it, all of them.
        include_labels: Vec<String> = Vec::new(),
        /// The labels that are not added.
        exclude_labels: Vec<String> = Vec::new(),
        /// The annotations that are added.
        include_annotations: Vec<String> = Vec::new(),
        /// How labels are written.
        labels: Dedot = Dedot { dedot: true },
        /// How annotations are written.
        annotations: Dedot = Dedot { dedot: true },
    }
}

impl Default for Resource {
    fn default() -> Self {
        let dedot = || Dedot { dedot: true };
        let (include_labels, exclude_labels, include_annotations) = Default::default();
        Self { enabled: true, include_labels, exclude_labels, include_annotations, labels: dedot(), annotations: dedot() }
    }
}

impl Resource {
    fn filter(self) -> Option<Filter> {
        self.enabled.then_some(Filter {
            include_labels: self.include_labels,
            exclude_labels: self.exclude_labels,
            include_annotations: self.include_annotations,
            dedot_labels: self.labels.dedot,
            dedot_annotations: self.annotations.dedot,
        })
    }
}

/// Which pods are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    Node,
    Cluster,
}

impl<'de> Deserialize<'de> for Scope {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "node" => Ok(Self::Node),
            "cluster" => Ok(Self::Cluster),
            other => Err(de::Error::custom(format_args!("expected node or cluster, got `{other}`"))),
        }
    }
}

/// The longest time that an event of a capture file waits for the pods.
const WAIT: Duration = Duration::from_secs(5);

#[derive(Debug)]
struct Kubernetes {
    matchers: Vec<Matcher>,
    /// `None` outside of Kubernetes.
    following: Option<Arc<Following>>,
    live: bool,
}

fn open(opening: &Opening<'_>) -> Result<Box<dyn Factory>, Error> {
    let options = AddKubernetesMetadata::read(opening.node)?;
    // These options have no effect.
    let _ = (&options.kube_client_options, options.in_cluster, &options.indexers, &options.matchers);
    let mut indexers = Indexers { ip_port: options.default_indexers.enabled, ..Indexers::default() };
    matchers::indexers(&opening.node.get("indexers"), &mut indexers)?;
    let mut matchers = matchers::read(&opening.node.get("matchers"))?;
    if options.default_matchers.enabled {
        matchers.extend(matchers::defaults());
    }
    let way = Way::find(&options.kube_config, |name| std::env::var(name).ok().filter(|value| !value.is_empty()));
    if way.is_none() {
        log::info!("{}", opening.node.error("this is no pod and no kubeconfig is set: no metadata of pods is added"));
    }
    let following = way.map(|way| {
        // An error is reported when the server is asked.
        let access = way.access().ok();
        let urls = access.iter().flat_map(|access| [Some(&access.server), access.proxy.as_ref()]).flatten();
        urls.filter_map(reqwest::Url::port_or_known_default).for_each(|port| opening.expect(port));
        let settings = options.settings(way, indexers);
        let name = format!("add_kubernetes_metadata {settings:?}");
        match opening.shared {
            Some(shared) => shared.get(&name, || Following::start(settings, opening.connections.cloned())),
            None => Arc::new(Following::start(settings, opening.connections.cloned())),
        }
    });
    Ok(shared(Kubernetes { matchers, following, live: opening.live }))
}

impl AddKubernetesMetadata {
    fn settings(self, way: Way, indexers: Indexers) -> Settings {
        let ResourceMetadata { node, namespace, deployment, cronjob } = self.add_resource_metadata;
        Settings {
            way,
            node_only: self.scope == Scope::Node,
            node: if self.node.is_empty() { self.host } else { self.node },
            namespace: self.namespace,
            pods: Filter {
                include_labels: self.include_labels,
                exclude_labels: self.exclude_labels,
                include_annotations: self.include_annotations,
                dedot_labels: self.labels.dedot,
                dedot_annotations: self.annotations.dedot,
            },
            nodes: node.filter(),
            namespaces: namespace.filter(),
            deployments: deployment,
            cron_jobs: cronjob,
            use_kubeadm: self.use_kubeadm,
            indexers,
            sync_period: self.sync_period.0,
            cleanup_timeout: self.cleanup_timeout.0,
        }
    }
}

impl Shared for Kubernetes {
    fn apply_at_start(&self, _: &mut Constants, _: &Facts, _: &HostData) -> AtStart {
        if self.following.is_none() || self.matchers.is_empty() { AtStart::Done } else { AtStart::PerEvent }
    }

    fn run(&self, event: &mut Tree, _: &HostData) -> Decision {
        let Some(following) = &self.following else { return Decision::Keep };
        if event.has("kubernetes") {
            return Decision::Keep;
        }
        if !self.live {
            following.store.wait(WAIT);
        }
        if let Some(found) = self.matchers.iter().find_map(|matcher| following.store.find(&matcher.key(event)?)) {
            event.merge(&found.pod.fields);
            found.others.iter().flatten().for_each(|fields| event.merge(fields));
        }
        Decision::Keep
    }
}
