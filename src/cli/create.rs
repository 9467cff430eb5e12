//! `zchroot create`: a template's first version.

use std::path::{Path, PathBuf};

use super::admit::{Tell, admit};
use super::args::Create;
use super::context::{Context, absolute};
use super::error::Error;
use super::exit::Status;
use super::{image, output, policy, room, source, verify};
use crate::import;
use crate::import::image::Asked;
use crate::session::record::NewRecord;
use crate::session::{self, Begun, Kind};
use crate::source::{SourceRequest, Start, Version};
use crate::store::{Progress, SessionId, TemplateName};
use crate::sys::file;
use crate::sys::privilege::raised;
use crate::sys::signals;
use crate::template::{self, Profile, Template};

pub(super) fn run(args: &Create, context: &Context) -> Result<Status, Error> {
    context.require_root("create")?;
    let from: import::Source = args.from.parse().map_err(|error| Error::new(Status::Usage, error))?;
    let from = from.map_path(|path| absolute(&context.process, path))?;
    let definition =
        Definition { text: FIRST_DEFINITION, remark: "it lets root alone in, see zchroot-templates(5)" };
    let origin = Origin::Source(from);
    first(&First { name: &args.template, origin, message: args.message.clone(), definition }, context)
}

/// A template's definition, where it has none yet.
pub(crate) struct Definition<'a> {
    pub(crate) text: &'a str,
    /// What is said of it when it is written.
    pub(crate) remark: &'a str,
}

/// Where a first version's tree comes from.
pub(crate) enum Origin {
    Source(import::Source),
    /// A dataset that is not the store's, and is cloned.
    Dataset(String),
}

/// A first version.
pub(crate) struct First<'a> {
    pub(crate) name: &'a TemplateName,
    pub(crate) origin: Origin,
    /// What the history says of it.
    pub(crate) message: Option<String>,
    pub(crate) definition: Definition<'a>,
}

/// Makes a template's first version, and its definition if there is none.
///
/// # Errors
/// It has a version, the source cannot be read, or there is no room; then nothing of it is left.
pub(crate) fn first(new: &First<'_>, context: &Context) -> Result<Status, Error> {
    let First { name, origin, message, definition } = new;
    // A wrong path is found before anything is made.
    let mut opened = match origin {
        Origin::Source(from) => Some(from.open()?),
        Origin::Dataset(_) => None,
    };
    let _held = Context::hold_signals()?;
    let admitted = admit(context, &format!("create {name}"), None, Tell::Always)?;
    let (template, written) = define(name, definition, context)?;
    let doing = format!("create {}", template.name);
    let version = room::filling(context, &doing, size(origin), || match origin {
        Origin::Source(from) => {
            // An archive is read from its beginning again.
            let opened = opened.take().map_or_else(|| from.open(), Ok)?;
            first_version(&template, Filling { from: from.clone(), opened }, message.clone(), context)
        }
        Origin::Dataset(dataset) => from_dataset(&template, dataset, message.clone(), context),
    });
    // A definition of ours without a version is half a template.
    if let (Err(_), Some(path)) = (&version, &written) {
        let store = context.store()?;
        raised(|| match store.current(&template.name) {
            Ok(None) => file::remove(path),
            _ => Ok(()),
        })?;
    }
    let version = version?;
    admitted.begun(context);
    verify::digest_later(&template.name, context);
    context.note(&format!(
        "template {}: version {} (generation {}, {})",
        template.name,
        version.id,
        version.generation,
        output::bytes(version.size)
    ));
    Ok(Status::Ok)
}

/// What a tree takes at least: what its archive does.
fn size(origin: &Origin) -> u64 {
    match origin {
        Origin::Source(import::Source::Path(path) | import::Source::DockerArchive(path)) => {
            file::stat(path).ok().flatten().filter(|meta| meta.is_file()).map_or(0, |meta| meta.len())
        }
        _ => 0,
    }
}

fn first_version(
    template: &Template,
    filling: Filling,
    message: Option<String>,
    context: &Context,
) -> Result<Version, Error> {
    if filling.opened.is_archive() {
        return from_image(template, filling, message, context);
    }
    // While the tree is filled it is a bare tree: nothing of the host is mounted over it.
    let bare = Profile::default();
    let begun = begin(template, &bare, Start::Empty, context)?;
    fill(begun, filling, &bare, message, context)
}

/// The archive becomes an image, unless it is one, and the version is cloned from that.
fn from_image(
    template: &Template,
    filling: Filling,
    message: Option<String>,
    context: &Context,
) -> Result<Version, Error> {
    let sources = context.sources()?;
    raised(|| sources.refuse_second(&template.name))?;
    let ready = image::import(context, &filling.from, filling.opened, &Asked::default())?;
    let bare = Profile::default();
    let begun = begin(template, &bare, Start::Image(&ready.digest), context)?;
    drop(ready);
    let id = begun.record.id.clone();
    raised(|| sources.commit_first(begun, &bare, message)).map_err(|error| not_made(&id, error, context))
}

/// The version is a clone of the dataset as it is now.
fn from_dataset(
    template: &Template,
    dataset: &str,
    message: Option<String>,
    context: &Context,
) -> Result<Version, Error> {
    let bare = Profile::default();
    let begun = begin(template, &bare, Start::Dataset(dataset), context)?;
    commit_filled(begun, &bare, message, context, |root| refuse_no_root(root, &dataset))
}

fn begin(template: &Template, bare: &Profile, start: Start<'_>, context: &Context) -> Result<Begun, Error> {
    let id = SessionId::generate(&template.name)
        .map_err(|error| session::Error::sys("name", "a new session", error))?;
    let new = NewRecord {
        id,
        kind: Kind::Source,
        template: template.name.clone(),
        image: None,
        owner: policy::owner(context),
        root_allowed: true,
        commit_on_end: None,
        setup: source::setup(template),
    };
    let sources = context.sources()?;
    let mut bar = context.bar();
    Ok(raised(|| sources.begin_first(SourceRequest { new, profile: bare }, start, &mut bar))?)
}

/// A source, and what was opened of it.
struct Filling {
    from: import::Source,
    opened: import::Opened,
}

/// Fills the draft and commits it.
fn fill(
    begun: Begun,
    filling: Filling,
    bare: &Profile,
    message: Option<String>,
    context: &Context,
) -> Result<Version, Error> {
    let Filling { from, opened } = filling;
    commit_filled(begun, bare, message, context, |root| {
        let mut bar = context.bar();
        let filled = import::fill(&from, opened, root, &mut bar);
        bar.finish();
        filled?.notes.iter().for_each(|note| context.note(note));
        refuse_no_root(root, &from)
    })
}

fn refuse_no_root(root: &Path, from: &dyn std::fmt::Display) -> Result<(), Error> {
    if import::looks_like_root(root)? {
        return Ok(());
    }
    Err(Error::failed(format!("{from} has neither usr nor bin in it: it is no root file system")))
}

/// Commits the draft that `fill` has seen to; on failure nothing of it is left.
fn commit_filled(
    begun: Begun,
    bare: &Profile,
    message: Option<String>,
    context: &Context,
    fill: impl FnOnce(&Path) -> Result<(), Error>,
) -> Result<Version, Error> {
    let sources = context.sources()?;
    let root = context.layout.mount(&begun.record.id);
    let filled = raised(|| {
        fill(&root)?;
        if signals::asked_to_end().is_some() {
            return Err(Error::failed(format!("template {}: interrupted", begun.record.template)));
        }
        Ok(())
    });
    if let Err(error) = filled {
        if error.is_stuck() {
            // Clearing up would wait for the store as the worker does.
            return Err(error.hint("zchroot recover"));
        }
        let cleared = raised(|| sources.abort(begun));
        if let Err(trouble) = cleared {
            Error::from(trouble).hint("zchroot recover").print();
        }
        return Err(error);
    }
    let id = begun.record.id.clone();
    raised(|| sources.commit_first(begun, bare, message)).map_err(|error| not_made(&id, error, context))
}

/// What was not committed is thrown away.
fn not_made(id: &SessionId, error: crate::source::Error, context: &Context) -> Error {
    if !matches!(error, crate::source::Error::Unfinished { .. }) {
        source::throw_away(id, context);
    }
    error.into()
}

/// The template's definition; if there is none it is written, and named.
///
/// # Errors
/// It cannot be written, or says something wrong.
pub(crate) fn define(
    name: &TemplateName,
    definition: &Definition<'_>,
    context: &Context,
) -> Result<(Template, Option<PathBuf>), Error> {
    match template::template(&context.layout, name.as_str()) {
        Err(template::Error::NoTemplate { .. }) => {}
        other => return Ok((other?, None)),
    }
    let dir = context.layout.config_dir().join("templates.d");
    let path = dir.join(format!("{name}.toml"));
    raised(|| {
        file::make_dirs(&dir, 0o755)?;
        file::replace(&path, definition.text)
    })?;
    match template::template(&context.layout, name.as_str()) {
        Ok(template) => {
            context.note(&format!("wrote {}: {}", path.display(), definition.remark));
            Ok((template, Some(path)))
        }
        Err(error) => {
            raised(|| file::remove(&path))?;
            Err(error.into())
        }
    }
}

const FIRST_DEFINITION: &str = "\
# A template of zchroot: see zchroot-templates(5) for all keys.
version = 1
profile = \"default\"

# Who may use it. users and groups: as themselves; root-users and root-groups: also as root.
users = []
groups = []
root-users = []
root-groups = []

# Who may change it.
[source]
root-users = []
root-groups = []
";
