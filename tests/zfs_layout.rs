//! Laying the store on ZFS out, on a real pool.

#![cfg(feature = "zfs")]
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests look at files and run the ZFS programs"
)]

mod zfs_pool;

use rustix::mount::{UnmountFlags, unmount};
use zchroot::store::{ErrorKind, Outcome, Store};
use zchroot::zfs::ZfsStore;
use zfs_pool::{Pool, RESERVE, cause, run, session, template, version};

#[test]
fn zfs_init_lays_out_once_and_then_changes_nothing() {
    let pool = Pool::make();
    let store = pool.open();
    let mut lines: Vec<String> = ["", "/state", "/images", "/templates", "/sessions"]
        .map(|name| format!("created {}/zchroot{name}", pool.name))
        .into();
    lines.push(format!("reserved {RESERVE} bytes in {}/zchroot/reserve", pool.name));
    let state = pool.layout().state();
    lines.push(format!("mounted {}/zchroot/state at {}", pool.name, state.display()));
    assert_eq!(store.init().unwrap(), lines);
    assert_eq!(store.init().unwrap(), [] as [String; 0]);
    let wanted = [
        ("", "mountpoint", "none"),
        ("", "canmount", "off"),
        ("", "atime", "off"),
        ("", "acltype", "posix"),
        ("state", "mountpoint", "none"),
        ("templates", "sync", "standard"),
        ("sessions", "sync", "disabled"),
        ("sessions", "mountpoint", "none"),
    ];
    for (dataset, property, value) in wanted {
        let name = format!("{}/zchroot/{dataset}", pool.name);
        assert_eq!(
            run("zfs", &["get", "-Hpo", "value", property, name.trim_end_matches('/')]),
            value,
            "{name}"
        );
    }
    // Since 2.3 what was asked for as `sa` reads `on`.
    run("zfs", &["create", "-o", "xattr=sa", &pool.dataset("like-this")]);
    assert_eq!(pool.property("state", "xattr"), pool.property("like-this", "xattr"));
    assert_eq!(pool.property("reserve", "refreservation"), RESERVE.to_string());
    std::fs::write(state.join("mark"), "x").unwrap();
    // A new process after a reboot: the state is not mounted, and is again by opening.
    unmount(&state, UnmountFlags::empty()).unwrap();
    assert!(!state.join("mark").exists());
    let again = pool.open();
    assert!(state.join("mark").exists());
    assert_eq!(again.ensure_state_mounted().unwrap(), Outcome::Unchanged);
}

#[test]
fn zfs_what_a_power_cut_left_half_made_is_made_again_but_a_changed_property_stays() {
    let pool = Pool::make();
    let store = pool.store();
    let sessions = pool.dataset("sessions");
    run("zfs", &["destroy", &sessions]);
    run("zfs", &["create", &sessions]);
    assert_eq!(store.init().unwrap(), [format!("created {sessions} again: it was half made")]);
    assert_eq!(pool.property("sessions", "sync"), "disabled");
    run("zfs", &["set", "sync=standard", &sessions]);
    assert_eq!(store.init().unwrap(), [] as [String; 0]);
    assert_eq!(pool.property("sessions", "sync"), "standard");
}

#[test]
fn zfs_the_reserve_is_released_and_laid_again() {
    let pool = Pool::make();
    let store = pool.store();
    let before = store.space().unwrap();
    assert_eq!(store.release_reserve().unwrap(), Outcome::Changed);
    assert_eq!(store.release_reserve().unwrap(), Outcome::Unchanged);
    assert!(store.space().unwrap().available >= before.available + RESERVE / 2);
    assert_eq!(store.lay_reserve().unwrap(), Outcome::Changed);
    assert_eq!(store.lay_reserve().unwrap(), Outcome::Unchanged);
    let bigger = ZfsStore::open(&pool.name, &pool.layout(), 2 * RESERVE).unwrap();
    assert_eq!(bigger.init().unwrap().len(), 1);
    assert_eq!(pool.property("reserve", "refreservation"), (2 * RESERVE).to_string());
    let none = ZfsStore::open(&pool.name, &pool.layout(), 0).unwrap();
    assert_eq!(none.init().unwrap().len(), 1);
    assert_eq!(none.init().unwrap().len(), 0);
    let huge = ZfsStore::open(&pool.name, &pool.layout(), 1 << 40).unwrap();
    assert_eq!(huge.init().unwrap_err().kind(), ErrorKind::NoRoom);
}

#[test]
fn zfs_an_unknown_pool_is_named() {
    let pool = Pool::make();
    let name = format!("{}-not", pool.name);
    let store = ZfsStore::open(&name, &pool.layout(), RESERVE).unwrap();
    let why = format!("there is no pool {name} (is it imported?)");
    let errors = [
        store.init().unwrap_err(),
        store.space().unwrap_err(),
        store.templates().unwrap_err(),
        store.sessions().unwrap_err(),
        store.heads(&template()).unwrap_err(),
        store.current(&template()).unwrap_err(),
        store.draft_new(&template(), &version("v1")).unwrap_err(),
        store.publish(&template(), &version("v1"), None).unwrap_err(),
        store.session_clone(&template(), &version("v1"), &session("s")).unwrap_err(),
    ];
    for error in errors {
        assert_eq!((error.kind(), cause(&error)), (ErrorKind::Other, why.clone()), "{error}");
    }
    let deeper = ZfsStore::open(&format!("{}/not", pool.name), &pool.layout(), RESERVE).unwrap();
    assert_eq!(cause(&deeper.init().unwrap_err()), format!("there is no dataset {}/not", pool.name));
}

#[test]
fn zfs_a_store_that_is_not_laid_out_says_so() {
    let pool = Pool::make();
    let store = pool.open();
    let errors = [
        store.space().unwrap_err(),
        store.templates().unwrap_err(),
        store.sessions().unwrap_err(),
        store.draft_new(&template(), &version("v1")).unwrap_err(),
    ];
    for error in errors {
        assert_eq!(cause(&error), "the store is not laid out", "{error}");
    }
}
