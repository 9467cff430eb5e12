//! No room, few fds, a worker that dies.

use std::io::Write;

use std::time::Duration;

use rustix::pipe::PipeFlags;

use super::*;
use crate::store::ErrorKind;
use crate::sys::whereabouts::Place;
use crate::sys::worker::Worker;

/// A file system of 1 MiB, unmounted when dropped.
struct Small(tempfile::TempDir);

impl Small {
    fn new(options: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        run("mount", &["-t", "tmpfs", "-o", options, "tmpfs", text(dir.path())]);
        Self(dir)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        run("umount", &[text(self.0.path())]);
    }
}

fn archive_of(files: usize, size: usize) -> Vec<u8> {
    let mut builder = ::tar::Builder::new(Vec::new());
    for n in 0..files {
        let mut header = ::tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(size as u64);
        builder.append_data(&mut header, format!("usr/{}/{n}", n % 100), &vec![7_u8; size][..]).unwrap();
    }
    builder.into_inner().unwrap()
}

#[test]
fn dir_import_no_room_ends_it_at_once_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("archive");
    for (options, files, size) in [("size=1M", 1, 4 << 20), ("nr_inodes=50", 200, 1)] {
        let small = Small::new(options);
        std::fs::write(&path, archive_of(files, size)).unwrap();
        let error = unpack(&path, small.0.path()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NoRoom, "{}", told(&error));
        assert!(told(&error).contains("\"usr/"), "the entry is named: {}", told(&error));
    }
    // The drops above unmounted: nothing of the worker kept the file systems busy.
}

#[test]
fn dir_import_a_worker_that_stands_in_a_nearly_full_store_is_out_of_room() {
    let small = Small::new("size=1M");
    std::fs::write(small.0.path().join("filler"), vec![1_u8; 1_020_000]).unwrap();
    let stands = |site: &mut Site| {
        let _work = site.beat.at(Place::Store);
        loop {
            std::thread::sleep(Duration::from_secs(60));
        }
    };
    for patience in [Duration::MAX, Duration::from_millis(200)] {
        let mut unpacking = Unpacking::start(&[], "it", small.0.path(), None, stands).unwrap();
        if patience == Duration::MAX {
            unpacking.set_when_full(Duration::from_millis(100));
        }
        let error = unpacking.finish(&mut Impatient(patience), None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NoRoom, "{}", told(&error));
    }
}

#[test]
fn dir_import_a_worker_that_goes_on_slowly_in_a_nearly_full_store_is_not_out_of_room() {
    let small = Small::new("size=1M");
    std::fs::write(small.0.path().join("filler"), vec![1_u8; 1_020_000]).unwrap();
    // One that says nothing in between is seen to go on all the same: each is another piece of work.
    let goes_on = |site: &mut Site| {
        for _ in 0..40 {
            let _work = site.beat.at(Place::Store);
            std::thread::sleep(Duration::from_millis(30));
        }
        Ok(())
    };
    let mut unpacking = Unpacking::start(&[], "it", small.0.path(), None, goes_on).unwrap();
    unpacking.set_when_full(Duration::from_millis(900));
    unpacking.finish(&mut Silent, None).unwrap();
}

#[test]
fn dir_import_a_silent_source_is_no_lack_of_room_however_full_the_store_is() {
    let small = Small::new("size=1M");
    std::fs::write(small.0.path().join("filler"), vec![1_u8; 1_000_000]).unwrap();
    // Before the first byte, in the middle of a file, and while something is unpacked.
    for (length, compressed) in [(0, false), (4096, false), (9000, true)] {
        let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).unwrap();
        let mut write = File::from(write);
        let mut archive = archive_of(1, 8000);
        if compressed {
            archive = zstd::encode_all(&archive[..length], 1).unwrap();
            archive.truncate(archive.len() - 3);
        } else {
            archive.truncate(length);
        }
        write.write_all(&archive).unwrap();
        let mut unpacking = start(read.as_fd(), "pipe", small.0.path(), None).unwrap();
        unpacking.set_when_full(Duration::from_millis(100));
        let error = unpacking.finish(&mut Impatient(Duration::from_secs(1)), None).unwrap_err();
        let told = told(&error);
        assert_eq!(error.kind(), ErrorKind::Other, "{told}");
        assert!(told.contains("it came no further for 1 s: what it is read from stalls"), "{told}");
        assert!(small.0.path().join("filler").exists());
        let _ = std::fs::remove_dir_all(small.0.path().join("usr"));
    }
}

#[test]
fn dir_import_a_worker_that_waits_for_its_pipe_while_there_is_room_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).unwrap();
    let mut unpacking = start(read.as_fd(), "pipe", dir.path(), None).unwrap();
    drop(read);
    unpacking.set_when_full(Duration::from_millis(1));
    let writer = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(1200));
        File::from(write).write_all(&archive_of(3, 10)).unwrap();
    });
    assert_eq!(unpacking.finish(&mut Silent, None).unwrap().bytes, 30);
    writer.join().unwrap();
}

#[test]
fn dir_import_a_worker_that_is_killed_is_an_error_that_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let (read, _write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).unwrap();
    let unpacking = start(read.as_fd(), "pipe", dir.path(), None).unwrap();
    rustix::process::kill_process(unpacking.worker.pid().unwrap(), rustix::process::Signal::KILL).unwrap();
    let error = told(&unpacking.finish(&mut Silent, None).unwrap_err());
    assert!(error.contains("ended by signal 9"), "{error}");
}

#[test]
fn dir_import_twenty_thousand_files_need_few_fds() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("archive");
    let root = dir.path().join("root");
    std::fs::create_dir(&root).unwrap();
    std::fs::write(&path, archive_of(20_000, 3)).unwrap();
    // The limit is the whole process's, so it is set in one of our own: a worker that starts the worker.
    let worker = Worker::fork(&[], || {
        let limit = rustix::process::Rlimit { current: Some(64), maximum: Some(64) };
        rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
        u8::from(!unpack(&path, &root).is_ok_and(|filled| filled.files == 20_000))
    });
    assert_eq!(worker.unwrap().wait().unwrap().exit_status(), Some(0));
    assert_eq!(std::fs::read(root.join("usr/99/19999")).unwrap(), [7, 7, 7]);
}

#[test]
fn dir_import_a_failed_fork_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let file = File::open("/dev/null").unwrap();
    let plan = crate::sys::effect::Plan { at: 1, mode: crate::sys::effect::Mode::Fail(libc::EAGAIN) };
    let (result, seen) =
        crate::sys::effect::run(plan, || fill(&file, 0, "null", dir.path(), None, &mut Silent));
    assert_eq!(result.unwrap().unwrap_err().errno(), Some(libc::EAGAIN));
    assert_eq!(seen, ["fork worker"]);
}

/// Somebody who does not wait long.
struct Impatient(Duration);

impl Progress for Impatient {
    fn start(&mut self, _what: &str, _total: Option<u64>) {}
    fn advance(&mut self, _bytes: u64) {}
    fn finish(&mut self) {}
    fn patience(&self) -> Duration {
        self.0
    }
}

#[test]
fn dir_import_a_writer_that_stalls_is_given_up_with_room_too() {
    let dir = tempfile::tempdir().unwrap();
    let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).unwrap();
    let mut write = File::from(write);
    // Half a file, and then nothing: the pipe stays open.
    write.write_all(&archive_of(1, 8000)[..4096]).unwrap();
    let unpacking = start(read.as_fd(), "the pipe", dir.path(), None).unwrap();
    let worker = unpacking.worker.pid().unwrap();
    let began = std::time::Instant::now();
    let error = unpacking.finish(&mut Impatient(Duration::from_secs(1)), None).unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let told = told(&error);
    assert!(told.starts_with("cannot unpack the pipe: it came no further for 1 s: "), "{told}");
    assert_eq!(error.kind(), ErrorKind::Other, "it is no lack of room: nothing is evicted for it");
    assert!(rustix::process::test_kill_process(worker).is_err(), "the worker is gone");
}
