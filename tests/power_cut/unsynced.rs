//! The run of a command: nothing that it writes is made durable, so that a cut shows of it what the pool happened to
//! write. Here it is made to write: the log alone, or all.

use std::fs::File;
use std::time::Instant;

use crate::check::Count;
use crate::ops::Ops;
use crate::rig::{Cut, Rig};
use crate::rig_with_template;
use crate::step::{self, Go, Steps};
use crate::work::TEMPLATE;
use crate::zfs_pool::run;

/// At each step three times: as it is; when somebody's fsync(2) took along what is in the log, which is names and no
/// texts; and when the pool has written everything.
fn cut_through_run(rig: &Rig) -> Vec<Cut> {
    let words = ["-q", "run", TEMPLATE, "-d", "/", "--", "true"];
    let somebodys = File::open(rig.host.at("/var/lib/zchroot/templates")).unwrap();
    let mut cuts = Vec::new();
    let good = step::through(&rig.host, Steps::Paths, &words, |call| {
        cuts.push(rig.cut(&format!("run: {call}")));
        somebodys.sync_all().unwrap();
        cuts.push(rig.cut(&format!("run: {call}, and somebody's fsync")));
        run("zpool", &["sync", &rig.inner]);
        cuts.push(rig.cut(&format!("run: {call}, and all written")));
        Go::On
    });
    assert!(good && cuts.len() > 9, "it changed next to nothing: {cuts:?}");
    cuts
}

#[test]
fn zfs_crash_power_cut_at_every_step_of_a_run() {
    let begun = Instant::now();
    let (rig, ops): (Rig, Ops) = rig_with_template(1);
    let cuts = cut_through_run(&rig);
    rig.put_away();
    let mut count = Count::default();
    count.look(&rig, &ops, &cuts);
    let wanted = ["run.planned", "run.record-empty", "run.clone", "run.ending-or-gone"];
    count.finish("run", begun, &wanted);
}
