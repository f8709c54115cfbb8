//! Reads lists of processors from the configuration: processors with their conditions, and `if`, `then`, `else`.

use super::{Factory, PROCESSORS, ProcessorKind, condition::Condition, options::plain};
use crate::{
    config::{Error, Errors, Node},
    event::constants::Constants,
    opening::Opening,
};
use std::{sync::Arc, time::Duration};

/// Processors of Packetbeat that this program does not have, and the advice for each.
const REFUSED: &[(&str, &str)] = &[
    ("add_cloudfoundry_metadata", "this processor is part of Elastic's licensed distribution; remove it"),
    ("add_nomad_metadata", "this processor is part of Elastic's licensed distribution; remove it"),
    ("decode_xml_wineventlog", "this processor decodes the event log of Windows, which no event here has; remove it"),
    ("translate_sid", "this processor translates Windows SIDs and needs Windows; remove it"),
];

/// Processors of which unknown settings cause a warning instead of an error, because Packetbeat starts with such settings.
const LENIENT: &[&str] = &[
    "add_agent_metadata",
    "add_cloud_metadata",
    "add_docker_metadata",
    "add_formatted_index",
    "add_host_metadata",
    "add_id",
    "add_kubernetes_metadata",
    "add_locale",
    "add_observer_metadata",
    "add_process_metadata",
    "append",
    "cache",
    "community_id",
    "convert",
    "copy_fields",
    "decode_duration",
    "dissect",
    "dns",
    "fingerprint",
    "move_fields",
    "rate_limit",
    "registered_domain",
    "rename",
    "replace",
    "translate_ldap_attribute",
    "truncate_fields",
];

/// For a processor in [`LENIENT`], returns its settings without the unknown ones. Each unknown setting causes a warning.
fn known_options(kind: &ProcessorKind, mut settings: Node) -> Node {
    if !LENIENT.contains(&kind.name) {
        return settings;
    }
    let own = || kind.options.iter().filter(|(path, _)| path.is_empty()).flat_map(|(_, options)| options.iter());
    let is_known = |key: &str| own().any(|option| plain(option.name) == key);
    let unknown: Vec<(String, Node)> =
        settings.entries().filter(|(key, _)| !is_known(key)).map(|(key, value)| (key.to_owned(), value.clone())).collect();
    for (key, value) in unknown {
        value.accept();
        log::warn!("{}", value.error(format!("unknown setting of `{}`, ignored", kind.name)));
        settings = settings.without(&key);
    }
    settings
}

/// One step of a chain.
#[derive(Clone, Debug)]
pub enum Step {
    /// Runs a processor, if its condition holds.
    Run {
        /// The condition in `when`.
        when: Option<Condition>,
        /// The processor. Every configured processor has its own factory.
        factory: Arc<dyn Factory>,
    },
    /// Runs one of two lists of steps.
    Branch {
        /// The condition in `if`.
        condition: Condition,
        /// The steps in `then`.
        then: Vec<Step>,
        /// The steps in `else`.
        otherwise: Vec<Step>,
    },
    /// Adds fields that the program itself defines, between two lists of processors.
    Add(Constants),
}

#[cfg(test)]
impl Step {
    /// Makes a step that runs a processor of a test without a condition.
    pub fn of(factory: impl Factory + 'static) -> Self {
        Self::Run { when: None, factory: Arc::new(factory) }
    }
}

/// Opens all processor lists of a configuration, and collects the errors so that the user sees all of them.
#[derive(Debug, Default)]
pub struct Lists {
    errors: Errors,
    /// Whether an earlier error lists the names of all processors.
    names_shown: bool,
}

impl Lists {
    /// Opens the list at `opening.node`; a missing node is an empty list. Entries with errors are left out, and [`Lists::finish`] returns
    /// the errors.
    pub fn open(&mut self, opening: &Opening<'_>) -> Vec<Step> {
        opening.node.items().iter().filter_map(|entry| self.step(&opening.at(entry))).collect()
    }

    /// Reports the collected errors.
    ///
    /// # Errors
    /// All errors of the lists that were opened, with file, line, key and the allowed values.
    pub fn finish(self) -> Result<(), Error> {
        self.errors.finish()
    }

    fn step(&mut self, opening: &Opening<'_>) -> Option<Step> {
        let entry = opening.node;
        let keys: Vec<(&str, &Node)> = entry.entries().collect();
        if keys.iter().any(|(key, _)| *key == "if") {
            return self.branch(opening, &keys);
        }
        let [(name, node)] = keys.as_slice() else {
            return self.refuse(entry.error("each entry must be a map with one key, the processor's name; begin each processor with `- `"));
        };
        if let Some((_, why)) = REFUSED.iter().find(|(refused, _)| refused == name) {
            let error = node.error(*why);
            return self.refuse(error);
        }
        let Some(kind) = PROCESSORS.iter().find(|kind| kind.name == *name) else {
            let error = node.error(self.not_supported());
            return self.refuse(error);
        };
        let when = self.condition(node);
        let options = known_options(kind, node.without("when"));
        let opened = (kind.open)(&opening.at(&options));
        let factory = self.errors.take(opened)?;
        Some(Step::Run { when: when?, factory: factory.into() })
    }

    fn branch(&mut self, opening: &Opening<'_>, keys: &[(&str, &Node)]) -> Option<Step> {
        let entry = opening.node;
        if let Some((key, node)) = keys.iter().find(|(key, _)| !["if", "then", "else"].contains(key)) {
            return self.refuse(node.error(format!("`{key}` is not allowed beside `if`; only `then` and `else` are")));
        }
        let then = entry.get("then");
        if then.is_null() {
            return self.refuse(entry.error("an `if` needs a `then`"));
        }
        let condition = self.errors.take(entry.get("if").read());
        let then = self.open(&opening.at(&then));
        let otherwise = self.open(&opening.at(&entry.get("else")));
        Some(Step::Branch { condition: condition?, then, otherwise })
    }

    /// Reads the condition of a processor. Returns `Some(None)` if there is no condition, and `None` if the condition is invalid.
    fn condition(&mut self, processor: &Node) -> Option<Option<Condition>> {
        if processor.contains("when") { self.errors.take(processor.get("when").read()).map(Some) } else { Some(None) }
    }

    fn refuse(&mut self, error: Error) -> Option<Step> {
        self.errors.take(Err(error))
    }

    fn not_supported(&mut self) -> String {
        if std::mem::replace(&mut self.names_shown, true) {
            return "this processor is not supported either".to_owned();
        }
        let names: Vec<&str> = PROCESSORS.iter().map(|kind| kind.name).collect();
        format!("this processor is not supported; remove it, or use one of {}", names.join(", "))
    }
}

/// The shortest interval at which one of the processors needs a new [`crate::enrich::HostData`].
pub fn refresh_every(steps: &[Step]) -> Option<Duration> {
    let each = steps.iter().flat_map(|step| match step {
        Step::Run { factory, .. } => [factory.refresh_every(), None],
        Step::Branch { then, otherwise, .. } => [refresh_every(then), refresh_every(otherwise)],
        Step::Add(_) => [None, None],
    });
    each.flatten().min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::opening::testing::opening;

    fn error(yaml: &str) -> String {
        let mut lists = Lists::default();
        lists.open(&opening(&Node::parse(yaml).unwrap()));
        lists.finish().unwrap_err().to_string()
    }

    #[test]
    fn errors_name_line_and_key_and_say_what_is_allowed() {
        for (yaml, message) in [
            ("- drop_field: {fields: [a]}", "line 1: 0.drop_field: this processor is not supported; remove it, or use one of add_agent"),
            (
                "- drop_event:\n- drop_fields:\n    fields: [a]\n    field: a",
                "line 4: 1.drop_fields.field: unknown setting `field`, expected one of `fields`, `ignore_missing`",
            ),
            (
                "- add_nomad_metadata: ~",
                "line 1: 0.add_nomad_metadata: this processor is part of Elastic's licensed distribution; remove it",
            ),
            ("- translate_sid: {}", "line 1: 0.translate_sid: this processor translates Windows SIDs and needs Windows; remove it"),
            ("- drop_event:\n    when: ~", "line 2: 0.drop_event.when: a condition is missing"),
            ("- drop_event:\n    a: 1", "line 2: 0.drop_event.a: unknown setting `a`, expected none"),
            ("- drop_event: text", "line 1: 0.drop_event: expected a map (`key: value`), got `text`"),
            ("- drop_fields:\n    ignore_missing: true", "line 1: 0.drop_fields: `fields` is missing"),
            ("- drop_fields:\n    fields: ['/(/']", "line 2: 0.drop_fields.fields: `/(/`: regex parse error"),
            (
                "- rename:\n    fields:\n    - {from: a, to: b}\n    - {from: a, too: b}",
                "line 4: 0.rename.fields.1.too: unknown setting `too`",
            ),
            ("- rename:\n    fields: []\n    fail_on_error: 3", "line 3: 0.rename.fail_on_error: expected `true` or `false`, got `3`"),
            ("- add_host_metadata:\n    cache.ttl: soon", "line 2: 0.add_host_metadata.cache.ttl: expected a duration"),
            ("- if.contains.tags: x\n  then:\n  - foo: {}", "line 3: 0.then.0.foo: this processor is not supported"),
            ("- if.contains.tags: x", "line 1: 0: an `if` needs a `then`"),
            ("- if:\n    contains.tags: 4\n  then: []", "line 2: 0.if.contains.tags: `contains` of `tags` needs a string"),
            ("- {if.contains.tags: x, then: [], otherwise: []}", "line 1: 0.otherwise: `otherwise` is not allowed beside `if`"),
            ("- drop_event:\n    when:\n      equal.a: 1", "line 3: 0.drop_event.when.equal: there is no condition `equal`"),
            ("- {drop_event: ~, rename: ~}", "line 1: 0: each entry must be a map with one key"),
            ("- drop_event", "line 1: 0: each entry must be a map with one key"),
        ] {
            let error = error(yaml);
            assert!(error.starts_with(message) && error.matches("line ").count() == 1, "{yaml}\nwant: {message}\ngot:  {error}");
        }
    }

    #[test]
    fn all_errors_are_shown_at_once() {
        let text = error("- foo:\n- drop_event: {a: 1, when: {equal.a: 1}}\n- if.equals.a: 1\n  then: [bar: ~]\n  else: [rename: ~]");
        let lines: Vec<&str> = text.lines().collect();
        let wanted = [
            "line 1: 0.foo: this processor is not supported; remove it",
            "line 2: 1.drop_event.when.equal: there is no condition `equal`",
            "line 2: 1.drop_event.a: unknown setting `a`",
            "line 4: 2.then.0.bar: this processor is not supported either",
            "line 5: 2.else.0.rename: `fields` is missing",
        ];
        assert_eq!(lines.len(), wanted.len(), "{text}");
        lines.iter().zip(wanted).for_each(|(line, wanted)| assert!(line.starts_with(wanted), "want: {wanted}\ngot:  {line}"));
    }

    #[test]
    fn settings_that_packetbeat_ignores_are_ignored() {
        let node = Node::parse("- add_docker_metadata: {skip_older: true}\n- rename: {fields: [], nonsense: {a: 1}}").unwrap();
        let mut lists = Lists::default();
        assert_eq!(lists.open(&opening(&node)).len(), 2);
        lists.finish().unwrap();
        assert_eq!(node.unknown(), []);
    }

    #[test]
    fn options_of_processors_and_conditions_cause_no_warning() {
        let node =
            Node::parse("- drop_fields: {fields: [a], when: {equals: {a.b: 1}, contains: {c: d}}}\n- add_kubernetes_metadata: {x.y: 1}")
                .unwrap();
        let mut lists = Lists::default();
        assert_eq!(lists.open(&opening(&node)).len(), 2);
        lists.finish().unwrap();
        assert_eq!(node.unknown(), []);
    }
}
