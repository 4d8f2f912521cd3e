//! Workloads that the benchmarks share. TIGER is the largest example of the published package.

use std::sync::Arc;

use shapsketch::design::{DelayFamily, DesignConfig, Observations, QueryDesign, SubsamplingFamily, uniform};
use shapsketch::frequency::Frequency;
use shapsketch::regress::Sample;
use shapsketch::surrogate::Spectrum;
use shapsketch::synthetic::{Planted, add_noise};
use shapsketch::{Cancel, Complex64, Result, SequenceSpace};

/// TIGER's space: RNA guides of 26 symbols.
///
/// # Errors
/// None for this space.
pub fn tiger_space() -> Result<SequenceSpace> {
    SequenceSpace::new("ACGU", 26)
}

/// TIGER's design, C = 3 groups of NSO delays with R = 3 repeats; b = 7 has 3,981,312 queries.
///
/// # Errors
/// If `b` is out of range.
pub fn tiger_design(b: usize) -> Result<QueryDesign> {
    let config = DesignConfig {
        b,
        groups: 3,
        subsampling: SubsamplingFamily::Random,
        delays: DelayFamily::Nso { repeats: 3 },
        seed: 0,
    };
    QueryDesign::new(tiger_space()?, config, &Cancel::new())
}

/// Observations of 250 planted coefficients of order up to 3, with noise at 10 dB per query.
///
/// # Errors
/// If `b` is out of range.
pub fn tiger_observations(b: usize) -> Result<Observations> {
    let planted = Planted { terms: 250, max_order: 3, magnitude: (0.5, 1.5), seed: 1 };
    let truth = planted.spectrum(&tiger_space()?)?;
    let design = Arc::new(tiger_design(b)?);
    let mut values = truth.predict(&design.queries(0..design.len()))?;
    let energy: f64 = truth.order_energy().iter().skip(1).sum();
    add_noise(&mut values, (energy / 10.0).sqrt(), 2);
    Observations::new(design, values)
}

/// 1,000 coefficients on 300 supports: every position, 168 pairs, 106 triples.
///
/// # Errors
/// None for this space.
pub fn explained_spectrum() -> Result<Spectrum> {
    let singles = (0..26_u16).map(|i| vec![i]);
    let pairs = (0..168_u16).map(|i| vec![i % 12, 12 + i / 12]);
    let triples = (0..106_u16).map(|i| vec![i % 10, 10 + i / 10, 21 + i % 5]);
    let supports: Vec<Vec<u16>> = singles.chain(pairs).chain(triples).collect();
    // Two rounds of labels, the second not the negative of the first; real_part adds the conjugates.
    let round = |first: u8| {
        supports.iter().enumerate().map(move |(s, support)| {
            let k: Frequency = support
                .iter()
                .enumerate()
                .map(|(i, &position)| (position, if i == 0 { first } else { 1 }))
                .collect();
            (k, Complex64::from_polar(1.0, s as f64))
        })
    };
    Spectrum::real_part(tiger_space()?, round(1).chain(round(2).skip(26).take(200)).collect())
}

/// 200 planted coefficients of order up to `order`, as a spectrum over `q` symbols.
fn planted(q: usize, n: usize, order: usize) -> Result<Spectrum> {
    let planted = Planted { terms: 200, max_order: order, magnitude: (0.5, 1.5), seed: 3 };
    planted.spectrum(&SequenceSpace::of_size(q, n)?)
}

fn with_noise(truth: &Spectrum, codes: &[u8]) -> Result<Vec<f64>> {
    let mut values = truth.predict(codes)?;
    let energy: f64 = truth.order_energy().iter().skip(1).sum();
    add_noise(&mut values, (energy / 10.0).sqrt(), 4);
    Ok(values)
}

/// About 20,000 queries in blocks of `q^b` with random delays, of planted coefficients with noise at 10 dB.
///
/// # Errors
/// If the design is impossible.
pub fn designed_observations(q: usize, n: usize, order: usize, b: usize) -> Result<Observations> {
    let truth = planted(q, n, order)?;
    let config = DesignConfig {
        b,
        groups: 20_000 / q.pow(b as u32),
        subsampling: SubsamplingFamily::Random,
        delays: DelayFamily::Random { count: 1 },
        seed: 0,
    };
    let design = Arc::new(QueryDesign::new(truth.space().clone(), config, &Cancel::new())?);
    let values = with_noise(&truth, &design.queries(0..design.len()))?;
    Observations::new(design, values)
}

/// Uniform sequences with the values of planted coefficients and noise at 10 dB.
///
/// # Errors
/// If the space has too few sequences.
pub fn characters_sample(q: usize, n: usize, order: usize, count: usize) -> Result<Sample> {
    let truth = planted(q, n, order)?;
    let codes = uniform(truth.space(), count, 0, &Cancel::new())?;
    let values = with_noise(&truth, &codes)?;
    Sample::new(truth.space().clone(), codes, values)
}

/// Uniform sequences with the values of an additive part, 200 letter patterns on windows of up to `order` positions
/// or on pairs of positions, and noise.
///
/// # Errors
/// If the space has too few sequences.
pub fn letters_sample(q: usize, n: usize, order: usize, count: usize) -> Result<Sample> {
    let space = SequenceSpace::of_size(q, n)?;
    let codes = uniform(&space, count, 0, &Cancel::new())?;
    // Pseudo-random weights without a generator.
    let weight = |index: usize| (index as f64 * 12.989_8).sin();
    let mut values: Vec<f64> = codes
        .chunks_exact(n)
        .map(|x| {
            let single: f64 = x.iter().enumerate().map(|(i, &a)| weight(i * q + a as usize)).sum();
            let patterns = (0..200).filter(|pattern| {
                let size = 2 + pattern % (order - 1);
                let first = (pattern * 7) % (n - size);
                let step = if size == 2 { 1 + pattern % (n - first - 1) } else { 1 };
                (0..size).all(|i| x[first + i * step] as usize == (pattern * 3 + i * 5) % q)
            });
            single + patterns.map(|pattern| 3.0 * weight(pattern + 10_000)).sum::<f64>()
        })
        .collect();
    add_noise(&mut values, 1.0, 5);
    Sample::new(space, codes, values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workloads_have_the_documented_sizes() {
        assert_eq!(tiger_design(7).unwrap().len(), 3_981_312);
        let spectrum = explained_spectrum().unwrap();
        assert_eq!((spectrum.len(), spectrum.terms().supports.len()), (1000, 300));
        let observations = designed_observations(4, 50, 3, 4).unwrap();
        assert_eq!(observations.values().len(), 19_968);
        assert_eq!(letters_sample(4, 28, 4, 100).unwrap().values().len(), 100);
        assert_eq!(characters_sample(4, 26, 3, 100).unwrap().values().len(), 100);
    }
}
