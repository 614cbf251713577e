//! A stamp of everything that verification and signing read from the configuration: cheap to take, and different once anything changed.

use std::collections::HashMap;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::ConfigDir;
use super::place::open_folder;
use super::policy::NAMES;
use crate::layout::Timestamp;
use crate::notary::StoreType;
use crate::oci::limits;

/// Changes whenever policy files, trust stores or the key list may have changed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SettingsStamp {
    /// Compared, never interpreted.
    pub values: Vec<u64>,
    /// Differs from that of every other stamp where an equal one would prove nothing: something changed so short a time before
    /// that a change just after it would have got the same time.
    pub unsettled: Option<u64>,
    /// The latest ctime among the inputs.
    pub newest: Timestamp,
}

/// Takes stamps again and again; remembers the names in folders that did not change since.
#[derive(Debug, Default)]
pub struct StampTaker {
    folders: Mutex<HashMap<PathBuf, Listed>>,
    /// How often something could not be read although it is there.
    doubts: AtomicU64,
}

/// Is what a folder held.
#[derive(Debug)]
struct Listed {
    state: [u64; 6],
    paths: Arc<[PathBuf]>,
}

/// Folders remembered at most; past this the memory starts over.
const FOLDERS_MAX: usize = 1024;

/// Returns the stamp of everything that verification and signing read from the configuration. Nothing is opened but folders.
#[must_use]
pub fn stamp(dir: &ConfigDir, policy_file: Option<&Path>) -> SettingsStamp {
    StampTaker::default().stamp(dir, policy_file)
}

impl StampTaker {
    /// Returns what [`stamp`] returns.
    #[must_use]
    pub fn stamp(&self, dir: &ConfigDir, policy_file: Option<&Path>) -> SettingsStamp {
        static UNSETTLED: AtomicU64 = AtomicU64::new(0);
        let now = Timestamp::now();
        let mut stamp = SettingsStamp::default();
        stamp.values.push(self.doubts.load(Ordering::Acquire));
        let lstat = |path: PathBuf| fs::symlink_metadata(path).ok();
        // Below a folder that is not there, or leads into the mount, nothing is asked for.
        let mut is_there = !dir.leads_into_mount(dir.path());
        stamp.values.push(u64::from(is_there));
        match policy_file {
            Some(path) if dir.leads_into_mount(path) => stamp.add(None),
            Some(path) => {
                stamp.add(fs::symlink_metadata(path).ok().as_ref());
                stamp.add(fs::metadata(path).ok().as_ref());
            }
            None => {
                for name in NAMES.iter().filter(|_| is_there) {
                    stamp.add(lstat(dir.policy(name)).as_ref());
                }
            }
        }
        stamp.add(is_there.then(|| lstat(dir.keys())).flatten().as_ref());
        for folder in dir.above_stores() {
            let state = stamp.followed(dir, &folder, is_there);
            stamp.add_mode(state.as_ref());
            is_there = state.is_some();
        }
        for kind in [StoreType::Ca, StoreType::SigningAuthority, StoreType::Tsa] {
            let folder = dir.stores(kind);
            let state = stamp.followed(dir, &folder, is_there);
            stamp.add(state.as_ref());
            for store in self.paths_in(&folder, state.as_ref()).iter() {
                let state = fs::symlink_metadata(store).ok();
                stamp.add(state.as_ref());
                let state = state.filter(|state| !dir.is_in_mount(state));
                for file in self.paths_in(store, state.as_ref()).iter() {
                    stamp.add(fs::symlink_metadata(file).ok().as_ref());
                }
            }
        }
        if !stamp.newest.is_settled(now) {
            stamp.unsettled = Some(UNSETTLED.fetch_add(1, Ordering::Relaxed));
        }
        stamp
    }

    /// Makes the next stamp differ: something could not be read, which may be over by then without a trace (no open files were left).
    pub fn doubt(&self) {
        self.doubts.fetch_add(1, Ordering::AcqRel);
    }

    /// Returns the paths in a folder that stat said this of, just now.
    ///
    /// They are remembered where a name that came or went after the folder was read would have changed its times.
    fn paths_in(&self, folder: &Path, state: Option<&Metadata>) -> Arc<[PathBuf]> {
        // Nothing behind a symlink is read from a store, and it may lead into the very mount that this is taken for: looking there
        // would wait for itself.
        let Some(metadata) = state.filter(|metadata| metadata.is_dir()) else {
            return Arc::default();
        };
        let state = folder_state(metadata);
        if let Some(listed) = self.lock().get(folder).filter(|had| had.state == state) {
            return Arc::clone(&listed.paths);
        }
        let now = Timestamp::now();
        let Some(paths) = paths_in(folder) else {
            // What is in it is not known, and so no later stamp may equal this one.
            self.doubt();
            return Arc::default();
        };
        let paths: Arc<[PathBuf]> = paths.into();
        if changed(metadata).is_settled(now) {
            let mut folders = self.lock();
            if folders.len() >= FOLDERS_MAX {
                folders.clear();
            }
            let paths = Arc::clone(&paths);
            folders.insert(folder.to_owned(), Listed { state, paths });
        }
        paths
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PathBuf, Listed>> {
        self.folders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns what differs once names came or went: which folder it is, and its times.
fn folder_state(metadata: &Metadata) -> [u64; 6] {
    [
        metadata.dev(),
        metadata.ino(),
        metadata.mtime().cast_unsigned(),
        metadata.mtime_nsec().cast_unsigned(),
        metadata.ctime().cast_unsigned(),
        metadata.ctime_nsec().cast_unsigned(),
    ]
}

fn changed(metadata: &Metadata) -> Timestamp {
    Timestamp {
        seconds: metadata.ctime(),
        nanoseconds: u32::try_from(metadata.ctime_nsec()).unwrap_or(0),
    }
}

impl SettingsStamp {
    /// Adds whose a folder is and who may write it, not when names in it came or went: it holds other things too.
    fn add_mode(&mut self, metadata: Option<&Metadata>) {
        let facts = metadata.map(|metadata| {
            let mode = u64::from(metadata.mode());
            [metadata.dev(), metadata.ino(), mode]
        });
        self.values.extend(facts.unwrap_or_default());
    }

    /// Returns what stat says of a folder; nothing where it leads into the mount that the configuration is read for, which is added.
    fn followed(&mut self, dir: &ConfigDir, path: &Path, is_there: bool) -> Option<Metadata> {
        if !is_there {
            return None;
        }
        let metadata = fs::symlink_metadata(path).ok()?;
        let is_led =
            dir.is_in_mount(&metadata) || metadata.is_symlink() && dir.leads_into_mount(path);
        self.values.push(u64::from(is_led));
        match metadata.is_symlink() {
            _ if is_led => None,
            true => fs::metadata(path).ok(),
            false => Some(metadata),
        }
    }

    /// Adds what stat said of one input; absence counts too.
    fn add(&mut self, metadata: Option<&Metadata>) {
        let Some(metadata) = metadata else {
            self.values.push(0);
            return;
        };
        let times = [
            metadata.mtime(),
            metadata.mtime_nsec(),
            metadata.ctime(),
            metadata.ctime_nsec(),
        ];
        self.values.extend([
            metadata.dev(),
            metadata.ino(),
            metadata.size(),
            u64::from(metadata.mode()),
            u64::from(metadata.uid()),
        ]);
        self.values.extend(times.map(i64::cast_unsigned));
        self.newest = self.newest.max(changed(metadata));
    }
}

/// Returns the paths in a folder, sorted; nothing where it cannot be read.
///
/// A folder with more than a store may hold cannot be used anyway, and neither can one that may not be read.
fn paths_in(folder: &Path) -> Option<Vec<PathBuf>> {
    let names = match open_folder(folder) {
        Ok(None) => None,
        Ok(Some(open)) => match open.names(limits::TRUST_STORE_FILES_MAX) {
            Ok(names) => names,
            Err(_) => return None,
        },
        Err(error) if error.may_pass() => return None,
        Err(_) => None,
    };
    let names = names.unwrap_or_default().into_iter();
    Some(names.map(|name| folder.join(name)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_remembered_until_the_folder_changes() {
        let place = tempfile::tempdir().unwrap();
        let stores = place.path().join("truststore/x509/ca");
        let (first, second) = (stores.join("one/a.pem"), stores.join("one/b.pem"));
        fs::create_dir_all(stores.join("one")).unwrap();
        fs::write(&first, "a").unwrap();
        let dir = ConfigDir::find(Some(place.path()), &|_| None);
        let taker = StampTaker::default();
        let remembered = |taker: &StampTaker| taker.lock().len();
        let settle = || std::thread::sleep(std::time::Duration::from_millis(150));
        let _ = taker.stamp(&dir, None);
        assert_eq!(
            remembered(&taker),
            0,
            "a folder that just changed is read again"
        );
        settle();
        let before = taker.stamp(&dir, None);
        assert_eq!(remembered(&taker), 2);
        assert_eq!(taker.stamp(&dir, None), before);
        // In place, which the folder does not tell.
        fs::write(&first, "aa").unwrap();
        settle();
        assert_eq!(taker.stamp(&dir, None), stamp(&dir, None));
        for change in [
            &|| fs::write(&second, "b").unwrap(),
            &|| fs::rename(&second, stores.join("one/c.pem")).unwrap(),
            &|| fs::create_dir(stores.join("two")).unwrap(),
            &|| fs::remove_file(&first).unwrap(),
        ] as [&dyn Fn(); 4]
        {
            let before = taker.stamp(&dir, None);
            change();
            let after = taker.stamp(&dir, None);
            assert_ne!(after.values, before.values);
            assert_eq!(after.values, stamp(&dir, None).values);
            settle();
            assert_eq!(taker.stamp(&dir, None), stamp(&dir, None));
        }
    }

    #[test]
    fn what_just_changed_is_no_proof_for_a_later_look() {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("trustpolicy.json"), "a").unwrap();
        let dir = ConfigDir::find(Some(place.path()), &|_| None);
        let (one, other) = (stamp(&dir, None), stamp(&dir, None));
        assert_eq!(one.values, other.values);
        assert_ne!(one, other, "a change may come that gives the same times");
        std::thread::sleep(std::time::Duration::from_millis(150));
        assert_eq!(stamp(&dir, None), stamp(&dir, None));
    }

    #[test]
    fn who_may_write_a_folder_above_the_stores_is_part_of_it() {
        use std::os::unix::fs::PermissionsExt;

        let place = tempfile::tempdir().unwrap();
        fs::create_dir_all(place.path().join("truststore/x509/ca")).unwrap();
        let dir = ConfigDir::find(Some(place.path()), &|_| None);
        for name in ["", "truststore", "truststore/x509", "truststore/x509/ca"] {
            let folder = place.path().join(name);
            let before = stamp(&dir, None).values;
            fs::set_permissions(&folder, PermissionsExt::from_mode(0o777)).unwrap();
            assert_ne!(stamp(&dir, None).values, before, "{name}");
        }
    }

    #[test]
    fn nothing_behind_a_symlink_in_place_of_a_store_is_looked_at() {
        let place = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let stores = place.path().join("truststore/x509/ca");
        fs::create_dir_all(&stores).unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), stores.join("one")).unwrap();
        let dir = ConfigDir::find(Some(place.path()), &|_| None);
        let before = stamp(&dir, None);
        fs::write(elsewhere.path().join("a.pem"), "a").unwrap();
        assert_eq!(stamp(&dir, None).values, before.values);
    }

    #[test]
    fn a_doubt_makes_one_stamp_differ() {
        let place = tempfile::tempdir().unwrap();
        let dir = ConfigDir::find(Some(place.path()), &|_| None);
        let taker = StampTaker::default();
        let before = taker.stamp(&dir, None);
        assert_eq!(taker.stamp(&dir, None), before);
        taker.doubt();
        let after = taker.stamp(&dir, None);
        assert_ne!(after, before);
        assert_eq!(taker.stamp(&dir, None), after);
    }
}
