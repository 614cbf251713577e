//! Why nothing is mounted, and the next step to try.

use std::io;
use std::path::PathBuf;

use crate::report::Verdict;

/// Says why nothing is mounted, or why it still is.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// The first verdict was not the one required.
    #[error("the verdict is {verdict}", verdict = verdict.token())]
    NotVerified {
        /// The verdict.
        verdict: Verdict,
    },
    /// There is no mount point.
    #[error("the mount point {path} does not exist")]
    Missing {
        /// The path as typed.
        path: PathBuf,
    },
    /// The mount point is something else.
    #[error("the mount point {path} is not a folder")]
    NotAFolder {
        /// The path as typed.
        path: PathBuf,
    },
    /// The mount point holds something that is not the layout.
    #[error("the mount point {path} is not empty")]
    NotEmpty {
        /// The path.
        path: PathBuf,
    },
    /// One lies in the other.
    #[error("the mount point {path} and the layout lie in each other")]
    Nested {
        /// The path.
        path: PathBuf,
    },
    /// The layout holds a copy of a synthetic file.
    #[error("{path} holds a copy of {name}, which would look live once unmounted")]
    StaleName {
        /// The layout.
        path: PathBuf,
        /// The name.
        name: &'static str,
    },
    /// The serving process would wait for itself.
    #[error("{path}, which the mount itself uses, lies in the mount point")]
    OwnPath {
        /// What it uses.
        path: PathBuf,
    },
    /// There is a mount already.
    #[error("{path} already is a signetfs mount")]
    AlreadyMounted {
        /// The path.
        path: PathBuf,
    },
    /// A mount of another kind is there whose server is gone.
    #[error("the mount at {path} is dead and not one of signetfs")]
    Dead {
        /// The path.
        path: PathBuf,
    },
    /// Something cannot be looked at.
    #[error("looking at {path}")]
    Look {
        /// What.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The system did not mount.
    #[error("mounting on {path}")]
    Attach {
        /// The mount point.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The kernel and this program did not agree.
    #[error("serving {path}")]
    Serve {
        /// The mount point.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Processes, threads, signals.
    #[error("{operation}")]
    Process {
        /// What was tried.
        operation: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// There is nothing of ours to unmount.
    #[error("{path} is not a signetfs mount")]
    NotMounted {
        /// The path.
        path: PathBuf,
    },
    /// It could not be unmounted.
    #[error("unmounting {path}")]
    Unmount {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl MountError {
    /// Returns the next step to try.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NotVerified { .. } => "mount without --require-verified and read verify-status",
            Self::Missing { path } => return Some(format!("make it: mkdir -p {}", path.display())),
            Self::NotAFolder { .. } | Self::NotEmpty { .. } => {
                "use an empty folder, or the layout folder itself"
            }
            Self::OwnPath { .. } => "mount elsewhere, or keep notation's configuration elsewhere",
            Self::Nested { .. } => "use a folder outside the layout, or the layout folder itself",
            Self::StaleName { name, .. } => {
                return Some(format!(
                    "mount on an empty folder, or remove {name} from the layout"
                ));
            }
            Self::AlreadyMounted { path } => {
                let path = path.display();
                return Some(format!("unmount it first: signetfs umount {path}"));
            }
            Self::Dead { path } => {
                return Some(format!("unmount it first: umount -l {}", path.display()));
            }
            Self::Attach { source, .. } => attach_hint(source),
            Self::NotMounted { .. } => "list the mounts: findmnt -t fuse.signetfs",
            Self::Unmount { source, .. } if source.raw_os_error() == Some(libc::EBUSY) => {
                "close what uses it, or pass --lazy"
            }
            Self::Unmount { source, .. } if source.kind() == io::ErrorKind::NotFound => FUSE3,
            Self::Unmount { .. } => "only the user who mounted it, and root, can unmount it",
            Self::Look { .. } => "check the path and its permissions",
            Self::Serve { .. } => "the kernel has to speak FUSE 7.6 or later; mount again",
            Self::Process { .. } => "check the limits on processes and memory (ulimit -a)",
        };
        Some(hint.to_owned())
    }
}

/// What users other than root need.
const FUSE3: &str = "install the package fuse3: apt-get install fuse3";

/// Returns the next step where the system did not mount; fusermount3 tells its reasons in words only.
fn attach_hint(source: &io::Error) -> &'static str {
    let text = source.to_string();
    let mentions = |words: &str| text.contains(words);
    if mentions("user_allow_other") {
        return "write the line user_allow_other into /etc/fuse.conf as root, or mount without --allow-other and --allow-root";
    }
    if mentions("fusermount3 is not installed") {
        return FUSE3;
    }
    if mentions("/dev/fuse") && mentions("ermission") {
        return "let users open it, as root: chmod 666 /dev/fuse";
    }
    if mentions("no write access") || mentions("not owned by user") {
        return "mount on a folder of your own: mkdir -p ~/mnt";
    }
    match source.kind() {
        io::ErrorKind::NotFound => {
            "the kernel needs FUSE: modprobe fuse; in a container: --device /dev/fuse; without a mount: signetfs verify LAYOUT"
        }
        _ => {
            "in a container: --device /dev/fuse --cap-add SYS_ADMIN; without a mount: signetfs verify LAYOUT"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_what_to_install_or_allow() {
        for (kind, text, word) in [
            (
                io::ErrorKind::NotFound,
                "fusermount3 is not installed",
                "fuse3",
            ),
            (
                io::ErrorKind::Other,
                "fusermount3: option allow_other only allowed if 'user_allow_other' is set in /etc/fuse.conf",
                "the line user_allow_other",
            ),
            (
                io::ErrorKind::Other,
                "fusermount3: failed to open /dev/fuse: Permission denied",
                "chmod 666 /dev/fuse",
            ),
            (
                io::ErrorKind::PermissionDenied,
                "fusermount3: user has no write access to mountpoint /mnt",
                "a folder of your own",
            ),
            (io::ErrorKind::NotFound, "no such file", "modprobe fuse"),
            (
                io::ErrorKind::PermissionDenied,
                "not permitted",
                "SYS_ADMIN",
            ),
        ] {
            let hint = attach_hint(&io::Error::new(kind, text));
            assert!(hint.contains(word), "{text}: {hint}");
        }
    }
}
