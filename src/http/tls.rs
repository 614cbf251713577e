//! TLS settings: which authorities are trusted, which certificate is shown. System authorities unless files are named.
//!
//! Where files are looked for that nobody named is in `certificate_folders`.

use std::path::{Path, PathBuf};

use ureq::tls::{Certificate, ClientCert, PemItem, RootCerts, TlsConfig, parse_pem};

use crate::files::{self, FileError};

/// Bytes of one certificate or key file.
const PEM_BYTES_MAX: u64 = 4 << 20;

/// Names the files of one host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// The authorities that are trusted.
    pub authorities: Authorities,
    /// The certificate shown to the server, and its key.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// Names the authorities that a server's certificate may come from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Authorities {
    /// The system's.
    #[default]
    System,
    /// The system's and those of these files, as docker and podman take their certificate folders.
    Beside(Vec<PathBuf>),
    /// Those of these files alone (`--ca-file`).
    Only(Vec<PathBuf>),
}

/// Says what is checked of a server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Verification {
    /// Certificate and name.
    #[default]
    Full,
    /// Nothing (`--insecure`).
    None,
}

/// Holds TLS settings.
#[derive(Debug, Clone, Default)]
pub struct TlsOptions {
    /// Files.
    pub files: TlsFiles,
    /// What is checked.
    pub verification: Verification,
}

/// Says why TLS settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("reading {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: FileError,
    },
    /// A file is absent.
    #[error("{path} does not exist")]
    Absent {
        /// The file.
        path: PathBuf,
    },
    /// A file holds something else than it should.
    #[error("{path}: {problem}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: &'static str,
    },
}

/// Builds the transport's configuration.
///
/// # Errors
/// Names the file that cannot be used.
pub fn configure(options: &TlsOptions) -> Result<TlsConfig, TlsError> {
    let builder = TlsConfig::builder()
        .root_certs(roots(&options.files)?)
        .disable_verification(options.verification == Verification::None);
    let client = match &options.files.client {
        None => None,
        Some((certificate, key)) => Some(client_certificate(certificate, key)?),
    };
    Ok(builder.client_cert(client).build())
}

fn roots(named: &TlsFiles) -> Result<RootCerts, TlsError> {
    let (paths, mut certificates) = match &named.authorities {
        Authorities::System => return Ok(RootCerts::PlatformVerifier),
        Authorities::Beside(paths) => (paths, system_authorities()),
        Authorities::Only(paths) => (paths, Vec::new()),
    };
    for path in paths {
        let before = certificates.len();
        for item in pem_items(path)? {
            if let PemItem::Certificate(certificate) = item {
                certificates.push(certificate);
            }
        }
        if certificates.len() == before {
            return Err(TlsError::Content {
                path: path.clone(),
                problem: "no certificate in PEM form",
            });
        }
    }
    Ok(RootCerts::from(certificates))
}

/// Returns the system's authorities; what cannot be read of them is left out, which trusts less.
fn system_authorities() -> Vec<Certificate<'static>> {
    let loaded = rustls_native_certs::load_native_certs();
    loaded
        .certs
        .iter()
        .map(|certificate| Certificate::from_der(certificate).to_owned())
        .collect()
}

fn client_certificate(certificate: &Path, key: &Path) -> Result<ClientCert, TlsError> {
    let chain: Vec<_> = pem_items(certificate)?
        .into_iter()
        .filter_map(|item| match item {
            PemItem::Certificate(certificate) => Some(certificate),
            _ => None,
        })
        .collect();
    if chain.is_empty() {
        return Err(TlsError::Content {
            path: certificate.to_owned(),
            problem: "no certificate in PEM form",
        });
    }
    let key_item = pem_items(key)?.into_iter().find_map(|item| match item {
        PemItem::PrivateKey(key) => Some(key),
        _ => None,
    });
    let Some(private) = key_item else {
        return Err(TlsError::Content {
            path: key.to_owned(),
            problem: "no private key in PEM form (encrypted keys are not read)",
        });
    };
    Ok(ClientCert::new_with_certs(&chain, private))
}

fn pem_items(path: &Path) -> Result<Vec<PemItem<'static>>, TlsError> {
    let read = files::read_path(path, PEM_BYTES_MAX).map_err(|source| TlsError::Read {
        path: path.to_owned(),
        source,
    })?;
    let Some((bytes, _)) = read else {
        return Err(TlsError::Absent {
            path: path.to_owned(),
        });
    };
    parse_pem(&bytes)
        .collect::<Result<_, _>>()
        .map_err(|_| TlsError::Content {
            path: path.to_owned(),
            problem: "not acceptable PEM",
        })
}
