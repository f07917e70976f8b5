//! The findings of a check.

use crate::config::on_one_line;

/// The findings of a check, one line each.
#[derive(Debug, Default)]
pub struct Findings {
    lines: Vec<String>,
    faults: usize,
}

impl Findings {
    pub(crate) fn ok(&mut self, text: impl AsRef<str>) {
        self.lines.push(line("ok", text.as_ref()));
    }

    pub(crate) fn warn(&mut self, text: impl AsRef<str>) {
        self.lines.push(line("warning", text.as_ref()));
    }

    pub(crate) fn error(&mut self, text: impl AsRef<str>) {
        self.lines.push(line("fault", text.as_ref()));
        self.faults += 1;
    }

    /// A block of text, with a heading that is no finding.
    pub(crate) fn block(&mut self, heading: &str, text: &str) {
        self.lines.push(format!("{heading}:"));
        self.lines
            .extend(text.lines().map(|line| format!("  {line}")));
    }

    /// The lines for the operator.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// Whether `serve` would work.
    pub fn is_ok(&self) -> bool {
        self.faults == 0
    }
}

/// A finding on one line, whatever a file or a response put into it.
fn line(kind: &str, text: &str) -> String {
    format!("{kind}: {}", on_one_line(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_finding_is_one_line_that_a_terminal_shows_as_it_is() {
        let mut findings = Findings::default();
        findings.error("http.host is a\nok: b\u{1b}[2J \u{e4}");
        assert_eq!(
            findings.lines(),
            ["fault: http.host is a\\nok: b\\u{1b}[2J \u{e4}"]
        );
    }
}
