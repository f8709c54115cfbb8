//! `cloud.id` and `cloud.auth`: the addresses and credentials of a deployment in Elastic's cloud.

use super::shapes::{self, Scalar};
use crate::config::{self, Node};
use base64::Engine as _;

/// The addresses and credentials that `cloud.id` and `cloud.auth` contain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cloud {
    /// The address of Elasticsearch.
    pub elasticsearch: String,
    /// The address of Kibana.
    pub kibana: Option<String>,
    /// User and password.
    pub auth: Option<(String, String)>,
}

/// Reads `cloud.*`. `cloud.id` is `NAME:BASE64`; decoded, the text is `DOMAIN[:PORT]$ELASTICSEARCH[:PORT]$KIBANA[:PORT]`.
///
/// # Errors
/// When `cloud.id` or `cloud.auth` has another form.
pub(super) fn cloud(root: &Node) -> Result<Option<Cloud>, config::Error> {
    let text = |key: &str| shapes::at(root, key).map(|node| node.read::<Scalar>()).transpose();
    let (id, auth) = (text("cloud.id")?, text("cloud.auth")?);
    let auth = match &auth {
        None => None,
        Some(auth) => Some(auth.0.split_once(':').ok_or_else(|| root.error("cloud.auth: expected USER:PASSWORD"))?),
    };
    let Some(Scalar(id)) = id.filter(|id| !id.0.is_empty()) else {
        return if auth.is_some() { Err(root.error("cloud.auth needs cloud.id")) } else { Ok(None) };
    };
    let wrong = || root.error("cloud.id: not in the form that the cloud console shows");
    let encoded = id.rsplit(':').next().unwrap_or_default();
    let decoded =
        base64::engine::general_purpose::STANDARD.decode(encoded).ok().and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(wrong)?;
    let mut parts = decoded.split('$');
    let (domain, elasticsearch) = parts.next().zip(parts.next().filter(|part| !part.is_empty())).ok_or_else(wrong)?;
    let (domain, default_port) = domain.split_once(':').unwrap_or((domain, "443"));
    let address = |part: &str| {
        let (name, port) = part.split_once(':').unwrap_or((part, default_port));
        format!("https://{name}.{domain}:{port}")
    };
    let auth = auth.map(|(user, password)| (user.to_owned(), password.to_owned()));
    let kibana = parts.next().filter(|part| !part.is_empty()).map(address);
    Ok(Some(Cloud { elasticsearch: address(elasticsearch), kibana, auth }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cloud_ids() {
        let read = |decoded: &str| {
            let id = base64::engine::general_purpose::STANDARD.encode(decoded);
            cloud(&Node::parse(&format!("cloud: {{id: 'name:{id}', auth: 'u:p:w'}}")).unwrap()).unwrap().unwrap()
        };
        for (decoded, elasticsearch, kibana) in [
            ("eu.example.io$abc$kib", "https://abc.eu.example.io:443", Some("https://kib.eu.example.io:443")),
            ("eu.example.io:9243$abc$kib:9244", "https://abc.eu.example.io:9243", Some("https://kib.eu.example.io:9244")),
            ("eu.example.io$abc$", "https://abc.eu.example.io:443", None),
            ("eu.example.io$abc", "https://abc.eu.example.io:443", None),
        ] {
            let auth = Some(("u".into(), "p:w".into()));
            assert_eq!(read(decoded), Cloud { elasticsearch: elasticsearch.into(), kibana: kibana.map(str::to_owned), auth }, "{decoded}");
        }
        assert!(cloud(&Node::parse("cloud: {id: 'x:!!'}").unwrap()).is_err());
        assert_eq!(cloud(&Node::default()).unwrap(), None);
    }
}
