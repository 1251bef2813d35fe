package metrics

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"capstan/rpcapd/internal/auth"
)

func TestExposition(t *testing.T) {
	var s Snapshot
	s.Sessions, s.SessionsTotal, s.ProtocolErrors, s.FailedLogins[auth.RefusedPassword], s.FiltersKernel, s.FiltersUser = 1, 2, 3, 4, 5, 6
	s.Logins, s.OpensDenied, s.FiltersDelayed, s.TLSFailures, s.AuditFailures, s.Reloads, s.FailedReloads = 11, 12, 13, 14, 15, 16, 17
	s.CertificateExpiry = time.Unix(1_800_000_000, 0)
	s.Frames.Seen, s.Frames.Excluded, s.Frames.Filtered, s.Frames.Dropped = 100, 10, 20, 30
	s.Frames.Matched, s.Frames.Sent, s.Frames.Undelivered, s.Frames.InterfaceDropped, s.Frames.Bytes = 40, 35, 5, 7, 4000
	s.Frames.Interpreted = 18
	s.Refused[RefusedHost] = 8
	r := NewRegistry(func() Snapshot { return s }, "v1.2.3")
	if problems, err := testutil.GatherAndLint(r); err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
	text := scrape(t, r, "/metrics")
	for _, line := range []string{
		`rpcapd_build_info{version="v1.2.3"} 1`,
		`rpcapd_sessions 1`,
		`rpcapd_sessions_total 2`,
		`rpcapd_protocol_errors_total 3`,
		`rpcapd_failed_logins_total{reason="wrong_password"} 4`,
		`rpcapd_failed_logins_total{reason="unknown_user"} 0`,
		`rpcapd_logins_total 11`,
		`rpcapd_denied_opens_total 12`,
		`rpcapd_delayed_filters_total 13`,
		`rpcapd_tls_handshake_failures_total 14`,
		`rpcapd_tls_certificate_expiry_timestamp_seconds 1.8e+09`,
		`rpcapd_audit_failures_total 15`,
		`rpcapd_reloads_total{result="ok"} 16`,
		`rpcapd_reloads_total{result="failed"} 17`,
		`rpcapd_filter_loads_total{where="kernel"} 5`,
		`rpcapd_filter_loads_total{where="userspace"} 6`,
		`rpcapd_frames_seen_total 100`,
		`rpcapd_frames_total{outcome="excluded"} 10`,
		`rpcapd_frames_total{outcome="filtered"} 20`,
		`rpcapd_frames_total{outcome="dropped"} 30`,
		`rpcapd_frames_total{outcome="sent"} 35`,
		`rpcapd_frames_total{outcome="undelivered"} 5`,
		`rpcapd_interpreted_frames_total 18`,
		`rpcapd_interface_dropped_frames_total 7`,
		`rpcapd_sent_bytes_total 4000`,
		`rpcapd_refused_connections_total{reason="host_not_allowed"} 8`,
		`rpcapd_refused_connections_total{reason="sessions_full"} 0`,
	} {
		if !strings.Contains(text, "\n"+line+"\n") {
			t.Errorf("no line %s", line)
		}
	}
	s.Frames.Filtered = 19 // of counters read in another order
	if !strings.Contains(scrape(t, r, "/metrics"), `outcome="filtered"} 20`) {
		t.Error("a counter went back")
	}
	if got := scrape(t, r, "/healthz"); got != "ok\n" {
		t.Errorf("health: %q", got)
	}
}

// scrape serves r once.
func scrape(t *testing.T, r *prometheus.Registry, path string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- Serve(ctx, l, Handler(r)) }()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport}).Get("http://" + l.Addr().String() + path)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatal(response.Status, err)
	}
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
	return string(body)
}

// docs/metrics.md has a row for each metric and no other, with type, label and
// help.
func TestDocumentIsComplete(t *testing.T) {
	text, err := os.ReadFile("../../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, m := range table {
		kind, label := "counter", "—"
		if m.kind == prometheus.GaugeValue {
			kind = "gauge"
		}
		if m.label != "" {
			values := []string{}
			m.values(&Snapshot{}, func(value string, _ float64) { values = append(values, "`"+value+"`") })
			label = "`" + m.label + "`: " + strings.Join(values, ", ")
		}
		want = append(want, "| `rpcapd_"+m.name+"` | "+kind+" | "+label+" | "+m.help+" |")
	}
	got := regexp.MustCompile("(?m)^\\| `rpcapd_.*$").FindAllString(string(text), -1)
	if diff := cmp.Diff(append(want, "| `rpcapd_build_info` | gauge | `version` | Always 1; the label tells the version. |"), got); diff != "" {
		t.Error(diff)
	}
}
