//! Files that promise or unpack to far more than they are.

use std::io::Write;

use flate2::{Compression, Crc, write::ZlibEncoder};
use safetensors::Dtype;

use super::{
    SMALL, feed, files,
    memory::{most_for, peak_of},
};

/// The message of a refusal and the most memory it took.
#[track_caller]
fn refused(target: &str, bytes: &[u8], what: &str) -> (String, usize) {
    let (answer, peak) = peak_of(|| feed(target, bytes, what));
    match answer {
        Ok(()) => panic!("{target} took {what}"),
        Err(message) => (message, peak),
    }
}

/// `count` times 16 MiB of zeros, in as many members of a gzip stream.
fn zeros(count: usize) -> Vec<u8> {
    files::gzip(&vec![0; 16 << 20]).repeat(count)
}

#[test]
fn headers_that_promise_the_world_cost_nothing() {
    for dimensions in [[u32::MAX; 3], [u32::MAX, 1, 1], [1 << 16, 1 << 16, 1], [1, 1, u32::MAX]] {
        for packed in [false, true] {
            let bytes = files::idx(0x803, &dimensions, &[0; 100]);
            let bytes = if packed { files::gzip(&bytes) } else { bytes };
            let (message, peak) = refused("idx", &bytes, "a header without its images");
            assert!(peak < 1 << 20, "{dimensions:?}: {peak} bytes; {message}");
        }
    }
    let (_, peak) = refused("idx", &files::idx(0x801, &[u32::MAX], &[1; 100]), "a header without its labels");
    assert!(peak < 1 << 20, "{peak} bytes");
}

#[test]
fn a_gzip_bomb_is_left_where_the_promise_ends() {
    let bomb = [files::gzip(&files::idx_images()), zeros(64)].concat();
    assert!(bomb.len() < 2 << 20, "{} bytes that unpack to 1 GiB", bomb.len());
    let (_, peak) = refused("idx", &bomb, "images with 1 GiB behind them");
    assert!(peak < 1 << 20, "{peak} bytes for 77 of the data");
}

#[test]
fn a_gzip_bomb_that_keeps_its_promise_is_left_too() {
    let idx = [files::gzip(&files::idx(0x803, &[1 << 10, 1 << 10, 1 << 10], &[])), zeros(64)].concat();
    for (target, bytes) in [("idx", idx), ("cifar", zeros(64))] {
        let (message, peak) = refused(target, &bytes, "a bomb");
        let most = (64 << 20) + 128 * bytes.len();
        assert!(peak <= 4 * most, "{target}: {peak} bytes");
        let expected = format!(
            "untrusted file: at offset {most}, expected the end of a gzip stream of {} bytes, which may swell no further, \
             found more bytes; decompress the file if it is sound",
            bytes.len()
        );
        assert!(message.lines().any(|line| line == expected), "{message}");
    }
}

/// A PNG of one chunk after the other, each with its checksum.
fn png(chunks: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
    let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
    for (kind, data) in chunks {
        let mut crc = Crc::new();
        crc.update(*kind);
        crc.update(data);
        bytes.extend((data.len() as u32).to_be_bytes());
        bytes.extend(*kind);
        bytes.extend(*data);
        bytes.extend(crc.sum().to_be_bytes());
    }
    bytes
}

fn header(width: u32, height: u32, depth: u8, colour: u8) -> Vec<u8> {
    [&width.to_be_bytes()[..], &height.to_be_bytes(), &[depth, colour, 0, 0, 0]].concat()
}

fn deflated(len: usize) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    let block = vec![0; 1 << 20];
    (0..len >> 20).for_each(|_| encoder.write_all(&block).unwrap());
    encoder.finish().unwrap()
}

#[test]
fn images_that_promise_the_world_cost_nothing() {
    let data = deflated(1 << 20);
    for (width, height, depth, colour) in
        [(1 << 14, 1 << 14, 8, 2), (1 << 14, 1 << 14, 16, 6), (u32::MAX >> 1, 1, 8, 0), (1, 1 << 20, 1, 0)]
    {
        let bytes = png(&[(b"IHDR", &header(width, height, depth, colour)), (b"IDAT", &data), (b"IEND", &[])]);
        let (message, peak) = refused("image", &bytes, "a header without its pixels");
        assert!(peak < SMALL, "{width} x {height}: {peak} bytes; {message}");
    }
    let sides = header(1 << 14, 1 << 14, 8, 0);
    let bytes = png(&[(b"IHDR", &sides), (b"IDAT", &data), (b"IEND", &[])]);
    let (message, _) = refused("image", &bytes, "a header without its pixels");
    let limit = (64 << 20) + 128 * bytes.len();
    let expected = format!(
        "untrusted file: expected an image of at most {limit} bytes in a file of {}, found a header that claims 268435456",
        bytes.len()
    );
    assert!(message.lines().any(|line| line == expected), "{message}");
    // The sides of a JPEG stand in its frame header, behind ff c0.
    let mut jpeg = files::encoded(files::drawing(), image::ImageFormat::Jpeg);
    let frame = jpeg.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
    for sides in [[0xff; 4], [0x40, 0, 0x40, 0]] {
        jpeg[frame + 5..frame + 9].copy_from_slice(&sides);
        let (message, peak) = refused("image", &jpeg, "a frame without its blocks");
        assert!(peak < SMALL, "{sides:?}: {peak} bytes; {message}");
    }
}

#[test]
fn what_unpacks_within_an_image_is_bounded() {
    let (pixels, bomb) = (deflated(1 << 20), deflated(256 << 20));
    let sized = header(8, 8, 8, 0);
    let profile = [b"icc\0\0".as_slice(), &bomb].concat();
    let text = [b"Comment\0\0".as_slice(), &bomb].concat();
    for (what, chunks) in [
        ("rows", vec![(b"IHDR", sized.as_slice()), (b"IDAT", &bomb), (b"IEND", &[])]),
        ("profile", vec![(b"IHDR", &sized), (b"iCCP", &profile), (b"IDAT", &pixels), (b"IEND", &[])]),
        ("text", vec![(b"IHDR", &sized), (b"zTXt", &text), (b"IDAT", &pixels), (b"IEND", &[])]),
    ] {
        let bytes = png(&chunks);
        let (_, peak) = peak_of(|| feed("image", &bytes, what));
        assert!(peak < most_for(bytes.len()), "{what}: {peak} bytes for a file of {}", bytes.len());
    }
}

#[test]
fn tensors_that_promise_the_world_cost_nothing() {
    let file = |header: &str| [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &[0; 32]].concat();
    let tensor =
        |shape: &str, end: u64| file(&format!(r#"{{"y":{{"dtype":"F32","shape":{shape},"data_offsets":[0,{end}]}}}}"#));
    let long_header = [&u64::MAX.to_le_bytes()[..], b"{}"].concat();
    for bytes in [
        long_header,
        tensor("[18446744073709551615]", 32),
        tensor("[4294967296,4294967296]", 32),
        tensor("[0,18446744073709551615]", 0),
        tensor("[1099511627776]", 1 << 42),
        tensor("[8]", u64::MAX),
        file("{}"),
    ] {
        for target in ["weights", "problem"] {
            let (message, peak) = refused(target, &bytes, "a header without its tensors");
            assert!(peak < SMALL, "{peak} bytes; {message}");
        }
    }
}

#[test]
fn many_tensors_cost_what_they_are() {
    let names: Vec<String> = (0..20_000).map(|i| format!("tensor {i}")).collect();
    let bytes =
        files::typed_tensors(&names.iter().map(|name| (name.as_str(), Dtype::F32, [0].as_slice())).collect::<Vec<_>>());
    let (message, peak) = refused("weights", &bytes, "20,000 tensors");
    assert!(peak < 16 * bytes.len(), "{peak} bytes for a file of {}", bytes.len());
    assert!(message.len() < 2000 && message.ends_with("and 19980 more"), "{message}");
}

/// Seen whole, a problem's design is the square of the file: 4 MB would have taken 8 TB.
#[test]
fn a_problem_seen_whole_is_bounded_before_its_design_is_made() {
    let bytes = files::tensors(&[("Y", &[1000, 1000])]);
    let (message, peak) = refused("problem", &bytes, "a million entries");
    assert!(peak < 8 * bytes.len(), "{peak} bytes");
    let expected = "untrusted file: Y is 1000 x 1000, expected at most 4096 elements: the solver keeps their Hessian on the \
                    host";
    assert!(message.lines().any(|line| line == expected), "{message}");
}
