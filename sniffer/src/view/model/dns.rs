//! Names that were asked for by DNS, with the failures and who asked. Names below a domain that has very many of them share one row.

use super::{
    record,
    stats::{Counted, Numbers},
};
use crate::{process::Process, publish::observer::Transaction};
use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashSet};
use std::{hash::BuildHasher, net::IpAddr, sync::Arc};

/// Maximum number of rows. Further names are counted together, see [`Dns::rest`].
pub const MOST_ROWS: usize = 2000;
/// Names below a registered domain share one row when the domain has more names than this.
pub const MOST_NAMES: usize = 50;
/// Maximum number of registered domains whose names are counted.
const MOST_DOMAINS: usize = 1000;
/// Maximum number of names of a domain that are counted exactly.
const MOST_COUNTED: usize = 2000;
/// Maximum number of different response codes of a row. Further ones are not listed.
const MOST_CODES: usize = 8;

/// A name and a type of records.
#[derive(Clone, Debug, Default)]
pub struct DnsRow {
    /// The name, or `*.` and the domain.
    pub name: Box<str>,
    /// The type of the wanted records.
    pub kind: Box<str>,
    /// The counts.
    pub numbers: Numbers,
    /// The response codes with their numbers. A query without a response has none.
    pub codes: Vec<(Box<str>, u64)>,
    /// The last client: its address, and its process if it is known.
    pub client: (Option<IpAddr>, Option<Arc<Process>>),
}

/// The names of one registered domain.
#[derive(Clone, Debug, Default)]
struct Domain {
    /// Hashes of the names.
    names: HashSet<u64>,
    /// Sum of the lengths of these names.
    characters: u64,
}

/// The names.
#[derive(Clone, Debug, Default)]
pub struct Dns {
    rows: Vec<DnsRow>,
    index: HashMap<Box<str>, usize>,
    domains: HashMap<String, Domain>,
    rest: Option<Box<Numbers>>,
}

impl Dns {
    /// All rows within the limit.
    pub fn rows(&self) -> &[DnsRow] {
        &self.rows
    }

    /// The counts of the names beyond the limit.
    pub fn rest(&self) -> Option<&Numbers> {
        self.rest.as_deref()
    }

    /// The domains with more than [`MOST_NAMES`] names: the domain, the number of names (at most 2,000 are counted), and their mean length.
    pub fn wide_domains(&self) -> impl Iterator<Item = (&str, usize, u64)> {
        let wide = self.domains.iter().filter(|(_, domain)| domain.names.len() > MOST_NAMES);
        wide.map(|(name, domain)| (name.as_str(), domain.names.len(), domain.characters / domain.names.len().max(1) as u64))
    }

    /// Counts a query for `name`.
    pub fn add(&mut self, of: &Transaction<'_>, (name, kind, code): (&str, &str, &str), counted: &Counted, key: &mut String) {
        let wide = self.wide_domain(name);
        key.clear();
        match wide {
            Some(domain) => key.extend(["*.", domain]),
            None => key.push_str(name),
        }
        let length = key.len();
        key.extend([" ", kind]);
        let place = match self.index.get(key.as_str()) {
            Some(place) => *place,
            None if self.rows.len() < MOST_ROWS => {
                let name = key.get(..length).unwrap_or_default();
                self.rows.push(DnsRow { name: name.into(), kind: kind.into(), ..DnsRow::default() });
                self.index.insert(key.as_str().into(), self.rows.len() - 1);
                self.rows.len() - 1
            }
            None => return self.rest.get_or_insert_default().add(counted),
        };
        let Some(row) = self.rows.get_mut(place) else { return };
        row.numbers.add(counted);
        let (client, process) = record::client(of);
        row.client = (client.map(|socket| socket.ip()), process.cloned());
        match row.codes.iter().position(|(known, _)| **known == *code) {
            Some(place) => row.codes.iter_mut().skip(place).take(1).for_each(|(_, count)| *count += 1),
            None if !code.is_empty() && row.codes.len() < MOST_CODES => row.codes.push((code.into(), 1)),
            None => {}
        }
    }

    /// Remembers a name. Returns its registered domain if this has more than [`MOST_NAMES`] names.
    fn wide_domain<'a>(&mut self, name: &'a str) -> Option<&'a str> {
        let domain = psl::domain_str(name)?;
        if self.domains.len() >= MOST_DOMAINS && !self.domains.contains_key(domain) {
            return None;
        }
        let found = self.domains.entry_ref(domain).or_default();
        if found.names.len() < MOST_COUNTED && found.names.insert(FixedState::default().hash_one(name)) {
            found.characters += name.len() as u64;
        }
        (found.names.len() > MOST_NAMES).then_some(domain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::testing::transaction;

    fn add(dns: &mut Dns, name: &str, code: &str) {
        let counted = Counted { is_error: code != "NOERROR", ..Counted::default() };
        dns.add(&transaction(), (name, "A", code), &counted, &mut String::new());
    }

    #[test]
    fn failures_are_counted_by_name() {
        let mut dns = Dns::default();
        for code in ["NOERROR", "NXDOMAIN", "NXDOMAIN", ""] {
            add(&mut dns, "api.shop.local", code);
        }
        let [row] = dns.rows() else { panic!("{dns:?}") };
        assert_eq!((&*row.name, &*row.kind, row.numbers.count, row.numbers.errors), ("api.shop.local", "A", 4, 3));
        assert_eq!(row.codes, [("NOERROR".into(), 1), ("NXDOMAIN".into(), 2)]);
        assert_eq!(row.client.0, Some("10.0.0.7".parse().unwrap()));
    }

    #[test]
    fn many_names_of_one_domain_share_a_row() {
        let mut dns = Dns::default();
        for index in 0..MOST_COUNTED + 10 {
            add(&mut dns, &format!("x{index:06}.t.example.com"), "NOERROR");
            add(&mut dns, "www.example.org", "NOERROR");
        }
        assert_eq!(dns.rows().len(), MOST_NAMES + 2);
        let wide = dns.rows().iter().find(|row| &*row.name == "*.example.com").unwrap();
        assert_eq!(wide.numbers.count, (MOST_COUNTED + 10 - MOST_NAMES) as u64);
        assert_eq!(dns.wide_domains().collect::<Vec<_>>(), [("example.com", MOST_COUNTED, 21)]);
    }

    #[test]
    fn names_beyond_the_limit_are_counted_together() {
        let mut dns = Dns::default();
        for index in 0..MOST_ROWS + 7 {
            add(&mut dns, &format!("host{index}.com"), "NOERROR");
        }
        assert_eq!((dns.rows().len(), dns.rest().unwrap().count, dns.domains.len()), (MOST_ROWS, 7, MOST_DOMAINS));
        add(&mut dns, "localhost", "NOERROR");
        add(&mut dns, "", "");
        assert_eq!(dns.rest().unwrap().count, 9);
    }
}
