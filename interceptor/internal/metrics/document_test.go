package metrics

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"capstan/interceptor/internal/delivery"
	"capstan/interceptor/internal/ledger"
	"capstan/interceptor/internal/memory"
)

var update = flag.Bool("update", false, "write the table of the document")

const (
	document = "../../../docs/interceptor-metrics.md"
	marker   = "-update -->\n"
)

// TestDocumented: the document's table is made of the metrics themselves, with
// all values of labels but names of sources and sinks.
func TestDocumented(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(&collector{
		ledgers: func() []ledger.Ledger { return []ledger.Ledger{{Name: "…"}} },
		budget:  new(memory.Budget),
		output:  func() ledger.Output { return ledger.Output{Sinks: []delivery.SinkStats{{Name: "…"}}} },
	})
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString("\n| metric | type | labels | meaning |\n|---|---|---|---|\n")
	for _, f := range families {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", f.GetName(), strings.ToLower(f.GetType().String()), labels(f), f.GetHelp())
	}
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	head, table, _ := strings.Cut(string(text), marker)
	if *update {
		if err := os.WriteFile(document, []byte(head+marker+b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if table != b.String() {
		t.Errorf("%s is not what is served; run with -update", document)
	}
}

// labels lists a family's labels with their values.
func labels(f *dto.MetricFamily) string {
	var names []string
	values := map[string][]string{}
	for _, m := range f.Metric {
		for _, l := range m.Label {
			if values[l.GetName()] == nil {
				names = append(names, l.GetName())
			}
			if v := l.GetValue(); !slices.Contains(values[l.GetName()], v) {
				values[l.GetName()] = append(values[l.GetName()], v)
			}
		}
	}
	var parts []string
	for _, n := range names {
		if values[n][0] == "…" {
			parts = append(parts, "`"+n+"`")
		} else {
			parts = append(parts, "`"+n+"`: "+strings.Join(values[n], ", "))
		}
	}
	if parts == nil {
		return "—"
	}
	return strings.Join(parts, "; ")
}
