# Two commands on a fresh machine: `make demo` and `make test`. `make` alone lists the rest.

SHELL := bash
.DEFAULT_GOAL := help
.PHONY: help setup demo docs test soak fuzz validate sanitize spirv compilers isa lint bench python gpu

# A fresh rustup is not on the PATH of shells that were open before it.
export PATH := $(PATH):$(or $(CARGO_HOME),$(HOME)/.cargo)/bin

TARGET_DIR := $(or $(CARGO_TARGET_DIR),$(CARGO_BUILD_TARGET_DIR),target)
JOSTLE := $(TARGET_DIR)/release/jostle

# The demo's seeds, probes of the Hessian trace, and folder; a shorter one: make demo DEMO_SEEDS=1 DEMO_EPOCHS=2
DEMO_SEEDS ?= 5
DEMO_HESSIAN ?= 8
DEMO_OUT ?= runs/demo
# Epochs other than those of assets/demo.toml, and any more options of `jostle compare`.
DEMO_EPOCHS ?=
DEMO_FLAGS ?=
# Options of `jostle bench`, such as --adapter 0.
BENCH_FLAGS ?=
# Options of scripts/gpu.sh, such as --budget 240.
GPU_FLAGS ?=
# Options of tests/isa, such as --update or --json FILE.
ISA_FLAGS ?=
# The parts of the suite that the sanitizer watches: all kernels, and a step that puts them together.
SANITIZED := kernels:: gpu::sanitizer
# Seconds of each fuzz target.
FUZZ_SECONDS ?= 600

help: ## List these targets
	@echo 'make TARGET, where TARGET is one of'
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  \1\t\2/p' $(firstword $(MAKEFILE_LIST))
	@echo 'demo takes DEMO_SEEDS=5 DEMO_EPOCHS= DEMO_HESSIAN=8 DEMO_OUT=runs/demo DEMO_FLAGS=, bench takes BENCH_FLAGS=, gpu takes GPU_FLAGS=, isa takes ISA_FLAGS=, fuzz takes FUZZ_SECONDS=600'

setup: ## Check cargo; install a software Vulkan driver where there is no adapter
	@bash scripts/setup.sh

demo: setup ## Compare noise modes on bundled digits: a table, a figure and a report in runs/demo
	cargo build --release
	$(JOSTLE) compare --config assets/demo.toml --seeds $(DEMO_SEEDS) --hessian $(DEMO_HESSIAN) --out $(DEMO_OUT) \
		--overwrite $(if $(DEMO_EPOCHS),--epochs $(DEMO_EPOCHS)) $(DEMO_FLAGS)
	@echo 'open $(DEMO_OUT)/report.html'

docs: setup ## Run generalisation and every experiment on the paper's theory, and write their pages into docs/ (2 hours 15 minutes)
	cargo build --release
	bash scripts/docs.sh

test: ## Run all tests, with cargo-nextest where present
	@bash scripts/setup.sh
	@if cargo nextest --version >/dev/null 2>&1; then \
		set -x; cargo nextest run --lib --tests; \
	else \
		set -x; cargo test --lib --tests; \
	fi
	cargo test --doc

soak: ## 20,000 steps in flat memory, and a run killed 20 times (5 minutes); `make test` runs both in short form
	@bash scripts/setup.sh tests
	JOSTLE_SOAK=1 cargo test --test soak --test suite -- --nocapture memory_stays_flat kills_at_random

validate: setup ## Run all tests under Vulkan's validation layer, which is fetched where it is missing (Debian)
	bash scripts/validate.sh

sanitize: ## Run the kernels' tests with every pipeline done by the sanitizer too: races, memory that nobody wrote, indices outside
	@bash scripts/setup.sh tests
	cargo test -p jostle-sanitizer
	@if cargo nextest --version >/dev/null 2>&1; then \
		set -x; JOSTLE_SANITIZE=1 cargo nextest run --test suite $(SANITIZED); \
	else \
		set -x; JOSTLE_SANITIZE=1 cargo test --test suite -- $(SANITIZED); \
	fi

spirv: ## Hold every kernel's SPIR-V against spirv-val: minutes of C++ the first time
	@bash scripts/setup.sh spirv
	cargo test -p jostle-spirv

compilers: ## Put every kernel through Metal's, browsers' and DirectX 12's shader compilers, as far as Linux has them
	cargo test -p jostle-compilers
	bash scripts/compilers.sh || [ $$? -eq 77 ] # a compiler that is not here has been said to be skipped

isa: ## Compile every pipeline of a training step for AMD's GPUs, which need not be here: registers, spills, occupancy
	bash scripts/isa.sh $(ISA_FLAGS) || [ $$? -eq 77 ] # what is not here has been said to be skipped

lint: ## Check formatting, and clippy with warnings as errors
	cargo fmt --all --check
	cargo fmt --check --manifest-path fuzz/Cargo.toml
	cargo fmt --check --manifest-path python/jostle/Cargo.toml
	cargo clippy -p jostle -p jostle-benches -p jostle-sanitizer --all-targets -- -D warnings

fuzz: ## Run each fuzz target for FUZZ_SECONDS; needs the nightly toolchain and cargo-fuzz
	FUZZ_SECONDS=$(FUZZ_SECONDS) bash scripts/fuzz.sh

bench: setup ## Measure a training step, the cost of noise, and a matrix product
	cargo build --release
	$(JOSTLE) bench $(BENCH_FLAGS)
	$(JOSTLE) bench --matmul 1024 $(BENCH_FLAGS)

python: setup ## Build Python's wheel into python/jostle/dist, and run its tests and the notebook in a fresh virtual environment
	bash scripts/python.sh

gpu: ## Prove and measure everything on the best adapter, in seven minutes: a table, and a report in runs/gpu
	bash scripts/gpu.sh $(GPU_FLAGS)
