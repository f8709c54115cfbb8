//! RED metrics: rate, errors and durations of transactions by protocol, server and operation. [`Red`] has the series of all workers. Each
//! worker counts through its own [`Recorder`], which is an observer of its sink.
//!
//! A recorder finds its series in a table of its own and adds to atomic numbers. It looks into the table that the workers share only for a
//! new series, and for transactions beyond the maximum number of series.

use crate::{
    net::FlowRecord,
    process::Ends,
    publish::observer::{Observer, Transaction},
};
use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// Upper bounds of the buckets of durations, in nanoseconds. One more bucket without a bound follows.
pub const BOUNDS: [u64; 12] = [
    1_000_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
];
/// Maximum number of parts of a path that an operation contains. Further parts are left out.
const MOST_PARTS: usize = 6;
/// Maximum length of a fixed part of a path, in bytes. A longer part counts as variable.
const LONGEST_PART: usize = 32;
/// Maximum length of an operation in bytes.
const LONGEST: usize = 120;
/// The text that replaces a variable part of an operation.
const VARIABLE: &str = "*";
/// The value of server and operation for transactions beyond the maximum number of series.
const OTHER: &str = "other";

/// The series of all workers. Clones share the series.
#[derive(Clone, Debug)]
pub struct Red {
    shared: Arc<RwLock<HashMap<Key, Arc<Series>>>>,
    most: usize,
}

/// What identifies a series.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// The name of the protocol.
    pub protocol: Box<str>,
    /// Address and port of the server; the port is missing for transports without ports.
    pub server: Box<str>,
    /// Method and object of the request. Variable parts are replaced by `*`.
    pub operation: Box<str>,
}

/// The counts of a series, which workers change.
#[derive(Debug, Default)]
pub(super) struct Series {
    count: AtomicU64,
    errors: AtomicU64,
    nanos: AtomicU64,
    buckets: [AtomicU64; BOUNDS.len() + 1],
}

/// The counts of a series at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// Transactions.
    pub count: u64,
    /// Transactions whose status is not `OK`.
    pub errors: u64,
    /// Sum of the durations in nanoseconds.
    pub nanos: u64,
    /// Number of transactions in each bucket of durations. There is one bucket more than [`BOUNDS`]. Transactions without a response are in
    /// no bucket.
    pub buckets: [u64; BOUNDS.len() + 1],
}

impl Series {
    fn numbers(&self) -> Numbers {
        let get = |number: &AtomicU64| number.load(Relaxed);
        Numbers { count: get(&self.count), errors: get(&self.errors), nanos: get(&self.nanos), buckets: self.buckets.each_ref().map(get) }
    }
}

impl Red {
    /// Makes the series of a run: at most `most` series, and one more for each protocol, which has the transactions beyond them.
    pub fn new(most: usize) -> Self {
        Self { shared: Arc::default(), most }
    }

    /// Makes the observer of one worker.
    pub fn recorder(&self) -> Box<dyn Observer> {
        Box::new(Recorder { red: self.clone(), known: HashMap::new(), name: String::new() })
    }

    /// All series, sorted.
    pub fn series(&self) -> Vec<(Key, Numbers)> {
        let shared = self.shared.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = shared.iter().map(|(key, series)| (key.clone(), series.clone())).collect();
        drop(shared);
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all.into_iter().map(|(key, series)| (key, series.numbers())).collect()
    }

    /// Returns the series of a key. If there are too many series, this is the one for the other transactions of the protocol.
    fn get(&self, key: Key) -> (Arc<Series>, bool) {
        let other = Key { protocol: key.protocol.clone(), server: OTHER.into(), operation: OTHER.into() };
        let shared = self.shared.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(series) = shared.get(&key) {
            return (series.clone(), true);
        }
        if shared.len() >= self.most
            && let Some(series) = shared.get(&other)
        {
            return (series.clone(), false);
        }
        drop(shared);
        let mut shared = self.shared.write().unwrap_or_else(PoisonError::into_inner);
        let is_own = shared.len() < self.most || shared.contains_key(&key);
        (shared.entry(if is_own { key } else { other }).or_default().clone(), is_own)
    }
}

/// Counts the transactions of one worker.
struct Recorder {
    red: Red,
    /// The series that this worker has used, by server, then by protocol and operation. The table has only series that are also in the
    /// shared table.
    known: HashMap<Option<SocketAddr>, HashMap<Box<str>, Arc<Series>>>,
    /// Buffer in which the key (protocol and operation) is built, so that it is not allocated for each transaction.
    name: String,
}

impl Observer for Recorder {
    fn transaction(&mut self, of: &Transaction<'_>) {
        self.name.clear();
        self.name.push_str(of.protocol);
        self.name.push('\n');
        operation(of, &mut self.name);
        let known = self.known.get(&of.destination).and_then(|series| series.get(self.name.as_str())).cloned();
        let series = known.unwrap_or_else(|| self.find(of));
        series.count.fetch_add(1, Relaxed);
        if of.status != "OK" {
            series.errors.fetch_add(1, Relaxed);
        }
        if let Some(duration) = of.duration {
            let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
            series.nanos.fetch_add(nanos, Relaxed);
            let place = BOUNDS.iter().take_while(|bound| nanos > **bound).count();
            if let Some(bucket) = series.buckets.get(place) {
                bucket.fetch_add(1, Relaxed);
            }
        }
    }

    fn flow(&mut self, _of: &FlowRecord, _: &Ends) {
        // Flows are not counted here, because they have no operation and no duration of a response. They have counters of their own
        // (`flows.*`).
    }
}

impl Recorder {
    #[cold]
    fn find(&mut self, of: &Transaction<'_>) -> Arc<Series> {
        let (protocol, operation) = self.name.split_once('\n').unwrap_or_default();
        let server = match of.destination {
            Some(address) if address.port() == 0 => address.ip().to_string(),
            Some(address) => address.to_string(),
            None => String::new(),
        };
        let shared = Key { protocol: protocol.into(), server: server.into(), operation: operation.into() };
        let (series, is_own) = self.red.get(shared);
        if is_own {
            self.known.entry(of.destination).or_default().insert(self.name.as_str().into(), series.clone());
        }
        series
    }
}

/// Appends the operation of a transaction: its method, and the object of the request if the protocol's requests name one of few objects.
fn operation(of: &Transaction<'_>, to: &mut String) {
    let from = to.len();
    to.push_str(of.method);
    // Names of hosts, keys and subjects differ in almost every request, so they are not part of the operation.
    if !matches!(of.protocol, "dns" | "redis" | "memcache" | "icmp" | "tls" | "sip" | "dhcpv4") && !of.resource.is_empty() {
        to.push(' ');
        let path = of.resource.split(['?', '#', ';']).next().unwrap_or_default();
        for (place, part) in path.split('/').take(MOST_PARTS + 1).enumerate() {
            if place > 0 {
                to.push('/');
            }
            to.push_str(if is_variable(part) { VARIABLE } else { part });
        }
    }
    if to.len() - from > LONGEST {
        let end = (from..=from + LONGEST).rev().find(|end| to.is_char_boundary(*end)).unwrap_or(from);
        to.truncate(end);
    }
}

/// Whether a part of a path is probably different in each request. Such a part is long, consists mostly of digits, or is a hexadecimal
/// number.
fn is_variable(part: &str) -> bool {
    let digits = part.bytes().filter(u8::is_ascii_digit).count();
    part.len() > LONGEST_PART || part.contains('%') || digits > 0 && (digits * 2 > part.len() || is_hexadecimal(part))
}

fn is_hexadecimal(part: &str) -> bool {
    const SHORTEST: usize = 6;
    part.len() >= SHORTEST && part.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        net::{Direction, Realm, Transport},
        publish::observer::Details,
        time::Timestamp,
    };
    use std::time::Duration;

    fn transaction<'a>(
        protocol: &'a str,
        port: u16,
        method: &'a str,
        resource: &'a str,
        status: &'a str,
        millis: Option<u64>,
    ) -> Transaction<'a> {
        Transaction {
            protocol,
            realm: Realm::default(),
            transport: Transport::Tcp,
            from: Direction::ToServer,
            source: None,
            destination: Some(SocketAddr::from(([192, 0, 2, 1], port))),
            time: Timestamp::default(),
            start: None,
            end: None,
            duration: millis.map(Duration::from_millis),
            source_bytes: 0,
            destination_bytes: 0,
            method,
            resource,
            query: "",
            result: "",
            status,
            details: Details::None,
            notes: &[],
            processes: &Ends::NONE,
        }
    }

    #[test]
    fn operations_have_no_variable_parts() {
        for (protocol, method, resource, expected) in [
            ("http", "GET", "/users/12345/orders/7", "GET /users/*/orders/*"),
            ("http", "GET", "/v1/items/3f2504e0-4f89-11d3-9a0c-0305e82c3301?x=1", "GET /v1/items/*"),
            ("http", "GET", "/v2/face/cafe", "GET /v2/face/cafe"),
            ("http", "GET", "/static/app.js;jsessionid=9", "GET /static/app.js"),
            ("http", "GET", "/a/b/c/d/e/f/g/h", "GET /a/b/c/d/e/f"),
            ("http", "POST", "/t/abcdefghijklmnopqrstuvwxyzabcdefghijk", "POST /t/*"),
            ("http", "GET", "/s/%E4%BD%A0", "GET /s/*"),
            ("http", "GET", "/", "GET /"),
            ("mysql", "SELECT", "shop.orders", "SELECT shop.orders"),
            ("redis", "GET", "user:17", "GET"),
            ("dns", "QUERY", "example.org", "QUERY"),
        ] {
            let mut text = String::from("x");
            operation(&transaction(protocol, 1, method, resource, "OK", None), &mut text);
            assert_eq!(text[1..], *expected, "{protocol} {method} {resource}");
        }
        let mut text = String::new();
        operation(&transaction("http", 1, "GET", &"/ééééééééééééééé".repeat(9), "OK", None), &mut text);
        assert!((LONGEST - 3..=LONGEST).contains(&text.len()), "{text}");
    }

    #[test]
    fn transactions_of_all_workers_are_counted_and_series_are_bounded() {
        let red = Red::new(2);
        let mut workers = [red.recorder(), red.recorder()];
        for (worker, (port, path, status, millis)) in [
            (80, "/a", "OK", Some(1)),
            (80, "/a", "Error", Some(30)),
            (80, "/a", "OK", Some(60_000)),
            (80, "/b", "OK", None),
            (81, "/a", "OK", Some(2)),
            (82, "/a", "Error", Some(2)),
            (80, "/a", "OK", Some(3)),
        ]
        .into_iter()
        .enumerate()
        {
            workers[worker % 2].transaction(&transaction("http", port, "GET", path, status, millis));
        }
        let all: Vec<_> = red.series().into_iter().map(|(key, n)| (format!("{} {}", key.server, key.operation), n)).collect();
        let names: Vec<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["192.0.2.1:80 GET /a", "192.0.2.1:80 GET /b", "other other"]);
        let [(_, a), (_, b), (_, other)] = all.as_slice() else { panic!("{all:?}") };
        assert_eq!((a.count, a.errors, a.nanos), (4, 1, 60_034_000_000));
        assert_eq!(a.buckets, [1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1], "a bound belongs to its bucket");
        assert_eq!((b.count, b.errors, b.buckets.iter().sum::<u64>()), (1, 0, 0));
        assert_eq!((other.count, other.errors), (2, 1));
    }
}
