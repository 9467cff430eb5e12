//! The host's configuration. `etc/zchroot/zchroot.toml`; without it the defaults hold.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use toml::Spanned;

use crate::store::Kind;

use super::account::AccountName;
use super::amount::{Period, Size, Stall, Warm};
use super::definition::{Access, access};
use super::diagnostic::{Diagnostic, Fault};
use super::document::{self, Word};
use super::space::{Percent, SpaceConfig, SpaceTable};

const GRACE: Period = Period::from_secs(600);
const RESERVE: Size = Size::new(64 << 20);
const PRESSURE: Percent = Percent::new(80);

/// What holds for all templates of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Config {
    /// Where trees live.
    pub store: StoreConfig,
    /// How old a thing must be that nothing refers to before gc takes it.
    pub grace: Period,
    /// How long an import may come no further.
    pub stall: Stall,
    /// When digests of versions are made.
    pub digests: Digests,
    /// Unpacked archives.
    pub images: ImagesConfig,
    /// How much room there has to be.
    pub space: SpaceConfig,
}

/// What holds for images.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ImagesConfig {
    /// Who may import images and run sessions of them.
    #[serde(flatten)]
    pub access: Access,
    /// How long an image stays that nothing is cloned from.
    pub warm: Warm,
    /// How much all of them may take; as much as there is, if not said.
    pub quota: Option<Size>,
    /// The share of the quota at which images go that nothing is cloned from.
    pub pressure: Percent,
    /// Whether an import clones files that another image has already.
    pub dedup: bool,
}

impl Default for ImagesConfig {
    fn default() -> Self {
        let (access, warm) = (Access::default(), Warm::default());
        Self { access, warm, quota: None, pressure: PRESSURE, dedup: true }
    }
}

/// When a digest of a version's tree is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Digests {
    /// After the commit, in the background; what is missing, by the next commit or gc.
    #[default]
    Commit,
    /// By gc.
    Gc,
    /// Only by `zchroot verify`.
    Never,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            store: StoreConfig::Dir { reserve: RESERVE },
            grace: GRACE,
            stall: Stall::default(),
            digests: Digests::default(),
            images: ImagesConfig::default(),
            space: SpaceConfig::default(),
        }
    }
}

/// Which store, with what it needs to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum StoreConfig {
    /// Directories and overlayfs.
    Dir {
        /// Room kept for recovery on a full file system.
        reserve: Size,
    },
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
            Self::Dir { .. } => Kind::Dir,
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
    stall: Option<Word<Stall>>,
    digests: Option<Digests>,
    zfs: Option<ZfsTable>,
    #[serde(default)]
    dir: DirTable,
    #[serde(default)]
    images: ImagesTable,
    #[serde(default)]
    space: SpaceTable,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
struct ImagesTable {
    users: Vec<Word<AccountName>>,
    groups: Vec<Word<AccountName>>,
    root_users: Vec<Word<AccountName>>,
    root_groups: Vec<Word<AccountName>>,
    warm: Option<Word<Warm>>,
    quota: Option<Word<Size>>,
    pressure: Option<Percent>,
    dedup: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct ZfsTable {
    pool: Word<Pool>,
    reserve: Option<Word<Size>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
struct DirTable {
    reserve: Option<Word<Size>>,
}

impl Config {
    /// The configuration from its text; `file` is only what an error says it is from.
    ///
    /// # Errors
    /// The text says something wrong.
    pub fn from_text(text: &str, file: &Path) -> Result<Self, Diagnostic> {
        Self::parse(text).map_err(|fault| fault.in_file(file, text))
    }

    fn parse(text: &str) -> Result<Self, Fault> {
        let file: File = document::parse(text)?;
        let images = file.images;
        Ok(Self {
            store: store(file.store, file.zfs, file.dir)?,
            grace: file.grace.map_or(GRACE, |word| word.0),
            stall: file.stall.map_or_else(Stall::default, |word| word.0),
            digests: file.digests.unwrap_or_default(),
            images: ImagesConfig {
                access: access(images.users, images.groups, images.root_users, images.root_groups),
                warm: images.warm.map(|word| word.0).unwrap_or_default(),
                quota: images.quota.map(|word| word.0),
                pressure: images.pressure.unwrap_or(PRESSURE),
                dedup: images.dedup.unwrap_or(true),
            },
            space: file.space.into(),
        })
    }
}

/// The table of the other store is let stand: who tries that need not delete it.
fn store(kind: Option<Spanned<Kind>>, zfs: Option<ZfsTable>, dir: DirTable) -> Result<StoreConfig, Fault> {
    let reserve = |size: Option<Word<Size>>| size.map_or(RESERVE, |word| word.0);
    let directories = StoreConfig::Dir { reserve: reserve(dir.reserve) };
    let Some(kind) = kind else { return Ok(directories) };
    match (kind.get_ref(), zfs) {
        (Kind::Dir, _) => Ok(directories),
        (Kind::Zfs, Some(ZfsTable { pool, reserve: size })) => {
            Ok(StoreConfig::Zfs { pool: pool.0, reserve: reserve(size) })
        }
        (Kind::Zfs, None) => {
            Err(Fault::at(kind.span(), "store: \"zfs\" needs a table [zfs] that says pool = \"NAME\""))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{faults, shipped};
    use super::*;

    #[test]
    fn an_empty_configuration_is_the_default() {
        assert_eq!(Config::parse("version = 1").unwrap(), Config::default());
        assert_eq!(Config::default().store.kind(), Kind::Dir);
        assert_eq!(Config::default().grace.to_string(), "10m");
        assert_eq!(Config::default().stall.to_string(), "30m");
    }

    #[test]
    fn a_pool_is_enough_for_zfs() {
        let config = Config::parse("version = 1\nstore = \"zfs\"\n[zfs]\npool = \"tank/build\"").unwrap();
        let store = StoreConfig::Zfs { pool: "tank/build".parse().unwrap(), reserve: Size::new(64 << 20) };
        assert_eq!(config, Config { store, ..Config::default() });
    }

    #[test]
    fn every_key_of_the_configuration_is_read() {
        let config = Config::parse(
            "version = 1\nstore = \"zfs\"\ngrace = \"2h\"\nstall = \"90s\"\ndigests = \"gc\"\n[zfs]\npool = \"tank\"\nreserve = \"1G\"",
        )
        .unwrap();
        let store = StoreConfig::Zfs { pool: "tank".parse().unwrap(), reserve: Size::new(1 << 30) };
        let grace = Period::from_secs(7200);
        let stall = "90s".parse().unwrap();
        assert_eq!(config, Config { store, grace, stall, digests: Digests::Gc, ..Config::default() });
        assert_eq!(config.store.kind(), Kind::Zfs);
    }

    #[test]
    fn the_reserve_of_either_store_is_read() {
        let config = Config::parse("version = 1\n[dir]\nreserve = \"1M\"").unwrap();
        assert_eq!(config.store, StoreConfig::Dir { reserve: Size::new(1 << 20) });
        let config =
            Config::parse("version = 1\nstore = \"zfs\"\n[zfs]\npool = \"p\"\nreserve = \"0\"").unwrap();
        assert_eq!(config.store, StoreConfig::Zfs { pool: "p".parse().unwrap(), reserve: Size::new(0) });
    }

    #[test]
    fn the_floors_are_read() {
        let space = Config::parse(
            "version = 1\n[space]\nhard-floor = \"2G\"\nsoft-floor = \"0\"\nsoft-percent = 0\novercommit = \"1.5\"",
        );
        let space = space.unwrap().space;
        assert_eq!((space.hard_floor, space.soft_floor), (Size::new(2 << 30), Size::new(0)));
        assert_eq!((space.soft_percent.get(), space.overcommit), (0, "1.5".parse().ok()));
        assert!(Config::parse("version = 1\n[space]\nsoft-percent = 101").is_err());
        assert!(Config::parse("version = 1\n[space]\novercommit = \"0\"").is_err());
    }

    #[test]
    fn who_may_use_images_and_how_long_they_stay_warm_is_read() {
        let config = Config::parse(
            "version = 1\n[images]\nroot-users = [\"ci\"]\nwarm = \"inf\"\nquota = \"2G\"\npressure = 90\ndedup = false",
        )
        .unwrap();
        assert_eq!((config.images.quota, config.images.pressure.get()), (Some(Size::new(2 << 30)), 90));
        assert_eq!(config.images.access.root_users, ["ci".parse().unwrap()]);
        assert_eq!(config.images.warm, Warm::Always);
        let default = Config::default().images;
        assert!(default.access.is_empty() && default.dedup && !config.images.dedup);
        assert_eq!(default.warm.to_string(), "7d");
    }

    #[test]
    fn a_zfs_table_may_stand_beside_the_store_dir() {
        let config = Config::parse("version = 1\nstore = \"dir\"\n[zfs]\npool = \"tank\"").unwrap();
        assert_eq!(config.store, StoreConfig::Dir { reserve: RESERVE });
    }

    #[test]
    fn what_is_wrong_with_the_configuration_is_shown_where_it_is_wrong() {
        let said = faults(
            Config::parse,
            &[
                "store = \"btrfs\"",
                "store = \"zfs\"",
                "store = \"zfs\"\n[zfs]\nreserve = \"1G\"",
                "grace = 600",
                "grace = \"600\"",
                "stall = \"0s\"",
                "[zfs]\npool = \"tank@snap\"",
                "[zfs]\npool = \"tank\"\nreserve = \"1.5G\"",
                "[zfs]\npool = \"tank\"\nname = \"x\"",
                "[log]",
            ],
        );
        insta::assert_snapshot!(said, @r##"
        f.toml:2:9: store: unknown variant `btrfs`, expected `dir` or `zfs`
            store = "btrfs"
                    ^^^^^^^
        f.toml:2:9: store: "zfs" needs a table [zfs] that says pool = "NAME"
            store = "zfs"
                    ^^^^^
        f.toml:3:1: zfs: missing field `pool`
            [zfs]
            ^^^^^
        f.toml:2:9: grace: invalid type: integer `600`, expected a string
            grace = 600
                    ^^^
        f.toml:2:9: grace: "600" is not a period: it needs a unit: s, m, h or d
            grace = "600"
                    ^^^^^
        f.toml:2:9: stall: "0s" is not a period: it has to be longer than nothing
            stall = "0s"
                    ^^^^
        f.toml:3:8: zfs.pool: "tank@snap" is not the name of a pool or dataset: only letters, digits and _ . : - may stand between its slashes
            pool = "tank@snap"
                   ^^^^^^^^^^^
        f.toml:4:11: zfs.reserve: "1.5G" is not a size: no such unit, write K, M, G or T
            reserve = "1.5G"
                      ^^^^^^
        f.toml:4:1: unknown field `name`, expected `pool` or `reserve`
            name = "x"
            ^^^^
        f.toml:2:2: unknown field `log`, expected one of `version`, `store`, `grace`, `stall`, `digests`, `zfs`, `dir`, `images`, `space`
            [log]
             ^^^
        "##);
    }

    #[test]
    fn pool_names_follow_the_table() {
        for text in ["tank", "tank/build", "rpool/a.b/c_d", "t-1:x"] {
            assert_eq!(text.parse::<Pool>().unwrap().as_str(), text);
        }
        let bad = [
            ("", "a letter"),
            ("1tank", "a letter"),
            ("-tank", "a letter"),
            ("tank/", "each part"),
            ("tank//a", "each part"),
            ("tank/../x", "each part"),
            ("tank/-a", "each part"),
            ("tank@a", "may stand"),
            ("ta nk", "may stand"),
            ("tank%", "may stand"),
            (&"t".repeat(101), "100 bytes"),
        ];
        for (text, why) in bad {
            let error = text.parse::<Pool>().unwrap_err().to_string();
            assert!(error.contains(why), "{text:?}: {error}");
        }
    }

    #[test]
    fn the_shipped_configuration_parses_with_and_without_its_comments() {
        let (_, text) = shipped("").into_iter().find(|(name, _)| name == "zchroot.toml").unwrap();
        assert_eq!(Config::parse(&text).unwrap(), Config::default());
        let bare: String = text
            .lines()
            .map(|line| line.strip_prefix('#').filter(|line| !line.starts_with(' ')).unwrap_or(line))
            .map(|line| format!("{line}\n"))
            .collect();
        assert!(bare.contains("\npool = \"tank\""));
        assert_eq!(Config::parse(&bare).unwrap(), Config::default());
        let zfs = Config::parse(&bare.replace("\"dir\"\n", "\"zfs\"\n")).unwrap();
        let reserve = RESERVE;
        assert_eq!(zfs.store, StoreConfig::Zfs { pool: "tank".parse().unwrap(), reserve });
    }
}
