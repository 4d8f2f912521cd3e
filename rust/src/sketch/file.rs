//! Sketch files: safetensors with one metadata entry `shapsketch` that holds JSON.
//!
//! Version 1 has four kinds of surrogate. All have the tensors `order` (u16, one for each term), `support`
//! (u16) and `labels` (u8) one after the other, and `coefficients` (f64, real and imaginary part). Kind
//! `spectrum`: one of each pair `k, -k`, ascending. The others are real, ascending by order, support, then
//! labels, and begin with the constant, a term of order 0; kind `patterns`: letter patterns; `centred`: centred
//! letters; `sets`: indicators of sets of letters, which the tensor `sets` (u64, one bit for each letter)
//! lists, with `labels` of type u16. Standard errors, where there are any, are the tensors `variances` (f64, of each
//! pattern's coefficient), `position_variances` (f64, of the Shapley value of each position besides) and, in the
//! metadata, that of the constant. A reader refuses kinds and versions that it does not know. Reading executes
//! nothing and checks everything.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustfft::num_complex::Complex64;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};

use super::{Sketch, SketchInfo};
use crate::error::{Error, Result};
use crate::frequency::Frequency;
use crate::space::SequenceSpace;
use crate::surrogate::{Basis, ProductTerms, Spectrum, SupportTerms, Surrogate, Uncertainty};

const KEY: &str = "shapsketch";
const VERSION: u32 = 1;
const SPECTRUM: &str = "spectrum";
const PATTERNS: &str = "patterns";
const CENTRED: &str = "centred";
const SETS: &str = "sets";

#[derive(Serialize, Deserialize)]
struct Header {
    version: u32,
    kind: String,
    alphabet: String,
    length: usize,
    #[serde(default)]
    constant_variance: Option<f64>,
    info: Option<SketchInfo>,
}

/// What every version says of itself.
#[derive(Deserialize)]
struct Version {
    version: u32,
}

impl Sketch {
    /// Writes the sketch; the same sketch gives the same bytes.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        let (kind, terms) = match &self.surrogate {
            Surrogate::Spectrum(spectrum) => (SPECTRUM, Terms::of_spectrum(spectrum)),
            Surrogate::Terms(terms) => match terms.basis {
                Basis::Sets(_) => (SETS, Terms::of_product(terms)),
                Basis::Centred => (CENTRED, Terms::of_product(terms)),
                _ => (PATTERNS, Terms::of_product(terms)),
            },
        };
        let bytes = |values: &[f64]| -> Vec<u8> { values.iter().flat_map(|v| v.to_le_bytes()).collect() };
        let words = |values: &[u16]| -> Vec<u8> { values.iter().flat_map(|v| v.to_le_bytes()).collect() };
        let (order, support) = (words(&terms.order), words(&terms.support));
        let (sets, labels) = match &self.surrogate {
            Surrogate::Terms(ProductTerms { basis: Basis::Sets(sets), .. }) => {
                (sets.iter().flat_map(|set| set.to_le_bytes()).collect(), words(&terms.labels))
            }
            _ => (Vec::new(), terms.labels.iter().map(|&label| label as u8).collect()),
        };
        let coefficients = bytes(&terms.coefficients.iter().flat_map(|v| [v.re, v.im]).collect::<Vec<_>>());
        let space = self.surrogate.space();
        let header = Header {
            version: VERSION,
            kind: kind.into(),
            alphabet: space.alphabet(),
            length: space.n(),
            constant_variance: self.uncertainty.as_ref().map(|uncertainty| uncertainty.constant),
            info: self.info.clone(),
        };
        let unwritable = |reason: String| Error::File { path: path.to_owned(), reason };
        let json = serde_json::to_string(&header).map_err(|e| unwritable(e.to_string()))?;
        let view =
            |dtype, shape, data| TensorView::new(dtype, shape, data).map_err(|e| unwritable(e.to_string()));
        let mut tensors = vec![
            ("coefficients", view(Dtype::F64, vec![terms.order.len(), 2], &coefficients)?),
            (
                "labels",
                view(if kind == SETS { Dtype::U16 } else { Dtype::U8 }, vec![terms.labels.len()], &labels)?,
            ),
            ("order", view(Dtype::U16, vec![terms.order.len()], &order)?),
            ("support", view(Dtype::U16, vec![terms.support.len()], &support)?),
        ];
        if kind == SETS {
            tensors.push(("sets", view(Dtype::U64, vec![sets.len() / 8], &sets)?));
        }
        let (patterns, positions) = match &self.uncertainty {
            Some(known) => (bytes(&known.patterns), bytes(&known.positions)),
            None => Default::default(),
        };
        if self.uncertainty.is_some() {
            tensors.push(("position_variances", view(Dtype::F64, vec![positions.len() / 8], &positions)?));
            tensors.push(("variances", view(Dtype::F64, vec![patterns.len() / 8], &patterns)?));
        }
        let metadata = HashMap::from([(KEY.to_owned(), json)]);
        let bytes = safetensors::serialize(tensors, Some(metadata)).map_err(|e| unwritable(e.to_string()))?;
        write_whole(path, &bytes).map_err(|source| Error::Io { path: path.to_owned(), source })
    }

    /// Reads a sketch.
    ///
    /// # Errors
    /// If the file cannot be read, is no sketch, is damaged, or is of a version or kind that this
    /// version does not know.
    pub fn load(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|source| Error::Io { path: path.to_owned(), source })?;
        parse(&bytes).map_err(|reason| Error::File { path: path.to_owned(), reason })
    }
}

/// Writes a file that is there whole or, if that fails, as it was before.
fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    // Where a link leads.
    let target = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let plain = target.is_file() || target.symlink_metadata().is_err();
    let Some(name) = target.file_name().filter(|_| plain) else {
        // Pipes, devices, and links to what is not there yet are written as they are.
        return std::fs::write(path, bytes);
    };
    // Of its own for each process and each call.
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    let call = CALLS.fetch_add(1, Ordering::Relaxed);
    let mut draft = std::ffi::OsString::from(".");
    draft.push(name);
    draft.push(format!(".{}-{call}.part", std::process::id()));
    let draft = target.with_file_name(draft);
    let Ok(mut file) = File::create(&draft) else {
        // A folder that takes no new files; or one that is not there, which is then said.
        return std::fs::write(path, bytes);
    };
    let written = file
        .write_all(bytes)
        .and_then(|()| file.sync_all())
        .and_then(|()| match target.metadata() {
            Ok(before) => file.set_permissions(before.permissions()),
            Err(_) => Ok(()),
        })
        .and_then(|()| std::fs::rename(&draft, &target));
    if written.is_err() {
        // The first error is the one to tell.
        let _ = std::fs::remove_file(&draft);
    }
    written
}

fn parse(bytes: &[u8]) -> std::result::Result<Sketch, String> {
    let damaged = |e: &dyn std::fmt::Display| {
        format!("not a complete safetensors file ({e}); it may be truncated or no sketch at all")
    };
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|e| damaged(&e))?;
    let tensors = SafeTensors::deserialize(bytes).map_err(|e| damaged(&e))?;
    let json = metadata
        .metadata()
        .as_ref()
        .and_then(|entries| entries.get(KEY))
        .ok_or("a safetensors file, but not a shapsketch sketch (it has no `shapsketch` metadata)")?;
    let Version { version } =
        serde_json::from_str(json).map_err(|e| format!("the sketch's metadata is damaged: {e}"))?;
    if version != VERSION {
        return Err(format!(
            "written in format version {version}, this shapsketch reads version {VERSION}; update shapsketch"
        ));
    }
    let header: Header =
        serde_json::from_str(json).map_err(|e| format!("the sketch's metadata is damaged: {e}"))?;
    if ![SPECTRUM, PATTERNS, CENTRED, SETS].contains(&header.kind.as_str()) {
        return Err(format!(
            "holds a surrogate of kind {:?}, which this version does not know; update shapsketch",
            header.kind
        ));
    }
    let space = SequenceSpace::new(&header.alphabet, header.length).map_err(|e| e.to_string())?;
    let tensor = |name: &str, dtype: Dtype| -> std::result::Result<Vec<u8>, String> {
        let view = tensors.tensor(name).map_err(|_| format!("the tensor {name:?} is missing"))?;
        if view.dtype() != dtype {
            return Err(format!("the tensor {name:?} is of type {:?}, expected {dtype:?}", view.dtype()));
        }
        Ok(view.data().to_vec())
    };
    let u16s = |bytes: Vec<u8>| -> Vec<u16> {
        bytes.chunks_exact(2).map(|c| u16::from_le_bytes([c[0], c[1]])).collect()
    };
    let u64s = |bytes: Vec<u8>| -> Vec<u64> {
        let number = |c: &[u8]| u64::from_le_bytes([c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7]]);
        bytes.chunks_exact(8).map(number).collect()
    };
    let f64s = |bytes: Vec<u8>| -> Vec<f64> { u64s(bytes).into_iter().map(f64::from_bits).collect() };
    let pairs = f64s(tensor("coefficients", Dtype::F64)?);
    let terms = Terms {
        order: u16s(tensor("order", Dtype::U16)?),
        support: u16s(tensor("support", Dtype::U16)?),
        labels: match header.kind.as_str() {
            SETS => u16s(tensor("labels", Dtype::U16)?),
            _ => tensor("labels", Dtype::U8)?.into_iter().map(u16::from).collect(),
        },
        coefficients: pairs.chunks_exact(2).map(|pair| Complex64::new(pair[0], pair[1])).collect(),
    };
    let places: usize = terms.order.iter().map(|&order| order as usize).sum();
    if places != terms.support.len() || places != terms.labels.len() || pairs.len() != 2 * terms.order.len() {
        return Err("its tensors do not fit together".into());
    }
    let surrogate = if header.kind == SPECTRUM {
        let spectrum = Spectrum::from_file(space, terms.into_frequencies())
            .map_err(|e| format!("its spectrum is damaged: {e}"))?;
        Surrogate::Spectrum(spectrum)
    } else {
        let basis = match header.kind.as_str() {
            SETS => Basis::Sets(u64s(tensor("sets", Dtype::U64)?).into()),
            CENTRED => Basis::Centred,
            _ => Basis::Letters,
        };
        Surrogate::Terms(terms.into_product(space, basis)?)
    };
    let uncertainty = match header.constant_variance {
        None => None,
        Some(constant) => {
            let known = Uncertainty {
                patterns: f64s(tensor("variances", Dtype::F64)?),
                positions: f64s(tensor("position_variances", Dtype::F64)?),
                constant,
            };
            known.check(&surrogate).map_err(|e| format!("its standard errors are damaged: {e}"))?;
            Some(known)
        }
    };
    Ok(Sketch { surrogate, uncertainty, info: header.info, held_out: None })
}

/// Terms as the tensors have them.
#[derive(Default)]
struct Terms {
    order: Vec<u16>,
    support: Vec<u16>,
    labels: Vec<u16>,
    coefficients: Vec<Complex64>,
}

impl Terms {
    fn push(&mut self, support: &[u16], labels: impl IntoIterator<Item = u16>, coefficient: Complex64) {
        self.order.push(support.len() as u16);
        self.support.extend_from_slice(support);
        self.labels.extend(labels);
        self.coefficients.push(coefficient);
    }

    fn of_spectrum(spectrum: &Spectrum) -> Self {
        let mut terms = Self::default();
        for (k, value) in spectrum.representatives() {
            terms.push(k.support(), k.labels().iter().map(|&label| u16::from(label)), *value);
        }
        terms
    }

    fn of_product(product: &ProductTerms) -> Self {
        let mut terms = Self::default();
        terms.push(&[], [], product.constant.into());
        for SupportTerms { support, labels, coefficients } in &product.supports {
            for (labels, &coefficient) in labels.chunks_exact(support.len()).zip(coefficients) {
                terms.push(support, labels.iter().copied(), coefficient);
            }
        }
        terms
    }

    /// Support, labels and coefficient of each term.
    fn iter(&self) -> impl Iterator<Item = (&[u16], &[u16], Complex64)> {
        let mut at = 0;
        self.order.iter().zip(&self.coefficients).map(move |(&order, &coefficient)| {
            let range = at..at + order as usize;
            at = range.end;
            (&self.support[range.clone()], &self.labels[range], coefficient)
        })
    }

    fn into_frequencies(self) -> Vec<(Frequency, Complex64)> {
        let frequency = |support: &[u16], labels: &[u16]| {
            support.iter().copied().zip(labels.iter().map(|&label| label as u8)).collect()
        };
        self.iter().map(|(support, labels, value)| (frequency(support, labels), value)).collect()
    }

    fn into_product(self, space: SequenceSpace, basis: Basis) -> std::result::Result<ProductTerms, String> {
        let damaged = |what: &str| format!("its terms are damaged: {what}");
        let mut all = self.iter();
        let constant = match all.next() {
            Some(([], _, value)) => value.re,
            _ => return Err(damaged("the constant is missing")),
        };
        let mut supports: Vec<SupportTerms> = Vec::new();
        let mut last: (usize, &[u16], &[u16]) = (0, &[], &[]);
        for (support, labels, value) in all {
            let next = (support.len(), support, labels);
            if next <= last || value.im != 0.0 {
                return Err(damaged("they are not ascending and real"));
            }
            if supports.last().is_none_or(|group| group.support != support) {
                supports.push(SupportTerms { support: support.to_vec(), ..SupportTerms::default() });
            }
            if let Some(group) = supports.last_mut() {
                group.labels.extend_from_slice(labels);
                group.coefficients.push(value);
            }
            last = next;
        }
        let terms = ProductTerms { space, basis, constant, supports };
        terms.check().map_err(|e| damaged(&e.to_string()))?;
        Ok(terms)
    }
}
