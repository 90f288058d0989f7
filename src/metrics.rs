//! [`metrics!`](crate::metrics::metrics) declares metrics once: a struct with a field for each family, whose doc
//! comment is the family's help text.
//!
//! Where the labels of a family are closed sets, every series is there from the start, so that a rate is right
//! from the first event on; and each is found by its place, without a lock or a hash.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use prometheus::core::Collector;
use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry,
};

use crate::labels::Labels;

/// A family of metrics, as it is declared.
#[derive(Clone, Copy, Debug)]
pub struct Declared {
    /// Its name.
    pub name: &'static str,
    /// What it says, from a doc comment.
    pub help: &'static str,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// The upper bounds of a histogram's buckets.
    pub buckets: &'static [f64],
}

impl Declared {
    fn opts(&self) -> Opts {
        Opts::new(self.name, self.help.trim_start())
    }

    fn histogram(&self) -> HistogramOpts {
        HistogramOpts::from(self.opts()).buckets(self.buckets.to_vec())
    }
}

/// What a field of a struct of metrics may be. Cheap to clone; all clones count together.
pub trait Metric: Sized {
    /// Makes it, without a registry. For one that counts before there is a registry.
    ///
    /// # Errors
    /// The name or a label is not one that Prometheus takes.
    fn declare(family: &Declared) -> prometheus::Result<Self>;

    /// Makes it, at zero, and registers it.
    ///
    /// # Errors
    /// The same, or the name is registered already.
    fn register(registry: &Registry, family: &Declared) -> prometheus::Result<Self>;
}

/// A metric of the library's is a [`Metric`]: by this constructor, and with these arguments.
macro_rules! metric {
    ($($metric:ty => $new:ident($($arg:ident),+);)+) => {$(
        impl Metric for $metric {
            fn declare(family: &Declared) -> prometheus::Result<Self> {
                Self::$new($(metric!(@ $arg family)),+)
            }

            fn register(registry: &Registry, family: &Declared) -> prometheus::Result<Self> {
                let metric = Self::declare(family)?;
                registry.register(Box::new(metric.clone()))?;
                Ok(metric)
            }
        }
    )+};
    (@ opts $family:ident) => { $family.opts() };
    (@ histogram $family:ident) => { $family.histogram() };
    (@ labels $family:ident) => { $family.labels };
}

metric! {
    IntCounter => with_opts(opts);
    IntGauge => with_opts(opts);
    Gauge => with_opts(opts);
    Histogram => with_opts(histogram);
    IntCounterVec => new(opts, labels);
    IntGaugeVec => new(opts, labels);
    GaugeVec => new(opts, labels);
    HistogramVec => new(histogram, labels);
}

/// One series of a family with labels.
pub trait Series: Clone {
    /// The family.
    type All: Metric + Collector;

    /// The series with these values.
    ///
    /// # Errors
    /// The family has more labels than that, or fewer.
    fn of(all: &Self::All, values: &[&str]) -> prometheus::Result<Self>;
}

macro_rules! series {
    ($($one:ty => $all:ty;)+) => {$(
        impl Series for $one {
            type All = $all;

            fn of(all: &$all, values: &[&str]) -> prometheus::Result<Self> {
                all.get_metric_with_label_values(values)
            }
        }
    )+};
}

series! {
    IntCounter => IntCounterVec;
    IntGauge => IntGaugeVec;
    Gauge => GaugeVec;
    Histogram => HistogramVec;
}

/// A family whose labels are closed sets.
pub struct Family<L, S> {
    series: Arc<[S]>,
    labels: PhantomData<fn(L)>,
}

/// Counters by closed labels.
pub type Counters<L> = Family<L, IntCounter>;
/// Gauges of whole numbers by closed labels.
pub type IntGauges<L> = Family<L, IntGauge>;
/// Gauges by closed labels.
pub type Gauges<L> = Family<L, Gauge>;
/// Histograms by closed labels.
pub type Histograms<L> = Family<L, Histogram>;

impl<L: Labels, S> Family<L, S> {
    /// The series of these labels.
    #[must_use]
    pub fn of(&self, labels: L) -> &S {
        &self.series[labels.place()]
    }

    /// Every series with its labels.
    pub fn iter(&self) -> impl Iterator<Item = (L, &S)> {
        L::all().zip(self.series.iter())
    }
}

impl<L: Labels, S: Series> Metric for Family<L, S> {
    fn declare(family: &Declared) -> prometheus::Result<Self> {
        Self::among(&S::All::declare(family)?)
    }

    fn register(registry: &Registry, family: &Declared) -> prometheus::Result<Self> {
        Self::among(&S::All::register(registry, family)?)
    }
}

impl<L: Labels, S: Series> Family<L, S> {
    fn among(all: &S::All) -> prometheus::Result<Self> {
        let series: prometheus::Result<Vec<S>> =
            L::all().map(|labels| S::of(all, &labels.values())).collect();
        Ok(Self { series: series?.into(), labels: PhantomData })
    }
}

impl<L, S> Clone for Family<L, S> {
    fn clone(&self) -> Self {
        Self { series: Arc::clone(&self.series), labels: PhantomData }
    }
}

impl<L, S> fmt::Debug for Family<L, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Family").field("series", &self.series.len()).finish_non_exhaustive()
    }
}

/// Shows a number of things in a gauge, which is signed.
pub fn show(gauge: &IntGauge, number: u64) {
    gauge.set(i64::try_from(number).unwrap_or(i64::MAX));
}

/// Declares the metrics of one owner: per field the help text as its doc comment, the type, the name, the names of
/// the labels if there are any, and the buckets of a histogram.
///
/// ```
/// use offhook::metrics::{Counters, metrics};
/// use prometheus::{Histogram, IntGauge};
///
/// offhook::labels! {
///     /// How it ended.
///     pub enum End {
///         /// Well.
///         Well = "well",
///         /// Not well.
///         Badly = "badly",
///     }
/// }
///
/// metrics! {
///     /// Of a kitchen.
///     #[derive(Clone, Debug)]
///     pub struct Kitchen {
///         /// Pots on the stove
///         pots: IntGauge = "kitchen_pots",
///         /// Meals, by how they ended
///         meals: Counters<End> = "kitchen_meals_total" by ["end"],
///         /// Time to cook a meal
///         cooking: Histogram = "kitchen_cooking_seconds" in [60.0, 600.0],
///     }
/// }
///
/// let kitchen = Kitchen::register(&prometheus::Registry::new())?;
/// kitchen.meals.of(End::Well).inc();
/// # Ok::<(), prometheus::Error>(())
/// ```
#[macro_export]
macro_rules! metrics {
    (
        $(#[$about:meta])*
        $vis:vis struct $owner:ident {$(
            $(#[doc = $help:literal])+
            $field_vis:vis $field:ident: $type:ty = $name:literal
                $(by [$($label:literal),+])? $(in $buckets:expr)?
        ),+ $(,)?}
    ) => {
        $(#[$about])*
        $vis struct $owner {$(
            $(#[doc = $help])+
            $field_vis $field: $type
        ),+}

        impl $owner {
            /// Registers every family.
            ///
            /// # Errors
            /// A name is registered already.
            $vis fn register(registry: &::prometheus::Registry) -> ::prometheus::Result<Self> {
                Ok(Self {$(
                    $field: $crate::metrics::Metric::register(
                        registry,
                        &$crate::metrics::Declared {
                            name: $name,
                            help: concat!($($help),+),
                            labels: &[$($($label),+)?],
                            buckets: $crate::metrics!(@ $($buckets)?),
                        },
                    )?
                ),+})
            }
        }
    };
    (@) => { &[] };
    (@ $buckets:expr) => { &$buckets };
}

pub use metrics;

#[cfg(test)]
mod tests {
    use prometheus::TextEncoder;

    use super::*;
    use crate::labels::labels;

    labels! {
        /// How something ended.
        enum End {
            Well = "well",
            Badly = "badly",
        }
    }

    metrics! {
        /// Of this test.
        struct Declaration {
            /// A number
            /// of things
            number: IntGauge = "test_number",
            /// Ends
            ends: Counters<(End, End)> = "test_ends_total" by ["first", "second"],
            /// Times
            times: Histogram = "test_seconds" in [0.5],
        }
    }

    #[test]
    fn a_family_is_there_from_the_start_with_its_doc_comment_as_its_help() {
        let registry = Registry::new();
        let declared = Declaration::register(&registry).expect("new names");
        declared.ends.of((End::Well, End::Badly)).inc_by(3);
        declared.times.observe(0.1);
        show(&declared.number, u64::MAX);
        assert_eq!(declared.number.get(), i64::MAX);
        show(&declared.number, 7);
        let text = TextEncoder::new().encode_to_string(&registry.gather()).expect("text");
        for line in [
            "# HELP test_number A number of things",
            "test_number 7",
            "test_ends_total{first=\"badly\",second=\"badly\"} 0",
            "test_ends_total{first=\"well\",second=\"badly\"} 3",
            "test_seconds_bucket{le=\"0.5\"} 1",
        ] {
            assert!(text.lines().any(|there| there == line), "{line}: {text}");
        }
        let counted: Vec<_> = declared.ends.iter().map(|(_, series)| series.get()).collect();
        assert_eq!(counted, [0, 3, 0, 0]);
        Declaration::register(&registry).map(|_| ()).expect_err("its names are taken");
    }
}
