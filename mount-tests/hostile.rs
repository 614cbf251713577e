//! Layouts that are small and ask for much: each must be answered soon, within little memory, and never pass.

use serde_json::json;

use crate::support::User;
use crate::support::layouts::Layout;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const SIGNATURE: &str = "application/vnd.cncf.notary.signature";

/// Runs `verify` with two gigabytes of memory and two minutes, and returns line 1 and the exit code.
fn verify(user: &User) -> (String, i32) {
    let script = "ulimit -v 2097152; exec timeout 120 \"$0\" verify ./layout";
    let output = user
        .program("bash")
        .args(["-c", script, crate::support::own_program()])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let first = text.lines().next().unwrap_or_default().to_owned();
    (first, output.status.code().unwrap_or(-1))
}

#[test]
fn one_envelope_named_by_many_manifests_is_read_within_bounds() {
    let user = User::new();
    let mut layout = Layout::new(&user.path("layout"));
    let envelope = layout.descriptor("application/jose+json", &vec![b'x'; 32 << 20]);
    let config = layout.descriptor(SIGNATURE, b"{}");
    for image in 0..4 {
        let layer = layout.descriptor("layer", b"layer");
        let image = layout.document(
            MANIFEST,
            &json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer], "annotations": {"n": image.to_string()}}),
        );
        layout.list(image.clone());
        for number in 0..60 {
            let signature = layout.document(
                MANIFEST,
                &json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [envelope], "subject": image, "annotations": {"n": number.to_string()}}),
            );
            layout.list(signature);
        }
    }
    assert_eq!(verify(&user), ("no-policy".to_owned(), 16));
}

#[test]
fn one_huge_manifest_in_many_indexes_is_judged_within_bounds() {
    let user = User::new();
    let mut layout = Layout::new(&user.path("layout"));
    let layers: Vec<_> = (0..50_000)
        .map(|number| json!({"mediaType": "l", "digest": format!("x:{number}"), "size": 0}))
        .collect();
    let config = layout.descriptor("config", b"{}");
    let manifest = layout.document(
        MANIFEST,
        &json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers}),
    );
    for number in 0..200 {
        let index = layout.document(
            INDEX,
            &json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [manifest], "annotations": {"n": number.to_string()}}),
        );
        layout.list(index);
    }
    assert_eq!(verify(&user), ("unsupported".to_owned(), 21));
}

#[test]
fn the_problems_of_one_image_under_many_names_are_told_within_bounds() {
    let user = User::new();
    let layout = Layout::new(&user.path("layout"));
    let layers: Vec<_> = (0..100)
        .map(|number| json!({"mediaType": "l", "digest": format!("sha256:{number:064x}"), "size": 5}))
        .collect();
    let config = layout.descriptor("config", b"{}");
    let manifest = layout.document(
        MANIFEST,
        &json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers}),
    );
    let entries: Vec<_> = (0..50_000)
        .map(|number| {
            let mut entry = manifest.clone();
            entry["annotations"] =
                json!({"org.opencontainers.image.ref.name": format!("t{number}")});
            entry
        })
        .collect();
    let index = json!({"schemaVersion": 2, "manifests": entries});
    std::fs::write(user.path("layout/index.json"), index.to_string()).unwrap();
    assert_eq!(verify(&user), ("missing".to_owned(), 18));
}

#[test]
fn a_configuration_that_everybody_may_write_is_not_trusted() {
    use std::os::unix::fs::PermissionsExt;
    for (below, line) in [
        ("", "policy-invalid"),
        ("truststore", "untrusted"),
        ("truststore/x509", "untrusted"),
        ("truststore/x509/ca", "untrusted"),
        ("truststore/x509/ca/test", "untrusted"),
    ] {
        let user = User::new();
        crate::support::layouts::single(&user.path("layout"));
        user.with_key("test");
        let policy = r#"{"version":"1.0","trustPolicies":[{"name":"p","registryScopes":["*"],"signatureVerification":{"level":"strict"},"trustStores":["ca:test"],"trustedIdentities":["*"]}]}"#;
        std::fs::write(user.config().join("trustpolicy.json"), policy).unwrap();
        user.succeed(&["sign", "./layout"]);
        assert_eq!(verify(&user).0, "verified");
        let folder = user.config().join(below);
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o777)).unwrap();
        assert_eq!(verify(&user).0, line, "{below}");
    }
}
