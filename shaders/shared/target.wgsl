// Where the target of a row stands among the labels.

// The labels are one text: `sample` is the token at which a window of it begins, and the target of a position is the token after.
override TARGET_WINDOWS: bool = false;

fn target_place(sample: u32, position: u32, positions: u32) -> u32 {
    if TARGET_WINDOWS { return sample + position + 1u; }
    return sample * positions + position;
}
