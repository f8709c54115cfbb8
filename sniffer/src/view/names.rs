//! Names of addresses, from the DNS answers that were seen. Nothing is looked up. An address for which several names were asked has the last one.

use crate::publish::observer::{Details, Transaction};
use hashbrown::HashMap;
use std::{
    collections::VecDeque,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

/// Maximum number of addresses. The one that was learned first leaves first.
pub const MOST_ADDRESSES: usize = 10_000;
/// Maximum number of addresses that are learned from one answer.
const MOST_OF_ANSWER: usize = 16;
/// Maximum length of a name (RFC 1035, section 2.3.4).
const LONGEST: usize = 253;

/// The names.
#[derive(Clone, Debug, Default)]
pub struct Names {
    names: HashMap<IpAddr, Arc<str>>,
    /// The addresses in the order in which they were learned.
    order: VecDeque<IpAddr>,
}

impl Names {
    /// Learns the addresses of an answer of DNS. Other transactions teach nothing.
    pub fn learn(&mut self, of: &Transaction<'_>) {
        let Details::Dns { name, addresses, .. } = of.details else { return };
        let name = name.trim_end_matches('.');
        if addresses.is_empty() || !is_host_name(name) {
            return;
        }
        let mut shared: Option<Arc<str>> = None;
        for address in addresses.split(' ').take(MOST_OF_ANSWER).filter_map(|text| text.parse::<IpAddr>().ok()) {
            let known = self.names.get(&address);
            if known.is_some_and(|known| **known == *name) || address.is_loopback() || address.is_unspecified() {
                continue;
            }
            if known.is_none() {
                self.order.push_back(address);
            }
            self.names.insert(address, shared.get_or_insert_with(|| name.into()).clone());
        }
        while self.order.len() > MOST_ADDRESSES
            && let Some(oldest) = self.order.pop_front()
        {
            self.names.remove(&oldest);
        }
    }

    /// The name of an address.
    pub fn of(&self, address: IpAddr) -> Option<&Arc<str>> {
        self.names.get(&address)
    }

    /// The name of the address of an end.
    pub fn of_end(&self, end: Option<SocketAddr>) -> Option<&str> {
        self.of(end?.ip()).map(|name| &**name)
    }

    /// Whether no name is known.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }
}

/// Whether a name is one of a host: letters, digits, hyphens and underscores between dots. Other names are not shown instead of an address.
fn is_host_name(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=LONGEST).contains(&name.len()) && name.bytes().all(is_allowed) && name.parse::<IpAddr>().is_err()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::testing::transaction;

    fn answer<'a>(name: &'a str, addresses: &'a str) -> Transaction<'a> {
        Transaction { details: Details::Dns { name, kind: "A", code: "NOERROR", addresses }, ..transaction() }
    }

    fn name<'a>(names: &'a Names, address: &str) -> Option<&'a str> {
        names.of(address.parse().unwrap()).map(|name| &**name)
    }

    #[test]
    fn the_last_name_of_an_address_is_known() {
        let mut names = Names::default();
        names.learn(&transaction());
        assert!(names.is_empty());
        names.learn(&answer("api.shop.", "10.0.0.9 fd00::9 x 127.0.0.1"));
        names.learn(&answer("cdn.shop", "10.0.0.9"));
        names.learn(&answer("a\u{1b}[2J", "10.0.0.8"));
        names.learn(&answer("10.0.0.1", "10.0.0.8"));
        names.learn(&answer("none.shop", ""));
        let found = ["10.0.0.9", "fd00::9", "127.0.0.1", "10.0.0.8"].map(|address| name(&names, address));
        assert_eq!(found, [Some("cdn.shop"), Some("api.shop"), None, None]);
    }

    #[test]
    fn the_first_addresses_leave() {
        let mut names = Names::default();
        let address = |index: usize| format!("10.1.{}.{}", index >> 8, index & 255);
        (0..MOST_ADDRESSES + 2).for_each(|index| names.learn(&answer("x.org", &address(index))));
        assert_eq!([1, 2, MOST_ADDRESSES + 1].map(|index| name(&names, &address(index))), [None, Some("x.org"), Some("x.org")]);
        assert_eq!((names.names.len(), names.order.len()), (MOST_ADDRESSES, MOST_ADDRESSES));
        let many: String = (0..100).map(|index| format!("10.9.0.{index} ")).collect();
        names.learn(&answer("y.org", &many));
        assert_eq!([15, 16].map(|index| name(&names, &format!("10.9.0.{index}"))), [Some("y.org"), None]);
    }
}
