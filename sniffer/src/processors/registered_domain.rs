//! `registered_domain`: splits a domain name with the Public Suffix List (<https://publicsuffix.org/>).

use super::{AtStart, Decision, Factory, Facts, ProcessorKind, Shared, kit, options::options, shared};
use crate::{
    config::Error,
    enrich::HostData,
    event::{constants::Constants, tree::Tree},
    opening::Opening,
};
use psl::Psl;
use serde_json::Value;

pub(super) const KIND: ProcessorKind = ProcessorKind {
    name: "registered_domain",
    about: "Splits a domain name into the part that was registered, the public suffix below which it was registered, and the rest. Names that \
            have no registered part, such as `com` or an address, add nothing.",
    example: "field: url.domain\ntarget_field: url.registered_domain\ntarget_etld_field: url.top_level_domain\ntarget_subdomain_field: url.subdomain",
    options: &[("", RegisteredDomain::OPTIONS)],
    open,
};

options! {
    #[derive(Debug)]
    struct RegisteredDomain {
        /// The field with the domain name.
        field: String,
        /// The field for the registered domain, such as `example.co.uk`.
        target_field: String,
        /// The field for the public suffix, such as `co.uk`.
        target_etld_field: String = String::new(),
        /// The field for the rest, such as `www`.
        target_subdomain_field: String = String::new(),
        /// Accepted without effect: a missing field is never an error.
        ignore_missing: bool = false,
        /// Does not log failures.
        ignore_failure: bool = false,
        /// A name for this processor in the log.
        id: String = String::new(),
    }
}

fn open(opening: &Opening<'_>) -> Result<Box<dyn Factory>, Error> {
    let options = RegisteredDomain::read(opening.node)?;
    let _ = options.ignore_missing;
    Ok(shared(options))
}

/// The registered domain, its public suffix and the subdomain; `None` if the name has none.
fn split(name: &str) -> Option<[&str; 3]> {
    if name.split('.').any(str::is_empty) || name.parse::<std::net::IpAddr>().is_ok() {
        return None;
    }
    // The look-up uses the name in lower case, because the list is in lower case. The result keeps the case of the name: in ASCII, a text
    // has the same length in lower case.
    let lower = name.to_ascii_lowercase();
    let registered = psl::List.domain(lower.as_bytes())?.as_bytes().len();
    let at = name.len().checked_sub(registered)?;
    let registered = name.get(at..)?;
    let suffix = registered.split_once('.')?.1;
    Some([registered, suffix, name.get(..at.saturating_sub(1))?])
}

impl Shared for RegisteredDomain {
    fn apply_at_start(&self, constants: &mut Constants, facts: &Facts, _: &HostData) -> AtStart {
        if kit::never_has(&self.field, constants, facts) { AtStart::Done } else { AtStart::PerEvent }
    }

    fn run(&self, event: &mut Tree, _: &HostData) -> Decision {
        let parts = event.get(&self.field).and_then(Value::as_str).and_then(split).map(|parts| parts.map(str::to_owned));
        let targets = [&self.target_field, &self.target_etld_field, &self.target_subdomain_field];
        for (target, part) in targets.into_iter().zip(parts.into_iter().flatten()) {
            if target.is_empty() || part.is_empty() {
                continue;
            }
            if let Err(error) = event.put(target, part.into()) {
                if !self.ignore_failure {
                    log::debug!("registered_domain {}: {target}: {error}", self.id);
                }
                break;
            }
        }
        Decision::Keep
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_split() {
        for (name, parts) in [
            ("www.shop.example.co.uk", Some(["example.co.uk", "co.uk", "www.shop"])),
            ("example.co.uk", Some(["example.co.uk", "co.uk", ""])),
            ("co.uk", None),
            ("localhost", None),
            ("a.b.github.io", Some(["b.github.io", "github.io", "a"])),
            ("192.0.2.1", None),
            ("Www.Example.COM.", None),
            ("Www.Example.COM", Some(["Example.COM", "COM", "Www"])),
            ("foo.unknowntld", Some(["foo.unknowntld", "unknowntld", ""])),
            ("x.y.kawasaki.jp", Some(["x.y.kawasaki.jp", "y.kawasaki.jp", ""])),
            ("city.kawasaki.jp", Some(["city.kawasaki.jp", "kawasaki.jp", ""])),
            ("", None),
            ("::1", None),
            ("a..b.com", None),
        ] {
            assert_eq!(split(name), parts, "{name}");
        }
    }
}
