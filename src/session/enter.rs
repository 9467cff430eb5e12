//! Enter: a command in the tree of a ready session.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::record::{Record, State};
use super::{Error, Sessions, runs};
use crate::sys::enter::{self, Confirm, Directory, Ended, EnterError, Entry, Namespaces, Note, Program};
use crate::sys::env::Filter;
use crate::sys::identity::Account;
use crate::sys::log::{self, Action, Audit};
use crate::sys::mount::{self, Inert};
use crate::sys::personality::Personality;
use crate::sys::privilege::raised;
use crate::sys::startup::Process;

/// What somebody wants to run in a session. Isolation that is asked for adds to the session's own.
#[derive(Debug)]
pub struct Wish {
    /// Who the command is.
    pub target: Account,
    /// The command and its arguments; a login shell if there is none.
    pub command: Vec<OsString>,
    /// Where it starts, seen from inside; the caller's own directory if not given.
    pub directory: Option<PathBuf>,
    /// The caller's environment goes along, but for what could harm.
    pub preserve_environment: bool,
    /// No network but `lo`.
    pub isolate_net: bool,
    /// A pid namespace.
    pub isolate_pid: bool,
    /// An IPC namespace.
    pub isolate_ipc: bool,
    /// A UTS namespace.
    pub isolate_uts: bool,
}

/// What schroot's words can ask for besides a [`Wish`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Manner<'a> {
    /// The one shell to start where there is no command; nothing stands in for it.
    pub shell: Option<&'a Path>,
    /// The word by which the template was chosen.
    pub alias: Option<&'a str>,
}

/// Why a command was not run, or not waited for.
#[derive(Debug, thiserror::Error)]
pub enum EnterFailure {
    /// The session is not fit to be entered.
    #[error(transparent)]
    Session(#[from] Error),
    /// The command could not be started.
    #[error(transparent)]
    Enter(#[from] EnterError),
}

impl Sessions<'_> {
    /// Runs a command in a ready session and waits for it. Whether the caller may is decided already.
    ///
    /// # Errors
    /// The session is not ready, or the command could not be started.
    pub fn enter(&self, record: &Record, wish: &Wish, process: &Process) -> Result<Ended, EnterFailure> {
        self.enter_in(record, wish, Manner::default(), process, &mut enter::log_note)
    }

    /// As [`Sessions::enter`], in a manner of its own and with the fallbacks told to `on_note`.
    ///
    /// # Errors
    /// As [`Sessions::enter`].
    pub fn enter_in(
        &self,
        record: &Record,
        wish: &Wish,
        manner: Manner<'_>,
        process: &Process,
        on_note: &mut dyn FnMut(Note),
    ) -> Result<Ended, EnterFailure> {
        record.refuse_kept()?;
        if record.state != State::Ready {
            return Err(Error::NotReady { id: record.id.clone(), state: record.state.as_str() }.into());
        }
        let root = self.layout().mount(&record.id);
        if !self.is_mounted(record)? {
            return Err(Error::NotReady { id: record.id.clone(), state: "not mounted" }.into());
        }
        let preserve = wish.preserve_environment || record.setup.preserve_environment;
        let program = program(record, wish, manner.shell, preserve, process);
        // Until the command has ended: what runs afterwards for the session runs as the host is.
        let personality = record.foreign.as_ref().and_then(|foreign| foreign.personality);
        let _assumed = personality
            .map(Personality::assume)
            .transpose()
            .map_err(|error| Error::sys("assume the personality of", &record.id, error))?;
        let cgroup = self.cgroup(record)?;
        audit(record, wish, process, &program);
        let entry = Entry {
            root: &root,
            target: &wish.target,
            directory: directory(wish, &program, process),
            environment: process.environment().for_command(
                &wish.target,
                preserve,
                &filter(record),
                &session_variables(record, manner.alias, process, &program),
            ),
            program: prefixed(record, program),
            namespaces: Namespaces {
                pid: record.setup.isolate_pid || wish.isolate_pid,
                ipc: record.setup.isolate_ipc || wish.isolate_ipc,
                uts: record.setup.isolate_uts || wish.isolate_uts,
                net_none: record.setup.isolate_net || wish.isolate_net,
            },
            hostname: Some(record.template.to_string()),
            cgroup: cgroup.as_ref(),
            process,
            no_new_privs: !record.setup.setuid,
            inert: raised(|| inert(record))?,
            confirm: Confirm(&|| self.confirm(record)),
        };
        let run = self.begin_run(record)?;
        let ended = enter::enter_with(&entry, on_note);
        if let Some(run) = run {
            let is_clean = match &ended {
                // What it wrote is on the disk before nothing tells any more that it might not be.
                Ok(Ended::Exited(0)) => self.sync_tree(record),
                Ok(Ended::Exited(_)) => runs::is_question(&wish.command),
                _ => false,
            };
            // Of a session that ended before the command could start nobody will ask.
            if is_clean || (ended.is_err() && self.confirm(record).is_err()) {
                run.forget();
            }
        }
        Ok(ended?)
    }

    fn sync_tree(&self, record: &Record) -> bool {
        let synced = raised(|| mount::sync_filesystem(&self.layout().mount(&record.id)));
        if let Err(error) = &synced {
            let error = crate::sys::chain(error);
            tracing::warn!(%error, "a command that ended well counts as one that failed");
        }
        synced.is_ok()
    }

    /// Names come again: between the decision and the entry the session may have ended and another one, of
    /// somebody else, may have been begun under its name.
    fn confirm(&self, record: &Record) -> std::io::Result<()> {
        match raised(|| self.records().load(&record.id)) {
            Ok(now) if now.is_of_same_session(record) && now.state == State::Ready => Ok(()),
            _ => Err(std::io::Error::from_raw_os_error(libc::ESTALE)),
        }
    }
}

/// The command, or the first shell there is: the definition's, with `-p` the caller's, the account's, bash, sh.
fn program(record: &Record, wish: &Wish, shell: Option<&Path>, preserve: bool, process: &Process) -> Program {
    if !wish.command.is_empty() {
        return Program::Argv(wish.command.clone());
    }
    if let Some(shell) = shell {
        return Program::Shell { candidates: vec![shell.to_owned()], login: !preserve };
    }
    let mut candidates: Vec<PathBuf> = Vec::new();
    candidates.extend(record.setup.shell.clone());
    if preserve {
        candidates.extend(process.environment().caller_value("SHELL").map(PathBuf::from));
    }
    candidates.push(wish.target.shell().to_owned());
    for last in ["/bin/bash", "/bin/sh"].map(PathBuf::from) {
        if !candidates.contains(&last) {
            candidates.push(last);
        }
    }
    Program::Shell { candidates, login: !preserve }
}

/// What stays without effect in the tree since the host has it so.
fn inert(record: &Record) -> Result<Inert, Error> {
    match &record.foreign {
        Some(foreign) => Ok(foreign.tree.inert(&record.id)?),
        None => Ok(Inert::default()),
    }
}

fn filter(record: &Record) -> Filter {
    let more = record.foreign.as_ref().map(|foreign| foreign.environment_filter.clone());
    Filter::default().and(more.unwrap_or_default())
}

/// With the words that the definition puts before every command; of these nothing is told but the command.
fn prefixed(record: &Record, program: Program) -> Program {
    let prefix = record.foreign.as_ref().map_or(&[][..], |foreign| &foreign.command_prefix);
    if prefix.is_empty() {
        return program;
    }
    let mut words: Vec<OsString> = prefix.iter().map(OsString::from).collect();
    match program {
        Program::Argv(command) => words.extend(command),
        Program::Shell { candidates, .. } => words.extend(candidates.into_iter().take(1).map(OsString::from)),
    }
    Program::Argv(words)
}

/// A command starts just where it was said or where the caller is; a shell may fall back to its home.
fn directory(wish: &Wish, program: &Program, process: &Process) -> Directory {
    let here = || process.cwd_path().map_or_else(|| PathBuf::from("/"), Path::to_owned);
    match (&wish.directory, program) {
        (Some(directory), _) => Directory::Given(directory.clone()),
        (None, Program::Argv(_)) => Directory::Caller(here()),
        (None, Program::Shell { .. }) => {
            Directory::Login(vec![here(), wish.target.home().to_owned(), PathBuf::from("/")])
        }
    }
}

/// What schroot tells its commands, under its names: scripts inside look for them.
fn session_variables(
    record: &Record,
    alias: Option<&str>,
    process: &Process,
    program: &Program,
) -> Vec<(&'static str, String)> {
    let caller = process.caller();
    let group = crate::sys::identity::group_name(caller.gid()).unwrap_or_else(|| caller.gid().to_string());
    vec![
        ("SCHROOT_COMMAND", spoken(program)),
        ("SCHROOT_USER", caller.name().to_owned()),
        ("SCHROOT_GROUP", group),
        ("SCHROOT_UID", caller.uid().to_string()),
        ("SCHROOT_GID", caller.gid().to_string()),
        ("SCHROOT_CHROOT_NAME", record.template.to_string()),
        ("SCHROOT_ALIAS_NAME", alias.unwrap_or(record.selected_name()).to_owned()),
        ("SCHROOT_SESSION_ID", record.told_name().to_owned()),
    ]
}

/// The command as one line; of a shell the one that is tried first, `-bash` for a login shell.
fn spoken(program: &Program) -> String {
    match program {
        Program::Argv(words) => {
            let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
            words.join(" ")
        }
        Program::Shell { candidates, login } => {
            let shell = candidates.first().map(PathBuf::as_path).unwrap_or(Path::new("/bin/sh"));
            match shell.file_name() {
                Some(name) if *login => format!("-{}", name.to_string_lossy()),
                _ => shell.display().to_string(),
            }
        }
    }
}

fn audit(record: &Record, wish: &Wish, process: &Process, program: &Program) {
    let action = match program {
        Program::Argv(words) => Action::Command(words),
        Program::Shell { candidates, login } => {
            let shell = candidates.first().map(PathBuf::as_path).unwrap_or(Path::new("/bin/sh"));
            if *login { Action::LoginShell(shell) } else { Action::Shell(shell) }
        }
    };
    log::audit(&Audit {
        session: record.id.as_str(),
        chroot: record.template.as_str(),
        caller: process.caller().name(),
        target: wish.target.name(),
        action,
    });
}
