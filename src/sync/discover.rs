//! Referrers made discoverable, and read back the way a verifier reads them.
//!
//! The referrers tag is a race between writers that no registry at hand arbitrates (If-Match is sent, and ignored): so every
//! write is read back, merged again where an entry is gone, and looked at twice more later. What stays lost is an error, never a success.

use std::thread;
use std::time::{Duration, Instant};

use super::error::{SyncError, Undiscovered};
use super::push::Push;
use crate::http::retry::jittered;
use crate::oci::Digest;
use crate::oci::limits::MANIFEST_BYTES_MAX;
use crate::registry::fallback::{Entry, merge, missing};
use crate::registry::referrers::{Listing, TagState};
use crate::registry::{Registry, RegistryError};

/// How often a list of the API is read until it has everything.
const API_ATTEMPTS: u32 = 6;
/// How often the tag is written in one go until it has everything.
const TAG_ATTEMPTS: u32 = 20;
/// The pauses before the late looks.
const LATE_PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(300)];
/// How often the late looks begin anew.
const LATE_ROUNDS: u32 = 12;

/// Says what making referrers discoverable took.
#[derive(Debug, Clone, Default)]
pub(super) struct Discovery {
    /// The subjects that are listed by tag.
    pub by_tag: Vec<Digest>,
    /// How often a tag was written.
    pub writes: usize,
    /// The longest time between reading a tag and having written it.
    slowest: Duration,
    /// When a tag was written last.
    last_write: Option<Instant>,
}

/// Makes every referrer of the plan discoverable.
pub(super) fn ensure_all(push: &Push<'_>) -> Result<Discovery, SyncError> {
    let mut discovery = Discovery::default();
    for (subject, wanted) in &push.plan.referrers {
        match push.registry.referrers(subject)? {
            Listing::Api(listed) if missing(&listed, wanted).is_empty() => {}
            Listing::Api(_) => await_api(push.registry, subject, wanted)?,
            Listing::Tag(state) => {
                write_tag(push.registry, subject, wanted, (state, &mut discovery))?;
                discovery.by_tag.push(subject.clone());
            }
        }
    }
    Ok(discovery)
}

/// Looks at the tags again, later: another writer may have put back a list without our entries.
pub(super) fn look_again(push: &Push<'_>, discovery: &mut Discovery) -> Result<(), SyncError> {
    if discovery.by_tag.is_empty() || discovery.writes == 0 {
        return Ok(());
    }
    'rounds: for _ in 0..LATE_ROUNDS {
        let mut waits = late_waits(discovery).into_iter().peekable();
        while let Some(wait) = waits.next() {
            let passed = discovery
                .last_write
                .map_or(Duration::ZERO, |at| at.elapsed());
            // Where the next look is due too, it sees whatever this one would.
            if waits.peek().is_some_and(|next| *next <= passed) {
                continue;
            }
            thread::sleep(wait.saturating_sub(passed));
            if repair(push, discovery)? {
                continue 'rounds;
            }
        }
        return Ok(());
    }
    let subject = discovery
        .by_tag
        .first()
        .cloned()
        .unwrap_or_else(|| Digest::of(b""));
    let referrer = push
        .plan
        .referrers
        .get(&subject)
        .and_then(|wanted| wanted.first())
        .map(|entry| entry.digest.clone());
    Err(SyncError::NotDiscoverable(Box::new(Undiscovered {
        referrer: referrer.unwrap_or_else(|| subject.clone()),
        subject,
        problem: "other writers keep removing it from the referrers tag".to_owned(),
        source: None,
    })))
}

/// Returns how long after the last write the looks are due.
fn late_waits(discovery: &Discovery) -> Vec<Duration> {
    let mut due = Duration::ZERO;
    LATE_PAUSES
        .iter()
        .map(|pause| {
            // A slow registry gives other writers more time between their reading and their writing.
            let pause = (*pause).max(discovery.slowest.saturating_mul(2));
            due = due.saturating_add(jittered(pause.saturating_mul(4) / 3));
            due
        })
        .collect()
}

/// Writes again what is gone; returns whether anything was.
pub(super) fn repair(push: &Push<'_>, discovery: &mut Discovery) -> Result<bool, SyncError> {
    let before = discovery.writes;
    for subject in discovery.by_tag.clone() {
        if let Some(wanted) = push.plan.referrers.get(&subject) {
            let state = push.registry.referrers_tag(&subject)?;
            write_tag(push.registry, &subject, wanted, (state, discovery))?;
        }
    }
    Ok(discovery.writes > before)
}

/// Waits until the API lists everything.
fn await_api(registry: &Registry, subject: &Digest, wanted: &[Entry]) -> Result<(), SyncError> {
    let mut pause = Duration::from_millis(100);
    for _ in 1..API_ATTEMPTS {
        thread::sleep(jittered(pause));
        pause = pause.saturating_mul(2);
        let listing = registry.referrers(subject)?;
        if missing(listing.entries(), wanted).is_empty() {
            return Ok(());
        }
    }
    let listing = registry.referrers(subject)?;
    match missing(listing.entries(), wanted).first() {
        None => Ok(()),
        Some(lost) => Err(SyncError::NotDiscoverable(Box::new(Undiscovered {
            subject: subject.clone(),
            referrer: lost.digest.clone(),
            problem: "its referrers API does not have it".to_owned(),
            source: None,
        }))),
    }
}

/// Writes the tag until it reads back with everything in it.
fn write_tag(
    registry: &Registry,
    subject: &Digest,
    wanted: &[Entry],
    (mut state, discovery): (Option<TagState>, &mut Discovery),
) -> Result<(), SyncError> {
    let mut refused: Option<RegistryError> = None;
    for attempt in 1..=TAG_ATTEMPTS {
        let document = state.as_ref().map(|state| &state.document);
        let Some(merged) = merge(document, wanted) else {
            return Ok(());
        };
        if u64::try_from(merged.to_string().len()).unwrap_or(u64::MAX) > MANIFEST_BYTES_MAX {
            return Err(lost(
                subject,
                wanted,
                "the referrers tag would be larger than registries take",
                None,
            ));
        }
        let started = Instant::now();
        let etag = state.as_ref().and_then(|state| state.etag.as_deref());
        match registry.put_referrers_tag(subject, &merged, etag) {
            Ok(()) => {}
            Err(error) if is_dead_entry(&error) && refused.is_none() => {
                state = state
                    .map(|state| without_dead(registry, state))
                    .transpose()?;
                refused = Some(error);
                continue;
            }
            // Another writer was faster, and this registry says so.
            Err(
                error @ RegistryError::Refused {
                    status: 409 | 412, ..
                },
            ) => refused = Some(error),
            Err(
                error @ (RegistryError::Refused { .. }
                | RegistryError::Denied { .. }
                | RegistryError::Unexpected { .. }),
            ) => {
                let problem = "the referrers tag cannot be written; where tags are immutable, signatures cannot be added to an image";
                return Err(lost(subject, wanted, problem, Some(error)));
            }
            Err(error) => return Err(error.into()),
        }
        discovery.writes = discovery.writes.saturating_add(1);
        discovery.slowest = discovery.slowest.max(started.elapsed());
        discovery.last_write = Some(Instant::now());
        if attempt > 1 {
            thread::sleep(jittered(
                Duration::from_millis(10).saturating_mul(attempt.min(10)),
            ));
        }
        state = registry.referrers_tag(subject)?;
    }
    match merge(state.as_ref().map(|state| &state.document), wanted) {
        None => Ok(()),
        Some(_) => Err(lost(
            subject,
            wanted,
            "the referrers tag does not keep it",
            refused,
        )),
    }
}

/// Returns whether the registry refuses a list because of an entry whose manifest it has no more.
fn is_dead_entry(error: &RegistryError) -> bool {
    match error {
        RegistryError::Refused { status, answer, .. } => {
            matches!(status, 400 | 404)
                && (answer.contains("MANIFEST_BLOB_UNKNOWN") || answer.contains("MANIFEST_UNKNOWN"))
        }
        _ => false,
    }
}

/// Returns the list without entries whose manifests the registry itself says are gone: nobody could use those.
fn without_dead(registry: &Registry, mut state: TagState) -> Result<TagState, SyncError> {
    let mut kept = Vec::new();
    for entry in &state.entries {
        let digest = entry
            .get("digest")
            .and_then(serde_json::Value::as_str)
            .and_then(|text| text.parse::<Digest>().ok());
        let is_dead = match digest {
            Some(digest) => registry.resolve(&digest.to_string())?.is_none(),
            None => false,
        };
        if !is_dead {
            kept.push(entry.clone());
        }
    }
    if let Some(members) = state.document.as_object_mut() {
        members.insert(
            "manifests".to_owned(),
            serde_json::Value::Array(kept.clone()),
        );
    }
    state.entries = kept;
    Ok(state)
}

fn lost(
    subject: &Digest,
    wanted: &[Entry],
    problem: &str,
    source: Option<RegistryError>,
) -> SyncError {
    let first = wanted.first().map(|entry| entry.digest.clone());
    SyncError::NotDiscoverable(Box::new(Undiscovered {
        subject: subject.clone(),
        referrer: first.unwrap_or_else(|| subject.clone()),
        problem: problem.to_owned(),
        source: source.map(Box::new),
    }))
}
