// Activations and their derivatives; `kind` is an override of the kernel, so only one branch survives compilation.
// Needs shared/math.wgsl.
//
// The derivative takes what forward saved: the output for ReLU, tanh and sigmoid, the pre-activation for GELU and SiLU.
// GELU is the exact one, x Phi(x) (Hendrycks & Gimpel 2016), PyTorch's default; SiLU is x sigmoid(x).

const ACTIVATION_IDENTITY: u32 = 0u;
const ACTIVATION_RELU: u32 = 1u;
const ACTIVATION_GELU: u32 = 2u;
const ACTIVATION_TANH: u32 = 3u;
const ACTIVATION_SIGMOID: u32 = 4u;
const ACTIVATION_SILU: u32 = 5u;

const ACTIVATION_SQRT_HALF: f32 = 0.70710678118654752;
const ACTIVATION_INV_SQRT_2PI: f32 = 0.39894228040143268;

fn activation_forward(kind: u32, x: f32) -> f32 {
    if kind == ACTIVATION_RELU {
        return select(select(x, 0.0, x <= 0.0), x, math_is_nan(x));
    } else if kind == ACTIVATION_GELU {
        return 0.5 * x * (1.0 + math_erf(x * ACTIVATION_SQRT_HALF));
    } else if kind == ACTIVATION_TANH {
        return math_tanh(x);
    } else if kind == ACTIVATION_SIGMOID {
        return 1.0 / (1.0 + math_exp(-x));
    } else if kind == ACTIVATION_SILU {
        return x / (1.0 + math_exp(-x));
    }
    return x;
}

fn activation_gradient(kind: u32, saved: f32) -> f32 {
    if kind == ACTIVATION_RELU {
        return select(0.0, 1.0, saved > 0.0);
    } else if kind == ACTIVATION_GELU {
        let density = ACTIVATION_INV_SQRT_2PI * math_exp(-0.5 * saved * saved);
        return 0.5 * (1.0 + math_erf(saved * ACTIVATION_SQRT_HALF)) + saved * density;
    } else if kind == ACTIVATION_TANH {
        return 1.0 - saved * saved;
    } else if kind == ACTIVATION_SIGMOID {
        return saved * (1.0 - saved);
    } else if kind == ACTIVATION_SILU {
        let sigmoid = 1.0 / (1.0 + math_exp(-saved));
        return sigmoid * (1.0 + saved * (1.0 - sigmoid));
    }
    return 1.0;
}

// The derivative of activation_gradient by what forward saved.
fn activation_curvature(kind: u32, saved: f32) -> f32 {
    if kind == ACTIVATION_GELU {
        return ACTIVATION_INV_SQRT_2PI * math_exp(-0.5 * saved * saved) * (2.0 - saved * saved);
    } else if kind == ACTIVATION_TANH {
        return -2.0 * saved;
    } else if kind == ACTIVATION_SIGMOID {
        return 1.0 - 2.0 * saved;
    } else if kind == ACTIVATION_SILU {
        let sigmoid = 1.0 / (1.0 + math_exp(-saved));
        return sigmoid * (1.0 - sigmoid) * (2.0 + saved * (1.0 - 2.0 * sigmoid));
    }
    return 0.0;
}

fn activation_forward_vec4(kind: u32, x: vec4<f32>) -> vec4<f32> {
    return vec4<f32>(activation_forward(kind, x.x), activation_forward(kind, x.y),
                     activation_forward(kind, x.z), activation_forward(kind, x.w));
}

fn activation_gradient_vec4(kind: u32, saved: vec4<f32>) -> vec4<f32> {
    return vec4<f32>(activation_gradient(kind, saved.x), activation_gradient(kind, saved.y),
                     activation_gradient(kind, saved.z), activation_gradient(kind, saved.w));
}
