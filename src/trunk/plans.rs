//! Plans: the trunk optimised for one input size, and the few most recently used of them.

use std::collections::HashMap;

use std::time::Instant;

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::{EvalContext, Node, OpState};

/// The trunk for one input size, with the input and the state of its session, the maps of the last frame, whose memory the
/// next one uses.
pub struct Plan {
    plan: Arc<TypedRunnableModel>,
    input: Option<Arc<Tensor>>,
    state: Option<TypedSimpleState>,
}

impl Plan {
    /// Makes the symbolic model concrete and optimises it.
    pub fn new(model: &TypedModel, height: usize, width: usize) -> TractResult<Self> {
        let side = |name: &str, len: usize| (model.symbols.sym(name), TDim::Val(len as i64));
        let concrete = model.set_symbols(&HashMap::from([side("H", height), side("W", width)]))?;
        let plan = concrete.into_optimized()?.into_runnable()?;
        Ok(Self { plan, input: None, state: None })
    }

    fn state(&mut self) -> TractResult<&mut TypedSimpleState> {
        let state = match self.state.take() {
            Some(state) => state,
            None => self.plan.spawn()?,
        };
        Ok(self.state.insert(state))
    }

    /// Runs one input of a shape through.
    pub fn run(&mut self, data: &[f32], shape: &[usize; 4]) -> TractResult<TVec<TValue>> {
        let inputs = self.inputs(data, shape)?;
        self.state()?.run(inputs)
    }

    /// The data as the engine takes them.
    fn inputs(&mut self, data: &[f32], shape: &[usize; 4]) -> TractResult<TVec<TValue>> {
        let mut input = self.input.take();
        match input.as_mut().and_then(Arc::get_mut).filter(|last| last.shape() == shape) {
            Some(last) => last.view_mut().as_slice_mut::<f32>()?.copy_from_slice(data),
            None => input = Some(Arc::new(Tensor::from_shape(shape, data)?)),
        }
        self.input = input;
        Ok(self.input.iter().map(|input| Arc::clone(input).into_tvalue()).collect())
    }

    /// Forgets the last frame.
    fn forget(&mut self) {
        (self.input, self.state) = (None, None);
    }
}

/// How long one node of the graph took.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerTime {
    /// The node's name; what comes before the first dot is the layer's.
    pub node: String,
    /// What it does.
    pub operator: String,
    /// Milliseconds.
    pub ms: f64,
}

impl Plan {
    /// Runs one input through with a look at the clock around each node.
    pub fn run_timed(&mut self, data: &[f32], shape: &[usize; 4]) -> TractResult<Vec<LayerTime>> {
        let (inputs, mut times) = (self.inputs(data, shape)?, Vec::new());
        self.state()?.run_plan_with_eval(
            inputs,
            |context: &EvalContext, state: Option<&mut (dyn OpState + 'static)>, node: &Node<_, _>, inputs| {
                let started = Instant::now();
                let outputs = match state {
                    Some(state) => state.eval(context, node.op(), inputs),
                    None => node.op().eval(context, inputs),
                };
                let ms = started.elapsed().as_secs_f64() * 1e3;
                times.push(LayerTime { node: node.name.clone(), operator: node.op().name().to_string(), ms });
                outputs
            },
        )?;
        Ok(times)
    }
}

/// The most recently used plans, newest last. A plan in use is outside.
pub struct PlanCache {
    limit: usize,
    plans: Vec<((usize, usize), Plan)>,
}

impl PlanCache {
    /// A cache of at most `limit` plans.
    pub fn new(limit: usize) -> Self {
        Self { limit, plans: Vec::with_capacity(limit) }
    }

    /// Takes out a plan for that size, if there is one.
    pub fn take(&mut self, size: (usize, usize)) -> Option<Plan> {
        let at = self.plans.iter().rposition(|(s, _)| *s == size)?;
        Some(self.plans.remove(at).1)
    }

    /// Puts a plan in, dropping the one that was used longest ago if there are too many, and the frames of the others.
    pub fn put(&mut self, size: (usize, usize), plan: Plan) {
        self.plans.iter_mut().for_each(|(_, plan)| plan.forget());
        if self.plans.len() == self.limit {
            self.plans.remove(0);
        }
        self.plans.push((size, plan));
    }

    /// Number of plans held.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.plans.len()
    }
}
