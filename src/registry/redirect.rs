//! Where answers may lead: never from TLS to plain text, never from far away to this machine.

use super::call::Call;
use super::error::RegistryError;
use crate::http::{HttpError, Origin, Response, Scheme, Url, UrlError};

/// Redirects that are followed.
const REDIRECTS_MAX: u32 = 5;

/// Returns where a redirect leads.
pub(super) fn redirect(
    call: &Call<'_>,
    response: Response,
    url: &Url,
    followed: u32,
) -> Result<(Url, u32), Attempt> {
    let unexpected = |problem: &str| {
        Attempt::Registry(RegistryError::Unexpected {
            doing: call.doing.clone(),
            problem: problem.to_owned(),
        })
    };
    let elsewhere = |source: UrlError| {
        Attempt::Registry(RegistryError::Elsewhere {
            doing: call.doing.clone(),
            source,
        })
    };
    let location = response
        .header("location")
        .ok_or_else(|| unexpected("the redirect points nowhere"))?;
    let next = url.join(location).map_err(elsewhere)?;
    response.discard();
    if followed >= REDIRECTS_MAX {
        return Err(unexpected("the registry redirects without end"));
    }
    check_leap(&url.origin, &next.origin).map_err(unexpected)?;
    Ok((next, followed.saturating_add(1)))
}

/// Refuses to be led from TLS to plain text, or from a remote registry to this machine.
pub(super) fn check_leap(from: &Origin, to: &Origin) -> Result<(), &'static str> {
    if from.scheme == Scheme::Https && to.scheme == Scheme::Http {
        return Err("the registry points from https to http");
    }
    if to.is_forbidden_address() || to.is_loopback() && !from.is_loopback() {
        return Err("the registry points to an address that no registry has");
    }
    Ok(())
}

/// Is why one attempt gave no answer.
pub(super) enum Attempt {
    Http(HttpError),
    Registry(RegistryError),
}

impl From<HttpError> for Attempt {
    fn from(error: HttpError) -> Self {
        Self::Http(error)
    }
}

impl From<RegistryError> for Attempt {
    fn from(error: RegistryError) -> Self {
        Self::Registry(error)
    }
}
