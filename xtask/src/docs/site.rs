//! The documentation as HTML pages, each with the table of contents beside it. No scripts, and one style sheet inside each page.

use super::{page, summary};
use crate::{Outcome, setup::project};
use std::{fs, path::Path};

const STYLE: &str = "body{margin:0;display:flex;font:16px/1.5 system-ui,sans-serif;color:#222;background:#fff}\
nav{flex:0 0 15rem;height:100vh;overflow:auto;position:sticky;top:0;padding:1rem;box-sizing:border-box;background:#f4f5f7;font-size:14px}\
nav b{display:block;margin-top:1rem}nav a{display:block;color:#333;text-decoration:none}nav a.here{font-weight:bold;color:#0057b8}\
main{flex:1;min-width:0;max-width:60rem;padding:1rem 2rem}img{max-width:100%;height:auto}table{border-collapse:collapse;display:block;overflow-x:auto}\
td,th{border:1px solid #ccc;padding:.3rem .6rem;text-align:left;vertical-align:top}code{background:#f1f1f4;font-size:.9em}\
pre{background:#f1f1f4;padding:.8rem;overflow-x:auto}a{color:#0057b8}\
@media(max-width:50rem){body{display:block}nav{position:static;height:auto;max-height:12rem}}\
@media(prefers-color-scheme:dark){body{background:#16181c;color:#ddd}nav{background:#1e2127}nav a{color:#ccc}code,pre{background:#23262d}a,nav a.here{color:#6db3ff}}";

/// Writes the site.
///
/// # Errors
/// When a page cannot be read or written.
pub fn write(folder: &Path) -> Outcome {
    let docs = project().join("docs");
    let chapters = summary::chapters()?;
    for (name, title) in chapters.iter().flat_map(|(_, pages)| pages) {
        let text = fs::read_to_string(docs.join(name)).map_err(|e| format!("docs/{name}: {e}"))?;
        let up = "../".repeat(name.matches('/').count());
        let mut contents = String::new();
        for (chapter, pages) in &chapters {
            contents += &format!("<b>{chapter}</b>\n");
            for (page, title) in pages {
                let class = if page == name { " class=\"here\"" } else { "" };
                contents += &format!("<a{class} href=\"{up}{}\">{}</a>\n", html_name(page), escaped(title));
            }
        }
        let page = format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
             <title>{} · sniffer</title><style>{STYLE}</style></head>\n<body><nav>{contents}</nav><main>\n{}</main></body></html>\n",
            escaped(title),
            page::to_html(&text)
        );
        let path = folder.join(html_name(name));
        let made = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&path, page));
        made.map_err(|e| format!("{}: {e}", path.display()))?;
    }
    copy_pictures(&docs.join("images"), &folder.join("images"))
}

/// Copies the pictures that pages show. A site without pictures has no such folder.
fn copy_pictures(from: &Path, to: &Path) -> Outcome {
    let Ok(pictures) = fs::read_dir(from) else { return Ok(()) };
    fs::create_dir_all(to).map_err(|e| format!("{}: {e}", to.display()))?;
    for picture in pictures.flatten().map(|entry| entry.path()) {
        let name = picture.file_name().unwrap_or_default();
        fs::copy(&picture, to.join(name)).map_err(|e| format!("{}: {e}", picture.display()))?;
    }
    Ok(())
}

fn html_name(page: &str) -> String {
    page.replace(".md", ".html")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
