//! The declaration of metrics: fields, registration, and the buckets of the histograms.

use prometheus::core::Collector;
use prometheus::{
    Counter, CounterVec, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry,
};

/// Declares [`Metrics`](super::Metrics): private fields that start as their type's default, then a field for each metric with
/// the method of [`Define`] that makes it. A metric has the name of its field and the first line of its documentation as its
/// help text, so that neither is written twice.
macro_rules! metrics {
    (
        $(#[doc = $about:literal])+
        pub struct $metrics:ident($labels:ident: $Labels:ty) { $($private:ident: $Private:ty,)* }

        $(
            #[doc = $help:literal]
            $(#[doc = $more:literal])*
            $name:ident: $Handle:ty = $define:ident($($argument:expr),*);
        )+
    ) => {
        $(#[doc = $about])+
        #[derive(Debug)]
        pub struct $metrics {
            registry: Registry,
            $labels: $Labels,
            $($private: $Private,)*
            $(
                #[doc = $help]
                $(#[doc = $more])*
                $name: $Handle,
            )+
        }

        impl $metrics {
            /// Makes all metrics, every series with a known label at 0.
            pub fn new($labels: $Labels) -> $metrics {
                let define = define::Define::new();
                $metrics {
                    $($private: Default::default(),)*
                    $($name: define.$define(stringify!($name), $help.trim_ascii() $(, $argument)*),)+
                    $labels,
                    registry: define.registry,
                }
            }
        }
    };
}
pub(super) use metrics;

/// Delays of publication: 1 s to 6 h; the alert looks at 30 minutes.
pub(super) const DELAY: &[f64] = &[1., 2., 5., 10., 30., 60., 120., 300., 600., 1_800., 3_600., 7_200., 21_600.];
/// Lengths of shows: 1 min to 24 h.
pub(super) const SESSION: &[f64] = &[60., 300., 900., 1_800., 3_600., 7_200., 14_400., 21_600., 43_200., 86_400.];
/// Segments of a session, up to the default limit.
pub(super) const SEGMENTS: &[f64] = &[1., 2., 3., 5., 10., 20., 50., 100., 200., 500., 1_000., 2_000.];
/// Silences: fine below the default gap of 3 min, since that is where the question is.
pub(super) const GAP: &[f64] = &[1., 5., 10., 30., 60., 90., 120., 150., 165., 180., 300., 600., 1_800.];
/// Commits: a few milliseconds to the transaction timeout; 80 ms is where the producer is replaced.
pub(super) const COMMIT: &[f64] = &[0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.6, 1.2, 2.5, 5., 10.];
/// Restores: a tenth of a second to ten minutes.
pub(super) const RESTORE: &[f64] = &[0.1, 0.5, 1., 2., 5., 10., 30., 60., 120., 300., 600.];
/// Requests: a millisecond to the limit at which a query is interrupted.
pub(super) const REQUEST: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1., 10.];

/// Makes metrics and registers them.
pub(super) struct Define {
    pub registry: Registry,
}

impl Define {
    /// Makes a registry that has the metrics of the process, where the crate knows how to read them.
    pub fn new() -> Define {
        let registry = Registry::new();
        #[cfg(target_os = "linux")]
        valid(registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self())));
        Define { registry }
    }

    fn register<C: Collector + Clone + 'static>(&self, collector: C) -> C {
        valid(self.registry.register(Box::new(collector.clone())));
        collector
    }

    pub fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.register(valid(IntCounter::with_opts(opts(name, help))))
    }

    pub fn counter_family(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.register(valid(IntCounterVec::new(opts(name, help), labels)))
    }

    /// Makes a family with a closed list of values, and returns a handle for each, in order.
    pub fn counters(&self, name: &str, help: &str, label: &str, values: &[&str]) -> Vec<IntCounter> {
        let family = self.counter_family(name, help, &[label]);
        values.iter().map(|value| family.with_label_values(&[*value])).collect()
    }

    /// Like [`Define::counters`], for fractions.
    pub fn seconds(&self, name: &str, help: &str, label: &str, values: &[&str]) -> Vec<Counter> {
        let family = self.register(valid(CounterVec::new(opts(name, help), &[label])));
        values.iter().map(|value| family.with_label_values(&[*value])).collect()
    }

    pub fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.register(valid(IntGauge::with_opts(opts(name, help))))
    }

    pub fn gauge_family(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.register(valid(IntGaugeVec::new(opts(name, help), labels)))
    }

    /// Like [`Define::counters`], for gauges.
    pub fn gauges(&self, name: &str, help: &str, label: &str, values: &[&str]) -> Vec<IntGauge> {
        let family = self.gauge_family(name, help, &[label]);
        values.iter().map(|value| family.with_label_values(&[*value])).collect()
    }

    /// Makes a gauge of Unix time in seconds, with fractions.
    pub fn timestamp(&self, name: &str, help: &str) -> Gauge {
        self.register(valid(Gauge::with_opts(opts(name, help))))
    }

    /// Makes a family of gauges of Unix time in seconds, with fractions.
    pub fn timestamp_family(&self, name: &str, help: &str, labels: &[&str]) -> GaugeVec {
        self.register(valid(GaugeVec::new(opts(name, help), labels)))
    }

    pub fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Histogram {
        self.register(valid(Histogram::with_opts(histogram_opts(name, help, buckets))))
    }

    pub fn histogram_family(&self, name: &str, help: &str, buckets: &[f64], labels: &[&str]) -> HistogramVec {
        self.register(valid(HistogramVec::new(histogram_opts(name, help, buckets), labels)))
    }
}

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace("livesession")
}

fn histogram_opts(name: &str, help: &str, buckets: &[f64]) -> HistogramOpts {
    HistogramOpts::new(name, help).namespace("livesession").buckets(buckets.to_vec())
}

/// Takes what the registry made of constants.
fn valid<T>(made: prometheus::Result<T>) -> T {
    made.expect("names and buckets are constants, each used once, and a test builds them all")
}
