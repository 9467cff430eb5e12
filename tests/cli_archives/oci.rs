//! Container images of umoci and skopeo, against umoci.

use std::path::Path;

use super::{Stage, debian, run, text};

fn compare(stage: &Stage, layout: &Path, source: &str) {
    let ours = stage.import(source);
    let bundle = stage.path("bundle");
    run("umoci", &["unpack", "--image", &format!("{}:latest", text(layout)), text(&bundle)]);
    stage.compare(&ours, &bundle.join("rootfs"));
    // The layers were made for this; both trees have it.
    let gone =
        ["etc/hostname", "usr/share/perl5", "etc/issue", "etc/apt/sources.list", "srv/extras/linked/two"];
    for name in gone {
        assert!(std::fs::symlink_metadata(ours.join(name)).is_err(), "{name}");
    }
    assert_eq!(std::fs::read_to_string(ours.join("etc/apt/fresh/file")).unwrap(), "of the top layer");
    assert!(ours.join("srv/extras/setgid").is_file());
}

#[test]
fn dir_archive_oci_of_umoci_is_imported_as_umoci_unpacks_it() {
    let layout = debian::layout();
    compare(&Stage::new(), &layout, &format!("oci:{}:latest", text(&layout)));
}

#[test]
fn dir_archive_oci_zstd_of_skopeo_is_imported_as_umoci_unpacks_it() {
    let (stage, layout) = (Stage::new(), debian::layout());
    let zstd = stage.path("zstd");
    let (from, to) = (format!("oci:{}:latest", text(&layout)), format!("oci:{}", text(&zstd)));
    let packed = ["--dest-compress", "--dest-compress-format", "zstd", &from, &to];
    run("skopeo", &[&["--insecure-policy", "copy", "-q"], &packed[..]].concat());
    compare(&stage, &layout, &to);
}

#[test]
fn dir_archive_docker_of_skopeo_is_imported_as_umoci_unpacks_it() {
    let (stage, layout) = (Stage::new(), debian::layout());
    let saved = stage.path("saved.tar");
    let to = format!("docker-archive:{}", text(&saved));
    let from = format!("oci:{}:latest", text(&layout));
    run("skopeo", &["--insecure-policy", "copy", "-q", &from, &format!("{to}:it:latest")]);
    compare(&stage, &layout, &to);
}
