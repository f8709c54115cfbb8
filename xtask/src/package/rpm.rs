//! An RPM package, made with the crate `rpm`: the format has many header fields that depend on each other, which makes own code a risk.

use super::{About, archive::Files};
use rpm::{BuildConfig, CompressionWithLevel, Dependency, FileOptions, PackageBuilder};

const POST_INSTALL: &str = include_str!("../../../packaging/rpm/post");
const PRE_UNINSTALL: &str = include_str!("../../../packaging/rpm/preun");
const POST_UNINSTALL: &str = include_str!("../../../packaging/rpm/postun");

/// Level of Zstandard.
const LEVEL: i32 = 9;

/// Makes the package.
///
/// # Errors
/// When the crate refuses a path or a dependency.
pub fn package(about: &About, files: &Files) -> Result<Vec<u8>, rpm::Error> {
    let time = u32::try_from(about.time).unwrap_or(u32::MAX);
    let config = BuildConfig::v4().compression(CompressionWithLevel::Zstd(LEVEL)).source_date(time);
    let mut builder = PackageBuilder::new(super::NAME, &about.version, super::LICENSE, about.architecture, super::SUMMARY);
    builder
        .using_config(config)
        .release("1")
        .description(super::DESCRIPTION)
        .packager(super::MAINTAINER)
        .group("Applications/Internet")
        .build_host("localhost")
        .cookie(super::NAME)
        .requires(Dependency::any("libpcap.so.1()(64bit)"))
        .requires(Dependency::any(format!("libc.so.6(GLIBC_{})(64bit)", about.glibc)))
        .requires(Dependency::any("shadow-utils"))
        .recommends(Dependency::any("ca-certificates"))
        .post_install_script(POST_INSTALL)
        .pre_uninstall_script(PRE_UNINSTALL)
        .post_uninstall_script(POST_UNINSTALL);
    for (path, entry) in &files.0 {
        let Some(content) = &entry.content else { continue };
        let path = rpm_path(path);
        let permissions = u16::try_from(entry.mode).unwrap_or(0o600);
        let mut options = FileOptions::new(path.clone()).permissions(permissions);
        if entry.config {
            options = options.config().noreplace();
        } else if path.starts_with("/usr/share/doc/") || path.starts_with("/usr/share/man/") {
            options = options.doc();
        }
        builder.with_file_contents(content.as_slice(), options)?;
    }
    let mut bytes = Vec::new();
    builder.build()?.write(&mut bytes)?;
    Ok(bytes)
}

/// The path of a file: zsh searches another folder for the completions of packages than on Debian.
fn rpm_path(path: &str) -> String {
    format!("/{}", path.replace("usr/share/zsh/vendor-completions/", "usr/share/zsh/site-functions/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_can_be_read() {
        let mut files = Files::default();
        files.add_with_mode("usr/bin/sniffer", 0o755, "program");
        files.add_config("etc/sniffer/sniffer.yml", "a: 1\n");
        files.add("usr/share/zsh/vendor-completions/_sniffer", "completions");
        let (version, cargo_version, glibc) = ("1.2.3".into(), "1.2.3".into(), "2.34".into());
        let about = About { version, cargo_version, architecture: "x86_64", time: 1_700_000_000, glibc };
        let bytes = package(&about, &files).unwrap();
        assert_eq!(bytes, package(&about, &files).unwrap(), "two packages of the same files");
        let read = rpm::Package::parse(&mut bytes.as_slice()).unwrap();
        read.verify_digests().unwrap();
        let entries = read.metadata.get_file_entries().unwrap();
        let mut paths: Vec<_> = entries.iter().map(|entry| (entry.path().display().to_string(), entry.mode().permissions())).collect();
        paths.sort();
        let wanted = [("/etc/sniffer/sniffer.yml", 0o640), ("/usr/bin/sniffer", 0o755), ("/usr/share/zsh/site-functions/_sniffer", 0o644)];
        assert_eq!(paths.iter().map(|(path, mode)| (path.as_str(), *mode)).collect::<Vec<_>>(), wanted);
    }
}
