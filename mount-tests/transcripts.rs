//! What real tools do on a mount: how each writes a policy of each kind, and that the rest of the tree reads like any other.

mod false_triggers;
mod policies;
mod readers;
mod users;

use std::fs;
use std::path::Path;

use crate::support::layouts::{self, Image, index};
use crate::support::{Mount, Ran, User};

/// Is a user with a key that nothing is signed with yet, and a layout with one image tagged `v1`.
struct Scene {
    user: User,
    image: Image,
}

impl Scene {
    fn new() -> Self {
        let user = User::new();
        user.succeed(&["cert", "generate-test", "--default", "wabbit"]);
        let image = layouts::buildx(&user.path("lay"));
        fs::write(user.path("policy.json"), policy("wabbit")).unwrap();
        Self { user, image }
    }

    /// Mounts with the policy in force; `None` where this machine has no FUSE.
    #[track_caller]
    fn mount(&self, flags: &[&str]) -> Option<Mount<'_>> {
        let mount = Mount::new(&self.user, "lay", "mnt", flags)?;
        fs::copy(self.user.path("policy.json"), mount.path(POLICY)).unwrap();
        assert_eq!(token(&mount), "unsigned");
        Some(mount)
    }

    /// Runs a line of bash.
    fn shell(&self, line: &str) -> Ran {
        self.shell_of("bash", line)
    }

    /// Runs a line of a shell.
    fn shell_of(&self, shell: &str, line: &str) -> Ran {
        let mut command = self.user.program("timeout");
        command.args(["-k", "1", "60", shell, "-c", line]);
        Ran::of(command.output().unwrap())
    }

    /// Runs a line of bash that has to succeed, and returns what it printed.
    #[track_caller]
    fn succeed(&self, line: &str) -> String {
        let ran = self.shell(line);
        assert_eq!(ran.code, 0, "{line}: {ran:?}");
        ran.stdout
    }

    /// Returns how many entries the index of the layout has.
    fn entries(&self) -> usize {
        index(&self.user.path("lay"))["manifests"]
            .as_array()
            .unwrap()
            .len()
    }
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;

    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

const POLICY: &str = "trustpolicy.json";

/// Returns line 1 of the status.
fn token(mount: &Mount<'_>) -> String {
    let status = mount.read("verify-status");
    status.lines().next().unwrap().to_owned()
}

/// Returns a strict policy that trusts one store everywhere.
fn policy(store: &str) -> String {
    format!(
        r#"{{"version":"1.0","trustPolicies":[{{"name":"{store}","registryScopes":["*"],
        "signatureVerification":{{"level":"strict"}},"trustStores":["ca:{store}"],"trustedIdentities":["*"]}}]}}"#
    )
}

/// Returns the policy of a mount, or of a copy of one.
fn policy_of(root: &Path) -> Option<String> {
    let text = fs::read_to_string(root.join(POLICY)).ok()?;
    Some(text.trim_end().to_owned())
}
