//! Uniform random sequences, each once: queries for regression.

use std::collections::HashSet;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::space::SequenceSpace;

/// Largest number of sequences of a space that is shuffled as a whole.
const ENUMERABLE: u128 = 1 << 22;
/// Stream of the random generator. Groups use the streams 0, 1, …; unused sequences use `u64::MAX`.
const STREAM: u64 = u64::MAX - 1;
/// Sequences drawn between two checks of the cancel flag.
const DRAWN: usize = 1 << 14;

/// `count` distinct uniform sequences, row-major codes. A larger `count` starts with the same sequences, so that a
/// sample can be extended.
///
/// # Errors
/// If the space has fewer sequences, or the caller cancels.
///
/// ```
/// use shapsketch::design::uniform;
/// use shapsketch::{Cancel, SequenceSpace};
/// let space = SequenceSpace::new("ACGT", 12)?;
/// let some = uniform(&space, 100, 7, &Cancel::new())?;
/// assert_eq!(uniform(&space, 200, 7, &Cancel::new())?[..100 * 12], some);
/// # Ok::<(), shapsketch::Error>(())
/// ```
pub fn uniform(space: &SequenceSpace, count: usize, seed: u64, cancel: &Cancel) -> Result<Vec<u8>> {
    let n = space.n();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(STREAM);
    if let Some(size) = space.size().filter(|&size| size < count as u128) {
        return Err(Error::Design(format!(
            "{count} distinct sequences were requested, the space has {size}; request fewer"
        )));
    }
    let mut out = Vec::with_capacity(count * n);
    if let Some(size) = space.size().filter(|&size| size <= ENUMERABLE) {
        let mut order: Vec<u32> = (0..size as u32).collect();
        for next in 0..count {
            let pick = rng.random_range(next as u32..size as u32) as usize;
            order.swap(next, pick);
            let first = out.len();
            out.resize(first + n, 0);
            space.write_sequence(order[next] as usize, &mut out[first..]);
        }
        return Ok(out);
    }
    let mut seen: HashSet<Vec<u8>> = HashSet::with_capacity(count);
    while seen.len() < count {
        if seen.len().is_multiple_of(DRAWN) {
            cancel.check()?;
        }
        let row = space.random(&mut rng);
        if !seen.contains(&row) {
            out.extend_from_slice(&row);
            seen.insert(row);
        }
    }
    Ok(out)
}
