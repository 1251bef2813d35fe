package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"capstan/interceptor/internal/config"
	"capstan/interceptor/internal/exchange"
	"capstan/interceptor/internal/own"
	"capstan/interceptor/internal/rules"
	"capstan/interceptor/internal/sink/stream"
	capstanv1 "capstan/proto/capstan/v1"
)

// gate lets those records pass that are to leave the interceptor.
type gate struct {
	own    *own.Connections
	policy atomic.Pointer[rules.Policy] // may be changed at any time

	passed, ours, denied, bodies atomic.Uint64
}

// admit reports whether x is to leave, and takes out of it what is not to.
func (g *gate) admit(x *capstanv1.Exchange) bool {
	if g.own.Has(x) {
		g.ours.Add(1)
		return false
	}
	allowed, omitted := g.policy.Load().Apply(x)
	g.bodies.Add(uint64(omitted))
	if !allowed {
		g.denied.Add(1)
		return false
	}
	g.passed.Add(1)
	return true
}

// policy checks the masks, and compiles the rules of the file.
func (f *recordFlags) policy(c *settings) (*rules.Policy, error) {
	p, err := rules.New(c.file.Rules, c.file.BodyTypes)
	return p, errors.Join(c.wrong("mask_header", exchange.CheckMaskHeaders(f.masks())), c.wrong("mask_query", exchange.CheckMaskQuery(f.maskQueries())), err)
}

// masks are the header fields to mask.
func (f *recordFlags) masks() []string { return append(exchange.DefaultMaskHeaders(), f.mask...) }

// maskQueries are the parameters of URLs to mask.
func (f *recordFlags) maskQueries() []string {
	return append(exchange.DefaultMaskQuery(), f.maskQuery...)
}

// describe tells what becomes of records, a line each.
func (f *recordFlags) describe(file *config.File) []string {
	lines := []string{fmt.Sprintf("bodies: the first %d bytes of each", f.bodyLimit)}
	if f.bodyLimit <= 0 {
		lines[0] = "bodies: none"
	} else if len(file.BodyTypes) > 0 {
		lines[0] += fmt.Sprintf(" of the types %v", file.BodyTypes)
	}
	lines = append(lines, describeMasks("header fields", f.masks()), describeMasks("parameters of URLs", f.maskQueries()))
	for i := range file.Rules {
		lines = append(lines, fmt.Sprintf("rule %d: %s", i+1, &file.Rules[i]))
	}
	if len(file.Rules) > 0 {
		lines = append(lines, "what no rule matches leaves")
	}
	return lines
}

// describeMasks tells how many names are masked, and those that are not.
func describeMasks(what string, names []string) string {
	var but []string
	for _, n := range names {
		if not, ok := strings.CutPrefix(n, "-"); ok {
			but = append(but, not)
		}
	}
	line := fmt.Sprintf("masked %s: %d", what, len(names)-len(but))
	if len(but) > 0 {
		line += fmt.Sprintf(", but for %q", but)
	}
	return line
}

// openOutput opens the ways out of the interceptor.
func (f *recordFlags) openOutput(ctx context.Context, stdout io.Writer, c *settings, log *slog.Logger, failed context.CancelCauseFunc) (*output, *outlets, error) {
	policy, err := f.policy(c)
	if err != nil {
		return nil, nil, usageError{err}
	}
	list, err := f.sinks.sinks(c.file)
	if err != nil {
		return nil, nil, err
	}
	format, err := f.stdoutFormat(c, list)
	if err != nil {
		return nil, nil, err
	}
	color, err := useColor(stdout, f.output.color)
	if err != nil {
		return nil, nil, err
	}
	if err := f.checkMemory(f.budget.Limit()); err != nil {
		return nil, nil, err
	}
	f.boundDecoded(log)
	g := &gate{own: own.New()}
	g.policy.Store(policy)
	f.keep = exchange.NewKeep(f.bodyLimit, f.masks(), f.maskQueries())
	ending, stop := after(ctx, f.sinks.drain)
	onStdout := slices.ContainsFunc(list, func(s config.Sink) bool { return s.Stdout != nil })
	others := slices.ContainsFunc(list, func(s config.Sink) bool { return s.Stdout == nil })
	if (format != "none" || onStdout) && others {
		stop = surviveReader(stop)
	}
	w := stream.NewWriter(stdout)
	o := &outlets{stdout: w, left: failed, reads: f.reads, stop: stop, color: color, drain: f.sinks.drain, ending: ending, own: g.own, log: log, memory: int(f.budget.Limit())}
	if err := openSinks(o, list); err != nil {
		stop()
		return nil, nil, err
	}
	f.budget.OnShed(o.fanout.Shed)
	context.AfterFunc(ending, o.fanout.Hurry)
	out, err := newOutput(ending, w, format, color, g, o.fanout, failed)
	if err != nil {
		return nil, nil, errors.Join(err, o.close())
	}
	o.waited = out.blockedSince(ctx)
	return out, o, nil
}

// stdoutFormat is the format of what is written to standard output without a
// sink. A file with sinks says where records go, so that without --output there
// is none.
func (f *recordFlags) stdoutFormat(c *settings, list []config.Sink) (string, error) {
	said := slices.ContainsFunc(c.overrides, func(s config.Setting) bool { return s.Key == "output" }) ||
		slices.ContainsFunc(c.file.Settings, func(s config.Setting) bool { return s.Key == "output" })
	onStdout := slices.ContainsFunc(list, func(s config.Sink) bool { return s.Stdout != nil })
	switch {
	case said && onStdout && f.output.format != "none":
		return "", usageError{errors.New("--output and a sink both write to standard output")}
	case !said && len(c.file.Sinks) > 0:
		return "none", nil
	}
	return f.output.format, nil
}

// surviveReader keeps the process from being killed when the reader of standard output
// leaves, until the function that it returns, which calls stop, is called: the write
// fails, and other sinks have their time. Without any, to be killed is what a shell's
// user expects.
func surviveReader(stop func()) func() {
	leaves := make(chan os.Signal, 1)
	signal.Notify(leaves, syscall.SIGPIPE)
	return func() { signal.Stop(leaves); stop() }
}

// after returns a context that ends so long after ctx has ended, or with stop,
// which has to be called.
func after(ctx context.Context, d time.Duration) (later context.Context, stop func()) {
	later, end := context.WithCancel(context.WithoutCancel(ctx))
	forget := context.AfterFunc(ctx, func() {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
			end()
		case <-later.Done():
		}
	})
	return later, func() { forget(); end() }
}
