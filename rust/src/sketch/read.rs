//! The bytes of a sketch file, read in bounded memory.

use std::fs::File;
use std::io::{Read, Result};
use std::path::Path;

/// Largest header of a safetensors file, in bytes: the limit of the safetensors library.
const HEADER: u64 = 100_000_000;

/// The bytes of a file. If the header shows that it is not a safetensors file, only the bytes up to there, so that
/// devices and pipes without end are refused too.
pub(super) fn read(path: &Path) -> Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let mut bytes = Vec::new();
    file.by_ref().take(8).read_to_end(&mut bytes)?;
    let length = <[u8; 8]>::try_from(bytes.as_slice()).map_or(u64::MAX, u64::from_le_bytes);
    if length > HEADER {
        return Ok(bytes);
    }
    file.by_ref().take(length).read_to_end(&mut bytes)?;
    if bytes.get(8) == Some(&b'{') {
        file.read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}
