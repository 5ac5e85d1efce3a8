//! From the numbers of a layer to the kernel that computes it.

use super::{Activation, IMAGE, QuantLayer, QuantizeError, Quantized};
use crate::kernels::int8::{ConvShape, Dot, QuantConv, Rescale};

/// What a layer's sums become.
#[derive(Debug, Clone, Copy)]
pub enum Becomes<'a> {
    /// The map of that name, in 8 bits.
    Map(&'a str),
    /// Real numbers.
    Real {
        /// With the negative ones cut off.
        relu: bool,
    },
}

impl Quantized {
    /// The kernel of a layer that reads the map `input`. A fully connected layer is a convolution with a kernel of 1.
    ///
    /// # Panics
    ///
    /// If `shape` is not that of the layer; [`check`](Self::check) and the bundle's check of shapes exclude the rest.
    pub fn kernel(
        &self,
        layer: &str,
        shape: ConvShape,
        input: &str,
        becomes: Becomes,
        dot: Dot,
    ) -> Result<QuantConv, QuantizeError> {
        let quant = self.layers.get(layer).ok_or_else(|| QuantizeError::Missing(format!("{layer}.weight")))?;
        self.kernel_of(quant, shape, self.activation(input)?, becomes, dot)
    }

    /// The kernel of the first layer, for pixels in the order red, green, blue, in which pictures come.
    ///
    /// # Panics
    ///
    /// As [`kernel`](Self::kernel) does.
    pub fn first_kernel(
        &self,
        layer: &str,
        shape: ConvShape,
        becomes: Becomes,
        dot: Dot,
    ) -> Result<QuantConv, QuantizeError> {
        let quant = self.layers.get(layer).ok_or_else(|| QuantizeError::Missing(format!("{layer}.weight")))?;
        let mut image = self.activation(IMAGE)?.clone();
        image.zeros.reverse();
        let mut reversed = QuantLayer { weight: Vec::new(), ..quant.clone() };
        for output in quant.weight.chunks_exact(shape.window().max(1)) {
            reversed.weight.extend(output.rchunks_exact(shape.kernel * shape.kernel).flatten());
        }
        self.kernel_of(&reversed, shape, &image, becomes, dot)
    }

    fn kernel_of(
        &self,
        quant: &QuantLayer,
        shape: ConvShape,
        input: &Activation,
        becomes: Becomes,
        dot: Dot,
    ) -> Result<QuantConv, QuantizeError> {
        let scales = quant.scales.iter().map(|s| input.scale * s);
        let rescale = match becomes {
            Becomes::Map(output) => {
                let output = self.activation(output)?;
                Rescale::U8 { factors: scales.map(|s| s / output.scale).collect(), zero: output.zeros[0] }
            }
            Becomes::Real { relu } => Rescale::F32 { factors: scales.collect(), relu },
        };
        let none = vec![0; shape.output];
        let bias = quant.bias.as_ref().unwrap_or(&none);
        Ok(QuantConv::new(dot, shape, &quant.weight, bias, &input.zeros_of(shape.input), rescale))
    }

    /// How a map is stored.
    pub fn activation(&self, map: &str) -> Result<&Activation, QuantizeError> {
        self.activations.get(map).ok_or_else(|| QuantizeError::Missing(format!("{map}.scale")))
    }
}
