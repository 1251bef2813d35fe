package metrics

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"capstan/interceptor/internal/delivery"
	"capstan/interceptor/internal/ledger"
	"capstan/interceptor/internal/memory"
)

func TestMetricsAreWellFormed(t *testing.T) {
	l := []ledger.Ledger{{Name: "a", Live: true}, {Name: "b"}}
	l[0].Engine.Exchange.Complete = 7
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(&collector{budget: new(memory.Budget), ledgers: func() []ledger.Ledger { return l }, output: func() ledger.Output { return ledger.Output{Emitted: 7} }})
	problems, err := testutil.GatherAndLint(registry)
	if err != nil || len(problems) != 0 {
		t.Errorf("%v %v", problems, err)
	}
	expected := `
# HELP interceptor_exchanges_total Records: exchanges by how much of them was seen, and those of connections that carry none.
# TYPE interceptor_exchanges_total counter
interceptor_exchanges_total{outcome="complete",source="a"} 7
interceptor_exchanges_total{outcome="complete",source="b"} 0
interceptor_exchanges_total{outcome="connection",source="a"} 0
interceptor_exchanges_total{outcome="connection",source="b"} 0
interceptor_exchanges_total{outcome="incomplete",source="a"} 0
interceptor_exchanges_total{outcome="incomplete",source="b"} 0
interceptor_exchanges_total{outcome="no-request",source="a"} 0
interceptor_exchanges_total{outcome="no-request",source="b"} 0
interceptor_exchanges_total{outcome="no-response",source="a"} 0
interceptor_exchanges_total{outcome="no-response",source="b"} 0
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(expected), "interceptor_exchanges_total"); err != nil {
		t.Error(err)
	}
}

func TestServe(t *testing.T) {
	probe, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := probe.Addr().String()
	_ = probe.Close()
	connected := ledger.Ledger{Name: "a", Live: true}
	stop, err := Serve(Config{Address: address, Pprof: true, Budget: new(memory.Budget),
		Ledgers: func() []ledger.Ledger { return []ledger.Ledger{connected} },
		Output: func() ledger.Output {
			return ledger.Output{Sinks: []delivery.SinkStats{{Name: "k", Stats: delivery.Stats{Failing: true, Problem: "no"}}}}
		}})
	if err != nil {
		t.Fatal(err)
	}
	get := func(path string) (int, string) {
		resp, err := http.Get("http://" + address + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(body)
	}
	if status, body := get("/metrics"); status != 200 || !strings.Contains(body, "interceptor_frames_total") {
		t.Errorf("metrics: %d %s", status, body)
	}
	if status, body := get("/healthz"); status != 503 || !strings.Contains(body, "not connected to a") {
		t.Errorf("health of a lost source: %d %s", status, body)
	}
	if status, body := get("/readyz"); status != 503 || !strings.Contains(body, "not connected to a\nsink k takes no records") {
		t.Errorf("readiness without source and sink: %d %s", status, body)
	}
	if status, _ := get("/debug/pprof/goroutine"); status != 200 {
		t.Errorf("profile: %d", status)
	}
	http.DefaultClient.CloseIdleConnections()
	if _, err := Serve(Config{Address: address}); err == nil {
		t.Error("an address in use is taken")
	}
	stop()
	if _, err := http.Get("http://" + address + "/metrics"); err == nil {
		t.Error("still served after stop")
	}
	if stop, err := Serve(Config{}); err != nil {
		t.Error(err)
	} else {
		stop()
	}
}
