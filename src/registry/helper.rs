//! Credential helpers: programs that keep secrets. They may hang, be absent or print nonsense; none of that may stop us for long.
//! <https://github.com/docker/docker-credential-helpers>

use std::io::{self, Read, Write};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::text::escape_line;

/// How long a helper may take.
pub const HELPER_TIME_MAX: Duration = Duration::from_secs(10);
/// Bytes of a helper's answer.
const ANSWER_BYTES_MAX: u64 = 64 << 10;
/// How often it is looked whether a helper has ended.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Says why a helper gave no credential.
#[derive(Debug, thiserror::Error)]
pub enum HelperError {
    /// Its name would be a path.
    #[error("{name:?} is not the name of a credential helper")]
    Name {
        /// The name.
        name: String,
    },
    /// It cannot be run.
    #[error("running docker-credential-{name}")]
    Run {
        /// The name.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// It did not end in time and was killed.
    #[error("docker-credential-{name} did not answer within {seconds} s and was killed")]
    Time {
        /// The name.
        name: String,
        /// How long it had.
        seconds: u64,
    },
    /// It failed, or answered something else than a credential.
    #[error("docker-credential-{name}: {problem}")]
    Answer {
        /// The name.
        name: String,
        /// What it said, or what is wrong with it.
        problem: String,
    },
}

/// Asks a helper for the user name and secret of a server; `None` where it has none.
///
/// # Errors
/// Names the helper and says what went wrong.
pub fn get(name: &str, server: &str) -> Result<Option<(String, String)>, HelperError> {
    let (success, answer) = run(name, &program(name)?, ("get", server), HELPER_TIME_MAX)?;
    understand(name, success, &answer)
}

/// Gives a helper the user name and secret of a server to keep.
///
/// # Errors
/// Names the helper and says what went wrong.
pub fn store(name: &str, server: &str, (user, secret): (&str, &str)) -> Result<(), HelperError> {
    let document = json!({"ServerURL": server, "Username": user, "Secret": secret}).to_string();
    let ran = run(name, &program(name)?, ("store", &document), HELPER_TIME_MAX)?;
    expect_success(name, &ran)
}

/// Makes a helper forget a server.
///
/// # Errors
/// Names the helper and says what went wrong.
pub fn erase(name: &str, server: &str) -> Result<(), HelperError> {
    let ran = run(name, &program(name)?, ("erase", server), HELPER_TIME_MAX)?;
    expect_success(name, &ran)
}

fn expect_success(name: &str, (success, answer): &(bool, Vec<u8>)) -> Result<(), HelperError> {
    match success {
        true => Ok(()),
        false => Err(failed_with(name, &String::from_utf8_lossy(answer))),
    }
}

/// Returns the program of a helper, whose name is no path.
fn program(name: &str) -> Result<String, HelperError> {
    let fits = !name.is_empty()
        && !name.starts_with('-')
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    match fits {
        true => Ok(format!("docker-credential-{name}")),
        false => Err(HelperError::Name {
            name: name.chars().take(100).collect(),
        }),
    }
}

/// Runs a helper and returns whether it succeeded, and what it said.
fn run(
    name: &str,
    program: &str,
    (verb, input): (&str, &str),
    time: Duration,
) -> Result<(bool, Vec<u8>), HelperError> {
    let failed = |source| HelperError::Run {
        name: name.to_owned(),
        source,
    };
    let mut child = Command::new(program)
        .arg(verb)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A helper that does not read its input is judged by what it answers.
        let _ = stdin.write_all(input.as_bytes());
    }
    let stdout = child.stdout.take();
    let reader = thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(stdout) = stdout {
            let _ = stdout.take(ANSWER_BYTES_MAX).read_to_end(&mut bytes);
        }
        bytes
    });
    let Some(success) = wait(&mut child, time).map_err(failed)? else {
        return Err(HelperError::Time {
            name: name.to_owned(),
            seconds: time.as_secs(),
        });
    };
    // A grandchild may hold the pipe open; what the helper itself wrote is there by now.
    let deadline = Instant::now() + time;
    while !reader.is_finished() && Instant::now() < deadline {
        thread::sleep(LOOK_EVERY);
    }
    let answer = if reader.is_finished() {
        reader.join().unwrap_or_default()
    } else {
        Vec::new()
    };
    Ok((success, answer))
}

/// Waits until the helper ends, or kills it.
fn wait(child: &mut Child, time: Duration) -> io::Result<Option<bool>> {
    let deadline = Instant::now() + time;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status.success()));
        }
        if Instant::now() >= deadline {
            let _ = child.kill();
            let _ = child.wait();
            return Ok(None);
        }
        thread::sleep(LOOK_EVERY);
    }
}

fn failed_with(name: &str, text: &str) -> HelperError {
    let words: String = text.trim().chars().take(200).collect();
    HelperError::Answer {
        name: name.to_owned(),
        problem: format!("it failed: {}", escape_line(&words)),
    }
}

fn understand(
    name: &str,
    success: bool,
    answer: &[u8],
) -> Result<Option<(String, String)>, HelperError> {
    let text = String::from_utf8_lossy(answer);
    let text = text.trim();
    if !success {
        if text.contains("not found") || text.contains("no credentials") {
            return Ok(None);
        }
        return Err(failed_with(name, text));
    }
    let document: Option<Value> = serde_json::from_str(text).ok();
    let member = |name: &str| Some(document.as_ref()?.get(name)?.as_str()?.to_owned());
    match (member("Username"), member("Secret")) {
        (Some(user), Some(secret)) if user.is_empty() && secret.is_empty() => Ok(None),
        (Some(user), Some(secret)) => Ok(Some((user, secret))),
        _ => Err(HelperError::Answer {
            name: name.to_owned(),
            problem: "its answer is not a credential".to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn script(body: &str, time: Duration) -> Result<Option<(String, String)>, HelperError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("helper");
        fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let program = path.to_str().unwrap();
        let ran = loop {
            match run("x", program, ("get", "r.example"), time) {
                // Another test started a program while this script was written, and that one holds it open until it begins.
                Err(HelperError::Run { source, .. })
                    if source.kind() == io::ErrorKind::ExecutableFileBusy => {}
                ran => break ran,
            }
        };
        let (success, answer) = ran?;
        understand("x", success, &answer)
    }

    #[test]
    fn asks_for_a_server_and_reads_the_answer() {
        let body = r#"read server; printf '{"Username":"u","Secret":"for %s %s"}' "$1" "$server""#;
        let found = script(body, HELPER_TIME_MAX).unwrap().unwrap();
        assert_eq!(found, ("u".to_owned(), "for get r.example".to_owned()));
    }

    #[test]
    fn takes_not_found_as_no_credential() {
        let body = "echo 'credentials not found in native keychain'; exit 1";
        assert_eq!(script(body, HELPER_TIME_MAX).unwrap(), None);
    }

    #[test]
    fn reports_nonsense_and_failures() {
        for body in ["echo hello", "echo boom; exit 1", "true"] {
            assert!(
                matches!(
                    script(body, HELPER_TIME_MAX),
                    Err(HelperError::Answer { .. })
                ),
                "{body}"
            );
        }
    }

    #[test]
    fn kills_a_helper_that_hangs() {
        let hung = script("exec sleep 600", Duration::from_millis(50));
        assert!(matches!(hung, Err(HelperError::Time { .. })));
    }

    #[test]
    fn runs_no_paths() {
        for name in ["", "../x", "a/b", "-x", "a b", "a;b"] {
            assert!(
                matches!(get(name, "h"), Err(HelperError::Name { .. })),
                "{name}"
            );
        }
    }
}
