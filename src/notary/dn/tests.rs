use super::*;

const CN: &[u8] = &[0x55, 4, 3];
const SERIAL: &[u8] = &[0x55, 4, 5];
const C: &[u8] = &[0x55, 4, 6];
const L: &[u8] = &[0x55, 4, 7];
const ST: &[u8] = &[0x55, 4, 8];
const STREET: &[u8] = &[0x55, 4, 9];
const O: &[u8] = &[0x55, 4, 10];
const OU: &[u8] = &[0x55, 4, 11];
const TITLE: &[u8] = &[0x55, 4, 12];
const POSTAL: &[u8] = &[0x55, 4, 17];
const EMAIL: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1];

const UTF8: u8 = 0x0c;
const PRINTABLE: u8 = 0x13;
const T61: u8 = 0x14;
const IA5: u8 = 0x16;
const BMP: u8 = 0x1e;

fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    match content.len() {
        short @ 0..0x80 => out.push(short as u8),
        middle @ 0x80..0x100 => out.extend([0x81, middle as u8]),
        long => out.extend([0x82, (long >> 8) as u8, long as u8]),
    }
    out.extend_from_slice(content);
    out
}

fn attribute(oid: &[u8], tag: u8, value: &[u8]) -> Vec<u8> {
    element(0x30, &[element(6, oid), element(tag, value)].concat())
}

/// Makes a name of one attribute a part.
fn name(attributes: &[(&[u8], u8, &[u8])]) -> Vec<u8> {
    let parts: Vec<u8> = attributes
        .iter()
        .flat_map(|(oid, tag, value)| element(0x31, &attribute(oid, *tag, value)))
        .collect();
    element(0x30, &parts)
}

fn utf8(attributes: &[(&[u8], &str)]) -> Vec<u8> {
    let attributes: Vec<(&[u8], u8, &[u8])> = attributes
        .iter()
        .map(|(oid, value)| (*oid, UTF8, value.as_bytes()))
        .collect();
    name(&attributes)
}

#[test]
fn renders_in_the_fixed_order_whatever_the_certificate_has() {
    let shuffled = utf8(&[
        (L, "l"),
        (OU, "ou"),
        (CN, "cn"),
        (C, "US"),
        (SERIAL, "7"),
        (POSTAL, "98000"),
        (ST, "WA"),
        (O, "o"),
        (STREET, "s"),
    ]);
    assert_eq!(
        render(&shuffled),
        "SERIALNUMBER=7,CN=cn,OU=ou,O=o,POSTALCODE=98000,STREET=s,L=l,ST=WA,C=US"
    );
}

#[test]
fn joins_repeated_types_and_shows_the_last_common_name() {
    let twice = utf8(&[
        (C, "US"),
        (C, "DE"),
        (OU, "a"),
        (O, "Notary"),
        (OU, "b"),
        (CN, "first"),
        (CN, "last"),
    ]);
    assert_eq!(render(&twice), "CN=last,OU=a+OU=b,O=Notary,C=US+C=DE");
    let flattened = element(
        0x30,
        &element(
            0x31,
            &[attribute(O, UTF8, b"x"), attribute(C, UTF8, b"US")].concat(),
        ),
    );
    assert_eq!(render(&flattened), "O=x,C=US");
    assert_eq!(render(&utf8(&[(CN, ""), (O, "")])), "O=");
}

#[test]
fn renders_types_without_a_name_last_by_their_number() {
    let email: (&[u8], u8, &[u8]) = (EMAIL, IA5, b"a@b.example");
    let named = name(&[email, (TITLE, UTF8, b"Dr, x"), (O, UTF8, b"o")]);
    assert_eq!(
        render(&named),
        r"O=o,2.5.4.12=Dr\, x,1.2.840.113549.1.9.1=a@b.example"
    );
}

#[test]
fn escapes_specials_and_the_ends_only() {
    for (raw, escaped) in [
        ("a,b", r"O=a\,b"),
        ("a+b", r"O=a\+b"),
        ("a\"b", "O=a\\\"b"),
        (r"a\b", r"O=a\\b"),
        ("a<b>c;d", r"O=a\<b\>c\;d"),
        (" lead", r"O=\ lead"),
        ("trail ", r"O=trail\ "),
        (" ", r"O=\ "),
        ("  ", r"O=\ \ "),
        ("in ner", "O=in ner"),
        ("#hash", r"O=\#hash"),
        ("ha#sh", "O=ha#sh"),
        ("a=b", "O=a=b"),
        ("\u{fc}n\u{ef}", "O=\u{fc}n\u{ef}"),
        ("nul\0line\n", "O=nul\0line\n"),
        ("a, O=evil", r"O=a\, O=evil"),
    ] {
        assert_eq!(render(&utf8(&[(O, raw)])), escaped);
    }
}

#[test]
fn decodes_every_string_type() {
    let cases: [(u8, &[u8], &str); 8] = [
        (PRINTABLE, b"Not*ry & Co", "O=Not*ry & Co"),
        (IA5, b"a@b", "O=a@b"),
        (T61, b"caf\xe9", "O=caf\u{e9}"),
        (BMP, &[0, 0x41, 0x20, 0xac], "O=A\u{20ac}"),
        (BMP, &[0, 0x41, 0, 0], "O=A"),
        (BMP, &[], "O="),
        (0x12, b"12 3", "O=12 3"),
        (UTF8, b"", "O="),
    ];
    for (tag, bytes, text) in cases {
        assert_eq!(render(&name(&[(O, tag, bytes)])), text);
    }
}

#[test]
fn refuses_values_that_their_type_does_not_allow() {
    let cases: [(u8, &[u8]); 9] = [
        (PRINTABLE, b"a@b"),
        (PRINTABLE, b"caf\xe9"),
        (IA5, b"\x80"),
        (UTF8, b"\xff"),
        (BMP, b"abc"),
        (BMP, &[0xd8, 0]),
        (BMP, &[0xff, 0xff]),
        (0x1c, &[0, 0, 0, 0x41]),
        (0x12, b"a"),
    ];
    for (tag, bytes) in cases {
        let name = name(&[(O, tag, bytes)]);
        assert!(check(&name).is_err(), "{tag:#x} {bytes:?}");
        assert!(render(&name).starts_with("#30"), "{tag:#x} {bytes:?}");
    }
}

#[test]
fn refuses_malformed_der() {
    let good = utf8(&[(O, "o")]);
    assert_eq!(check(&good), Ok(()));
    assert_eq!(render(&element(0x30, &[])), "");
    let mut cases = vec![
        Vec::new(),
        [good.clone(), vec![0]].concat(),
        vec![0x30, 0x80, 0, 0],
        vec![0x30, 0x81, 0x00],
        vec![0x30, 0x85, 1, 0, 0, 0, 0],
        vec![0x30, 0x84, 0xff, 0xff, 0xff, 0xff],
        element(0x31, &[]),
        element(0x30, &element(0x30, &[])),
        element(0x30, &element(0x31, &element(0x30, &element(6, O)))),
        element(0x30, &[0x1f, 0x81, 1, 0]),
    ];
    let oids: [&[u8]; 4] = [
        &[],
        &[0x55, 0x84],
        &[0x55, 0x80, 4],
        &[0x55, 0xff, 0xff, 0xff, 0xff, 0x7f],
    ];
    cases.extend(oids.map(|oid| name(&[(oid, UTF8, b"x")])));
    cases.extend((0..good.len()).map(|end| good[..end].to_vec()));
    for case in cases {
        assert!(check(&case).is_err(), "{case:02x?}");
    }
}

#[test]
fn shows_only_the_start_of_a_malformed_name() {
    let shown = render(&[0xaa; 1000]);
    assert_eq!(shown, format!("#{}...", "aa".repeat(64)));
    assert_eq!(render(&[]), "#");
}

#[test]
fn any_changed_byte_is_survived() {
    let good = utf8(&[(C, "US"), (O, "Notary"), (CN, "leaf, x")]);
    for position in 0..good.len() {
        for value in 0..=255 {
            let mut changed = good.clone();
            changed[position] = value;
            assert!(render(&changed).len() < 200);
        }
    }
}
