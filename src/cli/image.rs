//! `zchroot image`: archives that are kept unpacked; and what `run --image` and `create --from` share with it.

use serde::Serialize;

use super::args::{Image, ImageCommand, ImageImport, ImageList, ImageRemove};
use super::context::{Context, absolute};
use super::error::Error;
use super::exit::Status;
use super::{output, policy};
use crate::import::image::{Asked, ImageRecord, Listed, Ready, State};
use crate::import::{Opened, Source};
use crate::store::{Digest, Progress, digest};
use crate::sys::privilege::raised;
use crate::template::Template;

pub(super) fn run(args: &Image, context: &Context) -> Result<Status, Error> {
    policy::may_use_images(context, context.process.caller().account())?;
    match &args.what {
        ImageCommand::Import(args) => import_command(args, context),
        ImageCommand::List(args) => list(args, context),
        ImageCommand::Remove(args) => remove(args, context),
    }
}

fn import_command(args: &ImageImport, context: &Context) -> Result<Status, Error> {
    let (source, opened) = open(context, &args.source)?;
    let _held = Context::hold_signals()?;
    let importer = Some(caller(context));
    let asked = Asked { digest: args.digest.as_ref(), importer, ..Asked::default() };
    let ready = import(context, &source, opened, &asked)?;
    if args.json.json {
        let Ready { digest, fresh, saved, notes, .. } = &ready;
        output::json("image", &Imported { digest, fresh: *fresh, saved: *saved, notes })?;
    } else {
        output::line(ready.digest.as_str())?;
    }
    Ok(Status::Ok)
}

/// What became of an import.
#[derive(Debug, Serialize)]
struct Imported<'a> {
    digest: &'a Digest,
    fresh: bool,
    /// Bytes that share the blocks of other images.
    saved: u64,
    notes: &'a [String],
}

fn caller(context: &Context) -> u32 {
    context.process.caller().uid().as_raw()
}

/// Opens an archive with the caller's own rights.
fn open(context: &Context, text: &str) -> Result<(Source, Opened), Error> {
    let source: Source = text.parse().map_err(|error| Error::new(Status::Usage, error))?;
    let source = source.map_path(|path| absolute(&context.process, path))?;
    let opened = source.open()?;
    Ok((source, opened))
}

/// The image of an opened archive; files are cloned from those that the caller may use.
pub(super) fn import(
    context: &Context,
    source: &Source,
    opened: Opened,
    asked: &Asked<'_>,
) -> Result<Ready, Error> {
    let images = context.images()?;
    let mut bar = context.bar();
    let sharing = context.config.images.dedup.then(|| caller(context));
    let ready = raised(|| images.ensure(source, opened, &Asked { sharing, ..*asked }, &mut bar));
    bar.finish();
    let ready = ready?;
    for note in &ready.notes {
        context.note(&format!("{source}: {note}"));
    }
    let word = match (ready.fresh, ready.saved) {
        (false, _) => "there already".to_owned(),
        (true, 0) => "unpacked".to_owned(),
        (true, saved) => {
            let (saved, bytes) = (output::bytes(saved), output::bytes(ready.bytes));
            format!("unpacked, {saved} of {bytes} shared with other images")
        }
    };
    context.note(&format!("image {}: {word}", ready.digest.short()));
    Ok(ready)
}

/// The image that a word names: one that is there and that the caller may use, by its digest, else an archive.
pub(super) fn ready(context: &Context, text: &str) -> Result<Ready, Error> {
    if digest::prefix(text).is_some() {
        let images = context.images()?;
        return raised(|| images.find(text, caller(context))).map_err(|error| {
            let error = Error::from(error);
            if error.status() == Status::NotFound { error.hint("zchroot image list") } else { error }
        });
    }
    let (source, opened) = open(context, text)?;
    // What root runs once is not thereby for all.
    let importer = Some(caller(context)).filter(|uid| *uid != 0);
    import(context, &source, opened, &Asked { importer, ..Asked::default() })
}

/// How sessions of an image are: as those of a template with an empty definition, under a name that says which.
/// Who may not be root in it gains nothing by what he put into the archive: setuid bits and devices are inert.
pub(super) fn template(context: &Context, digest: &Digest) -> Result<Template, Error> {
    let name = format!("image-{}", digest.short()).parse()?;
    let text = "version = 1\n";
    let mut template = Template::from_text(name, text, std::path::Path::new("image"))
        .map_err(|error| Error::failed(error.to_string()))?;
    template.access = context.config.images.access.clone();
    template.setuid = policy::may_be_root(context, &template.access);
    Ok(template)
}

/// A line of the list.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Row {
    digest: Digest,
    state: State,
    clones: u64,
    #[serde(flatten)]
    record: Option<Known>,
}

/// What the record adds.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Known {
    kind: crate::import::image::Origin,
    origin: String,
    manifest: Option<Digest>,
    architecture: Option<String>,
    bytes: u64,
    files: u64,
    /// For root and whoever imported it first: of others' images it tells what is in them.
    #[serde(skip_serializing_if = "Option::is_none")]
    saved: Option<u64>,
    imported: jiff::Timestamp,
    last_used: jiff::Timestamp,
    /// For root only.
    #[serde(skip_serializing_if = "Option::is_none")]
    importers: Option<Vec<u32>>,
}

impl Known {
    /// As this user may see it.
    fn of(record: ImageRecord, uid: u32) -> Self {
        let origin = record.origin_for(uid).unwrap_or_default().to_owned();
        let is_told = uid == 0 || record.importers.first().is_some_and(|first| first.uid == uid);
        let importers = record.importers.iter().map(|importer| importer.uid);
        Self {
            importers: (uid == 0).then(|| importers.collect()),
            kind: record.kind,
            origin,
            manifest: record.manifest,
            architecture: record.architecture,
            bytes: record.bytes,
            files: record.files,
            saved: is_told.then_some(record.saved),
            imported: record.imported,
            last_used: record.last_used,
        }
    }
}

fn list(args: &ImageList, context: &Context) -> Result<Status, Error> {
    let images = context.images()?;
    let (warm, uid) = (context.config.images.warm, caller(context));
    let row = |image: Listed| {
        let state = image.state(warm);
        let record = image.record.map(|record| Known::of(record, uid));
        Row { digest: image.tree.digest, state, clones: image.tree.clones, record }
    };
    let rows: Vec<Row> = raised(|| images.list(uid))?.into_iter().map(row).collect();
    if args.json.json {
        output::json("images", &rows)?;
        return Ok(Status::Ok);
    }
    let head = ["IMAGE", "STATE", "CLONES", "SIZE", "LAST USED", "ARCH", "ORIGIN"];
    output::table(&head, rows.iter().map(cells).collect())?;
    Ok(Status::Ok)
}

fn cells(row: &Row) -> Vec<String> {
    let known = |show: &dyn Fn(&Known) -> String| row.record.as_ref().map_or("-".to_owned(), show);
    vec![
        row.digest.short().to_owned(),
        row.state.as_str().to_owned(),
        row.clones.to_string(),
        known(&|known| output::bytes(known.bytes)),
        known(&|known| output::time(known.last_used)),
        known(&|known| known.architecture.as_deref().map_or("-".to_owned(), output::plain)),
        known(&|known| output::plain(&known.origin)),
    ]
}

fn remove(args: &ImageRemove, context: &Context) -> Result<Status, Error> {
    context.require_root("image remove")?;
    let images = context.images()?;
    let (mut worst, mut removed) = (Ok(Status::Ok), Vec::new());
    for text in &args.images {
        match raised(|| images.remove(text)) {
            Ok(digest) => {
                context.note(&format!("image {}: removed", digest.short()));
                removed.push(digest);
            }
            Err(error) => {
                // Each of them is tried; the first failure has the last word.
                match worst {
                    Ok(_) => worst = Err(error.into()),
                    Err(_) => Error::from(error).print(),
                }
            }
        }
    }
    if args.json.json {
        output::json("removed", &removed)?;
    }
    worst
}
