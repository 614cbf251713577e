//! The order of digests as numbers: many are sorted by them in a fraction of the time, which is spent on fetching the digests.

use super::Digest;

/// Is something with the rank of its digest.
pub type Ranked<T> = (u64, T);

/// Returns a number by which digests stand as they do by themselves, but that some have in common.
#[must_use]
pub fn rank(digest: &Digest) -> u64 {
    let kind = match digest {
        Digest::Sha256(_) => 0,
        Digest::Sha384(_) => 1,
        Digest::Sha512(_) => 2,
        Digest::Other(_) => 3,
    };
    let mut first = [0; 8];
    for (place, byte) in first.iter_mut().zip(digest.bytes()) {
        *place = *byte;
    }
    kind << 62 | u64::from_be_bytes(first) >> 2
}

/// Sorts by digest; what has the same one stays in its order.
pub fn sort_by_digest<T>(items: &mut [Ranked<T>], digest: impl Fn(&T) -> &Digest) {
    items.sort_by(|(one_rank, one), (other_rank, other)| {
        let ranks = one_rank.cmp(other_rank);
        ranks.then_with(|| digest(one).cmp(digest(other)))
    });
}

/// Returns the place of a digest among what is sorted by digest.
#[must_use]
pub fn find_digest<T>(
    items: &[Ranked<T>],
    wanted: &Digest,
    digest: impl Fn(&T) -> &Digest,
) -> Option<usize> {
    let wanted_rank = rank(wanted);
    let found = items.binary_search_by(|(rank, item)| {
        let ranks = rank.cmp(&wanted_rank);
        ranks.then_with(|| digest(item).cmp(wanted))
    });
    found.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_never_contradict_the_order_of_digests() {
        let mut digests: Vec<Digest> = [
            "a:0",
            "a:00",
            "b:zzzzzzzzzzzz",
            "b:zzzzzzzzzzzy",
            "aaaaaaaaa:1",
        ]
        .map(|text| text.parse().unwrap())
        .into();
        for first in ["00", "01", "02", "03", "04", "7f", "80", "ff"] {
            for last in ["00", "01", "ff"] {
                for (name, bytes) in [("sha256", 32), ("sha384", 48), ("sha512", 64)] {
                    let middle = first.repeat(bytes - 1);
                    digests.push(format!("{name}:{middle}{last}").parse().unwrap());
                    let middle = "00".repeat(bytes - 2);
                    digests.push(format!("{name}:{first}{middle}{last}").parse().unwrap());
                }
            }
        }
        for one in &digests {
            for other in &digests {
                let ranks = rank(one).cmp(&rank(other));
                assert_eq!(ranks.then_with(|| one.cmp(other)), one.cmp(other));
            }
        }
        let mut ranked: Vec<_> = digests.iter().map(|one| (rank(one), one)).collect();
        sort_by_digest(&mut ranked, |one| one);
        assert!(ranked.is_sorted_by_key(|(_, digest)| *digest));
        for one in &digests {
            let place = find_digest(&ranked, one, |one| one).unwrap();
            assert_eq!(ranked[place].1, one);
        }
        let absent = Digest::of(b"absent");
        assert_eq!(find_digest(&ranked, &absent, |one| one), None);
    }
}
