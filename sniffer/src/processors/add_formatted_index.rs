//! `add_formatted_index`: chooses the index of each event by a format string.

use super::{AtStart, Decision, Factory, Facts, ProcessorKind, Shared, kit, options::options, shared};
use crate::{
    config::Error,
    enrich::HostData,
    event::{constants::Constants, format::Format, tree::Tree},
    opening::Opening,
};
use serde::Deserialize;
use serde_json::json;

pub(super) const KIND: ProcessorKind = ProcessorKind {
    name: "add_formatted_index",
    about: "Chooses the index of an event by a format string (`%{[field]}`, `%{[field]:default}`, `%{+yyyy.MM.dd}`). If a field of the format \
            string is missing, the index stays as it is, and the reason is in `error.message`.",
    example: "index: 'web-%{[http.request.method]:none}-%{+yyyy.MM.dd}'",
    options: &[("", AddFormattedIndex::OPTIONS)],
    open,
};

options! {
    #[derive(Debug)]
    struct AddFormattedIndex {
        /// The name of the index.
        index: Index,
    }
}

#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct Index(Format);

impl TryFrom<String> for Index {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Format::parse(&text).map(Self)
    }
}

fn open(opening: &Opening<'_>) -> Result<Box<dyn Factory>, Error> {
    Ok(shared(AddFormattedIndex::read(opening.node)?))
}

impl Shared for AddFormattedIndex {
    fn apply_at_start(&self, constants: &mut Constants, _: &Facts, _: &HostData) -> AtStart {
        let Some(index) = self.index.0.constant() else { return AtStart::PerEvent };
        if let Some(layer) = json!({"@metadata": {"raw_index": index}}).as_object() {
            constants.add(layer, true);
        }
        AtStart::Done
    }

    fn run(&self, event: &mut Tree, _: &HostData) -> Decision {
        let result = match self.index.0.text_of(event) {
            Some(index) => event.put("@metadata.raw_index", index.into()).map_err(|error| error.to_string()),
            None => Err("a field of the index name is missing".to_owned()),
        };
        kit::keep(event, true, "failed to add the index in add_formatted_index processor: ", result)
    }
}
