//! Pushing an image with everything that belongs to it, so that no signature is lost and nothing unsigned is ever visible.
//!
//! The order is the promise: blobs, manifests by digest (subjects before referrers, unless those go `ahead`), referrers made
//! discoverable and read back, tags last. A run that ends anywhere before its last step leaves nothing visible, and the next run goes on from there.
//! Not here: the verdict (`audit` makes the report, this takes it [`Admitted`](crate::report::Admitted)), and the protocol (`registry`).

mod ahead;
pub mod compare;
pub mod content;
pub mod discover;
pub mod error;
pub mod plan;
pub mod pool;
pub mod pull;
pub mod push;
pub mod tags;

pub use compare::{Comparison, compare};
pub use error::SyncError;
pub use plan::{Plan, PlanError, PlannedManifest, Root};
pub use pull::{Pull, Pulled, pull};
pub use push::{Outcome, Push, Tally, push};
