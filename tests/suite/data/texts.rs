//! Texts and files of tokens: their vocabularies, their two parts, the windows that are their samples.

use std::{collections::BTreeSet, fs, io::Write};

use crate::common::hash;
use flate2::{Compression, write::GzEncoder};
use jostle::data::{BatchOrder, DataError, DataSource, Dataset, Split, TextError, Vocabulary, Windows};
use tempfile::TempDir;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn file(dir: &TempDir, name: &str, bytes: &[u8]) -> String {
    fs::write(dir.path().join(name), bytes).unwrap();
    dir.path().join(name).display().to_string()
}

fn load(source: &str) -> Result<Split, DataError> {
    source.parse::<DataSource>()?.load()
}

fn windows(data: &Dataset) -> &Windows {
    data.windows().unwrap()
}

fn tokens(data: &Dataset) -> &[u32] {
    windows(data).tokens()
}

/// The two parts, one after the other.
fn whole(split: &Split) -> Vec<u32> {
    [tokens(&split.train), tokens(&split.test)].concat()
}

/// Tokens that count up, so that a window tells where it begins.
fn counted(count: u32, block: usize) -> Dataset {
    let size = count as usize;
    let text = Dataset::from_text("counted", (0..count).collect(), Vocabulary::Numbers { size }).unwrap();
    text.with_block(block).unwrap()
}

fn u16s(tokens: &[u16]) -> Vec<u8> {
    tokens.iter().flat_map(|token| token.to_le_bytes()).collect()
}

#[test]
fn the_plays_are_as_ever() {
    let Split { train, test } = load("plays").unwrap();
    assert_eq!((tokens(&train).len(), tokens(&test).len()), (933_335, 103_704));
    let vocabulary = windows(&train).vocabulary();
    assert_eq!((vocabulary.size(), vocabulary), (63, windows(&test).vocabulary()));
    let text = |tokens: &[u32]| -> String {
        tokens.iter().map(|token| String::from_utf8(vocabulary.decode(*token)).unwrap()).collect()
    };
    assert_eq!(text(&tokens(&train)[..43]), "First Witch:\nWhen shall we three meet again");
    assert!(
        text(tokens(&test))
            .ends_with("But that's all one, our play is done,\nAnd we'll strive to please you every day.\n")
    );
    let mut crc = flate2::Crc::new();
    [&train, &test].iter().for_each(|part| crc.update(text(tokens(part)).as_bytes()));
    assert_eq!(crc.sum(), 0x1a8c_4efa);
}

/// Each character's place among those of the text.
fn numbered(text: &str) -> Vec<u32> {
    let smaller = |c: char| text.chars().filter(|other| *other < c).collect::<BTreeSet<_>>().len();
    text.chars().map(|c| smaller(c) as u32).collect()
}

#[test]
fn characters_are_numbered_in_their_order_and_bytes_by_their_value() {
    let dir = tempfile::tempdir().unwrap();
    let text = "zebra é azure\n";
    let plain = file(&dir, "a.txt", text.as_bytes());
    let packed = file(&dir, "a.txt.gz", &gzip(text.as_bytes()));
    let split = load(&format!("text:{plain}")).unwrap();
    assert_eq!(whole(&split), numbered(text));
    assert_eq!(numbered("\nbé a"), [0, 3, 4, 1, 2], "the reference itself");
    // The first nine tenths of 14, rounded down.
    assert_eq!((tokens(&split.train).len(), tokens(&split.test).len()), (12, 2));
    assert_eq!(split.train.name, format!("text:{plain}"));
    assert_eq!(whole(&load(&format!("text:{packed}")).unwrap()), whole(&split));
    let bytes = load(&format!("text:{packed}@bytes")).unwrap();
    assert_eq!(whole(&bytes), text.bytes().map(u32::from).collect::<Vec<_>>());
    assert_eq!(windows(&bytes.test).vocabulary().size(), 256);
}

#[test]
fn texts_become_tokens_and_tokens_texts() {
    let characters = Vocabulary::of_characters("née\n");
    for (vocabulary, text) in
        [(&characters, "eené\n"), (&Vocabulary::Bytes, "naïve ☙"), (&Vocabulary::Numbers { size: 300 }, "299 0 7 ")]
    {
        let tokens = vocabulary.encode(text).unwrap();
        let decoded: Vec<u8> = tokens.iter().flat_map(|token| vocabulary.decode(*token)).collect();
        assert_eq!(String::from_utf8(decoded).unwrap(), text);
        assert_eq!(Vocabulary::parse(&vocabulary.to_bytes().unwrap()).unwrap(), *vocabulary);
    }
    let refusal = |vocabulary: &Vocabulary, text: &str| vocabulary.encode(text).unwrap_err().to_string();
    assert_eq!(
        refusal(&characters, "né☙"),
        "at offset 3, expected one of the 4 characters of the vocabulary, found `☙`"
    );
    assert_eq!(
        refusal(&Vocabulary::Numbers { size: 3 }, "0  3"),
        "at offset 3, expected one of the 3 numbers from 0 on of the vocabulary, found `3`"
    );
    for (json, part) in [
        (r#"{"kind":"characters","characters":"ba"}"#, "ascending"),
        (r#"{"kind":"characters","characters":"aa"}"#, "ascending"),
        (r#"{"kind":"characters","characters":""}"#, "from 1 to"),
        (r#"{"kind":"numbers","size":0}"#, "from 1 to"),
        (r#"{"kind":"words"}"#, "unknown variant"),
    ] {
        assert!(Vocabulary::parse(json.as_bytes()).unwrap_err().contains(part), "{json}");
    }
}

#[test]
fn files_of_tokens_are_nanogpts() {
    let dir = tempfile::tempdir().unwrap();
    // The first two bytes are those of gzip, which a token may begin with.
    let train = file(&dir, "train.bin", &u16s(&[0x8b1f, 0, 7, 3, 258, 1, 2, 3, 4, 5]));
    let split = load(&format!("tokens:{train}")).unwrap();
    assert_eq!(tokens(&split.train), [0x8b1f, 0, 7, 3, 258, 1, 2, 3, 4]);
    assert_eq!((tokens(&split.test), split.test.samples.vocabulary()), ([5].as_slice(), 0x8b20));
    let packed = file(&dir, "packed.bin.gz", &gzip(&u16s(&[1, 2, 3])));
    assert_eq!(whole(&load(&format!("tokens:{packed}")).unwrap()), [1, 2, 3]);

    file(&dir, "val.bin", &u16s(&[9, 40_000, 1]));
    let split = load(&format!("tokens:{train}")).unwrap();
    assert_eq!((tokens(&split.train).len(), tokens(&split.test)), (10, [9, 40_000, 1].as_slice()));
    assert_eq!((split.train.samples.vocabulary(), split.test.targets.outputs()), (40_001, 40_001));
    let given = load(&format!("tokens:{train}@50304")).unwrap();
    assert_eq!(given.train.samples.vocabulary(), 50_304);
    let other = file(&dir, "other.bin", &u16s(&[1; 10]));
    assert_eq!(tokens(&load(&format!("tokens:{other}")).unwrap().train).len(), 9, "val.bin is that of train.bin");
}

#[test]
fn what_is_no_text_is_refused_by_file_and_offset() {
    let dir = tempfile::tempdir().unwrap();
    let damaged = gzip(b"a text that is long enough");
    let odd = [u16s(&[1, 2]), vec![3]].concat();
    let cases: [(&str, &str, &[u8], &str); 7] = [
        ("text:", "", b"", "at offset 0, expected a text, found the end of the data"),
        ("tokens:", "", b"", "at offset 0, expected a text, found the end of the data"),
        ("text:", "@bytes", b"", "at offset 0, expected a text, found the end of the data"),
        (
            "text:",
            "",
            b"ab\xffc",
            "at offset 2, expected UTF-8 text, found the byte 0xff; `text:FILE@bytes` takes any bytes",
        ),
        ("tokens:", "", &odd, "at offset 4, expected the two bytes of a token, found one"),
        ("tokens:", "@7", &u16s(&[1, 6, 7]), "at offset 4, expected a token below 7, found 7"),
        ("text:", "", &damaged[..20], "expected its gzip stream to go on, found it damaged or cut short"),
    ];
    for (kind, end, bytes, expected) in cases {
        let path = file(&dir, "some.file", bytes);
        let message = load(&format!("{kind}{path}{end}")).unwrap_err().to_string();
        assert!(message.starts_with(&format!("{path}: at offset ")) && message.contains(expected), "{message}");
    }
    let absent = load("text:absent.txt").unwrap_err().to_string();
    assert!(absent.starts_with("absent.txt: at offset 0, expected to read on, found an error: "), "{absent}");
    assert!(load(&format!("text:{}@bytes", file(&dir, "any", b"ab\xffc"))).is_ok());

    let short = counted(65, 64).with_block(65).unwrap_err();
    assert!(matches!(&short, DataError::Text(TextError::Short { expected: 66, found: 65, .. })), "{short}");
    let past = Dataset::from_text("past", vec![0, 3, 1], Vocabulary::Numbers { size: 3 }).unwrap_err().to_string();
    assert_eq!(past, "past: at sample 0, expected a label below 3, found 3");
}

#[test]
fn a_window_has_the_next_tokens_as_its_targets() {
    for (count, block, expected) in [(65, 64, 1), (129, 64, 2), (128, 64, 1), (12, 3, 3), (13, 3, 4), (2, 1, 1)] {
        let text = counted(count, block);
        assert_eq!((text.len(), windows(&text).count()), (expected, expected), "{count} {block}");
        assert_eq!(
            text.places(BatchOrder::Sequential, 3, 9),
            (0..expected).map(|i| (i * block) as u32).collect::<Vec<_>>()
        );
        let last = windows(&text).places() - 1;
        let [tokens, next] = windows(&text).window(last).unwrap();
        assert_eq!((tokens.len(), next.last()), (block, Some(&(count - 1))));
        assert!(tokens.iter().zip(next).all(|(token, next)| next - token == 1));
        assert_eq!(windows(&text).window(last + 1), None);
        text.check().unwrap();
    }
}

/// The numbers may never change, or no recorded run can be repeated: they were computed by another implementation of ChaCha8 and
/// of Lemire's method.
#[test]
fn random_windows_never_change_and_depend_on_seed_and_epoch() {
    let text = counted(1000, 10);
    let places = |seed, epoch| text.places(BatchOrder::Shuffled, seed, epoch);
    assert_eq!(places(42, 3)[..8], [689, 973, 474, 219, 447, 659, 410, 493]);
    assert_eq!((places(1, 2).len(), places(1, 2)), (99, places(1, 2)));
    assert!(places(1, 2) != places(1, 3) && places(1, 2) != places(2, 2));
    let drawn: Vec<u32> = (0..200).flat_map(|epoch| places(7, epoch)).collect();
    assert!(drawn.iter().all(|place| *place < 990));
    // Every place is drawn, those between two consecutive windows too, about equally often in each tenth.
    let there: BTreeSet<u32> = drawn.iter().copied().collect();
    assert!(there.len() > 985 && there.contains(&989), "{}", there.len());
    for tenth in 0..10 {
        let count = drawn.iter().filter(|place| **place / 99 == tenth).count();
        assert!(count.abs_diff(1980) < 170, "four standard deviations of 42: {count}");
    }
}

#[test]
fn evaluations_score_the_same_windows_each_time() {
    let text = counted(1000, 10);
    let scored = text.scored_windows(40, 5);
    assert_eq!((scored.len(), &scored), (40, &text.scored_windows(40, 5)));
    assert_ne!(scored, text.scored_windows(40, 6));
    assert_eq!(text.scored_windows(99, 5), text);
    scored.check().unwrap();
    // Single windows lie one after the other, each with the last of its targets.
    for place in scored.places(BatchOrder::Sequential, 0, 0) {
        let [tokens, next] = windows(&scored).window(place as usize).unwrap();
        assert!(tokens.iter().zip(next).all(|(token, next)| next - token == 1), "{tokens:?} {next:?}");
    }
    assert_eq!((tokens(&scored).len(), scored.scored_windows(7, 1).len()), (440, 40));
    let digits = DataSource::Digits.load().unwrap().test;
    assert_eq!(digits.scored_windows(7, 1), digits);
}

#[test]
fn subsets_and_parts_of_a_text_share_no_window() {
    let text = counted(1000, 10);
    let subset = text.subset(30, 1).unwrap();
    let begins = |data: &Dataset, order| -> Vec<u32> {
        data.places(order, 2, 0).iter().map(|place| tokens(data)[*place as usize]).collect()
    };
    let chosen = begins(&subset, BatchOrder::Sequential);
    assert!(chosen.len() == 30 && chosen.iter().all(|token| token % 10 == 0), "consecutive windows: {chosen:?}");
    let mut shuffled = begins(&subset, BatchOrder::Shuffled);
    assert_ne!(shuffled, chosen);
    shuffled.sort_unstable();
    assert_eq!(shuffled, chosen, "each once, and no other");
    assert_eq!(subset.clone().with_block(4).unwrap(), subset);

    // The last windows, the text's and those of a subset: tokens count up, so none of the one part is in the other, but for the
    // target of a window of a subset, with which the next one may begin.
    for (data, apart, left) in [(text, 20, 79), (subset, 6, 24)] {
        let parts = data.set_apart(apart, 3).unwrap();
        assert_eq!((parts.rest.len(), parts.apart.len()), (left, apart));
        parts.rest.check().and(parts.apart.check()).unwrap();
        assert!(parts.rest != data && tokens(&parts.rest).last() < tokens(&parts.apart).get(1));
    }
}

/// As long as a reader may be given anything, its numbers stay below the vocabulary.
#[test]
fn tokens_of_any_bytes_are_below_the_vocabulary() {
    let dir = tempfile::tempdir().unwrap();
    for seed in 0..20 {
        let bytes: Vec<u8> = (0..200 + 2 * seed).map(|i| hash(seed, i) as u8).collect();
        let path = file(&dir, "any.bin", &bytes);
        for source in [format!("tokens:{path}"), format!("text:{path}@bytes")] {
            let split = load(&source).unwrap();
            split.train.check().and(split.test.check()).unwrap();
            let size = split.train.samples.vocabulary() as u32;
            assert!(whole(&split).iter().all(|token| *token < size));
        }
    }
}
