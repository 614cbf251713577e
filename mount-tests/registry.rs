//! A registry for tests: the distribution protocol on a loopback port, with a log of every request and faults on demand.
//!
//! It checks what it is sent as strictly as the strictest registry at hand does, and can behave like the oddest.

mod blobs;
mod conformance;
mod handlers;
pub(crate) mod http;
mod manifests;
pub(crate) mod store;

use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;

use http::{Reply, Wire};
use store::Repository;

/// Says how the registry behaves.
#[derive(Debug, Clone)]
pub(crate) struct Behaviour {
    /// Whether it has the referrers API.
    pub(crate) referrers_api: bool,
    /// What it says of subjects.
    pub(crate) subject_header: SubjectHeader,
    /// Referrers on one page.
    pub(crate) page: usize,
    /// Bytes of the largest body of a blob in one piece.
    pub(crate) body_max: usize,
    /// Bytes of the smallest chunk it announces.
    pub(crate) chunk_min: Option<usize>,
    /// Whether it keeps what arrived of a broken upload.
    pub(crate) resumes: bool,
    /// Another registry of the tests that takes the uploads (its address).
    pub(crate) uploads_at: Option<String>,
    /// Whether uploads are led there by a redirect rather than by their location.
    pub(crate) redirects: bool,
    /// Whether tags can be moved.
    pub(crate) immutable_tags: bool,
    /// Whom it lets in.
    pub(crate) login: Login,
    /// Requests that a token is good for.
    pub(crate) token_uses: usize,
    /// The digest it says it stored.
    pub(crate) digest_header: DigestHeader,
    /// Whether it names the place of a manifest it stored.
    pub(crate) manifest_location: bool,
    /// Whether the referrers API, where there is one, lists nothing.
    pub(crate) lists_nothing: bool,
    /// Writes of the referrers tag after which it is not kept any more, although the answer says so.
    pub(crate) forget_tag_after: Option<usize>,
    /// What the token server is called, where it is not this registry.
    pub(crate) realm: Option<String>,
    /// Whether a manifest put by digest may bring tags along (`?tag=`).
    pub(crate) tag_parameter: bool,
    /// Whether `If-Match` is honoured.
    pub(crate) arbitrates: bool,
    /// Whether bodies without a length are taken; the program under test never sends any.
    pub(crate) takes_streams: bool,
    /// Whether blobs are mounted although no repository is named.
    pub(crate) mounts_anonymously: bool,
    /// Whether the referrers API answers `NAME_UNKNOWN` for a repository that is not there yet.
    pub(crate) names_are_unknown: bool,
    /// What is answered to a chunk.
    pub(crate) patch_status: u16,
    /// Whether the tag `sha256-HEX` is answered with the manifest of that digest.
    pub(crate) takes_tags_for_digests: bool,
    /// Whether a subject has to be there before what refers to it.
    pub(crate) wants_subjects: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SubjectHeader {
    Right,
    Missing,
    /// Sent although nothing is listed.
    Fake,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DigestHeader {
    Right,
    Missing,
    Wrong,
}

/// Tells whom a registry lets in: always `user` with `secret`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Login {
    Nobody,
    Basic,
    Token,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            referrers_api: true,
            subject_header: SubjectHeader::Right,
            page: 1000,
            body_max: usize::MAX,
            chunk_min: None,
            resumes: true,
            uploads_at: None,
            redirects: false,
            immutable_tags: false,
            login: Login::Nobody,
            token_uses: usize::MAX,
            digest_header: DigestHeader::Right,
            manifest_location: true,
            lists_nothing: false,
            forget_tag_after: None,
            realm: None,
            tag_parameter: false,
            arbitrates: false,
            takes_streams: false,
            mounts_anonymously: false,
            names_are_unknown: false,
            patch_status: 202,
            takes_tags_for_digests: false,
            wants_subjects: false,
        }
    }
}

/// Is something that goes wrong with one request.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    /// The method, or empty for any.
    pub(crate) method: &'static str,
    /// What the target holds, or empty for any.
    pub(crate) target: &'static str,
    /// How many such requests go well before.
    pub(crate) after: usize,
    /// How many then go wrong.
    pub(crate) times: usize,
    /// What happens.
    pub(crate) what: What,
}

#[derive(Debug, Clone)]
pub(crate) enum What {
    /// An answer instead of the right one.
    Answer(u16, Vec<(&'static str, String)>, &'static str),
    /// The connection is cut after this share (in hundredths) of the body.
    Cut(usize),
    /// When this share (in hundredths) of the body has arrived, a byte is written into each file at an offset, a moment after
    /// nothing more is sent; then the rest is read.
    Write(usize, Vec<PathBuf>, (u64, u8)),
    /// The answer is cut after this share (in hundredths) of its body.
    CutReply(usize),
    /// The request is carried out and the connection cut instead of an answer.
    CutAfter,
    /// The request waits until the registry is released, and is then dropped; nothing is carried out.
    FreezeBefore,
    /// The request is carried out, and its answer waits for ever.
    FreezeAfter,
}

/// Is one request as it arrived.
#[derive(Debug, Clone, Default)]
pub(crate) struct Logged {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) authorization: Option<String>,
    pub(crate) status: u16,
    /// For a tag that is set: what a verifier would have found of its image at that moment.
    pub(crate) discoverable: Option<Vec<String>>,
}

/// Is what all connections share.
pub(crate) struct State {
    pub(crate) address: String,
    pub(crate) behaviour: Mutex<Behaviour>,
    pub(crate) repositories: Arc<Mutex<std::collections::BTreeMap<String, Repository>>>,
    pub(crate) log: Mutex<Vec<Logged>>,
    pub(crate) faults: Mutex<Vec<Fault>>,
    pub(crate) tokens: Mutex<std::collections::BTreeMap<String, usize>>,
    pub(crate) numbers: AtomicUsize,
    pub(crate) tag_writes: AtomicUsize,
    frozen: Mutex<bool>,
    thaw: Condvar,
    stopped: AtomicBool,
}

/// Is a running registry; it ends with the value.
pub(crate) struct Registry {
    pub(crate) state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

impl Registry {
    /// Starts a registry.
    pub(crate) fn start(behaviour: Behaviour) -> Self {
        Self::start_with(behaviour, Arc::default())
    }

    /// Starts another host of the same registry: what is stored at one is there at both.
    pub(crate) fn start_beside(&self, behaviour: Behaviour) -> Self {
        Self::start_with(behaviour, Arc::clone(&self.state.repositories))
    }

    fn start_with(
        behaviour: Behaviour,
        repositories: Arc<Mutex<std::collections::BTreeMap<String, Repository>>>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let state = Arc::new(State {
            address,
            behaviour: Mutex::new(behaviour),
            repositories,
            log: Mutex::default(),
            faults: Mutex::default(),
            tokens: Mutex::default(),
            numbers: AtomicUsize::new(1),
            tag_writes: AtomicUsize::new(0),
            frozen: Mutex::new(false),
            thaw: Condvar::new(),
            stopped: AtomicBool::new(false),
        });
        let shared = Arc::clone(&state);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if shared.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || serve(&shared, stream));
            }
        });
        Self {
            state,
            thread: Some(thread),
        }
    }

    /// Returns `HOST:PORT/NAME`.
    pub(crate) fn at(&self, name: &str) -> String {
        format!("{}/{name}", self.state.address)
    }

    /// Makes something go wrong.
    pub(crate) fn fault(&self, fault: Fault) {
        self.state.faults.lock().unwrap().push(fault);
    }

    /// Makes everything go well again.
    pub(crate) fn heal(&self) {
        self.state.faults.lock().unwrap().clear();
        *self.state.frozen.lock().unwrap() = false;
        self.state.thaw.notify_all();
    }

    /// Changes how the registry behaves from now on.
    pub(crate) fn behave(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut self.state.behaviour.lock().unwrap());
    }

    /// Takes the log.
    pub(crate) fn take_log(&self) -> Vec<Logged> {
        std::mem::take(&mut *self.state.log.lock().unwrap())
    }

    /// Returns whether a request hangs.
    pub(crate) fn is_frozen(&self) -> bool {
        *self.state.frozen.lock().unwrap()
    }

    /// Returns a repository.
    pub(crate) fn repository(&self, name: &str) -> Repository {
        self.state
            .repositories
            .lock()
            .unwrap()
            .get(name)
            .cloned()
            .unwrap_or_default()
    }

    /// Changes a repository behind everybody's back.
    pub(crate) fn change(&self, name: &str, change: impl FnOnce(&mut Repository)) {
        change(
            self.state
                .repositories
                .lock()
                .unwrap()
                .entry(name.to_owned())
                .or_default(),
        );
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.heal();
        self.state.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(&self.state.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl State {
    pub(crate) fn behaviour(&self) -> MutexGuard<'_, Behaviour> {
        self.behaviour.lock().unwrap()
    }

    pub(crate) fn next_number(&self) -> usize {
        self.numbers.fetch_add(1, Ordering::SeqCst)
    }

    /// Returns what goes wrong with a request, counting it.
    fn fault(&self, method: &str, target: &str) -> Option<What> {
        let mut faults = self.faults.lock().unwrap();
        for fault in faults.iter_mut() {
            let is_meant = (fault.method.is_empty() || fault.method == method)
                && target.contains(fault.target);
            if !is_meant {
                continue;
            }
            if fault.after > 0 {
                fault.after -= 1;
            } else if fault.times > 0 {
                fault.times -= 1;
                return Some(fault.what.clone());
            }
        }
        None
    }

    fn freeze(&self) {
        let mut frozen = self.frozen.lock().unwrap();
        *frozen = true;
        while *frozen && !self.stopped.load(Ordering::SeqCst) {
            frozen = self.thaw.wait(frozen).unwrap();
        }
    }
}

/// Answers requests of one connection until it closes.
fn serve(state: &State, stream: TcpStream) {
    let mut wire = Wire::new(stream);
    while let Some(mut head) = wire.head() {
        assert!(
            !head.is_chunked || state.behaviour().takes_streams,
            "registries want lengths: {head:?}"
        );
        if head.is_chunked && !wire.take_chunks(&mut head) {
            return;
        }
        let fault = state.fault(&head.method, &head.target);
        let mut logged = Logged {
            method: head.method.clone(),
            target: head.target.clone(),
            authorization: head.header("authorization").map(str::to_owned),
            ..Logged::default()
        };
        let share = match &fault {
            Some(What::FreezeBefore) => {
                state.log.lock().unwrap().push(logged);
                state.freeze();
                return;
            }
            Some(What::Answer(status, headers, body)) => {
                logged.status = *status;
                state.log.lock().unwrap().push(logged);
                let headers = headers
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), value.clone()))
                    .collect();
                let reply = Reply {
                    status: *status,
                    headers,
                    body: body.as_bytes().to_vec(),
                };
                // An answer before the body has arrived: the connection cannot be used again.
                wire.skip_body(&head);
                if wire.reply(&head, &reply).is_err() {
                    return;
                }
                continue;
            }
            Some(What::Cut(share) | What::Write(share, ..)) => Some(*share),
            _ => None,
        };
        let early = handlers::early(state, &head);
        let (reply, body) = match early {
            Some(reply) => {
                let whole = !head.expects_continue();
                if whole {
                    wire.skip_body(&head);
                }
                (reply, whole)
            }
            None => {
                let (mut bytes, mut whole) = wire.body(&head, share);
                if let Some(What::Write(_, paths, (offset, byte))) = &fault {
                    std::thread::sleep(std::time::Duration::from_millis(300));
                    for path in paths {
                        let file = std::fs::File::options().write(true).open(path).unwrap();
                        file.write_all_at(&[*byte], *offset).unwrap();
                    }
                    whole = wire.rest(&head, &mut bytes);
                }
                let (reply, discoverable) = handlers::handle(state, &head, &bytes, whole);
                logged.discoverable = discoverable;
                (reply, whole)
            }
        };
        logged.status = reply.status;
        state.log.lock().unwrap().push(logged);
        match fault {
            Some(What::FreezeAfter) => {
                state.freeze();
                return;
            }
            Some(What::CutAfter | What::Cut(_)) => return,
            Some(What::CutReply(share)) => {
                let _ = wire.reply_cut(&head, &reply, share);
                return;
            }
            _ if !body && early_is_fatal(&head) => {
                let _ = wire.reply(&head, &reply);
                return;
            }
            _ if wire.reply(&head, &reply).is_err() => return,
            _ => {}
        }
    }
}

fn early_is_fatal(head: &http::Head) -> bool {
    head.length > 0
}
