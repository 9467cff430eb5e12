//! `zchroot recover`: every session to ready or ended.

use super::args::Recover;
use super::context::Context;
use super::error::Error;
use super::exit::Status;
use super::output;
use crate::session::{Recovered, Recovery};
use crate::sys::privilege::raised;

pub(super) fn run(args: &Recover, context: &Context) -> Result<Status, Error> {
    context.require_root("recover")?;
    let sessions = context.sessions()?;
    let Recovery { sessions: results, pointers } = raised(|| sessions.recover())?;
    let mut status = Status::Ok;
    let mut rows = Vec::new();
    for (template, error) in pointers {
        status = Status::Failed;
        let trouble = output::plain(&crate::sys::chain(&error));
        output::note(&format!("zchroot: template {template}: its pointer could not be mended: {trouble}"));
    }
    for (id, result) in &results {
        let (word, trouble) = match result {
            Recovered::Stands => ("stands", None),
            Recovered::Ready => ("ready again", None),
            Recovered::Ended => ("ended", None),
            Recovered::Committed => ("committed", None),
            Recovered::Kept => ("kept", None),
            Recovered::InUse => ("in use", None),
            Recovered::Failed(error) => {
                status = Status::Failed;
                ("failed", Some(crate::sys::chain(error)))
            }
        };
        rows.push((id, word, trouble));
    }
    if args.json.json {
        let data: Vec<_> = rows
            .iter()
            .map(|(id, word, trouble)| serde_json::json!({ "session": id, "result": word, "error": trouble }))
            .collect();
        output::json("sessions", &data)?;
    } else {
        for (id, word, trouble) in rows {
            match trouble {
                None => output::line(&format!("{id}: {word}"))?,
                Some(trouble) => output::line(&format!("{id}: {word}: {}", output::plain(&trouble)))?,
            }
        }
    }
    Ok(status)
}
