//! The virtual machine: qemu with one kernel and one initramfs, whose console is the output.

use super::packages::Kernel;
use std::{
    fs::{self, File},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// Maximum running time of a machine. The emulated processor is some twenty times slower than a real one.
const PATIENCE: Duration = Duration::from_secs(45 * 60);

/// Boots the kernel and returns the text on the machine's console, which is also in the file `console`.
///
/// # Errors
///
/// When qemu cannot be started or the machine does not end in time.
pub fn run(kernel: &Kernel, image: &Path, console: &Path) -> Result<String, String> {
    let failed = |e: std::io::Error| format!("{}: {e}", console.display());
    let mut qemu = Command::new("qemu-system-x86_64");
    // KVM is not used: a nested KVM does not execute every instruction, and the machine then hangs.
    qemu.args(["-machine", "accel=tcg", "-cpu", "max", "-m", "1500", "-smp", "2", "-nographic", "-no-reboot", "-nodefaults"]);
    qemu.args(["-serial", "stdio", "-append", "console=ttyS0 quiet panic=-1"]).arg("-kernel").arg(&kernel.image).arg("-initrd").arg(image);
    qemu.stdin(Stdio::null()).stdout(File::create(console).map_err(failed)?);
    let mut child = qemu.spawn().map_err(|e| format!("qemu: {e}"))?;
    let end = Instant::now() + PATIENCE;
    while child.try_wait().map_err(failed)?.is_none() {
        if Instant::now() >= end {
            let _ = child.kill();
            let _ = child.wait();
            return Err(format!("{}: the machine did not end within {PATIENCE:?}; its output is in {}", kernel.version, console.display()));
        }
        thread::sleep(Duration::from_millis(200));
    }
    let output = fs::read(console).map_err(failed)?;
    Ok(String::from_utf8_lossy(&output).replace('\r', ""))
}
