//! Against servers that have to be downloaded: `cargo xtask test-servers`.
