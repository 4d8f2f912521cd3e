//! Predictors in sketch files.
//!
//! The metadata entry `predictor` lists the parts with their kinds, names and weights. The tensors of part `i` have names
//! that begin with `predictor.i.`:
//!
//! - kind `closed form`: `sketch` (u8), the bytes of a sketch file without a predictor;
//! - kind `monotone`: `sketch` as before, on the latent scale; `knots` and `curve` (f64), the points of a [`Curve`];
//! - kind `networks`: `parameters` (f32, one row for each network);
//! - kind `trees`: the flat arrays of [`CountingArrays`]. If the trees count runs, the record has the names of their
//!   relations; the tensors `relations` (u64, one row for each relation and one entry for each symbol, with the related
//!   symbols as bits) and `runs` (u16, rows of [`RunCount`]) are absent otherwise.
//!
//! The tensor `predictor.variances` (f64, one for each position) has the variances of the Shapley values, if they are
//! known.

use serde::{Deserialize, Serialize};

use super::record::{Number, R2Record};
use super::tensors::{Reason, Tensor, Tensors};
use super::{Sketch, run_tensors, valid};
use crate::networks::{self, Shape};
use crate::predictor::{ClosedForm, Curve, Model, Part, Predictor};
use crate::space::SequenceSpace;
use crate::trees::{CountingArrays, CountingTrees, RunCount};
use crate::validation::RSquared;

/// Name of the tensor of variances.
const VARIANCES: &str = "predictor.variances";

/// A [`Predictor`] without its models.
#[derive(Serialize, Deserialize)]
pub(super) struct PredictorRecord {
    constant: f64,
    r2: R2Record,
    parts: Vec<PartRecord>,
    /// Whether the tensor `predictor.variances` exists.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    variances: bool,
}

/// A [`Part`] without its arrays.
#[derive(Serialize, Deserialize)]
struct PartRecord {
    name: String,
    weight: f64,
    r2: Number,
    #[serde(flatten)]
    model: ModelRecord,
}

/// The numbers of a [`Model`] that are not arrays.
#[derive(Serialize, Deserialize)]
#[serde(tag = "kind")]
enum ModelRecord {
    #[serde(rename = "closed form")]
    ClosedForm,
    #[serde(rename = "monotone")]
    Monotone,
    #[serde(rename = "trees")]
    Trees {
        constant: f64,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        relations: Vec<String>,
    },
    #[serde(rename = "networks")]
    Networks {
        channels: usize,
        hidden: usize,
        /// Files of earlier versions have no windows.
        #[serde(default = "one", skip_serializing_if = "is_one")]
        pool: usize,
        centre: f64,
        scale: f64,
    },
}

const fn one() -> usize {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_one(pool: &usize) -> bool {
    *pool == 1
}

impl From<&Predictor> for PredictorRecord {
    fn from(predictor: &Predictor) -> Self {
        let parts = predictor.parts().iter().map(|Part { name, weight, r2, model }| PartRecord {
            name: name.clone(),
            weight: *weight,
            r2: Number(*r2),
            model: ModelRecord::from(model),
        });
        Self {
            constant: predictor.constant(),
            r2: R2Record::from(predictor.r2()),
            parts: parts.collect(),
            variances: predictor.variances().is_some(),
        }
    }
}

impl From<&Model> for ModelRecord {
    fn from(model: &Model) -> Self {
        match model {
            Model::ClosedForm(_) => Self::ClosedForm,
            Model::Monotone(..) => Self::Monotone,
            Model::Trees(trees) => {
                let CountingArrays { constant, relations, .. } = trees.to_arrays();
                let names = relations.iter().map(|relation| relation.name().to_owned());
                Self::Trees { constant, relations: names.collect() }
            }
            Model::Networks(networks) => {
                let (centre, scale) = networks.standard();
                let Shape { channels, hidden, pool, .. } = networks.shape();
                Self::Networks { channels, hidden, pool, centre, scale }
            }
        }
    }
}

/// The name of a tensor of a part.
fn name(part: usize, field: &str) -> String {
    format!("predictor.{part}.{field}")
}

/// The arrays of the models of a predictor.
pub(super) fn tensors(predictor: &Predictor) -> Reason<Vec<Tensor>> {
    let mut all: Vec<Tensor> =
        predictor.variances().map(|variances| Tensor::f64s(VARIANCES, variances)).into_iter().collect();
    for (i, part) in predictor.parts().iter().enumerate() {
        match &part.model {
            Model::ClosedForm(form) => all.push(of_form(i, form)?),
            Model::Monotone(form, curve) => {
                all.push(of_form(i, form)?);
                all.push(Tensor::f64s(name(i, "knots"), curve.knots()));
                all.push(Tensor::f64s(name(i, "curve"), curve.values()));
            }
            Model::Trees(trees) => all.extend(of_trees(i, &trees.to_arrays())),
            Model::Networks(networks) => {
                let values: Vec<f32> = networks.parameters().flatten().copied().collect();
                let parameters = Tensor::f32s(name(i, "parameters"), &values);
                all.push(parameters.with_columns(networks.shape().parameters()));
            }
        }
    }
    Ok(all)
}

impl PredictorRecord {
    pub(super) fn into_predictor(self, space: &SequenceSpace, tensors: &Tensors<'_>) -> Reason<Predictor> {
        let r2 = RSquared::from(self.r2);
        valid::check_r2("R²", &r2)?;
        let parts = self.parts.into_iter().enumerate().map(|(i, record)| {
            let model = match record.model {
                ModelRecord::ClosedForm => Model::ClosedForm(form(i, tensors)?),
                ModelRecord::Monotone => {
                    let (knots, values) =
                        (tensors.f64s(&name(i, "knots"))?, tensors.f64s(&name(i, "curve"))?);
                    let curve = Curve::new(knots, values).map_err(|e| e.to_string())?;
                    Model::Monotone(form(i, tensors)?, curve)
                }
                ModelRecord::Trees { constant, relations } => {
                    let arrays = CountingArrays { constant, ..arrays(space, i, &relations, tensors)? };
                    Model::Trees(
                        CountingTrees::from_arrays(space.clone(), arrays).map_err(|e| e.to_string())?,
                    )
                }
                ModelRecord::Networks { channels, hidden, pool, centre, scale } => {
                    let rows = tensors.f32_rows(&name(i, "parameters"))?;
                    let standard = (centre, scale);
                    let size = (channels, hidden, pool);
                    let ensemble = networks::Ensemble::new(space.clone(), size, rows, standard);
                    Model::Networks(ensemble.map_err(|e| e.to_string())?)
                }
            };
            Ok(Part { name: record.name, weight: record.weight, r2: record.r2.0, model })
        });
        let parts = parts.collect::<Reason<Vec<Part>>>()?;
        let predictor = Predictor::new(space.clone(), self.constant, parts, r2).map_err(|e| e.to_string())?;
        if !self.variances {
            return Ok(predictor);
        }
        predictor.with_variances(tensors.f64s(VARIANCES)?).map_err(|e| e.to_string())
    }
}

/// The bytes of a closed form.
fn of_form(i: usize, form: &ClosedForm) -> Reason<Tensor> {
    let bytes = Sketch::from(form.surrogate().clone()).to_bytes().map_err(|e| e.to_string())?;
    Ok(Tensor::u8s(name(i, "sketch"), bytes))
}

fn form(i: usize, tensors: &Tensors<'_>) -> Reason<Box<ClosedForm>> {
    let sketch = Sketch::of_part(&tensors.u8s(&name(i, "sketch"))?)?;
    ClosedForm::new(sketch.surrogate).map(Box::new).map_err(|e| e.to_string())
}

/// The arrays of trees.
fn of_trees(i: usize, arrays: &CountingArrays) -> Vec<Tensor> {
    let u16s = |field: &str, values: &[u16]| Tensor::u16s(name(i, field), values);
    let u32s = |field: &str, values: &[u32]| Tensor::u32s(name(i, field), values);
    let u64s = |field: &str, values: &[u64]| Tensor::u64s(name(i, field), values.iter().copied());
    let mut tensors = vec![
        u64s("starts", &arrays.starts),
        u16s("positions", &arrays.positions),
        u64s("sets", &arrays.sets),
        u16s("lengths", &arrays.lengths),
        u16s("firsts", &arrays.firsts),
        u16s("lasts", &arrays.lasts),
        u16s("steps", &arrays.steps),
        Tensor::u8s(name(i, "kmers"), arrays.kmers.clone()),
        u64s("roots", &arrays.roots),
        Tensor::i64s(name(i, "conditions"), &arrays.conditions),
        u32s("thresholds", &arrays.thresholds),
        u32s("yes", &arrays.yes),
        u32s("no", &arrays.no),
        Tensor::f64s(name(i, "values"), &arrays.values),
    ];
    if let Some(relation) = arrays.relations.first() {
        tensors.push(run_tensors::of_relations(
            name(i, "relations"),
            &arrays.relations,
            relation.rows().len(),
        ));
        tensors.push(u16s("runs", &arrays.runs).with_columns(RunCount::WIDTH));
    }
    tensors
}

/// The arrays of trees, with relations of these names; the constant is in the record.
fn arrays(
    space: &SequenceSpace,
    i: usize,
    names: &[String],
    tensors: &Tensors<'_>,
) -> Reason<CountingArrays> {
    let u16s = |field| tensors.u16s(&name(i, field));
    let u32s = |field| tensors.u32s(&name(i, field));
    let u64s = |field| tensors.u64s(&name(i, field));
    let (relations, runs) = if names.is_empty() {
        Default::default()
    } else {
        (run_tensors::relations(&name(i, "relations"), tensors, names, space)?, u16s("runs")?)
    };
    Ok(CountingArrays {
        constant: 0.0,
        starts: u64s("starts")?,
        positions: u16s("positions")?,
        sets: u64s("sets")?,
        lengths: u16s("lengths")?,
        firsts: u16s("firsts")?,
        lasts: u16s("lasts")?,
        steps: u16s("steps")?,
        kmers: tensors.u8s(&name(i, "kmers"))?,
        relations,
        runs,
        roots: u64s("roots")?,
        conditions: tensors.i64s(&name(i, "conditions"))?,
        thresholds: u32s("thresholds")?,
        yes: u32s("yes")?,
        no: u32s("no")?,
        values: tensors.f64s(&name(i, "values"))?,
    })
}
