//! `zchroot verify`: whether versions still are what they were when they were committed; and the digests of that.

use std::path::Path;

use serde::Serialize;

use super::args::Verify;
use super::context::Context;
use super::error::Error;
use super::exit::Status;
use super::{diff, output, policy};
use crate::source::Version;
use crate::source::digest::Verdict;
use crate::store::{Layout, Progress, TemplateName, VersionId};
use crate::sys::detached;
use crate::sys::privilege::raised;
use crate::template::Digests;

/// One line of the result.
#[derive(Serialize)]
struct Row {
    template: TemplateName,
    version: VersionId,
    generation: Option<u64>,
    #[serde(flatten)]
    verdict: Option<Verdict>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

pub(super) fn run(args: &Verify, context: &Context) -> Result<Status, Error> {
    // Ctrl-C is looked for between reads: what was set up to look at a tree is taken away first.
    let _held = Context::hold_signals()?;
    let (name, version) = match args.target.split_once('@') {
        Some((name, version)) => (name, Some(version.parse()?)),
        None => (args.target.as_str(), None),
    };
    let template = policy::may_maintain(context, &name.parse()?)?;
    let sources = context.sources()?;
    let versions = raised(|| match version {
        Some(spec) => sources.resolve(&template, &spec).map(|version| vec![version]),
        None => sources.current(&template).and_then(|_| sources.complete(&template)),
    })?;
    let mut rows = Vec::new();
    for version in versions.into_iter().rev() {
        let row = look(&template, version, context)?;
        if !args.json.json {
            output::line(&line(&row))?;
        }
        rows.push(row);
        diff::not_interrupted().map_err(|error| Error::failed(error.to_string()))?;
    }
    if args.json.json {
        output::json("verify", &rows)?;
    }
    let good = |row: &Row| !matches!(row.verdict, None | Some(Verdict::Differs { .. }));
    Ok(if rows.iter().all(good) { Status::Ok } else { Status::Failed })
}

/// One version. One that cannot be read does not keep the others from being looked at.
fn look(template: &TemplateName, version: VersionId, context: &Context) -> Result<Row, Error> {
    let sources = context.sources()?;
    let mut bar = context.bar();
    let about = raised(|| Version::load(&context.layout, template, &version)).ok().flatten();
    let verdict = raised(|| {
        let total = sources.digest(template, &version)?.map(|root| root.bytes);
        bar.start(&format!("verifying {template} {version}"), total);
        sources.verify(template, &version, &mut |bytes| {
            bar.advance(bytes);
            diff::not_interrupted()
        })
    });
    bar.finish();
    let generation = about.map(|about| about.generation);
    let (verdict, error) = match verdict {
        Ok(verdict) => (Some(verdict), None),
        Err(error) => (None, Some(crate::sys::chain(&error))),
    };
    Ok(Row { template: template.clone(), version, generation, verdict, error })
}

fn line(row: &Row) -> String {
    let said = match (&row.verdict, &row.error) {
        (Some(Verdict::Same { root }), _) => {
            format!("ok, {} entries, {}, sha256 {}", root.entries, output::bytes(root.bytes), root.sha256)
        }
        (Some(Verdict::New { root }), _) => {
            format!("had no digest, it has now: {} entries, sha256 {}", root.entries, root.sha256)
        }
        (Some(Verdict::Differs { first }), _) => format!("DIFFERS, first: {}", diff::line(first)),
        (Some(Verdict::Gone), _) => "was reclaimed meanwhile".to_owned(),
        (None, error) => format!("CANNOT BE VERIFIED: {}", error.as_deref().unwrap_or_default()),
    };
    let generation = row.generation.map_or("-".to_owned(), |generation| generation.to_string());
    format!("{} {} (generation {generation}): {said}", row.template, row.version)
}

/// Makes missing digests of a template in a process that nobody waits for: no part of the commit.
pub(super) fn digest_later(template: &TemplateName, context: &Context) {
    if context.config.digests != Digests::Commit {
        return;
    }
    let made = raised(|| {
        detached::run(c"zchroot-digest", || {
            let alone = detached::leave_mounts(&Layout::new(Path::new("")).mounts());
            let made = alone
                .map_err(|error| Error::failed(format!("cannot leave the mounts of sessions: {error}")))
                .and_then(|()| digest_now(template, context, &mut |_| diff::not_interrupted()));
            if let Err(error) = made {
                tracing::warn!(%template, ?error, "digests are left to the next commit or gc");
            }
        })
    });
    if let Err(error) = made {
        tracing::warn!(%template, %error, "digests are left to the next commit or gc");
    }
}

/// Makes the missing digests of a template.
pub(super) fn digest_now(
    template: &TemplateName,
    context: &Context,
    step: &mut crate::sys::tree::Step<'_>,
) -> Result<Vec<VersionId>, Error> {
    let sources = context.sources()?;
    Ok(raised(|| sources.make_digests(template, step))?)
}

/// What gc does of it, where somebody waits.
pub(super) fn digest_all(context: &Context) -> Result<(), Error> {
    if context.config.digests == Digests::Never {
        return Ok(());
    }
    let store = context.store()?;
    for template in raised(|| store.templates())? {
        let mut bar = context.bar();
        let mut begun = false;
        let made = digest_now(&template, context, &mut |bytes| {
            if !std::mem::replace(&mut begun, true) {
                bar.start(&format!("digesting {template}"), None);
            }
            bar.advance(bytes);
            diff::not_interrupted()
        });
        bar.finish();
        for version in made? {
            context.note(&format!("template {template}: version {version} has a digest now"));
        }
    }
    Ok(())
}
