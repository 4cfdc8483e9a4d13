//! Metric families built from numbers that are counted elsewhere.
//!
//! The data path counts in its own memory, so there is nothing to register and increment: each scrape makes the
//! families anew from one reading. The types and the text format are the `prometheus` crate's.

use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};

/// Families in the making.
#[derive(Debug, Default)]
pub struct Families(Vec<MetricFamily>);

/// Label names and values of one sample.
pub type Labels<'a> = &'a [(&'a str, &'a str)];

impl Families {
    /// One sample of a counter.
    pub fn counter(&mut self, name: &str, help: &str, labels: Labels<'_>, value: u64) {
        let mut counter = Counter::default();
        counter.set_value(value as f64);
        let mut metric = with(labels);
        metric.set_counter(counter);
        self.add(name, help, MetricType::COUNTER, metric);
    }

    /// One sample of a gauge.
    pub fn gauge(&mut self, name: &str, help: &str, labels: Labels<'_>, value: f64) {
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        let mut metric = with(labels);
        metric.set_gauge(gauge);
        self.add(name, help, MetricType::GAUGE, metric);
    }

    /// One histogram: cumulative counts by upper bound, the sum of all values, and their number.
    pub fn histogram(
        &mut self,
        (name, help): (&str, &str),
        labels: Labels<'_>,
        buckets: &[(f64, u64)],
        (sum, count): (f64, u64),
    ) {
        let mut histogram = Histogram::default();
        let bucket = |(le, n): &(f64, u64)| {
            let mut b = Bucket::default();
            b.set_upper_bound(*le);
            b.set_cumulative_count(*n);
            b
        };
        histogram.set_bucket(buckets.iter().map(bucket).collect());
        histogram.set_sample_sum(sum);
        histogram.set_sample_count(count);
        let mut metric = with(labels);
        metric.set_histogram(histogram);
        self.add(name, help, MetricType::HISTOGRAM, metric);
    }

    /// All of it in the text exposition format.
    ///
    /// # Errors
    /// What the encoder finds wrong with a family.
    pub fn encode(&self) -> prometheus::Result<String> {
        prometheus::TextEncoder::new().encode_to_string(&self.0)
    }

    fn add(&mut self, name: &str, help: &str, kind: MetricType, metric: Metric) {
        if let Some(family) = self.0.iter_mut().find(|f| f.name() == name) {
            family.mut_metric().push(metric);
            return;
        }
        let mut family = MetricFamily::default();
        family.set_name(name.to_owned());
        family.set_help(help.to_owned());
        family.set_field_type(kind);
        family.set_metric(vec![metric]);
        self.0.push(family);
    }
}

fn with(labels: Labels<'_>) -> Metric {
    let pair = |(name, value): &(&str, &str)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    };
    let mut metric = Metric::default();
    metric.set_label(labels.iter().map(pair).collect());
    metric
}
