//! The hosts of an output: parses their addresses, and selects the host that a worker uses.

use super::shapes::Texts;
use crate::config::{self, Node};
use reqwest::Url;

/// A server that an output connects to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// A host name, or an IP address without brackets.
    pub host: String,
    /// The TCP port of the server.
    pub port: u16,
}

impl Peer {
    /// The server of a URL. `default_port` applies when neither the URL nor its scheme has a port.
    pub(super) fn of(url: &Url, default_port: u16) -> Option<Self> {
        let host = url.host_str()?.trim_matches(['[', ']']).to_owned();
        Some(Self { host, port: url.port_or_known_default().unwrap_or(default_port) })
    }
}

/// Parses the entries of `hosts` of an output whose hosts have neither credentials nor a path. `scheme` is the only supported scheme.
///
/// # Errors
/// When an entry is not an address. The error names file, line and key.
pub(super) fn peers(node: &Node, hosts: &Texts, scheme: &str, port: u16) -> Result<Vec<Peer>, config::Error> {
    let peer = |text: &String| {
        let url = address(text, scheme, &[scheme], port)?;
        Peer::of(&url, port).ok_or_else(|| format!("'{text}' has no host"))
    };
    hosts.0.iter().map(peer).collect::<Result<_, _>>().map_err(|why| node.get("hosts").error(why))
}

/// Parses an entry of `hosts`: `HOST`, `HOST:PORT` or `SCHEME://USER:PASSWORD@HOST:PORT/PATH`. `scheme` and `port` are the defaults;
/// `schemes` are those that the output supports.
pub(super) fn address(host: &str, scheme: &str, schemes: &[&str], port: u16) -> Result<Url, String> {
    let text = if host.contains("://") { host.to_owned() } else { format!("{scheme}://{host}") };
    let mut url = Url::parse(&text).map_err(|e| format!("hosts: '{}': {e}", without_credentials(host)))?;
    if !schemes.contains(&url.scheme()) {
        return Err(format!("hosts: '{}': the scheme is not one of {}", without_credentials(host), schemes.join(", ")));
    }
    // `Url` removes a port that is the default of the scheme (80), so the text shows whether the user gave a port.
    let authority = text.split_once("://").map_or("", |(_, rest)| rest.split('/').next().unwrap_or_default());
    let has_port = authority.rsplit(']').next().is_some_and(|tail| tail.rsplit('@').next().is_some_and(|end| end.contains(':')));
    if !has_port {
        url.set_port(Some(port))
            .map_err(|()| format!("hosts: '{}' cannot have a port; write HOST:PORT or a URL", without_credentials(host)))?;
    }
    Ok(url)
}

/// Returns a URL as the user wrote it with `***` in place of user and password, for error messages. The text may not be a valid URL, often
/// because the password contains `/`, `#` or `@`. Therefore everything between the scheme and the last `@` is left out.
pub(super) fn without_credentials(text: &str) -> String {
    let (scheme, rest) =
        text.split_once("://").map_or(("", text), |(scheme, rest)| (text.get(..scheme.len() + 3).unwrap_or_default(), rest));
    match rest.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}***@{host}"),
        None => text.to_owned(),
    }
}

/// Removes user and password from a URL and returns them, so that no log message shows them.
pub(super) fn take_credentials(url: &mut Url) -> Option<(String, String)> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let decode = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
    let credentials = (decode(url.username()), decode(url.password().unwrap_or_default()));
    // The calls fail only for URLs that cannot have a user. For such URLs the function has already returned.
    let _ = url.set_username("").and_then(|()| url.set_password(None));
    Some(credentials)
}

/// The hosts of one worker, as indices into the list of hosts. The worker uses one host at a time and moves to the next when it fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rotation {
    hosts: Vec<usize>,
    at: usize,
}

impl Rotation {
    /// The host in use.
    pub(super) fn current(&self) -> usize {
        self.hosts.get(self.at).copied().unwrap_or(0)
    }

    /// Moves to the next host. The first host follows the last one.
    pub(super) fn advance(&mut self) {
        self.at = (self.at + 1) % self.hosts.len().max(1);
    }
}

/// Divides the hosts among workers. With `loadbalance` every host has `workers` workers, and the workers of other hosts take over the
/// batches of a host that fails. Without `loadbalance` there are `workers` workers in total, which use the first host as long as it
/// responds.
pub(super) fn rotations(hosts: usize, loadbalance: bool, workers: usize) -> Vec<Rotation> {
    let all: Vec<usize> = (0..hosts).collect();
    let groups = if loadbalance { all.into_iter().map(|host| vec![host]).collect() } else { vec![all] };
    groups.into_iter().flat_map(|hosts| std::iter::repeat_n(Rotation { hosts, at: 0 }, workers)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_in_every_form() {
        for (host, expected) in [
            ("localhost", Ok("http://localhost:9200/")),
            ("localhost:80", Ok("http://localhost/")),
            ("[::1]", Ok("http://[::1]:9200/")),
            ("[::1]:9201", Ok("http://[::1]:9201/")),
            ("https://u:p@es.example/x", Ok("https://u:p@es.example:9200/x")),
            ("ftp://x", Err("hosts: 'ftp://x': the scheme is not one of http, https")),
            ("a b", Err("hosts: 'a b': ")),
        ] {
            match (address(host, "http", &["http", "https"], 9200), expected) {
                (Ok(url), Ok(wanted)) => assert_eq!(url.as_str(), wanted, "{host}"),
                (Err(error), Err(wanted)) => assert!(error.starts_with(wanted), "{host}: {error}"),
                (got, wanted) => panic!("{host}: {got:?}, not {wanted:?}"),
            }
        }
        let url = address("a", "redis", &["redis", "rediss"], 6379).unwrap();
        assert_eq!(Peer::of(&url, 6379), Some(Peer { host: "a".into(), port: 6379 }));
    }

    #[test]
    fn credentials_are_taken_out() {
        let mut url = Url::parse("http://u%40x:p%3A@h:1/").unwrap();
        assert_eq!(take_credentials(&mut url), Some(("u@x".into(), "p:".into())));
        assert_eq!(url.as_str(), "http://h:1/");
        assert_eq!(take_credentials(&mut url), None);
        let mut url = Url::parse("http://:secret@h:1/").unwrap();
        assert_eq!(take_credentials(&mut url), Some((String::new(), "secret".into())));
        assert_eq!(url.as_str(), "http://h:1/");
    }

    #[test]
    fn errors_show_no_password() {
        for host in [
            "https://elastic:secret@h:92000",
            "https://elastic:secret/secret@h:9200",
            "https://elastic:secret#secret@h:9200",
            "https://elastic:secret@secret@h:9200000",
            "ftp://elastic:secret@h",
            "elastic:secret@h:port",
            "http://:secret@h:port",
            "https://secret@[::1",
        ] {
            let error = address(host, "http", &["http", "https"], 9200).unwrap_err();
            assert!(!error.contains("secret") && error.contains("***@"), "{host}: {error}");
        }
        assert_eq!(without_credentials("https://h:1/a"), "https://h:1/a");
    }

    #[test]
    fn hosts_of_each_worker() {
        let current = |rotations: &[Rotation]| rotations.iter().map(Rotation::current).collect::<Vec<_>>();
        assert_eq!(current(&rotations(2, true, 2)), [0, 0, 1, 1]);
        let mut failover = rotations(3, false, 2);
        assert_eq!(current(&failover), [0, 0]);
        let mut seen = Vec::new();
        for _ in 0..4 {
            failover[0].advance();
            seen.push(failover[0].current());
        }
        assert_eq!((seen, failover[1].current()), (vec![1, 2, 0, 1], 0), "each worker for itself");
        let mut alone = rotations(2, true, 1).remove(1);
        alone.advance();
        assert_eq!(alone.current(), 1);
    }
}
