//! Every output has a page in `docs/outputs`.

use super::OUTPUTS;
use std::{fs, path::Path};

#[test]
fn every_output_has_a_page() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docs/outputs");
    let has_page = |name: &str| {
        let page = fs::read_to_string(folder.join(name).with_extension("md")).unwrap_or_default();
        page.starts_with(&format!("# {name}\n")) && page.contains(&format!("`output.{name}`"))
    };
    let missing: Vec<_> = OUTPUTS.iter().map(|output| output.name).filter(|name| !has_page(name)).collect();
    assert!(missing.is_empty(), "no page in {}, or it does not begin with the name and name the section: {missing:?}", folder.display());
}
