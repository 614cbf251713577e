//! The kernel's side: conversions, errno, mounting and its lifecycle. The only room that uses fuser.
//!
//! Not here: what any operation means (`fs`). fuser never mounts and never unmounts: it would unmount whatever is at the path.

mod adapter;
mod attach;
pub mod background;
mod convert;
mod errno;
pub mod mount;
pub mod mountinfo;
mod point;
