//! Sketch files: safetensors with one metadata entry `shapsketch` that holds JSON.
//!
//! Version 1 has two kinds of surrogate. Both have the tensors `order` (u16, one for each term),
//! `support` (u16) and `labels` (u8) one after the other, and `coefficients` (f64, real and imaginary
//! part). Kind `spectrum`: one of each pair `k, -k`, ascending. Kind `patterns`: letter patterns by order,
//! support, then letters, real; the constant is a pattern of order 0. Standard errors, where there are
//! any, are the tensors `variances` (f64, of each pattern's coefficient), `position_variances` (f64, of the
//! Shapley value of each position besides) and, in the metadata, that of the constant. A reader refuses
//! kinds and versions that it does not know. Reading executes nothing and checks everything.

use std::collections::HashMap;
use std::path::Path;

use rustfft::num_complex::Complex64;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::frequency::Frequency;
use crate::sketch::{Sketch, SketchInfo};
use crate::space::SequenceSpace;
use crate::surrogate::{Basis, ProductTerms, Spectrum, SupportTerms, Surrogate, Uncertainty};

const KEY: &str = "shapsketch";
const VERSION: u32 = 1;
const SPECTRUM: &str = "spectrum";
const PATTERNS: &str = "patterns";

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
            Surrogate::Spectrum(spectrum) => (SPECTRUM, spectrum.representatives().to_vec()),
            Surrogate::Patterns(patterns) => (PATTERNS, of_patterns(patterns)),
        };
        let bytes = |values: &[f64]| -> Vec<u8> { values.iter().flat_map(|v| v.to_le_bytes()).collect() };
        let order: Vec<u8> = terms.iter().flat_map(|(k, _)| (k.order() as u16).to_le_bytes()).collect();
        let support: Vec<u8> =
            terms.iter().flat_map(|(k, _)| k.support()).flat_map(|i| i.to_le_bytes()).collect();
        let labels: Vec<u8> = terms.iter().flat_map(|(k, _)| k.labels()).copied().collect();
        let coefficients = bytes(&terms.iter().flat_map(|(_, v)| [v.re, v.im]).collect::<Vec<_>>());
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
            ("coefficients", view(Dtype::F64, vec![terms.len(), 2], &coefficients)?),
            ("labels", view(Dtype::U8, vec![labels.len()], &labels)?),
            ("order", view(Dtype::U16, vec![terms.len()], &order)?),
            ("support", view(Dtype::U16, vec![labels.len()], &support)?),
        ];
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
        std::fs::write(path, bytes).map_err(|source| Error::Io { path: path.to_owned(), source })
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
    if ![SPECTRUM, PATTERNS].contains(&header.kind.as_str()) {
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
    let order = u16s(tensor("order", Dtype::U16)?);
    let support = u16s(tensor("support", Dtype::U16)?);
    let labels = tensor("labels", Dtype::U8)?;
    let f64s = |bytes: Vec<u8>| -> Vec<f64> {
        let number = |c: &[u8]| f64::from_le_bytes([c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7]]);
        bytes.chunks_exact(8).map(number).collect()
    };
    let coefficients = f64s(tensor("coefficients", Dtype::F64)?);
    let places: usize = order.iter().map(|&order| order as usize).sum();
    if places != support.len() || places != labels.len() || coefficients.len() != 2 * order.len() {
        return Err("its tensors do not fit together".into());
    }
    let mut at = 0;
    let mut half = Vec::with_capacity(order.len());
    for (&order, value) in order.iter().zip(coefficients.chunks_exact(2)) {
        let range = at..at + order as usize;
        at = range.end;
        let k: Frequency =
            support[range.clone()].iter().copied().zip(labels[range].iter().copied()).collect();
        half.push((k, Complex64::new(value[0], value[1])));
    }
    let surrogate = if header.kind == SPECTRUM {
        let spectrum =
            Spectrum::from_file(space, half).map_err(|e| format!("its spectrum is damaged: {e}"))?;
        Surrogate::Spectrum(spectrum)
    } else {
        Surrogate::Patterns(to_patterns(space, half)?)
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

/// The patterns as pairs of places and coefficient, the constant first.
fn of_patterns(patterns: &ProductTerms) -> Vec<(Frequency, Complex64)> {
    let mut all = vec![(Frequency::default(), patterns.constant.into())];
    for SupportTerms { support, labels, coefficients } in &patterns.supports {
        for (letters, &coefficient) in labels.chunks_exact(support.len()).zip(coefficients) {
            let places = support.iter().copied().zip(letters.iter().copied()).collect();
            all.push((places, coefficient));
        }
    }
    all
}

fn to_patterns(
    space: SequenceSpace,
    all: Vec<(Frequency, Complex64)>,
) -> std::result::Result<ProductTerms, String> {
    let damaged = |what: &str| format!("its patterns are damaged: {what}");
    let mut all = all.into_iter();
    let constant = match all.next() {
        Some((places, value)) if places.order() == 0 => value.re,
        _ => return Err(damaged("the constant is missing")),
    };
    let mut supports: Vec<SupportTerms> = Vec::new();
    let mut last = Frequency::default();
    for (places, value) in all {
        if places <= last || value.im != 0.0 {
            return Err(damaged("they are not ascending and real"));
        }
        if supports.last().is_none_or(|group| group.support != places.support()) {
            supports.push(SupportTerms { support: places.support().to_vec(), ..SupportTerms::default() });
        }
        if let Some(group) = supports.last_mut() {
            group.labels.extend_from_slice(places.labels());
            group.coefficients.push(value);
        }
        last = places;
    }
    let terms = ProductTerms { space, basis: Basis::Letters, constant, supports };
    terms.check().map_err(|e| damaged(&e.to_string()))?;
    Ok(terms)
}
