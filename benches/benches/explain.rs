//! Explaining sequences on one core: about 1,000 coefficients on 300 supports, n = 26, q = 4.

#![allow(missing_docs, clippy::unwrap_used)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use shapsketch::explain::dinucleotide_shuffles;
use shapsketch::{Background, Cancel, Components, Index};
use shapsketch_benches::{explained_spectrum, tiger_design};

/// Number of explained sequences.
const SEQUENCES: usize = 10_000;

fn explain(c: &mut Criterion) {
    let terms = explained_spectrum().unwrap().terms();
    let components = Components::new(&terms).unwrap();
    let codes = tiger_design(5).unwrap().queries(0..SEQUENCES);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let cancel = Cancel::new();
    let mut group = c.benchmark_group("explain");
    group.bench_function("compile components", |b| b.iter(|| Components::new(&terms).unwrap()));
    group.throughput(Throughput::Elements(SEQUENCES as u64));
    group.bench_function("Shapley values, one core", |b| {
        b.iter(|| pool.install(|| components.shapley_values(&codes, &cancel).unwrap()));
    });
    for (index, most) in [(Index::Moebius, 26), (Index::Fsii, 2), (Index::KSii, 2)] {
        let interactions = components.interactions(index, most).unwrap();
        group.bench_function(format!("{}, order up to {most}, one core", index.name()), |b| {
            b.iter(|| pool.install(|| components.values(&interactions, &codes, &cancel).unwrap()));
        });
    }
    group.bench_function("mutation effects, one core", |b| {
        b.iter(|| pool.install(|| components.mutation_effects(&codes, &cancel).unwrap()));
    });
    let composition = Background::product(&terms.space, [0.3, 0.2, 0.2, 0.3].repeat(26)).unwrap();
    let shifted = Components::with_background(&terms, &composition, &Cancel::new()).unwrap();
    group.bench_function("Shapley values, product background, one core", |b| {
        b.iter(|| pool.install(|| shifted.shapley_values(&codes, &cancel).unwrap()));
    });
    let shuffles = dinucleotide_shuffles(&terms.space, &codes[..26 * 500], 20, 0, &Cancel::new()).unwrap();
    group.throughput(Throughput::Elements(500));
    group.sample_size(10);
    group.bench_function("Shapley values, 20 shuffles of each sequence, one core", |b| {
        b.iter(|| {
            pool.install(|| {
                components.shapley_values_with_references(&codes[..26 * 500], &shuffles, &cancel).unwrap()
            })
        });
    });
    group.throughput(Throughput::Elements(SEQUENCES as u64));
    group.bench_function("scores, one core", |b| {
        b.iter(|| pool.install(|| components.predict(&codes, &cancel).unwrap()));
    });
    group.finish();
}

criterion_group!(benches, explain);
criterion_main!(benches);
