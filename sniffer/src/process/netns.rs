//! The network namespace of the program.

use std::{fs, io};

/// The inode number of the network namespace of the calling thread.
///
/// # Errors
/// /proc cannot be read.
pub fn own_netns() -> io::Result<u32> {
    let link = fs::read_link("/proc/thread-self/ns/net")?;
    namespace(&link.to_string_lossy()).ok_or_else(|| io::Error::other(format!("{} is no network namespace", link.display())))
}

/// The number in the name of a namespace, `net:[4026531840]`.
fn namespace(link: &str) -> Option<u32> {
    link.strip_prefix("net:[")?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::namespace;

    #[test]
    fn names_of_namespaces() {
        assert_eq!(namespace("net:[4026531840]"), Some(4_026_531_840));
        assert_eq!(["", "net:[x]", "mnt:[1]", "net:[1"].map(namespace), [None; 4]);
    }
}
