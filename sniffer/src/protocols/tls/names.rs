//! Names of numbers in documents (mostly IANA's), and the numbers without a meaning (GREASE, RFC 8701).

use std::borrow::Cow;
use tls_parser::TlsCipherSuite;

/// A name from a table, or one made from an unknown number.
pub type Name = Cow<'static, str>;

/// Whether clients send this number only to test that servers ignore unknown numbers.
pub fn is_grease(number: u16) -> bool {
    let [high, low] = number.to_be_bytes();
    high == low && low & 0x0f == 0x0a
}

fn unknown16(number: u16) -> Name {
    format!("(unknown:0x{number:04x})").into()
}

fn unknown8(number: u8) -> Name {
    format!("(unknown:0x{number:02x})").into()
}

/// Cipher suites that have a name in documents; the registry now has more.
#[rustfmt::skip]
const KNOWN_CIPHERS: &[(u16, u16)] = &[
    (0x0000, 0x004c), (0x0060, 0x006d), (0x0080, 0x00c5), (0x00ff, 0x00ff), (0x1301, 0x1305), (0x5600, 0x5600), (0xc001, 0xc0af),
    (0xcca8, 0xccae), (0xd001, 0xd003), (0xd005, 0xd005), (0xfefe, 0xfeff), (0xffe0, 0xffe1),
];

/// The name of a cipher suite.
pub fn cipher(number: u16) -> Name {
    // Numbers that are or were used without being registered.
    let name = match number {
        0x001c => "SSL_FORTEZZA_KEA_WITH_NULL_SHA",
        0x001d => "SSL_FORTEZZA_KEA_WITH_FORTEZZA_CBC_SHA",
        0x0047 => "TLS_ECDH_ECDSA_WITH_NULL_SHA",
        0x0048 => "TLS_ECDH_ECDSA_WITH_RC4_128_SHA",
        0x0049 => "TLS_ECDH_ECDSA_WITH_DES_CBC_SHA",
        0x004a => "TLS_ECDH_ECDSA_WITH_3DES_EDE_CBC_SHA",
        0x004b => "TLS_ECDH_ECDSA_WITH_AES_128_CBC_SHA",
        0x004c => "TLS_ECDH_ECDSA_WITH_AES_256_CBC_SHA",
        0x0080 => "TLS_GOSTR341094_WITH_28147_CNT_IMIT",
        0x0081 => "TLS_GOSTR341001_WITH_28147_CNT_IMIT",
        0x0082 => "TLS_GOSTR341094_WITH_NULL_GOSTR3411",
        0x0083 => "TLS_GOSTR341001_WITH_NULL_GOSTR3411",
        0xfefe | 0xffe1 => "SSL_RSA_FIPS_WITH_DES_CBC_SHA",
        0xfeff | 0xffe0 => "SSL_RSA_FIPS_WITH_3DES_EDE_CBC_SHA",
        _ => {
            let known = KNOWN_CIPHERS.iter().any(|(first, last)| (first..=last).contains(&&number));
            return match TlsCipherSuite::from_id(number).filter(|_| known) {
                Some(suite) => suite.name.into(),
                None => unknown16(number),
            };
        }
    };
    name.into()
}

/// The name of a compression method.
pub fn compression(number: u8) -> Name {
    match number {
        0 => "NULL".into(),
        1 => "DEFLATE".into(),
        64 => "LZS".into(),
        _ => unknown8(number),
    }
}

/// The name of a group (curve) of the key exchange.
pub fn group(number: u16) -> Name {
    #[rustfmt::skip]
    const FROM_1: [&str; 30] = [
        "sect163k1", "sect163r1", "sect163r2", "sect193r1", "sect193r2", "sect233k1", "sect233r1", "sect239k1", "sect283k1", "sect283r1",
        "sect409k1", "sect409r1", "sect571k1", "sect571r1", "secp160k1", "secp160r1", "secp160r2", "secp192k1", "secp192r1", "secp224k1",
        "secp224r1", "secp256k1", "secp256r1", "secp384r1", "secp521r1", "brainpoolP256r1", "brainpoolP384r1", "brainpoolP512r1",
        "x25519", "x448",
    ];
    let name = match number {
        256 => "ffdhe2048",
        257 => "ffdhe3072",
        258 => "ffdhe4096",
        259 => "ffdhe6144",
        260 => "ffdhe8192",
        65281 => "arbitrary_explicit_prime_curves",
        65282 => "arbitrary_explicit_char2_curves",
        _ => match usize::from(number).checked_sub(1).and_then(|i| FROM_1.get(i)) {
            Some(name) => name,
            None => return unknown16(number),
        },
    };
    name.into()
}

/// The name of a signature algorithm.
pub fn signature(number: u16) -> Name {
    let name = match number {
        0x0201 => "rsa_pkcs1_sha1",
        0x0203 => "ecdsa_sha1",
        0x0401 => "rsa_pkcs1_sha256",
        0x0403 => "ecdsa_secp256r1_sha256",
        0x0501 => "rsa_pkcs1_sha384",
        0x0503 => "ecdsa_secp384r1_sha384",
        0x0601 => "rsa_pkcs1_sha512",
        0x0603 => "ecdsa_secp521r1_sha512",
        0x0804 => "rsa_pss_sha256",
        0x0805 => "rsa_pss_sha384",
        0x0806 => "rsa_pss_sha512",
        0x0807 => "ed25519",
        0x0808 => "ed448",
        _ => return unknown16(number),
    };
    name.into()
}

/// The name of a format of points on a curve.
pub fn point_format(number: u8) -> Name {
    match number {
        0 => "uncompressed".into(),
        1 => "ansiX962_compressed_prime".into(),
        2 => "ansiX962_compressed_char2".into(),
        _ => unknown8(number),
    }
}

/// The name of a type of certificate.
pub fn certificate_type(number: u8) -> Name {
    match number {
        0 => "X.509".into(),
        1 => "OpenPGP".into(),
        2 => "RawPubKey".into(),
        _ => format!("(unknown:{number})").into(),
    }
}

/// The maximum fragment length that a client requests.
pub fn fragment_length(number: u8) -> Name {
    match number {
        1 => "2^9".into(),
        2 => "2^10".into(),
        3 => "2^11".into(),
        4 => "2^12".into(),
        _ => format!("(unknown:{number})").into(),
    }
}

/// The name of the status of an OCSP response (RFC 6960 section 4.2.1).
pub fn ocsp_status(number: u8) -> Name {
    match number {
        0 => "successful".into(),
        1 => "malformedRequest".into(),
        2 => "internalError".into(),
        3 => "tryLater".into(),
        5 => "sigRequired".into(),
        6 => "unauthorized".into(),
        _ => number.to_string().into(),
    }
}

/// The name of the severity of an alert.
pub fn severity(number: u8) -> Name {
    match number {
        1 => "warning".into(),
        2 => "fatal".into(),
        _ => unknown8(number),
    }
}

/// The name of the description of an alert.
pub fn alert(number: u8) -> Name {
    let name = match number {
        0 => "close_notify",
        10 => "unexpected_message",
        20 => "bad_record_mac",
        21 => "decryption_failed",
        22 => "record_overflow",
        30 => "decompression_failure",
        40 => "handshake_failure",
        41 => "no_certificate_RESERVED",
        42 => "bad_certificate",
        43 => "unsupported_certificate",
        44 => "certificate_revoked",
        45 => "certificate_expired",
        46 => "certificate_unknown",
        47 => "illegal_parameter",
        48 => "unknown_ca",
        49 => "access_denied",
        50 => "decode_error",
        51 => "decrypt_error",
        60 => "export_restriction_RESERVED",
        70 => "protocol_version",
        71 => "insufficient_security",
        80 => "internal_error",
        86 => "inappropriate_fallback",
        90 => "user_canceled",
        100 => "no_renegotiation",
        110 => "unsupported_extension",
        111 => "certificate_unobtainable",
        112 => "unrecognized_name",
        113 => "bad_certificate_status_response",
        114 => "bad_certificate_hash_value",
        115 => "unknown_psk_identity",
        _ => return unknown8(number),
    };
    name.into()
}

/// A version as one string, `TLS 1.2`.
pub fn version(number: u16) -> Name {
    match number {
        0x0300 => "SSL 3.0".into(),
        0x0301 => "TLS 1.0".into(),
        0x0302 => "TLS 1.1".into(),
        0x0303 => "TLS 1.2".into(),
        0x0304 => "TLS 1.3".into(),
        0x0305..=0x03ff => format!("TLS 1.{}", (number & 0xff) - 1).into(),
        _ => format!("(raw {}.{})", number >> 8, number & 0xff).into(),
    }
}

/// A version as two strings: `tls` and `1.2`.
pub fn version_parts(number: u16) -> (&'static str, Name) {
    match number {
        0x0300 => ("ssl", "3.0".into()),
        0x0303 => ("tls", "1.2".into()),
        0x0304 => ("tls", "1.3".into()),
        0x0301..=0x03ff => ("tls", format!("1.{}", (number & 0xff) - 1).into()),
        _ => ("unknown", format!("{}.{}", number >> 8, number & 0xff).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cipher_with_a_name_and_no_other() {
        let named = (0..=u16::MAX).filter(|n| !cipher(*n).starts_with('(')).count();
        assert_eq!(named, 358);
        assert_eq!((cipher(0x00c6), cipher(0x1306)), ("(unknown:0x00c6)".into(), "(unknown:0x1306)".into()));
        assert_eq!((cipher(0x0066), cipher(0xc0aa)), ("TLS_DHE_DSS_WITH_RC4_128_SHA".into(), "TLS_PSK_DHE_WITH_AES_128_CCM_8".into()));
    }

    #[test]
    fn grease_and_versions() {
        assert_eq!((0..=u16::MAX).filter(|n| is_grease(*n)).count(), 16);
        assert!(is_grease(0x0a0a) && is_grease(0xfafa) && !is_grease(0x0a1a) && !is_grease(0x0b0b));
        assert_eq!((version(0x0300), version(0x7f1c)), ("SSL 3.0".into(), "(raw 127.28)".into()));
        assert_eq!((version_parts(0x0302), version_parts(0)), (("tls", "1.1".into()), ("unknown", "0.0".into())));
        assert_eq!(
            (group(29), group(4588), alert(48), alert(116)),
            ("x25519".into(), "(unknown:0x11ec)".into(), "unknown_ca".into(), "(unknown:0x74)".into())
        );
    }
}
