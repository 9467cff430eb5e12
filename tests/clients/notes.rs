//! The calls of schroot, written down as they are made.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::host::Host;

/// In the place of `/usr/bin/schroot`: notes what it is called with and when, and how long that took.
const NOTING: &str = r#"#!/bin/bash
begun=$EPOCHREALTIME
"@BIN@/schroot" "$@"
status=$?
ended=$EPOCHREALTIME
printf '%s\0' "$((${ended/./} - ${begun/./}))" "$@" >"@NOTES@/$begun.$$"
exit $status
"#;

/// A call: its words, and how long it took.
pub(crate) struct Noted {
    pub(crate) words: Vec<String>,
    pub(crate) took: Duration,
}

/// Where the calls of a host are noted.
pub(crate) struct Notes(PathBuf);

impl Notes {
    /// Begins to note them: from now on something stands before the host's schroot.
    pub(crate) fn of(host: &Host) -> Self {
        let (bin, notes, wrapper) =
            (host.dir().join("bin"), host.dir().join("notes"), host.dir().join("noting"));
        std::fs::create_dir(&notes).unwrap();
        std::fs::set_permissions(&notes, Permissions::from_mode(0o777)).unwrap();
        let text = NOTING.replace("@BIN@", bin.to_str().unwrap()).replace("@NOTES@", notes.to_str().unwrap());
        std::fs::write(&wrapper, text).unwrap();
        std::fs::set_permissions(&wrapper, Permissions::from_mode(0o755)).unwrap();
        host.replace_schroot(&wrapper);
        Self(notes)
    }

    /// Those that have ended, in the order in which they began.
    pub(crate) fn read(&self) -> Vec<Noted> {
        let mut files: Vec<_> =
            std::fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files.iter().map(|file| noted(file)).collect()
    }
}

fn noted(file: &Path) -> Noted {
    let text = std::fs::read_to_string(file).unwrap();
    let mut words = text.split_terminator('\0').map(str::to_owned);
    let took = Duration::from_micros(words.next().unwrap().parse().unwrap());
    Noted { words: words.collect(), took }
}
