//! Freshness is pulled: a look compares stamps and clock with the snapshot, and what differs is read and judged first.
//!
//! Not here: hashing (`judge`); nothing in this file reads the content of a blob that is not a manifest.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::inputs::{Links, PolicyFile, SignFile};
use super::snapshot::{Basis, Judged, Looked, Observed, Snapshot, waits_for_hashing};
use super::workers::lock;
use super::{Fs, look};
use crate::audit::cores::both;
use crate::audit::{self, Asked, Content, Seen, Selection, Survey};
use crate::layout::{Source, Stamp};
use crate::oci::{Graph, NoProgress, Progress, UnixTime, causes};
use crate::report::{ContentLevel, Problem, Report, Verdict};
use crate::tree::{self, Material, Owner, RootMode};

/// How long an index.json that does not parse counts as being written.
pub(super) const WRITER_GRACE: Duration = Duration::from_secs(2);

/// How often a layout that changes meanwhile is judged again before it counts as undecided.
const JUDGINGS_MAX: usize = 5;

/// Up to this many files are looked at on the kernel's thread: handing the request over would take longer.
const FEW_FILES: usize = 32;

/// Tells what a rebuild must not take over from the snapshot before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reread {
    /// Only what differs is read.
    Changed,
    /// The layout is read whatever its stamp says: a file of a closure changed.
    Layout,
}

/// Is what is kept between rebuilds, one at a time.
#[derive(Debug, Default)]
pub(super) struct Turn {
    /// The stamp under which index.json was first found not to parse, and when.
    broken: Option<(Stamp, Instant)>,
}

/// Is a report, and the tree that shows it.
pub(super) type Shown = (Arc<Report>, tree::Tree);

impl Fs {
    /// Returns the present snapshot, without a look at anything.
    #[must_use]
    pub fn current(&self) -> Arc<Snapshot> {
        self.state
            .get()
            .expect("set before the first use and never taken")
    }

    /// Returns the present snapshot if it stands.
    #[must_use]
    pub fn fresh_now(&self) -> Option<Arc<Snapshot>> {
        let current = self.current();
        let stands = !self.doubt.load(Ordering::Acquire) && current.stands(&self.observe());
        stands.then_some(current)
    }

    /// Returns a snapshot that stands, rebuilt first where anything differs. Reads manifests; never hashes blobs.
    #[must_use]
    pub fn fresh(&self) -> Arc<Snapshot> {
        self.fresh_now()
            .unwrap_or_else(|| self.rebuild(Reread::Changed))
    }

    /// Returns a snapshot for opening a status: the files of the closures are looked at too.
    #[must_use]
    pub fn fresh_status(&self) -> Arc<Snapshot> {
        let snapshot = self.fresh();
        if self.content_stands(&snapshot) {
            return snapshot;
        }
        self.rebuild(Reread::Layout)
    }

    /// Returns the snapshot of [`Fs::fresh_status`] where it stands and the files of its closures are few.
    #[must_use]
    pub fn fresh_status_now(&self) -> Option<Arc<Snapshot>> {
        let snapshot = self.fresh_now()?;
        let stands = snapshot.looked.len() <= FEW_FILES && self.content_stands(&snapshot);
        stands.then_some(snapshot)
    }

    pub(super) fn observe(&self) -> Observed {
        let revision = lock(&self.control).revision;
        Observed {
            // A layout that cannot be read has an empty stamp: it differs from every other.
            layout: self.source.stamp().unwrap_or_default(),
            settings: self.inputs.stamp(),
            revision,
            now: self.inputs.now(),
        }
    }

    /// Reads what differs, judges with the hashes that are known, and swaps the snapshot.
    pub(super) fn rebuild(&self, reread: Reread) -> Arc<Snapshot> {
        let mut turn = lock(&self.turn);
        let doubted = self.doubt.swap(false, Ordering::AcqRel);
        let before = self.current();
        let observed = self.observe();
        if reread == Reread::Changed && !doubted && before.stands(&observed) {
            return before;
        }
        let keep_layout = reread == Reread::Changed
            && !doubted
            && before.basis.settled
            && before.basis.recheck_at.is_none()
            && before.basis.observed.layout == observed.layout;
        let basis = self.basis(&mut turn, Some(&before.basis), observed, keep_layout);
        if keep_layout && self.only_refusal_differs(&before, &basis) {
            return self.swap_refusal(&before, basis);
        }
        self.judge_and_swap(basis)
    }

    /// Makes the first snapshot.
    pub(super) fn begin(&self) {
        let mut turn = lock(&self.turn);
        let observed = self.observe();
        let basis = self.basis(&mut turn, None, observed, false);
        self.judge_and_swap(basis);
    }

    fn basis(
        &self,
        turn: &mut Turn,
        before: Option<&Basis>,
        observed: Observed,
        keep_layout: bool,
    ) -> Basis {
        let survey = match before {
            Some(before) if keep_layout => Arc::clone(&before.survey),
            _ => Arc::new(self.survey(before.map(|before| &*before.survey))),
        };
        let control = lock(&self.control).clone();
        let same_trust = before.filter(|before| {
            before.observed.settings == observed.settings
                // Not what was observed: the policy may have changed since. A signature or a refusal changes nothing that is trusted.
                && before.policies == control.policies
        });
        let (trust, policy) = match same_trust {
            Some(before) => (Arc::clone(&before.trust), before.policy.clone()),
            None => self.trust(&control.policy),
        };
        let settled = survey.index.as_ref().is_none_or(|index| index.settled) && !survey.unread;
        Basis {
            recheck_at: grace(turn, &survey, &observed.layout),
            observed: Observed {
                revision: control.revision,
                ..observed
            },
            survey,
            trust,
            policy,
            policies: control.policies,
            refused: control.refused,
            settled,
        }
    }

    /// Reads the layout; what cannot be read is a survey that says so.
    fn survey(&self, before: Option<&Survey>) -> Survey {
        let envelopes = Arc::clone(&self.envelopes);
        match audit::survey_to_show(&*self.source, before) {
            Ok(survey) => Survey {
                envelopes,
                ..survey
            },
            Err(error) => Survey {
                index: None,
                graph: Graph::default(),
                listing: self.source.listing().unwrap_or_default(),
                invalid: Some(causes(&error)),
                unread: true,
                envelopes,
                closures: OnceLock::new(),
                uncovered: OnceLock::new(),
            },
        }
    }

    fn only_refusal_differs(&self, before: &Snapshot, basis: &Basis) -> bool {
        let old = &before.basis;
        let same_policy = match (&old.policy, &basis.policy) {
            (Some(one), Some(other)) => one.bytes == other.bytes && one.written == other.written,
            (None, None) => true,
            _ => false,
        };
        Arc::ptr_eq(&old.survey, &basis.survey)
            && old.observed.settings == basis.observed.settings
            && same_policy
            && before.is_timely(basis.observed.now)
            && matches!(before.judged, Judged::Complete | Judged::Pending)
    }

    /// Changes nothing but the reason: what was judged, and how its files looked then, stays.
    fn swap_refusal(&self, before: &Snapshot, basis: Basis) -> Arc<Snapshot> {
        let report = Report {
            refused: basis.refused.clone(),
            ..(*before.report).clone()
        };
        let judged = match before.judged {
            Judged::Complete => Judged::Complete,
            Judged::Pending | Judged::OneLook(_) => Judged::Pending,
        };
        let shown = self.shown(&basis, Arc::new(report));
        self.swap(basis, shown, judged, Arc::clone(&before.looked))
    }

    /// Judges by known hashes, until the files are what was judged.
    fn judge_and_swap(&self, mut basis: Basis) -> Arc<Snapshot> {
        for _ in 0..JUDGINGS_MAX {
            let begun = Instant::now();
            let (report, seen) = self.report(&basis, Content::Known, &NoProgress);
            let report = Arc::new(report);
            if basis.recheck_at.is_none() && waits_for_hashing(&report) {
                let shown = self.shown(&basis, report);
                return self.swap(basis, shown, Judged::Pending, Arc::default());
            }
            // The tree of a large layout is built while its files are looked at: hardly ever is it thrown away.
            let build = || self.shown(&basis, Arc::clone(&report));
            let look = || look::closures(self, &basis, &report, &seen);
            let (shown, (looked, standing)) = both(report.images.len(), build, look);
            if let Some(judged) = Judged::by(standing, Content::Known, begun) {
                return self.swap(basis, shown, judged, Arc::new(looked));
            }
            basis.survey = Arc::new(self.survey(Some(&basis.survey)));
            basis.settled = false;
        }
        let restless = "the layout changes while it is judged".to_owned();
        let mut report = self.undecided(&basis, restless);
        soften(&mut report);
        let shown = self.shown(&basis, Arc::new(report));
        self.swap(basis, shown, Judged::Pending, Arc::default())
    }

    /// Judges a basis, and says what was seen of the files meanwhile.
    pub(super) fn report(
        &self,
        basis: &Basis,
        content: Content,
        progress: &dyn Progress,
    ) -> (Report, Seen) {
        let asked = Asked {
            source: &*self.source as &dyn Source,
            trust: &basis.trust,
            scope: self.options.scope.as_ref(),
            scope_origin: self.options.scope_origin,
            images: Selection::All,
            content,
            max_signatures: self.options.max_signatures,
            metadata: &BTreeMap::new(),
        };
        let now = basis.observed.now;
        let judged = audit::judge_and_see(&basis.survey, &asked, &self.hashes, now, progress);
        let undecided = |error| (self.undecided(basis, causes(&error)), Seen::default());
        let (mut report, seen) = judged.unwrap_or_else(undecided);
        report.refused.clone_from(&basis.refused);
        if basis.recheck_at.is_some() {
            soften(&mut report);
        }
        (report, seen)
    }

    fn undecided(&self, basis: &Basis, problem: String) -> Report {
        Report {
            images: Vec::new(),
            children: Vec::new(),
            problems: vec![Problem {
                verdict: Verdict::LayoutInvalid,
                file: None,
                digest: None,
                check: "read",
                problem,
                hint: "make the layout readable".to_owned(),
            }],
            policy: basis.trust.id.clone(),
            scope: self.options.scope.clone(),
            scope_origin: self.options.scope_origin,
            content: ContentLevel::Full,
            notes: Vec::new(),
            leases: true,
            orphans: 0,
            extras: 0,
            refused: None,
            valid_until: None,
        }
    }

    /// Makes a snapshot and puts it in the place of the present one. Called in turn only.
    pub(super) fn swap(
        &self,
        basis: Basis,
        (report, tree): Shown,
        judged: Judged,
        looked: Arc<Vec<Looked>>,
    ) -> Arc<Snapshot> {
        let (before, snapshot) = self.state.swap(|before| Snapshot {
            generation: before.map_or(0, |before| before.generation + 1),
            basis,
            report,
            judged,
            looked,
            tree,
            described: OnceLock::new(),
        });
        if let Some(before) = before {
            self.tell_kernel(before, Arc::clone(&snapshot));
        }
        snapshot
    }

    /// Returns what is shown of a report.
    pub(super) fn shown(&self, basis: &Basis, report: Arc<Report>) -> Shown {
        let tree = self.tree(basis, &report);
        (report, tree)
    }

    fn tree(&self, basis: &Basis, report: &Arc<Report>) -> tree::Tree {
        let readable = self.options.sign == SignFile::Present;
        let shared = !self.options.sign_uids.is_empty();
        let material = Material {
            listing: &basis.survey.listing,
            index: basis.survey.index.as_ref(),
            links: (self.options.links == Links::Present).then_some(&basis.survey.graph),
            report,
            policy: basis.policy.as_ref(),
            sign: readable.then(|| sign_text(basis.refused.as_deref())),
            settings_changed: basis.observed.settings.newest,
            now: basis.observed.now,
            owner: Owner {
                uid: self.options.uid,
                gid: self.options.gid,
            },
            root_mode: if shared && self.options.policy == PolicyFile::Writable {
                RootMode::Shared
            } else {
                RootMode::Owner
            },
        };
        match self.state.get() {
            Some(before) if Arc::ptr_eq(&before.basis.survey, &basis.survey) => {
                tree::rebuild(&material, &before.tree)
            }
            _ => tree::build(&material),
        }
    }
}

/// Returns until when a layout that does not parse counts as being written.
fn grace(turn: &mut Turn, survey: &Survey, stamp: &Stamp) -> Option<Instant> {
    if survey.invalid.is_none() {
        turn.broken = None;
        return None;
    }
    let now = Instant::now();
    let since = match &turn.broken {
        Some((seen, since)) if seen == stamp => *since,
        _ => {
            turn.broken = Some((stamp.clone(), now));
            now
        }
    };
    let until = since.checked_add(WRITER_GRACE)?;
    (now < until).then_some(until)
}

/// Turns "the layout is invalid" into "not decided yet".
fn soften(report: &mut Report) {
    for problem in &mut report.problems {
        if problem.verdict == Verdict::LayoutInvalid {
            problem.verdict = Verdict::Pending;
        }
    }
}

/// Returns what `sign` reads as: the reason of the last refusal, each line a comment.
fn sign_text(refused: Option<&str>) -> Arc<[u8]> {
    let lines = refused.unwrap_or_default().lines();
    let text: String = lines
        .map(|line| format!("# {}\n", crate::text::escape_line(line)))
        .collect();
    Arc::from(text.into_bytes())
}

/// Returns the moment of the observation, for callers that wait.
pub(super) fn observed_at(snapshot: &Snapshot) -> UnixTime {
    snapshot.basis.observed.now
}
