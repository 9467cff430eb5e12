//! The environment: the caller's as data, the command's by rule.
//!
//! Nothing here is this process's own environment: start-up takes the caller's variables away and keeps them
//! in an [`Environment`]. Without `preserve` a command gets six variables; with it the caller's pass through
//! a [`Filter`] (the rules are schroot's).

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use super::identity::Account;

/// Where programs of the host and commands of root are looked for.
pub const ROOT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Where commands of everybody else are looked for.
pub const USER_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

const LONGEST_VALUE: usize = 128;

/// A variable.
pub type Variable = (OsString, OsString);

/// The caller's environment.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    caller: Vec<Variable>,
}

impl Environment {
    /// Keeps variables as data; those with no name or with `=` in it are nobody's.
    #[must_use]
    pub fn new(variables: impl IntoIterator<Item = Variable>) -> Self {
        let named = |(name, _): &Variable| !name.is_empty() && !name.as_bytes().contains(&b'=');
        Self { caller: variables.into_iter().filter(named).collect() }
    }

    /// The environment that this process was started with.
    #[expect(clippy::disallowed_methods, reason = "this is the wrapper that the bans point to")]
    pub(super) fn of_this_process() -> Self {
        Self::new(std::env::vars_os())
    }

    /// A variable that the program itself may use: only those that say how to talk to the caller (`TERM`,
    /// `LANG`, `LC_*`, `COLUMNS`, `NO_COLOR`), and only with a harmless value.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let known = matches!(name, "TERM" | "LANG" | "COLUMNS" | "NO_COLOR") || name.starts_with("LC_");
        let value = self.caller_value(name)?.to_str()?;
        (known && is_harmless(value)).then_some(value)
    }

    /// A variable as the caller has it: data, to be passed on, never to be obeyed.
    #[must_use]
    pub fn caller_value(&self, name: &str) -> Option<&OsStr> {
        self.caller.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_os_str())
    }

    /// The environment of a command that runs as `target`, sorted by name.
    ///
    /// `extra` (the session's own variables) wins over the caller's. Empty values, function definitions and
    /// what the filter names are dropped whoever set them.
    #[must_use]
    pub fn for_command(
        &self,
        target: &Account,
        preserve: bool,
        filter: &Filter,
        extra: &[(&str, String)],
    ) -> Vec<Variable> {
        let mut variables = self.minimal(target);
        if preserve {
            for (name, value) in &self.caller {
                // Root's PATH is always ours.
                if !(target.is_root() && name == "PATH") {
                    set(&mut variables, name, value);
                }
            }
        }
        for (name, value) in extra {
            set(&mut variables, OsStr::new(name), OsStr::new(value));
        }
        variables.retain(|(name, value)| is_passable(value) && !filter.drops(name));
        variables.sort();
        variables
    }

    fn minimal(&self, target: &Account) -> Vec<Variable> {
        let path = if target.is_root() { ROOT_PATH } else { USER_PATH };
        let mut variables: Vec<Variable> = vec![
            ("HOME".into(), target.home().into()),
            ("LOGNAME".into(), target.name().into()),
            ("PATH".into(), path.into()),
            ("SHELL".into(), target.shell().into()),
            ("USER".into(), target.name().into()),
        ];
        if let Some(term) = self.get("TERM") {
            variables.push(("TERM".into(), term.into()));
        }
        variables
    }
}

/// The variables that never reach a command: by name, or by prefix where the pattern ends with `*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter(Vec<String>);

impl Default for Filter {
    /// schroot's default list: what makes shells, the C library, Kerberos and terminals read foreign files.
    fn default() -> Self {
        const NAMES: [&str; 17] = [
            "BASH_ENV",
            "CDPATH",
            "ENV",
            "HOSTALIASES",
            "IFS",
            "KRB5_CONFIG",
            "KRBCONFDIR",
            "KRBTKFILE",
            "KRB_CONF",
            "LD_*",
            "LOCALDOMAIN",
            "NLSPATH",
            "PATH_LOCALE",
            "RES_OPTIONS",
            "TERMINFO",
            "TERMINFO_DIRS",
            "TERMPATH",
        ];
        Self(NAMES.map(str::to_owned).to_vec())
    }
}

impl Filter {
    /// A filter of the default list and these patterns: options narrow, never widen.
    #[must_use]
    pub fn and(mut self, patterns: impl IntoIterator<Item = String>) -> Self {
        self.0.extend(patterns);
        self
    }

    /// Whether a variable of this name is dropped.
    #[must_use]
    pub fn drops(&self, name: &OsStr) -> bool {
        self.0.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(prefix) => name.as_bytes().starts_with(prefix.as_bytes()),
            None => name == pattern.as_str(),
        })
    }
}

fn set(variables: &mut Vec<Variable>, name: &OsStr, value: &OsStr) {
    match variables.iter_mut().find(|(known, _)| known == name) {
        Some((_, old)) => value.clone_into(old),
        None => variables.push((name.to_owned(), value.to_owned())),
    }
}

/// Empty values are no values; `()` begins a function that an old bash would run (CVE-2014-6271).
fn is_passable(value: &OsStr) -> bool {
    !value.is_empty() && !value.as_bytes().starts_with(b"()")
}

/// What a terminal type, a locale or a number may look like: no path, no control character.
fn is_harmless(value: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+-_.@".contains(&byte);
    !value.is_empty() && value.len() <= LONGEST_VALUE && value.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        Environment::new(pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())))
    }

    fn names(variables: &[Variable]) -> Vec<&str> {
        variables.iter().map(|(name, _)| name.to_str().unwrap()).collect()
    }

    fn value<'a>(variables: &'a [Variable], name: &str) -> Option<&'a str> {
        variables.iter().find(|(known, _)| known == name).map(|(_, value)| value.to_str().unwrap())
    }

    const CALLER: [(&str, &str); 9] = [
        ("HOME", "/home/alice"),
        ("PATH", "/evil"),
        ("TERM", "xterm-256color"),
        ("LANG", "de_DE.UTF-8"),
        ("LC_ALL", "C"),
        ("LD_PRELOAD", "/evil.so"),
        ("BASH_ENV", "/evil.sh"),
        ("EMPTY", ""),
        ("BASH_FUNC_ls%%", "() { evil; }"),
    ];

    #[test]
    fn without_preserve_a_command_gets_six_variables_and_the_extra_ones() {
        let root = Account::by_name("root").unwrap();
        let extra = [("SCHROOT_COMMAND", "true".to_owned()), ("SCHROOT_ALIAS_NAME", String::new())];
        let made = environment(&CALLER).for_command(&root, false, &Filter::default(), &extra);
        assert_eq!(names(&made), ["HOME", "LOGNAME", "PATH", "SCHROOT_COMMAND", "SHELL", "TERM", "USER"]);
        assert_eq!(value(&made, "HOME"), root.home().to_str());
        assert_eq!(value(&made, "PATH"), Some(ROOT_PATH));
        assert_eq!(value(&made, "TERM"), Some("xterm-256color"));
    }

    #[test]
    fn others_than_root_have_no_sbin_in_their_path() {
        let nobody = Account::by_name("nobody").unwrap();
        let made = environment(&[]).for_command(&nobody, false, &Filter::default(), &[]);
        assert_eq!(names(&made), ["HOME", "LOGNAME", "PATH", "SHELL", "USER"]);
        assert_eq!(value(&made, "PATH"), Some(USER_PATH));
        assert_eq!(value(&made, "USER"), Some("nobody"));
    }

    #[test]
    fn with_preserve_the_caller_wins_but_for_the_path_of_root() {
        let filter = Filter::default();
        let (root, nobody) = (Account::by_name("root").unwrap(), Account::by_name("nobody").unwrap());
        let as_root = environment(&CALLER).for_command(&root, true, &filter, &[]);
        let as_nobody = environment(&CALLER).for_command(&nobody, true, &filter, &[]);
        assert_eq!(value(&as_root, "PATH"), Some(ROOT_PATH));
        assert_eq!(value(&as_nobody, "PATH"), Some("/evil"));
        for made in [&as_root, &as_nobody] {
            assert_eq!(value(made, "HOME"), Some("/home/alice"));
            assert_eq!(value(made, "LANG"), Some("de_DE.UTF-8"));
            for dropped in ["LD_PRELOAD", "BASH_ENV", "EMPTY", "BASH_FUNC_ls%%"] {
                assert_eq!(value(made, dropped), None, "{dropped}");
            }
        }
    }

    #[test]
    fn the_session_wins_over_the_caller_and_the_filter_over_the_session() {
        let root = Account::by_name("root").unwrap();
        let extra =
            [("SCHROOT_USER", "alice".to_owned()), ("LD_X", "1".to_owned()), ("MINE", "1".to_owned())];
        let filter = Filter::default().and(["MINE".to_owned(), "SECRET_*".to_owned()]);
        let caller = environment(&[("SCHROOT_USER", "root"), ("SECRET_KEY", "x"), ("SECRET", "y")]);
        let made = caller.for_command(&root, true, &filter, &extra);
        assert_eq!(value(&made, "SCHROOT_USER"), Some("alice"));
        assert_eq!(value(&made, "LD_X"), None);
        assert_eq!(value(&made, "MINE"), None);
        assert_eq!(value(&made, "SECRET_KEY"), None);
        assert_eq!(value(&made, "SECRET"), Some("y"));
    }

    #[test]
    fn the_filter_is_schroots_list_and_matches_whole_names() {
        let filter = Filter::default();
        let dropped =
            ["BASH_ENV", "CDPATH", "ENV", "HOSTALIASES", "IFS", "KRB5_CONFIG", "KRBCONFDIR", "KRBTKFILE"];
        let dropped_too = ["KRB_CONF", "LD_", "LD_PRELOAD", "LD_LIBRARY_PATH", "LOCALDOMAIN", "NLSPATH"];
        let dropped_still = ["PATH_LOCALE", "RES_OPTIONS", "TERMINFO", "TERMINFO_DIRS", "TERMPATH"];
        for name in dropped.into_iter().chain(dropped_too).chain(dropped_still) {
            assert!(filter.drops(OsStr::new(name)), "{name}");
        }
        for name in ["ENVIRONMENT", "MY_ENV", "LD", "OLD_X", "TERM", "PATH", "DEB_BUILD_OPTIONS"] {
            assert!(!filter.drops(OsStr::new(name)), "{name}");
        }
    }

    #[test]
    fn the_program_itself_reads_only_known_variables_with_harmless_values() {
        let caller = environment(&[
            ("TERM", "../../evil"),
            ("LANG", "de_DE.UTF-8@euro"),
            ("LC_ALL", "x\u{1b}[31m"),
            ("COLUMNS", "80"),
            ("NO_COLOR", ""),
            ("SHELL", "/bin/zsh"),
        ]);
        assert_eq!(caller.get("TERM"), None);
        assert_eq!(caller.get("LANG"), Some("de_DE.UTF-8@euro"));
        assert_eq!(caller.get("LC_ALL"), None);
        assert_eq!(caller.get("COLUMNS"), Some("80"));
        assert_eq!(caller.get("NO_COLOR"), None);
        assert_eq!(caller.get("SHELL"), None);
        assert_eq!(caller.caller_value("SHELL"), Some(OsStr::new("/bin/zsh")));
    }

    #[test]
    fn variables_without_a_proper_name_are_nobodys() {
        let root = Account::by_name("root").unwrap();
        let caller = environment(&[("", "x"), ("A=B", "x"), ("GOOD", "x")]);
        let made = caller.for_command(&root, true, &Filter::default(), &[]);
        assert_eq!(names(&made), ["GOOD", "HOME", "LOGNAME", "PATH", "SHELL", "USER"]);
    }
}
