//! After a conflict: a new session on the current version, and what differs.

use crate::harness::Installation;

fn change(host: &Installation, session: &str, script: &str) {
    host.zchroot(["source", "exec", session, "--", "sh", "-c", script]).ok();
}

/// Two source sessions on one version; the first is committed, the second is refused.
fn conflict() -> (Installation, String, String) {
    let host = Installation::with_demo();
    let base = host.current("demo");
    for name in ["one", "two"] {
        host.zchroot(["source", "begin", "demo", "-n", name]).ok();
    }
    change(&host, "one", "echo one > /etc/generation; touch /srv/one; rm /usr/bin/wc");
    change(&host, "two", "echo two > /etc/generation; touch /srv/two; chmod 700 /srv");
    let current = host.zchroot(["source", "commit", "one"]).ok().text();
    host.zchroot(["source", "commit", "two"])
        .exits(3)
        .says(&base)
        .says(&current)
        .says("hint: zchroot source rebase two");
    (host, base, current)
}

#[test]
fn dir_a_refused_session_is_begun_anew_and_what_differs_is_listed() {
    let (host, base, current) = conflict();
    let expected = format!(
        "\
source session three is begun on version {current} of demo
changed by two and by others since {base}, to be looked at: 1
  two: M /etc/generation  content
  {current}: M /etc/generation  content
changed by two alone, to be done again in three: 2
  M /srv/  mode 0755 -> 0700
  + /srv/two
changed by others alone, already in three: 2
  + /srv/one
  - /usr/bin/wc"
    );
    host.zchroot(["source", "rebase", "two", "-n", "three"])
        .ok()
        .prints(&expected)
        .says("zchroot source exec three, then zchroot source commit three")
        .says("zchroot source abort two");
    // Nothing was replayed, and nothing of the old one is lost.
    change(&host, "three", "test $(cat /etc/generation) = one && test ! -e /srv/two");
    change(&host, "two", "test $(cat /etc/generation) = two && test -e /srv/two");
    change(&host, "three", "echo both > /etc/generation; touch /srv/two");
    host.zchroot(["source", "commit", "three", "-m", "again"]).ok();
    host.run_in_demo("cat /etc/generation; ls /srv").ok().prints("both\none\ntwo");
    host.zchroot(["source", "abort", "two"]).ok();
    host.assert_nothing_left();
}

#[test]
fn dir_a_rebase_is_told_as_json_and_the_session_gets_a_name() {
    let (host, base, current) = conflict();
    let json = host.zchroot(["source", "rebase", "two", "--json"]).json();
    let rebase = &json["rebase"];
    assert_eq!((rebase["base"].as_str(), rebase["current"].as_str()), (Some(&*base), Some(&*current)));
    assert_eq!(rebase["old"], "two");
    assert_eq!(rebase["both"][0]["yours"]["path"], "/etc/generation");
    assert_eq!(rebase["both"][0]["theirs"]["aspects"][0]["what"], "content");
    assert_eq!(rebase["yours"].as_array().unwrap().len(), 2);
    assert_eq!(rebase["theirs"].as_array().unwrap().len(), 2);
    let new = rebase["new"].as_str().unwrap();
    let mut sessions = host.sessions();
    sessions.sort();
    assert_eq!(sessions, [new, "two"]);
    for session in [new, "two"] {
        host.zchroot(["source", "abort", session]).ok();
    }
    host.assert_nothing_left();
}

#[test]
fn dir_what_cannot_be_rebased_is_refused_and_nothing_is_begun() {
    let host = Installation::with_demo();
    host.zchroot(["source", "begin", "demo", "-n", "s"]).ok();
    host.zchroot(["source", "rebase", "s"])
        .exits(1)
        .says("the base of session s is current")
        .says("hint: zchroot source commit s");
    host.zchroot(["begin", "demo", "-n", "plain"]).ok();
    host.zchroot(["source", "rebase", "plain"]).exits(1).says("plain is not a source session");
    host.zchroot(["source", "rebase", "none"]).exits(4).says("there is no session none");
    host.zchroot(["update", "demo", "-q", "--", "touch", "/srv/x"]).ok();
    host.zchroot(["source", "rebase", "s", "-n", "plain"]).exits(3).says("plain");
    rustix::mount::unmount(host.at("/run/zchroot/mount/s"), rustix::mount::UnmountFlags::DETACH).unwrap();
    host.zchroot(["source", "rebase", "s"])
        .exits(3)
        .says("s does not stand")
        .says("hint: as root: zchroot recover");
    let mut sessions = host.sessions();
    sessions.sort();
    assert_eq!(sessions, ["plain", "s"]);
    host.zchroot(["source", "abort", "s"]).ok();
    host.zchroot(["end", "plain"]).ok();
    host.assert_nothing_left();
}
