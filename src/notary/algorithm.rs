//! Signature algorithms: what a leaf key implies. signature-specification, "Algorithm Selection".

/// Lists the hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HashAlgorithm {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

/// Lists the six signature algorithms; the leaf key implies which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignatureAlgorithm {
    /// RSASSA-PSS, RSA 2048, SHA-256.
    Ps256,
    /// RSASSA-PSS, RSA 3072, SHA-384.
    Ps384,
    /// RSASSA-PSS, RSA 4096, SHA-512.
    Ps512,
    /// ECDSA, P-256, SHA-256.
    Es256,
    /// ECDSA, P-384, SHA-384.
    Es384,
    /// ECDSA, P-521, SHA-512.
    Es512,
}

impl SignatureAlgorithm {
    /// Lists all six.
    pub const ALL: [Self; 6] = [
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::Es512,
    ];

    /// Returns the JWS name, such as `PS256`.
    #[must_use]
    pub fn jws_name(self) -> &'static str {
        match self {
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Es512 => "ES512",
        }
    }

    /// Returns the COSE number, such as -37.
    #[must_use]
    pub fn cose_number(self) -> i64 {
        match self {
            Self::Ps256 => -37,
            Self::Ps384 => -38,
            Self::Ps512 => -39,
            Self::Es256 => -7,
            Self::Es384 => -35,
            Self::Es512 => -36,
        }
    }

    /// Returns the name that `inspect` shows, such as `RSASSA-PSS-SHA-256`.
    #[must_use]
    pub fn long_name(self) -> &'static str {
        match self {
            Self::Ps256 => "RSASSA-PSS-SHA-256",
            Self::Ps384 => "RSASSA-PSS-SHA-384",
            Self::Ps512 => "RSASSA-PSS-SHA-512",
            Self::Es256 => "ECDSA-SHA-256",
            Self::Es384 => "ECDSA-SHA-384",
            Self::Es512 => "ECDSA-SHA-512",
        }
    }

    /// Returns the hash.
    #[must_use]
    pub fn hash(self) -> HashAlgorithm {
        match self {
            Self::Ps256 | Self::Es256 => HashAlgorithm::Sha256,
            Self::Ps384 | Self::Es384 => HashAlgorithm::Sha384,
            Self::Ps512 | Self::Es512 => HashAlgorithm::Sha512,
        }
    }
}
