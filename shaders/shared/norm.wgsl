// How norms see a value: [batch, pixels, stride] with the first `channels` of `stride` in use, in `groups` groups of
// neighbouring channels. A row of features is one pixel. Padding channels are written as 0.

struct NormShape {
    batch: u32,
    pixels: u32,
    channels: u32,
    stride: u32,
    groups: u32,
    // 1 if every pixel has affine parameters of its own ([channels, pixels]: layer norm of an image), 0 if a channel has
    per_pixel: u32,
    eps: f32,
    // into how many parts the gradients' sums over samples are cut
    parts: u32,
    // 1 if a group's mean is taken off, 0 where a norm is by the root of the mean square (RMS norm)
    centred: u32,
}

fn norm_group_channels(shape: NormShape) -> u32 {
    return shape.channels / shape.groups;
}

fn norm_element(shape: NormShape, n: u32, pixel: u32, channel: u32) -> u32 {
    return (n * shape.pixels + pixel) * shape.stride + channel;
}

fn norm_param(shape: NormShape, pixel: u32, channel: u32) -> u32 {
    return select(channel, channel * shape.pixels + pixel, shape.per_pixel == 1u);
}

// An element of a group of a sample, by pixel and by channel within the group.
struct NormPlace {
    pixel: u32,
    channel: u32,
}

// Element number `index` of a group of `width` channels, neighbours in memory first.
fn norm_place(index: u32, width: u32) -> NormPlace {
    return NormPlace(index / width, index % width);
}

// The place as many elements further as lie before `step`: without a division, for the insides of loops.
fn norm_further(place: NormPlace, step: NormPlace, width: u32) -> NormPlace {
    let channel = place.channel + step.channel;
    let wraps = channel >= width;
    return NormPlace(place.pixel + step.pixel + u32(wraps), select(channel, channel - width, wraps));
}
