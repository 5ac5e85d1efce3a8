//! Our layers as operators of the engine.
//!
//! A [`Layer`] says what shape it makes of what shape and computes on slices; [`LayerOp`] is everything the engine wants
//! besides. Its output lives in the session's state and is used again for the next picture, once nobody holds it any more:
//! the maps of a frame are tens of megabytes, and fresh memory costs more time than some of the layers.

use tract_core::internal::*;

/// A layer with one f32 input and one output.
pub trait Layer: std::fmt::Debug + Clone + PartialEq + Send + Sync + 'static {
    /// The operator's name.
    const NAME: &'static str;

    /// The shape of the output for one of the input, with symbols or numbers.
    fn shape<D: DimLike>(&self, input: &[D]) -> TractResult<TVec<D>>;

    /// Computes `out` of the shape `to` from `x` of the shape `from`.
    fn compute(&self, x: &[f32], from: &[usize], out: &mut [f32], to: &[usize]) -> TractResult<()>;
}

/// The operator of a layer.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerOp<L>(pub L);

// Layers are compared only to merge equal nodes; a NaN among their numbers would just not merge.
impl<L: Layer> Eq for LayerOp<L> {}

impl<L: Layer> LayerOp<L> {
    fn run(&self, input: &Tensor, output: &mut Tensor) -> TractResult<()> {
        let (from, to): (TVec<usize>, TVec<usize>) = (input.shape().into(), output.shape().into());
        let (view, mut out) = (input.view(), output.view_mut());
        self.0.compute(view.as_slice::<f32>()?, &from, out.as_slice_mut::<f32>()?, &to)
    }
}

impl<L: Layer> Op for LayerOp<L> {
    fn name(&self) -> StaticName {
        L::NAME.into()
    }

    fn info(&self) -> TractResult<Vec<String>> {
        Ok(vec![format!("{:?}", self.0)])
    }

    fn validation(&self) -> Validation {
        Validation::Rounding
    }

    op_as_typed_op!();
}

impl<L: Layer> EvalOp for LayerOp<L> {
    op_out_of_plan!();

    fn eval(&self, _context: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let input = args_1!(inputs);
        let mut output = Tensor::zero::<f32>(&self.0.shape(input.shape())?)?;
        self.run(&input, &mut output)?;
        Ok(tvec!(output.into_tvalue()))
    }

    fn state(&self, _context: &EvalContext) -> TractResult<Option<Box<dyn OpState>>> {
        Ok(Some(Box::new(LayerState::<L> { output: None, layer: std::marker::PhantomData })))
    }
}

/// The output of the last run.
#[derive(Debug, Clone)]
struct LayerState<L> {
    output: Option<Arc<Tensor>>,
    layer: std::marker::PhantomData<L>,
}

impl<L: Layer> OpState for LayerState<L> {
    fn eval(&mut self, _context: &EvalContext, op: &dyn Op, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let Some(op) = op.downcast_ref::<LayerOp<L>>() else { bail!("state of another operator than {}", L::NAME) };
        let input = args_1!(inputs);
        let shape = op.0.shape(input.shape())?;
        let mut output = match self.output.take() {
            Some(last) if last.shape() == &*shape => last,
            _ => Arc::new(Tensor::zero::<f32>(&shape)?),
        };
        // Somebody may still hold the last output; then it stays his.
        if Arc::get_mut(&mut output).is_none() {
            output = Arc::new(Tensor::zero::<f32>(&shape)?);
        }
        if let Some(output) = Arc::get_mut(&mut output) {
            op.run(&input, output)?;
        }
        self.output = Some(output.clone());
        Ok(tvec!(output.into_tvalue()))
    }

    fn reset_lanes(&mut self, _lanes: &[LaneId]) -> TractResult<()> {
        Ok(())
    }
}

impl<L: Layer> TypedOp for LayerOp<L> {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(f32::fact(self.0.shape::<TDim>(&inputs[0].shape)?)))
    }

    as_op!();
}
