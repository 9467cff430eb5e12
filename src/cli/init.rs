//! `zchroot init`: lay out the store.

use std::path::PathBuf;

use super::args::Init;
use super::context::Context;
use super::error::Error;
use super::exit::Status;
use super::output;
use crate::space::{self, Laying};
use crate::sys::file;
use crate::sys::privilege::raised;
use crate::template::{self, Config, StoreConfig};

/// No configuration is longer.
const LONGEST: u64 = 1 << 20;

pub(super) fn run(args: &Init, context: &Context) -> Result<Status, Error> {
    context.require_root("init")?;
    let mut changes = Vec::new();
    let configured = args.pool.as_deref().map(|pool| configured(pool, context)).transpose()?.flatten();
    let config = configured.as_ref().map_or(&context.config.store, |new| &new.store);
    raised(|| {
        let store = context.open_store(config)?;
        changes.extend(store.init()?);
        if space::lay(store.as_ref())? == Laying::Laid {
            changes.push(format!("reserved {}", output::bytes(store.reserve()?.laid)));
        }
        for (dir, mode) in [
            (context.layout.records(), 0o755),
            (context.layout.templates(), 0o755),
            (context.layout.run(), 0o755),
            (context.layout.mounts(), 0o755),
            (context.layout.locks(), 0o700),
        ] {
            if file::make_dirs(&dir, mode)? {
                changes.push(format!("made {}", dir.display()));
            }
        }
        Ok::<_, Error>(())
    })?;
    // Last: a pool that cannot be had must not become the configuration of every other command.
    if let Some(new) = &configured {
        raised(|| {
            file::make_dirs(&context.layout.config_dir(), 0o755)?;
            file::replace(&new.path, &new.text)
        })?;
        changes.push(format!("wrote {}", new.path.display()));
    }
    if changes.is_empty() {
        context.note(&format!("{} store: nothing to do", config.kind()));
    }
    for change in changes {
        output::line(&change)?;
    }
    Ok(Status::Ok)
}

/// A configuration that is to be written.
struct New {
    path: PathBuf,
    text: String,
    store: StoreConfig,
}

/// The configuration that makes `pool` the store; none if it does so already.
fn configured(pool: &str, context: &Context) -> Result<Option<New>, Error> {
    let path = context.layout.config_dir().join("zchroot.toml");
    let pool: template::Pool = pool.parse().map_err(|error| Error::new(Status::Usage, error))?;
    if let StoreConfig::Zfs { pool: configured, .. } = &context.config.store {
        if configured == &pool {
            return Ok(None);
        }
        return Err(Error::failed(format!("{} says pool = \"{configured}\", not {pool}", path.display())));
    }
    let old = raised(|| file::read_text_if_there(&path, LONGEST))?;
    let old = old.unwrap_or_else(|| "version = 1\n".to_owned());
    let Some(text) = with_pool(&old, &pool) else {
        return Err(Error::failed(format!("{} keeps trees in directories", path.display()))
            .hint(format!("write store = \"zfs\" and [zfs] pool = \"{pool}\" into it, then zchroot init")));
    };
    let store = Config::from_text(&text, &path).map_err(template::Error::from)?.store;
    Ok(Some(New { path, text, store }))
}

/// The configuration with the store in a pool; none if it decides anything of the store already.
fn with_pool(old: &str, pool: &template::Pool) -> Option<String> {
    let table: toml::Table = old.parse().ok()?;
    if ["store", "zfs", "dir"].iter().any(|key| table.contains_key(*key)) {
        return None;
    }
    // At its place keys of no table end; a comment on the same line stays there.
    let at = old.lines().position(|line| line.trim_start().starts_with("version"))?;
    let mut lines: Vec<&str> = old.lines().collect();
    lines.insert(at + 1, "store = \"zfs\"");
    Some(format!("{}\n\n[zfs]\npool = \"{pool}\"\n", lines.join("\n")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHIPPED: &str = include_str!("../../etc/zchroot.toml");

    fn pool() -> template::Pool {
        "tank/builds".parse().unwrap()
    }

    #[test]
    fn a_configuration_that_decides_nothing_of_the_store_gets_the_pool_and_keeps_the_rest() {
        for old in [
            SHIPPED,
            "version = 1\n",
            "# ours\ngrace = \"1h\"\nversion = 1 # first\n[images]\nwarm = \"1d\"\n",
        ] {
            let new = with_pool(old, &pool()).unwrap();
            assert!(old.lines().all(|line| new.lines().any(|kept| kept == line)), "{new}");
            let config = Config::from_text(&new, std::path::Path::new("zchroot.toml")).unwrap();
            assert!(matches!(config.store, StoreConfig::Zfs { pool, .. } if pool == self::pool()), "{new}");
            let old = Config::from_text(old, std::path::Path::new("zchroot.toml")).unwrap();
            assert_eq!((config.grace, config.images.warm), (old.grace, old.images.warm));
        }
    }

    #[test]
    fn a_configuration_that_decides_is_left_alone() {
        for old in ["version = 1\nstore = \"dir\"\n", "version = 1\n[dir]\nreserve = \"1G\"\n", "no toml"] {
            assert_eq!(with_pool(old, &pool()), None, "{old}");
        }
    }
}
