//! Runs other programs and says what happens: a line per step on stderr, logs kept, the tail of a log in the error.
//!
//! SIGINT and SIGTERM only set a flag. Whoever waits looks at it, ends what it started, and returns an error, so that
//! every guard up the stack cleans up before the process ends.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How many lines of a log go into an error.
const TAIL_LINES: usize = 25;

static START: LazyLock<Instant> = LazyLock::new(Instant::now);
static INTERRUPTED: LazyLock<Arc<AtomicBool>> = LazyLock::new(|| Arc::new(AtomicBool::new(false)));

/// Turns SIGINT, SIGTERM and SIGHUP into a flag; a second one kills as usual.
pub fn catch_signals() -> Result<()> {
    LazyLock::force(&START);
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
        // The order matters: the first handler sees the flag that the second one has not yet set.
        signal_hook::flag::register_conditional_default(signal, Arc::clone(&INTERRUPTED))?;
        signal_hook::flag::register(signal, Arc::clone(&INTERRUPTED))?;
    }
    Ok(())
}

/// Fails once a signal has asked us to stop.
pub fn check_interrupt() -> Result<()> {
    if INTERRUPTED.load(Ordering::Relaxed) {
        bail!("interrupted");
    }
    Ok(())
}

/// Says what is about to be done, with the time since the start.
pub fn step(text: impl AsRef<str>) {
    eprintln!("[{:6.1} s] {}", START.elapsed().as_secs_f64(), text.as_ref());
}

/// The path of a program in PATH, or in the directories that a user's PATH lacks.
pub fn which(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
}

/// A command for `name`, found by [`which`].
pub fn command(name: &str) -> Command {
    Command::new(which(name).unwrap_or_else(|| PathBuf::from(name)))
}

/// Runs to the end with stdin closed; the output is appended to `log`.
///
/// # Errors
/// When the program cannot start, fails, or we are interrupted; a failure shows the tail of the log.
pub fn logged(command: &mut Command, log: &Path) -> Result<()> {
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(log)
        .with_context(|| format!("open the log {}", log.display()))?;
    let name = describe(command);
    let child = command
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .spawn()
        .with_context(|| format!("start {name}"))?;
    let status = wait(child)?;
    if !status.success() {
        bail!("{name}: {status}\n{}\nthe whole log: {}", tail_of(log), log.display());
    }
    Ok(())
}

/// Runs to the end with our own stdout and stderr and gives the status.
pub fn shown(command: &mut Command) -> Result<ExitStatus> {
    let name = describe(command);
    wait(command.stdin(Stdio::null()).spawn().with_context(|| format!("start {name}"))?)
}

/// Runs to the end and gives what it wrote on stdout.
///
/// # Errors
/// When it cannot start or fails; the error carries what it wrote on stderr.
pub fn output(command: &mut Command) -> Result<String> {
    let name = describe(command);
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("start {name}"))?;
    if !output.status.success() {
        bail!("{name}: {}\n{}", output.status, tail(&String::from_utf8_lossy(&output.stderr)));
    }
    String::from_utf8(output.stdout).with_context(|| format!("{name} wrote no UTF-8"))
}

/// Waits for a child; on a signal to us the child gets SIGTERM and is waited for.
pub fn wait(mut child: Child) -> Result<ExitStatus> {
    loop {
        if let Some(status) = child.try_wait()? {
            check_interrupt()?;
            return Ok(status);
        }
        if let Err(error) = check_interrupt() {
            let _ = Command::new("kill").arg(child.id().to_string()).status();
            child.wait()?;
            return Err(error);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn describe(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(OsStr::new("?"));
    let first = command.get_args().next().unwrap_or_default();
    [program, first]
        .map(|word| String::from_utf8_lossy(word.as_bytes()).into_owned())
        .join(" ")
        .trim_end()
        .to_owned()
}

fn tail_of(log: &Path) -> String {
    let text = fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    tail(&text)
}

/// The last lines of a text.
pub fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

/// Takes the lock of a file that is made if need be and never removed; waits, and says so when it has to.
pub fn lock(path: &Path, what: &str) -> Result<File> {
    let file = File::create(path).with_context(|| format!("make the lock {}", path.display()))?;
    if file.try_lock().is_err() {
        step(format!("{what}: another process is at it, waiting"));
        while file.try_lock().is_err() {
            check_interrupt()?;
            std::thread::sleep(Duration::from_millis(200));
        }
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_program_shows_the_tail_of_its_log() {
        let dir = std::env::temp_dir().join(format!("xtask-program-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let error =
            logged(Command::new("sh").args(["-c", "seq 100; echo why it failed; exit 3"]), &dir.join("log"))
                .unwrap_err()
                .to_string();
        fs::remove_dir_all(&dir).unwrap();
        assert!(error.contains("why it failed") && error.contains("exit status: 3"), "{error}");
        assert!(!error.contains("\n50\n"), "only the tail: {error}");
    }

    #[test]
    fn a_failing_program_shows_what_it_said_on_stderr() {
        let error =
            output(Command::new("sh").args(["-c", "echo because >&2; exit 1"])).unwrap_err().to_string();
        assert!(error.contains("because"), "{error}");
    }

    #[test]
    fn a_program_that_does_not_exist_is_named_in_the_error() {
        let error = output(&mut command("no-such-program-here")).unwrap_err().to_string();
        assert!(error.contains("no-such-program-here"), "{error}");
    }
}
