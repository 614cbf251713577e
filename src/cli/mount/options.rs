//! `mount -t fuse.signetfs SRC PT -o OPTIONS` and fstab lines, turned into our flags before they are parsed. Pure.

use std::ffi::{OsStr, OsString};

/// Options of mount(8) that say nothing about a signetfs mount.
const IGNORED: [&str; 24] = [
    "rw",
    "dev",
    "nodev",
    "suid",
    "nosuid",
    "exec",
    "noexec",
    "async",
    "atime",
    "noatime",
    "relatime",
    "auto",
    "noauto",
    "user",
    "nouser",
    "_netdev",
    "defaults",
    "users",
    "owner",
    "group",
    "nofail",
    "nodiratime",
    "diratime",
    "strictatime",
];

/// Options with names of their own.
const RENAMED: [(&str, &str); 1] = [("ro", "--read-only")];

/// Returns the command line with mount(8)'s shape and `-o` lists rewritten as flags of `mount`.
#[must_use]
pub fn expand(arguments: Vec<OsString>, is_command: &dyn Fn(&OsStr) -> bool) -> Vec<OsString> {
    let mut words = arguments.into_iter();
    let mut expanded: Vec<OsString> = words.by_ref().take(1).collect();
    let words: Vec<OsString> = words.collect();
    let called_by_mount = words.iter().skip(2).any(|word| word == "-o")
        && words
            .first()
            .is_some_and(|first| !is_command(first) && !first.as_encoded_bytes().starts_with(b"-"));
    if called_by_mount {
        expanded.push(OsString::from("mount"));
    }
    let mounting = called_by_mount || words.first().is_some_and(|first| first == "mount");
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        if mounting && word == "-o" {
            let list = words.next().unwrap_or_default();
            expanded.extend(flags(&list.to_string_lossy()));
        } else {
            expanded.push(word);
        }
    }
    expanded
}

/// Returns a list of options as flags; unknown ones become unknown flags, which are refused by name.
fn flags(list: &str) -> impl Iterator<Item = OsString> {
    list.split(',')
        .filter(|option| {
            let name = option.split('=').next().unwrap_or(option);
            let is_ignored = IGNORED.contains(option)
                || matches!(name, "fsname" | "subtype" | "context" | "comment")
                || name.starts_with("x-");
            !option.is_empty() && !is_ignored
        })
        .map(|option| {
            if let Some((_, flag)) = RENAMED.into_iter().find(|(name, _)| *name == option) {
                return OsString::from(flag);
            }
            match option.split_once('=') {
                Some((name, value)) => OsString::from(format!("--{}={value}", dashed(name))),
                None => OsString::from(format!("--{}", dashed(option))),
            }
        })
        .collect::<Vec<_>>()
        .into_iter()
}

fn dashed(name: &str) -> String {
    name.replace('_', "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(words: &[&str]) -> Vec<String> {
        let words = words.iter().map(OsString::from).collect();
        let is_command = |word: &OsStr| word == "mount" || word == "verify";
        expand(words, &is_command)
            .into_iter()
            .map(|word| word.into_string().unwrap())
            .collect()
    }

    #[test]
    fn understands_the_shape_of_mount_8() {
        let words = [
            "signetfs",
            "L",
            "mnt",
            "-o",
            "rw,dev,suid,scope=local/x,allow_other",
        ];
        let expected = [
            "signetfs",
            "mount",
            "L",
            "mnt",
            "--scope=local/x",
            "--allow-other",
        ];
        assert_eq!(expanded(&words), expected);
    }

    #[test]
    fn understands_options_of_the_command() {
        let words = [
            "signetfs",
            "mount",
            "-o",
            "ro,nosuid,fsname=abc",
            "L",
            "mnt",
        ];
        let expected = ["signetfs", "mount", "--read-only", "L", "mnt"];
        assert_eq!(expanded(&words), expected);
    }

    #[test]
    fn leaves_other_commands_alone() {
        for words in [
            &["signetfs", "verify", "L", "-o", "json"][..],
            &["signetfs", "inspect", "L", "-o", "json"][..2],
            &["signetfs"],
            &["signetfs", "--help", "x", "-o", "y"],
        ] {
            assert_eq!(expanded(words), words);
        }
    }
}
