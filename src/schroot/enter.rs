//! A command in a session: what is said on the way in, and how its end is told.

use std::ffi::OsString;
use std::io;
use std::path::Path;

use super::order::{Order, Verbosity};
use super::say::{Line, Trouble};
use crate::cli::context::Context;
use crate::cli::exit::Status;
use crate::session::{EnterFailure, Manner, Record, Sessions, Wish};
use crate::sys::enter::{Ended, EnterError, Note};
use crate::sys::identity::Account;
use crate::sys::privilege::raised;

const NO_DIRECTORY: &str = "The directory does not exist inside the chroot.  Use the --directory option to run \
the command in a different directory.";

/// What is entered, by whom, for what.
pub(super) struct Enter<'a> {
    pub(super) order: &'a Order,
    pub(super) context: &'a Context,
    pub(super) sessions: Sessions<'a>,
    pub(super) target: &'a Account,
    pub(super) record: &'a Record,
    pub(super) alias: Option<&'a str>,
    pub(super) command: Vec<OsString>,
}

/// Runs the command and waits for it.
///
/// # Errors
/// It could not be started.
pub(super) fn enter(enter: &Enter<'_>) -> Result<Ended, EnterFailure> {
    let Enter { order, context, target, record, alias, command, sessions } = enter;
    let defined = record.foreign.as_ref().map_or(Verbosity::Normal, |foreign| foreign.verbosity);
    let verbosity = if order.verbosity == Verbosity::Normal { defined } else { order.verbosity };
    if verbosity == Verbosity::Verbose {
        Line::Info(announcement(enter)).print();
    }
    let wish = Wish {
        target: (*target).clone(),
        command: command.clone(),
        directory: order.directory.clone(),
        preserve_environment: order.preserve_environment,
        isolate_net: order.isolate_network,
        isolate_pid: false,
        isolate_ipc: false,
        isolate_uts: false,
    };
    let manner = Manner { shell: order.shell.as_deref(), alias: *alias };
    let mut say = |note| lines_of(note).iter().for_each(Line::print);
    raised(|| sessions.enter_in(record, &wish, manner, &context.process, &mut say))
}

/// How a command ended, or why it did not start, in schroot's words.
///
/// # Errors
/// It could not be started, or a signal ended it.
pub(super) fn tell(enter: &Enter<'_>, ended: Result<Ended, EnterFailure>) -> Result<Status, Trouble> {
    match ended {
        Ok(Ended::Exited(status)) => Ok(Status::Command(status)),
        Ok(Ended::Signaled(signal)) => {
            Err(Trouble::hushable(format!("Child terminated by signal ‘{}’", signal_name(signal))))
        }
        Err(EnterFailure::Enter(error)) => Err(trouble_of(&error).after(shell_refused(enter, &error))),
        Err(EnterFailure::Session(error)) => {
            Err(Trouble::hushable(format!("{}: {}", enter.record.id, crate::sys::chain(&error))))
        }
    }
}

/// `[SESSION chroot] (alice→root) Running command: “id”`.
fn announcement(enter: &Enter<'_>) -> String {
    let (caller, target) = (enter.context.process.caller().name(), enter.target.name());
    let users = if caller == target { String::new() } else { format!("({caller}→{target}) ") };
    let what = if enter.command.is_empty() {
        let defined = enter.record.setup.shell.as_deref();
        let shell: &Path = enter.order.shell.as_deref().or(defined).unwrap_or(enter.target.shell());
        let keeps = enter.order.preserve_environment || enter.record.setup.preserve_environment;
        let word = if keeps { "shell" } else { "login shell" };
        format!("Running {word}: ‘{}’", shell.display())
    } else {
        let words: Vec<_> = enter.command.iter().map(|word| word.to_string_lossy()).collect();
        format!("Running command: “{}”", words.join(" "))
    };
    format!("[{} chroot] {users}{what}", enter.record.told_name())
}

fn lines_of(note: Note) -> Vec<Line> {
    match note {
        Note::DirectoryFallback { wanted, why, instead } => vec![
            Line::Warning(no_directory(&wanted, &why)),
            Line::Info(NO_DIRECTORY.to_owned()),
            Line::Warning(format!("Falling back to directory ‘{}’", instead.display())),
        ],
        Note::ShellFallback { wanted, why, instead } => vec![
            no_shell(&wanted, &why),
            Line::Warning(format!("Falling back to shell ‘{}’", instead.display())),
        ],
    }
}

fn no_directory(directory: &Path, why: &io::Error) -> String {
    format!("Failed to change to directory ‘{}’: {}", directory.display(), plain_reason(why))
}

/// What keeps a command from starting is said by schroot's child: `--quiet` does not reach it.
fn trouble_of(error: &EnterError) -> Trouble {
    match error {
        EnterError::NotFound { program, source } | EnterError::NotExecutable { program, source } => {
            let program = program.to_string_lossy();
            Trouble::error(format!("Failed to execute “{program}”: {}", plain_reason(source)))
        }
        EnterError::NoDirectory { directory, source } => {
            Trouble::error(no_directory(directory, source)).and_info(NO_DIRECTORY)
        }
        EnterError::Setup { .. } => Trouble::hushable(crate::sys::chain(error)),
    }
}

/// Of the one shell that was asked for it is said, too, that it is not there.
fn shell_refused(enter: &Enter<'_>, error: &EnterError) -> Vec<Line> {
    match (error, &enter.order.shell) {
        (EnterError::NotFound { source, .. }, Some(shell)) if enter.command.is_empty() => {
            vec![no_shell(shell, source)]
        }
        _ => Vec::new(),
    }
}

fn no_shell(wanted: &Path, why: &io::Error) -> Line {
    let (wanted, why) = (wanted.display(), plain_reason(why));
    Line::Warning(format!("Shell ‘{wanted}’ not available: {wanted}: Failed to stat file: {why}"))
}

/// The reason without the number that the standard library adds.
fn plain_reason(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(errno) => nix::errno::Errno::from_raw(errno).desc().to_owned(),
        None => error.to_string(),
    }
}

/// What strsignal(3) calls a signal.
fn signal_name(signal: i32) -> String {
    const NAMES: [&str; 31] = [
        "Hangup",
        "Interrupt",
        "Quit",
        "Illegal instruction",
        "Trace/breakpoint trap",
        "Aborted",
        "Bus error",
        "Floating point exception",
        "Killed",
        "User defined signal 1",
        "Segmentation fault",
        "User defined signal 2",
        "Broken pipe",
        "Alarm clock",
        "Terminated",
        "Stack fault",
        "Child exited",
        "Continued",
        "Stopped (signal)",
        "Stopped",
        "Stopped (tty input)",
        "Stopped (tty output)",
        "Urgent I/O condition",
        "CPU time limit exceeded",
        "File size limit exceeded",
        "Virtual timer expired",
        "Profiling timer expired",
        "Window changed",
        "I/O possible",
        "Power failure",
        "Bad system call",
    ];
    let index = usize::try_from(signal - 1).ok();
    match index.and_then(|index| NAMES.get(index)) {
        Some(name) => (*name).to_owned(),
        None if signal >= 34 => format!("Real-time signal {}", signal - 34),
        None => format!("Unknown signal {signal}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_the_names_that_the_c_library_gives_them() {
        for (signal, name) in [
            (libc::SIGHUP, "Hangup"),
            (libc::SIGKILL, "Killed"),
            (libc::SIGTERM, "Terminated"),
            (libc::SIGSEGV, "Segmentation fault"),
            (libc::SIGSYS, "Bad system call"),
            (34, "Real-time signal 0"),
            (32, "Unknown signal 32"),
        ] {
            assert_eq!(signal_name(signal), name);
        }
    }

    #[test]
    fn what_keeps_a_command_from_starting_is_said_in_schroots_words_whatever_quiet_says() {
        let source = || io::Error::from_raw_os_error(libc::ENOENT);
        let program = OsString::from("nosuchcmd");
        let missing = trouble_of(&EnterError::NotFound { program, source: source() });
        assert_eq!(missing.lines[0].text(), "E: Failed to execute “nosuchcmd”: No such file or directory");
        let error = EnterError::NoDirectory { directory: "/srv/work".into(), source: source() };
        let nowhere = trouble_of(&error);
        assert_eq!(
            nowhere.lines[0].text(),
            "E: Failed to change to directory ‘/srv/work’: No such file or directory"
        );
        assert_eq!(nowhere.lines.len(), 2);
        assert!(!missing.hushed_by_quiet && !nowhere.hushed_by_quiet);
    }

    #[test]
    fn fallbacks_of_a_login_shell_are_warnings() {
        let why = || io::Error::from_raw_os_error(libc::ENOENT);
        let note = Note::ShellFallback { wanted: "/bin/zsh".into(), why: why(), instead: "/bin/bash".into() };
        let lines: Vec<String> = lines_of(note).iter().map(Line::text).collect();
        assert_eq!(
            lines,
            [
                "W: Shell ‘/bin/zsh’ not available: /bin/zsh: Failed to stat file: No such file or directory",
                "W: Falling back to shell ‘/bin/bash’"
            ]
        );
    }
}
