//! The policy truncated by its name, without being opened.

use super::*;

#[test]
fn truncating_the_policy_by_its_name_takes_it_away_once() {
    let bench = Bench::new();
    bench.copy_policy(&policy("p256")).unwrap();
    let truncate = |size| {
        let change = Change {
            size: Some(size),
            modified: None,
            ..touch(POLICY, OWNER)
        };
        bench.fs.setattr(&bench.fs.fresh(), &change)
    };
    assert_eq!(truncate(0).unwrap().attributes.size, 0);
    assert_eq!(bench.policy_in_force(), None);
    for size in [0, 5] {
        let refused = truncate(size).map(drop);
        assert!(matches!(refused, Err(FsError::NotFound)), "{refused:?}");
    }
}
