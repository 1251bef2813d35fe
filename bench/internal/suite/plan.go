//go:build linux

// Package suite makes a session of trials: every server under every load, in
// turn and again, the limits in the same rounds, the search for the highest rate
// without loss, and lone frames.
package suite

import (
	"errors"
	"fmt"
	"time"

	"capstan/bench/internal/server"
	"capstan/bench/internal/traffic"
	"capstan/bench/internal/trial"
)

// Plan says what to measure.
type Plan struct {
	Servers  []server.Spec
	Sizes    []traffic.Size
	Rates    []float64    // frames per second; 0 is flat out
	Kind     traffic.Kind // UDP or TCP
	VLAN     []uint16     // identifiers that flows take in turn; none: untagged
	Flows    int
	Burst    int           // with a rate
	Runs     int           // of each; 0: as many as fit the budget, from 3 to 5
	Duration time.Duration // of a run's traffic
	// SearchSteps bounds the search for the highest rate without loss, flat
	// out included; 0: no search.
	SearchSteps int
	// LoneTime is how long lone frames are sent in a run; 0: none.
	LoneTime time.Duration
	// Repeats is how often a trial is made again in the hope that other processes
	// keep the host less busy.
	Repeats int
	// Budget bounds the session. What is not measured by then is said.
	Budget time.Duration
	// Facts says more about servers than they tell themselves.
	Facts map[string]string
	// Command repeats the session; it goes into the report.
	Command string
}

// loneRate is the rate of lone frames. It is no multiple of any timer, so that
// frames come at every phase.
const loneRate = 9.7

const (
	leastRuns = 3
	mostRuns  = 5
)

// Validate reports everything that is wrong with the plan.
func (p *Plan) Validate() error {
	var errs []error
	if len(p.Servers) == 0 || len(p.Sizes) == 0 || len(p.Rates) == 0 {
		errs = append(errs, errors.New("nothing to measure: servers, sizes or rates are missing"))
	}
	names := make(map[string]bool)
	for i := range p.Servers {
		s := &p.Servers[i]
		errs = append(errs, s.Validate())
		if names[s.Name] {
			errs = append(errs, fmt.Errorf("two servers are called %s", s.Name))
		}
		names[s.Name] = true
	}
	for name := range p.Facts {
		if !names[name] {
			errs = append(errs, fmt.Errorf("a fact about %s, which is no server here", name))
		}
	}
	for _, r := range p.Rates {
		if !(r >= 0) {
			errs = append(errs, fmt.Errorf("rate %v is below 0", r))
		}
	}
	if !p.Kind.Marked() {
		errs = append(errs, fmt.Errorf("frames of kind %v can't be told apart: want %v or %v", p.Kind, traffic.UDP, traffic.TCP))
	}
	for _, size := range p.Sizes {
		l := p.load(size, 0)
		if _, err := traffic.New(l.Plan()); err != nil {
			errs = append(errs, err)
		}
	}
	if p.Duration <= 0 || p.Runs < 0 || p.SearchSteps < 0 || p.Repeats < 0 || p.LoneTime < 0 || p.Budget <= 0 {
		errs = append(errs, errors.New("a duration, a budget or a number of runs, steps or repeats is out of range"))
	}
	return errors.Join(errs...)
}

// loads returns the loads of the plan.
func (p *Plan) loads() (list []trial.Load) {
	for _, size := range p.Sizes {
		for _, rate := range p.Rates {
			l := p.load(size, rate)
			if rate > 0 {
				l.Burst = p.Burst
			}
			list = append(list, l)
		}
	}
	return list
}

func (p *Plan) load(size traffic.Size, rate float64) trial.Load {
	return trial.Load{Kind: p.Kind, Size: size, Rate: rate, Flows: p.Flows, VLAN: p.VLAN, Duration: p.Duration}
}

// What a trial takes besides its traffic, roughly: to start and end everything,
// and to be sure that nothing more comes.
const (
	remoteOverhead = 600 * time.Millisecond
	localOverhead  = 500*time.Millisecond + trial.LocalQuiet
	drainOverhead  = 700 * time.Millisecond
)

// estimate returns how long the session takes with that many runs.
func (p *Plan) estimate(runs int) time.Duration {
	var each, lone time.Duration // of a round of all servers
	for _, s := range p.Servers {
		if s.Transport == server.Local {
			each += localOverhead + p.Duration
		} else {
			each += remoteOverhead + p.Duration
			lone += remoteOverhead + p.LoneTime
		}
	}
	limits := drainOverhead + p.Duration + time.Duration(len(p.feeds()))*(remoteOverhead+p.Duration)
	loads := time.Duration(len(p.Sizes) * len(p.Rates))
	total := each // the check of all servers before
	total += loads * (time.Duration(runs)*(each+limits) + each)
	total += time.Duration(len(p.Sizes)) * time.Duration(p.SearchSteps+1) * each / 2 // many end at their first step
	if p.LoneTime > 0 {
		total += time.Duration(runs) * lone
	}
	return total
}

// runs returns how many runs there will be.
func (p *Plan) runs() int {
	if p.Runs > 0 {
		return p.Runs
	}
	n := leastRuns
	for n < mostRuns && p.estimate(n+1) < p.Budget*95/100 {
		n++
	}
	return n
}

// feeds returns the transports whose limit of sending is needed.
func (p *Plan) feeds() (list []server.Transport) {
	need := make(map[server.Transport]bool)
	for _, s := range p.Servers {
		if s.Transport != server.Local {
			need[feedTransport(s.Transport)] = true
		}
	}
	for _, t := range []server.Transport{server.TCP, server.Unix} {
		if need[t] {
			list = append(list, t)
		}
	}
	return list
}
