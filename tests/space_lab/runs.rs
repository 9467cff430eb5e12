//! What both stores go through.

use std::time::{Duration, Instant};

use super::{Lab, MIB, archive, images};
use crate::harness::MINIMAL;

/// The first attempt meets no room, the sweep makes it, the second succeeds; all in one run.
pub fn an_import_succeeds_after_a_sweep(lab: &dyn Lab) {
    let host = lab.host();
    let (old, new) = (archive::tar(host, "old", 60), archive::tar(host, "new", 60));
    host.zchroot(["image", "import", old.to_str().unwrap()]).ok();
    lab.leave(40 * MIB);
    let done = host.zchroot(["image", "import", new.to_str().unwrap()]).ok();
    let (old, new) = (archive::sha256(&old)[..12].to_owned(), archive::sha256(&new));
    let swept = format!("image {old}: nothing is cloned from it, and there is no room");
    let steps = ["no room to keep the image", lab.full(), &swept, "trying once more", "unpacked"];
    let mut rest = done.stderr.as_str();
    for step in steps {
        let at = rest.find(step).unwrap_or_else(|| panic!("no {step:?} in {rest:?}: {done}"));
        rest = &rest[at..];
    }
    assert_eq!(images(lab), [&new[..12]]);
    lab.assert_clean();
    let words = ["run", "--image", &new[..12], "-d", "/", "--", "sh", "-c", "wc -c < /usr/big"];
    host.zchroot(words).ok().prints(&(60 * MIB).to_string());
    lab.assert_clean();
}

/// There is nothing to evict: the second attempt fails as the first did, says the sum, and leaves nothing.
pub fn an_import_that_finds_no_room_leaves_nothing(lab: &dyn Lab) {
    let host = lab.host();
    let big = archive::tar(host, "big", 60);
    lab.leave(40 * MIB);
    let before = lab.available();
    let failed = host.zchroot(["image", "import", big.to_str().unwrap()]).exits(1);
    let failed = failed
        .says("swept nothing")
        .says("zchroot: no room to keep the image: ")
        .says("a sweep evicted nothing");
    assert_eq!(failed.stderr.matches(lab.full()).count(), 2, "two attempts: {failed}");
    assert_eq!(images(lab), [] as [&str; 0]);
    lab.assert_clean();
    assert!(lab.available() + MIB > before, "{} of {before} left", lab.available());

    let failed = host.zchroot(["create", "big", "--from", big.to_str().unwrap()]).exits(1);
    let failed = failed.says("no room to create big: ").says("needed at least").says(lab.missing());
    assert_eq!(failed.stderr.matches(lab.full()).count(), 2, "two attempts: {failed}");
    assert!(!host.at("/etc/zchroot/templates.d/big.toml").exists(), "not half a template either");
    host.zchroot(["run", "--image", big.to_str().unwrap(), "--", "true"])
        .exits(125)
        .says("no room to import");
    assert_eq!(images(lab), [] as [&str; 0]);
    lab.assert_clean();
    assert!(lab.available() + 2 * MIB > before, "{} of {before} left", lab.available());
}

/// Streams and layers end at the first refusal: nobody waits for a writer who cannot go on.
pub fn streams_and_layers_end_in_bounded_time(lab: &dyn Lab) {
    let host = lab.host();
    let plain = archive::tar(host, "plain", 60);
    let output = std::process::Command::new("gzip").args(["-1", "-k"]).arg(&plain).status().unwrap();
    assert!(output.success());
    let packed = format!("{}.gz", plain.display());
    let layers = format!("oci:{}", archive::oci(host, "layer", 60).display());
    lab.leave(40 * MIB);
    for source in [packed.as_str(), &layers] {
        let began = Instant::now();
        let failed = host.zchroot(["image", "import", source]).exits(1);
        assert!(failed.stderr.contains(lab.full()), "{failed}");
        assert!(began.elapsed() < Duration::from_secs(40), "{source} took {:?}", began.elapsed());
        assert_eq!(images(lab), [] as [&str; 0]);
        lab.assert_clean();
    }
}

/// Workers with a template each, and room for half of them: exactly half succeed, the others fail with the sum, and of
/// those nothing is left over.
pub fn many_makers_share_what_there_is(lab: &dyn Lab, room: u64) {
    let host = lab.host();
    let all: Vec<_> = (0..6).map(|n| (format!("n{n}"), archive::tar(host, &format!("n{n}"), 20))).collect();
    for (name, _) in &all {
        host.define(name, MINIMAL);
    }
    lab.leave(room);
    let make = |(name, path): &(String, std::path::PathBuf)| {
        host.order(["create", name, "--from", path.to_str().unwrap()]).start()
    };
    let running: Vec<_> = all.iter().map(make).collect();
    let ended: Vec<_> = running.into_iter().map(crate::harness::program::Running::finish).collect();
    let mut made = 0;
    for (done, (name, _)) in ended.iter().zip(&all) {
        let template = host.at(&format!("/var/lib/zchroot/templates/{name}/current"));
        assert_eq!(std::fs::symlink_metadata(template).is_ok(), done.status == 0, "{done}");
        made += usize::from(done.status == 0);
        let words = format!("zchroot: no room to create {name}: ");
        assert!(done.status == 0 || done.stderr.contains(&words), "{done}");
    }
    assert_eq!(made, 3, "of 6 in room for three: {ended:?}");
    lab.assert_clean();
}

/// A template, and a source session with work in it, in a store that is full to the last byte.
pub fn sessions_and_commits_succeed_after_a_sweep(lab: &dyn Lab) {
    let host = lab.host();
    host.define("demo", MINIMAL);
    host.create("demo");
    let mut warm = 0;
    let mut refill = |what: &str| {
        let image = archive::tar(host, &format!("warm{warm}"), 20);
        warm += 1;
        lab.leave(60 * MIB);
        // Lays the reserve again, if there is one.
        host.zchroot(["gc"]).ok();
        host.zchroot(["image", "import", image.to_str().unwrap()]).ok();
        lab.leave(0);
        assert_eq!(images(lab).len(), 1, "before {what}");
    };
    refill("begin");
    host.zchroot(["begin", "demo", "-n", "one"]).ok().says("no room to begin session one");
    refill("source begin");
    host.zchroot(["source", "begin", "demo", "-n", "two"]).ok().says("no room to begin source session two");
    host.zchroot(["source", "exec", "two", "--", "sh", "-c", "echo 2 > /etc/generation"]).ok();
    refill("commit");
    host.zchroot(["source", "commit", "two"]).ok().says("no room to commit two").says("trying once more");
    assert_eq!(images(lab), [] as [&str; 0]);
    host.zchroot(["run", "demo", "-d", "/", "--", "cat", "/etc/generation"]).ok().prints("2");
    refill("rollback");
    host.zchroot(["rollback", "demo"]).ok().says("no room to roll demo back");
    host.zchroot(["run", "demo", "-d", "/", "--", "cat", "/etc/generation"]).ok().prints("1");
    host.zchroot(["end", "one"]).ok();
    lab.assert_clean();
}

/// As before with nothing to evict: what was there stays, what was to be made is not there.
pub fn sessions_and_commits_that_find_no_room_leave_nothing(lab: &dyn Lab) {
    let host = lab.host();
    host.define("demo", MINIMAL);
    host.create("demo");
    host.zchroot(["source", "begin", "demo", "-n", "two"]).ok();
    host.zchroot(["source", "exec", "two", "--", "sh", "-c", "echo 2 > /etc/generation"]).ok();
    let before = host.versions("demo");
    lab.leave(0);
    for words in [
        &["begin", "demo", "-n", "one"][..],
        &["source", "begin", "demo", "-n", "three"],
        &["rollback", "demo", &before[0]],
    ] {
        let failed = host.zchroot(words.iter().copied());
        assert_eq!(failed.status, 1, "{failed}");
        if words[0] != "rollback" {
            assert!(failed.stderr.contains("a sweep evicted nothing"), "{failed}");
        }
    }
    assert_eq!(host.sessions(), ["two"]);
    let failed = host.zchroot(["source", "commit", "two"]).exits(1).says("no room to commit two: ");
    assert_eq!(failed.stderr.matches("trying once more").count(), 1, "{failed}");
    assert_eq!(host.versions("demo"), before);
    lab.leave(20 * MIB);
    host.zchroot(["source", "exec", "two", "--", "cat", "/etc/generation"]).ok().prints("2");
    host.zchroot(["source", "commit", "two"]).ok();
    lab.assert_clean();
}

/// Full to the last byte: with the reserve a commit and gc still work, and it comes back only with room twice over.
pub fn the_reserve_lets_a_full_store_be_cleared_up(lab: &dyn Lab, write: &dyn Fn() -> std::io::Result<()>) {
    let host = lab.host();
    let reserve = || host.zchroot(["reserve", "--json"]).json()["reserve"]["laid"].as_u64().unwrap();
    host.define("demo", MINIMAL);
    host.create("demo");
    assert_eq!(reserve(), 16 * MIB, "init laid it");
    host.zchroot(["begin", "demo", "-n", "one"]).ok();
    host.zchroot(["source", "begin", "demo", "-n", "two"]).ok();
    host.zchroot(["source", "exec", "two", "--", "sh", "-c", "echo 2 > /etc/generation"]).ok();
    lab.leave(0);
    write().unwrap_err();
    host.zchroot(["gc"]).ok();
    assert_eq!(reserve(), 16 * MIB, "gc did not need it");
    host.zchroot(["source", "commit", "two"]).ok().says("released the reserve");
    host.zchroot(["run", "demo", "-d", "/", "--", "cat", "/etc/generation"]).ok().prints("2");
    assert_eq!(reserve(), 0, "there is no room for it");
    write().unwrap();

    lab.leave(0);
    host.zchroot(["end", "one"]).ok();
    lab.leave(24 * MIB);
    host.zchroot(["reserve", "lay"])
        .exits(1)
        .says("no room for the reserve: it is laid with 32.00 MiB available");
    host.zchroot(["gc"]).ok();
    assert_eq!(reserve(), 0, "room for it, but not twice over");
    lab.leave(40 * MIB);
    host.zchroot(["gc"]).ok().says("laid the reserve");
    assert_eq!(reserve(), 16 * MIB);
    assert!(lab.available() < 25 * MIB);
    lab.leave(0);
    write().unwrap_err();
    host.zchroot(["reserve", "release"]).ok().says("released 16.00 MiB").prints("0 B of 16.00 MiB laid");
    host.zchroot(["reserve", "release"]).ok().says("nothing to release");
    write().unwrap();
    lab.leave(40 * MIB);
    // Several at once lay one.
    let before = lab.available();
    let laying: Vec<_> = (0..4).map(|_| host.order(["reserve", "lay"]).start()).collect();
    for done in laying.into_iter().map(crate::harness::program::Running::finish) {
        done.ok().prints("16.00 MiB of 16.00 MiB laid");
    }
    assert!((15 * MIB..17 * MIB).contains(&(before - lab.available())), "{before}: {}", lab.available());
    lab.assert_clean();
}

/// Below the hard floor nothing is begun, and nothing of it is made; what may be evicted is evicted first.
pub fn below_the_hard_floor_nothing_is_begun(lab: &dyn Lab) {
    let host = lab.host();
    host.define("demo", MINIMAL);
    host.create("demo");
    let warm = archive::tar(host, "warm", 20);
    let warm = warm.to_str().unwrap();
    host.zchroot(["image", "import", warm]).ok();
    lab.leave(30 * MIB);
    let config = host.read("/etc/zchroot/zchroot.toml");
    let floor = |hard: &str, soft: &str| {
        let config = config.replace("hard-floor = \"0\"", &format!("hard-floor = \"{hard}\""));
        host.configure(&config.replace("soft-floor = \"0\"", &format!("soft-floor = \"{soft}\"")));
    };
    floor("40M", "0");
    host.zchroot(["begin", "demo", "-n", "one"]).ok();
    assert_eq!(images(lab), [] as [&str; 0], "the sweep made room enough");
    host.zchroot(["end", "one"]).ok();

    floor("60M", "0");
    let before = lab.available();
    let begin: &[&[&str]] = &[
        &["begin", "demo", "-n", "one"],
        &["source", "begin", "demo", "-n", "two"],
        &["image", "import", warm],
        &["create", "other", "--from", warm],
    ];
    for words in begin {
        let refused = host.zchroot(words.iter().copied()).exits(1).says("zchroot: no room to ");
        let refused = refused
            .says("available, 60.00 MiB is the least (hard-floor), ")
            .says(" missing; a sweep evicted nothing");
        assert!(!refused.stderr.contains("unpack"), "nothing is tried: {refused}");
    }
    for words in [
        &["run", "demo", "--", "true"][..],
        &["run", "--image", warm, "--", "true"],
        &["update", "demo", "--", "true"],
    ] {
        host.zchroot(words.iter().copied()).exits(125).says("is the least (hard-floor)");
    }
    assert!(!host.at("/etc/zchroot/templates.d/other.toml").exists());
    assert_eq!((images(lab).len(), host.sessions().len()), (0, 0));
    assert!(lab.available() + MIB > before);
    lab.assert_clean();

    floor("0", "1T");
    host.zchroot(["begin", "demo", "-n", "one"]).ok().says("is low: ");
    assert_eq!(host.zchroot(["begin", "demo", "-n", "two", "-q"]).ok().stderr, "");
    assert_eq!(host.zchroot(["run", "demo", "-d", "/", "--", "true"]).ok().stderr, "", "the command's own");
    host.zchroot(["end", "one", "two"]).ok();
    lab.assert_clean();
}

/// Room for the first file that a commit writes and not for the second: what it has begun by then is begun anew.
pub fn a_commit_that_was_cut_short_is_made_whole(lab: &dyn Lab) {
    let host = lab.host();
    host.define("demo", MINIMAL);
    host.create("demo");
    for step in 1..=6 {
        let name = format!("cut{step}");
        lab.leave(60 * MIB);
        host.zchroot(["source", "begin", "demo", "-n", &name]).ok();
        let image = archive::tar(host, &name, 20);
        host.zchroot(["image", "import", image.to_str().unwrap()]).ok();
        lab.leave(step * 4096);
        host.zchroot(["source", "commit", &name]).ok();
        assert!(host.sessions().is_empty());
        for image in images(lab) {
            host.zchroot(["image", "remove", &image]).ok();
        }
    }
    lab.assert_clean();
}

/// At their share of the quota those go that were used longest ago, and no more than it takes.
pub fn images_beyond_their_share_go(lab: &dyn Lab) {
    let host = lab.host();
    let config = host.read("/etc/zchroot/zchroot.toml");
    host.configure(&format!("{config}[images]\nquota = \"60M\"\npressure = 80\n"));
    let import = |name: &str| {
        let archive = archive::tar(host, name, 20);
        let done = host.zchroot(["image", "import", archive.to_str().unwrap()]).ok();
        (archive::sha256(&archive)[..12].to_owned(), done)
    };
    let (first, _) = import("first");
    let (second, done) = import("second");
    assert!(!done.stderr.contains("evicted"), "less than 80%: {done}");
    let (third, done) = import("third");
    assert!(!done.stderr.contains("evicted"), "{done}");
    let dry = host.zchroot(["gc", "--dry-run"]).ok().text();
    assert!(
        dry.contains(&format!("{first}: nothing is cloned from it, and images take 80% of 60M")),
        "{dry}"
    );
    let (fourth, done) = import("fourth");
    assert!(done.stderr.contains(&format!("{first}: nothing is cloned from it")), "{done}");
    let sorted = |names: &[&String]| {
        let mut names: Vec<String> = names.iter().map(|name| (*name).clone()).collect();
        names.sort();
        names
    };
    assert_eq!(sorted(&images(lab).iter().collect::<Vec<_>>()), sorted(&[&second, &third, &fourth]));
    let run = host.zchroot(["gc"]).ok().text();
    assert!(run.contains(&format!("{second}: nothing is cloned from it")), "{run}");
    assert_eq!(sorted(&images(lab).iter().collect::<Vec<_>>()), sorted(&[&third, &fourth]));
    host.zchroot(["gc"]).ok().prints("");
    lab.assert_clean();
}
