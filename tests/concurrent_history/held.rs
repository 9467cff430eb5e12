//! A commit is refused while anything of the draft is still open, wherever that is: what is written later would
//! change a version. Taking the mount out of sight is not enough.

use std::io::{IoSlice, Write as _};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, sendmsg, socketpair};

use super::place::Place;

const TEMPLATE: &str = "held";

/// Keeps a file open where no process has it: in a message that nobody has read.
fn in_flight(file: &std::fs::File) -> (OwnedFd, OwnedFd) {
    let ends = socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC).unwrap();
    let fds = [file.as_raw_fd()];
    let message = [ControlMessage::ScmRights(&fds)];
    sendmsg::<()>(ends.0.as_raw_fd(), &[IoSlice::new(b"x")], &message, MsgFlags::empty(), None).unwrap();
    ends
}

fn held(place: &Place) {
    let host = &place.host;
    place.make(&[TEMPLATE]);
    let before = host.versions(TEMPLATE);
    host.zchroot(["source", "begin", TEMPLATE, "-n", "work"]).ok();
    let mut file = std::fs::File::create(host.at("/run/zchroot/mount/work/etc/written")).unwrap();
    file.write_all(b"in time\n").unwrap();
    let ends = in_flight(&file);
    drop(file);
    let refused = host.zchroot(["source", "commit", "work"]);
    assert_ne!(refused.status, 0, "committed while a file of the draft was open for writing: {refused}");
    assert_eq!(host.versions(TEMPLATE), before, "what was refused is no version");
    drop(ends);
    host.zchroot(["source", "commit", "work"]).ok();
    host.zchroot(["run", TEMPLATE, "-d", "/", "--", "cat", "/etc/written"]).ok().prints("in time");
    place.clear_up();
}

#[test]
fn dir_history_has_no_commit_while_a_file_of_the_draft_is_open() {
    held(&Place::dir());
}

#[test]
#[cfg(feature = "zfs")]
fn zfs_history_has_no_commit_while_a_file_of_the_draft_is_open() {
    held(&Place::zfs());
}
