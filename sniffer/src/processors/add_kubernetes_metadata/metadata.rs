//! Makes the fields of documents from objects of the Kubernetes API: pods, nodes, namespaces, replica sets and jobs.

use crate::event::tree::Object;
use serde_json::{Value, json};
use std::sync::Arc;

/// Maximum number of levels that the dots of a label's name become.
const MAX_LEVELS: usize = 32;
/// The kinds of controllers whose name is a field of their pods.
const CONTROLLERS: [&str; 6] = ["Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job", "CronJob"];

/// Which labels and annotations become fields.
#[derive(Clone, Debug)]
pub(super) struct Filter {
    /// The labels; empty: all.
    pub(super) include_labels: Vec<String>,
    /// The labels that do not become fields.
    pub(super) exclude_labels: Vec<String>,
    /// The annotations; empty: none.
    pub(super) include_annotations: Vec<String>,
    /// Whether dots in the names of labels become underscores.
    pub(super) dedot_labels: bool,
    /// Whether dots in the names of annotations become underscores.
    pub(super) dedot_annotations: bool,
}

impl Filter {
    fn labels(&self, object: &Value) -> Object {
        let has = |list: &[String], name: &str| list.iter().any(|entry| entry == name);
        let is_wanted =
            |name: &str| (self.include_labels.is_empty() || has(&self.include_labels, name)) && !has(&self.exclude_labels, name);
        selected(object.pointer("/metadata/labels"), is_wanted, self.dedot_labels)
    }

    fn annotations(&self, object: &Value) -> Object {
        let is_wanted = |name: &str| self.include_annotations.iter().any(|entry| entry == name);
        selected(object.pointer("/metadata/annotations"), is_wanted, self.dedot_annotations)
    }
}

fn selected(map: Option<&Value>, is_wanted: impl Fn(&str) -> bool, dedot: bool) -> Object {
    let mut selected = Object::new();
    for (name, value) in map.and_then(Value::as_object).into_iter().flatten().filter(|(name, _)| is_wanted(name)) {
        if dedot {
            selected.insert(name.replace('.', "_"), value.clone());
        } else {
            nest(&mut selected, name, value.clone(), MAX_LEVELS);
        }
    }
    selected
}

/// Adds a value at a dotted name. Where a name is the beginning of another one (`a` and `a.b`), its value is in `a.value`.
fn nest(into: &mut Object, name: &str, value: Value, levels: usize) {
    match name.split_once('.') {
        Some((first, rest)) if levels > 0 => {
            let inner = into.entry(first).or_insert_with(|| Object::new().into());
            if !inner.is_object() {
                *inner = json!({"value": inner.take()});
            }
            if let Value::Object(inner) = inner {
                nest(inner, rest, value, levels - 1);
            }
        }
        _ => match into.get_mut(name) {
            Some(Value::Object(inner)) => _ = inner.insert("value".to_owned(), value),
            _ => _ = into.insert(name.to_owned(), value),
        },
    }
}

/// The indexers: by what a pod is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Indexers {
    /// `NAMESPACE/NAME`.
    pub(super) pod_name: bool,
    /// The UID.
    pub(super) pod_uid: bool,
    /// The ids of its containers.
    pub(super) container: bool,
    /// Its addresses, and `ADDRESS:PORT` of the ports of its containers.
    pub(super) ip_port: bool,
}

/// A pod.
#[derive(Debug)]
pub(super) struct Pod {
    /// The UID.
    pub(super) uid: Arc<str>,
    /// The name of its namespace.
    pub(super) namespace: String,
    /// The name of its node.
    pub(super) node: Option<String>,
    /// The kind and name of its controller.
    pub(super) controller: Option<(String, String)>,
    /// The fields that all its documents have.
    pub(super) fields: Object,
}

/// A key by which a pod is found, and the fields of the container that the key belongs to.
pub(super) type Key = (String, Option<Arc<Object>>);

fn text<'a>(object: &'a Value, pointer: &str) -> Option<&'a str> {
    object.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty())
}

fn list<'a>(object: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    object.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

/// The kind and name of the object that controls this one, such as the ReplicaSet of a pod. `None` if there is none.
fn controller(object: &Value) -> Option<(String, String)> {
    let owner = list(object, "/metadata/ownerReferences").find(|owner| owner.get("controller") == Some(&Value::Bool(true)))?;
    let kind = text(owner, "/kind").filter(|kind| CONTROLLERS.contains(kind))?;
    Some((kind.to_owned(), text(owner, "/name")?.to_owned()))
}

impl Pod {
    /// Reads a pod, and the keys by which it is found. `None` if the object is no pod.
    pub(super) fn read(object: &Value, filter: &Filter, indexers: Indexers) -> Option<(Self, Vec<Key>)> {
        let (name, namespace, uid) =
            (text(object, "/metadata/name")?, text(object, "/metadata/namespace")?, text(object, "/metadata/uid")?);
        let mut pod = json!({"name": name, "uid": uid});
        if let Some(ip) = text(object, "/status/podIP") {
            pod["ip"] = ip.into();
        }
        let mut fields = json!({"pod": pod, "namespace": namespace});
        let (labels, annotations) = (filter.labels(object), filter.annotations(object));
        if !labels.is_empty() {
            fields["labels"] = labels.into();
        }
        if !annotations.is_empty() {
            fields["annotations"] = annotations.into();
        }
        let node = text(object, "/spec/nodeName");
        if let Some(node) = node {
            fields["node"] = json!({"name": node});
        }
        let controller = controller(object);
        if let Some((kind, name)) = &controller {
            fields[kind.to_lowercase()] = json!({"name": name});
        }
        let keys = keys(object, indexers, (name, namespace, uid));
        let pod = Self {
            uid: uid.into(),
            namespace: namespace.to_owned(),
            node: node.map(str::to_owned),
            controller,
            fields: Object::from_iter([("kubernetes".to_owned(), fields)]),
        };
        Some((pod, keys))
    }
}

fn keys(object: &Value, indexers: Indexers, (name, namespace, uid): (&str, &str, &str)) -> Vec<Key> {
    let mut keys: Vec<Key> = Vec::new();
    if indexers.pod_name {
        keys.push((format!("{namespace}/{name}"), None));
    }
    if indexers.pod_uid {
        keys.push((uid.to_owned(), None));
    }
    // The addresses of a pod that has ended may belong to another pod.
    let has_ended = matches!(text(object, "/status/phase"), Some("Succeeded" | "Failed"));
    let mut addresses: Vec<&str> = Vec::new();
    if indexers.ip_port && !has_ended {
        addresses.extend(text(object, "/status/podIP"));
        addresses.extend(list(object, "/status/podIPs").filter_map(|ip| text(ip, "/ip")));
        addresses.sort_unstable();
        addresses.dedup();
    }
    // The pods in the network of their node have the same address, which therefore identifies none of them.
    if object.pointer("/spec/hostNetwork") != Some(&Value::Bool(true)) {
        keys.extend(addresses.iter().map(|address| ((*address).to_owned(), None)));
    }
    for (containers, statuses) in [
        ("/spec/containers", "/status/containerStatuses"),
        ("/spec/initContainers", "/status/initContainerStatuses"),
        ("/spec/ephemeralContainers", "/status/ephemeralContainerStatuses"),
    ] {
        for container in list(object, containers) {
            let Some(name) = text(container, "/name") else { continue };
            let status = list(object, statuses).find(|status| text(status, "/name") == Some(name));
            let id = status.and_then(|status| text(status, "/containerID")?.split_once("://"));
            let mut own = json!({});
            if let Some((runtime, id)) = id {
                own["id"] = id.into();
                own["runtime"] = runtime.into();
            }
            if let Some(image) = text(container, "/image") {
                own["image"] = json!({"name": image});
            }
            let fields = json!({"kubernetes": {"container": {"name": name}}, "container": own});
            let fields = fields.as_object().cloned().map(Arc::new);
            if indexers.container
                && let Some((_, id)) = id
            {
                keys.push((id.to_owned(), fields.clone()));
            }
            for port in list(container, "/ports").filter_map(|port| port.get("containerPort")?.as_u64()).filter(|port| *port != 0) {
                keys.extend(addresses.iter().map(|address| (format!("{address}:{port}"), fields.clone())));
            }
        }
    }
    keys
}

/// The name of a node and the fields of documents about its pods.
pub(super) fn node(object: &Value, filter: &Filter) -> Option<(String, Object)> {
    let name = text(object, "/metadata/name")?;
    let mut node = json!({"name": name});
    if let Some(uid) = text(object, "/metadata/uid") {
        node["uid"] = uid.into();
    }
    if let Some(host) = list(object, "/status/addresses").find(|address| text(address, "/type") == Some("Hostname")) {
        node["hostname"] = text(host, "/address").unwrap_or_default().into();
    }
    let (labels, annotations) = (filter.labels(object), filter.annotations(object));
    if !labels.is_empty() {
        node["labels"] = labels.into();
    }
    if !annotations.is_empty() {
        node["annotations"] = annotations.into();
    }
    Some((name.to_owned(), Object::from_iter([("kubernetes".to_owned(), json!({"node": node}))])))
}

/// The name of a namespace and the fields of documents about its pods.
pub(super) fn namespace(object: &Value, filter: &Filter) -> Option<(String, Object)> {
    let name = text(object, "/metadata/name")?;
    let mut fields = Object::new();
    if let Some(uid) = text(object, "/metadata/uid") {
        fields.insert("namespace_uid".to_owned(), uid.into());
    }
    for (key, values) in [("namespace_labels", filter.labels(object)), ("namespace_annotations", filter.annotations(object))] {
        if !values.is_empty() {
            fields.insert(key.to_owned(), values.into());
        }
    }
    Some((name.to_owned(), Object::from_iter([("kubernetes".to_owned(), fields.into())])))
}

/// `NAMESPACE/NAME` of a replica set or job, and the fields of its pods that name its own controller (a deployment, a cron job).
pub(super) fn owned(object: &Value) -> Option<(String, Object)> {
    let key = format!("{}/{}", text(object, "/metadata/namespace")?, text(object, "/metadata/name")?);
    let (kind, name) = controller(object)?;
    let kind = Object::from_iter([(kind.to_lowercase(), json!({"name": name}))]);
    Some((key, Object::from_iter([("kubernetes".to_owned(), kind.into())])))
}
