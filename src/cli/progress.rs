//! A bar on a terminal, a line per step elsewhere.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::output;
use crate::store::Progress;

/// Shows on stderr how far long work is.
#[derive(Debug)]
pub(super) struct Bar {
    quiet: bool,
    patience: Duration,
    bar: Option<ProgressBar>,
}

impl Bar {
    /// A bar that shows nothing when `quiet`, of work that may come no further for `patience`.
    #[must_use]
    pub(super) fn new(quiet: bool, patience: Duration) -> Self {
        Self { quiet, patience, bar: None }
    }
}

impl Progress for Bar {
    fn start(&mut self, what: &str, total: Option<u64>) {
        self.finish();
        if self.quiet {
            return;
        }
        if !std::io::stderr().is_terminal() {
            output::note(what);
            return;
        }
        let (bar, template) = match total {
            Some(total) => {
                (ProgressBar::new(total), "{msg} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} {eta}")
            }
            None => (ProgressBar::new_spinner(), "{spinner} {msg} {bytes} {bytes_per_sec} {elapsed}"),
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(output::plain(what));
        self.bar = Some(bar);
    }

    fn advance(&mut self, bytes: u64) {
        if let Some(bar) = &self.bar {
            bar.inc(bytes);
        }
    }

    fn finish(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    fn patience(&self) -> Duration {
        self.patience
    }
}
