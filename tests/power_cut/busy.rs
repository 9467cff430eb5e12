//! Many clients at once, and the power cut at random moments.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::harness::Installation;
use crate::ops::{Ops, What};
use crate::rig::{Cut, Rig};
use crate::work::{self, TEMPLATE};

/// How many cuts, and with ZCHROOT_TEST_LONG=1.
const CUTS: usize = 30;
const LONG_CUTS: usize = 120;
/// The longest time from one cut to the next, in milliseconds.
const PAUSE: u64 = 160;
const SEED: &str = "ZCHROOT_TEST_SEED";

/// Somebody who does one thing again and again.
#[derive(Debug, Clone, Copy)]
pub enum Client {
    /// Throw-away sessions.
    Reader,
    /// Named sessions.
    Keeper,
    /// Updates.
    Committer,
    /// gc.
    Collector,
}

/// Clients work while the power is cut; the cuts.
pub fn cuts(rig: &Rig, ops: &Ops, clients: &[Client]) -> Vec<Cut> {
    let wanted = if is_long() { LONG_CUTS } else { CUTS };
    let seed = seed();
    println!("the moments are those of seed {seed}");
    let mut random = Random(seed | 1);
    let (over, numbers, host) = (&AtomicBool::new(false), &AtomicUsize::new(1), &rig.host);
    std::thread::scope(|scope| {
        for client in clients {
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    step(*client, host, ops, numbers);
                }
            });
        }
        let cut = |_| {
            std::thread::sleep(Duration::from_millis(random.below(PAUSE)));
            rig.cut("random work")
        };
        let cuts = (0..wanted).map(cut).collect();
        over.store(true, Ordering::Relaxed);
        cuts
    })
}

/// Whether nothing is to be left out.
pub fn is_long() -> bool {
    std::env::var_os("ZCHROOT_TEST_LONG").is_some()
}

/// What is chosen by.
pub fn seed() -> u64 {
    std::env::var(SEED).ok().and_then(|text| text.parse().ok()).unwrap_or_else(clock)
}

fn step(client: Client, host: &Installation, ops: &Ops, numbers: &AtomicUsize) {
    let number = || numbers.fetch_add(1, Ordering::Relaxed) + 1;
    match client {
        Client::Reader => {
            work::look_in(host);
        }
        Client::Keeper => named(host, ops, number()),
        // One committer alone: the numbers of its generations rise.
        Client::Committer => work::update(host, ops, number()),
        Client::Collector => {
            // Beside commits it may have to leave something to the next one.
            host.zchroot(["gc"]);
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

/// The life of a named session.
fn named(host: &Installation, ops: &Ops, number: usize) {
    let name = format!("named-{number}");
    ops.note(&[What::Begin(name.clone())], || {
        host.zchroot(["begin", TEMPLATE, "-n", &name]).ok().status == 0
    });
    work::one_generation(&host.zchroot(["exec", &name, "-d", "/", "--", "sh", "-c", work::LOOK]).ok());
    ops.note(&[What::End(name.clone())], || host.zchroot(["end", &name]).ok().status == 0);
}

fn clock() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    u64::from(now.subsec_nanos()) << 20 | now.as_secs() & 0xf_ffff
}

/// xorshift64: the same moments for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}
