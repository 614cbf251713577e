//! Why there is no answer, and whether it may come next time.

use std::io;

use super::TlsError;

/// Tells what kind of failure an error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// It may work next time.
    Transient,
    /// The server does not speak TLS.
    NotTls,
    /// The server speaks TLS, and plain HTTP was spoken.
    OnlyTls,
    /// It will not work next time either.
    Lasting,
}

/// Says why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The exchange failed.
    #[error("talking to {url}")]
    Exchange {
        /// The URL without its query.
        url: String,
        /// Why.
        source: Box<ureq::Error>,
    },
    /// The answer's body ended early or stalled.
    #[error("reading the answer of {url}")]
    Body {
        /// The URL without its query.
        url: String,
        /// Why.
        source: io::Error,
    },
    /// The answer's body is larger than its limit.
    #[error("the answer of {url} has more than {limit} bytes")]
    TooLarge {
        /// The URL without its query.
        url: String,
        /// The limit.
        limit: u64,
    },
    /// The TLS settings cannot be used.
    #[error("setting up TLS")]
    Tls(#[source] TlsError),
    /// The proxy of the environment cannot be used.
    #[error("the proxy for {origin} is not a usable URL")]
    Proxy {
        /// What it is for.
        origin: String,
    },
    /// The proxy of the environment speaks SOCKS.
    #[error(
        "the proxy for {origin} speaks SOCKS, which is not supported: name one that speaks HTTP"
    )]
    Socks {
        /// What it is for.
        origin: String,
    },
}

impl HttpError {
    /// Returns what kind of failure this is.
    #[must_use]
    pub fn failure(&self) -> Failure {
        match self {
            Self::Exchange { source, .. } => exchange_failure(source),
            Self::Body { .. } => Failure::Transient,
            Self::TooLarge { .. } | Self::Tls(_) | Self::Proxy { .. } | Self::Socks { .. } => {
                Failure::Lasting
            }
        }
    }

    /// Returns why the server's certificate is not accepted, where that is the failure.
    #[must_use]
    pub fn distrust(&self) -> Option<Distrust> {
        let Self::Exchange { source, .. } = self else {
            return None;
        };
        // The library has no public type for it below its error of I/O.
        let words = source.to_string();
        let (_, reason) = words.split_once("invalid peer certificate: ")?;
        let known = [
            ("CaUsedAsEndEntity", Distrust::AuthorityAsServer),
            ("UnknownIssuer", Distrust::UnknownIssuer),
            // An authority of that name is trusted, and it is another one.
            ("BadSignature", Distrust::UnknownIssuer),
            ("not valid for name", Distrust::OtherName),
            ("expired", Distrust::Expired),
            ("Expired", Distrust::Expired),
        ];
        known
            .into_iter()
            .find(|(word, _)| reason.contains(word))
            .map(|(_, distrust)| distrust)
    }

    /// Returns whether this machine has run out of memory or of open files: neither the line nor the server is to blame.
    #[must_use]
    pub fn is_out_of_resources(&self) -> bool {
        let cause = match self {
            Self::Exchange { source, .. } => match &**source {
                ureq::Error::Io(cause) => cause,
                _ => return false,
            },
            Self::Body { source, .. } => source,
            Self::TooLarge { .. } | Self::Tls(_) | Self::Proxy { .. } | Self::Socks { .. } => {
                return false;
            }
        };
        let numbers = [libc::ENOMEM, libc::ENOBUFS, libc::EMFILE, libc::ENFILE];
        cause
            .raw_os_error()
            .is_some_and(|number| numbers.contains(&number))
    }

    /// Returns whether the other side closed the connection instead of answering.
    #[must_use]
    pub fn is_hangup(&self) -> bool {
        let Self::Exchange { source, .. } = self else {
            return false;
        };
        let hangups = [
            io::ErrorKind::UnexpectedEof,
            io::ErrorKind::ConnectionReset,
            io::ErrorKind::BrokenPipe,
        ];
        matches!(&**source, ureq::Error::Io(cause) if hangups.contains(&cause.kind()))
    }
}

/// Says that what came in answer to plain HTTP is a TLS record.
#[derive(Debug, thiserror::Error)]
#[error("it answers in TLS")]
pub(super) struct OnlyTls;

/// Lists why a server's certificate is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Distrust {
    /// It is an authority's own, which may sign and not serve (basicConstraints CA:TRUE).
    AuthorityAsServer,
    /// No trusted authority signed it.
    UnknownIssuer,
    /// It is for another name.
    OtherName,
    /// Its time is over.
    Expired,
}

fn exchange_failure(error: &ureq::Error) -> Failure {
    let words = error.to_string();
    // What a server of plain HTTP answers to a TLS greeting is not a TLS record.
    if words.contains("corrupt message") {
        return Failure::NotTls;
    }
    match error {
        ureq::Error::Io(cause) if cause.get_ref().is_some_and(|inner| inner.is::<OnlyTls>()) => {
            Failure::OnlyTls
        }
        ureq::Error::Timeout(_)
        | ureq::Error::HostNotFound
        | ureq::Error::ConnectionFailed
        | ureq::Error::BodyStalled
        | ureq::Error::Protocol(_) => Failure::Transient,
        // Certificates and names that do not hold come as invalid data.
        ureq::Error::Io(cause) if cause.kind() == io::ErrorKind::InvalidData => Failure::Lasting,
        ureq::Error::Io(_) => Failure::Transient,
        _ => Failure::Lasting,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn io_failed(number: i32) -> HttpError {
        HttpError::Exchange {
            url: "http://r.example/v2/".to_owned(),
            source: Box::new(io::Error::from_raw_os_error(number).into()),
        }
    }

    #[test]
    fn a_lack_of_memory_is_worth_another_attempt_and_no_fault_of_the_line() {
        for number in [libc::ENOMEM, libc::ENOBUFS, libc::EMFILE, libc::ENFILE] {
            let error = io_failed(number);
            assert!(error.is_out_of_resources(), "{number}");
            assert_eq!(error.failure(), Failure::Transient, "{number}");
        }
        for number in [
            libc::ENOTCONN,
            libc::EPIPE,
            libc::ECONNRESET,
            libc::ECONNREFUSED,
        ] {
            assert!(!io_failed(number).is_out_of_resources(), "{number}");
        }
    }
}
