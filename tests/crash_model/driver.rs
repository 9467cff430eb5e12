//! The enumeration: every effect of an operation, every fault at it, recover, recover that crashes itself, gc.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::process::Child;

use zchroot::sys::effect::{self, Mode, Plan};

use crate::act::{KEEP, Trouble, act, before, history, lodger, session};
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
const PAIRS: usize = 8;
/// Of the errnos that an effect may say no with so many are tried if the failure has to be recovered from (which makes
/// a new world necessary), unless all are asked for: other ones at each effect.
const RECOVERED: usize = 2;

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
    /// Others commit.
    History(&'static [u32]),
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
    worlds: usize,
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
    /// A world in which failures have changed nothing so far.
    reused: Option<Stage>,
    /// Effects of recover after a crash at each effect.
    recovering: BTreeMap<usize, usize>,
}

/// What a case is about.
struct Case<'a> {
    plan: Plan,
    reboot: bool,
    /// The fault in the recover that comes first, if it has one.
    again: Option<Plan>,
    /// All rules, those that take long too.
    deep: bool,
    name: &'a str,
}

/// A seeded choice; the same for a seed.
pub(crate) struct Picker(u64);

impl Picker {
    pub(crate) fn new() -> Self {
        let given = std::env::var("ZCHROOT_TEST_SEED").ok().and_then(|text| text.parse().ok());
        let clock = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
        Self(given.unwrap_or(clock.as_nanos() as u64 | 1))
    }

    pub(crate) fn seed(&self) -> u64 {
        self.0
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
    let mut run = Run {
        name,
        scenario,
        backend,
        old,
        new,
        effects,
        counts: Counts::default(),
        picked,
        reused: None,
        recovering: BTreeMap::new(),
    };
    run.enough_effects();
    run.singles();
    run.pairs();
    run.finish_reused();
    let Counts { effects, crashes, errnos, reboots, recovers_crashed, recovers_failed, worlds } = run.counts;
    println!(
        "crash-count: operations=1 effects={effects} crashes={crashes} errnos={errnos} reboots={reboots} \
         recovers_crashed={recovers_crashed} recovers_failed={recovers_failed} worlds={worlds}"
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
    if !scenario.bare {
        act(&world, &Op::Init).unwrap();
        history(&world, &[1]);
        for op in [Op::Begin("sid", "old"), Op::Write("old", 7)] {
            act(&world, &op).unwrap();
        }
        history(&world, &[2]);
    }
    for (index, step) in scenario.before.iter().enumerate() {
        match step {
            Step::Do(op) => {
                before(&world, op);
                act(&world, op).unwrap_or_else(|error| panic!("{op:?}: {error}"));
            }
            Step::KilledAt(op, name) => {
                let at = place_of(scenario, backend, index, op, name);
                before(&world, op);
                let (result, _) = effect::run(Plan { at, mode: Mode::Crash }, || act(&world, op));
                assert!(result.is_err(), "{op:?} was not killed at {name}");
                world.after_crash();
            }
            Step::Reboot => {
                lodgers.0.clear();
                world.reboot();
            }
            Step::History(stamps) => history(&world, stamps),
            Step::Lodger(id) => lodgers.0.push(lodger(&world, id)),
        }
    }
    before(&world, &scenario.op);
    let stands = |id: &&&str| world.layout.mount(&session(id)).join("etc/stamp").exists();
    let tree = |id: &&str| ((*id).to_owned(), describe(&world.layout.mount(&session(id))));
    let bystanders = ["old", "kept"].iter().filter(stands).map(tree).collect();
    let host = describe(&world.host());
    Stage { world, lodgers, bystanders, host }
}

/// Which effect of the operation is the last one of a name: told by a world of its own, once.
fn place_of(scenario: &Scenario, backend: Backend, index: usize, op: &Op, name: &str) -> usize {
    thread_local! {
        static PLACES: RefCell<BTreeMap<usize, usize>> = const { RefCell::new(BTreeMap::new()) };
    }
    if let Some(place) = PLACES.with_borrow(|places| places.get(&index).copied()) {
        return place;
    }
    let twin = Scenario { before: &scenario.before[..index], op: op.clone(), ..*scenario };
    let stage = set(&twin, backend);
    let (_, seen) = effect::run(Plan { at: 0, mode: Mode::Crash }, || act(&stage.world, op));
    let place = seen.iter().rposition(|it| *it == name);
    let place = place.unwrap_or_else(|| panic!("{op:?} never comes to {name}: {seen:?}")) + 1;
    PLACES.with_borrow_mut(|places| places.insert(index, place));
    place
}

/// What is done after a crash.
pub(crate) fn recover(world: &World) -> Result<(), Violation> {
    let rule = "I7 recover and gc get through";
    let fail = |what: Trouble| Violation { rule, what };
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
            self.crash(Plan { at, mode: Mode::Crash });
            let errnos = if self.scenario.failure_is_old || is_long() { ERRNOS.len() } else { RECOVERED };
            let first = usize::try_from(self.picked.next()).unwrap() % ERRNOS.len();
            for index in first..first + errnos {
                // No file system says that a file is not there when it is: who is told so rightly believes it.
                if ERRNOS[index % ERRNOS.len()] == libc::ENOENT && self.effects[at - 1] == "unlink" {
                    continue;
                }
                self.errno(Plan { at, mode: Mode::Fail(ERRNOS[index % ERRNOS.len()]) });
            }
            let persistent = [libc::EIO, libc::ENOSPC];
            for errno in if is_long() { &persistent[..] } else { &persistent[at % 2..][..1] } {
                self.errno(Plan { at, mode: Mode::FailFrom(*errno) });
            }
        }
        self.crash(Plan { at: all, mode: Mode::CrashAfter });
    }

    fn crash(&mut self, plan: Plan) {
        self.counts.crashes += 1;
        self.case(&Case { plan, reboot: false, again: None, deep: true, name: "" });
        self.counts.reboots += 1;
        self.case(&Case { plan, reboot: true, again: None, deep: is_long(), name: "then a reboot" });
    }

    fn errno(&mut self, plan: Plan) {
        self.counts.errnos += 1;
        self.case(&Case { plan, reboot: false, again: None, deep: is_long(), name: "" });
    }

    /// A crash, and then recover crashes too (or is refused something): each pair, or an even sample.
    fn pairs(&mut self) {
        let pairs = self.recovering.iter().flat_map(|(at, all)| (1..=*all).map(|again| (*at, again)));
        let pairs: Vec<(usize, usize)> = pairs.collect();
        let step = if is_long() { 1 } else { pairs.len().div_ceil(PAIRS).max(1) };
        let first = usize::try_from(self.picked.next()).unwrap() % step;
        for (turn, (at, again)) in pairs.into_iter().skip(first).step_by(step).enumerate() {
            self.counts.recovers_crashed += 1;
            self.pair(at, Plan { at: again, mode: Mode::Crash });
            let errnos = if is_long() { &ERRNOS[..] } else { &ERRNOS[turn % 8..][..1] };
            for errno in errnos {
                self.counts.recovers_failed += 1;
                self.pair(at, Plan { at: again, mode: Mode::Fail(*errno) });
            }
        }
    }

    fn pair(&mut self, at: usize, again: Plan) {
        let plan = Plan { at, mode: Mode::Crash };
        self.case(&Case {
            plan,
            reboot: false,
            again: Some(again),
            deep: is_long(),
            name: "then one in recover",
        });
    }

    /// One fault, the recover after it, and the rules after that.
    fn case(&mut self, case: &Case<'_>) {
        let stage = self.reused.take().unwrap_or_else(|| {
            self.counts.worlds += 1;
            set(self.scenario, self.backend)
        });
        let earlier = stage.world.fingerprint();
        let (result, seen) = effect::run(case.plan, || act(&stage.world, &self.scenario.op));
        let ended = match &result {
            Err(_) => Ended::Crashed,
            // The words that tell a user.
            Ok(Err(trouble)) if trouble.contains("is committed as version") => Ended::Unfinished,
            Ok(Err(_)) => Ended::Failed,
            Ok(Ok(())) => Ended::Done,
        };
        let told = format!("{ended:?} {result:?}\neffects: {seen:?}");
        if ended == Ended::Failed && matches!(case.plan.mode, Mode::Fail(_)) && self.scenario.failure_is_old {
            let same = check::unchanged(&stage.world, &earlier, &stage.bystanders);
            self.say(case, &told, same);
            // As good as new.
            if !case.deep {
                self.reused = Some(stage);
                return;
            }
        }
        let checked = self.aftermath(case, stage, ended);
        self.say(case, &told, checked);
    }

    fn aftermath(&mut self, case: &Case<'_>, stage: Stage, ended: Ended) -> Result<(), Violation> {
        let Stage { world, lodgers, bystanders, host } = stage;
        if ended == Ended::Crashed {
            world.after_crash();
        }
        let mut lodgers = Some(lodgers);
        if case.reboot {
            lodgers.take();
            world.reboot();
        }
        if let Some(again) = case.again {
            let (result, _) = effect::run(again, || world.process(|it| it.recover()));
            if result.is_err() {
                world.after_crash();
            }
        }
        let (recovered, effects) = effect::run(Plan { at: 0, mode: Mode::Crash }, || recover(&world));
        recovered.unwrap_or_else(|crash| panic!("crashed without a fault: {crash:?}"))?;
        if case.again.is_none() && !case.reboot && case.plan.mode == Mode::Crash {
            self.recovering.insert(case.plan.at, effects.len());
        }
        let expected = Expected {
            old: &self.old,
            new: &self.new,
            ended,
            // Where everything fails from some point on, so does clearing up.
            failure_is_old: self.scenario.failure_is_old && !matches!(case.plan.mode, Mode::FailFrom(_)),
            bystanders: &bystanders,
            host: &host,
            deep: case.deep,
        };
        check::check(&world, &expected)
    }

    /// The world in which nothing changed is still as it should be.
    fn finish_reused(&mut self) {
        let Some(stage) = self.reused.take() else { return };
        let plan = Plan { at: 0, mode: Mode::Crash };
        let case = Case { plan, reboot: false, again: None, deep: true, name: "after all failures" };
        let checked = self.aftermath(&case, stage, Ended::Failed);
        self.say(&case, "", checked);
    }

    fn say(&self, case: &Case<'_>, told: &str, checked: Result<(), Violation>) {
        let Err(Violation { rule, what }) = checked else { return };
        let Case { plan, reboot, again, name, .. } = case;
        let at = plan.at.checked_sub(1).and_then(|at| self.effects.get(at)).copied().unwrap_or("none");
        panic!(
            "operation {:?} ({}) on {:?}, effect {} of {} ({at}), {:?} {name}, reboot {reboot}, recover {again:?}\n\
             broken: {rule}\n{what}\nended: {told}",
            self.scenario.op,
            self.name,
            self.backend,
            plan.at,
            self.effects.len(),
            plan.mode,
        );
    }
}
