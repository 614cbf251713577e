//! Digests: parsed to fixed bytes once, printed from those bytes. <https://github.com/opencontainers/image-spec/blob/main/descriptor.md#digests>

use std::fmt;
use std::hash::Hash;
use std::str::FromStr;
use std::sync::Arc;

use sha2::Digest as _;

/// Names the content of a blob.
///
/// Only the first three can be verified; `Other` is carried along, shown, and never used as a path. The longer ones are boxed: a
/// layout holds a few digests per blob, and nearly all are SHA-256.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Digest {
    /// `sha256:` and 64 lower-case hex digits.
    Sha256([u8; 32]),
    /// `sha384:` and 96 lower-case hex digits.
    Sha384(Box<[u8; 48]>),
    /// `sha512:` and 128 lower-case hex digits.
    Sha512(Box<[u8; 64]>),
    /// A digest of another algorithm that fits the grammar.
    Other(Arc<str>),
}

/// Lists the algorithms that are verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl Algorithm {
    /// Lists all verified algorithms.
    pub const ALL: [Self; 3] = [Self::Sha256, Self::Sha384, Self::Sha512];

    /// Returns the name in digests and below `blobs/`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    /// Returns how many bytes its digests have.
    #[must_use]
    pub fn digest_bytes(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// Returns the algorithm with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.name() == name)
    }
}

/// Says why a text is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a digest: {problem}")]
pub struct DigestError {
    /// The text, cut to 200 characters.
    pub text: String,
    /// What is wrong.
    pub problem: &'static str,
}

/// Bytes of the longest digest text that is accepted.
const DIGEST_BYTES_MAX: usize = 512;

impl Digest {
    /// Returns the SHA-256 digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self::Sha256(sha2::Sha256::digest(bytes).into())
    }

    /// Returns the digest of `bytes` with the algorithm of this digest, or `None` where it cannot be verified.
    #[must_use]
    pub fn same_algorithm_of(&self, bytes: &[u8]) -> Option<Self> {
        let mut hasher = Hasher::new(self.algorithm()?);
        hasher.update(bytes);
        Some(hasher.finish())
    }

    /// Returns whether `bytes` have this digest; false where it cannot be verified.
    #[must_use]
    pub fn matches(&self, bytes: &[u8]) -> bool {
        self.same_algorithm_of(bytes).as_ref() == Some(self)
    }

    /// Returns the algorithm, or `None` where it cannot be verified.
    #[must_use]
    pub fn algorithm(&self) -> Option<Algorithm> {
        match self {
            Self::Sha256(_) => Some(Algorithm::Sha256),
            Self::Sha384(_) => Some(Algorithm::Sha384),
            Self::Sha512(_) => Some(Algorithm::Sha512),
            Self::Other(_) => None,
        }
    }

    /// Returns the digest with this algorithm and lower-case hex text.
    #[must_use]
    pub fn from_parts(algorithm: Algorithm, hex: &str) -> Option<Self> {
        match algorithm {
            Algorithm::Sha256 => decode_hex(hex).map(Self::Sha256),
            Algorithm::Sha384 => decode_hex(hex).map(Box::new).map(Self::Sha384),
            Algorithm::Sha512 => decode_hex(hex).map(Box::new).map(Self::Sha512),
        }
    }

    /// Returns the digest with this algorithm and these bytes, exactly as many as it has.
    #[must_use]
    pub fn from_bytes(algorithm: Algorithm, bytes: &[u8]) -> Option<Self> {
        Some(match algorithm {
            Algorithm::Sha256 => Self::Sha256(bytes.try_into().ok()?),
            Algorithm::Sha384 => Self::Sha384(Box::new(bytes.try_into().ok()?)),
            Algorithm::Sha512 => Self::Sha512(Box::new(bytes.try_into().ok()?)),
        })
    }

    /// Returns the hex part in lower case (for `Other`, whatever follows the colon).
    #[must_use]
    pub fn hex(&self) -> String {
        match self {
            Self::Sha256(bytes) => encode_hex(bytes),
            Self::Sha384(bytes) => encode_hex(&bytes[..]),
            Self::Sha512(bytes) => encode_hex(&bytes[..]),
            Self::Other(text) => text
                .split_once(':')
                .map(|(_, encoded)| encoded.to_owned())
                .unwrap_or_default(),
        }
    }

    /// Writes what [`Digest::hex`] returns.
    ///
    /// # Errors
    /// Returns what the writer returns.
    pub fn write_hex_to(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        if self.algorithm().is_none() {
            return out.write_str(&self.hex());
        }
        let mut text = [0; HEX_BYTES_MAX];
        let hex = write_hex(self.bytes(), &mut text);
        out.write_str(std::str::from_utf8(hex).unwrap_or_default())
    }

    /// Returns the raw bytes (for `Other`, the whole text).
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Sha256(bytes) => bytes,
            Self::Sha384(bytes) => &bytes[..],
            Self::Sha512(bytes) => &bytes[..],
            Self::Other(text) => text.as_bytes(),
        }
    }

    /// Returns `ALG-HEX`, the form used for folder names, or `None` for `Other`.
    #[must_use]
    pub fn folder_name(&self) -> Option<String> {
        self.algorithm()
            .map(|algorithm| format!("{}-{}", algorithm.name(), self.hex()))
    }
}

impl Hash for Digest {
    /// Writes all that tells digests apart, in as few pieces as can be: those of a large layout are looked up a million times.
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        match self {
            Self::Sha256(bytes) => {
                let mut all = [0; 33];
                if let Some(place) = all.last_chunk_mut() {
                    *place = *bytes;
                }
                state.write(&all);
            }
            Self::Sha384(bytes) => (1_u8, bytes).hash(state),
            Self::Sha512(bytes) => (2_u8, bytes).hash(state),
            Self::Other(text) => (3_u8, text).hash(state),
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self, self.algorithm()) {
            (Self::Other(text), _) => formatter.write_str(text),
            (_, Some(algorithm)) => {
                formatter.write_str(algorithm.name())?;
                formatter.write_str(":")?;
                self.write_hex_to(formatter)
            }
            (_, None) => Ok(()),
        }
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let refuse = |problem| DigestError {
            text: text.chars().take(200).collect(),
            problem,
        };
        if text.len() > DIGEST_BYTES_MAX {
            return Err(refuse("it is too long"));
        }
        let Some((name, encoded)) = text.split_once(':') else {
            return Err(refuse("it has no colon"));
        };
        if let Some(algorithm) = Algorithm::from_name(name) {
            return Self::from_parts(algorithm, encoded).ok_or_else(|| {
                let lower = encoded.to_ascii_lowercase();
                match Self::from_parts(algorithm, &lower) {
                    Some(_) => refuse("its hex digits must be in lower case"),
                    None => refuse("it needs the right number of lower-case hex digits"),
                }
            });
        }
        if !is_algorithm(name) {
            return Err(refuse("the part before the colon is not an algorithm"));
        }
        let encoded_fits = !encoded.is_empty()
            && encoded
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'=' | b'_' | b'-'));
        if !encoded_fits {
            return Err(refuse(
                "the part after the colon has other characters than letters, digits, '=', '_' and '-'",
            ));
        }
        Ok(Self::Other(Arc::from(text)))
    }
}

/// Returns whether `name` fits the grammar of algorithms: lower-case components joined by one of `+._-`.
fn is_algorithm(name: &str) -> bool {
    name.split(['+', '.', '_', '-']).all(|part| {
        !part.is_empty()
            && part
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    })
}

/// Hashes a stream with one of the verified algorithms.
#[derive(Debug, Clone)]
pub enum Hasher {
    /// SHA-256.
    Sha256(sha2::Sha256),
    /// SHA-384.
    Sha384(sha2::Sha384),
    /// SHA-512.
    Sha512(sha2::Sha512),
}

impl Hasher {
    /// Returns an empty hasher.
    #[must_use]
    pub fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha256 => Self::Sha256(sha2::Sha256::new()),
            Algorithm::Sha384 => Self::Sha384(sha2::Sha384::new()),
            Algorithm::Sha512 => Self::Sha512(sha2::Sha512::new()),
        }
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Sha384(hasher) => hasher.update(bytes),
            Self::Sha512(hasher) => hasher.update(bytes),
        }
    }

    /// Returns the digest of all bytes added.
    #[must_use]
    pub fn finish(self) -> Digest {
        match self {
            Self::Sha256(hasher) => Digest::Sha256(hasher.finalize().into()),
            Self::Sha384(hasher) => Digest::Sha384(Box::new(hasher.finalize().into())),
            Self::Sha512(hasher) => Digest::Sha512(Box::new(hasher.finalize().into())),
        }
    }
}

/// Bytes of the longest hex part of a digest that can be verified.
pub const HEX_BYTES_MAX: usize = 128;

/// The two lower-case hex digits of each byte.
const HEX: [[u8; 2]; 256] = hex_of_bytes();

#[expect(
    clippy::indexing_slicing,
    reason = "evaluated by the compiler, which would refuse to go past the end"
)]
const fn hex_of_bytes() -> [[u8; 2]; 256] {
    let digits = *b"0123456789abcdef";
    let mut table = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = [digits[byte >> 4], digits[byte & 15]];
        byte += 1;
    }
    table
}

/// Writes bytes as lower-case hex to the front of `text`, as many as have room there, and returns what it wrote.
pub fn write_hex<'t>(bytes: &[u8], text: &'t mut [u8]) -> &'t [u8] {
    let mut written = 0_usize;
    for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
        pair.copy_from_slice(HEX.get(usize::from(*byte)).unwrap_or(&[0; 2]));
        written = written.saturating_add(2);
    }
    text.get(..written).unwrap_or_default()
}

/// Returns bytes as lower-case hex.
#[must_use]
pub fn encode_hex(bytes: &[u8]) -> String {
    let mut text = vec![0; bytes.len().saturating_mul(2)];
    write_hex(bytes, &mut text);
    String::from_utf8(text).unwrap_or_default()
}

/// Returns exactly `N` bytes from lower-case hex.
fn decode_hex<const N: usize>(hex: &str) -> Option<[u8; N]> {
    if hex.len() != N * 2 {
        return None;
    }
    let mut bytes = [0; N];
    // All are read before any is refused: a layout has a hundred thousand, and hardly ever a wrong one.
    let mut wrong = 0;
    for (byte, [high, low]) in bytes.iter_mut().zip(hex.as_bytes().as_chunks().0) {
        let (high, low) = (hex_value(*high), hex_value(*low));
        wrong |= high | low;
        *byte = high << 4 | low;
    }
    (wrong <= 0xf).then_some(bytes)
}

/// Returns the value of a hex digit; more than 15 where it is none.
fn hex_value(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit.wrapping_sub(b'0'),
        b'a'..=b'f' => digit.wrapping_sub(b'a').wrapping_add(10),
        _ => 0xff,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_what_it_parsed() {
        for text in [
            &format!("sha256:{}", "0a".repeat(32)),
            &format!("sha384:{}", "f9".repeat(48)),
            &format!("sha512:{}", "9f".repeat(64)),
            "blake3:00ff",
            "a+b.c_d-e:Az09=_-",
        ] {
            assert_eq!(text.parse::<Digest>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn refuses_what_is_not_a_digest() {
        let long = format!("x:{}", "a".repeat(600));
        let upper = format!("sha256:{}", "0A".repeat(32));
        let short = format!("sha256:{}", "0a".repeat(31));
        let wrong = format!("sha256:{}", "0a".repeat(48));
        for text in [
            "",
            ":",
            "sha256",
            "sha256:",
            "sha256:../../x",
            "x:",
            ":a",
            "a b:c",
            "A:c",
            "a..b:c",
            "a:b/c",
            "a:b:c",
            &long,
            &upper,
            &short,
            &wrong,
        ] {
            assert!(text.parse::<Digest>().is_err(), "{text}");
        }
    }

    #[test]
    fn every_place_of_a_digest_takes_lower_case_hex_digits_only() {
        let sound = "0123456789abcdef".repeat(4);
        for place in 0..64 {
            for wrong in [
                "/", ":", "@", "A", "F", "G", "`", "g", " ", "\0", "\u{e9}", "\u{ff16}",
            ] {
                let text = [&sound[..place], wrong, &sound[place + 1..]].concat();
                assert_eq!(Digest::from_parts(Algorithm::Sha256, &text), None, "{text}");
                // Of the same length in bytes, too.
                let text: String = text.chars().rev().take(64).collect();
                assert_eq!(Digest::from_parts(Algorithm::Sha256, &text), None, "{text}");
            }
        }
        let digest = Digest::from_parts(Algorithm::Sha256, &sound).unwrap();
        assert_eq!(digest.hex(), sound);
        assert_eq!(
            digest.bytes()[..8],
            [1, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef]
        );
    }

    #[test]
    fn digests_are_hashed_by_all_that_tells_them_apart() {
        let hash = |digests: &[Digest]| {
            let mut state = std::hash::DefaultHasher::new();
            digests.hash(&mut state);
            std::hash::Hasher::finish(&state)
        };
        let of = |algorithm| Hasher::new(algorithm).finish();
        let [one, two, three] = Algorithm::ALL.map(of);
        let other = |text: &str| text.parse::<Digest>().unwrap();
        let mut last = [0; 32];
        last[31] = 1;
        let lists = [
            vec![one.clone()],
            vec![two.clone()],
            vec![three],
            vec![Digest::Sha256([0; 32])],
            vec![Digest::Sha256(last)],
            // As many bytes, divided otherwise.
            vec![
                Digest::Sha256([7; 32]),
                Digest::Sha256([7; 32]),
                Digest::Sha256([7; 32]),
            ],
            vec![
                Digest::Sha384(Box::new([7; 48])),
                Digest::Sha384(Box::new([7; 48])),
                one,
            ],
            vec![other("a:bc"), other("a:d"), two.clone()],
            vec![other("a:b"), other("ca:d"), two],
        ];
        let hashes: std::collections::BTreeSet<u64> = lists.iter().map(|list| hash(list)).collect();
        assert_eq!(hashes.len(), lists.len());
        assert!(lists.iter().all(|list| hash(list) == hash(&list.clone())));
    }

    #[test]
    fn knows_the_digest_of_the_empty_config() {
        let empty = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
            .parse::<Digest>()
            .unwrap();
        assert_eq!(Digest::of(b"{}"), empty);
        assert!(empty.matches(b"{}"));
        assert!(!empty.matches(b"{ }"));
    }
}
