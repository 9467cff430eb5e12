//! What goes wrong: each with a status and a reason, and nothing is left.

use super::{archive, images, import, nothing_of_images};
use crate::harness::both::on_both;
use crate::host::Host;

on_both! {
    Host:
    dir_image_import_of_what_is_wrong_leaves_nothing zfs_image_import_of_what_is_wrong_leaves_nothing import_wrong;
    dir_image_that_is_not_there_is_not_found zfs_image_that_is_not_there_is_not_found missing;
}

fn import_wrong(host: &Host) {
    let good = archive(host, "one");
    let at = |name: &str| host.at(name).to_str().unwrap().to_owned();
    host.write("/text", &"no archive\n".repeat(200));
    host.write("/empty", "");
    std::fs::write(host.at("/cut.tar"), &std::fs::read(&good).unwrap()[..70_000]).unwrap();
    let mut builder = tar::Builder::new(std::fs::File::create(host.at("/no-root.tar")).unwrap());
    let mut header = tar::Header::new_gnu();
    header.set_size(1);
    builder.append_data(&mut header, "file", &b"x"[..]).unwrap();
    builder.finish().unwrap();
    let other = "0".repeat(64);
    let cases: [(&[&str], i32, &str); 10] = [
        (&[&at("/nowhere")], 1, "cannot open"),
        (&[&at("/text")], 1, "cannot unpack"),
        (&[&at("/empty")], 1, "cannot"),
        (&[&at("/cut.tar")], 1, "ends too early"),
        (&[&at("/no-root.tar")], 1, "it is no root file system"),
        (&[&at("/tree-one")], 1, "an image is made from an archive"),
        (&["oci:/nowhere"], 1, "cannot open"),
        (&["oci:"], 2, "DIR"),
        (&[&good, "--digest", &other], 1, "was asked for"),
        (&[&good, "--digest", "abc"], 2, "is not a digest"),
    ];
    for (words, status, why) in cases {
        host.zchroot([&["image", "import"], words].concat()).exits(status).says(why);
        if status == 1 && words.len() == 1 {
            host.zchroot(["run", "--image", words[0], "--", "true"]).exits(125);
        }
        assert_eq!(images(host).len(), 0, "{words:?}");
        host.assert_nothing_left();
    }
    // The lock's file of one that got so far is gc's.
    host.zchroot(["gc"]).ok();
    nothing_of_images(host);
}

fn missing(host: &Host) {
    let digest = import(host, &archive(host, "one"));
    let other = if digest.starts_with('0') { "1".repeat(64) } else { "0".repeat(64) };
    for name in [other.as_str(), &other[..8], "sha256:00000000"] {
        let done = host.zchroot(["run", "--image", name, "--", "true"]).exits(125);
        done.says("cannot find image").says("hint: zchroot image list");
        host.zchroot(["image", "remove", name]).exits(4).says("cannot find image");
    }
    host.zchroot(["image", "remove", "one.tar"]).exits(4).says("cannot find image");
    // Each is tried, and one that is not there does not keep the others.
    let done =
        host.zchroot(["image", "remove", &other, &digest, "--json"]).exits(4).says("cannot find image");
    let json: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(json["removed"], serde_json::json!([digest]));
    for words in [&["run", "--image", &digest][..], &["run", "demo", "--image", &digest]] {
        let status = if words.len() == 3 { 125 } else { 2 };
        let done = host.zchroot([words, &["--", "true"]].concat());
        assert!(done.to_string().contains("cannot") && done.exits(status).stderr.lines().count() > 0);
    }
    assert_eq!(images(host).len(), 0);
    host.assert_nothing_left();
}
