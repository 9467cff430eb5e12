//! Images from the command line, on both stores: `image import`, `list`, `remove`, `run --image`, and what gc does
//! with them.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests work on the host as it is"
)]

mod gc;
#[path = "../harness/mod.rs"]
mod harness;
#[allow(dead_code, reason = "the crash tests use the rest")]
#[path = "../session_crash/host.rs"]
mod host;
mod wrong;
#[cfg(feature = "zfs")]
#[path = "../zfs_pool/mod.rs"]
mod zfs_pool;

use std::process::Command;

use harness::both::on_both;
use harness::tree;
use host::Host;

on_both! {
    Host:
    dir_image_is_imported_once_listed_run_and_removed zfs_image_is_imported_once_listed_run_and_removed life;
    dir_image_that_something_is_cloned_from_stays zfs_image_that_something_is_cloned_from_stays busy;
    dir_image_of_which_a_template_is_made_may_go_or_is_live zfs_image_of_which_a_template_is_made_may_go_or_is_live
        template;
    dir_image_import_that_waits_for_others_says_so zfs_image_import_that_waits_for_others_says_so waits;
    dir_image_session_has_nothing_to_be_compared_with zfs_image_session_has_nothing_to_be_compared_with diff;
}

/// An archive of a root file system in which this is written, relative to the installation.
pub(crate) fn archive(host: &Host, text: &str) -> String {
    let source = host.at(&format!("/tree-{text}"));
    tree::make(&source);
    std::fs::write(source.join("srv/text"), text).unwrap();
    let archive = host.at(&format!("/{text}.tar"));
    tree::pack(&source, &archive);
    archive.to_str().unwrap().to_owned()
}

/// Imports it; its digest.
pub(crate) fn import(host: &Host, archive: &str) -> String {
    host.zchroot(["-q", "image", "import", archive]).ok().text()
}

pub(crate) fn images(host: &Host) -> Vec<serde_json::Value> {
    host.zchroot(["image", "list", "--json"]).ok().json()["images"].as_array().unwrap().clone()
}

/// Somebody whose first attempt had no room has the store for himself.
fn waits(host: &Host) {
    let path = archive(host, "one");
    let text = "wait for an import that needs the store for itself";
    let done = host.zchroot(["run", "--image", &path, "-d", "/", "--", "true"]).ok();
    assert!(!done.stderr.contains(text), "{}", done.stderr);
    import(host, &path);
    let locks = host.at("/run/zchroot/lock");
    let makers =
        std::fs::File::options().write(true).create(true).truncate(false).open(locks.join("makers")).unwrap();
    makers.lock().unwrap();
    let waiting = host.order(["run", "--image", &path, "-d", "/", "--", "cat", "srv/text"]).start();
    std::thread::sleep(std::time::Duration::from_secs(3));
    drop(makers);
    let done = waiting.finish().ok();
    assert_eq!((done.text().as_str(), done.stderr.matches(text).count()), ("one", 1), "{}", done.stderr);
}

fn life(host: &Host) {
    let path = archive(host, "one");
    let first = host.order(["image", "import", "one.tar"]).current_dir(host.path()).run().ok();
    let digest = first.text();
    let sum = Command::new("sha256sum").arg(&path).output().unwrap();
    assert!(String::from_utf8_lossy(&sum.stdout).starts_with(&digest), "{first}");
    let short = &digest[..12];
    first.says(&format!("image {short}: unpacked"));
    host.zchroot(["image", "import", &path]).ok().prints(&digest).says("there already");
    let json = host.zchroot(["image", "import", &path, "--json", "--digest", &digest]).ok().json();
    assert_eq!(json["image"], serde_json::json!({"digest": digest, "fresh": false, "saved": 0, "notes": []}));

    let [image] = &images(host)[..] else { panic!("one image") };
    for (key, value) in [("digest", digest.as_str()), ("state", "warm"), ("kind", "tar"), ("origin", &path)] {
        assert_eq!(image[key], value, "{image}");
    }
    assert_eq!(
        (image["clones"].as_u64(), image["importers"].to_string().as_str()),
        (Some(0), "[0]"),
        "{image}"
    );
    assert!(image["bytes"].as_u64().unwrap() > 100_000 && image["files"].as_u64().unwrap() > 50, "{image}");
    let text = host.zchroot(["image", "list"]).ok().text();
    let line = text.lines().nth(1).unwrap();
    assert!(line.starts_with(short) && line.contains(" warm ") && line.ends_with(&path), "{text}");

    for name in [&digest, short, &format!("sha256:{}", &digest[..2]), &path] {
        let look = "cat /srv/text; echo; echo two > /srv/text";
        host.zchroot(["-q", "run", "--image", name, "-d", "/", "--", "sh", "-c", look]).ok().prints("one");
    }
    let used = &images(host)[0]["last-used"];
    assert!(used.as_str() > image["last-used"].as_str(), "{used} {image}");
    host.assert_nothing_left();

    // One that is not there is imported on the way; root does not thereby give it to all.
    let other = archive(host, "other");
    let run = ["run", "--image", &other, "-d", "/", "--", "cat", "/srv/text"];
    host.zchroot(run).ok().prints("other").says("unpacked");
    let all = images(host);
    let known = all.iter().find(|image| image["origin"] == *other).unwrap();
    assert_eq!(known["importers"].to_string(), "[]");

    let known = known["digest"].as_str().unwrap();
    let gone = host.zchroot(["image", "remove", short, known, "--json"]).ok();
    assert_eq!(gone.json()["removed"], serde_json::json!([digest, known]));
    assert_eq!(images(host), [] as [serde_json::Value; 0]);
    host.assert_nothing_left();
    nothing_of_images(host);
}

/// No file of an image, and no lock.
pub(crate) fn nothing_of_images(host: &Host) {
    for folder in ["var/lib/zchroot/images", "var/lib/zchroot/store/images", "run/zchroot/mount"] {
        let Ok(entries) = std::fs::read_dir(host.at(folder)) else { continue };
        let names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        assert!(names.is_empty(), "{folder}: {names:?}");
    }
    let locks = std::fs::read_dir(host.at("run/zchroot/lock")).unwrap();
    let left: Vec<_> = locks.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(left.iter().all(|name| !name.starts_with("image-")), "{left:?}");
}

/// A session of an image in which a command waits for a line.
pub(crate) fn waiting(host: &Host, image: &str) -> harness::program::Running {
    let wait = "echo in; read -r line; cat /srv/text";
    let mut inside = host.order(["-q", "run", "--image", image, "-d", "/", "--", "sh", "-c", wait]).start();
    assert_eq!(inside.line(), "in");
    inside
}

fn busy(host: &Host) {
    let digest = import(host, &archive(host, "one"));
    let inside = waiting(host, &digest);
    assert_eq!(images(host)[0]["state"], "live");
    host.zchroot(["image", "remove", &digest]).exits(3).says("something is cloned from it");
    let [session] = &host.sessions()[..] else { panic!("one session") };
    assert!(session.starts_with(&format!("image-{}-", &digest[..12])), "{session}");
    let info = host.zchroot(["info", session]).ok().text();
    assert!(info.contains(&format!("Image               {digest}")), "{info}");
    inside.finish().ok();
    host.zchroot(["image", "remove", &digest]).ok().prints("");
    host.assert_nothing_left();
    nothing_of_images(host);
}

fn template(host: &Host) {
    let path = archive(host, "one");
    host.define("made", harness::MINIMAL);
    host.zchroot(["create", "made", "--from", &path]).ok().says("unpacked");
    host.define("again", harness::MINIMAL);
    host.zchroot(["create", "again", "--from", &path]).ok().says("there already");
    let [image] = &images(host)[..] else { panic!("one image") };
    assert_eq!(image["importers"].to_string(), "[]");
    let digest = image["digest"].as_str().unwrap();
    if image["state"] == "live" {
        assert_eq!(image["clones"], 2, "{image}");
        host.zchroot(["image", "remove", digest]).exits(3).says("something is cloned from it");
    } else {
        host.zchroot(["image", "remove", digest]).ok();
    }
    for template in ["made", "again"] {
        host.zchroot(["run", template, "-d", "/", "--", "cat", "/srv/text"]).ok().prints("one");
    }
    host.assert_nothing_left();
}

fn diff(host: &Host) {
    let digest = import(host, &archive(host, "one"));
    let inside = waiting(host, &digest);
    let session = host.sessions().remove(0);
    let said = format!("session {session} is of image {} and of no version", &digest[..12]);
    for option in [&[][..], &["--stat"], &["--json"]] {
        // It is locked as long as its command runs, and still the answer comes.
        let done = host.zchroot([&["diff", &session][..], option].concat()).exits(1);
        done.says(&said);
    }
    inside.finish().ok();
    host.assert_nothing_left();
}
