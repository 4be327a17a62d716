//! What will happen: who serves the watched model, and who falls silent when.

use std::time::Duration;

/// A hive not heard for so long is out of the picks; short, so that it can be seen happening.
pub(crate) const WINDOW: Duration = Duration::from_secs(3);
/// Workers of each generated hive.
pub(crate) const WORKERS: usize = 8;
/// The models that the fleet serves.
pub(crate) const MODELS: [&str; 12] = [
    "Qwen/Qwen2.5-Coder-7B",
    "Qwen/Qwen3-32B",
    "Qwen/Qwen3-30B-A3B",
    "meta-llama/Llama-3.1-8B",
    "meta-llama/Llama-3.3-70B",
    "mistralai/Mistral-7B-v0.3",
    "mistralai/Mixtral-8x7B",
    "mistralai/Devstral-Small",
    "google/gemma-3-27b-it",
    "deepseek-ai/DeepSeek-V3",
    "microsoft/phi-4",
    "openai/gpt-oss-120b",
];
/// The model that requests ask for.
pub(crate) const WATCHED: &str = MODELS[0];
/// Its idle workers, all at load 0, are on so many hives: one on each.
const TIED: usize = 6;

pub(crate) struct Plan {
    /// How long it all takes.
    pub(crate) length: Duration,
    /// Names of the generated hives.
    pub(crate) hives: Vec<String>,
    /// Indices of the hives with an idle worker of the watched model.
    pub(crate) tied: Vec<usize>,
    /// Which of `tied` falls silent.
    pub(crate) silent: usize,
    /// When its heartbeats stop.
    pub(crate) silent_from: Duration,
    /// When they go on.
    pub(crate) silent_until: Duration,
}

impl Plan {
    pub(crate) fn new(hives: usize, seconds: u32) -> Self {
        let length = Duration::from_secs(seconds.into());
        let tied = TIED.min(hives);
        Self {
            length,
            hives: (1..=hives).map(|number| format!("sim-{number:03}")).collect(),
            tied: (0..tied).map(|nth| nth * hives / tied).collect(),
            silent: tied / 2,
            silent_from: length / 4,
            silent_until: length * 2 / 3,
        }
    }

    /// The name of the nth hive with a tied worker.
    pub(crate) fn tied_name(&self, nth: usize) -> &str {
        &self.hives[self.tied[nth]]
    }

    pub(crate) fn silent_name(&self) -> &str {
        self.tied_name(self.silent)
    }

    /// Which of the tied hives this is.
    pub(crate) fn nth_tied(&self, hive_id: &str) -> Option<usize> {
        (0..self.tied.len()).find(|&nth| self.tied_name(nth) == hive_id)
    }

    pub(crate) fn is_silent_at(&self, elapsed: Duration) -> bool {
        (self.silent_from..self.silent_until).contains(&elapsed)
    }
}
