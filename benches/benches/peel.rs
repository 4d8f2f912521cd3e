//! Decoding of TIGER's design: all steps except the evaluations of the model.

#![allow(missing_docs, clippy::unwrap_used)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use shapsketch::Cancel;
use shapsketch::peel::PeelingDecoder;
use shapsketch_benches::tiger_observations;

fn decode(c: &mut Criterion) {
    let mut group = c.benchmark_group("peel");
    group.sample_size(10);
    for b in [5, 7] {
        let observations = tiger_observations(b).unwrap();
        group.throughput(Throughput::Elements(observations.values().len() as u64));
        group.bench_function(format!("q=4, n=26, b={b}, C=3, R=3"), |bencher| {
            bencher.iter(|| {
                PeelingDecoder::default().decode(&observations, &Cancel::new()).unwrap().spectrum.len()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, decode);
criterion_main!(benches);
