//! `kernels`: boots other kernels in a virtual machine, and tests every backend and hook there. The kernels are
//! Debian's packages; qemu emulates the processor, which takes some minutes per kernel.

mod image;
mod machine;
mod packages;
mod table;

use crate::{
    Outcome,
    setup::{BUILD, Package, cargo, ensure, run_command, target_folder},
};
use packages::Release;
use std::path::PathBuf;

/// Packages needed for the virtual machine, and those whose programs run in it.
const PACKAGES: &[Package] = &[
    ("bind9-dnsutils", "dig"),
    ("busybox-static", "busybox"),
    ("cpio", "cpio"),
    ("curl", "curl"),
    ("dnsmasq-base", "dnsmasq"),
    ("ethtool", "ethtool"),
    ("iproute2", "ip"),
    ("kmod", "depmod"),
    ("nginx-light", "nginx"),
    ("qemu-system-x86", "qemu-system-x86_64"),
    ("util-linux", "setpriv"),
    ("xz-utils", "xz"),
    ("zstd", "zstd"),
];

/// The Debian releases whose kernels are tested, each with the kernel that it has.
const RELEASES: &[Release] = &[
    Release { name: "bullseye", kernel: "5.10", security: true },
    Release { name: "bookworm", kernel: "6.1", security: false },
    Release { name: "trixie", kernel: "6.12", security: false },
    Release { name: "trixie-backports", kernel: "newest", security: false },
];

/// Boots the kernels named in `args` (`5.10`, `newest`), or all, and prints the result of each capture. `--program
/// FILE` uses a built program.
pub fn kernels(args: &[String]) -> Outcome {
    let mut program: Option<PathBuf> = None;
    let mut wanted = Vec::new();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--program" => program = Some(args.next().ok_or("--program needs a file")?.into()),
            kernel => wanted.push(RELEASES.iter().find(|release| release.kernel == kernel).ok_or_else(|| unknown(kernel))?),
        }
    }
    if wanted.is_empty() {
        wanted.extend(RELEASES);
    }
    ensure(BUILD)?;
    ensure(PACKAGES)?;
    let program = match program {
        Some(program) => program,
        None => {
            run_command(&mut cargo(&["build", "--package", "sniffer", "--locked"]))?;
            target_folder().join("debug/sniffer")
        }
    };
    let folder = target_folder().join("kernels");
    let root = image::root(&folder, &program)?;
    let (mut cases, mut wrong) = (Vec::new(), 0);
    for release in wanted {
        let kernel = packages::fetch(release, &folder)?;
        println!("booting {}", kernel.version);
        let image = image::with_modules(&root, &kernel, &folder)?;
        let output = machine::run(&kernel, &image, &folder.join(format!("{}.log", kernel.version)))?;
        let of_kernel = table::cases(&output);
        if !output.lines().any(|line| line.trim_end() == "== END") || of_kernel.is_empty() {
            wrong += 1;
            println!("{output}\nthe cases of {} did not come to their end", kernel.version);
        }
        wrong += of_kernel.iter().filter(|case| !case.is_right()).count();
        table::print(&kernel.version, &of_kernel);
        cases.extend(of_kernel);
    }
    if wrong > 0 {
        Err(format!("{wrong} of {} cases are wrong; the output of each kernel is in {}", cases.len(), folder.display()))
    } else {
        Ok(())
    }
}

fn unknown(kernel: &str) -> String {
    let names: Vec<_> = RELEASES.iter().map(|release| release.kernel).collect();
    format!("there is no kernel {kernel}; there are {}", names.join(", "))
}
