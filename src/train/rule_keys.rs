//! The keys of rules: which there are for which, what they may be, and what a rule brings along.

use crate::{
    noise::{Mode, Scale, SigmaSchedule},
    optim::{Decay, OptimizerKind},
    rules::RuleKind,
};

use super::{AUTO_BATCH, OnNan, Precision, RunConfig, TrainError};

/// What a parameter may be.
#[derive(Clone, Copy)]
enum Domain {
    Positive,
    /// 0 or more.
    Magnitude,
    /// From 0 to 1, without 1.
    Share,
    /// A whole number of at least 1.
    Count,
    /// A whole number of at least 2.
    Several,
}

impl Domain {
    fn holds(self, value: f64) -> bool {
        match self {
            Self::Positive => value.is_finite() && value > 0.0,
            Self::Magnitude => value.is_finite() && value >= 0.0,
            Self::Share => (0.0..1.0).contains(&value),
            Self::Count => value >= 1.0,
            Self::Several => value >= 2.0,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Positive => "has to be positive",
            Self::Magnitude => "has to be 0 or more",
            Self::Share => "has to be in [0, 1)",
            Self::Count => "has to be at least 1",
            Self::Several => "has to be at least 2",
        }
    }
}

fn wrong<T>(key: &str, reason: String) -> Result<T, TrainError> {
    Err(TrainError::Config { key: key.to_owned(), reason })
}

impl RunConfig {
    /// The defaults of a run by a rule: those of its published code where they are others than a plain run's.
    #[must_use]
    pub fn published(rule: RuleKind) -> Self {
        let mut config = Self { rule, ..Self::default() };
        config.take_published(&|_| false);
        config
    }

    /// Takes the published values of its rule, and of its optimizer where that is given, for keys that are not given.
    pub(super) fn take_published(&mut self, given: &dyn Fn(&str) -> bool) {
        let number = |key: &str, value: &mut f64, published: f64| {
            if !given(key) {
                *value = published;
            }
        };
        match self.rule {
            RuleKind::Nso => number("sigma", &mut self.sigma, 0.01),
            RuleKind::Lpf => number("sigma", &mut self.sigma, 0.002),
            RuleKind::Arwp => number("sigma", &mut self.sigma, 0.001),
            RuleKind::MRwp => number("sigma", &mut self.sigma, 0.015),
            RuleKind::Ivon => {
                number("beta2", &mut self.beta2, 0.99999);
                number("weight-decay", &mut self.weight_decay, 1e-4);
            }
            RuleKind::Mezo => {
                number("momentum", &mut self.momentum, 0.0);
                number("weight-decay", &mut self.weight_decay, 0.0);
            }
            _ => {}
        }
        match self.optimizer {
            OptimizerKind::Lion if given("optimizer") => number("beta2", &mut self.beta2, 0.99),
            OptimizerKind::Muon if given("optimizer") => {
                number("momentum", &mut self.momentum, 0.95);
                number("weight-decay", &mut self.weight_decay, 0.1);
                self.nesterov |= !given("nesterov");
            }
            _ => {}
        }
        if matches!(self.rule, RuleKind::Lpf | RuleKind::Arwp | RuleKind::MRwp) && !given("noise-scale") {
            self.noise_scale = Scale::Filter;
        }
        if self.rule == RuleKind::Arwp && !given("noise-schedule") && !given("sigma") {
            self.noise_schedule = SigmaSchedule::CosineUp;
        }
        if self.rule == RuleKind::Mezo && !given("decay") {
            self.decay = Decay::Matrices;
        }
    }

    /// Leaves out the parameters of every rule but its own.
    pub(super) fn leave_out_other_rules(&mut self) {
        fn unless<T>(own: bool, value: &mut Option<T>) {
            if !own {
                *value = None;
            }
        }
        let parameters = self.rule.parameters();
        let own = |key: &str| parameters.contains(&key);
        unless(own("rho"), &mut self.rho);
        unless(own("eta"), &mut self.eta);
        unless(own("sam-parts"), &mut self.sam_parts);
        unless(own("pairs"), &mut self.pairs);
        unless(own("nso-lambda"), &mut self.nso_lambda);
        unless(own("sub-batches"), &mut self.sub_batches);
        unless(own("arwp-eta"), &mut self.arwp_eta);
        unless(own("arwp-beta"), &mut self.arwp_beta);
        unless(own("rwp-lambda"), &mut self.rwp_lambda);
        unless(own("ess"), &mut self.ess);
        unless(own("hess-init"), &mut self.hess_init);
        unless(own("mc-samples"), &mut self.mc_samples);
        unless(own("mezo-eps"), &mut self.mezo_eps);
        unless(own("fresh-label-noise"), &mut self.fresh_label_noise);
        unless(own("swag-start"), &mut self.swag_start);
        unless(own("swag-every"), &mut self.swag_every);
        unless(own("swag-rank"), &mut self.swag_rank);
    }

    /// The parameters of rules that have a value, by their keys.
    fn rule_parameters(&self) -> impl Iterator<Item = (&'static str, f64, Domain)> {
        let count = |value: Option<u32>| value.map(f64::from);
        let parameters = [
            ("rho", self.rho, Domain::Positive),
            ("eta", self.eta, Domain::Magnitude),
            ("sam-parts", count(self.sam_parts), Domain::Count),
            ("pairs", count(self.pairs), Domain::Count),
            ("nso-lambda", self.nso_lambda, Domain::Share),
            ("sub-batches", count(self.sub_batches), Domain::Count),
            ("arwp-eta", self.arwp_eta, Domain::Magnitude),
            ("arwp-beta", self.arwp_beta, Domain::Share),
            ("rwp-lambda", self.rwp_lambda, Domain::Share),
            ("ess", self.ess, Domain::Positive),
            ("hess-init", self.hess_init, Domain::Positive),
            ("mc-samples", count(self.mc_samples), Domain::Count),
            ("mezo-eps", self.mezo_eps, Domain::Positive),
            ("fresh-label-noise", self.fresh_label_noise, Domain::Share),
            ("swag-start", self.swag_start, Domain::Share),
            ("swag-every", self.swag_every.map(|epochs| epochs as f64), Domain::Count),
            ("swag-rank", count(self.swag_rank), Domain::Several),
        ];
        parameters.into_iter().filter_map(|(key, value, domain)| Some((key, value?, domain)))
    }

    /// Whether the values make sense with the rule.
    pub(super) fn check_rule(&self) -> Result<(), TrainError> {
        let rule = self.rule;
        for (key, value, domain) in self.rule_parameters() {
            if !rule.parameters().contains(&key) {
                let owners = RuleKind::ALL.into_iter().filter(|rule| rule.parameters().contains(&key));
                let owners: Vec<&str> = owners.map(RuleKind::name).collect();
                return wrong(key, format!("a parameter of rule {}, the rule is {rule}", owners.join(", ")));
            }
            if !domain.holds(value) {
                return wrong(key, format!("{}, found {value}", domain.words()));
            }
        }
        if rule.perturbs() && self.noise != Mode::None {
            return wrong(
                "noise",
                format!("rule {rule} moves the weights by itself, expected none, found {}", self.noise),
            );
        }
        self.check_parts()?;
        self.check_epochs()?;
        self.check_companions()
    }

    /// Whether there are samples for every part of a step.
    fn check_parts(&self) -> Result<(), TrainError> {
        let samples = self.batch.saturating_mul(self.accumulate);
        let parts = [("sam-parts", RuleKind::MSam, self.sam_parts), ("sub-batches", RuleKind::Lpf, self.sub_batches)];
        for (key, rule, given) in parts {
            let parts = given.unwrap_or(super::rule::PARTS) as usize;
            if self.rule == rule && self.batch != AUTO_BATCH && parts > samples {
                return wrong(key, format!("{parts} parts are more than the {samples} samples of a step"));
            }
        }
        Ok(())
    }

    /// Whether what the rule does by the epoch is said, and done often enough.
    fn check_epochs(&self) -> Result<(), TrainError> {
        let rule = self.rule;
        if rule == RuleKind::FreshLabels && self.fresh_label_noise.is_none() {
            return wrong("fresh-label-noise", format!("rule {rule} needs the share of labels that it draws anew"));
        }
        if self.steps.is_none() {
            // How many weights are taken of a run of whole epochs does not depend on the steps of one.
            self.swag(self.length(1))?;
        }
        Ok(())
    }

    /// Whether what the rule needs, and has no place for, is as it has to be.
    fn check_companions(&self) -> Result<(), TrainError> {
        let rule = self.rule;
        let refuse = |key: &str, found: &dyn std::fmt::Display, why: &str| {
            wrong(key, format!("{found} does not go with rule {rule}: {why}"))
        };
        if rule.updates() && self.optimizer != OptimizerKind::Sgd {
            return refuse("optimizer", &self.optimizer, "it has an update of its own");
        }
        if rule == RuleKind::Msam && self.optimizer == OptimizerKind::ScheduleFree {
            return refuse("optimizer", &self.optimizer, "it has no momentum to look ahead along");
        }
        if rule == RuleKind::Msam && self.optimizer == OptimizerKind::Sgd && self.momentum == 0.0 {
            return refuse("momentum", &self.momentum, "it looks ahead along the momentum");
        }
        if rule == RuleKind::Arwp && self.noise_scale != Scale::Filter {
            return refuse("noise-scale", &self.noise_scale, "its history is of filters");
        }
        if rule == RuleKind::Mezo && self.momentum != 0.0 {
            return refuse("momentum", &self.momentum, "it keeps nothing from step to step");
        }
        if let Some(norm) = self.clip_norm.filter(|_| rule == RuleKind::Mezo) {
            return refuse("clip-norm", &norm, "it takes no gradient");
        }
        if rule == RuleKind::Arwp && self.precision == Precision::F16 {
            return refuse("precision", &self.precision, "its history of gradients knows no loss scale");
        }
        let has_sigma = rule.draws_at_sigma() || !rule.perturbs();
        match self.on_nan {
            OnNan::HalveSigma if !has_sigma => refuse("on-nan", &self.on_nan, "it has no sigma"),
            OnNan::Skip if rule == RuleKind::Mezo => refuse("on-nan", &self.on_nan, "it takes no gradient"),
            OnNan::Skip if rule == RuleKind::Arwp => {
                refuse("on-nan", &self.on_nan, "its history keeps what is not finite")
            }
            _ => Ok(()),
        }
    }
}
