//! The decoder recovers planted spectra.

use std::sync::Arc;

use shapsketch::design::{DelayFamily, DesignConfig, Observations, QueryDesign, SubsamplingFamily};
use shapsketch::frequency::Frequency;
use shapsketch::peel::{Peeling, PeelingDecoder, PeelingStatus};
use shapsketch::sketch::Strategy;
use shapsketch::surrogate::Spectrum;
use shapsketch::synthetic::{Planted, add_noise, nmse};
use shapsketch::{Cancel, Plan, SequenceSpace};

struct Case {
    q: usize,
    n: usize,
    b: usize,
    groups: usize,
    delays: DelayFamily,
    terms: usize,
    max_order: usize,
    noise: f64,
}

fn decode(case: &Case, decoder: PeelingDecoder, seed: u64) -> (Spectrum, Peeling) {
    let cancel = Cancel::new();
    let space = SequenceSpace::of_size(case.q, case.n).unwrap();
    let planted =
        Planted { terms: case.terms, max_order: case.max_order, magnitude: (0.5, 1.5), seed: 7 * seed + 1 };
    let truth = planted.spectrum(&space).unwrap();
    let config = DesignConfig {
        b: case.b,
        groups: case.groups,
        subsampling: SubsamplingFamily::Random,
        delays: case.delays,
        seed,
    };
    let design = Arc::new(QueryDesign::new(space, config, &cancel).unwrap());
    let mut values = truth.predict(&design.queries(0..design.len())).unwrap();
    add_noise(&mut values, case.noise, seed);
    let observations = Observations::new(design, values).unwrap();
    (truth, decoder.decode(&observations, &cancel).unwrap())
}

/// Largest error over all frequencies of either spectrum.
fn worst(a: &Spectrum, b: &Spectrum) -> f64 {
    let all = a.coefficients().into_iter().chain(b.coefficients());
    all.map(|(k, _)| (a.coefficient(&k) - b.coefficient(&k)).norm()).fold(0.0, f64::max)
}

/// Noiseless, C = 3, q^b >= 256, s <= 0.4 q^b: every coefficient to 1e-8 for >= 99 % of the seeds.
fn noiseless(seeds: u64, q: usize, n: usize, b: usize, delays: DelayFamily) {
    let bins = q.pow(b as u32);
    assert!(bins >= 256);
    let case = Case { q, n, b, groups: 3, delays, terms: bins * 2 / 5, max_order: 4.min(n), noise: 0.0 };
    let mut exact = 0;
    for seed in 0..seeds {
        let (truth, peeling) = decode(&case, PeelingDecoder::default(), seed);
        let good = worst(&truth, &peeling.spectrum) < 1e-8;
        exact += u64::from(good);
        assert_eq!(
            good,
            peeling.status == PeelingStatus::Converged,
            "the status must say whether the spectrum is exact, seed {seed}"
        );
    }
    assert!(100 * exact >= 99 * seeds, "q={q} {delays:?}: {exact} of {seeds} recovered");
}

#[test]
fn noiseless_q2() {
    noiseless(200, 2, 20, 8, DelayFamily::Identity);
}

#[test]
fn noiseless_q3() {
    noiseless(200, 3, 15, 6, DelayFamily::Identity);
}

#[test]
fn noiseless_q4() {
    noiseless(200, 4, 20, 4, DelayFamily::Identity);
    noiseless(100, 4, 20, 4, DelayFamily::Nso { repeats: 1 });
}

#[test]
fn noiseless_q5() {
    noiseless(200, 5, 12, 4, DelayFamily::Identity);
}

#[test]
fn noiseless_q20() {
    noiseless(200, 20, 10, 2, DelayFamily::Identity);
    noiseless(100, 20, 10, 2, DelayFamily::Nso { repeats: 2 });
}

#[test]
fn noisy_spectra_are_recovered_completely() {
    for seed in 0..5 {
        let mut case = Case {
            q: 4,
            n: 26,
            b: 5,
            groups: 3,
            delays: DelayFamily::Nso { repeats: 3 },
            terms: 250,
            max_order: 3,
            noise: 0.0,
        };
        let (truth, _) = decode(&case, PeelingDecoder::default(), seed);
        // 10 dB per query: the energy of the noise is a tenth of the signal's energy.
        case.noise = (truth.order_energy()[1..].iter().sum::<f64>() / 10.0).sqrt();
        let (truth, peeling) = decode(&case, PeelingDecoder::default(), seed);
        let support = |spectrum: &Spectrum| -> Vec<_> {
            spectrum.coefficients().into_iter().map(|(k, _)| k).filter(|k| k.order() > 0).collect()
        };
        assert_eq!(support(&peeling.spectrum), support(&truth), "seed {seed}");
        assert!(nmse(&peeling.spectrum, &truth) < 2e-4, "seed {seed}");
        assert!((peeling.noise / case.noise - 1.0).abs() < 0.1, "seed {seed}: {}", peeling.noise);
        assert_eq!(peeling.status, PeelingStatus::Converged, "seed {seed}");
    }
}

#[test]
fn noiseless_with_coded_delays() {
    noiseless(100, 2, 40, 8, DelayFamily::Coded { max_order: 4, repeats: 1 });
    noiseless(100, 4, 40, 4, DelayFamily::Coded { max_order: 4, repeats: 1 });
}

#[test]
fn noisy_spectra_are_recovered_with_coded_delays() {
    // More symbols have phases that are closer to each other. The energy of the noise is this fraction of the signal's.
    for (q, b, fraction) in [(2, 8, 0.1), (4, 4, 0.1), (20, 2, 0.005)] {
        for seed in 0..5 {
            let delays = DelayFamily::Coded { max_order: 3, repeats: 3 };
            let mut case = Case { q, n: 60, b, groups: 3, delays, terms: 60, max_order: 3, noise: 0.0 };
            let (truth, _) = decode(&case, PeelingDecoder::default(), seed);
            case.noise = (fraction * truth.order_energy()[1..].iter().sum::<f64>()).sqrt();
            let (truth, peeling) = decode(&case, PeelingDecoder::default(), seed);
            let error = nmse(&peeling.spectrum, &truth);
            assert!(error < 2e-3, "q={q} seed {seed}: {error}");
        }
    }
}

#[test]
fn orders_above_those_of_the_code_are_not_read_as_others() {
    for q in [2, 3, 4, 20] {
        let space = SequenceSpace::of_size(q, 60).unwrap();
        for max_order in 1..=3 {
            let config = DesignConfig {
                b: if q == 20 { 1 } else { 4 },
                groups: 3,
                subsampling: SubsamplingFamily::Random,
                delays: DelayFamily::Coded { max_order, repeats: 1 },
                seed: 5,
            };
            let design = Arc::new(QueryDesign::new(space.clone(), config, &Cancel::new()).unwrap());
            let mut wrong = 0;
            for seed in 0..40 {
                // One coefficient of an order that the code cannot tell.
                let k: Frequency = (0..max_order as u16 + 2)
                    .map(|i| (7 * i + seed % 11, 1 + (i % (q as u16 - 1)) as u8))
                    .collect();
                let truth = Spectrum::real_part(space.clone(), vec![(k, 1.0.into())]).unwrap();
                let values = truth.predict(&design.queries(0..design.len())).unwrap();
                let observations = Observations::new(design.clone(), values).unwrap();
                let peeling = PeelingDecoder::default().decode(&observations, &Cancel::new()).unwrap();
                assert_ne!(peeling.status, PeelingStatus::Converged);
                wrong += peeling.spectrum.coefficients().iter().filter(|(k, _)| k.order() > 0).count();
            }
            assert!(wrong <= 1, "q={q} t={max_order}: {wrong}");
        }
    }
}

#[test]
fn without_a_refit_the_coefficients_are_those_read_from_the_bins() {
    let case = Case {
        q: 4,
        n: 16,
        b: 4,
        groups: 3,
        delays: DelayFamily::Nso { repeats: 2 },
        terms: 40,
        max_order: 3,
        noise: 0.3,
    };
    let plain = PeelingDecoder { refit: false, ..PeelingDecoder::default() };
    let (truth, peeled) = decode(&case, plain, 1);
    let (_, refitted) = decode(&case, PeelingDecoder::default(), 1);
    assert!(nmse(&refitted.spectrum, &truth) <= nmse(&peeled.spectrum, &truth));
    assert_ne!(refitted.spectrum, peeled.spectrum);
}

#[test]
fn the_first_group_of_a_design_tells_whether_a_spectrum_is_sparse() {
    let cancel = Cancel::new();
    for (q, n, budget) in [(2, 64, 4000), (4, 20, 4000), (3, 30, 6000)] {
        let space = SequenceSpace::of_size(q, n).unwrap();
        let plan = Plan::new(space.clone(), budget, Strategy::Auto, 3).unwrap();
        let (queries, uniform) =
            (plan.queries(&cancel).unwrap(), plan.without_peeling().queries(&cancel).unwrap());
        let first = queries.first_group(&cancel).unwrap().unwrap();
        let batch = first.queries(0..first.len());
        // Both plans have the same budget and begin with the same queries.
        assert_eq!(plan.without_peeling().design(), None);
        assert_eq!((queries.len(), uniform.len()), (budget, budget));
        assert_eq!(batch, queries.batch(0..first.len()));
        assert_eq!(batch, uniform.batch(0..first.len()));
        assert!(uniform.first_group(&cancel).unwrap().is_none());
        let rest = uniform.batch(first.len()..budget);
        let distinct: std::collections::HashSet<&[u8]> = batch.chunks(n).chain(rest.chunks(n)).collect();
        assert_eq!(distinct.len(), budget);
        let planted = Planted { terms: 20, max_order: 3, magnitude: (0.5, 1.5), seed: 5 };
        let mut values = planted.spectrum(&space).unwrap().predict(&batch).unwrap();
        assert!(queries.is_sparse(&values, &cancel).unwrap());
        add_noise(&mut values, 0.3, 1);
        assert!(queries.is_sparse(&values, &cancel).unwrap());
        // A bump in a random direction has terms of all orders.
        let bump = |x: &[u8]| {
            let along: f64 =
                x.iter().zip(1..).map(|(&code, i)| (f64::from(code) * f64::from(i) * 1.3).sin()).sum();
            (along * 2.0).sin()
        };
        let dense: Vec<f64> = batch.chunks(n).map(bump).collect();
        assert!(!queries.is_sparse(&dense, &cancel).unwrap());
        assert!(queries.is_sparse(&values[1..], &cancel).is_err());
        assert!(uniform.is_sparse(&values, &cancel).is_err());
    }
}
