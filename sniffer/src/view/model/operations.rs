//! The operations of one service: its kinds of requests, with ids and literals replaced.

use super::stats::{Counted, Stats};
use crate::{
    publish::observer::{Details, Transaction},
    time::Timestamp,
    view::fold::{self, Dialect},
};
use hashbrown::HashMap;
use smallvec::SmallVec;

/// Maximum number of operations of a service. Further ones are counted together, see [`Operations::rest`].
pub const MOST_OPERATIONS: usize = 200;
/// Maximum number of values that a level of a path may have in a service. With more values the level counts as variable.
pub const MOST_VALUES: usize = 20;
/// Maximum number of levels of a service that count as variable.
const MOST_LEVELS: usize = 64;
/// Maximum number of different results of an operation. Further ones are counted together.
const MOST_RESULTS: usize = 8;
/// A result that is longer, in bytes, is a message. The status is counted in its place.
const LONGEST_RESULT: usize = 16;
/// Maximum length of the name of an operation, in bytes.
const LONGEST_NAME: usize = 160;
/// The name of the results beyond [`MOST_RESULTS`].
const OTHER: &str = "other";

/// A kind of request.
#[derive(Clone, Debug)]
pub struct Operation {
    /// Method and object, such as `GET /orders/{}`.
    pub name: Box<str>,
    /// The offset in `name` of the path; the length of `name` if it has none.
    path_at: usize,
    /// The counts.
    pub stats: Stats,
    /// The results with their numbers, in the order of their first occurrence.
    pub results: Vec<(Box<str>, u64)>,
    /// When the first transaction ended.
    pub first: Timestamp,
}

impl Operation {
    fn add_result(&mut self, result: &str, count: u64) {
        let find = |results: &mut [(Box<str>, u64)], name: &str| results.iter().position(|(known, _)| **known == *name);
        let name = match find(&mut self.results, result) {
            None if self.results.len() >= MOST_RESULTS => OTHER,
            _ => result,
        };
        match find(&mut self.results, name).and_then(|place| self.results.get_mut(place)) {
            Some((_, sum)) => *sum += count,
            None => self.results.push((name.into(), count)),
        }
    }

    fn path(&self) -> &str {
        self.name.get(self.path_at..).unwrap_or_default()
    }
}

/// The operations of a service.
#[derive(Clone, Debug, Default)]
pub struct Operations {
    list: Vec<Operation>,
    index: HashMap<Box<str>, usize>,
    /// The counts of the operations beyond the limits.
    rest: Option<Box<Stats>>,
    /// The levels of paths that count as variable, each as the folded text before it.
    whole: Vec<Box<str>>,
}

impl Operations {
    /// All operations within the limits.
    pub fn list(&self) -> &[Operation] {
        &self.list
    }

    /// The operation with this name.
    pub fn find(&self, name: &str) -> Option<&Operation> {
        self.list.get(*self.index.get(name)?)
    }

    /// The counts of the operations beyond the limits.
    pub fn rest(&self) -> Option<&Stats> {
        self.rest.as_deref()
    }

    /// Appends the name of a transaction's operation. Returns the offset of its path.
    pub fn name(&self, of: &Transaction<'_>, to: &mut String) -> usize {
        write_name(of, &self.whole, to)
    }

    /// Counts a transaction. `name`: a buffer. `may_grow`: whether an operation may be added.
    pub fn add(&mut self, of: &Transaction<'_>, counted: &Counted, name: &mut String, may_grow: bool) {
        name.clear();
        let mut path_at = write_name(of, &self.whole, name);
        let mut place = self.index.get(name.as_str()).copied();
        if place.is_none() && may_grow && self.list.len() < MOST_OPERATIONS {
            if self.fold_levels(name.get(path_at..).unwrap_or_default()) {
                name.clear();
                path_at = write_name(of, &self.whole, name);
            }
            place = Some(self.get_or_insert(name, path_at, counted.time));
        }
        let Some(operation) = place.and_then(|place| self.list.get_mut(place)) else {
            self.rest.get_or_insert_default().add(counted);
            return;
        };
        operation.stats.add(counted);
        let result = if of.result.is_empty() || of.result.len() > LONGEST_RESULT { of.status } else { of.result };
        if !result.is_empty() {
            operation.add_result(result, 1);
        }
    }

    fn get_or_insert(&mut self, name: &str, path_at: usize, first: Timestamp) -> usize {
        if let Some(place) = self.index.get(name) {
            return *place;
        }
        let operation = Operation { name: name.into(), path_at, stats: Stats::default(), results: Vec::new(), first };
        self.index.insert(name.into(), self.list.len());
        self.list.push(operation);
        self.list.len() - 1
    }

    /// Finds the levels that have too many values together with a new path, makes them variable, and joins the operations that then have
    /// the same name. Returns whether there was such a level.
    fn fold_levels(&mut self, path: &str) -> bool {
        let Some(level) = self.full_level(path).filter(|_| self.whole.len() < MOST_LEVELS).map(Box::from) else { return false };
        self.whole.push(level);
        self.index.clear();
        let mut name = String::new();
        for old in std::mem::take(&mut self.list) {
            name.clear();
            name.push_str(old.name.get(..old.path_at).unwrap_or_default());
            let whole = &self.whole;
            fold::path(old.path(), |before| is_whole(whole, before), &mut name);
            let place = self.get_or_insert(&name, old.path_at, old.first);
            if let Some(operation) = self.list.get_mut(place) {
                operation.stats.merge(&old.stats);
                operation.first = operation.first.min(old.first);
                old.results.iter().for_each(|(result, count)| operation.add_result(result, *count));
            }
        }
        true
    }

    /// The text before the first level of `path` that has more than [`MOST_VALUES`] values, those of `path` included.
    fn full_level<'a>(&self, path: &'a str) -> Option<&'a str> {
        let starts = std::iter::once(0).chain(path.match_indices('/').map(|(place, _)| place + 1));
        starts.filter_map(|start| path.split_at_checked(start)).find_map(|(before, rest)| {
            let first_part = |rest: &'a str| rest.split('/').next().unwrap_or_default();
            let new = first_part(rest);
            if new.is_empty() || new.starts_with(fold::VARIABLE) {
                return None;
            }
            let mut values: SmallVec<[&str; MOST_VALUES + 1]> = SmallVec::new();
            values.push(new);
            for operation in &self.list {
                let value = operation.path().strip_prefix(before).and_then(|rest| rest.split('/').next()).unwrap_or_default();
                if !value.is_empty() && !values.contains(&value) {
                    values.push(value);
                    if values.len() > MOST_VALUES {
                        return Some(before);
                    }
                }
            }
            None
        })
    }
}

fn is_whole(whole: &[Box<str>], before: &str) -> bool {
    whole.iter().any(|level| **level == *before)
}

/// Appends the name of a transaction's operation. `whole`: the levels of paths that count as variable. Returns the offset of the path; the
/// length of the name if it has none.
fn write_name(of: &Transaction<'_>, whole: &[Box<str>], to: &mut String) -> usize {
    let start = to.len();
    let mut path_at = None;
    match (of.protocol, of.details) {
        ("mysql", _) if !of.query.is_empty() => fold::sql(of.query, Dialect::Mysql, to),
        ("pgsql" | "cassandra", _) if !of.query.is_empty() => fold::sql(of.query, Dialect::Standard, to),
        (_, Details::Dns { kind, .. }) if !kind.is_empty() => to.push_str(kind),
        (_, Details::Tls { server_name, .. }) if !server_name.is_empty() => to.push_str(server_name),
        ("icmp", _) => to.push_str(of.query),
        // The resources of these protocols, keys and names, differ in almost every request.
        ("dns" | "redis" | "memcache" | "sip" | "dhcpv4" | "tls", _) => to.push_str(of.method),
        _ => {
            to.push_str(of.method);
            if !of.resource.is_empty() {
                if !of.method.is_empty() {
                    to.push(' ');
                }
                path_at = Some(to.len() - start);
                fold::path(of.resource, |before| is_whole(whole, before), to);
            }
        }
    }
    if to.len() == start {
        to.push('-');
    }
    if to.len() - start > LONGEST_NAME {
        let end = (start..=start + LONGEST_NAME).rev().find(|end| to.is_char_boundary(*end)).unwrap_or(start);
        to.truncate(end);
    }
    let length = to.len() - start;
    path_at.map_or(length, |at| at.min(length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::testing::transaction;

    fn counted(operations: &Operations) -> Vec<(String, u64)> {
        let mut all: Vec<_> = operations.list().iter().map(|of| (of.name.to_string(), of.stats.all().count)).collect();
        all.sort();
        all
    }

    fn add(operations: &mut Operations, of: &Transaction<'_>) {
        operations.add(of, &Counted::default(), &mut String::new(), true);
    }

    #[test]
    fn names_of_operations() {
        let dns = Details::Dns { name: "x.org", kind: "AAAA", code: "NOERROR", addresses: "" };
        let tls = Details::Tls { server_name: "x.org", version: "", cipher: "", certificate_end: "" };
        for (of, name) in [
            (transaction(), "GET /orders"),
            (Transaction { resource: "/orders/7", ..transaction() }, "GET /orders/{}"),
            (Transaction { protocol: "mysql", query: "SELECT \"x\"", ..transaction() }, "SELECT ?"),
            (Transaction { protocol: "pgsql", query: "SELECT \"x\", 1", ..transaction() }, "SELECT \"x\", ?"),
            (Transaction { protocol: "pgsql", query: "", method: "", resource: "", ..transaction() }, "-"),
            (Transaction { protocol: "dns", details: dns, ..transaction() }, "AAAA"),
            (Transaction { protocol: "tls", details: tls, ..transaction() }, "x.org"),
            (Transaction { protocol: "redis", method: "SET", ..transaction() }, "SET"),
            (Transaction { protocol: "mongodb", method: "find", resource: "shop.orders", ..transaction() }, "find shop.orders"),
            (Transaction { protocol: "icmp", query: "EchoRequest", ..transaction() }, "EchoRequest"),
        ] {
            let mut out = String::new();
            Operations::default().name(&of, &mut out);
            assert_eq!(out, name, "{of:?}");
        }
    }

    #[test]
    fn a_level_with_more_than_20_values_is_folded_with_those_that_were_counted() {
        let mut operations = Operations::default();
        let words = "a b c d e f g h i j k l m n o p q r s t u v w x y z";
        for (index, word) in words.split(' ').enumerate() {
            let (list, item) = (format!("/users/{word}/list"), format!("/users/{word}"));
            add(&mut operations, &Transaction { resource: &list, ..transaction() });
            add(&mut operations, &Transaction { resource: &item, method: "PUT", result: "404", ..transaction() });
            add(&mut operations, &Transaction { resource: "/health", ..transaction() });
            if index + 1 == MOST_VALUES {
                assert_eq!(operations.list().len(), 2 * MOST_VALUES + 1, "{MOST_VALUES} values stay");
            }
        }
        let expected = [("GET /health", 26), ("GET /users/{}/list", 26), ("PUT /users/{}", 26)];
        assert_eq!(counted(&operations), expected.map(|(name, count)| (name.to_owned(), count)));
        assert_eq!(operations.find("PUT /users/{}").unwrap().results, [("404".into(), 26)]);
        assert!(operations.find("GET /users/a/list").is_none());
        // The level below a folded one is folded for itself.
        for (first, second) in ('a'..='h').flat_map(|first| ('a'..='e').map(move |second| (first, second))) {
            let deep = format!("/users/x/{first}{second}");
            add(&mut operations, &Transaction { resource: &deep, ..transaction() });
        }
        assert!(counted(&operations).contains(&("GET /users/{}/{}".to_owned(), 40 + 26)), "{:?}", counted(&operations));
    }

    #[test]
    fn operations_beyond_the_limit_are_counted_together() {
        let mut operations = Operations::default();
        for index in 0..MOST_OPERATIONS + 50 {
            let query = format!("SELECT {} FROM t", "x".repeat(index % 100 + 1) + &"y".repeat(index / 100));
            add(&mut operations, &Transaction { protocol: "pgsql", query: &query, ..transaction() });
        }
        assert_eq!((operations.list().len(), operations.rest().unwrap().all().count), (MOST_OPERATIONS, 50));
        let mut refused = Operations::default();
        refused.add(&transaction(), &Counted::default(), &mut String::new(), false);
        assert_eq!((refused.list().len(), refused.rest().unwrap().all().count), (0, 1));
    }

    #[test]
    fn results_are_limited() {
        let mut operations = Operations::default();
        for code in 200..220 {
            add(&mut operations, &Transaction { result: &code.to_string(), ..transaction() });
        }
        add(&mut operations, &Transaction { result: "a message that is too long to be a code", status: "Error", ..transaction() });
        let results = &operations.list()[0].results;
        assert_eq!((results.len(), results.last().unwrap()), (MOST_RESULTS + 1, &("other".into(), 13)));
    }
}
