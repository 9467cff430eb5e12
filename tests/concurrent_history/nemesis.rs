//! Who makes trouble: kills clients' processes, stops them while they hold whatever they hold, takes the room
//! away; and who clears up meanwhile.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use nix::sys::signal::Signal;

use super::call::Whom;
use super::chance::Chance;
use super::clients::{Deed, World};
use super::history::{Op, Outcome, now_ns};
use super::place::Ballast;

/// How often what was done.
#[derive(Debug, Default)]
pub(crate) struct Troubles {
    pub(crate) kills: AtomicUsize,
    pub(crate) stops: AtomicUsize,
    pub(crate) fills: AtomicUsize,
    pub(crate) aborts: AtomicUsize,
}

/// Makes trouble for clients 0 to `clients` until the world is over; then everything goes on and has room.
pub(crate) fn rage(
    world: &World<'_>,
    clients: usize,
    mut chance: Chance,
    ballast: &Ballast,
    done: &Troubles,
) {
    while !world.is_over() {
        std::thread::sleep(Duration::from_millis(100 + chance.below(900)));
        let client = usize::try_from(chance.below(clients as u64)).unwrap();
        let whom = chance.of(&[Whom::Parent, Whom::Group]);
        match chance.below(100) {
            0..45 => {
                if world.registry.strike(client, whom, Signal::SIGKILL).is_some() {
                    done.kills.fetch_add(1, Ordering::Relaxed);
                }
            }
            45..90 => stop(world, client, whom, 50 + chance.below(2000), done),
            _ => {
                ballast.load();
                done.fills.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(200 + chance.below(1500)));
                ballast.drop();
            }
        }
    }
}

fn stop(world: &World<'_>, client: usize, whom: Whom, ms: u64, done: &Troubles) {
    let from = now_ns();
    if let Some(pid) = world.registry.strike(client, whom, Signal::SIGSTOP) {
        std::thread::sleep(Duration::from_millis(ms));
        world.registry.strike_again(client, pid, whom, Signal::SIGCONT);
        done.stops.fetch_add(1, Ordering::Relaxed);
        world.log.pause(from, now_ns());
    }
}

/// Runs recover and gc now and then, and throws source sessions away that a killed update left.
pub(crate) fn mend(world: &World<'_>, number: usize, mut chance: Chance, done: &Troubles) {
    while !world.is_over() {
        std::thread::sleep(Duration::from_millis(chance.below(3000)));
        let (op, words) = chance.of(&[(Op::Recover, "recover"), (Op::Gc, "gc")]);
        world.act(number, &Deed { op, template: "", session: "", token: None, words: &[words] });
        if op == Op::Recover {
            done.aborts.fetch_add(abandoned(world, number), Ordering::Relaxed);
        }
    }
}

/// Updates name their sessions themselves and hold them to their end: whichever of those can be had is abandoned.
/// (One may end while we wait for it: what is written down is about no session.)
pub(crate) fn abandoned(world: &World<'_>, number: usize) -> usize {
    let is_of_update = |id: &String| world.templates.iter().any(|name| id.starts_with(&format!("{name}-")));
    let abort = |id: String| {
        let words = ["source", "abort", &id];
        let deed = Deed { op: Op::SourceAbort, template: "", session: "", token: None, words: &words };
        world.act(number, &deed).result == Outcome::Ok
    };
    super::place::sources(world.host).into_iter().filter(is_of_update).map(abort).filter(|gone| *gone).count()
}
