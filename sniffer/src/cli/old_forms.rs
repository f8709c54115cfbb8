//! Flags as guides to old versions of Packetbeat write them.

use std::ffi::OsString;

/// Flags of Packetbeat 1 to 5 that became commands, as old guides name them, with one dash or two.
const COMMANDS: &[(&str, &[&str])] = &[("devices", &["devices"]), ("configtest", &["test", "config"]), ("version", &["version"])];
/// Long flags that old guides write with one dash.
const LONG_FLAGS: &[&str] =
    &["path.home", "path.config", "path.data", "path.logs", "strict.perms", "environment", "dump", "cpuprofile", "memprofile", "httpprof"];

/// Replaces the flags of old guides by what they mean: `-devices` by the command `devices`, `-path.home` by `--path.home`. The parser would
/// read `-devices` as `-d evices`.
pub(super) fn current(args: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut all = Vec::new();
    let mut ended = false;
    for arg in args {
        ended |= arg == "--";
        let flag = arg.to_str().filter(|_| !ended).and_then(|text| Some((text, text.strip_prefix('-')?)));
        let command = |name: &str| COMMANDS.iter().find(|(old, _)| *old == name.strip_prefix('-').unwrap_or(name));
        let is_long = |name: &str| LONG_FLAGS.contains(&name.split('=').next().unwrap_or_default());
        match flag {
            Some((_, name)) if let Some((_, words)) = command(name) => all.extend(words.iter().map(OsString::from)),
            Some((text, name)) if is_long(name) => all.push(format!("-{text}").into()),
            _ => all.push(arg),
        }
    }
    all
}
