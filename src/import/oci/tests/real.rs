//! What umoci and skopeo make, and what umoci makes of it.

use super::*;
use crate::import::fixture::{assert_same_tree, fixture};

fn umoci(arguments: &[&str]) {
    run("umoci", arguments);
}

#[test]
fn dir_import_what_umoci_and_skopeo_made_unpacks_as_umoci_does() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let (layout, bundle) = (path("layout"), path("bundle"));
    umoci(&["init", "--layout", text(&layout)]);
    let image = format!("{}:latest", text(&layout));
    umoci(&["new", "--image", &image]);
    umoci(&["unpack", "--image", &image, text(&bundle)]);
    let rootfs = bundle.join("rootfs");
    fixture(&rootfs);
    umoci(&["repack", "--refresh-bundle", "--image", &image, text(&bundle)]);
    // The second layer: something goes, something changes, a directory is made anew.
    std::fs::remove_file(rootfs.join("etc/passwd")).unwrap();
    std::fs::remove_dir_all(rootfs.join("deep")).unwrap();
    std::fs::create_dir_all(rootfs.join("deep/new")).unwrap();
    std::fs::write(rootfs.join("read-only"), "changed").unwrap();
    umoci(&["repack", "--refresh-bundle", "--image", &image, text(&bundle)]);
    let theirs = path("theirs");
    umoci(&["unpack", "--image", &image, text(&theirs)]);
    let ours = |name: &str, source: &str| {
        let root = path(name);
        std::fs::create_dir(&root).unwrap();
        unpack(source, &root).unwrap_or_else(|error| panic!("{source}: {}", told(&error)));
        assert_same_tree(&root, &theirs.join("rootfs"));
    };
    ours("ours", &format!("oci:{image}"));
    let saved = path("saved.tar");
    let to = format!("docker-archive:{}:it:latest", text(&saved));
    run("skopeo", &["--insecure-policy", "copy", "-q", &format!("oci:{image}"), &to]);
    ours("docker", &format!("docker-archive:{}", text(&saved)));
    let zstd = path("zstd");
    let to = format!("oci:{}:it", text(&zstd));
    let pack = ["--dest-compress", "--dest-compress-format", "zstd"];
    run(
        "skopeo",
        &[&["--insecure-policy", "copy", "-q"][..], &pack, &[&format!("oci:{image}"), &to]].concat(),
    );
    ours("zstd-ours", &format!("oci:{}", text(&zstd)));
}

#[test]
fn an_image_is_called_by_its_configuration_wherever_it_comes_from() {
    let layer = Tar::default().file("a", "x").end();
    let layout = Layout::of(std::slice::from_ref(&layer));
    let image = open_layout(layout.dir.path(), None, "it").unwrap();
    assert_eq!(image.architecture, "amd64");
    let config = std::fs::read(layout.path(&format!("blobs/sha256/{}", image.id))).unwrap();
    assert_eq!(hash::of(&config), image.id);
    assert!(std::fs::metadata(layout.path(&format!("blobs/sha256/{}", image.manifest.unwrap()))).is_ok());
    let add = |tar: Tar, name: &str, bytes: &[u8]| tar.add(EntryType::Regular, name, "", bytes);
    let manifest = b"[{\"Config\": \"c\", \"Layers\": [\"l\"]}]";
    let saved = add(add(add(Tar::default(), "l", &layer), "c", &config), "manifest.json", manifest).end();
    std::fs::write(layout.path("saved"), &saved).unwrap();
    let file = File::open(layout.path("saved")).unwrap();
    assert_eq!(open_docker(file, saved.len() as u64, "it").unwrap().id, image.id);
}
