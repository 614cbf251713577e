//! PAX extended headers: records that override fields of the next member.

use super::problem::{Problem, SPARSE};

/// Holds the records that matter here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Extended {
    /// The member's name.
    pub(super) path: Option<Vec<u8>>,
    /// The member's link target.
    pub(super) link: Option<Vec<u8>>,
    /// The member's size.
    pub(super) size: Option<u64>,
    /// The modification time.
    pub(super) modified: Option<(i64, u32)>,
}

impl Extended {
    /// Reads the records of one header.
    pub(super) fn parse(mut bytes: &[u8]) -> Result<Self, Problem> {
        let mut extended = Self::default();
        while !bytes.is_empty() {
            let (key, value, rest) = record(bytes)?;
            extended.set(key, value)?;
            bytes = rest;
        }
        Ok(extended)
    }

    /// Returns whether anything is set that tells readers apart which honour global headers and which do not.
    pub(super) fn moves_members(&self) -> bool {
        self.path.is_some() || self.link.is_some() || self.size.is_some()
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), Problem> {
        let is_new = match key {
            b"path" => self.path.replace(name(value)?).is_none(),
            b"linkpath" => self.link.replace(name(value)?).is_none(),
            b"size" => self.size.replace(decimal(value)?).is_none(),
            b"mtime" => {
                self.modified = Some(time(value)?);
                true
            }
            // Go's reader ends at one that it cannot read; others go on.
            b"atime" | b"ctime" => time(value).map(|_| true)?,
            b"uid" | b"gid" => decimal(value).map(|_| true)?,
            b"uname" | b"gname" if value.contains(&0) => return Err(zero_byte().into()),
            _ if key.contains(&0) => return Err(zero_byte().into()),
            b"SCHILY.realsize" | b"SUN.holesdata" => return Err(sparse()),
            _ if key.starts_with(b"GNU.sparse.") => return Err(sparse()),
            // They say that the member is something else than its header does, to the readers that know them.
            b"SCHILY.filetype" | b"GNU.volume.filename" | b"GNU.dumpdir" => {
                let key = key.escape_ascii();
                return Err(format!("its PAX header gives {key}").into());
            }
            _ => true,
        };
        if is_new {
            Ok(())
        } else {
            Err(format!("its PAX header gives {} twice", key.escape_ascii()).into())
        }
    }
}

fn sparse() -> Problem {
    Problem::new("it is sparse", SPARSE)
}

/// Is a key, its value, and what follows the record.
type Record<'a> = (&'a [u8], &'a [u8], &'a [u8]);

/// Splits `LENGTH KEY=VALUE\n` off, where LENGTH counts the whole record.
fn record(bytes: &[u8]) -> Result<Record<'_>, String> {
    let wrong = || "its PAX header is malformed".to_owned();
    let space = bytes
        .iter()
        .position(|byte| *byte == b' ')
        .ok_or_else(wrong)?;
    let (digits, _) = bytes.split_at_checked(space).ok_or_else(wrong)?;
    let length = usize::try_from(decimal(digits)?).map_err(|_| wrong())?;
    let (record, rest) = bytes.split_at_checked(length).ok_or_else(wrong)?;
    let record = record
        .get(space + 1..)
        .and_then(|record| record.strip_suffix(b"\n"))
        .ok_or_else(wrong)?;
    let equals = record
        .iter()
        .position(|byte| *byte == b'=')
        .filter(|position| *position > 0)
        .ok_or_else(wrong)?;
    let (key, value) = record.split_at_checked(equals).ok_or_else(wrong)?;
    Ok((key, value.get(1..).unwrap_or_default(), rest))
}

fn name(value: &[u8]) -> Result<Vec<u8>, String> {
    if value.is_empty() || value.contains(&0) {
        // Nothing, or what comes before the zero byte: readers differ.
        return Err(zero_byte());
    }
    Ok(value.to_vec())
}

fn zero_byte() -> String {
    "a name in its PAX header is empty or holds a zero byte".to_owned()
}

fn decimal(digits: &[u8]) -> Result<u64, String> {
    let is_decimal = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(digits)
        .ok()
        .filter(|_| is_decimal)
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(|| "a number in its PAX header is malformed".to_owned())
}

/// Returns seconds and nanoseconds, rounded towards the past, as file times are.
fn time(value: &[u8]) -> Result<(i64, u32), String> {
    let read = || {
        let text = std::str::from_utf8(value).ok()?;
        let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
        let seconds = seconds.parse::<i64>().ok()?;
        if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let digits: String = fraction
            .chars()
            .chain("000000000".chars())
            .take(9)
            .collect();
        let nanoseconds = digits.parse().ok()?;
        match (text.starts_with('-'), nanoseconds) {
            (true, 1..) => Some((seconds.checked_sub(1)?, 1_000_000_000 - nanoseconds)),
            _ => Some((seconds, nanoseconds)),
        }
    };
    read().ok_or_else(|| "a time in its PAX header is malformed".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_records() {
        let parsed =
            Extended::parse(b"12 path=a=b\n11 size=77\n20 mtime=-1.5000000\n13 comment=x\n");
        assert_eq!(
            parsed.unwrap(),
            Extended {
                path: Some(b"a=b".to_vec()),
                link: None,
                size: Some(77),
                modified: Some((-2, 500_000_000)),
            }
        );
    }

    #[test]
    fn refuses_what_readers_understand_differently() {
        for wrong in [
            &b"12 path=a=b"[..],
            b"11 path=a=b\n",
            b"13 path=a=b\n",
            b"x path=a\n",
            b"8 path=\n",
            b"10 path=a\0\n",
            b"11 size=-7\n",
            b"11 size= 7\n",
            b"9 size=7\n9 size=8\n",
            b"30 size=99999999999999999999\n",
            b"5 =a\n",
            b"22 GNU.sparse.major=1\n",
            b" 9 size=7\n",
            b"8 uid=x\n",
            b"7 gid=\n",
            b"11 mtime=x\n",
            b"13 atime=1.x\n",
            b"11 ctime=-\n",
            b"12 uname=\0\n",
            b"8 c\0m=x\n",
        ] {
            assert!(Extended::parse(wrong).is_err(), "{}", wrong.escape_ascii());
        }
    }
}
