package metrics

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// collector turns a snapshot into metrics at each scrape.
type collector struct {
	snapshot func() Snapshot
	descs    []*prometheus.Desc // of the rows of table

	mu       sync.Mutex
	filtered uint64 // the highest value shown
}

// NewRegistry returns a registry of its own with the daemon's metrics, whose
// values snapshot tells, and the version of the program.
func NewRegistry(snapshot func() Snapshot, version string) *prometheus.Registry {
	c := &collector{snapshot: snapshot}
	for _, m := range table {
		var labels []string
		if m.label != "" {
			labels = []string{m.label}
		}
		c.descs = append(c.descs, prometheus.NewDesc(prefix+m.name, m.help, labels, nil))
	}
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: prefix + "build_info", Help: "Always 1; the label tells the version.", ConstLabels: prometheus.Labels{"version": version},
	})
	info.Set(1)
	r := prometheus.NewRegistry()
	r.MustRegister(c, info)
	return r
}

func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		ch <- d
	}
}

func (c *collector) Collect(ch chan<- prometheus.Metric) {
	s := c.snapshot()
	s.Frames.Filtered = c.monotonic(s.Frames.Filtered)
	for i, m := range table {
		m.values(&s, func(label string, value float64) {
			var labels []string
			if m.label != "" {
				labels = []string{label}
			}
			ch <- prometheus.MustNewConstMetric(c.descs[i], m.kind, value, labels...)
		})
	}
}

// monotonic keeps the filtered frames from going back: while captures run they
// are a difference of counters read one after the other.
func (c *collector) monotonic(filtered uint64) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.filtered = max(c.filtered, filtered)
	return c.filtered
}
