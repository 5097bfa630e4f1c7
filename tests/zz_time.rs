mod common;
use common::*;
use jostle::kernels::*;
include!("/tmp/zz_common.rs");
#[test]
fn times() {
    let gpu = device();
    for class in classes() {
        let c = if class == AdapterClass::EightLanes { "eight" } else { "gpu" };
        for of in [[131072, 64, 64], [32768, 32, 32], [128, 1000, 1000], [128, 10, 10], [8192, 512, 512]] {
            let i = guarded(gpu, &samples(1, of[0] * of[2], 1.0));
            let (o, s) = (poisoned(gpu, of[1]), poisoned(gpu, column_sum_scratch_words(class, of)));
            let d = column_sum(gpu, class, [&i.view, &o.view, &s.view], of, false).unwrap();
            median(&format!("{c} column_sum {of:?}"), || run(gpu, &d));
        }
        for [b, w] in [[128, 10], [128, 1000], [8, 50304]] {
            let l = guarded(gpu, &samples(1, b * w, 1.0));
            let (g, st) = (poisoned(gpu, b * w), poisoned(gpu, 2 * b));
            let (la, ix) = (words(gpu, &vec![1; b]), words(gpu, &(0..b as u32).collect::<Vec<_>>()));
            let buffers = LossBuffers {
                logits: &l.view,
                labels: &la,
                indices: &ix,
                grad_logits: &g.view,
                row_stats: &st.view,
                scaling: None,
            };
            let k = softmax_nll(gpu, class, &buffers, [b, w]).unwrap();
            let m = mse(gpu, class, &buffers, &MseTargets::OneHot, [b, w]).unwrap();
            for (n, k) in [("softmax", k), ("mse", m)] {
                median(&format!("{c} {n} {b} {w} x20"), || {
                    let mut r = gpu.record();
                    for _ in 0..20 {
                        k.record(&mut r, 0, b as u32, LossTerms::mean_over(b as u32));
                    }
                    r.submit().unwrap();
                    gpu.read::<f32>(&st.view).unwrap();
                });
            }
        }
        for shapes in [
            vec![vec![512usize, 4608]],
            vec![vec![64, 27], vec![64, 576], vec![64, 576], vec![64], vec![64]],
            vec![vec![1000, 784], vec![1000], vec![10, 1000], vec![10]],
        ] {
            let layout = ArenaLayout::new(shapes.iter().map(Vec::as_slice));
            let arena = Arena::new(gpu, layout, &vec![1.0; shapes.len()]).unwrap();
            let n = FilterNorms::new(gpu, class, &arena).unwrap();
            median(&format!("{c} filter_norm {shapes:?}"), || {
                let mut r = gpu.record();
                n.record(&mut r);
                r.submit().unwrap();
                gpu.read::<f32>(&n.norms.view()).unwrap();
            });
        }
        let a = gpu.buffer("a", 11_200_000).unwrap();
        let n = Norms::new(gpu, class, &a).unwrap();
        median(&format!("{c} norms"), || drop(n.read(gpu).unwrap()));
        for (shape, groups) in [([32, 1024, 64, 64], 32), ([128, 1, 512, 512], 1), ([8, 1024, 64, 64], 1)] {
            let s = NormShape::new(shape, groups, false, 1e-5).unwrap();
            let words: usize = shape[0] * shape[1] * shape[3];
            let (i, o, inv) =
                (guarded(gpu, &samples(1, words, 1.0)), poisoned(gpu, words), poisoned(gpu, s.group_count()));
            let d = group_normalise(gpu, class, &s, [&i.view, &o.view], &inv.view).unwrap();
            median(&format!("{c} group_normalise {shape:?} {groups}"), || run(gpu, &[&d]));
            let d = group_normalise_gradient(gpu, class, &s, [&i.view, &i.view, &o.view], &inv.view, false).unwrap();
            median(&format!("{c} group_normalise_gradient {shape:?} {groups}"), || run(gpu, &[&d]));
            let sc = poisoned(gpu, s.gradient_scratch_words(class));
            let [x, y] = [shape[2]; 2].map(|n| poisoned(gpu, n));
            let d =
                affine_gradient(gpu, class, &s, [&i.view, &i.view, &sc.view], &x.view, Some(&y.view), false).unwrap();
            median(&format!("{c} affine_gradient {shape:?}"), || run(gpu, &d));
        }
    }
    for (b, side, ch, groups) in [(16, 32, 64, 64), (64, 8, 256, 256), (8, 16, 64, 4), (128, 4, 16, 16)] {
        let s = ConvShape::new(b, [side, side, ch], ch, &ConvOptions { groups, ..ConvOptions::square(3).padding(1) })
            .unwrap();
        let [x, y] = s.words().map(|w| guarded(gpu, &samples(1, w, 1.0)));
        for v in [ConvVariant::Direct, ConvVariant::DirectSoftware] {
            let (c, sc) =
                (poisoned(gpu, s.weight_words()), poisoned(gpu, v.scratch_words(&s, ConvPass::WeightGradient)));
            let of = ConvOperands { a: &y.view, b: &x.view, aux: None, c: &c.view, pre: None, scratch: Some(&sc.view) };
            let d = conv(gpu, v, ConvPass::WeightGradient, &s, Epilogue::Plain, false, &of).unwrap();
            median(&format!("depthwise {b} {side} {ch} {groups} {v:?}"), || run(gpu, &d));
        }
    }
}
