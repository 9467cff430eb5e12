//! An installation on one of the stores, with a template of stamped files.

#[cfg(feature = "zfs")]
use std::collections::BTreeMap;
use std::ops::Deref;

use crate::harness::{self, Installation, MINIMAL};
#[cfg(feature = "zfs")]
use crate::zfs_pool::{self, Pool};

/// The programs of a tree. Each file of one is a point of every operation that copies it: few are as good as many.
const PROGRAMS: [&str; 13] =
    ["busybox", "cat", "echo", "ln", "ls", "mkdir", "rm", "sh", "sleep", "sort", "test", "true", "wc"];

/// Files far from each other get the generation $1; some of them in a directory of a new name, one has two names.
pub(crate) const STAMP: &str = "
set -e
rm -rf /srv/moving-*
mkdir -p /srv/moving-$1 /usr/lib/part /srv/data/deep
for i in 0 1 2; do
  echo $1 > /srv/moving-$1/$i; echo $1 > /usr/lib/part/$i; echo $1 > /srv/data/deep/$i
done
echo $1 > /etc/generation
rm -f /etc/linked
ln /etc/generation /etc/linked
";
/// How many files there are and what they say, each value once.
const LOOK: &str = "
all() { cat /srv/moving-*/* /usr/lib/part/* /srv/data/deep/* /etc/generation /etc/linked; }
echo $(all | wc -l) $(all | sort -u) $(ls -d /srv/moving-*)";

pub(crate) struct Host {
    // In this order they are dropped: a pool can go only when nothing of it is mounted.
    installation: Installation,
    #[cfg(feature = "zfs")]
    pool: Option<Pool>,
}

impl Deref for Host {
    type Target = Installation;

    fn deref(&self) -> &Installation {
        &self.installation
    }
}

impl Drop for Host {
    /// A pool that somebody reads in, for digests, cannot be destroyed.
    fn drop(&mut self) {
        for _ in 0..500 {
            if self.installation.digesting().is_empty() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
}

impl Host {
    pub(crate) fn on_directories() -> Self {
        let installation = Installation::new();
        installation.configure("version = 1\ngrace = \"0s\"\n");
        #[cfg(feature = "zfs")]
        let host = Self { installation, pool: None };
        #[cfg(not(feature = "zfs"))]
        let host = Self { installation };
        host.with_demo()
    }

    #[cfg(feature = "zfs")]
    pub(crate) fn on_a_pool() -> Self {
        let pool = Pool::make();
        let installation = Installation::empty();
        installation.zchroot(["init", "--pool", &pool.name]).ok();
        let pool_line = format!("[zfs]\npool = \"{}\"\n", pool.name);
        installation.configure(&format!("version = 1\ngrace = \"0s\"\nstore = \"zfs\"\n\n{pool_line}"));
        Self { installation, pool: Some(pool) }.with_demo()
    }

    fn with_demo(self) -> Self {
        self.define("demo", &format!("{MINIMAL}keep = 1\n"));
        harness::tree::make(&self.at("/source"));
        for entry in std::fs::read_dir(self.at("/source/usr/bin")).unwrap().map(Result::unwrap) {
            if PROGRAMS.iter().all(|name| entry.file_name() != *name) {
                std::fs::remove_file(entry.path()).unwrap();
            }
        }
        self.zchroot(["create", "demo", "--from", self.at("/source").to_str().unwrap(), "-m", "first"]).ok();
        self.update(1);
        self
    }

    /// Makes a generation that nothing happens to.
    pub(crate) fn update(&self, generation: usize) {
        self.zchroot(["-q", "update", "demo", "--", "sh", "-c", STAMP, "stamp", &generation.to_string()])
            .ok();
    }

    /// Takes a template away by hand, with all that is known of it: thousands of them would make every call slow.
    pub(crate) fn forget(&self, template: &str) {
        #[cfg(feature = "zfs")]
        if let Some(pool) = &self.pool {
            let dataset = pool.dataset(&format!("templates/{template}"));
            let _ = std::process::Command::new("/usr/sbin/zfs").args(["destroy", "-r", &dataset]).output();
        }
        for above in ["templates", "store/templates", "store/drafts"] {
            let _ = std::fs::remove_dir_all(self.at(&format!("/var/lib/zchroot/{above}/{template}")));
        }
        let _ = std::fs::remove_file(self.at(&format!("/etc/zchroot/templates.d/{template}.toml")));
    }

    /// The words of a call, `--root` and all.
    pub(crate) fn words(&self, words: &[&str]) -> Vec<String> {
        let root = self.path().to_str().unwrap();
        ["--root", root].iter().chain(words).map(|word| (*word).to_owned()).collect()
    }

    /// The generation of a template: one, in all its files.
    #[track_caller]
    pub(crate) fn generation(&self) -> usize {
        let look = self.run_in_demo(LOOK).ok();
        let text = look.text();
        let [count, generation, moving] = text.split(' ').collect::<Vec<_>>()[..] else {
            panic!("neither the old nor the new version: {look}")
        };
        assert!(
            count == "11" && moving == format!("/srv/moving-{generation}"),
            "not a whole version: {look}"
        );
        assert_eq!(
            self.versions("demo").last(),
            Some(&self.current("demo")),
            "the pointer is not the newest version"
        );
        generation.parse().unwrap()
    }

    /// What sessions left, in the store too, once every session has been ended and gc has run.
    pub(crate) fn remains(&self) -> Vec<String> {
        let mut found = self.left_over();
        found.extend(self.remains_of_images());
        #[cfg(feature = "zfs")]
        if let Some(pool) = &self.pool {
            found.extend(datasets(pool));
            return found;
        }
        let templates = std::fs::read_dir(self.at("/var/lib/zchroot/store/templates")).unwrap();
        for template in templates.map(|entry| entry.unwrap().path()) {
            let versions = std::fs::read_dir(template).unwrap();
            found.extend(superfluous(versions.map(|entry| entry.unwrap().path().display().to_string())));
        }
        found
    }
}

impl Host {
    /// What is there of images besides those that are listed.
    fn remains_of_images(&self) -> Vec<String> {
        let list = self.zchroot(["image", "list", "--json"]).ok().json();
        let images = list["images"].as_array().unwrap().iter();
        let digests: Vec<&str> = images.map(|image| image["digest"].as_str().unwrap()).collect();
        let mut found = Vec::new();
        let places: [(&str, &str, &[&str]); 3] = [
            ("/var/lib/zchroot/images", "", &[".toml", ".files"]),
            ("/var/lib/zchroot/store/images", "", &[""]),
            ("/run/zchroot/lock", "image-", &[""]),
        ];
        for (folder, before, afters) in places {
            let Ok(entries) = std::fs::read_dir(self.at(folder)) else { continue };
            let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            let is_known = |name: &str| {
                let rest = name.strip_prefix(before).unwrap_or_default();
                let mut digits = afters.iter().filter_map(|after| rest.strip_suffix(after));
                digits.any(|digits| digests.contains(&digits))
            };
            let unknown = names.filter(|name| name.starts_with(before) && !is_known(name));
            found.extend(unknown.map(|name| format!("of an image: {folder}/{name}")));
        }
        #[cfg(feature = "zfs")]
        if let Some(pool) = &self.pool {
            let dataset = pool.dataset("images");
            let text = zfs_pool::run("zfs", &["list", "-Hr", "-o", "name", &dataset]);
            let unknown = |name: &&str| !digests.contains(&name.rsplit('/').next().unwrap());
            found.extend(text.lines().skip(1).filter(unknown).map(str::to_owned));
        }
        found
    }
}

/// What is there besides the current version and the one before, which `keep = 1` is for. Their names sort by time.
fn superfluous(versions: impl Iterator<Item = String>) -> Vec<String> {
    let mut versions: Vec<String> = versions.collect();
    versions.sort_by_key(|name| name.rsplit(['/', '@']).next().map(str::to_owned));
    versions.truncate(versions.len().saturating_sub(2));
    versions
}

/// Clones of sessions, heads of a template beside its current one, superfluous snapshots.
///
/// What a rollback went over stands under its former head, which then is a clone of the current one: that head, and
/// the snapshot that both descend from, stay as long as `keep` wants the version.
#[cfg(feature = "zfs")]
fn datasets(pool: &Pool) -> Vec<String> {
    let list = |options: &[&str], of: &str| -> Vec<String> {
        let dataset = pool.dataset(of);
        let text = zfs_pool::run("zfs", &[&["list", "-Hr"], options, &[&dataset]].concat());
        text.lines().skip(1).map(str::to_owned).collect()
    };
    let mut found = list(&["-o", "name"], "sessions");
    let mut snapshots: BTreeMap<String, Vec<String>> = BTreeMap::new();
    // Beside the current one: a head, and the snapshot that it is a clone of.
    let mut heads: Vec<(String, String)> = Vec::new();
    // The heads inherit the property from their template.
    for line in list(&["-t", "filesystem,snapshot", "-o", "name,zchroot:current,origin"], "templates") {
        let [name, current, origin] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let [.., template, last] = name.split('/').collect::<Vec<_>>()[..] else { panic!("{name}") };
        match last.contains('@') {
            true => snapshots.entry(template.to_owned()).or_default().push(name.to_owned()),
            false if template == "templates" || last == current => {}
            false => heads.push((name.to_owned(), origin.to_owned())),
        }
    }
    let all: Vec<String> = snapshots.values().flatten().cloned().collect();
    let superfluous: Vec<String> =
        snapshots.into_values().flat_map(|names| superfluous(names.into_iter())).collect();
    let (branches, others): (Vec<_>, Vec<_>) = heads.into_iter().partition(|(head, origin)| {
        let own = format!("{head}@{}", head.rsplit('/').next().unwrap());
        all.contains(&own) && !superfluous.contains(&own) && origin != "-"
    });
    found.extend(others.into_iter().map(|(head, _)| head));
    found.extend(superfluous.into_iter().filter(|name| branches.iter().all(|(_, origin)| origin != name)));
    found
}
