//! Small convolutional networks that imitate a model.
//!
//! Networks share weights over positions, as most models of sequences do, so they learn from few evaluations what
//! a sum of patterns at fixed places cannot. A network has no closed form; a sketch of it, or sampling, explains it.
//!
//! Each network has two convolutions (7 and 5 positions wide, the second added to the first), 8 channels that
//! keep their positions, the mean and the maximum of each channel, two dense layers (the second added to the
//! first), and a linear part.
//!
//! In long sequences, that many positions would fit the noise of the values. With [`Training::pool`] above 1, the first
//! convolution is 13 positions wide, and only its largest sum in each window of that many positions goes on. No channel
//! keeps its positions; effects of single positions are fitted on their own, and are 0 unless noise does not explain
//! them. The cost of the first convolution grows linearly with the length, and all else depends on the number of windows.
//!
//! An [`Ensemble`] is the mean of several, trained from different random parameters. Some of them find a motif too late or
//! not at all: those are left out.

mod activation;
mod additive;
mod pass;
mod scan;
mod seeds;
mod shape;
#[cfg(test)]
mod tests;
mod train;
pub mod values;
mod walk;
mod windows;

use rayon::prelude::*;

pub use shape::Shape;

use self::pass::Workspace;
use self::scan::Mutants;
use self::train::{CHUNK, Standardised};
use self::walk::LANES;
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::space::SequenceSpace;
use crate::walks::Walks;

/// Sequences predicted by one task.
const ROWS: usize = 256;
/// Sequences whose mutants one task predicts.
const SCANNED: usize = 64;
/// A member whose mean squared error of held-out sequences exceeds the smallest one by more than this factor is left out:
/// it would add more error to the mean than it averages out.
const WORST_RATIO: f64 = 2.0;
/// Fewest values that networks can be trained on.
pub const FEWEST: usize = 100;
/// Largest number of parameters of one network.
const MOST_PARAMETERS: usize = 1 << 24;

/// How networks are trained.
#[derive(Clone, Debug, PartialEq)]
pub struct Training {
    /// Number of networks, before bad ones are left out.
    pub members: usize,
    /// Channels of the convolutions.
    pub channels: usize,
    /// Width of the dense layers.
    pub hidden: usize,
    /// Positions of a window: 1 for short sequences, see [`crate::networks`].
    pub pool: usize,
    /// Passes over the data.
    pub epochs: usize,
    /// Highest rate of the one-cycle schedule.
    pub rate: f64,
    /// Decay of the parameters (AdamW), relative to the rate.
    pub decay: f64,
    /// Seed of the initial parameters, the held-out sequences and the order of the data.
    pub seed: u64,
}

impl Default for Training {
    fn default() -> Self {
        Self { members: 3, channels: 64, hidden: 64, pool: 1, epochs: 30, rate: 3e-3, decay: 0.1, seed: 0 }
    }
}

impl Training {
    fn shape(&self, space: &SequenceSpace) -> Shape {
        let &Self { channels, hidden, pool, .. } = self;
        Shape { n: space.n(), q: space.q(), channels, hidden, pool }
    }
}

/// A network: its size and its parameters.
#[derive(Clone, Debug, PartialEq)]
struct Network {
    shape: Shape,
    parameters: Vec<f32>,
}

impl Network {
    /// Standardised outputs.
    fn outputs(&self, codes: &[u8], cancel: &Cancel) -> Result<Vec<f32>> {
        let n = self.shape.n;
        let mut out = vec![0.0; codes.len() / n];
        let tasks = out.par_chunks_mut(ROWS).zip(codes.par_chunks(ROWS * n));
        tasks.try_for_each_init(
            || Workspace::new(self.shape, CHUNK, false),
            |workspace, (out, codes)| {
                cancel.check()?;
                for (out, codes) in out.chunks_mut(CHUNK).zip(codes.chunks(CHUNK * n)) {
                    out.copy_from_slice(workspace.forward(&self.parameters, codes));
                }
                Ok(())
            },
        )?;
        Ok(out)
    }
}

/// The members that are good enough, of members with their errors; see [`WORST_RATIO`].
fn without_bad<T>(members: Vec<(f64, T)>) -> Vec<T> {
    let least = members.iter().map(|(error, _)| *error).fold(f64::INFINITY, f64::min);
    members.into_iter().filter(|(error, _)| *error <= WORST_RATIO * least).map(|(_, member)| member).collect()
}

/// The mean of several networks.
#[derive(Clone, Debug)]
pub struct Ensemble {
    space: SequenceSpace,
    networks: Vec<Network>,
    centre: f64,
    scale: f64,
}

impl Ensemble {
    /// Trains networks on sequences, row-major codes, and their values. Each member holds out an eighth of the
    /// sequences, and keeps the epoch that predicts them best. Members whose error there is more than twice the smallest
    /// one are left out.
    ///
    /// # Errors
    /// If the codes do not belong to the space, there are fewer than [`FEWEST`] values, all values are equal, a
    /// number is not finite, a network would be too large, or the caller cancels.
    ///
    /// ```
    /// use shapsketch::networks::{Ensemble, Training};
    /// use shapsketch::{Cancel, SequenceSpace, design};
    /// let (space, cancel) = (SequenceSpace::new("ACGT", 6)?, Cancel::new());
    /// let codes = design::uniform(&space, 400, 0, &cancel)?;
    /// let model = |word: &[u8]| word.windows(2).filter(|pair| *pair == [1, 2]).count() as f64;
    /// let values: Vec<f64> = codes.chunks(6).map(model).collect();
    /// let training = Training { members: 1, channels: 8, hidden: 8, ..Training::default() };
    /// let ensemble = Ensemble::train(&space, &codes, &values, None, &training, &cancel)?;
    /// assert_eq!(ensemble.predict(&codes[..12], &cancel)?.len(), 2);
    /// # Ok::<(), shapsketch::Error>(())
    /// ```
    pub fn train(
        space: &SequenceSpace,
        codes: &[u8],
        values: &[f64],
        weights: Option<&[f64]>,
        training: &Training,
        cancel: &Cancel,
    ) -> Result<Self> {
        let shape = training.shape(space);
        check(space, codes, values, weights, training)?;
        let (centre, scale) = standard(values, weights)?;
        let standardised: Vec<f32> = values.iter().map(|value| ((value - centre) / scale) as f32).collect();
        let total: Option<f64> = weights.map(|weights| weights.iter().sum());
        let relative: Option<Vec<f32>> = weights.zip(total).map(|(weights, total)| {
            weights.iter().map(|weight| (weight * values.len() as f64 / total) as f32).collect()
        });
        let data = Standardised { shape, codes, values: &standardised, weights: relative.as_deref() };
        let members = (0..training.members).into_par_iter();
        let trained: Vec<(f64, Vec<f32>)> =
            members.map(|member| train::member(&data, training, member, cancel)).collect::<Result<_>>()?;
        let networks =
            without_bad(trained).into_iter().map(|parameters| Network { shape, parameters }).collect();
        Ok(Self { space: space.clone(), networks, centre, scale })
    }

    /// An ensemble of networks with these channels, width of the dense layers, and positions of a window, and these
    /// parameters, one row for each network; its output times `scale`, plus `centre`.
    ///
    /// # Errors
    /// If the number of parameters is not that of the shape, or a number is not finite.
    pub fn new(
        space: SequenceSpace,
        (channels, hidden, pool): (usize, usize, usize),
        parameters: Vec<Vec<f32>>,
        (centre, scale): (f64, f64),
    ) -> Result<Self> {
        let shape = Shape { n: space.n(), q: space.q(), channels, hidden, pool };
        check_size(&shape, parameters.len())?;
        let bad = |expected, got| Err(Error::Parameter { name: "networks", expected, got });
        for row in &parameters {
            if row.len() != shape.parameters() {
                return bad("as many parameters as their shape has", format!("{} parameters", row.len()));
            }
            if let Some(value) = row.iter().find(|value| !value.is_finite()) {
                return bad("finite parameters", value.to_string());
            }
        }
        if !centre.is_finite() || !scale.is_finite() {
            return bad("a finite centre and scale", format!("{centre} and {scale}"));
        }
        let networks = parameters.into_iter().map(|parameters| Network { shape, parameters }).collect();
        Ok(Self { space, networks, centre, scale })
    }

    /// The sequence space.
    #[must_use]
    pub const fn space(&self) -> &SequenceSpace {
        &self.space
    }

    /// The size of each network.
    #[must_use]
    pub fn shape(&self) -> Shape {
        self.networks[0].shape
    }

    /// The parameters of each network.
    pub fn parameters(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.networks.iter().map(|network| network.parameters.as_slice())
    }

    /// The number that is added to the scaled output, and the scale.
    #[must_use]
    pub const fn standard(&self) -> (f64, f64) {
        (self.centre, self.scale)
    }

    /// Predictions for sequences, row-major codes.
    ///
    /// # Errors
    /// If the codes do not belong to the space, or the caller cancels.
    pub fn predict(&self, codes: &[u8], cancel: &Cancel) -> Result<Vec<f64>> {
        self.space.check(codes)?;
        let mut sum = vec![0.0; codes.len() / self.space.n()];
        for network in &self.networks {
            let outputs = network.outputs(codes, cancel)?;
            sum.iter_mut().zip(outputs).for_each(|(sum, output)| *sum += f64::from(output));
        }
        let scale = self.scale / self.networks.len() as f64;
        sum.iter_mut().for_each(|value| *value = self.centre + scale * *value);
        Ok(sum)
    }

    /// Predictions along walks, shape `(count, n + 1)`. Rows `2k` and `2k + 1` are those of one network, number
    /// `draws[k] mod m` of `m`. If `draws` are random, they are unbiased, and cost a fraction of the mean of all networks.
    ///
    /// # Errors
    /// If the walks do not belong to the space, there is not one draw for each pair of rows, or the caller cancels.
    pub fn walks(&self, walks: &Walks<'_>, draws: &[u32], cancel: &Cancel) -> Result<Vec<f64>> {
        walks.space().check_same(&self.space)?;
        let (members, width, pairs) = (self.networks.len(), walks.width(), walks.count().div_ceil(2));
        if draws.len() != pairs {
            return Err(Error::ValueCount { what: "draws", got: draws.len(), expected: pairs });
        }
        let mut out = walks.zeros()?;
        // Each task has about as many walks of each network as take their steps together.
        let size = members * LANES;
        out.par_chunks_mut(size * width).enumerate().try_for_each(|(task, out)| {
            let rows = task * size..task * size + out.len() / width;
            for (member, network) in self.networks.iter().enumerate() {
                let own: Vec<usize> =
                    rows.clone().filter(|row| draws[row / 2] as usize % members == member).collect();
                for own in own.chunks(LANES) {
                    let add = |row: usize, step: usize, output: f32| {
                        let end = (row - rows.start + 1) * width;
                        out[end - width + step..end].fill(self.centre + self.scale * f64::from(output));
                    };
                    network.along(walks, own, add, cancel)?;
                }
            }
            Ok(())
        })?;
        Ok(out)
    }

    /// For each position, the prediction minus its mean over the symbols of that position; shape `(B, n)`. Symbols have
    /// the probabilities `background`, `(n, q)`.
    ///
    /// Network `r mod m` of the `m` networks predicts for sequence `r`. That is unbiased if the sequences are random, and
    /// its noise is small beside that of the sequences.
    ///
    /// # Errors
    /// If the codes do not belong to the space, there are not `n q` probabilities, or the caller cancels.
    pub fn marginals(&self, codes: &[u8], background: &[f64], cancel: &Cancel) -> Result<Vec<f64>> {
        let (n, q, members) = (self.space.n(), self.space.q(), self.networks.len());
        let mut out = vec![0.0; self.space.check(codes)? * n];
        if background.len() != n * q {
            return Err(Error::ValueCount { what: "background", got: background.len(), expected: n * q });
        }
        let tasks = out.par_chunks_mut(SCANNED * n).zip(codes.par_chunks(SCANNED * n)).enumerate();
        tasks.try_for_each(|(task, (out, codes))| {
            for (member, network) in self.networks.iter().enumerate() {
                let mut scan = Mutants::new(network);
                let mut outputs = vec![0.0; n * q];
                for (row, (out, codes)) in out.chunks_exact_mut(n).zip(codes.chunks_exact(n)).enumerate() {
                    if (task * SCANNED + row) % members != member {
                        continue;
                    }
                    cancel.check()?;
                    scan.outputs(codes, &mut outputs, cancel)?;
                    for (i, out) in out.iter_mut().enumerate() {
                        let (outputs, chances) = (&outputs[i * q..][..q], &background[i * q..][..q]);
                        let mean: f64 = outputs.iter().zip(chances).map(|(&v, p)| f64::from(v) * p).sum();
                        *out = self.scale * (f64::from(outputs[usize::from(codes[i])]) - mean);
                    }
                }
            }
            Ok(())
        })?;
        Ok(out)
    }
}

/// The weighted squared difference of an output and a value.
fn squared_error(output: f64, value: f64, weight: f32) -> f64 {
    f64::from(weight) * (output - value).powi(2)
}

fn check_size(shape: &Shape, members: usize) -> Result<()> {
    let bad = |name, expected, got: usize| Err(Error::Parameter { name, expected, got: got.to_string() });
    if members == 0 {
        return bad("members", "at least 1", members);
    }
    if shape.channels == 0 || shape.channels > 1024 {
        return bad("channels", "1 to 1024", shape.channels);
    }
    if shape.hidden == 0 || shape.hidden > 1024 {
        return bad("hidden", "1 to 1024", shape.hidden);
    }
    if shape.pool == 0 || shape.pool > shape.n {
        return bad("pool", "1 to the length of the sequences", shape.pool);
    }
    if shape.parameters() > MOST_PARAMETERS {
        return bad("networks", "at most 2^24 parameters each", shape.parameters());
    }
    Ok(())
}

fn check(
    space: &SequenceSpace,
    codes: &[u8],
    values: &[f64],
    weights: Option<&[f64]>,
    training: &Training,
) -> Result<()> {
    check_size(&training.shape(space), training.members)?;
    space.check(codes)?;
    let got = values.len();
    for (what, count) in [("values", got), ("weights", weights.map_or(got, <[f64]>::len))] {
        if count != codes.len() / space.n() {
            return Err(Error::ValueCount { what, got: count, expected: codes.len() / space.n() });
        }
    }
    let bad = |name, expected, got: String| Err(Error::Parameter { name, expected, got });
    if got < FEWEST {
        return bad("values", "at least 100 to train networks", got.to_string());
    }
    if training.epochs == 0 {
        return bad("epochs", "at least 1", "0".into());
    }
    for (name, value) in [("rate", training.rate), ("decay", training.decay)] {
        if !(0.0..=1.0).contains(&value) {
            return bad(name, "a number from 0 to 1", value.to_string());
        }
    }
    for (what, numbers) in [("values", values), ("weights", weights.unwrap_or_default())] {
        if let Some((index, &value)) = numbers.iter().enumerate().find(|(_, value)| !value.is_finite()) {
            return Err(Error::NotFinite { what, index, value });
        }
    }
    Ok(())
}

/// Mean and standard deviation.
fn standard(values: &[f64], weights: Option<&[f64]>) -> Result<(f64, f64)> {
    let weight = |row: usize| weights.map_or(1.0, |weights| weights[row]);
    let total: f64 = (0..values.len()).map(weight).sum();
    let mean = |of: &dyn Fn(f64) -> f64| -> f64 {
        values.iter().enumerate().map(|(row, &value)| weight(row) / total * of(value)).sum()
    };
    let centre = mean(&|value| value);
    let largest = values.iter().map(|value| (value - centre).abs()).fold(0.0, f64::max);
    if largest == 0.0 || values.iter().all(|value| *value == values[0]) {
        return Err(Error::Parameter {
            name: "values",
            expected: "of different size, to train networks",
            got: format!("{} times {}", values.len(), values[0]),
        });
    }
    let scale = largest * mean(&|value| ((value - centre) / largest).powi(2)).sqrt();
    Ok((centre, scale))
}
