//! Workloads shared by the benchmarks; those of the published package's largest example, TIGER.

use std::sync::Arc;

use shapsketch::synthetic::{Planted, add_noise};
use shapsketch::{
    Cancel, Complex64, DelayFamily, DesignConfig, Frequency, Observations, QueryDesign, Result,
    SequenceSpace, Spectrum, SubsamplingFamily,
};

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
            let k: Frequency =
                support.iter().enumerate().map(|(i, &at)| (at, if i == 0 { first } else { 1 })).collect();
            (k, Complex64::from_polar(1.0, s as f64))
        })
    };
    Spectrum::real_part(tiger_space()?, round(1).chain(round(2).skip(26).take(200)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workloads_are_as_large_as_they_say() {
        assert_eq!(tiger_design(7).unwrap().len(), 3_981_312);
        let spectrum = explained_spectrum().unwrap();
        assert_eq!((spectrum.len(), spectrum.terms().supports.len()), (1000, 300));
    }
}
