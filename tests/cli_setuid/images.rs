//! Images of several people: whose they are, who sees them, who may use them.

use std::os::unix::fs::{PermissionsExt, chown};

use crate::harness::{Done, tree};
use crate::world::{ALICE, BOB, CAROL, DAVE, World};

const CONFIG: &str =
    "version = 1\n[images]\nusers = [\"alice\", \"bob\"]\nroot-users = [\"carol\"]\nwarm = \"inf\"\n";

/// A host on which images may be used, by those of [`CONFIG`]: their sessions are shown all of the host's databases.
fn world() -> World {
    let world = World::new();
    world.write_etc("shadow", "root:*:1::::::\n");
    world.write_etc("gshadow", "root:*::\n");
    world
}

/// An archive of somebody's that nobody else may read; its path in the world.
fn archive(world: &World, name: &str, text: &str, owner: u32) -> String {
    let source = world.lib(&format!("shared/{name}.d"));
    tree::make(&source);
    std::fs::write(source.join("srv/text"), text).unwrap();
    let path = world.lib(&format!("shared/{name}"));
    tree::pack(&source, &path);
    std::fs::remove_dir_all(&source).unwrap();
    chown(&path, Some(owner), Some(owner)).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    format!("/var/lib/shared/{name}")
}

/// A second name and owner of the same bytes.
fn same(world: &World, of: &str, name: &str, owner: u32) -> String {
    let path = world.lib(&format!("shared/{name}"));
    std::fs::copy(world.lib(&format!("shared/{of}")), &path).unwrap();
    chown(&path, Some(owner), Some(owner)).unwrap();
    format!("/var/lib/shared/{name}")
}

fn run(world: &World, uid: u32, image: &str) -> Done {
    world.user(uid, &["-q", "run", "--image", image, "-d", "/", "--", "cat", "/srv/text"])
}

/// What somebody is told of images: the origins, after nobody was told of others'.
fn origins(world: &World, uid: u32) -> Vec<String> {
    let list = world.user(uid, &["image", "list", "--json"]).ok();
    assert!(!list.text().contains("importers"), "{list}");
    let json = list.json();
    let mut origins: Vec<String> = json["images"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["origin"].as_str().unwrap().to_owned())
        .collect();
    let text = world.user(uid, &["image", "list"]).ok().text();
    assert_eq!(text.lines().count().saturating_sub(1), origins.len(), "{text}");
    assert!(origins.iter().all(|origin| text.contains(origin.as_str())), "{text}");
    origins.sort();
    origins
}

#[test]
fn dir_setuid_an_image_is_its_importers_until_root_imports_it() {
    let world = world();
    world.write_secret("zchroot.toml", CONFIG);
    // Only on the way to a template that lets none of them in.
    let secret = archive(&world, "secret.tar", "secret", 0);
    world.root(&["-q", "create", "hidden", "--from", &secret]).ok();
    let json = world.root(&["image", "list", "--json"]).ok().json();
    let hidden = json["images"][0]["digest"].as_str().unwrap().to_owned();
    let nowhere = "0".repeat(64);
    for uid in [ALICE, BOB, CAROL] {
        assert_eq!(origins(&world, uid), [] as [&str; 0]);
        // Neither by its name nor by its beginning, and in the same words as one that is not there.
        let [there, not_there] = [&hidden, &nowhere].map(|name| run(&world, uid, name).exits(125).stderr);
        assert_eq!(there.replace(&hidden, &nowhere), not_there);
        run(&world, uid, &hidden[..10]).exits(125).says("cannot find image");
        world.user(uid, &["image", "import", &secret]).exits(1).says("Permission denied");
        run(&world, uid, &secret).exits(125).says("Permission denied");
    }
    let folder = world.user(ALICE, &["image", "remove", &hidden]);
    folder.exits(1).says("image remove is for root only");

    let mine = archive(&world, "alice.tar", "alice", ALICE);
    let digest = world.user(ALICE, &["-q", "image", "import", &mine]).ok().text();
    run(&world, ALICE, &digest).ok().prints("alice");
    run(&world, BOB, &digest).exits(125).says("cannot find image");
    assert_eq!((origins(&world, ALICE).as_slice(), origins(&world, BOB).len()), (&[mine.clone()][..], 0));

    // Who has the same archive may use the image, and sees his own word for it, not hers.
    let his = same(&world, "alice.tar", "bob.tar", BOB);
    run(&world, BOB, &his).ok().prints("alice");
    run(&world, BOB, &digest).ok().prints("alice");
    assert_eq!([ALICE, BOB].map(|uid| origins(&world, uid)), [[mine.clone()], [his.clone()]]);
    assert_eq!(origins(&world, CAROL), [] as [&str; 0]);

    // What root runs once is not for all, what root imports is.
    let roots = archive(&world, "root.tar", "root", 0);
    world.root(&["-q", "run", "--image", &roots, "-d", "/", "--", "true"]).ok();
    assert_eq!(origins(&world, CAROL), [] as [&str; 0]);
    world.root(&["-q", "image", "import", &secret]).ok().prints(&hidden);
    for uid in [ALICE, BOB, CAROL] {
        assert!(origins(&world, uid).contains(&secret));
        run(&world, uid, &hidden).ok().prints("secret");
    }
    assert_eq!(origins(&world, CAROL), [secret]);
    let all = world.root(&["image", "list", "--json"]).ok().json();
    let mut importers: Vec<String> =
        all["images"].as_array().unwrap().iter().map(|row| row["importers"].to_string()).collect();
    importers.sort();
    assert_eq!(importers, ["[0]", "[64001,64002]", "[]"]);
    world.assert_nothing_left();
}

#[test]
fn dir_setuid_who_may_use_images_and_as_whom() {
    let world = world();
    let mine = archive(&world, "alice.tar", "alice", ALICE);
    for uid in [ALICE, BOB, CAROL, DAVE] {
        let refused = world.user(uid, &["image", "list"]).exits(1);
        refused.says("may not use images").says("hint: root can say who may, in zchroot.toml under [images]");
        world.user(uid, &["image", "import", &mine]).exits(1).says("may not use images");
        world.user(uid, &["run", "--image", &mine]).exits(125).says("may not use images");
    }
    world.write_secret("zchroot.toml", CONFIG);
    world.user(DAVE, &["image", "list"]).exits(1).says("may not use images");
    let as_root = |uid, image: &str| {
        world.user(uid, &["-q", "run", "--image", image, "-u", "root", "-d", "/", "--", "id", "-u"])
    };
    as_root(ALICE, &mine).exits(125).says("may not use images as root");
    let hers = same(&world, "alice.tar", "carol.tar", CAROL);
    as_root(CAROL, &hers).ok().prints("0");
    // A setuid program in an archive of her own makes nobody root who may not be.
    let nobody = ["-q", "run", "--image", &mine, "-d", "/", "--", "sh", "-c", "mount | head -1"];
    let mounts = world.user(ALICE, &nobody).ok();
    assert!(mounts.text().contains("nosuid"), "{mounts}");
    world.assert_nothing_left();
}

#[test]
fn dir_setuid_names_and_trees_of_images_lie_where_only_root_looks() {
    let world = world();
    world.write_secret("zchroot.toml", CONFIG);
    let mine = archive(&world, "alice.tar", "alice", ALICE);
    world.user(ALICE, &["-q", "image", "import", &mine]).ok();
    for folder in ["zchroot/images", "zchroot/store"] {
        let mode = std::fs::metadata(world.lib(folder)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{folder}");
    }
    world.assert_nothing_left();
}
