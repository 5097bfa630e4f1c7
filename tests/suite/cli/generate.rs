//! `jostle generate`: the text that a run's model writes.

use std::{
    fs,
    io::Read,
    path::Path,
    process::{Command, Output, Stdio},
};

use crate::common::places::program;
use jostle::train::newest_checkpoint;

/// A run over a text in which each of nine characters follows from the one before, as `jostle train` leaves it.
fn trained(dir: &Path) {
    let model = ["type = \"embedding\"\nfeatures = 12", "type = \"linear\""];
    fs::write(dir.join("model.toml"), model.map(|layer| format!("[[layers]]\n{layer}\n")).concat()).unwrap();
    fs::write(dir.join("text.txt"), "abcdefgh\n".repeat(80)).unwrap();
    let words = "train --data text:text.txt --model model.toml --block 16 --lr 2 --steps 40 --batch 16 --validation 4 --out run";
    let output = Command::new(program()).args(words.split(' ')).current_dir(dir).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
}

fn generate(dir: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(program());
    command.args(["generate", "--run", "run"]).args(words).current_dir(dir).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[track_caller]
fn text(dir: &Path, words: &[&str]) -> String {
    let output = generate(dir, words);
    assert!(output.status.success(), "{}", stderr(&output));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_run_writes_what_it_learned() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    trained(dir);
    // The most likely, past the window of 16, with the prompt before it and a line's end after it.
    let greedy = text(dir, &["--prompt", "cde", "--tokens", "40", "--temperature", "0"]);
    assert_eq!(greedy, format!("{}\n", &"abcdefgh\n".repeat(6)[2..45]));
    let from_a_line_s_end = text(dir, &["--tokens", "8", "--temperature", "0"]);
    assert_eq!(from_a_line_s_end, "\nabcdefgh\n");

    let hot = |seed: &str| text(dir, &["--prompt", "a", "--tokens", "60", "--temperature", "100", "--seed", seed]);
    assert_eq!(hot("1"), hot("1"));
    assert_ne!(hot("1"), hot("2"));
    assert_ne!(hot("1").trim_end(), &"abcdefgh\n".repeat(7)[..61], "at this temperature others are drawn");
    let one = text(dir, &["--prompt", "a", "--tokens", "60", "--temperature", "100", "--top-k", "1"]);
    assert_eq!(one.trim_end(), &"abcdefgh\n".repeat(7)[..61]);

    let json = text(dir, &["--prompt", "gh", "--tokens", "2", "--temperature", "0", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["text"], &json["tokens"]), (&"gh\na".into(), &serde_json::json!([7, 8, 0, 1])));
    refusals(dir);
    it_writes_as_it_goes(dir);
    weights_are_chosen(dir);
}

fn refusals(dir: &Path) {
    let refusal = |words: &[&str]| {
        let output = generate(dir, words);
        (output.status.code(), stderr(&output).trim_end().to_owned())
    };
    for (words, expected) in [
        (
            ["--prompt", "abcdefghabcdefgha"],
            "prompt: expected from 1 to 16 tokens, which is the model's window, found 17",
        ),
        (["--prompt", ""], "prompt: expected from 1 to 16 tokens, which is the model's window, found 0"),
        (["--prompt", "abé"], "prompt: at offset 2, expected one of the 9 characters of the vocabulary, found `é`"),
        (["--temperature", "nan"], "--temperature: expected 0 or more, found NaN"),
    ] {
        assert_eq!(refusal(&words), (Some(2), format!("error: {expected}")));
    }
    fs::rename(dir.join("run/vocabulary.json"), dir.join("kept")).unwrap();
    let (code, message) = refusal(&[]);
    assert!(code == Some(2) && message.contains("expected a run over a text, found no "), "{message}");
    fs::write(dir.join("run/vocabulary.json"), r#"{"kind":"characters","characters":"ba"}"#).unwrap();
    let (_, message) = refusal(&[]);
    assert!(message.contains("vocabulary.json: expected characters in ascending order"), "{message}");
    fs::rename(dir.join("kept"), dir.join("run/vocabulary.json")).unwrap();
}

/// The first part is there long before the last; and whoever has read enough may go away.
fn it_writes_as_it_goes(dir: &Path) {
    let mut command = Command::new(program());
    command.args(["generate", "--run", "run", "--prompt", "ab", "--tokens", "1000000000"]).current_dir(dir);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut begun = [0; 10];
    child.stdout.take().unwrap().read_exact(&mut begun).unwrap();
    assert_eq!(&begun[..2], b"ab");
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
}

/// Those of the best checkpoint, or of a file.
fn weights_are_chosen(dir: &Path) {
    let words = ["--prompt", "ab", "--tokens", "20"];
    let (newest, manifest) = newest_checkpoint(&dir.join("run"), &mut |damage| panic!("{damage}")).unwrap().unwrap();
    let best = newest.with_file_name(format!("step-{:08}", manifest.best.unwrap().step)).join("weights.safetensors");
    let best = best.display().to_string();
    assert_eq!(text(dir, &[&words[..], &["--weights", &best]].concat()), text(dir, &words));
    let output = generate(dir, &[&words[..], &["--weights", "run/absent"]].concat());
    assert!(output.status.code() == Some(1) && stderr(&output).contains("run/absent"), "{}", stderr(&output));
    fs::remove_dir_all(dir.join("run/checkpoints")).unwrap();
    let output = generate(dir, &words);
    assert!(stderr(&output).contains("expected a checkpoint in "), "{}", stderr(&output));
}
