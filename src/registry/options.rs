//! How a registry is spoken to: what a caller decides before the first request.

use super::credentials::Finder;
use crate::http::{ClientOptions, Patience};

/// Tells which scheme the registry is spoken to with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchemeChoice {
    /// TLS; on this machine also plain HTTP where the server does not speak TLS.
    Auto,
    /// Plain HTTP (`--plain-http`).
    Plain,
}

/// Holds the settings for a registry.
pub struct Options {
    /// The scheme.
    pub scheme: SchemeChoice,
    /// Connections and TLS.
    pub client: ClientOptions,
    /// How often and how long is waited.
    pub patience: Patience,
    /// Where credentials are.
    pub finder: Finder,
    /// Whether pushing is asked for.
    pub access: Access,
    /// Other repositories that blobs may be mounted from.
    pub mount_from: Vec<String>,
    /// A token server that is trusted whatever its name.
    pub trusted_realm_host: Option<String>,
    /// Told about waits and warnings of the registry.
    pub notify: Box<dyn Fn(&str) + Send + Sync>,
}

/// Tells what is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reading.
    Pull,
    /// Reading and writing.
    Push,
}

/// Counts what was sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests, retries included.
    pub requests: u64,
    /// Attempts after the first of a call.
    pub retries: u64,
    /// Bytes of blobs that connections were given, those sent again included.
    pub bytes_sent: u64,
}
