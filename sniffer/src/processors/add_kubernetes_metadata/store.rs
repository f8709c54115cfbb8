//! What is known of a cluster: its pods with the keys by which they are found, and the fields of nodes, namespaces and controllers.

use super::metadata::{Key, Pod};
use crate::event::tree::Object;
use hashbrown::{HashMap, HashSet};
use std::{
    sync::{Arc, Condvar, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, atomic::AtomicBool, atomic::Ordering},
    time::{Duration, Instant},
};

/// Maximum number of pods, and of the other objects of each kind.
const MAX_OBJECTS: usize = 100_000;
/// Maximum number of keys of a pod.
const MAX_KEYS: usize = 1000;

/// The kinds of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// Pods.
    Pods,
    /// Nodes, by name.
    Nodes,
    /// Namespaces, by name.
    Namespaces,
    /// Replica sets, by `NAMESPACE/NAME`.
    ReplicaSets,
    /// Jobs, by `NAMESPACE/NAME`.
    Jobs,
}

/// What is known of a cluster.
#[derive(Debug, Default)]
pub(super) struct Store {
    state: RwLock<State>,
    /// Whether all kinds were listed once.
    listed: Mutex<bool>,
    has_listed: Condvar,
    has_warned: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    pods: HashMap<Arc<str>, Entry>,
    index: HashMap<String, (Arc<Pod>, Option<Arc<Object>>)>,
    others: HashMap<Kind, HashMap<String, Arc<Object>>>,
    cluster: Option<Arc<Object>>,
}

#[derive(Debug)]
struct Entry {
    keys: Vec<String>,
    /// When the pod was deleted.
    deleted: Option<Instant>,
}

/// The fields for an event, in the order in which they are added.
pub(super) struct Found {
    pub(super) pod: Arc<Pod>,
    pub(super) others: [Option<Arc<Object>>; 5],
}

impl State {
    fn other(&self, kind: Kind, key: &str) -> Option<Arc<Object>> {
        self.others.get(&kind)?.get(key).cloned()
    }

    fn forget(&mut self, uid: &str) {
        for key in self.pods.remove(uid).map(|entry| entry.keys).unwrap_or_default() {
            if self.index.get(&key).is_some_and(|(pod, _)| &*pod.uid == uid) {
                self.index.remove(&key);
            }
        }
    }
}

impl Store {
    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn warn(&self) {
        if !self.has_warned.swap(true, Ordering::Relaxed) {
            log::warn!(
                "add_kubernetes_metadata: the cluster has more than {MAX_OBJECTS} objects of a kind, or a pod more than {MAX_KEYS} keys; \
                 the others are left out. Use `scope: node` or `namespace`"
            );
        }
    }

    /// The fields of the pod that has this key.
    pub(super) fn find(&self, key: &str) -> Option<Found> {
        let state = self.read();
        let (pod, container) = state.index.get(key)?;
        let node = pod.node.as_deref().and_then(|node| state.other(Kind::Nodes, node));
        let namespace = state.other(Kind::Namespaces, &pod.namespace);
        let owner = pod.controller.as_ref().and_then(|(kind, name)| {
            let kind = match kind.as_str() {
                "ReplicaSet" => Kind::ReplicaSets,
                "Job" => Kind::Jobs,
                _ => return None,
            };
            state.other(kind, &format!("{}/{name}", pod.namespace))
        });
        Some(Found { pod: pod.clone(), others: [node, namespace, owner, container.clone(), state.cluster.clone()] })
    }

    /// Adds a pod, or replaces what was known of it.
    pub(super) fn put_pod(&self, pod: Pod, mut keys: Vec<Key>) {
        if keys.len() > MAX_KEYS {
            self.warn();
            keys.truncate(MAX_KEYS);
        }
        let mut state = self.write();
        state.forget(&pod.uid);
        if state.pods.len() >= MAX_OBJECTS {
            return self.warn();
        }
        let pod = Arc::new(pod);
        let mut names = Vec::with_capacity(keys.len());
        for (key, container) in keys {
            // Containers may have the same port with different protocols; the first one has the key.
            if !names.contains(&key) {
                state.index.insert(key.clone(), (pod.clone(), container));
                names.push(key);
            }
        }
        state.pods.insert(pod.uid.clone(), Entry { keys: names, deleted: None });
    }

    /// A pod was deleted. Events that are late still find it until [`Store::sweep`] removes it.
    pub(super) fn delete_pod(&self, uid: &str, now: Instant) {
        if let Some(entry) = self.write().pods.get_mut(uid) {
            entry.deleted.get_or_insert(now);
        }
    }

    /// Removes the pods that were deleted at least `after` ago.
    pub(super) fn sweep(&self, now: Instant, after: Duration) {
        let mut state = self.write();
        let is_over = |entry: &Entry| entry.deleted.is_some_and(|deleted| now.saturating_duration_since(deleted) >= after);
        let over: Vec<_> = state.pods.iter().filter(|(_, entry)| is_over(entry)).map(|(uid, _)| uid.clone()).collect();
        over.iter().for_each(|uid| state.forget(uid));
    }

    /// Adds an object that is no pod, or removes it (`None`).
    pub(super) fn put(&self, kind: Kind, key: String, fields: Option<Object>) {
        let mut state = self.write();
        let objects = state.others.entry(kind).or_default();
        match fields {
            Some(fields) if objects.len() < MAX_OBJECTS || objects.contains_key(&key) => _ = objects.insert(key, Arc::new(fields)),
            Some(_) => self.warn(),
            None => _ = objects.remove(&key),
        }
    }

    /// After a listing: everything of this kind that was not in it does not exist any more.
    pub(super) fn keep_only(&self, kind: Kind, listed: &HashSet<String>, now: Instant) {
        let mut state = self.write();
        if kind == Kind::Pods {
            for (_, entry) in state.pods.iter_mut().filter(|(uid, _)| !listed.contains(&***uid)) {
                entry.deleted.get_or_insert(now);
            }
        } else if let Some(objects) = state.others.get_mut(&kind) {
            objects.retain(|key, _| listed.contains(key));
        }
    }

    /// Sets the fields about the cluster.
    pub(super) fn set_cluster(&self, fields: Object) {
        self.write().cluster = Some(Arc::new(fields));
    }

    /// Everything was listed, or cannot be listed.
    pub(super) fn set_listed(&self) {
        *self.listed.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.has_listed.notify_all();
    }

    /// Waits until everything was listed. After `most` neither this call nor a later one waits.
    pub(super) fn wait(&self, most: Duration) {
        let listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.has_listed.wait_timeout_while(listed, most, |listed| !*listed);
        *waited.unwrap_or_else(PoisonError::into_inner).0 = true;
    }
}
