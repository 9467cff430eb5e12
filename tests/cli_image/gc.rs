//! gc: images that have not been used for the time of `warm` go, and what a crash left; what is in use stays.

use super::{archive, images, import, nothing_of_images, waiting};
use crate::harness::both::on_both;
use crate::host::Host;

on_both! {
    Host:
    dir_image_gc_takes_cold_ones_and_leaves_live_and_warm_ones zfs_image_gc_takes_cold_ones_and_leaves_live_and_warm_ones
        cold;
    dir_image_gc_takes_what_a_crash_left zfs_image_gc_takes_what_a_crash_left left;
}

/// The configuration with these periods.
fn periods(host: &Host, grace: &str, warm: &str) {
    let text = host.read("/etc/zchroot/zchroot.toml");
    let kept = text.split("[images]").next().unwrap().to_owned();
    let lines: Vec<&str> = kept.lines().filter(|line| !line.starts_with("grace")).collect();
    let text = lines.join("\n").replace("version = 1", &format!("version = 1\ngrace = \"{grace}\""));
    host.configure(&format!("{text}\n[images]\nwarm = \"{warm}\"\n"));
}

/// The lines of gc that are about images.
fn gc(host: &Host, words: &[&str]) -> Vec<String> {
    let text = host.zchroot([&["gc"], words].concat()).ok().text();
    text.lines().filter(|line| line.contains("image ")).map(str::to_owned).collect()
}

fn cold(host: &Host) {
    let (used, unused) = (import(host, &archive(host, "used")), import(host, &archive(host, "unused")));
    let nothing = [] as [&str; 0];
    periods(host, "0s", "7d");
    assert_eq!(gc(host, &[]), nothing);
    periods(host, "0s", "inf");
    (0..10).for_each(|_| assert_eq!(gc(host, &[]), nothing));
    let inside = waiting(host, &used);
    periods(host, "1h", "0");
    let [kept] = &gc(host, &[])[..] else { panic!("one line") };
    assert!(kept.starts_with(&format!("kept image {}: ", &unused[..12])), "{kept}");
    assert!(kept.contains("nothing is cloned from it, but it was used only "), "{kept}");
    periods(host, "0s", "0");
    let dry = gc(host, &["-n"]);
    assert_eq!(images(host).len(), 2);
    let gone = gc(host, &[]);
    let [line] = &gone[..] else { panic!("{gone:?}") };
    assert!(
        line.starts_with(&format!("removed image {}: nothing is cloned from it, last used ", &unused[..12]))
    );
    let without_age = |lines: &[String]| lines[0].rsplit_once("last used").unwrap().0.to_owned();
    assert_eq!(without_age(&dry).replace("would remove", "removed"), without_age(&gone));
    assert_eq!(gc(host, &[]), nothing);
    let [image] = &images(host)[..] else { panic!("the live one stays") };
    assert_eq!((image["digest"].as_str(), image["state"].as_str()), (Some(used.as_str()), Some("live")));
    let answer = inside.finish().ok();
    assert!(answer.text().ends_with("used"), "{answer}");
    let json = host.zchroot(["gc", "--json"]).ok().json();
    let line = json["items"].as_array().unwrap().iter().find(|item| item["kind"] == "image").unwrap();
    assert_eq!((&line["image"], &line["action"]), (&used.into(), &"remove".into()), "{json}");
    host.assert_nothing_left();
    nothing_of_images(host);
}

/// A record, a lock and mount points as a crash leaves them, and an image whose record is gone.
fn left(host: &Host) {
    let whole = import(host, &archive(host, "whole"));
    let unknown = import(host, &archive(host, "unknown"));
    let record = |digest: &str| host.at(&format!("/var/lib/zchroot/images/{digest}.toml"));
    std::fs::remove_file(record(&unknown)).unwrap();
    let (one, other) = ("1".repeat(64), "2".repeat(64));
    std::fs::copy(record(&whole), record(&one)).unwrap();
    host.write(&format!("/run/zchroot/lock/image-{other}"), "");
    for digest in [&whole, &other] {
        std::fs::create_dir(host.at(&format!("/run/zchroot/mount/.image-{digest}"))).unwrap();
    }
    let at = host.at(&format!("/run/zchroot/mount/.image-{whole}"));
    nix::mount::mount(Some("x"), &at, Some("tmpfs"), nix::mount::MsFlags::empty(), None::<&str>).unwrap();
    // Names that are none of ours stay.
    host.write("/run/zchroot/lock/image-other", "");
    periods(host, "1h", "0");
    let kept = gc(host, &[]);
    assert!(kept.iter().all(|line| line.starts_with("kept ")) && kept.len() == 6, "{kept:#?}");
    periods(host, "0s", "7d");
    let mut gone = gc(host, &[]);
    gone.sort();
    let mut lines = [
        format!("removed image {}: nothing is known of it", &unknown[..12]),
        format!("removed mount of image {}: ", &whole[..12]),
        format!("removed mount of image {}: ", &other[..12]),
        format!("removed record of image {}: ", &one[..12]),
        format!("removed lock of image {}: ", &other[..12]),
    ];
    lines.sort();
    assert_eq!(gone.len(), lines.len(), "{gone:#?}");
    for (line, expected) in gone.iter().zip(&lines) {
        assert!(line.starts_with(expected), "{gone:#?}");
    }
    assert_eq!(gc(host, &[]), [] as [&str; 0]);
    assert_eq!(images(host).len(), 1);
    host.zchroot(["-q", "run", "--image", &whole, "-d", "/", "--", "cat", "/srv/text"]).ok().prints("whole");
    std::fs::remove_file(host.at("/run/zchroot/lock/image-other")).unwrap();
    host.zchroot(["image", "remove", &whole]).ok();
    nothing_of_images(host);
}
