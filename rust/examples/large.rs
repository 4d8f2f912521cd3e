//! Peels a design with many queries in 8 bytes for each: `cargo run --release --example large -- 8`.
//!
//! The argument is the dimension b of the blocks: 3 groups of 32 delays have 96 · 4^b queries, 100 million for b = 10.

#![allow(clippy::print_stdout)]

use std::sync::Arc;
use std::time::Instant;

use shapsketch::design::{DelayFamily, DesignConfig, Observations, QueryDesign, SubsamplingFamily};
use shapsketch::peel::PeelingDecoder;
use shapsketch::synthetic::{Planted, add_noise};
use shapsketch::{Cancel, SequenceSpace};

/// Queries that are evaluated at a time.
const BATCH: usize = 1 << 16;

fn main() -> shapsketch::Result<()> {
    let cancel = Cancel::new();
    let b = std::env::args().nth(1).and_then(|b| b.parse().ok()).unwrap_or(6);
    let space = SequenceSpace::new("ACGT", 31)?;
    let planted = Planted { terms: 250, max_order: 3, magnitude: (0.5, 1.5), seed: 1 };
    let truth = planted.spectrum(&space)?;
    let deviation = (truth.order_energy().iter().skip(1).sum::<f64>() / 10.0).sqrt();

    let started = Instant::now();
    let delays = DelayFamily::Nso { repeats: 1 };
    let config = DesignConfig { b, groups: 3, subsampling: SubsamplingFamily::Random, delays, seed: 0 };
    let design = Arc::new(QueryDesign::new(space, config, &cancel)?);
    println!("{} distinct queries, {:.2?}", design.len(), started.elapsed());

    // The model sees one batch at a time.
    let started = Instant::now();
    let mut seed = 0;
    let model = |codes: &[u8]| {
        let mut values = truth.predict(codes).unwrap_or_default();
        add_noise(&mut values, deviation, seed);
        seed += 1;
        values
    };
    let observations = Observations::evaluate(design, BATCH, model, &cancel)?;
    println!("evaluated, {:.2?}", started.elapsed());

    // The bins take the memory of the values.
    let started = Instant::now();
    let peeling = PeelingDecoder::default().decode_owned(observations, &cancel)?;
    println!("{} coefficients, {}, {:.2?}", peeling.spectrum.len(), peeling.status.name(), started.elapsed());
    if let Ok(status) = std::fs::read_to_string("/proc/self/status") {
        status
            .lines()
            .filter(|line| line.starts_with("VmHWM"))
            .for_each(|line| println!("peak memory {line}"));
    }
    Ok(())
}
