//! Random programs of operations, with crashes and errors in them, beside the reference [`Model`].
//!
//! After every operation the installation is what the model says; after a crash or an error, and recover, what the
//! model said before or after. What the model refuses has to be refused, and changes nothing. A program that fails is made
//! smaller by proptest until nothing more can be left out.

use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use zchroot::sys::effect::{self, Mode, Plan};

use crate::act::{act, before, history};
use crate::check::{self, Ended, Expected, Violation};
use crate::driver::{Picker, is_long, recover};
use crate::model::{Model, Op};
use crate::world::{Backend, World, describe, inside};

/// How many programs, and how long the longest is.
const PROGRAMS: u32 = 60;
const LONG_PROGRAMS: u32 = 1000;
const LENGTH: usize = 60;
/// No operation has more effects.
const EFFECTS: usize = 45;

const TEMPLATES: [&str; 2] = ["sid", "new"];
const SESSIONS: [&str; 3] = ["old", "kept", "work"];

/// An operation, what goes wrong in it, and whether the machine goes down too.
#[derive(Debug, Clone)]
struct Line {
    op: Op,
    fault: Option<Plan>,
    reboot: bool,
}

fn op() -> impl Strategy<Value = Op> {
    let (name, id) = (|| select(&TEMPLATES[..]), || select(&SESSIONS[..]));
    let (generation, stamp, image) = (|| 1..6_usize, || 10..99_u32, || 4..6_u32);
    prop_oneof![
        2 => stamp().prop_map(|stamp| Op::Create("new", stamp)),
        3 => (name(), id()).prop_map(|(name, id)| Op::Begin(name, id)),
        1 => (name(), id()).prop_map(|(name, id)| Op::Run(name, id)),
        1 => id().prop_map(Op::Exec),
        3 => id().prop_map(Op::End),
        5 => (name(), id()).prop_map(|(name, id)| Op::SourceBegin(name, id)),
        3 => (id(), stamp()).prop_map(|(id, stamp)| Op::Write(id, stamp)),
        6 => id().prop_map(Op::Commit),
        2 => id().prop_map(Op::Abort),
        2 => (name(), id(), generation()).prop_map(|(name, id, to)| Op::Rollback(name, id, to)),
        1 => name().prop_map(Op::Settle),
        2 => (name(), generation()).prop_map(|(name, of)| Op::Pin(name, of)),
        1 => (name(), generation()).prop_map(|(name, of)| Op::Unpin(name, of)),
        1 => (name(), generation()).prop_map(|(name, of)| Op::Verify(name, of)),
        1 => (name(), generation(), generation()).prop_map(|(name, one, two)| Op::Diff(name, one, two)),
        1 => id().prop_map(Op::DiffSession),
        1 => (id(), id()).prop_map(|(old, new)| Op::Rebase(old, new)),
        1 => image().prop_map(Op::ImageImport),
        1 => image().prop_map(Op::ImageRemove),
        1 => (image(), id()).prop_map(|(image, id)| Op::ImageRun(image, id)),
        1 => Just(Op::Gc),
        1 => Just(Op::Recover),
    ]
}

fn line() -> impl Strategy<Value = Line> {
    let mode = prop_oneof![
        3 => Just(Mode::Crash),
        1 => Just(Mode::CrashAfter),
        2 => select(&[libc::EBUSY, libc::ENOSPC, libc::EIO, libc::EPERM][..]).prop_map(Mode::Fail),
        1 => select(&[libc::ENOSPC, libc::EIO][..]).prop_map(Mode::FailFrom),
    ];
    let plan = (1..EFFECTS, mode).prop_map(|(at, mode)| Plan { at, mode });
    let fault = prop_oneof![1 => Just(None), 1 => plan.prop_map(Some)];
    (op(), fault, prop::bool::weighted(0.2)).prop_map(|(op, fault, reboot)| Line { op, fault, reboot })
}

/// What the programs came by.
#[derive(Debug, Default)]
struct Counts {
    programs: usize,
    operations: usize,
    refused: usize,
    crashes: usize,
    failures: usize,
}

struct Course<'a> {
    world: World,
    model: Model,
    counts: &'a mut Counts,
}

/// Whether the model knows for sure that the program refuses it; of versions that may be gone or not it does not.
fn is_refused_for_sure(op: &Op, model: &Model) -> bool {
    let stands = |id: &str| model.sessions.contains_key(id);
    match *op {
        Op::Begin(name, id) | Op::SourceBegin(name, id) => stands(id) || !model.templates.contains_key(name),
        Op::Create(..) | Op::Exec(_) | Op::End(_) | Op::Commit(_) | Op::Abort(_) | Op::Rebase(..) => true,
        Op::ImageRemove(_) => true,
        _ => false,
    }
}

impl Course<'_> {
    fn go(&mut self, line: &Line) -> Result<(), Violation> {
        let Some(new) = self.model.after(&line.op) else {
            return if is_refused_for_sure(&line.op, &self.model) { self.refused(&line.op) } else { Ok(()) };
        };
        self.counts.operations += 1;
        before(&self.world, &line.op);
        let plan = line.fault.unwrap_or(Plan { at: 0, mode: Mode::Crash });
        let (result, _) = effect::run(plan, || act(&self.world, &line.op));
        let allowed = match result {
            Ok(Ok(())) => vec![new],
            Ok(Err(trouble)) if line.fault.is_none() => {
                return Err(Violation { rule: "an operation that makes sense is done", what: trouble });
            }
            Ok(Err(trouble)) if trouble.contains("is committed as version") => vec![new],
            Ok(Err(_)) => {
                self.counts.failures += 1;
                vec![self.model.clone(), new]
            }
            Err(_) => {
                self.counts.crashes += 1;
                self.world.after_crash();
                if line.reboot {
                    self.world.reboot();
                }
                vec![self.model.clone(), new]
            }
        };
        if line.fault.is_some() {
            recover(&self.world)?;
        }
        self.is_one_of(&allowed)
    }

    fn refused(&mut self, op: &Op) -> Result<(), Violation> {
        self.counts.refused += 1;
        before(&self.world, op);
        let done = act(&self.world, op);
        check::hold("what makes no sense is refused", done.is_err(), || format!("{op:?} was done"))?;
        let unchanged = [self.model.clone()];
        self.is_one_of(&unchanged)
    }

    fn is_one_of(&mut self, allowed: &[Model]) -> Result<(), Violation> {
        let seen = check::observe(&self.world)?;
        check::hold("the installation is what the model says", allowed.contains(&seen), || {
            format!("not {allowed:?}: {seen:?}")
        })?;
        self.model = seen;
        Ok(())
    }

    fn end(self) -> Result<(), Violation> {
        recover(&self.world)?;
        let host = describe(&self.world.host());
        check::check(
            &self.world,
            &Expected {
                old: &self.model,
                new: &self.model,
                ended: Ended::Done,
                failure_is_old: true,
                bystanders: &std::collections::BTreeMap::new(),
                host: &host,
                deep: true,
            },
        )
    }
}

fn program(lines: &[Line], backend: Backend, counts: &mut Counts) -> Result<(), (usize, Violation)> {
    counts.programs += 1;
    let world = World::new(backend);
    act(&world, &Op::Init).unwrap();
    history(&world, &[1, 2]);
    let model = check::observe(&world).map_err(|violation| (0, violation))?;
    let mut course = Course { world, model, counts };
    for (number, line) in lines.iter().enumerate() {
        course.go(line).map_err(|violation| (number, violation))?;
    }
    course.end().map_err(|violation| (lines.len(), violation))
}

fn random_programs(backend: Backend) {
    let seed = Picker::new().seed();
    println!("programs on {backend:?}: seed {seed} (ZCHROOT_TEST_SEED)");
    let cases = if is_long() { LONG_PROGRAMS } else { PROGRAMS };
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 200, ..Config::default() };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let counts = std::cell::RefCell::new(Counts::default());
    let ran = runner.run(&prop::collection::vec(line(), 1..LENGTH), |lines| {
        program(&lines, backend, &mut counts.borrow_mut()).map_err(|(number, Violation { rule, what })| {
            TestCaseError::fail(format!("line {number}: broken: {rule}\n{what}"))
        })
    });
    let Counts { programs, operations, refused, crashes, failures } = counts.into_inner();
    println!(
        "crash-count: programs={programs} program-operations={operations} program-refused={refused} \
         program-crashes={crashes} program-failures={failures}"
    );
    if let Err(TestError::Fail(reason, lines)) = ran {
        panic!("{reason}\nthe program: {lines:#?}");
    }
    ran.unwrap();
    assert!(crashes > 10 && failures > 5 && refused > 10, "little happened in these programs");
}

#[test]
fn crash_random_programs_on_the_model_of_zfs() {
    let name = "programs::crash_random_programs_on_the_model_of_zfs";
    inside(name).then(|| random_programs(Backend::Fake));
}

#[test]
fn crash_random_programs_on_directories() {
    let name = "programs::crash_random_programs_on_directories";
    inside(name).then(|| random_programs(Backend::Dir));
}
