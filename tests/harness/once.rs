//! What is made once for many tests and kept below the target directory, complete or not there at all.

use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

/// The directory of something that `make` makes if nobody did before, by the same recipe. What an older recipe of
/// this name made is removed.
pub fn once(name: &str, recipe: &[&str], make: impl FnOnce(&Path)) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    recipe.hash(&mut hasher);
    let base = Path::new(env!("CARGO_TARGET_TMPDIR"));
    // In a machine that tests were carried to it is not there yet.
    std::fs::create_dir_all(base).unwrap();
    let dir = base.join(format!("{name}-{:x}", hasher.finish()));
    let lock = File::create(base.join(format!("{name}.lock"))).unwrap();
    lock.lock().unwrap();
    if !dir.exists() {
        for old in std::fs::read_dir(base).unwrap().map(|entry| entry.unwrap()) {
            let old_name = old.file_name().into_string().unwrap();
            let hash = old_name.strip_prefix(name).and_then(|rest| rest.strip_prefix('-'));
            if hash.is_some_and(|hash| hash.starts_with(|c: char| c.is_ascii_hexdigit())) {
                remove(&old.path());
            }
        }
        let new = dir.with_extension("new");
        std::fs::create_dir(&new).unwrap();
        make(&new);
        std::fs::rename(&new, &dir).unwrap();
    }
    dir
}

/// Never through a mount.
fn remove(dir: &Path) {
    let status = std::process::Command::new("rm").args(["-rf", "--one-file-system"]).arg(dir).status();
    assert!(status.unwrap().success(), "remove {}", dir.display());
}
