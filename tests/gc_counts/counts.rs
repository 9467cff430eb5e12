//! What goes and what stays, counted.

use std::time::{Duration, Instant};

use crate::harness::Done;
use crate::lab::{Lab, Line};

const OLD: usize = 150;
const YOUNG: usize = 40;
const USED: usize = 20;
/// Long enough to make the young ones and to look at them, on a slow machine too.
const GRACE: u64 = 30;

fn summary(done: &Done) -> String {
    done.stderr.lines().find(|line| line.contains("reclaim")).unwrap_or_default().to_owned()
}

pub(crate) fn exactly_the_old_orphans(lab: &Lab) {
    lab.grace(GRACE);
    for n in 0..USED {
        lab.zchroot(["-q", "begin", "demo", "-n", &format!("used-{n}")]).ok();
    }
    for n in 0..OLD {
        lab.orphan(&format!("old-{n}"), (n % 7 + 1) * 4096);
    }
    let foreign = lab.foreign();
    std::thread::sleep(Duration::from_secs(GRACE + 1));
    let began = Instant::now();
    for n in 0..YOUNG {
        lab.orphan(&format!("young-{n}"), 4096);
    }
    let sizes = lab.sizes();
    assert_eq!(sizes.len(), OLD + YOUNG + USED);
    let dry = lab.zchroot(["gc", "--dry-run", "--json"]).ok();
    assert_eq!(lab.trees().len(), OLD + YOUNG + USED, "a dry run takes nothing");
    let real = lab.zchroot(["gc", "--json"]).ok();
    assert!(began.elapsed() < Duration::from_secs(GRACE), "the young ones are not young any more");

    let left = lab.trees();
    let count = |what: &str| left.iter().filter(|name| name.starts_with(what)).count();
    assert_eq!((count("old-"), count("young-"), count("used-")), (0, YOUNG, USED), "of 150, 40 and 20");
    let bytes: u64 = sizes.iter().filter(|(name, _)| name.starts_with("old-")).map(|(_, size)| size).sum();
    assert!(bytes >= 4096, "{sizes:?}");
    let sum = format!("150 things, {} of sessions and images", shown(bytes));
    assert_eq!(summary(&dry), format!("would reclaim {sum}"));
    assert_eq!(summary(&real), format!("reclaimed {sum}"));
    let (dry, real) = (Lab::tree_lines(dry), Lab::tree_lines(real));
    assert_eq!(real.len(), OLD + YOUNG + USED, "a line for each, and none for what is not ours");
    for (name, Line { action, reason, bytes }) in &real {
        let (what, because, size) = match name.split('-').next().unwrap() {
            "old" => ("remove", "no record refers to it, ", Some(sizes[name])),
            "young" => ("keep", "no record, but only ", None),
            _ => ("keep", "a record refers to it", None),
        };
        assert_eq!((action.as_str(), *bytes), (what, size), "{name}");
        assert!(reason.starts_with(because), "{name}: {reason}");
        assert_eq!((&dry[name].action, dry[name].bytes), (action, *bytes), "{name}: dry run and run differ");
    }
    assert_eq!(dry.len(), real.len());

    // With the grace time that the young ones are young by for good.
    lab.grace(3600);
    let again = lab.zchroot(["gc", "--json"]).ok();
    assert_eq!(summary(&again), "", "the second pass takes nothing");
    assert_eq!(lab.trees(), left);
    for n in 0..USED {
        lab.zchroot(["exec", &format!("used-{n}"), "-d", "/", "--", "true"]).ok();
    }
    lab.grace(0);
    lab.zchroot(["end", "--all"]).ok();
    let rest = lab.zchroot(["gc", "--json"]).ok();
    assert!(summary(&rest).starts_with(&format!("reclaimed {YOUNG} things, ")), "{rest}");
    assert_eq!(lab.trees(), [] as [&str; 0]);
    for path in foreign {
        assert_eq!(std::fs::read(path.join("kept")).unwrap(), b"x", "{}", path.display());
        std::fs::remove_dir_all(path).unwrap();
    }
    assert_eq!(lab.remains(), [] as [&str; 0]);
}

/// As the program shows sizes.
fn shown(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{:.2} KiB", bytes as f64 / 1024.0),
        _ => format!("{:.2} MiB", bytes as f64 / 1_048_576.0),
    }
}

pub(crate) fn a_tree_that_is_used_stays(lab: &Lab) {
    lab.zchroot(["-q", "begin", "demo", "-n", "lost"]).ok();
    let at = lab.at("/run/zchroot/mount/lost");
    let mut inside =
        std::process::Command::new("/usr/bin/sleep").arg("600").current_dir(&at).spawn().unwrap();
    std::fs::remove_file(lab.at("/var/lib/zchroot/sessions/lost.toml")).unwrap();
    for words in [&["gc", "--dry-run"][..], &["gc"], &["gc"]] {
        let kept = lab.zchroot(words.iter().copied()).ok();
        let reason = format!("lost: no record refers to it, but process {} (sleep) uses it", inside.id());
        for what in ["mount", "session tree"] {
            assert!(kept.text().contains(&format!("kept {what} {reason}")), "{kept}");
        }
        assert!(at.join("etc/generation").exists(), "its files are there");
    }
    inside.kill().unwrap();
    inside.wait().unwrap();
    let gone = lab.zchroot(["gc"]).ok();
    for what in ["mount", "session tree"] {
        assert!(gone.text().contains(&format!("removed {what} lost: ")), "{gone}");
    }
    assert_eq!(lab.remains(), [] as [&str; 0]);
}

/// A record, or the records all together, cannot be read: what they refer to is unknown.
pub(crate) fn nothing_while_blind(lab: &Lab) {
    (0..5).for_each(|n| lab.orphan(&format!("old-{n}"), 0));
    let records = lab.at("/var/lib/zchroot/sessions");
    let trees = lab.trees();
    let blind = |name: &str| {
        for words in [&["gc", "--dry-run"][..], &["gc"]] {
            let failed = lab.zchroot(words.iter().copied()).exits(1);
            assert_eq!(failed.text(), "", "{name}: {failed}");
            assert_eq!(lab.trees(), trees, "{name}");
        }
    };
    std::fs::write(records.join("torn.toml"), "version = ").unwrap();
    blind("a record that is torn");
    std::fs::remove_file(records.join("torn.toml")).unwrap();
    std::fs::create_dir(records.join("folder.toml")).unwrap();
    blind("a record that is a directory");
    std::fs::remove_dir(records.join("folder.toml")).unwrap();
    let aside = lab.at("/var/lib/zchroot/aside");
    std::fs::rename(&records, &aside).unwrap();
    std::fs::write(&records, "no directory").unwrap();
    blind("records that cannot be listed");
    std::fs::remove_file(&records).unwrap();
    std::fs::rename(&aside, &records).unwrap();
    let gone = lab.zchroot(["gc"]).ok();
    assert!(summary(&gone).starts_with("reclaimed 5 things, "), "{gone}");
    assert_eq!(lab.trees(), [] as [&str; 0]);
}

/// Orphans keep no images, so the order matters: a dry run knows it too.
pub(crate) fn an_orphan_and_its_image(lab: &Lab) {
    orphans_and_images(lab, "warm = \"0\"\n");
}

/// As [`an_orphan_and_its_image`], where images go for want of room alone.
pub(crate) fn an_orphan_and_its_image_under_pressure(lab: &Lab) {
    orphans_and_images(lab, "warm = \"inf\"\nquota = \"1K\"\n");
}

/// An orphan that is too young to go may keep the version that it is cloned from, and a dry run knows it.
pub(crate) fn an_old_version_and_an_orphan_of_it(lab: &Lab) {
    let removed = |words: &[&str]| -> Vec<String> {
        let json = lab.zchroot(words.iter().copied()).ok().json();
        let items = json["items"].as_array().unwrap().iter().filter(|item| item["action"] == "remove");
        items.map(|item| format!("{} {}{}", item["kind"], item["session"], item["version"])).collect()
    };
    let old = lab.current("demo");
    lab.orphan("lost", 0);
    // One besides the current one is kept.
    for _ in 0..2 {
        lab.zchroot(["-q", "update", "demo", "--", "sh", "-c", "date >>/srv/text"]).ok();
    }
    for grace in [600, 0] {
        lab.grace(grace);
        let dry = removed(&["gc", "--dry-run", "--json"]);
        assert_eq!((grace, removed(&["gc", "--json"])), (grace, dry.clone()));
        assert_eq!(dry.iter().any(|line| line.contains("lost")), grace == 0, "{dry:?}");
    }
    let versions = lab.zchroot(["history", "demo", "--json"]).ok().json();
    let old = versions["versions"].as_array().unwrap().iter().find(|version| version["id"] == old.as_str());
    assert_eq!(old.map(|version| version["tree"].clone()), Some("gone".into()), "{versions}");
    assert_eq!(lab.remains(), [] as [&str; 0]);
}

fn orphans_and_images(lab: &Lab, images: &str) {
    let tree = lab.path().join("tree");
    let image = |name: &str| {
        crate::harness::tree::make(&tree);
        std::fs::write(tree.join("srv/text"), name).unwrap();
        let archive = lab.path().join(format!("{name}.tar"));
        crate::harness::tree::pack(&tree, &archive);
        std::fs::remove_dir_all(&tree).unwrap();
        lab.zchroot(["-q", "image", "import", archive.to_str().unwrap()]).ok().text()
    };
    let (lost, kept) = (image("lost"), image("kept"));
    lab.clone_of_image(&lost, "orphan-1");
    lab.clone_of_image(&lost, "orphan-2");
    lab.clone_of_image(&kept, "orphan-3");
    let wait = "echo in; read -r line; true";
    let mut inside = lab.order(["-q", "run", "--image", &kept, "-d", "/", "--", "sh", "-c", wait]).start();
    assert_eq!(inside.line(), "in");
    let removed = |done: &Done| -> Vec<String> {
        let json: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
        let items = json["items"].as_array().unwrap().iter().filter(|item| item["action"] == "remove");
        items.map(|item| format!("{} {}{}", item["kind"], item["session"], item["image"])).collect()
    };
    let config = lab.read("/etc/zchroot/zchroot.toml");
    lab.configure(&format!("{config}[images]\n{images}"));
    let dry = lab.zchroot(["gc", "--dry-run", "--json"]).ok();
    let real = lab.zchroot(["gc", "--json"]).ok();
    assert_eq!(removed(&dry), removed(&real));
    assert_eq!(
        (summary(&dry), summary(&real)),
        (summary(&dry), summary(&dry).replace("would reclaim", "reclaimed"))
    );
    let about =
        |kind: &str| removed(&real).iter().filter(|line| line.starts_with(&format!("\"{kind}\""))).count();
    assert_eq!((about("session-tree"), about("image")), (3, 1), "{real}");
    let list = lab.zchroot(["image", "list", "--json"]).ok().json();
    let [image] = &list["images"].as_array().unwrap()[..] else { panic!("one is in use: {list}") };
    assert_eq!((image["digest"].as_str(), image["clones"].as_u64()), (Some(kept.as_str()), Some(1)));
    inside.finish().ok();
    lab.zchroot(["image", "remove", &kept]).ok();
    assert_eq!(lab.remains(), [] as [&str; 0]);
}
