//! Generates the field tables of `docs/protocols` from the declarations, and checks the fields that the pages mention.
//!
//! `cargo xtask golden --accept` writes the tables.

use super::PROTOCOLS;
use crate::{
    event::{Field, TRANSACTION},
    flow,
};
use std::{collections::BTreeSet, fs, path::Path};

const BEGIN: &str = "<!-- made from the declared fields by `cargo xtask golden --accept` -->\n";
const END: &str = "<!-- end of the declared fields -->\n";

/// The table of the fields, with one row per type. Fields that differ only in the last part of the name are joined.
fn table(fields: &[Field]) -> String {
    let shown: Vec<&Field> = fields.iter().filter(|field| !field.reserved).collect();
    let kinds: BTreeSet<_> = shown.iter().map(|field| field.kind.name()).collect();
    let mut table = format!("{BEGIN}| type in the index | all fields |\n|---|---|\n");
    for kind in kinds {
        let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
        let mut optional = Vec::new();
        for field in shown.iter().filter(|field| field.kind.name() == kind) {
            if !field.needs.is_empty() {
                let options: Vec<String> = field.needs.iter().map(|name| format!("`{name}`")).collect();
                optional.push(format!("`{}` (only with {})", field.name, options.join(" or ")));
                continue;
            }
            let (parent, last) = field.name.rsplit_once('.').unwrap_or(("", field.name));
            match groups.iter_mut().find(|group| group.0 == parent) {
                Some(group) => group.1.push(last),
                None => groups.push((parent, vec![last])),
            }
        }
        let group = |(parent, names): (&str, Vec<&str>)| match (parent, names.as_slice()) {
            ("", names) => names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
            (parent, [name]) => format!("`{parent}.{name}`"),
            (parent, names) => format!("`{parent}.{{{}}}`", names.join(",")),
        };
        let cells: Vec<String> = groups.into_iter().map(group).chain(optional).collect();
        table += &format!("| {kind} | {} |\n", cells.join(", "));
    }
    table + END
}

/// The page with this table instead of its present one, or with the table at the end of the section `Fields`.
fn with_table(page: &str, table: &str) -> Option<String> {
    if let (Some(begin), Some(end)) = (page.find(BEGIN), page.find(END)) {
        return Some(format!("{}{table}{}", page.get(..begin)?, page.get(end + END.len()..)?));
    }
    let section = page.find("## Fields\n")?;
    let rest = page.get(section + 1..)?;
    let end = rest.find("\n## ").map_or(page.len(), |at| section + 1 + at);
    Some(format!("{}\n{table}{}", page.get(..end)?, page.get(end..)?))
}

/// Expands `a.{b,c}.d` to `a.b.d` and `a.c.d`.
fn expanded(name: &str) -> Vec<String> {
    let (Some(open), Some(close)) = (name.find('{'), name.find('}')) else { return vec![name.to_owned()] };
    let (before, inner, after) = (&name[..open], &name[open + 1..close], &name[close + 1..]);
    inner.split(',').flat_map(|part| expanded(&format!("{before}{part}{after}"))).collect()
}

/// Names of fields in the text of a page that the protocol does not have. Only full names are found.
fn unknown_names(page: &str, fields: &[Field]) -> Vec<String> {
    let section = page.find("## Fields\n").map_or("", |at| &page[at..]);
    let section = section.get(3..).and_then(|rest| rest.find("\n## ").map(|end| &rest[..end])).unwrap_or(section);
    let prose = section.find(BEGIN).map_or(section, |at| &section[..at]);
    let own: BTreeSet<&str> = fields.iter().filter_map(|field| field.name.split_once('.')).map(|(first, _)| first).collect();
    // The first column of a table has names; the other columns also have values.
    let named = prose.lines().map(|line| if line.starts_with('|') { line.split('|').nth(1).unwrap_or_default() } else { line });
    let code = named
        .flat_map(|text| text.split('`').skip(1).step_by(2))
        .filter(|code| !code.ends_with('.') && !code.contains([' ', '…', '=', '(']));
    let names = code.filter(|code| code.split_once('.').is_some_and(|(first, _)| own.contains(first))).flat_map(expanded);
    let known = |name: &str| TRANSACTION.iter().chain(fields).any(|field| !field.reserved && field.concerns(name));
    names.filter(|name| !known(name.trim_end_matches(".*"))).collect()
}

#[test]
fn pages_list_the_declared_fields() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docs/protocols");
    let accept = std::env::var_os("GOLDEN").is_some_and(|value| value == "accept");
    let mut wrong = Vec::new();
    for (name, fields) in PROTOCOLS.iter().map(|p| (p.name, p.fields)).chain([("flow", flow::FIELDS)]) {
        let file = folder.join(name).with_extension("md");
        let Ok(page) = fs::read_to_string(&file) else {
            wrong.push(format!("{name}: there is no page {}", file.display()));
            continue;
        };
        let table = table(fields);
        let Some(expected) = with_table(&page, &table) else {
            wrong.push(format!("{name}: the page has no section `## Fields`"));
            continue;
        };
        if accept {
            fs::write(&file, &expected).unwrap();
        } else if page != expected {
            wrong.push(format!("{name}: the page does not have this table (`cargo xtask golden --accept` writes it):\n{table}"));
        }
        wrong.extend(
            unknown_names(&page, fields).into_iter().map(|field| format!("{name}: the page mentions {field}, which is not declared")),
        );
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn tables_and_names() {
    use crate::event::Kind::{Ip, Keyword};
    let fields = [
        Field::new("x.a.b", Keyword),
        Field::new("x.a.c", Keyword),
        Field::new("params", Keyword),
        Field::new("x.d", Ip),
        Field::reserved("x.e", Ip),
        Field::with_option("x.f", Ip, &["g", "h"]),
    ];
    let made = table(&fields);
    let rows = "| ip | `x.d`, `x.f` (only with `g` or `h`) |\n| keyword | `x.a.{b,c}`, `params` |\n";
    assert_eq!(made, format!("{BEGIN}| type in the index | all fields |\n|---|---|\n{rows}{END}"));
    let page = "# x\n\n## Fields\n\n`x.a.{b,q}`, `x.d.*`, `x.e`, `x.`, `y.z`\n\n| `x.r` | `x.value` |\n\n## Limits\n\n`x.limit`\n";
    let expected = format!(
        "# x\n\n## Fields\n\n`x.a.{{b,q}}`, `x.d.*`, `x.e`, `x.`, `y.z`\n\n| `x.r` | `x.value` |\n\n{made}\n## Limits\n\n`x.limit`\n"
    );
    assert_eq!(with_table(page, &made).as_deref(), Some(expected.as_str()));
    assert_eq!(with_table(&expected, &made).as_deref(), Some(expected.as_str()), "a second time");
    assert_eq!(with_table("# x\n", &made), None);
    assert_eq!(unknown_names(page, &fields), ["x.a.q", "x.e", "x.r"]);
}
