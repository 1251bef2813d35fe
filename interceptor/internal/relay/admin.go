package relay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"capstan/interceptor/internal/collector"
	"capstan/interceptor/internal/delivery"
)

// report is what /status tells.
type report struct {
	Ready    bool             `json:"ready"`
	Problems []string         `json:"problems"`
	Queue    delivery.Stats   `json:"queue"`
	Nodes    []collector.Node `json:"nodes"`
}

func (r *relay) report() report {
	nodes := r.server.Nodes()
	slices.SortFunc(nodes, func(a, b collector.Node) int { return strings.Compare(a.Name, b.Name) })
	problems := r.problems()
	return report{Ready: len(problems) == 0, Problems: append([]string{}, problems...), Queue: r.queue.Stats(), Nodes: nodes}
}

// admin is the HTTP server for operators: /healthz, /readyz, /status, /metrics.
type admin struct {
	address string // that it listens on; empty: it doesn't
	server  *http.Server
	done    chan struct{}
}

func startAdmin(r *relay) (*admin, error) {
	a := &admin{done: make(chan struct{})}
	if r.cfg.admin == "" {
		close(a.done)
		return a, nil
	}
	l, err := net.Listen("tcp", r.cfg.admin)
	if err != nil {
		return nil, err
	}
	a.address = l.Addr().String()
	registry := prometheus.NewRegistry()
	registry.MustRegister(metrics{r})
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if p := r.problems(); len(p) > 0 {
			http.Error(w, strings.Join(p, "\n"), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ready")
	})
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(r.report()) // whoever asked has gone
	})
	a.server = &http.Server{
		Handler: mux, ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
	}
	go func() { // ended by close
		defer close(a.done)
		if err := a.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			r.log.Error("the admin's server ended", "err", err)
		}
	}()
	r.log.Info("admin listens", "address", a.address)
	return a, nil
}

func (a *admin) close() {
	if a.server != nil {
		_ = a.server.Close()
	}
	<-a.done
}

// metrics are the counters for Prometheus.
type metrics struct{ relay *relay }

var (
	recordsDesc = prometheus.NewDesc("relay_records_total", "Records by what became of them: accepted and recovered are those that came in.", []string{"outcome"}, nil)
	pendingDesc = prometheus.NewDesc("relay_pending_records", "Records on disk that were not delivered yet.", nil, nil)
	spoolDesc   = prometheus.NewDesc("relay_spool_bytes", "Bytes of the spool on disk.", nil, nil)
	limitDesc   = prometheus.NewDesc("relay_spool_limit_bytes", "Bytes that the spool may have.", nil, nil)
	retriesDesc = prometheus.NewDesc("relay_retries_total", "Batches delivered again.", nil, nil)
	failingDesc = prometheus.NewDesc("relay_failing", "Whether the last delivery failed.", nil, nil)
	nodesDesc   = prometheus.NewDesc("relay_nodes_connected", "Nodes that are connected.", nil, nil)
	nodeDesc    = prometheus.NewDesc("relay_node_records_total", "Records of a node.", []string{"node"}, nil)
	lagDesc     = prometheus.NewDesc("relay_node_last_record_timestamp_seconds", "End of the latest exchange that a node has sent.", []string{"node"}, nil)
)

// Describe implements prometheus.Collector.
func (m metrics) Describe(c chan<- *prometheus.Desc) { prometheus.DescribeByCollect(m, c) }

// Collect implements prometheus.Collector.
func (m metrics) Collect(c chan<- prometheus.Metric) {
	st := m.relay.queue.Stats()
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		c <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		c <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter(recordsDesc, st.Accepted, "accepted")
	counter(recordsDesc, st.Recovered, "recovered")
	counter(recordsDesc, st.Delivered, "delivered")
	counter(recordsDesc, st.Rejected, "rejected")
	counter(recordsDesc, st.SpoolLost, "spool_lost")
	gauge(pendingDesc, float64(st.Spooled))
	gauge(spoolDesc, float64(st.SpoolBytes))
	gauge(limitDesc, float64(m.relay.cfg.queue.Spool.MaxBytes))
	counter(retriesDesc, st.Retries)
	failing := 0.0
	if st.Failing {
		failing = 1
	}
	gauge(failingDesc, failing)
	connected := 0
	for _, n := range m.relay.server.Nodes() {
		if n.Streams > 0 {
			connected++
		}
		counter(nodeDesc, n.Records, n.Name)
		if !n.LastRecord.IsZero() {
			gauge(lagDesc, float64(n.LastRecord.UnixNano())/1e9, n.Name)
		}
	}
	gauge(nodesDesc, float64(connected))
}

// statusClient asks directly: a proxy in the environment is for the way out of
// the cluster.
var statusClient = http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

// fetchStatus asks a relay's admin.
func fetchStatus(ctx context.Context, address string) (report, error) {
	var r report
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/status", nil)
	if err != nil {
		return r, err
	}
	answer, err := statusClient.Do(request)
	if err != nil {
		return r, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return r, fmt.Errorf("%s answers %s", address, answer.Status)
	}
	return r, json.NewDecoder(http.MaxBytesReader(nil, answer.Body, 64<<20)).Decode(&r)
}
