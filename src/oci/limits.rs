//! The limits on untrusted input, each with its name. docs/SECURITY.md lists them.

/// Bytes of one manifest or index blob (4 MiB, what registries guarantee and notation reads).
pub const MANIFEST_BYTES_MAX: u64 = 4 << 20;
/// Bytes of index.json (32 MiB).
pub const INDEX_BYTES_MAX: u64 = 32 << 20;
/// Bytes of oci-layout.
pub const OCI_LAYOUT_BYTES_MAX: u64 = 64 << 10;
/// Bytes of a signature envelope (32 MiB, as notation).
pub const ENVELOPE_BYTES_MAX: u64 = 32 << 20;
/// Bytes of a trust policy document.
pub const POLICY_BYTES_MAX: u64 = 1 << 20;
/// Bytes of one certificate in a chain or trust store.
pub const CERTIFICATE_BYTES_MAX: usize = 64 << 10;
/// Bytes of one trust store file.
pub const TRUST_STORE_FILE_BYTES_MAX: u64 = 4 << 20;
/// Files in one named trust store.
pub const TRUST_STORE_FILES_MAX: usize = 10_000;
/// Certificates in one signature's chain.
pub const CHAIN_CERTIFICATES_MAX: usize = 10;
/// Signatures judged for one image unless the caller says otherwise.
pub const SIGNATURES_MAX: usize = 100;
/// Nesting of JSON documents; the 128th level is refused.
pub const JSON_DEPTH_MAX: usize = 127;
/// Values in one JSON document, so that a small document cannot become a huge tree.
pub const JSON_VALUES_MAX: usize = 2_000_000;
/// Nesting of CBOR documents.
pub const CBOR_DEPTH_MAX: usize = 16;
/// Items in one CBOR document, so that a small document cannot become a huge tree.
pub const CBOR_VALUES_MAX: usize = 500_000;
/// Depth of nested indexes, and of chains of subjects.
pub const GRAPH_DEPTH_MAX: usize = 16;
/// Nodes of one layout's graph.
pub const GRAPH_NODES_MAX: usize = 1_000_000;
/// Bytes of all manifests and indexes of one layout together (256 MiB), as they are held in memory.
pub const GRAPH_BYTES_MAX: u64 = 256 << 20;
/// Descriptors that the documents of one layout hold together, and that one look at all its images goes through.
pub const GRAPH_DESCRIPTORS_MAX: usize = 2_000_000;
/// Descriptors in one document.
pub const DESCRIPTORS_MAX: usize = 100_000;
/// Members of one tar.
pub const TAR_ENTRIES_MAX: usize = 1_000_000;
/// Bytes of one PAX record block.
pub const PAX_BYTES_MAX: u64 = 64 << 10;
/// Bytes that a compressed tar, or one from standard input, may have unpacked (1 TiB; the disk mostly says no before).
pub const SPOOL_BYTES_MAX: u64 = 1 << 40;
/// Bytes that a compressed tar may unpack to whatever its size (1 GiB); beyond them the ratio counts.
pub const SPOOL_BYTES_FREE: u64 = 1 << 30;
/// Times its own size that a compressed tar may unpack to. Layers are compressed themselves, so 1 to 10 is usual.
pub const SPOOL_RATIO_MAX: u64 = 1000;
/// Bytes that a zstd frame may ask to be kept in memory (128 MiB, what zstd itself takes).
pub const ZSTD_WINDOW_BYTES_MAX: u64 = 128 << 20;
/// Bytes of a private key or certificate file.
pub const KEY_FILE_BYTES_MAX: u64 = 1 << 20;
/// Bytes of signingkeys.json or config.json.
pub const SETTINGS_BYTES_MAX: u64 = 1 << 20;
