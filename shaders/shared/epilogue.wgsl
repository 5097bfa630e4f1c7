// The epilogue of a product, an element at a time (see matmul_block.wgsl). Needs shared/activation.wgsl, and of the kernel
// its overrides EPILOGUE, ACTIVATION, STORE_PRE and ACCUMULATE and its bindings aux [Real], c [Out] and pre [Real].

// Element `at` of the result, in column (output) `column`.
fn epilogue_store(at: u32, column: u32, sum: f32) {
    var value = sum;
    if EPILOGUE == 1u {
        value += f32(aux[column]);
        if STORE_PRE { pre[at] = Real(value); }
        value = activation_forward(ACTIVATION, value);
    } else if EPILOGUE == 2u {
        value *= activation_gradient(ACTIVATION, f32(aux[at]));
    }
    if ACCUMULATE { value += f32(c[at]); }
    c[at] = Out(value);
}
