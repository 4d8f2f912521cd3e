//! Predictors: sums of models of every kind, alone and in sketch files.

use std::sync::Arc;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde_json::Value;
use shapsketch::amortised::{self, Accuracy, Amortised};
use shapsketch::design::uniform;
use shapsketch::networks::values::{ValueNetwork, ValuesTraining};
use shapsketch::networks::{self, Training};
use shapsketch::predictor::{ClosedForm, Curve, Model, Part, Predictor};
use shapsketch::surrogate::{Relation, Spectrum};
use shapsketch::trees::{Count, CountingTrees, Node, RunCount, RunCounts, Test};
use shapsketch::validation::RSquared;
use shapsketch::walks::Walks;
use shapsketch::{Background, Cancel, Complex64, SequenceSpace, Sketch, Surrogate, frequency::Frequency};

fn space() -> SequenceSpace {
    SequenceSpace::new("ACGT", 8).unwrap()
}

/// The R² of some predictions.
fn some_r2() -> RSquared {
    let values: Vec<f64> = (0..50).map(f64::from).collect();
    let predictions: Vec<f64> = values.iter().map(|value| value + value.sin()).collect();
    RSquared::new(&values, &predictions).unwrap()
}

fn closed_form() -> Surrogate {
    let mut dense = [0; 8];
    let constant = (Frequency::from_dense(&dense), Complex64::new(0.25, 0.0));
    (dense[1], dense[2]) = (2, 2);
    let pair = (Frequency::from_dense(&dense), Complex64::new(-1.5, 0.0));
    Surrogate::Spectrum(Spectrum::new(space(), vec![constant, pair]).unwrap())
}

fn trees() -> CountingTrees {
    let test = Test::AtMost { count: 0, threshold: 1 };
    let counts = vec![Count { kmer: vec![2, 1], first: 0, last: 6, step: 1 }];
    let nodes = vec![Node::Split { condition: test, yes: 1, no: 2 }, Node::Leaf(0.5), Node::Leaf(2.0)];
    CountingTrees::new(space(), 0.125, vec![], counts, RunCounts::default(), vec![nodes]).unwrap()
}

/// Whether the last three symbols repeat the first three.
fn trees_with_runs() -> CountingTrees {
    let count =
        RunCount { relation: 1, length: 3, reversed: false, first: 0, last: 0, nearest: 5, farthest: 5 };
    let relations = vec![Relation::wobble(&space()).unwrap(), Relation::equal(&space())];
    let runs = RunCounts { relations, counts: vec![count] };
    let test = Test::RunsAtMost { count: 0, threshold: 0 };
    let nodes = vec![Node::Split { condition: test, yes: 1, no: 2 }, Node::Leaf(0.5), Node::Leaf(2.0)];
    CountingTrees::new(space(), 0.125, vec![], vec![], runs, vec![nodes]).unwrap()
}

fn trained(codes: &[u8]) -> networks::Ensemble {
    let values: Vec<f64> = codes.chunks(8).map(|word| f64::from(word[0])).collect();
    let training = Training { members: 2, channels: 4, hidden: 3, epochs: 2, ..Training::default() };
    networks::Ensemble::train(&space(), codes, &values, None, &training, &Cancel::new()).unwrap()
}

fn part(name: &str, weight: f64, model: Model) -> Part {
    Part { name: name.into(), weight, r2: 0.5, model }
}

fn predictor(codes: &[u8]) -> Predictor {
    let form = Box::new(ClosedForm::new(closed_form()).unwrap());
    let parts = vec![
        part("regress", 0.5, Model::ClosedForm(form)),
        part("trees (counts)", 0.25, Model::Trees(trees())),
        part("networks", 0.125, Model::Networks(trained(codes))),
    ];
    Predictor::new(space(), 3.0, parts, some_r2()).unwrap()
}

#[test]
fn values_along_walks_are_predictions() {
    let cancel = Cancel::new();
    let codes = uniform(&space(), 120, 0, &cancel).unwrap();
    let (starts, targets) = codes.split_at(60 * 8);
    let orders: Vec<u32> = (0..60).flat_map(|row| (0..8).map(move |i| (3 * i + row) % 8)).collect();
    let own = space();
    let walks = Walks::new(&own, starts, targets, &orders).unwrap();
    let hybrids: Vec<(usize, Vec<u8>)> = (0..60).flat_map(|row| walks.hybrids(row)).collect();
    assert!(hybrids.len() < 60 * 9, "steps between equal symbols have no sequence of their own");
    let curve = Curve::new(vec![-2.0, 0.0, 2.0], vec![0.0, 1.0, 5.0]).unwrap();
    let form = || Box::new(ClosedForm::new(closed_form()).unwrap());
    let models = [
        Model::ClosedForm(form()),
        Model::Monotone(form(), curve),
        Model::Trees(trees()),
        Model::Trees(trees_with_runs()),
    ];
    let parts = models.map(|model| part("model", 0.5, model)).to_vec();
    let exact = Predictor::new(space(), 1.0, parts, some_r2()).unwrap();
    // With one of its networks in each pair of walks, the mean over all of them is that of the ensemble.
    for (predictor, networks, tolerance) in [(exact, 1, 1e-12), (predictor(&codes), 2, 1e-5)] {
        let mut mean = vec![0.0; 60 * 9];
        for first in 0..networks {
            let values = predictor.walks(&walks, &[first; 30], &cancel).unwrap();
            mean.iter_mut().zip(values).for_each(|(mean, value)| *mean += value / f64::from(networks));
        }
        for row in 0..60 {
            let mut sequence = starts[row * 8..][..8].to_vec();
            for step in 0..9 {
                if step > 0 {
                    let i = orders[row * 8 + step - 1] as usize;
                    sequence[i] = targets[row * 8 + i];
                }
                let expected = predictor.predict(&sequence, &cancel).unwrap()[0];
                assert!((mean[row * 9 + step] - expected).abs() < tolerance, "{row} {step}");
            }
        }
    }
    let other = SequenceSpace::new("ACGT", 4).unwrap();
    let short = Walks::new(&other, &[0; 4], &[1; 4], &[0, 1, 2, 3]).unwrap();
    assert!(predictor(&codes).walks(&short, &[0], &cancel).is_err());
    for orders in [vec![0, 1, 2, 2], vec![0, 1, 2, 4], vec![0, 1, 2]] {
        assert!(Walks::new(&other, &[0; 4], &[1; 4], &orders).is_err());
    }
    assert!(Walks::new(&other, &[0; 4], &[1; 8], &[0, 1, 2, 3]).is_err());
    assert!(Walks::new(&other, &[0; 4], &[4; 4], &[0, 1, 2, 3]).is_err());
}

#[test]
fn predictions_are_the_weighted_sum_of_the_parts() {
    let cancel = Cancel::new();
    let codes = uniform(&space(), 120, 0, &cancel).unwrap();
    let sum = predictor(&codes).predict(&codes, &cancel).unwrap();
    let form = shapsketch::Components::new(&closed_form().terms()).unwrap().predict(&codes, &cancel).unwrap();
    let networks = trained(&codes).predict(&codes, &cancel).unwrap();
    for (row, word) in codes.chunks(8).enumerate() {
        let pairs = word.windows(2).filter(|pair| *pair == [2, 1]).count();
        let trees = if pairs <= 1 { 0.625 } else { 2.125 };
        let expected = 3.0 + 0.5 * form[row] + 0.25 * trees + 0.125 * networks[row];
        assert!((sum[row] - expected).abs() < 1e-12);
    }
}

#[test]
fn a_sketch_file_keeps_the_predictor() {
    let cancel = Cancel::new();
    let codes = uniform(&space(), 120, 0, &cancel).unwrap();
    let predictor = predictor(&codes);
    let sketch = Sketch::from(closed_form()).with_predictor(Arc::new(predictor.clone())).unwrap();
    let bytes = sketch.to_bytes().unwrap();
    assert_eq!(sketch.to_bytes().unwrap(), bytes);
    let back = Sketch::from_bytes(&bytes).unwrap().predictor.unwrap();
    assert_eq!(back.predict(&codes, &cancel).unwrap(), predictor.predict(&codes, &cancel).unwrap());
    assert_eq!(back.r2(), predictor.r2());
    let names = |predictor: &Predictor| -> Vec<(String, f64, f64, &'static str)> {
        predictor.parts().iter().map(|p| (p.name.clone(), p.weight, p.r2, p.model.kind())).collect()
    };
    assert_eq!(names(&back), names(&predictor));
    assert_eq!(back.variances(), None);
    let variances: Vec<f64> = (0..8).map(|i| f64::from(i) / 3.0).collect();
    let known = predictor.with_variances(variances.clone()).unwrap();
    let known = Sketch::from(closed_form()).with_predictor(Arc::new(known)).unwrap().to_bytes().unwrap();
    let back = Sketch::from_bytes(&known).unwrap();
    assert_eq!(back.predictor.as_ref().unwrap().variances(), Some(variances.as_slice()));
    assert_eq!(back.to_bytes().unwrap(), known);
    let without = sketch.without_predictor().to_bytes().unwrap();
    assert!(Sketch::from_bytes(&without).unwrap().predictor.is_none());
}

#[test]
fn predictors_of_other_spaces_and_impossible_numbers_are_refused() {
    let other = SequenceSpace::new("ACGT", 9).unwrap();
    let form = || Model::ClosedForm(Box::new(ClosedForm::new(closed_form()).unwrap()));
    let message = |space: SequenceSpace, constant, part| {
        Predictor::new(space, constant, vec![part], some_r2()).unwrap_err().to_string()
    };
    assert!(message(other.clone(), 0.0, part("a", 1.0, form())).contains("length 9"));
    assert!(message(space(), f64::NAN, part("a", 1.0, form())).contains("finite constant"));
    assert!(message(space(), 0.0, part("a", -1.0, form())).contains("-1 for \"a\""));
    let above = Part { r2: 1.5, ..part("a", 1.0, form()) };
    assert!(message(space(), 0.0, above).contains("1.5 for \"a\""));
    let parts = (0..65).map(|_| part("a", 0.0, form())).collect();
    assert!(Predictor::new(space(), 0.0, parts, some_r2()).is_err());
    for (variances, expected) in
        [(vec![1.0; 7], "7 for 8"), (vec![-1.0; 8], "-1"), (vec![f64::NAN; 8], "NaN")]
    {
        let predictor = Predictor::new(space(), 0.0, vec![], some_r2()).unwrap();
        let message = predictor.with_variances(variances).unwrap_err().to_string();
        assert!(message.contains(expected), "{expected}: {message}");
    }
    let lone = Arc::new(Predictor::new(other, 0.0, vec![], some_r2()).unwrap());
    assert!(Sketch::from(closed_form()).with_predictor(lone).unwrap_err().to_string().contains("length 9"));
}

#[test]
fn a_sketch_file_keeps_trees_that_count_runs() {
    let cancel = Cancel::new();
    let codes = [uniform(&space(), 50, 0, &cancel).unwrap(), vec![0, 1, 2, 3, 3, 0, 1, 2]].concat();
    let part = part("trees (counts)", 1.0, Model::Trees(trees_with_runs()));
    let predictor = Predictor::new(space(), 0.0, vec![part], some_r2()).unwrap();
    let expected = predictor.predict(&codes, &cancel).unwrap();
    assert!(expected.contains(&2.125) && expected.contains(&0.625));
    let sketch = Sketch::from(closed_form()).with_predictor(Arc::new(predictor)).unwrap();
    let bytes = sketch.to_bytes().unwrap();
    let back = Sketch::from_bytes(&bytes).unwrap();
    assert_eq!(back.predictor.as_ref().unwrap().predict(&codes, &cancel).unwrap(), expected);
    assert_eq!(back.to_bytes().unwrap(), bytes);
    type Change = fn(&mut Value);
    let changes: [(Change, &str); 4] = [
        (|p| p["parts"][0]["relations"][1] = "".into(), "printable characters"),
        (|p| drop(p["parts"][0]["relations"].as_array_mut().unwrap().pop()), "sizes of their tensors"),
        (|p| p["parts"][0]["relations"] = Vec::<String>::new().into(), "trees must be"),
        (|p| p["parts"][0]["relations"] = 1.into(), "damaged"),
    ];
    for (change, expected) in changes {
        let message = Sketch::from_bytes(&forged(&bytes, change)).unwrap_err().to_string();
        assert!(message.contains(expected), "{expected}: {message}");
    }
}

#[test]
fn trees_without_runs_have_no_tensors_of_runs() {
    let codes = uniform(&space(), 120, 0, &Cancel::new()).unwrap();
    let sketch = Sketch::from(closed_form()).with_predictor(Arc::new(predictor(&codes))).unwrap();
    let bytes = sketch.to_bytes().unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    assert!(!file.names().iter().any(|name| name.ends_with("runs") || name.ends_with("relations")));
    forged(&bytes, |p| assert!(p["parts"][1].get("relations").is_none()));
}

/// A file with a changed description of its predictor and the digest of the changed file.
fn forged(bytes: &[u8], change: impl Fn(&mut Value)) -> Vec<u8> {
    forged_metadata(bytes, |metadata| change(&mut metadata["predictor"]))
}

/// A file with changed metadata and the digest of the changed file.
fn forged_metadata(bytes: &[u8], change: impl Fn(&mut Value)) -> Vec<u8> {
    let (length, rest) = bytes.split_at(8);
    let (header, data) = rest.split_at(u64::from_le_bytes(length.try_into().unwrap()) as usize);
    let mut header: Value = serde_json::from_slice(header).unwrap();
    let text = header["__metadata__"]["shapsketch"].as_str().unwrap();
    let mut metadata: Value = serde_json::from_str(text).unwrap();
    change(&mut metadata);
    let zeros = "0".repeat(32);
    metadata["digest"] = zeros.clone().into();
    header["__metadata__"]["shapsketch"] = metadata.to_string().into();
    let header = header.to_string();
    let mut bytes = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat();
    let start = bytes.windows(32).position(|window| window == zeros.as_bytes()).unwrap();
    let digest = format!("{:032x}", xxhash_rust::xxh3::xxh3_128(&bytes));
    bytes[start..start + 32].copy_from_slice(digest.as_bytes());
    bytes
}

#[test]
fn forged_predictors_in_files_are_refused_with_the_reason() {
    let codes = uniform(&space(), 120, 0, &Cancel::new()).unwrap();
    let sketch = Sketch::from(closed_form()).with_predictor(Arc::new(predictor(&codes))).unwrap();
    let bytes = sketch.to_bytes().unwrap();
    assert!(Sketch::from_bytes(&forged(&bytes, |_| {})).unwrap().predictor.is_some());
    type Change = fn(&mut Value);
    let changes: [(Change, &str); 10] = [
        (|p| p["variances"] = true.into(), "predictor.variances"),
        (|p| p["parts"][2]["hidden"] = 4.into(), "parameters as their shape has"),
        (|p| p["parts"][2]["channels"] = 0.into(), "channels"),
        (|p| p["parts"][2]["channels"] = (1_u64 << 40).into(), "channels"),
        (|p| p["parts"][2]["scale"] = Value::Null, "damaged"),
        (|p| p["parts"][1]["kind"] = "networks".into(), "damaged"),
        (|p| p["parts"][1]["weight"] = (-0.5).into(), "-0.5"),
        (|p| p["parts"][0]["r2"] = 1.5.into(), "1.5"),
        (|p| p["parts"].as_array_mut().unwrap().swap(0, 1), "is missing"),
        (|p| p["r2"]["value"] = 7.into(), "R² 7"),
    ];
    for (change, expected) in changes {
        let message = Sketch::from_bytes(&forged(&bytes, change)).unwrap_err().to_string();
        assert!(message.contains(expected), "{expected}: {message}");
    }
}

#[test]
fn a_part_of_a_predictor_has_no_predictor_itself() {
    let cancel = Cancel::new();
    let codes = uniform(&space(), 120, 0, &cancel).unwrap();
    let sketch = Sketch::from(closed_form()).with_predictor(Arc::new(predictor(&codes))).unwrap();
    let inner = sketch.to_bytes().unwrap();
    let file = SafeTensors::deserialize(&inner).unwrap();
    let (_, metadata) = SafeTensors::read_metadata(&inner).unwrap();
    let mut tensors: Vec<(String, TensorView<'_>)> =
        file.tensors().into_iter().filter(|(name, _)| name != "predictor.0.sketch").collect();
    let nested = TensorView::new(Dtype::U8, vec![inner.len()], &inner).unwrap();
    tensors.push(("predictor.0.sketch".into(), nested));
    let outer = safetensors::serialize(tensors, metadata.metadata().clone()).unwrap();
    let message = Sketch::from_bytes(&forged(&outer, |_| {})).unwrap_err().to_string();
    assert!(message.contains("a part of a predictor has a predictor"), "{message}");
}

/// A network of values with few steps.
fn amortised_network(predictor: &Predictor, background: &Background) -> shapsketch::Result<ValueNetwork> {
    let training = ValuesTraining { steps: 3, ..ValuesTraining::default() };
    amortised::train(predictor, &closed_form(), background, &training, &Cancel::new())
}

fn with_amortised_values(codes: &[u8]) -> Sketch {
    let predictor = predictor(codes);
    let network = amortised_network(&predictor, &Background::uniform(&space())).unwrap();
    let accuracy = Accuracy { error: 0.25, size: 1.0, sampling: 0.125 };
    let amortised = Amortised::new(network, vec![0.25; 32], 0.5, accuracy).unwrap();
    let sketch = Sketch::from(closed_form()).with_predictor(Arc::new(predictor)).unwrap();
    sketch.with_amortised(Arc::new(amortised)).unwrap()
}

#[test]
fn a_sketch_file_keeps_amortised_values() {
    let codes = uniform(&space(), 120, 0, &Cancel::new()).unwrap();
    let sketch = with_amortised_values(&codes);
    let bytes = sketch.to_bytes().unwrap();
    let back = Sketch::from_bytes(&bytes).unwrap();
    assert_eq!(back.amortised, sketch.amortised);
    assert_eq!(back.to_bytes().unwrap(), bytes);
    let other = back.clone().with_predictor(back.predictor.clone().unwrap()).unwrap();
    assert!(other.amortised.is_none() && back.without_predictor().amortised.is_none());
}

#[test]
fn forged_amortised_values_in_files_are_refused_with_the_reason() {
    let codes = uniform(&space(), 120, 0, &Cancel::new()).unwrap();
    let bytes = with_amortised_values(&codes).to_bytes().unwrap();
    type Change = fn(&mut Value);
    let changes: [(Change, &str); 7] = [
        (|m| m["amortised"]["channels"] = 5.into(), "as many parameters"),
        (|m| m["amortised"]["channels"] = 0.into(), "1 to 1024"),
        (|m| m["amortised"]["hidden"] = (1_u64 << 40).into(), "1 to 1024"),
        (|m| m["amortised"]["error"] = (-1.0).into(), "at least 0"),
        (|m| m["amortised"]["base_value"] = Value::Null, "damaged"),
        (|m| m["amortised"] = 1.into(), "damaged"),
        (|m| drop(m.as_object_mut().unwrap().remove("predictor")), "no predictor"),
    ];
    for (change, expected) in changes {
        let message = Sketch::from_bytes(&forged_metadata(&bytes, change)).unwrap_err().to_string();
        assert!(message.contains(expected), "{expected}: {message}");
    }
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
    let with = |name: &str, dtype, shape: Vec<usize>, data: &[u8]| {
        let mut tensors: Vec<(String, TensorView<'_>)> =
            file.tensors().into_iter().filter(|(other, _)| other != name).collect();
        tensors.push((name.to_owned(), TensorView::new(dtype, shape, data).unwrap()));
        let outer = safetensors::serialize(tensors, metadata.metadata().clone()).unwrap();
        Sketch::from_bytes(&forged(&outer, |_| {})).unwrap_err().to_string()
    };
    let probabilities: Vec<u8> = (0..32).flat_map(|_| 0.5_f64.to_le_bytes()).collect();
    let message = with("amortised.background", Dtype::F64, vec![32], &probabilities);
    assert!(message.contains("add up to 1") && message.contains("position 0"), "{message}");
    let message = with("amortised.background", Dtype::F64, vec![31], &probabilities[8..]);
    assert!(message.contains("one probability for each"), "{message}");
    let count = file.tensor("amortised.parameters").unwrap().data().len() / 4;
    let parameters: Vec<u8> = (0..count).flat_map(|_| f32::NAN.to_le_bytes()).collect();
    let message = with("amortised.parameters", Dtype::F32, vec![1, count], &parameters);
    assert!(message.contains("finite parameters"), "{message}");
}

#[test]
fn amortised_values_need_a_predictor_and_independent_positions() {
    let codes = uniform(&space(), 120, 0, &Cancel::new()).unwrap();
    let predictor = predictor(&codes);
    let references = Background::references(&space(), &codes[..16]).unwrap();
    let message = amortised_network(&predictor, &references).unwrap_err().to_string();
    assert!(message.contains("independent positions"), "{message}");
    let amortised = with_amortised_values(&codes).amortised.unwrap();
    let message = Sketch::from(closed_form()).with_amortised(amortised).unwrap_err().to_string();
    assert!(message.contains("a sketch with a predictor"), "{message}");
}
