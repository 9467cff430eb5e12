//! Operations as the commands do them, each in handles of its own. A new operation is one line of [`Op`], one of
//! [`Model::after`](crate::model::Model::after) and one here.

use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use zchroot::import::{self, Source};
use zchroot::session::record::{NewRecord, Setup};
use zchroot::session::{Begun, Kind, Owner, Request, Wish};
use zchroot::source::{self, Rollback, SourceEnd, SourceRequest, Start, Version};
use zchroot::space::Gc;
use zchroot::store::{MountOptions, Published, SessionId, Silent, TemplateName, Tree, VersionId, pointer};
use zchroot::sys::enter::Ended;
use zchroot::sys::identity::Account;
use zchroot::sys::startup::Process;
use zchroot::template::{self, CommitOnEnd, Overlay, Profile, Warm};

use crate::check::stamp_of_session;
use crate::images;
use crate::model::Op;
use crate::world::{Handles, PROFILE_NAME, World, write_stamp};

/// How many versions a template keeps beside the current one.
pub(crate) const KEEP: usize = 1;

/// Why an operation was refused or failed, with all causes.
pub(crate) type Trouble = String;

pub(crate) fn told(error: impl std::error::Error) -> Trouble {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}

pub(crate) fn template(name: &str) -> TemplateName {
    name.parse().unwrap()
}

pub(crate) fn session(name: &str) -> SessionId {
    name.parse().unwrap()
}

pub(crate) fn new_record(of: &str, id: &str, kind: Kind) -> NewRecord {
    NewRecord {
        id: session(id),
        kind,
        template: template(of),
        image: None,
        owner: Owner { uid: 0, name: "root".to_owned() },
        root_allowed: true,
        commit_on_end: None,
        setup: Setup {
            profile: PROFILE_NAME.parse().unwrap(),
            shell: None,
            preserve_environment: false,
            setuid: true,
            overlay: Overlay::Disk,
            quota: None,
            isolate_net: false,
            isolate_pid: false,
            isolate_ipc: false,
            isolate_uts: false,
        },
    }
}

impl Handles<'_> {
    pub(crate) fn profile(&self) -> Profile {
        template::profile(self.layout, &PROFILE_NAME.parse().unwrap()).unwrap()
    }

    fn begin(&self, of: &str, id: &str, kind: Kind) -> Result<Begun, Trouble> {
        let request = Request { new: new_record(of, id, kind), profile: &self.profile(), at: None };
        self.sessions.begin(request).map_err(told)
    }

    pub(crate) fn lock(&self, id: &str) -> Result<Begun, Trouble> {
        self.sessions.lock(&session(id)).map_err(told)
    }

    fn create(&self, world: &World, name: &str, stamp: u32) -> Result<(), Trouble> {
        let new = new_record(name, &format!("create-{name}"), Kind::Source);
        // A tree that is being filled is a bare one.
        let profile = Profile::default();
        let request = SourceRequest { new, profile: &profile };
        let begun = self.sources.begin_first(request, Start::Empty, &mut Silent).map_err(told)?;
        let id = begun.record.id.clone();
        let source = Source::Path(world.host().join("source"));
        let at = self.layout.mount(&id);
        let filled =
            source.open().and_then(|opened| import::fill(&source, opened, &at, &mut Silent)).map_err(told);
        // An error makes the command throw away what it has begun.
        if let Err(trouble) = filled {
            self.sources.abort(begun).map_err(told)?;
            return Err(trouble);
        }
        let made = self.sources.commit_first(begun, &profile, Some(stamp.to_string()));
        if made.as_ref().is_err_and(|error| !matches!(error, source::Error::Unfinished { .. })) {
            self.sources.abort(self.lock(id.as_str())?).map_err(told)?;
        }
        made.map(drop).map_err(told)
    }

    fn commit(&self, id: &str) -> Result<Version, Trouble> {
        let begun = self.lock(id)?;
        // What the maintainer says of it is what is in it.
        let said = match begun.record.is_kept() {
            true => self.layout.root().join(MESSAGE),
            false => self.layout.mount(&begun.record.id).join("etc/stamp"),
        };
        let message = std::fs::read_to_string(said).ok();
        self.sources.commit(begun, &self.profile(), message).map_err(told)
    }

    fn end_source(&self, id: &str) -> Result<SourceEnd, Trouble> {
        let begun = self.lock(id)?;
        let message = std::fs::read_to_string(self.layout.mount(&session(id)).join("etc/stamp")).ok();
        self.sources.end(begun, &self.profile(), message).map_err(told)
    }

    pub(crate) fn version(&self, of: &str, generation: usize) -> Result<Version, Trouble> {
        let versions = Version::all(self.layout, &template(of)).map_err(told)?;
        let found = versions.into_iter().find(|version| version.generation == generation as u64);
        found.ok_or_else(|| format!("{of} has no generation {generation}"))
    }

    fn rollback(&self, of: &str, id: &str, to: usize) -> Result<(), Trouble> {
        let to = self.version(of, to)?;
        let (to, message) = (to.id, to.message);
        let base = self.sources.current(&template(of)).map_err(told)?;
        let request = Rollback { new: new_record(of, id, Kind::Source), base, to, message };
        self.sources.rollback(request, &mut Silent).map(drop).map_err(told)
    }

    fn run(&self, of: &str, id: &str) -> Result<(), Trouble> {
        let begun = self.begin(of, id, Kind::Ephemeral)?;
        let ran = self.exec(id);
        self.sessions.end(begun).map_err(told)?;
        ran
    }

    pub(crate) fn exec(&self, id: &str) -> Result<(), Trouble> {
        let record = self.sessions.records().load(&session(id)).map_err(told)?;
        let busybox = !matches!(record.kind, Kind::Source);
        let wish = Wish {
            target: Account::by_uid(nix::unistd::Uid::from_raw(0)).unwrap(),
            command: vec!["/usr/bin/busybox".into(), "true".into()],
            directory: Some("/".into()),
            preserve_environment: false,
            isolate_net: false,
            isolate_pid: false,
            isolate_ipc: false,
            isolate_uts: false,
        };
        match self.sessions.enter(&record, &wish, &Process::unhardened().unwrap()) {
            Ok(Ended::Exited(0)) => Ok(()),
            Ok(ended) => Err(format!("the command ended as {ended:?}")),
            // Nothing of the host is shown in a source session, so there is no program.
            Err(error) if !busybox && told(&error).contains("cannot find program") => Ok(()),
            Err(error) => Err(told(error)),
        }
    }

    pub(crate) fn recover(&self) -> Result<Vec<String>, Trouble> {
        let zchroot::session::Recovery { sessions: results, pointers } =
            self.sessions.recover().map_err(told)?;
        if let Some((template, error)) = pointers.into_iter().next() {
            return Err(format!("pointer of {template}: {}", told(error)));
        }
        let failed =
            |what: &zchroot::session::Recovered| matches!(what, zchroot::session::Recovered::Failed(_));
        match results.iter().find(|(_, what)| failed(what)) {
            Some((id, zchroot::session::Recovered::Failed(error))) => Err(format!("{id}: {}", told(error))),
            _ => Ok(results.into_iter().map(|(id, what)| format!("{id}: {what:?}")).collect()),
        }
    }

    pub(crate) fn gc(&self, keep: usize) -> Result<Vec<String>, Trouble> {
        let gc = Gc::new(self.sessions, Duration::ZERO, Warm::default());
        let collected = gc.run(|_| keep).map_err(told)?;
        Ok([collected.troubles, collected.waiting].concat())
    }
}

/// Does one operation; the effects in it are the caller's to count.
pub(crate) fn act(world: &World, op: &Op) -> Result<(), Trouble> {
    world.process(|it| match *op {
        Op::Init => it.store.init().map(drop).map_err(told),
        Op::Create(name, stamp) => it.create(world, name, stamp),
        Op::Begin(of, id) => it.begin(of, id, Kind::Named).map(drop),
        Op::Run(of, id) => it.run(of, id),
        Op::Exec(id) => it.exec(id),
        Op::End(id) => it.lock(id).and_then(|begun| it.sessions.end(begun).map_err(told)),
        Op::SourceBegin(of, id) => {
            let request = SourceRequest { new: new_record(of, id, Kind::Source), profile: &it.profile() };
            it.sources.begin(request, &mut Silent).map(drop).map_err(told)
        }
        Op::SourceBeginToEnd(of, id) => {
            let commit_on_end = Some(CommitOnEnd::Success);
            let new = NewRecord { commit_on_end, ..new_record(of, id, Kind::Source) };
            let request = SourceRequest { new, profile: &it.profile() };
            it.sources.begin(request, &mut Silent).map(drop).map_err(told)
        }
        Op::SourceEnd(id) => match it.end_source(id)? {
            SourceEnd::Committed(_) => Ok(()),
            kept => Err(format!("{id} was not committed: {kept:?}")),
        },
        Op::SourceEndFailed(id) => match it.end_source(id)? {
            SourceEnd::Kept { runs: 1.., .. } => Ok(()),
            other => Err(format!("{id} was not kept: {other:?}")),
        },
        Op::Age(id) => {
            let mut record = it.sessions.records().load(&session(id)).map_err(told)?;
            record.kept_until = Some(jiff::Timestamp::UNIX_EPOCH);
            it.sessions.records().save(&record).map_err(told)
        }
        Op::Write(id, stamp) => {
            write_stamp(&it.layout.mount(&session(id)), stamp);
            Ok(())
        }
        Op::Commit(id) => it.commit(id).map(drop),
        Op::Abort(id) => it.lock(id).and_then(|begun| it.sources.abort(begun).map_err(told)),
        Op::Rollback(of, id, to) => it.rollback(of, id, to),
        Op::Settle(name) => it.sources.settle(&template(name), KEEP).map(drop).map_err(told),
        Op::Pin(of, generation) => it.pin(of, generation),
        Op::Unpin(of, generation) => it.unpin(of, generation),
        Op::Verify(of, generation) => it.verify(of, generation),
        Op::Diff(of, one, other) => it.diff(of, one, other),
        Op::DiffSession(id) => it.diff_session(id),
        Op::Rebase(old, id) => it.rebase(old, id),
        Op::ImageImport(stamp) => it.image_import(world, stamp),
        Op::ImageRemove(stamp) => it.image_remove(stamp),
        Op::ImageRun(stamp, id) => it.image_run(stamp, id),
        Op::Gc => it.gc(KEEP).map(drop),
        Op::Recover => it.recover().map(drop),
    })
}

/// A template `sid` whose versions carry these stamps, made at once: not what is looked at.
pub(crate) fn history(world: &World, stamps: &[u32]) {
    let owner = || Owner { uid: 0, name: "root".to_owned() };
    let sid = template("sid");
    world.process(|it| {
        let current = it.store.current(&sid).unwrap();
        let mut parent = current.and_then(|id| Version::load(it.layout, &sid, &id).unwrap());
        for stamp in stamps {
            let draft = VersionId::generate().unwrap();
            match &parent {
                None => it.store.draft_new(&sid, &draft).unwrap(),
                Some(base) => it.store.draft_clone(&sid, &draft, &base.id, &mut Silent).unwrap(),
            }
            let at = tempfile::tempdir_in("/dev/shm").unwrap();
            let tree = Tree::Draft(sid.clone(), draft.clone());
            it.store.mount(&tree, at.path(), MountOptions::default()).unwrap();
            std::fs::set_permissions(at.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
            std::fs::create_dir_all(at.path().join("etc")).unwrap();
            std::fs::write(at.path().join("etc/group"), "root:x:0:\n").unwrap();
            std::fs::create_dir_all(at.path().join("usr/bin")).unwrap();
            write_stamp(at.path(), *stamp);
            rustix::mount::unmount(at.path(), rustix::mount::UnmountFlags::DETACH).unwrap();
            let version = Version::new(draft.clone(), parent.as_ref(), owner(), Some(stamp.to_string()), 0);
            version.save(it.layout, &sid).unwrap();
            let base = parent.as_ref().map(|version| &version.id);
            assert_eq!(it.store.publish(&sid, &draft, base).unwrap(), Published::Committed);
            pointer::write(it.layout, &sid, &draft).unwrap();
            parent = Some(version);
        }
    });
}

/// What is to be said of a session that was kept, when it is committed.
const MESSAGE: &str = "message";

/// What is to be imported carries the stamp that it will be known by.
pub(crate) fn before(world: &World, op: &Op) {
    match op {
        Op::Create(_, stamp) => write_stamp(&world.host().join("source"), *stamp),
        Op::ImageImport(stamp) => images::pack(world, *stamp),
        // In what was kept nobody can look: nothing of it is mounted.
        Op::Commit(id) => world.process(|it| {
            let record = it.sessions.records().load(&session(id)).ok();
            if let Some(record) = record.filter(zchroot::session::Record::is_kept) {
                let stamp = stamp_of_session(it, &record).unwrap();
                std::fs::write(it.layout.root().join(MESSAGE), stamp.to_string()).unwrap();
            }
        }),
        _ => {}
    }
}

/// A process that lives in a session's tree.
pub(crate) fn lodger(world: &World, id: &str) -> Child {
    let mut command = Command::new("/bin/busybox");
    command.args(["sleep", "1000"]).current_dir(world.layout.mount(&session(id)));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}
