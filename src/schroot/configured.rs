//! Sessions of chroots that schroot.conf defines and no template stands for: their trees are used where they lie.
//!
//! What becomes of a definition is fixed in the session's record when it begins; from then on the session is one like
//! any other (`session::Foreign`). A chroot of type `plain` is its own session: each command gets a bare one, of which
//! nothing is left when it ends.

mod changed;
pub(super) mod left;
mod profile;
mod told;
mod tree;

use std::collections::BTreeMap;
use std::path::Path;

use super::act::{Act, hold_signals, not_authorised, not_begun};
use super::catalogue::Selected;
use super::chroot::{Chroot, Origin, Role, SessionFacts, session};
use super::definition::{Definition, ENVIRONMENT_FILTER, Kind, Lists, Mountable, Union};
use super::order::Action;
use super::say::Trouble;
use crate::cli::context::Context;
use crate::cli::error::Error;
use crate::cli::exit::Status;
use crate::cli::{output, policy};
use crate::import;
use crate::session::record::{NewRecord, Setup};
use crate::session::{self, Begun, Foreign, Record};
use crate::store::{SessionId, Silent, TemplateName};
use crate::sys::personality::Personality;
use crate::sys::privilege::raised;
use crate::template::{Access, AccountName, Overlay, ProfileName};

/// Carries an action out on a chroot of schroot.conf.
///
/// # Errors
/// Something was refused or failed.
pub(super) fn on(act: &Act<'_>, one: &Selected<'_>) -> Result<Status, Trouble> {
    let chroot = changed::changed(act, one.chroot)?;
    let one = &Selected { chroot: &chroot, ..*one };
    match act.order.action {
        Action::Automatic => automatic(act, one),
        // A plain chroot is its own session, which is there without being begun and stays when it is ended.
        Action::Begin if one.chroot.is_plain() => {
            authorise(act, one)?;
            print(one.chroot.name())
        }
        Action::Begin => begin_named(act, one),
        Action::Run => automatic(act, one),
        _ => authorise(act, one).map(|_| Status::Ok),
    }
}

fn print(line: &str) -> Result<Status, Trouble> {
    output::line(line).map_err(|error| Trouble::error(error.text()))?;
    Ok(Status::Ok)
}

/// A session around one command.
fn automatic(act: &Act<'_>, one: &Selected<'_>) -> Result<Status, Trouble> {
    let _held = hold_signals()?;
    let begun = begin(act, one, session::Kind::Ephemeral)?;
    act.run_and_end(begun, one.word)
}

fn begin_named(act: &Act<'_>, one: &Selected<'_>) -> Result<Status, Trouble> {
    let _held = hold_signals()?;
    let begun = begin(act, one, session::Kind::Named)?;
    print(begun.record.id.as_str())
}

/// Refuses whom the lists do not let in as who he wants to be; the chroot's name.
fn authorise(act: &Act<'_>, one: &Selected<'_>) -> Result<(TemplateName, Access), Trouble> {
    let definition = &one.chroot.definition;
    let name: TemplateName =
        definition.name.parse().map_err(|error| Trouble::error(format!("{}: {error}", one.word)))?;
    let access = access(&definition.lists);
    policy::may_use(act.context, &name, &access, &act.target).map_err(|_| not_authorised())?;
    Ok((name, access))
}

/// Who may, by names that somebody can have.
fn access(lists: &Lists) -> Access {
    let names = |list: &[String]| list.iter().filter_map(|name| name.parse::<AccountName>().ok()).collect();
    Access {
        users: names(&lists.users),
        groups: names(&lists.groups),
        root_users: names(&lists.root_users),
        root_groups: names(&lists.root_groups),
    }
}

fn begin(act: &Act<'_>, one: &Selected<'_>, kind: session::Kind) -> Result<Begun, Trouble> {
    let (name, access) = authorise(act, one)?;
    let definition = &one.chroot.definition;
    let foreign = foreign(act.context, one).map_err(|why| Trouble::error(format!("{}: {why}", one.word)))?;
    let asked = act.session_name()?;
    let shown = asked.as_ref().map_or_else(|| name.to_string(), ToString::to_string);
    let failed = |error: session::Error| not_begun(&shown, &Error::from(error));
    let id = match asked {
        Some(id) => id,
        None => SessionId::generate(&name)
            .map_err(|error| failed(session::Error::sys("name", "a new session", error)))?,
    };
    let told = match one.chroot.is_plain() {
        true => BTreeMap::new(),
        false => told::told(act, one, &foreign.tree, &id),
    };
    let keys = definition.user_data.iter().filter(|(key, _)| act.order.sets(key));
    let keys = keys.map(|(key, value)| (key.clone(), value.clone())).collect();
    let foreign = Foreign { told, keys, ..foreign };
    let new = NewRecord {
        id,
        kind,
        template: name,
        image: None,
        owner: policy::owner(act.context),
        root_allowed: may_be_root(act, &access),
        commit_on_end: None,
        setup: setup(definition, act.order.isolate_network),
    };
    let sessions = act.sessions()?;
    raised(|| sessions.begin_foreign(new, foreign, unpack)).map_err(failed)
}

/// Unpacks an archive of the administrator's, in a worker that is shut into the empty directory.
fn unpack(archive: &Path, empty: &Path) -> Result<(), session::Error> {
    let source = import::Source::Path(archive.to_owned());
    let filled = source.open().and_then(|opened| import::fill(&source, opened, empty, &mut Silent));
    match filled {
        Ok(filled) => {
            filled.notes.iter().for_each(|note| tracing::debug!(archive = %archive.display(), note));
            Ok(())
        }
        Err(error) => Err(session::Error::sys("fill", empty.display(), std::io::Error::other(error))),
    }
}

/// Whether the lists let the caller be root. Root is so whatever they say, and is shown as they say it.
fn may_be_root(act: &Act<'_>, access: &Access) -> bool {
    let is_root = |name: &AccountName| name.as_str() == "root";
    if act.context.process.caller().is_root() {
        return access.root_users.iter().chain(&access.root_groups).any(is_root);
    }
    policy::may_be_root(act.context, access)
}

fn setup(definition: &Definition, isolate_net: bool) -> Setup {
    Setup {
        profile: definition.profile.parse::<ProfileName>().unwrap_or_default(),
        shell: Some(definition.shell.clone()).filter(|shell| !shell.is_empty()).map(Into::into),
        preserve_environment: definition.preserve_environment,
        setuid: true,
        overlay: Overlay::Disk,
        quota: None,
        isolate_net,
        isolate_pid: false,
        isolate_ipc: false,
        isolate_uts: false,
    }
}

/// What the record of a session says of its tree.
fn foreign(context: &Context, one: &Selected<'_>) -> Result<Foreign, String> {
    let definition = &one.chroot.definition;
    let personality = definition.personality.as_deref().map(|word| {
        Personality::of_word(word).ok_or_else(|| format!("Personality ‘{word}’ is not supported"))
    });
    Ok(Foreign {
        command_prefix: definition.command_prefix.clone(),
        environment_filter: filter(&definition.environment_filter)?,
        personality: personality.transpose()?,
        selected: one.word.split_once(':').map_or(one.word, |(_, name)| name).to_owned(),
        told: BTreeMap::new(),
        keys: BTreeMap::new(),
        verbosity: definition.verbosity,
        tree: tree::of(&definition.kind, one.chroot.role == Role::Source, &context.config.store)?,
        profile: if one.chroot.is_plain() { None } else { Some(profile::profile(context, definition)?) },
    })
}

/// The variables that a filter keeps back, where it is of the form of the usual one: names, and beginnings of names.
fn filter(expression: &str) -> Result<Vec<String>, String> {
    if expression == ENVIRONMENT_FILTER {
        return Ok(Vec::new());
    }
    let refuse = || {
        let form = "^(NAME|NAME|BEGINNING.*)$";
        format!("environment-filter ‘{expression}’ is not supported: it is to have the form {form}")
    };
    let inner = expression.strip_prefix('^').and_then(|rest| rest.strip_suffix('$')).ok_or_else(refuse)?;
    let inner = inner.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')).unwrap_or(inner);
    let pattern = |word: &str| {
        let (name, end) = word.strip_suffix(".*").map_or((word, ""), |name| (name, "*"));
        let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        (is_name && !word.is_empty()).then(|| format!("{name}{end}")).ok_or_else(refuse)
    };
    inner.split('|').map(pattern).collect()
}

/// What helps when the archive of a source session cannot be replaced.
pub(super) fn with_way_out(trouble: Trouble, record: &Record) -> Trouble {
    match &record.foreign {
        Some(foreign) if foreign.tree.is_packed_again() => {
            trouble.and_info(format!("‘schroot -f -e -c {}’ ends it, and what it changed goes", record.id))
        }
        _ => trouble,
    }
}

/// A session of a chroot of schroot.conf, as a chroot: of the definition, if there is one still.
pub(super) fn of_record(context: &Context, record: &Record, all: &[Chroot]) -> Option<Chroot> {
    let foreign = record.foreign.as_ref()?;
    let name = record.template.as_str();
    let known = all.iter().find(|chroot| chroot.name() == name && chroot.origin == Origin::Configured);
    let from = known.map_or_else(
        || Definition::new(name, Kind::Directory { directory: String::new(), union: None }),
        |chroot| chroot.definition.clone(),
    );
    let mut from = Chroot::of(from, Origin::Configured);
    if foreign.tree.is_source {
        from = from.source().map(|source| Chroot { role: Role::Chroot, ..source }).unwrap_or(from);
    } else if matches!(
        from.definition.kind,
        Kind::File { .. } | Kind::ZfsSnapshot { .. } | Kind::BtrfsSnapshot { .. }
    ) {
        // As schroot shows them: of what was unpacked or cloned there is no source any more.
        from.definition.source = None;
    } else if let Some(source) = &mut from.definition.source {
        source.lists = Lists::default();
    }
    from.definition.kind = shown(from.definition.kind, &record.id);
    from.definition.verbosity = foreign.verbosity;
    from.definition.user_data.extend(foreign.keys.clone());
    let mut owner = Lists::default();
    if policy::is_ones_own(context, record) {
        let list = if record.root_allowed { &mut owner.root_users } else { &mut owner.users };
        list.push(record.owner.name.clone());
    }
    let (snapshot, clone) = match foreign.tree.names(&record.id) {
        Some(names) => (names.snapshot, names.clone),
        None => {
            let snapshot = foreign.tree.snapshot(&record.id);
            (snapshot.map(|path| path.display().to_string()).unwrap_or_default(), String::new())
        }
    };
    let facts = SessionFacts {
        mount_location: String::new(),
        original: name.to_owned(),
        selected: foreign.selected.clone(),
        purged: foreign.tree.is_purged(),
        device: match foreign.tree.dataset() {
            Some(dataset) if clone.is_empty() => dataset.to_owned(),
            _ => clone.clone(),
        },
        snapshot,
        clone,
    };
    Some(session(&from, record.id.as_str(), owner, &context.layout.mount(&record.id), facts))
}

/// Where a session has what it writes.
fn shown(kind: Kind, id: &SessionId) -> Kind {
    let own = |union: Option<Union>| {
        union.map(|union| Union {
            overlay: format!("{}/{id}", union.overlay),
            underlay: format!("{}/{id}", union.underlay),
            ..union
        })
    };
    let top = |mount: Mountable| Mountable { location: String::new(), ..mount };
    match kind {
        Kind::Directory { directory, union } => Kind::Directory { directory, union: own(union) },
        Kind::Loopback { file, mount, union } => {
            Kind::Loopback { file, mount: top(mount), union: own(union) }
        }
        Kind::BlockDevice { device, mount, union } => {
            Kind::BlockDevice { device, mount: top(mount), union: own(union) }
        }
        Kind::ZfsSnapshot { dataset, options, mount } => {
            Kind::ZfsSnapshot { dataset, options, mount: top(mount) }
        }
        // The tree is what is mounted, wherever it lies in what it comes from.
        Kind::File { file, .. } => Kind::File { file, location: String::new() },
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_of_the_usual_form_is_one_of_names_and_beginnings() {
        assert_eq!(filter(ENVIRONMENT_FILTER).unwrap(), Vec::<String>::new());
        assert_eq!(filter("^(A|B_1|LD_.*)$").unwrap(), ["A", "B_1", "LD_*"]);
        assert_eq!(filter("^SECRET$").unwrap(), ["SECRET"]);
        assert_eq!(filter("^.*$").unwrap(), ["*"]);
        for other in ["", "SECRET", "^(A|)$", "^(A[0-9])$", "^(A|(B))$", "^A.*B$"] {
            assert!(filter(other).unwrap_err().contains("not supported"), "{other}");
        }
    }
}
