//! What the driver's compiler says of a pipeline.

use serde::{Deserialize, Serialize};

/// The driver's name of each number, and the table's.
const COLUMNS: [(&str, &str); 10] = [
    (SUBGROUP_SIZE, "lanes"),
    ("VGPRs", "VGPRs"),
    ("SGPRs", "SGPRs"),
    ("Spilled VGPRs", "spilt VGPRs"),
    ("Spilled SGPRs", "spilt SGPRs"),
    ("LDS size", "workgroup bytes"),
    ("Subgroups per SIMD", "subgroups"),
    ("Instructions", "instructions"),
    ("Latency", "latency"),
    ("Inverse Throughput", "inverse throughput"),
];
const SPILT: [usize; 2] = [3, 4];
const SUBGROUPS: usize = 6;

/// A number that the driver gives apart from the others.
pub const SUBGROUP_SIZE: &str = "Subgroup size";

/// Of a pipeline: invocations of a subgroup, vector registers of an invocation and scalar ones of a subgroup, how many of both did not fit, bytes of
/// workgroup memory, subgroups that a SIMD holds at the same time, instructions, and the compiler's guesses at the cycles of
/// a subgroup that runs alone and at those that it keeps a unit busy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Statistics([u64; COLUMNS.len()]);

impl Statistics {
    /// From what the driver lists.
    ///
    /// # Errors
    /// The name of a number that it does not list.
    pub fn from_driver(listed: &[(String, u64)]) -> Result<Self, String> {
        let mut values = [0; COLUMNS.len()];
        for (value, (name, _)) in values.iter_mut().zip(COLUMNS) {
            let found = listed.iter().find(|(listed, _)| listed == name);
            *value = found.ok_or_else(|| format!("the driver says nothing of {name}"))?.1;
        }
        Ok(Self(values))
    }

    /// The names of the numbers.
    #[must_use]
    pub fn headers() -> [&'static str; COLUMNS.len()] {
        COLUMNS.map(|(_, header)| header)
    }

    /// The numbers with their names.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Self::headers().into_iter().zip(self.0)
    }

    /// Registers that did not fit.
    #[must_use]
    pub fn spilt(&self) -> u64 {
        SPILT.iter().map(|place| self.0[*place]).sum()
    }

    /// Occupancy: subgroups that a SIMD holds at the same time.
    #[must_use]
    pub fn subgroups(&self) -> u64 {
        self.0[SUBGROUPS]
    }
}
