//! `zchroot reserve`: room that is kept back for clearing up.

use super::args::{Reserve, ReserveStep};
use super::context::Context;
use super::error::Error;
use super::exit::Status;
use super::output;
use crate::space::{self, Laying};
use crate::store::Outcome;
use crate::sys::privilege::raised;

pub(super) fn run(args: &Reserve, context: &Context) -> Result<Status, Error> {
    context.require_root("reserve")?;
    let store = context.store()?;
    match args.step {
        ReserveStep::Status => {}
        ReserveStep::Release => release(context)?,
        ReserveStep::Lay => match raised(|| space::lay(store))? {
            Laying::AsItWas | Laying::Laid => {}
            Laying::Deferred { wanted, available } => {
                let (wanted, available) = (output::bytes(wanted), output::bytes(available));
                return Err(Error::failed(format!(
                    "no room for the reserve: it is laid with {wanted} available, there are {available}"
                ))
                .hint("zchroot gc"));
            }
            Laying::Impossible => {
                return Err(Error::failed(format!("{} cannot promise room to anybody", store.name())));
            }
        },
    }
    let reserve = raised(|| store.reserve())?;
    if args.json.json {
        output::json("reserve", &reserve)?;
    } else {
        let (laid, size) = (output::bytes(reserve.laid), output::bytes(reserve.size));
        output::line(&format!("{laid} of {size} laid"))?;
    }
    Ok(Status::Ok)
}

fn release(context: &Context) -> Result<(), Error> {
    let store = context.store()?;
    let before = raised(|| store.reserve())?.laid;
    match raised(|| store.release_reserve())? {
        Outcome::Changed => context.note(&format!("released {}", output::bytes(before))),
        Outcome::Unchanged => context.note("nothing to release"),
    }
    Ok(())
}

/// Lays the reserve again, if there is room: no part of what the caller came for, so it is only told.
pub(super) fn lay_again(context: &Context) {
    let laid = context.store().and_then(|store| Ok(raised(|| space::lay(store))?));
    match laid {
        Ok(Laying::Laid) => context.note("laid the reserve"),
        Ok(Laying::Deferred { wanted, available }) => {
            tracing::info!(wanted, available, "the reserve waits for room");
        }
        Ok(Laying::AsItWas | Laying::Impossible) => {}
        // Nothing was laid out yet: so it is where the package is installed and not used.
        Err(error) if error.status() == Status::NotFound => {}
        Err(error) => tracing::warn!(?error, "the reserve is not laid"),
    }
}
