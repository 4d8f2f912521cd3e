//! The bytes of a sketch file: read in bounded memory, written completely or not at all.

use std::fs::File;
use std::io::{Read, Result, Write};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Largest header of a safetensors file, in bytes: the limit of the safetensors library.
const HEADER: u64 = 100_000_000;

/// The bytes of a file. If the header shows that it is not a safetensors file, only the bytes up to there, so that
/// devices and pipes without end are refused too.
pub(super) fn read(path: &Path) -> Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let mut bytes = Vec::new();
    Read::by_ref(&mut file).take(8).read_to_end(&mut bytes)?;
    let length = <[u8; 8]>::try_from(bytes.as_slice()).map_or(u64::MAX, u64::from_le_bytes);
    if length > HEADER {
        return Ok(bytes);
    }
    Read::by_ref(&mut file).take(length).read_to_end(&mut bytes)?;
    if bytes.get(8) == Some(&b'{') {
        file.read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

/// Writes a file completely. If that fails, an existing file does not change.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    // If the path is a symbolic link, its target is written.
    let target = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let plain = target.is_file() || target.symlink_metadata().is_err();
    let Some(name) = target.file_name().filter(|_| plain) else {
        // Pipes, devices and links to missing files are written directly.
        return std::fs::write(path, bytes);
    };
    // The name of the draft is unique to the process and the call.
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    let call = CALLS.fetch_add(1, Ordering::Relaxed);
    let mut draft = std::ffi::OsString::from(".");
    draft.push(name);
    draft.push(format!(".{}-{call}.part", std::process::id()));
    let draft = target.with_file_name(draft);
    let Ok(mut file) = File::create(&draft) else {
        // The folder does not permit new files, or is missing; if it is missing, this call returns the error.
        return std::fs::write(path, bytes);
    };
    let written = file
        .write_all(bytes)
        .and_then(|()| file.sync_all())
        .and_then(|()| match target.metadata() {
            Ok(before) => file.set_permissions(before.permissions()),
            Err(_) => Ok(()),
        })
        .and_then(|()| std::fs::rename(&draft, &target));
    if written.is_err() {
        // The error of the write is reported, not an error of this removal.
        let _ = std::fs::remove_file(&draft);
    }
    written
}
