//! CBOR: the examples of the RFC, and what is refused.

use super::*;

fn read(bytes: &[u8]) -> Result<Value, CborError> {
    let mut reader = Reader::new(bytes, Tags::Accepted);
    let value = reader.value(0)?;
    reader.end()?;
    Ok(value)
}

#[test]
fn reads_the_examples_of_rfc_8949() {
    let cases: [(&[u8], Value); 16] = [
        (&[0x00], Value::Integer(0)),
        (&[0x17], Value::Integer(23)),
        (&[0x18, 0x64], Value::Integer(100)),
        (&[0x20], Value::Integer(-1)),
        (&[0x39, 0x03, 0xe7], Value::Integer(-1000)),
        (
            &[0x1b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            Value::Integer(i64::MAX),
        ),
        (
            &[0x3b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            Value::Integer(i64::MIN),
        ),
        (&[0xf9, 0x3e, 0x00], Value::Float(1.5)),
        (&[0xf9, 0x00, 0x01], Value::Float(5.960_464_477_539_063e-8)),
        (&[0xf9, 0xc4, 0x00], Value::Float(-4.0)),
        (&[0xfa, 0x47, 0xc3, 0x50, 0x00], Value::Float(100_000.0)),
        (
            &[0xfb, 0x3f, 0xf1, 0x99, 0x99, 0x99, 0x99, 0x99, 0x9a],
            Value::Float(1.1),
        ),
        (&[0xf5], Value::Simple(21)),
        (&[0x42, 1, 2], Value::Bytes(vec![1, 2])),
        (&[0x62, 0xc3, 0xbc], Value::Text("\u{fc}".to_owned())),
        (
            &[0xc6, 0x82, 0x01, 0x80],
            Value::Tag(
                6,
                Box::new(Value::Array(vec![Value::Integer(1), Value::Array(vec![])])),
            ),
        ),
    ];
    for (bytes, value) in cases {
        assert_eq!(read(bytes), Ok(value), "{bytes:02x?}");
    }
    assert_eq!(read(&[0xf9, 0x7c, 0x00]), Ok(Value::Float(f64::INFINITY)));
}

#[test]
fn refuses_what_is_not_strict() {
    let cases: [&[u8]; 24] = [
        &[],
        &[0x1b, 0x80, 0, 0, 0, 0, 0, 0, 0],
        &[0x3b, 0x80, 0, 0, 0, 0, 0, 0, 0],
        &[0xc0, 0x00],
        &[0xc0, 0x61, b'x'],
        &[0xc1, 0x61, b'x'],
        &[0xc2, 0x00],
        &[0x18],
        &[0x1c],
        &[0x5f, 0x41, 0x00, 0xff],
        &[0x9f, 0xff],
        &[0xbf, 0xff],
        &[0x43, 0, 0],
        &[0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        &[0x9b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        &[0xbb, 0x80, 0, 0, 0, 0, 0, 0, 0],
        &[0x61, 0xff],
        &[0xa2, 0x01, 0x01, 0x01, 0x02],
        &[0xa2, 0x01, 0x01, 0x18, 0x01, 0x02],
        &[0xa2, 0x61, b'a', 0x01, 0x61, b'a', 0x02],
        &[0xa1, 0x41, 0x00, 0x00],
        &[0xf8, 0x10],
        &[0x00, 0x00],
        &[0xff],
    ];
    for bytes in cases {
        assert!(read(bytes).is_err(), "{bytes:02x?}");
    }
}

#[test]
fn refuses_tags_where_asked() {
    assert!(read_map(&[0xa1, 0x01, 0xc1, 0x00], Tags::Accepted).is_ok());
    assert!(read_map(&[0xa1, 0x01, 0xc1, 0x00], Tags::Refused).is_err());
    assert!(read_map(&[0xa1, 0x01, 0x81, 0xc1, 0x00], Tags::Refused).is_err());
}

#[test]
fn refuses_deep_nesting_at_the_limit() {
    let nested = |depth: usize| [vec![0x81; depth], vec![0x00]].concat();
    assert!(read(&nested(CBOR_DEPTH_MAX)).is_ok());
    assert!(read(&nested(CBOR_DEPTH_MAX + 1)).is_err());
    assert!(read(&nested(1_000_000)).is_err());
}

#[test]
fn writes_the_shortest_form() {
    for (argument, bytes) in [
        (23u64, vec![0x17]),
        (24, vec![0x18, 24]),
        (255, vec![0x18, 255]),
        (256, vec![0x19, 1, 0]),
        (65_536, vec![0x1a, 0, 1, 0, 0]),
        (1 << 32, vec![0x1b, 0, 0, 0, 1, 0, 0, 0, 0]),
    ] {
        let mut out = Vec::new();
        write_head(&mut out, 0, argument);
        assert_eq!(out, bytes);
    }
    for number in [0, -1, -37, 1000, i64::MIN, i64::MAX] {
        let mut out = Vec::new();
        write_integer(&mut out, number);
        assert_eq!(read(&out), Ok(Value::Integer(number)));
    }
}
