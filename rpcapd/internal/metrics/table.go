package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"capstan/rpcapd/internal/auth"
)

// prefix begins the name of every metric.
const prefix = "rpcapd_"

// metric is one row of the table of metrics; docs/metrics.md shows it.
type metric struct {
	name  string // without prefix
	help  string
	kind  prometheus.ValueType
	label string // name of its label; empty: it has none
	// values emits the value of each label; of "" if there is no label.
	values func(s *Snapshot, emit func(label string, value float64))
}

// counter is a row without labels.
func counter(name, help string, value func(*Snapshot) uint64) metric {
	return metric{name, help, prometheus.CounterValue, "", func(s *Snapshot, emit func(string, float64)) { emit("", float64(value(s))) }}
}

// gauge is a row without labels whose value goes up and down.
func gauge(name, help string, value func(*Snapshot) float64) metric {
	return metric{name, help, prometheus.GaugeValue, "", func(s *Snapshot, emit func(string, float64)) { emit("", value(s)) }}
}

// labelled is a row of counters.
func labelled(name, help, label string, values func(*Snapshot, func(string, float64))) metric {
	return metric{name, help, prometheus.CounterValue, label, values}
}

// table is all metrics that come from a snapshot.
var table = []metric{
	gauge("sessions", "Control connections open now.", func(s *Snapshot) float64 { return float64(s.Sessions) }),
	gauge("rings", "Rings of captures open now.", func(s *Snapshot) float64 { return float64(s.Rings) }),
	gauge("ring_bytes", "Memory that they take.", func(s *Snapshot) float64 { return float64(s.RingBytes) }),
	counter("sessions_total", "Control connections accepted.", func(s *Snapshot) uint64 { return s.SessionsTotal }),
	counter("frames_seen_total", "Frames that reached the capture points.", func(s *Snapshot) uint64 { return s.Frames.Seen }),
	labelled("frames_total", "Frames by what became of them; those matched and still under way are in none.", "outcome",
		func(s *Snapshot, emit func(string, float64)) {
			emit("excluded", float64(s.Frames.Excluded))
			emit("filtered", float64(s.Frames.Filtered))
			emit("sampled", float64(s.Frames.Sampled))
			emit("dropped", float64(s.Frames.Dropped))
			emit("sent", float64(s.Frames.Sent))
			emit("undelivered", float64(s.Frames.Undelivered))
		}),
	labelled("lost_datagrams_total", "Frames among the undelivered that clients wanted by UDP.", "reason", func(s *Snapshot, emit func(string, float64)) {
		emit("oversized", float64(s.Frames.Oversized))
		emit("send_failed", float64(s.Frames.SendFailed))
	}),
	counter("interpreted_frames_total", "Frames on which client filters ran in user space.", func(s *Snapshot) uint64 { return s.Frames.Interpreted }),
	counter("interface_dropped_frames_total", "Frames the interfaces lost before the capture points.", func(s *Snapshot) uint64 { return s.Frames.InterfaceDropped }),
	counter("sent_bytes_total", "Bytes handed to data connections.", func(s *Snapshot) uint64 { return s.Frames.Bytes }),
	labelled("refused_connections_total", "Connections refused.", "reason", func(s *Snapshot, emit func(string, float64)) {
		for r := range NumRefusals {
			emit(r.String(), float64(s.Refused[r]))
		}
	}),
	counter("protocol_errors_total", "Messages refused because they break the protocol.", func(s *Snapshot) uint64 { return s.ProtocolErrors }),
	counter("logins_total", "Authentication requests accepted.", func(s *Snapshot) uint64 { return s.Logins }),
	labelled("failed_logins_total", "Authentication requests refused.", "reason", func(s *Snapshot, emit func(string, float64)) {
		for r := auth.Refusal(1); r < auth.NumRefusals; r++ {
			emit(r.String(), float64(s.FailedLogins[r]))
		}
	}),
	counter("denied_opens_total", "Devices that clients asked for and may not open.", func(s *Snapshot) uint64 { return s.OpensDenied }),
	labelled("filter_loads_total", "Client filters put in force, by where they run.", "where", func(s *Snapshot, emit func(string, float64)) {
		emit("kernel", float64(s.FiltersKernel))
		emit("userspace", float64(s.FiltersUser))
	}),
	counter("delayed_filters_total", "Client filters that waited because their session loads them too often.", func(s *Snapshot) uint64 { return s.FiltersDelayed }),
	counter("tls_handshake_failures_total", "TLS handshakes that failed, on control and data connections.", func(s *Snapshot) uint64 { return s.TLSFailures }),
	gauge("tls_certificate_expiry_timestamp_seconds", "When the TLS certificate ends, in Unix time; 0 without TLS.", func(s *Snapshot) float64 {
		if s.CertificateExpiry.IsZero() {
			return 0
		}
		return float64(s.CertificateExpiry.Unix())
	}),
	counter("audit_failures_total", "Events that could not be written to the audit log.", func(s *Snapshot) uint64 { return s.AuditFailures }),
	labelled("reloads_total", "Files read again at SIGHUP, by how it went.", "result", func(s *Snapshot, emit func(string, float64)) {
		emit("ok", float64(s.Reloads))
		emit("failed", float64(s.FailedReloads))
	}),
}
