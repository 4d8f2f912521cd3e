//! Workloads shared by the benchmarks; those of the published package's largest example, TIGER.

use std::sync::Arc;

use shapsketch::synthetic::{Planted, add_noise};
use shapsketch::{
    Cancel, DelayFamily, DesignConfig, Observations, QueryDesign, Result, SequenceSpace, Spectrum,
    SubsamplingFamily,
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

/// About 1,000 coefficients on about 300 supports of order up to 3.
///
/// # Errors
/// None for this space.
pub fn explained_spectrum() -> Result<Spectrum> {
    let space = tiger_space()?;
    let planted = Planted { terms: 1400, max_order: 3, magnitude: (0.5, 1.5), seed: 3 };
    let terms = planted.spectrum(&space)?.coefficients();
    // Draws of order 2 and 3 seldom share a support; move them onto 300 of them.
    let mut supports: Vec<Vec<u16>> = terms.iter().map(|(k, _)| k.support().to_vec()).collect();
    supports.dedup();
    let keep = supports.len().div_ceil(300);
    let chosen: Vec<&Vec<u16>> = supports.iter().step_by(keep).collect();
    let moved = terms.iter().map(|(k, value)| {
        let same_order: Vec<_> = chosen.iter().filter(|support| support.len() == k.order()).collect();
        let pick =
            k.iter().map(|(i, label)| i as usize * 31 + label as usize).sum::<usize>() % same_order.len();
        (same_order[pick].iter().copied().zip(k.labels().iter().copied()).collect(), *value)
    });
    Spectrum::real_part(space, moved.collect())
}
