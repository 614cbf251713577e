//! Transport: one blocking HTTP/1.1 client with TLS, proxies, time limits and bounded bodies, and the retry rules.
//!
//! Not here: credentials, redirects and anything a registry means by an answer (`registry`).

pub mod certificate_folders;
pub mod client;
pub mod date;
pub mod error;
mod forward;
mod handed;
mod pace;
mod plain;
pub mod proxy;
pub mod retry;
pub mod tls;
pub mod url;

pub use client::{Body, Client, ClientOptions, Method, Request, Response};
pub use error::{Distrust, Failure, HttpError};
pub use handed::{Content, FileRange};
pub use retry::{Patience, Wait};
pub use tls::{Authorities, TlsError, TlsFiles, TlsOptions};
pub use url::{Origin, Scheme, Url, UrlError};
