//! Follows the console of a machine: streams the job's output, keeps all of it, and knows how it ended.
//!
//! The guest marks its job with lines that begin with `@@vm:`; what lies between `begin` and `end` is the job's. The job
//! itself may write `@@vm:cut`: the machine is then killed at once, as by a power cut; or `@@vm:armed`, and is killed
//! when the time is over that whoever started it has set.

use std::fmt;
use std::io::{PipeReader, Read, Write};
use std::process::Child;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::program;

const MARK: &[u8] = b"@@vm:";
/// How long a machine that has said `end` may take to carry its results out and go.
const POWER_OFF: Duration = Duration::from_secs(90);

/// How a machine ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The job ended and the machine powered off.
    Finished,
    /// The guest could not even start the job.
    Failed(String),
    /// The guest's kernel panicked.
    Panicked,
    /// The machine went away while the job was running.
    Stopped,
    /// The job asked for a power cut, and the machine was killed.
    Cut,
    /// The machine did not end in time.
    TimedOut(Duration),
}

impl fmt::Display for End {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Finished => out.write_str("finished"),
            Self::Failed(why) => write!(out, "could not start the job: {why}"),
            Self::Panicked => out.write_str("panicked"),
            Self::Stopped => out.write_str("stopped before the job ended"),
            Self::Cut => out.write_str("was cut off, as the job asked"),
            Self::TimedOut(limit) => write!(out, "ran out of time ({} s)", limit.as_secs()),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Booting,
    Running,
    Ended,
    Cut,
    Failed(String),
    Panicked,
}

/// What a console has said so far.
#[derive(Debug)]
struct Transcript {
    log: Vec<u8>,
    /// The unfinished line, and how much of it has been shown.
    line: Vec<u8>,
    shown: usize,
    state: State,
    show_machine: bool,
    quiet: bool,
    /// When the job said that it may be cut off now.
    armed: Option<Instant>,
}

/// The console of a running machine.
#[derive(Debug)]
pub struct Console {
    chunks: Receiver<Vec<u8>>,
    transcript: Transcript,
    begun: Instant,
    booted: Option<Duration>,
    cut_after: Option<Duration>,
}

impl Console {
    /// Reads a console until its other end is closed.
    pub fn new(mut pipe: PipeReader) -> Self {
        let (sender, chunks) = mpsc::channel();
        std::thread::spawn(move || {
            let mut buffer = vec![0; 64 * 1024];
            while let Ok(size @ 1..) = pipe.read(&mut buffer) {
                if sender.send(buffer[..size].to_vec()).is_err() {
                    break;
                }
            }
        });
        Self { chunks, transcript: Transcript::new(), begun: Instant::now(), booted: None, cut_after: None }
    }

    pub fn show_machine(&mut self, yes: bool) {
        self.transcript.show_machine = yes;
    }

    pub fn be_quiet(&mut self, yes: bool) {
        self.transcript.quiet = yes;
    }

    /// Cuts the machine off so long after its job said that it is armed.
    pub fn cut_after(&mut self, time: Option<Duration>) {
        self.cut_after = time;
    }

    /// Everything that was written.
    pub fn log(&self) -> &[u8] {
        &self.transcript.log
    }

    /// The last lines of it.
    pub fn tail(&self) -> String {
        program::tail(&String::from_utf8_lossy(self.log()))
    }

    /// From the start of the machine to the start of the job.
    pub fn booted(&self) -> Option<Duration> {
        self.booted
    }

    /// Follows the machine to its end; it is gone when this returns, whatever happened.
    pub fn follow(&mut self, child: Child, limit: Duration) -> Result<End> {
        let mut guard = Guard(child);
        let mut deadline = Instant::now() + limit;
        loop {
            program::check_interrupt()?;
            match self.chunks.recv_timeout(self.patience()) {
                Ok(chunk) => {
                    let before = self.transcript.state.clone();
                    self.transcript.feed(&chunk, &mut std::io::stdout().lock())?;
                    self.note_progress(&before, &mut deadline);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.cut_when_due();
            if matches!(self.transcript.state, State::Panicked | State::Cut) {
                break;
            }
            // The machine is gone but something keeps its console open.
            if guard.0.try_wait()?.is_some() && self.chunks.try_recv().is_err() {
                break;
            }
            if Instant::now() > deadline {
                return Ok(End::TimedOut(limit));
            }
        }
        guard.end();
        Ok(match &self.transcript.state {
            State::Ended => End::Finished,
            State::Failed(why) => End::Failed(why.clone()),
            State::Panicked => End::Panicked,
            State::Cut => End::Cut,
            State::Booting | State::Running => End::Stopped,
        })
    }

    /// What is left until the cut.
    fn due(&self) -> Option<Duration> {
        let (armed, after) = (self.transcript.armed?, self.cut_after?);
        Some(after.saturating_sub(armed.elapsed()))
    }

    fn patience(&self) -> Duration {
        const LONGEST: Duration = Duration::from_millis(50);
        self.due().map_or(LONGEST, |due| due.min(LONGEST))
    }

    fn cut_when_due(&mut self) {
        if self.transcript.state == State::Running && self.due() == Some(Duration::ZERO) {
            self.transcript.state = State::Cut;
        }
    }

    fn note_progress(&mut self, before: &State, deadline: &mut Instant) {
        if *before == self.transcript.state {
            return;
        }
        if *before == State::Booting && self.booted.is_none() {
            self.booted = Some(self.begun.elapsed());
        }
        if self.transcript.state == State::Ended {
            *deadline = Instant::now() + POWER_OFF;
        }
    }
}

/// The process of a machine: never outlives us.
#[derive(Debug)]
struct Guard(Child);

impl Guard {
    fn end(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.end();
    }
}

impl Transcript {
    fn new() -> Self {
        Self {
            log: Vec::new(),
            line: Vec::new(),
            shown: 0,
            state: State::Booting,
            show_machine: false,
            quiet: false,
            armed: None,
        }
    }

    fn feed(&mut self, chunk: &[u8], out: &mut impl Write) -> Result<()> {
        self.log.extend_from_slice(chunk);
        for piece in chunk.split_inclusive(|&byte| byte == b'\n') {
            self.line.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                self.end_line(out)?;
            }
        }
        // A line that may still turn out to be a mark is kept back; any other is shown as it grows.
        if self.visible() && !self.line.is_empty() && !could_be_mark(&self.line) {
            self.show(out)?;
        }
        out.flush()?;
        Ok(())
    }

    fn visible(&self) -> bool {
        !self.quiet && (self.show_machine || self.state == State::Running)
    }

    fn show(&mut self, out: &mut impl Write) -> Result<()> {
        out.write_all(&self.line[self.shown..])?;
        self.shown = self.line.len();
        Ok(())
    }

    fn end_line(&mut self, out: &mut impl Write) -> Result<()> {
        let text = String::from_utf8_lossy(&self.line).trim_end().to_owned();
        if let Some(mark) = text.strip_prefix("@@vm:") {
            match mark.split_once(' ').unwrap_or((mark, "")) {
                ("begin", _) if self.state == State::Booting => self.state = State::Running,
                ("end", _) if self.state == State::Running => self.state = State::Ended,
                ("armed", _) if self.state == State::Running => self.armed = Some(Instant::now()),
                ("cut", _) if self.state == State::Running => self.state = State::Cut,
                ("fail", why) if self.state == State::Booting => self.state = State::Failed(why.to_owned()),
                _ => {}
            }
        } else {
            // Only the kernel's own line counts: a job may well print these words in the middle of one.
            let bare = text.trim_start_matches(|c: char| {
                c == '[' || c == ']' || c == '.' || c == ' ' || c.is_ascii_digit()
            });
            if bare.starts_with("Kernel panic - not syncing") {
                self.state = State::Panicked;
            }
            if self.visible() || self.state == State::Panicked {
                self.show(out)?;
            }
        }
        self.line.clear();
        self.shown = 0;
        Ok(())
    }
}

fn could_be_mark(line: &[u8]) -> bool {
    line.starts_with(MARK) || MARK.starts_with(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds the chunks and gives what was shown and the state.
    fn fed(chunks: &[&str]) -> (String, State) {
        let mut transcript = Transcript::new();
        let mut out = Vec::new();
        for chunk in chunks {
            transcript.feed(chunk.as_bytes(), &mut out).unwrap();
        }
        (String::from_utf8(out).unwrap(), transcript.state)
    }

    #[test]
    fn only_what_lies_between_begin_and_end_is_shown() {
        let (shown, state) = fed(&["boot\n@@vm:begin\none\n", "two\n@@vm:end 3\nlate\n"]);
        assert_eq!((shown.as_str(), state), ("one\ntwo\n", State::Ended));
    }

    #[test]
    fn a_line_is_shown_as_it_grows_but_a_mark_never_is() {
        let (shown, state) = fed(&["@@vm:begin\nhalf", " a line\n@@v", "m:en", "d 0\n"]);
        assert_eq!((shown.as_str(), state), ("half a line\n", State::Ended));
    }

    #[test]
    fn an_unfinished_line_that_only_looks_like_a_mark_is_shown_in_the_end() {
        assert_eq!(fed(&["@@vm:begin\n@@", "x\n"]).0, "@@x\n");
    }

    #[test]
    fn a_job_cannot_begin_again_or_end_before_it_began() {
        assert_eq!(fed(&["@@vm:end 0\n"]).1, State::Booting);
        assert_eq!(fed(&["@@vm:begin\n@@vm:end 0\n@@vm:begin\nx\n"]), (String::new(), State::Ended));
    }

    #[test]
    fn a_panic_is_the_kernels_line_and_not_words_of_the_job() {
        assert_eq!(fed(&["@@vm:begin\n[   12.5] Kernel panic - not syncing: x\n"]).1, State::Panicked);
        assert_eq!(fed(&["@@vm:begin\ngrep: Kernel panic - not syncing\n"]).1, State::Running);
    }

    #[test]
    fn a_job_that_asks_for_a_power_cut_gets_it() {
        let (reader, writer) = std::io::pipe().unwrap();
        let script = "echo @@vm:begin; echo @@vm:cut; sleep 600";
        let child = std::process::Command::new("sh").args(["-c", script]).stdout(writer).spawn().unwrap();
        let begun = Instant::now();
        assert_eq!(Console::new(reader).follow(child, Duration::from_secs(60)).unwrap(), End::Cut);
        assert!(begun.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn a_job_that_is_armed_is_cut_off_when_its_time_is_over() {
        let (reader, writer) = std::io::pipe().unwrap();
        let script = "echo @@vm:begin; echo @@vm:armed; sleep 600";
        let child = std::process::Command::new("sh").args(["-c", script]).stdout(writer).spawn().unwrap();
        let mut console = Console::new(reader);
        console.be_quiet(true);
        console.cut_after(Some(Duration::from_millis(300)));
        let begun = Instant::now();
        assert_eq!(console.follow(child, Duration::from_secs(60)).unwrap(), End::Cut);
        assert!((Duration::from_millis(300)..Duration::from_secs(30)).contains(&begun.elapsed()));
    }

    #[test]
    fn a_guest_that_cannot_start_the_job_says_why() {
        assert_eq!(fed(&["@@vm:fail no module\n"]).1, State::Failed("no module".into()));
    }

    #[test]
    fn a_machine_that_does_not_end_is_killed_and_reported() {
        let (reader, writer) = std::io::pipe().unwrap();
        let child = std::process::Command::new("sleep").arg("600").stdout(writer).spawn().unwrap();
        let pid = child.id();
        let end = Console::new(reader).follow(child, Duration::from_millis(200)).unwrap();
        assert_eq!(end, End::TimedOut(Duration::from_millis(200)));
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    }

    #[test]
    fn a_machine_that_goes_away_in_the_middle_is_no_success() {
        let (reader, writer) = std::io::pipe().unwrap();
        let child =
            std::process::Command::new("sh").args(["-c", "echo @@vm:begin"]).stdout(writer).spawn().unwrap();
        assert_eq!(Console::new(reader).follow(child, Duration::from_secs(20)).unwrap(), End::Stopped);
    }
}
