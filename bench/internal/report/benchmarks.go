//go:build linux

package report

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"capstan/bench/internal/traffic"
	"capstan/bench/internal/trial"
)

// Units of the benchmark format. All but unitRate mean less is better.
const (
	unitCPU      = "cpu-ns/frame"
	unitPossible = "x-possible"
	unitLost     = "lost-%"
	unitCalls    = "syscalls/frame"
	unitMemory   = "MiB-resident"
	unitLatency  = "p99-ms"
	unitLone     = "lone-p50-ms"
	unitRate     = "lossfree-%" // of what the generator makes
)

// writeBenchmarks writes a line for each run, as Go's benchmarks do, for
// benchstat and for "bench compare" (golang.org/design/14313-benchmark-format).
func (r *Report) writeBenchmarks(w io.Writer) error {
	var b strings.Builder
	e := &r.Environment
	fmt.Fprintf(&b, "goos: linux\ngoarch: %s\npkg: capstan/bench\ncpu: %s\nkernel: %s\nbegun: %s\n", e.Arch, e.CPU, e.Kernel, r.Begun.UTC().Format("2006-01-02T15:04:05Z"))
	fmt.Fprintf(&b, "Unit %s better=higher\n", unitRate)
	for i := range r.Loads {
		l := &r.Loads[i]
		for j := range l.Servers {
			s := &l.Servers[j]
			name := "Server/server=" + s.Server + "/size=" + l.Size.String() + "/rate=" + rateName(&l.Load) + r.Settings.variant()
			ratios := l.ratios(s, r.transport(s.Server))
			for k := range s.Runs {
				r.writeRun(&b, name, s, k, ratios)
			}
		}
	}
	for i := range r.Searches {
		search := &r.Searches[i]
		if highest := search.Highest(); highest > 0 {
			rate, _ := search.Best()
			line(&b, "LossFree/server="+search.Server+"/size="+search.Size.String()+r.Settings.variant(), 1, e.CPUs, []any{100 * rate / highest, unitRate})
		}
	}
	for _, l := range r.Lone {
		for _, run := range l.Runs {
			line(&b, "Lone/server="+l.Server+r.Settings.variant(), run.Count, e.CPUs, []any{float64(run.P50) / 1e6, unitLone})
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// variant keeps figures of other kinds of frames apart from the usual ones.
func (s *Settings) variant() (v string) {
	if s.Kind != traffic.UDP {
		v += "/kind=" + s.Kind.String()
	}
	if len(s.VLAN) > 0 {
		v += "/vlans=" + strconv.Itoa(len(s.VLAN))
	}
	return v
}

func rateName(l *trial.Load) string {
	if l.Rate == 0 {
		return "max"
	}
	return fmt.Sprint(int64(l.Rate))
}

// writeRun writes the line of run k.
func (r *Report) writeRun(b *strings.Builder, name string, s *Series, k int, ratios map[int]float64) {
	run := &s.Runs[k]
	if run.Delivered == 0 {
		return
	}
	m := run.Memory
	values := []any{
		run.CPUPerFrame(), unitCPU, 100 * run.LostShare(), unitLost,
		float64(m.Peak-min(m.RingResident, m.Peak)) / (1 << 20), unitMemory,
	}
	if ratio, ok := ratios[run.Round]; ok {
		values = append(values, ratio, unitPossible)
	}
	if run.Latency != nil && run.Latency.Count > 0 {
		values = append(values, float64(run.Latency.P99)/1e6, unitLatency)
	}
	if s.Syscalls != nil && s.Syscalls.Syscalls != nil && k == 0 {
		values = append(values, s.Syscalls.SyscallsPerFrame(), unitCalls)
	}
	line(b, name, run.Delivered, r.Environment.CPUs, values)
}

// line writes one benchmark; values are figures and units in turn.
func line(b *strings.Builder, name string, iterations uint64, cpus int, values []any) {
	fmt.Fprintf(b, "Benchmark%s-%d\t%d", name, cpus, iterations)
	for i := 0; i < len(values); i += 2 {
		fmt.Fprintf(b, "\t%.6g %s", values[i], values[i+1])
	}
	b.WriteByte('\n')
}
