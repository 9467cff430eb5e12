//! The rules of images.

use zchroot::store::{Digest, ErrorKind, Outcome, Published, Silent, Tree};

use super::{Bench, Lab, kind, session, version, write_stamp};

fn digest(digit: char) -> Digest {
    digit.to_string().repeat(64).parse().unwrap()
}

/// `a+ b2`: images in their order, `+` for a draft, a number for clones.
fn images(bench: &Bench<'_>) -> String {
    let word = |image: zchroot::store::ImageTree| {
        let name = &image.digest.as_str()[..1];
        let clones = if image.clones > 0 { image.clones.to_string() } else { String::new() };
        format!("{name}{clones}{}", if image.complete { "" } else { "+" })
    };
    bench.store.images().unwrap().into_iter().map(word).collect::<Vec<_>>().join(" ")
}

fn draft(bench: &Bench<'_>, digit: char) {
    bench.store.image_new(&digest(digit)).unwrap();
    let mounted = bench.mount(&Tree::Image(digest(digit))).unwrap();
    write_stamp(&mounted.path, &digit.to_string());
}

fn image(bench: &Bench<'_>, digit: char) {
    draft(bench, digit);
    assert_eq!(bench.store.image_complete(&digest(digit)).unwrap(), Outcome::Changed);
}

pub(crate) fn an_image_is_none_until_it_is_complete(lab: &dyn Lab) {
    let bench = Bench::new(lab);
    assert_eq!(images(&bench), "");
    assert_eq!(kind(bench.store.image_complete(&digest('a'))), ErrorKind::Gone);
    draft(&bench, 'a');
    assert_eq!(images(&bench), "a+");
    assert_eq!(kind(bench.store.image_new(&digest('a'))), ErrorKind::Exists);
    assert_eq!(kind(bench.store.session_from_image(&digest('a'), &session("s"))), ErrorKind::Gone);
    let early = bench.store.draft_from_image(&bench.sid, &version("v1"), &digest('a'), &mut Silent);
    assert_eq!(kind(early), ErrorKind::Gone);
    assert_eq!(bench.store.image_complete(&digest('a')).unwrap(), Outcome::Changed);
    assert_eq!(bench.store.image_complete(&digest('a')).unwrap(), Outcome::Unchanged);
    assert_eq!(kind(bench.store.image_new(&digest('a'))), ErrorKind::Exists);
    assert_eq!((images(&bench).as_str(), bench.stamp(&Tree::Image(digest('a'))).as_str()), ("a", "a"));
    assert!(bench.store.used(&Tree::Image(digest('a'))).unwrap() > 0);
    assert_eq!(bench.session_names(), Vec::<String>::new());
    assert_eq!(bench.heads(), "");
}

pub(crate) fn a_complete_image_is_read_only(lab: &dyn Lab) {
    if !lab.has_real_mounts() {
        return;
    }
    let bench = Bench::new(lab);
    image(&bench, 'a');
    let mounted = bench.mount(&Tree::Image(digest('a'))).unwrap();
    let error = std::fs::write(mounted.path.join("new"), "x").unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EROFS));
    drop(mounted);
    assert_eq!(bench.store.image_drop(&digest('a')).unwrap(), Outcome::Changed);
}

pub(crate) fn sessions_of_an_image_are_its_own_and_keep_it(lab: &dyn Lab) {
    let bench = Bench::new(lab);
    image(&bench, 'a');
    for name in ["s", "t"] {
        bench.store.session_from_image(&digest('a'), &session(name)).unwrap();
    }
    assert_eq!(images(&bench), "a2");
    let tree = Tree::Session(session("s"));
    let mounted = bench.mount(&tree).unwrap();
    std::fs::write(mounted.path.join("usr/0/file-0"), "changed").unwrap();
    drop(mounted);
    assert_eq!(bench.stamp(&Tree::Session(session("t"))), "a");
    assert_eq!(bench.stamp(&Tree::Image(digest('a'))), "a");
    assert_eq!(kind(bench.store.image_drop(&digest('a'))), ErrorKind::Busy);
    bench.store.session_drop(&session("s")).unwrap();
    assert_eq!(kind(bench.store.image_drop(&digest('a'))), ErrorKind::Busy);
    assert_eq!(bench.stamp(&Tree::Session(session("t"))), "a", "a refused drop changes nothing");
    bench.store.session_drop(&session("t")).unwrap();
    assert_eq!(bench.store.image_drop(&digest('a')).unwrap(), Outcome::Changed);
    assert_eq!(bench.store.image_drop(&digest('a')).unwrap(), Outcome::Unchanged);
    assert_eq!(images(&bench), "");
    assert_eq!(kind(bench.store.session_from_image(&digest('a'), &session("u"))), ErrorKind::Gone);
    image(&bench, 'a');
    assert_eq!(images(&bench), "a");
}

pub(crate) fn a_template_made_of_an_image_lives_its_own_life(lab: &dyn Lab) {
    let bench = Bench::new(lab);
    image(&bench, 'a');
    bench.store.draft_from_image(&bench.sid, &version("v1"), &digest('a'), &mut Silent).unwrap();
    let again = bench.store.draft_from_image(&bench.sid, &version("v1"), &digest('a'), &mut Silent);
    assert_eq!(kind(again), ErrorKind::Exists);
    let mounted = bench.mount(&bench.draft("v1")).unwrap();
    write_stamp(&mounted.path, "v1");
    drop(mounted);
    bench.describe("v1");
    assert_eq!(bench.publish("v1", None).unwrap(), Published::Committed);
    bench.commit("v2", Some("v1"));
    bench.settle(&[]);
    assert_eq!((bench.heads().as_str(), bench.stamp(&bench.version("v2")).as_str()), ("v2", "v2"));
    assert_eq!(bench.stamp(&Tree::Image(digest('a'))), "a");
    bench.clone_session("s", "v2").unwrap();
    assert_eq!(bench.stamp(&Tree::Session(session("s"))), "v2");
}

pub(crate) fn a_draft_of_an_image_can_be_thrown_away_but_not_while_it_is_mounted(lab: &dyn Lab) {
    let bench = Bench::new(lab);
    draft(&bench, 'a');
    let mounted = bench.mount(&Tree::Image(digest('a'))).unwrap();
    assert_eq!(kind(bench.store.image_drop(&digest('a'))), ErrorKind::Busy);
    drop(mounted);
    assert_eq!(bench.store.image_drop(&digest('a')).unwrap(), Outcome::Changed);
    assert_eq!(images(&bench), "");
    draft(&bench, 'a');
    image(&bench, 'b');
    assert_eq!(images(&bench), "a+ b");
}
