//! The settings `ssl.*` of clients (outputs, and processors that ask a server): the servers that a TLS client trusts, and the client's own certificate. TLS is done
//! by rustls with ring. A verifier that wraps the verifier of rustls implements the modes that rustls does not have:
//! verifying the chain without the name, pinned authorities, a trusted fingerprint.

mod key;
mod reload;

use crate::config::{Scalar, Texts};
use base64::Engine as _;
use key::private_key;
pub use reload::Reloading;
use reload::{Reload, Restart};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
    server::ParsedCertificate,
};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use std::sync::Arc;

/// The settings `ssl` of a client.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Options {
    /// `false` switches TLS off for hosts without a scheme.
    pub enabled: Option<bool>,
    verification_mode: Mode,
    supported_protocols: Texts,
    cipher_suites: Texts,
    curve_types: Texts,
    certificate_authorities: Texts,
    certificate: String,
    key: String,
    key_passphrase: Option<Scalar>,
    key_passphrase_path: String,
    renegotiation: Renegotiation,
    certificate_reload: Reload,
    restart_on_cert_change: Restart,
    ca_sha256: Texts,
    ca_trusted_fingerprint: String,
}

/// The setting `ssl.renegotiation`: how often a server may start a new handshake. Only `never` is supported.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Renegotiation {
    #[default]
    Never,
    Once,
    Freely,
}

/// The setting `ssl.verification_mode`: how the server's certificate is verified.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Mode {
    /// Verify the certificate chain and the host name.
    #[default]
    Full,
    /// The same as `full`: this program never considers the common name.
    Strict,
    /// Verify the certificate chain only.
    Certificate,
    /// Verify nothing.
    None,
}

impl Options {
    /// The settings of a client that trusts `authorities` (PEM texts or files; none: the system's), and shows `certificate` with `key` if
    /// they are not empty. Without `verifies` every server is trusted.
    pub fn of(authorities: Vec<String>, certificate: String, key: String, verifies: bool) -> Self {
        let verification_mode = if verifies { Mode::Full } else { Mode::None };
        Self { certificate_authorities: Texts(authorities), certificate, key, verification_mode, ..Self::default() }
    }

    /// Whether TLS is switched on explicitly.
    pub fn is_used(&self) -> bool {
        self.enabled == Some(true)
    }

    /// The passphrase of the key, from the option or from the file that it names.
    fn passphrase(&self) -> Result<Option<String>, String> {
        let given = self.key_passphrase.as_ref().map(|text| text.0.clone()).filter(|text| !text.is_empty());
        if given.is_some() || self.key_passphrase_path.is_empty() {
            return Ok(given);
        }
        let path = &self.key_passphrase_path;
        let text = std::fs::read_to_string(path).map_err(|e| format!("ssl.key_passphrase_path: {path}: {e}"))?;
        Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()))
    }

    /// Whether the server's certificate chain is verified.
    pub fn verifies(&self) -> bool {
        self.verification_mode != Mode::None
    }
}

/// Builds the client's TLS configuration from the files as they are now. `needed`: whether any connection will use TLS. The system's
/// authorities are read only in that case.
fn client(options: &Options, needed: bool) -> Result<ClientConfig, String> {
    if options.renegotiation != Renegotiation::Never {
        return Err("ssl.renegotiation: not supported; TLS 1.3 has none either. Remove it, or write `never`".into());
    }
    let provider = Arc::new(provider(options)?);
    let versions = versions(&options.supported_protocols.0)?;
    let mut roots = Vec::new();
    for text in options.certificate_authorities.0.iter().filter(|text| !text.is_empty()) {
        roots.extend(certificates(text).map_err(|why| format!("ssl.certificate_authorities: {why}"))?);
    }
    let fingerprint = match options.ca_trusted_fingerprint.as_str() {
        "" => None,
        text => Some(hexadecimal(text).ok_or("ssl.ca_trusted_fingerprint: expected the 64 hexadecimal digits of a SHA-256")?),
    };
    let pins = options.ca_sha256.0.iter().filter(|text| !text.is_empty()).map(|text| {
        let bytes = base64::engine::general_purpose::STANDARD.decode(text).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        bytes.ok_or_else(|| format!("ssl.ca_sha256: '{text}' is not the base64 form of a SHA-256"))
    });
    let pins = pins.collect::<Result<Vec<_>, _>>()?;
    if roots.is_empty() && fingerprint.is_none() && needed && options.verifies() {
        roots = rustls_native_certs::load_native_certs().certs;
    }
    let verifier = Verifier { mode: options.verification_mode, roots, fingerprint, pins, provider: provider.clone() };
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&versions).map_err(|e| format!("ssl: {e}"))?;
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
    let config = match (options.certificate.as_str(), options.key.as_str()) {
        ("", "") => builder.with_no_client_auth(),
        ("", _) => return Err("ssl.key: without ssl.certificate".into()),
        (_, "") => return Err("ssl.certificate: without ssl.key".into()),
        (certificate, key) => {
            let chain = certificates(certificate).map_err(|why| format!("ssl.certificate: {why}"))?;
            let passphrase = options.passphrase()?;
            let key = private_key(key, passphrase.as_deref()).map_err(|why| format!("ssl.key: {why}"))?;
            builder.with_client_auth_cert(chain, key).map_err(|e| format!("ssl.certificate: {e}"))?
        }
    };
    Ok(config)
}

fn provider(options: &Options) -> Result<CryptoProvider, String> {
    let mut provider = rustls::crypto::ring::default_provider();
    if !options.cipher_suites.0.is_empty() {
        // The user gives Go's short names, which are compared with IANA's: ECDHE-RSA-AES-128-GCM-SHA256 is
        // TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256.
        let plain = |name: &str| {
            name.to_uppercase().replace("WITH", "").replace(['-', '_'], "").replace("CHACHA20POLY1305SHA256", "CHACHA20POLY1305")
        };
        let wanted: Vec<String> = options.cipher_suites.0.iter().map(|name| plain(name).trim_start_matches("TLS").to_owned()).collect();
        provider.cipher_suites.retain(|suite| {
            let name = plain(suite.suite().as_str().unwrap_or_default());
            // As in Go, the suites of TLS 1.3 are not configurable.
            name.starts_with("TLS13") || wanted.iter().any(|w| name.trim_start_matches("TLS") == w)
        });
        if !provider.cipher_suites.iter().any(|suite| suite.tls13().is_none()) {
            log::warn!("ssl.cipher_suites: none of them is known here for TLS 1.2; only TLS 1.3 will be used");
        }
    }
    if !options.curve_types.0.is_empty() {
        let plain = |name: &str| name.to_uppercase().replace(['-', '_'], "").replace("SECP256R1", "P256").replace("SECP384R1", "P384");
        provider.kx_groups.retain(|group| {
            let name = plain(group.name().as_str().unwrap_or_default());
            options.curve_types.0.iter().any(|wanted| plain(wanted) == name)
        });
        if provider.kx_groups.is_empty() {
            return Err("ssl.curve_types: none of them is known; there are P-256, P-384, X25519".into());
        }
    }
    Ok(provider)
}

fn versions(names: &[String]) -> Result<Vec<&'static rustls::SupportedProtocolVersion>, String> {
    if names.is_empty() {
        return Ok(rustls::ALL_VERSIONS.to_vec());
    }
    let mut versions = Vec::new();
    for name in names {
        match name.as_str() {
            "TLSv1.2" => versions.push(&rustls::version::TLS12),
            "TLSv1.3" => versions.push(&rustls::version::TLS13),
            "TLSv1" | "TLSv1.0" | "TLSv1.1" => log::warn!("ssl.supported_protocols: {name} is no longer offered"),
            other => return Err(format!("ssl.supported_protocols: '{other}' is not one of TLSv1.2, TLSv1.3")),
        }
    }
    if versions.is_empty() { Err("ssl.supported_protocols: only TLSv1.2 and TLSv1.3 are offered".into()) } else { Ok(versions) }
}

/// Returns the PEM text itself, or the content of the file with this name.
fn pem(text: &str) -> Result<Vec<u8>, String> {
    if text.contains("-----BEGIN") { Ok(text.into()) } else { std::fs::read(text).map_err(|e| format!("{text}: {e}")) }
}

fn certificates(text: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = pem(text)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let found = found.map_err(|_| "not PEM")?;
    if found.is_empty() { Err("no certificate in it".into()) } else { Ok(found) }
}

fn hexadecimal(text: &str) -> Option<[u8; 32]> {
    let digits: Vec<u8> = text.bytes().filter(|b| *b != b':').map(|b| (b as char).to_digit(16).map(|d| d as u8)).collect::<Option<_>>()?;
    let bytes: Vec<u8> = digits.chunks_exact(2).filter_map(|pair| Some(pair.first()? << 4 | pair.get(1)?)).collect();
    if digits.len() == 64 { bytes.try_into().ok() } else { None }
}

/// Verifies the server's certificate by the configured mode, authorities, fingerprint and pins.
#[derive(Debug)]
struct Verifier {
    mode: Mode,
    roots: Vec<CertificateDer<'static>>,
    fingerprint: Option<[u8; 32]>,
    pins: Vec<[u8; 32]>,
    provider: Arc<CryptoProvider>,
}

/// The certificates that the server presented in the handshake, and the time of verification.
struct Shown<'a> {
    end: &'a CertificateDer<'a>,
    between: &'a [CertificateDer<'a>],
    name: &'a ServerName<'a>,
    ocsp: &'a [u8],
    now: UnixTime,
}

impl Verifier {
    fn chain(&self, shown: &Shown<'_>, roots: &[CertificateDer<'_>]) -> Result<(), Error> {
        let by_name = self.mode != Mode::Certificate;
        if roots.iter().any(|root| root.as_ref() == shown.end.as_ref()) {
            // The server's certificate is itself configured as an authority (it is self-signed). webpki does not accept such a certificate,
            // so it is checked here.
            let in_time = x509_parser::parse_x509_certificate(shown.end).is_ok_and(|(_, certificate)| {
                let now = i64::try_from(shown.now.as_secs()).unwrap_or(i64::MAX);
                let validity = certificate.validity();
                (validity.not_before.timestamp()..=validity.not_after.timestamp()).contains(&now)
            });
            if !in_time {
                return Err(CertificateError::Expired.into());
            }
            return if by_name { verify_server_name(&ParsedCertificate::try_from(shown.end)?, shown.name) } else { Ok(()) };
        }
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(roots.iter().map(|root| root.clone().into_owned()));
        if store.is_empty() {
            return Err(CertificateError::UnknownIssuer.into());
        }
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(store), self.provider.clone())
            .build()
            .map_err(|e| Error::General(e.to_string()))?;
        match verifier.verify_server_cert(shown.end, shown.between, shown.name, shown.ocsp, shown.now) {
            // webpki checks the name last, so with this error the chain is valid.
            Err(Error::InvalidCertificate(CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }))
                if !by_name =>
            {
                Ok(())
            }
            other => other.map(|_| ()),
        }
    }

    fn verify(&self, shown: &Shown<'_>) -> Result<(), Error> {
        if self.mode == Mode::None {
            return Ok(());
        }
        let all = || shown.between.iter().chain([shown.end]);
        let mut roots = self.roots.clone();
        if let Some(fingerprint) = self.fingerprint {
            roots.extend(all().filter(|c| Sha256::digest(c.as_ref())[..] == fingerprint).map(|c| c.clone().into_owned()));
        }
        self.chain(shown, &roots)?;
        if self.pins.is_empty() {
            return Ok(());
        }
        // A certificate with a pinned key must be part of the chain: verify again with only those certificates trusted.
        let pinned: Vec<_> = roots.iter().chain(all()).filter(|c| key_digest(c).is_some_and(|d| self.pins.contains(&d))).cloned().collect();
        self.chain(shown, &pinned).map_err(|_| Error::General("no authority of the chain is among ssl.ca_sha256".into()))
    }
}

fn key_digest(certificate: &CertificateDer<'_>) -> Option<[u8; 32]> {
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
    Some(Sha256::digest(certificate.tbs_certificate.subject_pki.raw).into())
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.verify(&Shown { end, between, name, ocsp, now }).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests;
