//! The HTTP proxy that the environment names: `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`, also in lower case, with the rules of Go's
//! `http.ProxyFromEnvironment`. Requests to `localhost` and to loopback addresses never use it.

use super::Peer;
use reqwest::Url;
use std::net::IpAddr;

/// The port of a SOCKS proxy whose URL has no port (RFC 1928).
const SOCKS: u16 = 1080;

/// The proxies of the environment.
#[derive(Clone, Debug, Default)]
pub(super) struct Environment {
    http: Option<Url>,
    https: Option<Url>,
    exceptions: Vec<Exception>,
}

/// An entry of `NO_PROXY`.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Exception {
    All,
    Network(ipnet::IpNet),
    Address(IpAddr, Option<u16>),
    /// A domain and its subdomains. `itself`: whether the domain itself is meant, too.
    Domain {
        name: String,
        itself: bool,
        port: Option<u16>,
    },
}

impl Environment {
    /// Reads the variables. `variable` returns the value of an environment variable.
    pub(super) fn read(variable: impl Fn(&str) -> Option<String>) -> Self {
        let either = |name: &str| {
            let value = |name: &str| variable(name).filter(|value| !value.is_empty());
            value(name).or_else(|| value(&name.to_lowercase()))
        };
        // In a CGI program HTTP_PROXY is the value of a request header, so it is ignored.
        let http = if variable("REQUEST_METHOD").is_some() { None } else { either("HTTP_PROXY") };
        let exceptions = either("NO_PROXY").unwrap_or_default();
        Self {
            http: http.as_deref().and_then(address),
            https: either("HTTPS_PROXY").as_deref().and_then(address),
            exceptions: exceptions.split(',').filter_map(exception).collect(),
        }
    }

    /// The servers of the proxies.
    pub(super) fn peers(&self) -> Vec<Peer> {
        [&self.http, &self.https].into_iter().flatten().filter_map(|url| Peer::of(url, SOCKS)).collect()
    }

    /// The proxy for a request to this URL; `None`: it is sent directly.
    pub(super) fn proxy(&self, url: &Url) -> Option<&Url> {
        let proxy = if url.scheme() == "https" { &self.https } else { &self.http };
        let host = url.host_str()?.trim_matches(['[', ']']).trim_end_matches('.').to_lowercase();
        let (ip, port) = (host.parse::<IpAddr>().ok(), url.port_or_known_default());
        if host == "localhost" || ip.is_some_and(|ip| ip.to_canonical().is_loopback()) {
            return None;
        }
        if self.exceptions.iter().any(|exception| exception.covers(&host, ip, port)) { None } else { proxy.as_ref() }
    }
}

/// The server of a proxy's URL, whose scheme may be missing. Without a port in the URL, the port is that of the scheme.
pub(super) fn peer(text: &str) -> Option<Peer> {
    Peer::of(&address(text)?, SOCKS)
}

/// The URL of a proxy. The scheme may be missing.
fn address(text: &str) -> Option<Url> {
    let known = |url: &Url| ["http", "https", "socks5", "socks5h"].contains(&url.scheme());
    Url::parse(text).ok().filter(known).or_else(|| Url::parse(&format!("http://{text}")).ok())
}

fn exception(text: &str) -> Option<Exception> {
    let text = text.trim().to_lowercase();
    if text == "*" {
        return Some(Exception::All);
    }
    if let Ok(network) = text.parse() {
        return Some(Exception::Network(network));
    }
    // An IPv6 address has colons, but no port unless it is in brackets.
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if text.parse::<IpAddr>().is_err() => (host, Some(port.parse().ok()?)),
        _ => (text.as_str(), None),
    };
    if let Ok(ip) = host.trim_matches(['[', ']']).parse() {
        return Some(Exception::Address(ip, port));
    }
    let host = host.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(host);
    let name = host.trim_start_matches('.').to_owned();
    (!name.is_empty()).then(|| Exception::Domain { name, itself: !host.starts_with('.'), port })
}

impl Exception {
    fn covers(&self, host: &str, ip: Option<IpAddr>, at: Option<u16>) -> bool {
        let same = |port: &Option<u16>| port.is_none() || *port == at;
        match self {
            Self::All => true,
            Self::Network(network) => ip.is_some_and(|ip| network.contains(&ip)),
            Self::Address(address, port) => ip == Some(*address) && same(port),
            Self::Domain { name, itself, port } => {
                let below = host.strip_suffix(name.as_str()).is_some_and(|rest| rest.ends_with('.') || (rest.is_empty() && *itself));
                below && same(port)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(variables: &[(&str, &str)], url: &str) -> Option<String> {
        let environment = Environment::read(|name| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()));
        environment.proxy(&Url::parse(url).unwrap()).map(Url::to_string)
    }

    #[test]
    fn a_proxy_for_each_scheme_and_never_for_loopback() {
        let both = [("HTTP_PROXY", "p:3128"), ("https_proxy", "http://u:p@s:8080")];
        for (url, expected) in [
            ("http://es:9200", Some("http://p:3128/")),
            ("https://es", Some("http://u:p@s:8080/")),
            ("http://localhost:9200", None),
            ("https://LOCALHOST", None),
            ("http://127.0.0.1:9200", None),
            ("http://127.8.7.6", None),
            ("http://[::1]:9200", None),
            ("http://[::ffff:127.0.0.1]", None),
            ("http://localhost.example", Some("http://p:3128/")),
            ("http://10.0.0.1", Some("http://p:3128/")),
        ] {
            assert_eq!(proxy(&both, url).as_deref(), expected, "{url}");
        }
        assert_eq!(proxy(&[("ALL_PROXY", "p:1")], "http://es"), None, "Go does not know it");
        assert_eq!(proxy(&[("HTTP_PROXY", "p:1"), ("REQUEST_METHOD", "GET")], "http://es"), None);
        assert_eq!(proxy(&[("HTTP_PROXY", "socks5://p:1")], "http://es").as_deref(), Some("socks5://p:1"));
        assert_eq!(proxy(&[], "http://es"), None);
    }

    #[test]
    fn exceptions_in_every_form() {
        for (exceptions, direct, through) in [
            ("*", "http://a", ""),
            ("10.0.0.0/8, fd00::/8", "http://10.1.2.3", "http://11.0.0.1"),
            ("10.0.0.0/8,fd00::/8", "http://[fd00::1]", "http://ten.example"),
            ("192.0.2.1", "http://192.0.2.1:9200", "http://192.0.2.2"),
            ("192.0.2.1:9200", "http://192.0.2.1:9200", "http://192.0.2.1"),
            ("[2001:db8::1]:80", "http://[2001:db8::1]", "http://[2001:db8::1]:81"),
            ("2001:db8::1", "http://[2001:db8::1]:81", "http://[2001:db8::2]"),
            ("example.com", "http://example.com", "http://badexample.com"),
            ("example.com", "http://a.B.example.com", "http://example.org"),
            (".example.com", "http://a.example.com", "http://example.com"),
            ("*.example.com", "http://a.example.com", "http://example.com"),
            ("es:9200", "http://es:9200", "http://es"),
            ("x, ,es", "http://es", "http://e"),
        ] {
            let variables = [("http_proxy", "http://p:1"), ("no_proxy", exceptions)];
            assert_eq!(proxy(&variables, direct), None, "{exceptions} {direct}");
            if !through.is_empty() {
                assert_eq!(proxy(&variables, through).as_deref(), Some("http://p:1/"), "{exceptions} {through}");
            }
        }
    }
}
