//! `zchroot adopt`: a chroot of schroot.conf becomes a template, and back.
//!
//! The definition is written before the tree is copied, as by `create`; half an adoption, after a crash, is a
//! definition of ours without a version, which the next one goes on with.

mod plan;

use std::path::{Path, PathBuf};

use super::config::{self, Loaded};
use super::say::Line;
use crate::cli::args::Adopt;
use crate::cli::context::Context;
use crate::cli::create::{self, Definition, Origin};
use crate::cli::{Error, Status, output};
use crate::import;
use crate::session::record::{Kind, Records};
use crate::store::TemplateName;
use crate::sys::file;
use crate::sys::privilege::raised;
use crate::template::{self, Template};
use plan::{From, MARK, Plan, World};

/// The longest definition that is looked at.
const LIMIT: u64 = 1 << 20;

/// Adopts a chroot, or gives it back.
///
/// # Errors
/// There is no such chroot, it cannot be adopted, or its tree cannot be read or kept.
pub(crate) fn adopt(args: &Adopt, context: &Context) -> Result<Status, Error> {
    context.require_root("adopt")?;
    if args.undo {
        return undo(args, context);
    }
    let mut plan = planned(&args.chroot, context)?;
    let path = path_of(&plan.template, context);
    let there = raised(|| file::read_text_if_there(&path, LIMIT))?;
    if there.as_ref().is_some_and(|text| !text.starts_with(MARK)) {
        let text = format!("template {} is defined already, by {}", plan.template, path.display());
        return Err(Error::failed(text).hint(format!("zchroot info {}", plan.template)));
    }
    if let Some(there) = there.filter(|there| *there != plan.definition) {
        let stays =
            format!("{} is there already and stays as it is: --undo first makes it anew", path.display());
        plan.notes.push(stays);
        plan.definition = there;
    }
    if args.dry_run {
        return show(&plan, &path, args, context);
    }
    plan.notes.iter().for_each(|note| context.note(note));
    let definition = Definition {
        text: &plan.definition,
        remark: "it is as schroot.conf has it, whose chroot of this name it stands for from now on",
    };
    let store = context.store()?;
    if raised(|| store.current(&plan.template))?.is_some() {
        create::define(&plan.template, &definition, context)?;
        context.note(&format!("template {}: has its versions still; nothing was copied", plan.template));
    } else {
        let message = Some(format!("adopted from {}", plan.from));
        let origin = match &plan.from {
            From::Path(path) => Origin::Source(import::Source::Path(path.clone())),
            From::Dataset(dataset) => Origin::Dataset(dataset.clone()),
        };
        create::first(&create::First { name: &plan.template, origin, message, definition }, context)?;
    }
    finish(&plan, args)
}

fn finish(plan: &Plan, args: &Adopt) -> Result<Status, Error> {
    if args.json.json {
        output::json("adopted", plan)?;
    }
    Ok(Status::Ok)
}

/// The chroot as schroot.conf has it, and what becomes of it.
fn planned(name: &str, context: &Context) -> Result<Plan, Error> {
    let Loaded { mut definitions, broken, .. } = config::load(&context.layout);
    let Some(chroot) = definitions.remove(name) else {
        let by_alias = definitions.values().find(|chroot| chroot.aliases.iter().any(|alias| alias == name));
        let error = Error::not_found(format!("schroot.conf and chroot.d define no chroot {name}"));
        broken.iter().for_each(Line::print);
        return Err(match by_alias {
            Some(chroot) => error.hint(format!("zchroot adopt {}", chroot.name)),
            None => error.hint("schroot --list"),
        });
    };
    let templates = template::templates(&context.layout)?.templates;
    let of_others = |template: &&Template| template.name.as_str() != name;
    let is_taken = |word: &TemplateName| {
        templates
            .iter()
            .filter(of_others)
            .any(|template| template.name == *word || template.aliases.contains(word))
    };
    let has_profile = |name: &template::ProfileName| template::profile(&context.layout, name).is_ok();
    plan::plan(&chroot, &World { has_profile: &has_profile, is_taken: &is_taken })
        .map_err(|why| Error::failed(format!("chroot {name}: {why}")))
}

fn path_of(template: &TemplateName, context: &Context) -> PathBuf {
    context.layout.config_dir().join("templates.d").join(format!("{template}.toml"))
}

fn show(plan: &Plan, path: &Path, args: &Adopt, context: &Context) -> Result<Status, Error> {
    if args.json.json {
        output::json("plan", plan)?;
        return Ok(Status::Ok);
    }
    let store = context.store()?;
    let Plan { template, kind, from, definition, notes } = plan;
    output::line(&match raised(|| store.current(template))? {
        Some(current) => {
            format!("template {template} has its versions still, current {current}: nothing is copied")
        }
        None => format!("template {template}: its first version from {from} ({kind})"),
    })?;
    output::line(&format!("{}:", path.display()))?;
    definition.lines().try_for_each(|line| output::line(format!("    {line}").trim_end()))?;
    notes.iter().try_for_each(|note| output::line(&format!("note: {note}")))?;
    Ok(Status::Ok)
}

/// Takes the definition away, so that schroot.conf has the word.
fn undo(args: &Adopt, context: &Context) -> Result<Status, Error> {
    let template: TemplateName = args.chroot.parse().map_err(|error| Error::new(Status::Usage, error))?;
    let path = path_of(&template, context);
    let text = raised(|| file::read_text_if_there(&path, LIMIT))?;
    match text {
        None => {
            return Err(Error::not_found(format!(
                "there is no template {template}: {} is not there",
                path.display()
            )));
        }
        Some(text) if !text.starts_with(MARK) => {
            return Err(Error::failed(format!(
                "template {template} was not adopted: {} is not of an adoption",
                path.display()
            )));
        }
        Some(_) => {}
    }
    refuse_sessions(&template, context)?;
    let aside = raised(|| put_aside(&path))?;
    context.note(&format!("{} is now {}", path.display(), aside.display()));
    context.note(&format!(
        "chroot {template} is schroot.conf's again; its versions stay in the store, and zchroot adopt takes them up"
    ));
    if args.json.json {
        output::json("undone", &serde_json::json!({ "template": template, "definition": aside }))?;
    }
    Ok(Status::Ok)
}

fn refuse_sessions(template: &TemplateName, context: &Context) -> Result<(), Error> {
    let all = raised(|| Records::new(&context.layout).all())?;
    let standing: Vec<_> = all.records.iter().filter(|record| record.template == *template).collect();
    let Some(first) = standing.first() else { return Ok(()) };
    let names: Vec<&str> = standing.iter().map(|record| record.id.as_str()).collect();
    let end = if first.kind == Kind::Source { "source abort" } else { "end" };
    Err(Error::new(Status::Busy, format!("template {template} has sessions: {}", names.join(", ")))
        .hint(format!("zchroot {end} {}", first.id)))
}

/// Takes a definition out of the way, for good. What was written into it is not lost, nor what was undone before.
fn put_aside(path: &Path) -> file::Result<PathBuf> {
    let mut aside = path.with_extension("toml.undone");
    let mut number = 1;
    while file::stat(&aside)?.is_some() {
        number += 1;
        aside = path.with_extension(format!("toml.undone-{number}"));
    }
    file::rename(path, &aside)?;
    file::sync_parent(path)?;
    Ok(aside)
}
