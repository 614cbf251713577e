//! A mount point as source: it stands for its layout, overlay, configuration, policy in force and scope.
//!
//! Bytes never go through the mount, unless the layout can be reached no other way: it is mounted over, or came from a pipe.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use crate::audit::{PolicyState, Trust};
use crate::cli::answer::Failure;
use crate::cli::layouts::Layout;
use crate::cli::trust;
use crate::fuse::mountinfo;
use crate::notary::Anchors;
use crate::report::{PolicyId, PolicyOrigin};
use crate::settings::ConfigDir;
use crate::sys::mount::extended_attribute;

/// Is what a mount point stands for.
#[derive(Debug)]
pub(in crate::cli) struct Mounted {
    /// The layout.
    pub(in crate::cli) path: PathBuf,
    /// The overlay, where the layout has one and is not read through the mount, which shows both.
    pub(in crate::cli) overlay: Option<PathBuf>,
    /// The scope of the mount, where it has one.
    pub(super) scope: Option<String>,
    config: Option<PathBuf>,
    policy: PathBuf,
}

/// Is the layout that a typed path stands for.
pub(in crate::cli) struct Behind {
    /// The layout, with its overlay.
    pub(in crate::cli) layout: Layout,
    /// Where it is: what was typed, or what the mount there shows.
    pub(in crate::cli) path: PathBuf,
    /// The mount, where one was typed.
    pub(in crate::cli) mounted: Option<Mounted>,
}

/// Opens the layout that a typed path stands for; an overlay that the user names goes before that of the mount.
///
/// # Errors
/// Says why it cannot be opened, and what to type instead.
pub(in crate::cli) fn open(typed: &str, overlay: Option<&Path>) -> Result<Behind, Failure> {
    let mounted = look(Path::new(typed))?;
    let path = match &mounted {
        Some(mounted) => mounted.path.clone(),
        None => PathBuf::from(typed),
    };
    let own = mounted
        .as_ref()
        .and_then(|mounted| mounted.overlay.as_deref());
    let layout = Layout::open_with(&path.to_string_lossy(), overlay.or(own))?;
    Ok(Behind {
        layout,
        path,
        mounted,
    })
}

/// Returns what a path stands for, where it is the root of a mount of ours; nothing else is believed.
///
/// # Errors
/// Says why the mount cannot be asked.
fn look(path: &Path) -> Result<Option<Mounted>, Failure> {
    let unreadable = |error: std::io::Error| {
        Failure::because(&error, "see what is mounted: findmnt -t fuse.signetfs")
    };
    let Ok(point) = path.canonicalize() else {
        return Ok(None);
    };
    let top = mountinfo::top_at(&point).map_err(unreadable)?;
    if !top.is_some_and(|mounted| mounted.is_ours()) {
        return Ok(None);
    }
    let fact = |name: &str| {
        let value = extended_attribute(&point, &format!("user.signetfs.{name}"));
        Ok::<_, Failure>(value.map_err(unreadable)?.map(OsString::from_vec))
    };
    let source = fact("source")?.map(PathBuf::from);
    let overlay = fact("overlay")?.map(PathBuf::from);
    let (path, overlay) = match source {
        Some(source) if source.is_absolute() && source != point && source.exists() => {
            (source, overlay)
        }
        _ => (point.clone(), None),
    };
    Ok(Some(Mounted {
        path,
        overlay,
        scope: fact("scope")?.and_then(|scope| scope.into_string().ok()),
        config: fact("config")?.map(PathBuf::from),
        policy: point.join("trustpolicy.json"),
    }))
}

impl Mounted {
    /// Returns what the mount trusts: the policy it shows, with the stores of its configuration.
    pub(super) fn trust(&self, config: &ConfigDir) -> Trust {
        let own = self.config.as_deref();
        let config = own.map_or_else(
            || config.clone(),
            |path| ConfigDir::find(Some(path), &|_| None),
        );
        if self.policy.symlink_metadata().is_ok() {
            let mut trust = trust::read(&config, Some(&self.policy));
            trust.id.origin = PolicyOrigin::Mount;
            return trust;
        }
        Trust {
            policy: PolicyState::None,
            id: PolicyId {
                origin: PolicyOrigin::None,
                path: None,
                sha256: None,
                shadowed: false,
            },
            anchors: Anchors::default(),
        }
    }
}
