//! Parses a source file: collects all paths used outside of tests, with their lines, and the names that the file
//! imports or re-exports.

use std::collections::BTreeMap;
use syn::{
    Attribute, Item, UseTree,
    visit::{self, Visit},
};

/// A path in the code: its segments and its line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    pub segments: Vec<String>,
    pub line: usize,
}

/// The parts of a file that the layer checks need.
#[derive(Debug, Default)]
pub struct Source {
    /// Every path of two or more segments, and the paths of one segment in `use` declarations.
    pub paths: Vec<Path>,
    /// The names that `use` declarations introduce, each with the path that it refers to.
    pub names: BTreeMap<String, Vec<String>>,
    /// The modules that the file declares.
    pub modules: Vec<String>,
    /// The declared modules that are compiled for tests only.
    pub tests: Vec<String>,
}

/// Parses the text of a file. Tests inside it are left out.
///
/// # Errors
/// When the text is not valid Rust.
pub fn read(text: &str) -> Result<Source, String> {
    let file = syn::parse_file(text).map_err(|e| format!("line {}: {e}", e.span().start().line))?;
    let mut source = Source::default();
    source.visit_file(&file);
    Ok(source)
}

/// Whether the item has the attribute `#[cfg(test)]`.
fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|a| a.path().is_ident("cfg") && a.parse_args::<syn::Ident>().is_ok_and(|what| what == "test"))
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(i) => &i.attrs,
        Item::Enum(i) => &i.attrs,
        Item::Fn(i) => &i.attrs,
        Item::Impl(i) => &i.attrs,
        Item::Mod(i) => &i.attrs,
        Item::Static(i) => &i.attrs,
        Item::Struct(i) => &i.attrs,
        Item::Trait(i) => &i.attrs,
        Item::Type(i) => &i.attrs,
        Item::Use(i) => &i.attrs,
        _ => &[],
    }
}

impl Source {
    fn add_use(&mut self, tree: &UseTree, before: &[String]) {
        let with = |name: &syn::Ident| before.iter().cloned().chain([name.to_string()]).collect::<Vec<_>>();
        let mut leaf = |segments: Vec<String>, name: String, line| {
            // `use a::b::{self}` names `a::b`.
            let segments = match segments.split_last() {
                Some((last, rest)) if last == "self" && !rest.is_empty() => rest.to_vec(),
                _ => segments,
            };
            let name = if name == "self" { segments.last().cloned().unwrap_or_default() } else { name };
            self.names.insert(name, segments.clone());
            self.paths.push(Path { segments, line });
        };
        match tree {
            UseTree::Path(path) => self.add_use(&path.tree, &with(&path.ident)),
            UseTree::Name(name) => leaf(with(&name.ident), name.ident.to_string(), name.ident.span().start().line),
            UseTree::Rename(rename) => leaf(with(&rename.ident), rename.rename.to_string(), rename.ident.span().start().line),
            UseTree::Group(group) => group.items.iter().for_each(|item| self.add_use(item, before)),
            UseTree::Glob(glob) => {
                let line = glob.star_token.spans.first().map_or(0, |s| s.start().line);
                self.paths.push(Path { segments: before.to_vec(), line });
            }
        }
    }

    /// Collects paths in the arguments of a macro. Macros are not parsed, so a path is a sequence of identifiers joined
    /// by `::`.
    fn add_tokens(&mut self, tokens: proc_macro2::TokenStream) {
        let (mut path, mut colons): (Option<Path>, usize) = (None, 0);
        for token in tokens {
            match token {
                proc_macro2::TokenTree::Ident(word) => match &mut path {
                    Some(path) if colons == 2 => path.segments.push(word.to_string()),
                    _ => {
                        self.paths.extend(path.take().filter(|p| p.segments.len() > 1));
                        path = Some(Path { segments: vec![word.to_string()], line: word.span().start().line });
                    }
                },
                proc_macro2::TokenTree::Punct(mark) if mark.as_char() == ':' => {
                    colons += 1;
                    continue;
                }
                proc_macro2::TokenTree::Group(group) => self.add_tokens(group.stream()),
                _ => self.paths.extend(path.take().filter(|p| p.segments.len() > 1)),
            }
            colons = 0;
        }
        self.paths.extend(path.filter(|p| p.segments.len() > 1));
    }
}

impl Visit<'_> for Source {
    fn visit_item(&mut self, item: &Item) {
        if is_test(attributes(item)) {
            if let Item::Mod(item) = item {
                self.tests.push(item.ident.to_string());
            }
            return;
        }
        match item {
            Item::Use(item) => self.add_use(&item.tree, &[]),
            Item::Mod(item) if item.content.is_none() => self.modules.push(item.ident.to_string()),
            other => visit::visit_item(self, other),
        }
    }

    fn visit_path(&mut self, path: &syn::Path) {
        let segments: Vec<String> = path.segments.iter().map(|s| s.ident.to_string()).collect();
        if let (Some(first), true) = (path.segments.first(), segments.len() > 1) {
            self.paths.push(Path { segments, line: first.ident.span().start().line });
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, it: &syn::Macro) {
        self.add_tokens(it.tokens.clone());
        visit::visit_macro(self, it);
    }

    // Attributes such as `#[doc = …]` and `#[cfg(test)]` use no items.
    fn visit_attribute(&mut self, _: &Attribute) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(text: &str) -> Vec<String> {
        let mut found: Vec<String> =
            read(text).unwrap().paths.into_iter().map(|p| format!("{}:{}", p.line, p.segments.join("::"))).collect();
        found.sort();
        found
    }

    #[test]
    fn paths_are_found_at_every_position() {
        assert_eq!(paths("use crate::{a::{self, B as C},\n d};"), ["1:crate::a", "1:crate::a::B", "2:crate::d"]);
        assert_eq!(paths("fn f(x: super::X) -> u8 {\n crate::g(a) }"), ["1:super::X", "2:crate::g"]);
        assert_eq!(paths("fn f() { assert!(matches!(x, crate::a::B { .. }), \"crate::c\"); }"), ["1:crate::a::B"]);
        assert_eq!(paths("use a::*;"), ["1:a"]);
    }

    #[test]
    fn comments_and_tests_are_not_read() {
        let text =
            "//! crate::a\n/// crate::b\n// crate::c\n#[cfg(test)]\nmod tests { use crate::d; }\n#[cfg(test)]\nmod other;\nmod kept;";
        assert_eq!(paths(text), Vec::<String>::new());
        assert_eq!(read(text).unwrap().modules, ["kept"]);
        assert_eq!(read(text).unwrap().tests, ["tests", "other"]);
    }
}
