//! `translate_ldap_attribute`: replaces an attribute of an entry in an LDAP directory (a GUID) by another one (its name).

mod client;
#[cfg(test)]
mod tests;
mod wire;

use super::{
    Decision, Factory, ProcessorKind, Shared,
    kit::never_has,
    lookup::{Limits, LookUps},
    options::options,
    shared,
};
use crate::{
    config::{Error, Scalar},
    enrich::HostData,
    event::{constants::Constants, tree::Tree},
    opening::{Clock, Opening},
    processors::{AtStart, Facts},
    tls,
};
use client::Server;
use serde_json::Value;
use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

pub(super) const KIND: ProcessorKind = ProcessorKind {
    name: "translate_ldap_attribute",
    about: "Searches an LDAP directory for the entry whose attribute has the value of a field, and writes the values of another attribute of this \
            entry as a list. While packets are captured, an event never waits for the server: it goes on without the values, and later events \
            with the same value get them. While a capture file is read, an event waits at most 5 s. Values are used for five minutes, and a \
            failure is repeated after ten seconds at the earliest. If nothing is found, the event is not changed.",
    example: "field: winlog.event_data.ObjectGuid\ntarget_field: winlog.common_name\nldap_address: ldap://ds.example.com:389\n\
              ldap_base_dn: dc=example,dc=com",
    options: &[("", TranslateLdapAttribute::OPTIONS)],
    open,
};

options! {
    #[derive(Debug)]
    struct TranslateLdapAttribute {
        /// The field with the value to search for.
        field: String,
        /// The field that the list is written to. Without it, `field`.
        target_field: String = String::new(),
        /// The server: `ldap://HOST:PORT`, or `ldaps://HOST:PORT` with TLS.
        ldap_address: String,
        /// The entry below which is searched. Without it, the server is asked for it.
        ldap_base_dn: String = String::new(),
        /// The name to log in with. Without it, the search is anonymous.
        ldap_bind_user: String = String::new(),
        /// The password.
        ldap_bind_password: Option<Scalar> = None,
        /// The attribute to search by. The value of `objectGUID` is a GUID as text.
        ldap_search_attribute: String = "objectGUID".to_owned(),
        /// The attribute whose values are written.
        ldap_mapped_attribute: String = "cn".to_owned(),
        /// The time limit of a search, in seconds.
        ldap_search_time_limit: u32 = 30,
        /// The settings of TLS, as `ssl` of outputs.
        ldap_ssl: tls::Options = tls::Options::default(),
        /// Accepted without effect: a missing field changes nothing.
        ignore_missing: bool = false,
        /// Accepted without effect: a failure changes nothing but a line of the log.
        ignore_failure: bool = false,
    }
}

/// Maximum number of values that are remembered.
const MAX_ENTRIES: usize = 10_000;
/// The time for which values are used.
const VALID: Duration = Duration::from_secs(300);
/// The time after which a failure is repeated.
const FAILED: Duration = Duration::from_secs(10);
/// The longest time that an event of a capture file waits.
const WAIT: Duration = Duration::from_secs(5);
/// Maximum length of a value that is searched for.
const MAX_VALUE: usize = 1024;

struct Directory {
    options: TranslateLdapAttribute,
    look_ups: LookUps<String, Option<Arc<Vec<String>>>>,
    clock: &'static dyn Clock,
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Directory").field("field", &self.options.field).finish_non_exhaustive()
    }
}

/// `HOST:PORT` of an address, and whether it is TLS.
fn address(text: &str) -> Result<(String, bool), String> {
    let (rest, is_tls, port) = match text.split_once("://") {
        Some(("ldap", rest)) => (rest, false, 389),
        Some(("ldaps", rest)) => (rest, true, 636),
        _ => return Err(format!("`{text}` is not supported; write ldap://HOST:PORT or ldaps://HOST:PORT")),
    };
    let host = rest.trim_end_matches('/');
    if host.is_empty() || host.contains('/') {
        return Err(format!("`{text}` has no host; write ldap://HOST:PORT or ldaps://HOST:PORT"));
    }
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'));
    Ok((if has_port { host.to_owned() } else { format!("{host}:{port}") }, is_tls))
}

fn open(opening: &Opening<'_>) -> Result<Box<dyn Factory>, Error> {
    let options = TranslateLdapAttribute::read(opening.node)?;
    // These options have no effect.
    let _ = (options.ignore_missing, options.ignore_failure);
    let (address, is_tls) = address(&options.ldap_address).map_err(|error| opening.node.get("ldap_address").error(error))?;
    if let Some(port) = address.rsplit_once(':').and_then(|(_, port)| port.parse().ok()) {
        opening.expect(port);
    }
    let tls = is_tls.then(|| tls::Reloading::new(&options.ldap_ssl, true, &[])).transpose();
    let server = Server {
        address,
        tls: tls.map_err(|error| opening.node.get("ldap_ssl").error(error))?,
        user: options.ldap_bind_user.clone(),
        password: options.ldap_bind_password.as_ref().map(|password| password.0.clone()).unwrap_or_default(),
        base: options.ldap_base_dn.clone(),
        search_attribute: options.ldap_search_attribute.clone(),
        mapped_attribute: options.ldap_mapped_attribute.clone(),
        limit: Duration::from_secs(options.ldap_search_time_limit.into()),
        connections: opening.connections.cloned(),
    };
    let is_guid = options.ldap_search_attribute.eq_ignore_ascii_case("objectGUID");
    let (connection, has_warned) = (Mutex::new(None), AtomicBool::new(false));
    let look_up = move |text: &String| {
        let value = if is_guid { guid(text).map(Vec::from) } else { Some(text.clone().into_bytes()) };
        // What is no GUID is no entry's.
        let Some(value) = value else { return (None, VALID) };
        let mut connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
        match server.find(&mut connection, &value) {
            Ok(values) if values.is_empty() => (None, VALID),
            Ok(values) => (Some(Arc::new(values)), VALID),
            Err(error) => {
                if has_warned.swap(true, Ordering::Relaxed) {
                    log::debug!("translate_ldap_attribute: {error}");
                } else {
                    log::warn!("translate_ldap_attribute: {error}; events go on without the attribute until the server answers");
                }
                (None, FAILED)
            }
        }
    };
    let limits = Limits { name: "translate_ldap_attribute", threads: 1, capacity: MAX_ENTRIES, wait: WAIT };
    let look_ups = LookUps::start(opening, limits, Box::new(look_up))
        .map_err(|error| opening.node.error(format!("starting a thread for look-ups failed: {error}")))?;
    Ok(shared(Directory { options, look_ups, clock: opening.clock }))
}

/// The bytes of a GUID as Active Directory stores it: the first three groups have the least significant byte first ([MS-DTYP] 2.3.4.2).
fn guid(text: &str) -> Option<[u8; 16]> {
    let text = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap_or(text);
    uuid::Uuid::try_parse(text).ok().filter(|_| text.len() == 36).map(|guid| guid.to_bytes_le())
}

impl Shared for Directory {
    fn apply_at_start(&self, constants: &mut Constants, facts: &Facts, _: &HostData) -> AtStart {
        if never_has(&self.options.field, constants, facts) { AtStart::Done } else { AtStart::PerEvent }
    }

    fn run(&self, event: &mut Tree, _: &HostData) -> Decision {
        let TranslateLdapAttribute { field, target_field, .. } = &self.options;
        let Some(text) = event.get(field).and_then(Value::as_str).filter(|text| text.len() <= MAX_VALUE) else { return Decision::Keep };
        let found = self.look_ups.get(&text.to_owned(), self.clock.now()).flatten();
        if let Some(values) = found {
            let target = if target_field.is_empty() { field } else { target_field };
            if let Err(error) = event.put(target, values.as_slice().into()) {
                log::debug!("translate_ldap_attribute: {target}: {error}");
            }
        }
        Decision::Keep
    }
}
