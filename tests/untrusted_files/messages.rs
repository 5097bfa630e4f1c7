//! What refusals say: the file, the place in it, what was expected, what was found.

use safetensors::Dtype;

use super::{feed, files};

/// The refusal as one line of the message: of several readers, each has its own.
#[track_caller]
fn says(target: &str, bytes: &[u8], expected: &str) {
    let message = feed(target, bytes, expected).unwrap_err();
    assert!(message.lines().any(|line| line == expected), "expected {expected:?}, found:\n{message}");
}

/// The message holds these parts: where the words of another crate are between them.
#[track_caller]
fn holds(target: &str, bytes: &[u8], parts: &[&str]) {
    let message = feed(target, bytes, parts[0]).unwrap_err();
    for part in parts {
        assert!(message.contains(part), "expected {part:?}, found:\n{message}");
    }
}

#[test]
fn of_images_and_labels() {
    let images = files::idx_images();
    says("idx", &[], "untrusted file: at offset 0, expected 16 bytes in all, found the end of the data");
    says("idx", &images[..50], "untrusted file: at offset 50, expected 76 bytes in all, found the end of the data");
    says(
        "idx",
        &[&images, &[0][..]].concat(),
        "untrusted file: at offset 76, expected the end of the data, found more bytes",
    );
    let zero = files::idx(0x803, &[3, 0, 5], &[]);
    says("idx", &zero, "untrusted file: at offset 8, expected at least one row, found 0");
    let floats = files::idx(0xd03, &[1, 1, 1], &[0; 4]);
    says(
        "idx",
        &floats,
        "untrusted file: at offset 0, expected the magic number 0x00000803 of an IDX image file, found 0x00000d03, that of an \
         IDX file of other values than u8",
    );
    let mut damaged = files::gzip(&images);
    let last = damaged.len() - 5;
    damaged[last] ^= 1;
    holds("idx", &damaged, &["untrusted file: at offset 76, expected 76 bytes from its gzip stream, found it damaged"]);

    says("cifar", &[1; 100], "untrusted file: expected a whole number of records of 3073 bytes, found 100 bytes");
    let wrong = [files::cifar_record(&[3]), files::cifar_record(&[11])].concat();
    says("cifar", &wrong, "untrusted file: at offset 3073, expected a label below 10, found 11");
    says(
        "cifar",
        &files::cifar_record(&[0, 100]),
        "untrusted file: at offset 1, expected a label below 100, found 100",
    );
    holds("image", b"GIF89a", &["untrusted file: expected a PNG or JPEG image, found what does not decode: "]);
}

#[test]
fn of_tensors() {
    let sound = files::weights();
    let start = "untrusted file: not a sound safetensors file: ";
    let header = u64::from_le_bytes(*sound.first_chunk().unwrap());
    let data = 9 * 4;
    for (bytes, reason) in [
        (
            sound[..5].to_vec(),
            "at offset 5, expected 8 bytes of a header's length, found the end of the file".to_owned(),
        ),
        (sound[..100].to_vec(), format!("at offset 0, expected a header of at most 92 bytes, found {header}")),
        (
            sound[..sound.len() - 1].to_vec(),
            format!(
                "at offset {}, expected {data} bytes of data, which \"fc2.weight\" ends at, found {}",
                sound.len() - 1,
                data - 1
            ),
        ),
        (
            [&sound, &[0; 3][..]].concat(),
            format!("at offset {}, expected the end of the file, found 3 more bytes", sound.len()),
        ),
    ] {
        says("weights", &bytes, &format!("{start}{reason}"));
        says("problem", &bytes, &format!("untrusted file: {reason}"));
    }
    let mut broken = sound.clone();
    broken[8] = b'[';
    holds("weights", &broken, &[start, "at offset 8, expected a header in JSON, found ", "line 1 column"]);
    // Places that overlap, and eight whose sum is past 64 bits: the reader's own arithmetic must not meet them.
    let overlap = r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
    let overlap = [&(overlap.len() as u64).to_le_bytes()[..], overlap.as_bytes(), &[0; 4]].concat();
    holds("weights", &overlap, &[start, "at offset 8, expected a sound header, found: "]);
    let part = 1u64 << 61;
    let places = (0..8).map(|i| {
        let end = if i == 7 { u64::MAX } else { (i + 1) * part };
        let len = end - i * part;
        format!(r#""{i}":{{"dtype":"U8","shape":[{len}],"data_offsets":[{},{end}]}}"#, i * part)
    });
    let vast = format!("{{{}}}", places.collect::<Vec<_>>().join(","));
    let vast = [&(vast.len() as u64).to_le_bytes()[..], vast.as_bytes()].concat();
    holds("weights", &vast, &[start, "expected 18446744073709551615 bytes of data, which \"7\" ends at, found 0"]);
}

#[test]
fn of_tensors_that_are_not_the_models() {
    let holding = |list: &[(&str, &[usize])]| files::tensors(list);
    let bias: (&str, &[usize]) = ("fc1.bias", &[2]);
    let parts: [(&str, &[usize]); 3] = [("fc1.weight", &[2, 2]), ("fc2.weight", &[1, 2]), ("fc2.bias", &[1])];
    says(
        "weights",
        &holding(&parts),
        "untrusted file: no tensor \"fc1.bias\", which the model needs; the file holds: fc1.weight, fc2.bias, fc2.weight",
    );
    let wider = holding(&[parts[0], parts[1], parts[2], ("fc1.bias", &[3])]);
    says("weights", &wider, "untrusted file: tensor \"fc1.bias\" is [3], the model expects [2]");
    let more = holding(&[parts[0], parts[1], parts[2], bias, ("\u{1b}[31mred", &[1])]);
    says("weights", &more, "untrusted file: tensor \"\\u{1b}[31mred\" has no place in the model");
    let half = files::typed_tensors(&[("fc1.bias", Dtype::F16, &[2])]);
    says("weights", &half, "untrusted file: tensor \"fc1.bias\" is F16, the model expects F32");
    // Names are printed with what a terminal would obey escaped.
    let escape = holding(&[("\u{1b}[2J", &[1])]);
    says(
        "weights",
        &escape,
        "untrusted file: no tensor \"fc1.weight\", which the model needs; the file holds: \\u{1b}[2J",
    );
}

#[test]
fn of_problems() {
    let design: (&str, &[usize]) = ("X", &[3, 4]);
    says("problem", &files::tensors(&[design]), "untrusted file: no tensor y; it holds X");
    let short = files::tensors(&[design, ("y", &[2])]);
    says("problem", &short, "untrusted file: y has 2 elements, X has 3 samples");
    let flat = files::tensors(&[("X", &[12]), ("y", &[3])]);
    says("problem", &flat, "untrusted file: X has the shape [12], expected 2 dimensions, none 0");
    let mut endless = files::tensors(&[("Y", &[2, 2])]);
    let last = endless.len() - 4;
    endless[last..].copy_from_slice(&f32::INFINITY.to_le_bytes());
    says("problem", &endless, "untrusted file: Y: element 3 is inf");
    let counts = files::typed_tensors(&[("X", Dtype::I64, &[3, 4]), ("y", Dtype::F32, &[3])]);
    says("problem", &counts, "untrusted file: X is I64, expected F32 or F64");
}

#[test]
fn of_texts() {
    holds("model", b"layers = [", &["model file untrusted file: ", "line 1, column 11"]);
    holds(
        "model",
        b"depth = 3\nlayers = []",
        &["model file untrusted file: ", "line 1, column 1", "unknown field `depth`"],
    );
    says(
        "model",
        b"layers = [{type='flatten'}, {type='dropout', probability=2}]",
        "model file untrusted file, layers[1] (dropout): dropout cannot take 3072 features: probability 2 is not in [0, 1)",
    );
    says("model", b"layers = []", "model file untrusted file: the model has no layers");
    holds("config", b"epochs = 'many'", &["untrusted file: ", "line 1, column 10", "expected u64"]);
    holds("config", b"epoch = 3", &["untrusted file: ", "line 1, column 1", "unknown field `epoch`"]);
    says("config", b"batch = 5000000000", "batch: has to be at most 4294967295, found 5000000000");
}

#[test]
fn of_texts_and_tokens() {
    says("text", &[], "untrusted file: at offset 0, expected a text, found the end of the data");
    says(
        "text",
        b"abc\xe9 ",
        "untrusted file: at offset 3, expected UTF-8 text, found the byte 0xe9; `text:FILE@bytes` takes any bytes",
    );
    let packed = files::gzip(b"a text");
    holds(
        "text",
        &packed[..12],
        &["untrusted file: at offset ", "expected its gzip stream to go on, found it damaged"],
    );
    says("tokens", &[], "untrusted file: at offset 0, expected a text, found the end of the data");
    says("tokens", &[1, 2, 3], "untrusted file: at offset 2, expected the two bytes of a token, found one");
}
