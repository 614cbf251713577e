//! Every tool, writing every kind of document to the policy: exit status, and the verdict that the next command sees.

use std::fs;

use serde_json::Value;

use super::{POLICY, Scene, policy, policy_of, token};
use crate::support::{Mount, Ran, tool};

/// Is one way to write `$DOC` to the policy `$P`.
struct Way {
    /// The program that has to be there.
    needs: &'static str,
    shell: &'static str,
    line: &'static str,
    /// What a document that is not accepted leaves behind.
    leaves: Leaves,
    /// The documents whose refusal this tool does not report, or meets in another way.
    starred: &'static [Star],
}

/// Tells what a refused document leaves in force.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Leaves {
    /// The policy from before.
    Old,
    /// None: the tool removes or empties the file before it writes.
    Nothing,
}

/// Is an exception for one kind of document.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Star {
    /// Exits 0 although the document is refused: it never looks at its close. The status tells.
    Silent(Kind),
    /// Fails by itself, after it emptied the file and before it wrote anything.
    Empties(Kind),
    /// Exits 0 whatever happens, and shows the text of the errno on its screen.
    OnScreen(Kind),
}

/// Is a kind of document.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Valid,
    Malformed,
    Truncated,
    Refused,
}

const KINDS: [Kind; 4] = [Kind::Valid, Kind::Malformed, Kind::Truncated, Kind::Refused];
const NEVER_CLOSES: &[Star] = &[Star::Silent(Kind::Truncated)];
const READS_FIRST: &[Star] = &[
    Star::Empties(Kind::Malformed),
    Star::Empties(Kind::Truncated),
];
const ON_SCREEN: &[Star] = &[
    Star::OnScreen(Kind::Malformed),
    Star::OnScreen(Kind::Truncated),
    Star::OnScreen(Kind::Refused),
];
const NEVER_LOOKS: &[Star] = &[
    Star::Silent(Kind::Malformed),
    Star::Silent(Kind::Truncated),
    Star::Silent(Kind::Refused),
];

const fn way(shell: &'static str, line: &'static str) -> Way {
    Way {
        needs: shell,
        shell,
        line,
        leaves: Leaves::Old,
        starred: &[],
    }
}

const fn with(needs: &'static str, line: &'static str) -> Way {
    Way {
        needs,
        ..way("bash", line)
    }
}

impl Way {
    const fn starred(self, starred: &'static [Star]) -> Self {
        Self { starred, ..self }
    }

    const fn removes_first(self) -> Self {
        Self {
            leaves: Leaves::Nothing,
            ..self
        }
    }
}

/// Ways of shells and of coreutils.
const PLAIN: &[Way] = &[
    way("bash", "cat $DOC > $P"),
    way("bash", "cat > $P <<EOF\n$(cat $DOC)\nEOF"),
    way("bash", "cp $DOC $P"),
    way("bash", "cp -a $DOC $P"),
    way("bash", "cp -p $DOC $P"),
    way("bash", "cp $DOC $P.tmp && mv $P.tmp $P"),
    way("bash", "tee $P < $DOC > /dev/null"),
    way("bash", "dd status=none if=$DOC of=$P"),
    way("bash", "dd status=none if=$DOC of=$P conv=fsync"),
    way("bash", "sed -i -n \"1r $DOC\" $P"),
    way("bash", "sed -n 1,99p $DOC > $P"),
];

/// Ways of shells that do not look at their close, and only that tells that a document is cut.
const CLOSES_UNSEEN: &[Way] = &[
    // This shell opens the file itself and then forks, so that the close of its child need not be the last.
    way("dash", "cat $DOC > $P").starred(NEVER_CLOSES),
    way("sh", "cat $DOC > $P").starred(NEVER_CLOSES),
    way("bash", r#"D=$(cat $DOC); echo "$D" > $P"#).starred(NEVER_CLOSES),
    way("dash", r#"D=$(cat $DOC); echo "$D" > $P"#).starred(NEVER_CLOSES),
    way("sh", r#"D=$(cat $DOC); printf %s "$D" > $P"#).starred(NEVER_CLOSES),
    way("dash", "cat > $P <<EOF\n$(cat $DOC)\nEOF").starred(NEVER_CLOSES),
    // The shell opened it, a child wrote the end, and the shell does not look at its close.
    way("bash", "{ head -c 40 $DOC; tail -c +41 $DOC; } > $P").starred(NEVER_CLOSES),
    way("dash", "{ head -c 40 $DOC; tail -c +41 $DOC; } > $P").starred(NEVER_CLOSES),
    // As above, through `>>`.
    way(
        "bash",
        r#"D=$(cat $DOC); truncate -s 0 $P; printf %s "$D" >> $P"#,
    )
    .removes_first()
    .starred(NEVER_CLOSES),
];

/// Ways that remove or empty the file before they write it.
const REMOVERS: &[Way] = &[
    way("bash", "truncate -s 0 $P; cat $DOC >> $P").removes_first(),
    way("bash", "cp --remove-destination $DOC $P").removes_first(),
    way("bash", "cp $DOC moved && mv moved $P").removes_first(),
    way("bash", "install -m 644 $DOC $P").removes_first(),
    way("bash", "rm $P; cp $DOC $P").removes_first(),
    with(
        "tar",
        "cp $DOC trustpolicy.json && tar -cf doc.tar trustpolicy.json && tar -C mnt -xf doc.tar",
    )
    .removes_first(),
    // It reads its input after the shell emptied the file.
    with("jq", "jq . $DOC > $P").starred(READS_FIRST),
    // It parses its input after it emptied the file.
    with(
        "python3",
        r#"python3 -c "
import json
with open('$P', 'w') as f: json.dump(json.load(open('$DOC')), f)""#,
    )
    .starred(READS_FIRST),
];

const BSDTAR: &[Way] = &[with(
    "bsdtar",
    "cp $DOC trustpolicy.json && tar -cf doc.tar trustpolicy.json && bsdtar -C mnt -xf doc.tar",
)
.removes_first()
.starred(NEVER_CLOSES)];

/// Nothing is written before the file is collected, and nobody looks then.
const NEVER_CLOSED: &[Way] = &[with(
    "python3",
    r#"python3 -c "open('$P', 'w').write(open('$DOC').read())""#,
)
.starred(NEVER_LOOKS)];

/// An editor on a terminal, which says on its screen what went wrong and exits 0 as always.
const NANO: &[Way] = &[with(
    "nano",
    r#"
rm -f keys screen; mkfifo keys
script -qfec "stty cols 250 rows 40; nano -I $P" screen < keys > script.out & pid=$!
exec 7> keys
await() { for i in $(seq 400); do tail -c +$from screen 2> /dev/null | grep -aqE "$1" && break; sleep 0.02; done; from=$(($(stat -c %s screen) + 1)); }
from=1; await '\^X'
# From here to the end away, then that file in, then out and leave.
printf '\033t' >&7; printf '\022' >&7; await insert
printf "$DOC\r" >&7; await Read
printf '\017' >&7; await Write
printf '\r' >&7; await 'Wrote|Error|ad message'
printf '\030n' >&7
exec 7>&-
wait $pid
code=$?; cat screen >&2; exit $code"#,
)
.starred(ON_SCREEN)];

/// Ways of other programs.
const OTHERS: &[Way] = &[
    with("rsync", "rsync -aI $DOC $P"),
    with("rsync", "rsync -aI --inplace $DOC $P"),
    with(
        "vim",
        "vim -u NONE -es -c '%d' -c \"r $DOC\" -c 'g/^$/d' -c w -c q $P",
    ),
    with(
        "python3",
        r#"python3 -c "
with open('$P', 'w') as f: f.write(open('$DOC').read())""#,
    ),
    with(
        "python3",
        r#"python3 -c "
import pathlib; pathlib.Path('$P').write_text(open('$DOC').read())""#,
    ),
    with(
        "python3",
        r#"python3 -c "
import os
with open('$P.tmp', 'w') as f: f.write(open('$DOC').read())
os.replace('$P.tmp', '$P')""#,
    ),
];

/// Writes the documents that the ways write: `valid.json` trusts another store than the policy in force.
fn documents(scene: &Scene) {
    let text = policy("other");
    for (kind, text) in [
        (Kind::Valid, text.clone()),
        (
            Kind::Malformed,
            text.replace("\"version\":", "\"version\" "),
        ),
        (Kind::Truncated, text.lines().next().unwrap().to_owned()),
        (Kind::Refused, text.replace("strict", "severe")),
    ] {
        fs::write(scene.user.path(&file(kind)), text).unwrap();
    }
    scene.user.succeed(&["cert", "generate-test", "other"]);
}

fn file(kind: Kind) -> String {
    format!("{kind:?}.json").to_lowercase()
}

/// Runs a way with a kind of document and checks all it leaves.
fn check(scene: &Scene, mount: &Mount<'_>, way: &Way, kind: Kind) {
    let line = format!("DOC={} P=mnt/{POLICY}; {}", file(kind), way.line);
    let ran = scene.shell_of(way.shell, &line);
    let told = format!(
        "{} {line}: {ran:?}\n{}",
        way.shell,
        mount.read("verify-status")
    );
    let status = token(mount);
    let silent = way.starred.contains(&Star::Silent(kind));
    let on_screen = way.starred.contains(&Star::OnScreen(kind));
    let succeeds = silent || on_screen || kind == Kind::Valid;
    assert_eq!(ran.code == 0, succeeds, "{told}");
    if kind == Kind::Valid {
        let json = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        let present = policy_of(&mount.path("")).expect(&told);
        assert_eq!(json(&present), json(&policy("other")), "{told}");
        assert_eq!(status, "untrusted", "{told}");
        return;
    }
    if way.starred.contains(&Star::Empties(kind)) || way.leaves == Leaves::Nothing {
        assert_eq!(status, "no-policy", "{told}");
        assert_eq!(policy_of(&mount.path("")), None, "{told}");
    } else {
        assert_eq!(policy_of(&mount.path("")), Some(policy("wabbit")), "{told}");
        assert_eq!(status, "verified", "{told}");
    }
    if !way.starred.contains(&Star::Empties(kind)) {
        assert!(
            mount.read("sign").starts_with("# trust policy refused"),
            "{told}"
        );
        assert!(
            !mount.read("verify-status").contains(" refused=-"),
            "{told}"
        );
    }
    explains(&ran, way, silent, &told);
}

/// Checks that a tool that fails prints the text of an errno that says why, as far as it prints any.
fn explains(ran: &Ran, way: &Way, silent: bool, told: &str) {
    let own_words = ["vim", "jq", "python3", "dash", "sh"].contains(&way.needs);
    if !silent && !own_words {
        assert!(ran.stderr.contains("Bad message"), "{told}");
    }
}

fn matrix(ways: &[Way]) {
    let scene = Scene::new();
    documents(&scene);
    let Some(mount) = scene.mount(&[]) else {
        return;
    };
    scene.succeed("touch mnt/sign");
    for way in ways.iter().filter(|way| tool(way.needs).is_some()) {
        for kind in KINDS {
            check(&scene, &mount, way, kind);
            scene.succeed(
                "rm -f mnt/trustpolicy.json.tmp moved; cp policy.json mnt/trustpolicy.json",
            );
            assert_eq!(token(&mount), "verified", "{} {kind:?}", way.line);
            let names = super::readers::names(&mount.path(""));
            let left: Vec<&String> = names.iter().filter(|name| is_left_behind(name)).collect();
            assert!(left.is_empty(), "{} {kind:?}: {left:?}", way.line);
        }
    }
    // Neither notation's configuration nor the layout has seen any of it.
    assert!(!scene.user.config().join(POLICY).exists());
    assert!(!scene.user.path("lay").join(POLICY).exists());
    assert_eq!(scene.entries(), 2);
}

/// Returns whether a name in the root is one that a tool made for a moment.
fn is_left_behind(name: &str) -> bool {
    name.ends_with('~')
        || name.ends_with(".tmp")
        || name.starts_with(".trust")
        || name.starts_with("sed")
}

#[test]
fn shells_and_coreutils_write_policies() {
    matrix(PLAIN);
}

#[test]
fn other_programs_write_policies() {
    matrix(OTHERS);
}

#[test]
fn nano_shows_why_a_policy_is_refused() {
    matrix(NANO);
}

#[test]
fn tools_that_remove_first_leave_no_policy() {
    matrix(REMOVERS);
}

#[test]
fn a_cut_document_that_a_shell_redirects_is_refused_though_it_exits_0() {
    matrix(CLOSES_UNSEEN);
}

#[test]
fn bsdtar_exits_0_with_a_cut_document_and_leaves_no_policy() {
    matrix(BSDTAR);
}

#[test]
fn python_without_a_close_exits_0_and_nothing_is_in_force() {
    matrix(NEVER_CLOSED);
}
