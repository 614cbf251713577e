//! `signetfs mount` and `umount`: options to the parts of a mount. What happens below is `fuse`'s.

mod inputs;
pub mod options;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;

use super::answer::{Answer, Failure, Form};
use super::exit::Exit;
use super::flags::{Global, cache_folder};
use super::layouts;
use super::list::max_signatures;
use super::progress::Bar;
use super::stdin;
use crate::fs::{Links, Options, Parts, PolicyFile, Reads, SignFile};
use crate::fuse::background::{Entered, Waited, enter};
use crate::fuse::mount::{Access, Busy, MountError, Mounting, Readiness, run as serve, unmount};
use crate::layout::{Hashes, Memory};
use crate::settings::{LastChain, StampTaker};
use crate::sys::process::Bond;

/// Flags of `mount`.
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    /// The layout: a folder, a tar, a compressed tar (.gz, .zst), or - for one on standard input
    source: String,
    /// The mount point: an empty folder, or the layout folder itself
    mount_point: PathBuf,
    /// Registry scope that the trust policy is chosen by (default: local/NAME after the path)
    #[arg(long)]
    scope: Option<String>,
    /// Folder for new signatures of a layout that is not written to (default for a tar: TAR.signetfs beside it)
    #[arg(long, value_name = "DIR")]
    overlay: Option<PathBuf>,
    /// Trust policy that the mount follows; the one in the mount is then read-only
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// No `sign`, and the policy cannot be written
    #[arg(long)]
    read_only: bool,
    /// No `sign`
    #[arg(long)]
    no_sign: bool,
    /// No `images/`
    #[arg(long)]
    no_links: bool,
    /// Another uid that may sign and write the policy; may be repeated
    #[arg(long, value_name = "UID")]
    sign_uid: Vec<u32>,
    /// How blobs are read
    #[arg(
        long,
        value_name = "auto|checked",
        default_value = "auto",
        hide_default_value = true
    )]
    reads: String,
    /// Signatures of one image that are judged
    #[arg(
        long,
        value_name = "N",
        default_value_t = 100,
        allow_hyphen_values = true
    )]
    max_signatures: i64,
    /// Let other users look, by the modes of the files
    #[arg(long, conflicts_with = "allow_root")]
    allow_other: bool,
    /// Let root look too
    #[arg(long)]
    allow_root: bool,
    /// Write counters here when the mount ends, and on SIGUSR1
    #[arg(long, value_name = "FILE")]
    stats: Option<PathBuf>,
    /// Return before the first verdict is complete
    #[arg(long, conflicts_with = "require_verified")]
    no_wait: bool,
    /// Do not stay mounted unless the first verdict is `verified`
    #[arg(long)]
    require_verified: bool,
    /// Serve in this process
    #[arg(short, long)]
    foreground: bool,
    /// Ignore remembered hashes, and remember none
    #[arg(long)]
    no_memory: bool,
}

/// Flags of `umount`.
#[derive(Debug, Clone, clap::Args)]
pub struct UmountArguments {
    /// The mount point
    mount_point: PathBuf,
    /// Detach a mount that is in use; it ends when its last user leaves
    #[arg(short, long)]
    lazy: bool,
}

/// Runs `mount`.
///
/// # Errors
/// Says why nothing is mounted.
pub fn run(arguments: &Arguments, global: &Global) -> Result<Answer, Failure> {
    let checked = checked(arguments)?;
    let ready = match enter(arguments.foreground).map_err(|error| failure(&error))? {
        Entered::Waited(waited) => {
            let mut answer = waited_answer(arguments, waited, global.form());
            answer.warnings.extend(sudo_warning(arguments, waited));
            return Ok(answer);
        }
        Entered::Serving(ready) => ready,
    };
    crate::sys::process::tune_allocator();
    ready.bind(Bond::Ends).map_err(|error| failure(&error))?;
    let parts = parts(arguments, checked, global)?;
    ready.bind(Bond::GoesOn).map_err(|error| failure(&error))?;
    let mounting = Mounting {
        mount_point: arguments.mount_point.clone(),
        access: match (arguments.allow_other, arguments.allow_root) {
            (true, _) => Access::Everybody,
            (_, true) => Access::Root,
            _ => Access::Owner,
        },
        stats: arguments.stats.as_deref().map(absolute),
        readiness: match (arguments.no_wait, arguments.require_verified) {
            (true, _) => Readiness::Mounted,
            (_, true) => Readiness::Verified,
            _ => Readiness::Judged,
        },
        parts,
        progress: Arc::new(Bar::new()),
    };
    serve(mounting, ready).map_err(|error| failure(&error))?;
    Ok(Answer::default())
}

/// Runs `umount`.
///
/// # Errors
/// Says why it is still mounted.
pub fn run_umount(arguments: &UmountArguments, global: &Global) -> Result<Answer, Failure> {
    let busy = match arguments.lazy {
        true => Busy::Detach,
        false => Busy::Refuse,
    };
    unmount(&arguments.mount_point, busy).map_err(|error| failure(&error))?;
    Ok(match global.form() {
        Form::Text => Answer::default(),
        Form::Json => Answer::json(&json!({
            "schema": "signetfs.umount/1",
            "mountPoint": arguments.mount_point.display().to_string(),
        })),
    })
}

/// Holds what can be refused before anything starts.
struct Checked {
    reads: Reads,
    max_signatures: usize,
}

fn checked(arguments: &Arguments) -> Result<Checked, Failure> {
    let reads = match arguments.reads.as_str() {
        "auto" => Reads::Auto,
        "checked" => Reads::Checked,
        other => {
            return Err(Failure::usage(
                format!("--reads {other:?} is unknown"),
                "use --reads auto or --reads checked",
            ));
        }
    };
    let scope = arguments.scope.as_deref();
    stdin::require_scope(&arguments.source, scope)?;
    layouts::scope(&arguments.source, scope)?;
    Ok(Checked {
        reads,
        max_signatures: max_signatures(arguments.max_signatures)?,
    })
}

fn parts(arguments: &Arguments, checked: Checked, global: &Global) -> Result<Parts, Failure> {
    let config = global.config();
    let (scope, scope_origin) = layouts::scope(&arguments.source, arguments.scope.as_deref())?;
    // Before anything is mounted over it.
    let layout = layouts::Layout::open_with(&arguments.source, arguments.overlay.as_deref())?;
    let overlay = layout.overlay().map(absolute);
    let memory = match (arguments.no_memory, cache_folder()) {
        (false, Some(folder)) => Memory::Folder(folder),
        _ => Memory::None,
    };
    let pinned = arguments.policy.as_deref().map(absolute);
    let options = Options {
        layout_path: stdin::layout_path(&arguments.source),
        overlay_path: overlay.clone(),
        own_paths: [
            overlay,
            Some(config.path().to_owned()),
            pinned.clone(),
            cache_folder(),
            arguments.stats.as_deref().map(absolute),
        ]
        .into_iter()
        .flatten()
        .collect(),
        config_path: absolute(config.path()),
        scope,
        scope_origin,
        uid: crate::sys::process::effective_uid(),
        gid: crate::sys::process::effective_gid(),
        sign_uids: arguments.sign_uid.clone(),
        sign: match arguments.no_sign || arguments.read_only {
            true => SignFile::Absent,
            false => SignFile::Present,
        },
        links: match arguments.no_links {
            true => Links::Absent,
            false => Links::Present,
        },
        policy: match (&pinned, arguments.read_only) {
            (Some(path), _) => PolicyFile::Pinned(path.clone()),
            (None, true) => PolicyFile::ReadOnly,
            (None, false) => PolicyFile::Writable,
        },
        reads: checked.reads,
        max_signatures: checked.max_signatures,
    };
    Ok(Parts {
        layout: layout.into_mountable(),
        hashes: Arc::new(Hashes::new(memory)),
        inputs: Arc::new(inputs::Configured {
            config,
            pinned,
            layout: options.layout_path.clone(),
            chain: LastChain::default(),
            stamps: StampTaker::default(),
        }),
        options,
    })
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Returns what a user should know who mounted with sudo: the mount is root's.
fn sudo_warning(arguments: &Arguments, waited: Waited) -> Option<String> {
    let is_shared = arguments.allow_other || crate::sys::process::effective_uid() != 0;
    if is_shared || !matches!(waited, Waited::Mounted { .. }) {
        return None;
    }
    let user = std::env::var("SUDO_UID").ok()?;
    let user: u32 = user.parse().ok().filter(|uid| *uid != 0)?;
    Some(format!(
        "signetfs: hint: mounted by sudo: only root can look; mount without sudo, or with --allow-other --sign-uid {user}"
    ))
}

fn waited_answer(arguments: &Arguments, waited: Waited, form: Form) -> Answer {
    match (waited, form) {
        (Waited::Failed { status }, _) => Answer {
            failure: Some(Failure::silent(Exit::Same(status))),
            ..Answer::default()
        },
        (Waited::Mounted { .. }, Form::Text) => Answer::default(),
        (Waited::Mounted { verdict }, Form::Json) => Answer::json(&json!({
            "schema": "signetfs.mount/1",
            "mountPoint": arguments.mount_point.display().to_string(),
            "verdict": verdict.map(crate::report::Verdict::token),
        })),
    }
}

fn failure(error: &MountError) -> Failure {
    let hint = error
        .hint()
        .unwrap_or_else(|| "see what is mounted: findmnt -t fuse.signetfs".to_owned());
    let mut failure = Failure::because(error, hint);
    if let MountError::NotVerified { verdict } = error {
        failure.exit = Exit::Verdict(*verdict);
    }
    failure
}
