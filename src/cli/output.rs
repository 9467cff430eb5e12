//! Printing: data on stdout, everything else on stderr. A reader that went away is no error.

use std::io::{self, Write};

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use super::error::Error;

/// Writes a line of data to stdout.
///
/// # Errors
/// Stdout refuses, but for a reader that went away.
pub(crate) fn line(text: &str) -> Result<(), Error> {
    swallow_broken_pipe(writeln!(io::stdout().lock(), "{text}"))
}

/// Writes a note for people to stderr.
pub(crate) fn note(text: &str) {
    // Nothing can be done for a reader that does not want to be told.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Writes data as JSON: one document, with the version of its form.
///
/// # Errors
/// As [`line`].
pub(crate) fn json<T: Serialize>(key: &str, data: &T) -> Result<(), Error> {
    let document = serde_json::json!({ "format": 1, key: data });
    let text = serde_json::to_string_pretty(&document).map_err(io::Error::from);
    match text {
        Ok(text) => line(&text),
        Err(error) => Err(Error::output(error)),
    }
}

/// Writes rows under a head line; nothing at all if there are no rows.
///
/// # Errors
/// As [`line`].
pub(super) fn table(head: &[&str], rows: Vec<Vec<String>>) -> Result<(), Error> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled).set_header(head);
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let text: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    line(&text.join("\n"))
}

/// Bytes for people: `1.5 GiB`.
#[must_use]
pub(super) fn bytes(count: u64) -> String {
    indicatif::BinaryBytes(count).to_string()
}

/// A difference of bytes for people: `+1.5 MiB`.
#[must_use]
pub(super) fn delta(count: i64) -> String {
    let sign = match count {
        0 => "",
        1.. => "+",
        _ => "-",
    };
    format!("{sign}{}", bytes(count.unsigned_abs()))
}

/// A time for people: local, to the minute.
#[must_use]
pub(crate) fn time(when: jiff::Timestamp) -> String {
    when.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M").to_string()
}

/// Text from a file or a user, with what a terminal would obey made harmless.
#[must_use]
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn swallow_broken_pipe(result: io::Result<()>) -> Result<(), Error> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Error::output(error)),
        _ => Ok(()),
    }
}
