//! The bundled handwritten digits: 1,797 grey images of 8 x 8 pixels. `assets/digits/README.md` states their origin and
//! licence.

use std::io::{self, Read};

use flate2::read::GzDecoder;

use super::{DataError, Dataset, SampleShape, Split, Targets};

const CSV_GZ: &[u8] = include_bytes!("../../assets/digits/digits.csv.gz");
const FILE: &str = "digits.csv.gz";

const SHAPE: SampleShape = SampleShape { channels: 1, height: 8, width: 8 };
const CLASSES: usize = 10;
const FULL_SCALE: u8 = 16;
const RECORDS: usize = 1797;
const TEST_PER_CLASS: usize = 50;

/// The digits, split into 1,297 training and 500 test samples.
///
/// The last 50 samples of each class in the order of the file are the test part; both parts keep that order. No random
/// number is involved, so the split can never change. The file does not name the writers but appears to keep each one's
/// samples together; the test part is then nearly all by writers that the training part lacks.
pub(super) fn load() -> Result<Split, DataError> {
    let all = parse(&decompress(CSV_GZ).map_err(|cause| damaged(1, "a whole gzip stream", &cause.to_string()))?)?;
    let (train, test) = split_indices(all.targets.labels());
    Ok(Split { train: all.select(train.into_iter()), test: all.select(test.into_iter()) })
}

fn decompress(gz: &[u8]) -> io::Result<String> {
    let mut text = String::new();
    GzDecoder::new(gz).read_to_string(&mut text)?;
    Ok(text)
}

fn split_indices(labels: &[u32]) -> (Vec<usize>, Vec<usize>) {
    let mut kept = [0; CLASSES];
    let mut is_test: Vec<bool> = labels
        .iter()
        .rev()
        .map(|&label| {
            let count = &mut kept[label as usize];
            *count += 1;
            *count <= TEST_PER_CLASS
        })
        .collect();
    is_test.reverse();
    (0..labels.len()).partition(|&i| !is_test[i])
}

/// The CSV's lines, each 64 pixels from 0 to 16 in row-major order and then a class from 0 to 9.
fn parse(csv: &str) -> Result<Dataset, DataError> {
    let mut pixels = Vec::with_capacity(RECORDS * SHAPE.features());
    let mut labels = Vec::with_capacity(RECORDS);
    for (line, text) in (1..).zip(csv.lines()) {
        let fields: Vec<&str> = text.split(',').collect();
        let [image @ .., class] = fields.as_slice() else {
            return Err(damaged(line, "65 fields", "none"));
        };
        if image.len() != SHAPE.features() {
            return Err(damaged(line, "65 fields", &fields.len().to_string()));
        }
        for field in image {
            pixels.push(number(field, FULL_SCALE, line)?);
        }
        labels.push(number(class, CLASSES as u8 - 1, line)?.into());
    }
    if labels.len() != RECORDS {
        return Err(damaged(labels.len() + 1, "1797 lines in all", &labels.len().to_string()));
    }
    let name = "digits".to_owned();
    Ok(Dataset {
        name,
        samples: pixels.into(),
        targets: Targets::Classes { labels, classes: CLASSES },
        shape: SHAPE,
        full_scale: FULL_SCALE.into(),
        published: &[],
    })
}

fn number(field: &str, max: u8, line: usize) -> Result<u8, DataError> {
    match field.parse() {
        Ok(value) if value <= max => Ok(value),
        _ => Err(damaged(line, &format!("a whole number from 0 to {max}"), &format!("`{field}`"))),
    }
}

fn damaged(line: usize, expected: &str, found: &str) -> DataError {
    DataError::Digits { file: FILE, line, expected: expected.to_owned(), found: found.to_owned() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn message(csv: &str) -> String {
        parse(csv).map(|_| ()).unwrap_err().to_string()
    }

    #[test]
    fn csv_errors_name_line_expected_and_found() {
        let csv = decompress(CSV_GZ).unwrap();
        assert_eq!(parse(&csv).unwrap().len(), RECORDS);

        let replaced = |from: &str, to: &str| message(&csv.replacen(from, to, 1));
        let number = "expected a whole number from 0 to 16, found";
        assert_eq!(replaced("0,0,5,13,", "0,0,5,17,"), format!("digits.csv.gz: at line 1, {number} `17`"));
        assert_eq!(replaced("0,0,5,13,", "0,0,5,-1,"), format!("digits.csv.gz: at line 1, {number} `-1`"));
        assert_eq!(replaced("0,0,5,13,", "0,0,5,,"), format!("digits.csv.gz: at line 1, {number} ``"));
        assert_eq!(replaced("0,0,5,13,", "0,0,5,"), "digits.csv.gz: at line 1, expected 65 fields, found 64");
        assert_eq!(
            replaced(",1\n", ",10\n"),
            "digits.csv.gz: at line 2, expected a whole number from 0 to 9, found `10`"
        );
        let (short, _) = csv.trim_end().rsplit_once('\n').unwrap();
        assert_eq!(message(short), "digits.csv.gz: at line 1797, expected 1797 lines in all, found 1796");
        assert_eq!(message(""), "digits.csv.gz: at line 1, expected 1797 lines in all, found 0");
        assert!(decompress(&CSV_GZ[..CSV_GZ.len() / 2]).is_err());
    }
}
