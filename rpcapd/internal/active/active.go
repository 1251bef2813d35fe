// Package active keeps the daemon connected to clients that cannot connect to
// it: active mode, in which the daemon dials and the client then talks as if
// it had.
package active

import (
	"context"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"capstan/rpcapd/internal/config"
)

// Dialer connects to targets, again and again. Its fields are set before Run.
type Dialer struct {
	// Retry is the time between attempts to connect, and the longest between
	// sessions that end too soon.
	Retry time.Duration
	// Dial connects to a target; it looks the name up each time.
	Dial func(context.Context, config.Target) (net.Conn, error)
	// Serve runs a session on a connection, which it owns, and reports whether
	// the client said that it needs the daemon no more.
	Serve func(context.Context, net.Conn) (dismissed bool)
	Log   *slog.Logger
}

// minBackoff is the time before the first attempt after a session that ended
// too soon.
const minBackoff = time.Second

// Run connects to the targets of the last list that came, until ctx ends and
// all sessions are over. A target that is no longer listed is not dialled any
// more, but its session may go on. One that has dismissed the daemon is dialled
// again only after it was taken off the list.
//
// Deviation: the reference never starts or stops targets when it reads its
// configuration again.
func (d *Dialer) Run(ctx context.Context, lists <-chan []config.Target) {
	var wg sync.WaitGroup
	defer wg.Wait()
	listed := make(map[config.Target]context.CancelFunc)
	defer func() {
		for _, cancel := range listed {
			cancel()
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return
		case list := <-lists:
			for t, cancel := range listed {
				if !slices.Contains(list, t) {
					cancel()
					delete(listed, t)
				}
			}
			for _, t := range list {
				if listed[t] == nil {
					dialing, cancel := context.WithCancel(ctx)
					listed[t] = cancel
					wg.Go(func() { d.keep(ctx, dialing, t) }) // ended by ctx, cancel or the client
				}
			}
		}
	}
}

// keep stays connected to t until dialing ends or the client wants no more.
// Sessions end with ctx.
//
// Deviation: the reference looks the name up once, and dials again at once when
// a session has ended, however short it was.
func (d *Dialer) keep(ctx, dialing context.Context, t config.Target) {
	log := d.Log.With("target", t.String())
	first := min(minBackoff, d.Retry)
	backoff, told := first, false
	for dialing.Err() == nil {
		conn, err := d.Dial(dialing, t)
		if err != nil {
			if dialing.Err() != nil {
				return
			}
			level := slog.LevelDebug
			if !told {
				level, told = slog.LevelWarn, true // once for each outage
			}
			log.Log(ctx, level, "Error connecting to host "+t.Host+", port "+t.Port, "err", err)
			wait(dialing, d.Retry)
			continue
		}
		log.Info("connected to client")
		told = false
		began := time.Now()
		if d.Serve(ctx, conn) {
			log.Info("the client closed the session and is not connected to any more")
			return
		}
		if time.Since(began) >= d.Retry {
			backoff = first
			continue
		}
		wait(dialing, backoff)
		backoff = min(2*backoff, d.Retry)
	}
}

// wait returns after d, or when ctx ends.
func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
