//! The only unsafe code: system calls that no safe crate in the tree offers. Not here: policy of any kind.
#![allow(unsafe_code, reason = "this room exists to hold it")]

pub mod entry;
pub mod folder;
pub mod lease;
pub mod lock;
mod math;
pub mod mount;
pub mod open;
pub mod process;
pub mod secrecy;
pub mod send;
pub mod standard;
pub mod stat;

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Returns the path as a C string.
fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes())
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "the path holds a zero byte"))
}

/// Returns the error of the last call where `result` is -1.
fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// Repeats `call` while a signal interrupts it.
fn retry(mut call: impl FnMut() -> libc::c_int) -> io::Result<libc::c_int> {
    loop {
        match check(call()) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
