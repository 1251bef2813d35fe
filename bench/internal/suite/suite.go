//go:build linux

package suite

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"capstan/bench/internal/environment"
	"capstan/bench/internal/report"
	"capstan/bench/internal/server"
	"capstan/bench/internal/traffic"
	"capstan/bench/internal/trial"
)

// session is a suite under way.
type session struct {
	cfg      trial.Config
	plan     Plan
	progress io.Writer
	report   *report.Report
	begun    time.Time
	runs     int
	spare    time.Duration // for repetitions
}

// Run makes the trials of the plan and returns their report. It tells on
// progress what it does. An error means that there is no report: ctx was
// cancelled, or a server doesn't work at all.
func Run(ctx context.Context, cfg trial.Config, p Plan, progress io.Writer) (*report.Report, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	s := &session{cfg: cfg, plan: p, progress: progress, begun: time.Now(), runs: p.runs()}
	s.spare = p.Budget*95/100 - p.estimate(s.runs)
	s.report = &report.Report{
		Schema: report.Schema, Begun: s.begun, Command: p.Command, Environment: environment.Read(),
		Settings: report.Settings{
			Runs: s.runs, Duration: p.Duration, ReadTimeout: cfg.ReadTimeout, Kind: p.Kind, VLAN: p.VLAN, Flows: p.Flows,
			ServerCPUs: cfg.ServerCPUs, GeneratorCPUs: cfg.GeneratorCPUs,
		},
	}
	var err error
	if s.report.Environment.Offloads, err = trial.Offloads(); err != nil {
		return nil, err
	}
	s.say("%d runs of each, about %v", s.runs, p.estimate(s.runs).Round(time.Second))
	bounded, cancel := context.WithTimeout(ctx, p.Budget)
	defer cancel()
	if err := s.check(bounded); err != nil {
		return nil, err
	}
	for _, l := range p.loads() {
		s.load(bounded, l)
	}
	for _, size := range p.Sizes {
		s.search(bounded, size)
	}
	s.lone(bounded)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if bounded.Err() != nil {
		s.miss("the session's time of %v was up: what is not listed below was not measured", p.Budget)
	}
	s.report.Elapsed = time.Since(s.begun)
	return s.report, nil
}

func (s *session) say(format string, a ...any) {
	fmt.Fprintf(s.progress, "%6.1fs  "+format+"\n", append([]any{time.Since(s.begun).Seconds()}, a...)...)
}

// miss notes in the report what was not measured.
func (s *session) miss(format string, a ...any) {
	text := fmt.Sprintf(format, a...)
	s.report.Missing = append(s.report.Missing, text)
	s.say("NOT MEASURED: %s", text)
}

// check sees that each server works at all, and asks for its version.
func (s *session) check(ctx context.Context) error {
	load := s.plan.load(s.plan.Sizes[0], 1000)
	load.Duration = 100 * time.Millisecond
	for _, spec := range s.plan.Servers {
		r, err := s.cfg.Run(ctx, spec, load, trial.Options{})
		if err != nil {
			return err
		}
		if r.Delivered == 0 {
			return fmt.Errorf("server %s delivered none of %d frames: %s", spec.Name, r.Arrived, r.Error)
		}
		version := strings.TrimPrefix(server.Version(ctx, spec.Program(s.cfg.Self))+"; "+s.plan.Facts[spec.Name], "; ")
		version = strings.TrimSuffix(version, "; ")
		s.report.Servers = append(s.report.Servers, report.Server{Spec: spec.Public(), Version: version})
		s.say("%s works: %s", spec.Name, version)
	}
	return nil
}

// one makes one trial and tells of it. It returns false if there is no result.
func (s *session) one(ctx context.Context, spec server.Spec, l trial.Load, o trial.Options) (trial.Result, bool) {
	if ctx.Err() != nil {
		return trial.Result{}, false
	}
	r, err := s.calm(ctx, spec, l, o)
	if err != nil {
		if ctx.Err() == nil {
			s.miss("%s at %s: %v", spec.Name, describe(l), err)
		}
		return r, false
	}
	if o.Syscalls {
		s.say("%-16s %-24s %8.3f system calls/frame", spec.Name, describe(l), r.SyscallsPerFrame())
	} else {
		s.say("%-16s %-24s %8.1f ns/frame  %d offered, %d lost", spec.Name, describe(l), r.CPUPerFrame(), r.Offered, int64(r.Arrived)-int64(r.Delivered))
	}
	return r, true
}

// disturbed is what other processes may take of the host's time before a trial is
// repeated.
const disturbed = 0.1

// calm makes a trial, again if the host had other things to do, and returns the
// least disturbed, as long as the session has time to spare. What came out of the trial plays no part in that.
func (s *session) calm(ctx context.Context, spec server.Spec, l trial.Load, o trial.Options) (trial.Result, error) {
	best, err := s.cfg.Run(ctx, spec, l, o)
	for range s.plan.Repeats {
		if err != nil || best.Others <= disturbed || s.spare <= 0 {
			break
		}
		again := time.Now()
		s.report.Repeated++
		s.say("%-16s %-24s again: other processes took %.0f %% of the time", spec.Name, describe(l), 100*best.Others)
		r, err := s.cfg.Run(ctx, spec, l, o)
		s.spare -= time.Since(again)
		if err != nil {
			break // the first one counts
		}
		if r.Others < best.Others {
			best = r
		}
	}
	return best, err
}

func describe(l trial.Load) string { return report.Title(&l) }

// load measures all servers and the limits under one load, round by round.
func (s *session) load(ctx context.Context, l trial.Load) {
	if ctx.Err() != nil {
		return
	}
	m := report.Load{Load: l, Feeds: make(map[server.Transport]report.Series), Drain: report.Series{Server: "drain"}}
	for _, spec := range s.plan.Servers {
		m.Servers = append(m.Servers, report.Series{Server: spec.Name})
	}
	for round := range s.runs {
		s.limits(ctx, &m, round)
		for i, spec := range s.plan.Servers {
			if r, ok := s.one(ctx, spec, l, trial.Options{}); ok {
				r.Round = round
				m.Servers[i].Runs = append(m.Servers[i].Runs, r)
			}
		}
	}
	for i, spec := range s.plan.Servers {
		if r, ok := s.one(ctx, spec, l, trial.Options{Syscalls: true}); ok {
			m.Servers[i].Syscalls = &r
		}
	}
	s.report.Loads = append(s.report.Loads, m)
}

// search looks for the highest rate without loss: by halves, one step of every
// server in turn.
func (s *session) search(ctx context.Context, size traffic.Size) {
	if s.plan.SearchSteps == 0 || ctx.Err() != nil {
		return
	}
	searches := make([]report.Search, len(s.plan.Servers))
	bounds := make([]bisection, len(s.plan.Servers))
	for i, spec := range s.plan.Servers {
		searches[i] = report.Search{Server: spec.Name, Size: size}
	}
	for range s.plan.SearchSteps {
		for i, spec := range s.plan.Servers {
			b := &bounds[i]
			if b.done {
				continue
			}
			step, ok := s.step(ctx, spec, s.plan.load(size, b.next()))
			if !ok {
				b.done = true
				continue
			}
			searches[i].Steps = append(searches[i].Steps, step)
			b.take(step.Rate, step.Lost == 0)
		}
	}
	s.report.Searches = append(s.report.Searches, searches...)
}

// step tries a rate. Frames count as lost if they are in two trials: one alone
// may have met a moment in which the host did something else.
func (s *session) step(ctx context.Context, spec server.Spec, l trial.Load) (step report.Step, ok bool) {
	for try := range 2 {
		r, ok := s.one(ctx, spec, l, trial.Options{})
		if !ok {
			return step, false
		}
		lost := int64(r.Arrived) - int64(r.Delivered)
		if try == 0 || lost == 0 {
			step = report.Step{Rate: r.OfferedRate, Lost: lost, FlatOut: l.Rate == 0}
		}
		if lost == 0 {
			break
		}
	}
	return step, true
}

// bisection is the state of a search. It begins flat out, and looks between the
// lowest rate with loss and the highest without below that: a rate without loss
// above one with loss was luck.
type bisection struct {
	lossless []float64
	high     float64 // lowest rate with loss; 0: none yet
	done     bool
}

// low returns the highest rate without loss below high.
func (b *bisection) low() (low float64) {
	for _, rate := range b.lossless {
		if rate < b.high {
			low = max(low, rate)
		}
	}
	return low
}

// next returns the rate to try; 0 is flat out.
func (b *bisection) next() float64 {
	if b.high == 0 {
		return 0
	}
	return (b.low() + b.high) / 2
}

// take takes what became of a step at a rate as it really was.
func (b *bisection) take(rate float64, lossless bool) {
	switch {
	case lossless && b.high == 0:
		b.done = true // there is no higher rate to try
	case lossless:
		b.lossless = append(b.lossless, rate)
	case b.high == 0 || rate < b.high:
		b.high = rate
	}
	if b.high != 0 && b.high-b.low() < b.high/200 {
		b.done = true
	}
}

// lone measures how late frames are that nothing follows soon.
func (s *session) lone(ctx context.Context) {
	if s.plan.LoneTime == 0 {
		return
	}
	var list []report.Lone
	for _, spec := range s.plan.Servers {
		if spec.Transport != server.Local {
			list = append(list, report.Lone{Server: spec.Name})
		}
	}
	load := s.plan.load(s.plan.Sizes[0], loneRate)
	load.Burst, load.Duration = 1, s.plan.LoneTime
	for range s.runs {
		i := 0
		for _, spec := range s.plan.Servers {
			if spec.Transport == server.Local {
				continue
			}
			if r, ok := s.one(ctx, spec, load, trial.Options{}); ok && r.Latency != nil {
				list[i].Runs = append(list[i].Runs, *r.Latency)
			}
			i++
		}
	}
	s.report.Lone = list
}
