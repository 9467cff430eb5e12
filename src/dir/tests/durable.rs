//! What is flushed, and before what: that it is enough, power cuts tell (`tests/dir_power`).

use super::*;

#[test]
fn dir_a_copy_is_flushed_before_it_gets_its_name_and_a_session_before_it_is_mounted_unless_it_may_be_lost() {
    let home = Home::new();
    home.commit("v1", None);
    let copy = || home.store.draft_clone(&home.sid, &version("v2"), &version("v1"), &mut Silent).unwrap();
    let (_, effects) = effect::run(Plan { at: 0, mode: Mode::Crash }, copy);
    assert!(effects.ends_with(&["syncfs", "rename", "fsync dir"]), "{effects:?}");
    for (name, volatile) in [("kept", false), ("lost", true)] {
        home.begin(name, "v1").unwrap();
        let options = MountOptions { volatile, ..MountOptions::default() };
        let mount = || drop(home.mount(&Tree::Session(session(name)), options).unwrap());
        let (_, effects) = effect::run(Plan { at: 0, mode: Mode::Crash }, mount);
        let synced: &[&str] = if volatile { &[] } else { &["fsync dir", "fsync dir", "fsync dir"] };
        assert_eq!(effects.split(|name| *name == "mount").next(), Some(synced), "{effects:?}");
    }
}
