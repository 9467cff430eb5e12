//! Images that are not what they promise.

use super::*;

fn refused(layout: &Layout) -> String {
    told(&layout.unpack("").1.unwrap_err())
}

#[test]
fn dir_import_whiteouts_and_layers_that_would_lead_out_are_refused_and_touch_nothing() {
    let file = |name: &str| Tar::default().file(name, "x").end();
    let link = Tar::default().add(EntryType::Symlink, "l", "..", b"").end();
    let cases: [(&str, Vec<Vec<u8>>, &str); 7] = [
        ("whiteout of ..", vec![file("a"), file("d/.wh...")], "a whiteout of nothing"),
        ("whiteout of .", vec![file("a"), file("d/.wh..")], "a whiteout of nothing"),
        ("whiteout of nothing", vec![file("a"), file("d/.wh.")], "a whiteout of nothing"),
        ("whiteout outside", vec![file("a"), file("../.wh.marker")], "leads out of the tree"),
        ("whiteout through a link", vec![link.clone(), file("l/.wh.marker")], "leads out of the tree"),
        ("opaque through a link", vec![link.clone(), file("l/.wh..wh..opq")], ""),
        ("file through a link", vec![link, file("l/marker")], "leads out of the tree"),
    ];
    for (case, layers, why) in cases {
        let layout = Layout::of(&layers);
        std::fs::write(layout.path("marker"), "untouched").unwrap();
        let (_, result) = layout.unpack("");
        match result {
            Err(error) => assert!(told(&error).contains(why), "{case}: {}", told(&error)),
            Ok(_) => assert_eq!(why, "", "{case}"),
        }
        assert_eq!(std::fs::read(layout.path("marker")).unwrap(), b"untouched", "{case}");
    }
}

#[test]
fn dir_import_what_is_not_what_its_digest_says_is_refused() {
    let layer = Tar::default().file("a", "x").end();
    let other = Tar::default().file("a", "y").end();
    let promised = |stored: &[u8], plain: &[u8]| {
        let layout = Layout::new();
        let manifest = layout.manifest(&[(stored.to_vec(), plain.to_vec())]);
        layout.index(&[format!("{{{manifest}}}")]);
        layout
    };
    let error = refused(&promised(&other, &layer));
    assert!(error.contains("a layer, unpacked, has the digest"), "{error}");
    let good = promised(&layer, &layer);
    let blob = good.path(&format!("blobs/sha256/{}", hash::of(&layer)));
    std::fs::write(&blob, &other).unwrap();
    let error = refused(&good);
    assert!(error.contains("a layer has the digest"), "{error}");
    std::fs::write(&blob, &layer[..512]).unwrap();
    assert!(refused(&good).contains("not as long as its manifest says"));
    std::fs::remove_file(&blob).unwrap();
    assert!(refused(&good).contains("cannot open blobs/sha256/"));
    // What is behind the end of the archive belongs to the layer as well.
    let padded = promised(&[layer.clone(), vec![0; 512]].concat(), &layer);
    assert!(refused(&padded).contains("a layer, unpacked, has the digest"));
}

#[test]
fn dir_import_layouts_that_are_wrong_in_themselves_are_errors() {
    let index = |text: &str| {
        let layout = Layout::new();
        std::fs::write(layout.path("index.json"), text).unwrap();
        refused(&layout)
    };
    assert!(refused(&Layout::new()).contains("cannot open index.json"));
    assert!(index("{").contains("its index"));
    assert!(index(&"[".repeat(100_000)).contains("its index"));
    assert!(index("{\"manifests\": []}").contains("no image"));
    let traversal = "{\"manifests\": [{\"digest\": \"sha256:../../../etc/passwd\", \"size\": 1}]}";
    assert!(index(traversal).contains("no digest of a kind that is known"));
    let weak = format!("{{\"manifests\": [{{\"digest\": \"md5:{}\", \"size\": 1}}]}}", "0".repeat(32));
    assert!(index(&weak).contains("no digest of a kind that is known"));
    assert!(index(&" ".repeat(5 << 20)).contains("longer than 4 MiB"));
    let layout = Layout::new();
    let config = layout.blob(b"{\"rootfs\": {\"diff_ids\": []}}");
    let layer = layout.blob(b"x");
    let manifest = layout.blob(format!("{{\"config\": {{{config}}}, \"layers\": [{{{layer}}}]}}").as_bytes());
    layout.index(&[format!("{{{manifest}}}")]);
    assert!(refused(&layout).contains("names 0 layers and its manifest 1"));
    // Lists that name lists.
    let layout = Layout::new();
    let kind = "\"mediaType\": \"application/vnd.oci.image.index.v1+json\"";
    let mut inner = layout.blob(b"{\"manifests\": []}");
    for _ in 0..6 {
        inner = layout.blob(format!("{{\"manifests\": [{{{kind}, {inner}}}]}}").as_bytes());
    }
    layout.index(&[format!("{{{kind}, {inner}}}")]);
    assert!(refused(&layout).contains("name each other"));
}

#[test]
fn dir_import_what_docker_did_not_save_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    std::fs::create_dir(&root).unwrap();
    let layer = Tar::default().file("a", "x").end();
    let config = format!("{{\"rootfs\": {{\"diff_ids\": [\"sha256:{}\"]}}}}", hash::of(&layer));
    let raw = |tar: Tar, name: &str, bytes: &[u8]| tar.add(EntryType::Regular, name, "", bytes);
    let one = "{\"Config\": \"c.json\", \"Layers\": [\"1/layer.tar\"]}";
    let save = |manifest: &str, link: &str| {
        let tar = raw(raw(Tar::default(), "c.json", config.as_bytes()), "0/layer.tar", &layer);
        raw(tar.add(EntryType::Symlink, "1/layer.tar", link, b""), "manifest.json", manifest.as_bytes()).end()
    };
    let cases = [
        (save(&format!("[{one}]"), "../0/layer.tar"), None),
        (save(&format!("[{one}]"), "../1/layer.tar"), Some("there is no \"1/layer.tar\"")),
        (save(&format!("[{one}]"), "../../../../../0/layer.tar"), None),
        (save(&format!("[{one}, {one}]"), "../0/layer.tar"), Some("several images")),
        (save("[]", ""), Some("several images or none")),
        (save("{", ""), Some("its manifest.json")),
        (Tar::default().end(), Some("there is no \"manifest.json\"")),
        (b"\x1f\x8b\x08rest of it".repeat(100), Some("docker-archive:")),
    ];
    for (bytes, why) in cases {
        let file = dir.path().join("saved.tar");
        std::fs::write(&file, bytes).unwrap();
        let result = unpack(&format!("docker-archive:{}", text(&file)), &root);
        match (result, why) {
            (Ok(_), None) => assert_eq!(std::fs::read(root.join("a")).unwrap(), b"x"),
            (Err(error), Some(why)) => assert!(told(&error).contains(why), "{}", told(&error)),
            (Ok(_), Some(why)) => panic!("it should say: {why}"),
            (Err(error), None) => panic!("{}", told(&error)),
        }
    }
}
