//! Amortised Shapley values in sketch files.
//!
//! The metadata entry `amortised` has the numbers. The tensors are `amortised.parameters` (f32, one row) and
//! `amortised.background` (f64), the probability of each symbol at each position, row by row.

use serde::{Deserialize, Serialize};

use super::tensors::{Reason, Tensor, Tensors};
use crate::amortised::{Accuracy, Amortised};
use crate::networks::values::ValueNetwork;
use crate::space::SequenceSpace;

const PARAMETERS: &str = "amortised.parameters";
const BACKGROUND: &str = "amortised.background";

/// An [`Amortised`] without its arrays.
#[derive(Serialize, Deserialize)]
pub(super) struct AmortisedRecord {
    channels: usize,
    hidden: usize,
    scale: f64,
    base_value: f64,
    error: f64,
    size: f64,
    sampling: f64,
}

impl From<&Amortised> for AmortisedRecord {
    fn from(amortised: &Amortised) -> Self {
        let (network, accuracy) = (amortised.network(), amortised.accuracy());
        Self {
            channels: network.shape().channels,
            hidden: network.shape().hidden,
            scale: network.scale(),
            base_value: amortised.base_value(),
            error: accuracy.error,
            size: accuracy.size,
            sampling: accuracy.sampling,
        }
    }
}

pub(super) fn tensors(amortised: &Amortised) -> Vec<Tensor> {
    let parameters = amortised.network().parameters();
    vec![
        Tensor::f32s(PARAMETERS, parameters).with_columns(parameters.len()),
        Tensor::f64s(BACKGROUND, amortised.background()),
    ]
}

impl AmortisedRecord {
    pub(super) fn into_amortised(self, space: &SequenceSpace, tensors: &Tensors<'_>) -> Reason<Amortised> {
        let parameters = tensors.f32_rows(PARAMETERS)?.concat();
        let network = ValueNetwork::new(space.clone(), self.channels, self.hidden, parameters, self.scale);
        let accuracy = Accuracy { error: self.error, size: self.size, sampling: self.sampling };
        let background = tensors.f64s(BACKGROUND)?;
        network
            .and_then(|network| Amortised::new(network, background, self.base_value, accuracy))
            .map_err(|e| e.to_string())
    }
}
