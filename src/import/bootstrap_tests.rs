//! mmdebstrap's part is played by scripts, but for one test of the real one that needs no network.

#![expect(clippy::disallowed_methods, reason = "scripts stand in for mmdebstrap")]

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::*;
use crate::store::{ErrorKind, Silent};

#[derive(Default)]
struct Steps(Vec<String>);

impl Progress for Steps {
    fn start(&mut self, what: &str, _total: Option<u64>) {
        self.0.push(what.to_owned());
    }
    fn advance(&mut self, _bytes: u64) {}
    fn finish(&mut self) {}
}

struct Stage {
    dir: tempfile::TempDir,
    root: PathBuf,
}

impl Stage {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        std::fs::create_dir_all(&root).unwrap();
        std::fs::create_dir_all(dir.path().join("tree/usr")).unwrap();
        std::fs::write(dir.path().join("tree/usr/file"), "x").unwrap();
        Self { dir, root }
    }

    /// A script in mmdebstrap's place; `HERE` in it is the stage's directory.
    fn order(&self, script: &str) -> Order {
        let path = self.dir.path().join("mmdebstrap");
        let script = script.replace("HERE", self.dir.path().to_str().unwrap());
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let program = Box::leak(path.display().to_string().into_boxed_str());
        Order::with(program, "sid", None, None).unwrap()
    }

    fn play(&self, script: &str) -> (Result<Filled>, Vec<String>) {
        let mut steps = Steps::default();
        (self.order(script).fill(&self.root, &mut steps), steps.0)
    }

    /// Whether the process whose number a script wrote is gone.
    fn is_gone(&self, name: &str) -> bool {
        let pid = std::fs::read_to_string(self.dir.path().join(name)).unwrap();
        std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()))
            .map_or(true, |stat| stat.contains(") Z "))
    }
}

#[test]
fn dir_import_a_bootstrap_fills_the_tree_and_its_steps_are_the_progress() {
    let stage = Stage::new();
    let (result, steps) = stage.play(
        "echo \"$@\" >HERE/arguments; env >HERE/environment; id -u >HERE/id\n\
         echo 'I: first step' >&2; echo 'noise' >&2; printf 'I: second\\rI: third' >&2\n\
         exec tar -C HERE/tree -c .",
    );
    assert_eq!(result.unwrap(), Filled { bytes: 1, files: 3, ..Filled::default() });
    assert_eq!(steps, ["bootstrap:sid", "first step", "second", "third"]);
    assert_eq!(std::fs::read(stage.root.join("usr/file")).unwrap(), b"x");
    let read = |name: &str| std::fs::read_to_string(stage.dir.path().join(name)).unwrap();
    let arguments = "--mode=root --format=tar --variant=minbase -- sid - http://deb.debian.org/debian\n";
    assert_eq!(read("arguments"), arguments);
    let mut environment: Vec<_> = read("environment").lines().map(str::to_owned).collect();
    environment.retain(|line| !line.starts_with("PWD=") && !line.starts_with("_="));
    environment.sort();
    assert_eq!(environment, ["LC_ALL=C.UTF-8".to_owned(), format!("PATH={PATH}")]);
}

#[test]
fn dir_import_a_bootstrap_that_fails_gives_the_end_of_what_it_said() {
    let stage = Stage::new();
    for script in [
        "for n in $(seq 40); do echo \"line $n\" >&2; done; echo 'E: no such suite' >&2; exit 7",
        // The tree is whole and yet it failed; and it says why only after that.
        "tar -C HERE/tree -c .; exec >&-; sleep 1; echo 'E: no such suite' >&2; exit 7",
        // It broke off in the middle.
        "tar -C HERE/tree -c . | head -c 700; echo 'E: no such suite' >&2; exit 7",
    ] {
        let error = stage.play(script).0.unwrap_err();
        let text = error.to_string();
        assert!(text.contains("exit status: 7") && text.ends_with("E: no such suite"), "{text}");
        assert!(!text.contains("line 1\n"), "{text}");
        assert_eq!((error.kind(), error.errno()), (ErrorKind::Other, None));
    }
}

#[test]
fn dir_import_a_bootstrap_whose_archive_is_bad_is_ended_with_all_that_it_started() {
    let stage = Stage::new();
    let script = "echo $$ >HERE/pid; sleep 600 & echo $! >HERE/child\n\
                  head -c 100000 /dev/zero | tr '\\0' x; sleep 600";
    let error = stage.play(script).0.unwrap_err();
    assert!(matches!(&error, Error::Failed { op: "unpack", .. }), "{error}");
    assert!(stage.is_gone("pid") && stage.is_gone("child"));
}

#[test]
fn dir_import_a_bootstrap_without_room_is_out_of_room_whatever_mmdebstrap_says() {
    let stage = Stage::new();
    let root = stage.root.to_str().unwrap();
    let mount = |program: &str, arguments: &[&str]| {
        assert!(Command::new(program).args(arguments).status().unwrap().success());
    };
    mount("mount", &["-t", "tmpfs", "-o", "size=1M", "tmpfs", root]);
    let script = "echo $$ >HERE/pid; head -c 3000000 /dev/urandom >HERE/tree/usr/big\n\
                  tar -C HERE/tree -c .; echo 'E: broken pipe' >&2; exit 3";
    let result = stage.play(script).0;
    mount("umount", &[root]);
    assert_eq!(result.unwrap_err().kind(), ErrorKind::NoRoom);
    assert!(stage.is_gone("pid"));
}

#[test]
fn dir_import_a_bootstrap_that_stops_half_way_without_failing_is_a_broken_archive() {
    let stage = Stage::new();
    let error = stage.play("tar -C HERE/tree -c . | head -c 700").0.unwrap_err();
    assert!(error.is_truncated());
}

#[test]
fn a_bootstrap_without_mmdebstrap_says_which_package_to_install() {
    let error = Order::with("/nonexistent/mmdebstrap", "sid", None, None).unwrap_err().to_string();
    assert!(error.contains("install the package mmdebstrap"), "{error}");
}

#[test]
fn dir_import_a_mmdebstrap_that_cannot_be_run_is_an_error() {
    let stage = Stage::new();
    let order = stage.order("exit 0");
    std::fs::write(order.program, "#!/nonexistent/interpreter\n").unwrap();
    let error = order.fill(&stage.root, &mut Silent).unwrap_err();
    assert!(matches!(&error, Error::Failed { op: "run", .. }), "{error}");
    let plan = effect::Plan { at: 2, mode: effect::Mode::Fail(libc::EAGAIN) };
    let order = stage.order("exit 0");
    let (result, seen) = effect::run(plan, || order.fill(&stage.root, &mut Silent));
    assert_eq!(result.unwrap().unwrap_err().errno(), Some(libc::EAGAIN));
    assert_eq!(seen, ["fork worker", "run mmdebstrap"]);
}

#[test]
fn dir_import_the_real_mmdebstrap_says_what_is_wrong_with_a_suite() {
    let stage = Stage::new();
    let order = Order::new("nosuchsuite", None, Some("file:///nonexistent/mirror")).unwrap();
    let error = order.fill(&stage.root, &mut Silent).unwrap_err();
    let Error::Program { program, tail, .. } = &error else { panic!("{error}") };
    assert_eq!(*program, MMDEBSTRAP);
    assert!(tail.contains("nosuchsuite") || tail.contains("E: "), "{tail}");
}

/// As [`Steps`], for somebody who waits a second.
struct Impatient;

impl Progress for Impatient {
    fn start(&mut self, _what: &str, _total: Option<u64>) {}
    fn advance(&mut self, _bytes: u64) {}
    fn finish(&mut self) {}
    fn patience(&self) -> Duration {
        Duration::from_secs(1)
    }
}

#[test]
fn dir_import_a_bootstrap_that_stalls_is_given_up_and_gone() {
    let stage = Stage::new();
    let order = stage.order("echo $$ >HERE/pid; tar -C HERE/tree -c . | head -c 700; exec sleep 600");
    let began = Instant::now();
    let error = order.fill(&stage.root, &mut Impatient).unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    let told = crate::sys::chain(&error);
    assert!(told.starts_with("cannot unpack bootstrap:sid: it came no further for 1 s"), "{told}");
    assert!(stage.is_gone("pid"));
}

#[test]
fn dir_import_a_bootstrap_that_says_something_now_and_then_is_no_stalled_one() {
    let stage = Stage::new();
    let order = stage
        .order("for n in 1 2 3 4 5; do echo \"I: step $n\" >&2; sleep 0.5; done; exec tar -C HERE/tree -c .");
    assert_eq!(order.fill(&stage.root, &mut Impatient).unwrap().files, 3);
}
