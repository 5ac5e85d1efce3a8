//! The networks, described once, as data.
//!
//! Import, training, ONNX export and the layer tables are all built from these descriptions. Layer names are those
//! of the released Caffe models; weights live in [`Weights`](super::Weights) under `<layer>.weight` and
//! `<layer>.bias`.

mod networks;

use crate::kernels::LrnWindow;

pub use networks::{ALL, CAFFENET, VGG_CNN_M_1024, VGG16, ZF, ZF_PLAIN};

/// One layer of a trunk. Every convolution is followed by a ReLU.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Layer {
    /// Convolution + ReLU.
    Conv {
        /// Layer name.
        name: &'static str,
        /// Output channels.
        out: usize,
        /// Side of the square kernel.
        kernel: usize,
        /// Step in both directions.
        stride: usize,
        /// Zero padding on each side.
        pad: usize,
        /// Channel groups (CaffeNet: 2).
        groups: usize,
    },
    /// Caffe's LRN: `x / (k + alpha/n · Σ x²)^beta`, the sum over `size` channels or over a `size`×`size` window.
    Lrn {
        /// Layer name.
        name: &'static str,
        /// Where the sum runs.
        region: LrnRegion,
        /// Side of the window, in channels or pixels.
        size: usize,
        /// Strength.
        alpha: f32,
        /// Exponent.
        beta: f32,
        /// Offset inside the power.
        k: f32,
    },
    /// Max pooling with Caffe's ceil rule for the output size.
    MaxPool {
        /// Layer name.
        name: &'static str,
        /// Side of the window.
        kernel: usize,
        /// Step.
        stride: usize,
        /// Padding on each side (never wins the maximum).
        pad: usize,
    },
}

/// Where local response normalisation sums its squares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LrnRegion {
    /// Over neighbouring channels at one position; divisor n = size.
    AcrossChannels,
    /// Over neighbouring positions of one channel, zero padded; divisor n = size².
    WithinChannel,
}

impl LrnRegion {
    /// The window of so many channels, or of a square of such a side.
    pub fn window(self, size: usize) -> LrnWindow {
        match self {
            Self::AcrossChannels => LrnWindow::Channels(size),
            Self::WithinChannel => LrnWindow::Square(size),
        }
    }
}

/// A network: shared trunk, RPN and fc head.
#[derive(Debug, PartialEq)]
pub struct Architecture {
    /// The name used in bundles and on the command line.
    pub name: &'static str,
    /// Trunk, from the picture (3 channels) to the last convolution.
    pub trunk: &'static [Layer],
    /// Channels of the RPN's 3×3 convolution (`rpn_conv/3x3`).
    pub rpn_channels: usize,
    /// Side of the pooled RoI.
    pub pool_size: usize,
    /// Outputs of `fc6` and `fc7`.
    pub fc: [usize; 2],
}

/// Pixels of the input per cell of the map; the same for all our networks.
pub const FEATURE_STRIDE: usize = 16;

/// A convolution of the trunk in the terms needed for weights: name, input and output channels, kernel, groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConvShape {
    /// Layer name.
    pub name: &'static str,
    /// Input channels of the whole layer.
    pub input: usize,
    /// Output channels.
    pub out: usize,
    /// Side of the kernel.
    pub kernel: usize,
    /// Groups.
    pub groups: usize,
}

impl Architecture {
    /// Looks a network up by its name, ignoring case and common aliases of the papers (S, M, L).
    pub fn by_name(name: &str) -> Option<&'static Architecture> {
        let lower = name.to_ascii_lowercase();
        let canonical = match lower.as_str() {
            "s" => "caffenet",
            "m" | "vgg_cnn_m_1024" => "vgg-cnn-m-1024",
            "l" | "vgg_16" => "vgg16",
            other => other,
        };
        ALL.iter().copied().find(|a| a.name == canonical)
    }

    /// The names of all networks, for messages.
    pub fn names() -> String {
        ALL.iter().map(|a| a.name).collect::<Vec<_>>().join(", ")
    }

    /// The trunk's convolutions with their channel counts.
    pub fn convs(&self) -> Vec<ConvShape> {
        let mut input = 3;
        let mut shapes = Vec::new();
        for layer in self.trunk {
            if let Layer::Conv { name, out, kernel, groups, .. } = *layer {
                shapes.push(ConvShape { name, input, out, kernel, groups });
                input = out;
            }
        }
        shapes
    }

    /// Channels of the last map.
    pub fn map_channels(&self) -> usize {
        self.convs().last().map_or(3, |c| c.out)
    }

    /// Inputs of `fc6`: channels × pool × pool.
    pub fn fc_inputs(&self) -> usize {
        self.map_channels() * self.pool_size * self.pool_size
    }

    /// Rows and columns of the map for a network input of `height`×`width`. The trunk pads inputs shorter than
    /// [`smallest_side`](Self::smallest_side) up to it.
    pub fn map_size(&self, height: usize, width: usize) -> (usize, usize) {
        let smallest = self.smallest_side();
        let side = |n: usize| self.map_len(n.max(smallest)).unwrap_or(1);
        (side(height), side(width))
    }

    /// The shortest side of an input in which every window of the trunk finds room.
    pub fn smallest_side(&self) -> usize {
        (1..1 << 16).find(|n| self.map_len(*n).is_some()).unwrap_or(1)
    }

    /// Length of the map along a side of `n` pixels; `None` if some window is longer than what it slides over.
    fn map_len(&self, mut n: usize) -> Option<usize> {
        for layer in self.trunk {
            n = match *layer {
                Layer::Conv { kernel, stride, pad, .. } => (n + 2 * pad).checked_sub(kernel)? / stride + 1,
                // Rounding up lets the only window overhang by less than a step.
                Layer::MaxPool { kernel, stride, pad, .. } if n + 2 * pad + stride <= kernel => return None,
                Layer::MaxPool { kernel, stride, pad, .. } => pooled_len(n, kernel, stride, pad),
                Layer::Lrn { .. } => n,
            };
        }
        Some(n)
    }
}

/// Caffe's output length of a pooling layer: ceil, then one less if the last window would start in the padding.
pub fn pooled_len(n: usize, kernel: usize, stride: usize, pad: usize) -> usize {
    let mut len = (n + 2 * pad).saturating_sub(kernel).div_ceil(stride) + 1;
    if pad > 0 && (len - 1) * stride >= n + pad {
        len -= 1;
    }
    len
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_of_600_by_1000_gives_the_map_of_caffes_rounding_up() {
        assert_eq!(ZF.map_size(600, 1000), (39, 64));
        assert_eq!(VGG16.map_size(600, 1000), (38, 63));
        assert_eq!(ZF.map_channels(), 256);
        assert_eq!(ZF.fc_inputs(), 9216);
        assert_eq!(VGG16.fc_inputs(), 25088);
    }

    #[test]
    fn the_smallest_side_is_the_first_in_which_every_window_finds_room() {
        let sides: Vec<usize> = ALL.iter().map(|a| a.smallest_side()).collect();
        assert_eq!(sides, [1, 1, 1, 25, 1]);
        assert_eq!(VGG_CNN_M_1024.map_size(3, 600), VGG_CNN_M_1024.map_size(25, 600));
    }

    #[test]
    fn names_and_paper_letters_find_the_networks() {
        for a in ALL {
            assert_eq!(Architecture::by_name(a.name), Some(*a));
        }
        assert_eq!(Architecture::by_name("L"), Some(&VGG16));
        assert_eq!(Architecture::by_name("nonesuch"), None);
    }
}
