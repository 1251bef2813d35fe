package command

import (
	"context"
	"errors"
	"sync"

	"capstan/interceptor/internal/ledger"
	"capstan/interceptor/internal/source"
	"capstan/pkg/rpcap"
)

// capturing is the capture from one source. If it is to be divided and the server
// can do so, there is a capture and a pipeline for each shard: what the kernel has
// divided costs nothing here. Else there is one pipeline, which divides.
type capturing struct {
	name  string
	cfg   source.RPCAPConfig
	flags *recordFlags
	out   *output

	mu        sync.Mutex
	pipelines []*pipeline // guarded by mu
	filter    *string     // guarded by mu; nil as long as it is that of cfg
}

func newCapturing(name string, cfg source.RPCAPConfig, flags *recordFlags, out *output) *capturing {
	p := newPipeline(name, name, source.NewRPCAP(cfg), flags.shards, flags, out)
	return &capturing{name: name, cfg: cfg, flags: flags, out: out, pipelines: []*pipeline{p}}
}

// run captures like source.RPCAP.Run.
func (c *capturing) run(ctx context.Context) error {
	whole := c.pipelines[0]
	defer whole.finish()
	shards := c.shards()
	if len(shards) == 0 {
		return whole.live.Run(ctx, whole)
	}
	known, err := source.NewRPCAP(shards[0]).KnowsParameters(ctx)
	switch {
	case ctx.Err() != nil:
		return nil
	case err != nil:
		return err
	case known:
		return c.runShards(ctx, shards)
	}
	c.cfg.Log.Info("the capture server doesn't divide: connections are divided here", "source", c.name, "shards", c.flags.shards)
	return whole.live.Run(ctx, whole)
}

// shards returns the captures that a server is asked for which can divide. A
// daemon in active mode has one connection; a device that names a shard is one.
func (c *capturing) shards() []source.RPCAPConfig {
	d, err := rpcap.ParseDevice(c.cfg.URL.Device)
	if c.flags.shards < 2 || c.cfg.Listener != nil || err != nil || d.Shards != 0 {
		return nil
	}
	cfgs := make([]source.RPCAPConfig, c.flags.shards)
	for i := range cfgs {
		d.Shard, d.Shards = i, len(cfgs)
		cfgs[i] = c.cfg
		cfgs[i].URL.Device, cfgs[i].NeedParameters = d.String(), true
	}
	return cfgs
}

// runShards captures each shard. One that can't start ends the others.
func (c *capturing) runShards(ctx context.Context, shards []source.RPCAPConfig) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	pipelines := make([]*pipeline, len(shards))
	for i, cfg := range shards {
		pipelines[i] = newPipeline(cfg.URL.String(), c.name, source.NewRPCAP(cfg), 1, c.flags, c.out)
	}
	c.mu.Lock()
	c.pipelines = pipelines
	if c.filter != nil {
		c.applyFilter()
	}
	c.mu.Unlock()
	errs := make([]error, len(shards))
	var wg sync.WaitGroup
	for i, p := range pipelines {
		wg.Go(func() {
			errs[i] = p.live.Run(ctx, p)
			p.finish()
			var start *source.StartError
			if errors.As(errs[i], &start) {
				cancel()
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// SetFilter replaces the filter of all captures.
func (c *capturing) SetFilter(expression string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.filter = &expression
	c.applyFilter()
}

// applyFilter is for those who hold mu.
func (c *capturing) applyFilter() {
	for _, p := range c.pipelines {
		p.live.SetFilter(*c.filter)
	}
}

// current returns the pipelines as they are now.
func (c *capturing) current() []*pipeline {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pipelines
}

func (c *capturing) ledgers() []ledger.Ledger {
	var ledgers []ledger.Ledger
	for _, p := range c.current() {
		ledgers = append(ledgers, p.ledger())
	}
	return ledgers
}
