//! `zchroot diff`: what differs between two versions, or between a session and its base.

use std::io;

use serde::Serialize;

use super::args::Diff;
use super::context::Context;
use super::error::Error;
use super::exit::Status;
use super::{output, policy};
use crate::session::record::{self, Record, Records};
use crate::source::diff::{Aspect, Change, Compared, Counts, Difference, PackageChange, Wanted};
use crate::store::{Progress, SessionId, TemplateName, VersionId};
use crate::sys::privilege::raised;
use crate::sys::signals;

/// What is printed as JSON.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Document {
    template: TemplateName,
    session: Option<SessionId>,
    from: VersionId,
    to: Option<VersionId>,
    #[serde(flatten)]
    compared: Compared,
    #[serde(skip_serializing_if = "Option::is_none")]
    files: Option<Vec<Difference>>,
}

pub(super) fn run(args: &Diff, context: &Context) -> Result<Status, Error> {
    // Ctrl-C is looked for between reads: what was set up to look at the trees is taken away first.
    let _held = Context::hold_signals()?;
    let id: Option<SessionId> = args.name.parse().ok();
    let record = match (id, &args.from) {
        (Some(id), None) => match raised(|| Records::new(&context.layout).load(&id)) {
            Err(record::Error::Unknown(_)) => None,
            other => Some(other?),
        },
        _ => None,
    };
    match record {
        Some(record) => session(&record, args, context),
        None => versions(args, context),
    }
}

fn session(record: &Record, args: &Diff, context: &Context) -> Result<Status, Error> {
    policy::may_end(context, record)?;
    // Also while its command runs: it will never have one.
    let no_base = || crate::source::Error::no_base(record);
    record.base.as_ref().ok_or_else(no_base)?;
    let (sessions, sources) = (context.sessions()?, context.sources()?);
    // So that nobody ends it under our hands.
    let begun = raised(|| sessions.lock_same(record))?;
    let record = begun.record;
    let base = record.base.clone().ok_or_else(|| crate::source::Error::no_base(&record))?;
    let (compared, files) = show(args, context, |wanted| sources.diff_session(&record, wanted))?;
    let head = (record.template.clone(), Some(record.id.clone()), base, None);
    finish(args, context, head, compared, files)
}

fn versions(args: &Diff, context: &Context) -> Result<Status, Error> {
    let asked: TemplateName = args.name.parse()?;
    let name = policy::may_look(context, &asked, args.packages)?;
    let sources = context.sources()?;
    let (from, to) = raised(|| {
        let to = match &args.to {
            Some(spec) => sources.resolve(&name, spec)?,
            None => sources.current(&name)?,
        };
        let from = match &args.from {
            Some(spec) => sources.resolve(&name, spec)?,
            None => sources.parent(&name, &to)?,
        };
        Ok::<_, crate::source::Error>((from, to))
    })?;
    let (compared, files) = show(args, context, |wanted| sources.diff(&name, &from, &to, wanted))?;
    finish(args, context, (name, None, from, Some(to)), compared, files)
}

/// Compares, and prints each difference as it is found; for JSON they are collected.
fn show(
    args: &Diff,
    context: &Context,
    compare: impl FnOnce(Wanted<'_>) -> Result<Compared, crate::source::Error>,
) -> Result<(Compared, Vec<Difference>), Error> {
    let lists = !args.stat && !args.packages;
    let mut bar = context.bar();
    if args.stat || args.json.json {
        bar.start("comparing", None);
    }
    let mut files = Vec::new();
    let mut tell = |difference: Difference| {
        if lists && args.json.json {
            files.push(difference);
        } else if lists {
            output::line(&line(&difference)).map_err(|_| io::Error::other("standard output refuses"))?;
        }
        Ok(())
    };
    let mut step = |bytes| {
        bar.advance(bytes);
        not_interrupted()
    };
    let wanted = Wanted { files: !args.packages, full: args.full, tell: &mut tell, step: &mut step };
    let compared = raised(|| compare(wanted));
    bar.finish();
    Ok((compared?, files))
}

/// An error once a signal has asked the program to end.
pub(super) fn not_interrupted() -> io::Result<()> {
    match signals::asked_to_end() {
        None => Ok(()),
        Some(signal) => Err(io::Error::other(format!("interrupted by {}", signal.as_str()))),
    }
}

type Head = (TemplateName, Option<SessionId>, VersionId, Option<VersionId>);

fn finish(
    args: &Diff,
    context: &Context,
    (template, session, from, to): Head,
    compared: Compared,
    files: Vec<Difference>,
) -> Result<Status, Error> {
    if args.packages && compared.packages.is_none() {
        return Err(Error::failed(format!(
            "the packages of template {template} cannot be told: a tree has no /var/lib/dpkg/status"
        )));
    }
    if args.json.json {
        let files = (!args.stat && !args.packages).then_some(files);
        output::json("diff", &Document { template, session, from, to, compared, files })?;
        return Ok(Status::Ok);
    }
    for package in compared.packages.iter().flatten() {
        output::line(&package_line(package))?;
    }
    if args.stat {
        output::line(&summary(&compared))?;
    } else {
        let new = to.map_or_else(
            || format!("session {}", session.map_or_else(String::new, String::from)),
            String::from,
        );
        context.note(&format!("{template} {from} -> {new}: {}", summary(&compared)));
    }
    Ok(Status::Ok)
}

/// One difference for people: `M /etc/passwd  content, mode 0644 -> 0600`.
pub(super) fn line(difference: &Difference) -> String {
    let letter = match difference.change {
        Change::Added => '+',
        Change::Removed => '-',
        Change::Changed => 'M',
    };
    let slash = if difference.kind == "directory" && difference.path != "/" { "/" } else { "" };
    let aspects: Vec<String> = difference.aspects.iter().map(aspect).collect();
    let aspects = aspects.join(", ");
    format!("{letter} {}{slash}{}{aspects}", difference.path, if aspects.is_empty() { "" } else { "  " })
}

/// In what an entry differs, for people.
pub(super) fn aspect(aspect: &Aspect) -> String {
    match aspect {
        Aspect::Type { old, new } => format!("{old} -> {new}"),
        Aspect::Content => "content".to_owned(),
        Aspect::Target { old, new } => format!("target {old} -> {new}"),
        Aspect::Device { old, new } => format!("device {old} -> {new}"),
        Aspect::Mode { old, new } => format!("mode {old} -> {new}"),
        Aspect::Owner { old, new } => format!("owner {old} -> {new}"),
        Aspect::Xattrs { names } => format!("xattrs {}", names.join(" ")).trim_end().to_owned(),
        Aspect::Links => "hard links".to_owned(),
        Aspect::Time => "time".to_owned(),
    }
}

fn package_line(change: &PackageChange) -> String {
    let versions = match (&change.old, &change.new) {
        (Some(old), Some(new)) => format!("{old} -> {new}"),
        (Some(one), None) | (None, Some(one)) => one.clone(),
        (None, None) => String::new(),
    };
    format!("package {}:{} {versions} {}", change.package.name, change.package.architecture, change.change)
}

fn summary(compared: &Compared) -> String {
    let mut parts = Vec::new();
    if let Some(Counts { added, removed, changed }) = compared.counts {
        parts.push(format!("{added} added, {removed} removed, {changed} changed"));
    }
    if let Some(packages) = &compared.packages {
        let words = ["added", "removed", "upgraded", "downgraded"].map(|word| {
            let count = packages.iter().filter(|package| package.change == word).count();
            (count > 0).then(|| format!("{count} {word}"))
        });
        let words: Vec<String> = words.into_iter().flatten().collect();
        parts.push(format!(
            "packages: {}",
            if words.is_empty() { "none".to_owned() } else { words.join(", ") }
        ));
    }
    parts.join("; ")
}
