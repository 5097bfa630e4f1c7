//! Families of AMD's GPUs, each of which is compiled for in a process of its own: the driver reads its environment once.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use crate::{pipelines::Selection, report::Report};

/// GPUs of one instruction set.
#[derive(Debug)]
pub struct Family {
    /// The set.
    pub name: &'static str,
    /// What Mesa calls a chip of it; older and newer versions differ.
    chips: &'static [&'static str],
    /// Whether it has cooperative matrices.
    pub has_matrices: bool,
}

/// Those that are judged.
pub const FAMILIES: [Family; 3] = [
    Family { name: "rdna3", chips: &["navi31", "gfx1100"], has_matrices: true }, // the former since Mesa 23
    Family { name: "rdna2", chips: &["navi21"], has_matrices: false },
    Family { name: "gcn5", chips: &["vega10"], has_matrices: false },
];

/// The exit status of automake's tests for what could not run, by which the process says so.
pub const SKIPPED: u8 = 77;

/// Where drivers leave the files that the Vulkan loader reads.
const PLACES: [&str; 4] = [
    "/etc/vulkan/icd.d",
    "/usr/local/share/vulkan/icd.d",
    "/usr/share/vulkan/icd.d",
    "/run/opengl-driver/share/vulkan/icd.d",
];

/// RADV, by the file that tells the Vulkan loader where it lies.
#[derive(Debug)]
pub struct Driver {
    file: PathBuf,
    /// The folder that it is in, with the libraries that came with it; `None` where the system finds it.
    libraries: Option<PathBuf>,
}

impl Driver {
    /// That of this machine.
    #[must_use]
    pub fn installed() -> Option<PathBuf> {
        let is_radv = |path: &PathBuf| {
            let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
            name.starts_with("radeon_icd") && name.ends_with(".json") && !name.contains("i686")
        };
        let files = |place| fs::read_dir(place).into_iter().flatten().flatten().map(|entry| entry.path());
        PLACES.into_iter().flat_map(files).find(is_radv)
    }

    /// That of a file.
    ///
    /// # Errors
    /// A file that cannot be read or is not JSON.
    pub fn new(file: &Path) -> Result<Self, String> {
        let in_words = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
        let text = fs::read_to_string(file).map_err(|error| in_words(&error))?;
        let known: Value = serde_json::from_str(&text).map_err(|error| in_words(&error))?;
        let library = Path::new(known["ICD"]["library_path"].as_str().unwrap_or_default());
        let libraries = library.parent().filter(|folder| folder.is_absolute()).map(Path::to_owned);
        Ok(Self { file: file.to_owned(), libraries })
    }
}

/// What a driver had to say of a family.
#[derive(Debug)]
pub enum Answer {
    /// Every pipeline's numbers.
    Report(Box<Report>),
    /// It has no such GPU, and why.
    Absent(String),
    /// It broke down, with its last words.
    Broken(String),
}

impl Family {
    /// Has a process of this program compile what is selected for the family.
    #[must_use]
    pub fn ask(&self, driver: &Driver, selection: Selection) -> Answer {
        let mut answer = Answer::Absent("it has no name that is known".to_owned());
        for chip in self.chips {
            answer = self.ask_for(chip, driver, selection);
            if !matches!(answer, Answer::Absent(_)) {
                return answer;
            }
        }
        answer
    }

    fn ask_for(&self, chip: &str, driver: &Driver, selection: Selection) -> Answer {
        let output = std::env::current_exe().and_then(|program| {
            let mut command = Command::new(program);
            command
                .args(["--inside", self.name])
                .args((selection == Selection::Cooperative).then_some("--only-cooperative"))
                .env("RADV_FORCE_FAMILY", chip)
                .env("VK_DRIVER_FILES", &driver.file)
                .env("VK_ICD_FILENAMES", &driver.file) // what older loaders know instead
                .env("NODEVICE_SELECT", "1") // Mesa's layer, which asks for a desktop
                .env("MESA_SHADER_CACHE_DISABLE", "true"); // what is taken from it has no numbers
            if let Some(folder) = &driver.libraries {
                command.env("LD_LIBRARY_PATH", folder);
            }
            command.output()
        });
        let output = match output {
            Ok(output) => output,
            Err(error) => return Answer::Broken(error.to_string()),
        };
        let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        match output.status.code() {
            Some(0) => match serde_json::from_slice(&output.stdout) {
                Ok(report) => Answer::Report(report),
                Err(error) => Answer::Broken(error.to_string()),
            },
            Some(code) if code == i32::from(SKIPPED) => Answer::Absent(words),
            // The driver ends the process that asks for what it does not know.
            _ if words.contains("Unknown family") => Answer::Absent(words),
            _ => Answer::Broken(format!("{}: {words}", output.status)),
        }
    }
}
