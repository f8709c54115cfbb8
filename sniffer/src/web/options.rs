//! The settings `web`.

use crate::{
    config::{self, Node},
    endpoint::{At, Listener, Unusable},
};
use serde::Deserialize;

/// The port of the page, unless another one is configured.
const PORT: u16 = 5067;

/// The settings of a page that is served.
#[derive(Clone, Debug)]
pub struct Options {
    at: At,
    /// The hosts besides those of loopback under which the page is reached: `name` or `name:port`.
    pub allowed_hosts: Vec<String>,
    /// The section, for errors; `None` if the command line gave the address.
    node: Option<Node>,
}

#[derive(Deserialize)]
#[serde(default)]
struct Given {
    host: String,
    port: u16,
    allowed_hosts: Vec<String>,
}

impl Default for Given {
    fn default() -> Self {
        Self { host: "localhost".into(), port: PORT, allowed_hosts: Vec::new() }
    }
}

impl Options {
    /// Reads the section `web`. Returns `None` when the page is not enabled; the other settings are then not read.
    ///
    /// # Errors
    /// When a setting is wrong. The error names file, line and key.
    pub fn read(root: &Node) -> Result<Option<Self>, config::Error> {
        let node = root.get("web");
        if node.get("enabled").read::<Option<bool>>()? != Some(true) {
            node.accept();
            return Ok(None);
        }
        let Given { host, port, allowed_hosts } = node.read()?;
        let at = At::read(&host, port).map_err(|why| node.get("host").error(why))?;
        if let Some(wrong) = allowed_hosts.iter().find(|host| host.is_empty() || host.contains(['/', '@', '*'])) {
            let why =
                format!("`{wrong}` is no host; write a name as browsers send it, such as sniffer.example.org or sniffer.example.org:8443");
            return Err(node.get("allowed_hosts").error(why));
        }
        Ok(Some(Self { at, allowed_hosts, node: Some(node) }))
    }

    /// Reads the address of the command line: `HOST:PORT`, `HOST`, or `unix:///PATH`; `None` is the default.
    ///
    /// # Errors
    /// When the text is something else.
    pub fn of_command_line(listen: Option<&str>) -> Result<Self, String> {
        let listen = listen.unwrap_or("localhost");
        let wrong = |why: String| format!("--listen {listen}: {why}");
        let at = match listen.rsplit_once(':') {
            _ if listen.contains("://") => At::read(listen, PORT),
            // An address of IPv6 without brackets has no port.
            Some((host, _)) if host.contains(':') && !host.ends_with(']') => At::read(listen, PORT),
            Some((host, port)) => {
                let port = port.parse().map_err(|_| wrong(format!("`{port}` is no port; write HOST:PORT or unix:///PATH")))?;
                At::read(host, port)
            }
            None => At::read(listen, PORT),
        };
        Ok(Self { at: at.map_err(wrong)?, allowed_hosts: Vec::new(), node: None })
    }

    /// Opens the socket.
    ///
    /// # Errors
    /// When the address cannot be used. The error names the setting.
    pub fn listen(&self) -> Result<Listener, String> {
        let named = |Unusable { key, why }| match &self.node {
            Some(node) => node.get(key).error(why).to_string(),
            None => format!("--listen: {why}"),
        };
        Listener::open_on_loopback(&self.at).map_err(named)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_the_command_line() {
        let read = |listen: Option<&str>| Options::of_command_line(listen).map(|options| options.at);
        let tcp = |host: &str, port| Ok(At::Tcp(host.into(), port));
        assert_eq!(read(None), tcp("localhost", 5067));
        assert_eq!(read(Some("localhost:6000")), tcp("localhost", 6000));
        assert_eq!(read(Some("127.0.0.1")), tcp("127.0.0.1", 5067));
        assert_eq!(read(Some("[::1]:7")), tcp("::1", 7));
        assert_eq!(read(Some("::1")), tcp("::1", 5067));
        assert_eq!(read(Some("unix:///run/x.sock")), Ok(At::Unix("/run/x.sock".into())));
        assert_eq!(read(Some("localhost:x")).unwrap_err(), "--listen localhost:x: `x` is no port; write HOST:PORT or unix:///PATH");
        assert!(read(Some("https://localhost")).unwrap_err().starts_with("--listen https://localhost: "));
    }

    #[test]
    fn settings() {
        let read = |yaml: &str| Options::read(&Node::parse(yaml).unwrap()).map_err(|error| error.to_string());
        assert!(read("{}").unwrap().is_none() && read("web: {enabled: false, port: x}").unwrap().is_none());
        let options = read("web: {enabled: true, port: 7, allowed_hosts: [a.org]}").unwrap().unwrap();
        assert_eq!((options.at, options.allowed_hosts), (At::Tcp("localhost".into(), 7), vec!["a.org".to_owned()]));
        for (yaml, expected) in [
            ("web: {enabled: perhaps}", "line 1: web.enabled: "),
            ("web:\n  enabled: true\n  port: 70000", "line 3: web.port: "),
            ("web:\n  enabled: true\n  allowed_hosts: ['http://a']", "line 3: web.allowed_hosts: `http://a` is no host"),
        ] {
            let error = read(yaml).unwrap_err();
            assert!(error.starts_with(expected), "{yaml}\n got: {error}\nwant: {expected}");
        }
        let refused = read("web:\n  enabled: true\n  host: 192.0.2.1").unwrap().unwrap().listen().unwrap_err();
        assert!(refused.starts_with("line 3: web.host: `192.0.2.1` is not an address of loopback"), "{refused}");
    }
}
