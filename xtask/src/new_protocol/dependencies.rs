//! Hard links to the compiled dependencies of one target folder in another, so that a second checkout compiles only the project's own crates
//! and its target folder needs little space.

use std::{fs, io, path::Path};

/// Folders of `target/debug` that hold what was compiled of the dependencies: libraries, results of build scripts, and what cargo compares
/// to find that they are fresh.
const FOLDERS: &[&str] = &["deps", "build", ".fingerprint"];
/// The first letters of the file names of this workspace's crates, with and without the prefix of libraries. Cargo would write to these files,
/// and a hard link would change the file of the other target folder too.
const OWN: &[&str] = &["sniffer", "libsniffer", "xtask"];

/// Links the dependencies in `from` to the same places in `to`. Existing files stay.
///
/// # Errors
/// When a folder or link cannot be created. A missing `from` is no error: cargo then compiles the dependencies.
pub fn link(from: &Path, to: &Path) -> Result<(), String> {
    FOLDERS
        .iter()
        .map(|folder| (from.join("debug").join(folder), to.join("debug").join(folder)))
        .filter(|(from, to)| from.is_dir() && !to.exists())
        .try_for_each(|(from, to)| link_folder(&from, &to).map_err(|error| format!("{}: {error}", to.display())))
}

fn link_folder(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        let (is_folder, name) = (entry.file_type()?.is_dir(), name.to_string_lossy());
        // The only other files in `deps` are programs: those of tests and benchmarks, which belong to this workspace.
        let is_program = from.ends_with("deps") && !name.starts_with("lib") && !name.ends_with(".d");
        if is_program || OWN.iter().any(|own| name.starts_with(own)) {
            continue;
        }
        if is_folder {
            link_folder(&entry.path(), &to.join(&*name))?;
        } else {
            fs::hard_link(entry.path(), to.join(&*name))?;
        }
    }
    Ok(())
}
