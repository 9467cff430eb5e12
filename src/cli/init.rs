//! `zchroot init`: lay out the store.

use super::args::Init;
use super::context::Context;
use super::error::Error;
use super::exit::Status;
use super::output;
use crate::sys::file;
use crate::sys::privilege::raised;
use crate::template::{self, StoreConfig};

pub(super) fn run(args: &Init, context: &Context) -> Result<Status, Error> {
    context.require_root("init")?;
    let mut changes = Vec::new();
    let config = match &args.pool {
        None => context.config.store.clone(),
        Some(pool) => configure(pool, context, &mut changes)?,
    };
    raised(|| {
        let store = context.open_store(&config)?;
        changes.extend(store.init()?);
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
    if changes.is_empty() {
        context.note(&format!("{} store: nothing to do", config.kind()));
    }
    for change in changes {
        output::line(&change)?;
    }
    Ok(Status::Ok)
}

/// Makes `store = "zfs"` the configuration, if there is none yet.
fn configure(pool: &str, context: &Context, changes: &mut Vec<String>) -> Result<StoreConfig, Error> {
    let path = context.layout.config_dir().join("zchroot.toml");
    let pool: template::Pool = pool.parse().map_err(|error| Error::new(Status::Usage, error))?;
    if let StoreConfig::Zfs { pool: configured, .. } = &context.config.store {
        if configured == &pool {
            return Ok(context.config.store.clone());
        }
        return Err(Error::failed(format!("{} says pool = \"{configured}\", not {pool}", path.display())));
    }
    if file::stat(&path)?.is_some() {
        return Err(Error::failed(format!("{} keeps trees in directories", path.display()))
            .hint(format!("write store = \"zfs\" and [zfs] pool = \"{pool}\" into it, then zchroot init")));
    }
    raised(|| {
        file::make_dirs(&context.layout.config_dir(), 0o755)?;
        file::replace(&path, &format!("version = 1\nstore = \"zfs\"\n\n[zfs]\npool = \"{pool}\"\n"))
    })?;
    changes.push(format!("wrote {}", path.display()));
    Ok(template::load(&context.layout)?.store)
}
