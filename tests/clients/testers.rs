//! autopkgtest with its server virt-schroot, and piuparts.

use crate::harness::both::on_both;
use crate::host::Host;
use crate::{package, tree};

on_both! { Host:
    clients_autopkgtest_runs_the_tests_of_a_package_of_the_archive
        zfs_clients_autopkgtest_runs_the_tests_of_a_package_of_the_archive
        autopkgtest;
    clients_piuparts_installs_and_purges_a_package
        zfs_clients_piuparts_installs_and_purges_a_package
        piuparts;
}

fn autopkgtest(host: &Host) {
    let suite = tree::suite();
    let words = ["autopkgtest", "-U", "gzip", "--", "schroot", &suite];
    host.builder(&words).ok().says("simple-gzip          PASS");
    host.assert_nothing_left();
    host.root(&words).ok().says("simple-gzip          PASS");
    host.assert_nothing_left();
}

fn piuparts(host: &Host) {
    let deb = package::binary(host.dir(), "nothing-much");
    let (deb, suite) = (deb.to_str().unwrap(), tree::suite());
    let told = host.root(&[
        "piuparts",
        "--schroot",
        &host.template,
        "-d",
        &suite,
        "--no-upgrade-test",
        "--keep-sources-list",
        "-I",
        "/sys/.*",
        deb,
    ]);
    told.ok().says("PASS: All tests.").says("New schroot session in '/run/zchroot/mount/");
    host.assert_nothing_left();
}
