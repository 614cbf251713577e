//! When a request is tried again, and how long that waits: bounded in number and in time.
//!
//! Pure but for the random part of a pause. Not here: sleeping, and bodies (`registry` re-opens them).

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use crate::oci::UnixTime;

use super::date;

/// Says how often and how long is waited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// How often a request is sent in all.
    pub attempts: u32,
    /// The first pause; each later one is twice as long.
    pub first_pause: Duration,
    /// The longest pause, also where the server asks for more.
    pub pause_max: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            attempts: 5,
            first_pause: Duration::from_millis(200),
            pause_max: Duration::from_secs(60),
        }
    }
}

/// Is a pause before the next attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    /// How long is waited.
    pub pause: Duration,
    /// How long the server asked to wait, where it did.
    pub asked: Option<Duration>,
}

/// Longest pause that is not asked for by the server.
const OWN_PAUSE_MAX: Duration = Duration::from_secs(10);

impl Patience {
    /// Returns how long to wait before attempt `attempt` (from 1), or `None` where it was the last one.
    #[must_use]
    pub fn wait(&self, attempt: u32, asked: Option<Duration>) -> Option<Wait> {
        if attempt >= self.attempts {
            return None;
        }
        let pause = match asked {
            Some(asked) => asked.max(Duration::from_millis(1)),
            None => jittered(self.backoff(attempt)),
        };
        Some(Wait {
            pause: pause.min(self.pause_max),
            asked,
        })
    }

    fn backoff(&self, attempt: u32) -> Duration {
        let doublings = attempt.saturating_sub(1).min(16);
        self.first_pause
            .saturating_mul(1 << doublings)
            .min(OWN_PAUSE_MAX)
    }
}

/// Returns between half of `pause` and all of it.
#[must_use]
pub fn jittered(pause: Duration) -> Duration {
    let random = RandomState::new().build_hasher().finish();
    let thousandths = u32::try_from(random % 501).unwrap_or(0).saturating_add(500);
    pause.saturating_mul(thousandths) / 1000
}

/// Returns whether an answer with this status may be another one next time.
#[must_use]
pub fn is_transient(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 499 | 500 | 502 | 503 | 504 | 522)
}

/// Returns how long `Retry-After` asks to wait: seconds, or a date relative to the answer's own `Date` (else to `now`).
#[must_use]
pub fn asked(retry_after: &str, answer_date: Option<&str>, now: UnixTime) -> Option<Duration> {
    let text = retry_after.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let until = date::parse(text)?;
    let from = answer_date.and_then(date::parse).unwrap_or(now);
    let seconds = u64::try_from(until.0.saturating_sub(from.0)).unwrap_or(0);
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_up_after_the_last_attempt() {
        let patience = Patience {
            attempts: 3,
            ..Patience::default()
        };
        assert!(patience.wait(1, None).is_some());
        assert!(patience.wait(2, None).is_some());
        assert_eq!(patience.wait(3, None), None);
    }

    #[test]
    fn doubles_pauses_within_jitter() {
        let patience = Patience::default();
        for (attempt, full) in [(1, 200), (2, 400), (3, 800)] {
            let pause = patience.wait(attempt, None).unwrap().pause.as_millis();
            assert!(pause >= full / 2 && pause <= full, "{attempt}: {pause}");
        }
    }

    #[test]
    fn waits_as_long_as_asked_up_to_the_cap() {
        let patience = Patience::default();
        let pause = |seconds| {
            patience
                .wait(1, Some(Duration::from_secs(seconds)))
                .unwrap()
                .pause
        };
        assert_eq!(pause(7), Duration::from_secs(7));
        assert_eq!(pause(3600), Duration::from_secs(60));
    }

    #[test]
    fn reads_seconds_and_dates() {
        let now = UnixTime(1_795_560_480);
        assert_eq!(asked("3", None, now), Some(Duration::from_secs(3)));
        let date = "Tue, 24 Nov 2026 22:48:05 GMT";
        assert_eq!(asked(date, None, now), Some(Duration::from_secs(5)));
        assert_eq!(
            asked(date, Some("Tue, 24 Nov 2026 22:48:03 GMT"), now),
            Some(Duration::from_secs(2))
        );
        assert_eq!(
            asked(date, Some("Tue, 24 Nov 2026 23:48:03 GMT"), now),
            Some(Duration::ZERO)
        );
        assert_eq!(asked("soon", None, now), None);
    }
}
