//! The form of certificates in documents (RFC 5280). Names are written as Go's `crypto/x509/pkix` writes them, because
//! dashboards search for that form.

use super::wire;
use crate::{event::text::Hex, protocols::kit::reader::Reader};
use serde::Serialize;
use std::{
    borrow::Cow,
    fmt::Write,
    net::{Ipv4Addr, Ipv6Addr},
};
use x509_parser::{
    certificate::X509Certificate,
    extensions::{GeneralName, ParsedExtension},
    prelude::FromDer,
    public_key::PublicKey,
    time::ASN1Time,
    x509::{AlgorithmIdentifier, SubjectPublicKeyInfo, X509Name},
};

/// Maximum number of alternative names that are shown; some certificates have hundreds.
const MOST_NAMES: usize = 1000;

/// The fields of a certificate in a document.
#[derive(Serialize)]
pub struct Certificate {
    pub version_number: u32,
    pub serial_number: String,
    pub signature_algorithm: &'static str,
    pub public_key_algorithm: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_key_size: Option<usize>,
    pub not_before: String,
    pub not_after: String,
    pub issuer: Name,
    pub subject: Name,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub alternative_names: Vec<String>,
}

/// A distinguished name, by the types of its attributes.
#[derive(Default, Serialize)]
pub struct Name {
    #[serde(skip_serializing_if = "str::is_empty")]
    country: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    organization: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    organizational_unit: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    locality: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    postal_code: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    serial_number: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    common_name: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    street_address: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    state_or_province: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub distinguished_name: String,
}

impl Certificate {
    /// Parses a certificate. For `digits` see [`crate::time::Timestamp::text`].
    pub fn read(der: &[u8], digits: u8) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let key = certificate.public_key();
        let serial = certificate.raw_serial();
        let zeros = serial.iter().take_while(|b| **b == 0).count();
        let mut serial_number = format!("{:#}", Hex(serial.get(zeros..).unwrap_or_default()));
        if serial_number.len() > 1 && serial_number.starts_with('0') || serial_number.is_empty() {
            serial_number = serial_number.get(1..).unwrap_or("0").to_owned();
        }
        Some(Self {
            version_number: certificate.version().0.saturating_add(1),
            serial_number,
            signature_algorithm: signature_algorithm(&certificate.signature_algorithm),
            public_key_algorithm: key_algorithm(&key.algorithm.algorithm.to_id_string()),
            public_key_size: key_size(key),
            not_before: time(certificate.validity().not_before, digits),
            not_after: time(certificate.validity().not_after, digits),
            issuer: Name::read(certificate.issuer()),
            subject: Name::read(certificate.subject()),
            alternative_names: alternative_names(&certificate),
        })
    }
}

/// Formats a time. Certificates may be valid until 9999, which [`crate::time::Timestamp`] cannot represent.
fn time(time: ASN1Time, digits: u8) -> String {
    let t = time.to_datetime();
    let fraction = usize::from(digits.clamp(1, 9));
    let (year, month, day) = (t.year(), u8::from(t.month()), t.day());
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:0fraction$}Z", t.hour(), t.minute(), t.second(), 0)
}

fn alternative_names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let mut kinds: [Vec<String>; 3] = Default::default();
    let names = certificate.extensions().iter().find_map(|e| match e.parsed_extension() {
        ParsedExtension::SubjectAlternativeName(names) => Some(&names.general_names),
        _ => None,
    });
    for name in names.into_iter().flatten().take(MOST_NAMES) {
        match name {
            GeneralName::DNSName(name) => kinds[0].push((*name).to_owned()),
            GeneralName::RFC822Name(name) => kinds[1].push((*name).to_owned()),
            GeneralName::IPAddress(bytes) => {
                let v4 = bytes.first_chunk::<4>().filter(|_| bytes.len() == 4).map(|b| Ipv4Addr::from(*b).to_string());
                let v6 = bytes.first_chunk::<16>().filter(|_| bytes.len() == 16).map(|b| Ipv6Addr::from(*b).to_string());
                kinds[2].extend(v4.or(v6));
            }
            _ => {}
        }
    }
    kinds.concat()
}

fn signature_algorithm(algorithm: &AlgorithmIdentifier<'_>) -> &'static str {
    match algorithm.algorithm.to_id_string().as_str() {
        "1.2.840.113549.1.1.4" => "MD5-RSA",
        "1.2.840.113549.1.1.5" | "1.3.14.3.2.29" => "SHA1-RSA",
        "1.2.840.113549.1.1.11" => "SHA256-RSA",
        "1.2.840.113549.1.1.12" => "SHA384-RSA",
        "1.2.840.113549.1.1.13" => "SHA512-RSA",
        "1.2.840.113549.1.1.10" => pss(algorithm),
        "1.2.840.10040.4.3" => "DSA-SHA1",
        "2.16.840.1.101.3.4.3.2" => "DSA-SHA256",
        "1.2.840.10045.4.1" => "ECDSA-SHA1",
        "1.2.840.10045.4.3.2" => "ECDSA-SHA256",
        "1.2.840.10045.4.3.3" => "ECDSA-SHA384",
        "1.2.840.10045.4.3.4" => "ECDSA-SHA512",
        "1.3.101.112" => "Ed25519",
        _ => "0",
    }
}

/// The name of the hash of RSASSA-PSS, which is in the parameters: the last number of the first 2.16.840.1.101.3.4.2.N
/// (RFC 4055).
fn pss(algorithm: &AlgorithmIdentifier<'_>) -> &'static str {
    const HASHES: [u8; 8] = [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02];
    let parameters = algorithm.parameters.as_ref().map(|p| p.data).unwrap_or_default();
    let at = memchr::memmem::find(parameters, &HASHES).map(|at| at + HASHES.len());
    match at.and_then(|at| parameters.get(at)) {
        Some(1) => "SHA256-RSAPSS",
        Some(2) => "SHA384-RSAPSS",
        Some(3) => "SHA512-RSAPSS",
        _ => "0",
    }
}

fn key_algorithm(id: &str) -> &'static str {
    match id {
        "1.2.840.113549.1.1.1" => "RSA",
        "1.2.840.10040.4.1" => "DSA",
        "1.2.840.10045.2.1" => "ECDSA",
        "1.3.101.112" => "(unknown:4)",
        _ => "(unknown:0)",
    }
}

/// The size of the key in bits: the size of the RSA modulus, of DSA's prime, or of the curve's field.
fn key_size(key: &SubjectPublicKeyInfo<'_>) -> Option<usize> {
    let bits = |number: &[u8]| {
        let zeros = number.iter().take_while(|b| **b == 0).count();
        let first = number.get(zeros)?;
        Some((number.len() - zeros) * 8 - first.leading_zeros() as usize)
    };
    let parameters = key.algorithm.parameters.as_ref();
    match key.algorithm.algorithm.to_id_string().as_str() {
        "1.2.840.113549.1.1.1" => match key.parsed() {
            Ok(PublicKey::RSA(rsa)) => bits(rsa.modulus),
            _ => None,
        },
        "1.2.840.10040.4.1" => bits(wire::der(&mut Reader::new(parameters?.data))?.1),
        "1.2.840.10045.2.1" => match parameters?.as_oid().ok()?.to_id_string().as_str() {
            "1.3.132.0.33" => Some(224),
            "1.2.840.10045.3.1.7" => Some(256),
            "1.3.132.0.34" => Some(384),
            "1.3.132.0.35" => Some(521),
            _ => None,
        },
        _ => None,
    }
}

impl Name {
    fn read(name: &X509Name<'_>) -> Self {
        /// Attributes that have a short name, in the order in which they are written.
        const ORDER: [(&str, &str); 9] = [
            ("2.5.4.5", "SERIALNUMBER"),
            ("2.5.4.3", "CN"),
            ("2.5.4.11", "OU"),
            ("2.5.4.10", "O"),
            ("2.5.4.17", "POSTALCODE"),
            ("2.5.4.9", "STREET"),
            ("2.5.4.7", "L"),
            ("2.5.4.8", "ST"),
            ("2.5.4.6", "C"),
        ];
        let mut values: [Vec<String>; 9] = Default::default();
        let mut others = vec![];
        for attribute in name.iter_attributes() {
            let id = attribute.attr_type().to_id_string();
            let value = attribute.attr_value();
            let text = text(value.tag().0, value.data);
            match (ORDER.iter().position(|(known, _)| *known == id), text) {
                (Some(place), Some(text)) => {
                    if place < 2 {
                        values[place].clear(); // Only the last value of this attribute is used.
                    }
                    values[place].push(text.into_owned());
                }
                (Some(_), None) => {}
                (None, Some(text)) => others.push(format!("{id}=#{}", Hex(&encoded(&text)))),
                (None, None) => others.push(format!("{id}=#{}{}", Hex(&head(value.tag().0 as u8, value.data.len())), Hex(value.data))),
            }
        }
        let mut distinguished = String::new();
        for ((_, key), values) in ORDER.iter().zip(&values) {
            for (i, value) in values.iter().enumerate() {
                distinguished.push_str(if i > 0 {
                    "+"
                } else if distinguished.is_empty() {
                    ""
                } else {
                    ","
                });
                let _ = write!(distinguished, "{key}=");
                escape(value, &mut distinguished);
            }
        }
        for other in others.iter().rev() {
            if !distinguished.is_empty() {
                distinguished.push(',');
            }
            distinguished.push_str(other);
        }
        let [serial, common, unit, organization, postal, street, locality, state, country] = values.map(|v| v.join(" "));
        Self {
            country,
            organization,
            organizational_unit: unit,
            locality,
            postal_code: postal,
            serial_number: serial,
            common_name: common,
            street_address: street,
            state_or_province: state,
            distinguished_name: distinguished,
        }
    }
}

/// The content of a string type; `None` for other types.
fn text(tag: u32, data: &[u8]) -> Option<Cow<'_, str>> {
    Some(match tag {
        12 | 18 | 19 | 22 | 26 => String::from_utf8_lossy(data),
        20 => data.iter().map(|b| char::from(*b)).collect::<String>().into(),
        30 => char::decode_utf16(data.chunks_exact(2).map(|c| u16::from_be_bytes([c[0], c[1]])))
            .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
            .collect::<String>()
            .into(),
        _ => return None,
    })
}

/// The DER encoding of a string: as PrintableString if possible, otherwise as UTF-8.
fn encoded(text: &str) -> Vec<u8> {
    let printable = text.bytes().all(|b| b.is_ascii_alphanumeric() || b" '()+,-./:=?".contains(&b));
    let mut der = head(if printable { 0x13 } else { 0x0c }, text.len());
    der.extend(text.bytes());
    der
}

fn head(tag: u8, length: usize) -> Vec<u8> {
    let digits: Vec<u8> = length.to_be_bytes().into_iter().skip_while(|b| *b == 0).collect();
    match length {
        0..0x80 => vec![tag, length as u8],
        _ => [&[tag, 0x80 | digits.len() as u8][..], &digits].concat(),
    }
}

/// Escapes a value as in RFC 2253 section 2.4.
fn escape(value: &str, into: &mut String) {
    let last = value.chars().count().saturating_sub(1);
    for (i, c) in value.chars().enumerate() {
        let special = matches!(c, ',' | '+' | '"' | '\\' | '<' | '>' | ';');
        if special || i == 0 && matches!(c, '#' | ' ') || i == last && c == ' ' {
            into.push('\\');
        }
        into.push(c);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_and_encodes() {
        let mut out = String::new();
        escape(" a,b+c# ", &mut out);
        assert_eq!(out, "\\ a\\,b\\+c#\\ ");
        assert_eq!(encoded("com"), [0x13, 3, b'c', b'o', b'm']);
        assert_eq!(encoded("a@b")[..2], [0x0c, 3]);
        assert_eq!(encoded(&"x".repeat(300))[..4], [0x13, 0x82, 1, 0x2c]);
        assert_eq!(text(30, &[0, b'a', 0x20, 0xac]).unwrap(), "a€");
    }
}
