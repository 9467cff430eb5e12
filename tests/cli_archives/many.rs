//! Many files and many layers, with few file descriptors.

use std::fmt::Write as _;
use std::path::PathBuf;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::{Stage, run, text};
use crate::same::assert_same_tree;

const FILES: usize = 20_000;
const LAYERS: usize = 100;

/// Imports with `ulimit -Sn 64`; the tree, and how many descriptors a process of it had at the most, as far as was seen.
fn import(stage: &Stage, source: &str) -> (PathBuf, usize) {
    // Of a hard limit root may have too little right to raise it; what the worker needs at all is tested in process.
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let limit = move || Ok(setrlimit(Resource::RLIMIT_NOFILE, 64, hard)?);
    let running = stage.host.order(["image", "import", source, "--json"]).before(limit).start();
    let pid = running.pid();
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let watch = std::thread::spawn(move || {
        let mut most = 0;
        while stopped.recv_timeout(std::time::Duration::from_millis(5))
            == Err(std::sync::mpsc::RecvTimeoutError::Timeout)
        {
            let children =
                std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
            for pid in children.split_whitespace().chain([pid.to_string().as_str()]) {
                most = most.max(std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count));
            }
        }
        most
    });
    let done = running.finish();
    drop(stop);
    (stage.imported(done), watch.join().unwrap())
}

/// An archive of many small files.
fn many() -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_mtime(1_700_000_000);
    header.set_size(0);
    header.set_mode(0o755);
    header.set_entry_type(tar::EntryType::Directory);
    let folders = (0..200).map(|folder| format!("usr/{folder}/"));
    for folder in ["./", "usr/"].map(str::to_owned).into_iter().chain(folders) {
        builder.append_data(&mut header, folder, std::io::empty()).unwrap();
    }
    header.set_entry_type(tar::EntryType::Regular);
    for file in 0..FILES {
        let content = format!("{file}\n");
        header.set_size(content.len() as u64);
        builder.append_data(&mut header, format!("usr/{}/{file}", file % 200), content.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

#[test]
fn dir_archive_of_twenty_thousand_files_is_imported_with_few_file_descriptors() {
    let stage = Stage::new();
    let [archive, image] = ["archive", "image"].map(|name| stage.path(name));
    std::fs::write(&archive, many()).unwrap();
    let theirs = stage.folder("theirs");
    // Else the times of directories are set before all that is in them is there.
    let options = ["--numeric-owner", "--delay-directory-restore", "-xpf", text(&archive)];
    run("tar", &[&["-C", text(&theirs)], &options[..]].concat());
    run("mksquashfs", &[text(&theirs), text(&image), "-quiet", "-no-progress", "-noappend"]);
    for archive in [&archive, &image] {
        let (ours, descriptors) = import(&stage, text(archive));
        assert!(descriptors < 32, "{descriptors} descriptors");
        assert_eq!(assert_same_tree(&ours, &theirs), FILES + 202);
    }
}

/// Each layer is an open file: the program's own limit counts, not its caller's.
#[test]
fn dir_archive_of_a_hundred_layers_is_imported_with_a_limit_of_64_descriptors() {
    let stage = Stage::new();
    let [layout, bundle] = ["layout", "bundle"].map(|name| stage.path(name));
    let image = format!("{}:latest", text(&layout));
    run("umoci", &["init", "--layout", text(&layout)]);
    run("umoci", &["new", "--image", &image]);
    let mut script = "set -e; mkdir -p l/usr/bin\n".to_owned();
    for layer in 0..LAYERS {
        writeln!(script, "echo {layer} >l/usr/last; echo {layer} >l/usr/bin/{layer}; tar -C l --numeric-owner -cf l.tar .; umoci raw add-layer --image '{image}' l.tar; rm l/usr/bin/{layer}").unwrap();
    }
    run("sh", &["-ec", &format!("cd '{}'; {script}", text(&stage.folder("work")))]);
    let (ours, _) = import(&stage, &format!("oci:{image}"));
    run("umoci", &["unpack", "--image", &image, text(&bundle)]);
    assert!(assert_same_tree(&ours, &bundle.join("rootfs")) > LAYERS);
}
