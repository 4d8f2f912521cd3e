//! The activation `silu(x) = x / (1 + e^{-x})` and its slope.

use wide::f32x8;

const LANES: usize = 8;

/// Replaces values by their activation, and writes the slope at each.
pub(super) fn activate(values: &mut [f32], slopes: &mut [f32]) {
    let (chunks, rest) = values.as_chunks_mut::<LANES>();
    let (slope_chunks, rest_slopes) = slopes.as_chunks_mut::<LANES>();
    for (chunk, slopes) in chunks.iter_mut().zip(slope_chunks) {
        (*chunk, *slopes) = eight(*chunk);
    }
    if !rest.is_empty() {
        let mut padded = [0.0; LANES];
        padded[..rest.len()].copy_from_slice(rest);
        let (activated, slopes) = eight(padded);
        rest.copy_from_slice(&activated[..rest.len()]);
        rest_slopes[..rest.len()].copy_from_slice(&slopes[..rest.len()]);
    }
}

fn eight(values: [f32; LANES]) -> ([f32; LANES], [f32; LANES]) {
    // Beyond 80 the exponential would overflow; the sigmoid is 0 or 1 there.
    let x = f32x8::from(values);
    let bounded = x.max(f32x8::splat(-80.0)).min(f32x8::splat(80.0));
    let sigmoid = f32x8::ONE / (f32x8::ONE + (-bounded).exp());
    let activated = x * sigmoid;
    (activated.into(), (sigmoid + activated * (f32x8::ONE - sigmoid)).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn activations_and_slopes_are_those_of_double_precision() {
        let inputs: Vec<f32> = (-2_003..2_003).map(|i| i as f32 / 20.0).collect();
        let (mut values, mut slopes) = (inputs.clone(), vec![0.0; inputs.len()]);
        activate(&mut values, &mut slopes);
        for ((&x, &value), &slope) in inputs.iter().zip(&values).zip(&slopes) {
            let x = f64::from(x);
            let sigmoid = 1.0 / (1.0 + (-x).exp());
            assert!((f64::from(value) - x * sigmoid).abs() <= 1e-6 * x.abs().max(1.0), "{x}");
            assert!((f64::from(slope) - sigmoid * (1.0 + x * (1.0 - sigmoid))).abs() <= 1e-6, "{x}");
        }
    }
}
