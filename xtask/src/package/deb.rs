//! A Debian package: an `ar` archive with two tar archives, `deb(5)`.

use super::{
    About,
    archive::{Files, gzip},
};
use std::{fmt::Write, io};

/// The scripts that dpkg runs, by name.
const SCRIPTS: &[(&str, &str)] = &[
    ("postinst", include_str!("../../../packaging/deb/postinst")),
    ("prerm", include_str!("../../../packaging/deb/prerm")),
    ("postrm", include_str!("../../../packaging/deb/postrm")),
];

/// Makes the package.
///
/// # Errors
/// When a path is too long for the format.
pub fn package(about: &About, files: &Files) -> io::Result<Vec<u8>> {
    let mut control = Files::default();
    let bytes: usize = files.0.values().filter_map(|entry| entry.content.as_ref()).map(Vec::len).sum();
    control.add("control", control_file(about, bytes / 1024));
    control.add("conffiles", files.0.iter().filter(|(_, entry)| entry.config).map(|(path, _)| format!("/{path}\n")).collect::<String>());
    for (name, script) in SCRIPTS {
        control.add_with_mode(*name, 0o755, *script);
    }
    let members = [
        ("debian-binary", b"2.0\n".to_vec()),
        ("control.tar.gz", gzip(&control.tar("./", about.time)?)?),
        ("data.tar.gz", gzip(&files.tar("./", about.time)?)?),
    ];
    let mut ar = b"!<arch>\n".to_vec();
    for (name, content) in members {
        // The fields are name, time, user, group, mode and size.
        ar.extend(format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", about.time, 0, 0, "100644", content.len()).bytes());
        ar.extend(&content);
        if content.len() % 2 == 1 {
            ar.push(b'\n');
        }
    }
    Ok(ar)
}

fn control_file(about: &About, kib: usize) -> String {
    let mut control = String::new();
    let depends = format!("libc6 (>= {}), libgcc-s1, libpcap0.8 | libpcap0.8t64, passwd", about.glibc);
    for (field, value) in [
        ("Package", super::NAME),
        ("Version", &about.version),
        ("Architecture", about.debian_architecture()),
        ("Maintainer", super::MAINTAINER),
        ("Installed-Size", &kib.to_string()),
        ("Depends", &depends),
        ("Recommends", "ca-certificates"),
        ("Section", "net"),
        ("Priority", "optional"),
        ("Description", super::SUMMARY),
    ] {
        // Writing to a string does not fail.
        let _ = writeln!(control, "{field}: {value}");
    }
    for line in super::DESCRIPTION.lines() {
        let _ = writeln!(control, " {line}");
    }
    control
}
