//! The headings and links of a page, and the page as HTML.

use pulldown_cmark::{CowStr, Event, Options, Parser, Tag, TagEnd, html};
use std::collections::HashMap;

/// What the check of links needs to know of a page.
pub struct Page {
    /// The text of the first heading.
    pub title: String,
    /// The names by which links address the headings.
    pub headings: Vec<String>,
    /// The line and the target of each link.
    pub links: Vec<(usize, String)>,
}

/// The extensions of Markdown that the pages use.
fn options() -> Options {
    Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH
}

impl Page {
    /// Reads a page.
    pub fn read(text: &str) -> Self {
        let mut page = Self { title: String::new(), headings: headings(text), links: Vec::new() };
        let mut in_title = false;
        for (event, range) in Parser::new_ext(text, options()).into_offset_iter() {
            match event {
                Event::Start(Tag::Heading { .. }) => in_title = page.title.is_empty(),
                Event::End(TagEnd::Heading(_)) => in_title = false,
                Event::Text(part) | Event::Code(part) if in_title => page.title += &part,
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    let line = text.get(..range.start).unwrap_or_default().matches('\n').count() + 1;
                    page.links.push((line, dest_url.into_string()));
                }
                _ => {}
            }
        }
        page
    }
}

/// The names of the headings in order, as GitHub and mdBook make them.
fn headings(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut heading: Option<String> = None;
    for event in Parser::new_ext(text, options()) {
        match event {
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::Text(part) | Event::Code(part) => heading.iter_mut().for_each(|text| text.push_str(&part)),
            Event::End(TagEnd::Heading(_)) => {
                let name = name(&heading.take().unwrap_or_default());
                let count = seen.entry(name.clone()).or_insert(0);
                names.push(if *count == 0 { name } else { format!("{name}-{count}") });
                *count += 1;
            }
            _ => {}
        }
    }
    names
}

/// The name of a heading in links.
fn name(text: &str) -> String {
    let kept = text.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}

/// The page as HTML. Links to other pages lead to their HTML, and headings can be addressed.
pub fn to_html(text: &str) -> String {
    let mut names = headings(text).into_iter();
    let events = Parser::new_ext(text, options()).map(|event| match event {
        Event::Start(Tag::Link { link_type, dest_url, title, id }) => {
            let dest_url = if dest_url.contains("://") { dest_url } else { CowStr::from(dest_url.replace(".md", ".html")) };
            Event::Start(Tag::Link { link_type, dest_url, title, id })
        }
        Event::Start(Tag::Heading { level, classes, attrs, .. }) => {
            Event::Start(Tag::Heading { level, id: names.next().map(CowStr::from), classes, attrs })
        }
        other => other,
    });
    let mut page = String::new();
    html::push_html(&mut page, events);
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_have_the_names_that_links_use() {
        let page = Page::read("# The `code`, and more\n\n## Twice\n\n## Twice\n\n```\n# no heading\n[no](link.md)\n```\n");
        assert_eq!(page.title, "The code, and more");
        assert_eq!(page.headings, ["the-code-and-more", "twice", "twice-1"]);
        assert_eq!(page.links, []);
    }

    #[test]
    fn html_leads_to_html() {
        let html = to_html("## A b\n\n[x](y.md#z) [web](https://x.invalid/a.md)\n\n| a | b |\n|---|---|\n| 1 | 2 |\n");
        for wanted in ["<h2 id=\"a-b\">", "href=\"y.html#z\"", "href=\"https://x.invalid/a.md\"", "<td>1</td>"] {
            assert!(html.contains(wanted), "{wanted} is not in {html}");
        }
    }
}
