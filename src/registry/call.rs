//! One call to a registry, before it becomes one or more requests.

use crate::http::{Content, Method, Url};

/// Tells where a call goes.
pub enum Place<'a> {
    /// Below `/v2/REPOSITORY/`.
    Path(String),
    /// `/v2/`, which answers whether one is let in.
    Base,
    /// Where an earlier answer pointed.
    Url(&'a Url),
}

/// Is what a call carries.
pub enum Payload<'a> {
    /// Nothing, not even a length.
    None,
    /// Bytes.
    Bytes(&'a [u8]),
    /// A stream that can be opened again.
    Stream(&'a dyn Reopen),
}

/// Opens the same bytes again for each attempt.
pub trait Reopen {
    /// Returns how many bytes there are.
    fn size(&self) -> u64;
    /// Returns them from the start.
    fn open(&self) -> Box<dyn Content + '_>;
}

/// Tells whether a call is sent again when it fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// As often as patience allows.
    Yes,
    /// The caller decides: only a renewed token is tried.
    No,
}

/// Is one call.
pub struct Call<'a> {
    /// The method.
    pub method: Method,
    /// Where it goes.
    pub place: Place<'a>,
    /// Its headers.
    pub headers: Vec<(&'static str, String)>,
    /// What it carries.
    pub payload: Payload<'a>,
    /// Whether it is sent again.
    pub repeat: Repeat,
    /// What it is for, in messages.
    pub doing: String,
}
