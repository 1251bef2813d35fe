//go:build linux

package report

import (
	"fmt"
	"io"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"capstan/bench/internal/server"
	"capstan/bench/internal/sink"
	"capstan/bench/internal/traffic"
	"capstan/bench/internal/trial"
)

// writeTables writes the whole report.
func (r *Report) writeTables(w io.Writer, s style) error {
	var b strings.Builder
	s.heading(&b, 1, "Remote capture, measured")
	s.paragraph(&b, fmt.Sprintf("Measured %s in %v by `%s` on %s.",
		r.Begun.UTC().Format("2006-01-02 15:04 UTC"), r.Elapsed.Round(time.Second), r.Command, r.Environment.Summary()))
	r.writeServers(&b, s)
	r.writeCost(&b, s)
	r.writeLoss(&b, s)
	r.writeLatency(&b, s)
	r.writeMemory(&b, s)
	r.writeSearches(&b, s)
	r.writeComparison(&b, s)
	r.writeLimits(&b, s)
	r.writeMethod(&b, s)
	_, err := io.WriteString(w, b.String())
	return err
}

func (r *Report) writeServers(b *strings.Builder, s style) {
	s.heading(b, 2, "Servers")
	var rows [][]string
	for _, server := range r.Servers {
		rows = append(rows, []string{server.Name, string(server.Transport), "`" + strings.Join(server.Command, " ") + "`", server.Version})
	}
	s.table(b, []string{"name", "transport", "command", "version"}, rows)
	if len(r.Missing) > 0 {
		s.paragraph(b, "Not measured:")
		s.list(b, r.Missing)
	}
}

// Title describes a load.
func Title(l *trial.Load) string {
	t := sizeText(l.Size)
	if l.Kind != traffic.UDP {
		t += " " + strings.ToUpper(l.Kind.String())
	}
	if len(l.VLAN) > 0 {
		t += " tagged"
	}
	if l.Rate > 0 {
		t += ", " + number(l.Rate) + "/s"
	} else {
		t += ", flat out"
	}
	if l.Burst > 0 {
		t += fmt.Sprintf(", bursts of %d", l.Burst)
	}
	return t
}

func sizeText(size traffic.Size) string {
	if n, err := strconv.Atoi(size.String()); err == nil {
		return number(float64(n)) + " B"
	}
	if name, ok := strings.CutPrefix(size.String(), "file:"); ok {
		return "lengths of " + filepath.Base(name)
	}
	return size.String()
}

// perSeries makes a row of each server under each load.
func (r *Report) perSeries(row func(l *Load, s *Series, t server.Transport) []string) (rows [][]string) {
	for i := range r.Loads {
		l := &r.Loads[i]
		for j := range l.Servers {
			s := &l.Servers[j]
			if cells := row(l, s, r.transport(s.Server)); cells != nil {
				rows = append(rows, append([]string{Title(&l.Load), s.Server}, cells...))
			}
		}
	}
	return rows
}

func (r *Report) writeCost(b *strings.Builder, s style) {
	s.heading(b, 2, "Cost per delivered frame")
	s.paragraph(b, "Processor time of all processes and threads of the server, in ns for each frame delivered: median (lowest–highest) of the runs. "+
		"\"× possible\" is the same divided by what draining the ring and sending the bytes cost alone in the same round, for a local capture draining. "+
		"Each half wakes up for every block, a server once for both: so at low rates one may come out a little below 1.")
	s.table(b, []string{"load", "server", "frames/s offered", "ns/frame", "× possible", "lost %", "system calls/frame"},
		r.perSeries(func(l *Load, series *Series, t server.Transport) []string {
			calls := "not measured"
			if series.Syscalls != nil && series.Syscalls.Syscalls != nil {
				calls = number(series.Syscalls.SyscallsPerFrame())
			}
			return []string{series.Offered().String(), series.CPU().String(), l.Ratio(series, t).String(), series.Lost().String(), calls}
		}))
}

func (r *Report) writeLoss(b *strings.Builder, s style) {
	s.heading(b, 2, "Where frames were lost")
	rows := r.perSeries(func(_ *Load, series *Series, _ server.Transport) []string {
		field := func(figure func(*trial.Result) int64) string { return number(float64(series.sum(figure))) }
		var any int64
		for i := range series.Runs {
			run := &series.Runs[i]
			if run.Loss != (trial.Loss{}) {
				any++
			}
			any += int64(run.Corrupt + run.Duplicates + run.Late)
		}
		if any == 0 {
			return nil
		}
		return []string{
			field(func(r *trial.Result) int64 { return int64(r.Arrived) }), field(func(r *trial.Result) int64 { return int64(r.Delivered) }),
			field(func(r *trial.Result) int64 { return r.Loss.Ring }), field(func(r *trial.Result) int64 { return r.Loss.Transport }),
			field(func(r *trial.Result) int64 { return r.Loss.Unaccounted }),
			field(func(r *trial.Result) int64 { return int64(r.Corrupt) }), field(func(r *trial.Result) int64 { return int64(r.Duplicates) }),
			field(func(r *trial.Result) int64 { return int64(r.Late) }), field(func(r *trial.Result) int64 { return r.Loss.Cable }),
		}
	})
	if len(rows) == 0 {
		s.paragraph(b, "Nowhere: in all runs every frame arrived, once, whole and in order.")
		return
	}
	s.paragraph(b, "Frames of all runs together; loads and servers that are not listed lost nothing, and delivered each frame once, whole and in order. "+
		"Ring: dropped by the kernel since the ring was full, as the server says. Transport: numbered by the server and never delivered. "+
		"Unaccounted: the rest; below zero the server claims more loss than there was. Cable: never arrived, so no server could have had them.")
	s.table(b, []string{"load", "server", "arrived", "delivered", "ring", "transport", "unaccounted", "damaged", "twice", "out of order", "cable"}, rows)
}

func (r *Report) writeLatency(b *strings.Builder, s style) {
	s.heading(b, 2, "Latency from wire to client")
	s.paragraph(b, fmt.Sprintf("From the generator's clock just before the frame is sent to the sink's when it has read it, in ms, with a read timeout of %v: "+
		"so long a server may keep a frame back. Lone frames come some 100 ms apart.", r.Settings.ReadTimeout))
	ms := func(d time.Duration) float64 { return float64(d) / 1e6 }
	row := func(runs []sink.Latency) []string {
		var p50, p99, highest []float64
		for _, l := range runs {
			if l.Count > 0 {
				p50, p99, highest = append(p50, ms(l.P50)), append(p99, ms(l.P99)), append(highest, ms(l.Max))
			}
		}
		return []string{SpreadOf(p50).String(), SpreadOf(p99).String(), SpreadOf(highest).String()}
	}
	var rows [][]string
	for _, l := range r.Lone {
		rows = append(rows, append([]string{"lone frames", l.Server}, row(l.Runs)...))
	}
	rows = append(rows, r.perSeries(func(_ *Load, series *Series, t server.Transport) []string {
		if t == server.Local {
			return nil
		}
		var runs []sink.Latency
		for i := range series.Runs {
			if l := series.Runs[i].Latency; l != nil {
				runs = append(runs, *l)
			}
		}
		return row(runs)
	})...)
	s.table(b, []string{"load", "server", "p50", "p99", "max"}, rows)
}

func (r *Report) writeMemory(b *strings.Builder, s style) {
	s.heading(b, 2, "Memory")
	s.paragraph(b, "Highest of all runs, in MiB: peak resident memory of all processes without the ring, and the capture ring.")
	var rows [][]string
	for _, server := range r.Servers {
		resident, ring := r.memory(server.Name)
		rows = append(rows, []string{server.Name, number(resident), number(ring)})
	}
	s.table(b, []string{"server", "resident", "ring"}, rows)
}

// memory returns the most that a server used in any run, in MiB.
func (r *Report) memory(name string) (resident, ring float64) {
	const mib = 1 << 20
	for i := range r.Loads {
		for _, s := range r.Loads[i].Servers {
			for _, run := range s.Runs {
				if s.Server == name {
					m := run.Memory
					resident = max(resident, float64(m.Peak-min(m.RingResident, m.Peak))/mib)
					ring = max(ring, float64(m.Ring)/mib)
				}
			}
		}
	}
	return resident, ring
}

func (r *Report) writeSearches(b *strings.Builder, s style) {
	if len(r.Searches) == 0 {
		return
	}
	s.heading(b, 2, "Highest rate without loss")
	s.paragraph(b, "Found by bisection (after RFC 2544, section 26.1) from the rate that the generator makes flat out; one search each, so a single figure without spread. A rate counts as lossy if two trials in a row lost frames. "+
		"\"All\" means that no higher rate could be offered.")
	var rows [][]string
	for i := range r.Searches {
		search := &r.Searches[i]
		rate, limited := search.Best()
		text := number(rate)
		switch {
		case rate == 0:
			text = "none found"
		case limited:
			text += " (all)"
		}
		lossy := "–"
		if lowest := search.Lossy(); !math.IsInf(lowest, 1) {
			lossy = number(lowest)
		}
		rows = append(rows, []string{sizeText(search.Size), search.Server, text, lossy, strconv.Itoa(len(search.Steps))})
	}
	s.table(b, []string{"size", "server", "frames/s without loss", "lowest rate with loss", "steps"}, rows)
}

func (r *Report) writeComparison(b *strings.Builder, s style) {
	if len(r.Servers) < 2 {
		return
	}
	first := r.Servers[0].Name
	var rows [][]string
	for i := range r.Loads {
		l := &r.Loads[i]
		var reference *Series
		for j := range l.Servers {
			series := &l.Servers[j]
			if series.Server == first {
				reference = series
				continue
			}
			if reference == nil {
				continue
			}
			rows = append(rows, []string{Title(&l.Load), series.Server, Compare(series.CPU(), reference.CPU()), Compare(series.Lost(), reference.Lost())})
		}
	}
	s.heading(b, 2, "Compared with "+first)
	s.paragraph(b, "Medians, where they differ by more than the runs of either do among themselves, and the ranges don't overlap; else no difference is claimed.")
	s.table(b, []string{"load", "server", "ns/frame", "lost %"}, rows)
}

func (r *Report) writeLimits(b *strings.Builder, s style) {
	s.heading(b, 2, "What is possible")
	s.paragraph(b, "Each half of a server's work alone, in the same rounds, in ns per frame: draining a ring like rpcapd's without sending, and sending the same bytes in the same "+
		"batches without capturing.")
	var rows [][]string
	for i := range r.Loads {
		l := &r.Loads[i]
		rows = append(rows, []string{Title(&l.Load), "drain", l.Drain.CPU().String(), l.Drain.Offered().String()})
		for _, t := range slices.Sorted(maps.Keys(l.Feeds)) {
			feed := l.Feeds[t]
			rows = append(rows, []string{Title(&l.Load), "send, " + string(t), feed.CPU().String(), feed.Offered().String()})
		}
	}
	s.table(b, []string{"load", "half", "ns/frame", "frames/s offered"}, rows)
}
