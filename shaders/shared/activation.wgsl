// Activations and their derivatives; `kind` is an override of the kernel, so only one branch survives compilation.
// Needs shared/math.wgsl.
//
// The derivative takes what forward saved: the output for ReLU, tanh and sigmoid, the pre-activation for the GELUs and SiLU.
// GELU is the exact one, x Phi(x) (Hendrycks & Gimpel 2016), PyTorch's default; SiLU is x sigmoid(x). GELU by tanh, of the same
// paper, is 0.5 x (1 + tanh u) = x sigmoid(2 u) with u = sqrt(2/pi) (x + 0.044715 x^3), and
//
//   derivative  s + 2 x u' s (1 - s), s = sigmoid(2 u);   second  4 s (1 - s) (u' + x/2 (u'' - 2 tanh(u) u'^2))

const ACTIVATION_IDENTITY: u32 = 0u;
const ACTIVATION_RELU: u32 = 1u;
const ACTIVATION_GELU: u32 = 2u;
const ACTIVATION_TANH: u32 = 3u;
const ACTIVATION_SIGMOID: u32 = 4u;
const ACTIVATION_SILU: u32 = 5u;
const ACTIVATION_GELU_TANH: u32 = 6u;

const ACTIVATION_SQRT_HALF: f32 = 0.70710678118654752;
const ACTIVATION_INV_SQRT_2PI: f32 = 0.39894228040143268;
const ACTIVATION_SQRT_2_OVER_PI: f32 = 0.79788456080286536;
const ACTIVATION_CUBIC: f32 = 0.044715;

// s = sigmoid(2 u) of GELU by tanh and 1 - s, with u' and u''; arguments past 10, where s is 0 or 1 to the last bit, are taken for 10, so
// that no infinity meets a 0.
struct ActivationGate {
    x: f32,
    s: f32,
    rest: f32,
    first: f32,
    second: f32,
}

fn activation_gate(argument: f32) -> ActivationGate {
    let x = select(select(argument, 10.0, argument > 10.0), -10.0, argument < -10.0);
    let cubic = ACTIVATION_CUBIC * x * x;
    let odds = math_exp(-2.0 * ACTIVATION_SQRT_2_OVER_PI * (x + cubic * x));
    let s = 1.0 / (1.0 + odds);
    return ActivationGate(x, s, odds * s, ACTIVATION_SQRT_2_OVER_PI * (1.0 + 3.0 * cubic),
                          ACTIVATION_SQRT_2_OVER_PI * 6.0 * ACTIVATION_CUBIC * x);
}

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
    } else if kind == ACTIVATION_GELU_TANH {
        return x * activation_gate(x).s;
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
    } else if kind == ACTIVATION_GELU_TANH {
        let gate = activation_gate(saved);
        return gate.s * (1.0 + 2.0 * gate.x * gate.first * gate.rest);
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
    } else if kind == ACTIVATION_GELU_TANH {
        let gate = activation_gate(saved);
        let bend = gate.second - 2.0 * (gate.s - gate.rest) * gate.first * gate.first;
        return 4.0 * gate.s * gate.rest * (gate.first + 0.5 * gate.x * bend);
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
