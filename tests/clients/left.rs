//! What clients and sessions leave behind in a host: nothing.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::host::Host;

impl Host {
    /// Fails if a client or a session left anything: a record, a tree, a mount, a process, a cgroup, a file of a build.
    #[track_caller]
    pub(crate) fn assert_nothing_left(&self) {
        let mut found = Vec::new();
        // A client that was killed may still be at work.
        for _ in 0..100 {
            found = self.left();
            if found.is_empty() {
                return;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        panic!("left over: {found:#?}");
    }

    fn left(&self) -> Vec<String> {
        let mut found = Vec::new();
        for folder in [
            "zchroot/sessions",
            "zchroot/store/sessions",
            "zchroot/store/trash",
            "schroot/session",
            "sbuild/build",
        ] {
            let files = entries(&self.at(&format!("/var/lib/{folder}")));
            found.extend(files.iter().map(|path| path.display().to_string()));
        }
        let table = std::fs::read_to_string(format!("/proc/{}/mountinfo", self.holder())).unwrap();
        let points = table.lines().filter_map(|line| line.split(' ').nth(4));
        let session = |point: &&str| point.contains("/zchroot/mount/") || point.contains("/schroot/mount/");
        found.extend(points.filter(session).map(|point| format!("mount {point}")));
        found.extend(self.strays());
        found.extend(self.cgroups().iter().map(|path| path.display().to_string()));
        found.extend(self.processes().iter().map(|pid| format!("process {pid} {}", command(*pid))));
        found
    }

    /// The datasets and snapshots of a pool that are neither the store's own, nor the image, nor a version of the template.
    fn strays(&self) -> Vec<String> {
        let mut found = self.datasets();
        if found.is_empty() {
            return found;
        }
        let (versions, container) = (self.versions(), format!("/templates/{}", self.template));
        let own = ["", "/images", "/reserve", "/sessions", "/state", "/templates", &container];
        let is_known = |name: &str| match name.rsplit_once('/') {
            Some(("/images", image)) => {
                image.trim_end_matches("@pristine").bytes().all(|c| c.is_ascii_hexdigit())
            }
            Some((above, version)) if above == container => {
                version.split('@').all(|id| versions.iter().any(|known| known == id))
            }
            _ => false,
        };
        found.retain(|name| !own.contains(&name.as_str()) && !is_known(name));
        found
    }

    pub(crate) fn cgroups(&self) -> Vec<PathBuf> {
        let tops = ["/sys/fs/cgroup/zchroot", "/sys/fs/cgroup/unified/zchroot"];
        let mut all: Vec<PathBuf> = tops.iter().flat_map(|top| entries(Path::new(top))).collect();
        all.retain(|path| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&self.template))
        });
        all
    }

    /// Who is in the host, or in a session of its template.
    pub(crate) fn processes(&self) -> Vec<i32> {
        let namespace =
            |pid: i32| std::fs::metadata(format!("/proc/{pid}/ns/mnt")).map(|stat| stat.ino()).ok();
        let own = namespace(self.holder().cast_signed());
        let inside = |pid: &i32| {
            let table = std::fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
            let is_top = |line: &str| line.split(' ').nth(4) == Some("/") && line.contains(&self.template);
            namespace(*pid) == own && own.is_some() || table.lines().any(is_top)
        };
        let all = entries(Path::new("/proc")).into_iter();
        let pids = all.filter_map(|path| path.file_name()?.to_str()?.parse::<i32>().ok());
        pids.filter(|pid| pid.cast_unsigned() != self.holder() && inside(pid)).collect()
    }
}

fn command(pid: i32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default().replace('\0', " ")
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    entries.filter_map(|entry| Some(entry.ok()?.path())).collect()
}
