package chart

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// documented returns the line that documents each metric of the programs, of
// their references in docs.
func documented(t *testing.T) map[string]string {
	t.Helper()
	// What client_golang's collector of the process adds to each.
	metrics := map[string]string{"process_resident_memory_bytes": ""}
	name := regexp.MustCompile("`((?:rpcapd|interceptor|relay)_[a-z0-9_]+)`")
	for _, file := range []string{"metrics.md", "interceptor-metrics.md", "relay.md"} {
		text, err := os.ReadFile(filepath.Join("../../../../docs", file))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			cells := strings.SplitN(line, "|", 3) // "", the names, the rest
			if len(cells) < 3 {
				continue
			}
			for _, m := range name.FindAllStringSubmatch(cells[1], -1) {
				metrics[m[1]] = cells[2]
			}
		}
	}
	return metrics
}

// TestRules holds that alerts are PromQL about metrics that the programs have,
// by labels and values that these have.
func TestRules(t *testing.T) {
	metrics := documented(t)
	o := render(t, all)
	if len(o.rules) != 1 {
		t.Fatalf("%d objects with rules", len(o.rules))
	}
	seen := make(map[string]bool)
	for _, g := range o.rules[0].Spec.Groups {
		for _, r := range g.Rules {
			if r.Alert == "" || seen[r.Alert] || r.Labels["severity"] == "" || r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
				t.Errorf("alert %q: repeated, or tells too little", r.Alert)
			}
			seen[r.Alert] = true
			if _, err := model.ParseDuration(string(*r.For)); err != nil {
				t.Errorf("%s: %v", r.Alert, err)
			}
			expr, err := parser.ParseExpr(r.Expr.StrVal)
			if err != nil {
				t.Errorf("%s: %v", r.Alert, err)
				continue
			}
			parser.Inspect(expr, func(n parser.Node, _ []parser.Node) error {
				if v, ok := n.(*parser.VectorSelector); ok {
					checkSelector(t, r.Alert, v, metrics)
				}
				return nil
			})
		}
	}
	for _, about := range []string{"CapstanNotCapturing", "CapstanFramesLost", "CapstanSinkLags", "CapstanRecordsLost", "CapstanMemory", "CapstanMemoryShed"} {
		if !seen[about] {
			t.Errorf("no alert %s", about)
		}
	}
}

func checkSelector(t *testing.T, alert string, v *parser.VectorSelector, metrics map[string]string) {
	t.Helper()
	line, ok := metrics[v.Name]
	if !ok {
		t.Errorf("%s: no program has the metric %q", alert, v.Name)
	}
	for _, m := range v.LabelMatchers {
		if m.Name == model.MetricNameLabel {
			continue
		}
		if m.Type != labels.MatchEqual && m.Type != labels.MatchRegexp || !strings.Contains(line, "`"+m.Name+"`") {
			t.Errorf("%s: %s has no label %s", alert, v.Name, m)
		}
		for _, value := range strings.Split(m.Value, "|") {
			if !regexp.MustCompile(`\b` + regexp.QuoteMeta(value) + `\b`).MatchString(line) {
				t.Errorf("%s: %s has no %s %q", alert, v.Name, m.Name, value)
			}
		}
	}
}
