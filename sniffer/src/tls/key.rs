//! Private keys: plain, or encrypted as PKCS#8 (RFC 5958) with PBES2 (RFC 8018).

use super::pem;
use pkcs8::{EncryptedPrivateKeyInfoRef, SecretDocument};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject};

/// The label of an encrypted key in PEM form.
const ENCRYPTED: &str = "ENCRYPTED PRIVATE KEY";

/// Reads a private key in PEM form. `passphrase` decrypts it if it is encrypted.
///
/// # Errors
/// When there is no key that can be used. The message contains no part of the key.
pub(super) fn private_key(text: &str, passphrase: Option<&str>) -> Result<PrivateKeyDer<'static>, String> {
    let pem = pem(text)?;
    let has = |text: &str| memchr::memmem::find(&pem, text.as_bytes()).is_some();
    if has(ENCRYPTED) {
        return decrypt(&pem, passphrase.ok_or("the key is encrypted; set ssl.key_passphrase")?);
    }
    if has("Proc-Type: 4,ENCRYPTED") {
        return Err("this old form of encryption cannot be read; convert the key with `openssl pkcs8 -topk8 -in KEY -out NEW`".into());
    }
    PrivateKeyDer::from_pem_slice(&pem).map_err(|_| "no private key in PEM form in it".into())
}

fn decrypt(pem: &[u8], passphrase: &str) -> Result<PrivateKeyDer<'static>, String> {
    let unreadable = "the encrypted key is not in PEM form";
    let text = std::str::from_utf8(pem).map_err(|_| unreadable)?;
    let begin = format!("-----BEGIN {ENCRYPTED}-----");
    let section = text.find(&begin).and_then(|at| text.get(at..)).ok_or(unreadable)?;
    let end = format!("-----END {ENCRYPTED}-----");
    let section = section.find(&end).and_then(|at| section.get(..at + end.len())).ok_or(unreadable)?;
    let (_, document) = SecretDocument::from_pem(section).map_err(|_| unreadable)?;
    let undecryptable = "the key cannot be decrypted: ssl.key_passphrase is wrong, or the encryption is not PBES2; `openssl pkcs8 -topk8 -v2 aes256` writes that";
    let key = EncryptedPrivateKeyInfoRef::try_from(document.as_bytes()).map_err(|_| undecryptable)?;
    let plain = key.decrypt(passphrase).map_err(|_| undecryptable)?;
    Ok(PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(plain.as_bytes().to_vec())))
}
