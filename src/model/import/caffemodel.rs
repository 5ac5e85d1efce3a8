//! `.caffemodel` files: trained weights by layer name.
//!
//! The schema below has only the fields that carry weights; protobuf skips the rest. Two generations exist: `layer`
//! (field 100) with named types and `blob.shape`, and the older `layers` (field 2) with numbered types and
//! `num/channels/height/width`. A blob's numbers are single or double precision.

use prost::Message;

/// One trained blob.
#[derive(Debug, Clone, PartialEq)]
pub struct Blob {
    /// Dimensions, outermost first.
    pub shape: Vec<usize>,
    /// The numbers, row-major.
    pub data: Vec<f32>,
}

/// A layer that has weights.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainedLayer {
    /// Its name.
    pub name: String,
    /// Weights first, then the bias if there is one.
    pub blobs: Vec<Blob>,
}

/// What cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaffemodelError {
    /// Not a protobuf message of this kind, or cut off.
    #[error("is not a complete Caffe model ({0}); copy it again")]
    Decode(#[from] prost::DecodeError),
    /// Nothing in it.
    #[error("holds no layer with weights; is it a .caffemodel?")]
    Empty,
    /// Shape and numbers of a blob disagree.
    #[error(
        "layer `{layer}`, blob {index}: shape {shape:?} needs {expected}, the file has {found} numbers; it is damaged"
    )]
    Length {
        /// The layer.
        layer: String,
        /// Which of its blobs, from 0.
        index: usize,
        /// Dimensions as stored.
        shape: Vec<i64>,
        /// What the shape asks for, in words.
        expected: String,
        /// Numbers found.
        found: usize,
    },
}

/// Reads a whole file. Layers without weights are left out; a name that occurs twice stays twice.
pub fn read(bytes: &[u8]) -> Result<Vec<TrainedLayer>, CaffemodelError> {
    let net = NetParameter::decode(bytes)?;
    let new = net.layer.into_iter().map(|l| (l.name, l.blobs));
    let old = net.layers.into_iter().map(|l| (l.name, l.blobs));
    let mut out = Vec::new();
    for (name, blobs) in new.chain(old).filter(|(_, blobs)| !blobs.is_empty()) {
        let blobs = blobs.into_iter().enumerate().map(|(i, b)| b.into_blob(&name, i)).collect::<Result<_, _>>()?;
        out.push(TrainedLayer { name, blobs });
    }
    if out.is_empty() { Err(CaffemodelError::Empty) } else { Ok(out) }
}

#[derive(Clone, PartialEq, Message)]
struct NetParameter {
    #[prost(message, repeated, tag = "2")]
    layers: Vec<V1LayerParameter>,
    #[prost(message, repeated, tag = "100")]
    layer: Vec<LayerParameter>,
}

#[derive(Clone, PartialEq, Message)]
struct LayerParameter {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, repeated, tag = "7")]
    blobs: Vec<BlobProto>,
}

#[derive(Clone, PartialEq, Message)]
struct V1LayerParameter {
    #[prost(string, tag = "4")]
    name: String,
    #[prost(message, repeated, tag = "6")]
    blobs: Vec<BlobProto>,
}

#[derive(Clone, PartialEq, Message)]
struct BlobProto {
    #[prost(int64, optional, tag = "1")]
    num: Option<i64>,
    #[prost(int64, optional, tag = "2")]
    channels: Option<i64>,
    #[prost(int64, optional, tag = "3")]
    height: Option<i64>,
    #[prost(int64, optional, tag = "4")]
    width: Option<i64>,
    #[prost(float, repeated, tag = "5")]
    data: Vec<f32>,
    #[prost(message, optional, tag = "7")]
    shape: Option<BlobShape>,
    #[prost(double, repeated, tag = "8")]
    double_data: Vec<f64>,
}

#[derive(Clone, PartialEq, Message)]
struct BlobShape {
    #[prost(int64, repeated, tag = "1")]
    dim: Vec<i64>,
}

impl BlobProto {
    fn into_blob(self, layer: &str, index: usize) -> Result<Blob, CaffemodelError> {
        let stored = match &self.shape {
            Some(shape) => shape.dim.clone(),
            None => [self.num, self.channels, self.height, self.width].map(|d| d.unwrap_or(1)).to_vec(),
        };
        let data = if self.data.is_empty() { self.double_data.iter().map(|v| *v as f32).collect() } else { self.data };
        let shape: Option<Vec<usize>> = stored.iter().map(|d| usize::try_from(*d).ok()).collect();
        let count = shape.as_ref().and_then(|s| s.iter().try_fold(1usize, |n, d| n.checked_mul(*d)));
        match (shape, count) {
            (Some(shape), Some(n)) if n == data.len() => Ok(Blob { shape, data }),
            (_, count) => Err(CaffemodelError::Length {
                layer: layer.into(),
                index,
                shape: stored,
                expected: count.map_or("an impossible number".into(), |n| n.to_string()),
                found: data.len(),
            }),
        }
    }
}

/// Writes models for tests: the same schema the other way round.
#[cfg(test)]
pub(super) mod write {
    use super::*;

    fn blob(blob: &Blob, old: bool, double: bool) -> BlobProto {
        let mut proto = BlobProto::default();
        if old {
            // The old form always has four dimensions; missing ones are put in front.
            let mut d = vec![1i64; 4 - blob.shape.len()];
            d.extend(blob.shape.iter().map(|n| *n as i64));
            (proto.num, proto.channels, proto.height, proto.width) = (Some(d[0]), Some(d[1]), Some(d[2]), Some(d[3]));
        } else {
            proto.shape = Some(BlobShape { dim: blob.shape.iter().map(|n| *n as i64).collect() });
        }
        if double {
            proto.double_data = blob.data.iter().map(|v| f64::from(*v)).collect();
        } else {
            proto.data = blob.data.clone();
        }
        proto
    }

    /// A file in the new (`old == false`) or the V1 form.
    pub fn caffemodel(layers: &[TrainedLayer], old: bool, double: bool) -> Vec<u8> {
        let blobs = |l: &TrainedLayer| l.blobs.iter().map(|b| blob(b, old, double)).collect();
        let mut net = NetParameter::default();
        for l in layers {
            if old {
                net.layers.push(V1LayerParameter { name: l.name.clone(), blobs: blobs(l) });
            } else {
                net.layer.push(LayerParameter { name: l.name.clone(), blobs: blobs(l) });
            }
        }
        net.encode_to_vec()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn sample() -> TrainedLayer {
        let weight = Blob { shape: vec![2, 3], data: vec![1.0, -2.0, 3.5, 0.0, 1e-8, 7.0] };
        TrainedLayer { name: "fc".into(), blobs: vec![weight, Blob { shape: vec![2], data: vec![0.5, -0.5] }] }
    }

    #[test]
    fn both_layer_forms_and_both_precisions_give_the_same_numbers() {
        for (old, double) in [(false, false), (false, true), (true, false), (true, true)] {
            let back = read(&write::caffemodel(&[sample()], old, double)).unwrap();
            assert_eq!(back[0].name, "fc");
            assert_eq!(back[0].blobs[0].data, sample().blobs[0].data);
            let shape: &[usize] = if old { &[1, 1, 2, 3] } else { &[2, 3] };
            assert_eq!(back[0].blobs[0].shape, shape);
        }
    }

    #[test]
    fn a_blob_with_too_few_numbers_is_refused_by_name() {
        let mut layer = sample();
        layer.blobs[0].data.pop();
        let message = read(&write::caffemodel(&[layer], false, false)).unwrap_err().to_string();
        assert!(message.contains("layer `fc`, blob 0: shape [2, 3] needs 6, the file has 5 numbers"), "{message}");
    }

    #[test]
    fn impossible_shapes_are_refused() {
        for dims in [vec![-1], vec![i64::MAX, i64::MAX]] {
            let blob = BlobProto { shape: Some(BlobShape { dim: dims }), data: vec![1.0], ..BlobProto::default() };
            assert!(blob.into_blob("x", 0).unwrap_err().to_string().contains("impossible"));
        }
    }

    #[test]
    fn cut_off_and_foreign_files_are_refused() {
        let whole = write::caffemodel(&[sample()], false, false);
        assert!(matches!(read(&whole[..whole.len() - 3]), Err(CaffemodelError::Decode(_))));
        assert!(matches!(read(b""), Err(CaffemodelError::Empty)));
        assert!(read(b"PK\x03\x04 something else").is_err());
    }
}
