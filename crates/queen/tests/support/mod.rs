//! The binary, run as people and programs run it: with a home of its own, through pipes or on a terminal.

#![allow(dead_code, reason = "each test file uses a part")]

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use serde_json::Value;

/// For what never comes; no test takes as long.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// A home that ends with the test.
pub struct Home {
    pub folder: PathBuf,
}

/// What a run left.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

/// A run on a terminal.
pub struct Session {
    master: File,
    child: Child,
    seen: String,
}

// === impl Home ===

impl Home {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("queen-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed));
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        Self { folder }
    }

    /// With these hives.
    pub fn with(names: &[&str]) -> Self {
        let home = Self::new();
        for name in names {
            home.queen(&["nodes", "add", name, "--host", "localhost"]).did();
        }
        home
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Its path as an argument.
    pub fn file(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    pub fn catalog(&self) -> PathBuf {
        self.path(".rbee/beehives.db")
    }

    /// With nothing of the environment that the tests run in.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_queen"));
        command.args(arguments).env_clear().env("HOME", &self.folder).env("PATH", "/usr/bin:/bin");
        command.current_dir(&self.folder).stdin(Stdio::null());
        command
    }

    pub fn queen(&self, arguments: &[&str]) -> Ran {
        Ran::of(&mut self.command(arguments))
    }

    /// With that on its standard input.
    pub fn fed(&self, arguments: &[&str], input: &[u8]) -> Ran {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // It may have refused before it reads.
        let _ = child.stdin.take().unwrap().write_all(input);
        Ran::from(child.wait_with_output().unwrap())
    }

    pub fn json(&self, arguments: &[&str]) -> Value {
        self.queen(&[arguments, &["--json"]].concat()).json()
    }

    /// On a terminal of that many columns.
    pub fn on_terminal(&self, columns: u16, arguments: &[&str]) -> Session {
        Session::begin(self.command(arguments).env("TERM", "xterm"), columns)
    }

    /// The ids of all hives.
    pub fn names(&self) -> Vec<String> {
        let all = self.json(&["nodes", "list"]);
        all["hives"].as_array().unwrap().iter().map(|hive| hive["id"].as_str().unwrap().to_owned()).collect()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

// === impl Ran ===

impl Ran {
    pub fn of(command: &mut Command) -> Self {
        Self::from(command.output().unwrap())
    }

    fn from(output: std::process::Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("output is UTF-8");
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// That it did what it was asked; its output.
    #[track_caller]
    pub fn did(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.out
    }

    /// That it was refused in these words, and said nothing else; exit code 1.
    #[track_caller]
    pub fn refused(self, words: &[&str]) {
        self.ended(1, words);
    }

    /// That it was asked wrongly: exit code 2.
    #[track_caller]
    pub fn misused(self, words: &[&str]) {
        self.ended(2, words);
    }

    /// That it was asked nothing, and said what it might be asked: exit code 2.
    #[track_caller]
    pub fn helped(self) {
        assert_eq!(self.code, Some(2), "{self:?}");
        assert!(self.err.contains("Commands:"), "{}", self.err);
    }

    #[track_caller]
    fn ended(self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert_eq!(self.out, "", "a refusal is on the standard error");
        assert!(self.err.contains("error: "), "{}", self.err);
        for word in words {
            assert!(self.err.contains(word), "{word:?} is not in {:?}", self.err);
        }
    }

    #[track_caller]
    pub fn json(self) -> Value {
        let out = self.did();
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"))
    }
}

// === impl Session ===

impl Session {
    pub fn begin(command: &mut Command, columns: u16) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let size = Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&master, size).unwrap();
        let slave = || {
            let path = name.to_str().unwrap();
            Stdio::from(OpenOptions::new().read(true).write(true).open(path).unwrap())
        };
        command.stdin(slave()).stdout(slave()).stderr(slave());
        let child = command.spawn().unwrap();
        // Closes our ends of the slave, so that reading ends with the child.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self { master: File::from(master), child, seen: String::new() }
    }

    /// Reads until that was shown.
    #[track_caller]
    pub fn sees(&mut self, words: &str) -> &mut Self {
        let began = Instant::now();
        while !self.seen.contains(words) {
            assert!(began.elapsed() < DEADLINE, "{words:?} never came: {:?}", self.seen);
            assert!(self.read(), "{words:?} is not in {:?}", self.seen);
        }
        self
    }

    /// Types a line.
    pub fn types(&mut self, line: &str) -> &mut Self {
        self.master.write_all(format!("{line}\n").as_bytes()).unwrap();
        self
    }

    fn read(&mut self) -> bool {
        let mut part = [0; 4096];
        match self.master.read(&mut part) {
            Ok(0) => false,
            Ok(count) => {
                self.seen.push_str(&String::from_utf8_lossy(&part[..count]));
                true
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => true,
            // The last one that had the terminal open has gone.
            Err(_) => false,
        }
    }

    /// Its exit code, and all that was shown.
    pub fn ends(mut self) -> (Option<i32>, String) {
        while self.read() {}
        (self.child.wait().unwrap().code(), std::mem::take(&mut self.seen))
    }

    /// That it did what it was asked; the lines that were shown.
    #[track_caller]
    pub fn did(self) -> Vec<String> {
        let (code, seen) = self.ends();
        assert_eq!(code, Some(0), "{seen}");
        seen.lines().map(str::to_owned).collect()
    }
}
