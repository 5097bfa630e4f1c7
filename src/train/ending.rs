//! How a run ended, in a sentence, and what it leaves.

use std::path::Path;

use crate::nn;

use super::{Broken, RunResult, Status, TrainError, Trainer};

impl Trainer<'_> {
    /// Writes `weights.safetensors` into a folder, and `weights-average.safetensors` where there is a moving average, and
    /// `posterior.safetensors` where the rule leaves one.
    ///
    /// # Errors
    /// As [`nn::save`].
    pub fn save_weights(&self, folder: &Path) -> Result<(), TrainError> {
        let save = |buffer, name: &str| nn::save(self.gpu(), &self.model, &self.arena, buffer, &folder.join(name));
        save(&self.arena.weights, "weights.safetensors")?;
        if let Some(average) = self.average() {
            save(average, "weights-average.safetensors")?;
        }
        self.save_posterior(folder)
    }
}

impl RunResult {
    /// How the run of this trainer ended; where it diverged, with the step, what was noisy, and how much.
    #[must_use]
    pub fn sentence(&self, trainer: &Trainer<'_>) -> String {
        match &self.status {
            Status::Finished if self.stopped_early => "finished early, the validation loss falls no more".to_owned(),
            Status::Finished => "finished".to_owned(),
            Status::Interrupted => "interrupted".to_owned(),
            Status::Diverged { step, group, sigma, broken } => {
                let parts = group.and_then(|group| trainer.scheme().groups().get(group));
                let name = |part| trainer.model.part_name(part);
                let names = parts.map(|parts| parts.iter().map(name).collect::<Vec<_>>());
                let noisy = names.map_or(String::new(), |names| format!(" on {}", names.join(", ")));
                let sigma = *sigma as f32;
                let what = match broken {
                    Broken::Loss => format!("the loss of step {step} is not finite"),
                    Broken::Weights => format!("the weights after step {step} are not finite"),
                    Broken::Gradients => {
                        format!("from step {step} on gradients are not finite, and every update is left out")
                    }
                };
                format!("diverged: {what} (noise{noisy} of sigma {sigma:e})")
            }
        }
    }
}
