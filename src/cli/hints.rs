//! Which exit and which next step each error deserves.

use super::answer::Failure;
use super::exit::Exit;
use crate::audit::AuditError;
use crate::layout::SourceError;
use crate::layout::compressed::UNPACKING;
use crate::notary::SignError;
use crate::oci::causes;
use crate::report::Verdict;
use crate::settings::{ConfigDir, SettingsError};
use crate::signing::SigningError;

/// The next step where no key can be used.
const NO_KEY: &str = "list the keys with: signetfs key list; make one for tests with: signetfs cert generate-test --default NAME";

impl From<SourceError> for Failure {
    fn from(error: SourceError) -> Self {
        let hint = match &error {
            SourceError::NotALayout { .. } => {
                "name the folder or tar that holds oci-layout and index.json".to_owned()
            }
            SourceError::Locked { .. } => {
                "wait for that process to end, or end it, and try again".to_owned()
            }
            SourceError::EntryLost { .. } => {
                "another tool rewrites index.json without a lock: try again when it is done"
                    .to_owned()
            }
            SourceError::ReadOnly { .. } => "copy the layout to a writable place".to_owned(),
            SourceError::Archive { advice, .. } => (*advice).to_owned(),
            SourceError::Io {
                operation: UNPACKING,
                path,
                ..
            } => format!(
                "make room in {}, or set TMPDIR to a folder with more",
                path.display()
            ),
            SourceError::Overlay { .. } => {
                "name a folder of your own for the new signatures: --overlay DIR".to_owned()
            }
            SourceError::Io { source, .. } if is_closed(source) => {
                "sign into a folder of your own: --overlay DIR".to_owned()
            }
            SourceError::Index { .. } => {
                "repair index.json: nothing is added to one that two readers could understand differently"
                    .to_owned()
            }
            SourceError::Io { path, .. }
            | SourceError::NotRegular { path }
            | SourceError::TooMany { path, .. }
            | SourceError::TooLarge { path, .. } => {
                format!("look at it: ls -l {}", path.display())
            }
        };
        let mut failure = Self::because(&error, hint);
        match &error {
            SourceError::ReadOnly { .. } => failure.exit = Exit::Permission,
            SourceError::Io { operation, .. } if *operation != UNPACKING => make_room(&mut failure),
            _ => {}
        }
        failure
    }
}

/// Says what helps where no space is left: looking at the file that could not be made does not.
fn make_room(failure: &mut Failure) {
    if failure.exit == Exit::Space {
        "make room on that file system, then run the same command again"
            .clone_into(&mut failure.hint);
    }
}

/// Returns whether a place takes no files from this user.
fn is_closed(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        std::io::ErrorKind::ReadOnlyFilesystem | std::io::ErrorKind::PermissionDenied
    )
}

fn is_forbidden(error: &SourceError) -> bool {
    matches!(error, SourceError::Io { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied)
}

impl From<AuditError> for Failure {
    fn from(error: AuditError) -> Self {
        match error {
            // Where nothing was to be written, another place to write helps nobody.
            AuditError::Source(error @ SourceError::Io { .. }) if is_forbidden(&error) => {
                Self::because(
                    &error,
                    "let this user read the layout: the folder and all files in it",
                )
            }
            AuditError::Source(source) => source.into(),
            error @ AuditError::NotFound { .. } => Self::because(
                &error,
                "list what is there: signetfs list PATH (without a tag or digest)",
            ),
        }
    }
}

impl From<SignError> for Failure {
    fn from(error: SignError) -> Self {
        let hint = match &error {
            SignError::Key { .. } | SignError::Mismatch | SignError::Chain(_) => NO_KEY,
            SignError::Terms { .. } => "see signetfs sign --help for what the flags take",
            SignError::Crypto { .. } | SignError::SelfCheck => {
                "nothing was written; try another key"
            }
        };
        Self::because(&error, hint)
    }
}

impl From<SigningError> for Failure {
    fn from(error: SigningError) -> Self {
        let (exit, hint) = match error {
            SigningError::Audit(audit) => return audit.into(),
            SigningError::Store(source) => return source.into(),
            SigningError::Seal(seal) => return seal.into(),
            SigningError::Layout { .. } => (
                Exit::Verdict(Verdict::LayoutInvalid),
                "see what is wrong: signetfs verify PATH",
            ),
            SigningError::Nothing => (
                Exit::Verdict(Verdict::Empty),
                "build an image into the layout first",
            ),
            SigningError::Ambiguous { .. } => (
                Exit::Verdict(Verdict::Ambiguous),
                "sign by digest: signetfs sign PATH@DIGEST",
            ),
            SigningError::Missing { .. } => (
                Exit::Verdict(Verdict::Missing),
                "copy the whole image into the layout; every blob has to be there",
            ),
            SigningError::Corrupt(_) | SigningError::Manifest { .. } => (
                Exit::Verdict(Verdict::Corrupt),
                "write the image into the layout again",
            ),
        };
        Self::new(exit, causes(&error), hint)
    }
}

impl From<SettingsError> for Failure {
    fn from(error: SettingsError) -> Self {
        let hint = match &error {
            SettingsError::NoKey { .. }
            | SettingsError::NoDefaultKey
            | SettingsError::UnusableKey { .. } => NO_KEY.to_owned(),
            SettingsError::KeyInside { .. } => {
                "move it elsewhere: it would be copied with the layout".to_owned()
            }
            SettingsError::EncryptedKey { path } => format!(
                "write it without a passphrase: openssl pkey -in {} -out KEY",
                path.display()
            ),
            SettingsError::ForeignKey { .. } => {
                "use a key in a file: signetfs key add NAME --key FILE --cert FILE".to_owned()
            }
            SettingsError::Permissions { path, .. } => {
                format!(
                    "take the rights of others away: chmod go-rwx {}",
                    path.display()
                )
            }
            SettingsError::PolicyInvalid(_)
            | SettingsError::PolicyNotRegular { .. }
            | SettingsError::PolicyUnreadable { .. } => {
                "mend the policy, or make one: signetfs policy init --trust-store ca:NAME"
                    .to_owned()
            }
            SettingsError::Exists { path } => {
                format!("take another name, or remove {}", path.display())
            }
            SettingsError::KeyExists { name } => {
                format!("take another name, or: signetfs key delete {name}")
            }
            SettingsError::Name { .. } => "take another name".to_owned(),
            SettingsError::KeySize { .. } => "use --bits 2048, 3072 or 4096".to_owned(),
            SettingsError::Store(_) | SettingsError::Certificate { .. } => {
                "see what is there: signetfs cert list".to_owned()
            }
            SettingsError::Json { path, .. } | SettingsError::Malformed { path, .. } => {
                format!("mend {} or remove it", path.display())
            }
            SettingsError::IntoMount { path }
            | SettingsError::Absent { path }
            | SettingsError::NotRegular { path }
            | SettingsError::TooLarge { path, .. }
            | SettingsError::Io { path, .. } => format!("look at it: ls -l {}", path.display()),
            SettingsError::Busy { .. } => "wait for that process, and try again".to_owned(),
            SettingsError::Generate { .. } => "try again".to_owned(),
        };
        let mut failure = Self::because(&error, hint);
        match &error {
            SettingsError::Permissions { .. } | SettingsError::PolicyUnreadable { .. } => {
                failure.exit = Exit::Permission;
            }
            SettingsError::Io { path, .. } if ConfigDir::is_nowhere(path) => {
                "there is no home folder: set HOME, or name a folder: --config DIR"
                    .clone_into(&mut failure.hint);
            }
            SettingsError::Io { source, .. }
                if source.kind() == std::io::ErrorKind::ReadOnlyFilesystem =>
            {
                "that file system is read-only: name another folder: --config DIR"
                    .clone_into(&mut failure.hint);
            }
            SettingsError::Io { .. } => make_room(&mut failure),
            _ => {}
        }
        failure
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn what_lacks_room_or_a_writable_place_is_told_so() {
        let path = || "place/of/a/file".into();
        let io = |kind: io::ErrorKind| io::Error::from(kind);
        let full = Failure::from(SigningError::Store(SourceError::Io {
            operation: "writing",
            path: path(),
            source: io(io::ErrorKind::StorageFull),
        }));
        assert_eq!(full.exit, Exit::Space);
        assert!(full.hint.contains("make room"), "{full:?}");
        let settings = |kind, path| {
            Failure::from(SettingsError::Io {
                operation: "making",
                path,
                source: io(kind),
            })
        };
        let full = settings(io::ErrorKind::StorageFull, path());
        assert!(full.hint.contains("make room"), "{full:?}");
        let read_only = settings(io::ErrorKind::ReadOnlyFilesystem, path());
        assert!(read_only.hint.contains("--config DIR"), "{read_only:?}");
        let homeless = settings(io::ErrorKind::NotADirectory, "/dev/null/notation/x".into());
        assert!(homeless.hint.contains("set HOME"), "{homeless:?}");
    }

    #[test]
    fn who_may_not_read_is_not_told_where_to_write() {
        let denied = || SourceError::Io {
            operation: "opening",
            path: "index.json".into(),
            source: io::ErrorKind::PermissionDenied.into(),
        };
        let read = Failure::from(AuditError::Source(denied()));
        assert!(read.hint.contains("read the layout"), "{read:?}");
        let written = Failure::from(SigningError::Store(denied()));
        assert!(written.hint.contains("--overlay"), "{written:?}");
        assert_eq!(
            (read.exit, written.exit),
            (Exit::Permission, Exit::Permission)
        );
    }
}
