//! Small blobs of one file, hashed under one lease: what the kernel is asked for each of them would take longer than hashing it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::pass::{Counted, Found, Watch, hash};
use super::table::{Entry, Key};
use super::work::{Begun, Job, Turn, current_key, verified};
use super::{CHUNK_BYTES, Hashes};
use crate::files::Refused;
use crate::layout::Blob;
use crate::oci::{NoProgress, Progress};

/// Is a job that was done, as far as its file stays as it is.
struct Done<'h, 'b> {
    job: Job<'b>,
    key: Key,
    found: Found,
    _turn: Turn<'h>,
}

impl Hashes {
    /// Hashes the small ones of the jobs that share a file, and returns the jobs that are left: they are hashed alone.
    pub(super) fn hash_shared<'b>(
        &self,
        jobs: Vec<Job<'b>>,
        progress: &dyn Progress,
    ) -> Vec<Job<'b>> {
        let mut files: HashMap<_, Vec<Job<'b>>> = HashMap::new();
        let mut left = Vec::new();
        for job in jobs {
            match job.blob {
                Blob::File { file, size, .. } if *size < CHUNK_BYTES => {
                    files.entry(Arc::as_ptr(file)).or_default().push(job);
                }
                _ => left.push(job),
            }
        }
        for mut jobs in files.into_values() {
            match jobs.len() {
                ..2 => left.append(&mut jobs),
                _ => left.append(&mut self.hash_file(jobs, progress)),
            }
        }
        left
    }

    /// Hashes blobs of one file, and returns those that this proves nothing about.
    fn hash_file<'b>(&self, jobs: Vec<Job<'b>>, progress: &dyn Progress) -> Vec<Job<'b>> {
        let begun = jobs
            .first()
            .and_then(|job| self.begin(job.blob, job.algorithm, false).ok());
        let Some(begun) = begun.filter(|begun| !matches!(begun.held, Err(Refused::Writer))) else {
            return jobs;
        };
        let (mut done, mut left) = (Vec::new(), Vec::new());
        for job in jobs {
            match progress.cancelled() {
                true => left.push(job),
                false => match self.hash_part(job, &begun) {
                    Ok(part) => done.push(part),
                    Err(job) => left.push(job),
                },
            }
        }
        let file_stands = done.first().is_some_and(|part| {
            current_key(part.job.blob, part.key.algorithm) == Some(part.key) && begun.stands()
        });
        match file_stands {
            true => self.settle(done, &begun, progress),
            false => left.extend(done.into_iter().map(|part| part.job)),
        }
        left
    }

    fn hash_part<'b>(&self, job: Job<'b>, begun: &Begun) -> Result<Done<'_, 'b>, Job<'b>> {
        let key = Key::of(job.blob, begun.before.identity, job.algorithm);
        let free = key.and_then(|key| Some((key, self.free_turn(key)?)));
        let Some((key, turn)) = free else {
            return Err(job);
        };
        // Another thread may have found it meanwhile.
        if self.entry(&key).is_some() {
            return Err(job);
        }
        let watch = Watch {
            stands: &|| true,
            progress: &NoProgress,
        };
        let mut counted = Counted::default();
        let found = hash(job.blob, job.algorithm, watch, &mut counted);
        self.bytes_hashed
            .fetch_add(counted.hashed, Ordering::Relaxed);
        match found {
            Ok(found) => Ok(Done {
                job,
                key,
                found,
                _turn: turn,
            }),
            Err(_) => Err(job),
        }
    }

    /// Gives results of a file that is still what it was before the first byte of it was read; those that stand are kept.
    fn settle(&self, done: Vec<Done<'_, '_>>, begun: &Begun, progress: &dyn Progress) {
        let lease = begun.lease();
        let stands = begun.before.identity.changed.is_settled(begun.at);
        let keep = done.first().and_then(|part| match part.job.blob {
            Blob::File { file, .. } if stands => Some(self.keep(file, &part.key, lease)),
            _ => None,
        });
        for part in done {
            let entry = Entry {
                digest: part.found.digest,
                chunks: Arc::default(),
                lease,
            };
            if let Some(keep) = keep {
                self.table().insert(part.key, entry.clone(), keep);
            }
            progress.advance(part.job.blob.size());
            part.job.answer(verified(
                part.job.descriptor,
                part.job.blob,
                (entry, stands),
            ));
        }
    }
}

#[cfg(test)]
mod tests;
