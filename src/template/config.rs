//! The host's configuration. `etc/zchroot/zchroot.toml`; without it the defaults hold.

use std::fmt;
use std::str::FromStr;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use toml::Spanned;

use crate::store::Kind;

use super::amount::{Period, Size};
use super::diagnostic::Fault;
use super::document::{self, Word};

const GRACE: Period = Period::from_secs(600);
const RESERVE: Size = Size::new(64 << 20);

/// What holds for all templates of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Config {
    /// Where trees live.
    pub store: StoreConfig,
    /// How old a thing must be that nothing refers to before gc takes it.
    pub grace: Period,
}

impl Default for Config {
    fn default() -> Self {
        Self { store: StoreConfig::Dir, grace: GRACE }
    }
}

/// Which store, with what it needs to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum StoreConfig {
    /// Directories and overlayfs.
    Dir,
    /// Datasets and clones.
    Zfs {
        /// The pool or dataset under which the dataset `zchroot` lies.
        pool: Pool,
        /// Room kept for recovery in a full pool.
        reserve: Size,
    },
}

impl StoreConfig {
    /// Which store it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Dir => Kind::Dir,
            Self::Zfs { .. } => Kind::Zfs,
        }
    }
}

/// The name of a ZFS pool, or of a dataset in one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Pool(String);

/// A string that is no such name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not the name of a pool or dataset: {why}")]
pub struct PoolError {
    text: String,
    why: &'static str,
}

impl Pool {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Pool {
    type Err = PoolError;

    /// zfs(8)'s own rule but for the blank, which no name of ours may have; 100 bytes leave room for what is
    /// appended (a dataset name has 255).
    fn from_str(text: &str) -> Result<Self, PoolError> {
        let refuse = |why| Err(PoolError { text: text.chars().take(100).collect(), why });
        if text.len() > 100 {
            return refuse("it is longer than 100 bytes");
        }
        if !text.starts_with(|c: char| c.is_ascii_alphabetic()) {
            return refuse("it does not start with a letter");
        }
        for part in text.split('/') {
            if !part.starts_with(|c: char| c.is_ascii_alphanumeric()) {
                return refuse("each part starts with a letter or digit");
            }
            if !part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte)) {
                return refuse("only letters, digits and _ . : - may stand between its slashes");
            }
        }
        Ok(Self(text.to_owned()))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct File {
    #[serde(rename = "version")]
    _version: IgnoredAny,
    store: Option<Spanned<Kind>>,
    grace: Option<Word<Period>>,
    zfs: Option<ZfsTable>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct ZfsTable {
    pool: Word<Pool>,
    reserve: Option<Word<Size>>,
}

impl Config {
    /// Parses the host's configuration.
    pub(super) fn parse(text: &str) -> Result<Self, Fault> {
        let file: File = document::parse(text)?;
        Ok(Self { store: store(file.store, file.zfs)?, grace: file.grace.map_or(GRACE, |word| word.0) })
    }
}

/// A `[zfs]` table beside `store = "dir"` is let stand: who tries the other store need not delete it.
fn store(kind: Option<Spanned<Kind>>, zfs: Option<ZfsTable>) -> Result<StoreConfig, Fault> {
    let Some(kind) = kind else { return Ok(StoreConfig::Dir) };
    match (kind.get_ref(), zfs) {
        (Kind::Dir, _) => Ok(StoreConfig::Dir),
        (Kind::Zfs, Some(ZfsTable { pool, reserve })) => {
            Ok(StoreConfig::Zfs { pool: pool.0, reserve: reserve.map_or(RESERVE, |word| word.0) })
        }
        (Kind::Zfs, None) => {
            Err(Fault::at(kind.span(), "store: \"zfs\" needs a table [zfs] that says pool = \"NAME\""))
        }
    }
}
