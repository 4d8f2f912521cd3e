//! Compares designs with lists of all their queries.

use super::*;
use proptest::prelude::*;
use std::collections::HashMap;

/// All queries of all blocks, by the definition.
fn blocks(design: &QueryDesign) -> Vec<Vec<u8>> {
    let (q, n, b) = (design.space.q(), design.space.n(), design.config.b);
    let mut out = Vec::new();
    for group in &design.groups {
        for p in 0..group.delays.count() {
            let delay = group.delays.row(p);
            for l in 0..design.block {
                let digit = |t: usize| l / q.pow((b - 1 - t) as u32) % q;
                let entry = |i: usize| {
                    let sum: usize =
                        (0..b).map(|t| group.matrix.as_slice()[i * b + t] as usize * digit(t)).sum();
                    ((sum + delay[i] as usize) % q) as u8
                };
                out.push((0..n).map(entry).collect());
            }
        }
    }
    out
}

proptest! {
    #[test]
    fn queries_are_those_of_the_definition_each_once(
        q in 2usize..=7, n in 2usize..=7, b in 1usize..=2, groups in 1usize..=3, simple: bool,
        kind in 0usize..5, seed in 0u64..50, cut in 0usize..100,
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
        let all = blocks(&design);
        let mut position = HashMap::new();
        let mut distinct = Vec::new();
        for row in &all {
            if !position.contains_key(row) {
                position.insert(row.clone(), distinct.len());
                distinct.push(row.clone());
            }
        }
        prop_assert_eq!(design.len(), distinct.len());
        prop_assert_eq!(design.queries(0..design.len()), distinct.concat());
        let cut = cut % design.len();
        let (head, tail) = (design.queries(0..cut), design.queries(cut..usize::MAX));
        prop_assert_eq!([head, tail].concat(), distinct.concat());
        // `block_values` returns the value of every query at the index of the query in its block.
        let values: Vec<f64> = (0..design.len()).map(|i| i as f64).collect();
        let per_group = design.delays_per_group();
        for c in 0..groups {
            for p in 0..per_group {
                let start = (c * per_group + p) * design.block;
                let expected: Vec<f64> =
                    all[start..start + design.block].iter().map(|row| position[row] as f64).collect();
                prop_assert_eq!(design.block_values(c, p, &values), expected);
            }
        }
    }
}
