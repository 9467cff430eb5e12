//! Each errno takes its branch; a crash at any step leaves nothing that stays.

use std::time::Duration;

use super::*;
use crate::space::Gc;
use crate::store::ErrorKind;
use crate::sys::effect::{Mode, Plan, run as with_plan};
use crate::template::Warm;

/// An import of `second` when `first` is there.
struct Import {
    lab: Lab,
    second: PathBuf,
    effects: Vec<&'static str>,
}

/// What became of one under a plan.
struct Done {
    result: Result<Ready>,
    effects: Vec<&'static str>,
}

impl Done {
    fn count(&self, name: &str) -> usize {
        self.effects.iter().filter(|effect| **effect == name).count()
    }
}

impl Import {
    fn new() -> Self {
        let lab = Lab::xfs();
        lab.import(&lab.archive("first", 1)).unwrap();
        let second = lab.archive("second", 1);
        let mut import = Self { lab, second, effects: Vec::new() };
        let done = import.run(Plan { at: 0, mode: Mode::Crash });
        let ready = done.result.unwrap();
        assert_eq!(ready.saved, all());
        import.lab.remove(ready);
        import.effects = done.effects;
        import
    }

    fn run(&self, plan: Plan) -> Done {
        let (result, effects) = with_plan(plan, || self.lab.import(&self.second));
        Done { result: result.unwrap(), effects }
    }

    /// With an errno at the n-th effect of a name, counted from 0.
    fn failing(&self, name: &str, nth: usize, errno: i32) -> Done {
        let mut places = self.effects.iter().enumerate().filter(|(_, effect)| **effect == name);
        let at = places.nth(nth).unwrap().0 + 1;
        self.run(Plan { at, mode: Mode::Fail(errno) })
    }

    /// The content is right, whatever was saved; the image goes again.
    fn right(&self, ready: Ready) -> u64 {
        for size in SIZES {
            let path = self.lab.tree(&ready.digest).join(format!("usr/share/{size}"));
            assert!(std::fs::read(path).unwrap() == noise(size, 1), "{size}");
        }
        let saved = ready.saved;
        self.lab.remove(ready);
        saved
    }
}

const CLONED: usize = 6;

#[test]
fn dir_dedup_what_cannot_be_done_here_turns_it_off_for_the_rest_of_the_import() {
    let import = Import::new();
    for errno in [libc::EOPNOTSUPP, libc::ENOSYS, libc::EXDEV, libc::EINVAL] {
        let done = import.failing("clone file", 0, errno);
        assert_eq!((done.count("clone file"), done.count("open source")), (1, 1), "{errno}");
        assert_eq!(import.right(done.result.unwrap()), 0);
        let done = import.failing("clone file", 2, errno);
        assert_eq!(done.count("clone file"), 3, "{errno}");
        let saved = import.right(done.result.unwrap());
        assert!(saved > 0 && saved < all(), "{saved}");
    }
}

#[test]
fn dir_dedup_a_source_that_has_gone_costs_that_file_only() {
    let import = Import::new();
    for (name, errnos) in
        [("clone file", [libc::ENOENT, libc::ESTALE]), ("open source", [libc::ENOENT, libc::ESTALE])]
    {
        for errno in errnos {
            for nth in 0..CLONED {
                let done = import.failing(name, nth, errno);
                assert_eq!(done.count("open source"), CLONED, "{errno}");
                let missed = all() - import.right(done.result.unwrap());
                assert!(missed > 0 && SIZES.contains(&usize::try_from(missed).unwrap()), "{errno} {missed}");
            }
        }
    }
}

#[test]
fn dir_dedup_a_dirty_source_is_synced_and_tried_once_more() {
    let import = Import::new();
    let done = import.failing("clone file", 1, libc::EAGAIN);
    let syncs = import.effects.iter().filter(|effect| **effect == "syncfs").count();
    assert_eq!((done.count("clone file"), done.count("syncfs")), (CLONED + 1, syncs + 1));
    assert_eq!(import.right(done.result.unwrap()), all());
}

#[test]
fn dir_dedup_any_other_error_ends_the_import_and_leaves_nothing() {
    let import = Import::new();
    let before = import.lab.left();
    for (errno, kind) in [
        (libc::EPERM, ErrorKind::Other),
        (libc::ENOSPC, ErrorKind::NoRoom),
        (libc::EDQUOT, ErrorKind::NoRoom),
        (libc::EMFILE, ErrorKind::Other),
    ] {
        for name in ["clone file", "open source"] {
            let error = import.failing(name, 3, errno).result.unwrap_err();
            assert_eq!((error.errno(), error.kind()), (Some(errno), kind), "{error}");
            // The file that it happened to, and not one that came after it.
            assert!(error.to_string().contains("\"usr/share/4096\""), "{error}");
            assert_eq!(import.lab.left(), before);
        }
    }
}

#[test]
fn dir_dedup_an_image_that_is_damaged_costs_its_files_only_and_is_named_once() {
    let import = Import::new();
    for errno in [libc::EIO, libc::EUCLEAN, libc::EBADMSG, libc::EBADE] {
        for name in ["clone file", "open source"] {
            for nth in 0..CLONED {
                let done = import.failing(name, nth, errno);
                assert_eq!(done.count("open source"), CLONED, "{errno}");
                let missed = all() - import.right(done.result.unwrap());
                assert!(missed > 0 && SIZES.contains(&usize::try_from(missed).unwrap()), "{errno} {missed}");
            }
        }
    }
}

#[test]
fn dir_dedup_what_fails_before_or_after_costs_no_more_than_the_cloning() {
    let import = Import::new();
    for (nth, errno) in [(0, libc::EMFILE), (0, libc::EACCES), (1, libc::ENOSPC)] {
        let done = import.failing("make temp file", nth, errno);
        assert_eq!((done.count("clone file"), done.count("link")), (0, 0));
        assert_eq!(import.right(done.result.unwrap()), 0);
    }
    let done = import.failing("link", 0, libc::ENOSPC);
    let ready = done.result.unwrap();
    assert!(!import.lab.left().contains(&format!("{}.files", ready.digest)));
    assert_eq!(import.right(ready), all());
}

#[test]
fn dir_dedup_a_crash_at_any_step_leaves_nothing_that_gc_does_not_take() {
    let import = Import::new();
    let lab = &import.lab;
    let mut before = lab.left();
    before.sort();
    let last = import.effects.len();
    let crashes = (1..=last).map(|at| (at, Mode::Crash)).chain([(last, Mode::CrashAfter)]);
    for (at, mode) in crashes {
        let (crashed, _) = with_plan(Plan { at, mode }, || lab.import(&import.second));
        assert!(crashed.is_err(), "{at}");
        let gc = Gc::new(Sessions::new(&lab.layout, &lab.store), Duration::ZERO, Warm::Always);
        gc.run(|_| 1_usize).unwrap();
        let ready = lab.import(&import.second).unwrap();
        assert!(!ready.fresh || ready.saved == all(), "{at}");
        import.right(ready);
        let mut left = lab.left();
        left.sort();
        assert_eq!(left, before, "{mode:?} {at} {:?}", import.effects.get(at - 1));
    }
}

#[test]
fn dir_dedup_an_index_without_an_image_is_taken_by_gc_once() {
    let lab = Lab::xfs();
    let first = lab.import(&lab.archive("first", 1)).unwrap().digest;
    let orphan = lab.layout.image_index(&"b".repeat(64).parse().unwrap());
    std::fs::write(&orphan, "x").unwrap();
    let gc = || Gc::new(Sessions::new(&lab.layout, &lab.store), Duration::ZERO, Warm::Always);
    let told: Vec<String> = gc().plan().unwrap().iter().map(|item| item.object.to_string()).collect();
    assert_eq!(told.iter().filter(|line| line.starts_with("record of image bbbb")).count(), 1, "{told:?}");
    gc().run(|_| 1_usize).unwrap();
    assert!(!orphan.exists() && lab.layout.image_index(&first).exists());
}
