//! `jostle generate`

use std::{
    io::{ErrorKind, Write},
    path::PathBuf,
};

use jostle::train::{Generator, Sampling};
use serde_json::json;

use super::{CliError, Context, Exit};

/// Options of `jostle generate`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The folder of a run over a text; its best checkpoint by validation loss writes, or the newest where there is no such
    #[arg(long, value_name = "DIR")]
    run: PathBuf,
    /// These weights instead
    #[arg(long, value_name = "FILE.safetensors")]
    weights: Option<PathBuf>,
    /// What the text begins with, at most as long as the model's window; numbers with spaces where the data are numbers
    #[arg(long, value_name = "TEXT", default_value = "\n", hide_default_value = true)]
    prompt: String,
    /// Tokens to write after it
    #[arg(long, value_name = "N", default_value_t = 500)]
    tokens: u64,
    /// What outputs are divided by: below 1 the likely tokens are likelier; 0 takes the most likely
    #[arg(long, value_name = "T", default_value_t = 0.8)]
    temperature: f64,
    /// Draw from so many of the most likely tokens; 0 for all
    #[arg(long, value_name = "K", default_value_t = 200)]
    top_k: usize,
    /// Seed of the draws: the same text again on the same adapter
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    seed: u64,
}

pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    if !args.temperature.is_finite() || args.temperature < 0.0 {
        return Err(CliError::Usage(format!("--temperature: expected 0 or more, found {}", args.temperature)));
    }
    let sampling = Sampling { temperature: args.temperature, top_k: args.top_k, seed: args.seed };
    let gpu = context.gpu()?;
    let mut generator = Generator::open(&gpu, &args.run, args.weights.as_deref(), sampling)?;
    generator.begin(&args.prompt)?;
    let mut text = Vec::new();
    // As it comes, unless it is to be an object.
    let mut say = |part: Vec<u8>| {
        let said = if context.json { Ok(()) } else { print(&part) };
        text.extend(part);
        said
    };
    let begun = generator.tokens().to_vec();
    let mut heard = begun.iter().try_for_each(|token| say(generator.vocabulary().decode(*token)));
    for _ in 0..args.tokens {
        if heard.is_err() {
            break;
        }
        let token = generator.next_token()?;
        heard = say(generator.vocabulary().decode(token));
    }
    if context.json {
        let written = String::from_utf8_lossy(&text);
        context.print(&json!({ "run": args.run, "text": written, "tokens": generator.tokens() }), "")?;
        return Ok(Exit::Done);
    }
    match heard.and_then(|()| print(b"\n")) {
        // A reader that has gone away (`jostle ... | head`) is no failure.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(CliError::Io { path: "standard output".into(), source: error })
        }
        _ => Ok(Exit::Done),
    }
}

/// Writes at once.
fn print(bytes: &[u8]) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}
