//! schroot's options: their names, their letters, and which take an argument.

/// An option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Help,
    Version,
    List,
    Info,
    Config,
    Location,
    Quiet,
    Verbose,
    Chroot,
    All,
    AllChroots,
    AllSessions,
    AllSourceChroots,
    ExcludeAliases,
    Directory,
    Shell,
    User,
    PreserveEnvironment,
    Option,
    AutomaticSession,
    BeginSession,
    RecoverSession,
    RunSession,
    EndSession,
    SessionName,
    Force,
    Debug,
    Command,
    IsolateNetwork,
}

/// What the grammar knows of an option.
#[derive(Debug, Clone, Copy)]
pub(super) struct Described {
    pub(super) key: Key,
    pub(super) long: &'static str,
    pub(super) letter: Option<u8>,
    pub(super) takes_argument: bool,
    /// It may be given more than once.
    pub(super) repeatable: bool,
    /// A beginning of its name stands for it, and can be ambiguous with others. Not for an option that the real
    /// program lacks: what was unambiguous there stays so.
    pub(super) can_be_abbreviated: bool,
}

const fn flag(key: Key, long: &'static str, letter: Option<u8>) -> Described {
    Described { key, long, letter, takes_argument: false, repeatable: false, can_be_abbreviated: true }
}

const fn with_argument(key: Key, long: &'static str, letter: Option<u8>) -> Described {
    Described { takes_argument: true, ..flag(key, long, letter) }
}

const fn list(key: Key, long: &'static str, letter: Option<u8>) -> Described {
    Described { repeatable: true, ..with_argument(key, long, letter) }
}

/// All of them.
pub(super) const OPTIONS: [Described; 29] = [
    flag(Key::Help, "help", Some(b'h')),
    flag(Key::Version, "version", Some(b'V')),
    flag(Key::List, "list", Some(b'l')),
    flag(Key::Info, "info", Some(b'i')),
    flag(Key::Config, "config", None),
    flag(Key::Location, "location", None),
    flag(Key::Quiet, "quiet", Some(b'q')),
    flag(Key::Verbose, "verbose", Some(b'v')),
    list(Key::Chroot, "chroot", Some(b'c')),
    flag(Key::All, "all", Some(b'a')),
    flag(Key::AllChroots, "all-chroots", None),
    flag(Key::AllSessions, "all-sessions", None),
    flag(Key::AllSourceChroots, "all-source-chroots", None),
    flag(Key::ExcludeAliases, "exclude-aliases", None),
    with_argument(Key::Directory, "directory", Some(b'd')),
    with_argument(Key::Shell, "shell", Some(b's')),
    with_argument(Key::User, "user", Some(b'u')),
    flag(Key::PreserveEnvironment, "preserve-environment", Some(b'p')),
    list(Key::Option, "option", Some(b'o')),
    flag(Key::AutomaticSession, "automatic-session", None),
    flag(Key::BeginSession, "begin-session", Some(b'b')),
    flag(Key::RecoverSession, "recover-session", None),
    flag(Key::RunSession, "run-session", Some(b'r')),
    flag(Key::EndSession, "end-session", Some(b'e')),
    with_argument(Key::SessionName, "session-name", Some(b'n')),
    flag(Key::Force, "force", Some(b'f')),
    with_argument(Key::Debug, "debug", None),
    list(Key::Command, "command", None),
    Described { can_be_abbreviated: false, ..flag(Key::IsolateNetwork, "isolate-network", None) },
];

/// The option of a letter.
pub(super) fn by_letter(letter: u8) -> Option<&'static Described> {
    OPTIONS.iter().find(|option| option.letter == Some(letter))
}
