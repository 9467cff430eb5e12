//! `zchroot image`: archives that are kept unpacked; and what `run --image` and `create --from` share with it.

use serde::Serialize;

use super::args::{Image, ImageCommand, ImageImport, ImageList, ImageRemove};
use super::context::{Context, absolute};
use super::error::Error;
use super::exit::Status;
use super::{output, policy};
use crate::import::image::{ImageRecord, Listed, Ready, State};
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
    let ready = import(context, &source, opened, args.digest.as_ref())?;
    output::line(ready.digest.as_str())?;
    Ok(Status::Ok)
}

/// Opens an archive with the caller's own rights.
fn open(context: &Context, text: &str) -> Result<(Source, Opened), Error> {
    let source: Source = text.parse().map_err(|error| Error::new(Status::Usage, error))?;
    let source = source.map_path(|path| absolute(&context.process, path))?;
    let opened = source.open()?;
    Ok((source, opened))
}

/// The image of an opened archive.
pub(super) fn import(
    context: &Context,
    source: &Source,
    opened: Opened,
    wanted: Option<&Digest>,
) -> Result<Ready, Error> {
    let images = context.images()?;
    let mut bar = context.bar();
    let ready = raised(|| images.ensure(source, opened, wanted, &mut bar));
    bar.finish();
    let ready = ready?;
    for note in &ready.notes {
        context.note(&format!("{source}: {note}"));
    }
    let word = if ready.fresh { "unpacked" } else { "there already" };
    context.note(&format!("image {}: {word}", ready.digest.short()));
    Ok(ready)
}

/// The image that a word names: one that is there by its digest, else an archive.
pub(super) fn ready(context: &Context, text: &str) -> Result<Ready, Error> {
    if digest::prefix(text).is_some() {
        let images = context.images()?;
        return raised(|| images.find(text)).map_err(|error| {
            let error = Error::from(error);
            if error.status() == Status::NotFound { error.hint("zchroot image list") } else { error }
        });
    }
    let (source, opened) = open(context, text)?;
    import(context, &source, opened, None)
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
    imported: jiff::Timestamp,
    last_used: jiff::Timestamp,
}

impl From<ImageRecord> for Known {
    fn from(record: ImageRecord) -> Self {
        Self {
            kind: record.kind,
            origin: record.origin,
            manifest: record.manifest,
            architecture: record.architecture,
            bytes: record.bytes,
            files: record.files,
            imported: record.imported,
            last_used: record.last_used,
        }
    }
}

fn list(args: &ImageList, context: &Context) -> Result<Status, Error> {
    let images = context.images()?;
    let warm = context.config.images.warm;
    let row = |image: Listed| {
        let state = image.state(warm);
        let record = image.record.map(Known::from);
        Row { digest: image.tree.digest, state, clones: image.tree.clones, record }
    };
    let rows: Vec<Row> = raised(|| images.list())?.into_iter().map(row).collect();
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
    let mut worst = Ok(Status::Ok);
    for text in &args.images {
        match raised(|| images.remove(text)) {
            Ok(digest) => context.note(&format!("image {}: removed", digest.short())),
            Err(error) => {
                // Each of them is tried; the first failure has the last word.
                match worst {
                    Ok(_) => worst = Err(error.into()),
                    Err(_) => Error::from(error).print(),
                }
            }
        }
    }
    worst
}
