//! Key files: read once, judged by what was opened, wiped.
//!
//! Paths may be symlinks, as mounted secrets are; the file behind them must be ours alone.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use zeroize::Zeroizing;

use super::place::refuse_world_writable;
use super::{ConfigDir, KeyEntry, KeySource, SettingsError, read_keys};
use crate::files::{Stat, effective_uid, read_path};
use crate::notary::{Certificate, Chain, LocalSigner, PrivateKey, SignError};
use crate::oci::limits;
use crate::sys::secrecy::{wipe_what_is_freed, write_no_core};

/// Remembers the chain in the certificate file that was read last: who signs again and again parses and checks it once.
///
/// Kept by the exact bytes of the file, which is read and whose mode is judged each time: the rules of a chain look at nothing
/// else, no time and no trust. Nothing of a private key is kept.
#[derive(Debug, Default)]
pub struct LastChain {
    last: Mutex<Option<(Vec<u8>, Chain)>>,
}

impl LastChain {
    fn of(&self, bytes: &[u8]) -> Option<Chain> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.as_ref()
            .filter(|(known, _)| known == bytes)
            .map(|(_, chain)| chain.clone())
    }

    fn keep(&self, bytes: &[u8], chain: &Chain) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some((bytes.to_vec(), chain.clone()));
    }
}

/// Loads the signer with this name, or the default one, and warnings about its files.
///
/// # Errors
/// Says why it cannot be used.
pub fn load_signer(
    dir: &ConfigDir,
    name: Option<&str>,
) -> Result<(LocalSigner, Vec<String>), SettingsError> {
    load_entry(read_keys(dir)?.find(name)?, &LastChain::default())
}

/// Loads the signer with this name, or the default one, unless its key lies in the layout that is signed: it would be copied along.
///
/// # Errors
/// Says why it cannot be used.
pub fn load_signer_outside(
    layout: &Path,
    dir: &ConfigDir,
    name: Option<&str>,
    known: &LastChain,
) -> Result<(LocalSigner, Vec<String>), SettingsError> {
    // Read once: what is judged here is what is loaded.
    let list = read_keys(dir)?;
    let entry = list.find(name)?;
    if let KeySource::Files { key, certificates } = &entry.source {
        let inside = || SettingsError::KeyInside { path: key.clone() };
        if is_below(key, layout) {
            return Err(inside());
        }
        // Before either is looked for: the mount of this layout would wait for itself.
        dir.refuse_mount(key)?;
        dir.refuse_mount(certificates)?;
        if leads_below(key, layout) {
            return Err(inside());
        }
    }
    load_entry(entry, known)
}

fn load_entry(
    entry: &KeyEntry,
    known: &LastChain,
) -> Result<(LocalSigner, Vec<String>), SettingsError> {
    let KeySource::Files { key, certificates } = &entry.source else {
        return Err(SettingsError::ForeignKey {
            name: entry.name.clone(),
        });
    };
    load_pair_by(&entry.name, (key, certificates), known)
}

/// Returns whether a file lies in a folder, by the paths as written.
fn is_below(file: &Path, folder: &Path) -> bool {
    let written = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    written(file).starts_with(written(folder))
}

/// Returns whether a file lies in a folder, by what their paths lead to.
fn leads_below(file: &Path, folder: &Path) -> bool {
    matches!(
        (file.canonicalize(), folder.canonicalize()),
        (Ok(file), Ok(folder)) if file.starts_with(&folder)
    )
}

/// Loads a key and its chain from files, and warnings about them.
///
/// # Errors
/// Says why they cannot be used.
pub fn load_pair(
    name: &str,
    key_path: &Path,
    certificates_path: &Path,
) -> Result<(LocalSigner, Vec<String>), SettingsError> {
    load_pair_by(name, (key_path, certificates_path), &LastChain::default())
}

fn load_pair_by(
    name: &str,
    (key_path, certificates_path): (&Path, &Path),
    known: &LastChain,
) -> Result<(LocalSigner, Vec<String>), SettingsError> {
    wipe_what_is_freed();
    // A lower limit that cannot be raised stays.
    let _ = write_no_core();
    let (pem, stat) = read(key_path)?;
    let warnings = judge(key_path, &stat, effective_uid())?;
    let unusable = |source: SignError| SettingsError::UnusableKey {
        name: name.to_owned(),
        source,
    };
    let key = PrivateKey::parse_pem(&pem).map_err(|error| {
        if is_encrypted(&pem) {
            SettingsError::EncryptedKey {
                path: key_path.to_owned(),
            }
        } else {
            unusable(error)
        }
    })?;
    let (bytes, stat) = read(certificates_path)?;
    refuse_world_writable(certificates_path, stat.mode)?;
    let chain = match known.of(&bytes) {
        Some(chain) => chain,
        None => {
            let certificates =
                Certificate::parse_file(&bytes).map_err(|source| SettingsError::Certificate {
                    path: certificates_path.to_owned(),
                    source,
                })?;
            let chain = Chain::check(certificates);
            let chain = chain.map_err(|error| unusable(SignError::Chain(error)))?;
            known.keep(&bytes, &chain);
            chain
        }
    };
    let signer = LocalSigner::with_chain(key, chain).map_err(unusable)?;
    Ok((signer, warnings))
}

/// Reads a file whose bytes are wiped once they are used.
fn read(path: &Path) -> Result<(Zeroizing<Vec<u8>>, Stat), SettingsError> {
    let read = read_path(path, limits::KEY_FILE_BYTES_MAX).map_err(SettingsError::file(path))?;
    match read {
        Some((bytes, stat)) => Ok((Zeroizing::new(bytes), stat)),
        None => Err(SettingsError::Absent {
            path: path.to_owned(),
        }),
    }
}

/// Judges who else could have read or written an open key file; a group that may read it is worth a warning.
fn judge(path: &Path, stat: &Stat, our_uid: u32) -> Result<Vec<String>, SettingsError> {
    let problem = if stat.uid != our_uid && stat.uid != 0 {
        Some("belongs to another user: a private key must belong to you or to root")
    } else if stat.mode & 0o002 != 0 {
        Some("is writable by everybody: a private key must be yours alone (chmod 600)")
    } else if stat.mode & 0o020 != 0 {
        Some("is writable by its group: a private key must be yours alone (chmod 600)")
    } else if stat.mode & 0o007 != 0 {
        Some("is readable by everybody: a private key must be yours alone (chmod 600)")
    } else {
        None
    };
    if let Some(problem) = problem {
        return Err(SettingsError::Permissions {
            path: path.to_owned(),
            problem,
        });
    }
    if stat.mode & 0o040 == 0 {
        return Ok(Vec::new());
    }
    Ok(vec![format!("{} is readable by its group", path.display())])
}

/// Returns whether a PEM file says that its key is encrypted: PKCS#8's label, or the header of the older forms.
fn is_encrypted(pem: &[u8]) -> bool {
    let holds = |needle: &[u8]| pem.windows(needle.len()).any(|window| window == needle);
    holds(b"BEGIN ENCRYPTED PRIVATE KEY") || holds(b"Proc-Type: 4,ENCRYPTED")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::{Kind, Time};

    fn stat(uid: u32, mode: u32) -> Stat {
        Stat {
            kind: Kind::File,
            device: 1,
            unique_mount: None,
            inode: 1,
            mode,
            uid,
            gid: 0,
            links: 1,
            size: 1,
            modified: Time::default(),
            changed: Time::default(),
        }
    }

    #[test]
    fn judges_owner_and_mode_of_key_files() {
        for (uid, mode, warnings) in [
            (1000, 0o600, Some(0)),
            (1000, 0o400, Some(0)),
            (0, 0o600, Some(0)),
            (0, 0o440, Some(1)),
            (1000, 0o640, Some(1)),
            (1001, 0o600, None),
            (1000, 0o644, None),
            (1000, 0o604, None),
            (1000, 0o601, None),
            (1000, 0o602, None),
            (1000, 0o620, None),
            (0, 0o644, None),
        ] {
            let judged = judge(Path::new("key"), &stat(uid, mode), 1000);
            match (judged, warnings) {
                (Ok(found), Some(count)) => assert_eq!(found.len(), count, "{uid} {mode:o}"),
                (Err(SettingsError::Permissions { .. }), None) => {}
                (judged, _) => panic!("{uid} {mode:o}: {judged:?}"),
            }
        }
    }

    #[test]
    fn knows_encrypted_keys_by_their_label_or_header() {
        assert!(is_encrypted(b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n"));
        assert!(is_encrypted(
            b"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n"
        ));
        assert!(!is_encrypted(b"-----BEGIN PRIVATE KEY-----\n"));
    }
}
