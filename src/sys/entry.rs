//! Where the program begins: `main` as the C library calls it.
//!
//! Of what Rust's own runtime does before `main`, this does what matters: the standard descriptors are open, and SIGPIPE is ignored.
//! It does not read /proc/self/maps to find the end of the stack, which is a tenth of the time of a short command: a stack that
//! overflows ends the process by SIGSEGV, without words.

use super::standard;

/// Prepares the process. Called once, before anything else.
pub fn prepare() {
    standard::fill();
    // SAFETY: ignoring a signal installs no handler. Writing to a closed pipe is an error then, and children get the default back.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
}

/// Makes a function the program, in a crate with `#![cfg_attr(target_env = "gnu", no_main)]`: it takes the command line and returns the
/// exit code. Other C libraries do not hand the command line to the standard library, so that its runtime has to.
#[macro_export]
macro_rules! entry {
    ($run:path) => {
        /// Is called by the C library.
        // SAFETY: no other function of the program has this name.
        #[cfg(target_env = "gnu")]
        #[unsafe(no_mangle)]
        pub extern "C" fn main() -> ::core::ffi::c_int {
            $crate::sys::entry::prepare();
            // Writes what stdout still holds.
            ::std::process::exit($run(::std::env::args_os().collect()).into())
        }

        #[cfg(not(target_env = "gnu"))]
        fn main() -> ::std::process::ExitCode {
            $crate::sys::entry::prepare();
            $run(::std::env::args_os().collect()).into()
        }
    };
}
