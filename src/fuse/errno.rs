//! The only map from errors to errno numbers. docs/SEMANTICS.md, "errno".

use fuser::Errno;

use crate::fs::FsError;
use crate::layout::SourceError;

/// Returns the number the kernel answers with.
pub(super) fn errno(error: &FsError) -> Errno {
    match error {
        FsError::NotFound => Errno::ENOENT,
        FsError::StaleInode => Errno::ESTALE,
        FsError::OwnLook => Errno::from_i32(libc::EDEADLK),
        FsError::UnknownHandle => Errno::EBADF,
        FsError::NotADirectory => Errno::ENOTDIR,
        FsError::IsADirectory => Errno::EISDIR,
        FsError::Exists => Errno::EEXIST,
        FsError::NameTooLong => Errno::ENAMETOOLONG,
        FsError::ReadOnlyContent => Errno::EROFS,
        FsError::ReadOnlyStatus => Errno::EACCES,
        FsError::ControlName => Errno::EPERM,
        FsError::Pinned => Errno::EPERM,
        FsError::WrongUid { .. } => Errno::EACCES,
        FsError::MalformedPolicy { .. } => Errno::EBADMSG,
        FsError::IncompletePolicy => Errno::EBADMSG,
        FsError::MalformedRequest { .. } => Errno::EBADMSG,
        FsError::NoKey { .. } => Errno::from_i32(libc::ENOKEY),
        FsError::KeyExpired { .. } => Errno::from_i32(libc::EKEYEXPIRED),
        FsError::KeyRejected { .. } => Errno::from_i32(libc::EKEYREJECTED),
        FsError::NothingToSign => Errno::ENODATA,
        FsError::Unsignable { .. } => Errno::EIO,
        FsError::StillHashing => Errno::EBUSY,
        FsError::Locked { .. } => Errno::EBUSY,
        FsError::ReadOnlyLayout => Errno::EROFS,
        FsError::Write { source, .. } => of_source(source),
        FsError::TooLarge { .. } => Errno::EFBIG,
        FsError::ScratchFull => Errno::ENOSPC,
        FsError::Corrupt { .. } => Errno::EIO,
        FsError::Changed { .. } => Errno::EIO,
        FsError::Layout(source) => of_source(source),
        FsError::Read { .. } => Errno::EIO,
        FsError::NoAttribute => Errno::ENODATA,
        FsError::UnsupportedAttribute => Errno::EOPNOTSUPP,
        FsError::UnsupportedRename => Errno::EPERM,
        FsError::Panicked => Errno::EIO,
    }
}

/// Returns the number of a layout that could not be read or written: the system's own where the user can act on it.
fn of_source(error: &SourceError) -> Errno {
    match error {
        SourceError::Io { source, .. } => match source.raw_os_error() {
            Some(
                number @ (libc::ENOSPC
                | libc::EDQUOT
                | libc::EROFS
                | libc::EACCES
                | libc::EPERM
                | libc::EMFILE
                | libc::ENFILE
                | libc::ENOMEM),
            ) => Errno::from_i32(number),
            _ => Errno::EIO,
        },
        SourceError::ReadOnly { .. } => Errno::EROFS,
        SourceError::Locked { .. } => Errno::EBUSY,
        SourceError::TooLarge { .. } | SourceError::TooMany { .. } => Errno::EFBIG,
        SourceError::NotRegular { .. }
        | SourceError::Overlay { .. }
        | SourceError::NotALayout { .. }
        | SourceError::Archive { .. }
        | SourceError::Index { .. }
        | SourceError::EntryLost { .. } => Errno::EIO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_can_tell_the_causes_apart() {
        let reason = String::new;
        for (error, number) in [
            (FsError::ReadOnlyContent, libc::EROFS),
            (FsError::ReadOnlyStatus, libc::EACCES),
            (FsError::ControlName, libc::EPERM),
            (FsError::WrongUid { uid: 1 }, libc::EACCES),
            (FsError::IncompletePolicy, libc::EBADMSG),
            (FsError::NoKey { reason: reason() }, libc::ENOKEY),
            (FsError::KeyExpired { reason: reason() }, libc::EKEYEXPIRED),
            (
                FsError::KeyRejected { reason: reason() },
                libc::EKEYREJECTED,
            ),
            (FsError::StillHashing, libc::EBUSY),
            (FsError::TooLarge { limit: 1 }, libc::EFBIG),
        ] {
            assert_eq!(errno(&error).code(), number, "{error}");
        }
    }

    #[test]
    fn nothing_answers_einval_or_enosys() {
        // mv prints nonsense for the first, and the kernel remembers the second.
        for error in [
            FsError::UnsupportedRename,
            FsError::UnsupportedAttribute,
            FsError::Panicked,
        ] {
            let number = errno(&error).code();
            assert!(number != libc::EINVAL && number != libc::ENOSYS, "{error}");
        }
    }

    #[test]
    fn a_full_disk_is_told_as_one() {
        let source = SourceError::Io {
            operation: "writing",
            path: "index.json".into(),
            source: std::io::Error::from_raw_os_error(libc::ENOSPC),
        };
        assert_eq!(of_source(&source).code(), libc::ENOSPC);
    }
}
