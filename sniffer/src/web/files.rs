//! The files of the page, as they lie in `sniffer/web`. They hold no data of the run.

/// A file: its path in the URL, its type, its content.
pub type File = (&'static str, &'static str, &'static [u8]);

macro_rules! file {
    ($path:literal, $kind:expr) => {
        (concat!("/", $path), $kind, include_bytes!(concat!("../../web/", $path)))
    };
}

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const PICTURE: &str = "image/svg+xml";

/// All files. `/` stands for `/index.html`. A file of the folder that is not listed is not served, and a test fails.
pub const FILES: &[File] = &[
    file!("index.html", HTML),
    file!("app/api.js", SCRIPT),
    file!("app/chart.js", SCRIPT),
    file!("app/detail.js", SCRIPT),
    file!("app/dialogs.js", SCRIPT),
    file!("app/dom.js", SCRIPT),
    file!("app/drawings.css", STYLE),
    file!("app/export.js", SCRIPT),
    file!("app/filter.js", SCRIPT),
    file!("app/format.js", SCRIPT),
    file!("app/health/steps.js", SCRIPT),
    file!("app/icon.svg", PICTURE),
    file!("app/keys.js", SCRIPT),
    file!("app/main.js", SCRIPT),
    file!("app/map/draw.js", SCRIPT),
    file!("app/map/graph.js", SCRIPT),
    file!("app/map/layout.js", SCRIPT),
    file!("app/map/route.js", SCRIPT),
    file!("app/nothing.js", SCRIPT),
    file!("app/numbers.js", SCRIPT),
    file!("app/poll.js", SCRIPT),
    file!("app/redact.js", SCRIPT),
    file!("app/rows.js", SCRIPT),
    file!("app/save/bundle.js", SCRIPT),
    file!("app/save/collect.js", SCRIPT),
    file!("app/save/file.js", SCRIPT),
    file!("app/save/page.js", SCRIPT),
    file!("app/save/redact.js", SCRIPT),
    file!("app/save/saved.js", SCRIPT),
    file!("app/series.js", SCRIPT),
    file!("app/shell.css", STYLE),
    file!("app/shell.js", SCRIPT),
    file!("app/spark.js", SCRIPT),
    file!("app/state.js", SCRIPT),
    file!("app/style.css", STYLE),
    file!("app/table.js", SCRIPT),
    file!("app/transaction.js", SCRIPT),
    file!("app/views.js", SCRIPT),
    file!("app/views/dns.js", SCRIPT),
    file!("app/views/flows.js", SCRIPT),
    file!("app/views/health.js", SCRIPT),
    file!("app/views/live.js", SCRIPT),
    file!("app/views/map.js", SCRIPT),
    file!("app/views/parts.js", SCRIPT),
    file!("app/views/services.js", SCRIPT),
    file!("app/views/tls.js", SCRIPT),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, path::Path};

    /// The paths of all files below a folder that pages load.
    fn below(folder: &Path, prefix: &str, found: &mut Vec<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let path = format!("{prefix}/{}", entry.file_name().to_string_lossy());
            // Other files, such as README.md, are for those who work on the page.
            let is_served = || [".html", ".js", ".css", ".svg", ".txt"].iter().any(|end| path.ends_with(end));
            if entry.path().is_dir() {
                below(&entry.path(), &path, found);
            } else if is_served() {
                found.push(path);
            }
        }
    }

    #[test]
    fn every_file_of_the_folder_is_served() {
        let mut found = Vec::new();
        below(&Path::new(env!("CARGO_MANIFEST_DIR")).join("web"), "", &mut found);
        found.sort();
        let mut listed: Vec<&str> = FILES.iter().map(|(path, ..)| *path).collect();
        listed.sort_unstable();
        assert_eq!(listed, found, "the table FILES in this file, and the files in sniffer/web");
    }

    #[test]
    fn scripts_and_styles_have_their_type() {
        for (path, kind, _) in FILES {
            let expected = match path.rsplit_once('.').map(|(_, end)| end) {
                Some("html") => "text/html; charset=utf-8",
                Some("js" | "mjs") => "text/javascript; charset=utf-8",
                Some("css") => "text/css; charset=utf-8",
                Some("svg") => "image/svg+xml",
                _ => continue,
            };
            assert_eq!(*kind, expected, "{path}");
        }
    }
}
