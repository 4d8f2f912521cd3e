//! Invalid input gives an error with the offending numbers, never a panic or a wrong result.

use std::sync::Arc;

use proptest::prelude::*;
use shapsketch::design::{DelayFamily, DesignConfig, Observations, QueryDesign, SubsamplingFamily, held_out};
use shapsketch::frequency::Frequency;
use shapsketch::peel::PeelingDecoder;
use shapsketch::sketch::Strategy;
use shapsketch::surrogate::{Basis, ProductTerms, RunTerms, Spectrum, SupportTerms, Truncation};
use shapsketch::synthetic::Planted;
use shapsketch::validation::{RSquared, Validation, farthest_share};
use shapsketch::{Cancel, Complex64, Components, Index, Plan, Result, SequenceSpace};

#[track_caller]
fn fails_with<T: std::fmt::Debug>(result: Result<T>, text: &str) {
    let message = result.unwrap_err().to_string();
    assert!(message.contains(text), "{message:?} must contain {text:?}");
}

fn dna(n: usize) -> SequenceSpace {
    SequenceSpace::new("ACGT", n).unwrap()
}

const CONFIG: DesignConfig = DesignConfig {
    b: 2,
    groups: 3,
    subsampling: SubsamplingFamily::Random,
    delays: DelayFamily::Identity,
    seed: 0,
};

fn design(space: SequenceSpace, config: DesignConfig) -> Result<QueryDesign> {
    QueryDesign::new(space, config, &Cancel::new())
}

#[test]
fn spaces_and_sequences() {
    fails_with(SequenceSpace::new("A", 3), "2 to 64 symbols, this one has 1");
    fails_with(SequenceSpace::of_size(65, 3), "2 to 64 symbols, this one has 65");
    for n in [0, 4097] {
        fails_with(SequenceSpace::new("ACGT", n), &format!("1 to 4096, got {n}"));
    }
    fails_with(dna(2).encode(&["AU"]), "this space is DNA: write T for U");
    fails_with(SequenceSpace::new("ACGU", 2).unwrap().encode(&["AT"]), "this space is RNA: write U for T");
    fails_with(dna(2).decode(&[0, 4]), "sequence 0: code 4 at position 1");
    fails_with(
        dna(3).check_same(&dna(4)),
        "expected sequences over \"ACGT\" of length 3, got \"ACGT\" of length 4",
    );
}

#[test]
fn designs() {
    fails_with(
        design(dna(5), DesignConfig { b: 0, ..CONFIG }),
        "b must be 1 to the sequence length 5, got 0",
    );
    fails_with(
        design(dna(5), DesignConfig { b: 6, ..CONFIG }),
        "b must be 1 to the sequence length 5, got 6",
    );
    fails_with(design(dna(5), DesignConfig { groups: 0, ..CONFIG }), "at least one group");
    fails_with(
        design(dna(5), DesignConfig { delays: DelayFamily::Nso { repeats: 0 }, ..CONFIG }),
        "at least one delay",
    );
    let simple = DesignConfig { subsampling: SubsamplingFamily::Simple, ..CONFIG };
    fails_with(design(dna(5), simple), "3 groups of 2 positions side by side, which needs length 6, not 5");
    fails_with(design(dna(5), DesignConfig { groups: usize::MAX, ..simple }), "side by side");
    fails_with(
        design(dna(20), DesignConfig { b: 13, ..CONFIG }),
        "3 groups x 21 delays x 4^13 queries exceed 2^28",
    );
    // Counts beyond the range of integers do not wrap around to small numbers.
    let repeats = usize::MAX / 6 + 2;
    fails_with(
        design(dna(5), DesignConfig { delays: DelayFamily::Nso { repeats }, ..CONFIG }),
        "exceed 2^28",
    );
    fails_with(QueryDesign::complete(dna(15), &Cancel::new()), "4^15 queries exceed 2^28");
    let coded = |max_order, repeats| DelayFamily::Coded { max_order, repeats };
    fails_with(
        design(dna(40), DesignConfig { delays: coded(0, 1), ..CONFIG }),
        "max_order must be at least 1, got 0",
    );
    for max_order in [7, 20, usize::MAX] {
        fails_with(
            design(dna(40), DesignConfig { delays: coded(max_order, 1), ..CONFIG }),
            "they would not be fewer than the 41 of delays 'nso'; use these, or a lower max_order",
        );
    }
    fails_with(design(dna(40), DesignConfig { delays: coded(3, 0), ..CONFIG }), "at least one delay");
    fails_with(design(dna(40), DesignConfig { delays: coded(3, repeats), ..CONFIG }), "exceed 2^28");
}

#[test]
fn held_out_sequences_that_do_not_exist() {
    // The space is too large to list its unused sequences.
    let complete = QueryDesign::complete(SequenceSpace::of_size(2, 25).unwrap(), &Cancel::new()).unwrap();
    fails_with(
        held_out(&complete, 1, 0, &Cancel::new()),
        "1 held-out sequences were requested, the design leaves 0",
    );
}

#[test]
fn values_and_decoders() {
    let random = DesignConfig { delays: DelayFamily::Random { count: 4 }, ..CONFIG };
    let observed = |config, n: usize| {
        let design = Arc::new(design(SequenceSpace::of_size(3, n).unwrap(), config).unwrap());
        let values = (0..design.len()).map(|i| (i % 5) as f64).collect();
        Observations::new(design, values).unwrap()
    };
    let decode =
        |decoder: PeelingDecoder, observations: &Observations| decoder.decode(observations, &Cancel::new());
    let default = PeelingDecoder::default();
    fails_with(decode(default, &observed(random, 5)), "frequencies cannot be read from");
    // All sequences in the order of a random matrix are not a complete design.
    let shuffled = DesignConfig { b: 3, groups: 1, delays: DelayFamily::Zero, ..CONFIG };
    fails_with(decode(default, &observed(shuffled, 3)), "frequencies cannot be read from");
    let plain = observed(CONFIG, 5);
    fails_with(
        decode(PeelingDecoder { noise: Some(-1.0), ..default }, &plain),
        "finite and not negative, got -1",
    );
    fails_with(
        decode(PeelingDecoder { max_rounds: 0, ..default }, &plain),
        "max_rounds must be at least 1, got 0",
    );
    let values = |value| vec![value; plain.values().len()];
    fails_with(
        Observations::new(plain.design().clone(), values(f64::INFINITY)),
        "inf at index 0 is not finite",
    );
    fails_with(
        Observations::new(plain.design().clone(), values(1e200)),
        "magnitudes up to 1e200 cannot be squared",
    );
}

#[test]
fn values_of_r_squared() {
    fails_with(RSquared::new(&[1.0], &[1.0]), "values must be at least two numbers, got 1");
    fails_with(RSquared::new(&[0.0, 1.0], &[0.0]), "prediction: 1 values for 2 queries");
    fails_with(
        RSquared::new(&[0.0, 1.0], &[0.0, f64::NAN]),
        "prediction: value NaN at index 1 is not finite",
    );
}

#[test]
fn frequencies_and_truncations() {
    let one = |k: &[u8]| vec![(Frequency::from_dense(k), Complex64::new(1.0, 0.0))];
    fails_with(Spectrum::new(dna(2), one(&[0, 0, 1])), "position 2 is beyond the sequence length 2");
    fails_with(Spectrum::new(dna(2), one(&[4, 0])), "value 4 is not one of 1 to 3");
    let unsorted = [(1, 1), (0, 1)].into_iter().collect();
    fails_with(
        Spectrum::new(dna(2), vec![(unsorted, 1.0.into())]),
        "frequency 0: its positions are not ascending",
    );
    let constant = vec![(Frequency::default(), f64::NAN.into())];
    fails_with(Spectrum::real_part(dna(2), constant), "frequency 0: its coefficient NaN+0i is not finite");
    for (size, reason) in [(1e200, "too large to square"), (1e-200, "too small to square")] {
        let constant = vec![(Frequency::default(), size.into())];
        fails_with(Spectrum::new(dna(2), constant), reason);
    }
    let spectrum = Spectrum::real_part(dna(2), one(&[1, 0])).unwrap();
    assert_eq!(spectrum.coefficient(&Frequency::from_dense(&[9, 0])), Complex64::ZERO);
    for energy in [-0.1, 1.1, f64::NAN] {
        fails_with(
            spectrum.truncate(Truncation { energy: Some(energy), ..Default::default() }, &Cancel::new()),
            "0 to 1",
        );
    }
    let planted = Planted { terms: 4, max_order: 2, magnitude: (1.0, 1.0), seed: 0 };
    fails_with(
        Planted { max_order: 3, ..planted }.spectrum(&dna(2)),
        "max_order must be 1 to the sequence length, got 3",
    );
    fails_with(
        Planted { magnitude: (0.0, 1.0), ..planted }.spectrum(&dna(2)),
        "magnitude must be an interval",
    );
    fails_with(Planted { terms: 99, ..planted }.spectrum(&dna(2)), "terms must be a small fraction");
}

#[test]
fn product_terms() {
    let components = |support: &[u16], labels: &[u16], coefficient: f64| {
        let group = SupportTerms {
            support: support.to_vec(),
            labels: labels.to_vec(),
            coefficients: vec![coefficient.into()],
        };
        Components::new(&ProductTerms {
            space: dna(30),
            basis: Basis::Letters,
            constant: 0.0,
            supports: vec![group],
            runs: RunTerms::default(),
        })
    };
    assert!(components(&[0, 2], &[3, 0], 1.0).is_ok());
    for support in [&[][..], &[2, 0], &[1, 1], &[29, 30]] {
        fails_with(components(support, &vec![0; support.len()], 1.0), "ascending positions of the space");
    }
    fails_with(components(&[0, 1], &[1], 1.0), "one label of the basis at each position, got support 0: [1]");
    fails_with(
        components(&[0, 1], &[1, 4], 1.0),
        "one label of the basis at each position, got support 0: [1, 4]",
    );
    fails_with(components(&[0, 1], &[1, 3], f64::NAN), "finite, got support 0: NaN");
    let sets = |sets: Vec<u64>| {
        let basis = Basis::Sets(sets.into());
        Components::new(&ProductTerms {
            space: dna(3),
            basis,
            constant: 0.0,
            supports: Vec::new(),
            runs: RunTerms::default(),
        })
    };
    assert!(sets(vec![1, 0b1111]).is_ok());
    fails_with(sets(vec![1, 0]), "non-empty sets of symbols of the alphabet");
    fails_with(sets(vec![0b10000]), "non-empty sets of symbols of the alphabet");
    let long: Vec<u16> = (0..25).collect();
    let long = components(&long, &[0; 25], 1.0).unwrap();
    fails_with(long.interactions(Index::Moebius, 2), "truncate the surrogate");
    fails_with(long.supports(), "truncate the surrogate");
    assert!(long.predict(&[0; 30], &Cancel::new()).unwrap()[0] == 1.0);
}

#[test]
fn ranges_of_queries_beyond_the_last_are_empty() {
    let queries = Plan::new(dna(10), 5000, Strategy::Auto, 0).unwrap().queries(&Cancel::new()).unwrap();
    let last = queries.len();
    assert_eq!(queries.batch(last - 3..last + 3).len(), 3 * 10);
    assert!(queries.batch(last + 1..last + 3).is_empty());
    fails_with(queries.sketch(&[0.0], &Cancel::new()), &format!("query: 1 values for {last} queries"));
}

#[test]
fn spaces_beyond_a_design_are_peeled() {
    let plan = Plan::new(dna(15), 1 << 31, Strategy::Peel, 0).unwrap();
    assert!(plan.total_queries() <= 1 << 28);
    fails_with(Plan::new(dna(15), 1 << 31, Strategy::Exact, 0), "all 4^15 sequences, more than the 2^28");
    fails_with(
        Plan::new(dna(5), 1000, Strategy::Exact, 0),
        "all 4^5 sequences; at least 1024 model evaluations",
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_queries_of_a_plan_are_distinct_and_within_its_budget(
        q in 2usize..=20, n in 1usize..=12, budget in 150usize..=5000, peel: bool,
    ) {
        let space = SequenceSpace::of_size(q, n).unwrap();
        let Ok(plan) = Plan::new(space, budget, if peel { Strategy::Peel } else { Strategy::Auto }, 1) else { return Ok(()) };
        let queries = plan.queries(&Cancel::new()).unwrap();
        prop_assert!(queries.len() <= budget.min(plan.total_queries()));
        let batch = queries.batch(0..queries.len());
        let distinct: std::collections::HashSet<&[u8]> = batch.chunks(n).collect();
        prop_assert_eq!(distinct.len(), queries.len());
        // Small batches have the same queries, also across the bounds of design, validation and test.
        let joined: Vec<u8> =
            (0..queries.len()).step_by(97).flat_map(|start| queries.batch(start..start + 97)).collect();
        prop_assert_eq!(joined, batch);
    }
}

#[test]
fn a_value_far_out_among_those_learned_from_lowers_the_interval_of_r2() {
    let (values, predictions): (Vec<f64>, Vec<f64>) =
        (0..200).map(|i| (f64::from(i % 10), f64::from(i % 10) + 0.1 * f64::from(i % 3))).unzip();
    let seen = [&values[..], &[1000.0; 1], &values].concat();
    let mean = seen.iter().sum::<f64>() / seen.len() as f64;
    let squares: Vec<f64> = seen.iter().map(|v| (v - mean).powi(2)).collect();
    let farthest = farthest_share(&seen, None, None);
    assert!((farthest - squares[200] / squares.iter().sum::<f64>()).abs() < 1e-12);
    // Rows of one sequence count together, and weights count as copies.
    let rows: Vec<usize> = (0..seen.len()).map(|row| row.min(200)).collect();
    let together = squares[200..].iter().sum::<f64>() / squares.iter().sum::<f64>();
    assert!((farthest_share(&seen, None, Some(&rows)) - together).abs() < 1e-12);
    let copies = farthest_share(&[0.0, 0.0, 1.0, 5.0, 5.0], None, Some(&[0, 1, 2, 3, 3]));
    assert!((farthest_share(&[0.0, 1.0, 5.0], Some(&[2.0, 1.0, 2.0]), None) - copies).abs() < 1e-12);
    assert_eq!(farthest_share(&[2.0; 5], None, None), 0.0);

    let alone = Validation::new(&values, &predictions).r_squared().unwrap();
    let all = Validation { farthest, ..Validation::new(&values, &predictions) }.r_squared().unwrap();
    assert_eq!(alone.value, all.value);
    assert!(alone.low > 0.9 && !alone.is_carried_by_few());
    assert!(all.low <= 0.0 && all.is_carried_by_few());
}
