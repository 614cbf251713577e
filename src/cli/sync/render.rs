//! What `sync` prints.

use serde_json::{Value, json};

use crate::cli::answer::{Answer, Form};
use crate::registry::fallback;
use crate::sync::{Comparison, Outcome, Push, Tally};

/// Renders what a push did.
pub(super) fn outcome(push: &Push<'_>, outcome: &Outcome, form: Form) -> Answer {
    let reference = &push.registry.reference;
    let counts = outcome.counts;
    if form == Form::Json {
        return Answer::json(&json!({
            "schema": "signetfs.sync/1",
            "repository": reference.scope(),
            "verdict": push.admitted.report().verdict().token(),
            "upToDate": outcome.up_to_date,
            "images": images(push),
            "blobs": tally(outcome.blobs),
            "manifests": tally(outcome.manifests),
            "referrers": {"listed": outcome.referrers, "subjectsByTag": outcome.by_tag, "tagWrites": outcome.tag_writes},
            "tagsSet": outcome.tags_set,
            "requests": counts.requests,
            "retries": counts.retries,
            "bytesSent": counts.bytes_sent,
        }));
    }
    let mut text = String::new();
    for root in &push.plan.roots {
        let digest = &root.descriptor.digest;
        let word = if outcome.up_to_date {
            "up to date"
        } else {
            "pushed"
        };
        match root.tags.as_slice() {
            [] => text.push_str(&format!("{word} {}@{digest}\n", reference.scope())),
            tags => {
                for tag in tags {
                    text.push_str(&format!("{word} {}:{tag}@{digest}\n", reference.scope()));
                }
            }
        }
    }
    let (blobs, manifests) = (outcome.blobs, outcome.manifests);
    text.push_str(&format!(
        "blobs: {} sent, {} mounted, {} there; manifests: {} sent, {} there; {} signatures and other referrers discoverable; {} requests, {} retries, {} bytes\n",
        blobs.sent, blobs.mounted, blobs.present, manifests.sent, manifests.present, outcome.referrers, counts.requests, counts.retries, counts.bytes_sent
    ));
    Answer::of(text)
}

fn images(push: &Push<'_>) -> Vec<Value> {
    push.plan
        .roots
        .iter()
        .map(|root| json!({"digest": root.descriptor.digest.to_string(), "tags": root.tags}))
        .collect()
}

fn tally(tally: Tally) -> Value {
    json!({
        "sent": tally.sent,
        "mounted": tally.mounted,
        "present": tally.present,
        "bytes": tally.bytes,
        "hashed": tally.hashed,
    })
}

/// Renders what a push would do.
pub(super) fn comparison(push: &Push<'_>, comparison: &Comparison, form: Form) -> Answer {
    let reference = &push.registry.reference;
    if form == Form::Json {
        let digests =
            |list: &[crate::oci::Digest]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        return Answer::json(&json!({
            "schema": "signetfs.sync-plan/1",
            "repository": reference.scope(),
            "upToDate": comparison.is_equal(),
            "images": images(push),
            "blobs": comparison.blobs.iter().map(|(digest, size)| json!({"digest": digest.to_string(), "size": size})).collect::<Vec<_>>(),
            "manifests": digests(&comparison.manifests),
            "referrers": comparison.unlisted.iter().map(|(referrer, subject)| json!({"digest": referrer.to_string(), "subject": subject.to_string()})).collect::<Vec<_>>(),
            "tags": comparison.tags.iter().map(|(tag, now)| json!({"tag": tag, "now": now.as_ref().map(ToString::to_string)})).collect::<Vec<_>>(),
        }));
    }
    let mut text = String::new();
    for (digest, size) in &comparison.blobs {
        text.push_str(&format!("blob {digest} {size} bytes\n"));
    }
    for digest in &comparison.manifests {
        text.push_str(&format!("manifest {digest}\n"));
    }
    for (referrer, subject) in &comparison.unlisted {
        text.push_str(&format!(
            "list {referrer} as referrer of {subject} (by the API, or tag {})\n",
            fallback::tag(subject)
        ));
    }
    for (tag, now) in &comparison.tags {
        match now {
            None => text.push_str(&format!("set tag {tag}\n")),
            Some(now) => text.push_str(&format!("move tag {tag} from {now}\n")),
        }
    }
    if text.is_empty() {
        text.push_str(&format!("{} is up to date\n", reference.scope()));
    }
    Answer::of(text)
}
