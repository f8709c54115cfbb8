//! TLS handshakes by server, version and cipher suite, and when the server's certificate ends.

use super::{
    record,
    stats::{Counted, Numbers},
};
use crate::{publish::observer::Transaction, time::Timestamp};
use hashbrown::HashMap;
use std::net::SocketAddr;

/// Maximum number of rows. Further ones are counted together, see [`Tls::rest`].
pub const MOST_ROWS: usize = 2000;

/// The handshakes with one server that have the same version and cipher suite.
#[derive(Clone, Debug, Default)]
pub struct TlsRow {
    /// The name that the clients asked for; empty if they named none.
    pub name: Box<str>,
    /// Address and port of the server.
    pub server: Option<SocketAddr>,
    /// The version as a number, such as `1.2`.
    pub version: Box<str>,
    /// The name of the cipher suite.
    pub cipher: Box<str>,
    /// The counts.
    pub numbers: Numbers,
    /// When the last certificate of the server ends. `None` if none was seen: with TLS 1.3 it is encrypted.
    pub certificate_end: Option<Timestamp>,
}

impl TlsRow {
    /// Whether version or cipher suite should no longer be used: before TLS 1.2 (RFC 8996), suites without encryption or authentication, with
    /// RC4 (RFC 7465), DES, export keys or MD5.
    pub fn is_weak(&self) -> bool {
        let is_old = !self.version.is_empty() && !matches!(&*self.version, "1.2" | "1.3");
        let weak = ["RC4", "DES", "NULL", "EXPORT", "MD5", "anon"];
        is_old
            || self.cipher.split('_').any(|part| weak.iter().any(|weak| part.eq_ignore_ascii_case(weak) || part.starts_with("DES40")))
            || self.cipher.contains("3DES")
    }
}

/// The values of a handshake.
#[derive(Clone, Copy, Debug, Default)]
pub struct Handshake<'a> {
    /// See [`TlsRow::name`].
    pub name: &'a str,
    /// See [`TlsRow::version`].
    pub version: &'a str,
    /// See [`TlsRow::cipher`].
    pub cipher: &'a str,
    /// The time at which the certificate ends, in the form of RFC 3339; empty if it is not known.
    pub certificate_end: &'a str,
}

/// The handshakes.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    rows: Vec<TlsRow>,
    index: HashMap<(Option<SocketAddr>, Box<str>), usize>,
    rest: Option<Box<Numbers>>,
}

impl Tls {
    /// All rows within the limit.
    pub fn rows(&self) -> &[TlsRow] {
        &self.rows
    }

    /// The counts of the rows beyond the limit.
    pub fn rest(&self) -> Option<&Numbers> {
        self.rest.as_deref()
    }

    /// Counts a handshake.
    pub fn add(&mut self, of: &Transaction<'_>, seen: &Handshake<'_>, counted: &Counted) {
        let (server, _) = record::server(of);
        let key = (server, [seen.name, seen.version, seen.cipher].join(" ").into());
        let place = match self.index.get(&key) {
            Some(place) => *place,
            None if self.rows.len() < MOST_ROWS => {
                self.index.insert(key, self.rows.len());
                let [name, version, cipher] = [seen.name, seen.version, seen.cipher].map(Box::from);
                self.rows.push(TlsRow { name, server, version, cipher, ..TlsRow::default() });
                self.rows.len() - 1
            }
            None => return self.rest.get_or_insert_default().add(counted),
        };
        if let Some(row) = self.rows.get_mut(place) {
            row.numbers.add(counted);
            row.certificate_end = Timestamp::parse(seen.certificate_end).or(row.certificate_end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::testing::transaction;

    #[test]
    fn weak_versions_and_suites() {
        for (version, cipher, weak) in [
            ("1.3", "TLS_AES_128_GCM_SHA256", false),
            ("1.2", "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", false),
            ("1.2", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", false),
            ("1.1", "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", true),
            ("3.0", "TLS_RSA_WITH_AES_128_CBC_SHA", true),
            ("1.2", "TLS_RSA_WITH_RC4_128_SHA", true),
            ("1.2", "TLS_RSA_WITH_3DES_EDE_CBC_SHA", true),
            ("1.2", "TLS_RSA_EXPORT_WITH_DES40_CBC_SHA", true),
            ("1.2", "TLS_DH_anon_WITH_AES_128_CBC_SHA", true),
            ("", "", false),
        ] {
            let row = TlsRow { version: version.into(), cipher: cipher.into(), ..TlsRow::default() };
            assert_eq!(row.is_weak(), weak, "{version} {cipher}");
        }
    }

    #[test]
    fn handshakes_by_server_and_version() {
        let mut tls = Tls::default();
        let seen = Handshake { name: "x.org", version: "1.2", cipher: "C", certificate_end: "2026-12-05T00:00:00.000Z" };
        for seen in [seen, Handshake { certificate_end: "", ..seen }, Handshake { version: "1.3", ..seen }] {
            tls.add(&transaction(), &seen, &Counted::default());
        }
        let [first, second] = tls.rows() else { panic!("{tls:?}") };
        assert_eq!((first.numbers.count, second.numbers.count), (2, 1));
        assert_eq!(first.certificate_end, Timestamp::parse("2026-12-05T00:00:00Z"), "a resumed session has no certificate");
        for index in 0..MOST_ROWS {
            tls.add(&transaction(), &Handshake { name: &format!("{index}.org"), ..seen }, &Counted::default());
        }
        assert_eq!((tls.rows().len(), tls.rest().unwrap().count), (MOST_ROWS, 2));
    }
}
