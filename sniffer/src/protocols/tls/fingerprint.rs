//! Fingerprints of hellos: JA3 and JA3S (<https://github.com/salesforce/ja3>), and JA4 of the client
//! (<https://github.com/FoxIO-LLC/ja4>, technical_details/JA4.md). JA4 is free to use; the server's JA4S has another
//! licence and is not computed.

use super::{
    names::is_grease,
    wire::{self, Hello, extension, numbers},
};
use md5::{Digest, Md5};
use sha2::Sha256;
use std::fmt::{self, Write};

/// Writes numbers with a separator between them (the second field), in hexadecimal if the last field is true. GREASE is
/// left out.
struct Joined<I>(I, char, bool);

impl<I: Iterator<Item = u16> + Clone> fmt::Display for Joined<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, number) in self.0.clone().filter(|n| !is_grease(*n)).enumerate() {
            if i > 0 {
                f.write_char(self.1)?;
            }
            if self.2 { write!(f, "{number:04x}")? } else { write!(f, "{number}")? }
        }
        Ok(())
    }
}

fn dashed<I: Iterator<Item = u16> + Clone>(numbers: I) -> Joined<I> {
    Joined(numbers, '-', false)
}

fn extension_numbers(hello: &Hello<'_>) -> Vec<u16> {
    hello.extensions().map(|e| e.0).collect()
}

/// The text of JA3: `VERSION,CIPHERS,EXTENSIONS,GROUPS,FORMATS`.
pub fn ja3_text(hello: &Hello<'_>) -> String {
    let groups = hello.extension(extension::SUPPORTED_GROUPS).and_then(wire::whole16).unwrap_or_default();
    let formats = hello.extension(extension::EC_POINT_FORMATS).and_then(wire::whole8).unwrap_or_default();
    let ciphers: Vec<u16> = hello.ciphers().collect();
    let groups: Vec<u16> = numbers(groups).collect();
    format!(
        "{},{},{},{},{}",
        hello.version,
        dashed(ciphers.iter().copied()),
        dashed(extension_numbers(hello).into_iter()),
        dashed(groups.iter().copied()),
        dashed(formats.iter().map(|f| u16::from(*f))),
    )
}

/// The text of JA3S: `VERSION,CIPHER,EXTENSIONS`.
pub fn ja3s_text(hello: &Hello<'_>) -> String {
    let cipher = hello.ciphers().next().unwrap_or_default();
    format!("{},{cipher},{}", hello.version, dashed(extension_numbers(hello).into_iter()))
}

/// MD5 as lower-case hexadecimal digits.
pub fn md5(text: &str) -> String {
    crate::event::text::Hex(&Md5::digest(text)).to_string()
}

/// JA4 of a client's hello over TCP.
pub fn ja4(hello: &Hello<'_>) -> String {
    let mut ciphers: Vec<u16> = hello.ciphers().filter(|c| !is_grease(*c)).collect();
    let mut extensions = extension_numbers(hello);
    extensions.retain(|e| !is_grease(*e));
    let versions = hello.extension(extension::SUPPORTED_VERSIONS).and_then(wire::whole8);
    let version = versions.and_then(|v| numbers(v).filter(|v| !is_grease(*v)).max()).unwrap_or(hello.version);
    let named = extensions.contains(&extension::SERVER_NAME);
    let mut text =
        format!("t{}{}{:02}{:02}", version_text(version), if named { 'd' } else { 'i' }, ciphers.len().min(99), extensions.len().min(99));
    text.extend(protocol_text(hello.protocol().unwrap_or_default()));
    ciphers.sort_unstable();
    text.push('_');
    text.push_str(&shortened(&Joined(ciphers.iter().copied(), ',', true).to_string()));
    extensions.retain(|e| ![extension::SERVER_NAME, extension::ALPN].contains(e));
    extensions.sort_unstable();
    let mut last = Joined(extensions.iter().copied(), ',', true).to_string();
    let signatures = hello.extension(extension::SIGNATURE_ALGORITHMS).and_then(wire::whole16).unwrap_or_default();
    let signatures: Vec<u16> = numbers(signatures).filter(|s| !is_grease(*s)).collect();
    if !signatures.is_empty() {
        last.push('_');
        last.push_str(&Joined(signatures.iter().copied(), ',', true).to_string());
    }
    text.push('_');
    text.push_str(&shortened(&last));
    text
}

fn version_text(version: u16) -> &'static str {
    match version {
        0x0304 => "13",
        0x0303 => "12",
        0x0302 => "11",
        0x0301 => "10",
        0x0300 => "s3",
        0x0002 => "s2",
        _ => "00",
    }
}

/// The first and last character of a protocol's name, or of its hexadecimal form if they are not letters or digits.
fn protocol_text(name: &[u8]) -> [char; 2] {
    let (Some(&first), Some(&last)) = (name.first(), name.last()) else { return ['0', '0'] };
    if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() {
        return [first.into(), last.into()];
    }
    let digit = |n: u8| char::from_digit(n.into(), 16).unwrap_or('0');
    [digit(first >> 4), digit(last & 15)]
}

/// Twelve digits of the SHA-256, or zeros for an empty text.
fn shortened(text: &str) -> String {
    if text.is_empty() {
        return "0".repeat(12);
    }
    let digest = Sha256::digest(text);
    crate::event::text::Hex(digest.get(..6).unwrap_or_default()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification, with fifteen cipher suites and sixteen extensions.
    #[test]
    fn ja4_of_the_specification() {
        let ciphers = "0a0a,1301,1302,1303,c02b,c02f,c02c,c030,cca9,cca8,c013,c014,009c,009d,002f,0035";
        let extensions = "1a1a,001b,0000,0033,0010,4469,0017,002d,000d,0005,0023,0012,002b,ff01,000b,000a,0015";
        let hex = |list: &str| -> Vec<u8> { list.split(',').flat_map(|n| u16::from_str_radix(n, 16).unwrap().to_be_bytes()).collect() };
        let lengthened = |bytes: &[u8]| [&(bytes.len() as u16).to_be_bytes(), bytes].concat();
        let mut values = vec![];
        for number in hex(extensions).chunks(2) {
            let value = match number {
                [0, 0x10] => lengthened(&[2, b'h', b'2', 8, b'h', b't', b't', b'p', b'/', b'1', b'.', b'1']),
                [0, 0x0d] => lengthened(&hex("0403,0804,0401,0503,0805,0501,0806,0601")),
                [0, 0x2b] => vec![6, 0x9a, 0x9a, 3, 4, 3, 3],
                _ => vec![],
            };
            values.extend(number);
            values.extend(lengthened(&value));
        }
        let body = [&[3, 3][..], &[9; 32], &[0], &lengthened(&hex(ciphers)), &[1, 0], &lengthened(&values)].concat();
        let hello = Hello::client(&body).unwrap();
        assert_eq!(ja4(&hello), "t13d1516h2_8daaf6152771_e5627efa2ab1");
    }

    #[test]
    fn ja4_of_a_hello_with_few_parts() {
        let body = [&[3, 1][..], &[9; 32], &[0, 0, 0, 1, 0]].concat();
        assert_eq!(ja4(&Hello::client(&body).unwrap()), "t10i000000_000000000000_000000000000");
        assert_eq!(protocol_text(&[0xab]), ['a', 'b']);
        assert_eq!(protocol_text(&[0x30, 0xab]), ['3', 'b']);
        assert_eq!(protocol_text(&[0x30, 0x31, 0xab, 0xcd]), ['3', 'd']);
        assert_eq!(protocol_text(b"x"), ['x', 'x']);
    }
}
