//! Media types and artifact types by name.

use std::borrow::Cow;

use oci_spec::image::MediaType;

/// OCI image manifest.
pub const IMAGE_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// OCI image index.
pub const IMAGE_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Docker manifest, schema 2.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker manifest list.
pub const DOCKER_MANIFEST_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// OCI artifact manifest (withdrawn; still read).
pub const ARTIFACT_MANIFEST: &str = "application/vnd.oci.artifact.manifest.v1+json";
/// OCI empty JSON.
pub const EMPTY_JSON: &str = "application/vnd.oci.empty.v1+json";
/// Artifact type of a Notary Project signature, and media type of its config.
pub const NOTARY_SIGNATURE: &str = "application/vnd.cncf.notary.signature";
/// JWS envelope.
pub const JOSE_JSON: &str = "application/jose+json";
/// COSE envelope.
pub const COSE: &str = "application/cose";
/// Payload of a Notary Project signature.
pub const NOTARY_PAYLOAD: &str = "application/vnd.cncf.notary.payload.v1+json";

/// Docker's layer that is to be fetched from elsewhere.
const DOCKER_FOREIGN_LAYER: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";

/// The types that nearly every descriptor has: no copies are made of these.
const COMMON: [&str; 16] = [
    "",
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.v1.tar+zstd",
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
    "application/vnd.docker.container.image.v1+json",
    IMAGE_MANIFEST,
    IMAGE_INDEX,
    DOCKER_MANIFEST,
    DOCKER_MANIFEST_LIST,
    ARTIFACT_MANIFEST,
    EMPTY_JSON,
    NOTARY_SIGNATURE,
    JOSE_JSON,
    COSE,
];

/// Returns a media type that takes no memory of its own where it is a common one.
#[must_use]
pub fn shared(media_type: &str) -> Cow<'static, str> {
    match COMMON.iter().find(|common| **common == media_type) {
        Some(common) => Cow::Borrowed(common),
        None => Cow::Owned(media_type.to_owned()),
    }
}

/// Returns whether this is an image manifest of OCI or Docker, or an artifact manifest.
#[must_use]
pub fn is_manifest(media_type: &str) -> bool {
    matches!(
        media_type,
        IMAGE_MANIFEST | DOCKER_MANIFEST | ARTIFACT_MANIFEST
    )
}

/// Returns whether this is an index of OCI or Docker.
#[must_use]
pub fn is_index(media_type: &str) -> bool {
    matches!(media_type, IMAGE_INDEX | DOCKER_MANIFEST_LIST)
}

/// Returns whether content of this type may be uploaded: all but non-distributable layers may.
/// <https://github.com/opencontainers/image-spec/blob/main/layer.md#non-distributable-layers>
#[must_use]
pub fn is_distributable(media_type: &str) -> bool {
    let restricted = matches!(
        MediaType::from(media_type),
        MediaType::ImageLayerNonDistributable
            | MediaType::ImageLayerNonDistributableGzip
            | MediaType::ImageLayerNonDistributableZstd
    );
    !restricted && media_type != DOCKER_FOREIGN_LAYER
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_what_the_specification_names() {
        for (ours, theirs) in [
            (IMAGE_MANIFEST, MediaType::ImageManifest),
            (IMAGE_INDEX, MediaType::ImageIndex),
            (ARTIFACT_MANIFEST, MediaType::ArtifactManifest),
            (EMPTY_JSON, MediaType::EmptyJSON),
        ] {
            assert_eq!(ours, theirs.to_string());
        }
    }

    #[test]
    fn tells_kinds_apart() {
        for media_type in [IMAGE_MANIFEST, DOCKER_MANIFEST, ARTIFACT_MANIFEST] {
            assert!(is_manifest(media_type) && !is_index(media_type));
        }
        for media_type in [IMAGE_INDEX, DOCKER_MANIFEST_LIST] {
            assert!(is_index(media_type) && !is_manifest(media_type));
        }
        for media_type in [
            "",
            EMPTY_JSON,
            "Application/vnd.oci.image.index.v1+json",
            "application/vnd.oci.image.index.v1+json; charset=utf-8",
            "application/vnd.docker.distribution.manifest.v1+prettyjws",
        ] {
            assert!(
                !is_manifest(media_type) && !is_index(media_type),
                "{media_type}"
            );
        }
    }

    #[test]
    fn keeps_non_distributable_layers_back() {
        let layer = "application/vnd.oci.image.layer";
        for suffix in ["tar", "tar+gzip", "tar+zstd"] {
            assert!(!is_distributable(&format!(
                "{layer}.nondistributable.v1.{suffix}"
            )));
            assert!(is_distributable(&format!("{layer}.v1.{suffix}")));
        }
        assert!(!is_distributable(DOCKER_FOREIGN_LAYER));
        assert!(is_distributable("") && is_distributable(IMAGE_MANIFEST));
    }
}
