//! Which values of a configuration are secrets, and how they are shown: as `***`. `export config` and error messages show them in this
//! form.

use super::tree::{Raw, Style, Value};
use std::borrow::Cow;

/// The text that is shown instead of a secret.
pub(super) const HIDDEN: &str = "***";

/// Parts of names whose values are secrets, in lower case and without `_` and `-`.
const WORDS: &[&str] =
    &["password", "passwd", "passphrase", "apikey", "secret", "token", "credential", "authorization", "cookie", "privatekey", "signature"];
/// Whole names whose values are secrets, also in lower case and without `_` and `-`.
const NAMES: &[&str] = &["auth", "pass", "pwd", "xauth"];
/// Ends of names that look like those of secrets but whose values are paths or durations.
const NOT_SECRET: &[&str] = &["path", "file", "ttl", "timeout"];
/// Names whose values are addresses, which may have user information without a scheme: `user:password@host`.
const ADDRESSES: &[&str] = &["hosts", "host", "proxyurl", "url", "urls"];
/// Names of maps whose keys are names of HTTP headers or query parameters.
const HEADERS: &[&str] = &["headers", "proxyheaders", "parameters"];

fn plain(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '_' | '-')).flat_map(char::to_lowercase).collect()
}

/// Whether the value of a setting is a secret. `key`: the dotted key of the setting, or only the last part of the key.
pub(super) fn is_secret(key: &str) -> bool {
    let mut parts = key.rsplit('.').skip_while(|part| part.parse::<usize>().is_ok()).map(plain);
    let Some(last) = parts.next() else { return false };
    let is_header = parts.next().is_some_and(|parent| HEADERS.contains(&parent.as_str()));
    if is_header && ["key", "auth", "session"].iter().any(|word| last.contains(word)) {
        return true;
    }
    !NOT_SECRET.iter().any(|end| last.ends_with(end)) && (NAMES.contains(&last.as_str()) || WORDS.iter().any(|word| last.contains(word)))
}

/// Hides the user information of the URLs in `text`. `key`: the key of the setting. If the value of the setting is an address, it may have
/// no scheme, and it may be an invalid URL because its password contains `/` or `@`. In such a value everything up to the last `@` is
/// hidden.
pub(super) fn without_credentials<'a>(text: &'a str, key: &str) -> Cow<'a, str> {
    let Some((_, behind)) = text.rsplit_once('@') else { return Cow::Borrowed(text) };
    let last = key.rsplit('.').find(|part| part.parse::<usize>().is_err()).map(plain).unwrap_or_default();
    if ADDRESSES.contains(&last.as_str()) {
        let scheme = text.split_once("://").map(|(scheme, _)| format!("{scheme}://")).unwrap_or_default();
        return Cow::Owned(format!("{scheme}{HIDDEN}@{behind}"));
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        out.push_str(before);
        out.push_str("://");
        let end = after.find(['/', '?', '#', ' ', ',', '"', '\'']).unwrap_or(after.len());
        let (authority, tail) = after.split_at_checked(end).unwrap_or((after, ""));
        match authority.rsplit_once('@') {
            Some((_, host)) => {
                out.push_str(HIDDEN);
                out.push('@');
                out.push_str(host);
            }
            None => out.push_str(authority),
        }
        rest = tail;
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// Replaces all secrets in a tree. Names of variables (`${ES_PASSWORD}`) are no secrets and stay.
pub(super) fn hide(raw: &mut Raw, key: &str) {
    hide_at(raw, key, is_secret(key));
}

fn hide_at(raw: &mut Raw, key: &str, secret: bool) {
    let below = |name: &str| if key.is_empty() { name.to_owned() } else { format!("{key}.{name}") };
    match &mut raw.value {
        Value::Map(entries) => {
            // Kafka's headers are a list of `{key: NAME, value: VALUE}`.
            let named = entries.iter().find(|(name, _)| name == "key").and_then(|(_, value)| match &value.value {
                Value::Scalar(text, _) => Some(is_secret(&format!("headers.{text}"))),
                _ => None,
            });
            for (name, value) in entries {
                let path = below(name);
                let secret = secret || is_secret(&path) || (name == "value" && named == Some(true));
                hide_at(value, &path, secret);
            }
        }
        Value::List(items) => items.iter_mut().enumerate().for_each(|(i, item)| hide_at(item, &below(&i.to_string()), secret)),
        Value::Scalar(text, style) => {
            if is_visible(text, *style) {
                return;
            }
            if secret || text.contains("PRIVATE KEY-----") {
                (*text, *style) = (HIDDEN.to_owned(), Style::Plain);
            } else if let Cow::Owned(shown) = without_credentials(text, key) {
                *text = shown;
            }
        }
        Value::Null | Value::Broken(_) => {}
    }
}

/// Whether a text contains no secret, even as the value of a secret setting: it is empty, a switch, or the name of one variable.
fn is_visible(text: &str, style: Style) -> bool {
    let is_switch = style != Style::Quoted && matches!(text, "true" | "false");
    let is_variable = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')).is_some_and(|name| !name.contains([':', '$', '}']));
    text.is_empty() || is_switch || is_variable
}

#[cfg(test)]
mod tests {
    use super::{hide, is_secret, without_credentials};
    use crate::config::{tree, write, yaml};

    #[test]
    fn names_of_secret_settings() {
        for key in [
            "output.elasticsearch.password",
            "output.elasticsearch.api_key",
            "cloud.auth",
            "monitoring.elasticsearch.api_key",
            "output.elasticsearch.ssl.key_passphrase",
            "setup.kibana.service_token",
            "instrumentation.secret_token",
            "output.elasticsearch.headers.Authorization",
            "output.elasticsearch.headers.X-Api-Key",
            "output.elasticsearch.proxy_headers.Proxy-Authorization",
            "output.elasticsearch.headers.Cookie",
            "output.elasticsearch.parameters.key",
            "output.redis.password",
            "output.kafka.sasl.oauth.client_secret",
            "passwords.0",
        ] {
            assert!(is_secret(key), "{key}");
        }
        for key in [
            "output.kafka.key",
            "output.redis.key",
            "packetbeat.protocols.0.hide_keywords",
            "output.elasticsearch.headers.X-Tenant",
            "output.elasticsearch.username",
            "cloud.id",
            "ssl.key",
            "token_file",
            "author",
            "",
        ] {
            assert!(!is_secret(key), "{key}");
        }
    }

    #[test]
    fn credentials_in_addresses_are_hidden() {
        for (text, key, want) in [
            ("http://u:p@h:1/x", "hosts.0", "http://***@h:1/x"),
            ("u:p@h:9200", "output.elasticsearch.hosts.0", "***@h:9200"),
            ("u:p@proxy:3128", "proxy_url", "***@proxy:3128"),
            ("https://token@h/a?b=c", "url", "https://***@h/a?b=c"),
            ("socks5://u:p%40@h", "proxy_url", "socks5://***@h"),
            ("http://u:p@a,http://v:q@b", "hosts", "http://***@b"),
            ("http://u:p@a,http://v:q@b/c@d", "note", "http://***@a,http://***@b/c@d"),
            ("http://u:p/q@h:1", "hosts", "http://***@h:1"),
            ("redis://:p@ss@h:6379", "hosts", "redis://***@h:6379"),
            ("me@example.com", "name", "me@example.com"),
            ("http://h/a@b", "note", "http://h/a@b"),
        ] {
            assert_eq!(without_credentials(text, key), want, "{text}");
        }
    }

    #[test]
    fn secrets_in_a_tree_are_hidden() {
        let text = "output.elasticsearch:\n  hosts: ['http://u:p@h:1', '${HOST}', 'v:w@i']\n  username: u\n  password: hush\n  api_key: ${KEY}\n  \
                    headers: {Authorization: Bearer x, X-A: y}\n  ssl.key: |\n    -----BEGIN PRIVATE KEY-----\n    abc\n  ssl.key_passphrase: 12\n  \
                    proxy_url: http://a:b@c\noutput.kafka.headers: [{key: env, value: prod}, {key: X-Token, value: t}]\npacketbeat.protocols: \
                    [{type: sip, parse_authorization: true}]\nmonitoring.cloud.auth: 'u:${P}'\nsetup.kibana.password: ''\n";
        let (raw, _) = yaml::read(text, None).unwrap();
        let mut raw = tree::nest(raw, &mut Vec::new()).unwrap();
        hide(&mut raw, "");
        let shown = serde_yaml::to_string(&write::yaml(&raw)).unwrap();
        assert_eq!(
            shown,
            "output:\n  elasticsearch:\n    hosts:\n    - http://***@h:1\n    - ${HOST}\n    - '***@i'\n    username: u\n    password: '***'\n    \
             api_key: ${KEY}\n    headers:\n      Authorization: '***'\n      X-A: y\n    ssl:\n      key: '***'\n      key_passphrase: '***'\n    \
             proxy_url: http://***@c\n  kafka:\n    headers:\n    - key: env\n      value: prod\n    - key: X-Token\n      value: '***'\npacketbeat:\n  \
             protocols:\n  - type: sip\n    parse_authorization: true\nmonitoring:\n  cloud:\n    auth: '***'\nsetup:\n  kibana:\n    password: ''\n"
        );
    }
}
