//! SASL for Kafka: PLAIN (RFC 4616) and SCRAM with SHA-256 and SHA-512 (RFC 5802, RFC 7677).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::{
    digest, hmac, pbkdf2,
    rand::{SecureRandom, SystemRandom},
};
use serde::Deserialize;
use std::num::NonZeroU32;

/// The setting `sasl.mechanism`: how the client proves its password.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub(super) enum Mechanism {
    #[serde(rename = "PLAIN")]
    Plain,
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
}

/// Maximum number of rounds that a server may ask for. More rounds would block the program.
const MOST_ROUNDS: u32 = 1_000_000;

impl Mechanism {
    /// The mechanism's name in the protocol.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

/// The message of PLAIN.
pub(super) fn plain(user: &str, password: &str) -> Vec<u8> {
    format!("\0{user}\0{password}").into_bytes()
}

/// An exchange of SCRAM.
pub(super) struct Scram {
    algorithms: Algorithms,
    password: String,
    /// The client's first message without its header (`client-first-message-bare` in RFC 5802).
    first: String,
    nonce: String,
}

#[derive(Clone, Copy)]
struct Algorithms {
    key: pbkdf2::Algorithm,
    mac: hmac::Algorithm,
    digest: &'static digest::Algorithm,
}

/// Returns the client's last message, and the proof with which the server must answer.
#[derive(Debug)]
pub(super) struct Proof {
    pub(super) message: String,
    signature: Vec<u8>,
}

impl Scram {
    /// Begins an exchange with a random nonce. `None` for a mechanism that is not SCRAM.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub(super) fn new(mechanism: Mechanism, user: &str, password: &str) -> Result<Option<Self>, String> {
        let mut random = [0; 18];
        SystemRandom::new().fill(&mut random).map_err(|_| "the system has no random numbers")?;
        Ok(Self::with_nonce(mechanism, user, password, STANDARD.encode(random)))
    }

    fn with_nonce(mechanism: Mechanism, user: &str, password: &str, nonce: String) -> Option<Self> {
        let algorithms = match mechanism {
            Mechanism::Plain => return None,
            Mechanism::ScramSha256 => Algorithms { key: pbkdf2::PBKDF2_HMAC_SHA256, mac: hmac::HMAC_SHA256, digest: &digest::SHA256 },
            Mechanism::ScramSha512 => Algorithms { key: pbkdf2::PBKDF2_HMAC_SHA512, mac: hmac::HMAC_SHA512, digest: &digest::SHA512 },
        };
        let user = user.replace('=', "=3D").replace(',', "=2C");
        Some(Self { algorithms, password: password.to_owned(), first: format!("n={user},r={nonce}"), nonce })
    }

    /// The client's first message.
    pub(super) fn first(&self) -> String {
        format!("n,,{}", self.first)
    }

    /// Answers the server's first message.
    ///
    /// # Errors
    /// When the message is not valid, or is not an answer to the client's.
    pub(super) fn answer(&self, server: &str) -> Result<Proof, String> {
        let invalid = || "the server's SCRAM message is not valid".to_owned();
        let attribute = |name: &str| server.split(',').find_map(|part| part.strip_prefix(name)).ok_or_else(invalid);
        let (nonce, salt, rounds) = (attribute("r=")?, attribute("s=")?, attribute("i=")?);
        if !nonce.starts_with(&self.nonce) || nonce.len() == self.nonce.len() {
            return Err("the server's SCRAM nonce is not an answer to ours".into());
        }
        let salt = STANDARD.decode(salt).map_err(|_| invalid())?;
        let rounds = rounds.parse::<NonZeroU32>().ok().filter(|rounds| rounds.get() <= MOST_ROUNDS).ok_or_else(invalid)?;
        let Algorithms { key, mac, digest } = self.algorithms;
        let mut salted = vec![0; digest.output_len()];
        pbkdf2::derive(key, rounds, &salt, self.password.as_bytes(), &mut salted);
        let sign = |key: &[u8], text: &[u8]| hmac::sign(&hmac::Key::new(mac, key), text);
        let without_proof = format!("c=biws,r={nonce}");
        let signed = format!("{},{server},{without_proof}", self.first);
        let client_key = sign(&salted, b"Client Key");
        let stored_key = digest::digest(digest, client_key.as_ref());
        let client_signature = sign(stored_key.as_ref(), signed.as_bytes());
        let proof: Vec<u8> = client_key.as_ref().iter().zip(client_signature.as_ref()).map(|(a, b)| a ^ b).collect();
        let server_key = sign(&salted, b"Server Key");
        let signature = sign(server_key.as_ref(), signed.as_bytes()).as_ref().to_vec();
        Ok(Proof { message: format!("{without_proof},p={}", STANDARD.encode(proof)), signature })
    }
}

impl Proof {
    /// Verifies the server's last message, which proves that the server knows the password, too.
    ///
    /// # Errors
    ///
    /// When the proof is missing or wrong.
    pub(super) fn verify(&self, server: &str) -> Result<(), String> {
        let signature = server.split(',').find_map(|part| part.strip_prefix("v=")).and_then(|text| STANDARD.decode(text).ok());
        match signature {
            Some(signature) if signature == self.signature => Ok(()),
            _ => Err("the server's SCRAM signature is wrong: it does not know the password".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example exchange of RFC 7677, section 3.
    #[test]
    fn scram_sha_256() {
        let scram = Scram::with_nonce(Mechanism::ScramSha256, "user", "pencil", "rOprNGfwEbeRWgbNEkqO".into()).unwrap();
        assert_eq!(scram.first(), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let server = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        let proof = scram.answer(server).unwrap();
        let expected = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        assert_eq!(proof.message, expected);
        assert_eq!(proof.verify("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="), Ok(()));
        for wrong in ["", "e=invalid-proof", "v=", "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G5="] {
            assert!(proof.verify(wrong).is_err(), "{wrong}");
        }
        for wrong in [
            "",
            "r=other,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            "r=rOprNGfwEbeRWgbNEkqO,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            "r=rOprNGfwEbeRWgbNEkqOx,s=?,i=4096",
            "r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=0",
            "r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4000000000",
        ] {
            assert!(scram.answer(wrong).is_err(), "{wrong}");
        }
        let escaped = Scram::with_nonce(Mechanism::ScramSha512, "a,b=c", "", "n".into()).unwrap();
        assert_eq!(escaped.first(), "n,,n=a=2Cb=3Dc,r=n");
        assert!(Scram::new(Mechanism::Plain, "", "").unwrap().is_none());
        assert_eq!(plain("u", "p"), b"\0u\0p");
    }
}
