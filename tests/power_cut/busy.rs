//! Many clients at once, and the power cut at random moments.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::harness::Installation;
use crate::ops::{Ops, What};
use crate::rig::{Cut, Rig};
use crate::work::{self, TEMPLATE};

/// How many cuts, and with ZCHROOT_TEST_LONG=1.
const CUTS: usize = 120;
const LONG_CUTS: usize = 1000;
const READERS: usize = 4;
/// The longest time from one cut to the next.
const PAUSE: u64 = 160;
const SEED: &str = "ZCHROOT_TEST_SEED";

/// Eight clients work while the power is cut; the cuts, and the seed of their moments.
pub fn cuts(rig: &Rig, ops: &Ops) -> (Vec<Cut>, u64) {
    let wanted = if std::env::var_os("ZCHROOT_TEST_LONG").is_some() { LONG_CUTS } else { CUTS };
    let seed = std::env::var(SEED).ok().and_then(|text| text.parse().ok()).unwrap_or_else(clock);
    let mut random = Random(seed | 1);
    let (over, numbers, host) = (&AtomicBool::new(false), &AtomicUsize::new(0), &rig.host);
    let cuts = std::thread::scope(|scope| {
        let until = move |work: &dyn Fn()| {
            while !over.load(Ordering::Relaxed) {
                work();
            }
        };
        for _ in 0..READERS {
            scope.spawn(move || {
                until(&|| {
                    work::look_in(host);
                })
            });
        }
        for _ in 0..2 {
            scope.spawn(move || until(&|| named(host, ops, numbers.fetch_add(1, Ordering::Relaxed))));
        }
        scope.spawn(move || {
            let mut generation = 1;
            while !over.load(Ordering::Relaxed) {
                generation += 1;
                work::update(host, ops, generation);
            }
        });
        scope.spawn(move || {
            until(&|| {
                // Beside commits it may have to leave something to the next one.
                host.zchroot(["gc"]);
                std::thread::sleep(Duration::from_millis(200));
            })
        });
        let cuts = (0..wanted).map(|_| {
            std::thread::sleep(Duration::from_millis(random.below(PAUSE)));
            rig.cut("random work")
        });
        let cuts = cuts.collect();
        over.store(true, Ordering::Relaxed);
        cuts
    });
    (cuts, seed)
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
