//! The results that a virtual machine reports, and the table of them.

/// The result of one way to capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    name: String,
    result: String,
    method: String,
    http: String,
    dns: String,
    said: String,
}

impl Case {
    /// Whether the capture had the expected results.
    pub fn is_right(&self) -> bool {
        self.result == "ok"
    }
}

/// Reads the lines `CASE|name|result|method|http|dns|warnings` of a machine's output.
pub fn cases(output: &str) -> Vec<Case> {
    let one = |line: &str| {
        let mut fields = line.strip_prefix("CASE|")?.trim_end().splitn(6, '|').map(str::to_owned);
        let mut next = || fields.next().unwrap_or_default();
        Some(Case { name: next(), result: next(), method: next(), http: next(), dns: next(), said: next() })
    };
    output.lines().filter_map(one).collect()
}

/// Prints the cases of one kernel.
pub fn print(version: &str, cases: &[Case]) {
    println!("\n{version}");
    let width = |of: fn(&Case) -> &str| cases.iter().map(|case| of(case).chars().count()).max().unwrap_or(0);
    let (name, method) = (width(|case| &case.name), width(|case| &case.method));
    for Case { name: case, result, method: by, http, dns, said } in cases {
        println!("  {case:<name$}  {by:<method$}  http {http:<7}  dns {dns:<7}  {result}  {said}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machines_output() {
        let output = "noise\nCASE|ebpf tc|ok|ebpf (vb: tcx)|8 of 8|8 of 8|a warning; another|with a bar\r\nCASE|short|FAILED\n== END";
        let cases = cases(output);
        assert_eq!(cases.len(), 2, "{cases:?}");
        assert_eq!(
            (cases[0].method.as_str(), cases[0].said.as_str(), cases[0].is_right()),
            ("ebpf (vb: tcx)", "a warning; another|with a bar", true)
        );
        assert_eq!((cases[1].name.as_str(), cases[1].is_right()), ("short", false));
    }
}
