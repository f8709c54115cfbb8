//! The keystore: a file with secrets that the configuration uses as `${NAME}`. The format is Packetbeat's, so that each program reads the
//! files of the other.
//!
//! The file is the text `v1` and the base64 form of salt (64 bytes), nonce (12 bytes) and an AES-256-GCM ciphertext with its tag. The AES key
//! is PBKDF2-HMAC-SHA512 (RFC 8018) of the salt and an empty password, so the file is protected by its permissions only. The plaintext is
//! JSON: `{"NAME": {"value": "BASE64"}}`.

use super::{error::Error, permissions};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    pbkdf2,
    rand::{SecureRandom, SystemRandom},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fmt,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, ErrorKind, Read, Write},
    num::NonZeroU32,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::PathBuf,
};

/// The version at the beginning of the file.
const VERSION: &str = "v1";
/// Length of the salt, in bytes.
const SALT: usize = 64;
/// Iterations of PBKDF2. The number is part of the format.
const ITERATIONS: NonZeroU32 = NonZeroU32::new(10_000).unwrap();
/// Maximum size of the file, in bytes. It limits the memory that a wrong file takes.
const MAX_FILE: u64 = 8 << 20;
/// Maximum length of one secret, in bytes. Certificates and keys have a few KiB.
pub const MAX_SECRET: usize = 1 << 20;

/// Where the keystore is, and whether its permissions are checked.
#[derive(Clone, Debug)]
pub struct Location {
    /// The setting `keystore.path`; by default `packetbeat.keystore` in `path.data`.
    pub path: PathBuf,
    /// The flag `--strict.perms`: whether the permissions of the file are checked.
    pub strict: bool,
}

/// The secrets of a keystore, decrypted.
#[derive(Default)]
pub struct Keystore(BTreeMap<String, Secret>);

#[derive(Serialize, Deserialize)]
struct Secret {
    #[serde(with = "bytes")]
    value: Vec<u8>,
}

impl fmt::Debug for Keystore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Keystore {
    /// The value of a secret. `None` if the keystore does not have it.
    ///
    /// # Errors
    /// When the value is not UTF-8, so that no setting can have it.
    pub fn get(&self, name: &str) -> Option<Result<&str, Error>> {
        let secret = self.0.get(name)?;
        Some(std::str::from_utf8(&secret.value).map_err(|_| {
            Error(format!("the secret `{name}` of the keystore is not UTF-8 text; enter it again with `keystore add {name} --force`"))
        }))
    }

    /// The names of all secrets, in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Whether the keystore has a secret with this name.
    pub fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Adds a secret, or replaces it.
    pub fn set(&mut self, name: &str, value: &str) {
        self.0.insert(name.to_owned(), Secret { value: value.as_bytes().to_vec() });
    }

    /// Removes a secret. Returns whether the secret existed.
    pub fn remove(&mut self, name: &str) -> bool {
        self.0.remove(name).is_some()
    }

    fn decode(text: &str) -> Result<Self, String> {
        let Some(sealed) = text.strip_prefix(VERSION) else {
            let version: String = text.chars().take(VERSION.len()).filter(char::is_ascii_alphanumeric).collect();
            return Err(match version.strip_prefix('v') {
                Some(number) if !number.is_empty() => {
                    format!("has the version {version}; only {VERSION} is supported. It was made by another version of Packetbeat")
                }
                _ => "is not a keystore of Packetbeat, or it is damaged".into(),
            });
        };
        let damaged = || "is damaged: its content is incomplete or not base64 text".to_owned();
        let sealed = STANDARD.decode(sealed.trim_ascii_end()).map_err(|_| damaged())?;
        let (salt, rest) = sealed.split_at_checked(SALT).ok_or_else(damaged)?;
        let (nonce, rest) = rest.split_at_checked(NONCE_LEN).ok_or_else(damaged)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| damaged())?;
        let mut plain = rest.to_vec();
        let undecryptable = || "cannot be decrypted: it was changed after it was written, or it has a password".to_owned();
        let plain = key(salt).and_then(|key| key.open_in_place(nonce, Aad::empty(), &mut plain).ok()).ok_or_else(undecryptable)?;
        serde_json::from_slice(plain).map(Self).map_err(|_| "is damaged: its secrets are not in the form of version v1".to_owned())
    }

    fn encode(&self) -> Result<String, Error> {
        let failed = || Error("the keystore cannot be encrypted: the system has no random numbers".into());
        let (mut salt, mut nonce) = ([0; SALT], [0; NONCE_LEN]);
        let random = SystemRandom::new();
        random.fill(&mut salt).map_err(|_| failed())?;
        random.fill(&mut nonce).map_err(|_| failed())?;
        let mut sealed = serde_json::to_vec(&self.0).map_err(|e| Error(e.to_string()))?;
        sealed.push(b'\n');
        let key = key(&salt).ok_or_else(failed)?;
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut sealed).map_err(|_| failed())?;
        Ok(format!("{VERSION}{}", STANDARD.encode([&salt[..], &nonce, &sealed].concat())))
    }
}

/// Derives the AES key.
fn key(salt: &[u8]) -> Option<LessSafeKey> {
    let mut key = [0; 32];
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA512, ITERATIONS, salt, b"", &mut key);
    UnboundKey::new(&AES_256_GCM, &key).ok().map(LessSafeKey::new)
}

impl Location {
    /// Whether the file exists.
    pub fn exists(&self) -> bool {
        self.path.exists()
    }

    /// Reads the keystore. Returns `None` if there is no file.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, other users may read it, or it is damaged. The message names the file and a
    /// remedy.
    pub fn read(&self) -> Result<Option<Keystore>, Error> {
        match File::open(&self.path) {
            Ok(file) => self.load(file).map(Some),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(self.failed(format!("cannot be read: {e}"))),
        }
    }

    /// Changes the keystore, and writes it if `change` succeeds.
    ///
    /// # Errors
    /// When there is no keystore, another process changes it, or it cannot be read or written. In addition, the errors of `change`.
    pub fn update<T>(&self, change: impl FnOnce(&mut Keystore) -> Result<T, Error>) -> Result<T, Error> {
        let file = File::open(&self.path).map_err(|e| match e.kind() {
            ErrorKind::NotFound => Error("the keystore doesn't exist. Use the 'create' command to create one".into()),
            _ => self.failed(format!("cannot be read: {e}")),
        })?;
        let busy = || self.failed("is being changed by another process; try again when that has ended".into());
        file.try_lock().map_err(|e| match e {
            TryLockError::WouldBlock => busy(),
            TryLockError::Error(e) => self.failed(format!("cannot be locked: {e}")),
        })?;
        // The lock belongs to the file and not to its name: another process may have replaced the file since it was opened.
        let id = |about: &fs::Metadata| (about.dev(), about.ino());
        let is_current = matches!((file.metadata(), fs::metadata(&self.path)), (Ok(opened), Ok(named)) if id(&opened) == id(&named));
        if !is_current {
            return Err(busy());
        }
        let mut keystore = self.load(file.try_clone().map_err(|e| self.failed(e.to_string()))?)?;
        let result = change(&mut keystore)?;
        self.write(&keystore)?;
        drop(file);
        Ok(result)
    }

    /// Writes a keystore without secrets. An existing file is replaced.
    ///
    /// # Errors
    ///
    /// When the directory cannot be made or the file cannot be written.
    pub fn create(&self) -> Result<(), Error> {
        if let Some(parent) = self.path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o750)
                .create(parent)
                .map_err(|e| self.failed(format!("the directory cannot be made: {e}")))?;
        }
        self.write(&Keystore::default())
    }

    fn load(&self, file: File) -> Result<Keystore, Error> {
        let unreadable = |e: io::Error| self.failed(format!("cannot be read: {e}"));
        let about = file.metadata().map_err(unreadable)?;
        if !about.is_file() {
            return Err(self.failed("is not a file".into()));
        }
        if self.strict {
            permissions::private(&about).map_err(|(why, mend)| {
                let shown = self.path.display();
                self.failed(format!("{why}; correct it with `{mend} {shown}`, or start with --strict.perms=false"))
            })?;
        }
        let mut text = Vec::new();
        file.take(MAX_FILE + 1).read_to_end(&mut text).map_err(unreadable)?;
        if text.len() as u64 > MAX_FILE {
            return Err(self.failed(format!("is larger than {} MiB, the limit for a keystore", MAX_FILE >> 20)));
        }
        // A text that is not UTF-8 becomes a text that is not valid base64.
        Keystore::decode(&String::from_utf8_lossy(&text)).map_err(|why| {
            self.failed(format!(
                "{why}; restore it from a backup, or make a new one with `keystore create --force` and enter its secrets again"
            ))
        })
    }

    /// Writes to a temporary file and renames it, so that a crash leaves either the old secrets or the new.
    fn write(&self, keystore: &Keystore) -> Result<(), Error> {
        let failed = |e: io::Error| self.failed(format!("cannot be written: {e}"));
        let text = keystore.encode()?;
        if text.len() as u64 > MAX_FILE {
            return Err(self.failed(format!("would be larger than {} MiB, the limit for a keystore", MAX_FILE >> 20)));
        }
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".new-{}", std::process::id()));
        let new = self.path.with_file_name(name);
        let write = || {
            let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&new)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&new, &self.path)
        };
        write().map_err(|e| {
            // The first error is the one to report.
            let _ = fs::remove_file(&new);
            failed(e)
        })
    }

    fn failed(&self, why: String) -> Error {
        Error(format!("the keystore {} {why}", self.path.display()))
    }
}

/// A byte string as base64 text in JSON.
mod bytes {
    use super::STANDARD;
    use base64::Engine as _;
    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    /// An empty byte string may also be `null`, as Go writes it.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?.unwrap_or_default();
        STANDARD.decode(text).map_err(D::Error::custom)
    }
}

#[cfg(test)]
#[path = "keystore_tests.rs"]
mod tests;
