//! Named parameters with their momentum and learning-rate multipliers.

use std::collections::BTreeMap;

use tch::{Device, Kind, Tensor};

/// One tensor of the network under training.
#[derive(Debug)]
pub struct Param {
    /// The value, f32.
    pub value: Tensor,
    /// Velocity of SGD; absent until the first step, and for buffers.
    pub momentum: Option<Tensor>,
    /// What the tensor is to the optimiser.
    pub role: Role,
}

/// How the optimiser treats a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Learned, with weight decay.
    Weight,
    /// Learned at twice the rate and without decay, as in the released solvers.
    Bias,
    /// Learned without decay (the scales of batch normalisation).
    Gain,
    /// Not learned: running statistics, frozen layers.
    Buffer,
}

/// All tensors of a network, by name.
#[derive(Debug)]
pub struct Params {
    items: BTreeMap<String, Param>,
    device: Device,
}

impl Params {
    /// An empty set on a device.
    pub fn new(device: Device) -> Self {
        Self { items: BTreeMap::new(), device }
    }

    /// Where the tensors live.
    pub fn device(&self) -> Device {
        self.device
    }

    /// Adds a tensor drawn from N(0, std²); std 0 gives zeros.
    pub fn add_normal(&mut self, name: &str, shape: &[i64], std: f64, role: Role) {
        let value = Tensor::zeros(shape, (Kind::Float, Device::Cpu));
        let value = if std > 0.0 { value.randn_like() * std } else { value };
        self.add(name, value, role);
    }

    /// Adds a constant tensor.
    pub fn add_constant(&mut self, name: &str, shape: &[i64], fill: f64, role: Role) {
        self.add(name, Tensor::full(shape, fill, (Kind::Float, Device::Cpu)), role);
    }

    /// Adds or replaces a tensor.
    pub fn add(&mut self, name: &str, value: Tensor, role: Role) {
        let value = value.to_device(self.device).set_requires_grad(role != Role::Buffer);
        self.items.insert(name.to_owned(), Param { value, momentum: None, role });
    }

    /// The tensor of that name.
    ///
    /// # Panics
    /// If there is none: names come from the network description, never from input.
    pub fn get(&self, name: &str) -> &Tensor {
        match self.items.get(name) {
            Some(p) => &p.value,
            None => panic!("the network has no tensor {name}"),
        }
    }

    /// The tensor of that name, if there is one.
    pub fn find(&self, name: &str) -> Option<&Tensor> {
        self.items.get(name).map(|p| &p.value)
    }

    /// Stops learning every tensor whose name starts with one of the prefixes followed by a dot.
    pub fn freeze(&mut self, layers: &[&str]) {
        for (name, p) in &mut self.items {
            if layers.iter().any(|l| name.strip_prefix(l).is_some_and(|rest| rest.starts_with('.'))) {
                p.role = Role::Buffer;
                p.value = p.value.set_requires_grad(false);
                p.momentum = None;
            }
        }
    }

    /// Name and parameter, in name order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Param)> {
        self.items.iter().map(|(n, p)| (n.as_str(), p))
    }

    /// Name and parameter, in name order.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&str, &mut Param)> {
        self.items.iter_mut().map(|(n, p)| (n.as_str(), p))
    }
}
