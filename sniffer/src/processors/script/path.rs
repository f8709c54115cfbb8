//! The functions of the module `path` for scripts: file names of Unix and of Windows, as text only.

/// Applies a function of the module. `None` if there is no such function.
pub(super) fn apply(function: &str, path: &str, windows: bool) -> Option<String> {
    Some(match function {
        "basename" => basename(path, windows),
        "dirname" => dirname(path, windows),
        "extname" => {
            let last = path.rsplit(|c| is_separator(c, windows)).next().unwrap_or_default();
            last.rfind('.').and_then(|at| last.get(at..)).unwrap_or_default().to_owned()
        }
        "isAbsolute" => {
            let (volume, rest) = split_volume(path, windows);
            (rest.starts_with(|c| is_separator(c, windows)) && (!windows || !volume.is_empty())).to_string()
        }
        "normalize" => normalize(path, windows),
        _ => return None,
    })
}

fn is_separator(c: char, windows: bool) -> bool {
    c == '/' || (windows && c == '\\')
}

/// The drive (`C:`) or server and share (`\\server\share`) of a Windows path, and the rest.
fn split_volume(path: &str, windows: bool) -> (&str, &str) {
    let bytes = path.as_bytes();
    let at = match bytes {
        _ if !windows => 0,
        [letter, b':', ..] if letter.is_ascii_alphabetic() => 2,
        [b'\\' | b'/', b'\\' | b'/', rest @ ..] => {
            let mut ends = rest.iter().enumerate().filter(|(_, byte)| matches!(byte, b'\\' | b'/')).map(|(at, _)| at + 2);
            match ends.next() {
                Some(_) => ends.next().unwrap_or(bytes.len()),
                None => 0,
            }
        }
        _ => 0,
    };
    path.split_at_checked(at).unwrap_or(("", path))
}

fn basename(path: &str, windows: bool) -> String {
    if path.is_empty() {
        return ".".to_owned();
    }
    let (_, rest) = split_volume(path, windows);
    let trimmed = rest.trim_end_matches(|c| is_separator(c, windows));
    if trimmed.is_empty() {
        return if rest.is_empty() { "." } else { separator(windows) }.to_owned();
    }
    trimmed.rsplit(|c| is_separator(c, windows)).next().unwrap_or_default().to_owned()
}

fn dirname(path: &str, windows: bool) -> String {
    let (volume, rest) = split_volume(path, windows);
    let end = rest.rfind(|c| is_separator(c, windows)).map_or(0, |at| at + 1);
    let folder = normalize(rest.get(..end).unwrap_or_default(), windows);
    if windows { format!("{}{folder}", volume.replace('/', "\\")) } else { folder }
}

fn separator(windows: bool) -> &'static str {
    if windows { "\\" } else { "/" }
}

/// The shortest path with the same meaning: without `.`, inner `..` and repeated separators.
fn normalize(path: &str, windows: bool) -> String {
    let (volume, rest) = split_volume(path, windows);
    let rooted = rest.starts_with(|c| is_separator(c, windows));
    let mut parts: Vec<&str> = Vec::new();
    for part in rest.split(|c| is_separator(c, windows)) {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => _ = parts.pop(),
            ".." if rooted => {}
            part => parts.push(part),
        }
    }
    let joined = parts.join(separator(windows));
    let volume = if windows { volume.replace('/', "\\") } else { String::new() };
    match (rooted, joined.is_empty()) {
        (true, _) => format!("{volume}{}{joined}", separator(windows)),
        (false, true) => format!("{volume}."),
        (false, false) => format!("{volume}{joined}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_both_systems() {
        for (function, path, windows, wanted) in [
            ("basename", "/usr/bin/ls", false, "ls"),
            ("basename", "/usr/bin/", false, "bin"),
            ("basename", "", false, "."),
            ("basename", "///", false, "/"),
            ("basename", "C:\\a\\b.exe", true, "b.exe"),
            ("basename", "C:\\a\\b.exe", false, "C:\\a\\b.exe"),
            ("basename", "C:", true, "."),
            ("dirname", "/usr/bin/ls", false, "/usr/bin"),
            ("dirname", "ls", false, "."),
            ("dirname", "C:\\a\\b.exe", true, "C:\\a"),
            ("dirname", "\\\\host\\share\\a\\b", true, "\\\\host\\share\\a"),
            ("extname", "/a/b.tar.gz", false, ".gz"),
            ("extname", "/a.d/b", false, ""),
            ("isAbsolute", "/a", false, "true"),
            ("isAbsolute", "a", false, "false"),
            ("isAbsolute", "C:\\a", true, "true"),
            ("isAbsolute", "C:a", true, "false"),
            ("isAbsolute", "\\a", true, "false"),
            ("normalize", "/a//b/../c/.", false, "/a/c"),
            ("normalize", "../../a/..", false, "../.."),
            ("normalize", "/../a", false, "/a"),
            ("normalize", "", false, "."),
            ("normalize", "c:/a/./b", true, "c:\\a\\b"),
        ] {
            assert_eq!(apply(function, path, windows).as_deref(), Some(wanted), "{function} {path}");
        }
        assert_eq!(apply("join", "a", false), None);
    }
}
