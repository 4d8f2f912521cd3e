//! The q-ary transform of one block.

#![allow(missing_docs)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use shapsketch::Cancel;
use shapsketch::transform::QaryTransform;

fn forward(c: &mut Criterion) {
    let mut group = c.benchmark_group("transform");
    for (q, b) in [(4_usize, 7), (20, 3), (2, 14)] {
        let values: Vec<f64> = (0..q.pow(b)).map(|i| (i as f64).sin()).collect();
        let transform = QaryTransform::new(q, b as usize);
        group.throughput(Throughput::Elements(values.len() as u64));
        group.bench_function(format!("q={q}, b={b}"), |bencher| {
            bencher.iter(|| transform.forward(&values, &Cancel::new()));
        });
    }
    group.finish();
}

criterion_group!(benches, forward);
criterion_main!(benches);
