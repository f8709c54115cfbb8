//! Tests of rotation, on real files.

use super::*;

struct Folder(PathBuf);
impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("sniffer-rotate-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Self(path)
    }
    fn options(&self) -> Options {
        let (folder, interval) = (self.0.join("deep"), Duration::ZERO);
        Options { folder, name: "x".into(), max_bytes: 10, keep: 3, permissions: 0o640, on_startup: true, interval }
    }
    fn contents(&self) -> Vec<(String, String)> {
        let mut all: Vec<_> = fs::read_dir(self.0.join("deep")).unwrap().map(|e| e.unwrap().path()).collect();
        all.sort();
        let day = jiff::Zoned::now().strftime("%Y%m%d").to_string();
        let name = |p: &Path| p.file_name().unwrap().to_str().unwrap().replace(&day, "D");
        all.iter().map(|p| (name(p), fs::read_to_string(p).unwrap())).collect()
    }
}
impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
fn pairs(of: &[(&str, &str)]) -> Vec<(String, String)> {
    of.iter().map(|(a, b)| ((*a).into(), (*b).into())).collect()
}

#[test]
fn names_sizes_and_number_of_files() {
    let folder = Folder::new("sizes");
    let mut rotator = Rotator::new(folder.options());
    rotator.write(b"12345\n").unwrap();
    rotator.write(b"abc\n").unwrap();
    assert_eq!(folder.contents(), pairs(&[("x-D.ndjson", "12345\nabc\n")]));
    assert_eq!(rotator.path().unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o640);
    for line in [&b"longer than a file may be\n"[..], b"3\n", b"4444444\n", b"55555\n"] {
        rotator.write(line).unwrap();
    }
    assert_eq!(
        folder.contents(),
        pairs(&[("x-D-2.ndjson", "3\n4444444\n"), ("x-D-3.ndjson", "55555\n"), ("x-D-1.ndjson", "longer than a file may be\n")])
            .into_iter()
            .collect::<std::collections::BTreeSet<_>>()
            .into_iter()
            .collect::<Vec<_>>()
    );
}

#[test]
fn an_incomplete_line_does_not_corrupt_the_next() {
    for (before, after) in [("", "b\n"), ("a\n", "a\nb\n"), ("{\"h", "{\"h\nb\n")] {
        let folder = Folder::new("cut");
        let options = Options { on_startup: false, ..folder.options() };
        let mut first = Rotator::new(options.clone());
        first.write(b"x\n").unwrap();
        fs::write(first.path().unwrap(), before).unwrap();
        Rotator::new(options).write(b"b\n").unwrap();
        assert_eq!(folder.contents(), pairs(&[("x-D.ndjson", after)]), "{before}");
    }
}

#[test]
fn a_start_begins_a_new_file_or_continues() {
    let folder = Folder::new("start");
    for (on_startup, line) in [(true, b"a\n"), (true, b"b\n"), (false, b"c\n")] {
        Rotator::new(Options { on_startup, ..folder.options() }).write(line).unwrap();
    }
    assert_eq!(folder.contents(), pairs(&[("x-D-1.ndjson", "b\nc\n"), ("x-D.ndjson", "a\n")]));
}

#[test]
fn folders_are_as_accessible_as_the_files() {
    for (permissions, expected) in [(0o600, 0o700), (0o640, 0o750), (0o644, 0o755), (0o604, 0o705)] {
        let folder = Folder::new(&format!("folders-{permissions:o}"));
        Rotator::new(Options { permissions, ..folder.options() }).write(b"a\n").unwrap();
        // The umask may remove permission bits, but it never adds any.
        for path in [folder.0.clone(), folder.0.join("deep")] {
            let mode = path.metadata().unwrap().permissions().mode() & 0o777;
            assert_eq!(mode & !expected, 0, "{}: {mode:o} for files with {permissions:o}", path.display());
            assert_eq!(mode & 0o700, 0o700);
        }
    }
}

#[test]
fn a_removed_renamed_or_replaced_file_is_replaced_by_a_new_one() {
    let other_names = Options { on_startup: false, max_bytes: 1000, ..Folder::new("gone").options() };
    let folder = Folder::new("gone");
    let mut rotator = Rotator::new(other_names);
    rotator.write(b"a\n").unwrap();
    let first = rotator.path().unwrap().to_owned();
    fs::remove_file(&first).unwrap();
    rotator.write(b"b\n").unwrap();
    assert_eq!(folder.contents(), pairs(&[("x-D.ndjson", "b\n")]), "removed");
    fs::rename(&first, folder.0.join("deep/kept")).unwrap();
    rotator.write(b"c\n").unwrap();
    assert_eq!(folder.contents(), pairs(&[("kept", "b\n"), ("x-D.ndjson", "c\n")]), "renamed");
    fs::remove_file(&first).unwrap();
    fs::write(&first, "another's\n").unwrap();
    rotator.write(b"d\n").unwrap();
    assert_eq!(folder.contents(), pairs(&[("kept", "b\n"), ("x-D-1.ndjson", "d\n"), ("x-D.ndjson", "another's\n")]), "replaced");
    fs::remove_dir_all(&folder.0).unwrap();
    rotator.write(b"e\n").unwrap();
    assert_eq!(folder.contents(), pairs(&[("x-D.ndjson", "e\n")]), "removed with its folder");
}

#[test]
fn only_regular_files_are_appended_to() {
    let folder = Folder::new("links");
    let options = Options { on_startup: false, max_bytes: 1000, ..folder.options() };
    let day = jiff::Zoned::now().strftime("%Y%m%d").to_string();
    fs::create_dir_all(&options.folder).unwrap();
    let (victim, link) = (folder.0.join("victim"), options.folder.join(format!("x-{day}-4.ndjson")));
    fs::write(&victim, "precious\n").unwrap();
    std::os::unix::fs::symlink(&victim, &link).unwrap();
    Rotator::new(options.clone()).write(b"a\n").unwrap();
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious\n");
    assert_eq!(fs::read_to_string(options.folder.join(format!("x-{day}-5.ndjson"))).unwrap(), "a\n");
    // The rotator must not open a named pipe, because opening would wait for a reader.
    let pipe = options.folder.join(format!("x-{day}-6.ndjson"));
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    Rotator::new(options.clone()).write(b"b\n").unwrap();
    assert_eq!(fs::read_to_string(options.folder.join(format!("x-{day}-7.ndjson"))).unwrap(), "b\n");
}

#[test]
fn empty_files_are_removed_before_full_ones() {
    let folder = Folder::new("empty");
    let mut rotator = Rotator::new(folder.options());
    rotator.write(b"first\n").unwrap();
    let day = jiff::Zoned::now().strftime("%Y%m%d").to_string();
    // Create empty files, as runs on a full disk leave them behind.
    (1..5).for_each(|n| fs::write(folder.0.join(format!("deep/x-{day}-{n}.ndjson")), "").unwrap());
    for line in [&b"second\n"[..], b"third\n"] {
        rotator.write(line).unwrap();
    }
    assert_eq!(
        folder.contents(),
        pairs(&[("x-D-5.ndjson", "second\n"), ("x-D-6.ndjson", "third\n"), ("x-D.ndjson", "first\n")]),
        "three are kept"
    );
}

#[test]
fn invalid_file_names_are_refused() {
    for (name, expected) in [("a/b", "'a/b' contains '/'"), ("/", "contains '/'"), ("", "is empty"), ("a\0", "zero byte")] {
        let error = check_name(name).unwrap_err();
        assert!(error.contains(expected), "{name:?}: {error}");
    }
    assert_eq!(check_name("events.of-today"), Ok(()));
}
