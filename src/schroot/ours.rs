//! zchroot's own templates and sessions as chroots.
//!
//! What a client reads from the type is how sessions behave, so a template says what its sessions are: on ZFS
//! `zfs-snapshot`, in directories `directory` with a union of type `overlay`. Both mean "a private copy that goes
//! with the session". Who may not know a template sees its name, as on `zchroot list`.

use super::chroot::{Chroot, Origin, Role, SessionFacts, described, session};
use super::configured;
use super::definition::{Definition, Kind, Lists, Mountable, Source, Union};
use super::say::Line;
use crate::cli::context::Context;
use crate::cli::policy;
use crate::session::{self as sessions, Record, Records, record};
use crate::store::{SessionId, TemplateName};
use crate::sys::privilege::raised;
use crate::template::{self, Access, AccountName, StoreConfig, Template};

/// All templates, and what is broken of the rest.
pub(super) fn templates(context: &Context) -> (Vec<Chroot>, Vec<Line>) {
    match template::templates(&context.layout) {
        Ok(loaded) => {
            let chroots = loaded.templates.iter().map(|template| chroot(context, template)).collect();
            let broken = loaded.broken.iter().map(|finding| Line::Error(finding.to_string())).collect();
            (chroots, broken)
        }
        Err(error) => (Vec::new(), vec![Line::Error(crate::sys::chain(&error))]),
    }
}

fn chroot(context: &Context, template: &Template) -> Chroot {
    let public = template::may_caller_read(&context.layout, &template.name).unwrap_or(false);
    let bare = Definition::new(template.name.as_str(), kind(context, &template.name));
    let source = |lists| Some(Source { offered: true, lists });
    if !public && !policy::may_know(context, template) {
        return Chroot::of(Definition { source: source(Lists::default()), ..bare }, Origin::Ours);
    }
    let shell = template.shell.as_ref().map(|shell| shell.display().to_string()).unwrap_or_default();
    let definition = Definition {
        description: template.description.clone(),
        aliases: template.aliases.iter().map(ToString::to_string).collect(),
        lists: lists(&template.access),
        profile: template.profile.to_string(),
        preserve_environment: template.preserve_environment,
        shell,
        source: source(lists(&template.source.access)),
        ..bare
    };
    Chroot::of(definition, Origin::Ours)
}

fn lists(access: &Access) -> Lists {
    let texts = |names: &[AccountName]| names.iter().map(ToString::to_string).collect();
    Lists {
        users: texts(&access.users),
        groups: texts(&access.groups),
        root_users: texts(&access.root_users),
        root_groups: texts(&access.root_groups),
    }
}

fn kind(context: &Context, template: &TemplateName) -> Kind {
    match &context.config.store {
        StoreConfig::Zfs { pool, .. } => Kind::ZfsSnapshot {
            dataset: format!("{}/zchroot/templates/{template}", pool.as_str()),
            options: String::new(),
            mount: Mountable::default(),
        },
        StoreConfig::Dir { .. } => {
            let store = context.layout.dir_store();
            let below = |name: &str| store.join(name).display().to_string();
            let templates = below("templates");
            Kind::Directory {
                directory: format!("{templates}/{template}"),
                union: Some(Union {
                    kind: "overlay".to_owned(),
                    mount_options: String::new(),
                    overlay: below("sessions"),
                    underlay: templates,
                }),
            }
        }
    }
}

/// All sessions as no more than their names: no record is read.
pub(super) fn session_names(context: &Context) -> (Vec<Chroot>, Vec<Line>) {
    match raised(|| Records::new(&context.layout).standing()) {
        Ok(ids) => (ids.iter().map(only_named).collect(), Vec::new()),
        Err(error) => (Vec::new(), vec![Line::Warning(crate::sys::chain(&error))]),
    }
}

fn only_named(id: &SessionId) -> Chroot {
    let kind = Kind::Directory { directory: String::new(), union: None };
    let facts = SessionFacts {
        mount_location: String::new(),
        original: String::new(),
        selected: String::new(),
        purged: true,
        device: String::new(),
        snapshot: String::new(),
        clone: String::new(),
    };
    let definition = Definition::new(id.as_str(), kind);
    Chroot { definition, role: Role::Session(facts), origin: Origin::Ours }
}

/// All sessions, as sessions of `templates`, which are all chroots.
pub(super) fn all_sessions(context: &Context, templates: &[Chroot]) -> (Vec<Chroot>, Vec<Line>) {
    match raised(|| Records::new(&context.layout).all()) {
        Ok(all) => {
            // What has ended and is only kept is no session to schroot.
            let standing = all.records.iter().filter(|record| !record.is_kept());
            let chroots = standing.map(|record| of_record(context, record, templates)).collect();
            let damaged = all
                .damaged
                .iter()
                .map(|(id, error)| Line::Warning(format!("{id}: {}", crate::sys::chain(error))));
            (chroots, damaged.collect())
        }
        Err(error) => (Vec::new(), vec![Line::Warning(crate::sys::chain(&error))]),
    }
}

/// The sessions that words name, as sessions of `templates`, which are all chroots; what is no session is left to be missed.
pub(super) fn named_sessions<'a>(
    context: &Context,
    words: impl Iterator<Item = &'a str>,
    templates: &[Chroot],
) -> (Vec<Chroot>, Vec<Line>) {
    let (mut chroots, mut damaged) = (Vec::new(), Vec::new());
    for id in words.filter_map(|word| word.parse::<SessionId>().ok()) {
        match raised(|| Records::new(&context.layout).load(&id)) {
            Ok(record) if record.is_kept() => {}
            Ok(record) => chroots.push(of_record(context, &record, templates)),
            Err(record::Error::Unknown(_)) => {}
            Err(error) => damaged.push(Line::Warning(format!("{id}: {}", crate::sys::chain(&error)))),
        }
    }
    (chroots, damaged)
}

/// A session as a chroot. Whose it is is told to whoever it is, and to root.
fn of_record(context: &Context, record: &Record, templates: &[Chroot]) -> Chroot {
    if let Some(chroot) = configured::of_record(context, record, templates) {
        return chroot;
    }
    let (is_source, is_own) = (record.kind == sessions::Kind::Source, policy::is_ones_own(context, record));
    let known = templates
        .iter()
        .find(|chroot| chroot.name() == record.template.as_str() && chroot.origin == Origin::Ours);
    // Of a session on an image, or whose template is gone, the name is all there is.
    let mut from = known.cloned().unwrap_or_else(|| {
        let kind = kind(context, &record.template);
        Chroot::of(Definition::new(record.template.as_str(), kind), Origin::Ours)
    });
    // Of others' sessions no more than zchroot itself tells.
    let mut told = record.clone();
    if !is_own {
        told.draft = None;
    }
    let record = &told;
    if is_own {
        from.definition.profile = record.setup.profile.to_string();
    }
    from.definition.kind = tree(context, record, &from.definition.kind);
    if is_source {
        from.definition.description = described(&from.definition.description, "(source chroot)");
        from.definition.source = None;
    } else if let Some(source) = &mut from.definition.source {
        // Nobody changes a template through a session of it.
        source.lists = Lists::default();
    }
    let at = context.layout.mount(&record.id);
    session(
        &from,
        record.id.as_str(),
        owner(context, record),
        &at,
        facts(record, &from.definition.kind, context),
    )
}

fn owner(context: &Context, record: &Record) -> Lists {
    let mut lists = Lists::default();
    if policy::is_ones_own(context, record) {
        let list = if record.root_allowed { &mut lists.root_users } else { &mut lists.users };
        list.push(record.owner.name.clone());
    }
    lists
}

/// Where a session's own tree lies.
fn tree(context: &Context, record: &Record, template: &Kind) -> Kind {
    let mut kind = template.clone();
    if let Kind::Directory { directory, union } = &mut kind {
        let store = context.layout.dir_store();
        if let Some(draft) = &record.draft {
            *directory = store.join(format!("drafts/{}/{draft}", record.template)).display().to_string();
            *union = None;
        } else if let Some(union) = union {
            union.overlay = store.join(format!("sessions/{}", record.id)).display().to_string();
        }
    }
    kind
}

fn facts(record: &Record, kind: &Kind, context: &Context) -> SessionFacts {
    let template = record.template.to_string();
    let (snapshot, clone) = match (kind, &context.config.store) {
        (Kind::ZfsSnapshot { dataset, .. }, StoreConfig::Zfs { pool, .. }) => {
            let base = record.base.as_ref().map(|base| format!("{dataset}/{base}@{base}"));
            let clone = match &record.draft {
                Some(draft) => format!("{dataset}/{draft}"),
                None => format!("{}/zchroot/sessions/{}", pool.as_str(), record.id),
            };
            (base.unwrap_or_default(), clone)
        }
        _ => (String::new(), String::new()),
    };
    SessionFacts {
        mount_location: String::new(),
        original: template.clone(),
        selected: template,
        purged: record.kind != sessions::Kind::Source,
        device: clone.clone(),
        snapshot,
        clone,
    }
}
