//! The losses of the RPN and the head (Fast R-CNN §2.3, Faster R-CNN eq. 1), as the released solvers weigh them.

use tch::{Kind, Reduction, Tensor};

/// Smooth L1 with Caffe's σ: `0.5·(σx)²` where `|x| < 1/σ²`, else `|x| − 0.5/σ²`. Element by element.
pub fn smooth_l1(difference: &Tensor, sigma: f64) -> Tensor {
    let s2 = sigma * sigma;
    let magnitude = difference.abs();
    let near = difference.square() * (0.5 * s2);
    let far = &magnitude - 0.5 / s2;
    near.where_self(&magnitude.lt(1.0 / s2), &far)
}

/// RPN loss over one picture's sample.
///
/// * `scores` — `[n, 2]`, background and object score of the sampled anchors, positives first.
/// * `deltas` — `[p, 4]`, predictions for the positives; `targets` — `[p, 4]`.
///
/// Both parts are divided by the sample size n (the 1/256 of the released code); returns (classification, boxes).
pub fn rpn_loss(scores: &Tensor, deltas: &Tensor, targets: &Tensor) -> (Tensor, Tensor) {
    let (n, p) = (scores.size()[0], deltas.size()[0]);
    let labels = Tensor::arange(n, (Kind::Int64, scores.device())).lt(p).to_kind(Kind::Int64);
    let class = scores.cross_entropy_loss(&labels, None::<&Tensor>, Reduction::Mean, -100, 0.0);
    let boxes = smooth_l1(&(deltas - targets), 3.0).sum(deltas.kind()) / n.max(1) as f64;
    (class, boxes)
}

/// Head loss over one picture's sample.
///
/// * `scores` — `[n, K+1]`; `classes` — `[n]`, RoIs on objects first.
/// * `deltas` — `[n, 4·(K+1)]`; `targets` — `[p, 4]` for the p RoIs on objects, whose own class's four are trained.
///
/// Both parts are divided by the sample size n; returns (classification, boxes).
pub fn head_loss(scores: &Tensor, classes: &Tensor, deltas: &Tensor, targets: &Tensor) -> (Tensor, Tensor) {
    let (n, p) = (scores.size()[0], targets.size()[0]);
    let class = scores.cross_entropy_loss(classes, None::<&Tensor>, Reduction::Mean, -100, 0.0);
    if p == 0 {
        return (class, deltas.sum(deltas.kind()) * 0.0);
    }
    let own = classes.narrow(0, 0, p).view([-1, 1, 1]).expand([p, 1, 4], false);
    let own = deltas.narrow(0, 0, p).view([p, -1, 4]).gather(1, &own, false).squeeze_dim(1);
    let boxes = smooth_l1(&(own - targets), 1.0).sum(deltas.kind()) / n.max(1) as f64;
    (class, boxes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    #[test]
    fn smooth_l1_matches_its_formula_on_both_sides_of_the_knee() {
        let x = Tensor::from_slice(&[-2.0f64, -0.1, 0.0, 0.1, 2.0]);
        let got = Vec::<f64>::try_from(smooth_l1(&x, 3.0)).unwrap_or_default();
        let knee = 0.5 / 9.0;
        let expected = [2.0 - knee, 0.045, 0.0, 0.045, 2.0 - knee];
        assert_eq!(got.len(), expected.len());
        for (g, e) in got.iter().zip(expected) {
            assert!((g - e).abs() < 1e-9, "{got:?}");
        }
    }

    /// Central differences in f64 against what backward gives.
    fn check_gradient(loss: impl Fn(&Tensor) -> Tensor, at: &Tensor) {
        let x = at.copy().set_requires_grad(true);
        loss(&x).backward();
        let gradient = x.grad();
        for i in 0..at.numel() as i64 {
            let moved = |h: f64| {
                let y = at.copy();
                let _ = y.view([-1]).get(i).g_add_scalar_(h);
                loss(&y).double_value(&[])
            };
            let numeric = (moved(1e-5) - moved(-1e-5)) / 2e-5;
            let got = gradient.view([-1]).double_value(&[i]);
            assert!((numeric - got).abs() < 1e-6, "element {i}: {numeric} by differences, {got} by backward");
        }
    }

    #[test]
    fn gradients_of_both_losses_match_finite_differences() {
        tch::manual_seed(3);
        let random = |shape: &[i64]| Tensor::randn(shape, (Kind::Double, Device::Cpu));
        let (scores, deltas, targets) = (random(&[6, 2]), random(&[3, 4]), random(&[3, 4]));
        check_gradient(|s| rpn_loss(s, &deltas, &targets).0, &scores);
        check_gradient(|d| rpn_loss(&scores, d, &targets).1, &deltas);
        let (scores, deltas) = (random(&[5, 3]), random(&[5, 12]));
        let classes = Tensor::from_slice(&[2i64, 1, 1, 0, 0]);
        check_gradient(|s| head_loss(s, &classes, &deltas, &targets).0, &scores);
        check_gradient(|d| head_loss(&scores, &classes, d, &targets).1, &deltas);
    }
}
