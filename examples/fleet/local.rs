//! This machine as a hive: its inference servers, or its largest processes as stand-ins.

use std::time::Duration;

use chrono::{SecondsFormat, Utc};
use hive_registry::{HiveHeartbeatPayload, HiveRegistry, WorkerState};
use sysinfo::{ProcessRefreshKind, ProcessesToUpdate, System, UpdateKind};

use crate::board::{self, Board, Process};

/// How many processes stand in for workers where no inference server runs.
const STAND_INS: usize = 10;

pub(crate) struct Machine {
    system: System,
    name: String,
}

/// An inference server, recognised by how it was started.
#[derive(Debug, PartialEq)]
struct Server {
    kind: &'static str,
    model: Option<String>,
    port: Option<u16>,
}

impl Machine {
    pub(crate) fn new() -> Self {
        let mut name = clean(&System::host_name().unwrap_or_default());
        if name.is_empty() || name.starts_with("sim-") {
            name = "this-machine".into();
        }
        Self { system: System::new(), name }
    }

    pub(crate) fn run(&mut self, registry: &HiveRegistry, board: &Board) {
        let first = board.elapsed();
        for second in 1.. {
            if !board.sleep_until(first + Duration::from_secs(second)) {
                return;
            }
            self.beat(registry, board);
        }
    }

    pub(crate) fn beat(&mut self, registry: &HiveRegistry, board: &Board) {
        let wanted = ProcessRefreshKind::nothing()
            .with_memory()
            .with_cpu()
            .with_cmd(UpdateKind::OnlyIfNotSet)
            .without_tasks();
        self.system.refresh_processes_specifics(ProcessesToUpdate::All, true, wanted);

        let mut servers = Vec::new();
        let mut others = Vec::new();
        for process in self.system.processes().values().filter(|process| process.thread_kind().is_none()) {
            let name = process.name().to_string_lossy();
            let line: Vec<_> = process.cmd().iter().map(|word| word.to_string_lossy()).collect();
            let words: Vec<_> = line.iter().map(|word| &**word).collect();
            let server = recognise(&name, &words);
            let id = clean(&format!("{}-{}", server.as_ref().map_or(&*name, |it| it.kind), process.pid()));
            let (list, model, port) = match server {
                Some(server) => (&mut servers, server.model, server.port),
                None => (&mut others, None, None),
            };
            let (ram_bytes, cpu_percent) = (process.memory(), process.cpu_usage());
            list.push((Process { id, model, ram_bytes, cpu_percent }, port));
        }
        let is_serving = !servers.is_empty();
        let mut workers = if is_serving { servers } else { others };
        workers.sort_by(|(a, _), (b, _)| (b.ram_bytes, &a.id).cmp(&(a.ram_bytes, &b.id)));
        if !is_serving {
            workers.truncate(STAND_INS);
        }

        let timestamp = Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true);
        let worker = |(process, port): &(Process, Option<u16>)| WorkerState {
            worker_id: process.id.clone(),
            // No state of a worker's, so that a stand-in is never picked.
            state: if !is_serving {
                "stand-in"
            } else if process.cpu_percent > 50.0 {
                "Busy"
            } else {
                "Idle"
            }
            .into(),
            last_heartbeat: timestamp.clone(),
            url: port.map(|port| format!("http://{}:{port}", self.name)),
            model_id: process.model.clone(),
            ram_bytes: Some(process.ram_bytes),
            cpu_percent: Some(process.cpu_percent),
            ..Default::default()
        };
        let heartbeat = HiveHeartbeatPayload {
            hive_id: self.name.clone(),
            workers: workers.iter().map(worker).collect(),
            timestamp: timestamp.clone(),
            ..Default::default()
        };
        let applied = registry.update_hive_state(&self.name, heartbeat);
        debug_assert!(applied.is_ok(), "{applied:?}");
        board.numbers().machine = board::Machine {
            name: self.name.clone(),
            is_serving,
            workers: workers.into_iter().map(|(process, _)| process).collect(),
        };
    }
}

/// What the registry takes as a name: no control characters, not long.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).take(60).collect()
}

/// By the program's name, or by the words behind an interpreter or a launcher.
fn recognise(name: &str, line: &[&str]) -> Option<Server> {
    let file = |word: &str| word.rsplit('/').next().unwrap_or_default().to_owned();
    let program = |at: usize| -> Option<&'static str> {
        let next = line.get(at + 1).copied().unwrap_or_default();
        match (&*file(line[at]), next) {
            ("llama-server" | "llama_cpp.server", _) => Some("llama.cpp"),
            ("vllm", "serve") => Some("vllm"),
            ("sglang", "serve") => Some("sglang"),
            ("ollama", "serve" | "runner") => Some("ollama"),
            (module, _) if module.starts_with("vllm.entrypoints.") => Some("vllm"),
            (module, _) if module.starts_with("sglang.launch_server") => Some("sglang"),
            _ => None,
        }
    };
    let found = (0..line.len().min(4)).find_map(|at| Some((program(at)?, &line[at + 1..])));
    let (kind, options) = found.or_else(|| (name == "llama-server").then_some(("llama.cpp", line)))?;

    let option = |names: &[&str]| {
        options.iter().enumerate().find_map(|(at, word)| match word.split_once('=') {
            Some((key, value)) if names.contains(&key) => Some(value),
            _ if names.contains(word) => options.get(at + 1).copied(),
            _ => None,
        })
    };
    // `vllm serve MODEL`
    let behind_serve = || match options {
        ["serve", model, ..] if !model.starts_with('-') => Some(*model),
        _ => None,
    };
    let model = option(&["--alias", "-a", "--served-model-name"])
        .or_else(|| option(&["--model", "--model-path", "-m"]))
        .or_else(behind_serve);
    Some(Server {
        kind,
        // Of a path, the file says enough.
        model: model.map(|model| clean(&if model.starts_with('/') { file(model) } else { model.into() })),
        port: option(&["--port"]).and_then(|port| port.parse().ok()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_recognised_by_how_they_were_started() {
        let told = |line: &str| {
            let words: Vec<_> = line.split(' ').collect();
            recognise("python3", &words).map(|it| (it.kind, it.model.unwrap_or_default(), it.port))
        };
        let server = |kind, model: &str, port| Some((kind, model.to_owned(), port));
        assert_eq!(told("/bin/llama-server -m /m/q.gguf --port=81"), server("llama.cpp", "q.gguf", Some(81)));
        assert_eq!(told("python3 -m llama_cpp.server --model a/b"), server("llama.cpp", "a/b", None));
        assert_eq!(told("python3 /usr/bin/vllm serve a/b --port 80"), server("vllm", "a/b", Some(80)));
        assert_eq!(
            told("python3 -m vllm.entrypoints.openai.api_server --model x"),
            server("vllm", "x", None)
        );
        assert_eq!(told("python3 -m sglang.launch_server --model-path x"), server("sglang", "x", None));
        assert_eq!(told("ollama serve"), server("ollama", "", None));
        assert_eq!(told("grep -r vllm ."), None);
        assert_eq!(told("ollama list"), None);
    }
}
