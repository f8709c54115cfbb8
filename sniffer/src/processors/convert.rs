//! `convert`: converts values to other types.

use super::{Decision, Factory, ProcessorKind, Shared, kit, options::options, shared};
use crate::{
    config::Error,
    enrich::HostData,
    event::tree::{TIMESTAMP, Tree, kind},
    opening::Opening,
};
use serde::Deserialize;
use serde_json::{Number, Value};
use std::net::IpAddr;

pub(super) const KIND: ProcessorKind = ProcessorKind {
    name: "convert",
    about: "Converts values to other types, in place or to another field. A text becomes a number or a boolean only if it is written as one. A \
            number with a fraction becomes an integer without it. An error undoes all changes of the processor, unless `fail_on_error` is \
            false; it is only in the debug log.",
    example: "fields: [{from: http.response.status_code, to: code, type: string}, {from: source.ip, type: ip}]\nmode: copy\nignore_missing: true",
    options: &[("", Convert::OPTIONS), ("fields.", Conversion::OPTIONS)],
    open,
};

options! {
    #[derive(Debug)]
    struct Convert {
        /// The conversions of fields, made one after the other.
        fields: Vec<Conversion>,
        /// A name for this processor in the log.
        tag: String = String::new(),
        /// A missing field is not an error.
        ignore_missing: bool = false,
        /// If true, the first error undoes the changes. If false, the processor goes on with the next field.
        fail_on_error: bool = true,
        /// `copy` keeps the field `from`, `rename` removes it.
        mode: Mode = Mode::Copy,
    }
}

options! {
    #[derive(Debug)]
    struct Conversion {
        /// The field that is read.
        from: String,
        /// The field that is written. Without this option, the field itself is replaced.
        to: String = String::new(),
        /// `integer` (32 bits), `long`, `float` (32 bits), `double`, `string`, `boolean` or `ip`. Without this option, the value stays as it is.
        r#type: Option<Type> = None,
    }
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Mode {
    Copy,
    Rename,
}

/// The types that a value can be converted to.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Type {
    Integer,
    Long,
    Float,
    Double,
    String,
    Boolean,
    Ip,
}

fn open(opening: &Opening<'_>) -> Result<Box<dyn Factory>, Error> {
    let options = Convert::read(opening.node)?;
    if options.fields.is_empty() {
        return Err(opening.node.error("fields: at least one field is needed, `- {from: FIELD, type: long}`"));
    }
    for (number, field) in options.fields.iter().enumerate() {
        if field.to.is_empty() && field.r#type.is_none() {
            return Err(opening.node.get(&format!("fields.{number}")).error("`to` or `type` is missing"));
        }
    }
    Ok(shared(options))
}

impl Conversion {
    /// The names of both fields.
    fn names(&self) -> [&str; 2] {
        [&self.from, &self.to]
    }
}

impl Type {
    /// The converted value; `None` if the value cannot be converted.
    pub(super) fn convert(self, value: &Value) -> Option<Value> {
        match (self, value) {
            (Self::String, value) => Some(kit::print(value).into()),
            (Self::Integer, value) => whole(value).and_then(|number| i32::try_from(number).ok()).map(Into::into),
            (Self::Long, value) => whole(value).map(Into::into),
            (Self::Float, value) => shortest(float(value)? as f32),
            (Self::Double, value) => Number::from_f64(float(value)?).map(Into::into),
            (Self::Boolean, Value::Bool(value)) => Some((*value).into()),
            (Self::Boolean, Value::String(text)) => boolean(text).map(Into::into),
            (Self::Ip, Value::String(text)) => text.parse::<IpAddr>().is_ok().then(|| value.clone()),
            (Self::Boolean | Self::Ip, _) => None,
        }
    }
}

fn whole(value: &Value) -> Option<i64> {
    match value {
        Value::String(text) => integer(text),
        Value::Number(number) => {
            let float = number.as_f64()?;
            let in_range = (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&float);
            number.as_i64().or_else(|| (number.is_f64() && in_range).then_some(float as i64))
        }
        _ => None,
    }
}

/// Parses a decimal number, or a hexadecimal one that begins with `0x`.
fn integer(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(digits) if digits.starts_with(|c: char| c.is_ascii_hexdigit()) => i64::from_str_radix(&format!("{sign}{digits}"), 16).ok(),
        Some(_) => None,
        None => format!("{sign}{digits}").parse().ok(),
    }
}

fn float(value: &Value) -> Option<f64> {
    match value {
        Value::String(text) => text.parse().ok().filter(|float: &f64| float.is_finite()),
        Value::Number(number) => number.as_f64(),
        _ => None,
    }
}

/// The number with the shortest text that stands for this float of 32 bits.
fn shortest(float: f32) -> Option<Value> {
    Number::from_f64(float.to_string().parse().ok()?).map(Into::into)
}

fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

impl Convert {
    fn convert(&self, event: &mut Tree, Conversion { from, to, r#type }: &Conversion) -> Result<(), String> {
        let value = match event.fetch(from) {
            Ok(value) => value,
            Err(error) if error.is_missing() && self.ignore_missing => return Ok(()),
            Err(error) => return Err(kit::not_fetched(from, error)),
        };
        let converted = match r#type {
            Some(Type::String) if from == TIMESTAMP => kit::time_text(event).into(),
            Some(wanted) => {
                wanted.convert(value).ok_or_else(|| format!("unable to convert {from} of type {} to {wanted:?}", kind(value)))?
            }
            None => value.clone(),
        };
        if to.is_empty() || from == to {
            return event.put(from, converted).map_err(|error| format!("could not put value: {from}: {error}"));
        }
        let removed = if self.mode == Mode::Rename { event.remove(from) } else { None };
        event.put(to, converted).map_err(|error| {
            // This cannot fail, because the value was just removed from this field.
            let _ = removed.map(|value| event.put(from, value));
            format!("could not put value: {to}: {error}")
        })
    }
}

impl Shared for Convert {
    fn run(&self, event: &mut Tree, _: &HostData) -> Decision {
        let result = kit::edit_each(event, &self.fields, self.fail_on_error, Conversion::names, |event, item| self.convert(event, item));
        if let Err(error) = &result {
            log::debug!("convert {}: {error}", self.tag);
        }
        Decision::Keep
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn types() {
        for (wanted, value, expected) in [
            (Type::Integer, json!("42"), Some(json!(42))),
            (Type::Integer, json!("017"), Some(json!(17))),
            (Type::Integer, json!("0x1f"), Some(json!(31))),
            (Type::Integer, json!("-0x1f"), Some(json!(-31))),
            (Type::Integer, json!("0x-1"), None),
            (Type::Integer, json!("99999999999"), None),
            (Type::Integer, json!(3_000_000_000_u64), None),
            (Type::Integer, json!(" 5 "), None),
            (Type::Long, json!("99999999999"), Some(json!(99_999_999_999_u64))),
            (Type::Long, json!("1_000"), None),
            (Type::Long, json!("+5"), Some(json!(5))),
            (Type::Long, json!("+-5"), None),
            (Type::Long, json!(3.99), Some(json!(3))),
            (Type::Long, json!(-1.5), Some(json!(-1))),
            (Type::Long, json!(1e20), None),
            (Type::Long, json!(u64::MAX), None),
            (Type::Long, json!(true), None),
            (Type::Float, json!("9007199254740993"), Some(json!(9_007_199_000_000_000.0))),
            (Type::Float, json!("4.7"), Some(json!(4.7))),
            (Type::Double, json!("1e3"), Some(json!(1000.0))),
            (Type::Double, json!("NaN"), None),
            (Type::Double, json!(u64::MAX), Some(json!(18_446_744_073_709_552_000.0))),
            (Type::Boolean, json!("T"), Some(json!(true))),
            (Type::Boolean, json!("tRue"), None),
            (Type::Boolean, json!(1), None),
            (Type::Ip, json!("2001:db8::1"), Some(json!("2001:db8::1"))),
            (Type::Ip, json!("Error"), None),
            (Type::String, json!([1, "a", true, 2.5]), Some(json!("[1 a true 2.5]"))),
            (Type::String, json!(1_234_567.5), Some(json!("1.2345675e+06"))),
        ] {
            assert_eq!(wanted.convert(&value), expected, "{value} to {wanted:?}");
        }
    }
}
