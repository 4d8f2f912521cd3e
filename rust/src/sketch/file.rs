//! Sketch files: safetensors with one metadata entry `shapsketch` that holds JSON.
//!
//! Version 1 has four kinds of surrogate. All have the tensors `order` (u16, one entry for each term), `support`
//! (u16) and `labels` (u8), concatenated over the terms, and `coefficients` (f64, real and imaginary part). Kind
//! `spectrum` has one frequency of each pair `k, -k`, in ascending order. The other kinds are real, ascending by
//! order, support, then labels, and begin with the constant, a term of order 0: `patterns` are letter patterns;
//! `centred` are centred indicators; `sets` are indicators of sets of symbols, which the tensor `sets` (u64, one bit
//! for each symbol) lists, with `labels` of type u16. Standard errors, if they are known, are in the tensors
//! `variances` (f64, of each pattern's coefficient) and `position_variances` (f64, additional, of the Shapley value
//! of each position), and the variance of the constant in the metadata. Kinds with runs are described in
//! `run_tensors.rs`. A reader refuses unknown kinds and versions.
//! Reading executes no code from the file and checks every field.
//!
//! The metadata entry `info` is a [`SketchInfo`]. Its status has the fields `outcome`, `all_terms` and `notes`; the
//! field `status` repeats them as text. Older files have this text alone. The entry `digest` is described in
//! `digest.rs`; older files do not have it. The entry `predictor` describes a predictor, whose tensors have names that
//! begin with `predictor.`; see `predictor_file.rs`. The entry `amortised` describes its amortised Shapley values; see
//! `amortised_file.rs`. The entry `distribution` describes the distribution of the queries; see `distribution.rs`. The entry
//! `start` is the number of the first position, if it is not 0.
//!
//! A sketch with the link `monotone` also has the tensors `link.knots` and `link.curve` (f64), the points of a [`Curve`] that
//! ascends.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use rustfft::num_complex::Complex64;
use safetensors::tensor::SafeTensors;

use super::amortised_file::{self, AmortisedRecord};
use super::disk::{read, write_whole};
use super::distribution::DistributionRecord;
use super::header::{CENTRED, Header, PATTERNS, RUNS, SETS, SPECTRUM, VERSION, header};
use super::predictor_file::{self, PredictorRecord};
use super::record::InfoRecord;
use super::tensors::{Reason, Tensor, Tensors};
use super::{Link, Sketch, SketchInfo, digest, run_tensors, valid};
use crate::error::{Error, Result};
use crate::frequency::Frequency;
use crate::predictor::Curve;
use crate::space::SequenceSpace;
use crate::surrogate::{Basis, ProductTerms, RunTerms, Spectrum, SupportTerms, Surrogate, Uncertainty};

/// The metadata entry of a sketch.
const KEY: &str = "shapsketch";
/// Names of the tensors of the curve of a link.
const KNOTS: &str = "link.knots";
const CURVE: &str = "link.curve";

impl Sketch {
    /// Writes the sketch; the same sketch gives the same bytes.
    ///
    /// # Errors
    /// If the file cannot be written, or the provenance is impossible, such as R² above 1.
    pub fn save(&self, path: &Path) -> Result<()> {
        let bytes = serialized(self).map_err(|reason| Error::File { path: path.to_owned(), reason })?;
        write_whole(path, &bytes).map_err(|source| Error::Io { path: path.to_owned(), source })
    }

    /// Reads a sketch.
    ///
    /// # Errors
    /// If the file cannot be read, is not a sketch, is damaged, has a format version or kind that this crate does not
    /// know, or an impossible provenance, such as R² above 1.
    pub fn load(path: &Path) -> Result<Self> {
        let bytes = read(path).map_err(|source| Error::Io { path: path.to_owned(), source })?;
        parse(&bytes, Part::Whole).map_err(|reason| Error::File { path: path.to_owned(), reason })
    }

    /// The bytes of the file that [`Sketch::save`] writes.
    ///
    /// # Errors
    /// If the provenance is impossible, such as R² above 1.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        serialized(self).map_err(|reason| Error::Bytes { reason })
    }

    /// The sketch in the bytes of a file.
    ///
    /// # Errors
    /// As for [`Sketch::load`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        parse(bytes, Part::Whole).map_err(|reason| Error::Bytes { reason })
    }
}

/// Whether bytes are a file, or a part of the predictor in a file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Whole,
    OfPredictor,
}

impl Sketch {
    /// The sketch in a part of a predictor.
    pub(super) fn of_part(bytes: &[u8]) -> Reason<Self> {
        parse(bytes, Part::OfPredictor)
    }
}

fn serialized(sketch: &Sketch) -> Reason<Vec<u8>> {
    if let Some(info) = &sketch.info {
        valid::check(info, &sketch.surrogate, sketch.uncertainty.is_some())?;
    }
    let (kind, terms) = match &sketch.surrogate {
        Surrogate::Spectrum(spectrum) => (SPECTRUM, Terms::of_spectrum(spectrum)),
        Surrogate::Terms(terms) => match terms.basis {
            Basis::Sets(_) => (SETS, Terms::of_product(terms)),
            Basis::Centred => (CENTRED, Terms::of_product(terms)),
            _ => (PATTERNS, Terms::of_product(terms)),
        },
    };
    let space = sketch.surrogate.space();
    let runs = match &sketch.surrogate {
        Surrogate::Terms(terms) if !terms.runs.is_empty() => Some(&terms.runs),
        _ => None,
    };
    let names = runs.iter().flat_map(|runs| &runs.relations).map(|relation| relation.name().to_owned());
    let header = Header {
        version: VERSION,
        kind: runs.map_or_else(|| kind.into(), |_| format!("{kind}{RUNS}")),
        alphabet: space.alphabet(),
        length: space.n(),
        letters: space.letters(),
        start: sketch.start,
        constant_variance: sketch.uncertainty.as_ref().map(|uncertainty| uncertainty.constant),
        info: sketch.info.as_ref().map(InfoRecord::from),
        predictor: sketch.predictor.as_deref().map(PredictorRecord::from),
        distribution: sketch.distribution.as_ref().map(DistributionRecord::from),
        amortised: sketch.amortised.as_deref().map(AmortisedRecord::from),
        relations: names.collect(),
        digest: Some(digest::ZEROS.into()),
    };
    let parts: Vec<f64> = terms.coefficients.iter().flat_map(|v| [v.re, v.im]).collect();
    let mut data = vec![
        Tensor::f64s("coefficients", &parts).with_columns(2),
        Tensor::u16s("order", &terms.order),
        Tensor::u16s("support", &terms.support),
    ];
    if let Surrogate::Terms(ProductTerms { basis: Basis::Sets(sets), .. }) = &sketch.surrogate {
        data.push(Tensor::u16s("labels", &terms.labels));
        data.push(Tensor::u64s("sets", sets.iter().copied()));
    } else {
        data.push(Tensor::u8s("labels", terms.labels.iter().map(|&label| label as u8).collect()));
    }
    if let Some(Uncertainty { patterns, runs: of_runs, positions, .. }) = &sketch.uncertainty {
        data.push(Tensor::f64s("position_variances", positions));
        data.push(Tensor::f64s("variances", patterns));
        if runs.is_some() {
            data.push(Tensor::f64s("run_variances", of_runs));
        }
    }
    if let Some(curve) = sketch.info.as_ref().and_then(|info| info.link.curve.as_ref()) {
        data.push(Tensor::f64s(KNOTS, curve.knots()));
        data.push(Tensor::f64s(CURVE, curve.values()));
    }
    if let Some(predictor) = &sketch.predictor {
        data.extend(predictor_file::tensors(predictor)?);
    }
    data.extend(sketch.distribution.iter().flat_map(|distribution| distribution.tensors(space)));
    if let Some(amortised) = &sketch.amortised {
        data.extend(amortised_file::tensors(amortised));
    }
    data.extend(runs.map(|runs| run_tensors::tensors(space, runs)).unwrap_or_default());
    let json = serde_json::to_string(&header).map_err(|e| e.to_string())?;
    let tensors = data.iter().map(Tensor::view).collect::<Reason<Vec<_>>>()?;
    let metadata = HashMap::from([(KEY.to_owned(), json)]);
    let mut bytes = safetensors::serialize(tensors, Some(metadata)).map_err(|e| e.to_string())?;
    digest::seal(&mut bytes)?;
    Ok(bytes)
}

fn parse(bytes: &[u8], part: Part) -> Reason<Sketch> {
    let damaged = |e: &dyn std::fmt::Display| {
        format!("not a complete safetensors file ({e}); it may be truncated or not a sketch")
    };
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|e| damaged(&e))?;
    let file = SafeTensors::deserialize(bytes).map_err(|e| damaged(&e))?;
    let json = metadata
        .metadata()
        .as_ref()
        .and_then(|entries| entries.get(KEY))
        .ok_or("a safetensors file, but not a shapsketch sketch (it has no `shapsketch` metadata)")?;
    let header = header(json)?;
    if header.digest.as_ref().is_some_and(|expected| !digest::matches(bytes, expected)) {
        return Err("the file is damaged: it does not match its digest; restore it from a backup, or make \
                    the sketch again"
            .into());
    }
    let space = header.space()?;
    let tensors = Tensors(file);
    let surrogate = surrogate(&header, space, &tensors)?;
    let uncertainty = match header.constant_variance {
        None => None,
        Some(constant) => {
            let uncertainty = Uncertainty {
                patterns: tensors.f64s("variances")?,
                runs: if header.has_runs() { tensors.f64s("run_variances")? } else { Vec::new() },
                positions: tensors.f64s("position_variances")?,
                constant,
            };
            uncertainty.check(&surrogate).map_err(|e| format!("its standard errors are damaged: {e}"))?;
            Some(uncertainty)
        }
    };
    let info = possible(header.info, &surrogate, uncertainty.is_some())
        .map_err(|e| format!("the sketch's metadata is damaged: {e}"))?;
    let info = info.map(|info| with_curve(info, &tensors)).transpose();
    let info = info.map_err(|e| format!("the curve of its link is damaged: {e}"))?;
    let predictor = match header.predictor {
        None => None,
        Some(_) if part == Part::OfPredictor => return Err("a part of a predictor has a predictor".into()),
        Some(record) => {
            let predictor = record.into_predictor(surrogate.space(), &tensors);
            Some(Arc::new(predictor.map_err(|e| format!("its predictor is damaged: {e}"))?))
        }
    };
    let distribution =
        header.distribution.map(|record| record.into_distribution(surrogate.space(), &tensors)).transpose();
    let distribution = distribution.map_err(|e| format!("its distribution is damaged: {e}"))?;
    let amortised = match header.amortised {
        None => None,
        Some(_) if predictor.is_none() => return Err("it has amortised values, but no predictor".into()),
        Some(record) => {
            let amortised = record.into_amortised(surrogate.space(), &tensors);
            Some(Arc::new(amortised.map_err(|e| format!("its amortised values are damaged: {e}"))?))
        }
    };
    let unverified = header.digest.is_none();
    let sketch = Sketch {
        surrogate,
        uncertainty,
        info,
        held_out: None,
        predictor,
        amortised,
        distribution,
        start: 0,
        unverified,
    };
    sketch.with_start(header.start).map_err(|e| format!("the sketch's metadata is damaged: {e}"))
}

/// The surrogate of a file.
fn surrogate(header: &Header, space: SequenceSpace, tensors: &Tensors<'_>) -> Reason<Surrogate> {
    let terms = Terms::read(tensors, header.kind())?;
    if header.kind() == SPECTRUM {
        let spectrum = Spectrum::from_file(space, terms.into_frequencies());
        return spectrum.map(Surrogate::Spectrum).map_err(|e| format!("its spectrum is damaged: {e}"));
    }
    let basis = match header.kind() {
        SETS => Basis::Sets(tensors.u64s("sets")?.into()),
        CENTRED => Basis::Centred,
        _ => Basis::Letters,
    };
    let runs = match header.has_runs() {
        true => run_tensors::read(tensors, &header.relations, &space)?,
        false => RunTerms::default(),
    };
    Ok(Surrogate::Terms(terms.into_product(space, basis, runs)?))
}

/// The provenance of a surrogate; an error if it is impossible.
fn possible(
    record: Option<InfoRecord>,
    surrogate: &Surrogate,
    has_standard_errors: bool,
) -> Reason<Option<SketchInfo>> {
    let Some(record) = record else { return Ok(None) };
    let info = SketchInfo::try_from(record).map_err(|e| e.to_string())?;
    valid::check(&info, surrogate, has_standard_errors)?;
    Ok(Some(info))
}

/// The provenance, with the curve of its link if it has one.
fn with_curve(mut info: SketchInfo, tensors: &Tensors<'_>) -> Reason<SketchInfo> {
    if info.link.name == Link::MONOTONE {
        let curve = Curve::new(tensors.f64s(KNOTS)?, tensors.f64s(CURVE)?).and_then(Curve::ascending);
        info.link.curve = Some(curve.map_err(|e| e.to_string())?);
    }
    Ok(info)
}

/// Terms in the layout of the tensors.
#[derive(Default)]
struct Terms {
    order: Vec<u16>,
    support: Vec<u16>,
    labels: Vec<u16>,
    coefficients: Vec<Complex64>,
}

impl Terms {
    /// The terms of a surrogate of this kind.
    fn read(tensors: &Tensors<'_>, kind: &str) -> Reason<Self> {
        let parts = tensors.f64s("coefficients")?;
        let terms = Self {
            order: tensors.u16s("order")?,
            support: tensors.u16s("support")?,
            labels: match kind {
                SETS => tensors.u16s("labels")?,
                _ => tensors.u8s("labels")?.into_iter().map(u16::from).collect(),
            },
            coefficients: parts.chunks_exact(2).map(|pair| Complex64::new(pair[0], pair[1])).collect(),
        };
        let length: usize = terms.order.iter().map(|&order| order as usize).sum();
        if length != terms.support.len()
            || length != terms.labels.len()
            || parts.len() != 2 * terms.order.len()
        {
            return Err("the sizes of its tensors do not match".into());
        }
        Ok(terms)
    }

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
        let mut start = 0;
        self.order.iter().zip(&self.coefficients).map(move |(&order, &coefficient)| {
            let range = start..start + order as usize;
            start = range.end;
            (&self.support[range.clone()], &self.labels[range], coefficient)
        })
    }

    fn into_frequencies(self) -> Vec<(Frequency, Complex64)> {
        let frequency = |support: &[u16], labels: &[u16]| {
            support.iter().copied().zip(labels.iter().map(|&label| label as u8)).collect()
        };
        self.iter().map(|(support, labels, value)| (frequency(support, labels), value)).collect()
    }

    fn into_product(self, space: SequenceSpace, basis: Basis, runs: RunTerms) -> Reason<ProductTerms> {
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
        let terms = ProductTerms { space, basis, constant, supports, runs };
        terms.check().map_err(|e| damaged(&e.to_string()))?;
        Ok(terms)
    }
}
