//! Digests of sketch files, which detect accidental damage: one changed bit, or a lost block.
//!
//! The digest is XXH3 with 128 bits, as 32 hexadecimal digits, of the whole file with zeros in place of these digits. It
//! is the field `digest` of the metadata. It does not protect against somebody who changes a file on purpose: they
//! can compute a new digest.

use xxhash_rust::xxh3::Xxh3;

/// What a file has in place of its digest while the digest is computed.
pub(super) const ZEROS: &str = "00000000000000000000000000000000";

/// Replaces the zeros in a file by its digest.
pub(super) fn seal(bytes: &mut [u8]) -> Result<(), String> {
    // A note with this text would have more backslashes, because the metadata is JSON within JSON.
    let field = format!(r#"\"digest\":\"{ZEROS}\""#);
    let start = position(bytes, field.as_bytes()).ok_or("the metadata has no field for the digest")?;
    let start = start + field.len() - ZEROS.len() - 2;
    let digest = digest(bytes, start);
    bytes[start..start + digest.len()].copy_from_slice(digest.as_bytes());
    Ok(())
}

/// Whether a file has this digest.
pub(super) fn matches(bytes: &[u8], expected: &str) -> bool {
    let well_formed = expected.len() == ZEROS.len();
    well_formed && position(bytes, expected.as_bytes()).is_some_and(|start| digest(bytes, start) == expected)
}

/// The digest of a file whose digest starts at this byte.
fn digest(bytes: &[u8], start: usize) -> String {
    let mut hash = Xxh3::new();
    hash.update(&bytes[..start]);
    hash.update(ZEROS.as_bytes());
    hash.update(&bytes[start + ZEROS.len()..]);
    format!("{:032x}", hash.digest128())
}

/// Where a text first occurs.
fn position(bytes: &[u8], text: &[u8]) -> Option<usize> {
    bytes.windows(text.len()).position(|window| window == text)
}
