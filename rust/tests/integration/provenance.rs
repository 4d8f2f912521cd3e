//! Sketches by every method are made, tested, saved and loaded without Python.

use std::path::PathBuf;

use serde_json::{Value, json};
use shapsketch::design::uniform;
use shapsketch::predictor::Curve;
use shapsketch::regress::{Sample, SparseRegression};
use shapsketch::sketch::{AllTerms, Candidate, Fit, HeldOut, Method, Outcome, Provenance, Status, Strategy};
use shapsketch::surrogate::Keep;
use shapsketch::trees::{Ensemble, Node};
use shapsketch::validation::{RSquared, Validation};
use shapsketch::{Cancel, Components, Error, Plan, SequenceSpace, Sketch, Surrogate};

fn temporary(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("shapsketch-provenance-{}-{name}", std::process::id()))
}

fn space() -> SequenceSpace {
    SequenceSpace::new("ACGT", 8).unwrap()
}

/// Additive effects and one pattern of two symbols.
fn score(x: &[u8]) -> f64 {
    0.5 * x.iter().filter(|&&a| a == 2).count() as f64 + 2.0 * f64::from(u8::from(x[1] == 0 && x[2] == 3))
}

fn scores(codes: &[u8]) -> Vec<f64> {
    codes.chunks(8).map(score).collect()
}

fn planned(strategy: Strategy, space: SequenceSpace, budget: usize) -> Sketch {
    let cancel = Cancel::new();
    let queries = Plan::new(space, budget, strategy, 3).unwrap().queries(&cancel).unwrap();
    let n = queries.space().n();
    let values: Vec<f64> = queries
        .batch(0..queries.len())
        .chunks(n)
        .map(|x| if n == 8 { score(x) } else { f64::from(x[0]) })
        .collect();
    queries.sketch(&values, &cancel).unwrap()
}

fn predictions(surrogate: &Surrogate, codes: &[u8]) -> Vec<f64> {
    Components::new(&surrogate.terms()).unwrap().predict(codes, &Cancel::new()).unwrap()
}

/// A tree on the pattern of two symbols: 2 if it is present, else 0.
fn ensemble() -> Ensemble {
    let condition = vec![(1, 0b0001), (2, 0b1000)];
    let nodes = vec![Node::Split { condition: 0, yes: 1, no: 2 }, Node::Leaf(2.0), Node::Leaf(0.0)];
    Ensemble::new(space(), 0.0, vec![condition], vec![nodes]).unwrap()
}

fn tree() -> Surrogate {
    Surrogate::Terms(ensemble().truncated(Keep::default(), &Cancel::new()).unwrap().terms)
}

/// The sketch of a surrogate that a method made outside the crate, tested on 300 sequences.
fn fitted(method: Method, surrogate: Surrogate) -> Sketch {
    let cancel = Cancel::new();
    let codes = uniform(&space(), 300, 11, &cancel).unwrap();
    let held_out = HeldOut::new(scores(&codes), predictions(&surrogate, &codes));
    let outcome = if method == Method::Converted { Outcome::Exact } else { Outcome::Validated };
    let fit = Fit {
        surrogate,
        codes,
        held_out,
        sampled_fraction: 0.0,
        dependent: Vec::new(),
        refit_gain: 0.5,
        farthest: 0.0,
        provenance: Provenance {
            method,
            status: outcome.into(),
            budget: 1500,
            n_queries: 1400,
            seed: 11,
            candidates: Vec::new(),
        },
    };
    Sketch::from_fit(fit, &cancel).unwrap()
}

fn regressed() -> Sketch {
    let cancel = Cancel::new();
    let codes = uniform(&space(), 600, 1, &cancel).unwrap();
    let values = scores(&codes);
    let sample = Sample::new(space(), codes, values).unwrap();
    let regression = SparseRegression::default().fit(&sample, &cancel).unwrap();
    Sketch::from_regression(regression, &sample, 0)
}

/// A sketch by each method.
fn by_method(method: Method) -> Sketch {
    match method {
        Method::Exact => planned(Strategy::Exact, SequenceSpace::new("ACGT", 4).unwrap(), 256),
        Method::Peel => planned(Strategy::Peel, space(), 8000),
        Method::Regress => regressed(),
        Method::Average => {
            let (a, b) = (regressed().surrogate, tree());
            let parts = [(&a, 0.75), (&b, 0.25)];
            let keep = Keep { dropped: 0.0, max_terms: None };
            fitted(method, Surrogate::combine(&parts, 0.1, keep, &Cancel::new()).unwrap())
        }
        Method::Converted => fitted(method, Surrogate::Terms(ensemble().exact(100, &Cancel::new()).unwrap())),
        _ => fitted(method, tree()),
    }
}

#[test]
fn every_method_makes_tests_and_saves_a_sketch() {
    for method in Method::ALL {
        let sketch = by_method(method);
        let info = sketch.info.clone().unwrap();
        assert_eq!(info.provenance.method, method);
        assert_eq!(info.regression.is_some(), method == Method::Regress);
        let held_out = sketch.held_out.clone().unwrap();
        let r2 = RSquared::new(&held_out.values, &held_out.predictions).unwrap();
        assert!((info.r2.value - r2.value).abs() < 1e-12 && info.r2.high >= r2.high, "{method:?}");
        let path = temporary(method.name());
        sketch.save(&path).unwrap();
        let back = Sketch::load(&path).unwrap();
        assert_eq!(back.info, Some(info), "{method:?}");
        assert_eq!(back.uncertainty, sketch.uncertainty, "{method:?}");
        let n = back.surrogate.space().n();
        let codes = uniform(back.surrogate.space(), 100, 5, &Cancel::new()).unwrap();
        assert_eq!(codes.len(), 100 * n);
        let (old, new) = (predictions(&sketch.surrogate, &codes), predictions(&back.surrogate, &codes));
        assert!(old.iter().zip(&new).all(|(a, b)| a.to_bits() == b.to_bits()), "{method:?}");
        std::fs::remove_file(path).unwrap();
    }
}

#[test]
fn a_fit_reports_what_its_held_out_values_show() {
    let sketch = fitted(Method::Trees, tree());
    let (info, held_out) = (sketch.info.unwrap(), sketch.held_out.unwrap());
    let r2 = RSquared::new(&held_out.values, &held_out.predictions).unwrap();
    assert_eq!((info.r2.value, info.r2.low), (r2.value, r2.low));
    // The final fit may have half the error.
    assert!((1.0 - info.r2.high - 0.5 * (1.0 - r2.high)).abs() < 1e-12);
    assert_eq!(info.unexplained, 1.0 - r2.value);
    let squares: f64 = held_out.values.iter().zip(&held_out.predictions).map(|(v, p)| (v - p).powi(2)).sum();
    assert!((info.noise - (squares / 300.0).sqrt()).abs() < 1e-12);
    assert_eq!(sketch.uncertainty.unwrap().positions.len(), 8);
}

#[test]
fn a_gain_decreases_only_the_errors_of_held_out_sequences() {
    let values: Vec<f64> = (0..100).map(|i| f64::from(i % 7)).collect();
    let off = |by: f64| values.iter().enumerate().map(|(i, v)| v + by * (i as f64).sin()).collect::<Vec<_>>();
    let (held_out, fitted) = (off(1.0), off(0.1));
    let of = |gain: f64| {
        let validation = Validation {
            fitted: &fitted,
            sampled_fraction: 0.5,
            gain,
            ..Validation::new(&values, &held_out)
        };
        1.0 - validation.r_squared().unwrap().high
    };
    // Squared errors of the final fit are a hundredth, for half of the space.
    assert!((of(1.0) / of(0.0) - 0.01 / 1.01).abs() < 1e-9);
    assert!((of(0.5) / of(0.0) - 0.51 / 1.01).abs() < 1e-9);
}

#[test]
fn provenance_can_be_amended_and_is_saved() {
    let candidate = Candidate { name: "trees".into(), r2: 0.5, seconds: Some(1.5), weight: 1.0 };
    let sketch = by_method(Method::Regress);
    let exponents = |numbers: &[f64]| numbers.iter().map(|v| v.exp()).collect::<Vec<_>>();
    let held_out = sketch.held_out.clone().unwrap();
    let (values, predictions) = (exponents(&held_out.values), exponents(&held_out.predictions));
    let too_few = sketch.clone().with_link("log", Some((&values[1..], &predictions[1..])));
    assert!(too_few.unwrap_err().to_string().contains("value"));
    let sketch = sketch
        .with_outcome(Outcome::BudgetSpent)
        .with_budget(77)
        .with_candidates(vec![candidate.clone()])
        .with_note("trees and distillation failed: too few; try more")
        .with_link("log", Some((&values, &predictions)))
        .unwrap();
    let info = sketch.info.clone().unwrap();
    let text = "budget spent; trees and distillation failed: too few; try more";
    assert_eq!(info.provenance.status.to_string(), text);
    assert_eq!((info.provenance.budget, info.link.name.as_str()), (77, "log"));
    let expected = RSquared::new(&values, &predictions).unwrap();
    assert!((info.link.response_r2.unwrap().value - expected.value).abs() < 1e-12);
    let heavy = HeldOut { weights: Some((0..values.len()).map(|i| 1.0 + i as f64).collect()), ..held_out };
    let weighted = Sketch { held_out: Some(heavy), ..sketch.clone() };
    let response =
        weighted.with_link("log", Some((&values, &predictions))).unwrap().info.unwrap().link.response_r2;
    assert!((response.unwrap().value - expected.value).abs() > 1e-9);
    let path = temporary("amended");
    sketch.save(&path).unwrap();
    let back = Sketch::load(&path).unwrap().info.unwrap();
    assert_eq!(back.provenance.status, info.provenance.status);
    // Run times are not saved.
    assert_eq!(back.provenance.candidates, [Candidate { seconds: None, ..candidate }]);
    std::fs::remove_file(path).unwrap();
    // A sketch without provenance stays as it is.
    assert!(Sketch::from(tree()).with_outcome(Outcome::Validated).with_note("a note").info.is_none());
}

/// Replaces fields of the provenance in a sketch file, and removes its digest.
fn rewritten(path: &PathBuf, change: impl Fn(&mut Value)) {
    let bytes = std::fs::read(path).unwrap();
    let (length, rest) = bytes.split_at(8);
    let (header, data) = rest.split_at(u64::from_le_bytes(length.try_into().unwrap()) as usize);
    let mut header: Value = serde_json::from_slice(header).unwrap();
    let text = header["__metadata__"]["shapsketch"].as_str().unwrap();
    let mut metadata: Value = serde_json::from_str(text).unwrap();
    change(&mut metadata["info"]);
    metadata.as_object_mut().unwrap().remove("digest").unwrap();
    header["__metadata__"]["shapsketch"] = metadata.to_string().into();
    let header = header.to_string();
    let bytes = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat();
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn files_with_a_status_text_alone_still_load() {
    let path = temporary("text");
    let sketch = by_method(Method::Regress);
    let codes = uniform(&space(), 200, 5, &Cancel::new()).unwrap();
    let note = |text: &str| vec![text.to_string()];
    for (text, outcome, notes) in [
        ("cross-validated", Outcome::CrossValidated, Vec::new()),
        ("round limit", Outcome::RoundLimit, Vec::new()),
        ("more queries no longer pay; a; b", Outcome::NoLongerPays, note("a; b")),
        ("ended early; a", Outcome::Unknown, note("ended early; a")),
    ] {
        sketch.save(&path).unwrap();
        rewritten(&path, |info| {
            let fields = info.as_object_mut().unwrap();
            for field in ["outcome", "all_terms", "notes"] {
                fields.remove(field);
            }
            fields.insert("status".into(), json!(text));
        });
        let back = Sketch::load(&path).unwrap();
        assert_eq!(back.info.unwrap().provenance.status, Status { outcome, all_terms: None, notes });
        let (old, new) = (predictions(&sketch.surrogate, &codes), predictions(&back.surrogate, &codes));
        assert!(old.iter().zip(&new).all(|(a, b)| a.to_bits() == b.to_bits()));
    }
    std::fs::remove_file(path).unwrap();
}

#[test]
fn damaged_provenance_is_refused() {
    let path = temporary("damaged");
    let mut sketch = by_method(Method::Trees);
    let status = &mut sketch.info.as_mut().unwrap().provenance.status;
    status.all_terms = Some(AllTerms { n_terms: 1234, r2: 0.75 });
    assert_eq!(status.to_string(), "validated; with all 1,234 terms R² is 0.7500");
    sketch.save(&path).unwrap();
    assert_eq!(Sketch::load(&path).unwrap().info, sketch.info);
    for (field, value, reason) in [
        ("outcome", json!("done"), "outcome must be one of 'exact', 'converged'"),
        ("method", json!("tree"), "got 'tree'; did you mean 'trees'?"),
        ("all_terms", json!(1), "metadata is damaged"),
    ] {
        sketch.save(&path).unwrap();
        rewritten(&path, |info| info[field] = value.clone());
        let message = Sketch::load(&path).unwrap_err().to_string();
        assert!(message.contains(reason), "{message:?} must contain {reason:?}");
    }
    std::fs::remove_file(path).unwrap();
}

#[test]
fn the_curve_of_a_link_is_loaded_as_saved() {
    let path = temporary("curve");
    let held_out = HeldOut::new(vec![0.0, 1.0, 3.0], vec![0.1, 1.1, 2.9]);
    let r2 = RSquared::new(&held_out.values, &held_out.predictions).unwrap();
    let codes = uniform(&space(), 50, 7, &Cancel::new()).unwrap();
    let plain = by_method(Method::Regress);
    let curved = |values: Vec<f64>| {
        let curve = Curve::new(vec![-1.0, 0.5, 2.0], values).unwrap();
        plain.clone().rescaled(2.0, 1.0).with_curve(curve, held_out.clone(), r2)
    };
    assert!(curved(vec![0.0, 2.0, 2.0]).unwrap_err().to_string().contains("ascending values, got 2 after 2"));
    let sketch = curved(vec![0.0, 2.0, 2.5]).unwrap();
    let info = sketch.info.clone().unwrap();
    assert_eq!((info.r2, info.link.response_r2, info.link.name.as_str()), (r2, Some(r2), "monotone"));
    assert!((info.noise - 0.1).abs() < 1e-9 && (info.unexplained - (1.0 - r2.value)).abs() < 1e-12);
    sketch.save(&path).unwrap();
    let back = Sketch::load(&path).unwrap();
    assert_eq!(back.info.unwrap().link, info.link);
    assert!(back.uncertainty.is_none());
    let (old, new) = (predictions(&plain.surrogate, &codes), predictions(&back.surrogate, &codes));
    assert!(old.iter().zip(&new).all(|(a, b)| (2.0 * a + 1.0 - b).abs() < 1e-9));
    plain.save(&path).unwrap();
    rewritten(&path, |info| info["link"]["name"] = json!("monotone"));
    let message = Sketch::load(&path).unwrap_err().to_string();
    assert!(
        message.contains("the curve of its link is damaged: the tensor \"link.knots\" is missing"),
        "{message}"
    );
    let mut named = sketch;
    named.info.as_mut().unwrap().link.name = "log".into();
    assert!(named.save(&path).unwrap_err().to_string().contains("the link \"log\" has a curve"));
    std::fs::remove_file(path).unwrap();
}

#[test]
fn impossible_provenance_is_refused_and_not_written() {
    let path = temporary("impossible");
    let (trees, regression, exact) =
        (by_method(Method::Trees), by_method(Method::Regress), by_method(Method::Exact));
    let r2 = |value: f64, low: f64, high: f64| json!({"value": value, "low": low, "high": high, "count": 9});
    let impossible = "is impossible";
    let cases = [
        (&trees, "r2", r2(5.0, 4.0, 6.0), impossible),
        (&trees, "r2", r2(0.5, 9.0, -9.0), impossible),
        (&trees, "r2", r2(0.5, 0.6, 0.7), impossible),
        (&trees, "r2", json!({"value": null, "low": 0.5, "high": 1.0, "count": 9}), impossible),
        (&trees, "r2", json!({"value": 0.5, "low": null, "high": 1.0, "count": 9}), impossible),
        (&trees, "r2", json!({"value": 0.5, "low": 0.4, "high": 0.6, "count": -9}), "invalid value"),
        (&trees, "link", json!({"name": "log", "response_r2": r2(1.5, 0.0, 1.0)}), "scale of the model 1.5"),
        (&trees, "noise", json!(-1.0), "noise must be at least 0, got -1"),
        (&trees, "unexplained", json!(null), "unexplained must be at least 0, got NaN"),
        (&trees, "n_queries", json!(-1), "invalid value"),
        (&trees, "all_terms", json!([9, 1.5]), "R² 1.5 of all terms is above 1"),
        (
            &trees,
            "candidates",
            json!([{"name": "a", "r2": 1.5, "weight": 1.0}]),
            "candidate \"a\" is above 1",
        ),
        (&trees, "candidates", json!([{"name": "a", "r2": 0.5, "weight": -1.0}]), "\"a\" has the weight -1"),
        (&trees, "outcome", json!("exact"), "outcome 'exact' is impossible for the method \"trees\""),
        (&regression, "method", json!("exact"), "method 'exact' needs the spectrum of all sequences"),
        (&regression, "method", json!("trees"), "details of a regression are impossible for the method"),
        (&exact, "n_queries", json!(255), "method 'exact' needs the spectrum of all sequences"),
    ];
    for (sketch, field, value, reason) in cases {
        sketch.save(&path).unwrap();
        rewritten(&path, |info| info[field] = value.clone());
        let message = Sketch::load(&path).unwrap_err().to_string();
        assert!(message.contains(reason), "{message:?} must contain {reason:?}");
    }
    for (field, value) in [("unseen", json!([[8, 0]])), ("unseen", json!([[0, 4]])), ("refit", json!(-1.0))] {
        regression.save(&path).unwrap();
        rewritten(&path, |info| info["regression"][field] = value.clone());
        let message = Sketch::load(&path).unwrap_err().to_string();
        assert!(message.contains("metadata is damaged: "), "{message}");
    }
    let mut forged = trees.clone();
    forged.info.as_mut().unwrap().r2.value = 5.0;
    let message = forged.to_bytes().unwrap_err().to_string();
    assert!(message.starts_with("bytes of a sketch: R² 5 with the interval"), "{message}");
    assert!(matches!(forged.save(&path), Err(Error::File { .. })));
    std::fs::remove_file(path).unwrap();
}

#[test]
fn undefined_r2_is_saved_and_an_upper_end_above_one_is_one() {
    let mut sketch = by_method(Method::Trees);
    let info = sketch.info.as_mut().unwrap();
    info.r2 = RSquared { value: f64::NAN, low: f64::NEG_INFINITY, high: 1.0, count: 20, n_effective: 2.5 };
    (info.unexplained, info.noise) = (f64::NAN, 0.0);
    let low = RSquared { value: -3.5, low: f64::NEG_INFINITY, high: 1.0, count: 20, n_effective: 2.5 };
    info.link.response_r2 = Some(low);
    let back = Sketch::from_bytes(&sketch.to_bytes().unwrap()).unwrap().info.unwrap();
    assert!(back.r2.value.is_nan() && back.unexplained.is_nan());
    assert_eq!((back.r2.low, back.r2.high, back.r2.count), (f64::NEG_INFINITY, 1.0, 20));
    assert_eq!((back.link.response_r2, back.noise), (Some(low), 0.0));
    // Older versions could write an upper end above 1.
    let path = temporary("above-one");
    by_method(Method::Trees).save(&path).unwrap();
    rewritten(&path, |info| info["r2"] = json!({"value": 0.5, "low": -0.5, "high": 1.25, "count": 9}));
    let r2 = Sketch::load(&path).unwrap().info.unwrap().r2;
    assert_eq!(r2, RSquared { value: 0.5, low: -0.5, high: 1.0, count: 9, n_effective: f64::NAN });
    std::fs::remove_file(path).unwrap();
}
