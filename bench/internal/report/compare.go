//go:build linux

package report

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Benchmarks are figures in the format of Go benchmarks.
type Benchmarks struct {
	config map[string]string // the lines "key: value"
	values map[key][]float64
	higher map[string]bool // units where more is better
}

// key names a figure: what was measured, and in which unit.
type key struct{ name, unit string }

// ReadBenchmarks reads the format that [Report.Write] writes as [Benchstat].
func ReadBenchmarks(r io.Reader) (*Benchmarks, error) {
	b := &Benchmarks{config: make(map[string]string), values: make(map[key][]float64), higher: make(map[string]bool)}
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		if err := b.add(lines.Text()); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
	if len(b.values) == 0 {
		return nil, errors.Join(lines.Err(), errors.New("no benchmark in it"))
	}
	return b, lines.Err()
}

func (b *Benchmarks) add(text string) error {
	fields := strings.Fields(text)
	if len(fields) == 3 && fields[0] == "Unit" {
		b.higher[fields[1]] = fields[2] == "better=higher"
		return nil
	}
	if !strings.HasPrefix(text, "Benchmark") {
		if k, v, ok := strings.Cut(text, ": "); ok {
			b.config[k] = v
		}
		return nil
	}
	if len(fields) < 4 || len(fields)%2 != 0 {
		return fmt.Errorf("%d fields, want a name, a count and pairs of value and unit", len(fields))
	}
	name := strings.TrimPrefix(fields[0], "Benchmark")
	if i := strings.LastIndexByte(name, '-'); i > 0 { // the number of processors
		name = name[:i]
	}
	for i := 2; i < len(fields); i += 2 {
		v, err := strconv.ParseFloat(fields[i], 64)
		if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Errorf("%q is no number", fields[i])
		}
		k := key{name, fields[i+1]}
		b.values[k] = append(b.values[k], v)
	}
	return nil
}

// A difference below these isn't worth a word, even if it is beyond noise.
const (
	leastRelative = 0.05
	leastLost     = 0.1 // percentage points, for unitLost
)

// leastAlone is by how much the ratio to the possible of one load has to be worse
// to make a regression. With three runs of each of dozens of loads, chance makes
// one of them differ in every other session; all loads together (summarize) tell
// smaller differences.
const leastAlone = 1.5

// decisive are the units that make a regression: those that hold from one run
// of the machine to the next. Others follow the speed of the machine, which on
// shared hosts drifts; they are shown.
var decisive = map[string]bool{unitPossible: true, unitLost: true, unitCalls: true, unitMemory: true, unitRate: true}

// Difference is what became of one figure.
type Difference struct {
	Name, Unit string
	Old, New   Spread
	Worse      bool
	Decisive   bool // it makes a regression if it is worse
}

// Differences returns the figures that are in both and differ beyond noise: more
// than a little, and by [Spread.Differs]. Where there are too few runs for that,
// twice as much is beyond noise.
func Differences(old, new *Benchmarks) []Difference {
	var list []Difference
	compare := func(k key, before, after []float64, decides func(*Difference) bool) {
		d := Difference{Name: k.name, Unit: k.unit, Old: SpreadOf(before), New: SpreadOf(after)}
		if d.significant() {
			d.Worse = d.New.Median > d.Old.Median != new.higher[k.unit]
			d.Decisive = decides(&d)
			list = append(list, d)
		}
	}
	sums := summarize(new, old)
	for k, before := range summarize(old, new) {
		compare(k, before, sums[k], func(*Difference) bool { return true })
	}
	for k, before := range old.values {
		if after, ok := new.values[k]; ok {
			compare(k, before, after, func(d *Difference) bool {
				return decisive[k.unit] && (k.unit != unitPossible || d.New.Median >= leastAlone*d.Old.Median)
			})
		}
	}
	slices.SortFunc(list, func(a, b Difference) int { return strings.Compare(a.Unit+" "+a.Name, b.Unit+" "+b.Name) })
	return list
}

// allLoads stands in a name for the load.
const allLoads = "/all"

// summarize returns, for each server, the geometric mean of its ratios to the
// possible over all loads that other has too, run by run. A server with one load
// only has none.
func summarize(b, other *Benchmarks) map[key][]float64 {
	loads := make(map[key][][]float64)
	for k, values := range b.values {
		server, _, ok := strings.Cut(k.name, "/size=")
		if _, both := other.values[k]; ok && both && k.unit == unitPossible {
			k.name = server + allLoads
			loads[k] = append(loads[k], values)
		}
	}
	means := make(map[key][]float64)
	for k, list := range loads {
		runs := len(slices.MinFunc(list, func(a, b []float64) int { return len(a) - len(b) }))
		for i := 0; i < runs && len(list) > 1; i++ {
			sum := 0.0
			for _, values := range list {
				sum += math.Log(values[i])
			}
			means[k] = append(means[k], math.Exp(sum/float64(len(list))))
		}
	}
	return means
}

func (d *Difference) significant() bool {
	change := math.Abs(d.New.Median - d.Old.Median)
	switch {
	case change == 0, d.Unit == unitLost && change < leastLost, change < leastRelative*min(d.Old.Median, d.New.Median):
		return false
	case d.Old.Count < minRuns || d.New.Count < minRuns:
		return max(d.Old.Median, d.New.Median) >= 2*min(d.Old.Median, d.New.Median)
	}
	return d.Old.Differs(d.New)
}

// Regressions says what differs between two sets of figures, and returns how
// many figures are decisively worse.
func Regressions(w io.Writer, old, new *Benchmarks) (worse int, err error) {
	var b strings.Builder
	for _, k := range []string{"cpu", "kernel"} {
		if old.config[k] != new.config[k] {
			fmt.Fprintf(&b, "another machine: %s was %q and is %q\n", k, old.config[k], new.config[k])
		}
	}
	var rows [][]string
	for _, d := range Differences(old, new) {
		verdict := "better"
		switch {
		case d.Worse && d.Decisive:
			verdict = "WORSE"
			worse++
		case d.Worse && decisive[d.Unit]:
			verdict = "worse here; too little alone, so no verdict"
		case d.Worse:
			verdict = "higher; follows the machine's speed, so no verdict"
		}
		rows = append(rows, []string{d.Name, d.Unit, d.Old.String(), d.New.String(), verdict})
	}
	if len(rows) == 0 {
		b.WriteString("no difference beyond noise\n")
	} else {
		textStyle{}.table(&b, []string{"what", "unit", "old", "new", ""}, rows)
	}
	var missing []string
	for k := range old.values {
		if _, ok := new.values[k]; !ok && !slices.Contains(missing, k.name) {
			missing = append(missing, k.name)
		}
	}
	if len(missing) > 0 {
		fmt.Fprintf(&b, "%d benchmarks of the old figures are not among the new, and not compared\n", len(missing))
	}
	_, err = io.WriteString(w, b.String())
	return worse, err
}
