package source

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"capstan/interceptor/internal/remote"
	"capstan/pkg/pcapfilter"
	"capstan/pkg/rpcap"
	"capstan/pkg/rpcap/rpcapclient"
)

// RPCAPConfig configures a capture over RPCAP.
type RPCAPConfig struct {
	URL         rpcap.URL // with a device
	SnapLen     int       // bytes per frame; 0 = all
	Promiscuous bool
	Filter      string // pcap-filter(7), to begin with; empty = every frame
	Transport   rpcapclient.Transport
	Sampling    remote.Sampling
	// StartTimeout is how long Run keeps trying to reach the server for the
	// first time; 0 means 10 s, less than 0 for ever.
	StartTimeout time.Duration
	// ReconnectTimeout is how long Run keeps trying to regain a lost server;
	// 0 means for ever.
	ReconnectTimeout time.Duration
	// NeedParameters refuses a server that doesn't know the parameters of the
	// URL's device. Otherwise all of the device is captured there.
	NeedParameters bool
	Client         rpcapclient.Options
	// Listener, unless nil, is where the server connects to in active mode,
	// instead of being dialled. It takes this source's server and no other.
	// The caller closes it after Run.
	Listener *rpcapclient.Listener
	Log      *slog.Logger
}

// Intervals of the conversation with a server.
const (
	defaultStartTimeout = 10 * time.Second
	statsInterval       = time.Second
	idleInterval        = 100 * time.Millisecond
	endTimeout          = 5 * time.Second // for ENDCAP and what the server still has to send
	pollTimeout         = 3 * time.Second // for an answer to STATS
	minBackOff          = 50 * time.Millisecond
	maxBackOff          = 500 * time.Millisecond // so that a server is regained within a second
	shortCapture        = 2 * time.Second        // one that ends sooner is not followed by the next at once
)

// readTimeout is how long a lone frame may wait at the server for company. A shorter
// one makes a stalled reader lose frames sooner on a quiet device, since each timeout
// takes a whole block of the server's ring.
const readTimeout = 50 * time.Millisecond

// RPCAP captures from one device of one server and regains it when it is lost.
type RPCAP struct {
	cfg      RPCAPConfig
	counters Counters
	told     sync.Once // that the server knows no parameters
	filter   atomic.Pointer[string]
	refilter chan struct{} // holds a token when filter has changed

	mu      sync.Mutex // guards what follows
	device  string
	current *session // nil while nothing is captured
}

// NewRPCAP returns a source that Run captures from.
func NewRPCAP(cfg RPCAPConfig) *RPCAP {
	if cfg.StartTimeout == 0 {
		cfg.StartTimeout = defaultStartTimeout
	}
	s := &RPCAP{cfg: cfg, device: cfg.URL.Device, refilter: make(chan struct{}, 1)}
	s.filter.Store(&cfg.Filter)
	return s
}

// SetFilter replaces the filter, in the capture that runs and those to come.
// One that is refused is told in the log, and the old one stays. Any goroutine may call it.
func (s *RPCAP) SetFilter(expression string) {
	s.filter.Store(&expression)
	select {
	case s.refilter <- struct{}{}:
	default: // the filter is about to be looked at
	}
}

// Counters returns the source's counters. Any goroutine may call it.
func (s *RPCAP) Counters() CounterSnapshot { return s.counters.snapshot() }

// StartError is a capture that never started.
type StartError struct {
	Source string
	Err    error
}

// Error names the source and the cause.
func (e *StartError) Error() string {
	return fmt.Sprintf("cannot capture from %s: %v", e.Source, e.Err)
}

// Unwrap returns the cause.
func (e *StartError) Unwrap() error { return e.Err }

// LostError is a source that was lost and could not be regained.
type LostError struct {
	Source string
	Err    error
}

// Error names the source and the last cause.
func (e *LostError) Error() string { return fmt.Sprintf("lost %s for good: %v", e.Source, e.Err) }

// Unwrap returns the cause.
func (e *LostError) Unwrap() error { return e.Err }

// Run captures until ctx is cancelled, then ends the capture in good order
// (what the server had captured by then is still delivered) and returns nil. A
// lost server is regained with back-off, and Sink.Lost tells of the interval. The
// error is a [*StartError] or a [*LostError].
func (s *RPCAP) Run(ctx context.Context, sink Sink) error {
	sess, err := s.connect(ctx, s.cfg.StartTimeout, final)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return &StartError{Source: s.cfg.URL.String(), Err: err}
	}
	s.cfg.Log.Info("capturing", "source", s.cfg.URL.String(), "link_type", sess.linkType.String())
	pause := time.Duration(0)
	for {
		began := time.Now()
		err := sess.run(ctx, sink)
		if err == nil {
			return nil
		}
		if sess.next != nil {
			if sess = s.follow(ctx, sess, sink); sess != nil {
				continue
			}
			err = errNoFollower
		}
		lostAt := time.Now()
		s.counters.lost(lostAt, err.Error())
		sink.Lost()
		s.cfg.Log.Warn("capture lost, trying to regain it", "source", s.cfg.URL.String(), "reason", err.Error())
		if pause = afterCapture(lostAt.Sub(began), pause); !wait(ctx, pause) {
			return nil
		}
		if sess, err = s.connect(ctx, s.cfg.ReconnectTimeout, finalAgain); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return &LostError{Source: s.cfg.URL.String(), Err: err}
		}
		now := time.Now()
		s.counters.regained(now)
		s.cfg.Log.Warn("capture regained; what passed in between was not seen", "source", s.cfg.URL.String(),
			"from", lostAt.UTC().Format(time.RFC3339Nano), "to", now.UTC().Format(time.RFC3339Nano),
			"seconds", now.Sub(lostAt).Seconds())
	}
}

// afterCapture is how long to wait after a capture that lasted so long, and was
// begun after a pause: a server that starts each one and ends it is asked again
// with back-off, like one that starts none.
func afterCapture(lasted, pause time.Duration) time.Duration {
	if lasted >= shortCapture {
		return 0
	}
	return min(max(2*pause, minBackOff), maxBackOff)
}

// wait pauses, and reports whether ctx goes on.
func wait(ctx context.Context, pause time.Duration) bool {
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// connect opens the device and starts a capture, trying again like retry.
func (s *RPCAP) connect(ctx context.Context, timeout time.Duration, final func(error) bool) (sess *session, err error) {
	err = s.retry(ctx, timeout, final, func(ctx context.Context) (err error) {
		sess, err = s.open(ctx)
		return err
	})
	return sess, err
}

// retry does something with the server, again and again with back-off until
// timeout (0 = for ever) has passed or the server's answer is final.
func (s *RPCAP) retry(ctx context.Context, timeout time.Duration, final func(error) bool, do func(context.Context) error) error {
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, timeout, fmt.Errorf("no answer within %v: %w", timeout, context.DeadlineExceeded))
		defer cancel()
	}
	pause := minBackOff
	var last error
	for attempt := 0; ; attempt++ {
		err := do(ctx)
		if err == nil {
			return nil
		}
		if last == nil || ctx.Err() == nil {
			last = err // the cause, rather than that time ran out while trying
		}
		if final(err) {
			return err
		}
		if attempt == 0 && ctx.Err() == nil {
			s.cfg.Log.Info("waiting for the capture server", "source", s.cfg.URL.String(), "reason", err.Error())
		}
		if !wait(ctx, pause) {
			return last
		}
		pause = min(2*pause, maxBackOff)
	}
}

// errNoFollower is why a capture is gone whose successor could not start.
var errNoFollower = errors.New("the capture with other settings could not start")

// final reports whether trying again cannot help: the server answered, and
// what it refused is not a matter of time; or the filter makes no sense.
func final(err error) bool {
	if filter := (*pcapfilter.Error)(nil); errors.As(err, &filter) {
		return true
	}
	var refused *rpcap.RemoteError
	if !errors.As(err, &refused) {
		return false
	}
	switch refused.Code {
	case rpcap.CodeAuth, rpcap.CodeAuthFailed, rpcap.CodeAuthType, rpcap.CodeHostNoAuth, rpcap.CodeTLSRequired,
		rpcap.CodeOpen, rpcap.CodeWrongVersion:
		return true
	}
	return false
}

// finalAgain is final of a server that has captured from the device before: one that
// has gone, as with a restarted container or a tunnel, may come again.
func finalAgain(err error) bool {
	var refused *rpcap.RemoteError
	return final(err) && (!errors.As(err, &refused) || refused.Code != rpcap.CodeOpen)
}

func (s *RPCAP) open(ctx context.Context) (*session, error) {
	device, expression := s.wanted()
	p, err := s.prepare(ctx, device, expression)
	if err != nil {
		return nil, err
	}
	return s.start(ctx, p)
}

// client returns a session with the server.
func (s *RPCAP) client(ctx context.Context) (*rpcapclient.Client, error) {
	if s.cfg.Listener == nil {
		return rpcapclient.Dial(ctx, s.cfg.URL, s.cfg.Client)
	}
	return s.accept(ctx)
}

// hangUp ends a session. A daemon in active mode isn't told that it is wanted no
// more: it shall connect again, to this process or the next one.
func (s *RPCAP) hangUp(c *rpcapclient.Client) {
	if s.cfg.Listener != nil {
		_ = c.Disconnect() // what led here is the error to tell
		return
	}
	_ = c.Close()
}
