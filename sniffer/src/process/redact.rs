//! Replaces secrets in the arguments of processes.
//!
//! Patterns are searched in the whole command line, because a secret and the option that announces it may be two arguments
//! (`--password X`), one argument (`--password=X`), or part of an argument (`sh -c "mysql -pX"`).

use regex::{Captures, Regex};
use std::{ops::Range, sync::LazyLock};

/// The text that replaces a secret.
pub const REPLACEMENT: &str = "xxxxx";

/// The default of `packetbeat.procs.redact_args`.
pub const DEFAULT: &[&str] = &[
    // Options whose value is the next argument: --password X, --db-token X, -pass X. A value can begin with `-`, but `-h` and `--host`
    // are other options.
    r#"(?i)(?:^|\s)--?(?:[\w.-]*(?:password|passwd|passphrase|secret|token|api[_-]?key|access[_-]?key|private[_-]?key)|(?:[\w.-]*[_.-])?(?:pass|pwd|pw|auth|credentials?))\s+["']?([^\s"'-]\S*|-[^\s-]\S+)"#,
    // Assignments and JSON: --password=X, MYSQL_PASSWORD=X, password: X, "token":"X".
    r#"(?i)(?:password|passwd|passphrase|secret|token|credential|api[_-]?key|access[_-]?key|private[_-]?key|(?:^|[^a-z])(?:pass|pwd|pw|auth))(?:[_.\d-][\w.-]*|s)?(?:["']?\s*=\s*|["']\s*:\s*|:\s+)["']?([^\s"']\S*)"#,
    // Headers of requests: -H 'Authorization: Bearer X'.
    r"(?i)(?:^|[\s'\x22])(?:proxy-)?(?:authorization|cookie|x-[\w-]*(?:token|key|auth))\s*:\s*(\S+)",
    // Passwords in URLs: postgres://user:X@host.
    r"\w://[^\s/:@]*:([^\s/]+)@",
    // Options of programs that have short names for passwords.
    r#"(?:^|[\s/"'=;|&(])(?:mysql|mariadb)[\w.-]*(?:\s+\S+)*?\s+-p(\S+)"#,
    r#"(?:^|[\s/"'=;|&(])(?:sshpass|mongo\w*)(?:\s+\S+)*?\s+-p\s*(\S+)"#,
    r#"(?:^|[\s/"'=;|&(])redis-cli(?:\s+\S+)*?\s+-a\s*(\S+)"#,
    r#"(?:^|[\s/"'=;|&(])ldap\w+(?:\s+\S+)*?\s+-w\s*(\S+)"#,
    r#"(?:^|[\s/"'=;|&(])sqlcmd(?:\s+\S+)*?\s+-P\s*(\S+)"#,
    r#"(?:^|[\s/"'=;|&(])curl(?:\s+\S+)*?\s+(?:-[fikLsSv]*[uU]\s*|--(?:proxy-)?user[\s=])[^\s:]*:(\S+)"#,
    r#"(?:^|[\s/"'=;|&(])smbclient(?:\s+\S+)*?\s+(?:-U\s*|--user[\s=])[^\s%]*%(\S+)"#,
    r"(?:^|\s)pass:(\S+)",
    // Tokens that are known by their form: GitHub, GitLab, Slack, AWS, JSON web tokens.
    r"\b(gh[pousr]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{20,}|xox[abeoprs]-[\w-]{10,}|(?:AKIA|ASIA)[0-9A-Z]{16}|eyJ[\w-]{8,}\.[\w-]+\.[\w-]*)",
];

/// Replaces what patterns find.
#[derive(Clone, Debug, Default)]
pub enum Redactor {
    /// The patterns [`DEFAULT`], compiled when the first process is named.
    #[default]
    Usual,
    /// Patterns of the configuration.
    Own(Vec<Regex>),
}

/// The patterns of [`DEFAULT`], compiled. A pattern with an error would be left out here; a test makes sure that there is none.
static USUAL: LazyLock<Vec<Regex>> = LazyLock::new(|| DEFAULT.iter().filter_map(|pattern| Regex::new(pattern).ok()).collect());

/// The arguments of a process as one text, separated by spaces, and where each argument is in it.
struct Line {
    text: String,
    args: Vec<Range<usize>>,
}

impl Line {
    fn of(args: &[String]) -> Self {
        let (mut text, mut places) = (String::new(), Vec::with_capacity(args.len()));
        for (index, arg) in args.iter().enumerate() {
            if index > 0 {
                text.push(' ');
            }
            let start = text.len();
            text.push_str(arg);
            places.push(start..text.len());
        }
        Self { text, args: places }
    }

    /// The index and the place of the argument that contains `at`, or ends there.
    fn arg(&self, at: usize) -> Option<(usize, Range<usize>)> {
        let index = self.args.partition_point(|arg| arg.end < at);
        Some((index, self.args.get(index)?.clone()))
    }

    fn rest(&self, from: usize, to: usize) -> &str {
        self.text.get(from..to).unwrap_or_default()
    }

    /// The secret that a match stands for.
    fn secret(&self, found: &Captures<'_>) -> Option<Range<usize>> {
        let all = found.get(0)?.range();
        match found.iter().nth(1) {
            Some(group) => Some(self.whole_value(all.start, group?.range())),
            None => Some(self.without_group(all)),
        }
    }

    /// The secret of a match of a pattern without a group: the value if the match is the name of an option or of a variable, what is after
    /// the name if the match contains both, otherwise the match.
    fn without_group(&self, found: Range<usize>) -> Range<usize> {
        let matched = self.rest(found.start, found.end);
        if let Some(at) = matched.find(['=', ':', ' ']).filter(|at| *at > 0 && at + 1 < matched.len()) {
            return found.start + at + 1..found.end;
        }
        let Some((index, arg)) = self.arg(found.end) else { return found };
        let after = self.rest(found.end, arg.end);
        let name = after.trim_start_matches(|c: char| c.is_alphanumeric() || "_.-".contains(c));
        let value = name.trim_start_matches(['"', '\'']).trim_start();
        if let Some(value) = value.strip_prefix(['=', ':']) {
            let value = value.trim_start_matches([' ', '"', '\'']);
            return self.whole_value(found.start, arg.end - value.len()..arg.end);
        }
        let word = self.rest(arg.start, found.end).rsplit(char::is_whitespace).next().unwrap_or_default();
        if !word.starts_with('-') {
            return found;
        }
        match self.args.get(index + 1) {
            Some(next) if name.is_empty() => next.clone(),
            // The option and its value are words of one argument.
            _ if name.starts_with(char::is_whitespace) => {
                let value = name.trim_start();
                let start = arg.end - value.len();
                self.whole_value(found.start, start..start + value.find(char::is_whitespace).unwrap_or(value.len()))
            }
            _ => found,
        }
    }

    /// Extends a value that is only the first word of what the value may be: to the closing quote if it is quoted, or to the end of its
    /// argument if the argument begins with the value or with its name.
    fn whole_value(&self, found: usize, value: Range<usize>) -> Range<usize> {
        let Some((_, arg)) = self.arg(value.end) else { return value };
        if let Some(length) = self.quoted(&value, arg.end) {
            return value.start..value.start + length;
        }
        let follows = self.rest(value.end, arg.end);
        if !follows.starts_with(char::is_whitespace) {
            return value;
        }
        let name = self.rest(found, value.start).len() - self.rest(found, value.start).trim_start().len() + found;
        if name <= arg.start || !self.rest(arg.start, name).contains(char::is_whitespace) {
            return value.start..arg.end;
        }
        value
    }

    /// The length of a value that follows a quote, up to the closing quote before `end`.
    fn quoted(&self, value: &Range<usize>, end: usize) -> Option<usize> {
        let quote = *self.text.as_bytes().get(value.start.checked_sub(1)?).filter(|byte| matches!(byte, b'"' | b'\''))?;
        let rest = self.rest(value.start, end).as_bytes();
        // A quote after a backslash is part of the value.
        let closes = |at: &usize| rest.get(*at) == Some(&quote) && at.checked_sub(1).is_none_or(|before| rest.get(before) != Some(&b'\\'));
        (0..rest.len()).find(closes)
    }
}

impl Redactor {
    /// Compiles patterns.
    ///
    /// # Errors
    /// The index of the first wrong pattern, and what is wrong.
    pub fn new<S: AsRef<str>>(patterns: &[S]) -> Result<Self, (usize, regex::Error)> {
        let compiled = patterns.iter().enumerate().map(|(index, pattern)| Regex::new(pattern.as_ref()).map_err(|error| (index, error)));
        Ok(Self::Own(compiled.collect::<Result<_, _>>()?))
    }

    /// Replaces the secrets in `args`.
    pub fn redact(&self, args: &mut [String]) {
        let line = Line::of(args);
        let patterns = match self {
            Self::Usual => &*USUAL,
            Self::Own(patterns) => patterns,
        };
        let found = patterns.iter().flat_map(|pattern| pattern.captures_iter(&line.text));
        let mut secrets: Vec<Range<usize>> = found.filter_map(|found| line.secret(&found)).filter(|range| !range.is_empty()).collect();
        if secrets.is_empty() {
            return;
        }
        secrets.sort_by_key(|range| (range.start, range.end));
        for (arg, place) in args.iter_mut().zip(&line.args) {
            let mut redacted = String::new();
            let mut done = place.start;
            for secret in secrets.iter().filter(|secret| secret.start < place.end && secret.end > place.start) {
                let (start, end) = (secret.start.max(done), secret.end.min(place.end));
                if secret.start >= done {
                    redacted.push_str(line.rest(done, start));
                    redacted.push_str(REPLACEMENT);
                } else if done == place.start {
                    redacted.push_str(REPLACEMENT);
                }
                done = done.max(end);
            }
            if done > place.start {
                redacted.push_str(line.rest(done, place.end));
                *arg = redacted;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Redacts a command whose arguments are separated by `|`.
    fn redacted(redactor: &Redactor, command: &str) -> String {
        let mut args: Vec<String> = command.split('|').map(str::to_owned).collect();
        redactor.redact(&mut args);
        args.join("|")
    }

    fn own(patterns: &[&str]) -> Redactor {
        Redactor::new(patterns).unwrap()
    }

    #[test]
    fn the_usual_options() {
        for (command, expected) in [
            ("app|--password|X|--host|h", "app|--password|xxxxx|--host|h"),
            ("app|--password=X y|--host|h", "app|--password=xxxxx|--host|h"),
            ("app|--password|X y|--host|h", "app|--password|xxxxx|--host|h"),
            ("app|--password|-X1|a", "app|--password|xxxxx|a"),
            ("app|--password|--host|h", "app|--password|--host|h"),
            ("app|--password|-h|h", "app|--password|-h|h"),
            ("app|--password", "app|--password"),
            ("app|--password=", "app|--password="),
            ("app|--db-password|X|--token|Y", "app|--db-password|xxxxx|--token|xxxxx"),
            ("app|--dbPassword|X|-pass|Y|-pw|Z", "app|--dbPassword|xxxxx|-pass|xxxxx|-pw|xxxxx"),
            ("app|--api-key|X|--apikey=Y|--client_secret=Z", "app|--api-key|xxxxx|--apikey=xxxxx|--client_secret=xxxxx"),
            ("java|-Ddb.password=X|Main", "java|-Ddb.password=xxxxx|Main"),
            ("env|MYSQL_PWD=X|PGPASSWORD=Y|DB_PASS=Z|x", "env|MYSQL_PWD=xxxxx|PGPASSWORD=xxxxx|DB_PASS=xxxxx|x"),
            ("docker|run|-e|ROOT_PASSWORD_1=X|img", "docker|run|-e|ROOT_PASSWORD_1=xxxxx|img"),
            ("docker|run|--env=A_TOKEN=X|img", "docker|run|--env=A_TOKEN=xxxxx|img"),
            ("curl|-H|Authorization: Bearer abc|u", "curl|-H|Authorization: xxxxx|u"),
            ("curl|-HX-Api-Token:abc|u", "curl|-HX-Api-Token:abc|u"),
            ("curl|-H|X-Api-Token:abc|u", "curl|-H|X-Api-Token:xxxxx|u"),
            ("curl|-d|{\"password\":\"abc def\"}|u", "curl|-d|{\"password\":\"xxxxx\"}|u"),
            ("curl|-s|-u|me:X|http://h/", "curl|-s|-u|me:xxxxx|http://h/"),
            ("curl|--user=me:X|http://h/", "curl|--user=me:xxxxx|http://h/"),
            ("curl|https://me:X@h:1/p|--next", "curl|https://me:xxxxx@h:1/p|--next"),
            ("redis-cli|-u|redis://:X@h/0|-a|Y", "redis-cli|-u|redis://:xxxxx@h/0|-a|xxxxx"),
            ("/usr/bin/mysqldump|-u|root|-pX y|db", "/usr/bin/mysqldump|-u|root|-pxxxxx|db"),
            ("sudo|mysql|-P3306|-pX|db", "sudo|mysql|-P3306|-pxxxxx|db"),
            ("mariadb-dump|-psecret", "mariadb-dump|-pxxxxx"),
            ("mysql|-p|-h|h", "mysql|-p|-h|h"),
            ("sshpass|-p|X|ssh|-p22|h", "sshpass|-p|xxxxx|ssh|-p22|h"),
            ("sh|-c|exec mysql -uroot -pX db; echo done", "sh|-c|exec mysql -uroot -pxxxxx db; echo done"),
            ("sh|-c|run --password 'X y' --host h", "sh|-c|run --password 'xxxxx' --host h"),
            ("git|clone|https://ghp_0123456789abcdefghijABCDEFGHIJ012345@github.com/x", "git|clone|https://xxxxx@github.com/x"),
        ] {
            let got = redacted(&Redactor::Usual, command);
            assert_eq!(got, expected, "{command}");
            assert_eq!(redacted(&Redactor::Usual, &got), got, "{command}: redacted twice");
        }
    }

    #[test]
    fn other_arguments_stay() {
        for command in [
            "nginx: master process /usr/sbin/nginx -g daemon off;",
            "app|--password-file|/etc/x|--token-path|/y|--passive|z|--tokenizer=simple|--bypass|q",
            "ssh|-p|22|host|-pX",
            "docker|login|--password-stdin|registry",
            "postgres|-D|/var/lib/postgresql|-c|config_file=/etc/x",
            "curl|http://auth:9000/token|http://[::1]:80/@x|-u|me",
            "kubectl|create|secret|generic|x",
            "",
        ] {
            assert_eq!(redacted(&Redactor::Usual, command), command);
        }
    }

    #[test]
    fn own_patterns() {
        for (pattern, command, expected) in [
            ("--key", "a|--key|X|b", "a|--key|xxxxx|b"),
            ("--key", "a|--key=X y|b", "a|--key=xxxxx|b"),
            ("--key", "a|--key-file=X|b", "a|--key-file=xxxxx|b"),
            ("--key", "a|--key", "a|xxxxx"),
            ("--key", "sh|-c|a --key X b", "sh|-c|a --key xxxxx b"),
            ("^a --key (\\S+)", "a|--key|X|b", "a|--key|xxxxx|b"),
            ("(?i)KEY", "a|my-key-1=X|b", "a|my-key-1=xxxxx|b"),
            ("key", "a|{'key': 'X'}|b", "a|{'key': 'xxxxx'}|b"),
            ("key=\\w+", "a|key=X.y|b", "a|key=xxxxx.y|b"),
            ("--key[= ]\\S+", "a|--key|X|b", "a|--key|xxxxx|b"),
            ("sk_\\w+", "a|sk_live_1|usk_2|b", "a|xxxxx|uxxxxx|b"),
            ("(\\d+)-\\d+", "a|12-34|b", "a|xxxxx-34|b"),
            ("", "a|b", "a|b"),
            ("b c", "a b|c d", "a b|xxxxx d"),
            (".*", "a|b c|d", "a|xxxxx|xxxxx"),
            ("é(ü)", "éü|x", "éxxxxx|x"),
        ] {
            assert_eq!(redacted(&own(&[pattern]), command), expected, "{pattern}: {command}");
        }
        assert_eq!(redacted(&own(&[]), "a|--password|X"), "a|--password|X");
        assert_eq!(USUAL.len(), DEFAULT.len(), "all usual patterns can be compiled");
        assert_eq!(Redactor::new(&["a", "("]).unwrap_err().0, 1);
    }
}
