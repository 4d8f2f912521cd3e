//! Sparse regression of 20,000 values with a fixed basis and dictionary; cross-validation chooses the other settings.

use criterion::{Criterion, criterion_group, criterion_main};
use shapsketch::Cancel;
use shapsketch::design::Observations;
use shapsketch::regress::{Atoms, Dictionary, Sample, SparseRegression};
use shapsketch_benches::{characters_sample, designed_observations, letters_sample};

fn fit(basis: Atoms, dictionary: Dictionary, sample: &Sample) -> f64 {
    let regression =
        SparseRegression { basis: Some(basis), dictionary: Some(dictionary), ..SparseRegression::default() };
    regression.fit(sample, &Cancel::new()).map_or(f64::NAN, |fitted| fitted.r2.value)
}

fn regress(c: &mut Criterion) {
    let mut group = c.benchmark_group("regress");
    group.sample_size(10);
    let designed = |q, n, order, b| -> Option<Sample> {
        designed_observations(q, n, order, b).map(|observations: Observations| observations.into()).ok()
    };
    if let Ok(sample) = letters_sample(4, 28, 4, 20_000) {
        let dictionary = Dictionary { windows: 4, orders: 2, ..Dictionary::default() };
        group.bench_function("q=4 n=28, windows to 4 and pairs, letters", |b| {
            b.iter(|| fit(Atoms::Letters, dictionary.clone(), &sample));
        });
    }
    if let Ok(sample) = letters_sample(20, 56, 2, 20_000) {
        let dictionary = Dictionary { orders: 2, ..Dictionary::default() };
        group.bench_function("q=20 n=56, all pairs, letters", |b| {
            b.iter(|| fit(Atoms::Letters, dictionary.clone(), &sample));
        });
    }
    if let Some(sample) = designed(4, 50, 3, 4) {
        let dictionary = Dictionary { orders: 3, ..Dictionary::default() };
        group.bench_function("q=4 n=50, orders to 3, characters in bins", |b| {
            b.iter(|| fit(Atoms::Characters, dictionary.clone(), &sample));
        });
    }
    if let Some(sample) = designed(20, 56, 2, 2) {
        let dictionary = Dictionary { orders: 2, ..Dictionary::default() };
        group.bench_function("q=20 n=56, all pairs, characters in bins", |b| {
            b.iter(|| fit(Atoms::Characters, dictionary.clone(), &sample));
        });
    }
    if let Ok(sample) = characters_sample(4, 26, 3, 8_000) {
        let dictionary = Dictionary { orders: 3, ..Dictionary::default() };
        group.bench_function("q=4 n=26, orders to 3, 8,000 values, characters on sequences", |b| {
            b.iter(|| fit(Atoms::Characters, dictionary.clone(), &sample));
        });
    }
    group.finish();
}

criterion_group!(benches, regress);
criterion_main!(benches);
