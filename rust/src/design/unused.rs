//! Uniform random sequences that a design does not query, for validation and tests.

use std::collections::HashSet;

use rand::SeedableRng;
use rand::seq::index;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use xxhash_rust::xxh3::xxh3_64;

use super::{CHUNK, QueryDesign};
use crate::cancel::Cancel;
use crate::error::{Error, Result};

/// Largest number of sequences of a space that is enumerated. Enumeration draws even the last unused sequences.
const ENUMERABLE: u128 = 1 << 24;
/// Stream of the random generator. Groups use the streams 0, 1, ….
const STREAM: u64 = u64::MAX;

/// `count` distinct sequences, uniform among those that `design` does not query; row-major codes.
///
/// # Errors
/// If the space has fewer than `count` such sequences.
pub fn held_out(design: &QueryDesign, count: usize, seed: u64, cancel: &Cancel) -> Result<Vec<u8>> {
    let space = design.space();
    let n = space.n();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(STREAM);
    let unused = space.size().map_or(u128::MAX, |size| size - design.len() as u128);
    if count as u128 > unused {
        return Err(Error::Design(format!(
            "{count} held-out sequences were requested, the design leaves {unused}; request fewer"
        )));
    }
    if let Some(size) = space.size().filter(|&size| size <= ENUMERABLE) {
        let mut free = vec![true; size as usize];
        for row in design.queries(0..design.len()).chunks_exact(n) {
            free[space.number(row)] = false;
        }
        let free: Vec<usize> = free.iter().enumerate().filter(|(_, free)| **free).map(|(i, _)| i).collect();
        let mut out = vec![0; count * n];
        for (row, pick) in out.chunks_exact_mut(n).zip(index::sample(&mut rng, free.len(), count)) {
            space.write_sequence(free[pick], row);
        }
        return Ok(out);
    }
    // In a large space collisions are rare: draw, compare with the whole design once, and redraw the few that collide.
    let (mut out, mut seen) = (Vec::with_capacity(count * n), HashSet::new());
    while out.len() < count * n {
        let mut fresh = Vec::new();
        while out.len() + fresh.len() * n < count * n {
            let row = space.random(&mut rng);
            if seen.insert(xxh3_64(&row)) {
                fresh.push(row);
            }
        }
        let hashes: HashSet<u64> = fresh.iter().map(|row| xxh3_64(row)).collect();
        let queried: HashSet<u64> = (0..design.len().div_ceil(CHUNK))
            .into_par_iter()
            .map(|chunk| {
                cancel.check()?;
                let rows = design.queries(chunk * CHUNK..(chunk + 1) * CHUNK);
                Ok(rows.chunks_exact(n).map(xxh3_64).filter(|hash| hashes.contains(hash)).collect())
            })
            .collect::<Result<Vec<Vec<u64>>>>()?
            .into_iter()
            .flatten()
            .collect();
        out.extend(fresh.iter().filter(|row| !queried.contains(&xxh3_64(row))).flatten());
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::design::{DelayFamily, DesignConfig, SubsamplingFamily};
    use crate::space::SequenceSpace;

    fn check(q: usize, n: usize, b: usize, count: usize) {
        let config = DesignConfig {
            b,
            groups: 2,
            subsampling: SubsamplingFamily::Random,
            delays: DelayFamily::Identity,
            seed: 3,
        };
        let space = SequenceSpace::of_size(q, n).unwrap();
        let design = QueryDesign::new(space, config, &Cancel::new()).unwrap();
        let rows = held_out(&design, count, 7, &Cancel::new()).unwrap();
        let mut all: HashSet<&[u8]> = HashSet::new();
        let queries = design.queries(0..design.len());
        assert!(rows.chunks(n).all(|row| all.insert(row)), "a held-out sequence occurs twice");
        assert!(queries.chunks(n).all(|row| all.insert(row)), "a held-out sequence is a query");
        assert_eq!(all.len(), count + design.len());
    }

    #[test]
    fn held_out_sequences_are_distinct_and_not_queries() {
        check(2, 8, 4, 50);
        check(4, 40, 4, 500);
        check(3, 16, 4, 500);
    }

    #[test]
    fn every_unused_sequence_can_be_drawn_but_not_more() {
        let design = |b| {
            let config = DesignConfig {
                b,
                groups: 1,
                subsampling: SubsamplingFamily::Simple,
                delays: DelayFamily::Zero,
                seed: 0,
            };
            QueryDesign::new(SequenceSpace::of_size(3, 3).unwrap(), config, &Cancel::new()).unwrap()
        };
        assert_eq!(held_out(&design(2), 18, 0, &Cancel::new()).unwrap().len(), 18 * 3);
        assert!(held_out(&design(2), 19, 0, &Cancel::new()).is_err());
        assert!(held_out(&design(3), 1, 0, &Cancel::new()).is_err());
    }
}
