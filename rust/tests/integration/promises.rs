//! Guarantees for programs that embed the crate: files, determinism, budgets, errors and cancelling.

use std::path::PathBuf;
use std::sync::Arc;

use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use shapsketch::design::{DelayFamily, DesignConfig, Observations, QueryDesign, SubsamplingFamily};
use shapsketch::explain::dinucleotide_shuffles;
use shapsketch::peel::PeelingDecoder;
use shapsketch::sketch::{Method, Strategy};
use shapsketch::surrogate::Truncation;
use shapsketch::synthetic::{Planted, add_noise};
use shapsketch::transform::QaryTransform;
use shapsketch::validation::RSquared;
use shapsketch::{Background, Cancel, Components, Error, Plan, SequenceSpace, Sketch};

fn noisy_sketch(q: usize, n: usize, budget: usize) -> (Sketch, Vec<u8>) {
    let cancel = Cancel::new();
    let space = SequenceSpace::of_size(q, n).unwrap();
    let planted = Planted { terms: 40, max_order: 3, magnitude: (0.5, 1.5), seed: 5 };
    let truth = planted.spectrum(&space).unwrap();
    let queries = Plan::new(space, budget, Strategy::Auto, 9).unwrap().queries(&cancel).unwrap();
    let batch = queries.batch(0..queries.len());
    let mut values = truth.predict(&batch).unwrap();
    add_noise(&mut values, 0.5, 1);
    (queries.sketch(&values, &cancel).unwrap(), batch)
}

fn temporary(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("shapsketch-test-{}-{name}", std::process::id()))
}

#[test]
fn files_restore_the_sketch_and_have_the_same_bytes_every_time() {
    for (q, n, budget) in [(4, 8, 400), (2, 10, 1024), (20, 3, 400)] {
        let (sketch, _) = noisy_sketch(q, n, budget);
        let path = temporary(&format!("same-{q}"));
        sketch.save(&path).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let back = Sketch::load(&path).unwrap();
        assert_eq!(back.info, sketch.info);
        assert_eq!(back.surrogate.spectrum().unwrap(), sketch.surrogate.spectrum().unwrap());
        back.save(&path).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
        std::fs::remove_file(path).unwrap();
    }
}

#[test]
fn damaged_files_are_errors_and_never_panics() {
    let (sketch, _) = noisy_sketch(2, 10, 1024);
    let bytes = sketch.to_bytes().unwrap();
    let path = temporary("damaged");
    for length in [0, 7, 8, 100, bytes.len() / 2, bytes.len() - 1] {
        std::fs::write(&path, &bytes[..length]).unwrap();
        assert!(matches!(Sketch::load(&path), Err(Error::File { .. })), "cut to {length} bytes");
    }
    std::fs::remove_file(path).unwrap();
    for length in 0..bytes.len() {
        assert!(Sketch::from_bytes(&bytes[..length]).is_err(), "cut to {length} bytes");
    }
    for index in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[index] ^= 0x41;
        assert!(Sketch::from_bytes(&damaged).is_err(), "a change of byte {index}");
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let runs: Vec<_> = [1, 2, 4]
        .map(|threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let (sketch, batch) = noisy_sketch(4, 8, 400);
                let components = Components::new(&sketch.surrogate.terms()).unwrap();
                let values = components.shapley_values(&batch, &Cancel::new()).unwrap();
                let path = temporary(&format!("threads-{threads}"));
                sketch.save(&path).unwrap();
                let bytes = std::fs::read(&path).unwrap();
                std::fs::remove_file(path).unwrap();
                let bits: Vec<u64> = values.into_iter().map(f64::to_bits).collect();
                (batch, bytes, bits)
            })
        })
        .into();
    assert!(runs[0] == runs[1] && runs[0] == runs[2]);
}

#[test]
fn peeling_in_the_memory_of_the_values_gives_the_same_bits_for_any_number_of_threads() {
    let spaces = [
        (SequenceSpace::of_size(4, 9).unwrap(), DelayFamily::Nso { repeats: 2 }),
        (SequenceSpace::of_sizes(&[2, 3, 4, 6, 1, 4, 3, 2, 5]).unwrap(), DelayFamily::Identity),
    ];
    for (space, delays) in spaces {
        let truth =
            Planted { terms: 10, max_order: 2, magnitude: (0.5, 1.5), seed: 3 }.spectrum(&space).unwrap();
        let config =
            DesignConfig { b: 4, groups: 3, subsampling: SubsamplingFamily::Random, delays, seed: 1 };
        let runs = [1, 2, 4].map(|threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let design = Arc::new(QueryDesign::new(space.clone(), config, &Cancel::new()).unwrap());
                let mut seed = 0;
                let model = |codes: &[u8]| {
                    let mut values = truth.predict(codes).unwrap();
                    seed += 1;
                    add_noise(&mut values, 0.1, seed);
                    values
                };
                let observations =
                    Observations::evaluate(design.clone(), 1000, model, &Cancel::new()).unwrap();
                let decoder = PeelingDecoder::default();
                let borrowed = decoder.decode(&observations, &Cancel::new()).unwrap();
                let owned = decoder.decode_owned(observations, &Cancel::new()).unwrap();
                [borrowed, owned].map(|peeling| {
                    let numbers = [peeling.unexplained, peeling.noise].map(f64::to_bits);
                    let coefficients = peeling.spectrum.coefficients();
                    let bits = coefficients
                        .into_iter()
                        .map(|(k, value)| (k, value.re.to_bits(), value.im.to_bits()));
                    (numbers, bits.collect::<Vec<_>>())
                })
            })
        });
        assert!(runs[0][0].1.len() > 8, "{}", runs[0][0].1.len());
        assert!(runs.iter().all(|run| run[0] == runs[0][0] && run[1] == runs[0][0]));
    }
}

#[test]
fn values_of_a_batch_that_are_missing_or_not_finite_are_named() {
    let space = SequenceSpace::of_size(4, 5).unwrap();
    let design = Arc::new(QueryDesign::complete(space, &Cancel::new()).unwrap());
    let evaluate = |batch, model: &dyn Fn(&[u8]) -> Vec<f64>| {
        Observations::evaluate(design.clone(), batch, model, &Cancel::new())
    };
    let number = |x: &[u8]| x.iter().fold(0.0, |sum, &code| 4.0 * sum + f64::from(code));
    let index = |codes: &[u8]| -> Vec<f64> { codes.chunks(5).map(number).collect() };
    for batch in [1, 100, 1024, 5000] {
        let observations = evaluate(batch, &index).unwrap();
        assert!(observations.values().iter().enumerate().all(|(i, &value)| value == i as f64));
    }
    let message = |model: &dyn Fn(&[u8]) -> Vec<f64>| evaluate(100, model).unwrap_err().to_string();
    assert_eq!(
        message(&|codes| index(codes).into_iter().filter(|&value| value != 250.0).collect()),
        "the function returned 99 values for queries 200 to 299; return one value for each query of the batch"
    );
    assert!(message(&|codes| vec![0.0; codes.len()]).contains("500 values for queries 0 to 99"));
    assert!(
        message(&|codes| index(codes)
            .into_iter()
            .map(|value| if value > 310.0 { f64::NAN } else { value })
            .collect())
        .contains("NaN at index 311")
    );
    assert!(evaluate(0, &|_| Vec::new()).unwrap_err().to_string().contains("batch must be at least 1"));
    let cancel = Cancel::new();
    cancel.set();
    assert!(matches!(
        Observations::evaluate(design.clone(), 100, index, &cancel),
        Err(shapsketch::Error::Interrupted)
    ));
}

#[test]
fn the_queries_of_a_seed_do_not_change_between_versions() {
    // Sketches are resumed, and files are compared, across platforms and versions.
    let config = DesignConfig {
        b: 2,
        groups: 2,
        subsampling: SubsamplingFamily::Random,
        delays: DelayFamily::Nso { repeats: 1 },
        seed: 42,
    };
    let design = QueryDesign::new(SequenceSpace::of_size(20, 6).unwrap(), config, &Cancel::new()).unwrap();
    let all = design.queries(0..design.len());
    let sum: u64 = all.iter().enumerate().map(|(i, &c)| (i % 1009) as u64 * u64::from(c)).sum();
    assert_eq!(
        (design.len(), &all[..12], sum),
        (5600, &[3, 16, 16, 0, 4, 5, 16, 4, 15, 6, 6, 18][..], 159_837_506)
    );
}

#[test]
fn cancelled_work_stops() {
    let cancel = Cancel::new();
    cancel.set();
    let space = SequenceSpace::of_size(4, 12).unwrap();
    let plan = Plan::new(space, 20_000, Strategy::Auto, 0).unwrap();
    assert!(matches!(plan.queries(&cancel), Err(Error::Interrupted)));
    let queries = plan.queries(&Cancel::new()).unwrap();
    let values = vec![0.0; queries.len()];
    assert!(matches!(queries.sketch(&values, &cancel), Err(Error::Interrupted)));
}

proptest! {
    #[test]
    fn plans_stay_within_their_budget_or_name_a_sufficient_one(
        q in 2usize..=64, n in 1usize..=200, budget in 1usize..=30_000,
    ) {
        let space = SequenceSpace::of_size(q, n).unwrap();
        let exact = space.size().is_some_and(|size| size <= budget as u128);
        match Plan::new(space.clone(), budget, Strategy::Auto, 0) {
            Ok(plan) => {
                prop_assert!(plan.total_queries() <= budget);
                prop_assert_eq!(plan.method() == Method::Exact, exact);
            }
            Err(Error::BudgetTooSmall { needed, .. }) => {
                prop_assert!(!exact && budget < needed);
                prop_assert!(Plan::new(space.clone(), needed, Strategy::Auto, 0).is_ok());
                prop_assert!(Plan::new(space, needed - 1, Strategy::Auto, 0).is_err());
            }
            Err(other) => prop_assert!(false, "{other}"),
        }
    }
}

#[test]
fn errors_carry_the_numbers() {
    let space = SequenceSpace::new("ACGT", 4).unwrap();
    let message = |error: Error| error.to_string();
    assert_eq!(
        message(space.encode(&["ACGT", "ACXT"]).unwrap_err()),
        "sequence 1: symbol 'X' at position 2 is not in the alphabet \"ACGT\" (ambiguity codes and gaps do not \
         stand for a single symbol: resolve them, or add the symbol to the alphabet)"
    );
    assert_eq!(
        message(space.encode(&["ACG"]).unwrap_err()),
        "sequence 0 has 3 symbols, the space has length 4"
    );
    assert_eq!(
        message(space.check(&[0, 1, 2, 3, 0, 9, 0, 0]).unwrap_err()),
        "sequence 1: code 9 at position 1 is out of range, codes must be 0 to 3"
    );
    assert_eq!(
        message(space.check(&[0; 5]).unwrap_err()),
        "5 codes: the number of codes is not a multiple of the sequence length 4"
    );
    assert!(message(SequenceSpace::new("ACA", 4).unwrap_err()).contains("'A' twice, at positions 0 and 2"));
    let design = Arc::new(QueryDesign::complete(space, &Cancel::new()).unwrap());
    let short = Observations::new(design.clone(), vec![0.0; 3]).unwrap_err();
    assert!(message(short).contains("3 values for 256 queries"));
    let mut values = vec![0.0; 256];
    values[7] = f64::NAN;
    assert!(message(Observations::new(design, values).unwrap_err()).contains("NaN at index 7"));
    let decoder = PeelingDecoder { noise: Some(f64::NAN), ..Default::default() };
    let observations = Observations::new(
        Arc::new(QueryDesign::complete(SequenceSpace::of_size(2, 2).unwrap(), &Cancel::new()).unwrap()),
        vec![0.0; 4],
    );
    assert!(
        message(decoder.decode(&observations.unwrap(), &Cancel::new()).unwrap_err())
            .contains("noise must be")
    );
}

#[test]
fn r_squared_of_constants_is_undefined() {
    let constant = vec![0.1; 10];
    for predictions in [vec![0.1; 10], vec![0.2; 10]] {
        let r2 = RSquared::new(&constant, &predictions).unwrap();
        assert!(r2.value.is_nan() && r2.low == f64::NEG_INFINITY && r2.high == 1.0, "{r2:?}");
    }
    // If all sequences were evaluated, nothing is unknown.
    let exact = RSquared::of_all(&constant, &constant).unwrap();
    assert_eq!((exact.value, exact.low, exact.high), (1.0, 1.0, 1.0));
    assert!(RSquared::of_all(&constant, &[0.2; 10]).unwrap().is_undefined());
    assert!(RSquared::new(&[1.0], &[1.0]).is_err());
}

/// Share of intervals that hold `1 - error²` of a model with errors of this size; values are drawn by `draw`.
fn coverage(error: f64, rows: usize, draw: impl Fn(&mut ChaCha8Rng) -> f64) -> f64 {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let population: Vec<f64> = (0..400_000).map(|_| draw(&mut rng)).collect();
    let mean = population.iter().sum::<f64>() / 4e5;
    let variance = population.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 4e5;
    // Predictions have normal errors of this size, so R² of the population is `1 - error²`.
    let holds = |_: usize| {
        let values: Vec<f64> = (0..rows).map(|_| population[rng.random_range(0..400_000)]).collect();
        let noise: Vec<f64> = values.iter().map(|_| error * variance.sqrt() * normal(&mut rng)).collect();
        let predictions: Vec<f64> = values.iter().zip(noise).map(|(v, e)| v + e).collect();
        let r2 = RSquared::new(&values, &predictions).unwrap();
        r2.low <= 1.0 - error * error && 1.0 - error * error <= r2.high
    };
    (0..400).map(holds).filter(|holds| *holds).count() as f64 / 400.0
}

fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let (u, v): (f64, f64) = (rng.random(), rng.random());
    (-2.0 * (1.0 - u).ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

#[test]
fn intervals_of_r_squared_hold_the_true_one() {
    for error in [0.1, 0.5, 0.9] {
        for rows in [60, 300] {
            let of_normal = coverage(error, rows, normal);
            let of_rare = coverage(error, rows, |rng| f64::from(u8::from(rng.random_bool(0.05))));
            // Log-normal values: the kurtosis is 114.
            let of_heavy = coverage(error, rows, |rng| normal(rng).exp());
            for share in [of_normal, of_rare, of_heavy] {
                assert!(share >= 0.93, "{error} {rows}: {of_normal} {of_rare} {of_heavy}");
            }
        }
    }
}

#[test]
fn no_interval_has_width_zero() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let values: Vec<f64> = (0..1000).map(|_| normal(&mut rng)).collect();
    let r2 = RSquared::new(&values, &values).unwrap();
    let farthest = values.iter().map(|v| v * v).fold(0.0, f64::max) / 1000.0;
    // Three further sequences like the farthest one could have been missed.
    assert!((1.0 - r2.low - 3.0 * farthest).abs() < 0.005 && r2.value == 1.0 && r2.high == 1.0, "{r2:?}");
}

#[test]
fn canceled_work_ends_with_an_error() {
    let canceled = Cancel::new();
    canceled.set();
    let space = SequenceSpace::of_size(4, 9).unwrap();
    let planted = Planted { terms: 40, max_order: 3, magnitude: (0.5, 1.5), seed: 5 };
    let spectrum = planted.spectrum(&space).unwrap();
    let (terms, codes) = (spectrum.terms(), [1; 9]);
    let components = Components::new(&terms).unwrap();
    let interrupted = |outcome: Option<Error>, what: &str| {
        assert!(matches!(outcome, Some(Error::Interrupted)), "{what}: {outcome:?}");
    };
    let uniform = Background::uniform(&space);
    interrupted(Components::with_background(&terms, &uniform, &canceled).err(), "components");
    interrupted(components.predict(&codes, &canceled).err(), "scores");
    interrupted(components.shapley_values(&codes, &canceled).err(), "Shapley values");
    interrupted(components.shapley_values_with_references(&codes, &codes, &canceled).err(), "references");
    interrupted(components.mutation_effects(&codes, &canceled).err(), "mutations");
    interrupted(components.pairs(&canceled).err(), "pairs");
    interrupted(components.epistasis(&codes, &canceled).err(), "epistasis");
    interrupted(components.variances(&canceled).err(), "variances");
    interrupted(components.motifs(3, 9, &canceled).err(), "motifs");
    interrupted(spectrum.truncate(Truncation::default(), &canceled).err(), "truncation");
    interrupted(spectrum.dense(&canceled).err(), "frequencies");
    interrupted(dinucleotide_shuffles(&space, &codes, 3, 0, &canceled).err(), "shuffles");
    interrupted(QaryTransform::new(4, 2).forward(&[0.0; 16], &canceled).err(), "transform");
    let design =
        Arc::new(QueryDesign::complete(SequenceSpace::of_size(4, 3).unwrap(), &Cancel::new()).unwrap());
    let observations = Observations::new(design, vec![0.5; 64]).unwrap();
    interrupted(PeelingDecoder::default().decode(&observations, &canceled).err(), "exact transform");
}
