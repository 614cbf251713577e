//! The program: parses, runs, exits. Everything else is the library's.
#![cfg_attr(target_env = "gnu", no_main)]

signetfs::entry!(signetfs::cli::run);
