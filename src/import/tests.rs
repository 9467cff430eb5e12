//! From a text to a full tree.

#![expect(clippy::disallowed_methods, reason = "fixtures")]

use std::process::Command;

use super::*;
use crate::store::{ErrorKind, Silent};

fn source(path: &Path) -> Source {
    path.to_str().unwrap().parse().unwrap()
}

#[test]
fn dir_import_a_path_is_a_directory_or_an_archive_as_it_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let (tree, archive, fifo) =
        (dir.path().join("tree"), dir.path().join("archive"), dir.path().join("fifo"));
    std::fs::create_dir_all(tree.join("usr")).unwrap();
    let tar = Command::new("tar").arg("-C").arg(&tree).arg("-cf").arg(&archive).arg(".").status().unwrap();
    assert!(tar.success());
    for path in [&tree, &archive] {
        let root = tempfile::tempdir().unwrap();
        assert!(!looks_like_root(root.path()).unwrap());
        let source = source(path);
        let opened = source.open().unwrap();
        fill(&source, opened, root.path(), &mut Silent).unwrap();
        assert!(looks_like_root(root.path()).unwrap(), "{}", path.display());
    }
    let mode = rustix::fs::Mode::RWXU;
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let error = source(&fifo).open().unwrap_err().to_string();
    assert!(error.contains("it is a fifo; name a directory, or an archive"), "{error}");
    let error = source(Path::new("/dev/null")).open().unwrap_err().to_string();
    assert!(error.contains("it is a device"), "{error}");
    std::fs::write(&archive, b"hsqs....").unwrap();
    let root = tempfile::tempdir().unwrap();
    let source_of_image = source(&archive);
    let opened = source_of_image.open().unwrap();
    let error = fill(&source_of_image, opened, root.path(), &mut Silent).unwrap_err();
    assert!(error.is_truncated(), "{error}");
    let error = source(&dir.path().join("missing")).open().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Gone);
    assert!(error.to_string().ends_with("/missing"), "{error}");
}

#[test]
fn dir_import_a_caller_opens_with_his_own_rights_and_only_root_copies_directories() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret");
    std::fs::write(&secret, "x").unwrap();
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    // Ids set this way are the thread's alone.
    let caller = std::thread::spawn(move || {
        let nobody = rustix::fs::Uid::from_raw(65534);
        rustix::thread::set_thread_res_uid(None, nobody, None).unwrap();
        let secret = source(&secret).open().unwrap_err();
        let directory = source(dir.path()).open().unwrap_err().to_string();
        rustix::thread::set_thread_res_uid(None, rustix::fs::Uid::ROOT, None).unwrap();
        (secret.errno(), directory)
    });
    let (errno, directory) = caller.join().unwrap();
    assert_eq!(errno, Some(libc::EACCES));
    assert!(directory.contains("only root may copy a directory"), "{directory}");
}

#[test]
fn dir_import_a_root_is_told_by_usr_or_bin() {
    for (make, looks) in [("usr", true), ("bin", true), ("etc", false)] {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join(make)).unwrap();
        assert_eq!(looks_like_root(dir.path()).unwrap(), looks, "{make}");
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("usr"), "a file").unwrap();
    assert!(!looks_like_root(dir.path()).unwrap());
    assert_eq!(looks_like_root(&dir.path().join("missing")).unwrap_err().kind(), ErrorKind::Gone);
}
