//! Events: what was measured after a step, under a tag each.

use super::{Histogram, frame, wire::Message};

/// What a file begins with: the version whose readers drop no steps by themselves.
const VERSION: &str = "brain.Event:2";

/// `TensorProto`'s type of strings.
const STRINGS: u64 = 7;

/// `Summary.Image`'s space of red, green and blue.
const RGB: u64 = 3;

/// What stands under a tag.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value<'a> {
    /// A number.
    Scalar(f32),
    /// How numbers spread.
    Histogram(&'a Histogram),
    /// Markdown.
    Text(&'a str),
    /// A PNG.
    Image { width: u32, height: u32, png: &'a [u8] },
}

/// The record that a file begins with.
pub(crate) fn version(wall_time: f64) -> Vec<u8> {
    frame::record(&Message::default().double(1, wall_time).bytes(3, VERSION.as_bytes()).into_bytes())
}

/// A record of values after a step, at so many seconds since 1970.
pub(crate) fn event<'a>(wall_time: f64, step: u64, values: impl IntoIterator<Item = (&'a str, Value<'a>)>) -> Vec<u8> {
    let summary =
        values.into_iter().fold(Message::default(), |summary, (tag, value)| summary.message(1, named(tag, value)));
    frame::record(&Message::default().double(1, wall_time).whole(2, step).message(5, summary).into_bytes())
}

fn named(tag: &str, value: Value<'_>) -> Message {
    let message = Message::default().bytes(1, tag.as_bytes());
    match value {
        Value::Scalar(value) => message.float(2, value),
        Value::Histogram(histogram) => message.message(5, spread(histogram)),
        Value::Image { width, height, png } => {
            let image = Message::default().whole(1, height.into()).whole(2, width.into());
            message.message(4, image.whole(3, RGB).bytes(4, png))
        }
        Value::Text(text) => {
            let tensor = Message::default().whole(1, STRINGS).bytes(8, text.as_bytes());
            // Which of TensorBoard's pages shows it.
            let plugin = Message::default().bytes(1, b"text");
            message.message(8, tensor).message(9, Message::default().message(1, plugin))
        }
    }
}

fn spread(histogram: &Histogram) -> Message {
    let Histogram { min, max, count, sum, sum_squares, limits, counts } = histogram;
    let numbers = [min, max, count, sum, sum_squares];
    let message =
        (1..).zip(numbers).fold(Message::default(), |message, (field, number)| message.double(field, *number));
    message.doubles(6, limits).doubles(7, counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    // The bytes below are what `tensorboard.summary.writer.record_writer.RecordWriter` of TensorBoard 2.21.0 writes of the same
    // events, made of `tensorboard.compat.proto`'s classes and serialised by Python's protobuf.

    #[test]
    fn a_file_begins_with_its_version() {
        let expected = "1800000000000000a37f4b2209000000000000f83f1a0d627261696e2e4576656e743a322a28646c";
        assert_eq!(hex(&version(1.5)), expected);
    }

    #[test]
    fn scalars_are_known_bytes() {
        let values = [("a/b", 0.25), ("c", f32::NAN), ("z", 0.0)];
        let written = event(2.5, 300, values.map(|(tag, value)| (tag, Value::Scalar(value))));
        let expected = concat!(
            "2e00000000000000c5cb57fa",                   // length and its checksum
            "090000000000000440",                         // wall time
            "10ac02",                                     // step
            "2a200a0a0a03612f62150000803e0a080a01631500", // summary: 0.25, NaN
            "00c07f0a080a017a1500000000", // and 0, which is written, being one of several kinds of value
            "dfead0c8",                   // checksum
        );
        assert_eq!(hex(&written), expected);
    }

    #[test]
    fn a_histogram_is_known_bytes() {
        let histogram = Histogram {
            min: -1.0,
            max: 2.0,
            count: 4.0,
            sum: 2.5,
            sum_squares: 6.25,
            limits: vec![0.5, 2.0],
            counts: vec![1.0, 3.0],
        };
        let expected = concat!(
            "6300000000000000b16b13d909000000000000e03f2a580a560a01772a5109000000000000f0bf110000000000000040",
            "1900000000000010402100000000000004402900000000000019403210000000000000e03f0000000000000040",
            "3a10000000000000f03f000000000000084073301e9d",
        );
        assert_eq!(hex(&event(0.5, 0, [("w", Value::Histogram(&histogram))])), expected);
    }

    #[test]
    fn an_image_is_known_bytes() {
        let image = Value::Image { width: 300, height: 2, png: b"\x89PNG" };
        let expected = concat!(
            "2100000000000000017becf609000000000000e03f10072a140a120a0169220d080210ac021803220489504e47",
            "23ceef12",
        );
        assert_eq!(hex(&event(0.5, 7, [("i", image)])), expected);
    }

    #[test]
    fn a_text_is_known_bytes() {
        let expected = concat!(
            "2500000000000000eabc36f309000000000000e03f10012a180a160a017442070807420368c3a94a080a060a0474657874",
            "df7e3bb6",
        );
        assert_eq!(hex(&event(0.5, 1, [("t", Value::Text("hé"))])), expected);
    }
}
