//! The clients: each does one thing after the other, most of them on sessions and some on templates.

use std::sync::atomic::{AtomicBool, Ordering};

use super::call::{Called, Registry};
use super::chance::Chance;
use super::harness::{Installation, Order};
use super::history::{Event, Log, Op, Outcome, Reason};
use super::stamp;

/// What clients work on.
pub(crate) struct World<'a> {
    pub(crate) host: &'a Installation,
    pub(crate) templates: &'a [&'a str],
    pub(crate) log: &'a Log,
    pub(crate) registry: Registry,
    pub(crate) over: AtomicBool,
}

/// What is done next.
pub(crate) struct Deed<'a> {
    pub(crate) op: Op,
    pub(crate) template: &'a str,
    pub(crate) session: &'a str,
    pub(crate) token: Option<&'a str>,
    pub(crate) words: &'a [&'a str],
}

impl World<'_> {
    /// Does something in the name of a client and writes down what came of it.
    pub(crate) fn act(&self, client: usize, deed: &Deed<'_>) -> Event {
        self.act_by(client, deed, self.host.order(["-vv"]).words(deed.words.iter().copied()))
    }

    /// The same by a call that does it in another way.
    pub(crate) fn act_by(&self, client: usize, deed: &Deed<'_>, order: Order) -> Event {
        let called = self.registry.call(client, order);
        let result = called.outcome(deed.op);
        let retries = called.retries();
        let event = Event {
            client,
            op: deed.op,
            template: deed.template.to_owned(),
            session: deed.session.to_owned(),
            token: deed.token.map(str::to_owned),
            invoke_ns: called.invoke_ns,
            complete_ns: called.complete_ns,
            result,
            looks: stamp::looks(&called.stdout),
            again: stamp::written_again(&called.stdout),
            said: if result == Outcome::Ok { String::new() } else { said(&called) },
            retries,
        };
        self.log.event(event.clone());
        event
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// A throw-away session that looks twice.
    pub(crate) fn run(&self, client: usize, template: &str, name: &str, pause: &str) -> Event {
        let script = stamp::reading();
        let words = ["run", template, "-d", "/", "--", "sh", "-c", &script, "read", name, pause];
        self.act(client, &Deed { op: Op::Run, template, session: name, token: None, words: &words })
    }

    /// The next generation in one go.
    pub(crate) fn update(&self, client: usize, template: &str, name: &str, pause: &str) -> Event {
        let script = stamp::writing();
        let words = ["update", template, "-m", name, "--", "sh", "-c", &script, "write", name, pause];
        self.act(client, &Deed { op: Op::Update, template, session: name, token: Some(name), words: &words })
    }
}

/// What the program said of a failure, without what -vv adds; recover says on its output what failed.
fn said(called: &Called) -> String {
    let is_noise = |line: &&str| {
        line.starts_with("zchroot: debug: ")
            || line.starts_with("zchroot: info: ")
            || line.starts_with("look|")
    };
    let lines: Vec<&str> =
        called.stderr.lines().chain(called.stdout.lines()).filter(|line| !is_noise(line)).collect();
    format!("{:?}: {}", called.status, lines.join("; "))
}

/// A client that works until the world is over.
pub(crate) struct Client<'a> {
    pub(crate) world: &'a World<'a>,
    pub(crate) number: usize,
    pub(crate) chance: Chance,
    named: Option<(String, &'a str)>,
    count: usize,
}

impl<'a> Client<'a> {
    pub(crate) fn new(world: &'a World<'a>, number: usize, chance: Chance) -> Self {
        Self { world, number, chance, named: None, count: 0 }
    }

    pub(crate) fn work(mut self) {
        while !self.world.is_over() {
            match self.chance.below(100) {
                0..40 => self.run(),
                40..65 => self.named(),
                65..82 => self.update(),
                _ => self.source(),
            }
        }
    }

    fn name(&mut self) -> String {
        self.count += 1;
        format!("c{}-{}", self.number, self.count)
    }

    fn template(&mut self) -> &'a str {
        self.chance.of(self.world.templates)
    }

    fn run(&mut self) {
        let (template, name, pause) = (self.template(), self.name(), self.chance.seconds(1500));
        self.world.run(self.number, template, &name, &pause);
    }

    fn update(&mut self) {
        let (template, name, pause) = (self.template(), self.name(), self.chance.seconds(200));
        self.world.update(self.number, template, &name, &pause);
    }

    /// The next thing in the life of a named session.
    fn named(&mut self) {
        let Some((session, template)) = self.named.take() else {
            let (session, template) = (self.name(), self.template());
            let words = ["begin", template, "-n", &session];
            let begun = self.act(Op::Begin, template, &session, None, &words);
            // One that may have been begun, or not, is left to recover.
            self.named = (begun.result == Outcome::Ok).then_some((session, template));
            return;
        };
        let (script, pause) = (stamp::reading(), self.chance.seconds(500));
        let ended = if self.chance.below(4) == 0 {
            let ended = self.act(Op::End, template, &session, None, &["end", &session]);
            !matches!(ended.result, Outcome::Fail(Reason::Busy))
        } else {
            let words = ["exec", &session, "-d", "/", "--", "sh", "-c", &script, "read", &session, &pause];
            let read = self.act(Op::Exec, template, &session, None, &words);
            matches!(read.result, Outcome::Fail(Reason::Gone))
        };
        self.named = (!ended).then_some((session, template));
    }

    /// A source session in pieces: committed, thrown away, or overtaken by an update of our own.
    fn source(&mut self) {
        let (template, session, pause) = (self.template(), self.name(), self.chance.seconds(300));
        let begin = ["source", "begin", template, "-n", &session];
        if self.act(Op::SourceBegin, template, &session, None, &begin).result != Outcome::Ok {
            return;
        }
        let script = stamp::writing();
        let exec = ["source", "exec", &session, "--", "sh", "-c", &script, "write", &session, &pause];
        let written = self.act(Op::SourceExec, template, &session, None, &exec).result == Outcome::Ok;
        match self.chance.below(10) {
            _ if !written => self.abort(template, &session),
            0..2 => self.abort(template, &session),
            2..4 => {
                self.overtake(template);
                self.commit(template, &session);
            }
            _ => self.commit(template, &session),
        }
    }

    fn overtake(&mut self, template: &'a str) {
        let name = self.name();
        self.world.update(self.number, template, &name, "0");
    }

    fn commit(&mut self, template: &'a str, session: &str) {
        let words = ["source", "commit", session, "-m", session];
        let mut done = self.act(Op::SourceCommit, template, session, Some(session), &words).result;
        if matches!(done, Outcome::Info | Outcome::Fail(Reason::Busy)) {
            // Whatever became of it: a repeat finishes it.
            done = self.act(Op::SourceCommit, template, session, Some(session), &words).result;
        }
        if matches!(done, Outcome::Fail(_)) {
            self.abort(template, session);
        }
    }

    fn abort(&mut self, template: &'a str, session: &str) {
        self.act(Op::SourceAbort, template, session, None, &["source", "abort", session]);
    }

    fn act(&self, op: Op, template: &str, session: &str, token: Option<&str>, words: &[&str]) -> Event {
        self.world.act(self.number, &Deed { op, template, session, token, words })
    }
}
