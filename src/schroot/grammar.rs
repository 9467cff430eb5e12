//! The grammar of schroot's command line, which is that of boost::program_options in its default style.
//!
//! A pure function from words to options and positional words. Rules that surprise, all of them relied on by
//! somebody: options are recognised after the command word until `--`; `-c=x` has the value `=x`; letters
//! cluster; an argument may look like a long option, but not be just the letter of another; a beginning of a
//! long name stands for it; what is given twice is an error.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use super::options::{Described, Key, OPTIONS, by_letter};

/// One option, or a positional word, which has the key [`Key::Command`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Given {
    pub(super) key: Key,
    pub(super) value: Option<OsString>,
}

/// What is wrong with the words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Complaint {
    #[error("unrecognised option '{0}'")]
    Unrecognised(String),
    #[error("option '{word}' is ambiguous and matches {}", matches_of(names))]
    Ambiguous { word: String, names: Vec<&'static str> },
    #[error("the required argument for option '--{0}' is missing")]
    NoArgument(&'static str),
    #[error("the argument for option '--{0}' should follow immediately after the equal sign")]
    EmptyArgument(String),
    #[error("option '--{0}' does not take any arguments")]
    NeedlessArgument(&'static str),
    #[error("option '--{0}' cannot be specified more than once")]
    Twice(&'static str),
}

fn matches_of(names: &[&'static str]) -> String {
    let mut names = names.to_vec();
    names.sort_unstable();
    let quoted: Vec<String> = names.iter().map(|name| format!("'--{name}'")).collect();
    match quoted.split_last() {
        Some((last, others)) => format!("{}, and {last}", others.join(", ")),
        None => String::new(),
    }
}

/// Takes the words of a command line (without the program's name) apart.
///
/// # Errors
/// The first word that breaks a rule; what is given twice is found when all words could be read.
pub(super) fn parse(words: &[OsString]) -> Result<Vec<Given>, Complaint> {
    let mut found = Vec::new();
    let mut rest = words;
    while let Some((word, others)) = rest.split_first() {
        rest = others;
        let bytes = word.as_bytes();
        if bytes == b"--" {
            found.extend(rest.iter().map(|word| positional(word)));
            break;
        }
        if let Some(long) = bytes.strip_prefix(b"--") {
            rest = long_option(long, word, rest, &mut found)?;
        } else if bytes.len() > 1 && bytes.starts_with(b"-") {
            rest = letters(word, rest, &mut found)?;
        } else {
            found.push(positional(word));
        }
    }
    once_each(found)
}

fn positional(word: &OsStr) -> Given {
    Given { key: Key::Command, value: Some(word.to_owned()) }
}

/// `--name`, `--name=value`, `--name value`.
fn long_option<'a>(
    text: &[u8],
    word: &OsStr,
    rest: &'a [OsString],
    found: &mut Vec<Given>,
) -> Result<&'a [OsString], Complaint> {
    let (name, adjacent) = split_long(text)?;
    if name.is_empty() {
        // `--=x`: an option without a name is a positional word.
        found.extend(adjacent.map(|value| positional(&value)));
        return Ok(rest);
    }
    let option = by_name(name, word)?;
    finish(option, adjacent, rest, found)
}

fn split_long(text: &[u8]) -> Result<(&[u8], Option<OsString>), Complaint> {
    let mut parts = text.splitn(2, |byte| *byte == b'=');
    let name = parts.next().unwrap_or_default();
    match parts.next() {
        Some([]) => Err(Complaint::EmptyArgument(String::from_utf8_lossy(name).into_owned())),
        adjacent => Ok((name, adjacent.map(|value| OsString::from_vec(value.to_vec())))),
    }
}

/// The option of a long name or of the beginning of just one.
fn by_name(name: &[u8], word: &OsStr) -> Result<&'static Described, Complaint> {
    if let Some(option) = OPTIONS.iter().find(|option| option.long.as_bytes() == name) {
        return Ok(option);
    }
    let begins = |option: &&Described| option.can_be_abbreviated && option.long.as_bytes().starts_with(name);
    let all: Vec<&'static Described> = OPTIONS.iter().filter(begins).collect();
    let word = || word.to_string_lossy().into_owned();
    match all.as_slice() {
        [] => Err(Complaint::Unrecognised(word())),
        [option] => Ok(option),
        several => {
            let names = several.iter().map(|option| option.long).collect();
            Err(Complaint::Ambiguous { word: word(), names })
        }
    }
}

/// `-l`, `-lq`, `-csid`, `-lc sid`.
fn letters<'a>(
    word: &OsStr,
    rest: &'a [OsString],
    found: &mut Vec<Given>,
) -> Result<&'a [OsString], Complaint> {
    let mut text = word.as_bytes().get(1..).unwrap_or_default();
    while let Some((letter, others)) = text.split_first() {
        let option =
            by_letter(*letter).ok_or_else(|| Complaint::Unrecognised(word.to_string_lossy().into_owned()))?;
        if option.takes_argument {
            let adjacent = (!others.is_empty()).then(|| OsString::from_vec(others.to_vec()));
            return finish(option, adjacent, rest, found);
        }
        found.push(Given { key: option.key, value: None });
        text = others;
    }
    Ok(rest)
}

/// Gives an option its argument.
fn finish<'a>(
    option: &'static Described,
    adjacent: Option<OsString>,
    rest: &'a [OsString],
    found: &mut Vec<Given>,
) -> Result<&'a [OsString], Complaint> {
    let (value, rest) = match (option.takes_argument, adjacent) {
        (false, Some(_)) => return Err(Complaint::NeedlessArgument(option.long)),
        (false, None) => (None, rest),
        (true, Some(value)) => (Some(value), rest),
        (true, None) => {
            let (next, rest) = rest.split_first().ok_or(Complaint::NoArgument(option.long))?;
            refuse_other_option(option, next)?;
            (Some(next.clone()), rest)
        }
    };
    found.push(Given { key: option.key, value });
    Ok(rest)
}

/// An argument may look like an option, but for a letter that is one, and a name with nothing after its `=`.
fn refuse_other_option(option: &'static Described, next: &OsStr) -> Result<(), Complaint> {
    match next.as_bytes() {
        [b'-', letter] if by_letter(*letter).is_some() => Err(Complaint::NoArgument(option.long)),
        [b'-', b'-', long @ ..] if split_long(long).is_err() => {
            Err(Complaint::EmptyArgument(option.long.to_owned()))
        }
        _ => Ok(()),
    }
}

fn once_each(found: Vec<Given>) -> Result<Vec<Given>, Complaint> {
    for (index, given) in found.iter().enumerate() {
        let option = OPTIONS.iter().find(|option| option.key == given.key);
        let earlier = found.iter().take(index).any(|other| other.key == given.key);
        if let Some(option) = option.filter(|option| earlier && !option.repeatable) {
            return Err(Complaint::Twice(option.long));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(|word| if word == "''" { OsString::new() } else { word.into() }).collect()
    }

    fn given(line: &str) -> Vec<(Key, Option<String>)> {
        let found = parse(&words(line)).unwrap();
        found.into_iter().map(|one| (one.key, one.value.map(|v| v.into_string().unwrap()))).collect()
    }

    fn complaint(line: &str) -> String {
        parse(&words(line)).unwrap_err().to_string()
    }

    fn with(key: Key, value: &str) -> (Key, Option<String>) {
        (key, Some(value.to_owned()))
    }

    #[test]
    fn long_options_may_be_abbreviated_and_have_their_argument_after_a_blank_or_an_equals_sign() {
        for line in ["--chroot sid", "--chro sid", "--chroot=sid", "--chro=sid", "-c sid", "-csid"] {
            assert_eq!(given(line), [with(Key::Chroot, "sid")], "{line}");
        }
        assert_eq!(given("-c=sid"), [with(Key::Chroot, "=sid")]);
        assert_eq!(given("--vers"), [(Key::Version, None)]);
        assert_eq!(given("--all"), [(Key::All, None)], "a whole name is not ambiguous with longer ones");
    }

    #[test]
    fn letters_cluster_and_the_last_may_take_an_argument() {
        let expected = [(Key::List, None), (Key::Quiet, None), with(Key::Chroot, "sid")];
        for line in ["-l -q -c sid", "-lq -c sid", "-lqc sid", "-lqcsid"] {
            assert_eq!(given(line), expected, "{line}");
        }
    }

    #[test]
    fn options_are_recognised_after_the_command_word_until_two_dashes() {
        assert_eq!(
            given("echo hello -d /tmp"),
            [with(Key::Command, "echo"), with(Key::Command, "hello"), with(Key::Directory, "/tmp")]
        );
        assert_eq!(
            given("echo -- a -- -d"),
            ["echo", "a", "--", "-d"].map(|word| with(Key::Command, word)),
            "the first two dashes are dropped, later ones kept"
        );
        assert_eq!(given("-l -"), [(Key::List, None), with(Key::Command, "-")]);
        assert_eq!(given("-l --=x"), [(Key::List, None), with(Key::Command, "x")]);
        assert_eq!(given("--com x -l"), [with(Key::Command, "x"), (Key::List, None)]);
    }

    #[test]
    fn an_argument_may_look_like_an_option_unless_it_is_the_letter_of_one() {
        for word in ["--list", "-lq", "--", "-", "-z", "--nosuch"] {
            assert_eq!(given(&format!("-c {word}")), [with(Key::Chroot, word)]);
        }
        assert_eq!(complaint("-c -l"), "the required argument for option '--chroot' is missing");
        assert_eq!(
            complaint("-c --user="),
            "the argument for option '--chroot' should follow immediately after the equal sign"
        );
    }

    #[test]
    fn what_breaks_a_rule_is_said_in_the_words_of_boost() {
        for (line, text) in [
            ("--nosuch", "unrecognised option '--nosuch'"),
            ("--nosuch=3", "unrecognised option '--nosuch=3'"),
            ("---", "unrecognised option '---'"),
            ("-lz", "unrecognised option '-lz'"),
            ("-e=", "unrecognised option '-e='"),
            ("-q1 -l", "unrecognised option '-q1'"),
            ("--no -c sid", "unrecognised option '--no'"),
            ("-c", "the required argument for option '--chroot' is missing"),
            ("-lc", "the required argument for option '--chroot' is missing"),
            ("--user", "the required argument for option '--user' is missing"),
            ("--info=x", "option '--info' does not take any arguments"),
            ("--inf=x", "option '--info' does not take any arguments"),
            ("--user=", "the argument for option '--user' should follow immediately after the equal sign"),
            ("-q -q", "option '--quiet' cannot be specified more than once"),
            ("-d / --directory /", "option '--directory' cannot be specified more than once"),
            (
                "--all-s",
                "option '--all-s' is ambiguous and matches '--all-sessions', and '--all-source-chroots'",
            ),
            ("--c sid", "option '--c' is ambiguous and matches '--chroot', '--command', and '--config'"),
            ("--d /", "option '--d' is ambiguous and matches '--debug', and '--directory'"),
        ] {
            assert_eq!(complaint(line), text, "{line}");
        }
    }

    #[test]
    fn the_option_that_schroot_lacks_takes_nothing_from_the_abbreviations_of_the_others() {
        assert_eq!(given("--i"), [(Key::Info, None)]);
        assert_eq!(given("--isolate-network"), [(Key::IsolateNetwork, None)]);
        assert_eq!(complaint("--isolate"), "unrecognised option '--isolate'");
    }

    #[test]
    fn words_that_are_no_text_are_passed_on() {
        let word = OsString::from_vec(vec![0xff, b'x']);
        let found = parse(&[OsString::from("--"), word.clone()]).unwrap();
        assert_eq!(found[0].value, Some(word));
    }
}
