//! The tensors of sketch files.

use safetensors::tensor::{Dtype, SafeTensors, TensorView};

/// The reason why a file cannot be read or written.
pub(super) type Reason<T> = std::result::Result<T, String>;

/// A tensor to write.
pub(super) struct Tensor {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Tensor {
    fn new(name: impl Into<String>, dtype: Dtype, shape: &[usize], bytes: Vec<u8>) -> Self {
        Self { name: name.into(), dtype, shape: shape.to_vec(), bytes }
    }

    pub(super) fn u8s(name: impl Into<String>, values: Vec<u8>) -> Self {
        Self::new(name, Dtype::U8, &[values.len()], values)
    }

    pub(super) fn u16s(name: impl Into<String>, values: &[u16]) -> Self {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Self::new(name, Dtype::U16, &[values.len()], bytes)
    }

    pub(super) fn u32s(name: impl Into<String>, values: &[u32]) -> Self {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Self::new(name, Dtype::U32, &[values.len()], bytes)
    }

    pub(super) fn i64s(name: impl Into<String>, values: &[i64]) -> Self {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Self::new(name, Dtype::I64, &[values.len()], bytes)
    }

    pub(super) fn u64s(name: impl Into<String>, values: impl Iterator<Item = u64>) -> Self {
        let bytes: Vec<u8> = values.flat_map(u64::to_le_bytes).collect();
        Self::new(name, Dtype::U64, &[bytes.len() / 8], bytes)
    }

    pub(super) fn f64s(name: impl Into<String>, values: &[f64]) -> Self {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Self::new(name, Dtype::F64, &[values.len()], bytes)
    }

    pub(super) fn f32s(name: impl Into<String>, values: &[f32]) -> Self {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Self::new(name, Dtype::F32, &[values.len()], bytes)
    }

    /// The same numbers as a matrix with so many columns; the reader refuses those that are no matrix.
    pub(super) fn with_columns(self, columns: usize) -> Self {
        let count = self.shape[0];
        let shape = if count.is_multiple_of(columns) { vec![count / columns, columns] } else { vec![count] };
        Self { shape, ..self }
    }

    pub(super) fn view(&self) -> Reason<(&str, TensorView<'_>)> {
        let view = TensorView::new(self.dtype, self.shape.clone(), &self.bytes).map_err(|e| e.to_string())?;
        Ok((&self.name, view))
    }
}

/// The tensors of a file.
pub(super) struct Tensors<'a>(pub(super) SafeTensors<'a>);

impl Tensors<'_> {
    fn bytes(&self, name: &str, dtype: Dtype) -> Reason<Vec<u8>> {
        let view = self.0.tensor(name).map_err(|_| format!("the tensor {name:?} is missing"))?;
        if view.dtype() != dtype {
            return Err(format!("the tensor {name:?} is of type {:?}, expected {dtype:?}", view.dtype()));
        }
        Ok(view.data().to_vec())
    }

    /// A matrix of f32, row by row.
    pub(super) fn f32_rows(&self, name: &str) -> Reason<Vec<Vec<f32>>> {
        let bytes = self.bytes(name, Dtype::F32)?;
        let shape = self.0.tensor(name).map(|view| view.shape().to_vec()).unwrap_or_default();
        let &[rows, columns] = shape.as_slice() else {
            return Err(format!("the tensor {name:?} has the shape {shape:?}, expected two dimensions"));
        };
        if rows * columns == 0 {
            return Err(format!("the tensor {name:?} is empty"));
        }
        let values: Vec<f32> =
            bytes.chunks_exact(4).map(|c| f32::from_le_bytes([c[0], c[1], c[2], c[3]])).collect();
        Ok(values.chunks_exact(columns).map(<[f32]>::to_vec).collect())
    }

    pub(super) fn u16s(&self, name: &str) -> Reason<Vec<u16>> {
        let bytes = self.bytes(name, Dtype::U16)?;
        Ok(bytes.chunks_exact(2).map(|c| u16::from_le_bytes([c[0], c[1]])).collect())
    }

    pub(super) fn u8s(&self, name: &str) -> Reason<Vec<u8>> {
        self.bytes(name, Dtype::U8)
    }

    pub(super) fn u32s(&self, name: &str) -> Reason<Vec<u32>> {
        let bytes = self.bytes(name, Dtype::U32)?;
        Ok(bytes.chunks_exact(4).map(|c| u32::from_le_bytes([c[0], c[1], c[2], c[3]])).collect())
    }

    pub(super) fn i64s(&self, name: &str) -> Reason<Vec<i64>> {
        self.bytes(name, Dtype::I64).map(|bytes| words_of(&bytes).map(u64::cast_signed).collect())
    }

    pub(super) fn u64s(&self, name: &str) -> Reason<Vec<u64>> {
        self.bytes(name, Dtype::U64).map(|bytes| words_of(&bytes).collect())
    }

    pub(super) fn f64s(&self, name: &str) -> Reason<Vec<f64>> {
        self.bytes(name, Dtype::F64).map(|bytes| words_of(&bytes).map(f64::from_bits).collect())
    }
}

/// Little-endian numbers of 8 bytes.
fn words_of(bytes: &[u8]) -> impl Iterator<Item = u64> {
    bytes.chunks_exact(8).map(|c| u64::from_le_bytes([c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7]]))
}
