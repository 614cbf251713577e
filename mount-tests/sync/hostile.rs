//! Servers that mean harm, or are no registries at all: every command ends, with an error, and shows nobody a secret.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::auth::log_in;
use super::{Signed, signed, sync};
use crate::registry::{Behaviour, Fault, Login, Registry, What};
use crate::support::Ran;

/// Is what a server does with a connection.
type Act = fn(&mut TcpStream);

/// Starts a server that does one thing with every connection, and returns its address. It ends with the tests.
fn serve(act: Act) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut head = [0; 4096];
                let _ = stream.read(&mut head);
                act(&mut stream);
            });
        }
    });
    address
}

/// Waits for a program, which has to end long before a person would give up.
#[track_caller]
fn ends(mut child: Child, what: &str) -> Ran {
    let deadline = Instant::now() + Duration::from_secs(120);
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > deadline {
            let _ = child.kill();
            panic!("{what}: it hangs");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ran::of(child.wait_with_output().unwrap())
}

fn start(made: &Signed, arguments: &[&str]) -> Child {
    let patience = ["--timeout", "1", "--attempts", "1"];
    let mut command = made.user.signetfs(&[arguments, &patience].concat());
    command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn forever(stream: &mut TcpStream, bytes: &[u8], pause: Duration) {
    while stream.write_all(bytes).is_ok() {
        std::thread::sleep(pause);
    }
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\n";

#[test]
fn no_server_holds_a_command_for_ever() {
    let servers: [(&str, Act); 9] = [
        ("silence", |stream| {
            let _ = stream.read_to_end(&mut Vec::new());
        }),
        ("a head that drips", |stream| {
            let _ = stream.write_all(OK);
            forever(stream, b"x", Duration::from_millis(200));
        }),
        ("headers without end", |stream| {
            let _ = stream.write_all(OK);
            forever(
                stream,
                b"x-header: aaaaaaaaaaaaaaaaaaaa\r\n",
                Duration::ZERO,
            );
        }),
        ("a line without end", |stream| {
            forever(stream, &[b'a'; 4096], Duration::ZERO);
        }),
        ("100 for ever", |stream| {
            forever(stream, b"HTTP/1.1 100 Continue\r\n\r\n", Duration::ZERO);
        }),
        ("chunks that are none", |stream| {
            let _ = stream.write_all(OK);
            let _ = stream.write_all(b"transfer-encoding: chunked\r\n\r\nZZZZ\r\nxx\r\n");
        }),
        ("a body that drips", |stream| {
            let _ = stream.write_all(OK);
            let _ = stream.write_all(b"content-length: 1000000\r\n\r\n");
            forever(stream, b"x", Duration::from_millis(200));
        }),
        ("a body without end", |stream| {
            let _ = stream.write_all(OK);
            let _ = stream.write_all(b"transfer-encoding: chunked\r\n\r\n");
            forever(stream, b"8\r\naaaaaaaa\r\n", Duration::ZERO);
        }),
        ("something else", |stream| {
            let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n");
        }),
    ];
    let made = signed();
    for (what, act) in servers {
        let address = serve(act);
        let reference = format!("{address}/app:v1");
        for arguments in [
            ["sync", "--plain-http", "hello:v1", &reference],
            ["sync", "--plain-http", &reference, "./pulled:v1"],
        ] {
            let ran = ends(start(&made, &arguments), what);
            assert!(matches!(ran.code, 31 | 32), "{what}: {ran:?}");
        }
        assert!(!made.user.path("pulled/index.json").exists(), "{what}");
    }
}

#[test]
fn who_wants_tls_is_told_from_who_is_down() {
    let servers: [(&str, Act); 5] = [
        ("an alert", |stream| {
            let _ = stream.write_all(b"\x15\x03\x01\x00\x02\x02\x46");
        }),
        ("Go", |stream| {
            let _ = stream.write_all(
                b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n",
            );
        }),
        ("nginx", |stream| {
            let _ = stream.write_all(
                b"HTTP/1.1 400 Bad Request\r\ncontent-length: 57\r\nconnection: close\r\n\r\n<p>The plain HTTP request was sent to HTTPS port</p>    \n",
            );
        }),
        ("a redirect", |stream| {
            let _ = stream.write_all(
                b"HTTP/1.1 303 See Other\r\nlocation: https://127.0.0.1:1/v2/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
            );
        }),
        ("another 400", |stream| {
            let _ = stream.write_all(
                b"HTTP/1.1 400 Bad Request\r\ncontent-length: 3\r\nconnection: close\r\n\r\nodd",
            );
        }),
    ];
    let made = signed();
    for (what, act) in servers {
        let reference = format!("{}/app:v1", serve(act));
        for arguments in [
            ["sync", "--plain-http", "hello:v1", &reference],
            ["sync", "--plain-http", &reference, "./pulled:v1"],
        ] {
            let ran = ends(start(&made, &arguments), what);
            assert!(matches!(ran.code, 31 | 32), "{what}: {ran:?}");
            let is_told = ran.stderr.contains("leave out --plain-http");
            // A redirect is followed where nothing is sent, and nobody is there.
            let expected = !matches!(what, "another 400" | "a redirect");
            assert_eq!(is_told, expected, "{what}: {ran:?}");
        }
    }
}

#[test]
fn a_server_that_says_yes_to_everything_is_not_believed() {
    // It has every manifest and blob, and takes whatever comes; it does not list the signatures.
    let address = serve(|stream| {
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
        let mut head = [0; 4096];
        while stream.write_all(answer).is_ok() && stream.read(&mut head).is_ok_and(|read| read > 0)
        {
        }
    });
    let made = signed();
    let reference = format!("{address}/app:v1");
    let ran = ends(
        start(&made, &["sync", "--plain-http", "hello:v1", &reference]),
        "yes",
    );
    assert!(matches!(ran.code, 31..=33), "{ran:?}");
}

/// Starts a server that gives an answer to each target, and returns its address and how often it was asked.
fn answering(answer: fn(&str, usize) -> String) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut head = [0; 4096];
            let read = stream.read(&mut head).unwrap_or(0);
            let head = String::from_utf8_lossy(&head[..read]).into_owned();
            let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
            let number = counted.fetch_add(1, Ordering::SeqCst);
            let _ = stream.write_all(answer(&target, number).as_bytes());
        }
    });
    (address, asked)
}

fn http(status: &str, more: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n{more}\r\n{body}"
    )
}

const MANIFEST: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"layers":[]}"#;

fn list(entries: &[String]) -> String {
    let kind = "application/vnd.oci.image.index.v1+json";
    let entries = entries.join(",");
    format!(r#"{{"schemaVersion":2,"mediaType":"{kind}","manifests":[{entries}]}}"#)
}

fn referrer(number: usize, annotation: &str) -> String {
    format!(
        r#"{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:{number:064x}","size":2,"annotations":{{"a":"{annotation}"}}}}"#
    )
}

#[test]
fn lists_without_an_end_end() {
    let made = signed();
    // Each referrer has thousands of others.
    let (address, asked) = answering(|target, number| match target {
        "/v2/app/manifests/v1" => http("200 OK", "", MANIFEST),
        target if target.starts_with("/v2/app/referrers/") => {
            let entries = (0..15_000).map(|entry| referrer(number * 15_000 + entry, ""));
            http("200 OK", "", &list(&entries.collect::<Vec<_>>()))
        }
        _ => http("404 Not Found", "", ""),
    });
    let reference = format!("{address}/app:v1");
    let pull = ["sync", "--plain-http", &reference, "./pulled:v1"];
    let ran = ends(start(&made, &pull), "referrers of referrers");
    assert!(ran.error(31).contains("lists more than"), "{ran:?}");
    assert!(asked.load(Ordering::SeqCst) < 50, "{asked:?}");
    // Each page is as large as a page may be, and there is another one.
    let (address, asked) = answering(|target, number| match target {
        "/v2/app/manifests/v1" => http("200 OK", "", MANIFEST),
        target if target.starts_with("/v2/app/referrers/") => {
            let next = format!("link: </v2/app/referrers/next{number}>; rel=\"next\"\r\n");
            let page = list(&[referrer(number, &"x".repeat(4_000_000))]);
            http("200 OK", &next, &page)
        }
        _ => http("404 Not Found", "", ""),
    });
    let reference = format!("{address}/app:v1");
    let pull = ["sync", "--plain-http", &reference, "./pulled:v1"];
    let ran = ends(start(&made, &pull), "pages");
    assert!(ran.error(31).contains("has no end"), "{ran:?}");
    assert!(asked.load(Ordering::SeqCst) < 50, "{asked:?}");
}

#[test]
fn a_secret_is_in_no_word_that_is_printed() {
    let made = signed();
    for login in [Login::Basic, Login::Token] {
        let registry = Registry::start(Behaviour {
            login,
            ..Behaviour::default()
        });
        log_in(&made.user, &registry);
        let secrets = ["secret", "dXNlcjpzZWNyZXQ="];
        let refused = match login {
            Login::Token => ("GET", "/token"),
            _ => ("PATCH", "/nowhere"),
        };
        for (method, target) in [("HEAD", ""), ("POST", ""), ("PUT", ""), refused] {
            registry.heal();
            registry.fault(Fault {
                method,
                target,
                after: 0,
                times: usize::MAX,
                what: What::Answer(400, vec![], ""),
            });
            let ran = sync(
                &made.user,
                "hello:v1",
                &registry.at("app"),
                &["--attempts", "1"],
            );
            assert_eq!(ran.code == 0, method == "PATCH", "{ran:?}");
            for secret in secrets {
                assert!(!format!("{ran:?}").contains(secret), "{ran:?}");
            }
            assert!(!format!("{ran:?}").contains("token-"), "{ran:?}");
        }
    }
}

#[test]
fn words_of_a_registry_are_no_commands_for_a_terminal() {
    let made = signed();
    let registry = Registry::start(Behaviour::default());
    registry.fault(Fault {
        method: "HEAD",
        target: "",
        after: 0,
        times: 1,
        what: What::Answer(
            404,
            vec![("warning", "299 - \"\u{1b}[2Jold\"".to_owned())],
            "",
        ),
    });
    registry.fault(Fault {
        method: "POST",
        target: "",
        after: 0,
        times: usize::MAX,
        what: What::Answer(
            400,
            vec![],
            "{\"errors\":[{\"code\":\"X\",\"message\":\"\\u001b[31mred\\nsignetfs: done\"}]}",
        ),
    });
    let ran = sync(&made.user, "hello:v1", &registry.at("app"), &[]);
    ran.error(31);
    assert!(!ran.stderr.contains('\u{1b}'), "{ran:?}");
    assert!(!ran.stderr.contains("\nsignetfs: done"), "{ran:?}");
}

#[test]
fn a_proxy_that_fails_is_named_and_socks_is_refused() {
    let made = signed();
    let sync_through = |proxy: &str| {
        let mut command = made.user.signetfs(&[
            "sync",
            "--plain-http",
            "--attempts",
            "1",
            "hello:v1",
            "registry.example/app:v1",
        ]);
        command.env("HTTP_PROXY", proxy);
        Ran::of(command.output().unwrap())
    };
    let down = sync_through("http://127.0.0.1:1");
    let words = down.error(32);
    assert!(words.contains("through the proxy 127.0.0.1:1"), "{words}");
    for proxy in ["socks5://127.0.0.1:1", "socks4://127.0.0.1:1"] {
        let refused = sync_through(proxy);
        let words = refused.error(1);
        assert!(words.contains("SOCKS"), "{words}");
    }
}
