//! Compares designs with lists of all their queries.

use super::*;
use proptest::prelude::*;
use std::collections::HashMap;

const SYMBOLS: &str = "0123456789ABCDEFGHIJK";

/// All queries of all blocks, by the definition.
fn blocks(design: &QueryDesign) -> Vec<Vec<u8>> {
    let space = &design.space;
    let letters: Vec<Vec<usize>> = (0..space.n()).map(|i| space.codes_at(i).collect()).collect();
    let mut out = Vec::new();
    for group in &design.groups {
        let sizes = group.matrix.sizes();
        for p in 0..group.delays.count() {
            let delay = group.delays.row(p);
            for l in 0..sizes.iter().product() {
                let mut digits = vec![0; sizes.len()];
                let mut rest = l;
                for t in (0..sizes.len()).rev() {
                    (digits[t], rest) = (rest % sizes[t], rest / sizes[t]);
                }
                let entry = |i: usize| {
                    let row = &group.matrix.as_slice()[i * sizes.len()..][..sizes.len()];
                    let sum: usize = row.iter().zip(&digits).map(|(&m, digit)| m as usize * digit).sum();
                    letters[i][(sum + delay[i] as usize) % letters[i].len()] as u8
                };
                out.push((0..space.n()).map(entry).collect());
            }
        }
    }
    out
}

/// Compares a design with the list of its queries.
fn check(design: &QueryDesign) -> std::result::Result<(), TestCaseError> {
    let all = blocks(design);
    let mut position = HashMap::new();
    let mut distinct = Vec::new();
    for row in &all {
        if !position.contains_key(row) {
            position.insert(row.clone(), distinct.len());
            distinct.push(row.clone());
        }
    }
    prop_assert_eq!(design.len(), distinct.len());
    // The matrices tell the same repeated queries as hashes of all queries.
    let repeats = design.sort_repeats(&Cancel::new()).unwrap();
    prop_assert_eq!(&design.solve_repeats(usize::MAX, &Cancel::new()).unwrap(), &Some(repeats.clone()));
    prop_assert_eq!(&design.repeats, &repeats);
    if !repeats.is_empty() {
        prop_assert_eq!(design.solve_repeats(repeats.len() - 1, &Cancel::new()).unwrap(), None);
    }
    prop_assert_eq!(design.queries(0..design.len()), distinct.concat());
    let cut = 37 % design.len();
    let (head, tail) = (design.queries(0..cut), design.queries(cut..usize::MAX));
    prop_assert_eq!([head, tail].concat(), distinct.concat());
    // `block_values` returns the value of every query at the index of the query in its block.
    let values: Vec<f64> = (0..design.len()).map(|i| i as f64).collect();
    let mut start = 0;
    for c in 0..design.groups.len() {
        prop_assert!(design.groups[c].matrix.is_injective());
        for p in 0..design.delays_per_group() {
            let rows = &all[start..start + design.block_len(c)];
            let expected: Vec<f64> = rows.iter().map(|row| position[row] as f64).collect();
            prop_assert_eq!(design.block_values(c, p, &values), expected);
            start += design.block_len(c);
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn queries_are_those_of_the_definition_each_once(
        q in 2usize..=7, n in 2usize..=7, b in 1usize..=2, groups in 1usize..=3, simple: bool,
        kind in 0usize..5, seed in 0u64..50,
    ) {
        let delays = [
            DelayFamily::Zero,
            DelayFamily::Identity,
            DelayFamily::Random { count: 3 },
            DelayFamily::Nso { repeats: 2 },
            DelayFamily::Coded { max_order: 1, repeats: 1 },
        ][kind];
        // A code needs longer sequences.
        let n = if kind == 4 { n + 14 } else { n };
        let subsampling =
            if simple && groups * b <= n { SubsamplingFamily::Simple } else { SubsamplingFamily::Random };
        let config = DesignConfig { b, groups, subsampling, delays, seed };
        let space = SequenceSpace::of_size(q, n).unwrap();
        let design = QueryDesign::new(space, config, &Cancel::new()).unwrap();
        check(&design)?;
    }

    #[test]
    fn queries_of_letters_by_position_are_those_of_the_definition(
        sizes in prop::collection::vec(1usize..=21, 1..8), b in 1usize..=3, groups in 1usize..=4, simple: bool,
        kind in 0usize..4, seed in 0u64..50,
    ) {
        let delays = [
            DelayFamily::Zero,
            DelayFamily::Identity,
            DelayFamily::Random { count: 3 },
            DelayFamily::Nso { repeats: 2 },
        ][kind];
        // The letters of a position are not the first ones of the alphabet.
        let letters: Vec<&str> =
            sizes.iter().enumerate().map(|(i, &size)| &SYMBOLS[(i % 2) * (21 - size)..][..size]).collect();
        let Ok(space) = SequenceSpace::with_letters(&letters) else { return Ok(()) };
        let free = free_positions(&space).len();
        let b = b.min(free);
        prop_assume!(b > 0 && block_lengths(&space, b).take(4).all(|block| block.unwrap_or(9_999) < 3_000));
        let simple = simple && groups * b <= free && b < 3;
        let subsampling = if simple { SubsamplingFamily::Simple } else { SubsamplingFamily::Random };
        let config = DesignConfig { b, groups, subsampling, delays, seed };
        let design = QueryDesign::new(space.clone(), config, &Cancel::new()).unwrap();
        prop_assert!(space.check(&design.queries(0..design.len())).is_ok());
        check(&design)?;
    }
}

#[test]
fn a_complete_design_has_every_sequence_once() {
    for letters in [vec!["AC", "GTU", "A", "ACGTU"], vec!["A", "C"], vec!["AC", "AC"]] {
        let space = SequenceSpace::with_letters(&letters).unwrap();
        let design = QueryDesign::complete(space.clone(), &Cancel::new()).unwrap();
        let size = space.size().unwrap() as usize;
        let mut expected = vec![0; size * space.n()];
        expected.chunks_mut(space.n()).enumerate().for_each(|(i, row)| space.write_sequence(i, row));
        assert_eq!(design.queries(0..usize::MAX), expected);
    }
}

#[test]
fn designs_that_do_not_suit_letters_by_position_are_refused() {
    let space = SequenceSpace::with_letters(&["AC", "GTU", "A"]).unwrap();
    let message = |b, groups, delays, subsampling| {
        let config = DesignConfig { b, groups, subsampling, delays, seed: 0 };
        QueryDesign::new(space.clone(), config, &Cancel::new()).unwrap_err().to_string()
    };
    let (random, simple) = (SubsamplingFamily::Random, SubsamplingFamily::Simple);
    assert!(message(3, 1, DelayFamily::Zero, random).contains("number 2 of positions with several letters"));
    assert!(message(0, 1, DelayFamily::Zero, random).contains("got 0"));
    assert!(message(2, 2, DelayFamily::Zero, simple).contains("length 4, not 2"));
    let coded = DelayFamily::Coded { max_order: 1, repeats: 1 };
    assert!(message(1, 1, coded, random).contains("coded delays need the same letters at every position"));
}
