//! What is wrong with a file of the configuration, shown where it is wrong.
//!
//! ```text
//! /etc/zchroot/templates.d/sid.toml:4:1: unknown field `usrs`, expected one of ...
//!     usrs = ["bob"]
//!     ^^^^
//! ```

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// The longest piece of a line that is shown.
const WINDOW: usize = 100;
const INDENT: &str = "    ";

/// A fault in a text, before anybody said which file the text is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// The bytes at fault, none if it is the text as a whole.
    pub(super) span: Option<Range<usize>>,
    /// What is wrong with them.
    pub(super) message: String,
}

impl Fault {
    /// A fault at `span`.
    pub(super) fn at(span: Range<usize>, message: impl Into<String>) -> Self {
        Self { span: Some(span), message: message.into() }
    }

    /// The fault in `text`, which was read from `file`.
    pub(super) fn in_file(self, file: &Path, text: &str) -> Diagnostic {
        let place = self.span.map(|span| Place::of(text, &span));
        Diagnostic { file: file.to_owned(), place, message: self.message }
    }
}

/// Where in a text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The line, counted from 1.
    pub line: usize,
    /// The character in the line, counted from 1.
    pub column: usize,
    /// The line, or the part of a long line that holds the place; control characters are blanks in it.
    pub text: String,
    /// Where in `text` the place starts, in characters from 0.
    pub offset: usize,
    /// How many characters of `text` are at fault, at least 1.
    pub width: usize,
}

impl Place {
    /// The place of `span` in `text`; a span of several lines is cut at the end of its first.
    pub(super) fn of(text: &str, span: &Range<usize>) -> Self {
        let (before, rest) = split(text, span.start);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let (earlier, head) = split(before, line_start);
        let tail = rest.split('\n').next().unwrap_or_default();
        let (wrong, _) = split(tail, span.end.saturating_sub(span.start));

        let column = head.chars().count();
        let from = column.saturating_sub(WINDOW / 2);
        let shown = head.chars().chain(tail.chars()).skip(from).take(WINDOW);
        let text: String = shown.map(|c| if c.is_control() { ' ' } else { c }).collect();
        let offset = column - from;
        let room = text.chars().count().saturating_sub(offset);
        Self {
            line: earlier.matches('\n').count() + 1,
            column: column + 1,
            width: wrong.trim_end().chars().count().min(room).max(1),
            text: text.trim_end().to_owned(),
            offset,
        }
    }
}

/// Splits at a byte offset, at the nearest character border before it if it is none.
fn split(text: &str, at: usize) -> (&str, &str) {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    text.split_at(at)
}

/// Something to say about a file, with the place if there is one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// The file.
    pub file: PathBuf,
    /// Where in it.
    pub place: Option<Place>,
    /// What is wrong there.
    pub message: String,
}

impl Diagnostic {
    /// What somebody may know of it who could not read the file himself.
    #[must_use]
    pub fn hidden(self) -> Self {
        let message = "is not as it should be, and only root may see where".to_owned();
        Self { place: None, message, ..self }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(self, "", f)
    }
}

fn show(diagnostic: &Diagnostic, label: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Diagnostic { file, place, message } = diagnostic;
    // A name in a directory may hold anything: it must not reach the terminal as it is.
    write!(f, "{}", file.display().to_string().replace(char::is_control, "?"))?;
    if let Some(Place { line, column, .. }) = place {
        write!(f, ":{line}:{column}")?;
    }
    write!(f, ": {label}{message}")?;
    if let Some(Place { text, offset, width, .. }) = place {
        write!(f, "\n{INDENT}{text}\n{INDENT}{:offset$}{}", "", "^".repeat(*width))?;
    }
    Ok(())
}

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing; nothing is affected.
    Note,
    /// Works, but probably not as it was meant.
    Warning,
    /// Does not work.
    Error,
}

/// What a check of the configuration found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// What it is, and where.
    #[serde(flatten)]
    pub diagnostic: Diagnostic,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let label = match self.severity {
            Severity::Note => "note: ",
            Severity::Warning => "warning: ",
            Severity::Error => "error: ",
        };
        show(&self.diagnostic, label, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str, at: &str) -> Place {
        let start = text.find(at).unwrap();
        Place::of(text, &(start..start + at.len()))
    }

    #[test]
    fn places_follow_the_table() {
        let text = "one\n\ttwo = \"zwölf\" # end\nthree";
        for (at, line, column, width) in
            [("one", 1, 1, 3), ("two", 2, 2, 3), ("zwölf", 2, 9, 5), ("# end", 2, 16, 5), ("three", 3, 1, 5)]
        {
            let place = place(text, at);
            assert_eq!((place.line, place.column, place.width), (line, column, width), "{at}");
            let marked: String = place.text.chars().skip(place.offset).take(place.width).collect();
            assert_eq!(marked, at);
        }
    }

    #[test]
    fn a_span_of_several_lines_marks_the_first() {
        let place = place("users = [ \n  1,\n]", "[ \n  1,\n]");
        assert_eq!((place.line, place.column, place.width, place.text.as_str()), (1, 9, 1, "users = ["));
    }

    #[test]
    fn a_place_behind_the_end_or_inside_a_character_is_still_a_place() {
        for (text, span) in [("", 0..0), ("", 5..9), ("a", 1..1), ("ö", 1..2), ("a\n", 2..2), ("a", 9..9)] {
            let place = Place::of(text, &span);
            assert!(place.line >= 1 && place.column >= 1 && place.width >= 1, "{text:?} {span:?}");
        }
    }

    #[test]
    fn of_a_long_line_only_the_part_around_the_place_is_shown() {
        let text = format!("{}WRONG{}", "a".repeat(5000), "b".repeat(5000));
        let place = place(&text, "WRONG");
        assert_eq!((place.column, place.text.len()), (5001, WINDOW));
        assert_eq!(place.text.get(place.offset..place.offset + place.width), Some("WRONG"));
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        let text = "a = \u{1b}[31m";
        let file = PathBuf::from("/etc/\u{1b}[31m\n.toml");
        let diagnostic = Fault::at(0..1, "wrong").in_file(&file, text);
        insta::assert_snapshot!(diagnostic, @r##"
        /etc/?[31m?.toml:1:1: wrong
            a =  [31m
            ^
        "##);
    }

    #[test]
    fn a_finding_says_how_much_it_matters() {
        let severities = [Severity::Note, Severity::Warning, Severity::Error];
        let said = severities.map(|severity| {
            let diagnostic = Diagnostic { file: "f".into(), place: None, message: "m".to_owned() };
            Finding { severity, diagnostic }.to_string()
        });
        assert_eq!(said, ["f: note: m", "f: warning: m", "f: error: m"]);
        assert!(severities.is_sorted());
    }

    #[test]
    fn a_finding_goes_to_json_flat() {
        let diagnostic = Fault::at(4..5, "m").in_file(Path::new("f"), "a = 1");
        let json = serde_json::to_string(&Finding { severity: Severity::Warning, diagnostic }).unwrap();
        insta::assert_snapshot!(json, @r###"{"severity":"warning","file":"f","place":{"line":1,"column":5,"text":"a = 1","offset":4,"width":1},"message":"m"}"###);
    }
}
