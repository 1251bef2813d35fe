//go:build linux

package report_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"capstan/bench/internal/environment"
	"capstan/bench/internal/report"
	"capstan/bench/internal/server"
	"capstan/bench/internal/sink"
	"capstan/bench/internal/traffic"
	"capstan/bench/internal/trial"
)

// runs makes a run of each processor time, in ns per frame.
func runs(lost int64, perFrame ...int64) (list []trial.Result) {
	for round, ns := range perFrame {
		delivered := uint64(10_000 - lost)
		list = append(list, trial.Result{
			Round: round, Offered: 10_000, OfferedRate: 100_000, Arrived: 10_000, Delivered: delivered,
			Loss: trial.Loss{Total: lost, Ring: lost}, CPU: time.Duration(ns * int64(delivered)), Settled: true,
			Latency: &sink.Latency{Count: delivered, P50: time.Millisecond, P99: 2 * time.Millisecond, Max: 3 * time.Millisecond},
			Memory:  server.Memory{Peak: 40 << 20, Ring: 32 << 20, RingResident: 32 << 20},
		})
	}
	return list
}

func calls(n uint64) *trial.Result { return &trial.Result{Delivered: 10_000, Syscalls: &n} }

// example is a report of two servers, a slow one that loses frames, and a fast
// one.
func example() *report.Report {
	return &report.Report{
		Schema: report.Schema, Begun: time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC), Elapsed: time.Minute, Command: "bench server",
		Environment: environment.Environment{Kernel: "6.18", Arch: "amd64", CPU: "Some CPU", CPUs: 2, Settings: map[string]string{"a": "1"}},
		Settings:    report.Settings{Runs: 3, Duration: time.Second, ReadTimeout: 20 * time.Millisecond},
		Servers: []report.Server{
			{Spec: server.Spec{Name: "fast", Transport: server.Unix, Command: []string{"rpcapd", "--fast"}}, Version: "1"},
			{Spec: server.Spec{Name: "slow", Transport: server.TCP, Command: []string{"rpcapd"}}, Version: "2"},
		},
		Loads: []report.Load{{
			Load: trial.Load{Size: traffic.Fixed(1400), Rate: 100_000},
			Servers: []report.Series{
				{Server: "fast", Runs: runs(0, 150, 200, 180), Syscalls: calls(100)},
				{Server: "slow", Runs: runs(500, 1500, 2000, 1800), Syscalls: calls(30_000)},
			},
			Drain: report.Series{Server: "drain", Runs: runs(0, 50, 50, 60)},
			Feeds: map[server.Transport]report.Series{
				server.Unix: {Server: "send-unix", Runs: runs(0, 50, 50, 60)},
				server.TCP:  {Server: "send-tcp", Runs: runs(0, 100, 150, 60)},
			},
		}},
		Searches: []report.Search{
			{Server: "fast", Size: traffic.Fixed(1400), Steps: []report.Step{{Rate: 500_000, FlatOut: true}}},
			{Server: "slow", Size: traffic.Fixed(1400), Steps: []report.Step{{Rate: 500_000, Lost: 9, FlatOut: true}, {Rate: 250_000}, {Rate: 375_000, Lost: 1}}},
		},
		Lone: []report.Lone{{Server: "fast", Runs: []sink.Latency{{Count: 9, P50: 8 * time.Millisecond, P99: 9 * time.Millisecond, Max: 9 * time.Millisecond}}}},
	}
}

func TestFiguresAreShown(t *testing.T) {
	for format, want := range map[report.Format][]string{
		report.Markdown: {
			"| 1,400 B, 100,000/s | fast | 100,000 | 180 (150–200) | 1.5 (1.5–2) | 0 | 0.01 |",
			"| 1,400 B, 100,000/s | slow | 100,000 | 1,800 (1,500–2,000) | 10 (10–15) | 5 | 3 |",
			"| 1,400 B, 100,000/s | slow | 30,000 | 28,500 | 1,500 | 0 | 0 |",       // where lost
			"| 1,400 B, 100,000/s | slow | 10 × as much | 5 to 0 |",                 // compared
			"| 1,400 B | fast | 500,000 (all) | – | 1 |",                            // search
			"| 1,400 B | slow | 250,000 | 375,000 | 3 |",                            //
			"| lone frames | fast | 8 | 9 | 9 |",                                    // latency
			"| fast | 8 | 32 |",                                                     // memory
			"| slow | tcp | `rpcapd` | 2 |",                                         // version
			"| 1,400 B, 100,000/s | send, tcp | 100 (60–150) | 100,000 |",           // limits
			"Measured 2026-11-01 12:00 UTC in 1m0s by `bench server` on Linux 6.18", //
		},
		report.Text: {"slow    100,000           1,800 (1,500–2,000)  10 (10–15)"},
		report.Benchstat: {
			"cpu: Some CPU\n", "Unit lossfree-% better=higher\n",
			"BenchmarkServer/server=fast/size=1400/rate=100000-2\t10000\t150 cpu-ns/frame\t0 lost-%\t8 MiB-resident\t1.5 x-possible\t2 p99-ms\t0.01 syscalls/frame\n",
			"BenchmarkServer/server=slow/size=1400/rate=100000-2\t9500\t1500 cpu-ns/frame\t5 lost-%\t8 MiB-resident\t10 x-possible",
			"BenchmarkLossFree/server=slow/size=1400-2\t1\t50 lossfree-%\n", "BenchmarkLone/server=fast-2\t9\t8 lone-p50-ms\n",
		},
	} {
		var b strings.Builder
		if err := example().Write(&b, format); err != nil {
			t.Errorf("%s: %v", format, err)
		}
		for _, w := range want {
			if !strings.Contains(b.String(), w) {
				t.Errorf("%s lacks\n%s\nin\n%s", format, w, b.String())
			}
		}
	}
	if err := example().Write(&bytes.Buffer{}, "interpretive dance"); err == nil {
		t.Error("an unknown format was written")
	}
}

func TestJSONRoundTrip(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.json")
	var b bytes.Buffer
	if err := example().WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := report.LoadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sizes := cmp.Comparer(func(a, b traffic.Size) bool { return a == b })
	if d := cmp.Diff(example(), got, sizes); d != "" {
		t.Errorf("differs:\n%s", d)
	}
	for name, text := range map[string]string{"other schema": `{"schema":99}`, "no JSON": "x"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := report.LoadFile(path); err == nil {
			t.Errorf("%s was loaded", name)
		}
	}
}

func TestSectionIsReplaced(t *testing.T) {
	const begin, end = "<!-- bench:begin (generated by `bench report --readme`, don't edit) -->", "<!-- bench:end -->"
	document := "# A\n" + begin + "\nold\n" + end + "\nrest\n"
	once, err := example().ReplaceSection(document, "full.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(once, "# A\n"+begin+"\n") || !strings.HasSuffix(once, end+"\nrest\n") || strings.Contains(once, "old") {
		t.Errorf("document:\n%s", once)
	}
	for _, want := range []string{
		"| load | fast | slow |",
		"| 1,400 B, 100,000/s | 180 (150–200) | 1,800 (1,500–2,000), 5 % lost |",
		"| 1,400 B: frames/s without loss | all 500,000 | 250,000 |",
		"| lone frame: p50 latency, ms | 8 | – |",
		"| memory without ring + ring, MiB | 8 + 32 | 8 + 32 |",
		"Measured 2026-11-01. The [full report](full.md)",
	} {
		if !strings.Contains(once, want) {
			t.Errorf("the section lacks\n%s\nin\n%s", want, once)
		}
	}
	if twice, err := example().ReplaceSection(once, "full.md"); err != nil || twice != once {
		t.Errorf("a second replacement differs, %v:\n%s", err, twice)
	}
	for _, bad := range []string{"", begin, end, end + begin} {
		if _, err := example().ReplaceSection(bad, "full.md"); err == nil {
			t.Errorf("%q has no section", bad)
		}
	}
}

func figures(t *testing.T, r *report.Report) *report.Benchmarks {
	t.Helper()
	var b bytes.Buffer
	if err := r.Write(&b, report.Benchstat); err != nil {
		t.Fatal(err)
	}
	figures, err := report.ReadBenchmarks(&b)
	if err != nil {
		t.Fatal(err)
	}
	return figures
}

func TestRegressions(t *testing.T) {
	for _, tc := range []struct {
		name  string
		spoil func(*report.Report)
		worse int
		says  string
	}{
		{"the same", func(*report.Report) {}, 0, "no difference beyond noise"},
		{"within noise", func(r *report.Report) { r.Loads[0].Servers[0].Runs = runs(0, 190, 210, 200) }, 0, "no difference beyond noise"},
		{"costs more of the possible", func(r *report.Report) { r.Loads[0].Servers[0].Runs = runs(0, 450, 500, 480) }, 1, "WORSE"},
		{"the machine is slower", func(r *report.Report) {
			l := &r.Loads[0]
			l.Servers[0].Runs, l.Drain.Runs = runs(0, 450, 600, 540), runs(0, 150, 150, 180)
			l.Feeds[server.Unix] = report.Series{Runs: runs(0, 150, 150, 180)}
			l.Feeds[server.TCP] = report.Series{Runs: runs(0, 0, 50, 0)} // the same sum for the other
		}, 0, "no verdict"},
		{"loses frames", func(r *report.Report) { r.Loads[0].Servers[0].Runs = runs(50, 150, 200, 180) }, 1, "WORSE"},
		{"is better", func(r *report.Report) { r.Loads[0].Servers[1].Runs = runs(500, 150, 200, 180) }, 0, "better"},
		{"captures less without loss", func(r *report.Report) {
			r.Searches[0].Steps = []report.Step{{Rate: 500_000, Lost: 1, FlatOut: true}, {Rate: 200_000}}
		}, 1, "WORSE"},
		{"calls the kernel three times", func(r *report.Report) { r.Loads[0].Servers[0].Syscalls = calls(300) }, 1, "WORSE"},
		{"other frames", func(r *report.Report) { r.Settings.Kind, r.Settings.VLAN = traffic.TCP, []uint16{1} }, 0, "not compared"},
		{"another machine", func(r *report.Report) { r.Environment.CPU = "Other CPU" }, 0, "another machine"},
		{"not measured", func(r *report.Report) { r.Searches = nil }, 0, "not compared"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			changed := example()
			tc.spoil(changed)
			var b strings.Builder
			worse, err := report.Regressions(&b, figures(t, example()), figures(t, changed))
			if err != nil || worse != tc.worse || !strings.Contains(b.String(), tc.says) {
				t.Errorf("%d worse, %v, want %d and %q:\n%s", worse, err, tc.worse, tc.says, b.String())
			}
		})
	}
}

// TestManySmallDifferencesTell holds that a cost that is a fifth higher
// everywhere is a regression, and in one place of many isn't.
func TestManySmallDifferencesTell(t *testing.T) {
	session := func(perFrame ...int64) *report.Benchmarks {
		r := example()
		first := r.Loads[0]
		for i, ns := range perFrame {
			l := first
			l.Size = traffic.Fixed(400 + i)
			l.Servers = []report.Series{{Server: "fast", Runs: runs(0, ns, ns+4, ns+2)}}
			l.Drain, l.Feeds = report.Series{Runs: runs(0, 50, 50, 50)}, map[server.Transport]report.Series{server.Unix: {Runs: runs(0, 50, 50, 50)}}
			r.Loads = append(r.Loads, l)
		}
		return figures(t, r)
	}
	old := session(150, 170, 160, 155)
	for _, tc := range []struct {
		name  string
		new   *report.Benchmarks
		worse int
		says  string
	}{
		{"everywhere", session(180, 204, 192, 186), 1, "Server/server=fast/all"},
		{"in one place", session(180, 170, 160, 155), 0, "too little alone"},
		{"a lot in one place", session(290, 170, 160, 155), 2, "WORSE"}, // there, and in the mean
	} {
		var b strings.Builder
		if worse, err := report.Regressions(&b, old, tc.new); err != nil || worse != tc.worse || !strings.Contains(b.String(), tc.says) {
			t.Errorf("%s: %d worse, %v, want %d and %q:\n%s", tc.name, worse, err, tc.worse, tc.says, b.String())
		}
	}
}

func TestReadBenchmarksRefuses(t *testing.T) {
	for _, text := range []string{"", "nothing\n", "BenchmarkX\t1\n", "BenchmarkX-2\t1\tfast ns/op\n", "BenchmarkX-2\t1\t5 ns/op 7\n"} {
		if _, err := report.ReadBenchmarks(strings.NewReader(text)); err == nil {
			t.Errorf("%q was read", text)
		}
	}
}

// FuzzReadBenchmarks: a set of figures doesn't differ from itself.
func FuzzReadBenchmarks(f *testing.F) {
	f.Add("BenchmarkX/size=1-2\t1\t0 x-possible\nBenchmarkX/size=2-2\t1\t-1 x-possible\n")
	f.Add("cpu: x\nUnit a better=higher\nBenchmarkX-2\t1\t5 a\t6 b\nBenchmarkX-2\t1\t7 a\n")
	f.Fuzz(func(t *testing.T, text string) {
		b, err := report.ReadBenchmarks(strings.NewReader(text))
		if err != nil {
			return
		}
		if d := report.Differences(b, b); len(d) > 0 {
			t.Errorf("%+v", d)
		}
	})
}
