//! The activation `silu(x) = x / (1 + e^{-x})` and its slope.

/// Beyond this absolute value the sigmoid is 0 or 1, and the exponential would overflow.
const LARGEST: f32 = 80.0;
/// 1.5 times 2^23: a number added to it is rounded to an integer, which is then in the last bits.
const ROUNDING: f32 = 12_582_912.0;
/// ln 2 as a sum. The first part has few bits, so that its products with small integers are exact.
const LN_2: (f32, f32) = (0.693_359_4, -2.121_944_4e-4);

/// Replaces values by their activation, and writes the slope at each, unless `slopes` is empty.
pub(super) fn activate(values: &mut [f32], slopes: &mut [f32]) {
    // The compiler makes vectors of these loops; the exponential of a library is a call for each value, or slower.
    // `dispatch` compiles them for wider vectors, too. No operation is fused, so each width gives the same bits.
    pulp::Arch::new().dispatch(Activation { values, slopes });
}

struct Activation<'a> {
    values: &'a mut [f32],
    slopes: &'a mut [f32],
}

impl pulp::WithSimd for Activation<'_> {
    type Output = ();

    // A closure would be a call to code of narrow vectors.
    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        if self.slopes.is_empty() {
            for value in self.values {
                *value *= sigmoid(*value);
            }
        } else {
            for (value, slope) in self.values.iter_mut().zip(self.slopes) {
                let sigmoid = sigmoid(*value);
                *value *= sigmoid;
                *slope = sigmoid + *value * (1.0 - sigmoid);
            }
        }
    }
}

#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exponential(-x.clamp(-LARGEST, LARGEST)))
}

/// `e^x` for |x| up to [`LARGEST`], with a relative error of about 1e-7: a polynomial (Cephes, `expf`) times a power of 2.
#[inline(always)]
fn exponential(x: f32) -> f32 {
    let shifted = x * std::f32::consts::LOG2_E + ROUNDING;
    let power = shifted - ROUNDING;
    let rest = x - power * LN_2.0 - power * LN_2.1;
    let mut sum = 1.987_569_1e-4;
    for coefficient in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        sum = sum * rest + coefficient;
    }
    let near = sum * rest * rest + rest + 1.0;
    f32::from_bits(near.to_bits().wrapping_add(shifted.to_bits() << 23))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn activations_and_slopes_are_those_of_double_precision() {
        let inputs: Vec<f32> = (-2_003..2_003).map(|i| i as f32 / 20.0).collect();
        let (mut values, mut slopes) = (inputs.clone(), vec![0.0; inputs.len()]);
        activate(&mut values, &mut slopes);
        let mut alone = inputs.clone();
        activate(&mut alone, &mut []);
        assert_eq!(alone, values);
        for ((&x, &value), &slope) in inputs.iter().zip(&values).zip(&slopes) {
            let x = f64::from(x);
            let sigmoid = 1.0 / (1.0 + (-x).exp());
            assert!((f64::from(value) - x * sigmoid).abs() <= 1e-6 * x.abs().max(1.0), "{x}");
            assert!((f64::from(slope) - sigmoid * (1.0 + x * (1.0 - sigmoid))).abs() <= 1e-6, "{x}");
        }
    }
}
