//! Image configs: what is shown of them. <https://github.com/opencontainers/image-spec/blob/main/config.md>
//!
//! Read through oci-spec's types, which drop what they do not know: nothing here is ever written back.

use oci_spec::image::ImageConfiguration;

use super::{Digest, DigestError, JsonError, Platform, json};

/// Holds what an image config says about its image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageConfig {
    /// The platform that the image runs on.
    pub platform: Platform,
    /// When the image was made, as the config spells it.
    pub created: Option<String>,
    /// The digests of the unpacked layers, in order.
    pub diff_ids: Vec<Digest>,
}

/// Says why bytes are not an image config.
#[derive(Debug, thiserror::Error)]
pub enum ImageConfigError {
    /// Not acceptable JSON.
    #[error("not acceptable JSON")]
    Json(#[source] JsonError),
    /// JSON, but not an image config.
    #[error("not an image config")]
    Shape(#[source] serde_json::Error),
    /// A malformed digest.
    #[error("rootfs.diff_ids holds a malformed digest")]
    DiffId(#[source] DigestError),
}

impl ImageConfig {
    /// Parses an image config.
    ///
    /// # Errors
    /// Refuses what [`json::parse`] refuses, and a config without platform or layers.
    pub fn parse(bytes: &[u8]) -> Result<Self, ImageConfigError> {
        let value = json::parse(bytes).map_err(ImageConfigError::Json)?;
        let config: ImageConfiguration =
            serde_json::from_value(value).map_err(ImageConfigError::Shape)?;
        let diff_ids = config.rootfs().diff_ids().iter().map(|text| text.parse());
        Ok(Self {
            platform: Platform {
                os: config.os().to_string(),
                architecture: config.architecture().to_string(),
                variant: config.variant().clone(),
            },
            created: config.created().clone(),
            diff_ids: diff_ids
                .collect::<Result<_, _>>()
                .map_err(ImageConfigError::DiffId)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(rootfs: &str) -> Result<ImageConfig, ImageConfigError> {
        let text = format!(
            r#"{{"architecture":"riscv128","os":"linux","variant":"v9","created":"2026-01-01T00:00:00Z",
                 "rootfs":{rootfs},"config":{{"Cmd":["/hello"]}},"unknown":1}}"#
        );
        ImageConfig::parse(text.as_bytes())
    }

    #[test]
    fn reads_platform_and_layers() {
        let config = read(r#"{"type":"layers","diff_ids":["sha256:0c37285c04d8dc813a5c555c04739cec27a9a1d1a78adba0e8cfc0e3d88538f3"]}"#)
            .unwrap();
        assert_eq!(config.platform.os, "linux");
        assert_eq!(config.platform.architecture, "riscv128");
        assert_eq!(config.platform.variant.as_deref(), Some("v9"));
        assert_eq!(config.created.as_deref(), Some("2026-01-01T00:00:00Z"));
        assert!(config.diff_ids[0].hex().starts_with("0c37"));
    }

    #[test]
    fn refuses_what_is_not_an_image_config() {
        assert!(matches!(
            ImageConfig::parse(b"{}"),
            Err(ImageConfigError::Shape(_))
        ));
        assert!(matches!(
            ImageConfig::parse(b"{"),
            Err(ImageConfigError::Json(_))
        ));
        assert!(matches!(
            ImageConfig::parse(br#"{"os":"linux","os":"linux"}"#),
            Err(ImageConfigError::Json(_))
        ));
        assert!(matches!(
            read(r#"{"type":"layers","diff_ids":["sha256:00"]}"#),
            Err(ImageConfigError::DiffId(_))
        ));
    }
}
