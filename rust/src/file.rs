//! Sketch files: safetensors with one metadata entry `shapsketch` that holds JSON.
//!
//! Version 1 has the kind `spectrum`: tensors `order` (u16, one for each coefficient), `support`
//! (u16) and `labels` (u8) one after the other, and `coefficients` (f64, real and imaginary part),
//! of one of each pair `k, -k`, ascending. Further kinds of surrogate get further names; a reader
//! refuses kinds and versions that it does not know. Reading executes nothing and checks everything.

use std::collections::HashMap;
use std::path::Path;

use rustfft::num_complex::Complex64;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::frequency::Frequency;
use crate::sketch::{Sketch, SketchInfo};
use crate::space::SequenceSpace;
use crate::surrogate::{Spectrum, Surrogate};

const KEY: &str = "shapsketch";
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Header {
    version: u32,
    kind: String,
    alphabet: String,
    length: usize,
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
        let Surrogate::Spectrum(spectrum) = &self.surrogate;
        let half = spectrum.representatives();
        let order: Vec<u8> = half.iter().flat_map(|(k, _)| (k.order() as u16).to_le_bytes()).collect();
        let support: Vec<u8> =
            half.iter().flat_map(|(k, _)| k.support()).flat_map(|i| i.to_le_bytes()).collect();
        let labels: Vec<u8> = half.iter().flat_map(|(k, _)| k.labels()).copied().collect();
        let coefficients: Vec<u8> =
            half.iter().flat_map(|(_, v)| [v.re, v.im]).flat_map(f64::to_le_bytes).collect();
        let header = Header {
            version: VERSION,
            kind: "spectrum".into(),
            alphabet: spectrum.space().alphabet(),
            length: spectrum.space().n(),
            info: self.info.clone(),
        };
        let unwritable = |reason: String| Error::File { path: path.to_owned(), reason };
        let json = serde_json::to_string(&header).map_err(|e| unwritable(e.to_string()))?;
        let view =
            |dtype, shape, data| TensorView::new(dtype, shape, data).map_err(|e| unwritable(e.to_string()));
        let tensors = [
            ("coefficients", view(Dtype::F64, vec![half.len(), 2], &coefficients)?),
            ("labels", view(Dtype::U8, vec![labels.len()], &labels)?),
            ("order", view(Dtype::U16, vec![half.len()], &order)?),
            ("support", view(Dtype::U16, vec![labels.len()], &support)?),
        ];
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
    if header.kind != "spectrum" {
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
    let coefficients: Vec<f64> = tensor("coefficients", Dtype::F64)?
        .chunks_exact(8)
        .map(|c| f64::from_le_bytes([c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7]]))
        .collect();
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
    let spectrum = Spectrum::from_file(space, half).map_err(|e| format!("its spectrum is damaged: {e}"))?;
    Ok(Sketch { surrogate: Surrogate::Spectrum(spectrum), info: header.info })
}
