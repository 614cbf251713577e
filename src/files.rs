//! Files on disk: opens beneath a directory, bounded reads, atomic replacement, locks, leases.
//!
//! Not here: what the files mean. No symlink, fifo or device inside a layout is ever followed or waited for.

pub mod folder;
pub mod lease;
pub mod lock;
pub mod read;
pub mod replace;
pub mod route;
pub mod storage;
pub mod unnamed;

use std::io;
use std::path::PathBuf;

pub use crate::sys::process::{effective_gid, effective_uid, raise_open_files};
pub use crate::sys::send::send_file;
pub use crate::sys::stat::{
    FileSystem, Kind, Stat, Time, file_clock, stat as stat_open, stat_path,
};
pub use folder::Folder;
pub use lease::{HeldLease, Refused, nobody_wrote};
pub use lock::Lock;
pub use read::{OpenFile, open_path, position, read_at, read_path};
pub use replace::{NewFile, Temporary, replace_path};
pub use unnamed::{Unnamed, spool_folder};

/// Says why a file cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// A system call failed.
    #[error("{operation} {path}")]
    Io {
        /// What was tried, such as `opening`.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// Something else than a regular file is there.
    #[error("{path} is not a regular file")]
    NotRegular {
        /// Where.
        path: PathBuf,
    },
    /// The file is larger than its limit.
    #[error("{path} has more than {limit} bytes")]
    TooLarge {
        /// Which.
        path: PathBuf,
        /// The limit.
        limit: u64,
    },
    /// Another process holds the lock.
    #[error("{path} is held by {holder} for more than {seconds} s")]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// Who, as far as can be told.
        holder: String,
        /// How long it was waited for.
        seconds: u64,
    },
}

impl FileError {
    /// Returns a function that names the operation and the path of a failed call.
    pub fn io(operation: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io {
            operation,
            path,
            source,
        }
    }
}
