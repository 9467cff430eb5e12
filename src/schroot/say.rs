//! What schroot says on stderr: `E:`, `W:` and `I:` lines, in its words.

use std::ffi::OsStr;

use crate::cli::output;
use crate::sys::program::Stream;

/// One line on stderr.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Line {
    /// `E: `
    Error(String),
    /// `W: `
    Warning(String),
    /// `I: `
    Info(String),
}

impl Line {
    /// The line as it is printed; what a terminal would obey is made harmless.
    pub(super) fn text(&self) -> String {
        let (letter, text) = match self {
            Self::Error(text) => ('E', text),
            Self::Warning(text) => ('W', text),
            Self::Info(text) => ('I', text),
        };
        format!("{letter}: {}", output::plain(text))
    }

    pub(super) fn print(&self) {
        output::note(&self.text());
    }

    /// The same, as no more than a warning.
    pub(super) fn weaker(self) -> Self {
        match self {
            Self::Error(text) => Self::Warning(text),
            other => other,
        }
    }
}

/// What a script of the administrator says: all of it goes to stderr, for stdout is the command's.
pub(super) fn script(name: &str, stream: Stream, line: &str) {
    let text = format!("{name}: {line}");
    match stream {
        Stream::Out => Line::Info(text).print(),
        Stream::Err => Line::Error(text).print(),
    }
}

/// Why an order cannot be carried out; every one of them ends the program with status 1.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Trouble {
    /// What is said, warnings that came before it among it.
    pub(super) lines: Vec<Line>,
    /// `--quiet` keeps it back.
    pub(super) hushed_by_quiet: bool,
}

impl Trouble {
    /// One line that `--quiet` does not keep back.
    pub(super) fn error(text: impl Into<String>) -> Self {
        Self { lines: vec![Line::Error(text.into())], hushed_by_quiet: false }
    }

    /// What went wrong while a chroot was worked on: kept back by `--quiet`.
    pub(super) fn hushable(text: impl Into<String>) -> Self {
        Self { hushed_by_quiet: true, ..Self::error(text) }
    }

    /// A wrong combination of options, with the way to the help.
    pub(super) fn usage(text: &str, program: &OsStr) -> Self {
        let program = program.to_string_lossy();
        let hint = format!("Run “{program} --help” to list usage example and all available options");
        Self::error(text).and_info(hint)
    }

    /// Adds an `I:` line.
    pub(super) fn and_info(mut self, text: impl Into<String>) -> Self {
        self.lines.push(Line::Info(text.into()));
        self
    }

    /// Puts what was noted earlier before it.
    pub(super) fn after(mut self, notes: Vec<Line>) -> Self {
        self.lines.splice(0..0, notes);
        self
    }

    /// Prints it.
    pub(super) fn print(&self, quiet: bool) {
        if !(quiet && self.hushed_by_quiet) {
            self.lines.iter().for_each(Line::print);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_not_printed() {
        assert_eq!(Line::Error("a\u{1b}[2Jb\nc".to_owned()).text(), "E: a\u{fffd}[2Jb\u{fffd}c");
    }

    #[test]
    fn a_usage_error_names_the_program_as_it_was_called() {
        let trouble = Trouble::usage("No", OsStr::new("/usr/bin/schroot"));
        let lines: Vec<String> = trouble.lines.iter().map(Line::text).collect();
        assert_eq!(
            lines,
            ["E: No", "I: Run “/usr/bin/schroot --help” to list usage example and all available options"]
        );
    }
}
