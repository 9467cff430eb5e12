//! Admission: who begins something is refused before anything of it is made, or warned.

use std::io::IsTerminal;
use std::time::Duration;

use super::args::Image;
use super::context::Context;
use super::error::Error;
use super::exit::Status;
use super::{image, output, policy, room};
use crate::space::{self, Admission, Promises, Swept};
use crate::store::Space;
use crate::sys::lock::{self, Lock};
use crate::sys::privilege::raised;
use crate::template::Size;

/// How long others who begin sessions with a quota may take.
const TURN: Duration = Duration::from_secs(60);

/// Leave to begin something. With `overcommit` nobody else is promised room until this is dropped.
#[derive(Debug)]
#[must_use = "what is promised is to be recorded before it is dropped"]
pub(super) struct Admitted {
    warning: Option<String>,
    _turn: Option<Lock>,
}

impl Admitted {
    /// It was begun: says that there is not much room left, if so. Who failed has something else to read.
    pub(super) fn begun(self, context: &Context) {
        if let Some(warning) = &self.warning {
            context.note(warning);
        }
    }
}

/// Who is told that there is not much room left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tell {
    /// Whoever reads stderr.
    Always,
    /// A person: what is no terminal may be the command's, and nobody wants another's words in it.
    Terminal,
}

/// Asks for leave to `what`, "begin session x", which may take `quota`.
pub(super) fn admit(
    context: &Context,
    what: &str,
    quota: Option<Size>,
    tell: Tell,
) -> Result<Admitted, Error> {
    let (store, sweep) = (context.store()?, room::sweep(context)?);
    let floors = &context.config.space;
    let mut warning = None;
    match space::admit(|| raised(|| store.space()), floors, || raised(|| sweep.run())) {
        Admission::Plenty => {}
        Admission::Low(_) if tell == Tell::Terminal && !std::io::stderr().is_terminal() => {}
        Admission::Low(space) => {
            warning = Some(format!(
                "the store {} is low: {} available, {}% of {}",
                store.name(),
                output::bytes(space.available),
                percent(space),
                output::bytes(space.total)
            ));
        }
        Admission::Unread(error) => {
            let error = Error::from(error);
            output::note(&format!("zchroot: warning: how much room there is is not known: {}", error.text()));
        }
        Admission::Refused { space, swept } => return Err(refused(context, what, space, &swept)),
    }
    let turn = quota.map(|quota| promise(context, what, quota)).transpose()?.flatten();
    Ok(Admitted { warning, _turn: turn })
}

fn percent(space: Space) -> u128 {
    u128::from(space.available) * 100 / u128::from(space.total.max(1))
}

fn refused(context: &Context, what: &str, space: Space, swept: &Swept) -> Error {
    let floor = context.config.space.hard_floor.bytes();
    Error::failed(format!(
        "no room to {what}: {} available, {} is the least (hard-floor), {} missing; a sweep evicted {}, which freed {}",
        output::bytes(space.available),
        output::bytes(floor),
        output::bytes(floor.saturating_sub(space.available)),
        room::things(swept.gone.len()),
        output::bytes(swept.freed())
    ))
}

/// Whether `quota` can be promised besides all that is. What cannot be read refuses nobody.
fn promise(context: &Context, what: &str, quota: Size) -> Result<Option<Lock>, Error> {
    let Some(overcommit) = context.config.space.overcommit else { return Ok(None) };
    let layout = &context.layout;
    let turn = raised(|| {
        lock::make_folder(&layout.locks())?;
        Lock::take(&layout.promises_lock(), TURN)
    })?;
    let sessions = context.sessions()?;
    let standing = raised(|| Promises::standing(&sessions))?;
    let Ok(Space { available, .. }) = raised(|| sessions.store().space()) else {
        return Ok(turn);
    };
    if standing.admit(quota.bytes(), available, overcommit) {
        return Ok(turn);
    }
    Err(Error::failed(format!(
        "no room to {what}: its quota of {} and the {} of {} sessions make {}, and with overcommit = {overcommit} at most {} \
         can be promised ({} available, {} taken by these sessions)",
        output::bytes(quota.bytes()),
        output::bytes(standing.promised),
        standing.sessions,
        output::bytes(standing.promised.saturating_add(quota.bytes())),
        output::bytes(standing.limit(available, overcommit)),
        output::bytes(available),
        output::bytes(standing.taken)
    )))
}

/// `zchroot image`: only an import makes anything. Nothing is left of one that failed, so it is done once more as a
/// whole.
pub(super) fn image(args: &Image, context: &Context) -> Result<Status, Error> {
    if !args.makes_something() {
        return image::run(args, context);
    }
    policy::may_use_images(context, context.process.caller().account())?;
    let (evicted, _) = room::relieve(context)?;
    for item in &evicted {
        context.note(&format!("evicted {}: {}", item.object, item.reason));
    }
    let admitted = admit(context, "keep the image", None, Tell::Always)?;
    let status = room::filling(context, "keep the image", 0, || image::run(args, context))?;
    admitted.begun(context);
    Ok(status)
}
