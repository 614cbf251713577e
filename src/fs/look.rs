//! Looking at the files of closures again: whether what was judged still is what is stored.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::Fs;
use super::snapshot::{Basis, Judged, Look as OneLook, Looked, Snapshot};
use super::workers::lock;
use crate::audit::cores::on_all_cores_with;
use crate::audit::{Content, Seen};
use crate::layout::{Blob, Identity, Look};
use crate::oci::rank::{Ranked, find_digest, rank, sort_by_digest};
use crate::oci::{Descriptor, Digest, NoProgress};
use crate::report::{ImageReport, Report};

/// From this many files on, they are looked at once in [`INTERVAL`] only.
const FILES_EACH_TIME: usize = 1000;
/// How long a look at many files stands.
const INTERVAL: Duration = Duration::from_secs(1);

/// The check of problems with what could not be read.
const UNREAD: &str = "read";

/// Tells how long a judgement stands, by a look at the files just after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    /// While the files are unchanged.
    Stands,
    /// What is there could not be read when it was judged, and nothing will tell that it can be again: for one look.
    Unread,
    /// A file was written a moment ago: for one look.
    OneLook,
    /// What was counted as good has no hash that stands: somebody may be writing it, or it just changed.
    Unknown,
    /// A file is no longer what was judged.
    Changed,
}

impl Judged {
    /// Returns how far a judgement is done, or nothing where it has to be made again.
    ///
    /// By known hashes every good blob was known a moment ago, so one that is not any more has changed. After hashing,
    /// it has a writer, and the result is good for one look. Judging began at `begun`.
    pub(super) fn by(standing: Standing, content: Content, begun: Instant) -> Option<Self> {
        match (standing, content) {
            (Standing::Stands, _) => Some(Self::Complete),
            (Standing::Unread, _) => Some(Self::OneLook(OneLook::at_any_time(begun))),
            (Standing::OneLook, _) | (Standing::Unknown, Content::Full) => {
                Some(Self::OneLook(OneLook::since(begun)))
            }
            (Standing::Unknown | Standing::Changed, _) => None,
        }
    }
}

/// Looks at the files of all closures just after judging them, when `seen` was seen of them.
pub(super) fn closures(
    fs: &Fs,
    basis: &Basis,
    report: &Report,
    seen: &Seen,
) -> (Vec<Looked>, Standing) {
    let problems = report.images.iter().flat_map(|image| &image.problems);
    let problems = problems.chain(&report.problems);
    let bad: BTreeSet<&Digest> = problems
        .clone()
        .filter_map(|problem| problem.digest.as_ref())
        .collect();
    let unread: BTreeSet<Option<&Digest>> = problems
        .filter(|problem| problem.check == UNREAD)
        .map(|problem| problem.digest.as_ref())
        .collect();
    let parts = parts(report);
    // What is not looked at again below can tell nothing later.
    let is_looked_at =
        |digest: &Digest| find_digest(&parts, digest, |(part, _)| &part.digest).is_some();
    let is_covered = unread.iter().all(|digest| digest.is_some_and(is_looked_at));
    let mut standing = match seen.unread || !is_covered {
        true => Standing::Unread,
        false => Standing::Stands,
    };
    let found = on_all_cores_with(
        &parts,
        Look::default,
        &|look, (_, (descriptor, is_whole))| {
            let is_bad = bad.contains(&descriptor.digest);
            let is_document = basis.survey.graph.document(&descriptor.digest).is_some();
            let wanted = Wanted {
                descriptor,
                is_good: *is_whole && !is_bad,
                is_hashed: is_document && !is_bad,
                is_unread: unread.contains(&Some(&descriptor.digest)),
                state: match is_document {
                    true => None,
                    false => seen.state(descriptor),
                },
            };
            fs.look_after_judging(look, &wanted)
        },
    );
    drop(parts);
    let looked = found.into_iter().map(|(file, found)| {
        standing = standing.max(found);
        file
    });
    // They stand where the results stood.
    let mut looked: Vec<Looked> = looked.collect();
    let images = report.images.iter().chain(&report.children);
    let signatures: Vec<Wanted<'_>> = images.flat_map(signatures).collect();
    let found = on_all_cores_with(&signatures, Look::default, &|look, wanted| {
        fs.look_after_judging(look, wanted)
    });
    looked.reserve_exact(found.len());
    for (file, found) in found {
        standing = standing.max(found);
        looked.push(file);
    }
    looked.shrink_to_fit();
    (looked, standing)
}

/// Returns the parts of all closures, sorted, each digest once: as the first image describes it, and whether any image is whole
/// that has it.
fn parts(report: &Report) -> Vec<Ranked<(&Descriptor, bool)>> {
    let mut parts = Vec::new();
    for image in &report.images {
        let total = image.closure.len();
        let is_whole = image.content_good == total && image.content_total == total;
        let own = image.closure.parts();
        parts.extend(own.map(|part| (rank(&part.digest), (part, is_whole))));
    }
    sort_by_digest(&mut parts, |(part, _)| &part.digest);
    parts.dedup_by(|(later_rank, (later, is_whole)), (rank, (first, whole))| {
        // Two ranks tell without fetching what they are of.
        let is_same = later_rank == rank && later.digest == first.digest;
        *whole |= is_same && *is_whole;
        is_same
    });
    parts
}

/// Returns the files of an image's signatures: small, so all that was judged is hashed as it is stored now.
fn signatures(image: &ImageReport) -> impl Iterator<Item = Wanted<'_>> {
    image.signatures.iter().flat_map(|signature| {
        let is_sound = signature.intact.is_some();
        let files = std::iter::once(&signature.manifest).chain(&signature.envelope);
        files.map(move |descriptor| Wanted {
            descriptor,
            is_good: false,
            is_hashed: is_sound,
            is_unread: false,
            state: None,
        })
    })
}

/// Is a file of a closure, or of a signature of it, and what judging said of it.
struct Wanted<'a> {
    descriptor: &'a Descriptor,
    is_good: bool,
    is_hashed: bool,
    /// Whether it could not be read when it was judged.
    is_unread: bool,
    /// The state of the file, where the blob was known in it, under a lease, while it was judged.
    state: Option<&'a Identity>,
}

impl Fs {
    /// Hashes a manifest or envelope as it is stored now, so that a later look can tell whether it still is what was read.
    fn hash_again(
        &self,
        look: &mut Look,
        descriptor: &Descriptor,
        blob: Option<Blob>,
    ) -> (Looked, Standing) {
        let Some(blob) = blob else {
            return (looked(descriptor, None, false), Standing::Changed);
        };
        // Its size is compared by its digest; two descriptors may give different ones.
        let stored = Descriptor::new("", descriptor.digest.clone(), blob.size());
        let verified = self.hashes.verify_by(look, &stored, &blob, &NoProgress);
        let standing = match verified {
            Ok(verified) if verified.stands() => Standing::Stands,
            Ok(_) => Standing::OneLook,
            Err(_) => Standing::Changed,
        };
        // A result that stands is what another look would find.
        let known = standing == Standing::Stands && blob.size() == descriptor.size;
        (looked(descriptor, blob.identity(), known), standing)
    }

    fn look_after_judging(&self, look: &mut Look, wanted: &Wanted<'_>) -> (Looked, Standing) {
        if let Some(seen) = self.still_known(wanted) {
            return (seen, Standing::Stands);
        }
        let blob = self.stored(wanted.descriptor);
        let (seen, hashed) = match wanted.is_hashed {
            true => self.hash_again(look, wanted.descriptor, blob),
            false => (
                self.look_at(look, wanted.descriptor, blob),
                Standing::Stands,
            ),
        };
        let found = match (seen.identity, seen.known) {
            (None, false) if wanted.is_good => Standing::Changed,
            (Some(_), false) if wanted.is_good => Standing::Unknown,
            // While it cannot be opened, that it can be again is a change.
            (Some(_), _) if wanted.is_unread => Standing::Unread,
            _ => Standing::Stands,
        };
        (seen, hashed.max(found))
    }

    /// Returns what a look at a file's name shows, where that says as much as opening it: it is the file that the blob was known in,
    /// in the state that was seen under the lease.
    ///
    /// Nobody could write when that was seen, its times had settled when it was hashed, and every change since gives it other times.
    fn still_known(&self, wanted: &Wanted<'_>) -> Option<Looked> {
        let state = wanted.state?;
        let now = self.source.state(&wanted.descriptor.digest)?;
        let stands = now == *state && !self.hashes.is_distrusted(state);
        stands.then(|| looked(wanted.descriptor, Some(now), true))
    }

    /// Returns what is stored under a digest now.
    fn stored(&self, descriptor: &Descriptor) -> Option<Blob> {
        self.source.blob(&descriptor.digest).unwrap_or_default()
    }

    fn look_at(&self, look: &mut Look, descriptor: &Descriptor, blob: Option<Blob>) -> Looked {
        let known = blob
            .as_ref()
            .is_some_and(|blob| self.hashes.known_as(look, descriptor, blob).is_some());
        looked(descriptor, blob.as_ref().and_then(Blob::identity), known)
    }

    /// Returns whether every file of the closures is as it was when the snapshot was judged.
    pub(super) fn content_stands(&self, snapshot: &Snapshot) -> bool {
        if snapshot.is_pending() {
            return true;
        }
        if !snapshot.take_look() {
            return false;
        }
        if snapshot.looked.len() > FILES_EACH_TIME && !self.look_is_due() {
            return true;
        }
        let stands = |look: &mut Look, before: &Looked| {
            let now = self.look_at(look, &before.descriptor, self.stored(&before.descriptor));
            now.identity == before.identity && (now.known || !before.known)
        };
        match snapshot.looked.len() {
            ..FILES_EACH_TIME => {
                let mut look = Look::default();
                snapshot
                    .looked
                    .iter()
                    .all(|before| stands(&mut look, before))
            }
            _ => !on_all_cores_with(&snapshot.looked, Look::default, &stands).contains(&false),
        }
    }

    fn look_is_due(&self) -> bool {
        let mut last = lock(&self.last_look);
        let due = last.is_none_or(|last| last.elapsed() >= INTERVAL);
        if due {
            *last = Some(Instant::now());
        }
        due
    }
}

fn looked(descriptor: &Descriptor, identity: Option<Identity>, known: bool) -> Looked {
    Looked {
        descriptor: descriptor.clone(),
        identity,
        known,
    }
}
