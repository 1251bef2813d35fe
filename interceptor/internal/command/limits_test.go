package command

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"capstan/interceptor/internal/config"
)

// limits are the settings that bound something, with the metrics of its use and of its
// being reached; "" stands for what follows from another row.
var limits = []struct{ settings, use, reached string }{
	{"memory", `memory_in_use_bytes memory_limit_bytes`, `memory_shed_rounds_total`},
	{"max_connections", `waiting{kind="connection"} waiting{kind="tuple"}`, `shed_total{kind="connection"} shed_total{kind="tuple"}`},
	{"max_stream_queue", `held_bytes{kind="segment"}`, `shed_total{kind="stream-hole"}`},
	{"max_queue", `held_bytes{kind="segment"}`, `shed_total{kind="hole"}`},
	{"max_history", `waiting{kind="segment"}`, `shed_total{kind="segment"}`},
	{"max_fragments", `held_bytes{kind="fragment"} waiting{kind="fragment"}`, `shed_total{kind="fragment"}`},
	{"max_header_section", `held_bytes{kind="http1-header-section"}`, `shed_total{kind="http1-header-section"}`},
	{"max_header_fields", `held_bytes{kind="http1-request"} held_bytes{kind="http2-stream"}`, `shed_total{kind="http1-fields"} shed_total{kind="http2-header-block"}`},
	{"max_unparsed", `http1_bytes_total{kind="skipped"}`, `shed_total{kind="http1-direction"}`},
	{"max_pending", `waiting{kind="http1-request"}`, `shed_total{kind="http1-request"}`},
	{"max_pending_bytes", `held_bytes{kind="http1-request"}`, `shed_total{kind="http1-request"}`},
	{"max_header_block", `held_bytes{kind="http2-header-block"}`, `shed_total{kind="http2-header-block"}`},
	{"max_header_list", `held_bytes{kind="http2-stream"}`, `shed_total{kind="http2-header-block"}`},
	{"max_header_table", `held_bytes{kind="http2-table"}`, `shed_total{kind="http2-table"}`},
	{"max_streams", `waiting{kind="http2-stream"}`, `shed_total{kind="http2-stream"}`},
	{"max_stream_bytes", `held_bytes{kind="http2-stream"}`, `shed_total{kind="http2-stream"}`},
	{"max_unframed", `http2_bytes_total{kind="skipped"}`, `shed_total{kind="http2-direction"}`},
	{"body_limit", `held_bytes{kind="http1-body"} held_bytes{kind="http2-body"} held_bytes{kind="websocket"}`, `bodies_cut_total`},
	{"max_decoded", `held_bytes{kind="decoder"}`, `shed_total{kind="decoded-body"}`},
	{"max_decoded_ratio", `held_bytes{kind="decoder"}`, `shed_total{kind="decoded-body"}`},
	{"max_messages", `waiting{kind="websocket-message"}`, `shed_total{kind="websocket-message"}`},
	{"max_message", `held_bytes{kind="websocket"}`, `shed_total{kind="websocket-inflation"}`},
	{"max_message_inflated", `held_bytes{kind="websocket"}`, `shed_total{kind="websocket-inflation"}`},
	{"watch_records", `watch_kept_records`, `watch_records_total{outcome="forgotten"}`},
	{"watch_bytes", `watch_kept_bytes`, `watch_records_total{outcome="forgotten"}`},
	{"watch_idle_rate", `watch_kept_records`, `watch_records_total{outcome="passed"}`},
	{"watchers", `watchers`, `watchers_refused_total`},
	{"collector_spool_size", `sink_queue_bytes{where="disk"}`, `sink_records_total{outcome="spool-full"}`},
	{"sinks[].max_records", `sink_queue_records{where="memory"}`, `sink_records_total{outcome="dropped"} sink_blocked_seconds_total`},
	{"sinks[].max_bytes", `sink_queue_bytes{where="memory"}`, `sink_records_total{outcome="dropped"} sink_blocked_seconds_total`},
	{"sinks[].kafka.max_record", `sink_queue_bytes{where="memory"}`, `sink_records_cut_total`},
	{"sinks[].spool_bytes", `sink_queue_bytes{where="disk"}`, `sink_records_total{outcome="spool-full"}`},
}

// besideTable are the kinds that the document tells of beside the table.
var besideTable = []string{
	`held_bytes{kind="undecided"}`, `shed_total{kind="undecided"}`,
	`held_bytes{kind="http2-search"}`, `shed_total{kind="http2-search"}`,
	`held_bytes{kind="tls-hello"}`, `shed_total{kind="tls-hello"}`,
	`held_bytes{kind="round"}`, `shards_blocked_seconds_total`,
	`clients{server="api"}`, `clients_full_total{server="api"}`,
	`clients{server="metrics"}`, `clients_full_total{server="metrics"}`,
	`watch_records_cut_total`,
}

// TestLimits holds docs/limits.md to the settings and the metrics that there are: each
// --max-… has a row, each metric named there is served, and each kind of what is kept or
// shed is in a row.
func TestLimits(t *testing.T) {
	const begin, end = "-update -->\n\n", "\n<!-- end -->"
	text, err := os.ReadFile(docs + "limits.md")
	if err != nil {
		t.Fatal(err)
	}
	head, rest, _ := strings.Cut(string(text), begin)
	_, tail, ok := strings.Cut(rest, end)
	if !ok {
		t.Fatal("limits.md has no place for the table")
	}
	want := head + begin + limitsTable(t) + end + tail
	if *update {
		if err := os.WriteFile(docs+"limits.md", []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if string(text) != want {
		t.Error("limits.md is not what holds; run with -update")
	}
	served := servedSeries(t)
	for series := range series(want) {
		if !served[series] {
			t.Errorf("%s is not served", series)
		}
	}
	for _, s := range besideTable {
		if !strings.Contains(tail, "interceptor_"+s) {
			t.Errorf("%s is not told of", s)
		}
	}
	for s := range served {
		kept := strings.HasPrefix(s, "interceptor_held_bytes{") || strings.HasPrefix(s, "interceptor_waiting{")
		shed := strings.HasPrefix(s, "interceptor_shed_total{") && !strings.Contains(s, "-memory")
		if (kept || shed) && !strings.Contains(want, s) {
			t.Errorf("%s is in no row", s)
		}
	}
}

// limitsTable returns the table, with the defaults that flags and schema have.
func limitsTable(t *testing.T) string {
	t.Helper()
	flags := pflag.NewFlagSet("run", pflag.ContinueOnError)
	new(runFlags).register(flags)
	rows := map[string]bool{}
	var b strings.Builder
	b.WriteString("| setting | default | bounds | in use | reached |\n|---|---|---|---|---|\n")
	reference := config.Reference(options())
	for _, l := range limits {
		rows[l.settings] = true
		_, meaning, ok := strings.Cut(reference, "| `"+l.settings+"` | ")
		if !ok {
			t.Errorf("there is no %s", l.settings)
		}
		meaning, _, _ = strings.Cut(meaning, " |\n")
		meaning = meaning[strings.LastIndex(meaning, " | ")+1:]
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", l.settings, defaultOf(t, flags, l.settings), strings.TrimPrefix(meaning, "| "), metricNames(l.use), metricNames(l.reached))
	}
	flags.VisitAll(func(f *pflag.Flag) {
		if strings.HasPrefix(f.Name, "max-") && !rows[key(f.Name)] {
			t.Errorf("--%s has no row", f.Name)
		}
	})
	for _, m := range regexp.MustCompile("`(sinks\\[\\]\\.(?:\\w+\\.)?(?:max|spool)_(?:records?|bytes))`").FindAllStringSubmatch(reference, -1) {
		if !rows[m[1]] {
			t.Errorf("%s has no row", m[1])
		}
	}
	return b.String()
}

// defaultOf returns the default of a setting.
func defaultOf(t *testing.T, flags *pflag.FlagSet, setting string) string {
	t.Helper()
	if strings.Contains(setting, "[]") {
		return "see [there](configuration.md#reference)"
	}
	f := flags.Lookup(strings.ReplaceAll(setting, "_", "-"))
	if f == nil {
		t.Fatalf("there is no %s", setting)
	}
	switch {
	case setting == "memory":
		return "of the [surroundings](configuration.md#memory-log-end)"
	case f.Value.Type() == config.SizeType:
		var n config.Size
		if err := n.UnmarshalText([]byte(f.DefValue)); err != nil {
			t.Fatal(err)
		}
		return n.String()
	}
	return f.DefValue
}

// metricNames writes the names of metrics as the document does.
func metricNames(list string) string {
	var names []string
	for _, n := range strings.Fields(list) {
		names = append(names, "`interceptor_"+n+"`")
	}
	return strings.Join(names, ", ")
}

// series returns what of the interceptor's metrics the document names.
func series(text string) map[string]bool {
	named := map[string]bool{}
	for _, m := range regexp.MustCompile("`(interceptor_\\w+(?:\\{[^}]*\\})?)`").FindAllStringSubmatch(text, -1) {
		named[m[1]] = true
	}
	return named
}

// servedSeries returns the names of all metrics, alone and with each value of each label, by
// their document, which is made of what is served.
func servedSeries(t *testing.T) map[string]bool {
	t.Helper()
	text, err := os.ReadFile(docs + "interceptor-metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	served := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `(interceptor_\\w+)` \\| \\w+ \\| (.*?) \\|").FindAllStringSubmatch(string(text), -1) {
		served[m[1]] = true
		for label := range strings.SplitSeq(m[2], "; ") {
			name, values, ok := strings.Cut(label, "`: ")
			if !ok {
				continue // names of sources, or of sinks
			}
			for value := range strings.SplitSeq(values, ", ") {
				served[fmt.Sprintf("%s{%s=%q}", m[1], strings.Trim(name, "`"), value)] = true
			}
		}
	}
	if len(served) == 0 || slices.ContainsFunc(limits, func(l struct{ settings, use, reached string }) bool { return l.use == "" || l.reached == "" }) {
		t.Fatal("nothing is served, or told")
	}
	return served
}

// TestRingWithin: what is kept for watchers is a share of the cap at most.
func TestRingWithin(t *testing.T) {
	f := new(apiFlags)
	f.register(pflag.NewFlagSet("run", pflag.ContinueOnError))
	for memory, want := range map[uint64]int{16 << 20: 2 << 20, 512 << 20: 64 << 20, 4 << 30: 64 << 20} {
		if got := f.ringWithin(memory).MaxBytes; got != want {
			t.Errorf("of %d: %d, want %d", memory, got, want)
		}
	}
}
