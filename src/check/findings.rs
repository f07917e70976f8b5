//! What a check has found.

/// What was found, in words.
#[derive(Debug, Default)]
pub struct Findings {
    lines: Vec<String>,
    faults: usize,
}

impl Findings {
    pub(super) fn good(&mut self, text: impl AsRef<str>) {
        self.lines.push(format!("ok: {}", text.as_ref()));
    }

    pub(super) fn note(&mut self, text: impl AsRef<str>) {
        self.lines.push(format!("warning: {}", text.as_ref()));
    }

    pub(super) fn fault(&mut self, text: impl AsRef<str>) {
        self.lines.push(format!("fault: {}", text.as_ref()));
        self.faults += 1;
    }

    /// A block of text, under a heading that is no finding.
    pub(super) fn block(&mut self, heading: &str, text: &str) {
        self.lines.push(format!("{heading}:"));
        self.lines
            .extend(text.lines().map(|line| format!("  {line}")));
    }

    /// One finding a line.
    #[must_use]
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// Whether `serve` would work.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.faults == 0
    }
}
