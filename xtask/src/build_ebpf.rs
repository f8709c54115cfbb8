//! `build-ebpf`: builds the eBPF programs and writes their objects to `sniffer-ebpf/object/`, where `cargo build` expects them. The objects
//! are committed, so that only those who change the eBPF programs need a BPF toolchain. The file beside the objects contains the hash of the
//! sources, the hashes of the objects and the compiler's version.

use crate::{
    Outcome,
    setup::{self, Package, ensure, project},
};
use sha2::{Digest, Sha256};
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The objects: the program that cargo builds, and the file it becomes.
const OBJECTS: [(&str, &str); 2] = [("sniffer-ebpf", "sniffer.bpf.o"), ("sniffer-processes", "processes.bpf.o")];
const FOLDER: &str = "sniffer-ebpf/object";
const HASHES: &str = "sniffer-ebpf/object/sniffer.bpf.hashes";
const TARGET: &str = "bpfel-unknown-none";
const LINKER_VERSION: &str = "0.13.0";
/// Debian's Rust compiler, and the `core` library for BPF that Debian ships.
const DEBIAN_PACKAGES: &[Package] = &[("rustc-web", DEBIAN_RUSTC), ("libstd-rust-web-dev-bpf", DEBIAN_CORE)];
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_CORE: &str = "/usr/lib/rustlib/bpfel-unknown-none";

type Result<T> = std::result::Result<T, String>;

/// A compiler for which a `core` library for BPF exists or can be built.
struct Toolchain {
    rustc: PathBuf,
    build_std: bool,
}

/// Builds the objects and installs them. With `--check` it compares them with the committed ones instead. With `--debug` it builds an
/// object for capture that logs (aya-log), to `target/sniffer-debug.bpf.o`.
pub fn build_ebpf(arguments: &[String]) -> Outcome {
    let (mut check, mut debug) = (false, false);
    for argument in arguments {
        match argument.as_str() {
            "--check" => check = true,
            "--debug" => debug = true,
            other => return Err(format!("unknown argument `{other}`; the arguments are --check and --debug")),
        }
    }
    let root = project();
    let toolchain = toolchain()?;
    linker(&root)?;
    let built = build(&root, &toolchain, debug)?;
    if debug {
        let path = root.join("target/sniffer-debug.bpf.o");
        let [capture, _] = built;
        fs::create_dir_all(root.join("target")).and_then(|()| fs::write(&path, capture)).map_err(|e| format!("{}: {e}", path.display()))?;
        println!("{}: to use this object, set SNIFFER_BPF_OBJECT to its path and run a debug build of sniffer", path.display());
        return Ok(());
    }
    let compiler = output(Command::new(&toolchain.rustc).arg("--version"))?;
    let hashes = format!("{}compiler {}\n", hashes(&root, &built)?, compiler.trim());
    let (folder, hash_file) = (root.join(FOLDER), root.join(HASHES));
    if !check {
        fs::create_dir_all(&folder).map_err(|e| e.to_string())?;
        for ((_, file), built) in OBJECTS.iter().zip(&built) {
            let path = folder.join(file);
            fs::write(&path, built).map_err(|e| format!("{}: {e}", path.display()))?;
            println!("{}: {} bytes", path.display(), built.len());
        }
        return fs::write(&hash_file, hashes).map_err(|e| format!("{}: {e}", hash_file.display()));
    }
    let committed = fs::read_to_string(&hash_file).map_err(|e| format!("{}: {e}", hash_file.display()))?;
    if committed.lines().last() != hashes.lines().last() {
        println!(
            "the sources build; the committed objects were built by another compiler, so the bytes are not compared:\n{committed}{hashes}"
        );
        return Ok(());
    }
    if committed != hashes || self::committed(&root) != built {
        return Err(format!(
            "the objects in {FOLDER} differ from what their sources build to; run `cargo xtask build-ebpf` and commit\n{committed}{hashes}"
        ));
    }
    println!("the objects in {FOLDER} are identical to what their sources build to");
    Ok(())
}

/// The committed objects; one that cannot be read is empty.
fn committed(root: &Path) -> [Vec<u8>; 2] {
    OBJECTS.map(|(_, file)| fs::read(root.join(FOLDER).join(file)).unwrap_or_default())
}

/// The lines of the file of hashes, without the compiler.
fn hashes(root: &Path, objects: &[Vec<u8>; 2]) -> Result<String> {
    let lines = OBJECTS.iter().zip(objects).map(|((_, file), object)| format!("{file} {}\n", hex(&Sha256::digest(object))));
    Ok(format!("sources {}\n{}", sources_hash(root)?, lines.collect::<String>()))
}

fn build(root: &Path, toolchain: &Toolchain, debug: bool) -> Result<[Vec<u8>; 2]> {
    let sysroot = PathBuf::from(output(Command::new(&toolchain.rustc).args(["--print", "sysroot"]))?.trim());
    let mut flags =
        vec!["--cfg=bpf_target_arch=\"x86_64\"".to_owned(), "-Cdebuginfo=2".into(), "-Clink-arg=--btf".into(), "-Ctarget-cpu=v3".into()];
    // Remap paths, so that builds in different folders give the same bytes.
    flags.push(format!("--remap-path-prefix={}=/sniffer", root.display()));
    flags.push(format!("--remap-path-prefix={}=/rust", sysroot.display()));
    let registry = cargo_home()?.join("registry/src");
    for index in fs::read_dir(&registry).into_iter().flatten().flatten() {
        flags.push(format!("--remap-path-prefix={}=/registry", index.path().display()));
    }
    let crate_dir = root.join("sniffer-ebpf");
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(&crate_dir).args(["build", "--release", "--locked", "--target", TARGET]);
    command
        .env("RUSTC", &toolchain.rustc)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
        .env_remove("RUSTFLAGS");
    // Remove the variables that cargo sets for this workspace, because the eBPF crate is not a member of it.
    command.env_remove("CARGO_TARGET_DIR").env_remove("RUSTC_WORKSPACE_WRAPPER").env("PATH", path_with_cargo_bin()?);
    if toolchain.build_std {
        command.args(["-Z", "build-std=core"]);
    }
    if debug {
        command.args(["--features", "log"]);
    }
    succeed(&mut command)?;
    let mut built = [const { Vec::new() }; 2];
    for ((program, file), built) in OBJECTS.iter().zip(&mut built) {
        let linked = crate_dir.join("target").join(TARGET).join("release").join(program);
        let stripped = crate_dir.join("target").join(file);
        strip(&linked, &stripped)?;
        *built = fs::read(&stripped).map_err(|e| format!("{}: {e}", stripped.display()))?;
    }
    Ok(built)
}

/// Removes DWARF but keeps BTF. Uses the objcopy of the rustup toolchain, or an installed llvm-objcopy.
fn strip(from: &Path, to: &Path) -> Result<()> {
    let sysroot = PathBuf::from(output(Command::new("rustc").args(["--print", "sysroot"]))?.trim());
    let own = sysroot.join("lib/rustlib").join(format!("{}-unknown-linux-gnu", env::consts::ARCH)).join("bin/rust-objcopy");
    let mut candidates = vec![own, "llvm-objcopy".into()];
    candidates.extend((14..=22).rev().map(|version| format!("llvm-objcopy-{version}").into()));
    let Some(tool) = candidates.iter().find(|tool| {
        Command::new(tool).arg("--version").env("LD_LIBRARY_PATH", sysroot.join("lib")).output().is_ok_and(|o| o.status.success())
    }) else {
        return Err(
            "found no objcopy that supports BPF; install one with `rustup component add llvm-tools` or `apt-get install llvm`".into()
        );
    };
    succeed(Command::new(tool).env("LD_LIBRARY_PATH", sysroot.join("lib")).arg("--strip-debug").arg(from).arg(to))
}

/// Finds or installs a compiler. Debian's compiler is preferred, because the committed object is built with it. Otherwise the verb takes a
/// rustup toolchain with `rust-src`.
fn toolchain() -> Result<Toolchain> {
    if let Some(found) = find_toolchain() {
        return Ok(found);
    }
    println!(
        "None of the installed compilers has a core library for BPF. Installing Debian's packages (an alternative is `rustup component add rust-src`)."
    );
    ensure(DEBIAN_PACKAGES)?;
    find_toolchain().ok_or_else(|| format!("the installed packages do not contain {DEBIAN_CORE}"))
}

fn find_toolchain() -> Option<Toolchain> {
    if Path::new(DEBIAN_RUSTC).exists() && Path::new(DEBIAN_CORE).exists() {
        return Some(Toolchain { rustc: DEBIAN_RUSTC.into(), build_std: false });
    }
    let listed = output(Command::new("rustup").args(["toolchain", "list"])).unwrap_or_default();
    let named = listed
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .map(|name| vec!["which".to_owned(), "rustc".into(), "--toolchain".into(), name.to_owned()]);
    named.filter_map(|arguments| output(Command::new("rustup").args(arguments)).ok()).map(|path| PathBuf::from(path.trim())).find_map(
        |rustc| {
            let sysroot = output(Command::new(&rustc).args(["--print", "sysroot"])).ok()?;
            let core = Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/core");
            core.exists().then_some(Toolchain { rustc, build_std: true })
        },
    )
}

fn linker(root: &Path) -> Result<()> {
    let version = Command::new("bpf-linker").env("PATH", path_with_cargo_bin()?).arg("--version").output().ok();
    if version.is_some_and(|v| String::from_utf8_lossy(&v.stdout).contains(LINKER_VERSION)) {
        return Ok(());
    }
    let library = format!("/usr/lib/{}-linux-gnu/libLLVM.so.22.1", env::consts::ARCH);
    ensure(&[("libllvm22", &library)])?;
    // The build of bpf-linker expects the layout of LLVM's development package. It uses only this symbolic link of it.
    let prefix = root.join("target/llvm");
    fs::create_dir_all(prefix.join("lib")).map_err(|e| format!("{}: {e}", prefix.display()))?;
    let link = prefix.join("lib/libLLVM.so");
    let _ = fs::remove_file(&link);
    std::os::unix::fs::symlink(&library, &link).map_err(|e| format!("{}: {e}", link.display()))?;
    println!("installing bpf-linker {LINKER_VERSION}");
    succeed(Command::new("cargo").env("LLVM_PREFIX", &prefix).env_remove("RUSTFLAGS").args([
        "install",
        "--locked",
        "--no-default-features",
        "--features",
        "llvm-22",
        &format!("bpf-linker@{LINKER_VERSION}"),
    ]))
}

/// Checks that the committed objects were built from the sources beside them, by hash.
pub fn is_fresh() -> Outcome {
    let have = fs::read_to_string(project().join(HASHES)).unwrap_or_default();
    let want = hashes(&project(), &committed(&project()))?;
    if have.starts_with(&want) {
        Ok(())
    } else {
        Err(format!(
            "the objects in {FOLDER} were not built from the current sources; run `cargo xtask build-ebpf` and commit the result\nwant\n{want}have\n{have}"
        ))
    }
}

/// The hash of the names and contents of all files that the objects are built from.
fn sources_hash(root: &Path) -> Result<String> {
    let mut files: Vec<PathBuf> = ["sniffer-ebpf/Cargo.toml", "sniffer-ebpf/Cargo.lock"].iter().map(|file| root.join(file)).collect();
    for dir in ["sniffer-ebpf/src", "sniffer-ebpf/src/processes", "sniffer-common/src"] {
        let entries = fs::read_dir(root.join(dir)).map_err(|e| format!("{dir}: {e}"))?;
        files.extend(entries.flatten().map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == "rs")));
    }
    files.sort();
    let mut hash = Sha256::new();
    for file in files {
        let text = fs::read(&file).map_err(|e| format!("{}: {e}", file.display()))?;
        let name = file.strip_prefix(root).unwrap_or(&file).to_string_lossy().into_owned();
        hash.update(format!("{name} {}\n", text.len()));
        hash.update(text);
    }
    Ok(hex(&hash.finalize()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn cargo_home() -> Result<PathBuf> {
    setup::cargo_home().ok_or_else(|| "neither CARGO_HOME nor HOME is set; set one of them".into())
}

fn path_with_cargo_bin() -> Result<std::ffi::OsString> {
    setup::path_with_cargo_bin().ok_or_else(|| "CARGO_HOME, HOME or PATH cannot be used to find programs".into())
}

fn output(command: &mut Command) -> Result<String> {
    let done = command.output().map_err(|e| format!("{command:?}: {e}"))?;
    if done.status.success() {
        Ok(String::from_utf8_lossy(&done.stdout).into_owned())
    } else {
        Err(format!("{command:?}: {}", String::from_utf8_lossy(&done.stderr)))
    }
}

fn succeed(command: &mut Command) -> Result<()> {
    let status = command.status().map_err(|e| format!("{command:?}: {e}"))?;
    if status.success() { Ok(()) } else { Err(format!("{command:?}: {status}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_objects_were_built_from_these_sources() {
        is_fresh().unwrap();
    }
}
