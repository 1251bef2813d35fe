//go:build linux

package report

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

func (r *Report) writeMethod(b *strings.Builder, s style) {
	e := &r.Environment
	s.heading(b, 2, "How")
	noise, stolen, others := r.noise()
	items := []string{
		fmt.Sprintf("%d runs of each, interleaved (every server in turn, then again), each of %v of traffic (%s), each with fresh processes and namespaces.",
			r.Settings.Runs, r.Settings.Duration, r.Settings.traffic()),
		r.Settings.processors(),
		"The kernel's work for a frame up to the ring, filter and copy included, is done in the generator's time: over a veth pair the sender's processor runs the receiving side.",
		"Processor time is the scheduler's, from before the first frame to after the last; the last waits included.",
		fmt.Sprintf("Noise: the widest range of ns/frame was %.0f %% of its median. Of the processors' time the hypervisor took %s %%, other processes %s %%; %d trials were made again for that.",
			100*noise, stolen, others, r.Repeated),
		fmt.Sprintf("Kernel %s, %s, %d CPUs, %d MiB, clock source %s, %s, bench %s.", e.Kernel, e.CPU, e.CPUs, e.MemoryMiB, e.ClockSource, e.Go, e.Bench),
		"Settings: " + pairs(e.Settings) + ".",
		"Offloads of the interface: " + pairs(e.Offloads) + ".",
	}
	s.list(b, items)
}

// noise returns the widest range of all series, as a share of its median, and
// what percentage of the host's time was taken away from the runs.
func (r *Report) noise() (widest float64, stolen, others Spread) {
	var s, o []float64
	for i := range r.Loads {
		for j := range r.Loads[i].Servers {
			series := &r.Loads[i].Servers[j]
			widest = max(widest, series.CPU().Noise())
			for k := range series.Runs {
				s, o = append(s, 100*series.Runs[k].Stolen), append(o, 100*series.Runs[k].Others)
			}
		}
	}
	return widest, SpreadOf(s), SpreadOf(o)
}

func pairs[V any](m map[string]V) string {
	var list []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		list = append(list, fmt.Sprintf("%s %v", k, m[k]))
	}
	return strings.Join(list, ", ")
}
