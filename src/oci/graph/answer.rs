//! What the walk is told of one manifest: checked and parsed, so that many can be at once.

use std::sync::Arc;

use super::super::limits::MANIFEST_BYTES_MAX;
use super::{Fetched, Node};
use crate::oci::{Descriptor, Document};

/// Is a manifest that was read, checked and parsed.
#[derive(Debug, Clone)]
pub struct Answer {
    pub(super) node: Node,
    /// How many bytes have the digest: they count for the limit of all, whatever they say.
    pub(super) sound: u64,
}

impl Answer {
    /// Returns what becomes of what is stored under a descriptor's digest, given what became of it in an earlier walk.
    ///
    /// The bytes are read and hashed all the same; a document that says itself what it is, is not parsed again.
    pub fn of(
        descriptor: &Descriptor,
        known: Option<&Node>,
        fetch: impl FnOnce() -> Fetched,
    ) -> Self {
        let not_sound = |node| Self { node, sound: 0 };
        if descriptor.digest.algorithm().is_none() {
            return not_sound(Node::Unverifiable);
        }
        let bytes = match fetch() {
            Fetched::Bytes(bytes) => bytes,
            Fetched::Missing => return not_sound(Node::Missing),
            Fetched::TooLarge => return not_sound(Node::TooLarge),
            Fetched::Unreadable(why) => return not_sound(Node::Unreadable(why)),
        };
        let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if size > MANIFEST_BYTES_MAX {
            return not_sound(Node::TooLarge);
        }
        if !descriptor.digest.matches(&bytes) {
            return not_sound(Node::Corrupt(describe_mismatch(size, descriptor)));
        }
        let node = match parse(descriptor, known, &bytes) {
            Ok(document) => Node::Present {
                size,
                bytes: Some(bytes),
                document,
            },
            Err(error) => Node::Malformed(Box::new(error)),
        };
        Self { node, sound: size }
    }

    /// Gives up the bytes of a manifest: who sends it nowhere goes by what it says.
    #[must_use]
    pub fn without_bytes(mut self) -> Self {
        if let Node::Present {
            bytes, document, ..
        } = &mut self.node
            && matches!(&**document, Document::Manifest(_))
        {
            *bytes = None;
        }
        self
    }
}

/// Parses bytes that have a descriptor's digest, as those of the known node have.
fn parse(
    descriptor: &Descriptor,
    known: Option<&Node>,
    bytes: &[u8],
) -> Result<Arc<Document>, crate::oci::DocumentError> {
    match known {
        // Without a type of its own a document is what the descriptor says, and that may be another one now.
        Some(Node::Present { document, .. }) if document.media_type().is_some() => {
            Ok(Arc::clone(document))
        }
        _ => Document::read(bytes, &descriptor.media_type).map(Arc::new),
    }
}

fn describe_mismatch(size: u64, descriptor: &Descriptor) -> String {
    match size == descriptor.size {
        true => "its content does not have its digest".to_owned(),
        false => format!(
            "it is {size} bytes long where its descriptor says {}, and does not have its digest",
            descriptor.size
        ),
    }
}
