//! Parses interface definitions (<https://thrift.apache.org/docs/idl>): the names of methods, parameters and
//! exceptions. Everything else is skipped. No crate is used: the existing ones build the complete syntax tree
//! recursively, but only two names per field are needed. Included files are not read; they can be listed themselves.

use std::{collections::HashMap, sync::Arc};

/// Maximum size of a file that is read, in bytes. Files of large companies have about 100 KiB.
pub const LONGEST_FILE: u64 = 4 << 20;

/// A method of a service.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Method {
    /// The name of the service.
    pub service: String,
    /// Whether the method is one-way.
    pub oneway: bool,
    params: Vec<(i16, String)>,
    throws: Vec<(i16, String)>,
}

impl Method {
    /// The name of the parameter with this id, or, with `reply`, of the declared exception with this id.
    pub fn field(&self, reply: bool, id: i16) -> Option<&str> {
        let fields = if reply { &self.throws } else { &self.params };
        fields.iter().find(|field| field.0 == id).map(|field| field.1.as_str())
    }
}

/// The methods of all services.
#[derive(Debug, Default)]
pub struct Idl {
    /// The methods by name; `None` if several services have a method of this name.
    by_name: HashMap<String, Option<Arc<Method>>>,
    /// The methods by `service:method`, as in multiplexed calls.
    by_service: HashMap<String, Arc<Method>>,
}

impl Idl {
    /// The method of a call, given as `method` or `service:method`.
    pub fn method(&self, service: Option<&str>, name: &str) -> Option<&Arc<Method>> {
        let of_service = service.filter(|_| !self.by_service.is_empty()).and_then(|s| self.by_service.get(&format!("{s}:{name}")));
        of_service.or_else(|| self.by_name.get(name)?.as_ref())
    }

    /// Adds the services of a file.
    ///
    /// # Errors
    /// The line that is not Thrift, and the reason.
    pub fn add(&mut self, text: &str) -> Result<(), String> {
        let mut tokens = Tokens { rest: text, line: 1 };
        while let Some(token) = tokens.next()? {
            if token == "service" {
                self.service(&mut tokens).map_err(|why| format!("line {}: {why}", tokens.line))?;
            } else if matches!(token, "{" | "(" | "[") {
                tokens.pass_over()?;
            }
        }
        Ok(())
    }

    fn service(&mut self, tokens: &mut Tokens<'_>) -> Result<(), String> {
        let service = tokens.require()?.to_owned();
        while tokens.require()? != "{" {}
        loop {
            let mut token = tokens.require()?;
            match token {
                "}" => return Ok(()),
                "," | ";" => continue,
                "(" => {
                    tokens.pass_over()?;
                    continue;
                }
                _ => {}
            }
            let oneway = matches!(token, "oneway" | "async");
            if oneway {
                token = tokens.require()?;
            }
            let name = tokens.after_type(token)?.to_owned();
            if tokens.require()? != "(" {
                return Err(format!("`(` is missing after `{name}`"));
            }
            let params = fields(tokens)?;
            let mut throws = Vec::new();
            if tokens.peek()? == Some("throws") {
                tokens.require()?;
                if tokens.require()? != "(" {
                    return Err("`(` is missing after `throws`".into());
                }
                throws = fields(tokens)?;
            }
            let method = Arc::new(Method { service: service.clone(), oneway, params, throws });
            self.by_service.insert(format!("{service}:{name}"), Arc::clone(&method));
            let place = self.by_name.entry(name).or_insert_with(|| Some(Arc::clone(&method)));
            if place.as_ref().is_some_and(|other| *other != method) {
                *place = None;
            }
        }
    }
}

/// Parses `1: required string name = "x", …)`, after the parenthesis.
fn fields(tokens: &mut Tokens<'_>) -> Result<Vec<(i16, String)>, String> {
    let (mut fields, mut implicit) = (Vec::new(), 0i16);
    loop {
        let mut token = tokens.require()?;
        match token {
            ")" => return Ok(fields),
            "," | ";" => continue,
            "(" | "{" | "[" => {
                tokens.pass_over()?;
                continue;
            }
            "=" => {
                if matches!(tokens.require()?, "{" | "[") {
                    tokens.pass_over()?;
                }
                continue;
            }
            _ => {}
        }
        let id = match token.parse() {
            Ok(id) => {
                if tokens.require()? != ":" {
                    return Err(format!("`:` is missing after `{id}`"));
                }
                token = tokens.require()?;
                id
            }
            Err(_) => {
                implicit = implicit.saturating_sub(1);
                implicit
            }
        };
        if matches!(token, "required" | "optional") {
            token = tokens.require()?;
        }
        fields.push((id, tokens.after_type(token)?.to_owned()));
    }
}

struct Tokens<'a> {
    rest: &'a str,
    line: usize,
}

impl<'a> Tokens<'a> {
    /// The next token: a word, a string with its quotes, or one other character.
    fn next(&mut self) -> Result<Option<&'a str>, String> {
        loop {
            let rest = self.rest;
            let Some(first) = rest.chars().next() else { return Ok(None) };
            let comment = if first == '#' || rest.starts_with("//") {
                rest.find('\n').unwrap_or(rest.len())
            } else if let Some(inside) = rest.strip_prefix("/*") {
                inside.find("*/").map(|n| n + 4).ok_or_else(|| format!("line {}: a comment without end", self.line))?
            } else if first.is_whitespace() {
                first.len_utf8()
            } else {
                let is_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | '+');
                let n = if matches!(first, '"' | '\'') {
                    let end = rest.get(1..).and_then(|inside| inside.find(first));
                    end.map(|n| n + 2).ok_or_else(|| format!("line {}: a text without end", self.line))?
                } else if is_word(first) {
                    rest.find(|c| !is_word(c)).unwrap_or(rest.len())
                } else {
                    first.len_utf8()
                };
                return Ok(Some(self.take(n)));
            };
            self.take(comment);
        }
    }

    fn take(&mut self, n: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at_checked(n).unwrap_or((self.rest, ""));
        self.line += taken.matches('\n').count();
        self.rest = rest;
        taken
    }

    fn peek(&mut self) -> Result<Option<&'a str>, String> {
        let mut ahead = Tokens { rest: self.rest, line: self.line };
        ahead.next()
    }

    fn require(&mut self) -> Result<&'a str, String> {
        self.next()?.ok_or_else(|| "the file ends too early".into())
    }

    /// Skips the rest of a type that begins with `token`: `map<string, list<i32>>`, also `(annotation = "x")`.
    fn after_type(&mut self, _token: &str) -> Result<&'a str, String> {
        let mut depth = 0usize;
        loop {
            match self.require()? {
                "<" => depth += 1,
                ">" => depth = depth.saturating_sub(1),
                "(" => self.pass_over()?,
                _ if depth > 0 => {}
                // An annotation of the type, for example `list<i32> cpp_type "std::list"`.
                "cpp_type" => drop(self.require()?),
                name if name.starts_with(|c: char| c.is_alphanumeric() || c == '_') => return Ok(name),
                other => return Err(format!("a name is missing before `{other}`")),
            }
        }
    }

    /// Skips to the matching closing bracket.
    fn pass_over(&mut self) -> Result<(), String> {
        let mut depth = 1usize;
        while depth > 0 {
            match self.require()? {
                "(" | "{" | "[" => depth += 1,
                ")" | "}" | "]" => depth -= 1,
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_of_services() {
        let mut idl = Idl::default();
        let text = "include \"shared.thrift\" /* service x {} */\nnamespace py a.b\nenum E { A = 1, B }\nstruct W { 1: i32 n = 0 (a = \"b\") }\n\
            service Calculator extends shared.Service {\n # none\n void ping(),\n map<string, list<i32>> add(1: i32 num1, 2:i32 num2 = 5) // sum\n\
            i32 calculate(1:i32 logid, 2: required W w) throws (1: Bad ouch; 2: Worse oh) (priority = \"1\"),\n oneway void zip(set<i8> a) }\n\
            service Other { void ping(); void only() }";
        idl.add(text).unwrap();
        let calculate = idl.method(None, "calculate").unwrap();
        assert_eq!((calculate.field(false, 2), calculate.field(true, 2), calculate.field(true, 3)), (Some("w"), Some("oh"), None));
        assert_eq!(calculate.service, "Calculator");
        assert_eq!(idl.method(None, "add").unwrap().field(false, 2), Some("num2"));
        assert!(idl.method(None, "zip").unwrap().oneway);
        assert_eq!(idl.method(None, "zip").unwrap().field(false, -1), Some("a"));
        assert_eq!(idl.method(None, "ping"), None, "two services have it");
        assert_eq!(idl.method(Some("Other"), "ping").unwrap().service, "Other");
    }

    #[test]
    fn errors_have_their_line() {
        for (text, line) in [("\nservice A { void a(", "line 2"), ("service A { void b }", "line 1"), ("/* x", "line 1"), ("'", "line 1")] {
            let error = Idl::default().add(text).unwrap_err();
            assert!(error.starts_with(line), "{text}: {error}");
        }
    }
}
