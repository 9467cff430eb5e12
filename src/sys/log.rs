//! Logging: what the program says to its user, and the record of who entered what as whom.
//!
//! Messages go to standard error, plain, without colour (so there is nothing that `NO_COLOR` would have to
//! switch off). Audit records go to the journal with a field for each fact, or to syslog where there is no
//! journal. What others chose (names, arguments) is escaped, so that it can neither forge a line nor reach a
//! terminal. The level is `-v`'s, never the environment's.

use std::ffi::{CString, OsString};
use std::fmt;
use std::path::Path;
use std::sync::OnceLock;

use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::{FmtContext, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;

use super::privilege::raised;

const AUDIT: &str = "audit";
const NAME: &str = "zchroot";
/// Longer command lines are cut in the record.
const LONGEST: usize = 4096;

static HAS_JOURNAL: OnceLock<bool> = OnceLock::new();

/// What is entered, for the audit record.
#[derive(Debug, Clone, Copy)]
pub struct Audit<'a> {
    /// The session.
    pub session: &'a str,
    /// The template that it is a session of.
    pub chroot: &'a str,
    /// Who called.
    pub caller: &'a str,
    /// As whom.
    pub target: &'a str,
    /// What is run.
    pub action: Action<'a>,
}

/// What is run in a session.
#[derive(Debug, Clone, Copy)]
pub enum Action<'a> {
    /// A command.
    Command(&'a [OsString]),
    /// A login shell.
    LoginShell(&'a Path),
    /// A shell.
    Shell(&'a Path),
}

impl fmt::Display for Audit<'_> {
    /// `[SESSION chroot] (caller->target) Running command: "..."`, as schroot has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{} chroot] ", escape(self.session))?;
        if self.caller != self.target {
            write!(f, "({}->{}) ", escape(self.caller), escape(self.target))?;
        }
        write!(f, "{}", self.action)
    }
}

impl Action<'_> {
    /// The command line or the shell, escaped and not too long.
    fn line(&self) -> String {
        let text = match self {
            Self::Command(words) => {
                let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
                words.join(" ")
            }
            Self::LoginShell(shell) | Self::Shell(shell) => shell.to_string_lossy().into_owned(),
        };
        let mut line = escape(&text);
        if let Some((end, _)) = line.char_indices().nth(LONGEST) {
            line.truncate(end);
            line.push_str("[...]");
        }
        line
    }
}

impl fmt::Display for Action<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = self.line();
        match self {
            Self::Command(_) => write!(f, "Running command: \"{line}\""),
            Self::LoginShell(_) => write!(f, "Running login shell: '{line}'"),
            Self::Shell(_) => write!(f, "Running shell: '{line}'"),
        }
    }
}

/// Text in which no character controls anything: quotes, backslashes and whatever is not printed are written
/// as escapes (CVE-2023-28486).
#[must_use]
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\'' => escaped.push('\''),
            other => escaped.extend(other.escape_debug()),
        }
    }
    escaped
}

/// Sets logging up: to standard error, by the number of `-v` (0 warnings, 1 information, 2 debug, 3 trace),
/// and audit records to the journal or syslog. A second call changes nothing.
pub fn init(verbosity: u8) {
    let journal = raised(tracing_journald::layer).ok();
    let journal = journal.map(|layer| {
        let named =
            layer.with_syslog_identifier(NAME.to_owned()).with_field_prefix(Some("ZCHROOT".to_owned()));
        named.with_filter(filter_fn(is_audit))
    });
    let _ = HAS_JOURNAL.set(journal.is_some());
    let messages = messages(verbosity, std::io::stderr);
    let _ =
        tracing::subscriber::set_global_default(tracing_subscriber::registry().with(messages).with(journal));
}

fn messages<S, W>(verbosity: u8, writer: W) -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let level = match verbosity {
        0 => Level::WARN,
        1 => Level::INFO,
        2 => Level::DEBUG,
        _ => Level::TRACE,
    };
    // Other crates' messages are for whoever debugs this one.
    let is_shown = move |metadata: &Metadata<'_>| {
        !is_audit(metadata)
            && *metadata.level() <= level
            && (metadata.target().starts_with(NAME) || level == Level::TRACE)
    };
    tracing_subscriber::fmt::layer().event_format(Plain).with_writer(writer).with_filter(filter_fn(is_shown))
}

fn is_audit(metadata: &Metadata<'_>) -> bool {
    metadata.target() == AUDIT
}

/// `zchroot: warning: message`.
struct Plain;

impl<S, N> FormatEvent<S, N> for Plain
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let kind = match *event.metadata().level() {
            Level::ERROR => "error: ",
            Level::WARN => "warning: ",
            Level::INFO => "",
            Level::DEBUG => "debug: ",
            Level::TRACE => "trace: ",
        };
        write!(writer, "{NAME}: {kind}")?;
        context.format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}

/// Records who enters what as whom. The record is root's, whoever runs the program.
pub fn audit(entry: &Audit<'_>) {
    raised(|| {
        if HAS_JOURNAL.get().copied().unwrap_or(false) {
            to_journal(entry);
        } else {
            to_syslog(&entry.to_string());
        }
    });
}

fn to_journal(entry: &Audit<'_>) {
    tracing::info!(
        target: AUDIT,
        session = escape(entry.session),
        chroot = escape(entry.chroot),
        caller = escape(entry.caller),
        user = escape(entry.target),
        command = entry.action.line(),
        "{entry}"
    );
}

fn to_syslog(message: &str) {
    // Escaped text has no NUL byte; if it had, the record would still be worth having.
    let Ok(message) = CString::new(message.replace('\0', "\\0")) else { return };
    // SAFETY: the name lives for ever; the format takes one string, which outlives the call.
    unsafe {
        libc::openlog(c"zchroot".as_ptr(), libc::LOG_PID, libc::LOG_AUTHPRIV);
        libc::syslog(libc::LOG_AUTHPRIV | libc::LOG_NOTICE, c"%s".as_ptr(), message.as_ptr());
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;
    use std::sync::{Arc, Mutex};

    use nix::mount::{MsFlags, mount};
    use nix::sched::{CloneFlags, unshare};

    use super::*;
    use crate::sys::testing::in_child;

    fn words(words: &[&str]) -> Vec<OsString> {
        words.iter().map(OsString::from).collect()
    }

    fn entry<'a>(action: Action<'a>) -> Audit<'a> {
        Audit { session: "sid-1", chroot: "sid", caller: "alice", target: "root", action }
    }

    #[test]
    fn records_look_like_schroots() {
        let command = words(&["sh", "-c", "it's"]);
        let record = entry(Action::Command(&command));
        assert_eq!(record.to_string(), "[sid-1 chroot] (alice->root) Running command: \"sh -c it's\"");
        let own = Audit { target: "alice", ..entry(Action::LoginShell(Path::new("/bin/bash"))) };
        assert_eq!(own.to_string(), "[sid-1 chroot] Running login shell: '/bin/bash'");
        let shell = entry(Action::Shell(Path::new("/bin/sh")));
        assert_eq!(shell.to_string(), "[sid-1 chroot] (alice->root) Running shell: '/bin/sh'");
    }

    #[test]
    fn what_the_caller_wrote_cannot_forge_a_line() {
        let command = words(&["x\"\nNov 21 host su: root\u{1b}[2J\u{202e}"]);
        let text = entry(Action::Command(&command)).to_string();
        assert!(text.ends_with("\"x\\\"\\nNov 21 host su: root\\u{1b}[2J\\u{202e}\""), "{text}");
        let long = words(&[&"x".repeat(9000)]);
        let text = entry(Action::Command(&long)).to_string();
        assert!(text.len() < 4200 && text.ends_with("[...]\""));
    }

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn shown(verbosity: u8) -> String {
        let out = Shared::default();
        let writer = out.clone();
        let layer = messages(verbosity, move || writer.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            tracing::error!("e \u{1b}[31m");
            tracing::warn!("w");
            tracing::info!("i");
            tracing::debug!("d");
            tracing::trace!("t");
            tracing::error!(target: AUDIT, "secret");
            tracing::error!(target: "other", "foreign");
        });
        String::from_utf8(out.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn the_number_of_v_decides_what_is_shown_and_audit_records_never_are() {
        let lines = |text: &str| text.lines().count();
        assert_eq!(shown(0), "zchroot: error: e \\x1b[31m\nzchroot: warning: w\n");
        assert_eq!(lines(&shown(1)), 3);
        assert_eq!(lines(&shown(2)), 4);
        assert_eq!(lines(&shown(3)), 6);
        assert!(!shown(3).contains("secret"));
    }

    /// A place of one's own with a socket in it that looks like the system's.
    fn listen(over: &str, at: &str) -> UnixDatagram {
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        let none = None::<&str>;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
        mount(none, over, Some("tmpfs"), MsFlags::empty(), none).unwrap();
        crate::sys::file::make_dirs(Path::new(at).parent().unwrap(), 0o755).unwrap();
        let socket = UnixDatagram::bind(at).unwrap();
        socket.set_read_timeout(Some(std::time::Duration::from_secs(5))).unwrap();
        socket
    }

    fn receive(socket: &UnixDatagram) -> String {
        let mut bytes = [0; 8192];
        let length = socket.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    }

    #[test]
    fn sys_root_the_journal_gets_a_field_for_each_fact() {
        let status = in_child(|| {
            let socket = listen("/run", "/run/systemd/journal/socket");
            init(0);
            audit(&entry(Action::Command(&words(&["id"]))));
            // The first message is the layer's own trial.
            let record = std::iter::repeat_with(|| receive(&socket)).find(|text| !text.is_empty()).unwrap();
            for fact in ["SYSLOG_IDENTIFIER", "ZCHROOT_SESSION", "ZCHROOT_CALLER", "alice", "PRIORITY"] {
                assert!(record.contains(fact), "{fact}: {record}");
            }
            assert!(record.contains("[sid-1 chroot] (alice->root) Running command: \"id\""), "{record}");
            0
        });
        assert_eq!(status, 0);
    }

    #[test]
    fn sys_root_syslog_gets_the_record_where_there_is_no_journal() {
        let status = in_child(|| {
            let socket = listen("/dev", "/dev/log");
            mount(None::<&str>, "/run", Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
            init(0);
            audit(&entry(Action::Command(&words(&["%s%n", "id"]))));
            let record = receive(&socket);
            // LOG_AUTHPRIV | LOG_NOTICE.
            assert!(record.starts_with("<85>"), "{record}");
            assert!(record.contains("zchroot["), "{record}");
            assert!(
                record.ends_with("[sid-1 chroot] (alice->root) Running command: \"%s%n id\""),
                "{record}"
            );
            0
        });
        assert_eq!(status, 0);
    }
}
