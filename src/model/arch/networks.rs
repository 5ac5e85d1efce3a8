//! The networks of the papers, layer by layer.

use super::{Architecture, Layer, LrnRegion};

const fn conv(name: &'static str, out: usize, kernel: usize, stride: usize, pad: usize) -> Layer {
    Layer::Conv { name, out, kernel, stride, pad, groups: 1 }
}

const fn conv_g2(name: &'static str, out: usize, kernel: usize, stride: usize, pad: usize) -> Layer {
    Layer::Conv { name, out, kernel, stride, pad, groups: 2 }
}

const fn pool(name: &'static str, kernel: usize, stride: usize, pad: usize) -> Layer {
    Layer::MaxPool { name, kernel, stride, pad }
}

const fn within(name: &'static str) -> Layer {
    Layer::Lrn { name, region: LrnRegion::WithinChannel, size: 3, alpha: 5e-5, beta: 0.75, k: 1.0 }
}

const fn across(name: &'static str, alpha: f32, k: f32) -> Layer {
    Layer::Lrn { name, region: LrnRegion::AcrossChannels, size: 5, alpha, beta: 0.75, k }
}

/// Zeiler & Fergus, the "fast" network of the papers.
pub static ZF: Architecture = Architecture {
    name: "zf",
    trunk: &[
        conv("conv1", 96, 7, 2, 3),
        within("norm1"),
        pool("pool1", 3, 2, 1),
        conv("conv2", 256, 5, 2, 2),
        within("norm2"),
        pool("pool2", 3, 2, 1),
        conv("conv3", 384, 3, 1, 1),
        conv("conv4", 384, 3, 1, 1),
        conv("conv5", 256, 3, 1, 1),
    ],
    rpn_channels: 256,
    pool_size: 6,
    fc: [4096, 4096],
};

/// ZF without its two LRN layers: what remains when it is trained with batch normalisation folded at export.
pub static ZF_PLAIN: Architecture = Architecture {
    name: "zf-plain",
    trunk: &[
        conv("conv1", 96, 7, 2, 3),
        pool("pool1", 3, 2, 1),
        conv("conv2", 256, 5, 2, 2),
        pool("pool2", 3, 2, 1),
        conv("conv3", 384, 3, 1, 1),
        conv("conv4", 384, 3, 1, 1),
        conv("conv5", 256, 3, 1, 1),
    ],
    rpn_channels: 256,
    pool_size: 6,
    fc: [4096, 4096],
};

/// Simonyan & Zisserman's 16-layer network, model "L" of Fast R-CNN.
pub static VGG16: Architecture = Architecture {
    name: "vgg16",
    trunk: &[
        conv("conv1_1", 64, 3, 1, 1),
        conv("conv1_2", 64, 3, 1, 1),
        pool("pool1", 2, 2, 0),
        conv("conv2_1", 128, 3, 1, 1),
        conv("conv2_2", 128, 3, 1, 1),
        pool("pool2", 2, 2, 0),
        conv("conv3_1", 256, 3, 1, 1),
        conv("conv3_2", 256, 3, 1, 1),
        conv("conv3_3", 256, 3, 1, 1),
        pool("pool3", 2, 2, 0),
        conv("conv4_1", 512, 3, 1, 1),
        conv("conv4_2", 512, 3, 1, 1),
        conv("conv4_3", 512, 3, 1, 1),
        pool("pool4", 2, 2, 0),
        conv("conv5_1", 512, 3, 1, 1),
        conv("conv5_2", 512, 3, 1, 1),
        conv("conv5_3", 512, 3, 1, 1),
    ],
    rpn_channels: 512,
    pool_size: 7,
    fc: [4096, 4096],
};

/// VGG_CNN_M_1024, model "M" of Fast R-CNN.
pub static VGG_CNN_M_1024: Architecture = Architecture {
    name: "vgg-cnn-m-1024",
    trunk: &[
        conv("conv1", 96, 7, 2, 0),
        across("norm1", 5e-4, 2.0),
        pool("pool1", 3, 2, 0),
        conv("conv2", 256, 5, 2, 1),
        across("norm2", 5e-4, 2.0),
        pool("pool2", 3, 2, 0),
        conv("conv3", 512, 3, 1, 1),
        conv("conv4", 512, 3, 1, 1),
        conv("conv5", 512, 3, 1, 1),
    ],
    rpn_channels: 256,
    pool_size: 6,
    fc: [4096, 1024],
};

/// CaffeNet (AlexNet), model "S" of Fast R-CNN. Released without an RPN.
pub static CAFFENET: Architecture = Architecture {
    name: "caffenet",
    trunk: &[
        conv("conv1", 96, 11, 4, 5),
        pool("pool1", 3, 2, 1),
        across("norm1", 1e-4, 1.0),
        conv_g2("conv2", 256, 5, 1, 2),
        pool("pool2", 3, 2, 1),
        across("norm2", 1e-4, 1.0),
        conv("conv3", 384, 3, 1, 1),
        conv_g2("conv4", 384, 3, 1, 1),
        conv_g2("conv5", 256, 3, 1, 1),
    ],
    rpn_channels: 256,
    pool_size: 6,
    fc: [4096, 4096],
};

/// Every network we know.
pub static ALL: &[&Architecture] = &[&ZF, &ZF_PLAIN, &VGG16, &VGG_CNN_M_1024, &CAFFENET];
