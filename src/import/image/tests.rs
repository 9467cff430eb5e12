//! Images on directories: once unpacked, whoever asks; nothing left of a failure.

#![expect(clippy::disallowed_methods, reason = "fixtures")]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::*;
use crate::dir::DirStore;
use crate::import::fixture::{oci_layout, told};
use crate::store::{ErrorKind, Silent, digest};
use crate::sys::effect;
use crate::sys::worker::Worker;

struct House {
    root: tempfile::TempDir,
    layout: Layout,
    store: DirStore,
}

impl House {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::new(root.path());
        let store = DirStore::open(&layout);
        store.init().unwrap();
        Self { root, layout, store }
    }

    fn images(&self) -> Images<'_> {
        Images::new(Sessions::new(&self.layout, &self.store))
    }

    /// A tar archive of a root file system in which this text stands.
    fn archive(&self, text: &str) -> PathBuf {
        let tree = self.root.path().join(format!("tree-{text}"));
        std::fs::create_dir_all(tree.join("usr")).unwrap();
        std::fs::write(tree.join("usr/text"), text).unwrap();
        let archive = self.root.path().join(format!("{text}.tar"));
        let tar =
            Command::new("tar").arg("-C").arg(&tree).arg("-cf").arg(&archive).arg(".").status().unwrap();
        assert!(tar.success());
        archive
    }

    fn ensure(&self, path: &Path) -> Result<Ready> {
        self.import(path.to_str().unwrap(), None)
    }

    fn import(&self, source: &str, importer: Option<u32>) -> Result<Ready> {
        let source: Source = source.parse().unwrap();
        self.images().ensure(&source, source.open()?, &Asked { importer, ..Asked::default() }, &mut Silent)
    }

    /// What is left in the store and of mounts.
    fn left(&self) -> Vec<String> {
        let mut left = Vec::new();
        for folder in ["var/lib/zchroot/store/images", "var/lib/zchroot/images", "run/zchroot/mount"] {
            let Ok(entries) = std::fs::read_dir(self.root.path().join(folder)) else { continue };
            left.extend(entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()));
        }
        left
    }
}

impl Drop for House {
    fn drop(&mut self) {
        let _ = mount::unmount_all(&self.layout.mounts(), How::Lazy);
    }
}

#[test]
fn dir_import_an_archive_is_unpacked_once_and_found_again_by_its_digest() {
    let house = House::new();
    let archive = house.archive("one");
    let first = house.ensure(&archive).unwrap();
    assert!(first.fresh);
    let sum = Command::new("sha256sum").arg(&archive).output().unwrap();
    assert!(String::from_utf8_lossy(&sum.stdout).starts_with(first.digest.as_str()));
    let digest = first.digest.clone();
    drop(first);
    let before = house.images().list(0).unwrap();
    let [image] = before.as_slice() else { panic!("{before:?}") };
    let record = image.record.clone().unwrap();
    assert_eq!((record.digest, record.kind, record.bytes), (digest.clone(), Origin::Tar, 3));
    assert_eq!(record.origin, archive.to_str().unwrap());
    assert_eq!(image.state(crate::template::Warm::default()), State::Warm);
    assert!(!house.ensure(&archive).unwrap().fresh);
    for name in [digest.as_str(), &digest.as_str()[..8], &format!("sha256:{}", &digest.as_str()[..4])] {
        assert_eq!(house.images().find(name, 0).unwrap().digest, digest);
    }
    assert!(house.images().list(0).unwrap()[0].record.as_ref().unwrap().last_used > record.last_used);
    let text = house.root.path().join(format!("var/lib/zchroot/store/images/{digest}/usr/text"));
    assert_eq!(std::fs::read_to_string(text).unwrap(), "one");
    assert_eq!(house.images().remove(digest.as_str()).unwrap(), digest);
    assert_eq!(house.left(), Vec::<String>::new());
    assert_eq!(house.images().find(digest.as_str(), 0).unwrap_err().kind(), ErrorKind::Gone);
}

#[test]
fn dir_import_many_who_ask_at_once_get_one_extraction_and_all_succeed() {
    let house = House::new();
    let archive = house.archive("one");
    let (read, write) = rustix::pipe::pipe().unwrap();
    let ask = || match house.ensure(&archive) {
        Ok(ready) => u8::from(rustix::io::write(&write, if ready.fresh { b"f" } else { b"o" }).is_err()),
        Err(_) => 9,
    };
    let workers: Vec<_> =
        (0..8).map(|_| Worker::fork(&[std::os::fd::AsFd::as_fd(&write)], ask).unwrap()).collect();
    for worker in workers {
        assert_eq!(worker.wait().unwrap().exit_status(), Some(0));
    }
    let mut answers = [0; 16];
    let count = rustix::io::read(&read, &mut answers).unwrap();
    let fresh = answers[..count].iter().filter(|byte| **byte == b'f').count();
    assert_eq!((count, fresh), (8, 1));
    assert_eq!(house.images().list(0).unwrap().len(), 1);
}

#[test]
fn dir_import_what_is_wrong_leaves_nothing() {
    let house = House::new();
    let no_root = house.root.path().join("no-root.tar");
    let mut builder = ::tar::Builder::new(Vec::new());
    let mut header = ::tar::Header::new_gnu();
    header.set_size(1);
    builder.append_data(&mut header, "file", &b"x"[..]).unwrap();
    std::fs::write(&no_root, builder.into_inner().unwrap()).unwrap();
    let broken = house.root.path().join("broken.tar");
    std::fs::write(&broken, &std::fs::read(house.archive("one")).unwrap()[..1500]).unwrap();
    for (path, why) in [(&no_root, "no root file system"), (&broken, "unpack")] {
        let error = house.ensure(path).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
        assert_eq!(house.left(), Vec::<String>::new(), "{error}");
    }
    let directory = house.root.path().to_owned();
    let error = house.ensure(&directory).unwrap_err().to_string();
    assert!(error.contains("an image is made from an archive"), "{error}");
}

#[test]
fn dir_import_an_image_that_is_not_the_one_that_was_asked_for_is_refused_before_anything_is_made() {
    let house = House::new();
    let archive = house.archive("one");
    let source: Source = archive.to_str().unwrap().parse().unwrap();
    let ensure = |digest: &Digest| {
        let asked = Asked { digest: Some(digest), ..Asked::default() };
        house.images().ensure(&source, source.open().unwrap(), &asked, &mut Silent)
    };
    let error = ensure(&"0".repeat(64).parse().unwrap()).unwrap_err().to_string();
    assert!(error.contains("was asked for"), "{error}");
    assert_eq!(house.left(), Vec::<String>::new());
    let right = house.ensure(&archive).unwrap().digest.clone();
    assert!(!ensure(&right).unwrap().fresh);
}

#[test]
fn dir_import_a_crash_at_any_step_leaves_what_the_next_import_takes_over() {
    let house = House::new();
    let archive = house.archive("one");
    let (result, seen) =
        effect::run(effect::Plan { at: 0, mode: effect::Mode::Crash }, || house.ensure(&archive));
    let digest = result.unwrap().unwrap().digest.clone();
    house.images().remove(digest.as_str()).unwrap();
    for at in 1..=seen.len() {
        for mode in [effect::Mode::Crash, effect::Mode::Fail(libc::EIO)] {
            let (result, _) = effect::run(effect::Plan { at, mode }, || house.ensure(&archive).map(drop));
            // Whatever it was, the image is whole or it is none.
            for tree in house.images().images().unwrap().iter().filter(|tree| tree.complete) {
                let text =
                    house.root.path().join(format!("var/lib/zchroot/store/images/{}/usr/text", tree.digest));
                assert_eq!(std::fs::read_to_string(text).unwrap(), "one", "{at} {mode:?} {result:?}");
            }
            let again = house.ensure(&archive).unwrap_or_else(|error| panic!("after {at} {mode:?}: {error}"));
            drop(again);
            house.images().remove(digest.as_str()).unwrap();
            assert_eq!(house.left(), Vec::<String>::new(), "{at} {mode:?}");
        }
    }
    assert!(seen.contains(&"syncfs") && seen.len() > 10, "{seen:?}");
}

#[test]
fn dir_import_an_archive_that_others_may_write_is_copied_first() {
    use std::os::unix::fs::PermissionsExt;
    let house = House::new();
    let archive = house.archive("one");
    std::fs::set_permissions(&archive, std::fs::Permissions::from_mode(0o666)).unwrap();
    let source: Source = archive.to_str().unwrap().parse().unwrap();
    let (new, input) = identify(&source, source.open().unwrap().0, &house.layout, &mut Silent).unwrap();
    // What is written to it afterwards is not what is unpacked.
    std::fs::OpenOptions::new().write(true).open(&archive).unwrap().write_all(&[7; 5000]).unwrap();
    let Input::Tar { archive, .. } = &input else { panic!("{input:?}") };
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut archive.try_clone().unwrap(), &mut bytes).unwrap();
    assert_eq!(crate::import::hash::of(&bytes), new.digest);
    assert_eq!(house.left(), Vec::<String>::new());
}

#[test]
fn dir_import_somebody_else_who_works_on_an_image_is_not_disturbed() {
    let house = House::new();
    let archive = house.archive("one");
    let ready = house.ensure(&archive).unwrap();
    let digest = ready.digest.clone();
    assert!(house.images().is_being_made(&digest).unwrap());
    assert_eq!(house.images().remove(digest.as_str()).unwrap_err().kind(), ErrorKind::Busy);
    drop(ready);
    assert!(!house.images().is_being_made(&digest).unwrap());
    let other = house.archive("two");
    house.ensure(&other).unwrap();
    let listed = house.images().list(0).unwrap();
    assert_eq!(listed.len(), 2);
    assert!(digest::prefix(digest.as_str()).is_some());
    let nothing = house.images().remove("00000000").unwrap_err();
    assert_eq!(nothing.kind(), ErrorKind::Gone);
    let no_word = house.images().remove("one.tar").unwrap_err();
    assert!(no_word.is_of_image(), "{no_word}");
}

#[test]
fn dir_import_an_image_is_found_by_those_alone_whose_it_is() {
    let house = House::new();
    let archive = house.archive("one");
    let word = archive.to_str().unwrap();
    let digest = house.import(word, None).unwrap().digest.clone();
    let seen = |uid| {
        house.images().list(uid).unwrap().len() + house.images().find(digest.short(), uid).iter().count()
    };
    assert_eq!([0, 7, 8].map(seen), [2, 0, 0]);
    assert_eq!(house.images().find(digest.as_str(), 7).unwrap_err().kind(), ErrorKind::Gone);
    assert!(!house.import(word, Some(7)).unwrap().fresh);
    assert_eq!([0, 7, 8].map(seen), [2, 2, 0]);
    drop(house.import(word, None).unwrap());
    assert_eq!([0, 7, 8].map(seen), [2, 2, 0], "nobody was added");
    drop(house.import(word, Some(0)).unwrap());
    assert_eq!([0, 7, 8].map(seen), [2, 2, 2]);
    // Without its record nobody knows whose it is, until somebody imports it again.
    std::fs::remove_file(house.layout.image(&digest)).unwrap();
    assert_eq!([0, 7, 8].map(seen), [2, 0, 0]);
    drop(house.import(word, Some(8)).unwrap());
    assert_eq!([0, 7, 8].map(seen), [2, 0, 2]);
    let again = house.images().list(8).unwrap().remove(0).record.unwrap();
    assert!(again.bytes >= 3, "{again:?}");
    let folder = std::fs::metadata(house.layout.images()).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::mode(&folder) & 0o777, 0o700, "names are digests");
}

#[test]
fn dir_import_an_image_whose_use_cannot_be_noted_is_found_all_the_same() {
    let house = House::new();
    let digest = house.ensure(&house.archive("one")).unwrap().digest;
    let find = |plan| effect::run(plan, || house.images().find(digest.as_str(), 0).map(drop));
    let (found, effects) = find(effect::Plan { at: 0, mode: effect::Mode::Crash });
    found.unwrap().unwrap();
    let note = effects.iter().position(|effect| *effect == "write").unwrap() + 1;
    assert!(effects.len() > note + 1, "{effects:?}");
    for at in note..=effects.len() {
        for mode in [effect::Mode::Fail(libc::ENOSPC), effect::Mode::FailFrom(libc::ENOSPC)] {
            find(effect::Plan { at, mode }).0.unwrap().unwrap();
        }
    }
}

#[test]
fn dir_import_of_a_beginning_that_several_have_only_ones_own_count() {
    let house = House::new();
    for (text, importer) in [("one", 7), ("two", 8), ("three", 8)] {
        drop(house.import(house.archive(text).to_str().unwrap(), Some(importer)).unwrap());
    }
    let digests: Vec<_> =
        house.images().list(0).unwrap().into_iter().map(|image| image.tree.digest).collect();
    let first = |digest: &Digest| format!("sha256:{}", &digest.as_str()[..1]);
    for digest in &digests {
        let same: Vec<_> = digests.iter().filter(|other| first(other) == first(digest)).collect();
        let of_seven = house.images().list(7).unwrap().remove(0).tree.digest;
        let found = house.images().find(&first(digest), 7).map(|ready| ready.digest.clone());
        assert_eq!(found.ok(), same.contains(&&of_seven).then_some(of_seven));
        let all = house.images().find(&first(digest), 0).map(|ready| ready.digest.clone());
        match (same.as_slice(), all) {
            ([only], Ok(found)) => assert_eq!(found, **only),
            (_, found) => assert!(found.unwrap_err().to_string().contains("say more"), "{same:?}"),
        }
    }
}

#[test]
fn dir_import_of_a_container_image_that_is_there_its_documents_alone_give_nothing() {
    let house = House::new();
    let layout = house.root.path().join("layout");
    let (id, layer) = oci_layout(&layout, "usr/secret");
    let word = format!("oci:{}", layout.display());
    let digest = house.import(&word, None).unwrap().digest.clone();
    assert_eq!(digest, id);
    // As long as the layer, and nothing of it.
    let blob = layout.join("blobs/sha256").join(layer.as_str());
    let whole = std::fs::read(&blob).unwrap();
    std::fs::write(&blob, vec![0; whole.len()]).unwrap();
    let error = told(&house.import(&word, Some(7)).unwrap_err());
    assert!(error.contains("promised") || error.contains("tar"), "{error}");
    assert!(house.images().list(7).unwrap().is_empty());
    std::fs::write(&blob, &whole).unwrap();
    assert!(!house.import(&word, Some(7)).unwrap().fresh);
    assert_eq!(house.images().list(7).unwrap().len(), 1);
    // Who has shown it once need not again.
    std::fs::write(&blob, vec![0; whole.len()]).unwrap();
    assert!(!house.import(&word, Some(7)).unwrap().fresh);
    assert_eq!(house.left(), [digest.to_string(), format!("{digest}.toml")]);
}
