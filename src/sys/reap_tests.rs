//! Real processes in real trees, ended.

#![expect(clippy::disallowed_methods, reason = "tests start processes and make files of their own")]

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::cgroup::Cgroup;
use super::effect::{Mode, Plan, run};
use super::enter::{Ended, Namespaces};
use super::enter_tests::wait_until;
use super::reap::{Reaped, clear, namespaces_holding, source_of};
use super::testing::{TestTree, Visit, fork, in_child};

const GRACE: Duration = Duration::from_secs(3);

fn sleeper(program: &Path, dir: &Path, stdin: Stdio) -> Child {
    Command::new(program).arg("1234").current_dir(dir).stdin(stdin).spawn().unwrap()
}

/// A process in no tree, in a directory of the host that trees show a part of.
fn bystander() -> Child {
    sleeper(Path::new("/bin/sleep"), Path::new("/usr/bin"), Stdio::null())
}

fn is_alive(child: &mut Child) -> bool {
    child.try_wait().unwrap().is_none()
}

fn end(mut child: Child) {
    assert!(is_alive(&mut child));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn sys_root_a_hundred_left_over_processes_cost_no_more_than_one() {
    for tree in [TestTree::new(), TestTree::bound()] {
        let outside = bystander();
        let script = "i=0; while [ $i -lt 100 ]; do sleep 1234 & i=$((i+1)); done";
        for user in ["root", "nobody"] {
            assert_eq!(Visit::script(script).user(user).at(&tree.root()).unwrap(), Ended::Exited(0));
            let before = Instant::now();
            assert_eq!(clear(&tree.root(), None, GRACE).unwrap(), Reaped { ended: 100, left: vec![] });
            assert!(before.elapsed() < GRACE, "{:?}", before.elapsed());
        }
        assert_eq!(clear(&tree.root(), None, GRACE).unwrap(), Reaped::default());
        end(outside);
    }
}

#[test]
fn sys_root_who_ignores_sigterm_or_is_stopped_is_ended_too() {
    let tree = TestTree::new();
    let script = "(trap '' TERM; echo > /tmp/a; while :; do sleep 1; done) & \
                  (kill -STOP $(exec sh -c 'echo $PPID'); sleep 9) & \
                  while ! [ -e /tmp/a ]; do sleep 0.01; done";
    assert_eq!(Visit::script(script).at(&tree.root()).unwrap(), Ended::Exited(0));
    let reaped = clear(&tree.root(), None, Duration::from_millis(200)).unwrap();
    assert!(reaped.ended >= 2 && reaped.left.is_empty(), "{reaped:?}");
    assert_eq!(clear(&tree.root(), None, GRACE).unwrap(), Reaped::default());
}

#[test]
fn sys_root_a_directory_an_open_file_or_a_program_in_the_tree_is_enough() {
    for tree in [TestTree::new(), TestTree::bound()] {
        tree.file("tmp/file", "", 0o644);
        let program = tree.root().join("srv/sleep");
        std::fs::copy("/bin/sleep", &program).unwrap();
        let (sleep, away) = (Path::new("/bin/sleep"), Path::new("/"));
        let file = File::open(tree.root().join("tmp/file")).unwrap();
        let mut users = [
            sleeper(sleep, &tree.root().join("tmp"), Stdio::null()),
            sleeper(sleep, &tree.root().join("usr/bin"), Stdio::null()),
            sleeper(sleep, away, file.into()),
            sleeper(&program, away, Stdio::null()),
        ];
        let outside = bystander();
        assert_eq!(clear(&tree.root(), None, GRACE).unwrap(), Reaped { ended: 4, left: vec![] });
        assert!(users.iter_mut().all(|user| !is_alive(user)));
        end(outside);
    }
}

#[test]
fn sys_root_those_who_wait_for_us_are_named_and_spared() {
    let tree = TestTree::new();
    let root = tree.root();
    let status = in_child(|| {
        // This process has its directory inside, and its child clears the tree.
        rustix::process::chdir(root.join("tmp")).unwrap();
        let own = rustix::process::getpid().as_raw_pid();
        in_child(|| {
            rustix::process::chdir("/").unwrap();
            let reaped = clear(&root, None, GRACE).unwrap();
            let [left] = reaped.left.as_slice() else { panic!("{reaped:?}") };
            i32::from(left.pid != own || left.name.is_empty() || reaped.ended != 0)
        })
    });
    assert_eq!(status, 0);
}

#[test]
fn sys_root_a_control_group_is_ended_at_once() {
    let tree = TestTree::new();
    let name = format!("test-{}", std::process::id());
    // Where there is no control group v2 this test has nothing to say, and must not look as if it had.
    let cgroup = Cgroup::make(&name).unwrap().expect("this host has control groups v2");
    let script = "i=0; while [ $i -lt 100 ]; do (trap '' TERM; sleep 1234) & i=$((i+1)); done";
    let mut visit = Visit::script(script);
    visit.cgroup = Some(name.clone());
    assert_eq!(visit.at(&tree.root()).unwrap(), Ended::Exited(0));
    assert!(cgroup.is_populated().unwrap());
    let again = Cgroup::open(&name).unwrap().unwrap();
    let before = Instant::now();
    assert_eq!(clear(&tree.root(), Some(&again), GRACE).unwrap(), Reaped::default());
    assert!(before.elapsed() < GRACE, "{:?}", before.elapsed());
    assert!(!cgroup.is_populated().unwrap());
    drop(again);
    cgroup.remove().unwrap();
    assert!(Cgroup::open(&name).unwrap().is_none());
}

#[test]
fn sys_root_a_control_group_goes_with_those_below_it_but_not_with_processes_in_it() {
    let name = format!("test-below-{}", std::process::id());
    let cgroup = Cgroup::make(&name).unwrap().expect("this host has control groups v2");
    let below = Cgroup::make(&format!("{name}/a/b")).unwrap().unwrap();
    drop(below);
    let child = bystander();
    let procs = rustix::fs::openat(
        cgroup.as_fd(),
        "cgroup.procs",
        rustix::fs::OFlags::WRONLY,
        rustix::fs::Mode::empty(),
    )
    .unwrap();
    rustix::io::write(procs, child.id().to_string().as_bytes()).unwrap();
    let error = cgroup.remove().unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EBUSY));
    end(child);
    Cgroup::open(&name).unwrap().unwrap().remove().unwrap();
}

#[test]
fn sys_root_where_nothing_is_mounted_nobody_is_looked_for() {
    let dir = tempfile::tempdir().unwrap();
    let user = sleeper(Path::new("/bin/sleep"), dir.path(), Stdio::null());
    for path in [dir.path().to_owned(), dir.path().join("absent")] {
        assert_eq!(clear(&path, None, GRACE).unwrap(), Reaped::default());
    }
    assert!(source_of(dir.path()).unwrap().is_none());
    end(user);
}

#[test]
fn sys_root_clearing_can_fail_at_its_effect() {
    let tree = TestTree::new();
    let user = sleeper(Path::new("/bin/sleep"), &tree.root(), Stdio::null());
    let (result, seen) =
        run(Plan { at: 1, mode: Mode::Fail(libc::EPERM) }, || clear(&tree.root(), None, GRACE));
    assert_eq!(result.unwrap().unwrap_err().raw_os_error(), Some(libc::EPERM));
    assert_eq!(seen, ["kill process"]);
    end(user);
}

#[test]
fn sys_root_the_namespaces_that_still_have_a_tree_are_found() {
    for tree in [TestTree::new(), TestTree::bound()] {
        let root = tree.root();
        let source = source_of(&root).unwrap().unwrap();
        assert!(namespaces_holding(&source).unwrap().is_empty());
        let visitor = fork(|| {
            let visit = Visit::script("sleep 1234 & echo > /tmp/ready; wait");
            let namespaces = Namespaces { pid: true, ..Namespaces::default() };
            matches!(visit.namespaces(namespaces).at(&root), Ok(Ended::Signaled(_))).into()
        });
        wait_until(|| root.join("tmp/ready").try_exists().unwrap());
        // The visitor's own parent has this thread's mounts, the command a namespace of its own.
        let holders = namespaces_holding(&source).unwrap();
        let inside: Vec<_> = holders.iter().filter(|holder| holder.point == Path::new("/")).collect();
        assert_eq!((holders.len(), inside.len()), (2, 1), "{holders:?}");
        assert_ne!(holders[0].namespace, holders[1].namespace);
        clear(&root, None, GRACE).unwrap();
        assert_eq!(visitor.wait(), Ended::Exited(1));
        assert!(namespaces_holding(&source).unwrap().is_empty());
    }
}
