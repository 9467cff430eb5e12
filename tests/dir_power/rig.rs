//! A file system on a loop device, in whose place the state of an installation lies. A copy of the device's file is
//! what a power cut leaves of it: what the file system has not written yet is in memory, and not in the copy.
//!
//! Two file systems of one id cannot be mounted at once: copies are looked at when the work is done and its file
//! system unmounted.

use std::cell::RefCell;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::harness::{Installation, left, wait_until};
use crate::seen;
use crate::state::Seen;
use crate::step::Steps;

/// Where the state of an installation lies.
const STATE: &str = "/var/lib/zchroot";
/// Without digests: they are made in the background, by a process that would keep the file system.
const CONFIG: &str = "version = 1\ngrace = \"0s\"\ndigests = \"never\"\n[space]\nhard-floor = \"0\"\nsoft-floor = \"0\"\nsoft-percent = 0\n";

const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// What is made on the loop device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileSystem {
    Ext4,
    Xfs,
    Btrfs,
}

impl FileSystem {
    fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
            Self::Btrfs => "btrfs",
        }
    }

    fn make(self, image: &Path) {
        // The smallest that mkfs.xfs makes; most of it is a hole.
        std::fs::File::create(image).unwrap().set_len(400 << 20).unwrap();
        let words: &[&str] = match self {
            // Nothing is left to a thread that writes in the background.
            Self::Ext4 => &["-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0"],
            Self::Xfs | Self::Btrfs => &["-q", "-f"],
        };
        run(&format!("mkfs.{}", self.name()), words, &[image]);
    }

    /// Mounts it; the loop device goes with the mount. What is in memory stays there as long as it can.
    fn mount(self, image: &Path, at: &Path) {
        let options = match self {
            Self::Ext4 | Self::Btrfs => "loop,commit=300",
            Self::Xfs => "loop",
        };
        std::fs::create_dir_all(at).unwrap();
        run("mount", &["-t", self.name(), "-o", options], &[image, at]);
    }
}

/// What goes on beside the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beside {
    /// Nothing: on the disk is what the program itself has flushed.
    Nobody,
    /// Before each cut somebody flushes a file of his own, and with it whatever the file system throws in: on ext4 and
    /// XFS what there is of names and sizes, but not of contents.
    AnotherWhoFlushes,
}

impl Beside {
    /// What nobody flushes is no step if nobody is beside us: the disk is as it was.
    pub fn steps(self) -> Steps {
        match self {
            Self::Nobody => Steps::Paths,
            Self::AnotherWhoFlushes => Steps::Trees,
        }
    }
}

/// A moment at which the power went.
#[derive(Debug, Clone)]
pub struct Cut {
    /// What was going on.
    pub place: String,
    /// It happened between these two.
    pub begun: Instant,
    pub done: Instant,
    /// No command has written to a source session's tree yet.
    pub untouched: bool,
    /// The disk at that moment: several cuts may have one.
    disk: usize,
}

/// The disk between two writes to it.
struct Disk {
    writes: String,
    /// Absent if it was not chosen.
    file: Option<PathBuf>,
}

/// Which cuts are looked at: of those at a step one of `steps`, of those at which something was just reported one of
/// `reports`.
#[derive(Debug, Clone, Copy)]
pub struct Choice {
    pub round: usize,
    pub steps: usize,
    pub reports: usize,
}

impl Choice {
    /// One round of these, by ZCHROOT_TEST_SEED, or else by chance; with ZCHROOT_TEST_LONG so many rounds that none is
    /// left out.
    pub fn rounds(steps: usize, reports: usize, long: usize) -> Vec<Self> {
        if Self::is_long() {
            return (0..long).map(|round| Self { round, steps: long, reports: long }).collect();
        }
        vec![Self { round: seed(), steps, reports }]
    }

    pub fn is_long() -> bool {
        std::env::var_os("ZCHROOT_TEST_LONG").is_some()
    }
}

/// The same all the time, and printed once.
fn seed() -> usize {
    use std::hash::{BuildHasher as _, Hasher as _};
    static SEED: std::sync::OnceLock<usize> = std::sync::OnceLock::new();
    let given =
        || std::env::var("ZCHROOT_TEST_SEED").ok().map(|seed| seed.parse().expect("a number as seed"));
    let by_chance = || std::collections::hash_map::RandomState::new().build_hasher().finish() >> 32;
    *SEED.get_or_init(|| {
        let seed: u64 = given().unwrap_or_else(by_chance);
        println!("ZCHROOT_TEST_SEED={seed}");
        usize::try_from(seed).unwrap()
    })
}

/// The file system, and the installation whose state is on it.
pub struct Rig {
    pub host: Installation,
    kind: FileSystem,
    pub beside: Beside,
    choice: Choice,
    device: String,
    disks: RefCell<Vec<Disk>>,
    /// How many there were, looked at or not: reports, and steps.
    cuts: std::cell::Cell<(usize, usize)>,
    /// Dropped last: the images lie in it.
    images: tempfile::TempDir,
}

impl Rig {
    pub fn new(kind: FileSystem, beside: Beside, choice: Choice) -> Self {
        left::leave_the_mounts_of_others();
        let host = Installation::empty();
        // In memory, if it can be: it is copied at each cut.
        let memory = Path::new("/dev/shm");
        let place = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let images = tempfile::Builder::new().prefix("zchroot-test-").tempdir_in(place).unwrap();
        let image = images.path().join("disk");
        kind.make(&image);
        kind.mount(&image, &host.at(STATE));
        let device = device_of(&host.at(STATE));
        host.zchroot(["init"]).ok();
        host.configure(CONFIG);
        let (disks, cuts) = (RefCell::default(), std::cell::Cell::new((0, 0)));
        let rig = Self { host, kind, beside, choice, device, disks, cuts, images };
        rig.flush();
        rig
    }

    /// What a machine has been running for a while has on its disk.
    pub fn flush(&self) {
        let top = std::fs::File::open(self.host.at(STATE)).unwrap();
        rustix::fs::syncfs(top).unwrap();
    }

    /// Cuts the power, without the work noticing; `None` if this one is not to be looked at.
    pub fn cut(&self, place: &str, untouched: bool, reported: bool) -> Option<Cut> {
        let (mut reports, mut steps) = self.cuts.get();
        let (count, one_of) =
            if reported { (&mut reports, self.choice.reports) } else { (&mut steps, self.choice.steps) };
        *count += 1;
        let taken = *count % one_of == self.choice.round % one_of;
        self.cuts.set((reports, steps));
        if taken && self.beside == Beside::AnotherWhoFlushes {
            let mut file = std::fs::File::create(self.host.at(STATE).join("another")).unwrap();
            file.write_all(place.as_bytes()).unwrap();
            file.sync_all().unwrap();
        }
        let begun = Instant::now();
        let disk = self.disk(taken)?;
        Some(Cut { place: place.to_owned(), begun, done: Instant::now(), untouched, disk })
    }

    /// The disk as it is now. A copy beside which somebody wrote is none of any moment, and made again.
    fn disk(&self, taken: bool) -> Option<usize> {
        let mut disks = self.disks.borrow_mut();
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let writes = writes_to(&self.device);
            if disks.last().is_none_or(|disk| disk.writes != writes) {
                disks.push(Disk { writes: writes.clone(), file: None });
            }
            let at = disks.len() - 1;
            if disks[at].file.is_some() {
                return Some(at);
            }
            if !taken {
                return None;
            }
            let file = self.images.path().join(format!("cut-{at}"));
            run("cp", &["--sparse=always"], &[&self.images.path().join("disk"), &file]);
            if writes_to(&self.device) == writes {
                disks[at].file = Some(file);
                return Some(at);
            }
            assert!(Instant::now() < deadline, "somebody writes to the disk all the time");
        }
    }

    pub fn disks(&self) -> usize {
        self.disks.borrow().len()
    }

    /// Lets the copies be mounted: nothing of the work may run any more.
    pub fn put_away(&self) {
        assert!(self.host.clear(), "mounts of the work would not go");
        forget(self.kind, &self.device, &self.images.path().join("disk"));
    }

    /// What the machine finds when the power is back, once for each disk that was looked at: an installation of its
    /// own, whose `/run` is empty. Cuts that have a disk in common are given together.
    pub fn copies<'a>(&self, cuts: &'a [Cut]) -> impl Iterator<Item = (Copy, Vec<&'a Cut>)> {
        let mut disks: Vec<usize> = cuts.iter().map(|cut| cut.disk).collect();
        disks.dedup();
        disks.into_iter().map(move |disk| {
            let file = self.disks.borrow()[disk].file.clone().unwrap();
            let copy = Copy::new(self, file);
            (copy, cuts.iter().filter(|cut| cut.disk == disk).collect())
        })
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.host.clear();
    }
}

/// A file system as a power cut left it.
pub struct Copy {
    pub host: Installation,
    kind: FileSystem,
    device: String,
    file: PathBuf,
}

impl Copy {
    fn new(rig: &Rig, file: PathBuf) -> Self {
        let host = Installation::empty();
        rig.kind.mount(&file, &host.at(STATE));
        let device = device_of(&host.at(STATE));
        for entry in std::fs::read_dir(rig.host.at("/etc/zchroot/templates.d")).unwrap().flatten() {
            let text = std::fs::read_to_string(entry.path()).unwrap();
            host.write(&format!("/etc/zchroot/templates.d/{}", entry.file_name().display()), &text);
        }
        host.configure(CONFIG);
        Self { host, kind: rig.kind, device, file }
    }

    /// What there is of the store in it.
    pub fn look(&self) -> Seen {
        seen::look(&self.host.at(STATE))
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        if self.host.clear() && !std::thread::panicking() {
            forget(self.kind, &self.device, &self.file);
        }
        let _ = std::fs::remove_file(&self.file);
    }
}

/// Waits until a device has let its file go, and lets btrfs forget that it knew a file system there.
fn forget(kind: FileSystem, device: &str, file: &Path) {
    let backing = format!("/sys/block/{device}/loop/backing_file");
    // Another test may have got the device meanwhile.
    let is_ours =
        || std::fs::read_to_string(&backing).is_ok_and(|text| Some(text.trim_end()) == file.to_str());
    wait_until("the loop device is free", || !is_ours());
    if kind == FileSystem::Btrfs {
        // On newer kernels it has done so by itself.
        let words = ["device", "scan", "--forget", &format!("/dev/{device}")];
        let _ = Command::new("btrfs").env("PATH", PATH).args(words).output();
    }
}

/// The loop device that is mounted at a place.
fn device_of(at: &Path) -> String {
    assert!(left::mounts(at).contains(&at.to_owned()));
    let table = std::fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
    let line = table.lines().find(|line| line.split(' ').nth(4) == at.to_str()).unwrap();
    let source = line.rsplit(" - ").next().unwrap().split(' ').nth(1).unwrap();
    source.strip_prefix("/dev/").unwrap().to_owned()
}

/// How much was written to a device, when nothing is on its way.
fn writes_to(device: &str) -> String {
    let read = |file: &str| std::fs::read_to_string(format!("/sys/block/{device}/{file}")).unwrap();
    let on_their_way = || read("inflight").split_whitespace().nth(1).unwrap().to_owned();
    wait_until("nothing is on its way to the disk", || on_their_way() == "0");
    let stat = read("stat");
    let fields: Vec<&str> = stat.split_whitespace().collect();
    // Writes, sectors written, discards.
    [4, 6, 11].map(|at| fields.get(at).copied().unwrap_or_default()).join(" ")
}

fn run(program: &str, words: &[&str], paths: &[&Path]) {
    let output = Command::new(program).env("PATH", PATH).args(words).args(paths).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {words:?} {paths:?}: {error}");
}
