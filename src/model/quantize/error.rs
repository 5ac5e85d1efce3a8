//! What can be wrong with the numbers of a quantised network.

/// Why a network cannot be quantised, or a quantised one not be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum QuantizeError {
    /// Something is not there.
    #[error("tensor `{0}` is missing; calibrate the model again")]
    Missing(String),
    /// No range was seen for a map.
    #[error("nothing was seen in `{0}`; calibrate on pictures in which the model proposes regions")]
    NoRange(String),
    /// A range or scale is no positive number.
    #[error("`{name}` has the range or scale {range}, which nothing can be scaled by; calibrate the model again")]
    Range {
        /// The map.
        name: String,
        /// Its range.
        range: f32,
    },
    /// The mean is no pixel.
    #[error("the mean colour {0:?} lies outside of 0 to 255; `input.mean_bgr` must be in 8-bit values")]
    Mean([f32; 3]),
    /// Scales or biases do not fit the layer.
    #[error("layer `{layer}` needs {outputs} positive scales and as many biases; calibrate the model again")]
    Scales {
        /// The layer.
        layer: String,
        /// Its outputs.
        outputs: usize,
    },
    /// A sum would not fit into 32 bits.
    #[error("layer `{layer}`, output {output}: its sums could leave 32 bits; the file is damaged")]
    Overflow {
        /// The layer.
        layer: String,
        /// The output.
        output: usize,
    },
    /// Trunk and head disagree about the map between them.
    #[error(
        "`conv5` has scale {map} in trunk.onnx, but `pooled` has {pooled} in head.onnx; the two files do not belong together"
    )]
    Seam {
        /// Scale of the trunk's output.
        map: f32,
        /// Scale of the head's input.
        pooled: f32,
    },
    /// The graph is not the one that the weights are for.
    #[error(
        "node `{node}` is not what {network} has there; only graphs written by `edge-rcnn calibrate` are run in 8 bits"
    )]
    Graph {
        /// The node.
        node: String,
        /// The network.
        network: String,
    },
}
