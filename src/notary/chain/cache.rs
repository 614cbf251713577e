//! Remembers the verdicts on chains: a thousand images are usually signed with one, and checking it costs as much as
//! checking all their signatures. The caller owns the cache and decides how long it lives.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use sha2::{Digest as _, Sha256};

use super::{Chain, ChainError};
use crate::notary::{Certificate, CertificateError};
use crate::oci::limits::CHAIN_CERTIFICATES_MAX;

/// Chains remembered at most; past this the cache starts over, so that hostile chains cannot fill the memory.
const CHAINS_MAX: usize = 64;
/// Familiar certificates at most: they are compared one by one.
const FAMILIAR_MAX: usize = 64;

/// Remembers checked chains by the exact bytes of their certificates.
///
/// Only the rules of [`Chain::check`] are remembered, which depend on nothing else than those bytes: no time, no policy, no trust store.
#[derive(Debug, Default)]
pub struct ChainCache {
    familiar: Vec<Certificate>,
    chains: Mutex<HashMap<[u8; 32], Result<Chain, ChainProblem>>>,
}

/// Says why encoded certificates make no chain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::notary) enum ChainProblem {
    #[error("a certificate does not parse")]
    Parse(#[source] CertificateError),
    #[error("the chain breaks a rule")]
    Rule(#[source] ChainError),
}

impl ChainCache {
    /// Returns an empty cache.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns an empty cache that takes certificates with the bytes of one of these for it instead of parsing them again.
    #[must_use]
    pub fn familiar_with<'a>(certificates: impl Iterator<Item = &'a Certificate>) -> Self {
        Self {
            familiar: certificates.take(FAMILIAR_MAX).cloned().collect(),
            chains: Mutex::default(),
        }
    }

    /// Returns a cache that knows a chain which was checked before.
    #[must_use]
    pub(in crate::notary) fn with_checked(chain: &Chain) -> Self {
        let cache = Self::new();
        let ders = chain.certificates().iter().map(Certificate::der);
        cache.lock().insert(key(ders), Ok(chain.clone()));
        cache
    }

    /// Parses a certificate, unless it is a familiar one.
    pub(in crate::notary) fn parse(&self, der: &[u8]) -> Result<Certificate, CertificateError> {
        let familiar = self.familiar.iter().find(|known| known.der() == der);
        familiar.map_or_else(|| Certificate::parse(der), |known| Ok(known.clone()))
    }

    /// Returns the verdict on these certificates, where it is known.
    pub(in crate::notary) fn known(
        &self,
        encoded: &[Vec<u8>],
    ) -> Option<Result<Chain, ChainProblem>> {
        let ders = encoded.iter().map(Vec::as_slice);
        self.lock().get(&key(ders)).cloned()
    }

    /// Parses and checks these certificates, and remembers the verdict.
    pub(in crate::notary) fn check(&self, encoded: &[Vec<u8>]) -> Result<Chain, ChainProblem> {
        let verdict = self.judge(encoded);
        let mut chains = self.lock();
        if chains.len() >= CHAINS_MAX {
            chains.clear();
        }
        let ders = encoded.iter().map(Vec::as_slice);
        chains.insert(key(ders), verdict.clone());
        verdict
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<[u8; 32], Result<Chain, ChainProblem>>> {
        self.chains.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn judge(&self, encoded: &[Vec<u8>]) -> Result<Chain, ChainProblem> {
        if encoded.len() > CHAIN_CERTIFICATES_MAX {
            return Err(ChainProblem::Rule(ChainError::TooLong {
                limit: CHAIN_CERTIFICATES_MAX,
            }));
        }
        let certificates = encoded
            .iter()
            .map(|der| self.parse(der))
            .collect::<Result<Vec<_>, _>>()
            .map_err(ChainProblem::Parse)?;
        Chain::check(certificates).map_err(ChainProblem::Rule)
    }
}

/// Returns a hash of the certificates and their lengths.
fn key<'a>(encoded: impl Iterator<Item = &'a [u8]>) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for der in encoded {
        hasher.update(u64::try_from(der.len()).unwrap_or(u64::MAX).to_be_bytes());
        hasher.update(der);
    }
    hasher.finalize().into()
}
