package relay

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"capstan/interceptor/internal/collector"
	"capstan/interceptor/internal/delivery"
	"capstan/interceptor/internal/spool"
	"capstan/interceptor/internal/tlsconf"
	capstanv1 "capstan/proto/capstan/v1"
)

// options of a relay.
type options struct {
	listen string
	tls    *tlsconf.Files // nil: plain text, which was asked for
	admin  string         // address of the admin's HTTP server, empty: none
	queue  delivery.Config
	limits collector.Limits
	drain  time.Duration // that the end may take
	// waiting bounds the bytes of batches that wait in memory for room in the
	// spool; 0 = 64 MiB.
	waiting int64
}

// relay receives records, keeps them on disk, and has a sink deliver them.
type relay struct {
	cfg    options
	log    *slog.Logger
	queue  *delivery.Queue
	server *collector.Server
	// refusals and waits bound the log's lines of connections refused, and of
	// nodes that have to wait.
	refusals, waits *rate.Limiter
	waiting         atomic.Int64 // bytes of the batches that wait for room
}

// fullPause is how long a full spool is waited for before it is tried again.
const fullPause = 100 * time.Millisecond

const defaultWaiting = 64 << 20

func newRelay(cfg options, sink delivery.Sink, log *slog.Logger) (*relay, error) {
	cfg.queue.Policy, cfg.queue.Log = delivery.Spool, log
	q, err := delivery.NewQueue(cfg.queue, sink)
	if err != nil {
		return nil, err
	}
	cfg.waiting = cmp.Or(cfg.waiting, defaultWaiting)
	r := &relay{cfg: cfg, log: log, queue: q, refusals: rate.NewLimiter(1, 5), waits: rate.NewLimiter(0.1, 5)}
	r.server = collector.NewServer(r.store, cfg.limits)
	return r, nil
}

// errCrowded is the answer to a sender for whose batch there is no room either
// where batches wait for room.
var errCrowded = errors.New("the spool is full, and too much waits for room in it already")

// store implements collector.Store: what it has returned for is on disk. A full
// spool, or a disk that doesn't take it, makes the sender wait, who has a spool
// of his own; if many wait, he is sent away, to come again.
func (r *relay) store(ctx context.Context, node string, records [][]byte) (rejected int, err error) {
	var length int64
	for _, b := range records {
		length += int64(len(b))
	}
	for waiting := false; ; {
		err := r.queue.Append(records...)
		tooLong := (*spool.TooLongError)(nil)
		switch {
		case err == nil:
			return 0, nil
		case errors.As(err, &tooLong):
			return r.storeParts(ctx, node, records)
		}
		if !waiting {
			if !r.startWaiting(length) {
				return 0, errCrowded
			}
			defer r.waiting.Add(-length)
			waiting = true
			if r.waits.Allow() {
				r.log.Warn("a node has to wait: its records can't be kept", "node", node, "err", err)
			}
		}
		select {
		case <-time.After(fullPause):
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// startWaiting takes room in memory for a batch that waits. One may wait however
// long it is.
func (r *relay) startWaiting(length int64) bool {
	if all := r.waiting.Add(length); all > r.cfg.waiting && all > length {
		r.waiting.Add(-length)
		return false
	}
	return true
}

// storeParts stores a batch that has no room even in an empty spool: in halves,
// down to a record, which is rejected then. Waiting would not help.
func (r *relay) storeParts(ctx context.Context, node string, records [][]byte) (rejected int, err error) {
	if len(records) == 1 {
		return 1, nil
	}
	for _, half := range [][][]byte{records[:len(records)/2], records[len(records)/2:]} {
		n, err := r.store(ctx, node, half)
		rejected += n
		if err != nil {
			return rejected, err
		}
	}
	return rejected, nil
}

// run serves until ctx ends, then drains for a while.
func (r *relay) run(ctx context.Context) error {
	l, err := net.Listen("tcp", r.cfg.listen)
	if err != nil {
		return errors.Join(err, r.close())
	}
	admin, err := startAdmin(r)
	if err != nil {
		return errors.Join(err, l.Close(), r.close())
	}
	defer admin.close()
	g := grpc.NewServer(r.options()...)
	capstanv1.RegisterCollectorServer(g, r.server)
	served := make(chan error, 1)
	go func() { served <- g.Serve(l) }() // ended by Stop
	r.log.Info("relay listens", "address", l.Addr().String(), "tls", r.cfg.tls != nil)
	select {
	case err = <-served:
		g.Stop()
	case <-ctx.Done():
		r.log.Info("relay ends: senders are let go, and what is kept is delivered", "limit", r.cfg.drain.String())
		g.Stop() // nobody is owed an answer: what was not acknowledged comes again
		<-served
	}
	return errors.Join(err, r.close())
}

func (r *relay) options() []grpc.ServerOption {
	o := []grpc.ServerOption{
		grpc.MaxRecvMsgSize(collector.MaxMessage),
		grpc.MaxConcurrentStreams(16), // of one connection; senders have one
		grpc.ConnectionTimeout(20 * time.Second),
		grpc.WaitForHandlers(true), // whose records are on disk before the queue ends
		// A connection without a stream is nobody's: senders keep theirs.
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: time.Minute, Timeout: 20 * time.Second, MaxConnectionIdle: 5 * time.Minute}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
		// Windows that hold a batch: the network is slower than they.
		grpc.InitialWindowSize(1 << 20), grpc.InitialConnWindowSize(2 << 20),
	}
	if r.cfg.tls != nil {
		o = append(o, grpc.Creds(r.cfg.tls.Credentials(r.refused)))
	}
	return o
}

// refused tells of a connection that failed its handshake, at most once a
// second.
func (r *relay) refused(peer net.Addr, err error) {
	if r.refusals.Allow() {
		r.log.Warn("a connection was refused", "peer", peer.String(), "err", err)
	}
}

// close delivers what it can in the time there is; the rest stays on disk.
func (r *relay) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), r.cfg.drain)
	defer cancel()
	if err := r.queue.Close(ctx); err != nil {
		return fmt.Errorf("end: %w", err)
	}
	st := r.queue.Stats()
	r.log.Info("relay ended", "delivered", st.Delivered, "rejected", st.Rejected, "kept", st.Spooled, "lost", st.SpoolLost, "balanced", st.Balanced())
	return nil
}

// problems tells why the relay is not ready.
func (r *relay) problems() (list []string) {
	st := r.queue.Stats()
	if st.Failing {
		list = append(list, "the next collector doesn't take records")
	}
	if st.SpoolBytes >= r.cfg.queue.Spool.MaxBytes*9/10 {
		list = append(list, fmt.Sprintf("the spool is nearly full: %d of %d bytes", st.SpoolBytes, r.cfg.queue.Spool.MaxBytes))
	}
	return list
}
