//! Tests of the whole program: one binary, one module per subject.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    reason = "a test fails by panicking"
)]

mod backup;
mod cli;
mod fsck;
mod hostile;
mod interop;
mod life;
mod mount;
mod mutation;
mod no_wrong_verified;
mod notation;
mod overlay;
mod registry;
mod signing;
mod stress;
mod support;
mod sync;
mod tars;
mod tidy;
mod transcripts;
mod vectors;
