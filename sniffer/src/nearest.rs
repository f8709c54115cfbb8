//! Finds the name that the user may have meant by an unknown one: the known name whose spelling is most similar.

/// A name may have one wrong character for each group of this many characters.
const LETTERS_PER_MISTAKE: usize = 3;

/// The name that is most similar to `wrong`, if the difference can be a typing error.
pub fn nearest<'a>(wrong: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |name: &str| name.to_lowercase().replace(['_', '-'], "");
    let wrong = plain(wrong);
    let most = (wrong.chars().count() / LETTERS_PER_MISTAKE).max(1);
    let distance = |name: &'a str| {
        let name_plain = plain(name);
        // A cheap test comes first: the distance is at least the difference in length.
        let by_length = name_plain.len().abs_diff(wrong.len());
        let plural = name_plain.strip_suffix('s') == Some(wrong.as_str()) || wrong.strip_suffix('s') == Some(name_plain.as_str());
        match plural {
            true => Some((0, name)),
            false if by_length > most => None,
            false => Some((strsim::damerau_levenshtein(&wrong, &name_plain), name)),
        }
    };
    names.into_iter().filter_map(distance).filter(|(distance, _)| *distance <= most).min().map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn typing_errors() {
        let names = ["device", "type", "snaplen", "bpf_filter", "hosts", "workers", "ports"];
        for (wrong, want) in [
            ("devise", Some("device")),
            ("Device", Some("device")),
            ("snap_len", Some("snaplen")),
            ("bpf-fitler", Some("bpf_filter")),
            ("host", Some("hosts")),
            ("port", Some("ports")),
            ("typ", Some("type")),
            ("nosuch", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(nearest(wrong, names), want, "{wrong}");
        }
    }
}
