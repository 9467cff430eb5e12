//! The work that power cuts come into: versions that carry their generation in 200 files, and looking at them.

use crate::harness::{Done, Installation};
use crate::ops::{Ops, What};

pub const TEMPLATE: &str = "race";

/// Writes generation $1 into all files; a directory changes its name, one file has two names.
pub const STAMP: &str = "
set -e
rm -rf /srv/moving-*
mkdir -p /srv/moving-$1
for i in 0 1 2 3 4 5 6 7 8 9; do
  mkdir -p /srv/data/$i/deep /usr/lib/part-$i
  for j in 0 1 2 3 4 5 6 7 8; do echo $1 > /srv/data/$i/deep/$j; done
  for j in 0 1 2 3 4 5 6 7 8; do echo $1 > /usr/lib/part-$i/$j; done
  echo $1 > /srv/moving-$1/$i
done
for j in 0 1 2 3 4 5 6 7 8; do echo $1 > /etc/stamp-$j; done
rm -f /etc/linked
ln /etc/stamp-0 /etc/linked
ln -sfn moving-$1 /srv/now
";
/// How many files there are, where the link leads, then what the files say, each value once.
pub const LOOK: &str = "
all() { cat /srv/data/*/deep/* /usr/lib/part-*/* /srv/moving-*/* /etc/stamp-* /etc/linked; }
all | wc -l; basename $(readlink /srv/now); all | sort -u
";

/// Says how many old versions the template keeps.
pub fn define(host: &Installation, keep: usize) {
    host.define(TEMPLATE, &format!("version = 1\nprofile = \"minimal\"\nkeep = {keep}\n"));
}

/// How many it keeps.
pub fn keep(host: &Installation) -> usize {
    let text = host.read(&format!("/etc/zchroot/templates.d/{TEMPLATE}.toml"));
    text.lines().find_map(|line| line.strip_prefix("keep = ")?.parse().ok()).unwrap()
}

/// A directory whose files carry generation `generation`, to create the template from.
pub fn source(host: &Installation, generation: usize) -> String {
    let at = host.path().join("source");
    crate::harness::tree::make(&at);
    let stamp = STAMP.replace(" /srv/", " srv/").replace(" /usr/", " usr/").replace(" /etc/", " etc/");
    let status = std::process::Command::new("busybox")
        .args(["sh", "-c", &stamp, "stamp", &generation.to_string()])
        .current_dir(&at)
        .status()
        .unwrap();
    assert!(status.success());
    at.to_str().unwrap().to_owned()
}

/// The generation that an image carries: none that a version has.
pub const IMAGE: usize = 700;

/// An archive of a tree of that generation, and what its image is called by.
pub fn archive(host: &Installation) -> (String, String) {
    let tree = source(host, IMAGE);
    let archive = host.path().join("image.tar");
    crate::harness::tree::pack(std::path::Path::new(&tree), &archive);
    let output = std::process::Command::new("sha256sum").arg(&archive).output().unwrap();
    let digest = String::from_utf8(output.stdout).unwrap()[..64].to_owned();
    (archive.to_str().unwrap().to_owned(), digest)
}

/// Generation 1.
pub fn create(host: &Installation, ops: &Ops) {
    let from = source(host, 1);
    ops.note(&[What::Commit(1)], || {
        host.zchroot(["-q", "create", TEMPLATE, "--from", &from, "-m", "generation 1"]).ok().status == 0
    });
}

/// The words of an update to a generation.
pub fn update_words(generation: usize) -> Vec<String> {
    let (text, message) = (generation.to_string(), format!("generation {generation}"));
    ["-q", "update", TEMPLATE, "-m", &message, "--", "sh", "-c", STAMP, "stamp", &text]
        .map(str::to_owned)
        .into()
}

pub fn update(host: &Installation, ops: &Ops, generation: usize) {
    let words = update_words(generation);
    ops.note(&[What::Commit(generation)], || host.zchroot(words.iter().map(String::as_str)).ok().status == 0);
}

/// The generation that the message of the current version names; none if there is no version.
pub fn current(host: &Installation) -> Option<usize> {
    let text =
        std::fs::read_to_string(host.at(&format!("/var/lib/zchroot/templates/{TEMPLATE}/current"))).ok()?;
    let message = text.lines().find_map(|line| line.strip_prefix("message = \"generation ")).unwrap();
    Some(message.trim_end_matches('"').parse().unwrap())
}

/// The one generation that a throw-away session shows.
pub fn look_in(host: &Installation) -> usize {
    one_generation(&host.zchroot(["run", TEMPLATE, "-d", "/", "--", "sh", "-c", LOOK]).ok())
}

/// What [`LOOK`] printed, if it is one whole generation.
pub fn one_generation(done: &Done) -> usize {
    let text = done.text();
    let lines: Vec<&str> = text.lines().collect();
    let [count, link, generation] = lines[..] else { panic!("not one generation: {done}") };
    assert_eq!(count, "200", "{done}");
    assert_eq!(link, format!("moving-{generation}"), "{done}");
    generation.parse().unwrap()
}

/// The next version can be committed, and a new session begun on it.
pub fn goes_on(host: &Installation) {
    if current(host).is_none() {
        host.create(TEMPLATE);
    }
    host.zchroot(["-q", "update", TEMPLATE, "-m", "next", "--", "sh", "-c", "echo next >/srv/next"]).ok();
    host.zchroot(["run", TEMPLATE, "-d", "/", "--", "cat", "/srv/next"]).ok().prints("next");
    host.assert_nothing_left();
}
