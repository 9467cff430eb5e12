//! Definitions: what the administrator wrote, read with distrust and turned into types.
//!
//! ```text
//! /etc/zchroot/zchroot.toml           Config     one for the host; absent means the defaults
//! /etc/zchroot/templates.d/NAME.toml  Template   one file for each template, its stem is the name
//! /etc/zchroot/profiles/NAME.toml     Profile    wins over the profile of that name built into the program
//! ```
//!
//! Nothing is written here, so there is no lock and nothing to recover: an administrator's editor replaces a
//! file at once or the reader meets half a file, which is an error that names it. Three steps are kept
//! apart: `read` opens files through directory fds and decides whether they are to be trusted,
//! `document` and the types parse a `&str`, and [`policy`] decides on what was parsed. One broken file
//! never stops the others.

mod account;
mod amount;
mod check;
mod config;
mod definition;
mod diagnostic;
mod document;
#[cfg(test)]
mod fixture;
mod load;
pub mod policy;
mod profile;
mod profile_file;
mod read;
mod space;

pub use account::{AccountName, AccountNameError, Accounts, HostAccounts};
pub use amount::{AmountError, Period, Size, Stall, Warm};
pub use check::check;
pub use config::{Config, Digests, ImagesConfig, Pool, PoolError, StoreConfig};
pub use definition::{Access, CommitOnEnd, Net, Overlay, SourceAccess, Template};
pub use diagnostic::{Diagnostic, Finding, Place, Severity};
pub use load::{Error, Loaded, load, may_caller_read, profile, template, templates};
pub use profile::{HostFile, Mount, MountKind, NssDatabase, Profile, ProfileName};
pub(crate) use read::ConfigDir;
pub use space::{Overcommit, OvercommitError, Percent, SpaceConfig};
