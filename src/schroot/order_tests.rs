//! Each kind of invocation that was recorded of the real program's command line, as an order or as what is said.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use super::order::{Action, All, Order, Verbosity, is_name};
use super::say::Line;

const HINT: &str = "I: Run “schroot --help” to list usage example and all available options";

fn words(line: &str) -> Vec<OsString> {
    line.split_whitespace().map(|word| if word == "''" { OsString::new() } else { word.into() }).collect()
}

#[track_caller]
fn order(line: &str) -> Order {
    Order::from_words(OsStr::new("schroot"), &words(line))
        .unwrap_or_else(|trouble| panic!("{line}: {trouble:?}"))
}

#[track_caller]
fn said(line: &str) -> Vec<String> {
    let trouble = Order::from_words(OsStr::new("schroot"), &words(line)).unwrap_err();
    assert!(!trouble.hushed_by_quiet, "--quiet keeps no error of the command line back");
    trouble.lines.iter().map(Line::text).collect()
}

fn notes(order: &Order) -> Vec<String> {
    order.notes.iter().map(Line::text).collect()
}

#[test]
fn a_command_runs_in_an_automatic_session_with_its_options() {
    let run = order("-c sid -- pwd");
    assert_eq!((run.action, run.chroots.as_slice()), (Action::Automatic, ["sid".to_owned()].as_slice()));
    assert_eq!(run.command, ["pwd"]);
    for line in ["-csid -d/tmp -- pwd", "--chroot sid --directory /tmp -- pwd"] {
        assert_eq!(order(line).directory.as_deref(), Some(Path::new("/tmp")), "{line}");
    }
    assert_eq!(order("-c=sid -- pwd").chroots, ["=sid"]);
    assert_eq!(order("-qc sid -- echo ok").verbosity, Verbosity::Quiet);
    assert_eq!(order("-c sid --shell=/bin/dash -- sh -c x").shell.as_deref(), Some(Path::new("/bin/dash")));
    assert_eq!(order("-c sid -u root -- id -un").user.as_deref(), Some("root"));
    assert!(order("-c sid -p -- env").preserve_environment);
    assert_eq!(order("-c chroot:sid -- echo ok").chroots, ["chroot:sid"]);
    assert_eq!(order("-c sid ''").command, [""]);
}

#[test]
fn options_after_the_command_word_are_options_until_two_dashes() {
    let list = order("-c sid ls -la /");
    assert_eq!((list.action, list.command.as_slice()), (Action::List, ["ls".into(), "/".into()].as_slice()));
    assert_eq!(
        notes(&list),
        ["W: --chroot and --all may not be used at the same time", "I: Using --chroots only"]
    );
    assert!(!list.all.any());
    assert_eq!(order("-c sid -- ls -d /").command, ["ls", "-d", "/"]);
    assert_eq!(order("-c sid echo hello -d /tmp").command, ["echo", "hello"]);
}

#[test]
fn empty_values_are_as_none_but_an_empty_chroot_is_a_name() {
    let run = order("-c sid -d '' -n '' -u '' -- true");
    assert_eq!((run.directory, run.session_name, run.user), (None, None, None));
    assert_eq!(order("-c '' -- pwd").chroots, [""]);
}

#[test]
fn what_breaks_the_grammar_is_said_on_one_line() {
    for (line, text) in [
        ("-c sid -d /tmp -d / -- pwd", "E: option '--directory' cannot be specified more than once"),
        ("-c sid -u root -u root -- id", "E: option '--user' cannot be specified more than once"),
        ("-q -q -c sid", "E: option '--quiet' cannot be specified more than once"),
        (
            "-c sid --user=",
            "E: the argument for option '--user' should follow immediately after the equal sign",
        ),
        ("--nonexistent", "E: unrecognised option '--nonexistent'"),
        ("-c", "E: the required argument for option '--chroot' is missing"),
        ("-z", "E: unrecognised option '-z'"),
        ("--info=x", "E: option '--info' does not take any arguments"),
    ] {
        assert_eq!(said(line), [text], "{line}");
    }
}

#[test]
fn two_actions_are_one_too_many() {
    for line in [
        "-i -b -c sid",
        "--version --list",
        "--help --version",
        "-l --version",
        "--automatic-session -b -c sid",
        "-l -i -c sid",
        "-r -b -c s1",
        "--help --version --debug=bogus",
        "-q -v -l -i",
    ] {
        assert_eq!(said(line), ["E: Only one action may be specified", HINT], "{line}");
    }
}

#[test]
fn a_session_is_named_only_when_it_is_begun() {
    for line in ["-c sid --session-name=foo -- true", "-n foo -c sid -- true", "-l -n foo", "-h -n x"] {
        let text = "E: --session-name is not permitted for the specified action";
        assert_eq!(said(line), [text, HINT], "{line}");
    }
    for line in ["-e -c s1 -n foo", "-r -n foo", "--recover-session -n foo"] {
        let text =
            "E: --session-name is not permitted for the specified action; did you mean to use --chroot?";
        assert_eq!(said(line), [text, HINT], "{line}");
    }
    for name in ["bad/name", "session:x", "x.dpkg-old", "_x", "foodpkg-old", ".x", "ü"] {
        assert_eq!(said(&format!("-b -c sid -n {name}")), ["E: Invalid session name", HINT], "{name}");
    }
    assert_eq!(order("-b -c sid -n with.dots_and-dash").session_name.as_deref(), Some("with.dots_and-dash"));
}

#[test]
fn a_session_is_begun_of_exactly_one_chroot() {
    for line in ["-b", "-b --all", "-b -c sid -c min", "-ab", "-b -n x"] {
        let text = "E: Exactly one chroot must be specified when beginning a session";
        assert_eq!(said(line), [text, HINT], "{line}");
    }
}

#[test]
fn warnings_stand_before_the_error_that_follows_them() {
    assert_eq!(
        said("-q -v -c sid --all -n x -l"),
        [
            "W: --quiet and --verbose may not be used at the same time",
            "I: Using verbose output",
            "W: --chroot and --all may not be used at the same time",
            "I: Using --chroots only",
            "E: --session-name is not permitted for the specified action",
            HINT,
        ]
    );
    let both = order("-q -v -l -c sid");
    assert_eq!(both.verbosity, Verbosity::Quiet, "it says verbose and is quiet");
}

#[test]
fn the_level_of_debugging_is_checked_and_has_no_effect() {
    for line in ["--debug=bogus -l", "--debug '' -l", "-l -i --debug=bogus"] {
        assert_eq!(said(line), ["E: Invalid debug level", HINT], "{line}");
    }
    for level in ["none", "notice", "info", "warning", "critical"] {
        assert_eq!(order(&format!("--debug={level} -l")).action, Action::List);
    }
}

#[test]
fn without_a_chroot_a_run_is_in_the_default_one_and_leaves_sessions_alone() {
    assert_eq!(order("-- true").chroots, ["default"]);
    let all = order("--all -- true");
    assert!(all.chroots.is_empty());
    assert_eq!(all.all, All { chroots: true, sessions: false, sources: true });
    assert!(order("-r -- true").chroots.is_empty());
    assert!(order("-l").chroots.is_empty());
}

#[test]
fn keys_that_are_to_be_set_keep_their_order() {
    let run = order("-c sid -o my.key=a=b -o foo -- true");
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    assert_eq!(run.options, [pair("my.key", "a=b"), pair("foo", "foo")]);
}

#[test]
fn what_schroot_lacks_is_taken() {
    assert!(order("-c ID --run-session -q --isolate-network -u root -p -- true").isolate_network);
}

#[test]
fn names_of_any_length_are_names() {
    assert!(is_name(&"x".repeat(200)));
    for bad in ["", "-x", "a b", "a:b", "x.dpkg-tmp"] {
        assert!(!is_name(bad), "{bad}");
    }
}
