use super::*;

fn outcome(checks: [(Check, Action); 5]) -> Outcome {
    let kinds = [
        CheckKind::Integrity,
        CheckKind::Authenticity,
        CheckKind::AuthenticTimestamp,
        CheckKind::Expiry,
        CheckKind::Revocation,
    ];
    let mut kinds = kinds.into_iter();
    Outcome {
        checks: checks.map(|(check, action)| (kinds.next().unwrap(), check, action)),
    }
}

fn failed() -> Check {
    Check::Failed(Box::new(Reason::NoTimestamp))
}

#[test]
fn is_accepted_unless_an_enforced_check_failed() {
    use Action::{Enforce, Log, Skip};
    let all = |check: fn() -> Check, action| outcome([(); 5].map(|()| (check(), action)));
    for (outcome, accepted, clean) in [
        (all(|| Check::Passed, Enforce), true, true),
        (all(|| Check::Passed, Log), true, true),
        (all(|| Check::Skipped, Skip), true, true),
        (all(|| Check::Skipped, Enforce), true, false),
        (all(failed, Enforce), false, false),
        // Integrity counts whatever the action says.
        (all(failed, Log), false, false),
        (all(failed, Skip), false, false),
    ] {
        assert_eq!(outcome.accepted(), accepted, "{outcome:?}");
        assert_eq!(outcome.clean(), clean, "{outcome:?}");
    }
    let logged = outcome([
        (Check::Passed, Enforce),
        (failed(), Log),
        (Check::Passed, Enforce),
        (Check::Passed, Enforce),
        (Check::Skipped, Skip),
    ]);
    assert!(logged.accepted() && !logged.clean());
}

#[test]
fn the_refusal_is_the_first_enforced_failure_in_the_order_of_work() {
    use Action::{Enforce, Log};
    for (checks, wanted) in [
        (
            [
                (Check::Passed, Enforce),
                (failed(), Log),
                (failed(), Enforce),
                (failed(), Enforce),
                (failed(), Enforce),
            ],
            Some(CheckKind::Expiry),
        ),
        (
            [
                (Check::Passed, Enforce),
                (failed(), Log),
                (failed(), Enforce),
                (failed(), Log),
                (failed(), Enforce),
            ],
            Some(CheckKind::AuthenticTimestamp),
        ),
        (
            [
                (failed(), Enforce),
                (failed(), Enforce),
                (failed(), Enforce),
                (failed(), Enforce),
                (failed(), Enforce),
            ],
            Some(CheckKind::Integrity),
        ),
        (
            [
                (Check::Passed, Enforce),
                (failed(), Log),
                (failed(), Log),
                (failed(), Log),
                (failed(), Log),
            ],
            None,
        ),
    ] {
        let outcome = outcome(checks);
        assert_eq!(outcome.refusal().map(|(kind, _)| kind), wanted);
    }
}
