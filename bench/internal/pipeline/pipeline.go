// Package pipeline measures both processes at work together: how much processor
// time rpcapd and interceptor take for each exchange, how much of that each takes
// when it works alone, and what each way out of the interceptor adds.
package pipeline

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"capstan/pkg/netns"
)

// Config is one measurement.
type Config struct {
	Self, Rpcapd, Interceptor string
	ResponseLen               int // bytes of a response's body
	Shards                    int
	Rate                      float64 // frames per second, 0 = flat out
	Duration                  time.Duration
	Alone                     bool     // measure each process alone, too
	Outlets                   []string // where records go, each measured apart; see [OutletNames]
	Stages                    bool     // take profiles
}

// Result is what was measured.
type Result struct {
	Live  []Live // one for each outlet
	Alone *Alone // nil if not measured
}

// Live is both processes at work: generated connections of HTTP/1 over a cable,
// captured through a unix socket.
type Live struct {
	Outlet              string
	Frames              uint64 // that the interceptor got
	Exchanges, Complete uint64
	RingLost            uint64 // frames that the server's ring had no room for
	// Processor time, user and system, from when capturing has begun to the end.
	Rpcapd, Interceptor time.Duration
	// What it took until then: of rpcapd mostly the kernel's, which clears the ring.
	RpcapdStart, InterceptorStart time.Duration
	Stages                        []Share // of the interceptor's time; nil without profiles
	// Textbook is what the textbook pipeline took for an exchange of 1,800 bytes just
	// before and after, of processor time.
	Textbook time.Duration
}

// TimesTextbook returns how many times the exchanges of the textbook pipeline,
// of 1,800 bytes, both processes tell in the same processor time.
func (l *Live) TimesTextbook() float64 { return l.PerSecond() * l.Textbook.Seconds() }

// PerSecond returns the exchanges for each second of processor time of both.
func (l *Live) PerSecond() float64 {
	return float64(l.Exchanges) / (l.Rpcapd + l.Interceptor).Seconds()
}

// Each returns the part of d that an exchange has.
func (l *Live) Each(d time.Duration) time.Duration { return each(d, l.Exchanges) }

func each(d time.Duration, exchanges uint64) time.Duration {
	return time.Duration(float64(d) / float64(max(exchanges, 1)))
}

// Alone is what the processes take for an exchange without one another, on the
// same frames: rpcapd for a reader that drops what it gets, from when capturing has
// begun, the interceptor from a file that is in memory, beyond what it takes for the
// shortest such file.
type Alone struct{ Rpcapd, Interceptor time.Duration }

// Sum is what both would take if working together cost nothing.
func (a *Alone) Sum() time.Duration { return a.Rpcapd + a.Interceptor }

const ifname = "eth0"

// bed is where it happens: two namespaces and a cable.
type bed struct {
	Config
	server, generator *netns.NS
	dir               string
}

// Run makes one measurement.
func Run(ctx context.Context, c Config) (r Result, err error) {
	b := &bed{Config: c}
	defer func() { err = errors.Join(err, b.close()) }()
	if err := b.make(); err != nil {
		return r, err
	}
	y, err := newYardstick()
	if err != nil {
		return r, err
	}
	for _, name := range c.Outlets {
		var live Live
		live.Textbook, err = y.around(func() error { return b.live(ctx, name, &live) })
		if err != nil {
			return r, fmt.Errorf("%s: %w", name, err)
		}
		r.Live = append(r.Live, live)
	}
	if c.Alone {
		r.Alone, err = b.alone(ctx, &r.Live[0])
	}
	return r, err
}

func (b *bed) make() (err error) {
	if b.server, err = netns.New(); err != nil {
		return err
	}
	if b.generator, err = netns.New(); err != nil {
		return err
	}
	if err := netns.Veth(b.server, ifname, b.generator, ifname); err != nil {
		return err
	}
	b.dir, err = os.MkdirTemp("", "pipeline-")
	return err
}

func (b *bed) close() (err error) {
	for _, ns := range []*netns.NS{b.server, b.generator} {
		if ns != nil {
			err = errors.Join(err, ns.Close())
		}
	}
	if b.dir != "" {
		err = errors.Join(err, os.RemoveAll(b.dir))
	}
	return err
}

func (b *bed) path(name string) string { return filepath.Join(b.dir, name) }

// traffic are the generator's arguments.
func (c *Config) traffic() []string {
	return []string{"generate", "--kind", "http1", "--size", "1514", "--flows", "50", "--exchanges", "100",
		"--response-len", strconv.Itoa(c.ResponseLen), "--rate", strconv.FormatFloat(c.Rate, 'f', -1, 64)}
}
