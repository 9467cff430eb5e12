//! Hosts with the Debian tree: in [`Host::on_directories`] it is our template, in [`Host::on_a_pool`] too, in a machine, and in
//! [`Host::debians`] a chroot of Debian's schroot below a union.

use std::path::Path;

use crate::host::Host;
#[cfg(feature = "zfs")]
use crate::pool;
use crate::tree;

impl Host {
    /// One where our program is schroot, and has a template; the store is in directories.
    pub(crate) fn on_directories() -> Self {
        Self::without_template().with_template(&tree::tree())
    }

    /// The same with the store on a pool.
    #[cfg(feature = "zfs")]
    pub(crate) fn on_a_pool() -> Self {
        let pool = pool::make();
        let mut host = Self::new(true, &pool::tree());
        host.write("/etc/zchroot/zchroot.toml", &pool::config(&pool.name));
        host.pool = Some(pool);
        host.with_template(&pool::tree())
    }

    fn with_template(self, tree: &Path) -> Self {
        let (suite, alias, name) = (tree::suite(), tree::alias(), &self.template);
        let text = format!(
            "version = 1\ndescription = \"Debian {suite} autobuilder\"\nprofile = \"sbuild\"\n\
             aliases = [\"{suite}\", \"{alias}\"]\ngroups = [\"sbuild\"]\nroot-groups = [\"sbuild\"]\n\
             [source]\nroot-groups = [\"sbuild\"]\n"
        );
        self.write(&format!("/etc/zchroot/templates.d/{name}.toml"), &text);
        self.zchroot(&["init"]).ok();
        self.zchroot(&["-q", "create", name, "--from", tree.to_str().unwrap()]).ok();
        self
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
