//! A directory of the host, copied as it is: one file system of it, without what is mounted inside.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use super::Filled;
use super::error::{Error, Result};
use crate::store::Progress;
use crate::sys::file;
use crate::sys::tree::{self, CopyOptions};
