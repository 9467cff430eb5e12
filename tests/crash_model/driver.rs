//! The enumeration: every effect of an operation, every fault at it, recover, recover that crashes itself, gc.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::process::Child;

use zchroot::sys::effect::{self, Mode, Plan};

use crate::act::{KEEP, Trouble, act, before, lodger, session};
use crate::check::{self, Ended, Expected, Violation};
use crate::model::{Model, Op};
use crate::world::{Backend, World, describe};

/// What an effect may say no with.
const ERRNOS: [i32; 8] = [
    libc::EBUSY,
    libc::ENOSPC,
    libc::EDQUOT,
    libc::EEXIST,
    libc::ENOENT,
    libc::EIO,
    libc::EINTR,
    libc::EPERM,
];
/// Of the pairs of a crash and a crash of recover so many are taken, unless all are asked for.
const PAIRS: usize = 40;

/// An operation, and where it is done.
pub(crate) struct Scenario {
    /// There is nothing yet; else the world that all others have.
    pub(crate) bare: bool,
    /// What was done before.
    pub(crate) before: &'static [Step],
    pub(crate) op: Op,
    /// Fewer effects than these (on the fake store, on directories) mean that something passes no point.
    pub(crate) least: (usize, usize),
    /// An error of the operation means that nothing changed: at once, without recover.
    pub(crate) failure_is_old: bool,
}

/// Something that happened before.
#[derive(Debug)]
pub(crate) enum Step {
    Do(Op),
    /// The process was killed before the last effect of this name.
    KilledAt(Op, &'static str),
    Reboot,
    /// A process moves into a session's tree.
    Lodger(&'static str),
}

/// A process that this test started; it is no more afterwards.
struct Lodgers(Vec<Child>);

impl Drop for Lodgers {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[derive(Debug, Default)]
struct Counts {
    effects: usize,
    crashes: usize,
    errnos: usize,
    reboots: usize,
    recovers_crashed: usize,
    recovers_failed: usize,
}

/// One world with what happened before in it, and what must be so from then on.
struct Stage {
    world: World,
    lodgers: Lodgers,
    bystanders: BTreeMap<String, Vec<String>>,
    host: Vec<String>,
}

struct Run<'a> {
    name: &'static str,
    scenario: &'a Scenario,
    backend: Backend,
    old: Model,
    new: Model,
    /// Names of the operation's effects.
    effects: Vec<&'static str>,
    counts: Counts,
    picked: Picker,
}

/// A seeded choice; the same for a seed.
struct Picker(u64);

impl Picker {
    fn new() -> Self {
        let given = std::env::var("ZCHROOT_TEST_SEED").ok().and_then(|text| text.parse().ok());
        let clock = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
        Self(given.unwrap_or(clock.as_nanos() as u64 | 1))
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

pub(crate) fn is_long() -> bool {
    std::env::var_os("ZCHROOT_TEST_LONG").is_some()
}

/// Enumerates one scenario on one store.
pub(crate) fn enumerate(name: &'static str, scenario: &Scenario, backend: Backend) {
    let picked = Picker::new();
    println!("{name} on {backend:?}: seed {} (ZCHROOT_TEST_SEED)", picked.0);
    let (old, new, effects) = without_fault(scenario, backend);
    let mut run = Run { name, scenario, backend, old, new, effects, counts: Counts::default(), picked };
    run.enough_effects();
    run.singles();
    run.pairs();
    let Counts { effects, crashes, errnos, reboots, recovers_crashed, recovers_failed } = run.counts;
    println!(
        "crash-count: operations=1 effects={effects} crashes={crashes} errnos={errnos} reboots={reboots} \
         recovers_crashed={recovers_crashed} recovers_failed={recovers_failed}"
    );
}

/// What the operation does when nothing goes wrong.
fn without_fault(scenario: &Scenario, backend: Backend) -> (Model, Model, Vec<&'static str>) {
    // What was before may need recovering; a world of its own says what that gives.
    let stage = set(scenario, backend);
    recover(&stage.world).unwrap_or_else(|error| panic!("{:?}: {}", scenario.op, error.what));
    let seen = |world: &World| check::observe(world).unwrap_or_else(|it| panic!("{:?}: {it:?}", scenario.op));
    let old = seen(&stage.world);
    drop(stage);
    let new = old.after(&scenario.op).unwrap_or_else(|| panic!("{:?} is refused on {old:?}", scenario.op));
    let stage = set(scenario, backend);
    before(&stage.world, &scenario.op);
    let (result, effects) =
        effect::run(Plan { at: 0, mode: Mode::Crash }, || act(&stage.world, &scenario.op));
    result.unwrap().unwrap_or_else(|error| panic!("{:?} fails by itself: {error}", scenario.op));
    (old, new, effects)
}

/// A world with what happened before in it.
fn set(scenario: &Scenario, backend: Backend) -> Stage {
    let world = World::new(backend);
    let mut lodgers = Lodgers(Vec::new());
    let common = if scenario.bare { &[][..] } else { &crate::WORLD[..] };
    for step in common.iter().chain(scenario.before) {
        match step {
            Step::Do(op) => {
                before(&world, op);
                act(&world, op).unwrap_or_else(|error| panic!("{op:?}: {error}"));
            }
            Step::KilledAt(op, name) => killed_at(&world, op, name),
            Step::Reboot => world.reboot(),
            Step::Lodger(id) => lodgers.0.push(lodger(&world, id)),
        }
    }
    before(&world, &scenario.op);
    let named = |id: &&&str| **id != "work" && world.layout.mount(&session(id)).join("etc/stamp").exists();
    let tree = |id: &&str| ((*id).to_owned(), describe(&world.layout.mount(&session(id))));
    let bystanders = crate::NAMES.iter().filter(named).map(tree).collect();
    let host = describe(&world.host());
    Stage { world, lodgers, bystanders, host }
}

/// Kills an operation before its last effect of a name: how many there are, a first try in a copy would tell; here
/// it is counted in a world of its own.
fn killed_at(world: &World, op: &Op, name: &str) {
    let mut at = 0;
    // The fault moves on until the effect is met: earlier ones are crashes of the same operation, begun anew.
    loop {
        at += 1;
        let (result, seen) = effect::run(Plan { at, mode: Mode::Crash }, || act(world, op));
        world.after_crash();
        match (result, seen.last()) {
            (Err(_), Some(last)) if *last == name => return,
            (Err(_), _) => {
                let _ = world.process(|it| it.recover());
                let _ = world.process(|it| it.gc(KEEP));
            }
            (Ok(result), _) => panic!("{op:?} never comes to {name}: {result:?}"),
        }
    }
}

/// What is done after a crash.
fn recover(world: &World) -> Result<(), Violation> {
    let rule = "I7 recover and gc get through";
    let fail = |what: Trouble| Violation { rule, what: what };
    world.process(|it| it.recover()).map_err(fail)?;
    world.process(|it| it.gc(KEEP)).map_err(fail)?;
    Ok(())
}

impl Run<'_> {
    fn enough_effects(&mut self) {
        let least = if self.backend == Backend::Fake { self.scenario.least.0 } else { self.scenario.least.1 };
        let all = self.effects.len();
        assert!(all >= least, "{}: only {all} effects, fewer than {least}: {:?}", self.name, self.effects);
        self.counts.effects += all;
    }

    /// Every effect, every fault; and every crash followed by a reboot.
    fn singles(&mut self) {
        let all = self.effects.len();
        for at in 1..=all {
            self.single(Plan { at, mode: Mode::Crash }, false);
            self.single(Plan { at, mode: Mode::Crash }, true);
            for errno in ERRNOS {
                self.single(Plan { at, mode: Mode::Fail(errno) }, false);
            }
            for errno in [libc::EIO, libc::ENOSPC] {
                self.single(Plan { at, mode: Mode::FailFrom(errno) }, false);
            }
        }
        self.single(Plan { at: all, mode: Mode::CrashAfter }, false);
        self.single(Plan { at: all, mode: Mode::CrashAfter }, true);
    }

    fn single(&mut self, plan: Plan, reboot: bool) {
        match plan.mode {
            Mode::Crash | Mode::CrashAfter if reboot => self.counts.reboots += 1,
            Mode::Crash | Mode::CrashAfter => self.counts.crashes += 1,
            Mode::Fail(_) | Mode::FailFrom(_) => self.counts.errnos += 1,
        }
        let fault = |_: &World| Ok(());
        self.case(plan, reboot, &format!("{plan:?} reboot={reboot}"), &fault);
    }

    /// One fault in a fresh world, `between` it and the recover that gets through, and the rules after it.
    fn case(&self, plan: Plan, reboot: bool, name: &str, between: &dyn Fn(&World) -> Result<(), Violation>) {
        let stage = set(self.scenario, self.backend);
        let world = &stage.world;
        let earlier = world.fingerprint();
        let (result, seen) = effect::run(plan, || act(world, &self.scenario.op));
        let ended = match &result {
            Err(_) => Ended::Crashed,
            Ok(Err(_)) => Ended::Failed,
            Ok(Ok(())) => Ended::Done,
        };
        let checked = (|| {
            if ended == Ended::Crashed {
                world.after_crash();
            }
            let single = matches!(plan.mode, Mode::Fail(_));
            if ended == Ended::Failed && single && self.scenario.failure_is_old {
                check::unchanged(world, &earlier, &stage.bystanders)?;
            }
            if reboot {
                world.reboot();
            }
            between(world)?;
            recover(world)?;
            let expected = Expected {
                old: &self.old,
                new: &self.new,
                ended,
                failure_is_old: self.scenario.failure_is_old,
                bystanders: &stage.bystanders,
                host: &stage.host,
            };
            check::check(world, &expected)
        })();
        drop(stage.lodgers);
        if let Err(Violation { rule, what }) = checked {
            let at = seen.get(plan.at - 1).or(seen.last()).copied().unwrap_or("nothing");
            panic!(
                "operation {:?} ({}) on {:?}, effect {} of {} ({at}), {name}: ended {ended:?} {result:?}\nbroken: {rule}\n{what}\neffects: {seen:?}",
                self.scenario.op,
                self.name,
                self.backend,
                plan.at,
                self.effects.len(),
            );
        }
    }

    /// A crash, and then recover crashes too (or is refused something): each pair, or an even sample.
    fn pairs(&mut self) {
        let mut all = Vec::new();
        for at in 1..=self.effects.len() {
            let effects = Cell::new(0);
            let count = |world: &World| {
                let (_, seen) =
                    effect::run(Plan { at: 0, mode: Mode::Crash }, || world.process(|it| it.recover()));
                effects.set(seen.len());
                Ok(())
            };
            self.case(Plan { at, mode: Mode::Crash }, false, "counting recover's effects", &count);
            let effects = effects.get();
            all.extend((1..=effects).map(|again| (at, again)));
        }
        let step = if is_long() { 1 } else { all.len().div_ceil(PAIRS).max(1) };
        let first = usize::try_from(self.picked.next() % step as u64).unwrap();
        for (at, again) in all.into_iter().skip(first).step_by(step) {
            self.pair(at, Plan { at: again, mode: Mode::Crash });
            let errnos = if is_long() { &ERRNOS[..] } else { &ERRNOS[at % 8..=at % 8] };
            for errno in errnos {
                self.pair(at, Plan { at: again, mode: Mode::Fail(*errno) });
            }
        }
    }

    fn pair(&mut self, at: usize, again: Plan) {
        match again.mode {
            Mode::Crash | Mode::CrashAfter => self.counts.recovers_crashed += 1,
            Mode::Fail(_) | Mode::FailFrom(_) => self.counts.recovers_failed += 1,
        }
        let crash_again = |world: &World| {
            let (result, _) = effect::run(again, || world.process(|it| it.recover()));
            if result.is_err() {
                world.after_crash();
            }
            Ok(())
        };
        let name = format!("then {again:?} in recover");
        self.case(Plan { at, mode: Mode::Crash }, false, &name, &crash_again);
    }
}
