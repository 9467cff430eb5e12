//! The least that a session on ZFS can cost: the bare calls, with no record, lock, set-up or check.
//!
//! `raw_session SNAPSHOT CLONE DIR run|begin|end|exec`: begin is lzc_clone and mount(2), exec is fork, chroot
//! and execve of /bin/true, end is umount2 and lzc_destroy; run is all of them. `cargo xtask bench --zfs`
//! measures it beside zchroot. A tool for the developer, never installed; it checks nothing.

use std::ffi::CString;
use std::process::ExitCode;

use libzetta_zfs_core_sys as sys;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, chdir, chroot, execve, fork};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<ExitCode> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [snapshot, clone, dir, what] = words.as_slice() else {
        return Err("raw_session SNAPSHOT CLONE DIR run|begin|end|exec".into());
    };
    // SAFETY: no conditions; called once, before every other call of the library.
    done(unsafe { sys::libzfs_core_init() })?;
    match what.as_str() {
        "begin" => begin(snapshot, clone, dir)?,
        "exec" => exec(dir)?,
        "end" => end(clone, dir)?,
        "run" => {
            begin(snapshot, clone, dir)?;
            exec(dir)?;
            end(clone, dir)?;
        }
        _ => return Err(format!("what is {what}").into()),
    }
    Ok(ExitCode::SUCCESS)
}

fn begin(snapshot: &str, clone: &str, dir: &str) -> Result<()> {
    let (name, origin) = (CString::new(clone)?, CString::new(snapshot)?);
    // SAFETY: both names are NUL-terminated and alive for the whole call; a null list means "no properties".
    done(unsafe { sys::lzc_clone(name.as_ptr(), origin.as_ptr(), std::ptr::null_mut()) })?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    Ok(mount(Some(clone), dir, Some("zfs"), flags, Some("zfsutil"))?)
}

fn exec(dir: &str) -> Result<()> {
    // SAFETY: this program has one thread.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => match waitpid(child, None)? {
            WaitStatus::Exited(_, 0) => Ok(()),
            status => Err(format!("the command: {status:?}").into()),
        },
        ForkResult::Child => {
            chroot(dir)?;
            chdir("/")?;
            let environment: [CString; 0] = [];
            let never = execve(c"/bin/true", &[c"true"], &environment)?;
            match never {}
        }
    }
}

fn end(clone: &str, dir: &str) -> Result<()> {
    umount2(dir, MntFlags::empty())?;
    let name = CString::new(clone)?;
    // SAFETY: the name is NUL-terminated and alive for the whole call.
    done(unsafe { sys::lzc_destroy(name.as_ptr()) })
}

fn done(errno: libc::c_int) -> Result<()> {
    if errno == 0 { Ok(()) } else { Err(std::io::Error::from_raw_os_error(errno).into()) }
}
