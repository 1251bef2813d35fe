package metrics

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// collector turns a snapshot into metrics at each scrape.
type collector struct {
	snapshot func() Snapshot

	mu       sync.Mutex
	filtered uint64 // the highest value shown

	sessions, sessionsTotal, seen, frames, interfaceDropped, bytes *prometheus.Desc
	refused, protocolErrors, failedLogins, filterLoads             *prometheus.Desc
}

// NewRegistry returns a registry of its own with the daemon's metrics, whose
// values snapshot tells, and the version of the program.
func NewRegistry(snapshot func() Snapshot, version string) *prometheus.Registry {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("rpcapd_"+name, help, labels, nil)
	}
	c := &collector{
		snapshot:         snapshot,
		sessions:         desc("sessions", "Control connections open now."),
		sessionsTotal:    desc("sessions_total", "Control connections accepted."),
		seen:             desc("frames_seen_total", "Frames that reached the capture points."),
		frames:           desc("frames_total", "Frames by what became of them; those matched and still under way are in none.", "outcome"),
		interfaceDropped: desc("interface_dropped_frames_total", "Frames the interfaces lost before the capture points."),
		bytes:            desc("sent_bytes_total", "Bytes handed to data connections."),
		refused:          desc("refused_connections_total", "Connections refused.", "reason"),
		protocolErrors:   desc("protocol_errors_total", "Messages refused because they break the protocol."),
		failedLogins:     desc("failed_logins_total", "Authentication requests refused."),
		filterLoads:      desc("filter_loads_total", "Client filters put in force, by where they run.", "where"),
	}
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "rpcapd_build_info", Help: "Always 1; the label tells the version.", ConstLabels: prometheus.Labels{"version": version},
	})
	info.Set(1)
	r := prometheus.NewRegistry()
	r.MustRegister(c, info)
	return r
}

func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		c.sessions, c.sessionsTotal, c.seen, c.frames, c.interfaceDropped, c.bytes,
		c.refused, c.protocolErrors, c.failedLogins, c.filterLoads,
	} {
		ch <- d
	}
}

func (c *collector) Collect(ch chan<- prometheus.Metric) {
	s := c.snapshot()
	count := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	ch <- prometheus.MustNewConstMetric(c.sessions, prometheus.GaugeValue, float64(s.Sessions))
	count(c.sessionsTotal, s.SessionsTotal)
	count(c.seen, s.Frames.Seen)
	count(c.frames, s.Frames.Excluded, "excluded")
	count(c.frames, c.monotonic(s.Frames.Filtered), "filtered")
	count(c.frames, s.Frames.Sampled, "sampled")
	count(c.frames, s.Frames.Dropped, "dropped")
	count(c.frames, s.Frames.Sent, "sent")
	count(c.frames, s.Frames.Undelivered, "undelivered")
	count(c.interfaceDropped, s.Frames.InterfaceDropped)
	count(c.bytes, s.Frames.Bytes)
	for r := range NumRefusals {
		count(c.refused, s.Refused[r], r.String())
	}
	count(c.protocolErrors, s.ProtocolErrors)
	count(c.failedLogins, s.FailedLogins)
	count(c.filterLoads, s.FiltersKernel, "kernel")
	count(c.filterLoads, s.FiltersUser, "userspace")
}

// monotonic keeps the filtered frames from going back: while captures run they
// are a difference of counters read one after the other.
func (c *collector) monotonic(filtered uint64) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.filtered = max(c.filtered, filtered)
	return c.filtered
}
