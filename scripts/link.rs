//! Links the unwinder in, where the C compiler has it as an archive: one library less for the loader to map at every start.
#![allow(clippy::print_stdout, reason = "how a build script answers")]

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=scripts/link.rs");
    let gnu = ["CARGO_CFG_TARGET_ENV", "TARGET", "HOST"]
        .map(|name| std::env::var(name).unwrap_or_default());
    let [environment, target, host] = gnu;
    if environment != "gnu" || target != host {
        return;
    }
    let Ok(found) = Command::new("cc")
        .arg("-print-file-name=libgcc_eh.a")
        .output()
    else {
        return;
    };
    let path = String::from_utf8_lossy(&found.stdout);
    // Without the archive the answer is the bare name.
    if let Some(folder) = Path::new(path.trim())
        .parent()
        .filter(|folder| folder.is_absolute())
    {
        println!("cargo:rustc-link-search=native={}", folder.display());
        println!("cargo:rustc-link-lib=static:-bundle=gcc_eh");
    }
}
