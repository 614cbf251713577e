use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use super::*;
use crate::http::{Body, Client, ClientOptions, Method, Origin, Request, TlsOptions};

/// Is a proxy that opens no tunnel, says what it was asked, and answers each request with its body.
fn proxy() -> (String, thread::JoinHandle<Vec<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let serve = move || {
        let mut asked = Vec::new();
        let (stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream);
        loop {
            let mut head: Vec<String> = Vec::new();
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap() == 0 {
                    return asked;
                }
                if line.trim_end().is_empty() {
                    break;
                }
                head.push(line.trim_end().to_owned());
            }
            let length = head.iter().find_map(|line| {
                line.to_lowercase()
                    .strip_prefix("content-length: ")
                    .map(str::to_owned)
            });
            let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
            reader.read_exact(&mut body).unwrap();
            let status = match head[0].starts_with("CONNECT") {
                true => "405 Method Not Allowed",
                false
                    if head
                        .iter()
                        .any(|line| line.starts_with("proxy-authorization")) =>
                {
                    "200 OK"
                }
                false => "407 Proxy Authentication Required",
            };
            asked.push(head);
            let answer = format!(
                "HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            reader.get_mut().write_all(answer.as_bytes()).unwrap();
            reader.get_mut().write_all(&body).unwrap();
        }
    };
    (address, thread::spawn(serve))
}

fn client(proxy: &str) -> Client {
    let options = ClientOptions {
        tls: TlsOptions::default(),
        stall: Duration::from_secs(20),
        connections: 1,
    };
    let origin = Origin::parse(Scheme::Http, "registry.example:5000").unwrap();
    let environment = |name: &str| (name == "HTTP_PROXY").then(|| proxy.to_owned());
    Client::new(&options, &origin, &environment).unwrap()
}

#[test]
fn plain_http_asks_a_proxy_for_the_whole_url_and_for_no_tunnel() {
    let (address, served) = proxy();
    let client = client(&format!("http://me:s%40id@{address}"));
    let url = Url::parse("http://registry.example:5000/v2/a/blobs/?b=c").unwrap();
    // Longer than what is sent at once; the second request goes over the same connection.
    let long = vec![b'x'; 300_000];
    let own = [("x-own", "1".to_owned())];
    for (method, body) in [(Method::Put, Body::Bytes(&long)), (Method::Get, Body::None)] {
        let sent = match &body {
            Body::Bytes(bytes) => bytes.to_vec(),
            _ => Vec::new(),
        };
        let answer = client.send(Request {
            method,
            url: &url,
            headers: &own,
            body,
        });
        let answer = answer.unwrap();
        assert_eq!(answer.status, 200);
        assert_eq!(answer.into_bytes(1 << 20).unwrap(), sent);
    }
    drop(client);
    let asked = served.join().unwrap();
    assert_eq!(asked.len(), 2);
    for (head, method) in asked.iter().zip(["PUT", "GET"]) {
        let line = format!("{method} http://registry.example:5000/v2/a/blobs/?b=c HTTP/1.1");
        assert_eq!(head[0], line);
        for line in [
            "host: registry.example:5000",
            "proxy-authorization: Basic bWU6c0BpZA==",
            "x-own: 1",
        ] {
            assert_eq!(
                head.iter().filter(|had| *had == line).count(),
                1,
                "{head:?}"
            );
        }
    }
}

#[test]
fn what_was_never_sent_names_no_later_request() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let client = client(&format!("http://{address}"));
    let url = Url::parse("http://registry.example:5000/v2/").unwrap();
    let failed = client.send(Request {
        method: Method::Get,
        url: &url,
        headers: &[],
        body: Body::None,
    });
    assert!(failed.is_err());
    assert_eq!(take(), None);
}

#[test]
fn a_proxy_that_wants_credentials_is_named() {
    let (address, served) = proxy();
    let client = client(&format!("http://{address}"));
    let url = Url::parse("http://registry.example:5000/v2/").unwrap();
    let refused = client.send(Request {
        method: Method::Get,
        url: &url,
        headers: &[],
        body: Body::None,
    });
    let words = crate::oci::causes(&refused.unwrap_err());
    assert!(words.contains(&address) && words.contains("407"), "{words}");
    drop(client);
    served.join().unwrap();
}

#[test]
fn only_what_begins_like_a_request_is_completed() {
    let completed = complete(b"GET /v2/ HTTP/1.1\r\nhost: a\r\n", "http://a").unwrap();
    assert_eq!(completed, b"GET http://a/v2/ HTTP/1.1\r\nhost: a\r\n");
    for other in ["", "GET", "GET ", "GET http://a/ HTTP/1.1", "body"] {
        assert!(complete(other.as_bytes(), "http://a").is_err(), "{other}");
    }
}
