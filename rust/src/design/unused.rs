//! Uniform random sequences that a design does not query, for validation and tests.

use std::collections::HashSet;

use rand::SeedableRng;
use rand::seq::index;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use xxhash_rust::xxh3::xxh3_64;

use super::QueryDesign;
use super::cosets::Cosets;
use crate::cancel::Cancel;
use crate::error::{Error, Result};

/// Largest number of sequences of a space that is enumerated. Enumeration draws even the last unused sequences.
const ENUMERABLE: u128 = 1 << 24;
/// Stream of the random generator. Groups use the streams 0, 1, ….
const STREAM: u64 = u64::MAX;
/// Queries that are generated at a time.
const BATCH: usize = 1 << 16;

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
        for start in (0..design.len()).step_by(BATCH) {
            cancel.check()?;
            for row in design.queries(start..start + BATCH).chunks_exact(n) {
                free[space.number(row)] = false;
            }
        }
        let free: Vec<usize> = free.iter().enumerate().filter(|(_, free)| **free).map(|(i, _)| i).collect();
        let mut out = vec![0; count * n];
        for (row, pick) in out.chunks_exact_mut(n).zip(index::sample(&mut rng, free.len(), count)) {
            space.write_sequence(free[pick], row);
        }
        return Ok(out);
    }
    // In a large space queries are rare: draw, compare with the whole design, and redraw the few that are queries.
    let (mut out, mut seen) = (Vec::with_capacity(count * n), HashSet::new());
    while out.len() < count * n {
        let mut fresh = Vec::new();
        while out.len() + fresh.len() * n < count * n {
            let row = space.random(&mut rng);
            if seen.insert(xxh3_64(&row)) {
                fresh.push(row);
            }
        }
        let queried = queried(design, &fresh, cancel)?;
        out.extend(fresh.iter().zip(queried).filter(|(_, queried)| !queried).flat_map(|(row, _)| row));
    }
    Ok(out)
}

/// For each sequence, whether it is a query: whether it differs from a delay of a group by a sum of columns of the matrix.
fn queried(design: &QueryDesign, rows: &[Vec<u8>], cancel: &Cancel) -> Result<Vec<bool>> {
    let space = design.space();
    let number = |(i, &code): (usize, &u8)| match design.letters.get(i) {
        Some(letters) => letters.iter().position(|letter| *letter == code).unwrap_or(0) as u8,
        None => code,
    };
    let rows: Vec<Vec<u8>> = rows.iter().map(|row| row.iter().enumerate().map(number).collect()).collect();
    let mut queried = vec![false; rows.len()];
    for group in &design.groups {
        cancel.check()?;
        let cosets = Cosets::new(space.sizes(), space.n(), &[&group.matrix]);
        let delays: HashSet<Vec<u8>> = (0..group.delays.count())
            .into_par_iter()
            .map(|p| cosets.representative(&group.delays.row(p)))
            .collect();
        queried.par_iter_mut().zip(&rows).for_each(|(queried, row)| {
            *queried = *queried || delays.contains(&cosets.representative(row));
        });
    }
    Ok(queried)
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
    fn queries_are_told_from_other_sequences() {
        let spaces = [
            SequenceSpace::of_size(6, 30).unwrap(),
            SequenceSpace::with_letters(&["ACE", "DF", "ACEG", "B", "BCDEFG", "ACG"].repeat(6)).unwrap(),
        ];
        for space in spaces {
            let config = DesignConfig {
                b: 4,
                groups: 3,
                subsampling: SubsamplingFamily::Random,
                delays: DelayFamily::Nso { repeats: 2 },
                seed: 3,
            };
            let n = space.n();
            let design = QueryDesign::new(space, config, &Cancel::new()).unwrap();
            let rows = design.queries(0..design.len());
            let some: Vec<Vec<u8>> = rows.chunks(n).step_by(97).map(<[u8]>::to_vec).collect();
            assert!(queried(&design, &some, &Cancel::new()).unwrap().into_iter().all(|queried| queried));
            let all: HashSet<&[u8]> = rows.chunks(n).collect();
            let mut rng = ChaCha8Rng::seed_from_u64(0);
            let other: Vec<Vec<u8>> = (0..200).map(|_| design.space().random(&mut rng)).collect();
            let expected: Vec<bool> = other.iter().map(|row| all.contains(&row[..])).collect();
            assert_eq!(queried(&design, &other, &Cancel::new()).unwrap(), expected);
        }
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
