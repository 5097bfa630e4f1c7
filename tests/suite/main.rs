//! The integration tests: a module a room of `src/`, one crate because one crate links once. What measures the whole
//! process (`tests/soak.rs`, `tests/untrusted_files/`) is a program of its own.
//!
//!     cargo test --test suite kernels::conv     # the tests of a room or module
//!
//! The program can be carried to a machine without cargo: JOSTLE_ROOT and JOSTLE_BIN then say where the files that tests
//! read and the program that they start lie.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

mod circles;
mod documents;
mod layers;
mod report;
mod words;

mod analysis {
    mod curvature;
    mod curvature_parity;
    mod noise_variance;
    mod transformer_curvature;
}

mod bench {
    mod hessian;
    mod roofline;
    mod rules;
}

mod cli {
    mod compare;
    mod eval;
    mod export;
    mod generate;
    mod help;
    mod hessian;
    mod options;
    mod plan;
    #[cfg(unix)]
    mod processes;
    mod usage;
}

mod data {
    mod fresh_labels;
    mod idx;
    mod images;
    mod label_noise;
    mod sources;
    mod texts;
}

mod estimate {
    mod descriptions;
    mod plan_397dd4e;
}

mod experiments {
    mod attention_width;
    mod closed_forms;
    mod convex;
    mod end_to_end;
    mod generalisation;
    mod networks;
    mod rules;
    mod simple_models;
    mod transformers;
}

mod gpu {
    mod runtime_checks;
    mod sanitizer;
    mod two_adapters;
    #[cfg(any(target_os = "linux", target_os = "windows"))]
    mod validation;
}

mod graph {
    mod attention;
    mod attention_forms;
    mod autodiff;
    mod canonical;
    mod deferred;
    mod gradients;
    mod hidden;
    mod launches;
    mod memory;
    mod parts;
    mod random_network;
    mod sequences;
    mod tangents;
    mod ties;
    mod transformer_parts;
    mod vocabulary;
}

mod kernels {
    mod activation_tangent;
    mod attention;
    mod attention_rows;
    mod batch_norm;
    mod combine;
    mod conv;
    mod conv_endings;
    mod conv_pack;
    mod conv_sums;
    mod cooperative;
    mod cooperative_lanes;
    mod deferred_sums;
    mod dropout;
    mod elementwise;
    mod embedding;
    mod flash;
    mod flatten;
    mod gather;
    mod lanes;
    mod losses;
    mod matmul;
    mod muon;
    mod norms;
    mod optimizers;
    mod orthogonalise;
    mod philox;
    mod pool;
    mod reductions;
    mod select;
    mod shaders;
    mod update_noise;
    mod winograd;
}

mod nn {
    mod foreign_weights;
    mod init;
    mod model_file;
    mod transformer_blocks;
}

mod noise {
    mod draws;
    mod projections;
    mod scheme;
}

mod rules {
    mod identities;
    mod programs;
    mod steps;
}

mod train {
    mod checkpoints;
    mod configuration;
    mod conv_parity;
    mod faults;
    mod footprint;
    mod fresh_labels;
    mod gaussian;
    mod keys;
    mod language_models;
    mod mixed_precision;
    mod moving_average;
    mod old_checkpoint;
    mod parity;
    mod quality;
    mod repeat;
    mod repeat_models;
    mod rule_parity;
    mod rules;
    mod schedules;
    mod step_noise;
    mod swag;
    mod tensorboard;
    mod texts;
    mod transformer_parity;
    mod validation;
    mod values;
}
