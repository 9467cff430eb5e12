//! A test for each store, from one body.
#![allow(unused_macros, unused_imports, reason = "each test crate uses a part of the harness")]

/// `on_both! { HOST: DIR_NAME ZFS_NAME BODY; ... }`: tests of these names that give the body `HOST::on_directories()` and
/// `HOST::on_a_pool()`.
macro_rules! on_both {
    ($host:ty: $($dir:ident $zfs:ident $body:path;)*) => {$(
        #[test]
        fn $dir() {
            $body(&<$host>::on_directories());
        }

        #[test]
        #[cfg(feature = "zfs")]
        fn $zfs() {
            $body(&<$host>::on_a_pool());
        }
    )*};
}
pub(crate) use on_both;
