use super::*;

fn directory(path: &Path, overlays: Option<PathBuf>) -> Outside {
    Outside {
        overlays,
        is_source: false,
        origin: Origin::Directory { path: path.to_owned(), with_mounts: false },
    }
}

#[test]
fn a_session_whose_overlay_lies_there_already_is_refused_before_it_begins() {
    let dir = tempfile::tempdir().unwrap();
    let (tree, folder) = (dir.path().join("tree"), dir.path().join("overlay"));
    std::fs::create_dir_all(&tree).unwrap();
    let outside = directory(&tree, Some(folder.clone()));
    let id: SessionId = "s1".parse().unwrap();
    outside.clone().checked(&id).unwrap();
    std::fs::create_dir_all(folder.join("s1/upper")).unwrap();
    let error = outside.checked(&id).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Exists);
    assert_eq!(crate::sys::chain(&error).matches("not this session's").count(), 1);
    let gone = directory(&dir.path().join("gone"), None).checked(&id).unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::Gone);
}

#[test]
fn what_was_made_for_a_session_goes_and_the_tree_stays() {
    let dir = tempfile::tempdir().unwrap();
    let (tree, folder) = (dir.path().join("tree"), dir.path().join("overlay"));
    std::fs::create_dir_all(tree.join("etc")).unwrap();
    let outside = directory(&tree, Some(folder.clone()));
    let (one, other): (SessionId, SessionId) = ("s1".parse().unwrap(), "s2".parse().unwrap());
    let staging = dir.path().join("staging");
    outside.discard(&one, &staging).unwrap();
    outside.make(&one, &staging).unwrap();
    outside.make(&other, &staging).unwrap();
    for _ in 0..2 {
        outside.discard(&one, &staging).unwrap();
    }
    assert!(!folder.join("s1").exists() && folder.join("s2/upper").is_dir() && tree.join("etc").is_dir());
}

#[test]
fn a_folder_that_others_may_write_takes_no_overlay() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let (tree, folder) = (dir.path().join("tree"), dir.path().join("overlay"));
    std::fs::create_dir_all(&tree).unwrap();
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o777)).unwrap();
    let id: SessionId = "s1".parse().unwrap();
    let error = directory(&tree, Some(folder.clone())).make(&id, &dir.path().join("staging")).unwrap_err();
    assert!(crate::sys::chain(&error).contains("everybody may write it"), "{error}");
    std::fs::remove_dir(&folder).unwrap();
    std::fs::write(&folder, "").unwrap();
    let error = directory(&tree, Some(folder)).make(&id, &dir.path().join("staging")).unwrap_err();
    assert!(crate::sys::chain(&error).contains("it is no directory"), "{error}");
}

#[test]
fn sys_root_an_archive_that_was_replaced_right_before_a_crash_is_known_afterwards_and_another_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let (file, unpacked) = (dir.path().join("one.tar"), dir.path().join("unpack"));
    let id: SessionId = "s1".parse().unwrap();
    std::fs::create_dir_all(unpacked.join("s1/tree/etc")).unwrap();
    std::fs::write(&file, "the first").unwrap();
    let seen = Some(archive::look(&file, true).unwrap());
    let location = PathBuf::new();
    let origin = Origin::Archive { file: file.clone(), unpacked, location, seen, packed: None };
    let begun = Outside { overlays: None, is_source: true, origin };
    let recorded = begun.clone().pack(&id).unwrap();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "the first");
    recorded.put_in_place(&id).unwrap();
    assert_ne!(std::fs::read(&file).unwrap(), b"the first");
    // What was recorded before the crash knows it, what was recorded at the begin does not.
    let again = recorded.pack(&id).unwrap();
    let error = begun.pack(&id).unwrap_err();
    assert!(crate::sys::chain(&error).contains("somebody else has changed it"), "{error}");
    std::fs::write(&file, "somebody else's").unwrap();
    let error = again.put_in_place(&id).unwrap_err();
    assert!(crate::sys::chain(&error).contains("somebody else has changed it"), "{error}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "somebody else's");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2, "no temp file");
}
