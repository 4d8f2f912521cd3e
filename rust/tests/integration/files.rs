//! Sketch files: damage at any byte is refused or harmless, and the error says what is wrong.

use std::path::PathBuf;

use proptest::prelude::*;
use serde_json::{Value, json};
use shapsketch::sketch::MAX_START;
use shapsketch::synthetic::Planted;
use shapsketch::{Error, SequenceSpace, Sketch, Surrogate};

fn temporary(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("shapsketch-files-{}-{name}", std::process::id()))
}

fn saved(q: usize, n: usize, terms: usize, seed: u64, path: &PathBuf) -> (Sketch, Vec<u8>) {
    let space = SequenceSpace::of_size(q, n).unwrap();
    let planted = Planted { terms, max_order: n.min(3), magnitude: (0.5, 1.5), seed };
    let sketch = Sketch::from(Surrogate::Spectrum(planted.spectrum(&space).unwrap()));
    sketch.save(path).unwrap();
    (sketch, std::fs::read(path).unwrap())
}

/// The reason why these bytes are not a sketch.
fn refusal(bytes: &[u8], path: &PathBuf) -> String {
    std::fs::write(path, bytes).unwrap();
    let error = Sketch::load(path).unwrap_err();
    assert!(matches!(error, Error::File { .. }), "{error:?}");
    let message = error.to_string();
    assert!(message.contains(path.to_str().unwrap()), "{message} must name the file");
    message
}

/// The same tensors with a changed safetensors header and changed sketch metadata, without a digest, as older versions
/// wrote them.
fn altered(bytes: &[u8], change: impl Fn(&mut Value, &mut Value)) -> Vec<u8> {
    let (length, rest) = bytes.split_at(8);
    let (header, data) = rest.split_at(u64::from_le_bytes(length.try_into().unwrap()) as usize);
    let mut header: Value = serde_json::from_slice(header).unwrap();
    let mut sketch: Value =
        serde_json::from_str(header["__metadata__"]["shapsketch"].as_str().unwrap()).unwrap();
    header["__metadata__"]["shapsketch"] = Value::Null;
    sketch.as_object_mut().unwrap().remove("digest").unwrap();
    change(&mut header, &mut sketch);
    if header["__metadata__"]["shapsketch"].is_null() {
        header["__metadata__"]["shapsketch"] = sketch.to_string().into();
    }
    let header = header.to_string();
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn every_spectrum_is_loaded_as_saved(
        (q, n) in (2usize..=64, 3usize..=40), terms in 0usize..40, seed: u64, start in -MAX_START..=MAX_START,
    ) {
        let path = temporary("round-trip");
        let (sketch, bytes) = saved(q, n, terms.min((q - 1) * n / 2), seed, &path);
        let back = Sketch::load(&path).unwrap();
        prop_assert_eq!(back.surrogate.spectrum().unwrap(), sketch.surrogate.spectrum().unwrap());
        back.save(&path).unwrap();
        prop_assert_eq!(std::fs::read(&path).unwrap(), bytes);
        back.with_start(start).unwrap().save(&path).unwrap();
        let renumbered = Sketch::load(&path).unwrap();
        prop_assert_eq!(renumbered.start, start);
        prop_assert!(renumbered.with_start(MAX_START + 1).is_err());
        std::fs::remove_file(path).unwrap();
    }
}

#[test]
fn files_cut_at_any_byte_are_refused() {
    let path = temporary("cut");
    let (_, bytes) = saved(4, 6, 10, 1, &path);
    for length in 0..bytes.len() {
        refusal(&bytes[..length], &path);
    }
    std::fs::remove_file(path).unwrap();
}

#[test]
fn every_flipped_bit_is_refused() {
    let path = temporary("flipped");
    let (sketch, bytes) = saved(4, 6, 10, 1, &path);
    assert_eq!(sketch.to_bytes().unwrap(), bytes);
    for bit in 0..8 * bytes.len() {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let error = Sketch::from_bytes(&damaged).unwrap_err();
        assert!(matches!(error, Error::Bytes { .. }), "bit {bit}: {error:?}");
    }
    let mut damaged = bytes.clone();
    *damaged.last_mut().unwrap() ^= 1;
    assert!(refusal(&damaged, &path).contains("damaged: it does not match its digest; restore it"));
    assert!(!Sketch::from_bytes(&bytes).unwrap().unverified);
    std::fs::remove_file(path).unwrap();
}

#[test]
fn files_of_older_versions_load_without_a_digest() {
    let path = temporary("older");
    let (sketch, bytes) = saved(4, 6, 10, 1, &path);
    let older = altered(&bytes, |_, _| {});
    let back = Sketch::from_bytes(&older).unwrap();
    assert!(back.unverified);
    assert_eq!(back.surrogate.spectrum().unwrap(), sketch.surrogate.spectrum().unwrap());
    // Writing it adds the digest.
    assert_eq!(back.to_bytes().unwrap(), bytes);
    // A damaged name of the digest does not make a file an older one.
    let damaged = altered(&bytes, |_, sketch| sketch["digesu"] = json!("0"));
    assert!(refusal(&damaged, &path).contains("no digest, but a field \"digesu\""));
    std::fs::remove_file(path).unwrap();
}

#[test]
fn no_flipped_bit_of_an_older_file_panics_in_loading_or_predicting() {
    let path = temporary("older-flipped");
    let (_, bytes) = saved(4, 6, 10, 1, &path);
    let bytes = altered(&bytes, |_, _| {});
    for bit in 0..8 * bytes.len() {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        match Sketch::from_bytes(&damaged) {
            Ok(other) => {
                let n = other.surrogate.space().n();
                // Damaged coefficients may give an error here.
                other.surrogate.spectrum().unwrap().predict(&vec![0; n]).ok();
            }
            Err(error) => assert!(matches!(error, Error::Bytes { .. }), "bit {bit}: {error:?}"),
        }
    }
    std::fs::remove_file(path).unwrap();
}

type Change = fn(&mut Value, &mut Value);

#[test]
fn files_of_another_kind_are_refused_with_the_reason() {
    let path = temporary("altered");
    let (_, bytes) = saved(4, 6, 10, 1, &path);
    let cases: [(Change, &str); 9] = [
        (|_, sketch| sketch["version"] = json!(7), "format version 7, this shapsketch reads version 1"),
        (|_, sketch| sketch["kind"] = json!("trees"), "kind \"trees\", which this version does not know"),
        (|_, sketch| sketch["alphabet"] = json!("A"), "2 to 64 symbols, this one has 1"),
        (|_, sketch| sketch["alphabet"] = json!("ACG"), "its spectrum is damaged: frequency"),
        (|_, sketch| sketch["length"] = json!(0), "sequence length must be 1 to 4096, got 0"),
        (|_, sketch| *sketch = json!({"version": 1}), "metadata is damaged: missing field"),
        (|_, sketch| *sketch = json!([]), "metadata is damaged"),
        (|header, _| header["__metadata__"] = json!({"shapsketch": "{"}), "metadata is damaged"),
        (|header, _| header["order"]["dtype"] = json!("I16"), "\"order\" is of type I16, expected U16"),
    ];
    for (change, reason) in cases {
        let message = refusal(&altered(&bytes, change), &path);
        assert!(message.contains(reason), "{message:?} must contain {reason:?}");
    }
    let foreign = br#"{"__metadata__":{"format":"pt"}}"#;
    let foreign = [&(foreign.len() as u64).to_le_bytes()[..], foreign].concat();
    assert!(refusal(&foreign, &path).contains("not a shapsketch sketch"));
    assert!(refusal(b"ACGT", &path).contains("truncated or not a sketch"));
    std::fs::remove_file(path).unwrap();
}

#[test]
fn files_that_cannot_be_opened_are_errors_of_the_system() {
    let path = temporary("missing").join("sketch.safetensors");
    let error = Sketch::load(&path).unwrap_err();
    assert!(
        matches!(error, Error::Io { .. }) && error.to_string().contains(path.to_str().unwrap()),
        "{error}"
    );
    let space = SequenceSpace::of_size(2, 3).unwrap();
    let constant =
        Planted { terms: 0, max_order: 1, magnitude: (1.0, 1.0), seed: 0 }.spectrum(&space).unwrap();
    let sketch = Sketch::from(Surrogate::Spectrum(constant));
    assert!(matches!(sketch.save(&path), Err(Error::Io { .. })));
}
