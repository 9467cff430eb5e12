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
    if file::stat(&path)?.is_some() {
        return Err(Error::failed(format!("{} keeps trees in directories", path.display()))
            .hint(format!("write store = \"zfs\" and [zfs] pool = \"{pool}\" into it, then zchroot init")));
    }
    let text = format!("version = 1\nstore = \"zfs\"\n\n[zfs]\npool = \"{pool}\"\n");
    let store = Config::from_text(&text, &path).map_err(template::Error::from)?.store;
    Ok(Some(New { path, text, store }))
}
