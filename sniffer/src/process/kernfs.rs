//! Finds the path of a cgroup of version 2 by its id, for processes that have ended: their `/proc/PID/cgroup` is gone, but the kernel gave
//! the id of their cgroup.
#![allow(unsafe_code)] // A system call that the standard library does not wrap.

use super::details::{MAX_PATH, text};
use std::{
    fs::{self, File},
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

/// The type of handles of kernfs (`FILEID_KERNFS`, `linux/exportfs.h`).
const FILEID_KERNFS: i32 = 0xfe;

/// A handle of a file (`struct file_handle`) of kernfs.
#[repr(C)]
struct Handle {
    /// Number of bytes of `id`.
    bytes: u32,
    kind: i32,
    /// The inode number.
    id: [u8; 8],
}

/// The mounted file system of cgroups of version 2.
#[derive(Debug)]
pub struct Cgroups {
    mount: PathBuf,
    root: File,
}

impl Cgroups {
    /// Opens the file system where `mountinfo` (the content of `/proc/self/mountinfo`) says that it is mounted. `None`: it is not mounted.
    pub fn open(mountinfo: &str) -> Option<Self> {
        let mount = mount(mountinfo)?;
        Some(Self { root: File::open(&mount).ok()?, mount })
    }

    /// The path of the cgroup with this id below the root. `None` if there is no such cgroup any more, or the capability
    /// `CAP_DAC_READ_SEARCH` is missing.
    pub fn path(&self, id: u64) -> Option<String> {
        let mut handle = Handle { bytes: 8, kind: FILEID_KERNFS, id: id.to_ne_bytes() };
        // SAFETY: the kernel reads `handle`, which lives for the call and is as long as its `bytes` says.
        let fd = unsafe {
            libc::open_by_handle_at(self.root.as_raw_fd(), (&raw mut handle).cast::<libc::file_handle>(), libc::O_PATH | libc::O_CLOEXEC)
        };
        if fd < 0 {
            return None;
        }
        // SAFETY: the kernel has just opened `fd`, and nothing else knows it.
        let opened = unsafe { OwnedFd::from_raw_fd(fd) };
        let path = fs::read_link(Path::new("/proc/self/fd").join(opened.as_raw_fd().to_string())).ok()?;
        let path = path.strip_prefix(&self.mount).ok()?;
        Some(format!("/{}", text(path.as_os_str().as_bytes(), MAX_PATH)))
    }
}

/// Where the hierarchy of cgroups of version 2 is mounted, according to the content of `/proc/self/mountinfo`. Every process is in it, also
/// where limits are set by version 1.
pub fn mount(mountinfo: &str) -> Option<PathBuf> {
    mountinfo.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        (after.split(' ').next() == Some("cgroup2")).then(|| before.split(' ').nth(4).map(PathBuf::from)).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn the_mount_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().display();
        let info = format!(
            "22 28 0:20 / /sys/fs/cgroup ro - tmpfs tmpfs ro\n\
             23 22 0:21 / {path} rw shared:4 - cgroup2 cgroup2 rw\n"
        );
        assert_eq!(Cgroups::open(&info).unwrap().mount, folder.path());
        assert!(Cgroups::open("22 28 0:20 / /sys/fs/cgroup ro - tmpfs cgroup2 ro\n").is_none());
        assert!(Cgroups::open("").is_none());
    }

    #[test]
    fn cgroups_are_found_by_their_id() {
        let info = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let Some(cgroups) = Cgroups::open(&info) else {
            return println!("skipped: no cgroup2 is mounted");
        };
        let ino = fs::metadata(&cgroups.mount).unwrap().ino();
        match cgroups.path(ino) {
            Some(path) => assert_eq!(path, "/"),
            None => return println!("skipped: no capability for handles of files"),
        }
        let below = fs::read_dir(&cgroups.mount).unwrap().flatten().find(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        if let Some(below) = below {
            let path = cgroups.path(below.metadata().unwrap().ino());
            assert_eq!(path, Some(format!("/{}", below.file_name().display())));
        }
        assert_eq!(cgroups.path(u64::MAX), None);
    }
}
