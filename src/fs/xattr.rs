//! Extended attributes: facts about the mount on its root, digests on blobs that were hashed.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::inputs::{PolicyFile, Reads};
use super::{Caller, Fs, FsError, Snapshot};
use crate::files;
use crate::oci::{Digest, NoProgress};
use crate::tree::inode::{ROOT, SCRATCH_FIRST};
use crate::tree::{Entry, Node};

/// The digest of a blob, once it was hashed.
const CHECKSUM: &str = "user.checksum.sha256";
/// The media type of a blob of an image.
const MEDIA_TYPE: &str = "user.oci.media-type";
/// The raw name of an image, on its folder below `images/`.
const REF_NAME: &str = "user.oci.ref.name";
/// The most bytes of a value that Linux passes on.
const VALUE_BYTES_MAX: usize = 65_536;
/// The facts about a mount.
const FACTS: &str = "user.signetfs.";

impl Fs {
    /// Returns an extended attribute.
    ///
    /// # Errors
    /// Returns an error where there is none of this name.
    pub fn getxattr(
        &self,
        snapshot: &Snapshot,
        inode: u64,
        name: &OsStr,
    ) -> Result<Vec<u8>, FsError> {
        if !name.as_bytes().starts_with(b"user.") {
            return Err(FsError::UnsupportedAttribute);
        }
        let name = name.to_str().ok_or(FsError::NoAttribute)?;
        let value = match snapshot.tree.entry(self.versions.inode(inode)) {
            Some(entry) if entry.inode == ROOT => self.fact(name),
            Some(entry) => self.attribute(snapshot, &entry, name),
            None => None,
        };
        value.ok_or(FsError::NoAttribute)
    }

    /// Lists the extended attributes that a copy takes along. The facts about the mount are not among them.
    ///
    /// For root alone: other users cannot set attributes on files and folders that nobody may write, so that rsync and borg
    /// would fail with their copies. By name, everybody gets them.
    ///
    /// # Errors
    /// Returns an error where the inode is no longer there.
    pub fn listxattr(
        &self,
        snapshot: &Snapshot,
        inode: u64,
        caller: Caller,
    ) -> Result<Vec<u8>, FsError> {
        let entry = snapshot.tree.entry(inode).filter(|_| caller.uid == 0);
        let Some(entry) = entry else {
            return Ok(Vec::new());
        };
        let mut names = Vec::new();
        for name in [CHECKSUM, MEDIA_TYPE, REF_NAME] {
            if self.attribute(snapshot, &entry, name).is_some() {
                names.extend_from_slice(name.as_bytes());
                names.push(0);
            }
        }
        Ok(names)
    }

    /// Refuses to set or remove an extended attribute.
    ///
    /// # Errors
    /// Always: with "not supported" where copying tools go on after it, else with "read-only".
    pub fn setxattr(&self, snapshot: &Snapshot, inode: u64) -> Result<(), FsError> {
        let inode = self.versions.inode(inode);
        match snapshot.tree.entry(inode).map(|entry| entry.node) {
            Some(Node::Control(..)) | None => Err(FsError::UnsupportedAttribute),
            Some(_) if inode >= SCRATCH_FIRST => Err(FsError::UnsupportedAttribute),
            Some(_) => Err(FsError::ReadOnlyContent),
        }
    }

    fn fact(&self, name: &str) -> Option<Vec<u8>> {
        let options = &self.options;
        let value = match name.strip_prefix(FACTS)? {
            "source" => options.layout_path.as_os_str().as_bytes().to_vec(),
            "overlay" => options
                .overlay_path
                .as_ref()?
                .as_os_str()
                .as_bytes()
                .to_vec(),
            "config" => options.config_path.as_os_str().as_bytes().to_vec(),
            "scope" => options.scope.as_ref()?.as_str().as_bytes().to_vec(),
            "policy" => match &options.policy {
                PolicyFile::Pinned(path) => path.as_os_str().as_bytes().to_vec(),
                _ if self.has_written_policy() => b"mount".to_vec(),
                PolicyFile::Writable | PolicyFile::ReadOnly => b"config".to_vec(),
            },
            "reads" => self.data_path().as_bytes().to_vec(),
            "pid" => std::process::id().to_string().into_bytes(),
            _ => return None,
        };
        Some(value)
    }

    /// Returns the data path of large blobs; why, where it is not the faster one.
    fn data_path(&self) -> &'static str {
        match (self.options.reads, self.uses_passthrough()) {
            (Reads::Checked, _) => "checked (--reads checked)",
            _ if !self.source.stores_files() => "checked (an archive is one file)",
            (Reads::Auto, false) if files::effective_uid() != 0 => {
                "checked (passthrough takes root)"
            }
            (Reads::Auto, false) => {
                "checked (this kernel, or what lies beneath, has no passthrough)"
            }
            (Reads::Auto, true) if self.hashes.leases_unavailable() => {
                "checked (no leases are to be had on this file system)"
            }
            (Reads::Auto, true) => "passthrough",
        }
    }

    fn attribute(&self, snapshot: &Snapshot, entry: &Entry, name: &str) -> Option<Vec<u8>> {
        match &entry.node {
            Node::Blob(digest) => self.blob_attribute(snapshot, digest, name),
            Node::Directory if name == REF_NAME => {
                let raw = snapshot.tree.ref_name(entry.inode)?;
                (raw.len() <= VALUE_BYTES_MAX).then(|| raw.as_bytes().to_vec())
            }
            _ => None,
        }
    }

    fn blob_attribute(&self, snapshot: &Snapshot, digest: &Digest, name: &str) -> Option<Vec<u8>> {
        let descriptor = snapshot.descriptor(digest)?;
        match name {
            CHECKSUM => {
                let Digest::Sha256(_) = digest else {
                    return None;
                };
                let blob = self.source.blob(digest).ok().flatten()?;
                // Judging reads manifests without remembering their hash. They are small, and a copy that takes
                // attributes along must not find another set after somebody read them.
                let is_manifest = snapshot.basis.survey.graph.nodes.contains_key(digest);
                if is_manifest {
                    self.hashes.verify(descriptor, &blob, &NoProgress).ok()?;
                } else {
                    self.hashes.known(descriptor, &blob)?;
                }
                Some(digest.hex().into_bytes())
            }
            MEDIA_TYPE if !descriptor.media_type.is_empty() => {
                Some(descriptor.media_type.as_bytes().to_vec())
            }
            _ => None,
        }
    }
}
