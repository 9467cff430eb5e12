//! No call asks a name server: schroot tells PAM the host's own name as that of the remote host, which is then looked up.

use crate::lab::{Lab, mended};

/// A host whose name is in no file, without a network: a query fails at once, and strace sees it.
fn queries(lab: &Lab) -> String {
    let name = lab.define("type=plain\ndirectory=TREE\n");
    lab.shell("sed -i 's/^hosts:.*/hosts: files dns/' /etc/nsswitch.conf");
    lab.write("/etc/hosts", "127.0.0.1 localhost\n");
    lab.write("/etc/resolv.conf", "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n");
    let asked = lab.shell(&format!(
        "unshare --uts --net -- sh -c '
            hostname a-host-that-nobody-knows
            exec strace -f -qq -e trace=connect -o calls schroot -c {name} -d / -- echo entered'
        ! grep -q 'htons(53)' calls || echo asked"
    ));
    asked.replace('\n', ", ")
}

#[test]
fn clients_defect_no_name_server_is_asked() {
    mended(queries, "entered, asked", "entered");
}
