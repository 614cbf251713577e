//! One state of a mount: everything that is shown together, unchanging, with what it was made of.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::audit::{Survey, Trust};
use crate::layout::{Identity, Stamp};
use crate::oci::{Descriptor, Digest, UnixTime};
use crate::report::{Report, Verdict};
use crate::settings::SettingsStamp;
use crate::tree::{PolicyText, Tree};

/// Is what a look sees before anything is read: where it equals a snapshot's, the snapshot stands.
#[derive(Debug, Clone)]
pub struct Observed {
    /// The layout's stamp (empty where it cannot be read).
    pub layout: Stamp,
    /// The configuration's stamp.
    pub settings: SettingsStamp,
    /// Counts policies and requests accepted or refused in this mount.
    pub revision: u64,
    /// The present time.
    pub now: UnixTime,
}

/// Is what a snapshot was judged from.
#[derive(Clone)]
pub struct Basis {
    /// What was seen just before reading.
    pub observed: Observed,
    /// The layout as read.
    pub survey: Arc<Survey>,
    /// The policy and stores.
    pub trust: Arc<Trust>,
    /// The policy's text.
    pub policy: Option<PolicyText>,
    /// How often the mount's own policy had changed when they were read.
    pub policies: u64,
    /// The reason of the last refusal.
    pub refused: Option<String>,
    /// Whether a later equal stamp proves the same state.
    pub settled: bool,
    /// When an index that does not parse stops being a writer in progress.
    pub recheck_at: Option<Instant>,
}

/// Tells how far the judging of content is.
#[derive(Debug)]
pub enum Judged {
    /// Blobs are still to be hashed.
    Pending,
    /// All content was judged, and the results stand while files are unchanged.
    Complete,
    /// All content was judged, but a result serves one look only, soon after.
    OneLook(Look),
}

/// Is the one look that a result is good for.
///
/// Who holds a file mapped changes it without changing a time, so what was found of it is old soon.
#[derive(Debug)]
pub struct Look {
    begun: Instant,
    /// Whether it can be taken late.
    keeps: bool,
    taken: AtomicBool,
}

impl Look {
    /// How long it may be taken after judging began.
    const AGE: Duration = Duration::from_secs(1);

    /// Returns the look at what has been judged from `begun` on.
    #[must_use]
    pub fn since(begun: Instant) -> Self {
        Self {
            begun,
            keeps: false,
            taken: AtomicBool::new(false),
        }
    }

    /// Returns a look that does not grow old: at what was refused because it could not be read, which is safe to go on refusing.
    #[must_use]
    pub fn at_any_time(begun: Instant) -> Self {
        Self {
            keeps: true,
            ..Self::since(begun)
        }
    }

    /// Returns whether it can still be taken.
    fn is_open(&self) -> bool {
        self.begun.elapsed() < Self::AGE && !self.taken.load(Ordering::Acquire)
    }

    /// Takes it; `false` once it was taken, and once it is too late.
    fn take(&self) -> bool {
        (self.keeps || self.begun.elapsed() < Self::AGE) && !self.taken.swap(true, Ordering::AcqRel)
    }
}

/// Is how one file of a closure looked when it was judged.
#[derive(Debug, Clone)]
pub struct Looked {
    /// The blob.
    pub descriptor: Descriptor,
    /// The state of its file; `None` where there is none.
    pub identity: Option<Identity>,
    /// Whether a hash of it stands.
    pub known: bool,
}

/// Is one state of a mount.
pub struct Snapshot {
    /// Counts snapshots.
    pub generation: u64,
    /// What it was judged from.
    pub basis: Basis,
    /// What was found.
    pub report: Arc<Report>,
    /// How far the judging is.
    pub judged: Judged,
    /// The files of all closures as they looked (empty while pending).
    pub looked: Arc<Vec<Looked>>,
    /// What is shown.
    pub tree: Tree,
    /// Where the closures describe each blob: image and position. Made when first asked for.
    pub described: OnceLock<HashMap<Digest, (usize, usize)>>,
}

impl Snapshot {
    /// Returns whether nothing that was seen differs from what this was made of.
    #[must_use]
    pub fn stands(&self, observed: &Observed) -> bool {
        let basis = &self.basis;
        (basis.settled || self.outlives_doubt())
            && basis.recheck_at.is_none_or(|at| Instant::now() < at)
            && basis.observed.layout == observed.layout
            && basis.observed.settings == observed.settings
            && basis.observed.revision == observed.revision
            && self.is_timely(observed.now)
    }

    /// Returns whether this is shown although the layout may have changed without a trace: what is pending claims nothing, and what
    /// serves one look is as good as its judging. Where somebody holds the layout open for writing, no judging would ever end else.
    fn outlives_doubt(&self) -> bool {
        match &self.judged {
            Judged::Pending => true,
            Judged::Complete => false,
            Judged::OneLook(look) => look.is_open(),
        }
    }

    /// Returns whether this is a verdict for one look, from judging that began at `moment` or later.
    #[must_use]
    pub fn is_judged_since(&self, moment: Instant) -> bool {
        matches!(&self.judged, Judged::OneLook(look) if look.begun >= moment)
            && !self.is_undecided()
    }

    /// Returns whether time alone leaves the report as it is.
    #[must_use]
    pub fn is_timely(&self, now: UnixTime) -> bool {
        now >= self.basis.observed.now && self.report.valid_until.is_none_or(|until| now < until)
    }

    /// Returns whether blobs are still to be hashed.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        matches!(self.judged, Judged::Pending)
    }

    /// Returns whether the verdict is still to come: by hashing, or by an index that is being written.
    #[must_use]
    pub fn is_undecided(&self) -> bool {
        self.is_pending() || self.report.verdict() == Verdict::Pending
    }

    /// Takes the look that a result serving one look is good for; `false` once it was taken, and once it is too late.
    #[must_use]
    pub fn take_look(&self) -> bool {
        match &self.judged {
            Judged::Pending | Judged::Complete => true,
            Judged::OneLook(look) => look.take(),
        }
    }

    /// Returns how an image's closure describes a blob: the first image's that has it.
    #[must_use]
    pub fn descriptor(&self, digest: &Digest) -> Option<&Descriptor> {
        let images = &self.report.images;
        let described = self.described.get_or_init(|| {
            let mut table = HashMap::new();
            for (image, report) in images.iter().enumerate() {
                for (position, descriptor) in report.closure.parts().enumerate() {
                    let place = (image, position);
                    table.entry(descriptor.digest.clone()).or_insert(place);
                }
            }
            table
        });
        let (image, position) = described.get(digest)?;
        images.get(*image)?.closure.parts().nth(*position)
    }

    /// Returns whether this snapshot counts the blob as good.
    #[must_use]
    pub fn counts_as_good(&self, digest: &Digest) -> bool {
        self.looked
            .iter()
            .any(|looked| looked.known && looked.descriptor.digest == *digest)
    }
}

/// Returns whether a report made of remembered hashes waits for hashing.
#[must_use]
pub fn waits_for_hashing(report: &Report) -> bool {
    let pending = |verdict: Verdict| verdict == Verdict::Pending;
    report.images.iter().any(|image| {
        pending(image.verdict)
            || image
                .problems
                .iter()
                .any(|problem| pending(problem.verdict))
    }) || report
        .problems
        .iter()
        .any(|problem| pending(problem.verdict))
}
