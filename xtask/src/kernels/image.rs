//! The file system of the virtual machine: an initramfs of two parts, the programs of this machine and the modules of a kernel.

use super::packages::Kernel;
use crate::setup::project;
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The programs that run in the machine, besides busybox's.
const PROGRAMS: &[&str] = &["bash", "curl", "dig", "dnsmasq", "ethtool", "ip", "nginx", "nsenter", "setpriv", "tc"];

/// Modules that the cases need. A kernel may have some of them built in, and old ones lack some.
const MODULES: &[&str] = &["veth", "8021q", "sch_ingress", "cls_bpf", "cls_matchall", "act_gact", "af_packet"];

/// Runs a command; its output is the error message if it fails.
pub fn run(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|e| format!("{command:?}: {e}"))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() { Ok(said) } else { Err(format!("{command:?}: {said}{}", String::from_utf8_lossy(&output.stderr))) }
}

/// Makes the part with the programs. Returns its file.
///
/// # Errors
/// When a program is missing.
pub fn root(folder: &Path, program: &Path) -> Result<PathBuf, String> {
    let root = folder.join("root");
    let made = |path: &Path| fs::create_dir_all(path).map_err(|e| format!("{}: {e}", path.display()));
    if root.exists() {
        fs::remove_dir_all(&root).map_err(|e| e.to_string())?;
    }
    for part in ["bin", "etc", "proc", "sys", "dev", "run", "tmp", "root", "lib", "usr/bin", "var/tmp"] {
        made(&root.join(part))?;
    }
    let copy = |from: &Path, to: &Path| fs::copy(from, to).map(drop).map_err(|e| format!("{} to {}: {e}", from.display(), to.display()));
    let busybox = find("busybox")?;
    copy(&busybox, &root.join("bin/busybox"))?;
    for applet in run(Command::new(&busybox).arg("--list"))?.lines().filter(|applet| !PROGRAMS.contains(applet) && *applet != "busybox") {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(applet)).map_err(|e| e.to_string())?;
    }
    let mut libraries = BTreeSet::new();
    for name in PROGRAMS {
        let path = find(name)?;
        copy(&path, &root.join("bin").join(name))?;
        libraries.extend(needed(&path)?);
    }
    // The program is copied without its debug information, which is nine tenths of the file.
    run(Command::new("strip").arg("-o").arg(root.join("bin/sniffer")).arg(program))?;
    libraries.extend(needed(program)?);
    for library in libraries {
        let to = root.join(library.strip_prefix("/").unwrap_or(&library));
        made(to.parent().unwrap_or(&root))?;
        copy(&library, &to)?;
    }
    for (file, to) in
        [("init", "init"), ("cases.sh", "cases.sh"), ("sniffer.yml", "etc/sniffer.yml"), ("all-protocols.yml", "etc/all-protocols.yml")]
    {
        copy(&project().join("tests/kernels").join(file), &root.join(to))?;
    }
    run(Command::new("chmod").arg("755").arg(root.join("init")))?;
    run(Command::new("chmod").arg("600").arg(root.join("etc/sniffer.yml")).arg(root.join("etc/all-protocols.yml")))?;
    let write = |file: &str, text: &str| fs::write(root.join("etc").join(file), text).map_err(|e| e.to_string());
    write("passwd", "root:x:0:0::/root:/bin/sh\n")?;
    write("group", "root:x:0:\n")?;
    write("modules", &(MODULES.join("\n") + "\n"))?;
    pack(&root, &folder.join("root.cpio"))
}

/// Joins the programs and the modules of a kernel to one initramfs. Returns its file.
///
/// # Errors
/// When a module cannot be unpacked.
pub fn with_modules(programs: &Path, kernel: &Kernel, folder: &Path) -> Result<PathBuf, String> {
    let stage = folder.join("modules");
    if stage.exists() {
        fs::remove_dir_all(&stage).map_err(|e| e.to_string())?;
    }
    let mut files = BTreeSet::new();
    for module in MODULES {
        let mut command = Command::new("/sbin/modprobe");
        command.arg("-d").arg(&kernel.root).args(["-S", &kernel.version, "--show-depends", module]);
        // A module that is not listed is built into the kernel, or the kernel lacks it.
        let listed = run(&mut command).unwrap_or_default();
        files.extend(listed.lines().filter_map(|line| line.strip_prefix("insmod ")).map(|path| PathBuf::from(path.trim())));
    }
    for file in files {
        let inside = file.strip_prefix(&kernel.root).map_err(|e| format!("{}: {e}", file.display()))?;
        let (to, unpack) = match inside.extension().and_then(|e| e.to_str()) {
            Some("xz") => (stage.join(inside.with_extension("")), Some("xz")),
            Some("zst") => (stage.join(inside.with_extension("")), Some("zstd")),
            _ => (stage.join(inside), None),
        };
        fs::create_dir_all(to.parent().unwrap_or(&stage)).map_err(|e| e.to_string())?;
        match unpack {
            Some(program) => {
                let output = Command::new(program).arg("-dc").arg(&file).output().map_err(|e| format!("{program}: {e}"))?;
                fs::write(&to, output.stdout).map_err(|e| e.to_string())?;
            }
            None => drop(fs::copy(&file, &to).map_err(|e| format!("{}: {e}", file.display()))?),
        }
    }
    let modules = stage.join("lib/modules").join(&kernel.version);
    for list in ["modules.builtin", "modules.order"] {
        // Without these files depmod prints a warning.
        let _ = fs::copy(kernel.root.join("lib/modules").join(&kernel.version).join(list), modules.join(list));
    }
    run(Command::new("/sbin/depmod").arg("-b").arg(&stage).arg(&kernel.version))?;
    let modules = pack(&stage, &folder.join("modules.cpio"))?;
    let image = folder.join("initramfs.cpio");
    let read = |path: &Path| fs::read(path).map_err(|e| format!("{}: {e}", path.display()));
    fs::write(&image, [read(programs)?, read(&modules)?].concat()).map_err(|e| e.to_string())?;
    Ok(image)
}

/// Packs a folder to a cpio archive, uncompressed: the emulated processor would take longer to unpack it.
fn pack(folder: &Path, to: &Path) -> Result<PathBuf, String> {
    run(Command::new("sh").args(["-c", "cd \"$1\" && find . | cpio -o -H newc --quiet >\"$2\"", "sh"]).arg(folder).arg(to))?;
    Ok(to.to_owned())
}

/// The libraries that a program loads, and the loader itself.
fn needed(program: &Path) -> Result<Vec<PathBuf>, String> {
    let listed = run(Command::new("ldd").arg(program))?;
    Ok(listed.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect())
}

fn find(program: &str) -> Result<PathBuf, String> {
    let folders = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"];
    let found = folders.iter().map(|folder| Path::new(folder).join(program)).find(|path| path.is_file());
    found.ok_or_else(|| format!("there is no {program} in {}", folders.join(", ")))
}
