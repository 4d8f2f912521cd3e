//! Query generation: TIGER's 3,981,312 queries, streamed.

#![allow(missing_docs, clippy::unwrap_used)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use shapsketch_benches::tiger_design;

/// Queries in one batch.
const BATCH: usize = 65_536;

fn generate(c: &mut Criterion) {
    let design = tiger_design(7).unwrap();
    let mut group = c.benchmark_group("design");
    group.sample_size(10).throughput(Throughput::Elements(design.len() as u64));
    group.bench_function("build, repeats found", |b| b.iter(|| tiger_design(7).unwrap().len()));
    group.bench_function("queries in batches", |b| {
        b.iter(|| {
            (0..design.len())
                .step_by(BATCH)
                .map(|start| usize::from(design.queries(start..start + BATCH)[7]))
                .sum::<usize>()
        });
    });
    group.finish();
}

criterion_group!(benches, generate);
criterion_main!(benches);
