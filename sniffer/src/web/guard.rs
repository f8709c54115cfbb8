//! Who may ask. A page of another site that the user has open in the browser can send requests to loopback, and with a name that it makes
//! resolve to loopback (DNS rebinding) it could read the answers. So `Host` must name this host, the request must come from the page
//! itself, and data needs the token, which no other site knows.

use super::token::Token;
use hyper::{
    HeaderMap,
    header::{AUTHORIZATION, HOST, HeaderName, ORIGIN},
    http::request::Parts,
};
use std::net::IpAddr;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The rules of a run.
pub struct Guard {
    token: Token,
    /// Hosts besides those of loopback, `name` or `name:port`.
    allowed_hosts: Vec<String>,
}

impl Guard {
    /// Makes the rules. `allowed_hosts`: hosts besides those of loopback, `name` or `name:port`.
    pub fn new(token: Token, allowed_hosts: Vec<String>) -> Self {
        Self { token, allowed_hosts }
    }

    /// Checks where a request comes from.
    ///
    /// # Errors
    /// What is wrong, as a text without data.
    pub fn check_origin(&self, request: &Parts) -> Result<(), &'static str> {
        let headers = &request.headers;
        let host = one(headers, &HOST)?.ok_or("the header Host is missing")?;
        // The first line of a request can name a host, too, which then takes precedence over the header (RFC 9112 section 3.2.2).
        if request.uri.authority().is_some_and(|authority| authority.as_str() != host) {
            return Err("the host of the request and the header Host differ");
        }
        if !self.is_allowed(host) {
            return Err("the host is not one of loopback; web.allowed_hosts lists further ones");
        }
        if let Some(origin) = one(headers, &ORIGIN)?
            && !["http://", "https://"].iter().any(|scheme| origin.strip_prefix(scheme).is_some_and(|rest| rest.eq_ignore_ascii_case(host)))
        {
            return Err("the request comes from a page of another origin");
        }
        match one(headers, &SEC_FETCH_SITE)? {
            None | Some("same-origin" | "none") => Ok(()),
            Some(_) => Err("the request comes from a page of another site; open the link in a new tab"),
        }
    }

    /// Checks the token.
    ///
    /// # Errors
    /// When it is missing or wrong.
    pub fn check_token(&self, request: &Parts) -> Result<(), &'static str> {
        let given = one(&request.headers, &AUTHORIZATION)?.and_then(|value| value.split_once(' '));
        let token = given.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token.trim());
        match token {
            Some(token) if self.token.is(token.as_bytes()) => Ok(()),
            Some(_) => Err("the token is wrong; it changes at every start, open the new link"),
            None => Err("the token is missing; open the link that the program printed"),
        }
    }

    fn is_allowed(&self, host: &str) -> bool {
        let name = match host.rsplit_once(':') {
            Some((name, port)) if !port.contains(']') => {
                if port.parse::<u16>().is_err() {
                    return false;
                }
                name
            }
            _ => host,
        };
        let address = match name.strip_prefix('[').map(|rest| rest.strip_suffix(']')) {
            Some(inner) => inner.and_then(|inner| inner.parse().ok()).filter(IpAddr::is_ipv6),
            None => name.parse().ok().filter(IpAddr::is_ipv4),
        };
        name.eq_ignore_ascii_case("localhost")
            || address.is_some_and(|address| address.is_loopback())
            || self.allowed_hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(host) || allowed.eq_ignore_ascii_case(name))
    }
}

/// The only value of a header; `None` without the header.
fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, &'static str> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err("a header occurs twice that must not");
    }
    value.to_str().map(Some).map_err(|_| "a header is no text")
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::Request;

    fn parts(uri: &str, headers: &[(&str, &str)]) -> Parts {
        let request = headers.iter().fold(Request::builder().uri(uri), |request, (name, value)| request.header(*name, *value));
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn hosts_and_origins() {
        let guard = Guard::new(Token::random().unwrap(), vec!["a.example".into(), "b.example:8443".into()]);
        let is_fine = |uri: &str, headers: &[(&str, &str)]| guard.check_origin(&parts(uri, headers)).is_ok();
        for host in
            ["localhost", "LOCALHOST:1", "127.0.0.1:5067", "127.9.9.9", "[::1]:5067", "[::1]", "a.example", "a.example:7", "B.example:8443"]
        {
            assert!(is_fine("/", &[("host", host)]), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example",
            "evil.example:5067",
            "b.example",
            "b.example:1",
            "192.0.2.1",
            "[fd00::1]:1",
            "[::1",
            "::1",
            "localhost:",
            "localhost:x",
            "127.0.0.1.evil.example",
            "0.0.0.0",
            "user@localhost",
            "2130706433",
        ] {
            assert!(!is_fine("/", &[("host", host)]), "{host}");
        }
        assert!(!is_fine("/", &[]) && !is_fine("/", &[("host", "localhost"), ("host", "localhost")]));
        assert!(!is_fine("http://evil.example/", &[("host", "localhost")]) && is_fine("http://localhost/", &[("host", "localhost")]));
        let from = |name: &str, value: &str| is_fine("/", &[("host", "localhost:5067"), (name, value)]);
        assert!(from("origin", "http://localhost:5067") && from("origin", "https://localhost:5067"));
        for origin in ["null", "http://localhost", "http://localhost:5068", "http://evil.example", "localhost:5067", ""] {
            assert!(!from("origin", origin), "{origin}");
        }
        assert!(from("sec-fetch-site", "same-origin") && from("sec-fetch-site", "none"));
        assert!(!from("sec-fetch-site", "cross-site") && !from("sec-fetch-site", "same-site") && !from("sec-fetch-site", ""));
    }

    #[test]
    fn tokens() {
        let token = Token::random().unwrap();
        let guard = Guard::new(token.clone(), Vec::new());
        let is_fine = |value: &str| guard.check_token(&parts("/api/view", &[("authorization", value)])).is_ok();
        assert!(is_fine(&format!("Bearer {}", token.text())) && is_fine(&format!("bearer {}", token.text())));
        for wrong in ["", "Bearer", "Bearer ", token.text(), &format!("Basic {}", token.text()), &format!("Bearer {}x", token.text())] {
            assert!(!is_fine(wrong), "{wrong}");
        }
        assert!(guard.check_token(&parts("/api/view", &[])).is_err());
    }
}
