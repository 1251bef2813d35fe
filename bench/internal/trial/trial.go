//go:build linux

package trial

import (
	"context"
	"errors"
	"fmt"
	"time"

	"capstan/bench/internal/contain"
	"capstan/bench/internal/cpu"
	"capstan/bench/internal/server"
	"capstan/bench/internal/sink"
	"capstan/bench/internal/syscalls"
)

// Config is what all trials have in common.
type Config struct {
	Self          string // path of bench
	Dir           string // for files of the trials, which are removed after each
	ServerCPUs    contain.CPUs
	GeneratorCPUs contain.CPUs
	ReadTimeout   time.Duration // that the sink asks the server for
}

// Options are what is special about one trial.
type Options struct {
	// Syscalls counts system calls, which costs the server time.
	Syscalls bool
	// Feed says that the server makes its frames itself, and sends the same ones
	// again and again: what it delivers is only counted. The traffic is sent all the same, so that the host is as
	// busy, and goes nowhere.
	Feed bool
	// Quiet is how long a local capture has to be idle to have taken all that
	// is in its ring; 0 is [LocalQuiet].
	Quiet time.Duration
	// Patience is how long to wait for a server to come to rest; 0 is
	// [sink.SettleLimit].
	Patience time.Duration
}

// LocalQuiet suits tcpdump, which lets the kernel keep a block back for a
// second.
const LocalQuiet = 1100 * time.Millisecond

// grace is what a trial may take longer than its traffic.
const grace = 60 * time.Second

// run is a trial under way.
type run struct {
	cfg    Config
	load   Load
	opts   Options
	lab    *lab
	server *server.Server
	sink   *child // nil for local captures
	calls  *syscalls.Counter
	begun  hostTime
	spent  time.Duration // processor time of the generator
	result Result
	errs   []error // that don't make the result useless
}

func setDefault(d *time.Duration, value time.Duration) {
	if *d == 0 {
		*d = value
	}
}

// Run makes a trial. An error means that there is no result; what else was wrong
// is in the result.
func (c Config) Run(ctx context.Context, spec server.Spec, load Load, opts Options) (result Result, err error) {
	ctx, cancel := context.WithTimeout(ctx, load.Duration+grace)
	defer cancel()
	setDefault(&opts.Quiet, LocalQuiet)
	setDefault(&opts.Patience, sink.SettleLimit)
	t := &run{cfg: c, load: load, opts: opts}
	if t.lab, err = newLab(c.Dir); err != nil {
		return Result{}, err
	}
	defer func() { err = errors.Join(err, t.lab.close()) }()
	t.server, err = server.Start(ctx, spec, server.Place{
		Self: c.Self, Namespace: t.lab.server, Interface: ifname, Dir: t.lab.dir, CPUs: c.ServerCPUs,
	})
	if err != nil {
		return Result{}, err
	}
	if spec.Transport == server.Local {
		err = t.local(ctx)
	} else {
		err = t.remote(ctx, spec.Transport)
	}
	if err != nil {
		return Result{}, fmt.Errorf("%s: %w", spec.Name, err)
	}
	if err := errors.Join(t.errs...); err != nil {
		t.result.Error = err.Error()
	}
	return t.result, nil
}

// remote measures a server that has a sink.
func (t *run) remote(ctx context.Context, transport server.Transport) (err error) {
	defer func() {
		_, stopErr := t.server.Stop()
		t.note(stopErr)
	}()
	if t.sink, err = t.startSink(transport); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.sink.stop()) }()
	master := sink.NewMaster(t.sink.in, t.sink.out)
	if err := master.AwaitCapturing(); err != nil {
		return fmt.Errorf("%w\n%s", err, t.sink.errors())
	}
	err = t.measure(ctx, func() (bool, error) { return t.settleBySink(master) })
	if err != nil {
		return err
	}
	seen, err := master.End()
	if err != nil {
		return err
	}
	t.take(seen)
	return nil
}

// take enters what the sink has seen.
func (t *run) take(seen sink.Result) {
	r := &t.result
	r.Delivered, r.Corrupt, r.Duplicates, r.Late = seen.Unique, seen.Corrupt, seen.Duplicates, seen.Late
	r.SinkCPU, r.Latency, r.Claims = seen.CPU, &seen.Latency, seen.Server
	if t.opts.Feed { // few frames, sent many times
		r.Offered, r.Arrived, r.Delivered = seen.Frames, seen.Frames, seen.Frames
		r.Duplicates, r.Late, r.Latency = 0, 0, nil
	}
	if seen.Error != "" {
		t.note(errors.New("sink: " + seen.Error))
	}
	ring := uint64(0)
	if seen.Server != nil {
		ring = uint64(seen.Server.KernelDropped)
	} else {
		t.note(errors.New("no server statistics: " + seen.StatsError))
	}
	r.balance(ring, seen.Holes)
	r.Stolen, r.Others = t.begun.since(r.CPU + r.SinkCPU + t.spent)
}

// local measures a capture that counts itself.
func (t *run) local(ctx context.Context) error {
	err := t.measure(ctx, func() (bool, error) { return t.settleByCPU(ctx) })
	output, stopErr := t.server.Stop()
	t.note(stopErr)
	if err != nil {
		return err
	}
	counts, err := server.ParseLocal(output)
	if err != nil {
		return err
	}
	t.result.Delivered = min(counts.Captured, t.result.Arrived)
	t.result.balance(counts.Dropped, 0)
	t.result.Stolen, t.result.Others = t.begun.since(t.result.CPU + t.spent)
	return nil
}

// settleBySink waits until no frame comes and nobody does anything either: one
// that is busy, or would be if others left it a processor, may have frames yet.
func (t *run) settleBySink(master *sink.Master) (bool, error) {
	var last time.Time // of the settling before, and what was known then
	var known uint64
	var before time.Duration
	for end := time.Now().Add(t.opts.Patience); time.Now().Before(end); {
		frames, quiet, err := master.Settle()
		if err != nil || !quiet {
			return false, err
		}
		runnable := t.server.Runnable() || cpu.Runnable(t.sink.cmd.Process.Pid)
		used := t.server.CPU()
		if !runnable && !last.IsZero() && frames == known && used-before < time.Since(last)/idleShare {
			return true, nil
		}
		last, known, before = time.Now(), frames, used
	}
	return false, nil
}

// idleShare is the share of the time that a server may use and be idle: one in
// that many.
const idleShare = 20

// settleByCPU waits until the server has nothing more to do.
func (t *run) settleByCPU(ctx context.Context) (bool, error) {
	quiet := t.opts.Quiet
	for end := time.Now().Add(t.opts.Patience); time.Now().Before(end); {
		before := t.server.CPU()
		select {
		case <-ctx.Done():
			return false, context.Cause(ctx)
		case <-time.After(quiet):
		}
		if !t.server.Runnable() && t.server.CPU()-before < quiet/idleShare {
			return true, nil
		}
	}
	return false, nil
}

// measure lets the traffic go, and reads all counters before and after.
func (t *run) measure(ctx context.Context, settle func() (bool, error)) (err error) {
	if t.opts.Syscalls {
		if t.calls, err = syscalls.Start(); err != nil {
			return err
		}
		defer func() { t.note(t.calls.Close()) }()
	}
	t.begun = readHostTime()
	arrived, err := readArrived(t.server.PID())
	if err != nil {
		return err
	}
	calls, err := t.countCalls()
	if err != nil {
		return err
	}
	before := t.server.CPU()
	if err := t.send(ctx); err != nil {
		return err
	}
	if t.result.Settled, err = settle(); err != nil {
		return err
	}
	t.result.CPU = t.server.CPU() - before
	if t.opts.Syscalls {
		after, err := t.countCalls()
		if err != nil {
			return err
		}
		calls = after - calls
		t.result.Syscalls = &calls
	}
	after, err := readArrived(t.server.PID())
	if err != nil {
		return err
	}
	t.result.Arrived = after - arrived
	t.result.Memory, err = t.server.Memory()
	t.note(err)
	if !t.result.Settled {
		t.note(errors.New("it didn't come to rest"))
	}
	return nil
}

// countCalls returns the system calls of the server's processes that live.
func (t *run) countCalls() (sum uint64, err error) {
	if t.calls == nil {
		return 0, nil
	}
	for _, pid := range t.server.Processes() {
		n, err := t.calls.Count(pid)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

func (t *run) note(err error) {
	if err != nil {
		t.errs = append(t.errs, err)
	}
}
