//go:build linux

package suite

import (
	"testing"
	"time"

	"capstan/bench/internal/server"
	"capstan/bench/internal/traffic"
)

func standard() Plan {
	return Plan{
		Servers: []server.Spec{
			{Name: "a", Transport: server.Unix, Command: []string{"a"}}, {Name: "b", Transport: server.TCP, Command: []string{"b"}},
			{Name: "c", Transport: server.Local, Command: []string{"c"}},
		},
		Sizes: []traffic.Size{traffic.Fixed(60), traffic.Fixed(400), traffic.Fixed(1400)}, Rates: []float64{100_000, 300_000, 0},
		Duration: 800 * time.Millisecond, SearchSteps: 7, LoneTime: 3 * time.Second, Budget: 570 * time.Second,
	}
}

func TestStandardSetFitsItsBudget(t *testing.T) {
	p := standard()
	if err := p.Validate(); err != nil {
		t.Fatal(err)
	}
	n := p.runs()
	if n < leastRuns || n > mostRuns || p.estimate(n) > p.Budget {
		t.Errorf("%d runs take %v of %v", n, p.estimate(n), p.Budget)
	}
	p.Budget = time.Hour
	if n := p.runs(); n != mostRuns {
		t.Errorf("%d runs in an hour", n)
	}
	p.Runs = 2
	if n := p.runs(); n != 2 {
		t.Errorf("%d runs, 2 were asked for", n)
	}
}

func TestPlanRefuses(t *testing.T) {
	for name, spoil := range map[string]func(*Plan){
		"no servers":      func(p *Plan) { p.Servers = nil },
		"no sizes":        func(p *Plan) { p.Sizes = nil },
		"no rates":        func(p *Plan) { p.Rates = nil },
		"same name":       func(p *Plan) { p.Servers[1].Name = "a" },
		"bad server":      func(p *Plan) { p.Servers[1].Command = nil },
		"negative rate":   func(p *Plan) { p.Rates[0] = -1 },
		"no duration":     func(p *Plan) { p.Duration = 0 },
		"no budget":       func(p *Plan) { p.Budget = 0 },
		"unmarked":        func(p *Plan) { p.Kind = traffic.HTTP1 },
		"short frames":    func(p *Plan) { p.Sizes[1] = traffic.Fixed(20) },
		"no such file":    func(p *Plan) { p.Sizes[1] = traffic.FromFile("/nowhere/file") },
		"bad VLAN":        func(p *Plan) { p.VLAN = []uint16{4095} },
		"stranger's fact": func(p *Plan) { p.Facts = map[string]string{"z": "unknown"} },
	} {
		p := standard()
		spoil(&p)
		if p.Validate() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// A server that loses frames above a rate is searched to within a percent or
// so, in at most as many steps as there may be.
func TestBisection(t *testing.T) {
	const flatOut = 500_000
	for _, limit := range []float64{3_000, 77_777, 250_000, 499_000, 600_000} {
		var b bisection
		best, steps := 0.0, 0
		for ; steps < 9 && !b.done; steps++ {
			rate := b.next()
			if rate == 0 {
				rate = flatOut
			}
			if rate <= limit {
				best = max(best, rate)
			}
			b.take(rate, rate <= limit)
		}
		if want := min(limit, flatOut); best > want || best < want-flatOut/100 && best < want*0.99 {
			t.Errorf("limit %.0f: found %.0f in %d steps", limit, best, steps)
		}
	}
}

// A generator that can't keep a rate, and a server that loses at random, don't
// make the search silly: it never believes in a rate above one with loss.
func TestBisectionOfAMess(t *testing.T) {
	b := bisection{}
	for i, step := range []struct {
		rate     float64
		lossless bool
		next     float64
	}{
		{500_000, false, 250_000},
		{250_000, true, 375_000},
		{370_000, true, 435_000},
		{310_000, false, 280_000}, // the 370,000 was luck
		{320_000, false, 280_000},
		{240_000, false, 120_000}, // and the 250,000 too
		{120_000, true, 180_000},
	} {
		b.take(step.rate, step.lossless)
		if b.next() != step.next || b.done {
			t.Errorf("step %d: next %v, want %v; done %v", i, b.next(), step.next, b.done)
		}
	}
}
