use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::*;
use crate::files::{Folder, Lock};
use crate::notary::{EnvelopeFormat, Payload, Policy, Signer, StoreName, StoreType, Terms};
use crate::oci::{Descriptor, Digest, UnixTime};

const NOW: UnixTime = UnixTime(1_790_000_000);
const ROOT: &[u8] = include_bytes!("../notary/testdata/policy/root.pem");
const OTHER: &[u8] = include_bytes!("../notary/testdata/policy/other.pem");
const LEAF: &[u8] = include_bytes!("../notary/testdata/policy/leaf.pem");

struct Place {
    folder: TempDir,
    dir: ConfigDir,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dir = ConfigDir::find(Some(&folder.path().join("notation")), &|_| None);
        Self { folder, dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file below the configuration, 0600.
    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        mode(&path, 0o600);
        path
    }
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn mode_of(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn policy(stores: &str) -> String {
    format!(
        r#"{{"version":"1.0","trustPolicies":[{{"name":"p","registryScopes":["*"],"signatureVerification":{{"level":"strict"}},"trustStores":{stores},"trustedIdentities":["*"]}}]}}"#
    )
}

fn ca(name: &str) -> StoreName {
    StoreName {
        kind: StoreType::Ca,
        name: name.to_owned(),
    }
}

#[test]
fn finds_the_folder_where_notation_does() {
    let find = |flag: Option<&str>, set: &[(&str, &str)]| {
        let env = |name: &str| {
            let found = set.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        };
        let dir = ConfigDir::find(flag.map(Path::new), &env);
        dir.path().to_str().unwrap().to_owned()
    };
    let all = [
        ("NOTATION_CONFIG", "/n"),
        ("XDG_CONFIG_HOME", "/x"),
        ("HOME", "/h"),
    ];
    assert_eq!(find(Some("/flag"), &all), "/flag");
    assert_eq!(find(None, &all), "/n");
    assert_eq!(find(None, &all[1..]), "/x/notation");
    assert_eq!(find(None, &all[2..]), "/h/.config/notation");
    assert_eq!(
        find(None, &[("NOTATION_CONFIG", ""), ("HOME", "/h")]),
        "/h/.config/notation"
    );
    assert_eq!(
        find(None, &[("XDG_CONFIG_HOME", "x"), ("HOME", "/h")]),
        "/h/.config/notation"
    );
    let here = std::env::current_dir().unwrap();
    assert_eq!(find(Some("rel"), &all), here.join("rel").to_str().unwrap());
    // Never the working directory, which may be a layout.
    let nowhere = find(None, &[]);
    assert!(!nowhere.starts_with(here.to_str().unwrap()));
    assert!(
        read_policy(&ConfigDir::find(None, &|_| None))
            .unwrap()
            .is_none()
    );
}

#[test]
fn reads_the_preferred_policy_and_tells_of_a_differing_second_one() {
    let place = Place::new();
    assert_eq!(read_policy(&place.dir).unwrap(), None);
    place.write("trustpolicy.json", "one");
    let read = read_policy(&place.dir).unwrap().unwrap();
    assert_eq!(read.path, place.path("trustpolicy.json"));
    assert_eq!(
        (&*read.bytes, read.sha256, read.shadowed),
        (&b"one"[..], Digest::of(b"one"), false)
    );
    let preferred = place.write("trustpolicy.oci.json", "one");
    let read = read_policy(&place.dir).unwrap().unwrap();
    assert_eq!((read.path, read.shadowed), (preferred, false));
    place.write("trustpolicy.oci.json", "two");
    assert!(read_policy(&place.dir).unwrap().unwrap().shadowed);
    fs::remove_file(place.path("trustpolicy.json")).unwrap();
    symlink("trustpolicy.oci.json", place.path("trustpolicy.json")).unwrap();
    assert!(read_policy(&place.dir).unwrap().unwrap().shadowed);
}

#[test]
fn refuses_policies_that_are_no_plain_files() {
    let words = "trust policy is not a regular file (symlinks are not supported). To create a trust policy, see: https://notaryproject.dev/docs/quickstart/#create-a-trust-policy";
    let place = Place::new();
    place.write("real.json", "{}");
    let path = place.path("trustpolicy.json");
    symlink("real.json", &path).unwrap();
    assert_eq!(read_policy(&place.dir).unwrap_err().to_string(), words);
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert_eq!(read_policy(&place.dir).unwrap_err().to_string(), words);
    fs::remove_dir(&path).unwrap();
    let fifo = std::process::Command::new("mkfifo").arg(&path).status();
    assert!(fifo.unwrap().success());
    assert_eq!(read_policy(&place.dir).unwrap_err().to_string(), words);
    assert_eq!(read_policy_file(&path).unwrap_err().to_string(), words);
    assert_eq!(
        read_policy_file(place.dir.path()).unwrap_err().to_string(),
        words
    );
}

#[test]
fn follows_symlinks_to_a_policy_that_was_named() {
    let place = Place::new();
    place.write("..data/policy.json", "{}");
    symlink("..data/policy.json", place.path("policy.json")).unwrap();
    let read = read_policy_file(&place.path("policy.json")).unwrap();
    assert_eq!(&*read.bytes, b"{}");
    let absent = read_policy_file(&place.path("none.json"));
    assert!(matches!(absent, Err(SettingsError::Absent { .. })));
}

#[test]
fn refuses_policies_that_anybody_could_have_written_or_that_are_too_large() {
    let place = Place::new();
    for (bits, allowed) in [
        (0o600, true),
        (0o644, true),
        (0o664, true),
        (0o666, false),
        (0o602, false),
    ] {
        let path = place.write("trustpolicy.json", "{}");
        mode(&path, bits);
        for read in [
            read_policy(&place.dir).map(|_| ()),
            read_policy_file(&path).map(|_| ()),
        ] {
            match read {
                Ok(()) => assert!(allowed, "{bits:o}"),
                Err(SettingsError::Permissions { .. }) => assert!(!allowed, "{bits:o}"),
                Err(error) => panic!("{bits:o}: {error}"),
            }
        }
    }
    let limit = usize::try_from(crate::oci::limits::POLICY_BYTES_MAX).unwrap();
    let path = place.write("trustpolicy.json", vec![b' '; limit]);
    assert!(read_policy(&place.dir).is_ok() && read_policy_file(&path).is_ok());
    place.write("trustpolicy.json", vec![b' '; limit + 1]);
    assert!(matches!(
        read_policy(&place.dir),
        Err(SettingsError::TooLarge { .. })
    ));
    assert!(matches!(
        read_policy_file(&path),
        Err(SettingsError::TooLarge { .. })
    ));
}

#[test]
fn imports_valid_policies_and_replaces_valid_ones_only_by_force() {
    let place = Place::new();
    let good = policy(r#"["ca:s"]"#);
    let refused = import_policy(&place.dir, b"{}", Force::Yes);
    assert!(matches!(refused, Err(SettingsError::PolicyInvalid(_))));
    assert!(!place.dir.path().exists());
    let imported = import_policy(&place.dir, good.as_bytes(), Force::No).unwrap();
    let path = place.path("trustpolicy.json");
    assert_eq!((&imported.path, imported.shadowed_by), (&path, None));
    assert_eq!(fs::read_to_string(&path).unwrap(), good);
    assert_eq!((mode_of(&path), mode_of(place.dir.path())), (0o600, 0o700));
    let other = policy(r#"["ca:other"]"#);
    let refused = import_policy(&place.dir, other.as_bytes(), Force::No);
    assert!(matches!(refused, Err(SettingsError::Exists { .. })));
    assert_eq!(fs::read_to_string(&path).unwrap(), good);
    import_policy(&place.dir, other.as_bytes(), Force::Yes).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), other);
    place.write("trustpolicy.json", "broken");
    place.write("trustpolicy.oci.json", "x");
    let imported = import_policy(&place.dir, good.as_bytes(), Force::No).unwrap();
    assert_eq!(
        imported.shadowed_by,
        Some(place.path("trustpolicy.oci.json"))
    );
}

#[test]
fn reads_the_stores_that_a_policy_names() {
    let place = Place::new();
    place.write("truststore/x509/ca/s/r.pem", ROOT);
    place.write("truststore/x509/ca/s/o.crt", OTHER);
    place.write("truststore/x509/ca/empty/.keep", ROOT);
    fs::remove_file(place.path("truststore/x509/ca/empty/.keep")).unwrap();
    place.write("truststore/x509/ca/junk/README", "read me");
    place.write("truststore/x509/ca/leaf/l.pem", LEAF);
    let policy = Policy::parse(
        policy(r#"["ca:s","ca:empty","ca:junk","ca:leaf","ca:missing","ca:..","ca:.","tsa:s"]"#)
            .as_bytes(),
    )
    .unwrap();
    let anchors = read_anchors(&place.dir, &policy);
    assert_eq!(anchors.stores.len(), 8);
    assert_eq!(anchors.stores[&ca("s")].as_ref().unwrap().len(), 2);
    for (store, wanted) in [
        (
            "empty",
            "no x509 certificates were found in trust store \"empty\" of type \"ca\"",
        ),
        (
            "junk",
            "failed to read the trusted certificate README in trust store junk of type ca",
        ),
        (
            "leaf",
            "failed to validate the trusted certificate l.pem in trust store leaf of type ca",
        ),
        (
            "missing",
            "the trust store \"missing\" of type \"ca\" does not exist",
        ),
        (
            "..",
            "the trust store .. of type ca has the name of a folder, not of a store",
        ),
        (
            ".",
            "the trust store . of type ca has the name of a folder, not of a store",
        ),
    ] {
        let error = anchors.stores[&ca(store)].as_ref().unwrap_err().to_string();
        assert!(error.starts_with(wanted), "{error}");
    }
}

#[test]
fn refuses_stores_with_anything_that_others_control() {
    let read = |place: &Place| {
        let policy = Policy::parse(policy(r#"["ca:s"]"#).as_bytes()).unwrap();
        let result = read_anchors(&place.dir, &policy).stores.remove(&ca("s"));
        result.unwrap().map_err(|error| error.to_string())
    };
    let changed = |change: fn(&Path)| {
        let place = Place::new();
        place.write("truststore/x509/ca/s/r.pem", ROOT);
        change(&place.path("truststore/x509/ca"));
        read(&place)
    };
    let irregular = "is not a regular file (directories or symlinks are not supported)";
    for (change, wanted) in [
        (
            (|ca| symlink("r.pem", ca.join("s/link.pem")).unwrap()) as fn(&Path),
            format!("trusted certificate link.pem in trust store s of type ca {irregular}"),
        ),
        (
            |ca| fs::create_dir(ca.join("s/sub")).unwrap(),
            format!("trusted certificate sub in trust store s of type ca {irregular}"),
        ),
        (
            |ca| mode(&ca.join("s/r.pem"), 0o666),
            "is writable by everybody".to_owned(),
        ),
        (
            |ca| mode(&ca.join("s"), 0o777),
            "is writable by everybody".to_owned(),
        ),
        (
            |ca| {
                fs::rename(ca.join("s"), ca.join("t")).unwrap();
                symlink("t", ca.join("s")).unwrap();
            },
            "is not a regular directory (symlinks are not supported)".to_owned(),
        ),
        (
            |ca| {
                fs::remove_dir_all(ca.join("s")).unwrap();
                fs::write(ca.join("s"), ROOT).unwrap();
            },
            "is not a regular directory (symlinks are not supported)".to_owned(),
        ),
    ] {
        let error = changed(change).unwrap_err();
        assert!(error.contains(&wanted), "{error}");
    }
    // Above the named store symlinks are followed, as notation follows them.
    let linked = changed(|ca| {
        fs::rename(ca, ca.with_file_name("elsewhere")).unwrap();
        symlink("elsewhere", ca).unwrap();
    });
    assert_eq!(linked.unwrap().len(), 1);
}

#[test]
fn adds_lists_shows_and_deletes_certificates() {
    let place = Place::new();
    let file = place.folder.path().join("root.pem");
    fs::write(&file, ROOT).unwrap();
    let added = add_certificate(&place.dir, &ca("s"), &file).unwrap();
    assert_eq!(added.path, place.path("truststore/x509/ca/s/root.pem"));
    assert_eq!(mode_of(&added.path), 0o600);
    assert_eq!(mode_of(&place.path("truststore/x509/ca/s")), 0o700);
    let again = add_certificate(&place.dir, &ca("s"), &file);
    assert!(matches!(again, Err(SettingsError::Exists { .. })));
    let leaf = place.folder.path().join("leaf.pem");
    fs::write(&leaf, LEAF).unwrap();
    let refused = add_certificate(&place.dir, &ca("s"), &leaf);
    assert!(matches!(refused, Err(SettingsError::Store(_))));
    for name in ["..", ".", "", "a/b"] {
        let refused = add_certificate(&place.dir, &ca(name), &file);
        assert!(
            matches!(refused, Err(SettingsError::Name { .. })),
            "{name:?}"
        );
        let refused = delete_store(&place.dir, &ca(name));
        assert!(
            matches!(refused, Err(SettingsError::Name { .. })),
            "{name:?}"
        );
    }
    assert_eq!(
        list_certificates(&place.dir, None, None).unwrap(),
        std::slice::from_ref(&added)
    );
    assert_eq!(
        list_certificates(&place.dir, Some(StoreType::Tsa), None).unwrap(),
        []
    );
    assert_eq!(list_certificates(&place.dir, None, Some("t")).unwrap(), []);
    assert_eq!(
        show_certificate(&place.dir, &ca("s"), "root.pem")
            .unwrap()
            .len(),
        1
    );
    let absent = show_certificate(&place.dir, &ca("s"), "none.pem");
    assert!(matches!(absent, Err(SettingsError::Absent { .. })));
    assert_eq!(
        delete_certificate(&place.dir, &ca("s"), "root.pem").unwrap(),
        added.path
    );
    assert!(delete_certificate(&place.dir, &ca("s"), "root.pem").is_err());
    delete_store(&place.dir, &ca("s")).unwrap();
    assert!(!place.path("truststore/x509/ca/s").exists());
}

#[test]
fn the_stamp_changes_with_every_input_and_with_nothing_else() {
    let place = Place::new();
    let root = place.write("truststore/x509/ca/s/r.pem", ROOT);
    place.write("trustpolicy.json", "{}");
    let pinned = place.write("pinned.json", "{}");
    let taker = StampTaker::default();
    // What just changed makes every stamp differ; what was seen is compared here.
    let values = |policy| stamp(&place.dir, policy).values;
    let mut last = stamp(&place.dir, None);
    assert_eq!(values(None), last.values);
    assert_eq!(taker.stamp(&place.dir, None).values, last.values);
    place.write("config.json", "{}");
    assert_eq!(values(None), last.values);
    let changes: [(&str, &dyn Fn()); 7] = [
        ("policy", &|| drop(place.write("trustpolicy.json", "{ }"))),
        ("preferred policy", &|| {
            drop(place.write("trustpolicy.oci.json", "{}"))
        }),
        ("keys", &|| drop(place.write("signingkeys.json", "{}"))),
        ("new store", &|| {
            drop(place.write("truststore/x509/tsa/t/r.pem", ROOT))
        }),
        ("in place", &|| fs::write(&root, OTHER).unwrap()),
        ("mode", &|| mode(&root, 0o640)),
        ("removed", &|| fs::remove_file(&root).unwrap()),
    ];
    for (name, change) in changes {
        change();
        let next = stamp(&place.dir, None);
        assert_ne!(next.values, last.values, "{name}");
        assert!(next.newest >= last.newest, "{name}");
        assert_eq!(taker.stamp(&place.dir, None).values, next.values, "{name}");
        last = next;
    }
    let before = values(Some(&pinned));
    place.write("trustpolicy.json", "other");
    assert_eq!(values(Some(&pinned)), before);
    place.write("pinned.json", "other");
    assert_ne!(values(Some(&pinned)), before);
    assert_eq!(
        stamp(&ConfigDir::find(None, &|_| None), None).newest,
        Default::default()
    );
}

#[test]
fn edits_the_key_list_and_keeps_what_others_wrote() {
    let place = Place::new();
    assert_eq!(read_keys(&place.dir).unwrap(), KeyList::default());
    let pair = |name: &str| {
        (
            PathBuf::from(format!("/k/{name}.key")),
            PathBuf::from("/k/<&>.crt"),
        )
    };
    let (key, certificate) = pair("a");
    add_key(&place.dir, "a", (&key, &certificate), true).unwrap();
    let path = place.path("signingkeys.json");
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        "{\n    \"default\": \"a\",\n    \"keys\": [\n        {\n            \"name\": \"a\",\n            \"keyPath\": \"/k/a.key\",\n            \"certPath\": \"/k/\\u003c\\u0026\\u003e.crt\"\n        }\n    ]\n}\n"
    );
    assert_eq!((mode_of(&path), mode_of(place.dir.path())), (0o600, 0o700));
    place.write(
        "signingkeys.json",
        r#"{"future":[1],"keys":[{"name":"p","id":"1","pluginName":"kms","pluginConfig":{"x":"y"},"more":true}]}"#,
    );
    add_key(&place.dir, "a", (&key, &certificate), false).unwrap();
    set_default(&place.dir, "p").unwrap();
    let text = fs::read_to_string(&path).unwrap();
    for kept in [
        "\"future\": [",
        "\"more\": true",
        "\"x\": \"y\"",
        "\"default\": \"p\"",
    ] {
        assert!(text.contains(kept), "{text}");
    }
    let list = read_keys(&place.dir).unwrap();
    let plugin = KeySource::Plugin {
        id: "1".to_owned(),
        plugin: "kms".to_owned(),
    };
    assert_eq!(list.find(None).unwrap().source, plugin);
    let again = add_key(&place.dir, "a", (&key, &certificate), false);
    assert!(matches!(again, Err(SettingsError::KeyExists { .. })));
    let unknown = remove_keys(&place.dir, &["p", "z"]);
    assert!(matches!(unknown, Err(SettingsError::NoKey { .. })));
    assert_eq!(read_keys(&place.dir).unwrap(), list);
    remove_keys(&place.dir, &["p"]).unwrap();
    let left = read_keys(&place.dir).unwrap();
    assert_eq!((left.default.as_deref(), left.keys.len()), (None, 1));
    assert!(matches!(left.find(None), Err(SettingsError::NoDefaultKey)));
    assert!(matches!(
        set_default(&place.dir, "p"),
        Err(SettingsError::NoKey { .. })
    ));
    assert!(!place.path("signingkeys.json.lock").exists());
}

#[test]
fn refuses_key_lists_that_notation_refuses_or_anybody_could_have_written() {
    let place = Place::new();
    for (text, wanted) in [
        (r#"{"keys":[{"name":""}]}"#, "key name cannot be empty"),
        (
            r#"{"keys":[{"name":"a"},{"name":"a"}]}"#,
            "multiple keys with name 'a' found",
        ),
        (
            r#"{"default":"","keys":[]}"#,
            "default key name cannot be empty",
        ),
        (r#"{"default":"a","keys":[]}"#, "default key 'a' not found"),
        (
            r#"{"Default":"a","keys":[{"name":"a"}]}"#,
            "equals a known member",
        ),
        (r#"{"keys":{}}"#, "not a list"),
        (r#"[]"#, "not an object"),
        (r#"{"keys":[],"keys":[]}"#, "malformed"),
        ("", "malformed"),
    ] {
        place.write("signingkeys.json", text);
        let error = read_keys(&place.dir).unwrap_err().to_string();
        assert!(error.contains(wanted), "{text}: {error}");
        assert!(set_default(&place.dir, "a").is_err());
        assert_eq!(
            fs::read_to_string(place.path("signingkeys.json")).unwrap(),
            text
        );
    }
    let path = place.write("signingkeys.json", r#"{"keys":null}"#);
    assert_eq!(read_keys(&place.dir).unwrap(), KeyList::default());
    mode(&path, 0o606);
    assert!(matches!(
        read_keys(&place.dir),
        Err(SettingsError::Permissions { .. })
    ));
    fs::rename(&path, place.path("real.json")).unwrap();
    symlink("real.json", &path).unwrap();
    assert!(matches!(
        read_keys(&place.dir),
        Err(SettingsError::NotRegular { .. })
    ));
    assert!(set_default(&place.dir, "a").is_err());
}

#[test]
fn parallel_additions_lose_no_key() {
    let place = Place::new();
    std::thread::scope(|scope| {
        for worker in 0..8 {
            let dir = &place.dir;
            scope.spawn(move || {
                for count in 0..5 {
                    let name = format!("k{worker}-{count}");
                    add_key(dir, &name, (Path::new("/k"), Path::new("/c")), false).unwrap();
                }
            });
        }
    });
    assert_eq!(read_keys(&place.dir).unwrap().keys.len(), 40);
    let folder = Folder::open(place.dir.path()).unwrap();
    let lock = Path::new("signingkeys.json.lock");
    let held = Lock::take(&folder, lock, std::time::Duration::ZERO);
    assert!(held.is_ok());
}

#[test]
fn generates_a_test_key_that_is_trusted_and_signs() {
    let place = Place::new();
    let made = generate_test(&place.dir, "wabbit-networks.io", 2048, true, NOW).unwrap();
    assert_eq!(
        made.key_path,
        place.path("localkeys/wabbit-networks.io.key")
    );
    assert_eq!(
        made.certificate_path,
        place.path("localkeys/wabbit-networks.io.crt")
    );
    assert_eq!(made.not_after, NOW.plus(86_400));
    let trusted = "truststore/x509/ca/wabbit-networks.io/wabbit-networks.io.crt";
    assert_eq!(made.trusted_path, place.path(trusted));
    for (path, bits) in [
        (&made.key_path, 0o600),
        (&made.certificate_path, 0o644),
        (&made.trusted_path, 0o600),
        (&place.path("localkeys"), 0o700),
    ] {
        // The umask may take more away.
        assert_eq!(mode_of(path) | bits, bits, "{path:?}");
    }
    let store = ca("wabbit-networks.io");
    let shown = show_certificate(&place.dir, &store, "wabbit-networks.io.crt").unwrap();
    let certificate = &shown[0];
    assert_eq!(
        certificate.subject_text(),
        "CN=wabbit-networks.io,O=Notary,L=Seattle,ST=WA,C=US"
    );
    assert_eq!(certificate.issuer_text(), certificate.subject_text());
    assert_eq!(
        (certificate.not_before, certificate.not_after),
        (NOW, made.not_after)
    );
    assert!(!certificate.is_ca && certificate.is_self_signed());
    let policy = Policy::parse(policy(r#"["ca:wabbit-networks.io"]"#).as_bytes()).unwrap();
    assert_eq!(read_anchors(&place.dir, &policy).stores[&store], Ok(shown));
    let (signer, warnings) = load_signer(&place.dir, None).unwrap();
    assert_eq!(warnings, Vec::<String>::new());
    let payload = Payload {
        target: Descriptor::new(
            "application/vnd.oci.image.manifest.v1+json",
            Digest::of(b"x"),
            1,
        ),
        metadata: [].into(),
    };
    let terms = Terms {
        format: EnvelopeFormat::Cose,
        expiry_seconds: None,
    };
    assert!(signer.seal(&payload, &terms, NOW).is_ok());
    assert!(signer.seal(&payload, &terms, NOW.plus(86_401)).is_err());
}

#[test]
fn generating_leaves_nothing_behind_when_it_is_refused() {
    let place = Place::new();
    for name in ["", ".", "..", "a/b", "a b"] {
        let refused = generate_test(&place.dir, name, 2048, false, NOW);
        assert!(
            matches!(refused, Err(SettingsError::Name { .. })),
            "{name:?}"
        );
    }
    for bits in [0, 1023, 8193] {
        let refused = generate_test(&place.dir, "a", bits, false, NOW);
        assert!(matches!(refused, Err(SettingsError::KeySize { .. })));
    }
    assert!(!place.dir.path().exists());
    // The last file that is written is there already.
    let present = place.write("truststore/x509/ca/a/a.crt", ROOT);
    let refused = generate_test(&place.dir, "a", 1024, false, NOW);
    assert!(matches!(refused, Err(SettingsError::Exists { path }) if path == present));
    assert_eq!(fs::read_dir(place.path("localkeys")).unwrap().count(), 0);
    assert_eq!(fs::read(&present).unwrap(), ROOT);
    fs::remove_file(&present).unwrap();
    generate_test(&place.dir, "a", 1024, false, NOW).unwrap();
    let again = generate_test(&place.dir, "a", 1024, false, NOW);
    assert!(matches!(again, Err(SettingsError::KeyExists { .. })));
    remove_keys(&place.dir, &["a"]).unwrap();
    let taken = generate_test(&place.dir, "a", 1024, false, NOW);
    assert!(matches!(taken, Err(SettingsError::Exists { .. })));
    assert!(place.path("localkeys/a.key").exists());
    // Too small to sign with, as notation has it.
    let pair = (place.path("localkeys/a.key"), place.path("localkeys/a.crt"));
    let unusable = load_pair("a", &pair.0, &pair.1);
    assert!(
        matches!(unusable, Err(SettingsError::UnusableKey { .. })),
        "{unusable:?}"
    );
}

#[test]
fn a_remembered_chain_serves_the_very_bytes_it_was_read_from() {
    let place = Place::new();
    let a = generate_test(&place.dir, "a", 2048, true, NOW).unwrap();
    let b = generate_test(&place.dir, "b", 2048, false, NOW).unwrap();
    let known = LastChain::default();
    let load = || load_signer_outside(Path::new("/nowhere"), &place.dir, Some("a"), &known);
    let leaf = || load().unwrap().0.chain().unwrap().unwrap().leaf().clone();
    let first = leaf();
    assert_eq!(leaf(), first);
    let (own, other) = (
        fs::read(&a.certificate_path).unwrap(),
        fs::read(&b.certificate_path).unwrap(),
    );
    fs::write(&a.certificate_path, other).unwrap();
    assert!(matches!(
        load().map(drop),
        Err(SettingsError::UnusableKey { .. })
    ));
    fs::write(&a.certificate_path, &own).unwrap();
    assert_eq!(leaf(), first);
    // Its mode is judged each time, and so is the key.
    mode(&a.certificate_path, 0o666);
    assert!(matches!(
        load().map(drop),
        Err(SettingsError::Permissions { .. })
    ));
    mode(&a.certificate_path, 0o644);
    mode(&a.key_path, 0o644);
    assert!(matches!(
        load().map(drop),
        Err(SettingsError::Permissions { .. })
    ));
}

#[test]
fn says_why_a_key_cannot_be_loaded() {
    let place = Place::new();
    let none = load_signer(&place.dir, None);
    assert!(matches!(none, Err(SettingsError::NoDefaultKey)));
    let unknown = load_signer(&place.dir, Some("a"));
    assert_eq!(unknown.unwrap_err().to_string(), "signing key a not found");
    let plugin = r#"{"default":"p","keys":[{"name":"p","id":"1","pluginName":"kms"}]}"#;
    place.write("signingkeys.json", plugin);
    let foreign = load_signer(&place.dir, None);
    assert!(matches!(foreign, Err(SettingsError::ForeignKey { .. })));
    fs::remove_file(place.path("signingkeys.json")).unwrap();
    let made = generate_test(&place.dir, "a", 2048, true, NOW).unwrap();
    let b = generate_test(&place.dir, "b", 2048, false, NOW).unwrap();
    let pair =
        |key: &Path| load_pair("a", key, &made.certificate_path).map(|(_, warnings)| warnings);
    mode(&made.key_path, 0o640);
    assert_eq!(pair(&made.key_path).unwrap().len(), 1);
    mode(&made.key_path, 0o644);
    assert!(matches!(
        pair(&made.key_path),
        Err(SettingsError::Permissions { .. })
    ));
    // A mounted secret is a symlink; the file behind it is what counts.
    let link = place.path("link.key");
    symlink(&made.key_path, &link).unwrap();
    assert!(matches!(
        pair(&link),
        Err(SettingsError::Permissions { .. })
    ));
    mode(&made.key_path, 0o400);
    assert_eq!(pair(&link).unwrap(), Vec::<String>::new());
    assert!(matches!(
        pair(&place.path("none")),
        Err(SettingsError::Absent { .. })
    ));
    assert!(matches!(
        pair(place.dir.path()),
        Err(SettingsError::NotRegular { .. } | SettingsError::Io { .. })
    ));
    assert!(matches!(
        pair(&b.key_path),
        Err(SettingsError::UnusableKey { .. })
    ));
    let junk = place.write("junk.key", "junk");
    assert!(matches!(
        pair(&junk),
        Err(SettingsError::UnusableKey { .. })
    ));
    let encrypted = place.write(
        "encrypted.key",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----\n",
    );
    assert!(matches!(
        pair(&encrypted),
        Err(SettingsError::EncryptedKey { .. })
    ));
    mode(&made.certificate_path, 0o666);
    assert!(matches!(
        pair(&made.key_path),
        Err(SettingsError::Permissions { .. })
    ));
}
