//! Real registries behind real doors: in the clear, behind TLS with a password, behind a token server.
//!
//! The token server is the tests' own; the registries check its tokens as they check anybody's.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use base64ct::{Base64UrlUnpadded, Encoding};
use serde_json::{Value, json};

use crate::registry::http::{Head, Reply, Wire};
use crate::support::{Ran, User, tool};

/// Is a registry program that runs until the value ends.
pub(super) struct Served {
    child: Child,
    pub(super) address: String,
    folder: tempfile::TempDir,
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Tells which registry is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Program {
    /// distribution v3.
    V3,
    /// Debian's docker-registry 2.8.2.
    Debian,
    /// With the referrers API.
    Referrers,
}

pub(super) const ALL: [Program; 3] = [Program::V3, Program::Debian, Program::Referrers];

/// Starts a registry; `more` is added below `http:` of its configuration and after it.
pub(super) fn start(program: Program, more: &str) -> Option<Served> {
    start_with(program, &[more])
}

/// Starts a registry with arguments, or with one text for its configuration.
fn start_with(program: Program, more: &[&str]) -> Option<Served> {
    let path = tool(match program {
        Program::V3 => "registry-v3",
        Program::Debian => "docker-registry",
        Program::Referrers => "registry-referrers",
    })?;
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(path);
    if program == Program::Referrers {
        command.args(more.iter().filter(|argument| !argument.is_empty()));
    } else {
        let more = more.concat();
        let config = format!(
            "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:0\n  secret: x\n{more}",
            folder.path().join("data").display()
        );
        let file = folder.path().join("config.yml");
        std::fs::write(&file, config).unwrap();
        command.arg("serve").arg(file);
    }
    command
        .env("OTEL_TRACES_EXPORTER", "none")
        .stdin(Stdio::null());
    let log = std::fs::File::create(folder.path().join("log")).unwrap();
    command.stdout(log.try_clone().unwrap()).stderr(log);
    let child = command.spawn().unwrap();
    let mut served = Served {
        child,
        address: String::new(),
        folder,
    };
    for _ in 0..2000 {
        let file = std::fs::File::open(served.folder.path().join("log")).unwrap();
        let line = BufReader::new(file)
            .lines()
            .map_while(Result::ok)
            .find(|line| line.contains("listening on "));
        if let Some((_, rest)) = line
            .as_deref()
            .and_then(|line| line.split_once("listening on "))
        {
            served.address = rest
                .chars()
                .take_while(|c| c.is_ascii_digit() || matches!(c, '.' | ':'))
                .collect();
            return Some(served);
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let log = std::fs::read_to_string(served.folder.path().join("log")).unwrap();
    panic!("{program:?} does not listen: {log}");
}

/// Tells how a registry is entered. The user is `user`, the password `secret`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Door {
    /// Plain HTTP, for everybody.
    Open,
    /// TLS, and a password.
    Password,
    /// Plain HTTP on this machine, and tokens.
    Token,
}

/// Is a registry behind a door, with everything a user's tools have to know to enter.
pub(super) struct House<'a> {
    user: &'a User,
    served: Served,
    door: Door,
    authority: PathBuf,
}

impl<'a> House<'a> {
    /// Starts a registry; nothing where a tool is missing, or where the registry has no such door.
    pub(super) fn open(user: &'a User, program: Program, door: Door) -> Option<Self> {
        let folder = user.path("door");
        std::fs::create_dir_all(&folder).unwrap();
        certificate(&folder)?;
        let path = |name: &str| folder.join(name).display().to_string();
        let (certificate, key) = (path("tls.crt"), path("tls.key"));
        let served = match (program, door) {
            (Program::Referrers, Door::Token) => return None,
            (Program::Referrers, Door::Open) => start_with(program, &[])?,
            (Program::Referrers, Door::Password) => {
                let login = ["-user", "user", "-password", "secret"];
                let tls = ["-tls-certificate", &certificate, "-tls-key", &key];
                start_with(program, &[login, tls].concat())?
            }
            (_, Door::Open) => start(program, "")?,
            (_, Door::Password) => {
                let line = user.notation(&tool("htpasswd")?, &["-Bbn", "user", "secret"]);
                std::fs::write(folder.join("htpasswd"), line.stdout).unwrap();
                let htpasswd = path("htpasswd");
                start(
                    program,
                    &format!(
                        "  tls:\n    certificate: {certificate}\n    key: {key}\nauth:\n  htpasswd:\n    realm: test\n    path: {htpasswd}\n"
                    ),
                )?
            }
            (_, Door::Token) => {
                let realm = serve_tokens(&folder);
                start(
                    program,
                    &format!(
                        "auth:\n  token:\n    realm: {realm}\n    service: tests\n    issuer: tests\n    rootcertbundle: {certificate}\n"
                    ),
                )?
            }
        };
        let house = Self {
            user,
            served,
            door,
            authority: folder.join("tls.crt"),
        };
        house.tell_the_tools();
        Some(house)
    }

    /// Returns `HOST:PORT/NAME`.
    pub(super) fn at(&self, name: &str) -> String {
        format!("{}/{name}", self.served.address)
    }

    /// Puts credentials and authority where docker and podman keep them.
    fn tell_the_tools(&self) {
        let host = &self.served.address;
        if self.door == Door::Password {
            let folder = self.user.path("home/.config/containers/certs.d").join(host);
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::copy(&self.authority, folder.join("ca.crt")).unwrap();
        }
        if self.door != Door::Open {
            let docker = self.user.path("home/.docker");
            std::fs::create_dir_all(&docker).unwrap();
            let auths = json!({"auths": {(host): {"auth": "dXNlcjpzZWNyZXQ="}}});
            std::fs::write(docker.join("config.json"), auths.to_string()).unwrap();
        }
    }

    /// Runs the program under test; `plain` is its flag for plain HTTP.
    pub(super) fn signetfs(&self, arguments: &[&str], plain: &'static str) -> Ran {
        let mut arguments = arguments.to_vec();
        if self.door != Door::Password {
            arguments.insert(1, plain);
        }
        self.user.run(&arguments)
    }

    /// Runs a program of others; `plain` are its flags for plain HTTP.
    pub(super) fn peer(&self, program: &Path, arguments: &[&str], plain: &[&str]) -> Ran {
        let mut command = self.user.notation_command(program, arguments);
        match self.door {
            Door::Password => command.env("SSL_CERT_FILE", &self.authority),
            _ => command.args(plain),
        };
        if self.door != Door::Open {
            command
                .env("NOTATION_USERNAME", "user")
                .env("NOTATION_PASSWORD", "secret");
        }
        Ran::of(command.output().unwrap())
    }
}

/// Makes a certificate for this machine.
pub(super) fn certificate(folder: &Path) -> Option<()> {
    let names = "DNS:localhost,IP:127.0.0.1";
    issue(&tool("openssl")?, folder, names, "CA:FALSE");
    Some(())
}

/// Makes a self-signed certificate for names, and its key.
pub(super) fn issue(openssl: &Path, folder: &Path, names: &str, kind: &str) {
    let status = Command::new(openssl)
        .args([
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
        ])
        .args(["-subj", "/CN=localhost", "-addext"])
        .arg(format!("subjectAltName={names}"))
        .arg("-addext")
        .arg(format!("basicConstraints=critical,{kind}"))
        .arg("-keyout")
        .arg(folder.join("tls.key"))
        .arg("-out")
        .arg(folder.join("tls.crt"))
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
}

/// Starts a token server for a folder with `tls.key` and `tls.crt`, and returns its URL. It ends with the tests.
/// <https://distribution.github.io/distribution/spec/auth/jwt/>
fn serve_tokens(folder: &Path) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let realm = format!("http://{}/token", listener.local_addr().unwrap());
    let folder = folder.to_owned();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut wire = Wire::new(stream);
            while let Some(head) = wire.head() {
                wire.skip_body(&head);
                if wire.reply(&head, &token_for(&head, &folder)).is_err() {
                    break;
                }
            }
        }
    });
    realm
}

fn token_for(head: &Head, folder: &Path) -> Reply {
    if head.header("authorization") != Some("Basic dXNlcjpzZWNyZXQ=") {
        return Reply::error(401, "UNAUTHORIZED");
    }
    let (_, query) = head.split();
    let scopes = query.iter().filter(|(name, _)| name == "scope");
    let access: Vec<Value> = scopes
        .flat_map(|(_, scope)| scope.split(' '))
        .filter_map(|scope| {
            let (kind, rest) = scope.split_once(':')?;
            let (name, actions) = rest.rsplit_once(':')?;
            let actions: Vec<&str> = actions.split(',').collect();
            Some(json!({"type": kind, "name": name, "actions": actions}))
        })
        .collect();
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let claims = json!({
        "iss": "tests", "sub": "user", "aud": "tests", "jti": "1",
        "iat": now, "nbf": now - 10, "exp": now + 300, "access": access,
    });
    let token = signed_token(&claims, folder);
    Reply {
        body: json!({"token": token, "expires_in": 300})
            .to_string()
            .into_bytes(),
        ..Reply::new(200)
    }
}

fn signed_token(claims: &Value, folder: &Path) -> String {
    let pem = std::fs::read_to_string(folder.join("tls.crt")).unwrap();
    let certificate: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let header = json!({"typ": "JWT", "alg": "RS256", "x5c": [certificate]});
    let encode = |bytes: &[u8]| Base64UrlUnpadded::encode_string(bytes);
    let text = format!(
        "{}.{}",
        encode(header.to_string().as_bytes()),
        encode(claims.to_string().as_bytes())
    );
    let file = folder.join(format!("claims-{:?}", std::thread::current().id()));
    std::fs::write(&file, &text).unwrap();
    let output = Command::new("openssl")
        .args(["dgst", "-sha256", "-sign"])
        .arg(folder.join("tls.key"))
        .arg(&file)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    format!("{text}.{}", encode(&output.stdout))
}
