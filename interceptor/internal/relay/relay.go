package relay

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"capstan/interceptor/internal/collector"
	"capstan/interceptor/internal/delivery"
	"capstan/interceptor/internal/spool"
	"capstan/interceptor/internal/tlsconf"
)

// config of a relay.
type config struct {
	listen string
	tls    *tlsconf.Files // nil: plain text, which was asked for
	admin  string         // address of the admin's HTTP server, empty: none
	queue  delivery.Config
	limits collector.Limits
	drain  time.Duration // that the end may take
}

// relay receives records, keeps them on disk, and has a sink deliver them.
type relay struct {
	cfg    config
	log    *slog.Logger
	queue  *delivery.Queue
	server *collector.Server
	// refusals and waits bound the log's lines of connections refused, and of
	// nodes that have to wait.
	refusals, waits *rate.Limiter
}

// fullPause is how long a full spool is waited for before it is tried again.
const fullPause = 100 * time.Millisecond

func newRelay(cfg config, sink delivery.Sink, log *slog.Logger) (*relay, error) {
	cfg.queue.Policy, cfg.queue.Log = delivery.Spool, log
	q, err := delivery.NewQueue(cfg.queue, sink)
	if err != nil {
		return nil, err
	}
	r := &relay{cfg: cfg, log: log, queue: q, refusals: rate.NewLimiter(1, 5), waits: rate.NewLimiter(0.1, 5)}
	r.server = collector.NewServer(r.store, cfg.limits)
	return r, nil
}

// store implements collector.Store: what it has returned for is on disk. A full
// spool, or a disk that doesn't take it, makes the sender wait, who has a spool
// of his own. If many wait, the server takes no more of them.
func (r *relay) store(ctx context.Context, node string, records [][]byte) (rejected int, err error) {
	for waiting := false; ; {
		err := r.queue.Append(records...)
		tooLong := (*spool.TooLongError)(nil)
		switch {
		case err == nil:
			return 0, nil
		case errors.As(err, &tooLong):
			return r.storeParts(ctx, node, records)
		}
		if !waiting && r.waits.Allow() {
			r.log.Warn("a node has to wait: its records can't be kept", "node", node, "err", err)
		}
		waiting = true
		select {
		case <-time.After(fullPause):
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
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
	h := r.http()
	served := make(chan error, 1)
	go func() { served <- listen(h, l); close(served) }() // ended by Close
	r.log.Info("relay listens", "address", l.Addr().String(), "tls", r.cfg.tls != nil)
	select {
	case err = <-served:
	case <-ctx.Done():
		r.log.Info("relay ends: senders are let go, and what is kept is delivered", "limit", r.cfg.drain.String())
	}
	h.Close() // nobody is owed an answer: what was not acknowledged comes again
	<-served
	r.server.Stop() // what is being stored is on disk before the queue ends
	return errors.Join(err, r.close())
}

// http returns the server of HTTP/2 that senders call.
func (r *relay) http() *http.Server {
	var cfg *tls.Config
	if r.cfg.tls != nil {
		cfg = r.cfg.tls.Server()
	}
	return r.server.HTTP(cfg, log.New(refusals{r}, "", 0))
}

func listen(h *http.Server, l net.Listener) error {
	if h.TLSConfig != nil {
		return h.ServeTLS(l, "", "")
	}
	return h.Serve(l)
}

// refusals tells of connections that failed their handshakes, at most once a
// second: the senders may learn nothing but their end.
type refusals struct{ *relay }

// Write takes a line of the server's log.
func (r refusals) Write(line []byte) (int, error) {
	if r.refusals.Allow() {
		r.log.Warn("a connection was refused", "err", strings.TrimSpace(string(line)))
	}
	return len(line), nil
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
