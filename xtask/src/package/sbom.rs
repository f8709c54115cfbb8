//! The list of all that is linked in, as a CycloneDX document (specification 1.5) for scanners of vulnerabilities and licences.

use super::{About, linked::Crate};
use crate::setup::project;
use serde_json::{Value, json};
use std::{collections::BTreeMap, fs};

/// Makes the document. `time`: RFC 3339.
///
/// # Errors
/// When the lock file of the workspace cannot be read.
pub fn document(about: &About, crates: &[Crate], time: &str) -> Result<String, String> {
    let mut sums = BTreeMap::new();
    for lock in ["Cargo.lock", "sniffer-ebpf/Cargo.lock"] {
        sums.extend(checksums(&fs::read_to_string(project().join(lock)).map_err(|e| format!("{lock}: {e}"))?));
    }
    let purl = |name: &str, version: &str| format!("pkg:cargo/{name}@{version}");
    let component = |one: &Crate| {
        let mut component = json!({
            "type": "library",
            "bom-ref": purl(&one.name, &one.version),
            "name": one.name,
            "version": one.version,
            "purl": purl(&one.name, &one.version),
            "licenses": [{"expression": one.license}],
        });
        if let Some(sum) = sums.get(&format!("{} {}", one.name, one.version)) {
            component["hashes"] = json!([{"alg": "SHA-256", "content": sum}]);
        }
        component
    };
    let reference = |label: &String| label.split_once(' ').map(|(name, version)| purl(name, version)).unwrap_or_default();
    let uses = |one: &Crate| json!({"ref": purl(&one.name, &one.version), "dependsOn": one.uses.iter().map(reference).collect::<Vec<_>>()});
    let program = purl(super::NAME, &about.cargo_version);
    let document = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": time,
            "component": {
                "type": "application",
                "bom-ref": program,
                "name": super::NAME,
                "version": about.version,
                "purl": program,
                "licenses": [{"expression": super::LICENSE}],
            },
        },
        "components": crates.iter().filter(|one| one.name != super::NAME).map(component).collect::<Vec<Value>>(),
        "dependencies": crates.iter().map(uses).collect::<Vec<Value>>(),
    });
    serde_json::to_string_pretty(&document).map(|text| text + "\n").map_err(|e| e.to_string())
}

/// The checksums in a lock file of cargo by `NAME VERSION`.
fn checksums(lock: &str) -> BTreeMap<String, String> {
    let value = |block: &str, key: &str| {
        let line = block.lines().find_map(|line| line.strip_prefix(key)?.trim_start().strip_prefix('='));
        line.map(|value| value.trim().trim_matches('"').to_owned())
    };
    let entry = |block: &str| Some((format!("{} {}", value(block, "name")?, value(block, "version")?), value(block, "checksum")?));
    lock.split("[[package]]").filter_map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::checksums;

    #[test]
    fn checksums_of_packages_that_have_one() {
        let lock = "version = 4\n\n[[package]]\nname = \"a\"\nversion = \"1.0\"\nsource = \"x\"\nchecksum = \"ff\"\n\n[[package]]\nname = \"own\"\nversion = \"0.1\"\n";
        assert_eq!(checksums(lock).into_iter().collect::<Vec<_>>(), [("a 1.0".to_owned(), "ff".to_owned())]);
    }
}
