use super::{Keystore, Location};
use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
};

/// A keystore that Packetbeat 9.6 made with `keystore add`.
const OF_PACKETBEAT: &str = concat!(
    "v1Zd1QB2F493sB0C0yYYu7lAq8niVImpXiTh+Q/ZFyATW5vXIUTdHathwXkKDzmjPvMob8y5n2Nd62ghxUIetvPBclnM/U4crzOMhXJ/YiDS0re5QTB5djKRpXSrpOlGaV/",
    "LN7EUE1O3bTTuzBBJF+QgJ4or3Zlr4uS5naReXipToygDhW8HempgB3ukgBLAjNkzguA6UkIPSgpMZbhR4qus2fl5pst+St2dHH9Fk5y6WU/Dh/yNyZfN6WMm+3krnRGWwQOM",
    "UVpmk15/ET1834YSlVCZlAHkJKPqEJPtqlM/2X0JfIdzZ54A4nXhYIEB15WL8kM3r7U4h0WRdGEnoUwRlIHeWPtw==",
);

fn at(dir: &Path) -> Location {
    Location { path: dir.join("data/packetbeat.keystore"), strict: true }
}

fn value<'a>(keystore: &'a Keystore, name: &str) -> &'a str {
    keystore.get(name).unwrap().unwrap()
}

#[test]
fn a_file_of_packetbeat() {
    let keystore = Keystore::decode(OF_PACKETBEAT).unwrap();
    assert_eq!(keystore.names().collect::<Vec<_>>(), ["ES_PWD", "FOO", "a.dotted-name_1"]);
    assert_eq!(value(&keystore, "FOO"), "correct horse battery staple");
    assert_eq!(value(&keystore, "ES_PWD"), "pässwörd ☃ with \"quotes\" and \\ back");
    assert_eq!(value(&keystore, "a.dotted-name_1"), "x");
    assert!(keystore.get("foo").is_none(), "names are case-sensitive");
}

#[test]
fn created_updated_and_read() {
    let dir = tempfile::tempdir().unwrap();
    let location = at(dir.path());
    assert!(location.read().unwrap().is_none());
    let missing = location.update(|_| Ok(())).unwrap_err().0;
    assert_eq!(missing, "the keystore doesn't exist. Use the 'create' command to create one");
    location.create().unwrap();
    let values = ["", " a\tb\n", "${x} $$ %{y}", "[1, \"2\"], {a: b}", "'", "\u{0}\u{7f}\u{10ffff}", &"long".repeat(10_000)];
    for (at, text) in values.into_iter().enumerate() {
        location
            .update(|keystore| {
                keystore.set(&at.to_string(), text);
                Ok(())
            })
            .unwrap();
    }
    let keystore = location.read().unwrap().unwrap();
    assert_eq!((0..values.len()).map(|at| value(&keystore, &at.to_string())).collect::<Vec<_>>(), values);
    assert!(location.update(|keystore| Ok(keystore.remove("0"))).unwrap());
    assert!(!location.read().unwrap().unwrap().contains("0"));
    assert_eq!(fs::metadata(&location.path).unwrap().permissions().mode() & 0o777, 0o600);
    let names: Vec<_> = fs::read_dir(location.path.parent().unwrap()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["packetbeat.keystore"], "no temporary file stays");
    location.create().unwrap();
    assert_eq!(location.read().unwrap().unwrap().names().count(), 0);
}

#[test]
fn a_failed_change_leaves_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let location = at(dir.path());
    location.create().unwrap();
    let before = fs::read(&location.path).unwrap();
    let failed = location.update(|keystore| {
        keystore.set("A", "1");
        Err::<(), _>(super::Error("no".into()))
    });
    assert_eq!(failed.unwrap_err().0, "no");
    assert_eq!(fs::read(&location.path).unwrap(), before);
    let held = fs::File::open(&location.path).unwrap();
    held.try_lock().unwrap();
    let busy = location.update(|_| Ok(())).unwrap_err().0;
    assert!(busy.contains("is being changed by another process"), "{busy}");
}

#[test]
fn unusable_files_are_named_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let location = at(dir.path());
    location.create().unwrap();
    let good = fs::read_to_string(&location.path).unwrap();
    let middle = good.len() / 2;
    let changed = format!("{}{}{}", &good[..middle], if good[middle..].starts_with('A') { 'B' } else { 'A' }, &good[middle + 1..]);
    for (text, reason) in [
        (b"v2abc".to_vec(), "has the version v2; only v1 is supported"),
        (b"".to_vec(), "is not a keystore of Packetbeat"),
        (b"vx".to_vec(), "has the version vx"),
        (b"A: secret\n".to_vec(), "is not a keystore of Packetbeat"),
        (b"\xff\xfe\x00".to_vec(), "is not a keystore of Packetbeat"),
        (b"v1".to_vec(), "is damaged"),
        (b"v1abc".to_vec(), "is damaged"),
        (good.as_bytes()[..80].to_vec(), "is damaged"),
        (good.as_bytes()[..good.len() - 4].to_vec(), "cannot be decrypted"),
        (changed.into_bytes(), "cannot be decrypted"),
    ] {
        fs::write(&location.path, &text).unwrap();
        let error = location.read().unwrap_err().0;
        assert!(error.contains(reason), "{}: {error}", text.escape_ascii());
        assert!(error.starts_with(&format!("the keystore {} ", location.path.display())), "{error}");
        assert!(error.contains("keystore create --force"), "{error}");
    }
    fs::write(&location.path, good + "\n").unwrap();
    assert!(location.read().unwrap().is_some(), "a line end after the text is not damage");
    fs::set_permissions(&location.path, fs::Permissions::from_mode(0o640)).unwrap();
    let error = location.read().unwrap_err().0;
    assert!(error.contains("(mode 0640); correct it with `chmod go-rwx /"), "{error}");
    assert!(Location { strict: false, ..location.clone() }.read().unwrap().is_some());
    fs::remove_file(&location.path).unwrap();
    fs::create_dir(&location.path).unwrap();
    assert!(location.read().unwrap_err().0.contains("is not a file"));
    fs::remove_dir(&location.path).unwrap();
    symlink(&location.path, &location.path).unwrap();
    assert!(location.read().unwrap_err().0.contains("cannot be read"));
}

#[test]
fn a_value_that_is_no_text() {
    let keystore: Keystore = Keystore(serde_json::from_str(r#"{"A": {"value": "//4="}, "B": {"value": null}}"#).unwrap());
    assert!(keystore.get("A").unwrap().unwrap_err().0.contains("is not UTF-8 text"));
    assert_eq!(value(&keystore, "B"), "");
    assert_eq!(format!("{keystore:?}"), r#"{"A", "B"}"#, "no secret in the debug form");
}
