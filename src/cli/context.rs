//! What every command works with: the hardened process, the installation, its configuration and store.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};

use super::args::Globals;
use super::error::Error;
use super::exit::Status;
use super::output;
use super::progress::Bar;
use crate::dir::DirStore;
use crate::import::image::Images;
use crate::session::Sessions;
use crate::source::Sources;
use crate::store::{Layout, Store, TemplateName};
use crate::sys::privilege::raised;
use crate::sys::signals::Held;
use crate::sys::startup::Process;
use crate::template::{self, Config, StoreConfig, Template};

/// One call of the program.
#[derive(Debug)]
pub(crate) struct Context {
    /// The process and who called it.
    pub process: Process,
    /// Options that every command knows.
    pub globals: Globals,
    /// Where things lie.
    pub layout: Layout,
    /// The host's configuration.
    pub config: Config,
    store: OnceCell<Box<dyn Store>>,
}

impl Context {
    /// Reads the configuration.
    pub(crate) fn open(mut process: Process, globals: Globals) -> Result<Self, Error> {
        let layout = match &globals.root {
            None => Layout::new(Path::new("/")),
            Some(_) if !process.caller().is_root() => {
                return Err(Error::failed("--root is for real root only"));
            }
            Some(root) => Layout::new(&absolute(&process, root)?),
        };
        // Names that the caller gives are found by its path. The handle would keep the tree of a session busy that
        // is ended, or committed, from inside.
        process.release_cwd().map_err(|error| crate::session::Error::sys("open", "/", error))?;
        let config = template::load(&layout)?;
        Ok(Self { process, globals, layout, config, store: OnceCell::new() })
    }

    /// The store that the configuration names.
    pub(crate) fn store(&self) -> Result<&dyn Store, Error> {
        if let Some(store) = self.store.get() {
            return Ok(store.as_ref());
        }
        let store = raised(|| self.open_store(&self.config.store))?;
        Ok(self.store.get_or_init(|| store).as_ref())
    }

    /// Opens a store, with privilege.
    pub(super) fn open_store(&self, config: &StoreConfig) -> Result<Box<dyn Store>, Error> {
        match config {
            StoreConfig::Dir { reserve } => {
                Ok(Box::new(DirStore::with_reserve(&self.layout, reserve.bytes())))
            }
            #[cfg(feature = "zfs")]
            StoreConfig::Zfs { pool, reserve } => {
                Ok(Box::new(crate::zfs::ZfsStore::open(pool.as_str(), &self.layout, reserve.bytes())?))
            }
            #[cfg(not(feature = "zfs"))]
            StoreConfig::Zfs { pool, .. } => Err(Error::failed(format!(
                "the store of {pool} is on ZFS, and this zchroot was built without it"
            ))),
        }
    }

    /// The sessions.
    pub(crate) fn sessions(&self) -> Result<Sessions<'_>, Error> {
        Ok(Sessions::new(&self.layout, self.store()?))
    }

    /// The images.
    pub(super) fn images(&self) -> Result<Images<'_>, Error> {
        Ok(Images::new(self.sessions()?))
    }

    /// The versions.
    pub(crate) fn sources(&self) -> Result<Sources<'_>, Error> {
        Ok(Sources::new(self.sessions()?))
    }

    /// The definition of a template, by name or alias.
    pub(crate) fn template(&self, name: &TemplateName) -> Result<Template, Error> {
        Ok(template::template(&self.layout, name.as_str())?)
    }

    /// Refuses whoever is not root.
    pub(crate) fn require_root(&self, command: &str) -> Result<(), Error> {
        if self.process.caller().is_root() {
            Ok(())
        } else {
            Err(Error::failed(format!("{command} is for root only")))
        }
    }

    /// A note for people, unless they asked for quiet.
    pub(crate) fn note(&self, text: &str) {
        if !self.globals.quiet {
            output::note(text);
        }
    }

    /// Progress on stderr, unless they asked for quiet.
    pub(super) fn bar(&self) -> Bar {
        Bar::new(self.globals.quiet, self.config.stall.duration())
    }

    /// From here on a signal that would end the program waits: until it can be passed on to a command, or until
    /// the operation is whole.
    pub(crate) fn hold_signals() -> Result<Held, Error> {
        Held::breaking().map_err(|error| crate::session::Error::sys("hold back", "signals", error).into())
    }

    /// Leaves `run` and its kind with the status that says "zchroot failed, not the command".
    pub(super) fn entering<T>(result: Result<T, Error>) -> Result<T, Error> {
        result.map_err(|error| match error.status() {
            Status::CommandNotFound | Status::NotExecutable => error,
            _ => error.with_status(Status::EnterFailed),
        })
    }
}

/// A path that the caller gave, relative to where he is: we are in `/` by now.
pub(super) fn absolute(process: &Process, path: &Path) -> Result<PathBuf, Error> {
    if path.is_absolute() {
        return Ok(path.to_owned());
    }
    let here = process.cwd_path().ok_or_else(|| {
        Error::failed(format!("cannot find {}: the directory where you are is gone", path.display()))
    })?;
    Ok(here.join(path))
}
