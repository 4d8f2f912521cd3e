//! Uniform random sequences, each once: queries for regression.

use std::collections::HashSet;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::space::SequenceSpace;

/// Spaces up to this size are shuffled whole.
const ENUMERABLE: u128 = 1 << 22;
/// Stream of the generator, apart from those of groups and held-out sequences.
const STREAM: u64 = u64::MAX - 1;
/// Sequences drawn between two looks at the flag.
const DRAWN: usize = 1 << 14;

/// `count` distinct uniform sequences, row-major codes. More of them begin with the same ones, so that a
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
    let (q, n) = (space.q(), space.n());
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(STREAM);
    if let Some(size) = space.size().filter(|&size| size < count as u128) {
        return Err(Error::Design(format!(
            "{count} distinct sequences were asked for, the space has {size}"
        )));
    }
    let mut out = Vec::with_capacity(count * n);
    if let Some(size) = space.size().filter(|&size| size <= ENUMERABLE) {
        let mut order: Vec<u32> = (0..size as u32).collect();
        for at in 0..count {
            let pick = rng.random_range(at as u32..size as u32) as usize;
            order.swap(at, pick);
            let first = out.len();
            out.resize(first + n, 0);
            let mut rest = order[at] as usize;
            for code in out[first..].iter_mut().rev() {
                *code = (rest % q) as u8;
                rest /= q;
            }
        }
        return Ok(out);
    }
    let mut seen: HashSet<Vec<u8>> = HashSet::with_capacity(count);
    while seen.len() < count {
        if seen.len().is_multiple_of(DRAWN) {
            cancel.check()?;
        }
        let row: Vec<u8> = (0..n).map(|_| rng.random_range(0..q as u32) as u8).collect();
        if !seen.contains(&row) {
            out.extend_from_slice(&row);
            seen.insert(row);
        }
    }
    Ok(out)
}
