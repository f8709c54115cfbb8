//! A container image without another image below it: an OCI image layout in a tar archive, as `skopeo`, `podman load` and `ctr import` read it.
//! It has the program, the shared libraries that it loads, and the certificates of the build host.

use super::{
    About,
    archive::{Files, gzip},
};
use serde_json::{Value, json};
use std::{fs, path::Path, process::Command};

/// Certificates of the authorities that the program trusts. The image has those of the build host.
const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Makes the archive. `files`: those of the packages, `time`: RFC 3339.
///
/// # Errors
/// When a shared library cannot be found or read.
pub fn image(about: &About, program: &Path, files: &Files, time: &str) -> Result<Vec<u8>, String> {
    let mut root = Files::default();
    let wanted = ["usr/bin/", "etc/", "usr/share/doc/sniffer/"];
    root.0
        .extend(files.0.iter().filter(|(path, _)| wanted.iter().any(|begin| path.starts_with(begin))).map(|(p, e)| (p.clone(), e.clone())));
    for library in libraries(program)? {
        let content = fs::read(&library).map_err(|e| format!("{library}: {e}"))?;
        root.add_with_mode(library.trim_start_matches('/'), 0o755, content);
    }
    if let Ok(certificates) = fs::read(CERTIFICATES) {
        root.add(CERTIFICATES.trim_start_matches('/'), certificates);
    }
    root.add("etc/passwd", "root:x:0:0:root:/:/sbin/nologin\nsniffer:x:999:999:sniffer:/var/lib/sniffer:/sbin/nologin\n");
    root.add("etc/group", "root:x:0:\nsniffer:x:999:\nsniffer-view:x:998:\n");
    root.add("etc/nsswitch.conf", "hosts: files dns\n");
    for folder in ["var/lib/sniffer", "var/log/sniffer", "tmp"] {
        root.0.insert(folder.into(), super::archive::Entry { mode: 0o755, content: None, config: false });
    }
    let tar = root.tar("", about.time).map_err(|e| e.to_string())?;
    layout(about, &tar, time).map_err(|e| e.to_string())
}

fn layout(about: &About, layer: &[u8], time: &str) -> std::io::Result<Vec<u8>> {
    let mut files = Files::default();
    let mut blob = |kind: &str, content: Vec<u8>| -> Value {
        let sum = super::sha256(&content);
        let described = json!({"mediaType": kind, "digest": format!("sha256:{sum}"), "size": content.len()});
        files.add(format!("blobs/sha256/{sum}"), content);
        described
    };
    let packed = blob("application/vnd.oci.image.layer.v1.tar+gzip", gzip(layer)?);
    let labels = json!({"org.opencontainers.image.version": about.version, "org.opencontainers.image.licenses": super::LICENSE});
    let config = json!({
        "created": time,
        "architecture": about.go_architecture(),
        "os": "linux",
        "config": {
            "Entrypoint": ["/usr/bin/sniffer", "--environment", "container", "--path.home", "/usr/share/sniffer", "--path.config", "/etc/sniffer",
                "--path.data", "/var/lib/sniffer", "--path.logs", "/var/log/sniffer"],
            "Cmd": ["-c", "sniffer.yml"],
            "Env": ["PATH=/usr/bin"],
            "Labels": labels,
        },
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", super::sha256(layer))]},
        "history": [{"created": time, "created_by": "cargo xtask package"}],
    });
    let config = blob("application/vnd.oci.image.config.v1+json", config.to_string().into_bytes());
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": [packed]});
    let mut manifest = blob(kind, manifest.to_string().into_bytes());
    manifest["annotations"] = json!({"org.opencontainers.image.ref.name": about.version});
    let index = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [manifest]});
    files.add("index.json", index.to_string());
    files.add("oci-layout", json!({"imageLayoutVersion": "1.0.0"}).to_string());
    files.tar("", about.time)
}

/// The paths of the shared libraries that the program loads, and of the loader.
fn libraries(program: &Path) -> Result<Vec<String>, String> {
    let output = Command::new("ldd").arg(program).output().map_err(|e| format!("ldd: {e}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    if let Some(missing) = text.lines().find(|line| line.contains("not found")) {
        return Err(format!("{}: a shared library is missing: {}", program.display(), missing.trim()));
    }
    let path = |line: &str| line.split_whitespace().find(|word| word.starts_with('/')).map(str::to_owned);
    Ok(text.lines().filter_map(path).collect())
}
