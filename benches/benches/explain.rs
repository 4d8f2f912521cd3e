//! Explaining sequences on one core: about 1,000 coefficients on 300 supports, n = 26, q = 4.

#![allow(missing_docs, clippy::unwrap_used)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use shapsketch::{Cancel, Components};
use shapsketch_benches::{explained_spectrum, tiger_design};

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
    group.bench_function("interactions, one core", |b| {
        b.iter(|| pool.install(|| components.moebius(&codes, &cancel).unwrap()));
    });
    group.bench_function("scores, one core", |b| {
        b.iter(|| pool.install(|| components.predict(&codes, &cancel).unwrap()));
    });
    group.finish();
}

criterion_group!(benches, explain);
criterion_main!(benches);
