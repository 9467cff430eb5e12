//! Hosts with the Debian tree: in [`Host::ours`] it is our template, in [`Host::debians`] a chroot of Debian's schroot below
//! a union.

use crate::host::Host;
use crate::tree;

impl Host {
    /// One where our program is schroot, and has a template.
    pub(crate) fn ours() -> Self {
        let host = Self::without_template();
        let (suite, alias, name) = (tree::suite(), tree::alias(), &host.template);
        let text = format!(
            "version = 1\ndescription = \"Debian {suite} autobuilder\"\nprofile = \"sbuild\"\n\
             aliases = [\"{suite}\", \"{alias}\"]\ngroups = [\"sbuild\"]\nroot-groups = [\"sbuild\"]\n\
             [source]\nroot-groups = [\"sbuild\"]\n"
        );
        host.write(&format!("/etc/zchroot/templates.d/{name}.toml"), &text);
        host.zchroot(&["init"]).ok();
        host.zchroot(&["-q", "create", name, "--from", tree::tree().to_str().unwrap()]).ok();
        host
    }

    /// One where our program is schroot.
    pub(crate) fn without_template() -> Self {
        Self::new(true, &tree::tree())
    }

    /// One where Debian's schroot is, and has a chroot.
    pub(crate) fn debians() -> Self {
        let host = Self::new(false, &tree::tree());
        let (suite, alias, name) = (tree::suite(), tree::alias(), &host.template);
        let text = format!(
            "[{name}]\ndescription=Debian {suite} autobuilder\ntype=directory\ndirectory={}\nunion-type=overlay\n\
             profile=sbuild\naliases={suite},{alias}\ngroups=sbuild\nroot-groups=sbuild\n",
            tree::tree().display()
        );
        host.write(&format!("/etc/schroot/chroot.d/{name}"), &text);
        host
    }
}
